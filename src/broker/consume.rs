//! Consuming: subscribing, getting, settling; and the registry that finds a consumer's queue.

use super::declare::check_owner;
use super::error::{Error, Resource};
use super::events::Fields;
use super::replies::random_text;
use super::session::Session;
use super::{Broker, Committed, quorum};
use crate::arguments::{self, Table};
use crate::auth::permissions::Access;
use crate::name::{ChannelId, ConnectionId, ConsumerId, ConsumerTag, QueueId, QueueName, Sequence};
use crate::outbox::{Outbox, Wakes};
use crate::queue::arguments::no_integer;
use crate::queue::classic::{Get, Taken};
use crate::queue::state::{ChannelCredit, Consumer, ConsumerKey, Return};
use crate::queue::{Queue, Subscription};
use std::sync::Arc;

/// Where a consumer's messages come from.
#[derive(Clone, Debug)]
pub(super) struct Registered {
    queue: Arc<Queue>,
    key: ConsumerKey,
    tag: ConsumerTag,
    channel: ChannelId,
    connection: Option<ConnectionId>,
}

/// A consumer to be added; the empty tag asks for one made by the server.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Subscribe {
    pub queue: QueueName,
    pub tag: ConsumerTag,
    pub channel: ChannelId,
    pub outbox: Arc<Outbox>,
    pub no_ack: bool,
    pub exclusive: bool,
    pub prefetch: u16,
    pub credit: Arc<ChannelCredit>,
    pub arguments: Table,
}

/// A transaction's settled messages: those gone for good, those that leave as dead letters, and those that return to
/// their queues.
#[derive(Debug, Default)]
#[allow(missing_docs)]
pub struct TransactionSettles {
    pub gone: Vec<(QueueId, Vec<Sequence>)>,
    pub discarded: Vec<(QueueId, Vec<Sequence>)>,
    pub requeued: Vec<(QueueId, Vec<Sequence>, Return)>,
}

impl Broker {
    /// Adds a consumer; its first deliveries may be in the outbox when this returns.
    ///
    /// # Errors
    /// 403 refused or in exclusive use, 404, 405.
    pub fn subscribe(
        &self,
        session: &Session,
        subscribe: Subscribe,
        wakes: &mut Wakes,
    ) -> Result<(ConsumerId, ConsumerTag), Error> {
        let resource = session.queue(&subscribe.queue);
        session.check(Access::Read, resource.clone())?;
        let queue = self.find_queue(session, &subscribe.queue)?;
        check_owner(session, &resource, &queue)?;
        quorum::check_subscribe(&resource, &queue, subscribe.credit.limit() > 0)?;
        let tag = match subscribe.tag {
            tag if tag.is_empty() => ConsumerTag::new(&format!("amq.ctag-{}", random_text()?)),
            tag => tag,
        };
        let priority = priority(&subscribe.arguments, &resource)?;
        let consumer = Consumer {
            id: self.next_consumer_id(),
            priority,
            prefetch: subscribe.prefetch.into(),
            acknowledges: !subscribe.no_ack,
            // A quorum queue is nobody's alone.
            exclusive: subscribe.exclusive && !quorum::is(&queue.definition.kind),
            timeout_ms: timeout_ms(&subscribe.arguments, &resource)?,
            channel_credit: subscribe.credit,
        };
        let subscription = Subscription {
            id: consumer.id,
            tag: tag.clone(),
            channel: subscribe.channel,
            outbox: subscribe.outbox,
            acknowledges: consumer.acknowledges,
            exclusive: consumer.exclusive,
            prefetch: consumer.prefetch,
            arguments: subscribe.arguments,
        };
        let (id, channel) = (consumer.id, subscription.channel);
        let told = told(&queue, &subscription);
        match queue.subscribe(consumer, subscription, wakes) {
            Ok(Some(key)) => {
                self.emit("consumer.created", &session.into(), told);
                let connection = session.connection;
                let registered = Registered { queue, key, tag: tag.clone(), channel, connection };
                self.consumers.insert(id, registered);
                Ok((id, tag))
            }
            Ok(None) => Err(Error::NotFound(resource)),
            Err(_) => Err(Error::ExclusiveUse(resource)),
        }
    }

    /// Removes a consumer, and its queue if that was its last and it is auto-delete.
    pub fn unsubscribe(&self, consumer: ConsumerId, wakes: &mut Wakes) {
        let Some((_, gone)) = self.consumers.remove(&consumer) else { return };
        self.tell_gone(&gone);
        let Registered { queue, key, .. } = gone;
        if queue.unsubscribe(key, consumer, wakes) {
            self.delete_unused(&queue, wakes);
        }
    }

    /// Tells that a consumer is gone.
    pub(super) fn tell_gone(&self, gone: &Registered) {
        let connection = gone.connection.and_then(|id| self.connections.get(id));
        let actor = connection.map(|connection| connection.actor()).unwrap_or_default();
        self.emit("consumer.deleted", &actor, |fields| {
            let fields =
                fields.text("consumer_tag", gone.tag.as_str()).number("channel", gone.channel.0.into());
            fields.text("queue", gone.queue.name.as_str()).text("vhost", gone.queue.vhost.as_str())
        });
    }

    /// The consumer can take messages again: room in its outbox, or credit on its channel.
    pub fn resume(&self, consumer: ConsumerId, wakes: &mut Wakes) {
        let registered = self.consumers.get(&consumer).map(|registered| registered.clone());
        if let Some(Registered { queue, key, .. }) = registered {
            queue.resume(key, consumer, wakes);
        }
    }

    /// Takes the first ready message of a queue, which may have to be read from disk first.
    ///
    /// # Errors
    /// 403, 404, 405.
    pub async fn get(
        &self,
        session: &Session,
        name: &QueueName,
        no_ack: bool,
        wakes: &mut Wakes,
    ) -> Result<Option<(QueueId, Taken)>, Error> {
        let resource = session.queue(name);
        session.check(Access::Read, resource.clone())?;
        let queue = self.find_queue(session, name)?;
        check_owner(session, &resource, &queue)?;
        quorum::check_get(&resource, &queue)?;
        loop {
            let loaded = queue.loaded().notified();
            tokio::pin!(loaded);
            loaded.as_mut().enable();
            match queue.get(!no_ack, wakes) {
                Get::Message(taken) => return Ok(Some((queue.definition.id, taken))),
                Get::Empty => return Ok(None),
                Get::Later => {
                    wakes.flush();
                    loaded.await;
                }
            }
        }
    }

    /// Settles messages of a queue for good; a queue that is gone took them along.
    pub fn ack(&self, queue: QueueId, sequences: &[Sequence], wakes: &mut Wakes) {
        if let Some(queue) = self.queue(queue) {
            queue.ack(sequences, wakes);
        }
    }

    /// Messages leave their queue, which sends them to its dead-letter exchange if it has one.
    pub fn discard(&self, queue: QueueId, sequences: &[Sequence], wakes: &mut Wakes) {
        if let Some(queue) = self.queue(queue) {
            queue.discard(sequences, wakes);
        }
    }

    /// Returns messages to their places in a queue.
    pub fn requeue(&self, queue: QueueId, sequences: &[Sequence], how: Return, wakes: &mut Wakes) {
        match how {
            Return::Plain => self.requeue_all(queue, sequences, &[], wakes),
            Return::Failed => self.requeue_all(queue, &[], sequences, wakes),
        }
    }

    /// Returns messages to their places in a queue, together, so that their order holds: those that were given back, and
    /// those with which their consumers failed.
    pub fn requeue_all(&self, queue: QueueId, plain: &[Sequence], failed: &[Sequence], wakes: &mut Wakes) {
        if let Some(queue) = self.queue(queue) {
            queue.requeue(plain, failed, wakes);
        }
    }

    /// Commits a transaction.
    pub fn commit(
        &self,
        session: &mut Session,
        publishes: &[Arc<crate::message::Message>],
        settles: &TransactionSettles,
        wakes: &mut Wakes,
    ) -> Committed {
        let find =
            |(queue, sequences): &(QueueId, Vec<Sequence>)| Some((self.queue(*queue)?, sequences.clone()));
        let gone: Vec<_> = settles.gone.iter().filter_map(find).collect();
        let committed = self.commit_publishes(session, publishes, &gone, wakes);
        for (queue, sequences) in &settles.discarded {
            self.discard(*queue, sequences, wakes);
        }
        for (queue, sequences, how) in &settles.requeued {
            self.requeue(*queue, sequences, *how, wakes);
        }
        committed
    }
}

/// What an event says of a new consumer.
fn told(queue: &Queue, subscription: &Subscription) -> impl FnOnce(Fields) -> Fields + use<> {
    let (name, vhost) = (queue.name.clone(), queue.vhost.clone());
    let Subscription { tag, channel, acknowledges, exclusive, prefetch, arguments, .. } =
        subscription.clone();
    move |fields| {
        let fields = fields.text("consumer_tag", tag.as_str()).number("channel", channel.0.into());
        let fields = fields.text("queue", name.as_str()).text("vhost", vhost.as_str());
        let fields = fields.flag("ack_required", acknowledges).flag("exclusive", exclusive);
        fields.number("prefetch_count", prefetch.into()).table("arguments", &arguments)
    }
}

/// How long a consumer may take to settle a message, if it says so.
fn timeout_ms(arguments: &Table, resource: &Resource) -> Result<Option<u64>, Error> {
    let Some(value) = arguments::get(arguments, "x-consumer-timeout") else { return Ok(None) };
    let number = arguments::as_integer(value).and_then(|number| u64::try_from(number).ok());
    let invalid = || Error::InvalidArgument {
        argument: "x-consumer-timeout",
        resource: resource.clone(),
        reason: no_integer(value),
    };
    number.map(Some).ok_or_else(invalid)
}

/// A consumer's priority; 0 when it says none.
fn priority(arguments: &Table, resource: &Resource) -> Result<i32, Error> {
    let Some(value) = arguments::get(arguments, "x-priority") else { return Ok(0) };
    let number = arguments::as_integer(value).and_then(|number| i32::try_from(number).ok());
    number.ok_or_else(|| Error::InvalidArgument {
        argument: "x-priority",
        resource: resource.clone(),
        reason: no_integer(value),
    })
}
