//! What a queue machine is asked, and what it answers. PURE.

use super::{Consumer, ConsumerKey, Entry, Load, NewImage, Return, Wanted};
use crate::dead_letter::Reason;
use crate::message::Message;
use crate::name::{ConsumerId, Position, Sequence};
use crate::store::index::{ImageId, IndexEntry, PageSummary};
use std::sync::Arc;

/// What is asked of a queue.
#[derive(Debug)]
pub enum Command<'a> {
    /// Put a message at the place it reserved.
    Enqueue(Entry),
    /// The same, where the message's own record says already that it may have been delivered.
    EnqueueNoted(Entry),
    /// The message leaves as it comes, for this reason: the queue is full, and it is to be a dead letter.
    Bury(Entry, Reason),
    /// Give up a reserved place: the message goes elsewhere or nowhere.
    Release(Sequence),
    /// Add a consumer.
    Subscribe(Consumer),
    /// Remove a consumer; what it has unacked stays with its channel.
    Unsubscribe(ConsumerKey, ConsumerId),
    /// Take the first ready message, for `basic.get`.
    Get {
        /// Whether it will be settled later; otherwise it is settled now.
        acknowledges: bool,
    },
    /// Settle unacked messages for good.
    Ack(&'a [Sequence]),
    /// Unacked messages leave: their consumer does not want them back.
    Discard(&'a [Sequence]),
    /// Return unacked messages to their places.
    Requeue {
        /// Given back.
        plain: &'a [Sequence],
        /// Their consumers failed.
        failed: &'a [Sequence],
    },
    /// The consumer's connection takes no more for now.
    Block(ConsumerKey, ConsumerId),
    /// The consumer may take messages again: room in its outbox, credit on its channel.
    Resume(ConsumerKey, ConsumerId),
    /// Change how many the consumer may have unacked.
    SetPrefetch(ConsumerKey, ConsumerId, u32),
    /// Settle all messages that are ready, or came back and will be.
    Purge,
    /// Go on delivering: see [`State::has_more`].
    Continue,
    /// Nothing but what every command does first: see to what is due.
    Expire,
    /// Let messages leave until the queue is within its limits, in slices: see [`State::is_over`](super::State::is_over).
    Trim,
    /// Dead letters are safe elsewhere, or nobody wants them.
    Buried(&'a [Sequence]),
    /// The answer to [`Load::Bodies`].
    Loaded(Vec<(Wanted, Read)>),
    /// The answer to [`Load::Page`].
    PageLoaded {
        /// The priority level.
        level: u8,
        /// What was asked for.
        page: Box<PageSummary>,
        /// Its entries, in order.
        entries: Vec<IndexEntry>,
        /// Whether its image is damaged, and the entries are what the journal has of the durable ones.
        is_rebuilt: bool,
    },
    /// Pages that were read for somebody else, by level and first sequence, are not needed by them any more.
    PagesBack(&'a [(u8, Sequence)]),
    /// The answer to [`Effect::Note`].
    Noted(Sequence),
    /// The answer to all [`Effect::Note`] that will not come for now, because the disk takes nothing: deliveries go on
    /// without.
    NotedInVain,
    /// Let messages leave memory, the last to be delivered first, until so many bytes are free.
    Evict {
        /// How many bytes.
        bytes: u64,
    },
    /// The answer to [`Effect::Unstored`]: the message has a record now.
    Stored {
        /// The priority level.
        level: u8,
        /// Its place.
        sequence: Sequence,
        /// Where the record stands.
        position: Position,
        /// How long it is.
        record_bytes: u32,
    },
}

/// What came of reading a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Read {
    /// The message.
    Message(Arc<Message>),
    /// There is no such record where it should be.
    Lost,
}

/// What a command leads to, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Hand the message to the consumer.
    Deliver {
        /// Who gets it.
        consumer: ConsumerKey,
        /// Its place, for settling.
        sequence: Sequence,
        /// Whether it was delivered before.
        redelivered: bool,
        /// Whether a restart brings it back.
        is_durable: bool,
        /// How often it came back before.
        returns: u16,
        /// How often of these its consumer had failed.
        failures: u16,
        /// The message.
        message: Arc<Message>,
    },
    /// The answer to `Get`.
    Got {
        /// Its place, for settling.
        sequence: Sequence,
        /// Whether it was delivered before.
        redelivered: bool,
        /// Whether a restart brings it back.
        is_durable: bool,
        /// How often it came back before.
        returns: u16,
        /// How often of these its consumer had failed.
        failures: u16,
        /// The message.
        message: Arc<Message>,
    },
    /// The answer to `Get` when the message has to be read first: ask again when something was loaded.
    GetLater,
    /// The message is gone for good: its record may go, too.
    Settled(IndexEntry),
    /// The message left without being consumed. It is settled now, or it will be when it is moved.
    Left(IndexEntry, Reason),
    /// Dead letters are to be moved: see [`State::dead`](super::State::dead).
    DeadLetters,
    /// The consumer has had a message for longer than it may.
    TimedOut {
        /// Who.
        consumer: (ConsumerKey, ConsumerId),
        /// How long it may, in milliseconds.
        timeout_ms: u64,
    },
    /// The message cannot be read any more and is gone for good.
    Lost(IndexEntry),
    /// The message was delivered and came back.
    Returned(IndexEntry, Return),
    /// Messages below are about to be delivered: answer with [`Command::Noted`] once that is durable.
    Note(Sequence),
    /// A page of messages is gone for good: its image may go once its records were given back.
    PageSettled(Box<PageSummary>),
    /// Read this; the answer is a command.
    Load(Load),
    /// Keep this page's entries.
    WriteImage(NewImage),
    /// This image is not needed any more, as soon as a checkpoint says so.
    ForgetImage(ImageId),
    /// The message is to leave memory and has no record yet: answer with `Stored`.
    Unstored {
        /// The priority level.
        level: u8,
        /// Its place.
        sequence: Sequence,
        /// The message.
        message: Arc<Message>,
    },
    /// The answer to `Subscribe`.
    Subscribed(ConsumerKey),
    /// The last consumer of a queue that had one is gone.
    Unused,
}
