//! Policies, parameters and limits: statuses, bodies, who may what.

use super::*;

fn missing_vhost() -> Got {
    Got(404, json!({"error": "not_found", "reason": "vhost_not_found"}))
}

fn invalid(reason: &str) -> Got {
    bad(&format!("Validation failed\n\n{reason}\n"))
}

#[test]
fn policies_are_set_shown_and_cleared() {
    let api = Api::start();
    for (kind, definition) in
        [("policies", json!({"overflow": "drop-head"})), ("operator-policies", json!({"expires": 5}))]
    {
        let path = |name: &str| format!("/{kind}/%2F/{name}");
        assert_eq!(api.put(&path("p"), json!({})), bad("[{key_missing,pattern},{key_missing,definition}]"));
        assert_eq!(
            api.put(&path("p"), json!({"pattern": "", "definition": {}})),
            invalid("no policy provided")
        );
        let unknown = json!({"pattern": "", "definition": {"x": 1}});
        assert_eq!(
            api.put(&path("p"), unknown),
            invalid(r#"[{<<"x">>,1}] are not recognised policy settings"#)
        );
        let body = json!({"pattern": "^q", "definition": definition, "priority": 3, "apply-to": "queues"});
        assert_eq!(api.put(&format!("/{kind}/v/p"), body.clone()), missing_vhost());
        assert_eq!(api.put(&path("p"), body.clone()), created());
        assert_eq!(api.put(&path("p"), body), done());
        let row = json!({
            "vhost": "/", "name": "p", "pattern": "^q", "apply-to": "queues", "definition": definition, "priority": 3
        });
        assert_eq!(api.get(&path("p")), Got(200, row.clone()));
        assert_eq!(api.put(&path("a"), json!({"pattern": "", "definition": definition})), created());
        let Got(_, rows) = api.get(&format!("/{kind}/%2F"));
        assert_eq!(
            (&rows[0]["name"], &rows[0]["apply-to"], &rows[0]["priority"]),
            (&json!("a"), &json!("all"), &json!(0))
        );
        assert_eq!((&rows[1], api.get(&format!("/{kind}"))), (&row, Got(200, rows.clone())));
        assert_eq!(api.get(&format!("/{kind}/v")), not_found());
        assert_eq!(api.get(&path("none")), not_found());
        assert_eq!(api.delete(&path("p")), done());
        assert_eq!(api.delete(&path("p")), not_found());
        assert_eq!(api.put(&path(&"n".repeat(256)), json!({"pattern": "", "definition": definition})).0, 400);
    }
}

#[test]
fn queues_and_exchanges_name_the_policies_that_apply() {
    let api = Api::start();
    let set = |kind: &str, name: &str, definition: Value| {
        api.put(&format!("/{kind}/%2F/{name}"), json!({"pattern": "^q", "definition": definition}))
    };
    assert_eq!(api.put("/queues/%2F/q", json!({"durable": true})), created());
    assert_eq!(set("policies", "p", json!({"max-length": 9, "alternate-exchange": "x"})), created());
    assert_eq!(set("operator-policies", "o", json!({"max-length": 5, "message-ttl": 7})), created());
    assert_eq!(api.put("/queues/%2F/q2", json!({"durable": true})), created());
    assert_eq!(api.put("/exchanges/%2F/q", json!({"type": "fanout"})), created());
    let columns = "columns=policy,operator_policy,effective_policy_definition";
    let expected = json!({
        "policy": "p", "operator_policy": "o",
        "effective_policy_definition": {"max-length": 5, "message-ttl": 7, "alternate-exchange": "x"},
    });
    for queue in ["q", "q2"] {
        assert_eq!(api.get(&format!("/queues/%2F/{queue}?{columns}")), Got(200, expected.clone()));
    }
    assert_eq!(api.get("/exchanges/%2F/q?columns=policy"), Got(200, json!({"policy": "p"})));
    assert_eq!(api.get("/exchanges/%2F/amq.fanout?columns=policy"), Got(200, json!({"policy": null})));
    assert_eq!((api.delete("/policies/%2F/p"), api.delete("/operator-policies/%2F/o")), (done(), done()));
    let none = json!({"policy": null, "operator_policy": null, "effective_policy_definition": {}});
    assert_eq!(api.get(&format!("/queues/%2F/q?{columns}")), Got(200, none));
    assert_eq!(api.get("/exchanges/%2F/q?columns=policy"), Got(200, json!({"policy": null})));
}

#[test]
fn operator_policies_may_be_fixed_by_the_configuration() {
    let config = Config { operator_policies_are_fixed: true, ..Config::default() };
    let api = Api::start_with(Setup { configuration: config.into(), ..Setup::default() });
    let fixed = || Got(405, json!({"error": "method_not_allowed", "reason": "method_not_allowed"}));
    let policy = json!({"pattern": "", "definition": {"max-length": 1}});
    for path in ["/operator-policies/%2F/o", "/parameters/operator_policy/%2F/o"] {
        assert_eq!((api.put(path, policy.clone()), api.delete(path)), (fixed(), fixed()));
    }
    assert_eq!(api.put("/policies/%2F/p", policy), created());
    assert_eq!(api.get("/operator-policies"), Got(200, json!([])));
    let enabled = |api: &Api| api.get("/overview").1["is_op_policy_updating_enabled"].clone();
    assert_eq!((enabled(&api), enabled(&Api::start())), (json!(false), json!(true)));
}

#[test]
fn parameters_are_of_components_that_are_known() {
    let api = Api::start();
    let path = "/parameters/shovel/%2F/s";
    assert_eq!(api.put(path, json!({})), bad("[{key_missing,value}]"));
    assert_eq!(api.put("/parameters/foo/%2F/s", json!({"value": {}})), invalid("component foo not found"));
    assert_eq!(api.put("/parameters/shovel/v/s", json!({"value": {}})), missing_vhost());
    assert_eq!(api.put(path, json!({"value": "x"})), invalid("s not a list <<\"x\">>"));
    let policies = bad("policies may not be set using this method");
    assert_eq!(api.put("/parameters/policy/%2F/p", json!({"value": {}})), policies);
    assert_eq!(api.put(path, json!({"value": {"src-uri": "amqp://"}})), created());
    assert_eq!(api.put(path, json!({"value": {"src-uri": "amqps://"}})), done());
    let row = json!({"vhost": "/", "component": "shovel", "name": "s", "value": {"src-uri": "amqps://"}});
    assert_eq!(api.get(path), Got(200, row.clone()));
    assert_eq!(api.get("/parameters/shovel/%2F"), Got(200, json!([row])));
    assert_eq!(api.get("/parameters/foo"), Got(200, json!([])));
    assert_eq!(api.get("/parameters/foo/v"), not_found());
    assert_eq!((api.delete(path), api.delete(path), api.get(path)), (done(), not_found(), not_found()));
}

#[test]
fn limits_and_operator_policies_are_parameters_too_which_administrators_set() {
    let api = Api::start();
    api.exists("maker", "policymaker", true);
    let (limits, policy) = ("/parameters/vhost-limits/%2F/limits", "/parameters/operator_policy/%2F/o");
    let limited = json!({"value": {"max-queues": 5}});
    let bounded = json!({"value": {"pattern": "^q", "definition": {"max-length": 1}, "priority": 2}});
    assert_eq!(api.put("/parameters/vhost-limits/%2F/other", limited.clone()).0, 400);
    for (path, body) in [(limits, limited), (policy, bounded)] {
        assert_eq!(api.as_user("maker:p", "PUT", path, body.clone()), refused());
        assert_eq!(api.put(path, body.clone()), created());
        assert_eq!(api.put(path, body), done());
        assert_eq!(api.as_user("maker:p", "DELETE", path, Value::Null), refused());
    }
    let Got(_, rows) = api.as_user("maker:p", "GET", "/parameters?columns=component,name,value", Value::Null);
    let policy_value =
        json!({"pattern": "^q", "definition": {"max-length": 1}, "priority": 2, "apply-to": "all"});
    assert_eq!(
        rows,
        json!([
            {"component": "operator_policy", "name": "o", "value": policy_value},
            {"component": "vhost-limits", "name": "limits", "value": {"max-queues": 5}},
        ])
    );
    assert_eq!(api.get("/vhost-limits"), Got(200, json!([{"vhost": "/", "value": {"max-queues": 5}}])));
    assert_eq!(api.get("/operator-policies/%2F/o?columns=priority"), Got(200, json!({"priority": 2})));
    for path in [limits, policy] {
        assert_eq!((api.delete(path), api.delete(path)), (done(), not_found()));
    }
    assert_eq!(api.get("/parameters"), Got(200, json!([])));
}

#[test]
fn global_parameters_may_be_anything() {
    let api = Api::start();
    let path = "/global-parameters/g";
    assert_eq!(api.put(path, json!({})), bad("[{key_missing,value}]"));
    assert_eq!(api.put(path, json!({"value": {"a": [1, null]}})), created());
    assert_eq!(api.put(path, json!({"value": "text"})), done());
    assert_eq!(api.get(path), Got(200, json!({"name": "g", "value": "text"})));
    assert_eq!(api.put("/global-parameters/a", json!({"value": null})), created());
    let rows = json!([{"name": "a", "value": null}, {"name": "g", "value": "text"}]);
    assert_eq!(api.get("/global-parameters"), Got(200, rows));
    assert_eq!((api.delete(path), api.delete(path), api.get(path)), (done(), not_found(), not_found()));
}

#[test]
fn a_parameter_is_not_longer_than_the_metadata_store_keeps_well() {
    let api = Api::start();
    let put =
        |bytes| api.broker.put_global_parameter(&Default::default(), &"g".into(), json!("x".repeat(bytes)));
    assert!(put(29_998).is_ok());
    assert!(put(29_999).unwrap_err().to_string().contains("30001 bytes"));
}

#[test]
fn limits_of_a_vhost_are_set_one_by_one() {
    let api = Api::start();
    let path = |name: &str| format!("/vhost-limits/%2F/{name}");
    assert_eq!(api.get("/vhost-limits"), Got(200, json!([])));
    assert_eq!(api.put(&path("max-queues"), json!({"value": 200})), done());
    assert_eq!(api.put(&path("max-connections"), json!({"value": -1})), done());
    assert_eq!(api.put(&path("max-queues"), json!({})), bad("[{key_missing,value}]"));
    let no_number = "max-queues should be a number, actually was <<\"200\">>";
    assert_eq!(api.put(&path("max-queues"), json!({"value": "200"})), invalid(no_number));
    let unknown = "Unrecognised terms [{<<\"max-foo\">>,5}] in limits";
    assert_eq!(api.put(&path("max-foo"), json!({"value": 5})), invalid(unknown));
    assert_eq!(api.put("/vhost-limits/v/max-queues", json!({"value": 5})), missing_vhost());
    let row = json!([{"vhost": "/", "value": {"max-queues": 200, "max-connections": -1}}]);
    assert_eq!(
        (api.get("/vhost-limits"), api.get("/vhost-limits/%2F")),
        (Got(200, row.clone()), Got(200, row))
    );
    assert_eq!(api.get("/vhost-limits/v"), not_found());
    assert_eq!(api.delete(&path("max-queues")), done());
    assert_eq!(api.delete(&path("max-foo")), done());
    assert_eq!(api.get("/vhost-limits"), Got(200, json!([{"vhost": "/", "value": {"max-connections": -1}}])));
    assert_eq!(api.delete("/vhost-limits/v/max-queues"), not_found());
    assert_eq!(api.delete(&path("max-connections")), done());
    assert_eq!(api.get("/vhost-limits"), Got(200, json!([])));
}

#[test]
fn limits_of_a_user_are_set_one_by_one_and_go_with_the_user() {
    let api = Api::start();
    api.exists("u", "", false);
    let path = |name: &str| format!("/user-limits/u/{name}");
    assert_eq!(api.put(&path("max-channels"), json!({"value": 3})), done());
    assert_eq!(api.put(&path("max-connections"), json!({"value": 0})), done());
    let unknown = "Unrecognised terms [{<<\"max-foo\">>,200}] in user-limits";
    assert_eq!(api.put(&path("max-foo"), json!({"value": 200})), bad(unknown));
    let no_number = "max-channels should be a number, actually was <<\"a\">>";
    assert_eq!(api.put(&path("max-channels"), json!({"value": "a"})), bad(no_number));
    assert_eq!(
        api.put("/user-limits/nobody/max-channels", json!({"value": 1})),
        bad("no such user 'nobody'")
    );
    let limits = json!({"max-channels": 3, "max-connections": 0});
    let rows = json!([{"user": "u", "value": limits}]);
    assert_eq!(
        (api.get("/user-limits"), api.get("/user-limits/u")),
        (Got(200, rows.clone()), Got(200, rows))
    );
    assert_eq!(api.get("/users/u?columns=limits"), Got(200, json!({"limits": limits})));
    assert_eq!(
        (api.get("/user-limits/guest"), api.get("/user-limits/nobody")),
        (Got(200, json!([])), not_found())
    );
    assert_eq!(api.delete(&path("max-channels")), done());
    assert_eq!(api.get("/users/u?columns=limits"), Got(200, json!({"limits": {"max-connections": 0}})));
    // Replacing the user leaves its limits alone.
    assert_eq!(api.put("/users/u", json!({"password": "q", "tags": ""})), done());
    assert_eq!(api.get("/users/u?columns=limits"), Got(200, json!({"limits": {"max-connections": 0}})));
    assert_eq!(api.delete("/users/u"), done());
    api.exists("u", "", false);
    assert_eq!(api.get("/users/u?columns=limits"), Got(200, json!({"limits": {}})));
}

#[test]
fn policymakers_govern_the_vhosts_that_they_may_enter() {
    let api = Api::start();
    assert_eq!(api.put("/vhosts/other", Value::Null), created());
    for (user, tags) in
        [("maker", "policymaker"), ("manager", "management"), ("monitor", "monitoring,policymaker")]
    {
        api.exists(user, tags, user != "monitor");
    }
    let policy = || json!({"pattern": "", "definition": {"max-length": 1}});
    let put = |user: &str, path: &str, body: Value| api.as_user(&format!("{user}:p"), "PUT", path, body);
    let get = |user: &str, path: &str| api.as_user(&format!("{user}:p"), "GET", path, Value::Null).0;
    assert_eq!(put("maker", "/policies/%2F/p", policy()), created());
    assert_eq!(put("maker", "/parameters/shovel/%2F/s", json!({"value": {}})), created());
    assert_eq!(put("maker", "/global-parameters/g", json!({"value": 1})), created());
    for path in ["/policies/other/p", "/operator-policies/%2F/p"] {
        assert_eq!(put("maker", path, policy()), refused());
    }
    assert_eq!(put("maker", "/parameters/shovel/other/s", json!({"value": {}})), refused());
    for limit in ["/vhost-limits/%2F/max-queues", "/user-limits/maker/max-channels"] {
        assert_eq!(put("maker", limit, json!({"value": 1})), refused());
    }
    let reads = [
        "/policies/%2F",
        "/operator-policies",
        "/vhost-limits/%2F",
        "/policies/%2F/p",
        "/parameters",
        "/global-parameters",
    ];
    assert_eq!(reads.map(|path| get("maker", path)), [200; 6]);
    assert_eq!(reads.map(|path| get("manager", path)), [200, 200, 200, 401, 401, 401]);
    assert_eq!(["/policies/other", "/user-limits"].map(|path| get("maker", path)), [401, 401]);
    // Who sees everything may not change it for that.
    assert_eq!(get("monitor", "/policies/%2F"), 200);
    assert_eq!(put("monitor", "/policies/%2F/p", policy()), refused());
    // Administrators need no permissions in a vhost for that.
    assert_eq!(api.delete("/permissions/%2F/guest"), done());
    assert_eq!(api.put("/policies/%2F/p", policy()), done());
    assert_eq!(put("manager", "/policies/%2F/p", policy()), refused());
}

#[test]
fn a_vhost_takes_its_policies_parameters_and_limits_along() {
    let api = Api::start();
    let policy = json!({"pattern": "", "definition": {"max-length": 1}});
    assert_eq!(api.put("/vhosts/v", Value::Null), created());
    for (path, body, expected) in [
        ("/policies/v/p", policy.clone(), created()),
        ("/operator-policies/v/p", policy, created()),
        ("/parameters/shovel/v/s", json!({"value": {}}), created()),
        ("/vhost-limits/v/max-queues", json!({"value": 1}), done()),
    ] {
        assert_eq!(api.put(path, body), expected, "{path}");
    }
    assert_eq!(api.delete("/vhosts/v"), done());
    assert_eq!(api.put("/vhosts/v", Value::Null), created());
    for path in ["/policies", "/operator-policies", "/parameters", "/vhost-limits"] {
        assert_eq!(api.get(path), Got(200, json!([])), "{path}");
    }
}

#[test]
fn a_vhosts_default_queue_type_stands_in_the_arguments_of_its_queues() {
    let api = Api::start();
    assert_eq!(
        api.put("/vhosts/v", json!({"default_queue_type": "stream"})),
        bad("unsupported default queue type 'stream'")
    );
    assert_eq!(api.put("/vhosts/v", json!({"default_queue_type": "quorum"})), created());
    assert_eq!(api.get("/vhosts/v?columns=default_queue_type").1, json!({"default_queue_type": "quorum"}));
    let columns = "columns=type,arguments";
    for (queue, body, shown) in [
        (
            "said",
            json!({"durable": true, "arguments": {"x-queue-type": "classic"}}),
            json!({"type": "classic", "arguments": {"x-queue-type": "classic"}}),
        ),
        (
            "default",
            json!({"durable": true}),
            json!({"type": "quorum", "arguments": {"x-queue-type": "quorum"}}),
        ),
        ("transient", json!({}), json!({"type": "classic", "arguments": {}})),
        (
            "auto-delete",
            json!({"durable": true, "auto_delete": true}),
            json!({"type": "classic", "arguments": {}}),
        ),
    ] {
        assert_eq!(api.put(&format!("/queues/v/{queue}"), body.clone()), created());
        assert_eq!(api.get(&format!("/queues/v/{queue}?{columns}")), Got(200, shown));
        assert_eq!(api.put(&format!("/queues/v/{queue}"), body), done(), "declared again");
    }
    // The queue keeps its type, and who says none means the new one.
    assert_eq!(api.put("/vhosts/v", json!({"default_queue_type": "undefined"})), done());
    let Got(status, again) = api.put("/queues/v/default", json!({"durable": true}));
    let reason = again["reason"].as_str().unwrap().to_owned();
    assert_eq!((status, reason.contains("inequivalent arg 'x-queue-type'")), (400, true), "{reason}");
    assert_eq!(api.put("/queues/v/new", json!({"durable": true})), created());
    assert_eq!(api.get(&format!("/queues/v/new?{columns}")).1, json!({"type": "classic", "arguments": {}}));
}
