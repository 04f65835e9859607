//! A producer: writes numbered messages as fast as the broker, its rate, the window and the backlog let it.
//!
//! With a rate, a message's time is the one at which it was to be sent, however late it is: a broker that stops for a
//! second is charged with the second that every message waited meanwhile, not with one slow message.

use super::super::Failure;
use super::batch::{self, Batch};
use super::connection::{self, CHANNEL, Connection, Notice, PATIENCE, STALL};
use super::meter::{self, Run, Worker, print};
use super::traffic::{Bound, Traffic};
use crate::amqp::frame::{Frame, Payload};
use crate::amqp::method::{self, confirm, id, tx};
use crate::time::{self, Duration};
use amq_protocol::protocol::AMQPClass;
use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;

/// How often a producer that waits for nothing looks at what the broker says.
const LOOK_EVERY_NS: u64 = 50_000_000;

/// A publish that is not confirmed.
struct Unconfirmed {
    sent_ns: u64,
    is_done: bool,
}

struct Producer<'a> {
    connection: Connection,
    traffic: &'a Traffic,
    run: &'a Run,
    worker: &'a Worker,
    index: u16,
    batch: Batch,
    /// How many queues a message with each key reaches.
    copies: Vec<u64>,
    published: u64,
    /// From the oldest that is not confirmed on.
    unconfirmed: VecDeque<Unconfirmed>,
    /// How many of these are not done.
    open: u64,
    /// Published since the last commit, and when the first of them was to be sent.
    in_transaction: u64,
    transaction_ns: u64,
    blocked_since_ns: Option<u64>,
    /// A returned message is on its way: its method has come.
    is_returning: bool,
    looked_ns: u64,
}

/// Publishes until the bound is reached, and the broker has taken (with confirms: confirmed) everything. Returns the sum of
/// the [`print`]s that consumers are to find.
pub(super) fn publish(
    mut connection: Connection,
    traffic: &Traffic,
    run: &Run,
    index: u16,
) -> Result<u64, Failure> {
    if traffic.confirm.is_some() {
        let select = AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait: false }));
        connection.call(CHANNEL, &select, id::CONFIRM_SELECT_OK)?;
    }
    if traffic.tx.is_some() {
        connection.call(CHANNEL, &AMQPClass::Tx(tx::AMQPMethod::Select(tx::Select {})), id::TX_SELECT_OK)?;
    }
    let producer = Producer {
        batch: Batch::new(traffic.form(index), connection.frame_max),
        connection,
        traffic,
        run,
        worker: &run.producers.workers[usize::from(index)],
        index,
        copies: traffic.copies(),
        published: 0,
        unconfirmed: VecDeque::new(),
        open: 0,
        in_transaction: 0,
        transaction_ns: 0,
        blocked_since_ns: None,
        is_returning: false,
        looked_ns: 0,
    };
    producer.run()
}

impl Producer<'_> {
    fn run(mut self) -> Result<u64, Failure> {
        let window = self.traffic.confirm.map_or(u64::MAX, u64::from);
        let mut prints = 0_u64;
        while !self.run.has_failed() {
            let left = self.left();
            if left == 0 {
                break;
            }
            let count = left.min(window - self.open).min(self.batch.messages).min(self.transaction_left());
            let (due, next_due_ns) = self.due(count);
            if due == 0 {
                self.wait_until(next_due_ns)?;
                continue;
            }
            if let Some(backlog_max) = self.traffic.backlog_max {
                self.run.wait_for_backlog(backlog_max);
            }
            prints = prints.wrapping_add(self.publish(due)?);
            if self.transaction_left() == 0 {
                self.commit()?;
            }
            self.wait_for_confirms(window - 1)?;
            self.look_now_and_then()?;
            self.wait_until_unblocked()?;
        }
        if self.in_transaction > 0 {
            self.commit()?;
        }
        self.wait_for_confirms(0)?;
        self.finish()?;
        Ok(prints.wrapping_sub(self.worker.prints.load(Relaxed)))
    }

    /// Everything is with the broker when this returns.
    fn finish(&mut self) -> Result<(), Failure> {
        if self.traffic.mandatory {
            self.look_until_quiet()?;
        }
        self.connection.close_channel(CHANNEL)?;
        if self.traffic.confirm.is_none() {
            self.worker.last_ns.store(self.run.clock.now_ns(), Relaxed);
        }
        Ok(())
    }

    /// How many are still to be published, as far as that is known.
    fn left(&self) -> u64 {
        match self.traffic.bound() {
            Bound::Time(duration) if self.run.seconds() >= duration.as_secs_f64() => 0,
            Bound::Time(_) => u64::MAX,
            Bound::Messages(messages) => messages - self.published,
        }
    }

    fn transaction_left(&self) -> u64 {
        self.traffic.tx.map_or(u64::MAX, |messages| u64::from(messages) - self.in_transaction)
    }

    // ---- when

    /// How many of `count` are due, and when the next one is.
    fn due(&self, count: u64) -> (u64, u64) {
        if self.traffic.rate.is_none() {
            return (count, 0);
        }
        let now_ns = self.run.clock.now_ns();
        let due = (0..count).take_while(|index| self.due_ns(*index) <= now_ns).count() as u64;
        (due, self.due_ns(due))
    }

    /// When the message so many behind the last one is to be sent. Producers take turns.
    fn due_ns(&self, index: u64) -> u64 {
        let rate = self.traffic.rate.unwrap_or(f64::INFINITY);
        let turn = f64::from(self.index) / f64::from(self.traffic.producers.max(1));
        self.run.start_ns() + (((self.published + index) as f64 + turn) * 1e9 / rate) as u64
    }

    /// Waits for the time, or for what the broker says before.
    fn wait_until(&mut self, ns: u64) -> Result<(), Failure> {
        let wait = Duration::from_nanos(ns.saturating_sub(self.run.clock.now_ns()));
        if self.connection.wait_input(wait.min(PATIENCE)) {
            self.connection.fill()?;
            self.take_frames()?;
        }
        Ok(())
    }

    // ---- publishing

    /// Writes the next messages; a broker that does not read is waited for as long as consumers get messages. Returns the
    /// sum of their prints, once for each queue they reach.
    fn publish(&mut self, count: u64) -> Result<u64, Failure> {
        let first = self.traffic.first + self.published;
        let now_ns = self.run.clock.now_ns();
        let is_timed = self.traffic.rate.is_some();
        let due_ns: Vec<u64> =
            if is_timed { (0..count).map(|index| self.due_ns(index)).collect() } else { Vec::new() };
        let sent_ns = |index: u64| due_ns.get(index as usize).copied().unwrap_or(now_ns);
        if self.traffic.confirm.is_some() {
            // From now on: a batch that is written in parts may be confirmed in parts, too.
            let unconfirmed = |index| Unconfirmed { sent_ns: sent_ns(index), is_done: false };
            self.unconfirmed.extend((0..count).map(unconfirmed));
            self.open += count;
        }
        if self.traffic.tx.is_some() {
            if self.in_transaction == 0 {
                self.transaction_ns = sent_ns(0);
            }
            self.in_transaction += count;
        }
        let (mut prints, mut copies) = (0_u64, 0);
        for number in first..first + count {
            let reached = self.copies[(number % self.copies.len() as u64) as usize];
            prints = prints.wrapping_add(print(self.index, number).wrapping_mul(reached));
            copies += reached;
        }
        let bytes = self.batch.fill(first, count, sent_ns).len();
        self.published += count;
        self.run.published(self.worker, count, copies);
        self.write(bytes)?;
        self.run.note_backlog();
        Ok(prints)
    }

    fn write(&mut self, bytes: usize) -> Result<(), Failure> {
        let (mut at, mut since, mut received) = (0, time::now(), 0);
        while at < bytes {
            let written = self.connection.write_some(&self.batch.written()[at..bytes])?;
            at += written;
            if written > 0 {
                since = time::now();
                continue;
            }
            self.check_others()?;
            self.look()?;
            let now_received = self.run.consumers.messages();
            if now_received != received {
                (received, since) = (now_received, time::now());
            }
            if since.elapsed() > STALL {
                return Err(Failure::Broker("the broker does not read, and delivers nothing".into()));
            }
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Failure> {
        let commit = AMQPClass::Tx(tx::AMQPMethod::Commit(tx::Commit {}));
        self.connection.call(CHANNEL, &commit, id::TX_COMMIT_OK)?;
        let now_ns = self.run.clock.now_ns();
        let count = std::mem::take(&mut self.in_transaction);
        self.worker.latencies.lock().record(now_ns.saturating_sub(self.transaction_ns), count);
        meter::add(&self.worker.confirmed, count);
        Ok(())
    }

    // ---- what the broker says

    /// Reads until at most so many messages are unconfirmed.
    fn wait_for_confirms(&mut self, open_max: u64) -> Result<(), Failure> {
        let mut since = time::now();
        while self.open > open_max {
            if self.connection.fill()? {
                self.take_frames()?;
                since = time::now();
                continue;
            }
            self.check_others()?;
            if since.elapsed() > STALL {
                return Err(Failure::Broker(format!("{} messages are not confirmed", self.open)));
            }
        }
        Ok(())
    }

    /// A broker that says connection.blocked gets nothing more until it says connection.unblocked.
    fn wait_until_unblocked(&mut self) -> Result<(), Failure> {
        let since = time::now();
        while self.blocked_since_ns.is_some() {
            self.connection.fill()?;
            self.take_frames()?;
            self.check_others()?;
            if since.elapsed() > STALL {
                return Err(Failure::Broker(
                    "the broker keeps the connection blocked: is its disk or memory alarm on?".into(),
                ));
            }
        }
        Ok(())
    }

    /// Confirms are read where they are awaited; without, something may be said all the same.
    fn look_now_and_then(&mut self) -> Result<(), Failure> {
        let now_ns = self.run.clock.now_ns();
        if now_ns > self.looked_ns + LOOK_EVERY_NS {
            self.looked_ns = now_ns;
            self.look()?;
        }
        Ok(())
    }

    /// Takes what the broker has said so far.
    fn look(&mut self) -> Result<(), Failure> {
        while self.connection.wait_input(Duration::ZERO) && self.connection.fill()? {
            self.take_frames()?;
        }
        Ok(())
    }

    /// Takes what the broker says until it says nothing for a while: what it returns comes without an end.
    fn look_until_quiet(&mut self) -> Result<(), Failure> {
        while self.connection.fill()? {
            self.take_frames()?;
        }
        Ok(())
    }

    fn check_others(&self) -> Result<(), Failure> {
        if self.run.has_failed() { Err(Failure::Stopped) } else { Ok(()) }
    }

    fn take_frames(&mut self) -> Result<(), Failure> {
        while let Some(Frame { payload, .. }) = self.connection.next_frame()? {
            match payload {
                Payload::Method { class, method, payload } => match (class, method) {
                    id @ (id::BASIC_ACK | id::BASIC_NACK) => {
                        let (tag, bits) = method::parse_settle(payload, class, method)
                            .map_err(|error| Failure::Broker(error.to_string()))?;
                        self.settle(tag.0, bits & 1 != 0, id == id::BASIC_ACK)?;
                    }
                    _ => match connection::notice(class, method, payload)? {
                        Notice::Blocked => {
                            let now_ns = self.run.clock.now_ns();
                            self.blocked_since_ns.get_or_insert(now_ns);
                        }
                        Notice::Unblocked => {
                            let since = self.blocked_since_ns.take();
                            let blocked = since.map_or(0, |since| self.run.clock.now_ns() - since);
                            meter::add(&self.worker.blocked_ns, blocked);
                        }
                        Notice::Returned => self.is_returning = true,
                    },
                },
                Payload::Body(body) if std::mem::take(&mut self.is_returning) => {
                    if let Some((_, number)) = batch::sender(body) {
                        meter::add(&self.worker.returned, 1);
                        self.will_not_come(number);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What a confirm covers is settled.
    fn settle(&mut self, tag: u64, is_multiple: bool, is_taken: bool) -> Result<(), Failure> {
        let unknown = || Failure::Broker(format!("a confirm for {tag}, which is not open"));
        let oldest = self.published - self.unconfirmed.len() as u64 + 1;
        let index = tag.checked_sub(oldest).and_then(|index| usize::try_from(index).ok());
        let index = index.filter(|index| *index < self.unconfirmed.len()).ok_or_else(unknown)?;
        let now_ns = self.run.clock.now_ns();
        let covered = if is_multiple { 0..=index } else { index..=index };
        let (mut count, mut refused) = (0, Vec::new());
        {
            let mut latencies = self.worker.latencies.lock();
            for (index, publish) in covered.clone().zip(self.unconfirmed.range_mut(covered)) {
                if !std::mem::replace(&mut publish.is_done, true) {
                    count += 1;
                    latencies.record(now_ns.saturating_sub(publish.sent_ns), 1);
                    if !is_taken {
                        refused.push(oldest + index as u64 - 1 + self.traffic.first);
                    }
                }
            }
        }
        if count == 0 {
            return Err(unknown());
        }
        while self.unconfirmed.pop_front_if(|publish| publish.is_done).is_some() {}
        self.open -= count;
        meter::add(&self.worker.confirmed, count - refused.len() as u64);
        meter::add(&self.worker.refused, refused.len() as u64);
        refused.into_iter().for_each(|number| self.will_not_come(number));
        self.worker.last_ns.store(now_ns, Relaxed);
        Ok(())
    }

    /// No consumer will see this message.
    fn will_not_come(&self, number: u64) {
        let copies = self.copies[(number % self.copies.len() as u64) as usize];
        self.worker.copies.fetch_sub(copies, Relaxed);
        meter::add(&self.worker.prints, print(self.index, number).wrapping_mul(copies));
    }
}
