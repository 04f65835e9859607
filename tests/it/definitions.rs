//! Definitions from RabbitMQ to Warren, and back.

use crate::support::broker::{Process, Target};
use crate::support::http;
use crate::support::oracle::Oracle;
use serde_json::{Value, json};

/// Sections that say the same on both sides, and the fields that are compared.
const SECTIONS: &[(&str, &[&str])] = &[
    ("users", &["name", "password_hash", "hashing_algorithm", "tags"]),
    ("vhosts", &["name"]),
    ("permissions", &["user", "vhost", "configure", "write", "read"]),
    ("parameters", &["vhost", "component", "name", "value"]),
    ("policies", &["vhost", "name", "pattern", "apply-to", "definition", "priority"]),
    ("queues", &["vhost", "name", "durable", "auto_delete", "arguments"]),
    ("exchanges", &["vhost", "name", "type", "durable", "auto_delete", "internal", "arguments"]),
    ("bindings", &["vhost", "source", "destination", "destination_type", "routing_key", "arguments"]),
];

fn ask(target: Target, method: &str, path: &str, body: &str) -> (u16, Value) {
    let management = target.management.expect("the broker has an HTTP API");
    let (status, answer) = http::request(management, method, &format!("/api{path}"), "guest:guest", body);
    (status, serde_json::from_str(&answer).unwrap_or_default())
}

/// What a file says, in an order that does not depend on the broker.
fn said(file: &Value) -> Vec<String> {
    let mut said = Vec::new();
    for (section, fields) in SECTIONS {
        for object in file[section].as_array().unwrap_or(&Vec::new()) {
            let of_interest = fields.iter().map(|field| ((*field).to_owned(), object[field].clone()));
            said.push(format!("{section}: {}", Value::Object(of_interest.collect())));
        }
    }
    said.sort();
    said
}

/// One of everything that both have, in the vhost `v`.
fn furnish(target: Target) {
    for (path, body) in [
        ("/vhosts/v", json!({})),
        ("/users/u", json!({"password": "secret", "tags": "monitoring,policymaker"})),
        ("/permissions/v/u", json!({"configure": "^a", "write": "", "read": ".*"})),
        ("/permissions/v/guest", json!({"configure": ".*", "write": ".*", "read": ".*"})),
        ("/vhost-limits/v/max-queues", json!({"value": 90})),
        (
            "/policies/v/p",
            json!({"pattern": "^q", "definition": {"max-length": 7, "overflow": "reject-publish"}, "apply-to": "queues", "priority": 2}),
        ),
        (
            "/policies/v/mirrored",
            json!({"pattern": "^m", "definition": {"ha-mode": "all"}, "apply-to": "queues"}),
        ),
        (
            "/operator-policies/v/o",
            json!({"pattern": "^q", "definition": {"expires": 3_600_000}, "apply-to": "queues"}),
        ),
        (
            "/queues/v/q",
            json!({"durable": true, "arguments": {"x-message-ttl": 60000, "x-dead-letter-exchange": "x", "x-odd": {"a": [1, true, "t"]}}}),
        ),
        ("/queues/v/lazy", json!({"durable": true, "arguments": {"x-queue-mode": "lazy"}})),
        (
            "/queues/v/quorum",
            json!({"durable": true, "arguments": {"x-queue-type": "quorum", "x-delivery-limit": 3}}),
        ),
        (
            "/exchanges/v/x",
            json!({"type": "topic", "durable": true, "internal": true, "arguments": {"alternate-exchange": "h"}}),
        ),
        ("/exchanges/v/h", json!({"type": "headers", "durable": true, "auto_delete": true})),
        (
            "/exchanges/v/hash",
            json!({"type": "x-consistent-hash", "durable": true, "arguments": {"hash-header": "k"}}),
        ),
    ] {
        let (status, answer) = ask(target, "PUT", path, &body.to_string());
        assert!(matches!(status, 201 | 204), "{path}: {status} {answer}");
    }
    for (path, body) in [
        ("/bindings/v/e/x/q/q", json!({"routing_key": "a.#"})),
        (
            "/bindings/v/e/h/e/x",
            json!({"routing_key": "", "arguments": {"x-match": "any", "n": 1, "t": "x"}}),
        ),
        ("/bindings/v/e/hash/q/lazy", json!({"routing_key": "2"})),
        ("/bindings/v/e/amq.fanout/q/quorum", json!({"routing_key": ""})),
    ] {
        let (status, answer) = ask(target, "POST", path, &body.to_string());
        assert_eq!(status, 201, "{path}: {answer}");
    }
}

#[test]
fn what_rabbitmq_exports_comes_in_and_goes_back() {
    let Some(oracle) = Oracle::find() else {
        eprintln!("skipped: RabbitMQ is not installed");
        return;
    };
    furnish(oracle.target);
    let (status, file) = ask(oracle.target, "GET", "/definitions", "");
    assert_eq!(status, 200);
    let directory = tempfile::tempdir().unwrap();
    let process = Process::start(directory.path());
    let warren = process.target;
    let (status, answer) = ask(warren, "POST", "/definitions", &file.to_string());
    let left_out: Vec<&str> =
        answer["left_out"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(status, 200);
    assert!(
        left_out.len() == 1 && left_out[0].starts_with("policy 'mirrored' in vhost 'v': "),
        "{left_out:?}"
    );
    let mut expected = said(&file);
    expected.retain(|line| !line.contains("mirrored"));
    assert_eq!(said(&ask(warren, "GET", "/definitions", "").1), expected);
    // The password is the same one.
    let management = warren.management.unwrap();
    assert_eq!(http::request(management, "GET", "/api/whoami", "u:secret", "").0, 200);
    // And back into a RabbitMQ that has nothing of it any more.
    let (_, back) = ask(warren, "GET", "/definitions", "");
    for path in ["/vhosts/v", "/users/u"] {
        assert_eq!(ask(oracle.target, "DELETE", path, "").0, 204);
    }
    let (status, answer) = ask(oracle.target, "POST", "/definitions", &back.to_string());
    assert_eq!(status, 204, "{answer}");
    assert_eq!(said(&ask(oracle.target, "GET", "/definitions", "").1), expected);
    process.stop();
}

#[test]
fn what_was_imported_survives_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let process = Process::start(&data);
    furnish(process.target);
    assert_eq!(ask(process.target, "DELETE", "/policies/v/mirrored", "").0, 204);
    let (_, file) = ask(process.target, "GET", "/definitions", "");
    process.stop();
    let other = directory.path().join("other");
    let process = Process::start(&other);
    assert_eq!(ask(process.target, "POST", "/definitions", &file.to_string()), (204, Value::Null));
    process.kill();
    let process = Process::start(&other);
    assert_eq!(said(&ask(process.target, "GET", "/definitions", "").1), said(&file));
    process.stop();
}

/// As containers are set up.
#[test]
fn a_file_is_loaded_at_every_start_and_its_users_replace_the_default_one() {
    let directory = tempfile::tempdir().unwrap();
    let (data, path) = (directory.path().join("data"), directory.path().join("definitions.json"));
    let file = |queue: &str| {
        json!({
            "users": [{"name": "boss", "password": "secret", "tags": "administrator"}],
            "vhosts": [{"name": "v"}],
            "permissions": [{"user": "boss", "vhost": "v", "configure": ".*", "write": ".*", "read": ".*"}],
            "queues": [{"vhost": "v", "name": queue, "durable": true}],
        })
    };
    let settings = [("WARREN_LOAD_DEFINITIONS", path.to_str().unwrap())];
    for (queue, expected) in [("first", json!(["first"])), ("second", json!(["first", "second"]))] {
        std::fs::write(&path, file(queue).to_string()).unwrap();
        let process = Process::start_with(&data, &settings);
        let management = process.target.management.unwrap();
        assert_eq!(ask(process.target, "GET", "/whoami", "").0, 401, "there is no guest");
        let (_, queues) = http::request(management, "GET", "/api/queues/v?columns=name", "boss:secret", "");
        let queues: Value = serde_json::from_str(&queues).unwrap();
        let names: Value = queues.as_array().unwrap().iter().map(|queue| queue["name"].clone()).collect();
        assert_eq!(names, expected);
        process.kill();
    }
}

#[test]
fn a_node_does_not_start_with_definitions_that_make_no_sense() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("definitions.json");
    for (content, why) in [
        (None, "No such file or directory"),
        (Some("[1"), "it is no JSON object"),
        (Some(r#"{"queues": [{"vhost": "/"}]}"#), "queues[0]: name is missing"),
        (
            Some(r#"{"queues": [{"vhost": "v", "name": "q"}]}"#),
            "queues[0]: vhost 'v' is neither in the file nor on this node",
        ),
    ] {
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let started = std::process::Command::new(env!("CARGO_BIN_EXE_warren"))
            .arg("--data-dir")
            .arg(directory.path().join("data"))
            .args(["--listen", "127.0.0.1:0", "--management-listen", "127.0.0.1:0"])
            .args(["--prometheus-listen", "127.0.0.1:0"])
            .env("WARREN_LOAD_DEFINITIONS", &path)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&started.stderr).into_owned();
        let expected = format!("definitions cannot be loaded from {}: {why}", path.display());
        assert!(!started.status.success() && said.contains(&expected), "{said}");
    }
}
