//! basic.publish: the order of its checks, mandatory and basic.return, the properties that mean something to the broker.

use crate::support::{Login, Properties, Scenario, Table, Value, scenarios, text};

fn list(keys: &[&str]) -> Value {
    Value::A(keys.iter().map(|key| text(key)).collect())
}

fn headers(table: Table<'_>) -> Properties {
    Properties::default().headers(table)
}

fn the_default_exchange_routes_by_the_queues_name(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.publish(1, "", "~q", "hello");
    c.publish(1, "", "~other", "dropped");
    c.get(1, "~q", "basic.get-ok delivery=1 key=~q left=0: hello");
    c.get(1, "~q", "basic.get-empty");
}

fn a_missing_exchange_is_404(t: &Scenario) {
    let mut c = t.open();
    c.publish(1, "~none", "k", "x");
    c.expect_channel_close(1, "404 NOT_FOUND - no exchange '~none' in vhost '/' (basic.publish)");
}

fn an_internal_exchange_is_403(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "fanout internal");
    c.publish(1, "~x", "", "x");
    c.expect_channel_close(
        1,
        "403 ACCESS_REFUSED - cannot publish to internal exchange '~x' in vhost '/' (basic.publish)",
    );
}

fn immediate_is_540(t: &Scenario) {
    let mut c = t.open();
    c.publish_with(1, "exchange=~none key=~q immediate", &Properties::default(), "x");
    c.expect_connection_close("540 NOT_IMPLEMENTED - immediate=true (basic.publish)");
}

fn a_missing_exchange_comes_before_a_bad_expiration(t: &Scenario) {
    let mut c = t.open();
    c.publish_with(1, "exchange=~none", &Properties::new("expiration=soon user-id=somebody"), "x");
    c.expect_channel_close(1, "404 NOT_FOUND - no exchange '~none' in vhost '/' (basic.publish)");
}

fn a_mandatory_message_without_a_queue_is_returned(t: &Scenario) {
    let mut c = t.open();
    let properties = Properties::new("correlation-id=7 delivery-mode=2");
    c.publish_with(1, "exchange=amq.direct key=~k mandatory", &properties, "back");
    c.expect(
        "1 basic.return code=312 text=NO_ROUTE exchange=amq.direct key=~k {delivery-mode=2 correlation-id=7}: back",
    );
    c.publish_with(1, "key=~none mandatory", &Properties::default(), "");
    c.expect("1 basic.return code=312 text=NO_ROUTE key=~none: ");
}

fn a_mandatory_message_with_a_queue_is_not_returned(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.publish_with(1, "key=~q mandatory", &Properties::default(), "x");
    c.get(1, "~q", "basic.get-ok delivery=1 key=~q left=0: x");
}

fn the_return_comes_before_the_confirm(t: &Scenario) {
    let mut c = t.open();
    c.call(1, "confirm.select", "confirm.select-ok");
    for number in 1..=3 {
        c.publish_with(1, "key=~none mandatory", &Properties::default(), "x");
        c.expect("1 basic.return code=312 text=NO_ROUTE key=~none: x");
        c.expect(&format!("1 basic.ack delivery={number}"));
    }
}

fn a_large_message_is_returned_whole(t: &Scenario) {
    let mut c = t.open();
    let body = vec![b'r'; 300_000];
    c.publish_with(1, "key=~none mandatory", &Properties::default(), &body);
    assert_eq!(c.receive("basic.return").body, body);
}

fn a_bad_expiration_is_406(t: &Scenario) {
    let mut c = t.open();
    for (expiration, reason) in [
        ("soon", "no_integer"),
        ("12abc", "{leftover_string,\"abc\"}"),
        ("-1", "{value_negative,-1}"),
        ("315360000001", "{value_too_large,315360000001}"),
    ] {
        c.publish_with(1, "key=~none", &Properties::new(&format!("expiration={expiration}")), "x");
        c.expect_channel_close(
            1,
            &format!("406 PRECONDITION_FAILED - invalid expiration '{expiration}': {reason} (basic.publish)"),
        );
    }
}

fn an_expiration_of_ten_years_is_accepted(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.publish_with(1, "key=~q", &Properties::new("expiration=315360000000"), "x");
    c.get(1, "~q", "basic.get-ok delivery=1 key=~q left=0 {expiration=315360000000}: x");
}

fn another_users_id_is_406(t: &Scenario) {
    let mut c = t.open();
    c.publish_with(1, "key=~none", &Properties::new("user-id=somebody"), "x");
    c.expect_channel_close(
        1,
        "406 PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user was 'guest' \
         (basic.publish)",
    );
}

fn ones_own_user_id_is_carried(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.publish_with(1, "key=~q", &Properties::new("user-id=guest"), "x");
    c.get(1, "~q", "basic.get-ok delivery=1 key=~q left=0 {user-id=guest}: x");
}

fn an_impersonator_may_use_any_user_id(t: &Scenario) {
    t.user("~u", "impersonator", Some([".*", ".*", ".*"]));
    let mut c = t.open_as(&Login::user("~u"));
    c.declare(1, "~q", "exclusive");
    c.publish_with(1, "key=~q", &Properties::new("user-id=somebody"), "x");
    c.get(1, "~q", "basic.get-ok delivery=1 key=~q left=0 {user-id=somebody}: x");
    t.forget(&["/api/users/~u"]);
}

fn cc_adds_routing_keys(t: &Scenario) {
    let mut c = t.open();
    for queue in ["~a", "~b", "~c"] {
        c.declare(1, queue, "exclusive");
    }
    c.publish_with(1, "key=~a", &headers(&[("CC", list(&["~b", "~c"]))]), "x");
    for queue in ["~a", "~b", "~c"] {
        c.get(
            1,
            queue,
            &format!(
                "basic.get-ok delivery={} key=~a left=0 {{headers={{CC=['~b' '~c']}}}}: x",
                match queue {
                    "~a" => 1,
                    "~b" => 2,
                    _ => 3,
                }
            ),
        );
    }
}

fn bcc_adds_routing_keys_and_is_not_seen(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~a", "exclusive");
    c.declare(1, "~b", "exclusive");
    c.publish_with(1, "key=~a", &headers(&[("BCC", list(&["~b"])), ("h", text("v"))]), "x");
    c.get(1, "~a", "basic.get-ok delivery=1 key=~a left=0 {headers={h='v'}}: x");
    c.get(1, "~b", "basic.get-ok delivery=2 key=~a left=0 {headers={h='v'}}: x");
}

fn a_queue_gets_a_message_once_whatever_the_keys(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    let keys = headers(&[("CC", list(&["~q", "~q"])), ("BCC", list(&["~q"]))]);
    c.publish_with(1, "key=~q", &keys, "once");
    c.expect_messages(1, "~q", &["once"]);
}

fn cc_applies_to_other_exchanges_too(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.exchange(1, "~x", "topic");
    c.bind(1, "~q", "~x", "b.*");
    c.publish_with(1, "exchange=~x key=a.1", &headers(&[("CC", list(&["b.1"]))]), "x");
    c.expect_messages(1, "~q", &["x"]);
}

fn cc_that_is_no_list_is_406(t: &Scenario) {
    let mut c = t.open();
    for (header, value) in [("CC", text("~q")), ("BCC", Value::I(1))] {
        c.publish_with(1, "key=~none", &headers(&[(header, value)]), "x");
        let close = c.receive("channel.close");
        let wanted =
            "1 channel.close 406 PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,";
        assert!(close.text.starts_with(wanted), "{}", close.text);
        c.send(1, "channel.close-ok");
        c.open_channel(1);
    }
}

fn entries_of_cc_that_are_no_texts_are_passed_over(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.publish_with(1, "key=~none", &headers(&[("CC", Value::A(vec![Value::I(1), text("~q")]))]), "x");
    c.expect_messages(1, "~q", &["x"]);
}

fn what_is_published_behind_an_error_is_dropped(t: &Scenario) {
    let mut c = t.open();
    c.open_channel(2);
    c.declare(2, "~q", "exclusive");
    c.publish(1, "", "~q", "before");
    c.publish(1, "~none", "", "bad");
    for _ in 0..10 {
        c.publish(1, "", "~q", "behind");
    }
    c.expect_channel_close(1, "404 NOT_FOUND - no exchange '~none' in vhost '/' (basic.publish)");
    c.expect_messages(2, "~q", &["before"]);
}

fn messages_of_one_channel_stay_in_order(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    let bodies: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    for body in &bodies {
        c.publish(1, "", "~q", body);
    }
    c.expect_messages(1, "~q", &bodies.iter().map(|body| &**body).collect::<Vec<_>>());
}

fn a_message_above_16_mebibytes_is_406(t: &Scenario) {
    let mut c = t.open();
    let size = 16 * 1024 * 1024 + 1;
    c.publish(1, "", "~none", vec![0; size]);
    c.expect_channel_close(
        1,
        &format!(
            "406 PRECONDITION_FAILED - message size {size} is larger than configured max size 16777216 \
             (basic.publish)"
        ),
    );
}

scenarios![
    the_default_exchange_routes_by_the_queues_name,
    a_missing_exchange_is_404,
    an_internal_exchange_is_403,
    immediate_is_540,
    a_missing_exchange_comes_before_a_bad_expiration,
    a_mandatory_message_without_a_queue_is_returned,
    a_mandatory_message_with_a_queue_is_not_returned,
    the_return_comes_before_the_confirm,
    a_large_message_is_returned_whole,
    a_bad_expiration_is_406,
    an_expiration_of_ten_years_is_accepted,
    another_users_id_is_406,
    ones_own_user_id_is_carried,
    an_impersonator_may_use_any_user_id,
    cc_adds_routing_keys,
    bcc_adds_routing_keys_and_is_not_seen,
    a_queue_gets_a_message_once_whatever_the_keys,
    cc_applies_to_other_exchanges_too,
    cc_that_is_no_list_is_406,
    entries_of_cc_that_are_no_texts_are_passed_over,
    what_is_published_behind_an_error_is_dropped,
    messages_of_one_channel_stay_in_order,
    a_message_above_16_mebibytes_is_406,
];
