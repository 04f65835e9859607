//! rabbitmqadmin's commands that are no verb with a noun, other names of those that are, and lists that are asked by
//! something.

use super::*;

fn done() -> (u16, Value) {
    (204, Value::Null)
}

/// A command line, the answers it gets, and the requests it makes.
type Case<'a> = (&'a [&'a str], &'a [(u16, Value)], &'a [&'a str]);

fn check(cases: &[Case<'_>]) {
    for (arguments, answers, requests) in cases {
        let ran = run_against(arguments, answers);
        assert_eq!((ran.code, ran.errors.as_str()), (0, ""), "{arguments:?}");
        assert_eq!(ran.requests, *requests, "{arguments:?}");
    }
}

#[test]
fn other_names_do_the_same() {
    let set = r#"PUT /api/parameters/c/%2F/n {"value":{}}"#;
    let policy =
        r#"PUT /api/policies/%2F/p {"apply-to":"queues","definition":{},"pattern":"q","priority":0}"#;
    let of_policy = ["--name", "p", "--pattern", "q", "--definition", "{}", "--apply-to", "queues"];
    check(&[
        (
            &[
                "exchanges",
                "bind",
                "--source",
                "x",
                "--destination-type",
                "queue",
                "--destination",
                "q",
                "--routing-key",
                "k",
            ],
            &[done()],
            &[r#"POST /api/bindings/%2F/e/x/q/q {"routing_key":"k"}"#],
        ),
        (
            &["exchanges", "unbind", "source=x", "destination=q", "routing-key=k"],
            &[(200, json!([{"routing_key": "k", "arguments": {}, "properties_key": "k"}])), done()],
            &["GET /api/bindings/%2F/e/x/q/q", "DELETE /api/bindings/%2F/e/x/q/q/k"],
        ),
        (&["parameters", "set", "--component", "c", "--name", "n", "--value", "{}"], &[done()], &[set]),
        (
            &["parameters", "clear", "--component", "c", "--name", "n"],
            &[done()],
            &["DELETE /api/parameters/c/%2F/n"],
        ),
        (&[&["policies", "update"], &of_policy[..]].concat(), &[done()], &[policy]),
        (&["connections", "close_of_user", "-u", "u"], &[done()], &["DELETE /api/connections/username/u"]),
        (
            &["close", "connection", "--name", "c", "--idempotently"],
            &[not_found()],
            &["DELETE /api/connections/c"],
        ),
        (&["feature_flags", "enable", "--name", "f"], &[done()], &["PUT /api/feature-flags/f/enable {}"]),
        (&["feature_flags", "enable_all"], &[(200, json!([]))], &["GET /api/feature-flags"]),
        (
            &["vhosts", "enable_deletion_protection", "--name", "v"],
            &[done()],
            &["POST /api/vhosts/v/deletion/protection {}"],
        ),
        (
            &["vhosts", "disable_deletion_protection", "--name", "v"],
            &[done()],
            &["DELETE /api/vhosts/v/deletion/protection"],
        ),
        (&["queues", "rebalance"], &[], &[]),
    ]);
}

#[test]
fn lists_are_asked_by_user_component_vhost_and_page() {
    let list = |path: &str, fields: &str| format!("GET /api/{path}?page=1&page_size=500&columns={fields}");
    let connections = "name%2Cuser%2Cvhost%2Cpeer_host%2Cstate%2Cchannels%2Cprotocol";
    let of_user = list("connections/username/u", connections);
    let parameters = "vhost%2Ccomponent%2Cname%2Cvalue";
    let none = || (200, json!([]));
    check(&[
        (&["list", "user_connections", "--username", "u"], &[none()], &[&of_user]),
        (&["connections", "list_of_user", "-u", "u"], &[none()], &[&of_user]),
        (&["users", "connections", "--username", "u"], &[none()], &[&of_user]),
        (&["users", "limits", "--user", "u"], &[none()], &[&list("user-limits/u", "user%2Cvalue")]),
        (&["list", "user_limits"], &[none()], &[&list("user-limits", "user%2Cvalue")]),
        (&["parameters", "list_all"], &[none()], &[&list("parameters", parameters)]),
        (
            &["parameters", "list_in", "--component", "c", "-p", "v"],
            &[none()],
            &[&list("parameters/c/v", parameters)],
        ),
        (&["list", "parameters", "--component", "c"], &[none()], &[&list("parameters/c", parameters)]),
        (
            &["deprecated_features", "list_used"],
            &[none()],
            &[&list("deprecated-features/used", "name%2Cdeprecation_phase%2Cdesc")],
        ),
        (
            &["list", "queues", "name", "--page", "3", "--page-size", "20"],
            &[(200, json!({"items": [], "page_count": 9}))],
            &["GET /api/queues?page=3&page_size=20&columns=name"],
        ),
    ]);
    let two = json!([{"vhost": "v", "name": "a"}, {"vhost": "w", "name": "b"}]);
    let ran = run_against(&["list", "parameters", "name", "-p", "v", "-s"], &[(200, two)]);
    assert_eq!((ran.requests, ran.out.as_str()), (vec![list("parameters", "name%2Cvhost")], "a\n"));
    let ran = run_against(&["list", "user_connections", "--username", "u"], &[not_found()]);
    assert_eq!((ran.code, ran.errors.contains("user 'u' does not exist")), (67, true), "{}", ran.errors);
    let (code, _, errors) = run_on(1, &["list", "user_connections"]);
    assert_eq!((code, errors.contains("--username")), (64, true), "{errors}");
}

#[test]
fn many_are_deleted_only_when_that_is_approved() {
    let queues = || (200, json!([{"name": "tmp-1"}, {"name": "orders"}, {"name": "tmp-2"}]));
    let line = ["queues", "delete_multiple", "--name-pattern", "^tmp", "-p", "v"];
    let (code, _, errors) = run_on(1, &line);
    assert_eq!((code, errors.contains("--dry-run lists them, --approve does it")), (64, true), "{errors}");
    let ran = run_against(&[&line[..], &["--dry-run", "-s"]].concat(), &[queues()]);
    assert_eq!((ran.out.as_str(), ran.requests.len()), ("tmp-1\ntmp-2\n", 1));
    let ran = run_against(&[&line[..], &["--approve"]].concat(), &[queues(), done(), not_found()]);
    assert_eq!(ran.requests[1..], ["DELETE /api/queues/v/tmp-1", "DELETE /api/queues/v/tmp-2"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "Deleted 1 queues.\n"));
    let vhosts = (200, json!([{"name": "/"}, {"name": "a"}]));
    let line = ["vhosts", "delete_multiple", "--name-pattern", ".*", "--approve"];
    let ran = run_against(&line, &[vhosts, done()]);
    assert_eq!(
        (ran.requests[1..].to_vec(), ran.code),
        (vec!["DELETE /api/vhosts/a".to_owned()], 0),
        "never /"
    );
    let (code, _, errors) = run_on(1, &["queues", "delete_multiple", "--name-pattern", "(", "--approve"]);
    assert_eq!((code, errors.contains("is no regular expression")), (64, true), "{errors}");
}

#[test]
fn what_takes_memory_is_shown_of_this_node_or_the_one_that_is_named() {
    let memory = || (200, json!({"memory": {"queues": 5}}));
    let overview = || (200, json!({"node": "n@h"}));
    for line in [&["show", "memory_breakdown_in_bytes"][..], &["nodes", "memory_breakdown_in_bytes"]] {
        let ran = run_against(line, &[overview(), memory()]);
        assert_eq!((ran.requests[1].as_str(), ran.code), ("GET /api/nodes/n%40h/memory", 0));
        assert!(ran.out.contains("queues  5"), "{}", ran.out);
    }
    let line = ["nodes", "memory_breakdown_in_percent", "--node", "n@h"];
    let ran = run_against(&line, &[memory()]);
    assert_eq!(ran.requests, ["GET /api/nodes/n%40h/memory/relative"]);
    let ran = run_against(&line, &[not_found()]);
    assert_eq!((ran.code, ran.errors.contains("node 'n@h' does not exist")), (65, true), "{}", ran.errors);
}

#[test]
fn what_is_known_without_asking_is_printed() {
    let (code, out, _) = run_on(1, &["show", "endpoint", "--path-prefix", "/x"]);
    assert_eq!((code, out.as_str()), (0, "http://127.0.0.1:1/x/api\n"));
    assert_eq!(run_on(1, &["plugins", "list_all", "-f", "json"]), (0, "[]\n".into(), String::new()));
    assert_eq!(run_on(1, &["plugins", "list_on_node", "--node", "n"]).0, 0);
    let config = std::env::temp_dir().join("warrenctl-none.conf");
    let config = config.to_str().unwrap();
    let (code, _, errors) = run_on(1, &["config_file", "show_path", "--config", config]);
    assert_eq!((code, errors.contains("is --config right?")), (64, true), "{errors}");
    let hash = |algorithm: &str| {
        let line = ["passwords", "salt_and_hash", "secret", "--hashing-algorithm", algorithm];
        let (code, out, _) = run_on(1, &line);
        assert_eq!(code, 0);
        base64::Engine::decode(&base64::prelude::BASE64_STANDARD, out.trim()).unwrap()
    };
    assert_eq!((hash("SHA256").len(), hash("sha512").len()), (36, 68));
    let hash = hash("SHA256");
    let salted = [&hash[..4], b"secret"].concat();
    assert_eq!(hash[4..], <sha2::Sha256 as sha2::Digest>::digest(&salted)[..]);
}

#[test]
fn logins_are_listed_by_rabbitmqadmins_name() {
    let overview = (200, json!({"node": "n"}));
    let ran = run_against(&["auth_attempts", "stats", "--by-source"], &[overview, (200, json!([]))]);
    assert_eq!(ran.requests[1], "GET /api/auth/attempts/n/source");
}

#[test]
fn definitions_are_exported_to_standard_output_and_changed_before() {
    let definitions = || (200, json!({"users": [{"name": "u"}], "vhosts": []}));
    for line in [
        &["definitions", "export", "--transformations", "exclude_users,no_op"][..],
        &["export", "definitions", "--transformations", "exclude_users"],
    ] {
        let ran = run_against(line, &[definitions()]);
        assert_eq!(
            serde_json::from_str::<Value>(&ran.out).unwrap(),
            json!({"users": [], "vhosts": []}),
            "{line:?}"
        );
    }
    let ran = run_against(&["definitions", "export", "--transformations", "x"], &[definitions()]);
    assert_eq!((ran.code, ran.errors.contains("there is no transformation 'x'")), (64, true));
}

fn policy(name: &str, priority: i64, definition: Value) -> Value {
    json!({
        "vhost": "/", "name": name, "pattern": "^q", "apply-to": "queues", "priority": priority, "definition": definition
    })
}

#[test]
fn definitions_of_policies_are_changed_key_by_key() {
    let one = || (200, policy("p", 5, json!({"max-length": 1, "expires": 2})));
    let put = |definition: &str, priority: i64, name: &str| {
        format!(
            r#"PUT /api/policies/%2F/{name} {{"apply-to":"queues","definition":{definition},"pattern":"^q","priority":{priority}}}"#
        )
    };
    let get = "GET /api/policies/%2F/p";
    let changed = |definition: &str| put(definition, 5, "p");
    check(&[
        (
            &["policies", "patch", "--name", "p", "--definition", r#"{"max-length": 3, "a": "b"}"#],
            &[one(), done()],
            &[get, &changed(r#"{"a":"b","expires":2,"max-length":3}"#)],
        ),
        (
            &[
                "policies",
                "update_definition",
                "--name",
                "p",
                "--definition-key",
                "overflow",
                "--new-value",
                "drop-head",
            ],
            &[one(), done()],
            &[get, &changed(r#"{"expires":2,"max-length":1,"overflow":"drop-head"}"#)],
        ),
        (
            &["policies", "delete_definition_keys", "--name", "p", "--definition-keys", "expires,x"],
            &[one(), done()],
            &[get, &changed(r#"{"max-length":1}"#)],
        ),
        (
            &["policies", "declare_override", "--name", "p", "--definition", r#"{"expires": 9}"#],
            &[one(), done()],
            &[get, &put(r#"{"expires":9,"max-length":1}"#, 105, "p.override")],
        ),
        (
            &[
                "policies",
                "delete_definition_keys",
                "--name",
                "p",
                "--definition-keys",
                "expires",
                "max-length",
            ],
            &[one()],
            &[get],
        ),
    ]);
    let ran = run_against(
        &["policies", "patch", "--name", "p", "--definition", "{}"],
        &[not_found(), (200, json!({}))],
    );
    assert_eq!(
        (ran.code, ran.errors.contains("policy 'p' does not exist in vhost '/'")),
        (65, true),
        "{}",
        ran.errors
    );
    let ran = run_against(&["policies", "patch", "--name", "p", "--definition", "[]"], &[]);
    assert_eq!((ran.code, ran.errors.contains("a definition is an object")), (65, true), "{}", ran.errors);
}

#[test]
fn all_policies_are_changed_together_and_looked_through() {
    let all = || {
        let mut exchanges = policy("x", 0, json!({"alternate-exchange": "a"}));
        exchanges["apply-to"] = json!("exchanges");
        (
            200,
            json!([
                policy("a", 1, json!({"expires": 1})),
                policy("b", 1, json!({"expires": 2, "k": 1})),
                exchanges
            ]),
        )
    };
    let listed = |path: &str| format!("GET /api/{path}?page=1&page_size=500&columns=");
    let operators = listed("operator-policies/%2F");
    let put = r#"PUT /api/operator-policies/%2F/b {"apply-to":"queues","definition":{"k":1},"pattern":"^q","priority":1}"#;
    check(&[(
        &["operator_policies", "delete_definition_keys_from_all_in", "--definition-keys", "expires"],
        &[all(), done()],
        &[&operators, put],
    )]);
    let update = ["update_definitions_of_all", "--definition-key", "expires", "--new-value", "2"];
    let ran = run_against(&[&["policies"], &update[..]].concat(), &[all(), done(), done()]);
    assert_eq!(ran.requests[0], listed("policies"));
    assert_eq!(ran.requests.len(), 3, "b has that value already: {:?}", ran.requests);
    let names = |line: &[&str]| {
        let ran = run_against(&[line, &["-f", "json"]].concat(), &[all()]);
        let rows: Vec<Value> = serde_json::from_str(&ran.out).unwrap();
        rows.iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&["policies", "list_in", "--apply-to", "exchanges"]), ["x"]);
    assert_eq!(names(&["policies", "list_conflicting"]), ["a", "b"]);
    assert_eq!(names(&["policies", "list_conflicting_in"]), ["a", "b"]);
    let matching = |name: &'static str, kind: &'static str| {
        names(&["policies", "list_matching_object", "--name", name, "--type", kind])
    };
    assert_eq!(matching("q1", "classic_queues"), ["a", "b"]);
    assert_eq!(matching("q1", "exchanges"), ["x"]);
    assert_eq!(matching("other", "queues"), [""; 0]);
    let blanket =
        ["policies", "declare_blanket", "--name", "low", "--apply-to", "all", "--definition", r#"{"k": 1}"#];
    let ran = run_against(&blanket, &[all(), done()]);
    let expected =
        r#"PUT /api/policies/%2F/low {"apply-to":"all","definition":{"k":1},"pattern":".*","priority":-20}"#;
    assert_eq!(ran.requests[1], expected);
}
