//! Events: what reaches a connection from elsewhere in the node, through its outbox. PURE.

use crate::durability::Point;
use crate::message::Message;
use crate::name::{ChannelId, ConsumerId, QueueId, Sequence};
use std::sync::Arc;

/// A message on its way from a queue to a consumer.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// The consumer's channel in the connection.
    pub channel: ChannelId,
    /// Who gets it.
    pub consumer: ConsumerId,
    /// Where it came from; `None` for a reply that no queue ever held (direct reply-to).
    pub source: Option<Source>,
    /// Whether it was delivered before.
    pub redelivered: bool,
    /// The message.
    pub message: Arc<Message>,
}

/// A message's place in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Source {
    pub queue: QueueId,
    pub sequence: Sequence,
}

/// What reaches a connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A message for one of its consumers.
    Deliver(Delivery),
    /// The broker ended a consumer: its queue is gone.
    ConsumerCancelled {
        /// The consumer's channel.
        channel: ChannelId,
        /// The consumer.
        consumer: ConsumerId,
    },
    /// A consumer has had a message for longer than it may.
    ConsumerTimedOut {
        /// The consumer's channel.
        channel: ChannelId,
        /// The consumer.
        consumer: ConsumerId,
        /// How long it may, in milliseconds.
        timeout_ms: u64,
    },
    /// The journal has come so far.
    Reached(Point),
    /// An alarm went on: publishers are blocked, for this reason.
    Blocked(&'static str),
    /// The alarms are over.
    Unblocked,
    /// Close the connection with 320 CONNECTION_FORCED and this text.
    Close(String),
}

impl Event {
    /// What the event occupies while it waits, about, in bytes.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Event::Deliver(delivery) => delivery.message.memory_bytes(),
            _ => std::mem::size_of::<Self>(),
        }
    }
}
