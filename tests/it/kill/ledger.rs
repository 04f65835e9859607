//! What the clients of the kill test know of every message in every queue, and what must be true of a delivery.
//!
//! A message's fate in a queue, from what its clients did and saw:
//!
//! ```text
//!   published ──► confirmed ──► delivered ──► settled ──► gone (the settling was durable)
//!       │             │             ▲            │
//!   may be lost   never lost        └── may come back after a kill, until it is gone
//! ```
//!
//! After each kill the queues are looked at ([`super::audit`]): what is there must be there from then on, and what is
//! not must never come again. So the ledger keeps no more than the queues do.

use crate::support::Properties;
use crate::support::random::Random;
use crate::support::raw::Incoming;
use std::collections::BTreeMap;

/// The durable queues whose messages have a fate here. The last one is the transactional client's.
pub(super) const QUEUES: [&str; 3] = ["kill.0", "kill.1", "kill.in"];
/// The index of the queue from which transactions move messages.
pub(super) const IN: usize = 2;
/// Where transactions move them to: each message to both.
pub(super) const OUT: [&str; 2] = ["kill.out.a", "kill.out.b"];
/// The stream of transient messages; all others are persistent.
pub(super) const TRANSIENT: char = 't';
/// The stream that is moved by transactions.
pub(super) const MOVED: char = 'm';

/// A message's name: whose it is, which, and how many kills had been when it was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id {
    pub(super) stream: char,
    pub(super) number: u64,
    pub(super) round: u32,
}

impl Id {
    /// The name and the delivery mode, as properties.
    pub(super) fn properties(self) -> Properties {
        let mode = if self.stream == TRANSIENT { 1 } else { 2 };
        Properties::new(&format!(
            "delivery-mode={mode} message-id={}.{}.{}",
            self.stream, self.number, self.round
        ))
    }

    /// The body: some have one byte, some are larger than a record's buffer and than a frame of 64 KiB.
    pub(super) fn body(self) -> Vec<u8> {
        let seed = self.number << 8 | u64::from(self.stream as u8);
        let mut random = Random(seed);
        let bytes = match random.below(32) {
            0 => 65_537 + random.below(36_864),
            1..=4 => 1,
            5..=6 => 4_000 + random.below(12_000),
            _ => 1 + random.below(1_000),
        };
        (0..bytes).map(|at| (seed.wrapping_mul(31).wrapping_add(at * 7) >> (at % 3)) as u8).collect()
    }

    /// The name a message carries, if it is whole.
    pub(super) fn of(incoming: &Incoming) -> Result<Self, String> {
        let name = incoming.properties.get("message-id");
        let mut parts = name.split('.');
        let mut part = || parts.next().ok_or_else(|| format!("a message without a name: {}", incoming.text));
        let stream = part()?.chars().next().unwrap_or(' ');
        let mut number = || part()?.parse::<u64>().map_err(|_| format!("a message's name is {name}"));
        let id = Self { stream, number: number()?, round: number()? as u32 };
        let is_whole = incoming.body == id.body() && incoming.properties == id.properties();
        if is_whole { Ok(id) } else { Err(format!("{name} is not what was published: {}", incoming.text)) }
    }

    /// Where the message is published to, and which of [`QUEUES`] it reaches.
    pub(super) fn route(self) -> (&'static str, &'static [usize]) {
        match (self.stream, self.number % 4) {
            (MOVED, _) => ("key=kill.in", &[IN]),
            (TRANSIENT, 3) => ("key=kill.transient", &[]),
            (_, 0) => ("key=kill.0", &[0]),
            (_, 1) => ("key=kill.1", &[1]),
            _ => ("exchange=kill.both", &[0, 1]),
        }
    }
}

/// A message's fate in one queue.
#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    is_confirmed: bool,
    was_delivered: bool,
    /// The round in which a consumer had it last.
    consumed_in: Option<u32>,
    /// The round in which it was there after the restart.
    present_in: Option<u32>,
    settled_in: Option<u32>,
    is_gone: bool,
}

/// Numbers that one transaction moved, or tried to.
#[derive(Debug)]
struct Move {
    numbers: Vec<u64>,
    is_committed: bool,
}

/// The last number of each stream that a connection was the first to see in each queue.
pub(super) type Order = BTreeMap<(usize, char), u64>;

/// So much happened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) confirmed: u64,
    pub(super) delivered: u64,
    pub(super) settled: u64,
    pub(super) gone: u64,
    pub(super) moved: u64,
    pub(super) transient: u64,
}

/// What the clients know.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) round: u32,
    next: BTreeMap<char, u64>,
    fates: BTreeMap<(usize, char, u64), Fate>,
    moves: Vec<Move>,
    /// Persistent messages not settled, for each queue.
    unsettled: [usize; 3],
    pub(super) totals: Totals,
    pub(super) faults: Vec<String>,
}

impl Ledger {
    /// Persistent messages not settled in any queue.
    pub(super) fn unsettled(&self) -> usize {
        self.unsettled.iter().sum()
    }

    /// The same in the transactional client's queue.
    pub(super) fn unmoved(&self) -> usize {
        self.unsettled[IN]
    }

    /// The same in the consumers' queues.
    pub(super) fn unconsumed(&self) -> usize {
        self.unsettled[..IN].iter().sum()
    }

    fn fault(&mut self, fault: String) {
        self.faults.push(format!("round {}: {fault}", self.round));
    }

    // ---- publishing

    /// The next message of a stream, which is about to be published.
    pub(super) fn publish(&mut self, stream: char) -> Id {
        let number = self.next.entry(stream).or_default();
        *number += 1;
        let id = Id { stream, number: *number, round: self.round };
        for &queue in id.route().1 {
            self.fates.insert((queue, stream, id.number), Fate::default());
            self.unsettled[queue] += usize::from(stream != TRANSIENT);
        }
        id
    }

    pub(super) fn confirm(&mut self, id: Id) {
        self.totals.confirmed += 1;
        for &queue in id.route().1 {
            if let Some(fate) = self.fates.get_mut(&(queue, id.stream, id.number)) {
                fate.is_confirmed = true;
            }
        }
    }

    // ---- consuming

    /// Checks what came to a consumer, and says which message it is.
    pub(super) fn deliver(&mut self, queue: usize, incoming: &Incoming, order: &mut Order) -> Option<Id> {
        let (round, id) = (self.round, self.known(queue, incoming)?);
        let fate = self.fates.get_mut(&(queue, id.stream, id.number))?;
        let says_redelivered = incoming.get("redelivered") == "true";
        let is_first = fate.consumed_in.replace(round) != Some(round);
        let was_delivered = std::mem::replace(&mut fate.was_delivered, true);
        let was_settled = fate.settled_in.is_some();
        self.totals.delivered += 1;
        self.totals.transient += u64::from(id.stream == TRANSIENT);
        if was_settled {
            self.fault(format!("{}: {id:?} came again behind its ack", QUEUES[queue]));
        }
        if was_delivered && !says_redelivered {
            self.fault(format!("{}: {id:?} came again and did not say redelivered", QUEUES[queue]));
        }
        if says_redelivered && !was_delivered && id.round == round {
            self.fault(format!("{}: {id:?} came for the first time and said redelivered", QUEUES[queue]));
        }
        // What was requeued may come at any time: to its first consumer it came in its turn.
        if is_first {
            self.check_order(queue, id, order);
        }
        Some(id)
    }

    /// The message, if it may be in the queue at all.
    fn known(&mut self, queue: usize, incoming: &Incoming) -> Option<Id> {
        let id = match Id::of(incoming) {
            Ok(id) => id,
            Err(fault) => {
                self.fault(fault);
                return None;
            }
        };
        match self.fates.get(&(queue, id.stream, id.number)) {
            Some(fate) if !fate.is_gone => Some(id),
            fate => {
                let why = match fate {
                    Some(_) => "its ack was durable",
                    None if id.stream == TRANSIENT => "it was transient",
                    None => "it was not there after an earlier restart",
                };
                self.fault(format!("{}: {id:?} came back although {why}", QUEUES[queue]));
                None
            }
        }
    }

    fn check_order(&mut self, queue: usize, id: Id, order: &mut Order) {
        let last = order.insert((queue, id.stream), id.number);
        if last.is_some_and(|last| last >= id.number) {
            self.fault(format!("{}: {id:?} came behind {last:?}", QUEUES[queue]));
        }
    }

    /// The message is about to be acked, or rejected without requeue.
    pub(super) fn settle(&mut self, queue: usize, id: Id) {
        let (round, key) = (self.round, (queue, id.stream, id.number));
        let Some(fate) = self.fates.get_mut(&key) else { return };
        if fate.settled_in.replace(round).is_none() {
            self.unsettled[queue] -= usize::from(id.stream != TRANSIENT);
            self.totals.settled += 1;
        }
    }

    /// What was settled is durable.
    pub(super) fn make_gone(&mut self, queue: usize, id: Id) {
        if let Some(fate) = self.fates.get_mut(&(queue, id.stream, id.number)) {
            fate.is_gone = true;
            self.totals.gone += 1;
        }
    }

    // ---- transactions

    /// A transaction that moves these messages is about to be committed.
    pub(super) fn begin_move(&mut self, moved: &[Id]) {
        moved.iter().for_each(|id| self.settle(IN, *id));
        let numbers = moved.iter().map(|id| id.number).collect();
        self.moves.push(Move { numbers, is_committed: false });
    }

    /// The commit was answered.
    pub(super) fn end_move(&mut self, moved: &[Id]) {
        moved.iter().for_each(|id| self.make_gone(IN, *id));
        self.moves.last_mut().expect("a move was begun").is_committed = true;
        self.totals.moved += moved.len() as u64;
    }

    // ---- after a restart

    /// The broker was killed: what was transient is no more.
    pub(super) fn begin_round(&mut self) {
        self.round += 1;
        self.fates.retain(|(_, stream, _), _| *stream != TRANSIENT);
    }

    /// A message is there after a restart.
    pub(super) fn look(&mut self, queue: usize, incoming: &Incoming, order: &mut Order) {
        let Some(id) = self.known(queue, incoming) else { return };
        let round = self.round;
        let Some(fate) = self.fates.get_mut(&(queue, id.stream, id.number)) else { return };
        let is_twice = fate.present_in.replace(round) == Some(round);
        let was_delivered = std::mem::replace(&mut fate.was_delivered, true);
        if is_twice {
            self.fault(format!("{}: {id:?} is there twice", QUEUES[queue]));
        }
        if was_delivered && incoming.get("redelivered").is_empty() {
            self.fault(format!("{}: {id:?} came again and did not say redelivered", QUEUES[queue]));
        }
        self.check_order(queue, id, order);
    }

    /// Everything that is there was looked at, and the transactions' targets hold these numbers.
    pub(super) fn judge(&mut self, out: [&[u64]; 2]) {
        self.judge_moves(out);
        let (round, mut lost) = (self.round, Vec::new());
        self.unsettled = [0; 3];
        let unsettled = &mut self.unsettled;
        self.fates.retain(|&(queue, stream, number), fate| {
            let is_there = fate.present_in == Some(round);
            if !is_there && fate.is_confirmed && fate.settled_in.is_none() {
                lost.push(format!("{}: {stream}.{number} was confirmed and is lost", QUEUES[queue]));
            }
            // What one restart brings back is on disk: the next must, too, whatever was known of it before.
            (fate.is_confirmed, fate.settled_in) = (true, None);
            unsettled[queue] += usize::from(is_there);
            is_there
        });
        lost.into_iter().for_each(|lost| self.fault(lost));
    }

    /// Each transaction is whole or was not: in both targets and not in the source, or the other way round.
    fn judge_moves(&mut self, [a, b]: [&[u64]; 2]) {
        let moves = std::mem::take(&mut self.moves);
        let mut expected = Vec::<u64>::new();
        for Move { numbers, is_committed } in &moves {
            let seen = numbers.iter().filter(|number| a.contains(number)).count();
            let left = numbers.iter().filter(|&&number| self.is_present(number)).count();
            if seen > 0 || *is_committed {
                expected.extend(numbers);
            }
            if (seen, left) != (0, numbers.len()) && (seen, left) != (numbers.len(), 0) {
                self.fault(format!("half a transaction of {numbers:?}: {seen} are moved, {left} are not"));
            }
        }
        for (out, seen) in OUT.iter().zip([a, b]) {
            if seen != expected {
                self.fault(format!("{out} holds {seen:?}, and the transactions moved {expected:?}"));
            }
        }
    }

    fn is_present(&self, number: u64) -> bool {
        let fate = self.fates.get(&(IN, MOVED, number));
        fate.is_some_and(|fate| fate.present_in == Some(self.round))
    }
}
