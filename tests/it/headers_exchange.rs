//! Headers exchanges: all, any, with and without the `x-` headers, and how values compare.

use crate::support::{Client, Properties, Scenario, Table, Value, scenarios, text};

/// A headers exchange `~x` and a queue `~q` bound with these arguments.
fn bound(t: &Scenario, arguments: Table<'_>) -> Client {
    let mut c = t.open();
    c.exchange(1, "~x", "headers");
    c.declare(1, "~q", "exclusive");
    c.call_with(1, "queue.bind queue=~q exchange=~x", arguments, "queue.bind-ok");
    c
}

fn publish(c: &mut Client, body: &str, headers: Table<'_>) {
    c.publish_with(1, "exchange=~x key=ignored", &Properties::default().headers(headers), body);
}

fn all_wants_every_header(t: &Scenario) {
    let mut c = bound(t, &[("x-match", text("all")), ("a", text("1")), ("b", Value::I(2))]);
    publish(&mut c, "both", &[("a", text("1")), ("b", Value::I(2))]);
    publish(&mut c, "more", &[("a", text("1")), ("b", Value::I(2)), ("c", Value::V)]);
    publish(&mut c, "one", &[("a", text("1"))]);
    publish(&mut c, "other", &[("a", text("1")), ("b", Value::I(3))]);
    publish(&mut c, "none", &[]);
    c.expect_messages(1, "~q", &["both", "more"]);
}

fn any_wants_one_header(t: &Scenario) {
    let mut c = bound(t, &[("x-match", text("any")), ("a", text("1")), ("b", Value::I(2))]);
    publish(&mut c, "both", &[("a", text("1")), ("b", Value::I(2))]);
    publish(&mut c, "a", &[("a", text("1"))]);
    publish(&mut c, "b", &[("a", text("2")), ("b", Value::I(2))]);
    publish(&mut c, "neither", &[("a", text("2")), ("b", Value::I(3))]);
    c.expect_messages(1, "~q", &["both", "a", "b"]);
}

fn all_is_the_default(t: &Scenario) {
    let mut c = bound(t, &[("a", text("1")), ("b", text("2"))]);
    publish(&mut c, "both", &[("a", text("1")), ("b", text("2"))]);
    publish(&mut c, "one", &[("a", text("1"))]);
    c.expect_messages(1, "~q", &["both"]);
}

fn x_headers_are_left_out(t: &Scenario) {
    let mut c = bound(t, &[("x-match", text("all")), ("a", text("1")), ("x-b", text("2"))]);
    publish(&mut c, "without", &[("a", text("1"))]);
    c.expect_messages(1, "~q", &["without"]);
}

fn all_with_x_compares_them_too(t: &Scenario) {
    let mut c = bound(t, &[("x-match", text("all-with-x")), ("a", text("1")), ("x-b", text("2"))]);
    publish(&mut c, "without", &[("a", text("1"))]);
    publish(&mut c, "with", &[("a", text("1")), ("x-b", text("2"))]);
    c.expect_messages(1, "~q", &["with"]);
}

fn any_with_x_compares_them_too(t: &Scenario) {
    let mut c = bound(t, &[("x-match", text("any-with-x")), ("a", text("1")), ("x-b", text("2"))]);
    publish(&mut c, "x only", &[("x-b", text("2"))]);
    publish(&mut c, "neither", &[("x-b", text("3"))]);
    c.expect_messages(1, "~q", &["x only"]);
}

fn any_does_not_see_x_headers(t: &Scenario) {
    let mut c = bound(t, &[("x-match", text("any")), ("a", text("1")), ("x-b", text("2"))]);
    publish(&mut c, "x only", &[("x-b", text("2"))]);
    c.expect_messages(1, "~q", &[]);
}

fn a_void_argument_wants_presence_only(t: &Scenario) {
    let mut c = bound(t, &[("a", Value::V)]);
    publish(&mut c, "text", &[("a", text("whatever"))]);
    publish(&mut c, "number", &[("a", Value::I(3))]);
    publish(&mut c, "absent", &[("b", Value::I(3))]);
    c.expect_messages(1, "~q", &["text", "number"]);
}

fn values_of_another_class_differ(t: &Scenario) {
    let mut c = bound(t, &[("a", Value::I(1))]);
    publish(&mut c, "int", &[("a", Value::I(1))]);
    publish(&mut c, "text", &[("a", text("1"))]);
    publish(&mut c, "bool", &[("a", Value::Bool(true))]);
    c.expect_messages(1, "~q", &["int"]);
}

fn integers_of_any_width_are_alike(t: &Scenario) {
    let mut c = bound(t, &[("a", Value::I(1))]);
    publish(&mut c, "long", &[("a", Value::l(1))]);
    publish(&mut c, "byte", &[("a", Value::b(1))]);
    publish(&mut c, "short", &[("a", Value::s(1))]);
    c.expect_messages(1, "~q", &["long", "byte", "short"]);
}

fn without_arguments_all_matches_everything(t: &Scenario) {
    let mut c = bound(t, &[]);
    c.publish(1, "~x", "", "no headers");
    publish(&mut c, "some", &[("a", Value::I(1))]);
    c.expect_messages(1, "~q", &["no headers", "some"]);
}

fn without_arguments_any_matches_nothing(t: &Scenario) {
    let mut c = bound(t, &[("x-match", text("any"))]);
    c.publish(1, "~x", "", "no headers");
    publish(&mut c, "some", &[("a", Value::I(1))]);
    c.expect_messages(1, "~q", &[]);
}

fn a_message_without_headers_matches_no_header(t: &Scenario) {
    let mut c = bound(t, &[("a", Value::I(1))]);
    c.publish(1, "~x", "", "no headers");
    c.expect_messages(1, "~q", &[]);
}

fn an_unknown_x_match_is_406(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "headers");
    c.declare(1, "~q", "exclusive");
    for value in [text("some"), Value::I(1)] {
        c.send_with(1, "queue.bind queue=~q exchange=~x", &[("x-match", value)]);
        let close = c.receive("channel.close");
        let wanted = "1 channel.close 406 PRECONDITION_FAILED - Invalid x-match field ";
        assert!(close.text.starts_with(wanted), "{}", close.text);
        c.send(1, "channel.close-ok");
        c.open_channel(1);
    }
}

fn amq_headers_and_amq_match_are_both_there(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    for exchange in ["amq.headers", "amq.match"] {
        let unique = [("unique", text("~"))];
        c.call_with(1, &format!("queue.bind queue=~q exchange={exchange}"), &unique, "queue.bind-ok");
        let headers = Properties::default().headers(&unique);
        c.publish_with(1, &format!("exchange={exchange}"), &headers, exchange);
    }
    c.expect_messages(1, "~q", &["amq.headers", "amq.match"]);
}

scenarios![
    all_wants_every_header,
    any_wants_one_header,
    all_is_the_default,
    x_headers_are_left_out,
    all_with_x_compares_them_too,
    any_with_x_compares_them_too,
    any_does_not_see_x_headers,
    a_void_argument_wants_presence_only,
    values_of_another_class_differ,
    integers_of_any_width_are_alike,
    without_arguments_all_matches_everything,
    without_arguments_any_matches_nothing,
    a_message_without_headers_matches_no_header,
    an_unknown_x_match_is_406,
    amq_headers_and_amq_match_are_both_there,
];
