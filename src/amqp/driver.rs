//! The driver of a connection: owns its socket, carries out what its machine asks, writes what it says. Start reading
//! at [`run`].
//!
//! One task per connection. A turn of its loop: wait for bytes, events or a deadline; feed the machine; hand over the
//! events; flush confirms; wake the connections that got something; write.

mod execute;
mod give_way;
mod socket;

use super::confirms::Awaited;
use super::connection::Connection;
use super::handshake::{self, Limits};
use super::heartbeat::{Due, Heartbeat};
use super::request::Release;
use crate::auth::User;
use crate::broker::connections::{Channel, Opened, Traffic};
use crate::broker::limits::Seat;
use crate::broker::{self, Broker, Session};
use crate::counts::ChannelCounts;
use crate::event::{Delivery, Event};
use crate::name::ConsumerId;
use crate::name::UserName;
use crate::outbox::{Outbox, Wakes};
use crate::queue::state::Return;
use crate::telemetry::{self, Outstanding};
use crate::time::{self, Duration, Instant};
use give_way::{GiveWay, Turn};
use socket::{Socket, Wants};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::{debug, info};

/// Above this many bytes not yet written, events stay in the outbox and nothing more is read.
const OUTPUT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// So much is written before more is encoded.
const WRITE_BYTES: usize = 128 * 1024;
/// How long a client that cannot be told of its refused login is left waiting (RabbitMQ: 3 s), against guessing.
const REFUSED_LOGIN_DELAY: Duration = Duration::from_secs(3);
/// How old the figures shown of a busy connection may be.
const FIGURES_INTERVAL: Duration = Duration::from_secs(1);

/// What all AMQP connections of a node share.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Settings {
    pub limits: Limits,
    pub handshake_timeout: Duration,
    /// As `connection.start` has them.
    pub mechanisms: Arc<str>,
    /// Who logs in with ANONYMOUS; none = nobody.
    pub anonymous: Option<Anonymous>,
    /// None = any number.
    pub consumers_per_channel_max: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            handshake_timeout: Duration::from_secs(10),
            mechanisms: handshake::MECHANISMS.into(),
            anonymous: None,
            consumers_per_channel_max: None,
        }
    }
}

/// A user whom clients need not name.
#[derive(Clone)]
#[allow(missing_docs)]
pub struct Anonymous {
    pub user: UserName,
    pub password: Vec<u8>,
}

impl std::fmt::Debug for Anonymous {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Anonymous({:?})", self.user)
    }
}

/// Both ends of a connection's socket.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Ends {
    pub peer: SocketAddr,
    pub local: SocketAddr,
}

/// Serves a connection until it ends, and leaves nothing of it behind.
pub async fn run<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    ends: Ends,
    settings: Settings,
    broker: Arc<Broker>,
) {
    let mut driver = Driver::new(stream, ends, settings, broker);
    let outcome = driver.serve().await;
    driver.leave();
    match outcome {
        Ok(()) => info!(peer = %ends.peer, "connection closed"),
        Err(error) => info!(peer = %ends.peer, %error, "connection lost"),
    }
    driver.socket.finish(driver.machine.output()).await;
}

struct Driver<S> {
    socket: Socket<S>,
    machine: Connection,
    broker: Arc<Broker>,
    ends: Ends,
    settings: Settings,
    outbox: Arc<Outbox>,
    wakes: Wakes,
    /// Events taken from the outbox; empty between turns.
    events: VecDeque<Event>,
    user: Option<User>,
    session: Option<Session>,
    /// Its place among the connections of its vhost and user.
    seat: Option<Seat>,
    entry: Option<Arc<broker::connections::Connection>>,
    traffic: Arc<Traffic>,
    heartbeat: Option<Heartbeat>,
    /// The handshake must be over, or the close answered, by then.
    patience: Option<Instant>,
    consumers: Vec<ConsumerId>,
    /// Reply addresses, by channel.
    reply_addresses: Vec<(crate::name::ChannelId, String)>,
    /// What consumers had that took too long.
    timed_out: Vec<Release>,
    /// The outbox was full: its consumers wait for room.
    has_starved: bool,
    /// The outbox of a consumer to which it gives way.
    ahead_of: Option<(Arc<Outbox>, GiveWay)>,
    /// A channel limits its consumers together: settling in one queue may make room in another.
    has_shared_limits: bool,
    /// The journal position whose sync the outbox will be told of.
    awaited: Awaited,
    figures_at: Option<Instant>,
    /// Something changed that is to be seen at once.
    figures_are_stale: bool,
    /// Something may have changed since they were refreshed.
    figures_are_due: bool,
    /// Traced messages that the client has.
    outstanding: Outstanding,
    /// Channels opened and closed, as far as the node's counters know.
    churn: (u64, u64),
    /// What went over its channels, as far as the node's counters know.
    counts: ChannelCounts,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    fn new(stream: S, ends: Ends, settings: Settings, broker: Arc<Broker>) -> Self {
        let outbox = Arc::new(Outbox::new(broker.next_connection_id()));
        let traffic = Arc::new(Traffic::default());
        let now = time::now();
        Self {
            socket: Socket::new(stream, Arc::clone(&traffic)),
            machine: Connection::new(settings.limits, broker.cluster_name())
                .with_mechanisms(Arc::clone(&settings.mechanisms)),
            broker,
            ends,
            patience: Some(now + settings.handshake_timeout),
            settings,
            outbox,
            wakes: Wakes::default(),
            events: VecDeque::new(),
            user: None,
            session: None,
            seat: None,
            entry: None,
            traffic,
            heartbeat: None,
            consumers: Vec::new(),
            reply_addresses: Vec::new(),
            timed_out: Vec::new(),
            has_starved: false,
            ahead_of: None,
            has_shared_limits: false,
            awaited: Awaited::default(),
            figures_at: None,
            figures_are_stale: false,
            figures_are_due: false,
            outstanding: Outstanding::default(),
            churn: (0, 0),
            counts: ChannelCounts::default(),
        }
    }

    /// The loop. `Ok` when the connection was closed by the rules.
    async fn serve(&mut self) -> io::Result<()> {
        loop {
            let now = time::now();
            self.mind_time(now)?;
            let batch = self.broker.store.batch();
            self.handle_input().await;
            let was_blocked = self.machine.is_blocked();
            self.hand_over_events().await;
            if self.machine.is_closing() {
                // Whoever waits for what it held need not wait for its close-ok; and nothing more is queued up for it.
                self.release_all();
            }
            self.flush_confirms(now);
            drop(batch);
            self.wakes.flush();
            self.tell_counts();
            self.refresh_figures(now);
            if self.machine.is_closed() {
                if self.machine.is_to_be_dropped() {
                    self.socket.ignore_until(time::now() + REFUSED_LOGIN_DELAY).await;
                }
                return Ok(());
            }
            if was_blocked && !self.machine.is_blocked() {
                // What came while it was blocked is in the buffer: no byte may follow to wake us for it.
                continue;
            }
            let way_given_until = self.give_way();
            let may_read = !self.machine.is_blocked()
                && way_given_until.is_none()
                && self.machine.output().len() < OUTPUT_BYTES_MAX;
            let wants = Wants { to_read: may_read, to_know_when_written: !may_read || self.has_starved };
            let deadline = self.next_deadline().into_iter().chain(way_given_until).min();
            let done = self.socket.wait(self.machine.output(), &self.outbox, wants, deadline).await?;
            let now = time::now();
            if let Some(heartbeat) = &mut self.heartbeat {
                if done.received || !may_read {
                    heartbeat.received(now);
                }
                if done.sent {
                    heartbeat.sent(now);
                }
            }
        }
    }

    /// Until when nothing is read, because a consumer that was to get what came is behind.
    fn give_way(&mut self) -> Option<Instant> {
        if let Some(filled) = self.wakes.take_filled().filter(|filled| !Arc::ptr_eq(filled, &self.outbox)) {
            let give_way = filled.behind(None).map(|rounds| GiveWay::new(rounds, time::now()));
            self.ahead_of = give_way.map(|give_way| (filled, give_way));
        }
        let (filled, give_way) = self.ahead_of.as_mut()?;
        let waiter = give_way.is_to_be_listed().then_some(&self.outbox);
        match give_way.turn(filled.behind(waiter), time::now()) {
            Turn::Wait(until) => return Some(until),
            Turn::Read => {}
            Turn::Over => self.ahead_of = None,
        }
        None
    }

    /// Heartbeats, and patience with a peer that does not say what it has to.
    fn mind_time(&mut self, now: Instant) -> io::Result<()> {
        match self.heartbeat.map_or(Due::Nothing, |heartbeat| heartbeat.due(now)) {
            Due::Nothing => {}
            Due::Send => {
                self.machine.output().heartbeat();
                self.socket.rest();
                if let Some(heartbeat) = &mut self.heartbeat {
                    heartbeat.sent(now);
                }
            }
            Due::PeerIsGone => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "missed heartbeats from client"));
            }
        }
        if self.machine.is_closing() {
            let until = now + self.settings.handshake_timeout;
            self.patience = Some(self.patience.map_or(until, |patience| patience.min(until)));
        } else if self.machine.is_past_handshake() {
            self.patience = None;
        }
        if self.patience.is_some_and(|patience| patience <= now) {
            let what = if self.machine.is_closing() { "close was not answered" } else { "handshake timeout" };
            return Err(io::Error::new(io::ErrorKind::TimedOut, what));
        }
        Ok(())
    }

    fn next_deadline(&self) -> Option<Instant> {
        let heartbeat = self.heartbeat.map(|heartbeat| heartbeat.next_deadline());
        let figures = self.figures_at.filter(|_| self.figures_are_due).map(|at| at + FIGURES_INTERVAL);
        [heartbeat, self.patience, figures].into_iter().flatten().min()
    }

    /// Feeds the machine what was read, and answers what it asks.
    async fn handle_input(&mut self) {
        self.machine.begin_input(time::unix_ms(), self.broker.alarms.reason());
        loop {
            let mut rest = self.socket.input();
            let before = rest.len();
            let request = self.machine.next_request(&mut rest);
            let read = before - rest.len();
            self.socket.consume(read);
            let Some(request) = request else { return };
            if let Some(reply) = self.execute(request).await {
                self.machine.handle_reply(reply);
            }
            if self.machine.output().len() > OUTPUT_BYTES_MAX {
                return;
            }
        }
    }

    /// Hands what came through the outbox to the machine, unless the client does not read what it gets.
    async fn hand_over_events(&mut self) {
        if self.machine.output().len() < OUTPUT_BYTES_MAX || self.outbox.has_close() {
            let mut orphans = execute::ByQueue::new();
            let mut events = self.take_events();
            self.note_residence(&events);
            // Written while it is in the processor's cache, and before the buffer grows.
            let mut may_write = true;
            for event in events.drain(..) {
                self.handle_event(event, &mut orphans);
                if may_write && self.machine.output().len() >= WRITE_BYTES {
                    may_write = self.socket.write_now(self.machine.output()).await;
                }
            }
            self.events = events;
            self.requeue(orphans);
            for release in std::mem::take(&mut self.timed_out) {
                self.release(&release);
            }
        }
        if self.has_starved && self.machine.output().len() < OUTPUT_BYTES_MAX / 2 {
            self.has_starved = false;
            let giving_way = self.outbox.caught_up();
            for consumer in &self.consumers {
                self.broker.resume(*consumer, &mut self.wakes);
            }
            giving_way.iter().for_each(|publisher| publisher.wake());
        }
    }

    /// Hands over everything, whatever the client reads.
    fn drain_outbox(&mut self) {
        let orphans = self.handle_events();
        self.requeue(orphans);
    }

    fn requeue(&mut self, orphans: execute::ByQueue) {
        for (queue, sequences) in orphans {
            self.broker.requeue(queue, &sequences, Return::Plain, &mut self.wakes);
        }
    }

    /// Handles all events; returns the deliveries whose consumers are gone, by queue.
    fn handle_events(&mut self) -> execute::ByQueue {
        let mut orphans = execute::ByQueue::new();
        let mut events = self.take_events();
        events.drain(..).for_each(|event| self.handle_event(event, &mut orphans));
        self.events = events;
        orphans
    }

    /// All events, in a buffer that is to be given back empty.
    fn take_events(&mut self) -> VecDeque<Event> {
        let mut events = std::mem::take(&mut self.events);
        self.has_starved |= self.outbox.drain(&mut events);
        events
    }

    fn handle_event(&mut self, event: Event, orphans: &mut execute::ByQueue) {
        if let Event::ConsumerTimedOut { channel, consumer, timeout_ms } = event {
            if let Some(release) = self.machine.consumer_timed_out(channel, consumer, timeout_ms) {
                self.timed_out.push(release);
            }
            return;
        }
        if let Event::ConsumerCancelled { consumer, .. } = event {
            self.unsubscribe(consumer);
            self.resume_shared();
        }
        if let (Event::Deliver(delivery), Some(session)) = (&event, &self.session)
            && session.vhost.is_traced()
            && let Some(source) = delivery.source
        {
            let Delivery { channel, redelivered, message, .. } = delivery;
            self.broker.trace_delivery(session, *channel, source.queue, message, *redelivered);
        }
        let traced = if let Event::Deliver(delivery) = &event { self.trace(delivery) } else { None };
        let is_blocked_before = self.machine.is_blocked();
        match self.machine.handle_event(event) {
            Ok(()) => {
                if let Some(delivered) = traced {
                    self.outstanding.delivered(&self.broker.tracer, delivered);
                }
            }
            Err(delivery) => {
                if let Some(source) = delivery.source {
                    orphans.entry(source.queue).or_default().push(source.sequence);
                }
            }
        }
        if is_blocked_before != self.machine.is_blocked() {
            self.figures_are_stale = true;
        }
    }

    /// What is to be told of a delivery if its message is traced.
    fn trace(&self, delivery: &Delivery) -> Option<telemetry::Delivered> {
        let traced = self.broker.tracer.trace(&delivery.message)?;
        let is_acked_later = self.machine.acknowledges(delivery.channel, delivery.consumer);
        Some(telemetry::Delivered {
            traced,
            message: Arc::clone(&delivery.message),
            from: delivery.source.map(|source| (source.queue, source.sequence)).filter(|_| is_acked_later),
            redelivered: delivery.redelivered,
        })
    }

    fn flush_confirms(&mut self, received_at: Instant) {
        let awaited = self.machine.flush_confirms(received_at);
        for point in awaited.beyond(&self.awaited) {
            if self.machine.unconfirmed() == 1 {
                // Its publisher has nothing else to do, probably; its consumers may have.
                self.wakes.flush();
                self.broker.store.commit_here(point);
            }
            self.broker.store.notify(point, awaited.within, Arc::clone(&self.outbox) as _);
        }
        self.awaited = self.awaited.and(&awaited);
    }

    /// The batch is over: what was counted apart in it is told.
    fn tell_counts(&mut self) {
        if let Some(session) = &mut self.session {
            session.tell_counts();
        }
        let mut answered = self.machine.take_answered().peekable();
        if answered.peek().is_some() {
            let now = time::now();
            answered
                .for_each(|received_at| self.broker.counters.confirm_times.record_time(now - received_at));
        }
    }

    /// Notes how long a message of the batch has waited in its queue: the first one, if it was never delivered before.
    fn note_residence(&self, events: &VecDeque<Event>) {
        if let Some(Event::Deliver(delivery)) = events.front()
            && !delivery.redelivered
        {
            let waited_ms = self.machine.received_at().0.saturating_sub(delivery.message.received_at.0);
            self.broker.counters.residence_times.record(waited_ms.saturating_mul(1_000));
        }
    }

    /// The vhost is open: everybody may see the connection now.
    fn register(&mut self) {
        let (Some(opened), Some(session)) = (self.machine.opened(), &self.session) else { return };
        let entry = self.broker.connected(Opened {
            id: self.outbox.connection,
            user: session.user.clone(),
            vhost: session.vhost.name.clone(),
            peer: self.ends.peer,
            local: self.ends.local,
            connected_at: time::unix_ms(),
            protocol: "AMQP 0-9-1",
            auth_mechanism: opened.mechanism,
            channel_max: opened.tuned.channel_max,
            frame_max: opened.tuned.frame_max,
            heartbeat_s: opened.tuned.heartbeat_s,
            user_provided_name: opened.client_properties.connection_name().map(str::to_owned),
            client_properties: opened.client_properties.0,
            traffic: Arc::clone(&self.traffic),
            outbox: Arc::clone(&self.outbox),
        });
        info!(connection = %entry.name, user = %entry.user, vhost = %entry.vhost, "connection opened");
        self.entry = Some(entry);
        self.heartbeat = Heartbeat::new(opened.tuned.heartbeat_s, time::now());
    }

    fn refresh_figures(&mut self, now: Instant) {
        self.count_churn();
        let Some(entry) = &self.entry else { return };
        if self.figures_at.is_some_and(|at| now < at + FIGURES_INTERVAL) && !self.figures_are_stale {
            // Shown at the latest when the interval is over, also if nothing else happens.
            self.figures_are_due = true;
            return;
        }
        entry.is_blocked.store(self.machine.is_blocked(), Ordering::Relaxed);
        let figures = self.machine.channels().map(|(id, figures)| Channel {
            id,
            consumers: figures.consumers,
            unacked: figures.unacked,
            unconfirmed: figures.unconfirmed,
            uncommitted_messages: figures.uncommitted_messages,
            uncommitted_acks: figures.uncommitted_acks,
            prefetch: figures.prefetch,
            global_prefetch: figures.global_prefetch,
            is_confirm: figures.is_confirm,
            is_transactional: figures.is_transactional,
            counts: figures.counts,
        });
        *entry.channels.lock() = figures.collect();
        self.count_channels();
        self.figures_at = Some(now);
        self.figures_are_stale = false;
        self.figures_are_due = false;
    }

    /// Adds what went over the channels to what the node knows.
    fn count_channels(&mut self) {
        let counts = self.machine.counts();
        if counts != self.counts {
            *self.broker.counters.channels.lock() += counts - self.counts;
            self.counts = counts;
        }
    }

    fn count_churn(&mut self) {
        let opened = self.machine.channels_opened();
        let closed = opened - self.machine.channel_count() as u64;
        let churned = self.machine.take_churn();
        for (channel, is_open) in churned {
            if let Some(entry) = &self.entry {
                self.broker.channel_churned(entry, channel, is_open);
            }
        }
        if self.churn != (opened, closed) {
            if let Some(seat) = &mut self.seat {
                seat.has_channels(self.machine.channel_count());
            }
            let counters = &self.broker.counters;
            counters.channels_created.fetch_add(opened - self.churn.0, Ordering::Relaxed);
            counters.channels_closed.fetch_add(closed - self.churn.1, Ordering::Relaxed);
            self.churn = (opened, closed);
            self.figures_are_stale = true;
        }
    }

    /// Gives back what its channels held. All consumers go before any message returns: it must not come back to them.
    fn release_all(&mut self) {
        for consumer in std::mem::take(&mut self.consumers) {
            self.broker.unsubscribe(consumer, &mut self.wakes);
        }
        for request in self.machine.release_all() {
            self.release_on_leave(request);
        }
    }

    /// Gives back everything the connection held.
    fn leave(&mut self) {
        self.release_all();
        self.count_churn();
        self.count_channels();
        self.drain_outbox();
        for (_, address) in self.reply_addresses.drain(..) {
            self.broker.unsubscribe_replies(&address);
        }
        self.broker.disconnected(self.outbox.connection, &mut self.wakes);
        self.seat = None;
        self.wakes.flush();
        debug!(peer = %self.ends.peer, "connection released");
    }
}
