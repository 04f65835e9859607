//! The classic queue: the queue machine behind a lock, with the journal for what is durable.
//!
//! Whoever holds the lock applies a command and carries out its effects: journal, then outboxes. Lock order: topology →
//! queue → outbox; never two queues at once. Nothing here waits for the disk: what has to be read is the pager's work.

mod effects;
mod figures;
mod kept;
mod work;

pub use figures::{Counters, Figures};

use super::Services;
use super::arguments::Settings;
use super::state::{Command, Consumer, ConsumerKey, Effect, Entry, NEVER, Refusal, State};
use crate::arguments::Table;
use crate::definition;
use crate::durability::{Durability, SafeAt};
use crate::event::Event;
use crate::message::Message;
use crate::name::{ChannelId, ConsumerId, ConsumerTag, Position, QueueName, Sequence, VhostName};
use crate::outbox::{Outbox, Wakes};
use crate::store::index::{IndexEntry, PageSummary};
use crate::store::record::Origin;
use crate::store::{Appended, Record, RecoveredQueue, Settled};
use crate::time::{self, Millis};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use tokio::sync::Notify;
use work::Work;

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

#[derive(Debug)]
struct Inner {
    state: State,
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
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            state: State::default(),
            subscriptions: Vec::new(),
            reported_bytes: 0,
            counters: Counters::default(),
            is_deleted: false,
            is_changed: false,
            woken_at: NEVER,
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
    taken: Option<Taken>,
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
    message_ttl_ms: Option<u64>,
    /// When a publisher is told that its message is safe.
    pub(crate) durability: Durability,
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
    pub services: Arc<Services>,
}

/// When a message expires in a queue with that time to live: the shorter of the queue's and its own counts.
fn expiry(message_ttl_ms: Option<u64>, message: &Message) -> Millis {
    let own = message.time_to_live_ms();
    after(message.received_at, own.into_iter().chain(message_ttl_ms).min())
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
            Command::Requeue(_) | Command::Expire | Command::PageLoaded { .. } => true,
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
        let NewQueue { vhost, name, definition, owner, services } = new;
        let Settings { shape, message_ttl_ms, durability } = Settings::of(&definition.arguments);
        let durability = durability.unwrap_or(services.durability);
        let RecoveredQueue { mut image, replayed, is_stored } = recovered;
        image.entries.extend(replayed.into_iter().map(|(mut entry, received_at)| {
            entry.expires_at = entry.expires_at.min(after(received_at, message_ttl_ms));
            entry
        }));
        let mut state = State::recovered(shape, image);
        let mut effects = Vec::new();
        state.hand_on(&mut effects);
        let inner = Mutex::new(Inner { state, is_changed: !is_stored, ..Inner::default() });
        let queue = Arc::new_cyclic(|weak| Self {
            vhost,
            name,
            definition,
            owner,
            message_ttl_ms,
            durability,
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
        queue.mind_deadline(&mut inner);
        drop(inner);
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
            self.services.deadlines.add(next, self);
        }
    }

    /// Whether a persistent message here survives a restart.
    pub fn is_durable(&self) -> bool {
        self.definition.durable
    }

    /// Enqueues a message that reached this queue alone. Returns when it is safe, if it has a record that matters.
    pub fn publish(&self, message: &Arc<Message>, wakes: &mut Wakes) -> Option<SafeAt> {
        let mut inner = self.inner.lock();
        if inner.is_deleted {
            return None;
        }
        self.mind_memory(&mut inner);
        let sequence = inner.state.take_sequence();
        let target = [(self.definition.id, sequence)];
        let is_durable = self.definition.durable && message.is_persistent;
        let (mut appended, mut is_noted) = (None, false);
        if is_durable {
            is_noted = inner.state.would_deliver();
            let origin = Origin { is_delivered: is_noted, ..Origin::default() };
            appended = Some(self.services.store.append_publish(message, &target, origin));
        } else if inner.state.would_park() {
            let origin = Origin { is_transient: true, ..Origin::default() };
            appended = Some(self.services.store.append_publish(message, &target, origin));
        }
        self.enqueue(&mut inner, self.entry(sequence, appended, is_durable, message), is_noted, wakes);
        let durability = self.durability;
        appended.filter(|_| is_durable).map(|appended| durability.safe_at(appended.end, appended.is_large))
    }

    /// Takes a place for a message that reaches several queues. [`Queue::enqueue_reserved`] must follow.
    pub fn reserve(&self) -> Option<Sequence> {
        let mut inner = self.inner.lock();
        inner.is_changed = true;
        (!inner.is_deleted).then(|| inner.state.reserve())
    }

    /// Enqueues a message at its reserved place, with the record that was appended for it, if it has one.
    pub fn enqueue_reserved(
        &self,
        sequence: Sequence,
        appended: Option<Appended>,
        message: &Arc<Message>,
        wakes: &mut Wakes,
    ) {
        let mut inner = self.inner.lock();
        if inner.is_deleted {
            drop(inner);
            if let Some(appended) = appended {
                self.services.store.release(&[(appended.position, appended.record_bytes)]);
            }
            return;
        }
        self.mind_memory(&mut inner);
        let entry = self.entry(sequence, appended, appended.is_some(), message);
        self.enqueue(&mut inner, entry, false, wakes);
    }

    fn entry(
        &self,
        sequence: Sequence,
        appended: Option<Appended>,
        is_durable: bool,
        message: &Arc<Message>,
    ) -> Entry {
        let index = IndexEntry {
            sequence,
            position: appended.map_or(Position::NONE, |appended| appended.position),
            expires_at: expiry(self.message_ttl_ms, message),
            body_bytes: u32::try_from(message.body().len()).unwrap_or(u32::MAX),
            record_bytes: appended.map_or(0, |appended| appended.record_bytes),
            returns: 0,
            priority: message.priority,
            is_delivered: false,
            is_durable,
        };
        Entry { index, message: Some(Arc::clone(message)) }
    }

    /// Enqueues what a record, if there is one, may say was delivered.
    fn enqueue(&self, inner: &mut Inner, entry: Entry, is_noted: bool, wakes: &mut Wakes) {
        inner.counters.published += 1;
        inner.is_changed = true;
        Work::with(|work| {
            work.noted = is_noted.then_some(entry.index.sequence);
            let command = if is_noted { Command::EnqueueNoted(entry) } else { Command::Enqueue(entry) };
            self.run_with(inner, work, command, wakes)
        });
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
        self.run(&mut inner, Command::Unsubscribe(key, id), wakes).is_unused
    }

    /// Takes the first ready message.
    pub fn get(&self, acknowledges: bool, wakes: &mut Wakes) -> Get {
        let mut inner = self.inner.lock();
        let outcome = self.run(&mut inner, Command::Get { acknowledges }, wakes);
        let Some(taken) = outcome.taken else {
            return if outcome.is_later { Get::Later } else { Get::Empty };
        };
        inner.is_changed = true;
        let count = if acknowledges { &mut inner.counters.got } else { &mut inner.counters.got_no_ack };
        *count += 1;
        Get::Message(taken)
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

    /// Returns unacked messages to their places.
    pub fn requeue(&self, sequences: &[Sequence], wakes: &mut Wakes) {
        let mut inner = self.inner.lock();
        inner.is_changed = true;
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
        let subscriptions: Vec<Subscription> = inner.subscriptions.drain(..).flatten().collect();
        for subscription in &subscriptions {
            let event = Event::ConsumerCancelled { channel: subscription.channel, consumer: subscription.id };
            subscription.outbox.push(event);
            wakes.add(&subscription.outbox);
        }
        let mut state = std::mem::take(&mut inner.state);
        self.services.memory.report(&mut inner.reported_bytes, 0);
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
            paged: inner.state.paged_count(),
            memory_bytes: inner.state.memory_bytes(),
            consumers: inner.state.consumer_count(),
            counters: inner.counters,
        }
    }

    /// Its consumers, for people.
    pub fn subscriptions(&self) -> Vec<Subscription> {
        self.inner.lock().subscriptions.iter().flatten().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Memory, Pager};
    use super::*;
    use crate::message::Properties;
    use crate::name::QueueId;
    use crate::store;

    /// A durable queue with this time to live and one recovered message, published at `received_at`.
    fn recovered(expires_at: Millis) -> Arc<Queue> {
        let definition = definition::Queue {
            id: QueueId(1),
            kind: NAME.into(),
            durable: true,
            auto_delete: false,
            exclusive: false,
            arguments: Table::default(),
        };
        let (store, _) = store::memory::open();
        let memory = Arc::new(Memory::unlimited());
        let pager = Arc::new(Pager::start(&store, &memory).unwrap());
        let services =
            Services { store, deadlines: Arc::default(), memory, pager, durability: Durability::Sync };
        let (vhost, name) = (VhostName::new("/"), QueueName::new("q"));
        let queue = Queue::new(
            NewQueue { vhost, name, definition, owner: None, services: Arc::new(services) },
            RecoveredQueue::default(),
        );
        let message = Arc::new(Message::new("".into(), b"q", &[0, 0], &Properties::default(), &[b"m"]));
        let index = IndexEntry {
            sequence: Sequence(1),
            position: Position::NONE,
            expires_at,
            body_bytes: 1,
            record_bytes: 0,
            returns: 0,
            priority: 0,
            is_delivered: false,
            is_durable: false,
        };
        let entry = Entry { index, message: Some(message) };
        queue.inner.lock().state.apply(Millis::default(), Command::Enqueue(entry), &mut Vec::new());
        queue
    }

    /// A durable queue in a store on disk, on a node where no message may stay in memory.
    fn on_disk(dir: &std::path::Path) -> (store::Store, Arc<Queue>) {
        let (store, _) = store::open(store::Options::new(dir)).unwrap();
        let memory = Arc::new(Memory::new(0));
        let pager = Arc::new(Pager::start(&store, &memory).unwrap());
        let services = Services {
            store: store.clone(),
            deadlines: Arc::default(),
            memory,
            pager,
            durability: Durability::Sync,
        };
        let definition = definition::Queue {
            id: QueueId(1),
            kind: NAME.into(),
            durable: true,
            auto_delete: false,
            exclusive: false,
            arguments: Table::default(),
        };
        let (vhost, name) = (VhostName::new("/"), QueueName::new("q"));
        let services = Arc::new(services);
        let new = NewQueue { vhost, name, definition, owner: None, services };
        (store, Queue::new(new, RecoveredQueue::default()))
    }

    #[test]
    fn a_consumer_whose_outbox_fills_up_gets_everything_that_is_read_back() {
        const COUNT: usize = 300;
        let dir = tempfile::tempdir().unwrap();
        let (store, queue) = on_disk(dir.path());
        let properties = [0x10, 0, 2];
        let parsed = Properties::parse(&properties).unwrap();
        let message = Arc::new(Message::new("".into(), b"q", &properties, &parsed, &[&[7; 100_000]]));
        (0..COUNT).for_each(|_| _ = queue.publish(&message, &mut Wakes::default()));
        assert!(queue.figures().paged > COUNT - 10);
        let outbox = Arc::new(Outbox::new(crate::name::ConnectionId(1)));
        let id = ConsumerId(1);
        let consumer = Consumer {
            id,
            priority: 0,
            prefetch: 0,
            acknowledges: true,
            exclusive: false,
            channel_credit: Arc::default(),
        };
        let subscription = Subscription {
            id,
            tag: ConsumerTag::new("c"),
            channel: ChannelId(1),
            outbox: Arc::clone(&outbox),
            acknowledges: true,
            exclusive: false,
            prefetch: 0,
            arguments: Table::default(),
        };
        let key = queue.subscribe(consumer, subscription, &mut Wakes::default()).unwrap().unwrap();
        let mut delivered = Vec::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        while delivered.len() < COUNT {
            let mut events = std::collections::VecDeque::new();
            let was_full = outbox.drain(&mut events);
            delivered.extend(events.iter().filter_map(|event| match event {
                crate::event::Event::Deliver(delivery) => delivery.source.map(|source| source.sequence.0),
                _ => None,
            }));
            if was_full {
                queue.resume(key, id, &mut Wakes::default());
            } else if delivered.len() < COUNT {
                let patience = time::Duration::from_secs(20);
                let woken = async { tokio::time::timeout(patience, outbox.woken()).await };
                runtime.block_on(woken).expect("the consumer is served");
            }
        }
        assert_eq!(delivered, (1..=COUNT as u64).collect::<Vec<_>>());
        drop(queue);
        store.close().unwrap();
    }

    #[test]
    fn what_is_due_is_not_handed_out() {
        const HOUR_MS: u64 = 3_600_000;
        let now = time::unix_ms().0;
        let mut wakes = Wakes::default();
        assert!(matches!(recovered(Millis(now - HOUR_MS)).get(true, &mut wakes), Get::Empty));
        assert!(matches!(recovered(Millis(now + HOUR_MS)).get(true, &mut wakes), Get::Message(_)));
    }
}
