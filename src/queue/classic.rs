//! The classic queue: the queue machine behind a lock, with the journal for what is durable.
//!
//! Whoever holds the lock applies a command and carries out its effects: journal, then outboxes. Lock order: topology →
//! queue → outbox; never two queues at once. Nothing here waits for the disk.

use super::arguments::Settings;
use super::deadlines::Deadlines;
use super::state::{Command, Consumer, ConsumerKey, Effect, Entry, NEVER, Refusal, State};
use crate::arguments::Table;
use crate::definition;
use crate::event::{Delivery, Event, Source};
use crate::message::Message;
use crate::name::{ChannelId, ConsumerId, ConsumerTag, Position, QueueName, Sequence, VhostName};
use crate::outbox::{Outbox, Room, Wakes};
use crate::store::{LiveSet, RecoveredQueue, Settled, Store};
use crate::time::{self, Millis};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

/// The type's name.
pub const NAME: &str = "classic";

/// A consumer as its queue's shell sees it: where its deliveries go, and what people are shown of it.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Subscription {
    pub id: ConsumerId,
    pub tag: ConsumerTag,
    pub channel: ChannelId,
    pub outbox: Arc<Outbox>,
    pub acknowledges: bool,
    pub exclusive: bool,
    pub prefetch: u32,
    pub arguments: Table,
}

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
}

/// What a queue holds now, for people and for `declare-ok`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Figures {
    pub ready: usize,
    pub unacked: usize,
    pub ready_bytes: u64,
    pub unacked_bytes: u64,
    pub consumers: usize,
    pub counters: Counters,
}

/// A message taken from a queue.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Taken {
    pub sequence: Sequence,
    pub redelivered: bool,
    pub message: Arc<Message>,
    /// Ready messages left.
    pub ready_left: usize,
}

#[derive(Debug)]
struct Inner {
    state: State,
    /// By [`ConsumerKey`].
    subscriptions: Vec<Option<Subscription>>,
    /// Effects of the command at hand; empty between commands.
    effects: Vec<Effect>,
    settled: Vec<Settled>,
    /// Settled by the command at hand, but not to be journaled: they stand in a transaction's group.
    written: BTreeSet<Sequence>,
    counters: Counters,
    is_deleted: bool,
    /// Whether the last checkpoint no longer says what the queue holds.
    is_changed: bool,
    /// When the queue asked to be woken; [`NEVER`] if it did not.
    woken_at: Millis,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            state: State::default(),
            subscriptions: Vec::new(),
            effects: Vec::new(),
            settled: Vec::new(),
            written: BTreeSet::new(),
            counters: Counters::default(),
            is_deleted: false,
            is_changed: false,
            woken_at: NEVER,
        }
    }
}

/// What carrying out a command's effects left to do.
#[derive(Debug, Default)]
struct Outcome {
    taken: Option<Taken>,
    is_unused: bool,
}

/// A queue.
#[derive(Debug)]
pub struct Queue {
    /// Where it lives.
    pub vhost: VhostName,
    /// Its name there.
    pub name: QueueName,
    /// As declared, with its id.
    pub definition: definition::Queue,
    /// The connection an exclusive queue belongs to.
    pub owner: Option<crate::name::ConnectionId>,
    message_ttl_ms: Option<u64>,
    store: Store,
    deadlines: Arc<Deadlines>,
    weak: Weak<Queue>,
    inner: Mutex<Inner>,
}

/// What a queue is made of.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct NewQueue {
    pub vhost: VhostName,
    pub name: QueueName,
    pub definition: definition::Queue,
    pub owner: Option<crate::name::ConnectionId>,
    pub store: Store,
    pub deadlines: Arc<Deadlines>,
}

/// When a message expires in a queue with that time to live: the shorter of the queue's and its own counts.
fn expiry(message_ttl_ms: Option<u64>, message: &Message) -> Millis {
    let own = message.time_to_live_ms();
    let ttl = own.into_iter().chain(message_ttl_ms).min();
    ttl.map_or(NEVER, |ttl| Millis(message.received_at.0.saturating_add(ttl)))
}

impl Inner {
    /// The time, where somebody wants to know: most queues have no deadlines, and the clock costs.
    fn now_for(&self, command: &Command<'_>) -> Millis {
        let expires = |entry: &Entry| entry.expires_at != NEVER;
        let is_asked = match command {
            Command::Enqueue(entry) => expires(entry),
            Command::Requeue(_) | Command::Expire => true,
            _ => false,
        };
        if is_asked || self.state.next_deadline().is_some() { time::unix_ms() } else { Millis::default() }
    }

    fn count_acks(&mut self, count: usize) {
        self.is_changed = true;
        self.counters.acked += count as u64;
    }
}

impl Queue {
    /// A queue with what recovery found for it; empty when new.
    pub fn new(new: NewQueue, recovered: RecoveredQueue) -> Arc<Self> {
        let definition = &new.definition;
        let Settings { shape, message_ttl_ms } = Settings::of(&definition.arguments);
        let entries = recovered.messages.into_iter().map(|(sequence, position, message)| Entry {
            sequence,
            position,
            // Nobody wrote down whether it was delivered: as RabbitMQ after a crash, rather a flag too many.
            redelivered: true,
            expires_at: expiry(message_ttl_ms, &message),
            message,
        });
        let state = State::recovered(shape, recovered.next_sequence, entries);
        let inner = Mutex::new(Inner { state, is_changed: true, ..Inner::default() });
        let NewQueue { vhost, name, definition, owner, store, deadlines, .. } = new;
        let queue = Arc::new_cyclic(|weak| Self {
            vhost,
            name,
            definition,
            owner,
            message_ttl_ms,
            store,
            deadlines,
            weak: weak.clone(),
            inner,
        });
        queue.mind_deadline(&mut queue.inner.lock());
        queue
    }

    /// A handle that does not keep the queue alive.
    pub(super) fn weak(&self) -> Weak<Queue> {
        self.weak.clone()
    }

    /// Settles what expired; the time the queue asked to be woken at has come.
    pub(super) fn expire(&self, wakes: &mut Wakes) {
        let mut inner = self.inner.lock();
        inner.woken_at = NEVER;
        if !inner.is_deleted {
            inner.is_changed = true;
            self.run(&mut inner, Command::Expire, wakes);
        }
    }

    /// Asks to be woken at the next deadline, unless that is to happen earlier anyway.
    fn mind_deadline(&self, inner: &mut Inner) {
        if let Some(next) = inner.state.next_deadline().filter(|next| *next < inner.woken_at) {
            inner.woken_at = next;
            self.deadlines.add(next, self);
        }
    }

    /// Whether a persistent message here survives a restart.
    pub fn is_durable(&self) -> bool {
        self.definition.durable
    }

    /// Enqueues a message that reached this queue alone. Returns where its record ends, if it has one.
    pub fn publish(&self, message: &Arc<Message>, wakes: &mut Wakes) -> Option<Position> {
        let mut inner = self.inner.lock();
        if inner.is_deleted {
            return None;
        }
        let sequence = inner.state.take_sequence();
        let (mut position, mut end) = (Position::NONE, None);
        if self.definition.durable && message.is_persistent {
            let appended = self.store.append_publish(message, &[(self.definition.id, sequence)]);
            (position, end) = (appended.position, Some(appended.end));
        }
        self.enqueue(&mut inner, sequence, position, message, wakes);
        end
    }

    /// Takes a place for a message that reaches several queues. [`Queue::enqueue_reserved`] must follow.
    pub fn reserve(&self) -> Option<Sequence> {
        let mut inner = self.inner.lock();
        inner.is_changed = true;
        (!inner.is_deleted).then(|| inner.state.reserve())
    }

    /// Enqueues a message at its reserved place, now that its record stands at `position`.
    pub fn enqueue_reserved(
        &self,
        sequence: Sequence,
        position: Position,
        message: &Arc<Message>,
        wakes: &mut Wakes,
    ) {
        let mut inner = self.inner.lock();
        if inner.is_deleted {
            drop(inner);
            if position.is_some() {
                self.store.release(&[position]);
            }
            return;
        }
        self.enqueue(&mut inner, sequence, position, message, wakes);
    }

    fn enqueue(
        &self,
        inner: &mut Inner,
        sequence: Sequence,
        position: Position,
        message: &Arc<Message>,
        wakes: &mut Wakes,
    ) {
        let expires_at = expiry(self.message_ttl_ms, message);
        let message = Arc::clone(message);
        let entry = Entry { sequence, position, redelivered: false, expires_at, message };
        inner.counters.published += 1;
        inner.is_changed = true;
        self.run(inner, Command::Enqueue(entry), wakes);
    }

    /// Adds a consumer.
    ///
    /// # Errors
    /// [`Refusal`] when the queue is in exclusive use, or the consumer wants it so and others are there; `Ok(None)` when
    /// the queue is gone.
    pub fn subscribe(
        &self,
        consumer: Consumer,
        subscription: Subscription,
        wakes: &mut Wakes,
    ) -> Result<Option<ConsumerKey>, Refusal> {
        let mut inner = self.inner.lock();
        if inner.is_deleted {
            return Ok(None);
        }
        inner.state.check_subscribe(consumer.exclusive)?;
        // Effects of the same command may deliver: the subscription must be found by its key before.
        inner.effects.clear();
        let now = time::unix_ms();
        let key = {
            let Inner { state, effects, .. } = &mut *inner;
            state.apply(now, Command::Subscribe(consumer), effects);
            effects.iter().find_map(|effect| match effect {
                Effect::Subscribed(key) => Some(*key),
                _ => None,
            })
        };
        if let Some(ConsumerKey(index)) = key {
            if inner.subscriptions.len() <= index {
                inner.subscriptions.resize_with(index + 1, || None);
            }
            inner.subscriptions[index] = Some(subscription);
        }
        self.carry_out(&mut inner, wakes);
        Ok(key)
    }

    /// Removes a consumer. Returns whether that was the last one.
    pub fn unsubscribe(&self, key: ConsumerKey, id: ConsumerId, wakes: &mut Wakes) -> bool {
        let mut inner = self.inner.lock();
        let is_there = |slot: &&mut Option<Subscription>| slot.as_ref().is_some_and(|other| other.id == id);
        if let Some(slot) = inner.subscriptions.get_mut(key.0).filter(is_there) {
            *slot = None;
        }
        self.run(&mut inner, Command::Unsubscribe(key, id), wakes).is_unused
    }

    /// Takes the first ready message.
    pub fn get(&self, acknowledges: bool, wakes: &mut Wakes) -> Option<Taken> {
        let mut inner = self.inner.lock();
        let taken = self.run(&mut inner, Command::Get { acknowledges }, wakes).taken;
        if taken.is_some() {
            inner.is_changed = true;
            let count = if acknowledges { &mut inner.counters.got } else { &mut inner.counters.got_no_ack };
            *count += 1;
        }
        taken
    }

    /// Settles unacked messages for good.
    pub fn ack(&self, sequences: &[Sequence], wakes: &mut Wakes) {
        let mut inner = self.inner.lock();
        inner.count_acks(sequences.len());
        self.run(&mut inner, Command::Ack(sequences), wakes);
    }

    /// Settles unacked messages whose records the caller appends in a transaction's group. Returns those records;
    /// messages without one are left out.
    pub fn ack_for_transaction(&self, sequences: &[Sequence], wakes: &mut Wakes) -> Vec<Settled> {
        let mut inner = self.inner.lock();
        inner.count_acks(sequences.len());
        let record = |sequence: &Sequence| Some((*sequence, inner.state.unacked_position(*sequence)?));
        let records: Vec<Settled> =
            sequences.iter().filter_map(record).filter(|(_, position)| position.is_some()).collect();
        inner.written = records.iter().map(|(sequence, _)| *sequence).collect();
        self.run(&mut inner, Command::Ack(sequences), wakes);
        inner.written.clear();
        records
    }

    /// Returns unacked messages to their places.
    pub fn requeue(&self, sequences: &[Sequence], wakes: &mut Wakes) {
        let mut inner = self.inner.lock();
        self.run(&mut inner, Command::Requeue(sequences), wakes);
    }

    /// The consumer can take messages again.
    pub fn resume(&self, key: ConsumerKey, id: ConsumerId, wakes: &mut Wakes) {
        let mut inner = self.inner.lock();
        self.run(&mut inner, Command::Resume(key, id), wakes);
    }

    /// Settles all ready messages. Returns how many there were.
    pub fn purge(&self, wakes: &mut Wakes) -> usize {
        let mut inner = self.inner.lock();
        inner.is_changed = true;
        let count = inner.state.ready_count();
        self.run(&mut inner, Command::Purge, wakes);
        count
    }

    /// Deletes the queue if `condition` holds for what it holds; the topology forgets it. Tells its consumers and
    /// returns what it held.
    ///
    /// # Errors
    /// Whatever `condition` says.
    pub fn delete<E>(
        &self,
        condition: impl FnOnce(&Figures) -> Result<(), E>,
        wakes: &mut Wakes,
    ) -> Result<(Figures, Vec<Subscription>), E> {
        let mut inner = self.inner.lock();
        let figures = Self::figures_of(&inner);
        condition(&figures)?;
        inner.is_deleted = true;
        inner.is_changed = false;
        let subscriptions: Vec<Subscription> = inner.subscriptions.drain(..).flatten().collect();
        for subscription in &subscriptions {
            let event = Event::ConsumerCancelled { channel: subscription.channel, consumer: subscription.id };
            subscription.outbox.push(event);
            wakes.add(&subscription.outbox);
        }
        let state = std::mem::take(&mut inner.state);
        drop(inner);
        state.give_back_credit();
        self.store.release(&state.positions());
        Ok((figures, subscriptions))
    }

    /// What it holds now.
    pub fn figures(&self) -> Figures {
        Self::figures_of(&self.inner.lock())
    }

    fn figures_of(inner: &Inner) -> Figures {
        let (ready_bytes, unacked_bytes) = inner.state.body_bytes();
        Figures {
            ready: inner.state.ready_count(),
            unacked: inner.state.unacked_count(),
            ready_bytes,
            unacked_bytes,
            consumers: inner.state.consumer_count(),
            counters: inner.counters,
        }
    }

    /// Its consumers, for people.
    pub fn subscriptions(&self) -> Vec<Subscription> {
        self.inner.lock().subscriptions.iter().flatten().cloned().collect()
    }

    /// What a checkpoint is to keep, if it changed since it was last asked.
    pub fn take_live_set(&self) -> Option<LiveSet> {
        let mut inner = self.inner.lock();
        if inner.is_deleted || !std::mem::take(&mut inner.is_changed) {
            return None;
        }
        let next_sequence = inner.state.next_sequence();
        Some(LiveSet {
            queue: self.definition.id,
            next_sequence,
            live: inner.state.live().into_iter().collect(),
        })
    }

    fn run(&self, inner: &mut Inner, command: Command<'_>, wakes: &mut Wakes) -> Outcome {
        debug_assert!(inner.effects.is_empty(), "the last command's effects were carried out");
        let now = inner.now_for(&command);
        let Inner { state, effects, .. } = inner;
        state.apply(now, command, effects);
        let outcome = self.carry_out(inner, wakes);
        self.mind_deadline(inner);
        outcome
    }

    /// Carries out the effects at hand, and those of going on while messages wait and somebody can take them.
    fn carry_out(&self, inner: &mut Inner, wakes: &mut Wakes) -> Outcome {
        let mut outcome = Outcome::default();
        loop {
            let mut effects = std::mem::take(&mut inner.effects);
            for effect in effects.drain(..) {
                self.carry_out_one(inner, effect, &mut outcome, wakes);
            }
            inner.effects = effects;
            if !inner.state.has_more() {
                break;
            }
            let Inner { state, effects, .. } = inner;
            state.apply(Millis::default(), Command::Continue, effects);
            if inner.effects.is_empty() {
                break;
            }
        }
        if !inner.settled.is_empty() {
            self.store.append_settle(self.definition.id, &inner.settled);
            inner.settled.clear();
        }
        outcome
    }

    fn carry_out_one(&self, inner: &mut Inner, effect: Effect, outcome: &mut Outcome, wakes: &mut Wakes) {
        match effect {
            Effect::Deliver { consumer, sequence, redelivered, message } => {
                self.deliver(inner, consumer, (sequence, redelivered, message), wakes);
            }
            Effect::Settled(sequence, position) | Effect::Expired(sequence, position) => {
                if position.is_some() && !inner.written.contains(&sequence) {
                    inner.settled.push((sequence, position));
                }
            }
            Effect::Got { sequence, redelivered, message } => {
                inner.counters.redelivered += u64::from(redelivered);
                let ready_left = inner.state.ready_count();
                outcome.taken = Some(Taken { sequence, redelivered, message, ready_left });
            }
            // `subscribe` has looked for it already.
            Effect::Subscribed(_) => {}
            Effect::Unused => outcome.is_unused = true,
        }
    }

    fn deliver(
        &self,
        inner: &mut Inner,
        key: ConsumerKey,
        (sequence, redelivered, message): (Sequence, bool, Arc<Message>),
        wakes: &mut Wakes,
    ) {
        let Some(subscription) = inner.subscriptions.get(key.0).and_then(Option::as_ref) else { return };
        let delivery = Delivery {
            channel: subscription.channel,
            consumer: subscription.id,
            source: Some(Source { queue: self.definition.id, sequence }),
            redelivered,
            message,
        };
        let count = if subscription.acknowledges {
            &mut inner.counters.delivered
        } else {
            &mut inner.counters.delivered_no_ack
        };
        *count += 1;
        inner.counters.redelivered += u64::from(redelivered);
        wakes.add(&subscription.outbox);
        if subscription.outbox.push(Event::Deliver(delivery)) == Room::Full {
            // Blocking a consumer has no effects of its own.
            let id = subscription.id;
            inner.state.apply(Millis::default(), Command::Block(key, id), &mut Vec::new());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Value;
    use crate::message::Properties;
    use crate::name::QueueId;
    use crate::store;

    /// A durable queue with this time to live and one recovered message, published at `received_at`.
    fn recovered(ttl_ms: i64, received_at: Millis) -> Arc<Queue> {
        let mut arguments = Table::default();
        arguments.insert("x-message-ttl".into(), Value::LongLongInt(ttl_ms));
        let definition = definition::Queue {
            id: QueueId(1),
            kind: NAME.into(),
            durable: true,
            auto_delete: false,
            exclusive: false,
            arguments,
        };
        let message = Message::new("".into(), b"q", &[0, 0], &Properties::default(), &[b"m"]).at(received_at);
        let messages = vec![(Sequence(1), Position::NONE, Arc::new(message))];
        let (store, _) = store::memory::open();
        let (vhost, name) = (VhostName::new("/"), QueueName::new("q"));
        let new = NewQueue { vhost, name, definition, owner: None, store, deadlines: Arc::default() };
        Queue::new(new, RecoveredQueue { next_sequence: Sequence(2), messages })
    }

    #[test]
    fn time_to_live_counts_from_the_publish_also_after_a_restart() {
        const HOUR_MS: i64 = 3_600_000;
        let now = time::unix_ms();
        let two_hours_ago = Millis(now.0 - 2 * HOUR_MS as u64);
        let mut wakes = Wakes::default();
        assert!(recovered(HOUR_MS, two_hours_ago).get(true, &mut wakes).is_none());
        let taken = recovered(3 * HOUR_MS, two_hours_ago).get(true, &mut wakes);
        assert!(taken.is_some_and(|taken| taken.redelivered));
    }
}
