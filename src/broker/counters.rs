//! What the node has done since it started, and how long things took. Nothing here ever falls: what goes (a queue, a channel, a
//! connection) leaves its counts behind.
//!
//! What is counted for each message stays with its session ([`Tally`]) until a batch of input is over; what channels count
//! themselves is added up when people are told of the connection, once a second at most.

use super::connections::Traffic;
use crate::counts::ChannelCounts;
use crate::histogram::{Histogram, LATENCY_BOUNDS_US, RESIDENCE_BOUNDS_US, SIZE_BOUNDS};
use crate::queue::arguments::Kind;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// So many pairs of user and address are counted apart; attempts of others are counted in the totals only. Whoever tries names
/// chooses what is kept here.
const SOURCES_MAX: usize = 1_000;
/// Names are kept up to so many bytes.
const USER_BYTES_MAX: usize = 256;

/// What the node did since it started.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Counters {
    pub published: AtomicU64,
    /// Messages times the queues they were routed to.
    pub routed: AtomicU64,
    /// Messages that reached no queue and are gone.
    pub dropped: AtomicU64,
    /// Mandatory messages that reached no queue.
    pub returned: AtomicU64,
    pub connections_created: AtomicU64,
    pub connections_closed: AtomicU64,
    pub channels_created: AtomicU64,
    pub channels_closed: AtomicU64,
    pub queues_declared: AtomicU64,
    pub queues_created: AtomicU64,
    pub queues_deleted: AtomicU64,
    /// Body bytes of messages published.
    pub sizes: Histogram,
    /// From the reading of a publish to the writing of its confirm, in microseconds: one message at a time of each channel.
    pub confirm_times: Histogram,
    /// From the publishing of a message to its first delivery, in microseconds: one message of each batch.
    pub residence_times: Histogram,
    /// All channels, those that are closed among them.
    pub channels: Mutex<ChannelCounts>,
    /// What closed connections have received and sent.
    pub closed_traffic: ClosedTraffic,
    /// Dead letters that arrived, of queues that keep them until then, by [`Kind`].
    pub dead_letters_confirmed: [AtomicU64; Kind::ALL.len()],
    pub logins: Logins,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            published: AtomicU64::default(),
            routed: AtomicU64::default(),
            dropped: AtomicU64::default(),
            returned: AtomicU64::default(),
            connections_created: AtomicU64::default(),
            connections_closed: AtomicU64::default(),
            channels_created: AtomicU64::default(),
            channels_closed: AtomicU64::default(),
            queues_declared: AtomicU64::default(),
            queues_created: AtomicU64::default(),
            queues_deleted: AtomicU64::default(),
            sizes: Histogram::new(SIZE_BOUNDS),
            confirm_times: Histogram::new(LATENCY_BOUNDS_US),
            residence_times: Histogram::new(RESIDENCE_BOUNDS_US),
            channels: Mutex::default(),
            closed_traffic: ClosedTraffic::default(),
            dead_letters_confirmed: Default::default(),
            logins: Logins::default(),
        }
    }
}

/// What went over connections that are closed.
#[derive(Debug, Default)]
#[allow(missing_docs)]
pub struct ClosedTraffic {
    pub received_bytes: AtomicU64,
    pub received_reads: AtomicU64,
    pub sent_bytes: AtomicU64,
    pub sent_writes: AtomicU64,
}

impl ClosedTraffic {
    /// A connection is closed.
    pub(super) fn add(&self, traffic: &Traffic) {
        let add = |own: &AtomicU64, other: &AtomicU64| _ = own.fetch_add(other.load(Relaxed), Relaxed);
        add(&self.received_bytes, &traffic.received_bytes);
        add(&self.received_reads, &traffic.received_reads);
        add(&self.sent_bytes, &traffic.sent_bytes);
        add(&self.sent_writes, &traffic.sent_writes);
    }
}

/// What a session has published since the node was told. Whoever drives it tells it after each batch; what is left is told when
/// the session ends.
#[derive(Debug)]
pub(super) struct Tally {
    counters: Arc<Counters>,
    /// Messages of [`Tally::bytes`] one after the other: most publishers have one size.
    run: u64,
    bytes: usize,
    routed: u64,
}

impl Tally {
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        Self { counters, run: 0, bytes: 0, routed: 0 }
    }

    /// A message with so large a body was published.
    #[inline]
    pub(super) fn published(&mut self, body_bytes: usize) {
        if self.bytes != body_bytes {
            self.tell();
            self.bytes = body_bytes;
        }
        self.run += 1;
    }

    /// It goes to so many queues.
    #[inline]
    pub(super) fn routed(&mut self, queues: usize) {
        self.routed += queues as u64;
    }

    /// Tells the node.
    pub(super) fn tell(&mut self) {
        let (run, routed) = (std::mem::take(&mut self.run), std::mem::take(&mut self.routed));
        if run > 0 {
            self.counters.published.fetch_add(run, Relaxed);
            self.counters.sizes.record_many(self.bytes as u64, run);
        }
        if routed > 0 {
            self.counters.routed.fetch_add(routed, Relaxed);
        }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.tell();
    }
}

/// How one logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum LoginProtocol {
    Amqp,
    Http,
}

impl LoginProtocol {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Amqp, Self::Http];

    /// RabbitMQ's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amqp => "amqp091",
            Self::Http => "http",
        }
    }
}

/// How often somebody logged in, or tried to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Attempts {
    pub succeeded: u64,
    pub failed: u64,
}

impl Attempts {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.succeeded + self.failed
    }

    /// Those that came after `before`.
    fn since(self, before: Self) -> Self {
        Self { succeeded: self.succeeded - before.succeeded, failed: self.failed - before.failed }
    }

    fn count(&mut self, has_succeeded: bool) {
        *(if has_succeeded { &mut self.succeeded } else { &mut self.failed }) += 1;
    }
}

/// Whose attempts: how, as whom, from where.
pub type LoginSource = (LoginProtocol, String, IpAddr);

/// Who logged in, or tried to.
#[derive(Debug, Default)]
pub struct Logins {
    by_protocol: Mutex<[Attempts; LoginProtocol::ALL.len()]>,
    /// Those of them that an operator does not want to see any more.
    forgotten: Mutex<[Attempts; LoginProtocol::ALL.len()]>,
    by_source: Mutex<HashMap<LoginSource, Attempts>>,
}

impl Logins {
    /// Counts an attempt.
    pub fn count(&self, protocol: LoginProtocol, user: &str, address: IpAddr, has_succeeded: bool) {
        self.by_protocol.lock()[protocol as usize].count(has_succeeded);
        let end = user.floor_char_boundary(USER_BYTES_MAX);
        let source = (protocol, user[..end].to_owned(), address.to_canonical());
        let mut by_source = self.by_source.lock();
        if let Some(attempts) = by_source.get_mut(&source) {
            attempts.count(has_succeeded);
        } else if by_source.len() < SOURCES_MAX {
            by_source.entry(source).or_default().count(has_succeeded);
        }
    }

    /// By [`LoginProtocol`], since an operator last began anew.
    pub fn by_protocol_of_late(&self) -> [Attempts; LoginProtocol::ALL.len()] {
        let forgotten = *self.forgotten.lock();
        let all = self.by_protocol();
        std::array::from_fn(|place| all[place].since(forgotten[place]))
    }

    /// Begins anew for operators; the node's counters go on.
    pub fn forget(&self) {
        let all = self.by_protocol();
        *self.forgotten.lock() = all;
        self.by_source.lock().clear();
    }

    /// By [`LoginProtocol`].
    pub fn by_protocol(&self) -> [Attempts; LoginProtocol::ALL.len()] {
        *self.by_protocol.lock()
    }

    /// The first sources, in order.
    pub fn by_source(&self) -> Vec<(LoginSource, Attempts)> {
        let by_source = self.by_source.lock();
        let mut sources: Vec<_> =
            by_source.iter().map(|(source, attempts)| (source.clone(), *attempts)).collect();
        drop(by_source);
        sources.sort_by(|(one, _), (other, _)| one.cmp(other));
        sources
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn a_tally_tells_the_node_what_was_published_by_size_and_what_is_left_at_its_end() {
        let counters = Arc::new(Counters::default());
        let mut tally = Tally::new(Arc::clone(&counters));
        for bytes in [0, 50, 50, 2_000] {
            tally.published(bytes);
            tally.routed(2);
        }
        assert_eq!(counters.published.load(Relaxed), 3, "what was of another size is told");
        drop(tally);
        assert_eq!((counters.published.load(Relaxed), counters.routed.load(Relaxed)), (4, 8));
        let sizes = counters.sizes.snapshot();
        assert_eq!((sizes.counts[0], sizes.counts[2], sizes.sum), (3, 1, 2_100));
    }

    #[test]
    fn names_that_somebody_tries_fill_no_memory() {
        let logins = Logins::default();
        let long = "ü".repeat(1_000);
        for attempt in 0..2 * SOURCES_MAX {
            logins.count(
                LoginProtocol::Amqp,
                &format!("{attempt} {long}"),
                Ipv4Addr::LOCALHOST.into(),
                false,
            );
        }
        logins.count(LoginProtocol::Http, "guest", Ipv4Addr::LOCALHOST.into(), true);
        let sources = logins.by_source();
        assert_eq!(sources.len(), SOURCES_MAX);
        assert!(sources.iter().all(|((_, user, _), _)| user.len() <= USER_BYTES_MAX));
        let [amqp, http] = logins.by_protocol();
        assert_eq!((amqp.failed, amqp.total(), http.succeeded), (2_000, 2_000, 1));
    }
}
