//! A channel: its methods, its consumers, its unacked deliveries, confirms or a transaction. PURE.
//!
//! ```text
//!   Open ── soft error: channel.close sent ──► Closing ── close-ok ──► (gone)
//!     └──── channel.close from the client: close-ok sent ────────────► (gone)
//! ```
//! Does not know the connection's other channels, nor whether what it asks for is allowed.

mod methods;

use super::confirms::{Awaited, Confirm, Confirms, Outcome};
use super::content::{Assembled, Content};
use super::exception::{Exception, ReplyCode};
use super::frame::Output;
use super::method::{Deliver, basic, queue, tx};
use super::request::{Disposition, Got, Publish, Published, Release, Reply, Request, Settle};
use super::unacked::{Delivered, Unacked, UnknownTag};
use crate::counts::ChannelCounts;
use crate::durability::Point;
use crate::event::Delivery;
use crate::message::{Message, Properties, flag};
use crate::name::{ChannelId, ConsumerId, ConsumerTag, DeliveryTag, QueueName};
use crate::queue::state::ChannelCredit;
use crate::time::Instant;
use amq_protocol::protocol::AMQPClass;
use std::sync::Arc;

/// The queue name that means direct reply-to (behaviour.md, 2.4).
pub const REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// What the client wants to hear of its publishes.
#[derive(Debug)]
enum Mode {
    Plain,
    Confirm(Confirms),
    Transaction(Transaction),
}

#[derive(Debug, Default)]
struct Transaction {
    publishes: Vec<Publish>,
    settles: Vec<Settle>,
}

/// A consumer of the channel.
#[derive(Debug)]
struct ConsumerEntry {
    id: ConsumerId,
    tag: ConsumerTag,
    no_ack: bool,
}

/// The direct reply-to consumer of the channel.
#[derive(Debug)]
struct Replies {
    id: ConsumerId,
    tag: ConsumerTag,
    address: String,
}

/// What the answer to the outstanding request will be turned into.
#[derive(Debug)]
pub(super) enum Awaiting {
    /// Nothing is said.
    Silence,
    /// This method, unless the client said no-wait.
    Ok(Box<AMQPClass>),
    DeclareOk {
        no_wait: bool,
    },
    PurgeOk {
        no_wait: bool,
    },
    DeleteOk {
        no_wait: bool,
    },
    ConsumeOk {
        no_wait: bool,
        no_ack: bool,
    },
    CancelOk {
        tag: ConsumerTag,
        no_wait: bool,
    },
    GetOk {
        no_ack: bool,
    },
    Published {
        mandatory: bool,
    },
    Checked(Box<Publish>),
    CommitOk,
    /// The channel is open.
    Open,
}

/// What a method leads to.
pub(super) type Step = Result<Option<(Request, Awaiting)>, Exception>;

/// A channel of a connection.
#[derive(Debug)]
pub struct Channel {
    id: ChannelId,
    frame_max: u32,
    pub(super) is_closing: bool,
    pub(super) content: Content,
    mode: Mode,
    unacked: Unacked,
    next_tag: u64,
    consumers: Vec<ConsumerEntry>,
    replies: Option<Replies>,
    last_queue: Option<QueueName>,
    prefetch: u16,
    credit: Arc<ChannelCredit>,
    confirms_scratch: Vec<Confirm>,
    /// But for what follows from tags: see [`Channel::counts`].
    counts: ChannelCounts,
}

/// Numbers for people who look at a channel from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ChannelFigures {
    pub consumers: usize,
    pub unacked: usize,
    pub unconfirmed: usize,
    pub uncommitted_messages: usize,
    pub uncommitted_acks: usize,
    pub prefetch: u16,
    pub global_prefetch: u32,
    pub is_confirm: bool,
    pub is_transactional: bool,
    pub counts: ChannelCounts,
}

fn precondition(text: impl Into<String>) -> Exception {
    Exception::new(ReplyCode::PreconditionFailed, text)
}

fn not_implemented(text: impl Into<String>) -> Exception {
    Exception::new(ReplyCode::NotImplemented, text)
}

impl Channel {
    pub(super) fn new(id: ChannelId, frame_max: u32) -> Self {
        Self {
            id,
            frame_max,
            is_closing: false,
            content: Content::default(),
            mode: Mode::Plain,
            unacked: Unacked::default(),
            next_tag: 1,
            consumers: Vec::new(),
            replies: None,
            last_queue: None,
            prefetch: 0,
            credit: Arc::default(),
            confirms_scratch: Vec::new(),
            counts: ChannelCounts::default(),
        }
    }

    /// How many publishes have not been answered.
    pub fn unconfirmed(&self) -> usize {
        match &self.mode {
            Mode::Confirm(confirms) => confirms.unconfirmed(),
            Mode::Plain | Mode::Transaction(_) => 0,
        }
    }

    /// Whether a consumer of this channel acks what it gets.
    pub fn acknowledges(&self, consumer: ConsumerId) -> bool {
        self.consumers.iter().any(|entry| entry.id == consumer && !entry.no_ack)
    }

    /// What went over it.
    pub fn counts(&self) -> ChannelCounts {
        let (to_confirm, confirmed) = match &self.mode {
            Mode::Confirm(confirms) => confirms.counts(),
            Mode::Plain | Mode::Transaction(_) => (0, 0),
        };
        // Every delivery and every message got has a tag.
        let others = self.counts.delivered + self.counts.got + self.counts.got_ack;
        ChannelCounts { to_confirm, confirmed, delivered_ack: self.next_tag - 1 - others, ..self.counts }
    }

    /// Numbers for people.
    pub fn figures(&self) -> ChannelFigures {
        let mut figures = ChannelFigures {
            consumers: self.consumers.len() + usize::from(self.replies.is_some()),
            unacked: self.unacked.len(),
            prefetch: self.prefetch,
            global_prefetch: self.credit.limit(),
            counts: self.counts(),
            ..ChannelFigures::default()
        };
        match &self.mode {
            Mode::Plain => {}
            Mode::Confirm(confirms) => {
                figures.is_confirm = true;
                figures.unconfirmed = confirms.unconfirmed();
            }
            Mode::Transaction(transaction) => {
                figures.is_transactional = true;
                figures.uncommitted_messages = transaction.publishes.len();
                figures.uncommitted_acks =
                    transaction.settles.iter().map(|settle| settle.deliveries.len()).sum();
            }
        }
        figures
    }

    /// An ack: the deliveries it settles are added to `into` unless a transaction keeps them.
    pub(super) fn ack(
        &mut self,
        tag: DeliveryTag,
        multiple: bool,
        into: &mut Vec<Delivered>,
    ) -> Result<(), Exception> {
        match &mut self.mode {
            Mode::Transaction(transaction) => {
                let mut deliveries = Vec::new();
                self.unacked.take(tag, multiple, &mut deliveries).map_err(unknown_tag)?;
                transaction.settles.push(Settle { disposition: Disposition::Ack, deliveries });
                Ok(())
            }
            _ => {
                let before = into.len();
                self.unacked.take(tag, multiple, into).map_err(unknown_tag)?;
                self.counts.acked += (into.len() - before) as u64;
                Ok(())
            }
        }
    }

    /// A publish whose content is all there.
    pub(super) fn publish(&mut self, assembled: Assembled) -> Step {
        let Assembled { mandatory, immediate, message } = assembled;
        self.counts.published += 1;
        if immediate {
            return Err(not_implemented("immediate=true"));
        }
        let confirm = matches!(self.mode, Mode::Confirm(_));
        let mut publish = Publish { channel: self.id, confirm, mandatory, message, refusal: None };
        if publish.message.property_flags() & flag::REPLY_TO != 0 {
            self.address_replies(&mut publish);
        }
        match self.mode {
            Mode::Transaction(_) => {
                Ok(Some((Request::CheckPublish(publish.clone()), Awaiting::Checked(Box::new(publish)))))
            }
            _ => Ok(Some((Request::Publish(publish), Awaiting::Published { mandatory }))),
        }
    }

    /// Replaces the reply-to pseudo queue by the address of this channel's reply consumer.
    fn address_replies(&self, publish: &mut Publish) {
        let properties = publish.message.properties();
        if properties.reply_to != Some(REPLY_TO.as_bytes()) {
            return;
        }
        let Some(replies) = &self.replies else {
            publish.refusal = Some(precondition("fast reply consumer does not exist"));
            return;
        };
        let addressed = Properties { reply_to: Some(replies.address.as_bytes()), ..properties };
        let mut raw = Vec::new();
        addressed.write(&mut raw);
        publish.message = Arc::new(publish.message.with_properties(&raw));
    }

    /// The answer to the outstanding request; deliveries that a failed commit took go back to the transaction's end.
    pub(super) fn handle_reply(&mut self, awaiting: Awaiting, reply: Reply, output: &mut Output) {
        match (awaiting, reply) {
            (Awaiting::Published { mandatory }, Reply::Published(published)) => {
                self.published(published, mandatory, output);
            }
            (Awaiting::Ok(ok), Reply::Done) => output.class(self.id, &ok),
            (Awaiting::Checked(publish), Reply::Done) => {
                if let Mode::Transaction(transaction) = &mut self.mode {
                    transaction.publishes.push(*publish);
                }
            }
            (Awaiting::DeclareOk { no_wait }, Reply::Queue { name, message_count, consumer_count }) => {
                self.last_queue = Some(name.clone());
                if !no_wait {
                    let queue = name.as_str().into();
                    let ok = queue::DeclareOk { queue, message_count, consumer_count };
                    output.class(self.id, &AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)));
                }
            }
            (Awaiting::PurgeOk { no_wait: false }, Reply::Count(message_count)) => {
                let ok = queue::AMQPMethod::PurgeOk(queue::PurgeOk { message_count });
                output.class(self.id, &AMQPClass::Queue(ok));
            }
            (Awaiting::DeleteOk { no_wait: false }, Reply::Count(message_count)) => {
                let ok = queue::AMQPMethod::DeleteOk(queue::DeleteOk { message_count });
                output.class(self.id, &AMQPClass::Queue(ok));
            }
            (Awaiting::ConsumeOk { no_wait, no_ack }, Reply::Consuming { consumer, tag, reply_address }) => {
                self.consuming(ConsumerEntry { id: consumer, tag, no_ack }, reply_address, no_wait, output);
            }
            (Awaiting::CancelOk { tag, no_wait }, Reply::Done) => self.cancel_ok(tag, no_wait, output),
            (Awaiting::GetOk { no_ack }, Reply::Got(got)) => self.got(got, no_ack, output),
            (Awaiting::CommitOk, Reply::Committed { unroutable, dropped }) => {
                unroutable.iter().for_each(|message| self.give_back(message, output));
                self.counts.returned += unroutable.len() as u64;
                self.counts.dropped += dropped;
                output.class(self.id, &AMQPClass::Tx(tx::AMQPMethod::CommitOk(tx::CommitOk {})));
            }
            _ => {}
        }
    }

    fn published(&mut self, published: Published, mandatory: bool, output: &mut Output) {
        let outcome = match published {
            Published::Safe => Outcome::Safe,
            Published::SafeAt(at) => Outcome::SafeAt(at),
            Published::Rejected => Outcome::Rejected,
            Published::Unroutable(message) => {
                if mandatory {
                    // RabbitMQ returns before it confirms, and the Java client relies on that order.
                    self.give_back(&message, output);
                    self.counts.returned += 1;
                } else {
                    self.counts.dropped += 1;
                }
                Outcome::Safe
            }
        };
        if let Mode::Confirm(confirms) = &mut self.mode {
            confirms.published(outcome);
        }
    }

    /// `basic.return`.
    fn give_back(&self, message: &Arc<Message>, output: &mut Output) {
        let code = ReplyCode::NoRoute;
        output.basic_return(
            self.id,
            code.code(),
            code.name(),
            message.exchange.as_str(),
            message.routing_key(),
        );
        output.content(self.id, message, self.frame_max);
    }

    fn consuming(
        &mut self,
        consumer: ConsumerEntry,
        reply_address: Option<String>,
        no_wait: bool,
        output: &mut Output,
    ) {
        if !no_wait {
            let ok = basic::ConsumeOk { consumer_tag: consumer.tag.as_str().into() };
            output.class(self.id, &AMQPClass::Basic(basic::AMQPMethod::ConsumeOk(ok)));
        }
        match reply_address {
            Some(address) => self.replies = Some(Replies { id: consumer.id, tag: consumer.tag, address }),
            None => self.consumers.push(consumer),
        }
    }

    fn got(&mut self, got: Option<Got>, no_ack: bool, output: &mut Output) {
        let Some(got) = got else {
            self.counts.got_empty += 1;
            let empty = basic::AMQPMethod::GetEmpty(basic::GetEmpty {});
            output.class(self.id, &AMQPClass::Basic(empty));
            return;
        };
        let tag = self.take_tag();
        self.counts.redelivered += u64::from(got.redelivered);
        *(if no_ack { &mut self.counts.got } else { &mut self.counts.got_ack }) += 1;
        if !no_ack {
            self.unacked.add(Delivered { tag, queue: got.queue, sequence: got.sequence, consumer: None });
        }
        let deliver = Deliver {
            consumer_tag: "",
            tag,
            redelivered: got.redelivered,
            exchange: got.message.exchange.as_str(),
            routing_key: got.message.routing_key(),
        };
        output.get_ok(self.id, &deliver, got.message_count);
        output.content(self.id, &got.message, self.frame_max);
    }

    fn take_tag(&mut self) -> DeliveryTag {
        let tag = DeliveryTag(self.next_tag);
        self.next_tag += 1;
        tag
    }

    /// Assigns the next delivery tag and writes the delivery; without no-ack it is unacked from now on.
    ///
    /// Tags start at 1 and grow by 1 per channel (AMQP 0-9-1, basic.deliver). Returns the delivery when its consumer is
    /// gone: it belongs back into its queue.
    pub(super) fn deliver(&mut self, delivery: Delivery, output: &mut Output) -> Result<(), Delivery> {
        if self.is_closing {
            return Err(delivery);
        }
        let entry = self.consumers.iter().find(|consumer| consumer.id == delivery.consumer);
        let (consumer_tag, no_ack) = match (entry, &self.replies) {
            (Some(entry), _) => (&entry.tag, entry.no_ack),
            (None, Some(replies)) if replies.id == delivery.consumer => (&replies.tag, true),
            _ => return Err(delivery),
        };
        let tag = DeliveryTag(self.next_tag);
        let deliver = Deliver {
            consumer_tag: consumer_tag.as_str(),
            tag,
            redelivered: delivery.redelivered,
            exchange: delivery.message.exchange.as_str(),
            routing_key: delivery.message.routing_key(),
        };
        output.deliver(self.id, &deliver);
        output.content(self.id, &delivery.message, self.frame_max);
        self.next_tag += 1;
        self.counts.delivered += u64::from(no_ack);
        self.counts.redelivered += u64::from(delivery.redelivered);
        if let (false, Some(source)) = (no_ack, delivery.source) {
            let (queue, sequence) = (source.queue, source.sequence);
            self.unacked.add(Delivered { tag, queue, sequence, consumer: Some(delivery.consumer) });
        }
        Ok(())
    }

    /// The broker ended a consumer. Says so when the client understands it.
    pub(super) fn consumer_cancelled(&mut self, consumer: ConsumerId, notify: bool, output: &mut Output) {
        let Some(at) = self.consumers.iter().position(|other| other.id == consumer) else { return };
        let entry = self.consumers.remove(at);
        if notify && !self.is_closing {
            let cancel = basic::Cancel { consumer_tag: entry.tag.as_str().into(), nowait: true };
            output.class(self.id, &AMQPClass::Basic(basic::AMQPMethod::Cancel(cancel)));
        }
    }

    /// Whether it is one of the channel's.
    pub(super) fn has_consumer(&self, consumer: ConsumerId) -> bool {
        self.consumers.iter().any(|other| other.id == consumer)
    }

    /// Takes what a consumer has unacked, the oldest first.
    pub(super) fn take_of(&mut self, consumer: ConsumerId) -> Vec<Delivered> {
        self.unacked.take_of(consumer)
    }

    /// The journal has come so far.
    pub(super) fn reached(&mut self, point: Point) {
        if let Mode::Confirm(confirms) = &mut self.mode {
            confirms.reached(point);
        }
    }

    /// Writes the confirms that are decided; what came since the last time was received at that time. Returns what the others
    /// wait for. When publishes were received that are answered now is added to `answered`, for one at a time.
    pub(super) fn flush_confirms(
        &mut self,
        received_at: Instant,
        answered: &mut Vec<Instant>,
        output: &mut Output,
    ) -> Awaited {
        let Mode::Confirm(confirms) = &mut self.mode else { return Awaited::default() };
        if self.is_closing {
            return Awaited::default();
        }
        confirms.watch(received_at);
        confirms.take(&mut self.confirms_scratch);
        answered.extend(confirms.take_watched());
        for confirm in self.confirms_scratch.drain(..) {
            match confirm {
                Confirm::Ack(tag, multiple) => output.ack(self.id, tag, multiple),
                Confirm::Nack(tag) => output.nack(self.id, tag),
            }
        }
        confirms.waits_for()
    }

    /// Takes what the channel leaves behind: it closes.
    pub(super) fn release(&mut self) -> Release {
        if let Mode::Transaction(transaction) = &mut self.mode {
            let settles = std::mem::take(transaction).settles.into_iter();
            self.unacked.restore(settles.flat_map(|settle| settle.deliveries).collect());
        }
        self.content.reset();
        Release {
            channel: self.id,
            consumers: self.consumers.drain(..).map(|consumer| consumer.id).collect(),
            deliveries: self.unacked.take_all(),
            had_replies: self.replies.take().is_some(),
        }
    }
}

fn unknown_tag(error: UnknownTag) -> Exception {
    precondition(format!("unknown delivery tag {}", error.0))
}
