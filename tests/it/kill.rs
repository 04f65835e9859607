//! SIGKILL again and again, while a publisher with confirms and a consumer with acks are at work.
//!
//! Afterwards: no confirmed message is lost, no message is delivered once more whose ack was durable, and each
//! connection of the consumer saw each queue in order. An ack is durable when a persistent publish behind it, on the
//! same channel, was confirmed. `WARREN_LONG=1` runs 20 rounds; otherwise they stop after 5 when they are slow.

use crate::support::broker::Process;
use crate::support::raw::Incoming;
use crate::support::{Client, Login, Properties, Scenario};
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

const QUEUES: [&str; 2] = ["kill.0", "kill.1"];
/// How many publishes await their confirm at a time.
const WINDOW: u64 = 64;
/// How many confirms or durable acks make a tick.
const TICK: usize = 50;
/// How many ticks a round has before the kill; it varies, so that the kill falls into different work.
const TICKS: [usize; 4] = [3, 8, 5, 13];

/// So much was done.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Tick {
    Confirmed,
    Acked,
}

/// What the clients know. Message numbers are unique; number n goes to queue n % 2.
#[derive(Debug, Default)]
struct Ledger {
    next: u64,
    confirmed: BTreeSet<u64>,
    delivered: BTreeSet<u64>,
    durably_acked: BTreeSet<u64>,
    faults: Vec<String>,
}

fn persistent() -> Properties {
    Properties::new("delivery-mode=2")
}

/// A connection with channel 1 open, which ends when the broker does.
fn open(process: &Process) -> Client {
    Scenario::new(process.target, false).open_as(&Login::default())
}

/// Publishes until the connection ends.
fn publish(process: &Process, ledger: &Mutex<Ledger>, ticks: &Sender<Tick>) {
    let mut c = open(process);
    c.send(1, "confirm.select no-wait");
    let first = ledger.lock().unwrap().next;
    let (mut sent, mut lowest, mut confirmed) = (0, 1, BTreeSet::new());
    loop {
        while sent < confirmed.len() as u64 + WINDOW {
            let number = first + sent;
            c.publish_with(1, &format!("key=kill.{}", number % 2), &persistent(), number.to_string());
            sent += 1;
            ledger.lock().unwrap().next = first + sent;
        }
        let Some(ack) = c.next("a confirm") else { return };
        assert_eq!(ack.method.name, "basic.ack", "{}", ack.text);
        let (tag, before) = (ack.number("delivery"), confirmed.len());
        let new = if ack.get("multiple") == "true" { lowest..=tag } else { tag..=tag };
        ledger.lock().unwrap().confirmed.extend(new.clone().map(|tag| first + tag - 1));
        confirmed.extend(new);
        while confirmed.contains(&lowest) {
            lowest += 1;
        }
        for _ in before / TICK..confirmed.len() / TICK {
            ticks.send(Tick::Confirmed).ok();
        }
    }
}

/// Consumes and acks until the connection ends. Behind every tick of acks it publishes a message to nobody's queue and
/// awaits the confirm: then those acks are durable.
fn consume(process: &Process, ledger: &Mutex<Ledger>, ticks: &Sender<Tick>) {
    let mut c = open(process);
    c.send(1, "confirm.select no-wait");
    c.send(1, "basic.qos prefetch=30");
    for queue in QUEUES {
        c.send(1, &format!("basic.consume queue={queue} tag={queue} no-wait"));
    }
    let mut last = [None, None];
    let (mut acked, mut behind_marker) = (Vec::new(), None::<Vec<u64>>);
    while let Some(incoming) = c.next("a delivery") {
        match &*incoming.method.name {
            "basic.deliver" => {
                let number = note_delivery(&incoming, &mut last, ledger);
                c.send(1, &format!("basic.ack delivery={}", incoming.number("delivery")));
                acked.push(number);
                if acked.len() >= TICK && behind_marker.is_none() {
                    behind_marker = Some(std::mem::take(&mut acked));
                    c.publish_with(1, "key=kill.marker", &persistent(), "marker");
                }
            }
            "basic.ack" => {
                ledger.lock().unwrap().durably_acked.extend(behind_marker.take().unwrap_or_default());
                ticks.send(Tick::Acked).ok();
            }
            "basic.qos-ok" => {}
            _ => panic!("{}", incoming.text),
        }
    }
}

/// Checks a delivery against the ledger.
fn note_delivery(incoming: &Incoming, last: &mut [Option<u64>; 2], ledger: &Mutex<Ledger>) -> u64 {
    let number: u64 = String::from_utf8_lossy(&incoming.body).parse().unwrap();
    let mut ledger = ledger.lock().unwrap();
    if ledger.durably_acked.contains(&number) {
        ledger.faults.push(format!("{number} came back after its ack was durable"));
    }
    let last = &mut last[(number % 2) as usize];
    if last.is_some_and(|last| last >= number) {
        ledger.faults.push(format!("{number} came behind {last:?}"));
    }
    if !ledger.delivered.insert(number) && incoming.get("redelivered").is_empty() {
        ledger.faults.push(format!("{number} came again and did not say redelivered"));
    }
    *last = Some(number);
    number
}

/// Runs the clients until enough was done, then kills the broker under them.
fn round(process: Process, ticks: usize, ledger: &Mutex<Ledger>) {
    std::thread::scope(|scope| {
        let (sender, receiver) = channel();
        let process = &process;
        let consumer_sender = sender.clone();
        let publisher = scope.spawn(move || publish(process, ledger, &sender));
        let consumer = scope.spawn(move || consume(process, ledger, &consumer_sender));
        let mut seen = Vec::new();
        while seen.len() < ticks || !seen.contains(&Tick::Acked) {
            let tick = receiver.recv_timeout(Duration::from_secs(20));
            seen.push(tick.expect("the clients get on while the broker runs"));
        }
        process.kill_now();
        publisher.join().expect("the publisher");
        consumer.join().expect("the consumer");
    });
}

#[test]
fn nothing_confirmed_is_lost_and_nothing_settled_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let is_long = std::env::var_os("WARREN_LONG").is_some();
    let ledger = Mutex::new(Ledger::default());
    let started = warren::time::now();
    let process = Process::start(&data);
    let mut c = open(&process);
    for queue in QUEUES.iter().chain(&["kill.marker"]) {
        c.declare(1, queue, "durable");
    }
    round(process, TICKS[0], &ledger);
    let mut rounds = 1;
    while rounds < 5 || (rounds < 20 && (is_long || started.elapsed() < Duration::from_secs(15))) {
        round(Process::start(&data), TICKS[rounds % TICKS.len()], &ledger);
        rounds += 1;
    }
    let process = Process::start(&data);
    let mut c = open(&process);
    let ledger = ledger.into_inner().unwrap();
    let mut left = BTreeSet::new();
    for queue in QUEUES {
        let numbers: Vec<u64> = c.drain(1, queue).iter().map(|body| body.parse().unwrap()).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{queue} is in order: {numbers:?}");
        left.extend(numbers);
    }
    assert_eq!(ledger.faults, Vec::<String>::new(), "in {rounds} rounds");
    let lost: Vec<_> =
        ledger.confirmed.iter().filter(|n| !ledger.delivered.contains(n) && !left.contains(n)).collect();
    assert!(lost.is_empty(), "confirmed and lost in {rounds} rounds: {lost:?}");
    let back: Vec<_> = left.intersection(&ledger.durably_acked).collect();
    assert!(back.is_empty(), "durably acked and back in {rounds} rounds: {back:?}");
    assert!(ledger.confirmed.len() >= rounds * TICK && !ledger.durably_acked.is_empty());
}
