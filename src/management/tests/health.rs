//! Health checks: what they say when all is well, and when it is not.

use super::*;

fn ok() -> Got {
    Got(200, json!({"status": "ok"}))
}

fn fault(reason: &str) -> Got {
    Got(503, json!({"status": "failed", "reason": reason}))
}

fn amqp() -> Listener {
    Listener { protocol: "amqp", address: ([127, 0, 0, 1], 5672).into() }
}

fn listening(listeners: Vec<Listener>) -> Api {
    Api::start_with(Setup { listeners, ..Setup::default() })
}

fn check(api: &Api, check: &str) -> Got {
    api.get(&format!("/health/checks/{check}"))
}

/// A check that wants no login.
fn probe(api: &Api, check: &str) -> Got {
    api.as_user("", "GET", &format!("/health/checks/{check}"), Value::Null)
}

#[test]
fn a_port_is_listened_on_or_missing() {
    let api = listening(vec![amqp()]);
    let http: u16 = api.base.rsplit(':').next().unwrap().parse().unwrap();
    for port in [5672, http] {
        assert_eq!(
            check(&api, &format!("port-listener/{port}")),
            Got(200, json!({"status": "ok", "port": port}))
        );
    }
    for port in [1, -5672, 70_000] {
        let failed = json!({
            "status": "failed", "reason": "No active listener", "missing": port, "ports": [http, 5672]
        });
        assert_eq!(check(&api, &format!("port-listener/{port}")), Got(503, failed));
    }
    for port in ["amqp", "5672x", "5672.0"] {
        assert_eq!(check(&api, &format!("port-listener/{port}")), bad("Invalid port"));
    }
}

#[test]
fn a_protocol_is_listened_for_by_any_of_its_names_or_missing() {
    let api = listening(vec![amqp()]);
    for (asked, protocol) in [
        ("amqp", "amqp"),
        ("AMQP091", "amqp"),
        ("amqp0-9-1", "amqp"),
        ("http", "http"),
        ("management", "http"),
    ] {
        let found = json!({"status": "ok", "protocol": protocol});
        assert_eq!(check(&api, &format!("protocol-listener/{asked}")), Got(200, found));
    }
    for (asked, missing) in
        [("amqps", "amqp/ssl"), ("mqtt", "mqtt"), ("amqp1.0", "amqp1.0"), ("x%2Fy", "x/y")]
    {
        let failed = json!({
            "status": "failed", "reason": "No active listener", "missing": missing, "protocols": ["http", "amqp"]
        });
        assert_eq!(check(&api, &format!("protocol-listener/{asked}")), Got(503, failed));
    }
}

#[test]
fn certificates_are_asked_for_in_units_of_time() {
    let api = Api::start();
    for path in ["1/days", "2/Weeks", "3/months", "100000000000000000000/years", "-1/days"] {
        assert_eq!(check(&api, &format!("certificate-expiration/{path}")), ok());
    }
    let unit = bad("Time unit not recognised. Supported units: days, weeks, months, years.");
    for path in ["1/day", "1/seconds", "1/-"] {
        assert_eq!(check(&api, &format!("certificate-expiration/{path}")), unit);
    }
    for path in ["one/days", "1.5/weeks", "-/years", "x/y"] {
        assert_eq!(check(&api, &format!("certificate-expiration/{path}")), bad("Invalid expiration value."));
    }
}

#[test]
fn the_only_node_is_not_quorum_critical_and_leads_all_queues_of_vhosts_that_are_there() {
    let api = Api::start();
    let arguments = json!({"x-queue-type": "quorum"});
    assert_eq!(api.put("/queues/%2F/q", json!({"durable": true, "arguments": arguments})), created());
    let alone = json!({"status": "ok", "reason": "single node cluster"});
    assert_eq!(check(&api, "node-is-quorum-critical"), Got(200, alone));
    let leaders = |path: &str| check(&api, &format!("quorum-queues-without-elected-leaders/{path}"));
    for path in ["all-vhosts", "all-vhosts/pattern/^q", "vhost/%2F", "vhost/%2F/pattern/.*"] {
        assert_eq!(leaders(path), ok());
    }
    for path in ["vhost/v", "vhost/v/pattern/.*"] {
        assert_eq!(leaders(path), not_found());
    }
    for path in ["all-vhosts/pattern/(", "vhost/%2F/pattern/("] {
        assert_eq!(leaders(path), bad("Invalid pattern"));
    }
    api.exists("elsewhere", "management", false);
    let path = "/health/checks/quorum-queues-without-elected-leaders/vhost/%2F";
    assert_eq!(api.as_user("elsewhere:p", "GET", path, Value::Null), refused());
}

#[test]
fn the_metadata_store_has_data_as_long_as_there_is_a_vhost() {
    let api = Api::start();
    for path in ["virtual-hosts", "metadata-store/initialized", "metadata-store/initialized/with-data"] {
        assert_eq!(check(&api, path), ok());
    }
    assert_eq!(api.delete("/vhosts/%2F"), done());
    let reason = "Metadata store has not yet been initialized: it reports to have no virtual hosts";
    assert_eq!(check(&api, "metadata-store/initialized/with-data"), fault(reason));
    assert_eq!(check(&api, "metadata-store/initialized"), ok());
}

#[test]
fn probes_need_no_login_and_all_other_checks_do() {
    let api = listening(vec![amqp()]);
    for path in ["is-in-service", "ready-to-serve-clients", "reached-target-cluster-size"] {
        assert_eq!((probe(&api, path), check(&api, path)), (ok(), ok()), "{path}");
    }
    let connections =
        |count: u64| Got(200, json!({"status": "ok", "limit": "infinity", "connections": count}));
    assert_eq!(probe(&api, "below-node-connection-limit"), connections(0));
    let _outbox = api.connect("guest", 1);
    assert_eq!(probe(&api, "below-node-connection-limit"), connections(1));
    api.exists("none", "", true);
    for path in [
        "alarms",
        "port-listener/5672",
        "protocol-listener/amqp",
        "virtual-hosts",
        "certificate-expiration/1/days",
        "node-is-quorum-critical",
        "quorum-queues-without-elected-leaders/all-vhosts",
        "metadata-store/initialized",
        "metadata-store/initialized/with-data",
    ] {
        assert_eq!(probe(&api, path).0, 401, "{path}");
        let refusal = api.as_user("none:p", "GET", &format!("/health/checks/{path}"), Value::Null);
        assert_eq!(refusal, refused(), "{path}");
    }
}

#[test]
fn a_node_without_a_listener_for_clients_is_not_ready_for_them() {
    let api = Api::start();
    assert_eq!(probe(&api, "ready-to-serve-clients"), fault("no active listeners for AMQP/AMQPS"));
    assert_eq!(probe(&api, "is-in-service"), ok());
}

#[test]
fn a_node_whose_journal_has_failed_is_out_of_service() {
    let api = listening(vec![amqp()]);
    api.failure.send_replace(Some(JournalFailed::new("no space for a sync")));
    let reason = "this rabbit node is not currently available to serve";
    assert_eq!(probe(&api, "is-in-service"), fault(reason));
    let reason = "the rabbit node is not currently available to serve";
    assert_eq!(probe(&api, "ready-to-serve-clients"), fault(reason));
}

#[test]
fn the_old_check_of_a_node_knows_this_one_only() {
    let api = Api::start();
    assert_eq!(api.get("/healthchecks/node"), ok());
    assert_eq!(api.get("/healthchecks/node/warren%40test"), ok());
    assert_eq!(api.get("/healthchecks/node/warren%40elsewhere"), not_found());
    assert_eq!(api.as_user("", "GET", "/healthchecks/node", Value::Null).0, 401);
}
