//! The consumer: receives every message, checks its number, and acks as often as it is told.

use crate::Shared;
use crate::options::{Options, Part};
use crate::progress::Progress;
use crate::wire::{self, Connection, Frame, STALL, Writer};
use std::io;
use std::sync::atomic::Ordering::SeqCst;
use std::thread::Thread;
use std::time::Instant;

/// The bit of basic.consume that spares the answer.
const NO_WAIT: u8 = 8;

/// What the consumer measured.
#[derive(Debug)]
pub(crate) struct Consumed {
    pub(crate) messages: u64,
    /// When the last message was there.
    pub(crate) last: Instant,
}

/// Which frame of a delivery comes next.
enum Awaiting {
    Method,
    Header,
    /// With the bytes still missing.
    Body(u64),
}

struct Deliveries {
    awaiting: Awaiting,
    /// The size every body must have.
    size: u64,
    /// Messages complete.
    received: u64,
    /// The number that each queue's next message must carry; it belongs to the queue at number modulo queues.
    expected: Vec<u64>,
    /// Whether the queue was filled by another run, perhaps before a restart.
    may_be_redelivered: bool,
    /// Of the latest delivery.
    tag: u64,
}

/// Sets the prefetch and starts the subscription.
pub(crate) fn subscribe(connection: &mut Connection, options: &Options) -> io::Result<()> {
    let no_ack = options.ack_every == 0;
    if !no_ack {
        let mut qos = Writer::method((60, 10));
        qos.u32(0).u16(options.prefetch).u8(0);
        connection.call(&qos, (60, 11))?;
    }
    // One after the other, and no deliveries in between: the answer to the last is awaited by nobody else.
    for index in 0..options.queues {
        let mut consume = Writer::method((60, 20));
        consume.u16(0).short_string(&options.queue_of(index)).short_string("");
        consume.u8(if no_ack { 2 } else { 0 } | NO_WAIT).u32(0);
        connection.send(&wire::channel_frame(wire::FRAME_METHOD, &consume.0))?;
    }
    Ok(())
}

/// Receives until the run's total is there, then closes the channel, so that its acks are with the broker.
pub(crate) fn run(
    connection: &mut Connection,
    options: &Options,
    shared: &Shared,
    producer: &Thread,
    start: Instant,
) -> io::Result<Consumed> {
    let mut deliveries = Deliveries {
        awaiting: Awaiting::Method,
        size: options.size as u64,
        received: 0,
        expected: (options.first..options.first + options.queues).collect(),
        may_be_redelivered: options.part == Part::Drain,
        tag: 0,
    };
    let mut progress = Progress::new("received", options.report_every, start);
    let (mut acked, mut last) = (0, Instant::now());
    let mut ack_bytes = Vec::new();
    while deliveries.received < shared.total.load(SeqCst) {
        if !connection.fill()? {
            check_producer(shared, &deliveries, last)?;
            continue;
        }
        last = Instant::now();
        while let Some(frame) = connection.next_frame()? {
            let complete = deliveries.take(&frame)?;
            if complete && options.ack_every != 0 && deliveries.received - acked >= options.ack_every {
                ack_bytes.extend(ack(deliveries.tag));
                acked = deliveries.received;
            }
            // What comes beyond the total belongs to somebody else: it is not acked.
            if complete && deliveries.received >= shared.total.load(SeqCst) {
                break;
            }
        }
        connection.send(&ack_bytes)?;
        ack_bytes.clear();
        publish_progress(shared, deliveries.received, producer);
        progress.reach(deliveries.received);
    }
    let messages = shared.total.load(SeqCst);
    if deliveries.received != messages {
        return Err(io::Error::other(format!("received {} of {messages} messages", deliveries.received)));
    }
    if options.ack_every != 0 && acked < messages {
        connection.send(&ack(deliveries.tag))?;
    }
    connection.close_channel()?;
    Ok(Consumed { messages, last })
}

/// An ack of everything up to the tag.
fn ack(tag: u64) -> Vec<u8> {
    let mut ack = Writer::method(wire::BASIC_ACK);
    ack.u64(tag).u8(1);
    wire::channel_frame(wire::FRAME_METHOD, &ack.0)
}

/// Says how far the consumer is, and wakes a producer that waits for it.
fn publish_progress(shared: &Shared, received: u64, producer: &Thread) {
    shared.received.store(received, SeqCst);
    if received >= shared.wake_at.load(SeqCst) {
        shared.wake_at.store(u64::MAX, SeqCst);
        producer.unpark();
    }
}

fn check_producer(shared: &Shared, deliveries: &Deliveries, last: Instant) -> io::Result<()> {
    if shared.failed.load(SeqCst) {
        return Err(io::Error::other("the producer failed, so the consumer stopped"));
    }
    if last.elapsed() > STALL {
        let (received, total) = (deliveries.received, shared.total.load(SeqCst));
        let of = if total == u64::MAX { String::new() } else { format!(" of {total}") };
        return Err(io::Error::other(format!("no delivery for {STALL:?}; received {received}{of} messages")));
    }
    Ok(())
}

impl Deliveries {
    /// Takes the next frame; true when it completes a message.
    fn take(&mut self, frame: &Frame<'_>) -> io::Result<bool> {
        let payload = frame.payload;
        match (&mut self.awaiting, frame.kind) {
            (Awaiting::Method, wire::FRAME_METHOD) => self.take_method(frame),
            (Awaiting::Header, wire::FRAME_HEADER) => {
                let size =
                    payload.get(4..12).map(|bytes| u64::from_be_bytes(bytes.try_into().expect("8 bytes")));
                if size != Some(self.size) {
                    return Err(io::Error::other(format!(
                        "a body of {size:?} bytes instead of {}",
                        self.size
                    )));
                }
                self.awaiting = Awaiting::Body(self.size);
                Ok(false)
            }
            (Awaiting::Body(missing), wire::FRAME_BODY) => {
                let first = *missing == self.size;
                *missing = missing
                    .checked_sub(payload.len() as u64)
                    .ok_or_else(|| io::Error::other("a body is longer than its header says"))?;
                let complete = *missing == 0;
                if first {
                    self.check_number(payload)?;
                }
                if complete {
                    self.awaiting = Awaiting::Method;
                    self.received += 1;
                }
                Ok(complete)
            }
            (_, kind) => Err(io::Error::other(format!("a frame of type {kind} in the wrong place"))),
        }
    }

    fn take_method(&mut self, frame: &Frame<'_>) -> io::Result<bool> {
        let (method, mut arguments) = frame.method()?;
        if method != wire::BASIC_DELIVER {
            wire::notice(method, arguments)?; // being blocked matters to producers only
            return Ok(false);
        }
        let consumer_tag_bytes = arguments.u8()?;
        arguments.take(usize::from(consumer_tag_bytes))?;
        let tag = arguments.u64()?;
        let redelivered = arguments.u8()? & 1 == 1;
        if tag != self.tag + 1 || redelivered && !self.may_be_redelivered {
            let after = self.tag;
            return Err(io::Error::other(format!(
                "delivery {tag} after {after}, redelivered: {redelivered}"
            )));
        }
        self.tag = tag;
        self.awaiting = Awaiting::Header;
        Ok(false)
    }

    /// A body opens with its message's number: a gap is a loss, a step back a duplicate or a wrong order.
    fn check_number(&mut self, payload: &[u8]) -> io::Result<()> {
        let number = payload.first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
        let number = number.ok_or_else(|| io::Error::other("a first body frame of less than 8 bytes"))?;
        let queues = self.expected.len() as u64;
        let expected = &mut self.expected[(number % queues) as usize];
        if number != *expected {
            return Err(io::Error::other(format!("message {number} arrived where {expected} was expected")));
        }
        *expected += queues;
        Ok(())
    }
}
