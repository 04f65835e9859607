//! Every route, when it is asked by who may not, for what is not there, with what makes no sense, and of a broker that
//! has failed. What of it is answered otherwise than most is written down.

use super::openapi::{fill, populated};
use super::*;
use crate::management::openapi::tests::{bodies, has_body};

/// What is sent where a body is wanted.
fn body_of(route: &Route) -> String {
    let of_route = bodies()
        .into_iter()
        .find(|(method, path, _)| (*method, *path) == (route.method.as_str(), route.path));
    of_route.map_or_else(String::new, |(_, _, body)| Value::from(body).to_string())
}

fn status(api: &Api, login: &str, route: &Route, path: &str, body: &str) -> u16 {
    api.ask_as(login, route.method.as_str(), path, body).status().as_u16()
}

#[test]
fn no_route_lets_in_who_lacks_a_login_or_a_tag() {
    let (api, _outbox) = populated();
    for (user, tags) in
        [("none", ""), ("manager", "management"), ("watcher", "monitoring"), ("maker", "policymaker")]
    {
        api.exists(user, tags, true);
    }
    for route in ROUTES.iter().filter(|route| route.level != Level::Anyone) {
        let path = fill(&api, route.path);
        let refused: &[&str] = match route.level {
            Level::Anyone => &[],
            Level::Management => &["none:p"],
            Level::Policymaker => &["none:p", "manager:p", "watcher:p"],
            Level::Monitoring => &["none:p", "manager:p", "maker:p"],
            Level::Administrator => &["none:p", "manager:p", "watcher:p", "maker:p"],
        };
        for login in ["", "guest:wrong"].iter().chain(refused) {
            let status = status(&api, login, route, &path, &body_of(route));
            assert_eq!(status, 401, "{login} {} {path}", route.method);
        }
    }
}

#[test]
fn no_route_of_a_vhost_lets_in_who_has_no_permissions_there() {
    let (api, _outbox) = populated();
    api.exists("stranger", "policymaker", false);
    for route in ROUTES.iter().filter(|route| route.path.contains("{vhost}")) {
        let path = fill(&api, route.path);
        let status = status(&api, "stranger:p", route, &path, &body_of(route));
        assert_eq!(status, 401, "{} {path}", route.method);
    }
}

/// Routes that answer otherwise when a part of their path is the name of nothing, and with what.
const OF_NOTHING: &[(&str, &str, &str, u16)] = &[
    // It is made.
    ("PUT", "/api/vhosts/{vhost}", "vhost", 201),
    ("PUT", "/api/users/{user}", "user", 201),
    ("PUT", "/api/policies/{vhost}/{name}", "name", 201),
    ("PUT", "/api/operator-policies/{vhost}/{name}", "name", 201),
    ("PUT", "/api/parameters/{component}/{vhost}/{name}", "name", 201),
    ("PUT", "/api/global-parameters/{name}", "name", 201),
    ("PUT", "/api/queues/{vhost}/{queue}", "queue", 201),
    ("PUT", "/api/exchanges/{vhost}/{exchange}", "exchange", 201),
    // It is no thing but a text, which may be any.
    ("GET", "/api/auth/hash_password/{password}", "password", 200),
    (
        "GET",
        "/api/health/checks/quorum-queues-without-elected-leaders/all-vhosts/pattern/{pattern}",
        "pattern",
        200,
    ),
    (
        "GET",
        "/api/health/checks/quorum-queues-without-elected-leaders/vhost/{vhost}/pattern/{pattern}",
        "pattern",
        200,
    ),
    // Lists of what belongs to nothing are empty, as RabbitMQ's are: tools look there before they make it.
    ("GET", "/api/parameters/{component}", "component", 200),
    ("GET", "/api/parameters/{component}/{vhost}", "component", 200),
    ("GET", "/api/queues/{vhost}/{queue}/bindings", "queue", 200),
    ("GET", "/api/exchanges/{vhost}/{exchange}/bindings/source", "exchange", 200),
    ("GET", "/api/exchanges/{vhost}/{exchange}/bindings/destination", "exchange", 200),
    ("GET", "/api/bindings/{vhost}/e/{source}/{kind}/{destination}", "source", 200),
    ("GET", "/api/bindings/{vhost}/e/{source}/{kind}/{destination}", "destination", 200),
    ("GET", "/api/connections/username/{user}", "user", 200),
    ("DELETE", "/api/connections/username/{user}", "user", 204),
    // A limit that is not set is none, whatever it is called.
    ("DELETE", "/api/vhost-limits/{vhost}/{name}", "name", 204),
    ("DELETE", "/api/user-limits/{user}/{name}", "name", 204),
    // It is there only as a word that makes no sense, or the request is about something else.
    ("PUT", "/api/feature-flags/{name}/enable", "name", 400),
    ("PUT", "/api/permissions/{vhost}/{user}", "vhost", 400),
    ("PUT", "/api/topic-permissions/{vhost}/{user}", "vhost", 400),
    ("PUT", "/api/topic-permissions/{vhost}/{user}", "user", 400),
    ("PUT", "/api/permissions/{vhost}/{user}", "user", 400),
    ("PUT", "/api/parameters/{component}/{vhost}/{name}", "component", 400),
    ("PUT", "/api/vhost-limits/{vhost}/{name}", "name", 400),
    ("PUT", "/api/user-limits/{user}/{name}", "user", 400),
    ("PUT", "/api/user-limits/{user}/{name}", "name", 400),
    ("GET", "/api/health/checks/port-listener/{port}", "port", 400),
    ("GET", "/api/health/checks/protocol-listener/{protocol}", "protocol", 503),
    ("GET", "/api/health/checks/certificate-expiration/{within}/{unit}", "within", 400),
    ("GET", "/api/health/checks/certificate-expiration/{within}/{unit}", "unit", 400),
    ("POST", "/api/vhosts/{vhost}/start/{node}", "vhost", 400),
    ("POST", "/api/vhosts/{vhost}/start/{node}", "node", 400),
];

#[test]
fn what_is_not_there_is_not_found_by_any_route() {
    let (api, _outbox) = populated();
    for (number, route) in ROUTES.iter().enumerate() {
        let parameters = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        for parameter in parameters {
            let path =
                fill(&api, &route.path.replace(&format!("{{{parameter}}}"), &format!("nothing{number}")));
            let status = status(&api, "guest:guest", route, &path, &body_of(route));
            let method = route.method.as_str();
            let known =
                OF_NOTHING.iter().find(|(m, p, of, ..)| (*m, *p, *of) == (method, route.path, parameter));
            assert_eq!(status, known.map_or(404, |(.., expected)| *expected), "{method} {path}");
        }
    }
}

#[test]
fn no_route_takes_a_body_that_is_no_object() {
    let (api, _outbox) = populated();
    for route in ROUTES.iter().filter(|route| has_body(route.method.as_str(), route.path)) {
        let path = fill(&api, route.path);
        for body in ["{", "[]", "3", "\"x\"", "{\"a\": 1"] {
            let status = status(&api, "guest:guest", route, &path, body);
            assert_eq!(status, 400, "{} {path} {body}", route.method);
        }
    }
}

/// What goes on while nothing can be written: method, path and status.
const WITHOUT_A_JOURNAL: &[(&str, &str, u16)] = &[
    // Nothing is written for it.
    ("PUT", "/api/feature-flags/{name}/enable", 204),
    ("POST", "/api/rebalance/queues", 204),
    ("POST", "/api/auth/hash_password", 200),
    ("POST", "/api/queues/{vhost}/{queue}/actions", 400),
    ("POST", "/api/vhosts/{vhost}/start/{node}", 204),
    ("POST", "/api/config/reload", 200),
    // It is not for the next start.
    ("PUT", "/api/config/effective/{setting}", 204),
    ("DELETE", "/api/auth/attempts/{name}", 204),
    ("DELETE", "/api/auth/attempts/{name}/source", 204),
    ("POST", "/api/login", 400),
    ("DELETE", "/api/login", 204),
    ("DELETE", "/api/reset", 204),
    ("DELETE", "/api/reset/{name}", 204),
    ("POST", "/api/nodes/{name}/drain", 204),
    ("POST", "/api/nodes/{name}/revive", 204),
    ("DELETE", "/api/connections/{connection}", 204),
    ("DELETE", "/api/connections/username/{user}", 204),
    // What is taken is written later: a restart may bring it back, which nobody was promised it would not.
    ("DELETE", "/api/queues/{vhost}/{queue}/contents", 204),
    ("POST", "/api/queues/{vhost}/{queue}/get", 200),
];

/// Requests of routes that would have nothing to write otherwise: method, path, its parts and the body.
fn writing(route: &Route) -> (String, Value) {
    let path = |from: &str, to: &str| route.path.replace(from, to);
    match (route.method.as_str(), route.path) {
        ("POST", path) if path.starts_with("/api/definitions") || path.ends_with("configuration") => (
            path.into(),
            json!({"queues": [{"name": "new", "vhost": "/", "durable": true, "auto_delete": false, "arguments": {}}]}),
        ),
        ("POST", "/api/users/bulk-delete") => (route.path.into(), json!({"users": ["u"]})),
        ("PUT", "/api/queues/{vhost}/{queue}") => (path("{queue}", "new"), json!({"durable": true})),
        ("PUT", "/api/exchanges/{vhost}/{exchange}") => {
            (path("{exchange}", "new"), json!({"durable": true, "type": "topic"}))
        }
        ("DELETE", "/api/exchanges/{vhost}/{exchange}") => (path("{exchange}", "kept"), Value::Null),
        ("DELETE", path) if path.contains("{user}") && !path.starts_with("/api/users") => {
            (path.replace("{user}", "guest"), Value::Null)
        }
        ("POST", "/api/exchanges/{vhost}/{exchange}/publish") => (
            path("{exchange}", "amq.default"),
            json!({"routing_key": "q", "properties": {"delivery_mode": 2}, "payload": "", "payload_encoding": "string"}),
        ),
        _ => (route.path.into(), serde_json::from_str(&body_of(route)).unwrap_or_default()),
    }
}

#[test]
fn a_broker_that_has_failed_says_so_on_every_route_that_would_write() {
    for route in ROUTES.iter().filter(|route| route.method != Method::GET) {
        let (api, _outbox) = populated();
        assert_eq!(api.put("/exchanges/%2F/kept", json!({"type": "topic", "durable": true})), created());
        api.failure.send_replace(Some(JournalFailed::new("no space for a sync")));
        let (path, body) = writing(route);
        let path = fill(&api, &path);
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let status = status(&api, "guest:guest", route, &path, &body);
        let method = route.method.as_str();
        let known = WITHOUT_A_JOURNAL.iter().find(|(m, p, ..)| (*m, *p) == (method, route.path));
        assert_eq!(status, known.map_or(503, |(.., expected)| *expected), "{method} {path}");
    }
}
