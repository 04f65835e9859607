//! What a machine asks for, carried out by the broker: the one place where AMQP's words become the broker's.

use super::Driver;
use crate::amqp::exception::Exception;
use crate::amqp::handshake::{self, Credentials};
use crate::amqp::method::{exchange, queue};
use crate::amqp::request::{
    Disposition, Got, Publish, Published, Release, Reply, Request, Settle, Subscribe, Topology,
};
use crate::amqp::unacked::Delivered;
use crate::broker::consume::{self, TransactionSettles};
use crate::broker::counters::LoginProtocol;
use crate::broker::declare::{DeclareExchange, DeclareQueue, DeleteIf};
use crate::broker::events::Actor;
use crate::broker::limits::Seat;
use crate::broker::{Durable, Error, Outcome, Session};
use crate::definition::{Binding, Destination};
use crate::durability::{Level, Point};
use crate::name::{
    BindingKey, ChannelId, ConsumerId, ConsumerTag, ExchangeName, Position, QueueId, QueueName, Sequence,
    VhostName,
};
use crate::queue::state::Return;
use crate::store::LARGE_BODY_BYTES;
use crate::telemetry::{self, Settled};
use crate::time;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// How far the journal's buffer may be ahead of the disk before a publisher has to wait, in bytes.
const JOURNAL_AHEAD_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Places in queues.
pub(super) type ByQueue = BTreeMap<QueueId, Vec<Sequence>>;

fn add_by_queue(by_queue: &mut ByQueue, deliveries: &[Delivered]) {
    for delivered in deliveries {
        by_queue.entry(delivered.queue).or_default().push(delivered.sequence);
    }
}

fn count(messages: usize) -> u32 {
    u32::try_from(messages).unwrap_or(u32::MAX)
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    /// Carries out a request. `None` where the machine is already told.
    pub(super) async fn execute(&mut self, request: Request) -> Option<Reply> {
        match request {
            Request::Publish(publish) => return Some(self.publish(publish).await),
            Request::Settle(settle) => {
                self.settle(&settle);
                return Some(Reply::Done);
            }
            _ => self.figures_are_stale = true,
        }
        let reply = match request {
            Request::Authenticate(credentials) => self.authenticate(&credentials),
            Request::Open(vhost) => return self.open(&vhost),
            Request::OpenChannel => self.open_channel(),
            Request::UpdateSecret(_) => self.update_secret(),
            Request::CheckPublish(publish) => self.check_publish(publish),
            Request::Topology(_, topology) => self.change_topology(*topology).await,
            Request::Subscribe(subscribe) => self.subscribe(*subscribe),
            Request::SubscribeReplies(channel, tag) => self.subscribe_replies(channel, tag),
            Request::Unsubscribe(_, consumer) => {
                self.unsubscribe(consumer);
                // What was on its way arrives before cancel-ok.
                self.drain_outbox();
                Ok(Reply::Done)
            }
            Request::UnsubscribeReplies(channel) => {
                self.forget_reply_addresses(channel);
                Ok(Reply::Done)
            }
            Request::Get { queue, no_ack, channel } => self.get(channel, &queue, no_ack).await,
            Request::Commit { publishes, settles, .. } => self.commit(&publishes, &settles).await,
            Request::Resume(consumers) => {
                self.has_shared_limits = true;
                consumers.iter().for_each(|consumer| self.broker.resume(*consumer, &mut self.wakes));
                Ok(Reply::Done)
            }
            Request::Release(release) => {
                self.release(&release);
                Ok(Reply::Done)
            }
            Request::Publish(_) | Request::Settle(_) => Ok(Reply::Done),
        };
        Some(reply.unwrap_or_else(Reply::Failed))
    }

    fn authenticate(&mut self, credentials: &Credentials) -> Result<Reply, Exception> {
        let is_loopback = self.ends.peer.ip().is_loopback();
        let (name, password) = match (credentials.mechanism.as_str(), &self.settings.anonymous) {
            (handshake::ANONYMOUS, None) => {
                return Err(handshake::login_refused(&credentials.mechanism));
            }
            (handshake::ANONYMOUS, Some(anonymous)) => (&anonymous.user, &anonymous.password),
            _ => (&credentials.user, &credentials.password),
        };
        let user = self.broker.log_in(name.as_str(), password, is_loopback);
        let address = self.ends.peer.ip();
        self.broker.counters.logins.count(LoginProtocol::Amqp, name.as_str(), address, user.is_ok());
        let key = if user.is_ok() { "user.authentication.success" } else { "user.authentication.failure" };
        let (peer, mechanism) = (self.ends.peer, &credentials.mechanism);
        self.broker.emit(key, &Actor::default(), |fields| {
            let fields = fields.text("name", name.as_str()).text("connection_type", "network");
            let fields = fields.text("protocol", "AMQP 0-9-1").text("auth_mechanism", mechanism);
            fields.text("peer_host", &peer.ip().to_string()).number("peer_port", peer.port().into())
        });
        self.user = Some(user.map_err(|_| handshake::login_refused(&credentials.mechanism))?);
        Ok(Reply::Done)
    }

    /// Answers by itself: the connection must be known before the client hears that it is open.
    fn open(&mut self, vhost: &VhostName) -> Option<Reply> {
        match self.enter(vhost) {
            Ok((seat, session)) => {
                self.seat = Some(seat);
                self.session = Some(session);
                self.machine.handle_reply(Reply::Done);
                self.register();
                // An alarm that cleared before the connection was known has told it nothing.
                self.machine.begin_input(time::unix_ms(), self.broker.alarms.reason());
                None
            }
            Err(error) => Some(Reply::Failed(error.into())),
        }
    }

    fn enter(&self, vhost: &VhostName) -> Result<(Seat, Session), Error> {
        let user = self.user.as_ref().ok_or(Error::LoginRefused)?;
        // RabbitMQ says that a limit is reached before it asks whether the user may enter.
        let seat = self.broker.seat(&user.name, vhost)?;
        Ok((seat, self.broker.enter(user, vhost, Some(self.outbox.connection))?))
    }

    fn open_channel(&mut self) -> Result<Reply, Exception> {
        let seat = self.seat.as_mut().ok_or(Error::LoginRefused)?;
        let opened = self.broker.open_channel(seat, self.machine.channel_count());
        opened.map(|()| Reply::Done).map_err(|error| Exception::from(error).of_no_method())
    }

    /// Users and passwords of our own don't expire, so the secret is not checked again (nor does RabbitMQ's internal
    /// backend); what the user may do now is.
    fn update_secret(&mut self) -> Result<Reply, Exception> {
        let session = self.session()?;
        let Some(user) = &self.user else { return Err(Error::LoginRefused.into()) };
        self.session = Some(self.broker.enter(user, &session.vhost.name, session.connection)?);
        Ok(Reply::Done)
    }

    fn session(&self) -> Result<&Session, Exception> {
        self.session.as_ref().ok_or_else(|| Error::LoginRefused.into())
    }

    async fn publish(&mut self, publish: Publish) -> Reply {
        let Some(session) = &mut self.session else { return Reply::Failed(Error::LoginRefused.into()) };
        let Publish { message, refusal, channel, confirm, mandatory } = publish;
        session.channel = channel;
        session.is_confirming = confirm;
        let is_large = message.body().len() > LARGE_BODY_BYTES;
        let reply = match self.broker.publish::<Exception>(session, &message, refusal, &mut self.wakes) {
            Ok(Outcome::Safe) => Reply::Published(Published::Safe),
            Ok(Outcome::SafeAt(at)) => Reply::Published(Published::SafeAt(at)),
            Ok(Outcome::Rejected) => Reply::Published(Published::Rejected),
            Ok(Outcome::Unroutable) => {
                self.broker.count_unroutable(session, &message.exchange, mandatory);
                return Reply::Published(Published::Unroutable(message));
            }
            Err(exception) => return Reply::Failed(exception),
        };
        if self.broker.services.dead_letters.are_behind() {
            self.wakes.flush();
            Box::pin(self.broker.services.dead_letters.wait()).await;
        }
        if let Some(point) = self.journal_limit(is_large) {
            self.wakes.flush();
            // A journal that failed ends the process: nothing is to be said here. Boxed, because it is rare and every
            // publish would carry its state.
            let _ = Box::pin(self.broker.store.wait(point)).await;
        }
        reply
    }

    /// What a publisher has to wait for. Publishers are slowed to what the disk takes: what is appended and not yet on disk
    /// is held in memory. That holds for transient messages, too: their queue may have let them leave memory for the
    /// journal. Large bodies that wait for the disk slow only those who publish such.
    fn journal_limit(&self, is_large: bool) -> Option<Point> {
        let level = if is_large { Level::Synced } else { Level::SyncedButLarge };
        let store = &self.broker.store;
        let appended = store.appended().0;
        let is_ahead = appended > store.reached(level).0 + JOURNAL_AHEAD_BYTES_MAX;
        is_ahead.then(|| level.at(Position(appended - JOURNAL_AHEAD_BYTES_MAX / 2)))
    }

    fn check_publish(&mut self, publish: Publish) -> Result<Reply, Exception> {
        let Some(session) = &mut self.session else { return Err(Error::LoginRefused.into()) };
        self.broker.check_publish(session, &publish.message, publish.refusal)?;
        Ok(Reply::Done)
    }

    fn settle(&mut self, settle: &Settle) {
        let first = settle.deliveries.first().map(|delivered| delivered.queue);
        let Some(first) = first else { return };
        if settle.deliveries.iter().all(|delivered| delivered.queue == first) {
            let sequences: smallvec::SmallVec<[Sequence; 64]> =
                settle.deliveries.iter().map(|delivered| delivered.sequence).collect();
            self.settle_in(first, &sequences, settle.disposition);
        } else {
            let mut by_queue = ByQueue::new();
            add_by_queue(&mut by_queue, &settle.deliveries);
            for (queue, sequences) in by_queue {
                self.settle_in(queue, &sequences, settle.disposition);
            }
        }
        self.resume_shared();
    }

    /// Something was settled: consumers of other queues may share the credit that came back.
    pub(super) fn resume_shared(&mut self) {
        if self.has_shared_limits {
            self.consumers.iter().for_each(|consumer| self.broker.resume(*consumer, &mut self.wakes));
        }
    }

    fn settle_in(&mut self, queue: QueueId, sequences: &[Sequence], disposition: Disposition) {
        self.outstanding.settled(&self.broker.tracer, queue, sequences, outcome(disposition));
        match disposition {
            Disposition::Ack => self.broker.ack(queue, sequences, &mut self.wakes),
            Disposition::Discard => self.broker.discard(queue, sequences, &mut self.wakes),
            Disposition::Requeue(how) => self.broker.requeue(queue, sequences, how, &mut self.wakes),
        }
    }

    fn subscribe(&mut self, subscribe: Subscribe) -> Result<Reply, Exception> {
        let Subscribe { channel, consume, prefetch, credit } = subscribe;
        self.check_consumers(channel)?;
        let subscribe = consume::Subscribe {
            queue: QueueName::new(consume.queue.as_str()),
            tag: ConsumerTag::new(consume.consumer_tag.as_str()),
            channel,
            outbox: Arc::clone(&self.outbox),
            no_ack: consume.no_ack,
            exclusive: consume.exclusive,
            prefetch,
            credit,
            arguments: consume.arguments,
        };
        let session = self.session.as_ref().ok_or(Error::LoginRefused)?;
        let (consumer, tag) = self.broker.subscribe(session, subscribe, &mut self.wakes)?;
        self.consumers.push(consumer);
        Ok(Reply::Consuming { consumer, tag, reply_address: None })
    }

    /// Whether a channel may have another consumer.
    fn check_consumers(&self, channel: ChannelId) -> Result<(), Exception> {
        let Some(limit) = self.settings.consumers_per_channel_max else { return Ok(()) };
        let figures = self.machine.channels().find(|(id, _)| *id == channel);
        match figures.is_some_and(|(_, figures)| figures.consumers as u64 >= limit) {
            true => Err(Error::TooManyConsumers(limit).into()),
            false => Ok(()),
        }
    }

    fn subscribe_replies(&mut self, channel: ChannelId, tag: ConsumerTag) -> Result<Reply, Exception> {
        self.check_consumers(channel)?;
        let (consumer, address) = self.broker.subscribe_replies(channel, &self.outbox)?;
        self.reply_addresses.push((channel, address.clone()));
        let tag = if tag.is_empty() { ConsumerTag::new(&format!("amq.ctag-{}", consumer.0)) } else { tag };
        Ok(Reply::Consuming { consumer, tag, reply_address: Some(address) })
    }

    pub(super) fn unsubscribe(&mut self, consumer: ConsumerId) {
        self.consumers.retain(|other| *other != consumer);
        self.broker.unsubscribe(consumer, &mut self.wakes);
    }

    fn forget_reply_addresses(&mut self, channel: ChannelId) {
        let gone = self.reply_addresses.extract_if(.., |(other, _)| *other == channel);
        gone.for_each(|(_, address)| self.broker.unsubscribe_replies(&address));
    }

    async fn get(&mut self, channel: ChannelId, name: &QueueName, no_ack: bool) -> Result<Reply, Exception> {
        let session = self.session.as_ref().ok_or(Error::LoginRefused)?;
        let got = self.broker.get(session, name, no_ack, &mut self.wakes).await?;
        if let Some((queue, taken)) = got.as_ref().filter(|_| session.vhost.is_traced()) {
            self.broker.trace_delivery(session, channel, *queue, &taken.message, taken.redelivered);
        }
        if let Some((queue, taken)) = &got
            && let Some(traced) = self.broker.tracer.trace(&taken.message)
        {
            let from = (!no_ack).then_some((*queue, taken.sequence));
            let (message, redelivered) = (Arc::clone(&taken.message), taken.redelivered);
            let delivered = telemetry::Delivered { traced, message, from, redelivered };
            self.outstanding.delivered(&self.broker.tracer, delivered);
        }
        Ok(Reply::Got(got.map(|(queue, taken)| Got {
            queue,
            sequence: taken.sequence,
            redelivered: taken.redelivered,
            message: taken.message,
            message_count: count(taken.ready_left),
        })))
    }

    async fn commit(&mut self, publishes: &[Publish], settles: &[Settle]) -> Result<Reply, Exception> {
        let messages: Vec<_> = publishes.iter().map(|publish| Arc::clone(&publish.message)).collect();
        let session = self.session.as_mut().ok_or(Error::LoginRefused)?;
        let committed = self.broker.commit(session, &messages, &by_disposition(settles), &mut self.wakes);
        for publish in committed.unroutable.iter().map(|index| &publishes[*index]) {
            self.broker.count_unroutable(session, &publish.message.exchange, publish.mandatory);
        }
        for settle in settles {
            for delivered in &settle.deliveries {
                let (queue, sequence) = (delivered.queue, [delivered.sequence]);
                self.outstanding.settled(&self.broker.tracer, queue, &sequence, outcome(settle.disposition));
            }
        }
        self.resume_shared();
        if let Some(safe_at) = committed.safe_at {
            self.wakes.flush();
            self.broker.store.wait_safe(safe_at).await.map_err(Error::from)?;
        }
        if committed.is_partial {
            return Err(Error::PartialTransaction.into());
        }
        let unroutable = committed.unroutable.into_iter().map(|index| &publishes[index]);
        let (returned, dropped): (Vec<_>, Vec<_>) = unroutable.partition(|publish| publish.mandatory);
        let unroutable = returned.iter().map(|publish| Arc::clone(&publish.message)).collect();
        Ok(Reply::Committed { unroutable, dropped: dropped.len() as u64 })
    }

    async fn change_topology(&mut self, topology: Topology) -> Result<Reply, Exception> {
        let broker = Arc::clone(&self.broker);
        let session = self.session.as_ref().ok_or(Error::LoginRefused)?;
        match topology {
            Topology::DeclareExchange(declare) => {
                let name = ExchangeName::new(declare.exchange.as_str());
                if declare.passive {
                    broker.check_exchange_exists(session, &name)?;
                } else {
                    let durable = broker.declare_exchange(session, declare_exchange(name, declare))?;
                    self.told(durable).await?;
                }
                Ok(Reply::Done)
            }
            Topology::DeleteExchange(delete) => {
                let name = ExchangeName::new(delete.exchange.as_str());
                let condition = DeleteIf { unused: delete.if_unused, empty: false };
                let durable = broker.delete_exchange(session, &name, condition)?;
                self.told(durable).await?;
                Ok(Reply::Done)
            }
            Topology::BindExchange(bind) => {
                let destination = Destination::Exchange(ExchangeName::new(bind.destination.as_str()));
                let binding =
                    binding(bind.source.as_str(), destination, bind.routing_key.as_str(), bind.arguments);
                let durable = broker.bind(session, binding, &mut self.wakes)?;
                self.told(durable).await?;
                Ok(Reply::Done)
            }
            Topology::UnbindExchange(unbind) => {
                let destination = Destination::Exchange(ExchangeName::new(unbind.destination.as_str()));
                let key = unbind.routing_key.as_str();
                let binding = binding(unbind.source.as_str(), destination, key, unbind.arguments);
                let durable = broker.unbind(session, &binding)?;
                self.told(durable).await?;
                Ok(Reply::Done)
            }
            Topology::BindQueue(bind) => {
                let destination = Destination::Queue(QueueName::new(bind.queue.as_str()));
                let binding =
                    binding(bind.exchange.as_str(), destination, bind.routing_key.as_str(), bind.arguments);
                let durable = broker.bind(session, binding, &mut self.wakes)?;
                self.told(durable).await?;
                Ok(Reply::Done)
            }
            Topology::UnbindQueue(unbind) => {
                let destination = Destination::Queue(QueueName::new(unbind.queue.as_str()));
                let key = unbind.routing_key.as_str();
                let binding = binding(unbind.exchange.as_str(), destination, key, unbind.arguments);
                let durable = broker.unbind(session, &binding)?;
                self.told(durable).await?;
                Ok(Reply::Done)
            }
            Topology::DeclareQueue(declare) => self.declare_queue(declare).await,
            Topology::PurgeQueue(purge) => {
                let name = QueueName::new(purge.queue.as_str());
                Ok(Reply::Count(count(broker.purge_queue(session, &name, &mut self.wakes)?)))
            }
            Topology::DeleteQueue(delete) => {
                let name = QueueName::new(delete.queue.as_str());
                let condition = DeleteIf { unused: delete.if_unused, empty: delete.if_empty };
                let deleted = broker.delete_queue(session, &name, condition, &mut self.wakes)?;
                Ok(Reply::Count(count(self.told(deleted).await?.unwrap_or(0))))
            }
        }
    }

    /// Waits until a result may be told. Whoever is to be woken is woken before: others rely on that wake, too.
    async fn told<T>(&mut self, durable: Durable<T>) -> Result<T, Error> {
        self.wakes.flush();
        self.broker.settled(durable).await
    }

    async fn declare_queue(&mut self, declare: queue::Declare) -> Result<Reply, Exception> {
        let session = self.session.as_ref().ok_or(Error::LoginRefused)?;
        let name = QueueName::new(declare.queue.as_str());
        let declared = if declare.passive {
            self.broker.check_queue_exists(session, &name)?
        } else {
            let declare = DeclareQueue {
                name,
                durable: declare.durable,
                exclusive: declare.exclusive,
                auto_delete: declare.auto_delete,
                arguments: declare.arguments,
            };
            let durable = self.broker.declare_queue(session, declare)?;
            self.told(durable).await?
        };
        let (message_count, consumer_count) = (count(declared.messages), count(declared.consumers));
        Ok(Reply::Queue { name: declared.name, message_count, consumer_count })
    }

    /// Gives back what a channel held: consumers first, so that nothing comes back to them; then everything it had and
    /// everything on its way to it, together, so that their order holds.
    pub(super) fn release(&mut self, release: &Release) {
        release.consumers.iter().for_each(|consumer| self.unsubscribe(*consumer));
        if release.had_replies {
            self.forget_reply_addresses(release.channel);
        }
        let mut orphans = self.handle_events();
        let mut failed = ByQueue::new();
        add_by_queue(&mut failed, &release.deliveries);
        for (queue, failed) in failed {
            let plain = orphans.remove(&queue).unwrap_or_default();
            self.broker.requeue_all(queue, &plain, &failed, &mut self.wakes);
        }
        self.requeue(orphans);
    }

    /// The connection is gone: carries out what its machine leaves behind.
    pub(super) fn release_on_leave(&mut self, request: Request) {
        match request {
            Request::Release(release) => self.release(&release),
            Request::Settle(settle) => self.settle(&settle),
            _ => {}
        }
    }
}

/// How a delivery ended, for its trace.
fn outcome(disposition: Disposition) -> Settled {
    match disposition {
        Disposition::Ack => Settled::Acked,
        Disposition::Discard => Settled::Discarded,
        Disposition::Requeue(_) => Settled::Requeued,
    }
}

/// A transaction's settles, sorted by what becomes of the messages.
fn by_disposition(settles: &[Settle]) -> TransactionSettles {
    let of = |disposition: Disposition| {
        let mut by_queue = ByQueue::new();
        let meant = settles.iter().filter(|settle| settle.disposition == disposition);
        meant.for_each(|settle| add_by_queue(&mut by_queue, &settle.deliveries));
        by_queue
    };
    let requeued = [Return::Plain, Return::Failed].into_iter().flat_map(|how| {
        of(Disposition::Requeue(how)).into_iter().map(move |(queue, sequences)| (queue, sequences, how))
    });
    TransactionSettles {
        requeued: requeued.collect(),
        gone: of(Disposition::Ack).into_iter().collect(),
        discarded: of(Disposition::Discard).into_iter().collect(),
    }
}

fn declare_exchange(name: ExchangeName, declare: exchange::Declare) -> DeclareExchange {
    DeclareExchange {
        name,
        kind: declare.kind.as_str().to_owned(),
        durable: declare.durable,
        auto_delete: declare.auto_delete,
        internal: declare.internal,
        arguments: declare.arguments,
    }
}

fn binding(source: &str, destination: Destination, key: &str, arguments: crate::arguments::Table) -> Binding {
    Binding { source: ExchangeName::new(source), destination, key: BindingKey::new(key), arguments }
}
