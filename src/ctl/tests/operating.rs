//! Queues, connections, users and the node: what operators do with them.

use super::*;

fn done() -> (u16, Value) {
    (204, Value::Null)
}

/// A command line, the answers it gets, the requests it makes, and what it prints.
type Case<'a> = (&'a [&'a str], &'a [(u16, Value)], &'a [&'a str], &'a str);

fn check(cases: &[Case<'_>]) {
    for (arguments, answers, requests, out) in cases {
        let ran = run_against(arguments, answers);
        assert_eq!((ran.code, ran.errors.as_str()), (0, ""), "{arguments:?}");
        assert_eq!(ran.requests, *requests, "{arguments:?}");
        assert_eq!(ran.out, *out, "{arguments:?}");
    }
}

#[test]
fn queues_are_deleted_and_purged() {
    check(&[
        (
            &["delete_queue", "a/b", "-p", "v", "--if-empty", "-u"],
            &[done()],
            &["DELETE /api/queues/v/a%2Fb?if-empty=true&if-unused=true"],
            "Deleted queue 'a/b' in vhost 'v'.\n",
        ),
        (
            &["purge_queue", "q"],
            &[done()],
            &["DELETE /api/queues/%2F/q/contents"],
            "Purged queue 'q' in vhost '/'.\n",
        ),
    ]);
    let exists = (200, json!({"name": "/"}));
    let ran = run_against(&["purge_queue", "q"], &[not_found(), exists]);
    assert_eq!((ran.code, ran.errors.contains("queue 'q' does not exist in vhost '/'")), (65, true));
    let ran = run_against(&["delete_queue", "q", "-p", "v"], &[not_found(), not_found()]);
    assert_eq!((ran.code, ran.errors.contains("vhost 'v' does not exist")), (65, true));
}

#[test]
fn the_replicas_of_a_quorum_queue_are_listed() {
    let replicas = json!([{"Node Name": "n", "Raft State": "leader", "Membership": "voter"}]);
    check(&[(
        &["quorum_status", "q", "-p", "v", "-s"],
        &[(200, replicas)],
        &["GET /api/queues/quorum/v/q/status"],
        "n  leader  voter\n",
    )]);
}

#[test]
fn queues_are_listed_by_whether_they_can_be_used() {
    let queues = || (200, json!([{"name": "a", "state": "running"}, {"name": "b", "state": "down"}]));
    let asked = |fields: &str| format!("GET /api/queues/%2F?page=1&page_size=500&columns={fields}");
    for (arguments, expected) in [
        (&["list_queues", "-s", "name"][..], "a\nb\n"),
        (&["list_queues", "-s", "name", "--online"], "a\n"),
        (&["list_queues", "-s", "name", "--offline"], "b\n"),
        (&["list_unresponsive_queues", "-s", "name"], "b\n"),
    ] {
        assert_eq!(run_against(arguments, &[queues()]).out, expected, "{arguments:?}");
    }
    let ran = run_against(&["list_queues", "name", "--offline"], &[queues()]);
    assert_eq!(ran.requests, [asked("name%2Cstate")]);
    let (code, _, errors) = run_on(1, &["list_queues", "--online", "--offline"]);
    assert_eq!((code, errors.contains("cannot be used with")), (64, true), "{errors}");
}

#[test]
fn connections_are_closed_one_by_one_of_a_vhost_and_of_a_user() {
    let connections = || (200, json!([{"name": "a:1 -> b:2"}, {"name": "c"}]));
    let listed = "GET /api/vhosts/%2F/connections?page=1&page_size=500&columns=name";
    check(&[
        (
            &["close_connection", "a:1 -> b:2", "because"],
            &[done()],
            &["DELETE /api/connections/a%3A1%20-%3E%20b%3A2"],
            "Closed connection 'a:1 -> b:2'.\n",
        ),
        (
            &["close_all_connections", "maintenance"],
            &[connections(), done(), not_found()],
            &[listed, "DELETE /api/connections/a%3A1%20-%3E%20b%3A2", "DELETE /api/connections/c"],
            "Closed 1 connections.\n",
        ),
        (
            &["close_all_connections", "--global", "--limit", "1", "x"],
            &[connections(), done()],
            &[
                "GET /api/connections?page=1&page_size=500&columns=name",
                "DELETE /api/connections/a%3A1%20-%3E%20b%3A2",
            ],
            "Closed 1 connections.\n",
        ),
        (
            &["close_all_user_connections", "u", "x"],
            &[done()],
            &["DELETE /api/connections/username/u"],
            "Closed the connections of user 'u'.\n",
        ),
    ]);
    let ran = run_against(&["close_connection", "c", "x"], &[not_found()]);
    assert_eq!((ran.code, ran.errors.contains("there is no connection 'c'")), (65, true));
}

#[test]
fn vhosts_change_only_when_they_are_there() {
    let exists = || (200, json!({"name": "v"}));
    check(&[
        (
            &["set_vhost_tags", "v", "a", "b"],
            &[exists(), done()],
            &["GET /api/vhosts/v", r#"PUT /api/vhosts/v {"tags":"a,b"}"#],
            "Changed vhost 'v'.\n",
        ),
        (
            &["update_vhost_metadata", "v", "--description", "d", "--protected-from-deletion=true"],
            &[exists(), done()],
            &["GET /api/vhosts/v", r#"PUT /api/vhosts/v {"description":"d","protected_from_deletion":true}"#],
            "Changed vhost 'v'.\n",
        ),
    ]);
    let ran = run_against(&["set_vhost_tags", "v"], &[not_found()]);
    assert_eq!(
        (ran.code, ran.errors.contains("vhost 'v' does not exist"), ran.requests.len()),
        (65, true, 1)
    );
}

#[test]
fn passwords_are_hashed_cleared_and_tried() {
    let user = || (200, json!({"name": "u", "tags": ["x"]}));
    check(&[
        (
            &["add_user", "u", "HASH", "--pre-hashed-password", "-q"],
            &[not_found(), (201, Value::Null)],
            &["GET /api/users/u", r#"PUT /api/users/u {"password_hash":"HASH","tags":""}"#],
            "",
        ),
        (
            &["clear_password", "u"],
            &[user(), done()],
            &["GET /api/users/u", r#"PUT /api/users/u {"password_hash":"","tags":["x"]}"#],
            "User 'u' has no password.\n",
        ),
        (
            &["hash_password", "p/w"],
            &[(200, json!({"ok": "HASH"}))],
            &["GET /api/auth/hash_password/p%2Fw"],
            "HASH\n",
        ),
        (
            &["authenticate_user", "u", "p"],
            &[(401, json!({"error": "not_authorised", "reason": "Not management user"}))],
            &["GET /api/whoami"],
            "User 'u' can log in with that password.\n",
        ),
        (
            &["list_user_permissions", "u", "-s"],
            &[(200, json!([{"vhost": "/", "configure": "a", "write": "b", "read": "c"}]))],
            &["GET /api/users/u/permissions?page=1&page_size=500&columns=vhost%2Cconfigure%2Cwrite%2Cread"],
            "/  a  b  c\n",
        ),
    ]);
    let refused = (401, json!({"error": "not_authorized", "reason": "Not_Authorized"}));
    let ran = run_against(&["authenticate_user", "u", "p"], &[refused]);
    assert_eq!((ran.code, ran.errors.contains("login refused for user 'u'")), (77, true));
}

#[test]
fn a_check_that_says_no_is_a_failure_with_what_to_do() {
    let alarms = json!({
        "status": "failed", "reason": "There are alarms in effect in the cluster",
        "alarms": [{"node": "n", "resource": "memory"}],
    });
    for arguments in [&["check_alarms"][..], &["health_check", "cluster_wide_alarms"]] {
        let ran = run_against(arguments, &[(503, alarms.clone())]);
        assert_eq!((ran.code, ran.requests), (69, vec!["GET /api/health/checks/alarms".to_owned()]));
        let text =
            "There are alarms in effect in the cluster (alarms: [{\"node\":\"n\",\"resource\":\"memory\"}]);";
        assert!(ran.errors.contains(text) && ran.errors.contains("`warrenctl status`"), "{}", ran.errors);
        let ran = run_against(arguments, &[(200, json!({"status": "ok"}))]);
        assert_eq!((ran.code, ran.out.as_str()), (0, "No alarm is in effect.\n"));
    }
    let path = "GET /api/health/checks/port-listener/5672";
    let passed = || (200, json!({"status": "ok", "port": 5672}));
    for arguments in
        [&["check_port_listener", "5672"][..], &["health_check", "port_listener", "--port", "5672"]]
    {
        assert_eq!(run_against(arguments, &[passed()]).requests, [path]);
    }
    let ran = run_against(&["check_certificate_expiration", "--unit", "years"], &[passed()]);
    assert_eq!(ran.requests, ["GET /api/health/checks/certificate-expiration/4/years"]);
    let used = (200, json!([{"name": "global_qos"}]));
    let ran = run_against(&["check_if_any_deprecated_features_are_used"], &[used]);
    assert_eq!((ran.code, ran.errors.contains("in use: global_qos;")), (69, true), "{}", ran.errors);
    let ran = run_against(&["check_if_any_deprecated_features_are_used", "-q"], &[(200, json!([]))]);
    assert_eq!((ran.code, ran.out.as_str()), (0, ""));
}

#[test]
fn who_waits_for_the_broker_waits_until_it_serves() {
    let not_yet = (503, json!({"status": "failed", "reason": "no active listeners"}));
    let ready = || (200, json!({"status": "ok"}));
    let ran = run_against(&["await_startup"], &[not_yet, ready()]);
    assert_eq!((ran.code, ran.requests.len()), (0, 2), "{}", ran.errors);
    assert_eq!(run_against(&["await_online_nodes", "1"], &[ready()]).code, 0);
    let (code, _, errors) = run_on(1, &["await_online_nodes", "2"]);
    assert_eq!((code, errors.contains("one node")), (65, true), "{errors}");
    let (code, _, errors) = run_on(1, &["await_startup", "--timeout", "1"]);
    assert_eq!((code, errors.contains("no broker at 127.0.0.1:1")), (69, true), "{errors}");
}

#[test]
fn the_node_says_what_it_is_called_and_where_it_listens() {
    let overview = || {
        let listeners =
            json!([{"protocol": "amqp", "ip_address": "::", "port": 5672, "tls": false, "node": "n"}]);
        (
            200,
            json!({
                "node": "n", "cluster_name": "c", "product_version": "1.2.3", "listeners": listeners,
                "rabbitmq_version": "4", "product_name": "Warren",
            }),
        )
    };
    let nodes = || (200, json!([{"name": "n", "mem_alarm": true, "disk_free_alarm": false}]));
    let flags = || (200, json!([{"name": "quorum_queue", "state": "enabled"}]));
    check(&[
        (&["ping"], &[(200, json!({}))], &["GET /api/whoami"], "The broker answers.\n"),
        (
            &["set_cluster_name", "c"],
            &[done()],
            &[r#"PUT /api/cluster-name {"name":"c"}"#],
            "The cluster is called 'c'.\n",
        ),
        (
            &["listeners"],
            &[overview()],
            &["GET /api/overview"],
            "protocol  ip_address  port  tls    node\namqp      ::          5672  false  n\n",
        ),
        (&["alarms", "-s"], &[nodes()], &["GET /api/nodes"], "memory  n\n"),
        (&["server_version"], &[overview()], &["GET /api/overview"], "1.2.3\n"),
        (
            &["enable_feature_flag", "x"],
            &[done()],
            &["PUT /api/feature-flags/x/enable {}"],
            "Feature flag 'x' is on.\n",
        ),
        (
            &["list_deprecated_features", "--used", "name", "-s"],
            &[(200, json!([{"name": "global_qos"}]))],
            &["GET /api/deprecated-features/used?page=1&page_size=500&columns=name"],
            "global_qos\n",
        ),
    ]);
    assert_eq!(run_against(&["version"], &[]).out, format!("{}\n", env!("CARGO_PKG_VERSION")));
    let ran = run_against(&["cluster_status", "--formatter", "json"], &[overview(), nodes(), flags()]);
    let status: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&status["running_nodes"], &status["cluster_name"]), (&json!(["n"]), &json!("c")));
    assert_eq!(status["alarms"], json!([{"node": "n", "resource": "memory"}]));
    assert_eq!(status["versions"]["n"]["rabbitmq_version"], json!("4"));
    let ran = run_against(&["cluster_status", "-s"], &[overview(), nodes(), flags()]);
    assert!(ran.out.contains("Listeners      [amqp 5672]\n"), "{}", ran.out);
    let refused = (400, json!({"error": "bad_request", "reason": "unsupported"}));
    let ran = run_against(&["enable_feature_flag", "x"], &[refused]);
    assert_eq!((ran.code, ran.errors.contains("there is no feature flag 'x'")), (65, true));
}

#[test]
fn a_port_that_lets_nobody_in_is_named() {
    let open = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let ports = [open.local_addr().unwrap().port(), closed.local_addr().unwrap().port()];
    drop(closed);
    let overview = |ports: &[u16]| {
        let listener = |port: &u16| json!({"protocol": "amqp", "ip_address": "::", "port": port});
        (200, json!({"listeners": ports.iter().map(listener).collect::<Vec<_>>()}))
    };
    assert_eq!(run_against(&["check_port_connectivity"], &[overview(&ports[..1])]).code, 0);
    let ran = run_against(&["check_port_connectivity"], &[overview(&ports)]);
    assert_eq!(ran.code, 69);
    assert!(
        ran.errors.contains(&format!("not reachable: amqp on 127.0.0.1:{} (", ports[1])),
        "{}",
        ran.errors
    );
    drop(open);
}

#[test]
fn commands_without_a_meaning_say_what_to_do_instead() {
    for (arguments, text) in [
        (&["join_cluster", "rabbit@other", "--disc"][..], "join_cluster: a broker is one node"),
        (&["stop_app"], "SIGTERM"),
        (&["enable", "rabbitmq_management", "--offline"], "there are no plugins"),
        (&["eval", "node()."], "no Erlang"),
    ] {
        let (code, out, errors) = run_on(1, arguments);
        assert_eq!((code, out.as_str()), (64, ""), "{arguments:?}");
        assert!(errors.contains(text), "{errors}");
        assert_eq!(errors.lines().count(), 1);
    }
    let (code, out, errors) = run_on(1, &["rotate_logs"]);
    assert_eq!((code, out.as_str(), errors.as_str()), (0, "rotate_logs: there is nothing to do.\n", ""));
}

#[test]
fn options_are_rabbitmqctls_before_and_behind_the_command() {
    let queues = || (200, json!([{"name": "q"}]));
    for arguments in [
        &["-n", "rabbit@here", "--vhost", "v", "-q", "list_queues", "name", "--formatter", "csv"][..],
        &["list_queues", "-n", "rabbit@here", "-V", "v", "-q", "name", "-f", "csv", "--longnames"],
        &["-p", "w", "list_queues", "-p", "v", "name", "--format=csv"],
    ] {
        let ran = run_against(arguments, &[queues()]);
        assert_eq!((ran.code, ran.out.as_str()), (0, "name\nq\n"), "{arguments:?} {}", ran.errors);
        assert!(ran.requests[0].starts_with("GET /api/queues/v?"), "{:?}", ran.requests);
    }
    let ran = run_against(&["list_queues", "name", "--formatter", "json_stream"], &[queues()]);
    assert_eq!(ran.out, "{\"name\":\"q\"}\n");
    let ran = run_against(
        &["list_queues", "name", "--formatter", "pretty_table", "--no-table-headers"],
        &[queues()],
    );
    assert_eq!(ran.out, "q\n");
}

#[test]
fn what_top_shows_is_printed_once() {
    let overview = || (200, json!({"node": "n", "product_version": "1", "object_totals": {"queues": 2}}));
    let nodes = || (200, json!([{"mem_alarm": false}]));
    let queues = || {
        (
            200,
            json!({"page_count": 1, "filtered_count": 2, "items": [
                {"vhost": "/", "name": "a", "messages_ready": 1, "consumers": 3, "state": "running"},
                {"vhost": "/", "name": "b", "messages_ready": 5, "state": "running",
                 "message_stats": {"publish_details": {"rate": 2.5}}},
            ]}),
        )
    };
    let ran = run_against(&["top", "--once", "--filter", "x"], &[overview(), nodes(), queues()]);
    assert_eq!((ran.code, ran.errors.as_str()), (0, ""));
    assert!(
        ran.out.starts_with("n 1  no alarms\n0 connections  0 channels  0 consumers  2 queues\n"),
        "{}",
        ran.out
    );
    let rows: Vec<&str> = ran.out.lines().skip(4).collect();
    assert!(rows[0].starts_with("/      b      5      0        2.5 "), "{rows:?}");
    assert!(rows[1].starts_with("/      a      1      0        0 "), "{rows:?}");
    let query = &ran.requests[2];
    assert!(
        query.starts_with("GET /api/queues?page=1&page_size=500&")
            && query.contains("sort=messages&sort_reverse=true&name=x"),
        "{query}"
    );
    let line = ["top", "--once", "-p", "v", "--sort", "age", "-f", "json"];
    let refused = (401, json!({"error": "not_authorised", "reason": "Access refused."}));
    let ran = run_against(&line, &[overview(), refused, queues()]);
    let rows: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (&rows[0]["queue"], &rows[1]["in_rate"], &rows[0]["age"]),
        (&json!("a"), &json!(2.5), &Value::Null)
    );
    assert!(
        ran.requests[2].starts_with("GET /api/queues/v?")
            && ran.requests[2].contains("sort=head_message_timestamp&sort_reverse=false")
    );
}

#[test]
fn a_node_is_drained_and_revived_by_its_name() {
    let overview = || (200, json!({"node": "warren@here"}));
    check(&[
        (
            &["drain"],
            &[overview(), done()],
            &["GET /api/overview", "POST /api/nodes/warren%40here/drain {}"],
            "Node 'warren@here' is drained: it serves no clients. `warrenctl revive` ends that.\n",
        ),
        (
            &["revive"],
            &[overview(), done()],
            &["GET /api/overview", "POST /api/nodes/warren%40here/revive {}"],
            "Node 'warren@here' is revived: it serves clients.\n",
        ),
    ]);
    for command in ["drain", "revive"] {
        let ran = run_against(&[command], &[overview(), (401, json!({"reason": "Not administrator user"}))]);
        assert_eq!((ran.code, ran.out.as_str()), (77, ""), "{}", ran.errors);
        let (code, _, errors) = run_on(1, &[command]);
        assert_eq!(code, 69, "{errors}");
    }
}
