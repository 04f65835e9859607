//! The local socket: who runs the broker does everything there, whoever logs in does what its user may.

use super::*;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

/// Asks over the socket; status and body.
fn ask(path: &std::path::Path, login: &str, request: &str, body: &str) -> (u16, String) {
    let mut stream = UnixStream::connect(path).unwrap();
    let login = match login {
        "" => String::new(),
        login => format!("authorization: Basic {}\r\n", BASE64_STANDARD.encode(login)),
    };
    let length = body.len();
    let head = format!(
        "{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n{login}\r\n"
    );
    stream.write_all((head + body).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

#[test]
fn who_runs_the_broker_does_everything_on_its_socket() {
    let api = Api::start();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("warren.sock");
    let listener = {
        let _entered = api._runtime.enter();
        UnixListener::bind(&path).unwrap()
    };
    let node = api.node.clone();
    api._runtime.spawn(serve_local(listener, node, std::future::pending()));
    let local = |request: &str, body: &str| ask(&path, "", request, body);
    let (status, whoami) = local("GET /api/whoami", "");
    assert_eq!((status, whoami.contains("\"rmq-cli\"")), (200, true), "{whoami}");
    // A vhost that nobody has permissions in.
    assert_eq!(local("PUT /api/vhosts/v", "{}").0, 201);
    assert_eq!(local("PUT /api/queues/v/q", "{\"durable\": true}").0, 201);
    assert_eq!(local("GET /api/queues/v/q", "").0, 200);
    let publish = r#"{"routing_key": "q", "properties": {}, "payload": "m", "payload_encoding": "string"}"#;
    assert_eq!(
        local("POST /api/exchanges/v/amq.default/publish", publish),
        (200, "{\"routed\":true}".to_owned())
    );
    assert_eq!(local("DELETE /api/users/guest", "").0, 204, "without any user it goes on");
    assert_eq!(local("DELETE /api/queues/v/q", "").0, 204);
    // The name is nobody's over the network.
    assert_eq!(local("PUT /api/users/rmq-cli", r#"{"password": "p", "tags": "management"}"#).0, 201);
    let refused = Got(401, json!({"error": "not_authorised", "reason": "Access refused."}));
    assert_eq!(api.as_user("rmq-cli:p", "PUT", "/queues/v/q", json!({"durable": true})), refused);
    // A login counts more than who asks.
    assert_eq!(ask(&path, "rmq-cli:p", "GET /api/users", "").0, 401);
    assert_eq!(ask(&path, "rmq-cli:wrong", "GET /api/whoami", "").0, 401);
}
