//! Queues of type `quorum` on a single node: what they promise, and what they refuse (behaviour.md, 1.5 to 1.7 and 2.1).

use crate::support::scenario::run;
use crate::support::{Client, Properties, Scenario, Value, scenarios, text};

/// A quorum queue with more arguments. It outlives its connection: see [`delete`].
fn declare(c: &mut Client, queue: &str, arguments: &[(&str, Value)]) {
    let kind = [("x-queue-type", text("quorum"))];
    let arguments: Vec<_> = kind.into_iter().chain(arguments.iter().cloned()).collect();
    c.declare_with(1, queue, "durable", &arguments);
}

fn with_queue(t: &Scenario, arguments: &[(&str, Value)]) -> Client {
    let mut c = t.open();
    declare(&mut c, "~q", arguments);
    c
}

fn delete(c: &mut Client) {
    c.send(1, "queue.delete queue=~q");
    c.next("queue.delete-ok").unwrap();
}

/// Receives a delivery and says what of it does not depend on the version.
fn expect_delivery(c: &mut Client, wanted: &str) {
    c.expect_described(wanted, |incoming| {
        let redelivered = if incoming.get("redelivered").is_empty() { "" } else { " again" };
        format!("{}{redelivered}: {}", incoming.get("delivery"), String::from_utf8_lossy(&incoming.body))
    });
}

fn a_quorum_queue_is_durable_shared_and_stays(t: &Scenario) {
    let mut c = t.open();
    let kind = [("x-queue-type", text("quorum"))];
    for (flags, property) in [
        ("", "non-durable"),
        ("durable auto-delete", "auto-delete"),
        ("exclusive durable", "exclusive-owner"),
    ] {
        c.refused_with(
            1,
            format!("queue.declare queue=~q {flags}").trim_end(),
            &kind,
            &format!(
                "406 PRECONDITION_FAILED - invalid property '{property}' for queue '~q' in vhost '/' (queue.declare)"
            ),
        );
    }
}

fn a_quorum_queue_has_a_name_of_its_own(t: &Scenario) {
    let mut c = t.open();
    c.refused_with(
        1,
        "queue.declare durable",
        &[("x-queue-type", text("quorum"))],
        "406 PRECONDITION_FAILED - Cannot declare a server-named queue for type rabbit_quorum_queue (queue.declare)",
    );
}

fn arguments_of_classic_queues_are_refused(t: &Scenario) {
    let mut c = t.open();
    for (argument, value) in
        [("x-max-priority", Value::I(5)), ("x-queue-mode", text("lazy")), ("x-max-age", text("1D"))]
    {
        c.refused_with(
            1,
            "queue.declare queue=~q durable",
            &[("x-queue-type", text("quorum")), (argument, value)],
            &format!(
                "406 PRECONDITION_FAILED - invalid arg '{argument}' for queue '~q' in vhost '/' of queue type \
                 rabbit_quorum_queue (queue.declare)"
            ),
        );
    }
}

fn arguments_of_quorum_queues_are_refused_for_classic_ones(t: &Scenario) {
    let mut c = t.open();
    for argument in ["x-quorum-initial-group-size", "x-max-in-memory-length", "x-initial-cluster-size"] {
        c.refused_with(
            1,
            "queue.declare queue=~q exclusive",
            &[(argument, Value::I(3))],
            &format!(
                "406 PRECONDITION_FAILED - invalid arg '{argument}' for queue '~q' in vhost '/' of queue type \
                 rabbit_classic_queue (queue.declare)"
            ),
        );
    }
}

fn arguments_that_only_many_nodes_need_are_accepted(t: &Scenario) {
    let arguments = [
        ("x-quorum-initial-group-size", Value::I(3)),
        ("x-max-in-memory-length", Value::I(10)),
        ("x-max-in-memory-bytes", Value::I(1000)),
        ("x-quorum-target-group-size", Value::I(3)),
        ("x-member-placement-tag", text("rack")),
        ("x-consumer-disconnected-timeout", Value::I(60_000)),
        ("x-queue-leader-locator", text("balanced")),
        ("x-delivery-limit", Value::I(5)),
    ];
    let mut c = with_queue(t, &arguments);
    delete(&mut c);
}

fn an_unknown_queue_type_is_406(t: &Scenario) {
    let mut c = t.open();
    c.send_with(1, "queue.declare queue=~q durable", &[("x-queue-type", text("none"))]);
    c.expect_described("406 x-queue-type", |incoming| {
        let is_named = incoming.get("text").contains("x-queue-type");
        format!("{} {}", incoming.get("code"), if is_named { "x-queue-type" } else { "" })
    });
}

fn a_queue_of_another_type_is_not_equivalent(t: &Scenario) {
    let mut c = with_queue(t, &[]);
    c.send(1, "queue.declare queue=~q durable");
    c.expect_described("406 x-queue-type", |incoming| {
        let is_named = incoming.get("text").contains("inequivalent arg 'x-queue-type' for queue '");
        format!("{} {}", incoming.get("code"), if is_named { "x-queue-type" } else { "" })
    });
    c.send(1, "channel.close-ok");
    c.open_channel(1);
    delete(&mut c);
}

fn messages_are_confirmed_and_delivered_in_order(t: &Scenario) {
    let mut c = with_queue(t, &[]);
    c.call(1, "confirm.select", "confirm.select-ok");
    for body in ["one", "two", "three"] {
        c.publish(1, "", "~q", body);
    }
    c.expect_confirms(1, 1, 3);
    c.consume(1, "~q", "t", "");
    for (number, body) in ["one", "two", "three"].iter().enumerate() {
        expect_delivery(&mut c, &format!("{}: {body}", number + 1));
    }
    c.send(1, "basic.ack delivery=3 multiple");
    delete(&mut c);
}

fn what_comes_back_is_redelivered_and_counted(t: &Scenario) {
    let mut c = with_queue(t, &[]);
    c.publish(1, "", "~q", "one");
    c.consume(1, "~q", "t", "");
    expect_delivery(&mut c, "1: one");
    for number in 1..3 {
        c.send(1, &format!("basic.reject delivery={number} requeue"));
        c.expect_described(&format!("again {number}"), |incoming| {
            let headers = incoming.properties.headers.clone().unwrap_or_default();
            let count =
                headers.iter().find(|(name, _)| name == "x-delivery-count").map(|(_, value)| value.clone());
            match count {
                Some(Value::l(count)) => format!("again {count}"),
                other => format!("{other:?}"),
            }
        });
    }
    c.send(1, "basic.ack delivery=3");
    delete(&mut c);
}

fn a_delivery_limit_drops_what_is_rejected_too_often(t: &Scenario) {
    let mut c = with_queue(t, &[("x-delivery-limit", Value::I(1))]);
    c.publish(1, "", "~q", "one");
    c.consume(1, "~q", "t", "");
    expect_delivery(&mut c, "1: one");
    c.send(1, "basic.reject delivery=1 requeue");
    expect_delivery(&mut c, "2 again: one");
    c.send(1, "basic.reject delivery=2 requeue");
    c.publish(1, "", "~q", "two");
    expect_delivery(&mut c, "3: two");
    c.send(1, "basic.ack delivery=3");
    delete(&mut c);
}

fn a_shared_limit_is_not_supported(t: &Scenario) {
    let mut c = with_queue(t, &[]);
    let mut other = t.open();
    other.call(1, "basic.qos prefetch=5 global", "basic.qos-ok");
    other.send(1, "basic.consume queue=~q");
    other.expect_connection_close(
        "540 NOT_IMPLEMENTED - queue '~q' in vhost '/' does not support global qos (basic.consume)",
    );
    delete(&mut c);
}

fn nobody_gets_past_a_single_active_consumer(t: &Scenario) {
    let mut c = with_queue(t, &[("x-single-active-consumer", Value::Bool(true))]);
    c.refused(
        1,
        "basic.get queue=~q",
        "405 RESOURCE_LOCKED - cannot obtain access to locked queue '~q' in vhost '/'. basic.get operations are not \
         supported by quorum queues with single active consumer (basic.get)",
    );
    delete(&mut c);
}

fn a_full_quorum_queue_rejects_if_it_says_so(t: &Scenario) {
    let mut c = with_queue(t, &[("x-max-length", Value::I(0)), ("x-overflow", text("drop-head"))]);
    c.publish(1, "", "~q", "one");
    c.expect_queue(1, "~q", 0, 0);
    delete(&mut c);
}

/// RabbitMQ has that since 4.0.
#[test]
fn messages_without_a_priority_are_between_those_that_have_one() {
    run(|t| {
        let mut c = with_queue(t, &[]);
        for (properties, body) in [
            ("", "none"),
            ("priority=3", "below"),
            ("priority=5", "above"),
            ("priority=99", "highest"),
            ("priority=31", "as high"),
        ] {
            c.publish_with(1, "key=~q", &Properties::new(properties), body);
        }
        c.expect_queue(1, "~q", 5, 0);
        for (left, body) in ["highest", "as high", "above", "none", "below"].iter().enumerate() {
            c.send(1, "basic.get queue=~q no-ack");
            let got = c.receive("basic.get-ok");
            assert!(got.text.ends_with(&format!(": {body}")), "{left}: {}", got.text);
        }
        delete(&mut c);
    });
}

/// RabbitMQ has that since 4.0.
#[test]
fn a_message_that_failed_twenty_times_more_leaves_where_nothing_else_is_said() {
    run(|t| {
        let mut c = with_queue(t, &[]);
        c.publish(1, "", "~q", "poison");
        c.consume(1, "~q", "t", "");
        for number in 1..=21 {
            expect_delivery(&mut c, &format!("{number}{}: poison", if number > 1 { " again" } else { "" }));
            c.send(1, &format!("basic.reject delivery={number} requeue"));
        }
        c.publish(1, "", "~q", "healthy");
        expect_delivery(&mut c, "22: healthy");
        delete(&mut c);
    });
}

/// RabbitMQ has that since 4.0.
#[test]
fn a_consumer_of_a_higher_priority_takes_over_once_the_active_one_has_settled() {
    run(|t| {
        let mut c = with_queue(t, &[("x-single-active-consumer", Value::Bool(true))]);
        c.consume(1, "~q", "first", "");
        c.publish(1, "", "~q", "one");
        c.expect("1 basic.deliver tag=first delivery=1 key=~q: one");
        let mut other = t.open();
        other.call_with(
            1,
            "basic.consume queue=~q tag=second",
            &[("x-priority", Value::I(5))],
            "basic.consume-ok tag=second",
        );
        c.publish(1, "", "~q", "two");
        c.expect_queue(1, "~q", 1, 2);
        c.send(1, "basic.ack delivery=1");
        other.expect("1 basic.deliver tag=second delivery=1 key=~q: two");
        delete(&mut c);
    });
}

#[test]
fn streams_are_refused_with_a_clear_text() {
    run(|t| {
        let mut c = t.open();
        c.refused_with(
            1,
            "queue.declare queue=~q durable",
            &[("x-queue-type", text("stream"))],
            "406 PRECONDITION_FAILED - invalid arg 'x-queue-type' for queue '~q' in vhost '/': \"queue type 'stream' is \
             not supported yet: classic and quorum are\" (queue.declare)",
        );
    });
}

scenarios![
    a_quorum_queue_is_durable_shared_and_stays,
    a_quorum_queue_has_a_name_of_its_own,
    arguments_of_classic_queues_are_refused,
    arguments_of_quorum_queues_are_refused_for_classic_ones,
    arguments_that_only_many_nodes_need_are_accepted,
    an_unknown_queue_type_is_406,
    a_queue_of_another_type_is_not_equivalent,
    messages_are_confirmed_and_delivered_in_order,
    what_comes_back_is_redelivered_and_counted,
    a_delivery_limit_drops_what_is_rejected_too_often,
    a_shared_limit_is_not_supported,
    nobody_gets_past_a_single_active_consumer,
    a_full_quorum_queue_rejects_if_it_says_so,
];
