//! rabbitmqadmin's commands: verbs and nouns, options and words.

use super::*;

fn created() -> (u16, Value) {
    (201, Value::Null)
}

#[test]
fn things_are_declared_with_options_as_words_and_by_their_group() {
    let queue = r#"{"arguments":{"x-expires":5,"x-queue-type":"quorum"},"auto_delete":false,"durable":true}"#;
    let queue = format!("PUT /api/queues/v/q {queue}");
    let all = r#"{"configure":".*","read":"","write":"^w"}"#;
    let policy = r#"{"apply-to":"queues","definition":{"max-length":5},"pattern":"^a","priority":-3}"#;
    for (line, request, note) in [
        (
            &["declare", "queue", "-V", "v", "--name", "q", "--type", "quorum", "--arguments", r#"{"x-expires": 5}"#][..],
            queue.clone(),
            "Declared queue 'q' in vhost 'v'.\n",
        ),
        (
            &["queues", "declare", "--vhost", "v", "--name", "q", "--type", "quorum", "--arguments", r#"{"x-expires":5}"#],
            queue.clone(),
            "Declared queue 'q' in vhost 'v'.\n",
        ),
        (
            &["declare", "queue", "name=q", "vhost=v", "durable=true", "type=quorum", r#"arguments={"x-expires":5}"#],
            queue,
            "Declared queue 'q' in vhost 'v'.\n",
        ),
        (
            &["declare", "queue", "--name", "q", "--durable", "false", "--auto-delete"],
            r#"PUT /api/queues/%2F/q {"auto_delete":true,"durable":false}"#.to_owned(),
            "Declared queue 'q' in vhost '/'.\n",
        ),
        (
            &["declare", "exchange", "name=x", "type=topic", "internal=true"],
            r#"PUT /api/exchanges/%2F/x {"auto_delete":false,"durable":true,"internal":true,"type":"topic"}"#.to_owned(),
            "Declared exchange 'x' in vhost '/'.\n",
        ),
        (
            &["declare", "binding", "--source", "x", "--destination-type", "queue", "--destination", "q", "--routing-key", "k"],
            r#"POST /api/bindings/%2F/e/x/q/q {"routing_key":"k"}"#.to_owned(),
            "Declared binding 'x', 'q' in vhost '/'.\n",
        ),
        (
            &["--password", "guest", "declare", "user", "--name", "u", "--password", "p", "--tags", "a,b"],
            r#"PUT /api/users/u {"password":"p","tags":"a,b"}"#.to_owned(),
            "Declared user 'u'.\n",
        ),
        (
            &["declare", "vhost", "--name", "v/w", "--tracing"],
            r#"PUT /api/vhosts/v%2Fw {"tracing":true}"#.to_owned(),
            "Declared vhost 'v/w'.\n",
        ),
        (
            &["declare", "permissions", "--user", "u", "--configure", ".*", "--write", "^w", "--read", ""],
            format!("PUT /api/permissions/%2F/u {all}"),
            "Declared permissions 'u' in vhost '/'.\n",
        ),
        (
            &[
                "declare", "policy", "name=p", "pattern=^a", "apply_to=queues", "priority=-3",
                r#"definition={"max-length":5}"#,
            ],
            format!("PUT /api/policies/%2F/p {policy}"),
            "Declared policy 'p' in vhost '/'.\n",
        ),
        (
            &["declare", "operator_policy", "--name", "p", "--pattern", "", "--definition", "{}", "--priority", "-1"],
            r#"PUT /api/operator-policies/%2F/p {"apply-to":"all","definition":{},"pattern":"","priority":-1}"#.to_owned(),
            "Declared operator policy 'p' in vhost '/'.\n",
        ),
        (
            &["declare", "parameter", "--component", "c", "--name", "n", "--value", "[1]"],
            r#"PUT /api/parameters/c/%2F/n {"value":[1]}"#.to_owned(),
            "Declared parameter 'c', 'n' in vhost '/'.\n",
        ),
        (
            &["declare", "vhost_limit", "--name", "max-queues", "--value", "5"],
            r#"PUT /api/vhost-limits/%2F/max-queues {"value":5}"#.to_owned(),
            "Declared vhost limit 'max-queues' in vhost '/'.\n",
        ),
        (
            &["declare", "user_limit", "--user", "u", "--name", "max-channels", "--value", "-1"],
            r#"PUT /api/user-limits/u/max-channels {"value":-1}"#.to_owned(),
            "Declared user limit 'u', 'max-channels'.\n",
        ),
    ] {
        let ran = run_against(line, &[created()]);
        assert_eq!((ran.code, ran.errors.as_str()), (0, ""), "{line:?}");
        assert_eq!(ran.requests, [request], "{line:?}");
        assert_eq!(ran.out, note, "{line:?}");
    }
}

#[test]
fn what_is_missing_or_unknown_is_said_with_what_there_is() {
    for (line, text) in [
        (&["declare", "queue"][..], "--name is missing; there are: --name --type"),
        (&["declare", "queue", "nam=q"], "unknown name 'nam'; there are: --name"),
        (&["declare", "queue", "q"], "'q' is no NAME=VALUE"),
        (&["declare", "queue", "name="], "--name must not be empty"),
        (&["declare", "queue", "name=q", "durable=perhaps"], "--durable is true or false, not 'perhaps'"),
        (&["declare", "queue", "name=q", "arguments={"], "--arguments '{' is no JSON"),
        (
            &["declare", "binding", "source=x", "destination=q", "destination_type=z"],
            "is queue or exchange, not 'z'",
        ),
        (&["get", "queue=q", "count=many"], "--count is a whole number, not 'many'"),
        (&["declare", "queu"], "'queue'"),
        (&["list"], "requires a subcommand"),
        (&["import"], "which file?"),
    ] {
        let (code, _, errors) = run_on(1, line);
        assert_eq!(code, 64, "{line:?} {errors}");
        assert!(errors.contains(text), "{line:?} {errors}");
        assert_eq!(errors.lines().count(), 1, "{line:?} {errors}");
    }
}

#[test]
fn things_are_deleted_purged_and_closed() {
    let done = || (204, Value::Null);
    for (line, request) in [
        (&["delete", "queue", "--name", "q", "--if-empty"][..], "DELETE /api/queues/%2F/q?if-empty=true"),
        (&["queues", "delete", "--name", "q"], "DELETE /api/queues/%2F/q"),
        (&["delete", "user", "name=u"], "DELETE /api/users/u"),
        (&["delete", "permissions", "--user", "u", "-V", "v"], "DELETE /api/permissions/v/u"),
        (&["delete", "parameter", "component=c", "name=n"], "DELETE /api/parameters/c/%2F/n"),
        (&["purge", "queue", "name=q"], "DELETE /api/queues/%2F/q/contents"),
        (&["close", "connection", "--name", "a -> b"], "DELETE /api/connections/a%20-%3E%20b"),
        (&["close", "user_connections", "--username", "u"], "DELETE /api/connections/username/u"),
    ] {
        let ran = run_against(line, &[done()]);
        assert_eq!((ran.code, ran.errors.as_str()), (0, ""), "{line:?}");
        assert_eq!(ran.requests, [request], "{line:?}");
    }
    let vhost = || (200, json!({"name": "/"}));
    let ran = run_against(&["delete", "queue", "--name", "q"], &[not_found(), vhost()]);
    assert_eq!(
        (ran.code, ran.errors.contains("queue 'q' in vhost '/' does not exist")),
        (65, true),
        "{}",
        ran.errors
    );
    let ran = run_against(&["delete", "queue", "--name", "q", "--idempotently"], &[not_found()]);
    assert_eq!((ran.code, ran.errors.as_str()), (0, ""));
    let ran = run_against(&["delete", "user", "--name", "u"], &[not_found()]);
    assert_eq!((ran.code, ran.errors.contains("user 'u' does not exist")), (67, true), "{}", ran.errors);
}

#[test]
fn a_binding_is_deleted_by_what_it_says() {
    let bindings = || {
        let binding = |key: &str, arguments: Value, properties: &str| json!({"routing_key": key, "arguments": arguments, "properties_key": properties});
        (200, json!([binding("k", json!({}), "k"), binding("k", json!({"a": 1}), "k~x")]))
    };
    let line = ["delete", "binding", "source=x", "destination=q", "routing_key=k", r#"arguments={"a": 1}"#];
    let ran = run_against(&line, &[bindings(), (204, Value::Null)]);
    assert_eq!(ran.requests, ["GET /api/bindings/%2F/e/x/q/q", "DELETE /api/bindings/%2F/e/x/q/q/k~x"]);
    let other = ["delete", "binding", "source=x", "destination=q", "routing_key=z"];
    let ran = run_against(&other, &[bindings(), (200, json!({"name": "/"}))]);
    assert_eq!(
        (ran.code, ran.errors.contains("binding 'x', 'q' in vhost '/' does not exist")),
        (65, true),
        "{}",
        ran.errors
    );
    let ran = run_against(&[&other[..], &["--idempotently"]].concat(), &[bindings()]);
    assert_eq!(ran.code, 0);
    let ran =
        run_against(&["declare", "binding", "source=x", "destination=q"], &[not_found(), (200, json!({}))]);
    assert_eq!(
        (ran.code, ran.errors.contains("exchange 'x' or 'q' does not exist")),
        (65, true),
        "{}",
        ran.errors
    );
}

#[test]
fn lists_are_of_all_vhosts_unless_one_is_named() {
    let queues = || (200, json!([{"name": "q", "messages": 3, "message_stats": {"publish": 7}}]));
    for line in [
        &["list", "queues", "name", "messages", "-s"][..],
        &["queues", "list", "--columns", "name,messages", "-s"],
    ] {
        let ran = run_against(line, &[queues()]);
        assert_eq!(ran.out, "q  3\n", "{line:?}");
        assert_eq!(ran.requests, ["GET /api/queues?page=1&page_size=500&columns=name%2Cmessages"]);
    }
    let ran = run_against(
        &["list", "queues", "-V", "v", "name", "message_stats.publish", "-f", "tsv"],
        &[queues()],
    );
    assert_eq!(ran.out, "name\tmessage_stats.publish\nq\t7\n");
    assert!(ran.requests[0].starts_with("GET /api/queues/v?"), "{:?}", ran.requests);
    let ran = run_against(&["list", "queues", "-V", "v"], &[not_found()]);
    assert_eq!((ran.code, ran.errors.contains("vhost 'v' does not exist")), (65, true));
}

#[test]
fn one_thing_is_shown_with_all_it_says() {
    let overview = || (200, json!({"node": "n", "churn_rates": {"queue_created": 2}}));
    let ran = run_against(&["show", "overview", "-s"], &[overview()]);
    assert_eq!(ran.out, "churn_rates  {\"queue_created\":2}\nnode         n\n");
    assert_eq!(run_against(&["show", "churn", "-s"], &[overview()]).out, "queue_created  2\n");
    let ran =
        run_against(&["queues", "show", "--name", "q", "--format", "json"], &[(200, json!({"name": "q"}))]);
    assert_eq!(serde_json::from_str::<Value>(&ran.out).unwrap(), json!({"name": "q"}));
    assert_eq!(ran.requests, ["GET /api/queues/%2F/q"]);
}

#[test]
fn messages_are_published_and_looked_at() {
    let request = r#"POST /api/exchanges/%2F/amq.default/publish {"payload":"hi","payload_encoding":"string","properties":{"priority":1},"routing_key":"q"}"#;
    for line in [
        &["publish", "message", "--routing-key", "q", "--payload", "hi", "--properties", r#"{"priority":1}"#]
            [..],
        &["publish", "routing_key=q", "payload=hi", r#"properties={"priority":1}"#],
    ] {
        let ran = run_against(line, &[(200, json!({"routed": true}))]);
        assert_eq!((ran.code, ran.out.as_str()), (0, "The message is published.\n"), "{}", ran.errors);
        assert_eq!(ran.requests, [request]);
    }
    let publish = ["publish", "exchange=x", "routing_key=k", "payload=p", "vhost=v"];
    let ran = run_against(&publish, &[(200, json!({"routed": false}))]);
    assert!(ran.out.contains("reached no queue"), "{}", ran.out);
    let ran = run_against(&publish, &[not_found(), (200, json!({"name": "v"}))]);
    assert_eq!(
        (ran.code, ran.errors.contains("exchange 'x' does not exist in vhost 'v'")),
        (65, true),
        "{}",
        ran.errors
    );
    let message = json!({"payload": "hi", "routing_key": "q", "exchange": "", "message_count": 0, "payload_bytes": 2,
                         "redelivered": false, "properties": [], "payload_encoding": "string"});
    for line in [&["get", "messages", "--queue", "q", "--count", "2"][..], &["get", "queue=q", "count=2"]] {
        let ran = run_against(line, &[(200, json!([message]))]);
        let body = r#"{"ackmode":"ack_requeue_true","count":2,"encoding":"auto"}"#;
        assert_eq!(ran.requests, [format!("POST /api/queues/%2F/q/get {body}")]);
        assert!(ran.out.lines().nth(1).unwrap().starts_with("q "), "{}", ran.out);
    }
    let ran = run_against(&["get", "queue=q", "-f", "json"], &[(200, json!([message]))]);
    assert_eq!(serde_json::from_str::<Value>(&ran.out).unwrap(), json!([message]));
    let ran = run_against(&["get", "queue=q"], &[not_found(), (200, json!({"name": "/"}))]);
    assert_eq!(
        (ran.code, ran.errors.contains("queue 'q' does not exist in vhost '/'")),
        (65, true),
        "{}",
        ran.errors
    );
}

#[test]
fn definitions_go_by_rabbitmqadmins_names() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("d.json");
    let path = path.to_str().unwrap();
    let empty = || (200, json!({"queues": []}));
    for (line, request) in [
        (&["export", path][..], "GET /api/definitions"),
        (&["export", "definitions", "--file", path], "GET /api/definitions"),
        (&["export", path, "-V", "v"], "GET /api/definitions/v"),
        (&["definitions", "export", "--file", path], "GET /api/definitions"),
        (&["definitions", "export_from_vhost", "--file", path, "-p", "v"], "GET /api/definitions/v"),
    ] {
        let ran = run_against(line, &[empty()]);
        assert_eq!((ran.code, ran.errors.as_str()), (0, ""), "{line:?}");
        assert_eq!(ran.requests, [request], "{line:?}");
    }
    std::fs::write(path, "{}").unwrap();
    for (line, request) in [
        (&["import", path][..], "POST /api/definitions {}"),
        (&["definitions", "import_into_vhost", "--file", path, "-p", "v"], "POST /api/definitions/v {}"),
    ] {
        assert_eq!(run_against(line, &[(204, Value::Null)]).requests, [request], "{line:?}");
    }
}
