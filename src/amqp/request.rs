//! What a connection machine asks of its driver, and what it is answered. PURE.
//!
//! At most one request is outstanding, so an exception raised by a reply is in force before the next frame is read.

use super::exception::Exception;
use super::handshake::Credentials;
use super::method::{basic, exchange, queue};
use super::unacked::Delivered;
use crate::durability::SafeAt;
use crate::message::Message;
use crate::name::{ChannelId, ConsumerId, ConsumerTag, QueueId, QueueName, Sequence, VhostName};
use crate::queue::state::{ChannelCredit, Return};
use std::sync::Arc;

/// A publish, complete.
#[derive(Clone, Debug, PartialEq)]
pub struct Publish {
    /// The channel it came on.
    pub channel: ChannelId,
    /// Whether it is to be confirmed.
    pub confirm: bool,
    /// Whether it is to be returned when no queue takes it.
    pub mandatory: bool,
    /// The message.
    pub message: Arc<Message>,
    /// A fault the machine found, to be raised after the checks that RabbitMQ makes before it.
    pub refusal: Option<Exception>,
}

/// What becomes of settled messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Consumed.
    Ack,
    /// Refused and not wanted back.
    Discard,
    /// Back to its place in the queue.
    Requeue(Return),
}

/// Deliveries that share a disposition, the oldest first.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Settle {
    pub disposition: Disposition,
    pub deliveries: Vec<Delivered>,
}

/// What a closed channel leaves behind.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Release {
    pub channel: ChannelId,
    pub consumers: Vec<ConsumerId>,
    /// The oldest first.
    pub deliveries: Vec<Delivered>,
    /// Whether its direct reply-to consumer goes.
    pub had_replies: bool,
}

/// A consumer to be added.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Subscribe {
    pub channel: ChannelId,
    pub consume: basic::Consume,
    pub prefetch: u16,
    pub credit: Arc<ChannelCredit>,
}

/// A change or a question about exchanges, queues and bindings.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Topology {
    DeclareExchange(exchange::Declare),
    DeleteExchange(exchange::Delete),
    BindExchange(exchange::Bind),
    UnbindExchange(exchange::Unbind),
    DeclareQueue(queue::Declare),
    BindQueue(queue::Bind),
    UnbindQueue(queue::Unbind),
    PurgeQueue(queue::Purge),
    DeleteQueue(queue::Delete),
}

/// What the driver is to do.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Request {
    /// Check who it is. Answered by `Done` or `Failed`.
    Authenticate(Box<Credentials>),
    /// Enter the vhost. Answered by `Done` or `Failed`.
    Open(VhostName),
    /// Another channel. Answered by `Done` or `Failed`.
    OpenChannel,
    /// Check the new password. Answered by `Done` or `Failed`.
    UpdateSecret(Vec<u8>),
    /// Route and enqueue. Answered by `Published` or `Failed`.
    Publish(Publish),
    /// Check that it could be published, for a transaction. Answered by `Done` or `Failed`.
    CheckPublish(Publish),
    /// Answered by `Done`, `Queue`, `Count` or `Failed`.
    Topology(ChannelId, Box<Topology>),
    /// Answered by `Consuming` or `Failed`.
    Subscribe(Box<Subscribe>),
    /// Answered by `Consuming` with the address as the tag's sibling, or `Failed`.
    SubscribeReplies(ChannelId, ConsumerTag),
    /// Answered by `Done`, after all deliveries to the consumer are handed over.
    Unsubscribe(ChannelId, ConsumerId),
    /// Answered by `Done`.
    UnsubscribeReplies(ChannelId),
    /// Answered by `Got` or `Failed`.
    Get { channel: ChannelId, queue: QueueName, no_ack: bool },
    /// Answered by `Done`.
    Settle(Settle),
    /// Everything or nothing, also on disk. Answered by `Committed` or `Failed`.
    Commit { channel: ChannelId, publishes: Vec<Publish>, settles: Vec<Settle> },
    /// A channel's limit on unacked messages changed: these consumers may have credit now. Answered by `Done`.
    Resume(Vec<ConsumerId>),
    /// A channel is gone. Answered by `Done`.
    Release(Release),
}

/// What became of a publish.
#[derive(Clone, Debug, PartialEq)]
pub enum Published {
    /// It is where it has to be.
    Safe,
    /// It is safe then.
    SafeAt(SafeAt),
    /// No queue was reached: safe, but to be returned when it was mandatory.
    Unroutable(Arc<Message>),
    /// A queue refused it.
    Rejected,
}

/// A message taken by `basic.get`.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Got {
    pub queue: QueueId,
    pub sequence: Sequence,
    pub redelivered: bool,
    pub message: Arc<Message>,
    pub message_count: u32,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Reply {
    Done,
    Queue {
        name: QueueName,
        message_count: u32,
        consumer_count: u32,
    },
    Count(u32),
    Consuming {
        consumer: ConsumerId,
        tag: ConsumerTag,
        reply_address: Option<String>,
    },
    Got(Option<Got>),
    Published(Published),
    /// The mandatory messages that reached no queue, in the order of their publishing.
    Committed {
        unroutable: Vec<Arc<Message>>,
        /// How many others reached none.
        dropped: u64,
    },
    Failed(Exception),
}
