//! The broker's own socket: who is asked for a password there, and what is said when it does not answer.

use super::*;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// Runs a command line of this tool as it stands.
fn run_plain(arguments: &[&str]) -> (u8, String, String) {
    let line = ["warrenctl", "--config", "none"].iter().chain(arguments).map(OsString::from);
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let code = run(line, &mut out, &mut errors);
    let [out, errors] = [out, errors].map(|text| String::from_utf8(text).unwrap());
    (code, out, errors)
}

/// Answers one request on a socket, after it was read whole; its lines.
fn answer(path: &Path, status: u16, body: &Value) -> JoinHandle<String> {
    let listener = UnixListener::bind(path).unwrap();
    let body = body.to_string();
    std::thread::spawn(move || {
        // Whoever only looks whether somebody answers says nothing.
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let mut request = String::new();
            while reader.read_line(&mut request).unwrap() > 2 {}
            if request.is_empty() {
                continue;
            }
            let length = body.len();
            let head =
                format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
            reader.get_mut().write_all((head + &body).as_bytes()).unwrap();
            return request.to_ascii_lowercase();
        }
        String::new()
    })
}

#[test]
fn a_login_is_sent_only_if_it_was_given() {
    let dir = tempfile::tempdir().unwrap();
    let name = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let whoami = json!({"name": "u"});
    let (plain, given) = (name("plain"), name("given"));
    let server = answer(plain.as_ref(), 200, &whoami);
    let (code, _, errors) = run_plain(&["ping", "--socket", &plain]);
    let request = server.join().unwrap();
    assert_eq!((code, errors.as_str()), (0, ""));
    assert!(request.starts_with("get /api/whoami ") && !request.contains("authorization:"), "{request}");
    let server = answer(given.as_ref(), 200, &whoami);
    run_plain(&["ping", "--socket", &given, "--username", "u", "--password", "p"]);
    assert!(server.join().unwrap().contains("authorization: basic dtpw"), "u:p in base64");
    let tried = name("tried");
    let server = answer(tried.as_ref(), 200, &whoami);
    let (code, _, _) = run_plain(&["authenticate_user", "u", "p", "--socket", &tried]);
    assert!(server.join().unwrap().contains("authorization: basic dtpw"), "the user that is tried");
    assert_eq!(code, 0);
}

#[test]
fn the_socket_of_a_data_directory_that_is_named_counts_before_a_section() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.conf");
    std::fs::write(&file, "[default]\nhostname = 'far.example'\nport = 1\n").unwrap();
    let server = answer(&dir.path().join("warren.sock"), 200, &json!({"name": "u"}));
    let line =
        ["warrenctl", "--config", file.to_str().unwrap(), "--data-dir", dir.path().to_str().unwrap(), "ping"];
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let code = run(line.map(OsString::from), &mut out, &mut errors);
    assert_eq!((code, String::from_utf8(errors).unwrap().as_str()), (0, ""));
    assert!(server.join().unwrap().starts_with("get /api/whoami "));
}

#[test]
fn a_socket_that_lets_nobody_in_says_nothing_or_is_not_there_is_told_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let name = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let refused = name("refused");
    let server =
        answer(refused.as_ref(), 401, &json!({"error": "not_authorized", "reason": "Not_Authorized"}));
    let (code, _, errors) = run_plain(&["ping", "--socket", &refused]);
    server.join().unwrap();
    let expected = format!("Error: {refused} lets only root and the user in who runs the broker");
    assert!(code == 77 && errors.starts_with(&expected), "{code} {errors}");
    let silent = name("silent");
    let listener = UnixListener::bind(&silent).unwrap();
    let (code, _, errors) = run_plain(&["ping", "--socket", &silent, "--timeout", "1"]);
    drop(listener);
    assert_eq!((code, errors.contains(&format!("no answer from {silent} in time"))), (75, true), "{errors}");
    let gone = name("gone");
    assert!(UnixStream::connect(&gone).is_err());
    let (code, _, errors) = run_plain(&["ping", "--socket", &gone]);
    let expected = format!("Error: no broker at {gone} (");
    assert!(
        code == 69 && errors.starts_with(&expected) && errors.contains("--data-dir name another"),
        "{errors}"
    );
}
