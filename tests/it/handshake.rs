//! From the first byte to connection.open-ok, and the life of a connection: header, SASL, tune, vhost, heartbeats,
//! close, update-secret.

use crate::support::node::{ENDS, Node};
use crate::support::scenario::run;
use crate::support::{Login, Scenario, Table, Value, scenarios, text};

const HEADER_0_9_1: &[u8] = b"AMQP\0\0\x09\x01";

fn another_version_is_answered_with_the_one_spoken(t: &Scenario) {
    for header in [b"AMQP\0\0\x08\x07", b"AMQP\0\0\x0a\x00", b"AMQP\x09\x09\x09\x09"] {
        let mut c = t.socket();
        c.send_bytes(header);
        c.expect_bytes(HEADER_0_9_1);
        c.expect_end();
    }
}

fn what_is_no_protocol_header_is_answered_with_one(t: &Scenario) {
    for bytes in [&b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..], &[0x16, 3, 1, 2, 0, 1, 0, 1], &[0; 8]] {
        let mut c = t.socket();
        c.send_bytes(bytes);
        c.expect_bytes(HEADER_0_9_1);
        c.expect_end();
    }
}

fn a_header_may_come_byte_by_byte(t: &Scenario) {
    let mut c = t.socket();
    for byte in HEADER_0_9_1 {
        c.send_bytes(&[*byte]);
    }
    assert_eq!(c.next("connection.start").unwrap().method.name, "connection.start");
}

fn start_says_who_the_broker_is_and_what_it_can(t: &Scenario) {
    let start = t.socket().start();
    assert_eq!((start.get("version-major"), start.get("version-minor")), ("0", "9"));
    assert_eq!(start.get("locales"), "en_US");
    let mechanisms: Vec<_> = start.get("mechanisms").split(' ').collect();
    assert!(mechanisms.contains(&"PLAIN") && mechanisms.contains(&"AMQPLAIN"), "{mechanisms:?}");
    let find = |name: &str| start.method.table.iter().find(|(key, _)| key == name).map(|(_, value)| value);
    for name in ["cluster_name", "copyright", "information", "platform", "product", "version"] {
        assert!(matches!(find(name), Some(Value::S(_))), "{name}: {:?}", find(name));
    }
    let Some(Value::F(capabilities)) = find("capabilities") else { panic!("no capabilities") };
    for name in [
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "consumer_priorities",
        "authentication_failure_close",
        "per_consumer_qos",
        "direct_reply_to",
    ] {
        assert!(capabilities.contains(&(name.to_string(), Value::Bool(true))), "{name} in {capabilities:?}");
    }
}

#[test]
fn start_says_what_the_cluster_is_called_also_after_a_restart() {
    for end in ENDS {
        let mut node = Node::start();
        let told = |node: &Node| {
            let mut fields = node.t.socket().start().method.table.into_iter();
            fields.find(|(name, _)| name == "cluster_name").map(|(_, value)| value)
        };
        assert_ne!(told(&node), Some(text("rabbits")));
        assert_eq!(node.t.http("PUT", "/api/cluster-name", r#"{"name": "rabbits"}"#), 204);
        assert_eq!(told(&node), Some(text("rabbits")));
        node.restart(end);
        assert_eq!(told(&node), Some(text("rabbits")));
    }
}

fn tune_proposes_rabbitmqs_limits(t: &Scenario) {
    let mut c = t.socket();
    c.start();
    c.start_ok(&Login::default());
    c.expect("0 connection.tune channel-max=2047 frame-max=131072 heartbeat=60");
}

fn plain_logs_in(t: &Scenario) {
    t.open().close();
}

fn amqplain_logs_in(t: &Scenario) {
    t.open_as(&Login { mechanism: "AMQPLAIN", ..Login::default() }).close();
}

fn plain_ignores_the_authorization_identity(t: &Scenario) {
    let mut c = t.socket();
    c.start();
    start_ok_with(&mut c, &[], "PLAIN", b"someone\0guest\0guest");
    c.tune(&Login::default());
    c.call(0, "connection.open vhost=/", "connection.open-ok");
}

fn start_ok_with(c: &mut crate::support::Client, table: Table<'_>, mechanism: &str, response: &[u8]) {
    use crate::support::codec;
    let mut payload = vec![0, 10, 0, 11];
    codec::put_table(&mut payload, &codec::owned(table), "");
    codec::put_short(&mut payload, mechanism.as_bytes());
    codec::put_long(&mut payload, response);
    codec::put_short(&mut payload, b"en_US");
    c.send_frame(1, 0, &payload);
}

fn an_unknown_mechanism_is_503(t: &Scenario) {
    let mut c = t.socket();
    c.start();
    c.start_ok(&Login { mechanism: "GSSAPI", ..Login::default() });
    c.expect_connection_close(
        "503 COMMAND_INVALID - unknown authentication mechanism 'GSSAPI' (connection.start-ok)",
    );
}

fn a_wrong_password_is_403_for_a_client_that_can_be_told(t: &Scenario) {
    for (user, password) in [("guest", "wrong"), ("~nobody", "guest"), ("", ""), ("guest", "")] {
        let mut c = t.socket();
        c.start();
        c.start_ok(&Login { user: user.into(), password: password.into(), ..Login::default() });
        c.expect_connection_close(
            "403 ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the \
             broker logfile. (0/0)",
        );
    }
}

fn a_wrong_password_over_amqplain_names_that_mechanism(t: &Scenario) {
    let mut c = t.socket();
    c.start();
    c.start_ok(&Login { mechanism: "AMQPLAIN", password: "wrong".into(), ..Login::default() });
    c.expect_connection_close(
        "403 ACCESS_REFUSED - Login was refused using authentication mechanism AMQPLAIN. For details see the broker \
         logfile. (0/0)",
    );
}

fn a_wrong_password_just_ends_the_connection_of_an_old_client(t: &Scenario) {
    let mut c = t.socket();
    c.start();
    c.start_ok(&Login { password: "wrong".into(), capabilities: vec![], ..Login::default() });
    c.expect_end();
}

fn a_plain_response_that_is_none_is_refused(t: &Scenario) {
    let mut c = t.socket();
    c.start();
    let capabilities = Value::F(vec![("authentication_failure_close".into(), Value::Bool(true))]);
    start_ok_with(&mut c, &[("capabilities", capabilities)], "PLAIN", b"no nulls here");
    let close = c.receive("connection.close");
    assert_eq!(close.method.name, "connection.close", "{}", close.text);
}

fn a_vhost_that_does_not_exist_is_530(t: &Scenario) {
    let mut c = t.socket();
    c.log_in(&Login::default().vhost("~nowhere"));
    c.expect_connection_close("530 NOT_ALLOWED - vhost ~nowhere not found (connection.open)");
}

fn a_vhost_without_permissions_is_530(t: &Scenario) {
    t.user("~u", "", None);
    let mut c = t.socket();
    c.log_in(&Login::user("~u"));
    c.expect_connection_close(
        "530 NOT_ALLOWED - access to vhost '/' refused for user '~u' (connection.open)",
    );
    t.forget(&["/api/users/~u"]);
}

fn tune_ok(t: &Scenario, fields: &str) -> crate::support::Client {
    let mut c = t.socket();
    c.start();
    c.start_ok(&Login::default());
    c.receive("connection.tune");
    c.send(0, &format!("connection.tune-ok {fields}"));
    c
}

fn limits_above_the_brokers_are_530(t: &Scenario) {
    let cases = [
        ("frame-max=131073", "frame_max = 131073 is higher than the maximum allowed value (131072)"),
        ("frame-max=0", "frame_max = 0 (no limit) is higher than the maximum allowed value (131072)"),
        (
            "frame-max=131072 channel-max=2048",
            "channel_max = 2048 is higher than the maximum allowed value (2047)",
        ),
        (
            "frame-max=131072 channel-max=0",
            "channel_max = 0 (no limit) is higher than the maximum allowed value (2047)",
        ),
    ];
    for (fields, why) in cases {
        let fields =
            if fields.contains("channel") { fields.into() } else { format!("{fields} channel-max=2047") };
        let mut c = tune_ok(t, &fields);
        c.expect_connection_close(&format!("530 NOT_ALLOWED - negotiated {why} (connection.tune-ok)"));
    }
}

fn a_frame_max_below_4096_is_530(t: &Scenario) {
    let mut c = tune_ok(t, "channel-max=2047 frame-max=4095");
    c.expect_connection_close(
        "530 NOT_ALLOWED - negotiated frame_max = 4095 is lower than the minimum allowed value (4096) \
         (connection.tune-ok)",
    );
}

fn the_least_frame_max_of_the_specification_is_accepted(t: &Scenario) {
    let mut c = t.open_as(&Login { frame_max: Some(4096), ..Login::default() });
    c.declare(1, "~q", "exclusive");
    let body = "x".repeat(10_000);
    c.publish(1, "", "~q", &body);
    // Client::next asserts that no body frame is longer than what was negotiated.
    assert_eq!(
        c.get(1, "~q", "basic.get-ok delivery=1 key=~q left=0: 10000 bytes, crc 0d55a4a3").body.len(),
        10_000
    );
}

fn a_client_may_ask_for_fewer_channels(t: &Scenario) {
    let mut c = t.connect(&Login { channel_max: Some(3), ..Login::default() });
    for channel in 1..=3 {
        c.open_channel(channel);
    }
}

fn heartbeats_come_at_half_the_interval(t: &Scenario) {
    let mut c = t.connect(&Login { heartbeat: 1, ..Login::default() });
    c.shows_heartbeats = true;
    for _ in 0..3 {
        c.expect("0 heartbeat");
        c.send_frame(8, 0, &[]);
    }
}

fn a_silent_client_is_hung_up_on(t: &Scenario) {
    let mut c = t.connect(&Login { heartbeat: 1, ..Login::default() });
    let started = warren::time::now();
    c.expect_end();
    let silent = started.elapsed().as_millis();
    assert!((1_000..8_000).contains(&silent), "hung up after {silent} ms");
}

fn any_traffic_is_a_sign_of_life(t: &Scenario) {
    let mut c = t.open_as(&Login { heartbeat: 1, ..Login::default() });
    c.shows_heartbeats = true;
    for _ in 0..8 {
        c.expect("0 heartbeat");
        c.send_with(1, "queue.declare queue=~none no-wait exclusive", &[]);
    }
}

fn without_heartbeats_silence_is_allowed(t: &Scenario) {
    let mut quiet = t.open();
    let mut other = t.connect(&Login { heartbeat: 1, ..Login::default() });
    // Three seconds by the broker's own clock: the other client is hung up on meanwhile.
    other.expect_end();
    quiet.close();
}

fn close_is_answered(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.publish(1, "", "~q", "left behind");
    c.close();
}

/// RabbitMQ waits for the client to do it.
#[test]
fn the_stream_ends_behind_close_ok() {
    run(|t| {
        let mut c = t.open();
        c.close();
        c.expect_end();
    });
}

fn close_is_answered_in_the_midst_of_deliveries(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    for number in 0..100 {
        c.publish(1, "", "~q", format!("{number}"));
    }
    c.send(1, "basic.consume queue=~q tag=t no-ack");
    c.send(0, "connection.close code=200 text=bye");
    while c.next("connection.close-ok").unwrap().method.name != "connection.close-ok" {}
}

fn frames_behind_a_connection_error_are_discarded(t: &Scenario) {
    let mut c = t.open();
    c.send(1, "channel.open");
    c.send(1, "queue.declare queue=~late");
    c.expect_connection_close("504 CHANNEL_ERROR - second 'channel.open' seen (channel.open)");
    t.open().refused(
        1,
        "queue.declare queue=~late passive",
        "404 NOT_FOUND - no queue '~late' in vhost '/' (queue.declare)",
    );
}

fn a_second_connection_open_is_504(t: &Scenario) {
    let mut c = t.open();
    c.send(0, "connection.open vhost=/");
    c.expect_connection_close(
        "504 CHANNEL_ERROR - unexpected method in connection state running (connection.open)",
    );
}

fn update_secret_is_answered(t: &Scenario) {
    let mut c = t.open();
    c.call(0, "connection.update-secret secret=guest reason=renewal", "connection.update-secret-ok");
    c.declare(1, "~q", "exclusive");
}

fn a_secret_that_does_not_expire_is_not_checked_again(t: &Scenario) {
    let mut c = t.open();
    c.call(0, "connection.update-secret secret=other reason=renewal", "connection.update-secret-ok");
    c.declare(1, "~q", "exclusive");
}

fn client_properties_of_every_type_are_accepted(t: &Scenario) {
    let mut c = t.socket();
    c.start();
    let nested = Value::F(vec![("a".into(), Value::A(vec![Value::I(1), Value::V, text("x")]))]);
    let table = [
        ("connection_name", text("a name")),
        ("t", Value::Bool(false)),
        ("b", Value::b(-1)),
        ("B", Value::B(200)),
        ("s", Value::s(-300)),
        ("u", Value::u(60_000)),
        ("i", Value::i(4_000_000_000)),
        ("l", Value::l(-1)),
        ("f", Value::f(1.5)),
        ("d", Value::d(2.5)),
        ("D", Value::D(2, 314)),
        ("T", Value::T(1_700_000_000)),
        ("x", Value::x(vec![0, 255])),
        ("F", nested),
    ];
    start_ok_with(&mut c, &table, "PLAIN", b"\0guest\0guest");
    c.tune(&Login::default());
    c.call(0, "connection.open vhost=/", "connection.open-ok");
}

scenarios![
    another_version_is_answered_with_the_one_spoken,
    what_is_no_protocol_header_is_answered_with_one,
    a_header_may_come_byte_by_byte,
    start_says_who_the_broker_is_and_what_it_can,
    tune_proposes_rabbitmqs_limits,
    plain_logs_in,
    amqplain_logs_in,
    plain_ignores_the_authorization_identity,
    an_unknown_mechanism_is_503,
    a_wrong_password_is_403_for_a_client_that_can_be_told,
    a_wrong_password_over_amqplain_names_that_mechanism,
    a_wrong_password_just_ends_the_connection_of_an_old_client,
    a_plain_response_that_is_none_is_refused,
    a_vhost_that_does_not_exist_is_530,
    a_vhost_without_permissions_is_530,
    limits_above_the_brokers_are_530,
    a_frame_max_below_4096_is_530,
    the_least_frame_max_of_the_specification_is_accepted,
    a_client_may_ask_for_fewer_channels,
    heartbeats_come_at_half_the_interval,
    a_silent_client_is_hung_up_on,
    any_traffic_is_a_sign_of_life,
    without_heartbeats_silence_is_allowed,
    close_is_answered,
    close_is_answered_in_the_midst_of_deliveries,
    frames_behind_a_connection_error_are_discarded,
    a_second_connection_open_is_504,
    update_secret_is_answered,
    a_secret_that_does_not_expire_is_not_checked_again,
    client_properties_of_every_type_are_accepted,
];
