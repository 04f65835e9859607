//! What people are shown of a queue.

use super::{Inner, Queue, Subscription};
use crate::dead_letter::{DeadLetters, Reason, Strategy};
use crate::message::Message;
use crate::name::ConsumerTag;
use crate::queue::arguments::Kind;
use crate::time::Millis;
use std::ops::AddAssign;
use std::sync::Arc;

/// What a queue has done since the node started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Counters {
    pub published: u64,
    pub delivered: u64,
    pub delivered_no_ack: u64,
    pub redelivered: u64,
    pub got: u64,
    pub got_no_ack: u64,
    /// How often there was nothing to get.
    pub got_empty: u64,
    pub acked: u64,
    /// Messages whose record could not be read any more.
    pub lost: u64,
    /// Messages that a full queue did not take.
    pub rejected: u64,
    /// Messages that had come before, and were not taken again.
    pub duplicates: u64,
    /// Messages that left without being consumed, by [`Fate`] and [`Reason`].
    pub left: [[u64; Reason::ALL.len()]; Fate::ALL.len()],
}

/// What becomes of messages that leave a queue without being consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// They are gone.
    Gone,
    /// They go to the dead-letter exchange, and may be lost on the way.
    AtMostOnce,
    /// They stay until they have arrived.
    AtLeastOnce,
}

impl Fate {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Gone, Self::AtMostOnce, Self::AtLeastOnce];

    /// Of a queue with such a dead-letter exchange, or none.
    pub(super) fn of(to: Option<&DeadLetters>) -> Self {
        match to.map(|to| to.strategy) {
            None => Self::Gone,
            Some(Strategy::AtMostOnce) => Self::AtMostOnce,
            Some(Strategy::AtLeastOnce) => Self::AtLeastOnce,
        }
    }
}

impl AddAssign<&Counters> for Counters {
    fn add_assign(&mut self, other: &Counters) {
        self.published += other.published;
        self.delivered += other.delivered;
        self.delivered_no_ack += other.delivered_no_ack;
        self.redelivered += other.redelivered;
        self.got += other.got;
        self.got_no_ack += other.got_no_ack;
        self.got_empty += other.got_empty;
        self.acked += other.acked;
        self.lost += other.lost;
        self.rejected += other.rejected;
        self.duplicates += other.duplicates;
        let left = self.left.iter_mut().flatten().zip(other.left.iter().flatten());
        left.for_each(|(own, other)| *own += other);
    }
}

/// What a queue holds now, for people and for `declare-ok`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Figures {
    pub ready: usize,
    pub unacked: usize,
    pub ready_bytes: u64,
    pub unacked_bytes: u64,
    /// Ready and unacked messages that a restart brings back.
    pub durable: u64,
    pub durable_bytes: u64,
    /// Ready messages that are on disk only.
    pub paged: usize,
    /// What messages take of memory, about.
    pub memory_bytes: u64,
    /// Dead letters on their way.
    pub leaving: usize,
    pub leaving_bytes: u64,
    /// Messages that came back and are not ready yet.
    pub held: usize,
    pub consumers: usize,
    /// Whether a message that came now would be delivered at once.
    pub can_deliver: bool,
    /// When the queue goes, if nobody uses it until then.
    pub lease_until: Option<crate::time::Millis>,
    pub counters: Counters,
}

impl Figures {
    /// Messages that are neither ready nor unacked: dead letters on their way, and those that came back and wait.
    pub fn aside(&self) -> usize {
        self.leaving + self.held
    }
}

/// What a queue would deliver next.
#[derive(Clone, Debug, Default)]
pub struct Front {
    /// The next message; none if there is none in memory.
    pub next: Option<Arc<Message>>,
    /// When the oldest of the next messages of all priorities was published.
    pub oldest: Option<Millis>,
}

/// Whether a consumer gets messages, in RabbitMQ's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// As all of its queue do.
    Up,
    /// It alone of its queue.
    SingleActive,
    /// It waits until the active one is gone.
    Waiting,
}

impl Activity {
    /// Whether it gets messages.
    pub fn is_active(self) -> bool {
        self != Self::Waiting
    }

    /// As `activity_status` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::SingleActive => "single_active",
            Self::Waiting => "waiting",
        }
    }
}

/// The consumers of a queue that have it for themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SoleConsumers {
    /// It said so.
    pub exclusive: Option<ConsumerTag>,
    /// The queue serves one at a time.
    pub single_active: Option<ConsumerTag>,
}

impl Queue {
    /// What it holds now.
    pub fn figures(&self) -> Figures {
        Self::figures_of(&self.inner.lock())
    }

    /// What it holds now, and its next messages as far as they are in memory; nothing once it is deleted, because then the node
    /// has its counters.
    pub fn figures_and_front(&self) -> Option<(Figures, Front)> {
        let inner = self.inner.lock();
        if inner.is_deleted {
            return None;
        }
        let oldest = inner.state.fronts().map(|message| message.received_at).min();
        let front = Front { next: inner.state.fronts().next().cloned(), oldest };
        Some((Self::figures_of(&inner), front))
    }

    /// Its type.
    pub fn kind(&self) -> Kind {
        if self.keeps_all { Kind::Quorum } else { Kind::Classic }
    }

    pub(super) fn figures_of(inner: &Inner) -> Figures {
        let (ready, unacked) = inner.state.tallies();
        Figures {
            ready: inner.state.ready_count(),
            unacked: inner.state.unacked_count(),
            ready_bytes: ready.bytes,
            unacked_bytes: unacked.bytes,
            durable: ready.durable + unacked.durable,
            durable_bytes: ready.durable_bytes + unacked.durable_bytes,
            paged: inner.state.paged_count(),
            memory_bytes: inner.state.memory_bytes(),
            leaving: inner.state.leaving_count(),
            leaving_bytes: inner.state.leaving_bytes(),
            held: inner.state.held_count(),
            consumers: inner.state.consumer_count(),
            can_deliver: inner.state.can_deliver(),
            lease_until: inner.lease_until,
            counters: inner.counters,
        }
    }

    /// What its publisher dated the next message, in seconds since 1970; none where it did not or the message is on disk only.
    pub fn head_timestamp(&self) -> Option<u64> {
        let head = self.inner.lock().state.head().cloned();
        head.and_then(|message| message.properties().timestamp)
    }

    /// How long its consumers may take to settle a message, in milliseconds, unless one says less.
    pub fn consumer_timeout_ms(&self) -> Option<u64> {
        self.inner.lock().state.consumer_timeout_ms()
    }

    /// Its consumers, and whether they get messages.
    pub fn subscriptions(&self) -> Vec<(Subscription, Activity)> {
        let inner = self.inner.lock();
        let subscriptions = inner.subscriptions.iter().flatten();
        subscriptions.map(|subscription| (subscription.clone(), inner.activity(subscription))).collect()
    }

    /// Its consumers that have it for themselves.
    pub fn sole_consumers(&self) -> SoleConsumers {
        let inner = self.inner.lock();
        let tag = |is_it: &dyn Fn(&Subscription) -> bool| {
            inner.subscriptions.iter().flatten().find(|other| is_it(other)).map(|other| other.tag.clone())
        };
        SoleConsumers {
            exclusive: tag(&|other| other.exclusive),
            single_active: tag(&|other| inner.activity(other) == Activity::SingleActive),
        }
    }
}

impl Inner {
    fn activity(&self, subscription: &Subscription) -> Activity {
        match self.state.active_consumer() {
            None => Activity::Up,
            Some(active) if active == subscription.id => Activity::SingleActive,
            Some(_) => Activity::Waiting,
        }
    }
}
