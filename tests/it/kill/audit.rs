//! What is there after a restart, before any client comes: every queue is read whole and put back as it was.

use super::clients::open;
use super::ledger::{Id, Ledger, OUT, Order, QUEUES};
use crate::support::broker::Process;
use crate::support::raw::Incoming;
use crate::support::{Client, Properties};

/// Makes what the clients need.
pub(super) fn declare(process: &Process) {
    let mut c = open(process);
    for queue in QUEUES.iter().chain(&OUT).chain(&["kill.transient", "kill.marker"]) {
        c.declare(1, queue, "durable");
    }
    c.call(1, "exchange.declare exchange=kill.both type=fanout durable", "exchange.declare-ok");
    for queue in &QUEUES[..2] {
        c.bind(1, queue, "kill.both", "");
    }
}

/// Compares what a restart has brought back with what the clients know.
pub(super) fn audit(process: &Process, ledger: &mut Ledger) {
    ledger.begin_round();
    let mut c = open(process);
    for (queue, name) in QUEUES.iter().enumerate() {
        let mut order = Order::new();
        let messages = read_all(&mut c, name);
        messages.iter().for_each(|incoming| ledger.look(queue, incoming, &mut order));
        // What a closed channel had is ready again when the close is answered: clients will find it in its place.
        c.close_channel(2);
        c.expect_queue(1, name, messages.len() as u32, 0);
    }
    c.expect_queue(1, "kill.transient", 0, 0);
    let moved = OUT.map(|queue| take_all(&mut c, queue, &mut ledger.faults));
    ledger.judge([&moved[0], &moved[1]]);
    // The markers are nobody's; how many there are says nothing.
    c.send(1, "queue.purge queue=kill.marker");
    let purged = c.receive("queue.purge-ok");
    assert_eq!(purged.method.name, "queue.purge-ok", "{}", purged.text);
    c.close();
}

/// Everything in a queue, in order, unacked on channel 2.
fn read_all(c: &mut Client, queue: &str) -> Vec<Incoming> {
    c.open_channel(2);
    c.send(1, &format!("queue.declare queue={queue} passive"));
    let count = c.receive("queue.declare-ok").number("messages");
    c.consume(2, queue, "audit", "");
    let messages: Vec<_> = (0..count).map(|_| c.next("a message that was counted").unwrap()).collect();
    c.call(2, "basic.cancel tag=audit", "basic.cancel-ok tag=audit");
    messages
}

/// Takes everything out of a queue for good, and returns the numbers.
fn take_all(c: &mut Client, queue: &str, faults: &mut Vec<String>) -> Vec<u64> {
    let messages = read_all(c, queue);
    let mut numbers = Vec::new();
    for message in &messages {
        match Id::of(message) {
            Ok(id) => numbers.push(id.number),
            Err(fault) => faults.push(format!("{queue}: {fault}")),
        }
    }
    if let Some(last) = messages.last() {
        c.call(2, "confirm.select", "confirm.select-ok");
        c.send(2, &format!("basic.ack delivery={} multiple", last.number("delivery")));
        c.publish_with(2, "key=kill.marker", &Properties::new("delivery-mode=2"), "marker");
        c.expect_confirms(2, 1, 1);
    }
    c.close_channel(2);
    numbers
}
