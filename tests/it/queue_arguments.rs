//! Queue arguments with an effect: priorities, time to live, single active consumer.

use crate::support::raw::PATIENCE;
use crate::support::scenario::run;
use crate::support::{Client, Properties, Scenario, Value, scenarios, text};
use serde_json::json;

fn publish(c: &mut Client, properties: &str, body: &str) {
    c.publish_with(1, "key=~q", &Properties::new(properties), body);
}

fn the_higher_priority_is_delivered_first(t: &Scenario) {
    let mut c = t.open();
    c.declare_with(1, "~q", "exclusive", &[("x-max-priority", Value::I(5))]);
    for (properties, body) in
        [("", "none"), ("priority=3", "three"), ("priority=9", "nine"), ("priority=5", "five")]
    {
        publish(&mut c, properties, body);
    }
    c.expect_queue(1, "~q", 4, 0);
    // What is above the highest priority counts as the highest.
    for (number, body) in ["nine", "five", "three", "none"].iter().enumerate() {
        c.send(1, "basic.get queue=~q no-ack");
        let got = c.receive("basic.get-ok");
        assert!(got.text.ends_with(&format!(": {body}")), "{number}: {}", got.text);
    }
}

fn without_time_to_live_a_message_is_delivered_at_once_or_never(t: &Scenario) {
    let mut c = t.open();
    c.declare_with(1, "~q", "exclusive", &[("x-message-ttl", Value::I(0))]);
    publish(&mut c, "", "never");
    c.expect_queue(1, "~q", 0, 0);
    c.consume(1, "~q", "t", "no-ack");
    publish(&mut c, "", "now");
    c.expect("1 basic.deliver tag=t delivery=1 key=~q: now");
}

fn the_shorter_time_to_live_counts(t: &Scenario) {
    let mut c = t.open();
    c.declare_with(1, "~q", "exclusive", &[("x-message-ttl", Value::I(3_600_000))]);
    publish(&mut c, "expiration=0", "gone");
    publish(&mut c, "expiration=7200000", "stays");
    c.expect_queue(1, "~q", 1, 0);
    c.get(1, "~q", "basic.get-ok delivery=1 key=~q left=0 {expiration=7200000}: stays");
}

fn one_consumer_at_a_time_is_served_and_the_next_takes_over(t: &Scenario) {
    let mut c = t.open();
    c.declare_with(1, "~q", "exclusive", &[("x-single-active-consumer", Value::Bool(true))]);
    c.consume(1, "~q", "first", "");
    c.consume(1, "~q", "second", "");
    for body in ["one", "two"] {
        c.publish(1, "", "~q", body);
    }
    c.expect("1 basic.deliver tag=first delivery=1 key=~q: one");
    c.expect("1 basic.deliver tag=first delivery=2 key=~q: two");
    c.call(1, "basic.cancel tag=first", "basic.cancel-ok tag=first");
    c.publish(1, "", "~q", "three");
    c.expect("1 basic.deliver tag=second delivery=3 key=~q: three");
}

fn a_queue_with_a_single_active_consumer_is_nobodys_alone(t: &Scenario) {
    let mut c = t.open();
    c.declare_with(1, "~q", "exclusive", &[("x-single-active-consumer", Value::Bool(true))]);
    c.send(1, "basic.consume queue=~q exclusive");
    let close = c.receive("channel.close");
    assert!(close.text.starts_with("1 channel.close 403 ACCESS_REFUSED - "), "{}", close.text);
}

/// Declares with one argument, which is refused: the whole text is compared with RabbitMQ's.
fn refuse_each(t: &Scenario, bad: &[(&str, Value)]) {
    let mut c = t.open();
    for (argument, value) in bad {
        c.send_with(1, "queue.declare queue=~q durable", &[(argument, value.clone())]);
        let close = c.receive("channel.close");
        assert!(
            !t.trace.is_strict || close.get("code") == "406" && close.get("text").contains(argument),
            "{argument}: {}",
            close.text
        );
        c.send(1, "channel.close-ok");
        c.open_channel(1);
    }
}

fn numbers_out_of_range_are_refused(t: &Scenario) {
    let bad = [
        ("x-expires", Value::I(0)),
        ("x-expires", Value::I(-1)),
        ("x-message-ttl", Value::I(-1)),
        ("x-message-ttl", Value::l(1 << 60)),
        ("x-max-length", Value::I(-1)),
        ("x-max-length-bytes", Value::I(-5)),
        ("x-max-priority", Value::I(-1)),
        ("x-max-priority", Value::I(256)),
    ];
    refuse_each(t, &bad);
}

fn values_of_another_type_are_refused(t: &Scenario) {
    let bad = [
        ("x-expires", text("soon")),
        ("x-message-ttl", Value::Bool(true)),
        ("x-max-length", text("10")),
        ("x-max-length-bytes", Value::d(1.5)),
        ("x-max-priority", text("high")),
        ("x-overflow", text("bogus")),
        ("x-overflow", Value::I(1)),
        ("x-dead-letter-exchange", Value::I(1)),
        ("x-dead-letter-routing-key", text("without an exchange")),
    ];
    refuse_each(t, &bad);
}

/// What older clients still say: mirrors, lazy queues, where the leader is to be.
fn arguments_without_effect_are_accepted(t: &Scenario) {
    let mut c = t.open();
    for (queue, argument, value) in [
        ("~mode", "x-queue-mode", text("lazy")),
        ("~version", "x-queue-version", Value::I(2)),
        ("~master", "x-queue-master-locator", text("min-masters")),
        ("~ha", "x-ha-policy", text("all")),
    ] {
        c.declare_with(1, queue, "exclusive", &[(argument, value)]);
        c.publish(1, "", queue, "here");
        c.get(1, queue, &format!("basic.get-ok delivery=1 key={queue} left=0: here"));
        c.close_channel(1);
        c.open_channel(1);
    }
    c.declare(1, "~q", "exclusive");
    let consume = "basic.consume queue=~q tag=t no-ack";
    let arguments = [("x-cancel-on-ha-failover", Value::Bool(true))];
    c.call_with(1, consume, &arguments, "basic.consume-ok tag=t");
    c.publish(1, "", "~q", "there");
    c.expect("1 basic.deliver tag=t delivery=1 key=~q: there");
}

/// An argument that does nothing here may be another one for a client that declares its queue again.
#[test]
fn arguments_that_nobody_knows_are_stored_and_shown() {
    run(|t| {
        let mut c = t.open();
        let odd = Value::F(vec![("list".into(), Value::A(vec![Value::I(1), text("two")]))]);
        // The last one is known to RabbitMQ since 4.0, here and there without effect.
        let arguments = [
            ("x-odd", odd),
            ("plain", Value::Bool(true)),
            ("x-queue-mode", text("lazy")),
            ("x-queue-leader-locator", text("client-local")),
        ];
        c.declare_with(1, "~q", "exclusive", &arguments);
        c.declare(1, "~q", "exclusive");
        let shown = json!({"x-odd": {"list": [1, "two"]}, "plain": true, "x-queue-mode": "lazy", "x-queue-leader-locator": "client-local"});
        assert_eq!(t.shown("/api/queues/%2F/~q?columns=arguments"), json!({"arguments": shown}));
        // RabbitMQ 3.10 fails at this one if it is a number.
        let consume = "basic.consume queue=~q tag=t no-ack";
        c.call_with(1, consume, &[("x-credit", Value::I(5))], "basic.consume-ok tag=t");
    });
}

/// RabbitMQ looks at the head of the queue only.
#[test]
fn a_message_expires_behind_one_that_does_not() {
    run(|t| {
        let mut c = t.open();
        c.declare(1, "~q", "exclusive");
        publish(&mut c, "", "stays");
        publish(&mut c, "expiration=1", "goes");
        let started = warren::time::now();
        loop {
            c.send(1, "queue.declare queue=~q passive");
            if c.next("queue.declare-ok").unwrap().number("messages") == 1 {
                break;
            }
            assert!(started.elapsed() < PATIENCE, "it does not expire");
        }
        c.get(1, "~q", "basic.get-ok delivery=1 key=~q left=0: stays");
    });
}

#[test]
fn a_queue_that_serves_one_consumer_shows_which_and_who_waits() {
    run(|t| {
        let mut c = t.open();
        c.declare_with(1, "~q", "exclusive", &[("x-single-active-consumer", Value::Bool(true))]);
        c.consume(1, "~q", "first", "");
        c.consume(1, "~q", "second", "");
        let shown = || {
            let queue = t.shown("/api/queues/%2F/~q");
            let consumers = queue["consumer_details"].as_array().unwrap().iter();
            let consumers = consumers.map(|consumer| {
                let named = |key: &str| consumer[key].as_str().unwrap().to_owned();
                assert_eq!(consumer["active"], consumer["activity_status"] != "waiting");
                format!("{} {}", named("consumer_tag"), named("activity_status"))
            });
            (queue["single_active_consumer_tag"].clone(), consumers.collect::<Vec<_>>())
        };
        let both = ["first single_active", "second waiting"].map(str::to_owned).to_vec();
        assert_eq!(shown(), ("first".into(), both));
        c.call(1, "basic.cancel tag=first", "basic.cancel-ok tag=first");
        assert_eq!(shown(), ("second".into(), vec!["second single_active".to_owned()]));
        c.declare(1, "~other", "exclusive");
        c.consume(1, "~other", "alone", "exclusive");
        let tags = "columns=exclusive_consumer_tag,single_active_consumer_tag";
        let alone = json!({"exclusive_consumer_tag": "alone", "single_active_consumer_tag": null});
        assert_eq!(t.shown(&format!("/api/queues/%2F/~other?{tags}")), alone);
    });
}

#[test]
fn a_message_that_waits_to_come_back_is_shown_and_keeps_its_queue_from_being_empty() {
    run(|t| {
        let mut c = t.open();
        let arguments = [("x-delayed-retry-type", text("all")), ("x-delayed-retry-min", Value::I(3_600_000))];
        c.declare_with(1, "~q", "exclusive", &arguments);
        publish(&mut c, "", "later");
        c.call(1, "basic.get queue=~q", "basic.get-ok delivery=1 key=~q left=0: later");
        c.send(1, "basic.reject delivery=1 requeue");
        c.expect_queue(1, "~q", 0, 0);
        let columns = "columns=messages,messages_ready,messages_unacknowledged,messages_delayed,messages_dlx";
        let shown = json!({
            "messages": 1, "messages_ready": 0, "messages_unacknowledged": 0, "messages_delayed": 1, "messages_dlx": 0,
        });
        assert_eq!(t.shown(&format!("/api/queues/%2F/~q?{columns}")), shown);
        let why = "406 PRECONDITION_FAILED - queue '~q' in vhost '/' not empty (queue.delete)";
        c.refused(1, "queue.delete queue=~q if-empty", why);
        c.call(1, "queue.purge queue=~q", "queue.purge-ok messages=1");
        c.call(1, "queue.delete queue=~q if-empty", "queue.delete-ok messages=0");
    });
}

scenarios![
    the_higher_priority_is_delivered_first,
    without_time_to_live_a_message_is_delivered_at_once_or_never,
    the_shorter_time_to_live_counts,
    one_consumer_at_a_time_is_served_and_the_next_takes_over,
    a_queue_with_a_single_active_consumer_is_nobodys_alone,
    numbers_out_of_range_are_refused,
    values_of_another_type_are_refused,
    arguments_without_effect_are_accepted,
];
