//! The classic queue: the queue machine behind a lock, with the journal for what is durable.
//!
//! Whoever holds the lock applies a command and carries out its effects: journal, then outboxes. Lock order: topology →
//! queue → outbox; never two queues at once. Nothing here waits for the disk: what has to be read is the pager's work.

mod dying;
mod effects;
mod figures;
mod kept;
mod lease;
mod policy;
mod publishing;
#[cfg(test)]
mod tests;
mod work;

pub use figures::{Activity, Counters, Fate, Figures, Front, SoleConsumers};

use super::Services;
use super::arguments::Kind;
use super::settings::Settings;
use super::state::{Command, Consumer, ConsumerKey, Effect, Entry, NEVER, Refusal, State};
use crate::arguments::Table;
use crate::broker::policy::Applied;
use crate::dedup::{Seen, Window};
use crate::definition::{self, Role};
use crate::durability::{Durability, SafeAt};
use crate::event::Event;
use crate::message::Message;
use crate::name::{ChannelId, ConsumerId, ConsumerTag, QueueName, Sequence, VhostName};
use crate::outbox::{Outbox, Wakes};
use crate::store::index::{IndexEntry, PageSummary};
use crate::store::{Record, RecoveredQueue, Settled};
use crate::time::{self, Millis};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use tokio::sync::Notify;
use work::Work;

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

/// The answer to a `get`.
#[derive(Clone, Debug)]
pub enum Get {
    /// The first ready message.
    Message(Taken),
    /// There is none.
    Empty,
    /// It has to be read first: wait with [`Queue::loaded`] and ask again.
    Later,
}

/// What became of a message that was published to a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enqueued {
    /// It is where it has to be.
    Safe,
    /// It is safe then.
    SafeAt(SafeAt),
    /// The queue is full: its publisher is to be told.
    Rejected,
}

/// A queue that does not take a message because it is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// A place that a queue gave to a message on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// The place.
    pub sequence: Sequence,
    /// The queue is full: the message will be a dead letter there, and its publisher is to be told.
    pub is_rejected: bool,
    /// The message as the window of duplicates has it now.
    seen: Option<Seen>,
}

#[derive(Debug)]
struct Inner {
    state: State,
    /// The policies in force.
    policy: Applied,
    settings: Settings,
    /// Whether it may not take a message: it may be full, or have seen it.
    is_choosy: bool,
    /// What it has seen lately, where duplicates are not taken.
    window: Window,
    /// When the queue goes, if nobody uses it until then.
    lease_until: Option<Millis>,
    /// What the node was last told: dead letters that wait, and those of them that nobody takes.
    leaving: i64,
    stuck: i64,
    /// By [`ConsumerKey`].
    subscriptions: Vec<Option<Subscription>>,
    /// What the node's memory was last told.
    reported_bytes: u64,
    counters: Counters,
    is_deleted: bool,
    /// Whether the last checkpoint no longer says what the queue holds.
    is_changed: bool,
    /// When the queue asked to be woken; [`NEVER`] if it did not.
    woken_at: Millis,
    /// Pages that were read for the compactor: level, first sequence.
    lent: Vec<(u8, Sequence)>,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            state: State::default(),
            policy: Applied::default(),
            settings: Settings::default(),
            is_choosy: false,
            window: Window::default(),
            lease_until: None,
            leaving: 0,
            stuck: 0,
            subscriptions: Vec::new(),
            reported_bytes: 0,
            counters: Counters::default(),
            is_deleted: false,
            is_changed: false,
            woken_at: NEVER,
            lent: Vec::new(),
        }
    }
}

/// What a deleted queue leaves.
#[derive(Debug)]
#[must_use]
pub struct Deleted {
    /// What it held.
    pub figures: Figures,
    /// Its consumers.
    pub subscriptions: Vec<Subscription>,
    records: Vec<Record>,
    pages: Vec<PageSummary>,
}

/// What carrying out a command's effects left to do.
#[derive(Debug, Default)]
struct Outcome {
    /// In a box because few commands take one, and all hand the outcome up.
    taken: Option<Box<Taken>>,
    is_later: bool,
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
    /// Every message survives a restart, whatever its publisher says.
    keeps_all: bool,
    /// The priority of a message that says none.
    default_priority: u8,
    /// When a publisher is told that its message is safe, as [`Durability::number`].
    durability: AtomicU64,
    services: Arc<Services>,
    weak: Weak<Queue>,
    /// What the node's memory was last told, to be read without the lock.
    reported_bytes: AtomicU64,
    loaded: Notify,
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
    /// The policies that apply to it.
    pub policy: Applied,
    pub services: Arc<Services>,
}

fn after(start: Millis, ttl_ms: Option<u64>) -> Millis {
    ttl_ms.map_or(NEVER, |ttl| Millis(start.0.saturating_add(ttl)))
}

fn settled(entry: IndexEntry) -> Settled {
    let IndexEntry { sequence, position, record_bytes, is_durable, .. } = entry;
    Settled { sequence, position, record_bytes, is_durable }
}

impl Inner {
    /// The time, where somebody wants to know: most queues have no deadlines, and the clock costs.
    fn now_for(&self, command: &Command<'_>) -> Millis {
        let expires = |entry: &Entry| entry.index.expires_at != NEVER;
        let is_asked = match command {
            Command::Enqueue(entry) | Command::EnqueueNoted(entry) => expires(entry),
            Command::Requeue { .. } | Command::Expire | Command::PageLoaded { .. } => true,
            _ => false,
        };
        if is_asked || self.state.is_timed() { time::unix_ms() } else { Millis::default() }
    }

    fn count_acks(&mut self, count: usize) {
        self.is_changed = true;
        self.counters.acked += count as u64;
    }
}

impl Queue {
    /// A queue with what recovery found for it; empty when new.
    pub fn new(new: NewQueue, recovered: RecoveredQueue) -> Arc<Self> {
        let NewQueue { vhost, name, definition, owner, policy, services } = new;
        let kind = Kind::of_name(&definition.kind).unwrap_or_default();
        let default_priority = definition.default_priority();
        let mut settings =
            Settings::of(kind, &definition.arguments, &policy.effective(), services.consumer_timeout_ms());
        // What an exchange delays leaves when its time has come, and goes on.
        settings.rules.has_dead_letters |= matches!(definition.role, Role::DelayOf(_));
        let durability = settings.durability.unwrap_or(services.durability);
        let RecoveredQueue { mut image, replayed, seen, is_stored } = recovered;
        let kept = std::mem::take(&mut image.window);
        let window = settings.dedup.as_ref().map(|rules| Window::recovered(rules, kept, seen));
        image.entries.extend(replayed.into_iter().map(|(mut entry, published)| {
            entry.expires_at = entry.expires_at.min(after(published.at, settings.message_ttl_ms));
            if !published.has_priority {
                entry.priority = default_priority;
            }
            entry
        }));
        let mut state = State::recovered(settings.shape, image);
        state.set_rules(settings.rules);
        let mut effects = Vec::new();
        state.resume(&mut effects);
        let window = window.unwrap_or_default();
        let is_choosy = settings.is_choosy();
        let inner = Mutex::new(Inner {
            state,
            policy,
            settings,
            is_choosy,
            window,
            is_changed: !is_stored,
            ..Inner::default()
        });
        let queue = Arc::new_cyclic(|weak| Self {
            vhost,
            name,
            definition,
            owner,
            keeps_all: kind == Kind::Quorum,
            default_priority,
            durability: AtomicU64::new(durability.number()),
            services,
            weak: weak.clone(),
            reported_bytes: AtomicU64::new(0),
            loaded: Notify::new(),
            inner,
        });
        let mut inner = queue.inner.lock();
        Work::with(|work| {
            work.effects.append(&mut effects);
            queue.carry_out(&mut inner, work, &mut Wakes::default())
        });
        queue.count_leaving(&mut inner);
        queue.renew_lease(&mut inner);
        queue.mind_deadline(&mut inner);
        drop(inner);
        queue
    }

    /// A handle that does not keep the queue alive.
    pub(super) fn weak(&self) -> Weak<Queue> {
        self.weak.clone()
    }

    /// When a publisher is told that its message is safe.
    pub(crate) fn durability(&self) -> Durability {
        Durability::of_number(self.durability.load(Relaxed))
    }

    /// Sees to what is due: the time the queue asked to be woken at has come. Returns whether nobody has used the queue
    /// for so long that it is to go.
    pub fn expire(&self, wakes: &mut Wakes) -> bool {
        let mut inner = self.inner.lock();
        inner.woken_at = NEVER;
        if inner.is_deleted {
            return false;
        }
        inner.is_changed = true;
        self.run(&mut inner, Command::Expire, wakes);
        inner.lease_until.is_some_and(|until| until <= time::unix_ms())
    }

    /// Asks to be woken at the next deadline, unless that is to happen earlier anyway.
    fn mind_deadline(&self, inner: &mut Inner) {
        if !inner.state.is_timed() && inner.lease_until.is_none() {
            return;
        }
        let next = inner.state.next_deadline().into_iter().chain(inner.lease_until).min();
        if let Some(next) = next.filter(|next| *next < inner.woken_at) {
            inner.woken_at = next;
            self.services.deadlines.add(next, self);
        }
    }

    /// Whether a persistent message here survives a restart.
    pub fn is_durable(&self) -> bool {
        self.definition.durable
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
        Ok(Work::with(|work| {
            inner.state.apply(time::unix_ms(), Command::Subscribe(consumer), &mut work.effects);
            let key = work.effects.iter().find_map(|effect| match effect {
                Effect::Subscribed(key) => Some(*key),
                _ => None,
            });
            // Effects of the same command may deliver: the subscription must be found by its key before.
            if let Some(ConsumerKey(index)) = key {
                if inner.subscriptions.len() <= index {
                    inner.subscriptions.resize_with(index + 1, || None);
                }
                inner.subscriptions[index] = Some(subscription);
            }
            self.carry_out(&mut inner, work, wakes);
            inner.lease_until = None;
            self.mind_deadline(&mut inner);
            key
        }))
    }

    /// Removes a consumer. Returns whether that was the last one.
    pub fn unsubscribe(&self, key: ConsumerKey, id: ConsumerId, wakes: &mut Wakes) -> bool {
        let mut inner = self.inner.lock();
        let is_there = |slot: &&mut Option<Subscription>| slot.as_ref().is_some_and(|other| other.id == id);
        if let Some(slot) = inner.subscriptions.get_mut(key.0).filter(is_there) {
            *slot = None;
        }
        let is_unused = self.run(&mut inner, Command::Unsubscribe(key, id), wakes).is_unused;
        if is_unused && !inner.is_deleted {
            self.renew_lease(&mut inner);
            self.mind_deadline(&mut inner);
        }
        is_unused
    }

    /// Takes the first ready message.
    pub fn get(&self, acknowledges: bool, wakes: &mut Wakes) -> Get {
        let mut inner = self.inner.lock();
        if inner.lease_until.is_some() {
            self.renew_lease(&mut inner);
        }
        let outcome = self.run(&mut inner, Command::Get { acknowledges }, wakes);
        let Some(taken) = outcome.taken else {
            if outcome.is_later {
                return Get::Later;
            }
            inner.counters.got_empty += 1;
            return Get::Empty;
        };
        inner.is_changed = true;
        let count = if acknowledges { &mut inner.counters.got } else { &mut inner.counters.got_no_ack };
        *count += 1;
        Get::Message(*taken)
    }

    /// Is notified whenever something was read for the queue. Begin to listen before you ask it.
    pub fn loaded(&self) -> &Notify {
        &self.loaded
    }

    /// The disk takes nothing for now: whoever consumes need not wait for it.
    pub fn go_on_without_disk(&self) {
        self.answer(Command::NotedInVain, &mut Wakes::default());
    }

    /// The pager's answer to what the queue asked for.
    pub(super) fn answer(&self, command: Command<'_>, wakes: &mut Wakes) {
        let mut inner = self.inner.lock();
        if !inner.is_deleted {
            inner.is_changed = true;
            self.run(&mut inner, command, wakes);
        }
        drop(inner);
        self.loaded.notify_waiters();
    }

    /// Takes messages out of memory, in slices, until so many bytes are free or nothing more can go.
    pub(super) fn evict(&self, bytes: u64, wakes: &mut Wakes) {
        let mut left = bytes;
        while left > 0 {
            let mut inner = self.inner.lock();
            if inner.is_deleted {
                return;
            }
            let before = inner.state.memory_bytes();
            self.run(&mut inner, Command::Evict { bytes: left }, wakes);
            let freed = before.saturating_sub(inner.state.memory_bytes());
            if freed == 0 {
                return;
            }
            left = left.saturating_sub(freed);
        }
    }

    /// What the node's memory was last told.
    pub(super) fn reported_bytes(&self) -> u64 {
        self.reported_bytes.load(Relaxed)
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
        let entries = sequences.iter().filter_map(|sequence| inner.state.unacked_entry(*sequence));
        let records: Vec<Settled> = entries.filter(|entry| entry.is_durable).map(settled).collect();
        Work::with(|work| {
            work.written = records.iter().map(|settled| settled.sequence).collect();
            self.run_with(&mut inner, work, Command::Ack(sequences), wakes)
        });
        records
    }

    /// Unacked messages leave: their consumer does not want them back.
    pub fn discard(&self, sequences: &[Sequence], wakes: &mut Wakes) {
        let mut inner = self.inner.lock();
        inner.is_changed = true;
        self.run(&mut inner, Command::Discard(sequences), wakes);
    }

    /// Returns unacked messages to their places: those that were given back, and those with which their consumers failed.
    pub fn requeue(&self, plain: &[Sequence], failed: &[Sequence], wakes: &mut Wakes) {
        let mut inner = self.inner.lock();
        inner.is_changed = true;
        self.run(&mut inner, Command::Requeue { plain, failed }, wakes);
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
        let count = inner.state.ready_count() + inner.state.held_count();
        self.run(&mut inner, Command::Purge, wakes);
        count
    }

    /// Deletes the queue if `condition` holds for what it holds; the topology forgets it. Tells its consumers.
    /// [`Queue::give_back`] must follow, once the deletion stands in the journal: a file must not go before.
    ///
    /// # Errors
    /// Whatever `condition` says.
    pub fn delete<E>(
        &self,
        condition: impl FnOnce(&Figures) -> Result<(), E>,
        wakes: &mut Wakes,
    ) -> Result<Deleted, E> {
        let mut inner = self.inner.lock();
        let figures = Self::figures_of(&inner);
        condition(&figures)?;
        inner.is_deleted = true;
        inner.is_changed = false;
        if self.definition.role == Role::Ordinary {
            self.services.gone.lock()[self.kind() as usize] += &inner.counters;
        }
        let subscriptions: Vec<Subscription> = inner.subscriptions.drain(..).flatten().collect();
        for subscription in &subscriptions {
            let event = Event::ConsumerCancelled { channel: subscription.channel, consumer: subscription.id };
            subscription.outbox.push(event);
            wakes.add(&subscription.outbox);
        }
        let mut state = std::mem::take(&mut inner.state);
        self.services.memory.report(&mut inner.reported_bytes, 0);
        let (leaving, stuck) = (std::mem::take(&mut inner.leaving), std::mem::take(&mut inner.stuck));
        self.services.dead_letters.count(-leaving);
        self.services.dead_letters.count_stuck(-stuck);
        drop(inner);
        state.give_back_credit();
        let (entries, pages) = state.take_all();
        let stored = entries.iter().filter(|entry| entry.position.is_some());
        let records: Vec<_> = stored.map(|entry| (entry.position, entry.record_bytes)).collect();
        self.loaded.notify_waiters();
        Ok(Deleted { figures, subscriptions, records, pages })
    }

    /// Gives back the records of a queue that is deleted.
    pub fn give_back(&self, deleted: Deleted) {
        self.services.store.release(&deleted.records);
        if !deleted.pages.is_empty() {
            self.services.pager.release(self.definition.id, deleted.pages);
        }
    }

    /// Whether one consumer at a time is served.
    pub fn has_single_active(&self) -> bool {
        self.inner.lock().settings.shape.single_active
    }
}
