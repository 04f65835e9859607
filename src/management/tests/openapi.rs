//! Whether answers are what the OpenAPI document says, on a broker with something of everything, and whether it refuses what
//! the document calls wrong.

use super::*;
use crate::broker::alarms::Resource;
use crate::broker::consume::Subscribe;
use crate::broker::declare::DeclareQueue;
use crate::management::openapi::tests::{NO_ROWS, bodies, content_types, faults, has_status};
use crate::management::statistics::Sampler;
use crate::outbox::Wakes;

/// An API with something in every list, two samples old.
pub(super) fn populated() -> (Api, Arc<Outbox>) {
    let api = Api::start();
    for (path, body) in [
        ("/vhosts/v", json!({"description": "d", "tags": "a", "default_queue_type": "quorum"})),
        ("/users/u", json!({"password": "p", "tags": "management"})),
        ("/queues/%2F/q", json!({"durable": true, "arguments": {"x-max-length": 10}})),
        ("/queues/%2F/qq", json!({"durable": true, "arguments": {"x-queue-type": "quorum"}})),
        ("/queues/%2F/transient", json!({"durable": false})),
        ("/exchanges/%2F/d", json!({"type": "x-delayed-message", "arguments": {"x-delayed-type": "direct"}})),
        ("/parameters/federation-upstream/%2F/x", json!({"value": {"uri": "amqp://x"}})),
        ("/global-parameters/x", json!({"value": {"a": 1}})),
        ("/policies/%2F/x", json!({"pattern": "^q", "definition": {"max-length": 5}})),
        ("/operator-policies/%2F/x", json!({"pattern": "^q", "definition": {"max-length": 5}})),
    ] {
        assert_eq!(api.put(path, body).0, 201, "{path}");
    }
    for (path, value) in [("/vhost-limits/%2F/max-queues", 100), ("/user-limits/guest/max-channels", -1)] {
        assert_eq!(api.put(path, json!({"value": value})), done());
    }
    for destination in ["q/q", "e/amq.topic"] {
        let path = format!("/bindings/%2F/e/amq.topic/{destination}");
        assert_eq!(api.post(&path, json!({"routing_key": "k", "arguments": {"n": 1}})), created());
    }
    let topics = json!({"exchange": "amq.topic", "write": ".*", "read": ".*"});
    for user in ["u", "guest"] {
        assert_eq!(api.put(&format!("/topic-permissions/%2F/{user}"), topics.clone()), created());
    }
    let outbox = api.connect("guest", 1001);
    let connection = api.broker.connections.get(outbox.connection).unwrap();
    connection.channels.lock()[0].counts.published = 1;
    consume(&api, &outbox);
    let mut sampler = Sampler::default();
    for now_ms in [1_800_000_000_000, 1_800_000_005_000] {
        for properties in [json!({}), json!({"headers": {"a": [1]}, "priority": 3, "type": "t"})] {
            let (key, payload_encoding) = ("k", "string");
            let body = json!({
                "routing_key": key, "properties": properties, "payload": "x", "payload_encoding": payload_encoding
            });
            assert_eq!(api.post("/exchanges/%2F/amq.topic/publish", body.clone()).0, 200);
            assert_eq!(api.post("/exchanges/%2F/amq.fanout/publish", body).0, 200);
        }
        sampler.take(&api.node, now_ms);
    }
    (api, outbox)
}

/// A consumer of an exclusive queue.
fn consume(api: &Api, outbox: &Arc<Outbox>) {
    let guest = api.broker.log_in("guest", b"guest", true).unwrap();
    let mut session = api.broker.enter(&guest, &"/".into(), Some(outbox.connection)).unwrap();
    session.channel = ChannelId(1);
    let declare = DeclareQueue {
        name: "own".into(),
        durable: false,
        exclusive: true,
        auto_delete: false,
        arguments: Default::default(),
    };
    let _own = api.broker.declare_queue(&session, declare).unwrap();
    let subscribe = Subscribe {
        queue: "own".into(),
        tag: "c".into(),
        channel: ChannelId(1),
        outbox: Arc::clone(outbox),
        no_ack: false,
        exclusive: false,
        prefetch: 1,
        credit: Default::default(),
        arguments: Default::default(),
    };
    api.broker.subscribe(&session, subscribe, &mut Wakes::default()).unwrap();
    let connection = api.broker.connections.get(outbox.connection).unwrap();
    connection.channels.lock()[0].global_prefetch = 1;
}

/// A path of a route on that API.
pub(super) fn fill(api: &Api, path: &str) -> String {
    let name = match path {
        _ if ["node", "attempts", "reset"].iter().any(|noun| path.contains(noun)) => "warren@test",
        _ if path.contains("vhost-limits") => "max-queues",
        _ if path.contains("user-limits") => "max-channels",
        _ if path.contains("feature-flags") => "quorum_queue",
        _ => "x",
    };
    let Got(_, between) = api.get("/bindings/%2F/e/amq.topic/q/q");
    let key = between[0]["properties_key"].as_str().unwrap().to_owned();
    let port = api.base.rsplit_once(':').unwrap().1;
    let connection = "127.0.0.1:1001%20-%3E%20127.0.0.1:5672";
    let channel = format!("{connection}%20(1)");
    [
        ("vhost", "%2F"),
        ("user", "u"),
        ("component", "federation-upstream"),
        ("name", name),
        ("queue", if path.contains("/quorum/") { "qq" } else { "q" }),
        ("exchange", "amq.topic"),
        ("source", "amq.topic"),
        ("kind", "q"),
        ("destination", "q"),
        ("key", &key),
        ("connection", connection),
        ("channel", &channel),
        ("password", "p"),
        ("port", port),
        ("protocol", "http"),
        ("within", "1"),
        ("unit", "weeks"),
        ("pattern", "."),
        ("node", "warren@test"),
        ("setting", "channel_max"),
    ]
    .iter()
    .fold(path.to_owned(), |path, (name, value)| path.replace(&format!("{{{name}}}"), value))
}

/// Asks, and says what of the answer is not as the document has it.
fn ask(api: &Api, method: &str, route: &str, path: &str, body: &str) -> (u16, Value, Vec<String>) {
    let mut response = api.ask_as("guest:guest", method, path, body);
    let status = response.status().as_u16();
    let content_type = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
    let text = response.body_mut().read_to_string().unwrap();
    let mut found = Vec::new();
    let answer: Value = serde_json::from_str(&text).unwrap_or_default();
    if !matches!(status, 201 | 204) && content_type.as_deref() != Some("application/json") {
        found.push(format!("is {content_type:?}"));
    }
    if !has_status(method, route, status) {
        found.push(format!("has no status {status}"));
    }
    found.extend(faults(method, route, status, &answer));
    (status, answer, found)
}

/// The routes that are asked and answer with JSON.
fn asked() -> impl Iterator<Item = &'static Route> {
    let is_other =
        |path: &str| matches!(path, "/" | "/api/live" | "/api/health/checks/ready-to-serve-clients");
    ROUTES.iter().filter(move |route| route.method == Method::GET && !is_other(route.path))
}

#[test]
fn every_answer_has_the_fields_that_the_document_has_and_no_others() {
    let (api, _outbox) = populated();
    let spans = ["msg_rates", "lengths", "data_rates", "node_stats"];
    let spans = spans.map(|span| format!("{span}_age=60&{span}_incr=5")).join("&");
    for route in asked() {
        let path = match route.path {
            // A user of its own, who has all of it.
            path if path.contains("permissions") || path.contains("user-limits") => {
                path.replace("{user}", "guest")
            }
            path if path.contains("/username/") => path.replace("{user}", "guest"),
            path => path.to_owned(),
        };
        let path = fill(&api, &path);
        for query in ["", &format!("?{spans}"), "?page=1&page_size=10"] {
            let (status, answer, found) = ask(&api, "GET", route.path, &format!("{path}{query}"), "");
            assert_eq!(status, 200, "{path}{query}: {answer}");
            let expected = if route.path.contains("/sessions") { vec![NO_ROWS] } else { vec![] };
            assert_eq!(found, expected, "{path}{query}");
        }
    }
}

#[test]
fn single_objects_of_each_kind_are_as_the_document_has_them() {
    let (api, _outbox) = populated();
    for (route, path) in [
        ("/api/queues/{vhost}/{queue}", "/api/queues/%2F/own"),
        ("/api/exchanges/{vhost}/{exchange}", "/api/exchanges/%2F/d"),
        ("/api/vhosts/{vhost}", "/api/vhosts/v"),
        ("/api/definitions/{vhost}", "/api/definitions/v"),
        ("/api/definitions/{vhost}", "/api/definitions/%2F?download=f"),
    ] {
        let (status, answer, found) = ask(&api, "GET", route, path, "");
        assert_eq!((status, found), (200, Vec::new()), "{path}: {answer}");
    }
    let get = json!({"count": 9, "ackmode": "ack_requeue_true", "encoding": "auto"}).to_string();
    let publish = json!({"routing_key": "", "properties": [], "payload": "", "payload_encoding": "string"});
    let file =
        json!({"policies": [{"vhost": "/", "name": "n", "definition": {"ha-mode": "all"}}]}).to_string();
    for (method, route, path, body) in [
        ("POST", "/api/queues/{vhost}/{queue}/get", "/api/queues/%2F/q/get", get),
        (
            "POST",
            "/api/exchanges/{vhost}/{exchange}/publish",
            "/api/exchanges/%2F/amq.topic/publish",
            publish.to_string(),
        ),
        ("POST", "/api/definitions", "/api/definitions", file),
    ] {
        let (status, answer, found) = ask(&api, method, route, path, &body);
        assert_eq!((status, found), (200, Vec::new()), "{path}: {answer}");
    }
}

#[test]
fn checks_that_fail_and_refusals_are_as_the_document_has_them() {
    let (api, _outbox) = populated();
    api.broker.set_alarm(Resource::Memory, true);
    for (route, path, expected) in [
        ("/api/health/checks/alarms", "/api/health/checks/alarms", 503),
        ("/api/health/checks/port-listener/{port}", "/api/health/checks/port-listener/1", 503),
        ("/api/health/checks/port-listener/{port}", "/api/health/checks/port-listener/x", 400),
        ("/api/health/checks/protocol-listener/{protocol}", "/api/health/checks/protocol-listener/x", 503),
        ("/api/health/checks/ready-to-serve-clients", "/api/health/checks/ready-to-serve-clients", 503),
        ("/api/queues", "/api/queues?page=0", 400),
        ("/api/queues/{vhost}/{queue}", "/api/queues/%2F/nothing", 404),
        ("/api/queues/{vhost}/{queue}", "/api/queues/nowhere/q", 404),
    ] {
        let (status, answer, found) = ask(&api, "GET", route, path, "");
        assert_eq!((status, found), (expected, Vec::new()), "{path}: {answer}");
    }
}

#[test]
fn a_body_without_a_field_that_it_must_have_is_refused_and_one_with_all_of_them_is_not() {
    let (api, _outbox) = populated();
    let mut fields = 0;
    for (method, route, body) in bodies() {
        // What is there already is not declared otherwise.
        let route_of_new =
            route.replace("/{vhost}/{queue}", "/{vhost}/new").replace("/{vhost}/{exchange}", "/{vhost}/new");
        let path = fill(&api, if method == "PUT" { &route_of_new } else { route });
        for field in body.keys() {
            let mut short = body.clone();
            short.remove(field);
            let (status, answer, found) = ask(&api, method, route, &path, &Value::from(short).to_string());
            assert_eq!((status, found), (400, Vec::new()), "{method} {path} without {field}: {answer}");
            assert!(answer["reason"].as_str().unwrap().contains(field.as_str()), "{path}: {answer}");
            fields += 1;
        }
        let (status, answer, found) = ask(&api, method, route, &path, &Value::from(body).to_string());
        let is_ever_done = [200, 201, 204].iter().any(|status| has_status(method, route, *status));
        let expected = if is_ever_done { 2 } else { 4 };
        assert_eq!((status / 100, found), (expected, Vec::new()), "{method} {path}: {answer}");
    }
    assert!(fields > 15, "{fields}");
}

#[test]
fn the_document_is_there_without_a_login() {
    let api = Api::start();
    let mut response = api.ask_as("", "GET", "/api/openapi.json", "");
    assert_eq!(response.status(), 200);
    let document: Value = serde_json::from_str(&response.body_mut().read_to_string().unwrap()).unwrap();
    assert_eq!(document["info"]["version"], json!(env!("CARGO_PKG_VERSION")));
    assert!(document["paths"]["/api/queues/{vhost}/{queue}"]["put"]["requestBody"].is_object());
}

#[test]
fn pages_and_events_are_what_the_document_says() {
    let api = Api::start();
    for path in ["/", "/api/live"] {
        let response = api.ask_as("guest:guest", "GET", path, "");
        assert_eq!(content_types(path), [response.headers()["content-type"].to_str().unwrap()]);
    }
}
