//! What a user may do: configure, write and read, checked per operation.

use crate::support::{Client, Login, Scenario, scenarios, text};
use serde_json::json;

/// A user `~u` with these permissions in `/`, connected, with channel 1 open.
fn with_user(t: &Scenario, permissions: [&str; 3]) -> Client {
    t.user("~u", "", Some(permissions));
    t.open_as(&Login::user("~u"))
}

fn queue_refused(right: &str, queue: &str, method: &str) -> String {
    format!(
        "403 ACCESS_REFUSED - {right} access to queue '{queue}' in vhost '/' refused for user '~u' ({method})"
    )
}

fn exchange_refused(right: &str, exchange: &str, method: &str) -> String {
    format!(
        "403 ACCESS_REFUSED - {right} access to exchange '{exchange}' in vhost '/' refused for user '~u' ({method})"
    )
}

fn configure_is_needed_to_declare_and_delete(t: &Scenario) {
    let mut c = with_user(t, ["", ".*", ".*"]);
    let mut guest = t.open();
    guest.declare(1, "~q", "");
    guest.exchange(1, "~x", "direct");
    for (method, why) in [
        ("queue.declare queue=~new", queue_refused("configure", "~new", "queue.declare")),
        ("queue.declare queue=~q", queue_refused("configure", "~q", "queue.declare")),
        ("queue.delete queue=~q", queue_refused("configure", "~q", "queue.delete")),
        (
            "exchange.declare exchange=~new type=direct",
            exchange_refused("configure", "~new", "exchange.declare"),
        ),
        ("exchange.delete exchange=~x", exchange_refused("configure", "~x", "exchange.delete")),
    ] {
        c.refused(1, method, &why);
    }
    guest.call(1, "queue.delete queue=~q", "queue.delete-ok messages=0");
    t.forget(&["/api/users/~u"]);
}

fn write_is_needed_to_publish(t: &Scenario) {
    let mut c = with_user(t, [".*", "^~ok", ".*"]);
    c.exchange(1, "~ok", "fanout");
    c.exchange(1, "~no", "fanout");
    c.publish(1, "~ok", "", "x");
    c.publish(1, "~no", "", "x");
    c.expect_channel_close(1, &exchange_refused("write", "~no", "basic.publish"));
    c.publish(1, "", "~q", "x");
    c.expect_channel_close(1, &exchange_refused("write", "amq.default", "basic.publish"));
    t.forget(&["/api/users/~u"]);
}

fn the_default_exchange_is_written_as_amq_default(t: &Scenario) {
    let mut c = with_user(t, [".*", "^amq\\\\.default$", ".*"]);
    c.declare(1, "~q", "exclusive");
    c.publish(1, "", "~q", "x");
    c.get(1, "~q", "basic.get-ok delivery=1 key=~q left=0: x");
    t.forget(&["/api/users/~u"]);
}

fn read_is_needed_to_consume_get_and_purge(t: &Scenario) {
    let mut c = with_user(t, [".*", ".*", "^$"]);
    c.declare(1, "~q", "exclusive");
    for method in ["basic.consume queue=~q", "basic.get queue=~q", "queue.purge queue=~q"] {
        c.refused(1, method, &queue_refused("read", "~q", method.split(' ').next().unwrap()));
    }
    t.forget(&["/api/users/~u"]);
}

fn binding_needs_write_on_the_queue_and_read_on_the_exchange(t: &Scenario) {
    let mut c = with_user(t, [".*", "^~w", "^~r"]);
    for (queue, exchange) in [("~w-q", "~r-x"), ("~other-q", "~other-x")] {
        c.declare(1, queue, "exclusive");
        c.exchange(1, exchange, "direct");
    }
    for verb in ["bind", "unbind"] {
        let method = format!("queue.{verb}");
        c.refused(
            1,
            &format!("{method} queue=~other-q exchange=~r-x key=k"),
            &queue_refused("write", "~other-q", &method),
        );
        c.refused(
            1,
            &format!("{method} queue=~w-q exchange=~other-x key=k"),
            &exchange_refused("read", "~other-x", &method),
        );
        c.call(1, &format!("{method} queue=~w-q exchange=~r-x key=k"), &format!("{method}-ok"));
    }
    t.forget(&["/api/users/~u"]);
}

fn binding_exchanges_needs_write_on_the_destination_and_read_on_the_source(t: &Scenario) {
    let mut c = with_user(t, [".*", "^~w", "^~r"]);
    for exchange in ["~w", "~r", "~other"] {
        c.exchange(1, exchange, "direct");
    }
    for verb in ["bind", "unbind"] {
        let method = format!("exchange.{verb}");
        c.refused(
            1,
            &format!("{method} destination=~other source=~r key=k"),
            &exchange_refused("write", "~other", &method),
        );
        c.refused(
            1,
            &format!("{method} destination=~w source=~other key=k"),
            &exchange_refused("read", "~other", &method),
        );
        c.call(1, &format!("{method} destination=~w source=~r key=k"), &format!("{method}-ok"));
    }
    t.forget(&["/api/users/~u"]);
}

fn an_alternate_exchange_needs_read_on_the_exchange_and_write_on_the_alternate(t: &Scenario) {
    let mut c = with_user(t, [".*", "^~w", "^~r"]);
    for (exchange, alternate, why) in [
        ("~r", "~other", exchange_refused("write", "~other", "exchange.declare")),
        ("~other", "~w", exchange_refused("read", "~other", "exchange.declare")),
    ] {
        let method = format!("exchange.declare exchange={exchange} type=direct");
        c.refused_with(1, &method, &[("alternate-exchange", text(alternate))], &why);
    }
    c.call_with(
        1,
        "exchange.declare exchange=~r type=direct",
        &[("alternate-exchange", text("~w"))],
        "exchange.declare-ok",
    );
    t.forget(&["/api/users/~u"]);
}

fn a_dead_letter_exchange_needs_read_on_the_queue_and_write_on_the_exchange(t: &Scenario) {
    let mut c = with_user(t, [".*", "^~w", "^~r"]);
    for (queue, exchange, why) in [
        ("~r", "~other", exchange_refused("write", "~other", "queue.declare")),
        ("~other", "~w", queue_refused("read", "~other", "queue.declare")),
    ] {
        let method = format!("queue.declare queue={queue} exclusive");
        c.refused_with(1, &method, &[("x-dead-letter-exchange", text(exchange))], &why);
    }
    c.declare_with(1, "~r", "exclusive", &[("x-dead-letter-exchange", text("~w"))]);
    t.forget(&["/api/users/~u"]);
}

fn topic_permissions_say_which_keys_may_be_published_and_bound_at_topic_exchanges(t: &Scenario) {
    let mut c = with_user(t, [".*", ".*", ".*"]);
    for (exchange, kind) in [("~t", "topic"), ("~d", "direct")] {
        c.exchange(1, exchange, kind);
        let patterns = json!({"exchange": exchange, "write": "^a", "read": "^{username}$"});
        t.set("/api/topic-permissions/%2F/~u", &patterns);
    }
    c.declare(1, "~q", "exclusive");
    let refused = |right: &str, key: &str, method: &str| {
        format!(
            "403 ACCESS_REFUSED - {right} access to topic '{key}' in exchange '~t' in vhost '/' refused for user '~u' ({method})"
        )
    };
    c.publish(1, "~t", "a.b", "x");
    c.publish(1, "~t", "b.a", "x");
    c.expect_channel_close(1, &refused("write", "b.a", "basic.publish"));
    c.publish(1, "~d", "b.a", "x");
    c.call(1, "queue.bind queue=~q exchange=~t key=~u", "queue.bind-ok");
    for method in ["queue.bind", "queue.unbind"] {
        c.refused(1, &format!("{method} queue=~q exchange=~t key=a"), &refused("read", "a", method));
    }
    c.call(1, "queue.bind queue=~q exchange=~d key=a", "queue.bind-ok");
    t.forget(&["/api/topic-permissions/%2F/~u", "/api/users/~u"]);
}

fn patterns_match_anywhere_in_a_name(t: &Scenario) {
    let mut c = with_user(t, ["mid", ".*", ".*"]);
    c.declare(1, "~a-mid-z", "exclusive");
    c.refused(1, "queue.declare queue=~other", &queue_refused("configure", "~other", "queue.declare"));
    t.forget(&["/api/users/~u"]);
}

fn the_empty_pattern_matches_nothing_but_what_the_broker_names(t: &Scenario) {
    let mut c = with_user(t, ["^amq\\\\.gen", ".*", ".*"]);
    c.call(1, "queue.declare exclusive", "queue.declare-ok queue=amq.gen-* messages=0 consumers=0");
    c.refused(1, "queue.declare queue=~q", &queue_refused("configure", "~q", "queue.declare"));
    t.forget(&["/api/users/~u"]);
}

fn a_refusal_closes_the_channel_only(t: &Scenario) {
    let mut c = with_user(t, ["", ".*", ".*"]);
    c.open_channel(2);
    c.refused(1, "queue.declare queue=~q", &queue_refused("configure", "~q", "queue.declare"));
    c.call(2, "basic.qos", "basic.qos-ok");
    t.forget(&["/api/users/~u"]);
}

fn a_passive_declare_needs_any_right(t: &Scenario) {
    let mut guest = t.open();
    guest.declare(1, "~q", "");
    guest.exchange(1, "~x", "direct");
    let mut c = with_user(t, ["", "^~q$", "^~x$"]);
    c.expect_queue(1, "~q", 0, 0);
    c.call(1, "exchange.declare exchange=~x type=direct passive", "exchange.declare-ok");
    guest.call(1, "queue.delete queue=~q", "queue.delete-ok messages=0");
    t.forget(&["/api/users/~u"]);
}

fn a_missing_queue_is_refused_before_it_is_missed(t: &Scenario) {
    let mut c = with_user(t, [".*", ".*", ""]);
    c.refused(1, "basic.get queue=~none", &queue_refused("read", "~none", "basic.get"));
    t.forget(&["/api/users/~u"]);
}

fn cleared_permissions_shut_the_vhost(t: &Scenario) {
    t.user("~u", "", Some([".*", ".*", ".*"]));
    t.open_as(&Login::user("~u")).close();
    t.forget(&["/api/permissions/%2F/~u"]);
    let mut c = t.socket();
    c.log_in(&Login::user("~u"));
    c.expect_connection_close(
        "530 NOT_ALLOWED - access to vhost '/' refused for user '~u' (connection.open)",
    );
    t.forget(&["/api/users/~u"]);
}

fn a_changed_password_is_the_one_that_counts(t: &Scenario) {
    t.user("~u", "", Some([".*", ".*", ".*"]));
    assert_eq!(t.http("PUT", "/api/users/~u", r#"{"password": "changed", "tags": ""}"#), 204);
    let mut c = t.socket();
    c.start();
    c.start_ok(&Login::user("~u"));
    let close = c.receive("connection.close");
    assert!(close.text.starts_with("0 connection.close 403 ACCESS_REFUSED"), "{}", close.text);
    t.open_as(&Login { password: "changed".into(), ..Login::user("~u") }).close();
    t.forget(&["/api/users/~u"]);
}

/// The hash that RabbitMQ's documentation computes for the password `test12`.
fn a_password_hash_from_rabbitmq_is_accepted(t: &Scenario) {
    let body = r#"{"password_hash": "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR", "tags": ""}"#;
    assert_eq!(t.http("PUT", "/api/users/~u", body), 201);
    t.permit("~u", "%2F", [".*", ".*", ".*"]);
    t.open_as(&Login { password: "test12".into(), ..Login::user("~u") }).close();
    t.forget(&["/api/users/~u"]);
}

/// RabbitMQ keeps them for a while: its channels remember the last twelve answers.
fn changed_permissions_count_at_once(t: &Scenario) {
    let mut c = with_user(t, [".*", ".*", ".*"]);
    c.declare(1, "~q", "exclusive");
    t.permit("~u", "%2F", [".*", ".*", "^$"]);
    c.refused(1, "basic.get queue=~q", &queue_refused("read", "~q", "basic.get"));
    t.forget(&["/api/users/~u"]);
}

scenarios![
    configure_is_needed_to_declare_and_delete,
    write_is_needed_to_publish,
    the_default_exchange_is_written_as_amq_default,
    read_is_needed_to_consume_get_and_purge,
    binding_needs_write_on_the_queue_and_read_on_the_exchange,
    binding_exchanges_needs_write_on_the_destination_and_read_on_the_source,
    an_alternate_exchange_needs_read_on_the_exchange_and_write_on_the_alternate,
    a_dead_letter_exchange_needs_read_on_the_queue_and_write_on_the_exchange,
    topic_permissions_say_which_keys_may_be_published_and_bound_at_topic_exchanges,
    patterns_match_anywhere_in_a_name,
    the_empty_pattern_matches_nothing_but_what_the_broker_names,
    a_refusal_closes_the_channel_only,
    a_passive_declare_needs_any_right,
    a_missing_queue_is_refused_before_it_is_missed,
    cleared_permissions_shut_the_vhost,
    a_changed_password_is_the_one_that_counts,
    a_password_hash_from_rabbitmq_is_accepted,
    changed_permissions_count_at_once,
];
