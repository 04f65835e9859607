//! The clients of the kill test. Each has a connection of its own, works until it ends, and tells what it does.

use super::ledger::{IN, Id, Ledger, MOVED, OUT, Order, QUEUES};
use crate::support::broker::Process;
use crate::support::random::Random;
use crate::support::raw::Incoming;
use crate::support::{Client, Login, Properties, Scenario};
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::Sender;

/// How many publishes await their confirm at a time.
const WINDOW: usize = 64;
/// With at least so many acks a consumer makes sure that they are durable.
const MARKED_MIN: u64 = 10;

/// What clients tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The client has its connection.
    Ready,
    Confirmed,
    Delivered,
    Settled,
    Requeued,
    /// Acks are durable.
    Marked,
    /// A commit is on its way; its answer has not come.
    CommitSent,
    Committed,
    /// A publisher has published all it was to.
    Done,
}

/// How a consumer acks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acks {
    Single,
    Multiple,
}

/// Where a client works.
#[derive(Debug)]
pub(super) struct Site<'a> {
    pub(super) process: &'a Process,
    pub(super) ledger: &'a Mutex<Ledger>,
    pub(super) events: Sender<Event>,
}

impl Site<'_> {
    /// A connection with channel 1 open.
    fn open(&self) -> Client {
        let client = open(self.process);
        self.tell(Event::Ready);
        client
    }

    /// Nobody listens any more once the broker is killed.
    fn tell(&self, event: Event) {
        self.events.send(event).ok();
    }
}

/// A connection with channel 1 open.
pub(super) fn open(process: &Process) -> Client {
    Scenario::new(process.target, true).open_as(&Login::default())
}

/// Publishes so many messages of a stream with confirms, or until the connection ends.
pub(super) fn publish(site: &Site<'_>, stream: char, count: u64) {
    let mut c = site.open();
    c.send(1, "confirm.select no-wait");
    let (mut sent, mut unconfirmed) = (0, BTreeMap::new());
    loop {
        while sent < count && unconfirmed.len() < WINDOW {
            sent += 1;
            let id = site.ledger.lock().publish(stream);
            unconfirmed.insert(sent, id);
            c.publish_with(1, id.route().0, &id.properties(), id.body());
        }
        if unconfirmed.is_empty() {
            return site.tell(Event::Done);
        }
        let Some(ack) = c.next("a confirm") else { return };
        assert_eq!(ack.method.name, "basic.ack", "{}", ack.text);
        let tag = ack.number("delivery");
        let confirmed = if ack.get("multiple") == "true" {
            let rest = unconfirmed.split_off(&(tag + 1));
            std::mem::replace(&mut unconfirmed, rest)
        } else {
            unconfirmed.remove_entry(&tag).into_iter().collect()
        };
        assert!(!confirmed.is_empty(), "confirmed twice: {}", ack.text);
        confirmed.values().for_each(|id| site.ledger.lock().confirm(*id));
        confirmed.values().for_each(|_| site.tell(Event::Confirmed));
    }
}

// ---- consuming

/// What a consumer has and has done.
struct Consumer<'a> {
    site: &'a Site<'a>,
    c: Client,
    random: Random,
    order: Order,
    /// Delivered and not settled: delivery tag, queue, message.
    held: Vec<(u64, usize, Id)>,
    /// Settled, with nothing behind that says it is durable.
    settled: Vec<(usize, Id)>,
    /// Settled before the marker whose confirm is awaited.
    marked: Option<Vec<(usize, Id)>>,
}

/// Consumes two queues, acks, rejects and requeues until the connection ends.
pub(super) fn consume(site: &Site<'_>, acks: Acks, seed: u64) {
    let mut c = site.open();
    // The test sees whether messages wait for it.
    c.wait_for_ever();
    let prefetch = if acks == Acks::Single { 30 } else { 100 };
    c.send(1, "confirm.select no-wait");
    c.send(1, &format!("basic.qos prefetch={prefetch}"));
    for (queue, name) in QUEUES[..IN].iter().enumerate() {
        c.send(1, &format!("basic.consume queue={name} tag={queue} no-wait"));
    }
    let (order, held, settled) = Default::default();
    let mut consumer = Consumer { site, c, random: Random(seed), order, held, settled, marked: None };
    while let Some(incoming) = consumer.c.next("a delivery") {
        match &*incoming.method.name {
            "basic.deliver" => {
                consumer.take(&incoming);
                match acks {
                    Acks::Single => consumer.settle_one(),
                    Acks::Multiple => consumer.settle_some(),
                }
                consumer.mark();
            }
            "basic.ack" => {
                let marked = consumer.marked.take().expect("a confirm for a marker");
                marked.into_iter().for_each(|(queue, id)| site.ledger.lock().make_gone(queue, id));
                site.tell(Event::Marked);
            }
            "basic.qos-ok" => {}
            _ => panic!("{}", incoming.text),
        }
    }
}

impl Consumer<'_> {
    fn take(&mut self, incoming: &Incoming) {
        let queue = incoming.number("tag") as usize;
        if let Some(id) = self.site.ledger.lock().deliver(queue, incoming, &mut self.order) {
            self.held.push((incoming.number("delivery"), queue, id));
        }
        self.site.tell(Event::Delivered);
    }

    /// Settles or requeues what came last.
    fn settle_one(&mut self) {
        let Some(&(tag, ..)) = self.held.last() else { return };
        match self.random.below(16) {
            0 => self.requeue(&format!("basic.nack delivery={tag} requeue")),
            1 => self.requeue(&format!("basic.reject delivery={tag} requeue")),
            2 => self.settle(&format!("basic.reject delivery={tag}")),
            _ => self.settle(&format!("basic.ack delivery={tag}")),
        }
    }

    /// Settles or requeues everything, now and then.
    fn settle_some(&mut self) {
        if self.random.below(12) > 0 && self.held.len() < 50 {
            return;
        }
        let Some(&(tag, ..)) = self.held.last() else { return };
        match self.random.below(8) {
            0 => self.requeue(&format!("basic.nack delivery={tag} multiple requeue")),
            _ => self.settle(&format!("basic.ack delivery={tag} multiple")),
        }
    }

    fn requeue(&mut self, method: &str) {
        self.held.clear();
        self.c.send(1, method);
        self.site.tell(Event::Requeued);
    }

    fn settle(&mut self, method: &str) {
        for (_, queue, id) in self.held.drain(..) {
            self.site.ledger.lock().settle(queue, id);
            self.settled.push((queue, id));
            self.site.tell(Event::Settled);
        }
        self.c.send(1, method);
    }

    /// Publishes a persistent message to nobody's queue: once it is confirmed, the acks before it are durable.
    fn mark(&mut self) {
        if self.marked.is_none() && self.settled.len() as u64 >= MARKED_MIN + self.random.below(50) {
            self.marked = Some(std::mem::take(&mut self.settled));
            self.c.publish_with(1, "key=kill.marker", &Properties::new("delivery-mode=2"), "marker");
        }
    }
}

// ---- transactions

/// Moves messages from one queue to two others until the connection ends, some in each transaction: a restart must
/// find each transaction whole or not at all. Some are rolled back before they are committed.
pub(super) fn move_messages(site: &Site<'_>, seed: u64) {
    let (mut c, mut random) = (site.open(), Random(seed));
    c.send(1, "tx.select");
    c.send(1, "basic.qos prefetch=20");
    c.send(1, &format!("basic.consume queue={} tag=in no-wait", QUEUES[IN]));
    let (mut order, mut waiting) = (Order::new(), VecDeque::new());
    loop {
        // Never more than there are: others would have to come first.
        let count = (1 + random.below(5) as usize).min(site.ledger.lock().unmoved().max(1));
        while waiting.len() < count {
            let Some(incoming) = c.next("a delivery") else { return };
            match &*incoming.method.name {
                "basic.deliver" => waiting.push_back(incoming),
                "tx.select-ok" | "basic.qos-ok" => {}
                _ => panic!("{}", incoming.text),
            }
        }
        let taken: Vec<Incoming> = waiting.drain(..count).collect();
        let check = |incoming| site.ledger.lock().deliver(IN, incoming, &mut order);
        let ids: Vec<Id> = taken.iter().filter_map(check).collect();
        let last = taken.last().expect("at least one").number("delivery");
        if random.below(6) == 0 {
            fill_transaction(&mut c, &ids, last);
            c.send(1, "tx.rollback");
            if !await_answer(&mut c, "tx.rollback-ok", &mut waiting) {
                return;
            }
        }
        fill_transaction(&mut c, &ids, last);
        site.ledger.lock().begin_move(&ids);
        c.send(1, "tx.commit");
        site.tell(Event::CommitSent);
        if !await_answer(&mut c, "tx.commit-ok", &mut waiting) {
            return;
        }
        site.ledger.lock().end_move(&ids);
        site.tell(Event::Committed);
    }
}

/// Publishes the messages to both targets and acks them.
fn fill_transaction(c: &mut Client, ids: &[Id], last: u64) {
    for id in ids {
        debug_assert_eq!(id.stream, MOVED);
        OUT.iter().for_each(|out| c.publish_with(1, &format!("key={out}"), &id.properties(), id.body()));
    }
    c.send(1, &format!("basic.ack delivery={last} multiple"));
}

/// Receives up to the answer, keeping deliveries; false at the end of the stream.
fn await_answer(c: &mut Client, answer: &str, waiting: &mut VecDeque<Incoming>) -> bool {
    while let Some(incoming) = c.next(answer) {
        match &*incoming.method.name {
            name if name == answer => return true,
            "basic.deliver" => waiting.push_back(incoming),
            _ => panic!("{}", incoming.text),
        }
    }
    false
}
