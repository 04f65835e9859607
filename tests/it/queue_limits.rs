//! How many messages a queue takes: `x-max-length`, `x-max-length-bytes`, `x-overflow` (behaviour.md, 2.1).

use crate::support::scenario::run;
use crate::support::{Client, Properties, Scenario, Value, scenarios, text};
use std::sync::atomic::{AtomicBool, Ordering};

fn limited(t: &Scenario, arguments: &[(&str, Value)]) -> Client {
    let mut c = t.open();
    c.declare_with(1, "~q", "exclusive", arguments);
    c
}

fn publish_all(c: &mut Client, bodies: &[&str]) {
    bodies.iter().for_each(|body| c.publish(1, "", "~q", body));
}

fn a_full_queue_drops_its_oldest_message(t: &Scenario) {
    let mut c = limited(t, &[("x-max-length", Value::I(3))]);
    publish_all(&mut c, &["one", "two", "three", "four", "five"]);
    c.expect_queue(1, "~q", 3, 0);
    c.expect_messages(1, "~q", &["three", "four", "five"]);
}

fn bodies_count_by_their_bytes(t: &Scenario) {
    let mut c = limited(t, &[("x-max-length-bytes", Value::I(10))]);
    publish_all(&mut c, &["1234", "5678", "90", "abcdef"]);
    c.expect_messages(1, "~q", &["90", "abcdef"]);
}

fn a_message_larger_than_the_limit_does_not_stay(t: &Scenario) {
    let mut c = limited(t, &[("x-max-length-bytes", Value::I(3))]);
    publish_all(&mut c, &["1234"]);
    c.expect_queue(1, "~q", 0, 0);
}

fn the_stricter_of_both_limits_counts(t: &Scenario) {
    let mut c = limited(t, &[("x-max-length", Value::I(2)), ("x-max-length-bytes", Value::I(100))]);
    publish_all(&mut c, &["one", "two", "three"]);
    c.expect_messages(1, "~q", &["two", "three"]);
}

fn what_is_unacked_does_not_count(t: &Scenario) {
    let mut c = limited(t, &[("x-max-length", Value::I(1))]);
    publish_all(&mut c, &["one"]);
    c.call(1, "basic.get queue=~q", "basic.get-ok delivery=1 key=~q left=0: one");
    publish_all(&mut c, &["two"]);
    c.expect_queue(1, "~q", 1, 0);
}

fn what_comes_back_to_a_full_queue_pushes_out_its_head(t: &Scenario) {
    let mut c = limited(t, &[("x-max-length", Value::I(1))]);
    publish_all(&mut c, &["one"]);
    c.call(1, "basic.get queue=~q", "basic.get-ok delivery=1 key=~q left=0: one");
    publish_all(&mut c, &["two"]);
    c.send(1, "basic.nack delivery=1 requeue");
    c.expect_messages(1, "~q", &["two"]);
}

fn a_queue_that_keeps_nothing_serves_its_consumers(t: &Scenario) {
    let mut c = limited(t, &[("x-max-length", Value::I(0))]);
    publish_all(&mut c, &["gone"]);
    c.expect_queue(1, "~q", 0, 0);
    c.consume(1, "~q", "t", "no-ack");
    publish_all(&mut c, &["now"]);
    c.expect("1 basic.deliver tag=t delivery=1 key=~q: now");
}

/// Receives a nack. RabbitMQ sets all of its bits.
fn expect_nack(c: &mut Client, delivery: u64) {
    let wanted = format!("basic.nack {delivery}");
    c.expect_described(&wanted, |incoming| format!("{} {}", incoming.method.name, incoming.get("delivery")));
}

const REJECTING: &str = "reject-publish";

fn a_full_queue_that_rejects_nacks_and_keeps_what_it_has(t: &Scenario) {
    let mut c = limited(t, &[("x-max-length", Value::I(1)), ("x-overflow", text(REJECTING))]);
    c.call(1, "confirm.select", "confirm.select-ok");
    publish_all(&mut c, &["one"]);
    c.expect("1 basic.ack delivery=1");
    publish_all(&mut c, &["two"]);
    expect_nack(&mut c, 2);
    c.expect_messages(1, "~q", &["one"]);
    publish_all(&mut c, &["three"]);
    c.expect("1 basic.ack delivery=3");
}

fn without_confirms_what_is_rejected_is_gone_without_a_word(t: &Scenario) {
    let mut c = limited(t, &[("x-max-length-bytes", Value::I(4)), ("x-overflow", text(REJECTING))]);
    publish_all(&mut c, &["one", "two", "3"]);
    c.expect_messages(1, "~q", &["one", "3"]);
}

fn a_publish_is_nacked_when_any_queue_it_reaches_is_full(t: &Scenario) {
    let mut c = limited(t, &[("x-max-length", Value::I(0)), ("x-overflow", text(REJECTING))]);
    c.declare(1, "~other", "exclusive");
    c.exchange(1, "~x", "fanout auto-delete");
    for queue in ["~q", "~other"] {
        c.bind(1, queue, "~x", "");
    }
    c.call(1, "confirm.select", "confirm.select-ok");
    c.publish(1, "~x", "", "one");
    expect_nack(&mut c, 1);
    c.expect_queue(1, "~other", 1, 0);
    c.expect_queue(1, "~q", 0, 0);
}

#[test]
fn the_lowest_priority_gives_way() {
    run(|t| {
        let mut c = limited(t, &[("x-max-length", Value::I(3)), ("x-max-priority", Value::I(5))]);
        for (priority, body) in [(1, "low"), (5, "high"), (1, "lower"), (3, "middle"), (0, "lowest")] {
            c.publish_with(1, "key=~q", &Properties::new(&format!("priority={priority}")), body);
        }
        c.expect_messages(1, "~q", &["high", "middle", "lower"]);
    });
}

#[test]
fn a_transaction_into_a_full_queue_says_that_it_is_partial() {
    run(|t| {
        let mut c = limited(t, &[("x-max-length", Value::I(1)), ("x-overflow", text(REJECTING))]);
        c.call(1, "tx.select", "tx.select-ok");
        publish_all(&mut c, &["one", "two"]);
        c.send(1, "tx.commit");
        c.expect_channel_close(1, "406 PRECONDITION_FAILED - partial tx completion (tx.commit)");
        c.expect_messages(1, "~q", &["one"]);
    });
}

#[test]
fn no_more_than_the_limit_are_ever_there_however_many_publish() {
    run(|t| {
        const LIMIT: u32 = 7;
        let mut c = t.open();
        let arguments = [("x-max-length", Value::I(LIMIT as i32))];
        c.declare_with(1, "~drops", "", &arguments);
        c.declare_with(
            1,
            "~rejects",
            "",
            &[("x-max-length", Value::I(LIMIT as i32)), ("x-overflow", text(REJECTING))],
        );
        let (target, is_over) = (t.target, AtomicBool::new(false));
        let names = ["~drops", "~rejects"].map(|name| name.replace('~', &t.trace.prefix));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let t = Scenario::new(target, true);
                    let mut c = t.open();
                    for number in 0..400 {
                        names.iter().for_each(|name| c.publish(1, "", name, format!("{number}")));
                    }
                    c.close();
                });
            }
            while !is_over.load(Ordering::Relaxed) {
                for name in &names {
                    c.send(1, &format!("queue.declare queue={name} passive"));
                    let messages = c.next("queue.declare-ok").unwrap().number("messages");
                    assert!(messages <= LIMIT.into(), "{name}: {messages}");
                    if messages == u64::from(LIMIT) && *name == names[1] {
                        is_over.store(true, Ordering::Relaxed);
                    }
                }
            }
        });
        for name in ["~drops", "~rejects"] {
            c.expect_queue(1, name, LIMIT, 0);
            c.call(1, &format!("queue.delete queue={name}"), &format!("queue.delete-ok messages={LIMIT}"));
        }
    });
}

scenarios![
    a_full_queue_drops_its_oldest_message,
    bodies_count_by_their_bytes,
    a_message_larger_than_the_limit_does_not_stay,
    the_stricter_of_both_limits_counts,
    what_is_unacked_does_not_count,
    what_comes_back_to_a_full_queue_pushes_out_its_head,
    a_queue_that_keeps_nothing_serves_its_consumers,
    a_full_queue_that_rejects_nacks_and_keeps_what_it_has,
    without_confirms_what_is_rejected_is_gone_without_a_word,
    a_publish_is_nacked_when_any_queue_it_reaches_is_full,
];
