//! Alarms: who publishes while memory or disk is short is told so, and waits; who only consumes notices nothing.

use crate::support::broker::start_in_process;
use crate::support::{Client, Login, Scenario, codec};
use std::sync::Arc;
use warren::broker::Broker;
use warren::broker::alarms::Resource;

/// A broker of the test's own, whose alarms the test sets.
fn own_broker() -> (Scenario, Arc<Broker>) {
    let (target, broker) = start_in_process();
    (Scenario::new(target, true), broker)
}

/// Publishes one message after another to `~q` until the broker blocks the connection: it learns of an alarm a moment
/// after it was set. Returns how many were sent. The channel must confirm, and have confirmed nothing yet.
fn publish_until_blocked(c: &mut Client, reason: &str) -> u64 {
    let blocked = format!("0 connection.blocked reason={reason}");
    for sent in 1.. {
        c.publish(1, "", "~q", "x");
        if c.receive(&blocked).text == blocked {
            return sent;
        }
    }
    0
}

/// Receives until the connection is unblocked and the publishes up to `last` are confirmed, in any order.
fn expect_unblocked(c: &mut Client, last: u64) {
    let (mut is_unblocked, mut is_confirmed) = (false, false);
    while !is_unblocked || !is_confirmed {
        let incoming = c.receive("connection.unblocked and confirms");
        match &*incoming.method.name {
            "connection.unblocked" => is_unblocked = true,
            "basic.ack" => is_confirmed = incoming.number("delivery") == last,
            _ => panic!("{}", incoming.text),
        }
    }
}

#[test]
fn a_publisher_is_blocked_until_the_alarm_clears() {
    let (t, broker) = own_broker();
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.call(1, "confirm.select", "confirm.select-ok");
    broker.set_alarm(Resource::Memory, true);
    let sent = publish_until_blocked(&mut c, "low on memory");
    c.publish(1, "", "~q", "behind the block");
    broker.set_alarm(Resource::Memory, false);
    expect_unblocked(&mut c, sent + 1);
    c.expect_queue(1, "~q", sent as u32 + 1, 0);
}

/// What the broker has read and not looked at needs no further byte from the client.
#[test]
fn what_was_read_behind_the_block_is_handled_when_the_alarm_clears() {
    let (t, broker) = own_broker();
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.call(1, "confirm.select", "confirm.select-ok");
    broker.set_alarm(Resource::Memory, true);
    let publish = [
        codec::frame(1, 1, &codec::encode("basic.publish key=~q", &[], &t.trace.prefix)),
        codec::frame(2, 1, &[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    ]
    .concat();
    c.send_bytes(&publish.repeat(20));
    while c.receive("connection.blocked").method.name != "connection.blocked" {}
    broker.set_alarm(Resource::Memory, false);
    expect_unblocked(&mut c, 20);
}

#[test]
fn who_does_not_publish_is_not_blocked() {
    let (t, broker) = own_broker();
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.publish(1, "", "~q", "early");
    c.expect_queue(1, "~q", 1, 0);
    let mut consumer = t.open();
    broker.set_alarm(Resource::Disk, true);
    consumer.declare(1, "~other", "exclusive");
    consumer.call(1, "basic.get queue=~other", "basic.get-empty");
    consumer.close();
}

#[test]
fn the_reason_names_all_that_is_short() {
    let (t, broker) = own_broker();
    for (resources, reason) in [
        (&[Resource::Memory][..], "low on memory"),
        (&[Resource::Disk], "low on disk"),
        (&[Resource::Memory, Resource::Disk], "low on memory & disk"),
    ] {
        let mut c = t.open();
        c.call(1, "confirm.select", "confirm.select-ok");
        resources.iter().for_each(|resource| broker.set_alarm(*resource, true));
        let sent = publish_until_blocked(&mut c, reason);
        c.publish(1, "", "~q", "behind the block");
        resources.iter().for_each(|resource| broker.set_alarm(*resource, false));
        expect_unblocked(&mut c, sent + 1);
    }
}

#[test]
fn a_client_without_the_capability_is_not_told() {
    let (t, broker) = own_broker();
    let mut c = t.open_as(&Login { capabilities: vec![], ..Login::default() });
    c.call(1, "confirm.select", "confirm.select-ok");
    broker.set_alarm(Resource::Memory, true);
    c.publish(1, "", "~nobody", "x");
    broker.set_alarm(Resource::Memory, false);
    c.expect("1 basic.ack delivery=1");
}
