//! Alarms: who publishes while memory or disk is short is told so, and waits; who only consumes notices nothing.

use crate::support::broker::start_in_process;
use crate::support::{Login, Scenario};
use std::sync::Arc;
use warren::broker::Broker;
use warren::broker::alarms::Resource;

/// A broker of the test's own, whose alarms the test sets.
fn own_broker() -> (Scenario, Arc<Broker>) {
    let (target, broker) = start_in_process();
    (Scenario::new(target, true), broker)
}

#[test]
fn a_publisher_is_blocked_until_the_alarm_clears() {
    let (t, broker) = own_broker();
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.call(1, "confirm.select", "confirm.select-ok");
    broker.set_alarm(Resource::Memory, true);
    c.publish(1, "", "~q", "one");
    c.publish(1, "", "~q", "two");
    // The first publish may be confirmed ahead of the block, or behind it.
    let mut seen = Vec::new();
    while seen.last().is_none_or(|last| last != "0 connection.blocked reason=low on memory") {
        seen.push(c.receive("connection.blocked").text);
    }
    broker.set_alarm(Resource::Memory, false);
    while !seen.iter().any(|line| line == "0 connection.unblocked")
        || !seen.iter().any(|line| is_ack_of_2(line))
    {
        seen.push(c.receive("connection.unblocked and confirms").text);
    }
    c.expect_messages(1, "~q", &["one", "two"]);
}

fn is_ack_of_2(line: &str) -> bool {
    line.starts_with("1 basic.ack delivery=2")
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
        resources.iter().for_each(|resource| broker.set_alarm(*resource, true));
        c.publish(1, "", "~nobody", "x");
        c.expect(&format!("0 connection.blocked reason={reason}"));
        resources.iter().for_each(|resource| broker.set_alarm(*resource, false));
        c.expect("0 connection.unblocked");
        c.close();
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
