//! Restarts in the middle of what takes time: counts, expiry, dead letters, held messages go on where they were.

use crate::support::node::{ENDS, End, Node};
use crate::support::raw::PATIENCE;
use crate::support::{Client, Properties, Value, text};
use std::collections::BTreeMap;
use std::time::Duration;

/// Publishes a persistent message; the channel confirms, and everything before is durable when this returns.
fn publish(c: &mut Client, queue: &str, properties: &str, body: &str) {
    c.publish_with(
        1,
        &format!("key={queue}"),
        &Properties::new(&format!("delivery-mode=2 {properties}")),
        body,
    );
    assert_eq!(c.next("basic.ack").unwrap().method.name, "basic.ack");
}

fn confirming(node: &Node) -> Client {
    let mut c = node.t.open();
    c.call(1, "confirm.select", "confirm.select-ok");
    c
}

fn to(queue: &str) -> Vec<(&str, Value)> {
    vec![("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text(queue))]
}

fn with<'a>(mut arguments: Vec<(&'a str, Value)>, more: &[(&'a str, Value)]) -> Vec<(&'a str, Value)> {
    arguments.extend(more.iter().cloned());
    arguments
}

/// The reasons of a message's deaths, the newest first.
fn deaths(c: &mut Client, queue: &str) -> (String, Vec<String>) {
    c.consume(1, queue, "letters", "no-ack");
    let letter = c.next("basic.deliver").unwrap();
    let headers = letter.properties.headers.clone().unwrap_or_default();
    let found = headers.into_iter().find(|(name, _)| name == "x-death").map(|(_, value)| value);
    let Some(Value::A(deaths)) = found else { panic!("no deaths") };
    let reason = |death: &Value| {
        let Value::F(death) = death else { panic!("a death that is no table") };
        let reason = death.iter().find(|(name, _)| name == "reason").map(|(_, reason)| reason.clone());
        let Some(Value::S(reason)) = reason else { panic!("no reason") };
        String::from_utf8(reason).unwrap()
    };
    (String::from_utf8_lossy(&letter.body).into_owned(), deaths.iter().map(reason).collect())
}

#[test]
fn failures_are_counted_on_towards_the_delivery_limit() {
    for end in ENDS {
        let mut node = Node::start();
        let mut c = confirming(&node);
        c.declare(1, "dead", "durable");
        c.declare_with(1, "q", "durable", &with(to("dead"), &[("x-delivery-limit", Value::I(2))]));
        publish(&mut c, "q", "", "poison");
        for _ in 0..2 {
            c.send(1, "basic.get queue=q");
            let got = c.next("basic.get-ok").unwrap();
            c.send(1, &format!("basic.reject delivery={} requeue", got.get("delivery")));
        }
        // What is confirmed says that all before it is durable.
        c.declare(1, "other", "durable");
        publish(&mut c, "other", "", "behind the second reject");
        c.hang_up();
        node.restart(end);
        let mut c = node.t.open();
        c.send(1, "basic.get queue=q");
        let got = c.next("basic.get-ok").unwrap();
        let headers = got.properties.headers.clone().unwrap();
        assert!(headers.contains(&("x-delivery-count".into(), Value::l(2))), "{end:?}: {headers:?}");
        c.send(1, "basic.reject delivery=1 requeue");
        assert_eq!(deaths(&mut c, "dead"), ("poison".into(), vec!["delivery_limit".into()]), "{end:?}");
    }
}

#[test]
fn what_was_to_expire_expires_when_it_is_due() {
    for end in ENDS {
        let mut node = Node::start();
        let mut c = confirming(&node);
        c.declare(1, "dead", "durable");
        c.declare_with(1, "own", "durable", &to("dead"));
        c.declare_with(1, "queues", "durable", &with(to("dead"), &[("x-message-ttl", Value::I(600))]));
        publish(&mut c, "own", "expiration=3600000", "stays");
        publish(&mut c, "own", "expiration=600", "goes");
        publish(&mut c, "queues", "", "goes");
        c.hang_up();
        node.restart(end);
        let mut c = node.t.open();
        c.consume(1, "dead", "d", "no-ack");
        for _ in 0..2 {
            let letter = c.next("basic.deliver").unwrap();
            assert_eq!(letter.body, b"goes", "{end:?}");
        }
        c.expect_queue(1, "own", 1, 0);
        c.expect_queue(1, "queues", 0, 0);
    }
}

/// Each is somewhere, once, whenever the broker is killed: it leaves one queue as it enters the next.
#[test]
fn a_chain_of_dead_letters_that_is_cut_by_kills_loses_none_and_doubles_none() {
    const COUNT: usize = 400;
    let mut node = Node::start();
    let mut c = confirming(&node);
    c.declare(1, "end", "durable");
    for (queue, next, ttl) in [("c", "end", 40), ("b", "c", 30), ("a", "b", 300)] {
        c.declare_with(1, queue, "durable", &with(to(next), &[("x-message-ttl", Value::I(ttl))]));
    }
    for number in 0..COUNT {
        c.publish_with(1, "key=a", &Properties::new("delivery-mode=2"), format!("{number}"));
    }
    c.expect_confirms(1, 1, COUNT as u64);
    c.hang_up();
    for pause_ms in [330, 20, 5, 40] {
        std::thread::park_timeout(Duration::from_millis(pause_ms));
        node.restart(End::Kill);
    }
    let mut c = node.t.open();
    c.consume(1, "end", "e", "no-ack");
    let mut seen = BTreeMap::<usize, usize>::new();
    for _ in 0..COUNT {
        let letter = c.next("basic.deliver").unwrap();
        *seen.entry(String::from_utf8_lossy(&letter.body).parse().unwrap()).or_default() += 1;
    }
    assert!(seen.len() == COUNT && seen.values().all(|count| *count == 1), "{seen:?}");
    for queue in ["a", "b", "c", "end"] {
        c.expect_queue(1, queue, 0, u32::from(queue == "end"));
    }
}

#[test]
fn dead_letters_that_nobody_took_wait_with_their_reason() {
    let mut node = Node::start();
    let mut c = confirming(&node);
    c.exchange(1, "dlx", "fanout durable");
    let arguments =
        [("x-dead-letter-exchange", text("dlx")), ("x-dead-letter-strategy", text("at-least-once"))];
    c.declare_with(1, "q", "durable", &arguments);
    publish(&mut c, "q", "", "one");
    c.send(1, "basic.get queue=q");
    c.next("basic.get-ok").unwrap();
    c.send(1, "basic.reject delivery=1");
    c.expect_queue(1, "q", 0, 0);
    c.hang_up();
    node.restart(End::Stop);
    let mut c = node.t.open();
    c.expect_queue(1, "q", 0, 0);
    c.declare(1, "dead", "durable");
    c.bind(1, "dead", "dlx", "");
    assert_eq!(deaths(&mut c, "dead"), ("one".into(), vec!["rejected".into()]));
}

#[test]
fn what_waits_for_its_next_try_waits_on() {
    let mut node = Node::start();
    let mut c = confirming(&node);
    let arguments = [("x-delayed-retry-type", text("all")), ("x-delayed-retry-min", Value::I(1_500))];
    c.declare_with(1, "q", "durable", &arguments);
    publish(&mut c, "q", "", "one");
    c.send(1, "basic.get queue=q");
    c.next("basic.get-ok").unwrap();
    let rejected = warren::time::now();
    c.send(1, "basic.reject delivery=1 requeue");
    c.expect_queue(1, "q", 0, 0);
    c.hang_up();
    node.restart(End::Stop);
    let mut c = node.t.open();
    c.expect_queue(1, "q", 0, 0);
    c.consume(1, "q", "t", "no-ack");
    c.expect("1 basic.deliver tag=t delivery=1 redelivered key=q {delivery-mode=2}: one");
    let waited = rejected.elapsed();
    assert!((Duration::from_millis(1_490)..PATIENCE).contains(&waited), "{waited:?}");
}
