//! Runtime parameters: kept for those who ask for them.

use crate::support::broker::Process;
use crate::support::{Scenario, scenarios};
use serde_json::{Value, json};

fn saw(t: &Scenario, path: &str, wanted: &Value) {
    t.trace.saw("", &wanted.to_string(), &t.shown(path).to_string());
}

/// RabbitMQ has one that it made itself.
fn a_global_parameter_is_any_json(t: &Scenario) {
    let path = "/api/global-parameters/~g";
    for value in [json!({"a": [1, {"b": null}]}), json!("text"), json!(1.5), json!([]), json!(false)] {
        t.set(path, &json!({ "value": value }));
        saw(t, path, &json!({"name": "~g", "value": value}));
    }
    t.forget(&[path]);
    assert_eq!((t.http("GET", path, ""), t.http("DELETE", path, "")), (404, 404));
}

fn an_operator_policy_and_limits_are_parameters_too(t: &Scenario) {
    t.vhost("~v");
    let policy = json!({"pattern": "^q", "definition": {"max-length": 5}, "priority": 0, "apply-to": "all"});
    for (component, name, value) in
        [("operator_policy", "o", policy), ("vhost-limits", "limits", json!({"max-queues": 3}))]
    {
        let path = format!("/api/parameters/{component}/~v/{name}");
        t.set(&path, &json!({ "value": value }));
        let shown = json!({"vhost": "~v", "component": component, "name": name, "value": value});
        saw(t, &path, &shown);
        saw(t, &format!("/api/parameters/{component}/~v"), &json!([shown]));
    }
    saw(t, "/api/operator-policies/~v?columns=name", &json!([{"name": "o"}]));
    saw(t, "/api/vhost-limits/~v", &json!([{"vhost": "~v", "value": {"max-queues": 3}}]));
    t.forget(&["/api/parameters/operator_policy/~v/o", "/api/parameters/vhost-limits/~v/limits"]);
    saw(t, "/api/operator-policies/~v", &json!([]));
    saw(t, "/api/vhost-limits/~v", &json!([]));
    t.forget(&["/api/vhosts/~v"]);
}

fn a_component_that_nobody_knows_has_no_parameters(t: &Scenario) {
    let path = "/api/parameters/~unknown/%2F/p";
    assert_eq!(t.http("PUT", path, r#"{"value": {}}"#), 400);
    assert_eq!((t.http("GET", path, ""), t.http("DELETE", path, "")), (404, 404));
    saw(t, "/api/parameters/~unknown", &json!([]));
}

scenarios![
    a_global_parameter_is_any_json,
    an_operator_policy_and_limits_are_parameters_too,
    a_component_that_nobody_knows_has_no_parameters,
];

#[test]
fn parameters_survive_a_crash_and_go_with_their_vhost() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let process = Process::start(&data);
    let t = Scenario::new(process.target, true);
    t.vhost("~v");
    for (vhost, name) in [("%2F", "kept"), ("%2F", "cleared"), ("~v", "gone")] {
        t.set(&format!("/api/parameters/shovel/{vhost}/{name}"), &json!({"value": {"src-uri": "amqp://"}}));
    }
    t.set("/api/global-parameters/g", &json!({"value": {"Float": null}}));
    t.set("/api/global-parameters/cleared", &json!({"value": 1}));
    t.forget(&["/api/vhosts/~v"]);
    t.vhost("~v");
    t.forget(&["/api/parameters/shovel/%2F/cleared", "/api/global-parameters/cleared"]);
    process.kill();
    let process = Process::start(&data);
    let t = t.moved(process.target);
    let kept = json!({"vhost": "/", "component": "shovel", "name": "kept", "value": {"src-uri": "amqp://"}});
    assert_eq!(t.shown("/api/parameters"), json!([kept]));
    assert_eq!(t.shown("/api/global-parameters"), json!([{"name": "g", "value": {"Float": null}}]));
    process.stop();
}
