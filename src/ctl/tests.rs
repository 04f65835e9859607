//! Whole command lines against a server that answers as it is told and keeps what it was asked.

mod configuring;
mod definitions;
mod failures;
mod generated;
mod governing;
mod inventory;
mod more;
mod nouns;
mod operating;
mod sections;
mod sockets;

use super::*;
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    thread::JoinHandle,
};

/// What a command line did.
#[derive(Debug, PartialEq)]
struct Ran {
    code: u8,
    out: String,
    errors: String,
    /// `METHOD path body` of every request.
    requests: Vec<String>,
}

/// Runs a command against a server that gives one answer (status, body) a request, in this order.
fn run_against(arguments: &[&str], answers: &[(u16, Value)]) -> Ran {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = serve(listener, answers.to_vec());
    let (code, out, errors) = run_on(port, arguments);
    // Whoever says nothing ends a server that waits for more requests than there were.
    drop(std::net::TcpStream::connect(("127.0.0.1", port)));
    Ran { code, out, errors, requests: server.join().unwrap() }
}

fn run_on(port: u16, arguments: &[&str]) -> (u8, String, String) {
    let port = port.to_string();
    // Whatever file there is at home.
    let without_file = ["--config", "none"];
    let config = if arguments.contains(&"--config") { &[][..] } else { &without_file };
    let before = ["warrenctl", "--host", "127.0.0.1", "--port", &port];
    let line = before.iter().chain(config).chain(arguments);
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let code = run(line.map(OsString::from), &mut out, &mut errors);
    (code, String::from_utf8(out).unwrap(), String::from_utf8(errors).unwrap())
}

fn serve(listener: TcpListener, answers: Vec<(u16, Value)>) -> JoinHandle<Vec<String>> {
    std::thread::spawn(move || {
        let mut requests = Vec::new();
        for (status, body) in answers {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream);
            if reader.fill_buf().unwrap().is_empty() {
                break;
            }
            requests.push(read_request(&mut reader));
            let body = if body.is_null() { String::new() } else { body.to_string() };
            let length = body.len();
            let head =
                format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
            reader.get_mut().write_all((head + &body).as_bytes()).unwrap();
        }
        requests
    })
}

fn read_request(reader: &mut impl BufRead) -> String {
    let mut first = String::new();
    reader.read_line(&mut first).unwrap();
    let (mut length, mut line) = (0, String::new());
    while reader.read_line(&mut line).unwrap() > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let request = first.trim_end().trim_end_matches(" HTTP/1.1");
    format!("{request} {}", String::from_utf8(body).unwrap()).trim_end().to_owned()
}

/// A port that nobody listens on, nor will while the socket is there.
fn port_of_nobody() -> (tokio::net::TcpSocket, u16) {
    let taken = tokio::net::TcpSocket::new_v4().unwrap();
    taken.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let port = taken.local_addr().unwrap().port();
    (taken, port)
}

fn not_found() -> (u16, Value) {
    (404, json!({"error": "Object Not Found", "reason": "Not Found"}))
}

#[test]
fn a_vhost_is_added_under_its_escaped_name() {
    let ran = run_against(&["add_vhost", "a/b c", "--tags", "x,y"], &[(201, Value::Null)]);
    assert_eq!(ran.requests, [r#"PUT /api/vhosts/a%2Fb%20c {"tags":"x,y"}"#]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "Added vhost 'a/b c'.\n"));
}

#[test]
fn a_vhost_is_protected_from_deletion_and_no_longer() {
    let done = || (204, Value::Null);
    for name in ["enable_vhost_deletion_protection", "enable_vhost_protection_from_deletion"] {
        let ran = run_against(&[name, "a/b"], &[done()]);
        assert_eq!(ran.requests, ["POST /api/vhosts/a%2Fb/deletion/protection {}"]);
        assert_eq!((ran.code, ran.out.as_str()), (0, "Vhost 'a/b' is protected from deletion.\n"));
    }
    for name in ["disable_vhost_deletion_protection", "disable_vhost_protection_from_deletion"] {
        let ran = run_against(&[name, "v"], &[done()]);
        assert_eq!(ran.requests, ["DELETE /api/vhosts/v/deletion/protection"]);
        assert_eq!((ran.code, ran.out.as_str()), (0, "Vhost 'v' is no longer protected from deletion.\n"));
        let ran = run_against(&[name, "v"], &[not_found()]);
        assert_eq!((ran.code, ran.errors.contains("vhost 'v' does not exist")), (65, true));
    }
    let reason = "Refusing to delete virtual host 'v' because it is protected from deletion";
    let refused = (412, json!({"error": "precondition_failed", "reason": reason}));
    let ran = run_against(&["delete_vhost", "v"], &[refused]);
    assert_eq!((ran.code, ran.errors), (65, format!("Error: {reason}\n")));
}

#[test]
fn quiet_and_json_leave_the_notes_out() {
    assert_eq!(run_against(&["delete_vhost", "v", "-q"], &[(204, Value::Null)]).out, "");
    assert_eq!(run_against(&["delete_vhost", "v", "--format", "json"], &[(204, Value::Null)]).out, "");
}

#[test]
fn lists_show_the_columns_that_were_asked_for() {
    let queues = json!([{"name": "q", "messages": 3, "consumers": 1}]);
    let ran = run_against(&["list_queues", "-p", "v", "name", "consumers"], &[(200, queues.clone())]);
    assert_eq!(ran.out, "name  consumers\nq     1\n");
    assert_eq!(ran.requests, ["GET /api/queues/v?page=1&page_size=500&columns=name%2Cconsumers"]);
    let ran = run_against(&["--format", "json", "list_queues"], &[(200, queues)]);
    assert_eq!(serde_json::from_str::<Value>(&ran.out).unwrap(), json!([{"name": "q", "messages": 3}]));
}

#[test]
fn a_long_list_is_read_page_by_page() {
    let page =
        |page: u64, name: &str| (200, json!({"page": page, "page_count": 2, "items": [{"name": name}]}));
    let ran = run_against(&["list_queues", "name", "-q"], &[page(1, "a"), page(2, "b")]);
    assert_eq!(ran.out, "name\na\nb\n");
    assert_eq!(ran.requests.len(), 2);
    let ran = run_against(&["list_queues", "-s", "name"], &[page(1, "a"), page(2, "b")]);
    assert_eq!(ran.out, "a\nb\n", "as with rabbitmqctl, --silent leaves the header out, --quiet does not");
}

#[test]
fn columns_have_rabbitmqctls_names() {
    let bindings = json!([{
        "source": "logs", "vhost": "/", "destination": "q", "destination_type": "queue",
        "routing_key": "k", "arguments": {}, "properties_key": "k"
    }]);
    let ran = run_against(&["list_bindings", "--format", "json"], &[(200, bindings)]);
    assert_eq!(
        serde_json::from_str::<Value>(&ran.out).unwrap(),
        json!([{
            "source_name": "logs", "source_kind": "exchange", "destination_name": "q",
            "destination_kind": "queue", "routing_key": "k", "arguments": {}
        }])
    );
    let users = json!([{"name": "guest", "tags": ["administrator"]}]);
    assert_eq!(run_against(&["list_users"], &[(200, users)]).out, "user   tags\nguest  [administrator]\n");
}

#[test]
fn setting_tags_keeps_the_password_and_changing_the_password_keeps_the_tags() {
    let user = || (200, json!({"name": "u", "password_hash": "h", "hashing_algorithm": "a", "tags": ["x"]}));
    let ran = run_against(&["set_user_tags", "u", "administrator", "y"], &[user(), (204, Value::Null)]);
    let body = r#"{"hashing_algorithm":"a","password_hash":"h","tags":"administrator,y"}"#;
    assert_eq!(ran.requests[1], format!("PUT /api/users/u {body}"));
    let ran = run_against(&["change_password", "u", "p"], &[user(), (204, Value::Null)]);
    assert_eq!(ran.requests[1], r#"PUT /api/users/u {"password":"p","tags":["x"]}"#);
}

#[test]
fn adding_a_user_that_exists_is_refused_before_it_is_overwritten() {
    let ran = run_against(&["add_user", "guest", "p"], &[(200, json!({"name": "guest"}))]);
    assert_eq!(ran.code, 65);
    assert!(ran.errors.starts_with("Error: user 'guest' already exists"), "{}", ran.errors);
}

#[test]
fn what_is_not_there_is_named() {
    let ran = run_against(&["delete_user", "u"], &[not_found()]);
    assert_eq!((ran.code, ran.errors.contains("user 'u' does not exist")), (67, true));
    let ran = run_against(&["delete_vhost", "v"], &[not_found()]);
    assert_eq!((ran.code, ran.errors.contains("vhost 'v' does not exist")), (65, true));
    let ran = run_against(&["list_queues", "-p", "v"], &[not_found()]);
    assert_eq!((ran.code, ran.errors.contains("vhost 'v' does not exist")), (65, true));
}

#[test]
fn permissions_say_whether_user_or_vhost_is_missing() {
    let set = ["set_permissions", "-p", "v", "u", ".*", "", "^q"];
    let refused = || (400, json!({"error": "bad_request", "reason": "vhost_or_user_not_found"}));
    let ran = run_against(&set, &[refused(), not_found()]);
    assert_eq!(ran.requests[0], r#"PUT /api/permissions/v/u {"configure":".*","read":"^q","write":""}"#);
    assert_eq!(ran.code, 67);
    let ran = run_against(&set, &[refused(), (200, json!({"name": "u"})), not_found()]);
    assert_eq!((ran.code, ran.errors.contains("vhost 'v' does not exist")), (65, true));
    let found = || (200, json!({"name": "x"}));
    let ran = run_against(&["clear_permissions", "u"], &[not_found(), found(), found()]);
    assert_eq!(ran.code, 0, "nothing to clear");
}

#[test]
fn refusals_and_failures_are_one_line_with_an_exit_code() {
    let error = |error: &str, reason: &str| json!({"error": error, "reason": reason});
    for (answer, code, text) in [
        ((401, error("not_authorized", "Not_Authorized")), 77, "login refused for user 'guest'"),
        (
            (401, error("not_authorised", "Access refused.")),
            77,
            "user 'guest' may not do this (access refused)",
        ),
        ((400, error("bad_request", "inequivalent arg")), 65, "inequivalent arg"),
        ((503, error("overload", "busy")), 70, "failed with status 503 busy"),
        ((404, Value::Null), 70, "is no HTTP API of a broker"),
        ((200, json!("page")), 70, "is no HTTP API of a broker"),
    ] {
        let ran = run_against(&["list_queues"], &[answer]);
        assert_eq!(ran.code, code, "{text}");
        assert!(ran.errors.starts_with("Error: ") && ran.errors.contains(text), "{}", ran.errors);
        assert_eq!(ran.errors.lines().count(), 1);
    }
}

#[test]
fn a_broker_that_does_not_run_is_told_with_its_address() {
    let (_taken, port) = port_of_nobody();
    let (code, _, errors) = run_on(port, &["status"]);
    assert_eq!(code, 69);
    assert!(errors.starts_with(&format!("Error: no broker at 127.0.0.1:{port} (")), "{errors}");
    assert_eq!(errors.lines().count(), 1);
}

#[test]
fn bad_command_lines_are_one_line_and_name_what_is_near() {
    for (arguments, text) in [
        (&["add_vhots", "v"][..], "'add_vhost'"),
        (&["add_vhost"], "<VHOST>"),
        (&[], "requires a subcommand"),
        (&["list_queues", "nmae"], "unknown column 'nmae'; there are: name durable"),
        (&["status", "--format", "xml"], "invalid value 'xml'"),
    ] {
        let (code, _, errors) = run_on(1, arguments);
        assert_eq!(code, 64, "{errors}");
        assert!(errors.contains(text), "{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
}

#[test]
fn help_lists_every_command() {
    let (code, out, _) = run_on(1, &["--help"]);
    assert_eq!(code, 0);
    for command in
        commands().filter(|command| !refused::is(command.name) && !super::nouns::is_group(command.name))
    {
        assert!(out.contains(command.name), "{}", command.name);
    }
    parser().debug_assert();
}

#[test]
fn the_page_in_the_docs_names_every_command_and_option() {
    let page = include_str!("../../docs/warrenctl.md");
    for command in
        commands().filter(|command| !refused::is(command.name) && !super::nouns::is_group(command.name))
    {
        let is_named = [format!("`{}`", command.name), format!("`{} ", command.name)];
        assert!(is_named.iter().any(|text| page.contains(text)), "{}", command.name);
    }
    for option in parser().get_arguments().filter(|option| !option.is_hide_set()) {
        let long = format!("`--{}`", option.get_long().unwrap());
        assert!(page.contains(&long) || long == "`--version`", "{long}");
    }
}

#[test]
fn status_is_a_table_of_what_is_known_and_an_object_for_scripts() {
    let overview = json!({
        "product_name": "Warren", "product_version": "0.1.0", "node": "n@h",
        "listeners": [{"protocol": "amqp", "ip_address": "::", "port": 5672}],
        "queue_totals": {"messages": 3}
    });
    let node = json!({"mem_used": 1048576, "uptime": 61000, "mem_alarm": false, "disk_free_alarm": false});
    let ran = run_against(&["status"], &[(200, overview.clone()), (200, node)]);
    assert_eq!(ran.requests[1], "GET /api/nodes/n%40h");
    for line in [
        "Product      Warren",
        "Up           1 min 1 s",
        "Listeners    amqp [::]:5672",
        "Alarms       none",
        "Memory used  1.0 MiB",
        "Messages     3",
    ] {
        assert!(ran.out.lines().any(|found| found == line), "{line}\n{}", ran.out);
    }
    let refused = (401, json!({"error": "not_authorised", "reason": "Access refused."}));
    let ran = run_against(&["status", "--format", "json"], &[(200, overview), refused]);
    let status: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&status["messages"], &status["mem_used"]), (&json!(3), &Value::Null));
}

#[test]
fn store_commands_say_what_to_do_about_a_directory_that_is_missing_in_use_or_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let ran = |action: &[&str]| run_on(1, &[&["store"][..], action, &["--data-dir", path]].concat());
    let (code, _, errors) = ran(&["stats"]);
    assert_eq!(code, 66);
    assert!(errors.contains("is --data-dir right?"), "{errors}");
    let (store, _) = crate::store::open(crate::store::Options::new(path)).unwrap();
    let (code, _, errors) = ran(&["check"]);
    assert_eq!((code, errors.contains("stop the broker first"), errors.lines().count()), (75, true, 1));
    store.close().unwrap();
    drop(store);
    let (code, out, errors) = ran(&["check"]);
    assert_eq!((code, errors.as_str()), (0, ""));
    assert!(out.ends_with("Everything is as it was written.\n"), "{out}");
    let (code, _, errors) = ran(&["export", "/", "nobody"]);
    assert_eq!((code, errors.contains("no durable queue 'nobody' in vhost '/'")), (65, true), "{errors}");
    std::fs::write(dir.path().join("queues.snapshot"), "nonsense").unwrap();
    let (code, out, errors) = ran(&["check", "--format", "json"]);
    let value: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &value["whole"], errors.lines().count()), (72, &json!(false), 1));
    assert!(value["damage"][0].as_str().unwrap().contains("queues.snapshot"), "{out}");
}
