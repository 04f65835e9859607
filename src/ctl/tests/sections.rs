//! rabbitmqadmin's file of sections, and where the API is.

use super::*;

/// Runs a command line without `--host` and `--port` against a server on the port that stands for PORT in the text of a
/// file; what it asks, with the login, and what came of it.
fn run_with_file(text: &str, arguments: &[&str]) -> Ran {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let port = address.port().to_string();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.conf");
    std::fs::write(&file, text.replace("PORT", &port)).unwrap();
    let server = serve(listener, vec![(200, json!([{"name": "q", "messages": 1}]))]);
    let line = ["warrenctl", "--config", file.to_str().unwrap()].into_iter().map(str::to_owned);
    let line = line.chain(arguments.iter().map(|argument| argument.replace("PORT", &port)));
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let code = run(line.map(OsString::from), &mut out, &mut errors);
    drop(std::net::TcpStream::connect(address));
    let [out, errors] = [out, errors].map(|text| String::from_utf8(text).unwrap());
    Ran { code, out, errors, requests: server.join().unwrap() }
}

const FILE: &str = "[default]\nhostname = '127.0.0.1'\nport = PORT\nvirtual_host = 'v'\n\
                    [other]\nbase_uri = 'http://127.0.0.1:PORT/rabbit'\n\
                    [far]\nhostname = 'far.example'\nport = 1\n";

fn first(ran: &Ran) -> &str {
    assert_eq!((ran.code, ran.errors.as_str()), (0, ""));
    ran.requests[0].split('?').next().unwrap()
}

#[test]
fn a_section_of_the_file_says_where_the_broker_is() {
    assert_eq!(first(&run_with_file(FILE, &["list_queues"])), "GET /api/queues/v");
    assert_eq!(first(&run_with_file(FILE, &["list", "queues"])), "GET /api/queues/v", "as with -p");
    let ran = run_with_file(FILE, &["list_queues", "--node", "other"]);
    assert_eq!(first(&ran), "GET /rabbit/api/queues/%2F");
    let ran = run_with_file(FILE, &["-n", "rabbit@host", "list_queues", "-N", "other"]);
    assert_eq!(first(&ran), "GET /rabbit/api/queues/%2F");
    let ran = run_with_file(FILE, &["list_queues", "--node", "rabbit@host"]);
    assert_eq!(first(&ran), "GET /api/queues/v", "rabbitmqctl's name of a node is none of a section");
}

#[test]
fn what_is_said_on_the_command_line_counts_before_the_file() {
    let line = ["list_queues", "--node", "far", "-H", "127.0.0.1", "-P", "PORT", "-p", "w"];
    assert_eq!(first(&run_with_file(FILE, &line)), "GET /api/queues/w");
    let line = ["list_queues", "--node", "far", "--base-uri", "http://127.0.0.1:PORT/x"];
    assert_eq!(first(&run_with_file(FILE, &line)), "GET /x/api/queues/%2F");
    let line = ["list_queues", "--base-uri", "http://127.0.0.1:PORT", "--host", "h"];
    let ran = run_with_file(FILE, &line);
    assert_eq!((ran.code, ran.errors.contains("leave --host and --port out")), (64, true), "{}", ran.errors);
    let line = ["list_queues", "--path-prefix", "/y/api"];
    assert_eq!(first(&run_with_file(FILE, &line)), "GET /y/api/queues/v");
}

#[test]
fn what_cannot_be_read_is_told_only_where_it_matters() {
    let ran = run_with_file("nonsense", &["list_queues"]);
    assert_eq!(
        (ran.code, ran.errors.contains("c.conf:1 is no TOML of sections")),
        (64, true),
        "{}",
        ran.errors
    );
    assert_eq!(run_with_file("nonsense", &["version"]).code, 0);
    let ran = run_with_file(FILE, &["list_queues", "--node", "nowhere"]);
    assert_eq!(
        (ran.code, ran.errors.contains("--node names one of: default far other")),
        (64, true),
        "{}",
        ran.errors
    );
}

#[test]
fn tls_is_refused_with_what_to_do() {
    for line in [
        &["list_queues", "--tls"][..],
        &["list_queues", "--use-tls"],
        &["list_queues", "--base-uri", "https://localhost"],
    ] {
        let ran = run_with_file("", line);
        let errors = ran.errors;
        assert_eq!(
            (ran.code, errors.contains("the broker's HTTP API has no TLS yet")),
            (64, true),
            "{errors}"
        );
    }
}
