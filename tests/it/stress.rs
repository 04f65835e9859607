//! Everything at once, at random: publishers with confirms and transactions, queues that come and go, and consumers
//! that ack, requeue, cancel, recover, stop reading, close and hang up. Whatever happens: what was confirmed is acked
//! exactly once in the end, nobody has a message that another one has, order and prefetch hold, and nothing stalls.
//!
//! A failure prints its seed; `WARREN_TEST_SEED` makes the same choices again.

use crate::support::broker::{Target, start_in_process};
use crate::support::random::{Random, seed};
use crate::support::raw::Incoming;
use crate::support::{Client, Properties, Scenario};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const QUEUES: [&str; 3] = ["stress-durable", "stress-transient", "stress-other"];
const PUBLISHERS: u64 = 3;
const CONSUMERS: u64 = 4;
const BATCHES: u64 = 120;
/// Without a single ack for so long, something stalls.
const STALLED: Duration = Duration::from_secs(8);

/// A message in a queue: the queue's index, its publisher, its number there.
type Key = (usize, u64, u64);

#[derive(Debug, Default)]
struct Board {
    expected: Mutex<HashSet<Key>>,
    /// Delivered and not settled, by whoever has it.
    held: Mutex<HashMap<Key, u64>>,
    acked: Mutex<HashSet<Key>>,
    publishing: AtomicUsize,
    has_given_up: AtomicBool,
}

impl Board {
    fn is_done(&self) -> bool {
        let all_published = self.publishing.load(Ordering::Acquire) == 0;
        self.has_given_up.load(Ordering::Acquire)
            || all_published && self.acked.lock().len() == self.expected.lock().len()
    }
}

// ---- publishing

fn body(publisher: u64, number: u64, random: &mut Random) -> Vec<u8> {
    let padding = match random.below(40) {
        0 => 700_000,
        1..=3 => 40_000,
        _ => random.below(200) as usize,
    };
    let mut body = format!("{publisher} {number} ").into_bytes();
    body.resize(body.len() + padding, b'.');
    body
}

/// Publishes in batches, each confirmed or committed before the next; what is rolled back has no number.
fn publish(target: Target, board: &Board, publisher: u64, seed: u64) {
    let t = Scenario::new(target, true);
    let mut random = Random(seed);
    let mut c = t.open();
    c.open_channel(2);
    c.call(1, "confirm.select", "confirm.select-ok");
    c.call(2, "tx.select", "tx.select-ok");
    let (mut number, mut confirmed) = (0, 0);
    for _ in 0..BATCHES {
        let is_transaction = random.below(4) == 0;
        let is_rolled_back = is_transaction && random.below(3) == 0;
        let channel = if is_transaction { 2 } else { 1 };
        let count = 1 + random.below(12);
        for _ in 0..count {
            let queue = random.below(4) as usize;
            let mode = Properties::new(if random.below(2) == 0 { "delivery-mode=2" } else { "" });
            let body = body(publisher, if is_rolled_back { u64::MAX } else { number }, &mut random);
            let (fields, reached) = match QUEUES.get(queue) {
                Some(name) => (format!("key={name}"), queue..queue + 1),
                None => ("exchange=stress-all".into(), 0..QUEUES.len()),
            };
            if !is_rolled_back {
                board.expected.lock().extend(reached.map(|queue| (queue, publisher, number)));
                number += 1;
            }
            c.publish_with(channel, &fields, &mode, body);
        }
        match (is_transaction, is_rolled_back) {
            (true, true) => drop(c.call(2, "tx.rollback", "tx.rollback-ok")),
            (true, false) => drop(c.call(2, "tx.commit", "tx.commit-ok")),
            (false, _) => {
                c.expect_confirms(1, confirmed + 1, confirmed + count);
                confirmed += count;
            }
        }
        if random.below(10) == 0 {
            c.close_channel(1);
            c.open_channel(1);
            c.call(1, "confirm.select", "confirm.select-ok");
            confirmed = 0;
        }
    }
    board.publishing.fetch_sub(1, Ordering::Release);
    c.close();
}

/// A durable queue that comes and goes while messages are routed to it, with what it holds and its consumer.
fn come_and_go(target: Target, board: &Board) {
    let t = Scenario::new(target, true);
    let mut c = t.open();
    while !board.is_done() {
        c.open_channel(2);
        c.declare(1, "stress-guest", "durable");
        c.bind(1, "stress-guest", "stress-all", "");
        c.send(2, "basic.consume queue=stress-guest tag=t");
        while c.next("basic.consume-ok").unwrap().method.name != "basic.consume-ok" {}
        std::thread::park_timeout(Duration::from_millis(20));
        c.send(1, "queue.delete queue=stress-guest");
        while c.next("queue.delete-ok").unwrap().method.name != "queue.delete-ok" {}
        c.send(2, "channel.close code=200");
        while c.next("channel.close-ok").unwrap().method.name != "channel.close-ok" {}
    }
}

// ---- consuming

#[derive(Debug, Default)]
struct Channel {
    /// Unacked, by delivery tag: what, and from which consumer.
    unacked: BTreeMap<u64, (Key, String)>,
    last_tag: u64,
    /// The prefetch of all its consumers together; 0 = no limit.
    limit: u64,
    /// Consumer tags, which begin with the queue's index, and their prefetch.
    consumers: BTreeMap<String, u64>,
    /// The last message that came for the first time, by queue and publisher.
    newest: HashMap<(usize, u64), u64>,
    /// What still comes is the broker's again already.
    is_void: bool,
}

struct Consumer<'a> {
    t: Scenario,
    client: Client,
    board: &'a Board,
    id: u64,
    random: Random,
    channels: [Channel; 2],
    next_consumer: u64,
}

impl Consumer<'_> {
    fn delivered(&mut self, incoming: &Incoming) {
        let (id, board) = (self.id, self.board);
        let channel = &mut self.channels[incoming.channel as usize - 1];
        let tag = incoming.number("delivery");
        assert_eq!(tag, channel.last_tag + 1, "delivery tags grow by one");
        channel.last_tag = tag;
        let head = String::from_utf8_lossy(&incoming.body[..incoming.body.len().min(64)]).into_owned();
        let mut words = head.split(' ').map(|word| word.parse::<u64>());
        let (publisher, number) = (words.next().unwrap().unwrap(), words.next().unwrap().unwrap());
        let consumer = incoming.get("tag").to_string();
        let queue: usize = consumer.split('-').next().unwrap().parse().unwrap();
        let key = (queue, publisher, number);
        assert!(board.expected.lock().contains(&key), "never published: {key:?}");
        if incoming.get("redelivered") != "true"
            && let Some(before) = channel.newest.insert((queue, publisher), number)
        {
            assert!(
                before < number,
                "{number} behind {before} of {publisher} in queue {queue}: {}",
                incoming.text
            );
        }
        if channel.is_void {
            return;
        }
        assert!(!board.acked.lock().contains(&key), "delivered behind its ack: {key:?}");
        let other = board.held.lock().insert(key, id);
        assert_eq!(other, None, "{key:?} delivered to {id} and another");
        channel.unacked.insert(tag, (key, consumer.clone()));
        let all = channel.unacked.len() as u64;
        assert!(channel.limit == 0 || all <= channel.limit, "{all} unacked, limit {}", channel.limit);
        let prefetch = channel.consumers[&consumer];
        let unacked = channel.unacked.values().filter(|(_, other)| *other == consumer).count() as u64;
        assert!(prefetch == 0 || unacked <= prefetch, "{unacked} unacked with a prefetch of {prefetch}");
    }

    /// Receives deliveries up to a reply.
    fn await_reply(&mut self, channel: u16, name: &str) {
        loop {
            let incoming = self.client.next(name).unwrap_or_else(|| panic!("end of stream, not {name}"));
            match &*incoming.method.name {
                "basic.deliver" => self.delivered(&incoming),
                other if other == name && incoming.channel == channel => return,
                _ => panic!("not {name}: {}", incoming.text),
            }
        }
    }

    fn channel(&mut self, number: u16) -> &mut Channel {
        &mut self.channels[number as usize - 1]
    }

    /// Nobody holds any more what the channel has unacked.
    fn give_up(&mut self, number: u16) {
        let unacked = std::mem::take(&mut self.channel(number).unacked);
        let mut held = self.board.held.lock();
        for (key, _) in unacked.values() {
            held.remove(key);
        }
    }

    fn consume(&mut self, number: u16) {
        let queue = self.random.below(QUEUES.len() as u64) as usize;
        let prefetch = [0, 1, 3, 10, 50][self.random.below(5) as usize];
        let tag = format!("{queue}-{}", self.next_consumer);
        self.next_consumer += 1;
        if self.channel(number).last_tag == 0 && self.channel(number).consumers.is_empty() {
            let limit = [0, 5, 20][self.random.below(3) as usize];
            self.channel(number).limit = limit;
            self.client.send(number, &format!("basic.qos prefetch={limit} global"));
            self.await_reply(number, "basic.qos-ok");
        }
        self.client.send(number, &format!("basic.qos prefetch={prefetch}"));
        self.await_reply(number, "basic.qos-ok");
        self.channel(number).consumers.insert(tag.clone(), prefetch);
        self.client.send(number, &format!("basic.consume queue={} tag={tag}", QUEUES[queue]));
        self.await_reply(number, "basic.consume-ok");
    }

    fn cancel(&mut self, number: u16) {
        let Some(tag) = self.channel(number).consumers.keys().next().cloned() else { return };
        self.client.send(number, &format!("basic.cancel tag={tag}"));
        self.await_reply(number, "basic.cancel-ok");
        self.channel(number).consumers.remove(&tag);
    }

    /// Settles one message, or all up to it.
    fn settle(&mut self, number: u16, is_ack: bool) {
        let is_multiple = self.random.below(3) == 0;
        let count = self.channel(number).unacked.len() as u64;
        if count == 0 {
            return;
        }
        let at = self.random.below(count) as usize;
        let channel = self.channel(number);
        let tag = *channel.unacked.keys().nth(at).unwrap();
        let rest = channel.unacked.split_off(&(tag + 1));
        let mut settled = std::mem::replace(&mut channel.unacked, rest);
        if !is_multiple {
            let one = settled.split_off(&tag);
            settled.append(&mut channel.unacked);
            channel.unacked = std::mem::replace(&mut settled, one);
        }
        let (mut held, mut acked) = (self.board.held.lock(), self.board.acked.lock());
        for (key, _) in settled.values() {
            held.remove(key);
            assert!(!is_ack || acked.insert(*key), "acked twice: {key:?}");
        }
        drop((held, acked));
        let multiple = if is_multiple { " multiple" } else { "" };
        let method = if is_ack { "basic.ack" } else { "basic.nack requeue" };
        self.client.send(number, &format!("{method} delivery={tag}{multiple}"));
    }

    fn recover(&mut self, number: u16) {
        self.give_up(number);
        self.channel(number).is_void = true;
        self.client.send(number, "basic.recover requeue");
        self.await_reply(number, "basic.recover-ok");
        self.channel(number).is_void = false;
    }

    fn reopen(&mut self, number: u16) {
        self.give_up(number);
        self.channel(number).is_void = true;
        self.client.send(number, "channel.close code=200");
        self.await_reply(number, "channel.close-ok");
        self.client.send(number, "channel.open");
        *self.channel(number) = Channel::default();
        self.await_reply(number, "channel.open-ok");
    }

    fn reconnect(&mut self) {
        (1..=2).for_each(|number| self.give_up(number));
        match self.random.below(3) {
            0 => self.client.hang_up(),
            // A hard error whose close is not answered.
            1 => self.client.send(1, "channel.open"),
            _ => self.client.send(0, "connection.close code=200"),
        }
        self.client = self.t.open();
        self.client.open_channel(2);
        self.channels = Default::default();
    }

    fn step(&mut self) {
        let number = 1 + self.random.below(2) as u16;
        match self.random.below(100) {
            0..=9 if self.channel(number).consumers.len() < 3 => self.consume(number),
            10..=12 => self.cancel(number),
            13..=22 => self.settle(number, false),
            23..=24 => self.recover(number),
            25 => self.reopen(number),
            26 => self.reconnect(),
            27..=29 => std::thread::park_timeout(Duration::from_millis(self.random.below(20))),
            _ => (0..4).for_each(|_| self.settle(number, true)),
        }
        if self.channels.iter().all(|channel| channel.consumers.is_empty()) {
            self.consume(number);
        }
        // What was sent is carried out once the broker answers; so nobody is ever in doubt about an ack.
        for number in 1..=2 {
            self.client.send(number, "queue.declare queue=stress-durable passive");
            self.await_reply(number, "queue.declare-ok");
        }
    }
}

fn consume(target: Target, board: &Board, id: u64, seed: u64) {
    let t = Scenario::new(target, true);
    let mut client = t.open();
    client.open_channel(2);
    let (random, channels) = (Random(seed), Default::default());
    let mut consumer = Consumer { t, client, board, id, random, channels, next_consumer: 0 };
    while !board.is_done() {
        consumer.step();
    }
}

// ---- the test

/// What the HTTP API says of a queue: ready and unacked.
fn figures(target: Target, queue: &str) -> (u64, u64) {
    let mut stream = std::net::TcpStream::connect(target.management.unwrap()).unwrap();
    let login = "authorization: Basic Z3Vlc3Q6Z3Vlc3Q=";
    write!(stream, "GET /api/queues/%2F/{queue} HTTP/1.0\r\n{login}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, json) = answer.split_once("\r\n\r\n").unwrap();
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    let number = |name: &str| json[name].as_u64().unwrap_or_else(|| panic!("{name} in {json}"));
    (number("messages_ready"), number("messages_unacknowledged"))
}

/// Waits until all is acked; gives up when nothing moves.
fn watch(board: &Board, target: Target, seed: u64) {
    let (mut last, mut since) = (0, warren::time::now());
    while !board.is_done() {
        std::thread::park_timeout(Duration::from_millis(10));
        let acked = board.acked.lock().len();
        if acked != last {
            (last, since) = (acked, warren::time::now());
        }
        if since.elapsed() > STALLED {
            board.has_given_up.store(true, Ordering::Release);
            let figures = QUEUES.map(|queue| figures(target, queue));
            let expected = board.expected.lock().len();
            panic!("seed {seed}: stalled at {acked} of {expected}; (ready, unacked) {figures:?}");
        }
    }
}

#[test]
fn whatever_clients_do_each_message_is_acked_once() {
    let seed = seed();
    println!("WARREN_TEST_SEED={seed}");
    let (target, _) = start_in_process();
    let t = Scenario::new(target, true);
    let mut c = t.open();
    c.exchange(1, "stress-all", "fanout");
    for (queue, flags) in QUEUES.into_iter().zip(["durable", "", "durable"]) {
        c.declare(1, queue, flags);
        c.bind(1, queue, "stress-all", "");
    }
    let board = Arc::new(Board { publishing: AtomicUsize::new(PUBLISHERS as usize), ..Board::default() });
    std::thread::scope(|scope| {
        let board = &*board;
        let mut random = Random(seed);
        for publisher in 0..PUBLISHERS {
            let seed = random.below(u64::MAX);
            scope.spawn(move || publish(target, board, publisher, seed));
        }
        for consumer in 0..CONSUMERS {
            let seed = random.below(u64::MAX);
            scope.spawn(move || consume(target, board, consumer, seed));
        }
        scope.spawn(move || come_and_go(target, board));
        watch(board, target, seed);
    });
    assert_eq!(*board.acked.lock(), *board.expected.lock());
    for queue in QUEUES {
        assert_eq!(figures(target, queue), (0, 0), "{queue}");
        c.expect_queue(1, queue, 0, 0);
    }
}
