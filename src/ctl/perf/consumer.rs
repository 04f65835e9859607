//! A consumer: receives messages, checks that they come in order, and acks as often as it is told.

use super::super::Failure;
use super::batch;
use super::connection::{self, CHANNEL, Connection, STALL, flat};
use super::meter::{Run, Worker, print, wait_until};
use super::traffic::Traffic;
use crate::amqp::frame::{Frame, Output, Payload};
use crate::amqp::method::{self, Delivery, basic, id};
use crate::name::DeliveryTag;
use crate::time;
use amq_protocol::protocol::AMQPClass;
use amq_protocol::types::FieldTable;

/// How long basic.get waits before it asks a queue again that was empty, in nanoseconds.
const EMPTY_PAUSE_NS: u64 = 1_000_000;

/// The message that is coming.
#[derive(Clone, Copy)]
struct Coming {
    queue: usize,
    /// Bytes of the body that are missing; none before its header has come.
    missing: Option<u64>,
}

struct Consumer<'a> {
    connection: Connection,
    traffic: &'a Traffic,
    run: &'a Run,
    worker: &'a Worker,
    coming: Option<Coming>,
    /// The last delivery tag, and how far it has acked.
    tag: u64,
    acked: u64,
    acks: Output,
    /// For each queue, by producer and priority: the number behind the last one that came.
    next: Vec<Vec<u64>>,
    received: u64,
    /// Since it was last counted.
    messages: u64,
    prints: u64,
    /// Latencies in nanoseconds, and how many had each.
    latencies: Vec<(u64, u64)>,
}

/// Begins to consume.
pub(super) fn subscribe(connection: &mut Connection, traffic: &Traffic, index: u32) -> Result<(), Failure> {
    if traffic.get {
        return Ok(());
    }
    if traffic.ack_every > 0 {
        let qos = basic::Qos { prefetch_count: traffic.prefetch, global: false };
        connection.call(CHANNEL, &AMQPClass::Basic(basic::AMQPMethod::Qos(qos)), id::BASIC_QOS_OK)?;
    }
    let mut output = Output::default();
    for queue in traffic.queues_of(index) {
        let consume = basic::Consume {
            queue: traffic.queue_name(queue).into(),
            consumer_tag: queue.to_string().into(),
            no_local: false,
            no_ack: traffic.ack_every == 0,
            exclusive: false,
            // Answers would be between deliveries.
            nowait: true,
            arguments: FieldTable::default(),
        };
        output.class(CHANNEL, &AMQPClass::Basic(basic::AMQPMethod::Consume(consume)));
    }
    connection.send(&flat(output))
}

/// Receives until everything is there, and the broker has its acks.
pub(super) fn consume(
    connection: Connection,
    traffic: &Traffic,
    run: &Run,
    index: u32,
) -> Result<(), Failure> {
    let mut consumer = Consumer {
        connection,
        traffic,
        run,
        worker: &run.consumers.workers[index as usize],
        coming: None,
        tag: 0,
        acked: 0,
        acks: Output::default(),
        next: vec![Vec::new(); traffic.queues as usize],
        received: 0,
        messages: 0,
        prints: 0,
        latencies: Vec::new(),
    };
    let queues: Vec<u32> = traffic.queues_of(index).collect();
    if traffic.get {
        consumer.get_all(&queues)?
    } else {
        consumer.receive_all()?
    }
    if run.has_failed() {
        return Err(Failure::Stopped);
    }
    if consumer.acked < consumer.tag && traffic.ack_every > 0 {
        consumer.ack(true);
        consumer.send_acks()?;
    }
    consumer.connection.close_channel(CHANNEL)
}

impl Consumer<'_> {
    fn receive_all(&mut self) -> Result<(), Failure> {
        while !self.run.is_complete() && !self.run.has_failed() {
            if self.connection.fill()? {
                self.take_frames()?;
                self.send_acks()?;
            }
        }
        Ok(())
    }

    /// Asks queue after queue.
    fn get_all(&mut self, queues: &[u32]) -> Result<(), Failure> {
        let gets: Vec<Vec<u8>> = queues.iter().map(|queue| self.get_of(*queue)).collect();
        let mut empty = 0;
        for (queue, get) in queues.iter().zip(&gets).cycle() {
            if self.run.is_complete() || self.run.has_failed() {
                return Ok(());
            }
            self.connection.send(get)?;
            let before = self.received;
            if self.receive_one(*queue as usize)? {
                empty = 0;
                debug_assert_eq!(self.received, before + 1);
                self.send_acks()?;
                continue;
            }
            empty += 1;
            if empty == queues.len() {
                empty = 0;
                wait_until(self.run, self.run.clock.now_ns() + EMPTY_PAUSE_NS);
            }
        }
        Ok(())
    }

    fn get_of(&self, queue: u32) -> Vec<u8> {
        let (queue, no_ack) = (self.traffic.queue_name(queue).into(), self.traffic.ack_every == 0);
        let mut output = Output::default();
        output.class(CHANNEL, &AMQPClass::Basic(basic::AMQPMethod::Get(basic::Get { queue, no_ack })));
        flat(output)
    }

    /// Waits for the answer to basic.get; false if the queue is empty.
    fn receive_one(&mut self, queue: usize) -> Result<bool, Failure> {
        let (before, deadline) = (self.received, time::now() + STALL);
        loop {
            if self.connection.fill()? && self.take_answer(queue)? {
                return Ok(self.received > before);
            }
            if time::now() > deadline || self.run.has_failed() {
                return Err(Failure::Broker("no answer to basic.get".into()));
            }
        }
    }

    /// Takes what has come; true once the answer to basic.get is whole.
    fn take_answer(&mut self, queue: usize) -> Result<bool, Failure> {
        let before = self.received;
        while let Some(frame) = self.connection.next_frame()? {
            let Payload::Method { class, method, payload } = frame.payload else {
                let (frame, now_ns) = (Taken::new(frame.payload), self.run.clock.now_ns());
                self.take_content(frame, now_ns)?;
                continue;
            };
            match (class, method) {
                id::BASIC_GET_EMPTY => return Ok(true),
                id::BASIC_GET_OK => {
                    let Delivery { tag, redelivered, .. } = method::parse_get_ok(payload).map_err(broke)?;
                    self.begin(tag.0, redelivered, queue)?;
                }
                _ => _ = connection::notice(class, method, payload)?,
            }
        }
        self.count();
        Ok(self.received > before)
    }

    fn take_frames(&mut self) -> Result<(), Failure> {
        // Of messages that come together one look at the clock is enough.
        let now_ns = self.run.clock.now_ns();
        while let Some(Frame { payload, .. }) = self.connection.next_frame()? {
            let Payload::Method { class, method, payload } = payload else {
                let frame = Taken::new(payload);
                self.take_content(frame, now_ns)?;
                continue;
            };
            if (class, method) == id::BASIC_DELIVER {
                let Delivery { consumer_tag, tag, redelivered } =
                    method::parse_deliver(payload).map_err(broke)?;
                let queue = queue_of(consumer_tag).filter(|queue| *queue < self.next.len());
                let queue = queue.ok_or_else(|| broke("a consumer tag that is not ours"))?;
                self.begin(tag.0, redelivered, queue)?;
            } else {
                // Being blocked matters to producers only.
                connection::notice(class, method, payload)?;
            }
        }
        self.count();
        Ok(())
    }

    /// A delivery has begun.
    fn begin(&mut self, tag: u64, is_redelivered: bool, queue: usize) -> Result<(), Failure> {
        if tag != self.tag + 1 {
            return Err(Failure::Broker(format!("delivery {tag} came after {}", self.tag)));
        }
        if is_redelivered && self.traffic.is_whole() && !self.traffic.keep {
            return Err(Failure::Broker(format!("delivery {tag} says redelivered, and nobody gave it back")));
        }
        self.tag = tag;
        self.coming = Some(Coming { queue, missing: None });
        Ok(())
    }

    /// Takes a header or a part of a body, which is there at that time.
    fn take_content(&mut self, taken: Taken, now_ns: u64) -> Result<(), Failure> {
        let mut coming = self.coming.take().ok_or_else(|| broke("a content without its method"))?;
        let size = self.traffic.size as u64;
        match (taken, coming.missing) {
            (Taken::Header(bytes), None) if bytes == size => coming.missing = Some(bytes),
            (Taken::Header(bytes), None) => {
                return Err(broke(format!("a body of {bytes} bytes instead of {size}; is --size right?")));
            }
            (Taken::Body { bytes, sender, sent_ns }, Some(missing)) => {
                if missing == size {
                    let (producer, number) = sender.ok_or_else(|| broke("a body without a number"))?;
                    self.check(coming.queue, producer, number)?;
                    self.time(sent_ns, now_ns);
                }
                coming.missing = Some(missing.checked_sub(bytes).ok_or_else(|| broke("a body too long"))?);
            }
            _ => return Err(broke("a frame in the wrong place")),
        }
        match coming.missing {
            Some(0) => self.complete(),
            _ => self.coming = Some(coming),
        }
        Ok(())
    }

    /// Messages that were sent together have the same latency: they are recorded together.
    fn time(&mut self, sent_ns: Option<u64>, now_ns: u64) {
        // What another run published says nothing of the broker.
        let Some(sent_ns) = sent_ns.filter(|_| self.traffic.is_whole()) else { return };
        let ns = now_ns.saturating_sub(sent_ns);
        match self.latencies.last_mut() {
            Some((last, count)) if *last == ns => *count += 1,
            _ => self.latencies.push((ns, 1)),
        }
    }

    /// A step back is a duplicate or a wrong order. What is missing shows in the sum at the end.
    fn check(&mut self, queue: usize, producer: u16, number: u64) -> Result<(), Failure> {
        let priorities = usize::from(self.traffic.priorities.max(1));
        let index = usize::from(producer) * priorities + usize::from(self.traffic.priority(number));
        let next = &mut self.next[queue];
        if index >= next.len() {
            next.resize(index + 1, 0);
        }
        if number < next[index] {
            return Err(Failure::Broker(format!(
                "message {number} of producer {producer} came behind {}",
                next[index] - 1
            )));
        }
        next[index] = number + 1;
        self.prints = self.prints.wrapping_add(print(producer, number));
        Ok(())
    }

    /// A message is whole.
    fn complete(&mut self) {
        self.messages += 1;
        self.received += 1;
        let ack_every = u64::from(self.traffic.ack_every);
        if ack_every > 0 && self.tag - self.acked >= ack_every {
            self.ack(ack_every > 1);
        }
        if let Some(rate) = self.traffic.consumer_rate {
            let due_ns = self.run.start_ns() + (self.received as f64 * 1e9 / rate) as u64;
            if due_ns > self.run.clock.now_ns() {
                self.count();
                wait_until(self.run, due_ns);
            }
        }
    }

    fn ack(&mut self, is_multiple: bool) {
        self.acks.ack(CHANNEL, DeliveryTag(self.tag), is_multiple);
        self.acked = self.tag;
    }

    fn send_acks(&mut self) -> Result<(), Failure> {
        if self.acks.is_empty() {
            return Ok(());
        }
        let acks = flat(std::mem::take(&mut self.acks));
        self.connection.send(&acks)
    }

    /// Tells the others how far it is.
    fn count(&mut self) {
        if self.messages > 0 {
            let (messages, prints) = (std::mem::take(&mut self.messages), std::mem::take(&mut self.prints));
            let mut latencies = self.worker.latencies.lock();
            self.latencies.drain(..).for_each(|(ns, count)| latencies.record(ns, count));
            drop(latencies);
            self.run.received(self.worker, messages, prints);
        }
    }
}

/// What of a content frame matters.
#[derive(Clone, Copy)]
enum Taken {
    Header(u64),
    Body { bytes: u64, sender: Option<(u16, u64)>, sent_ns: Option<u64> },
    Other,
}

impl Taken {
    fn new(payload: Payload<'_>) -> Self {
        match payload {
            Payload::Header { body_bytes, .. } => Taken::Header(body_bytes),
            Payload::Body(body) => Taken::Body {
                bytes: body.len() as u64,
                sender: batch::sender(body),
                sent_ns: batch::sent_ns(body),
            },
            _ => Taken::Other,
        }
    }
}

/// Consumers are called after their queues' numbers.
fn queue_of(consumer_tag: &[u8]) -> Option<usize> {
    std::str::from_utf8(consumer_tag).ok()?.parse().ok()
}

fn broke(error: impl std::fmt::Display) -> Failure {
    Failure::Broker(format!("the broker sends what was not published: {error}"))
}
