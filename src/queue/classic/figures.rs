//! What people are shown of a queue.

use super::{Inner, Queue, Subscription};
use crate::name::ConsumerTag;

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
    pub acked: u64,
    /// Messages whose record could not be read any more.
    pub lost: u64,
    /// Messages that a full queue did not take.
    pub rejected: u64,
    /// Messages that had come before, and were not taken again.
    pub duplicates: u64,
    /// Messages that left without being consumed, by [`Reason`](crate::dead_letter::Reason).
    pub left: [u64; 4],
}

/// What a queue holds now, for people and for `declare-ok`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Figures {
    pub ready: usize,
    pub unacked: usize,
    pub ready_bytes: u64,
    pub unacked_bytes: u64,
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

    pub(super) fn figures_of(inner: &Inner) -> Figures {
        let (ready_bytes, unacked_bytes) = inner.state.body_bytes();
        Figures {
            ready: inner.state.ready_count(),
            unacked: inner.state.unacked_count(),
            ready_bytes,
            unacked_bytes,
            paged: inner.state.paged_count(),
            memory_bytes: inner.state.memory_bytes(),
            leaving: inner.state.leaving_count(),
            leaving_bytes: inner.state.leaving_bytes(),
            held: inner.state.held_count(),
            consumers: inner.state.consumer_count(),
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
