//! The producer: writes numbered messages as fast as the broker, the window and the backlog let it.
//!
//! A batch is the same message repeated in one buffer; before each write only the numbers in it are changed. Without
//! confirms it writes and never waits for answers, looking now and then whether the broker said something; with
//! confirms it fills the window, then waits for confirms.

use crate::Shared;
use crate::options::{Bound, Mode, Options, QUEUE_DIGITS};
use crate::progress::Progress;
use crate::wire::{self, Connection, Method, Notice, Reader, STALL, Writer};
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

/// Written at once, about: many small messages per system call, as a client library under load would.
const BATCH_BYTES: usize = 64 * 1024;
/// How often a producer without confirms looks at what the broker says.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const PARK: Duration = Duration::from_millis(100);
const CONFIRM_SELECT: Method = (85, 10);
const CONFIRM_SELECT_OK: Method = (85, 11);

/// What the producer measured.
#[derive(Debug)]
pub(crate) struct Produced {
    pub(crate) messages: u64,
    /// When the broker had taken (with confirms: confirmed) the last message.
    pub(crate) last: Instant,
    /// The most messages that were published and not yet received.
    pub(crate) backlog_peak: u64,
    /// For how long the broker had this connection blocked (connection.blocked).
    pub(crate) blocked: Duration,
}

struct Producer<'a> {
    connection: &'a mut Connection,
    shared: &'a Shared,
    batch: Batch,
    published: u64,
    /// Confirms outstanding, oldest first: true = confirmed before an older one.
    unconfirmed: VecDeque<bool>,
    /// How many of `unconfirmed` are false.
    open: u64,
    backlog_peak: u64,
    blocked_since: Option<Instant>,
    blocked: Duration,
}

/// Publishes until the bound is reached and everything is with the broker.
pub(crate) fn run(
    connection: &mut Connection,
    options: &Options,
    shared: &Shared,
    start: Instant,
) -> io::Result<Produced> {
    let confirms = options.mode == Mode::Confirms;
    if confirms {
        let mut select = Writer::method(CONFIRM_SELECT);
        connection.call(select.u8(0), CONFIRM_SELECT_OK)?;
    }
    let batch = Batch::new(options, connection.frame_max);
    let mut producer = Producer {
        connection,
        shared,
        batch,
        published: 0,
        unconfirmed: VecDeque::new(),
        open: 0,
        backlog_peak: 0,
        blocked_since: None,
        blocked: Duration::ZERO,
    };
    let mut looked = start;
    let mut progress = Progress::new("published", options.report_every, start);
    while let Some(count) = producer.next_count(options, start) {
        producer.wait_for_backlog(options.backlog_max)?;
        producer.publish(count, confirms)?;
        if confirms {
            producer.wait_for_confirms(options.window - 1)?;
        } else if looked.elapsed() > LOOK_EVERY {
            producer.look()?;
            looked = Instant::now();
        }
        producer.wait_until_unblocked()?;
        progress.reach(producer.published - producer.open);
    }
    shared.total.store(producer.published, SeqCst);
    producer.wait_for_confirms(0)?;
    let confirmed = Instant::now();
    producer.connection.close_channel()?;
    let last = if confirms { confirmed } else { Instant::now() };
    progress.reach(producer.published);
    let messages = producer.published;
    Ok(Produced { messages, last, backlog_peak: producer.backlog_peak, blocked: producer.blocked })
}

impl Producer<'_> {
    /// How many messages to publish next; none when the bound is reached.
    fn next_count(&self, options: &Options, start: Instant) -> Option<u64> {
        let left = match options.bound {
            Bound::Time(duration) if start.elapsed() >= duration => 0,
            Bound::Time(_) => u64::MAX,
            Bound::Messages(messages) => messages - self.published,
        };
        let window = if options.mode == Mode::Confirms { options.window - self.open } else { u64::MAX };
        Some(left.min(window).min(self.batch.messages)).filter(|count| *count > 0)
    }

    /// Writes the next messages; a broker that does not read is waited for as long as the consumer gets messages.
    fn publish(&mut self, count: u64, confirms: bool) -> io::Result<()> {
        let end = self.batch.number(self.published, count);
        self.published += count;
        if confirms {
            // Open from now on: a batch that is written in parts may be confirmed in parts too.
            self.unconfirmed.extend((0..count).map(|_| false));
            self.open += count;
        }
        let (mut at, mut progress, mut received) = (0, Instant::now(), 0);
        while at < end {
            let written = self.connection.write_some(&self.batch.bytes[at..end])?;
            at += written;
            if written > 0 {
                progress = Instant::now();
                continue;
            }
            self.check_other_side()?;
            self.look()?;
            let now_received = self.shared.received.load(SeqCst);
            if now_received != received {
                (received, progress) = (now_received, Instant::now());
            }
            if progress.elapsed() > STALL {
                return Err(io::Error::other("the broker does not read, and delivers nothing"));
            }
        }
        let backlog = self.published.saturating_sub(self.shared.received.load(SeqCst));
        self.backlog_peak = self.backlog_peak.max(backlog);
        Ok(())
    }

    /// Parks while too many messages are on their way to the consumer.
    fn wait_for_backlog(&mut self, backlog_max: u64) -> io::Result<()> {
        let shared = self.shared;
        if self.published.saturating_sub(shared.received.load(SeqCst)) < backlog_max {
            return Ok(());
        }
        // Resuming a quarter lower makes a pause worth its two context switches.
        let resume_at = self.published - backlog_max + backlog_max / 4 + 1;
        loop {
            shared.wake_at.store(resume_at, SeqCst);
            if shared.received.load(SeqCst) >= resume_at {
                shared.wake_at.store(u64::MAX, SeqCst);
                return Ok(());
            }
            thread::park_timeout(PARK);
            self.check_other_side()?;
        }
    }

    /// Reads until at most so many messages are unconfirmed.
    fn wait_for_confirms(&mut self, open_max: u64) -> io::Result<()> {
        let mut progress = Instant::now();
        while self.open > open_max {
            if self.connection.fill()? {
                self.take_frames()?;
                progress = Instant::now();
                continue;
            }
            self.check_other_side()?;
            if progress.elapsed() > STALL {
                return Err(io::Error::other(format!("{} messages are not confirmed", self.open)));
            }
        }
        Ok(())
    }

    /// A broker that says connection.blocked gets nothing more until it says connection.unblocked.
    fn wait_until_unblocked(&mut self) -> io::Result<()> {
        while let Some(since) = self.blocked_since {
            self.connection.fill()?;
            self.take_frames()?;
            self.check_other_side()?;
            if since.elapsed() > STALL {
                return Err(io::Error::other("the broker keeps the connection blocked"));
            }
        }
        Ok(())
    }

    /// Handles what the broker has said so far, without waiting.
    fn look(&mut self) -> io::Result<()> {
        while self.connection.fill_now()? {
            self.take_frames()?;
        }
        Ok(())
    }

    fn check_other_side(&self) -> io::Result<()> {
        if self.shared.failed.load(SeqCst) {
            return Err(io::Error::other("the consumer failed, so the producer stopped"));
        }
        Ok(())
    }

    fn take_frames(&mut self) -> io::Result<()> {
        while let Some(frame) = self.connection.next_frame()? {
            if frame.kind != wire::FRAME_METHOD {
                continue;
            }
            let (method, arguments) = frame.method()?;
            match method {
                wire::BASIC_ACK => {
                    let (tag, multiple) = confirm(arguments)?;
                    let oldest = self.published - self.unconfirmed.len() as u64 + 1;
                    self.open -= settle(&mut self.unconfirmed, oldest, tag, multiple)?;
                }
                wire::BASIC_NACK => {
                    return Err(io::Error::other("the broker refused a message (basic.nack)"));
                }
                _ => match wire::notice(method, arguments)? {
                    Notice::Blocked => {
                        self.blocked_since = self.blocked_since.or_else(|| Some(Instant::now()))
                    }
                    Notice::Unblocked => {
                        self.blocked +=
                            self.blocked_since.take().map_or(Duration::ZERO, |since| since.elapsed());
                    }
                },
            }
        }
        Ok(())
    }
}

fn confirm(mut arguments: Reader<'_>) -> io::Result<(u64, bool)> {
    Ok((arguments.u64()?, arguments.u8()? & 1 == 1))
}

/// Marks what a confirm covers, forgets the oldest confirmed, and returns how many were newly confirmed.
fn settle(unconfirmed: &mut VecDeque<bool>, oldest: u64, tag: u64, multiple: bool) -> io::Result<u64> {
    let unknown = || io::Error::other(format!("a confirm for {tag}, which is not open"));
    let index = tag.checked_sub(oldest).and_then(|index| usize::try_from(index).ok()).ok_or_else(unknown)?;
    if index >= unconfirmed.len() {
        return Err(unknown());
    }
    let mut newly = 0;
    if multiple {
        newly += unconfirmed.drain(..=index).filter(|confirmed| !confirmed).count() as u64;
    } else if std::mem::replace(&mut unconfirmed[index], true) {
        return Err(unknown());
    } else {
        newly += 1;
    }
    while unconfirmed.front() == Some(&true) {
        unconfirmed.pop_front();
    }
    Ok(newly)
}

/// The frames of one message, several times over, with a place for each message's number.
struct Batch {
    bytes: Vec<u8>,
    messages: u64,
    message_bytes: usize,
    /// Of the number, within a message.
    number_at: usize,
    /// Of the routing key's end, within a message; there stands the queue's number if there are several queues.
    key_end: usize,
    queues: u64,
    /// The first message's number.
    first: u64,
}

impl Batch {
    fn new(options: &Options, frame_max: usize) -> Batch {
        let mut publish = Writer::method(wire::BASIC_PUBLISH);
        publish.u16(0).short_string("").short_string(&options.queue_of(0)).u8(0);
        let mut message = wire::channel_frame(wire::FRAME_METHOD, &publish.0);
        let key_end = message.len() - 2; // behind it stand the flags and the end of the frame

        let delivery_mode = if options.mode == Mode::Confirms { 2 } else { 1 };
        let mut header = Writer::default();
        header.u16(60).u16(0).u64(options.size as u64).u16(1 << 12).u8(delivery_mode);
        message.extend(wire::channel_frame(wire::FRAME_HEADER, &header.0));

        let number_at = message.len() + 7;
        let body: Vec<u8> = (b'a'..=b'z').cycle().take(options.size).collect();
        for part in body.chunks(frame_max - 8) {
            message.extend(wire::channel_frame(wire::FRAME_BODY, part));
        }
        let messages = (BATCH_BYTES / message.len()).max(1);
        let (bytes, message_bytes) = (message.repeat(messages), message.len());
        let (queues, first) = (options.queues, options.first);
        Batch { bytes, messages: messages as u64, message_bytes, number_at, key_end, queues, first }
    }

    /// Writes the next numbers into the first `count` messages, and returns how many bytes these are.
    fn number(&mut self, published: u64, count: u64) -> usize {
        let first = self.first + published;
        for (message, number) in self.bytes.chunks_exact_mut(self.message_bytes).zip(first..first + count) {
            message[self.number_at..self.number_at + 8].copy_from_slice(&number.to_be_bytes());
            if self.queues > 1 {
                let mut queue = number % self.queues;
                for digit in message[self.key_end - QUEUE_DIGITS..self.key_end].iter_mut().rev() {
                    *digit = b'0' + (queue % 10) as u8;
                    queue /= 10;
                }
            }
        }
        self.message_bytes * count as usize
    }
}
