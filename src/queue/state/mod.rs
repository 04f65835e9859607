//! The queue machine: commands in, effects out. PURE.
//!
//! Owns which message is ready, which is unacked and with whom, and who gets the next one. Does not own the journal,
//! outboxes or the clock: whoever applies a command carries its effects out, in order, before the next command.
//!
//! ```text
//!              Enqueue                 Deliver                    Ack, Discard
//!   (reserved) ───────►  ready  ─────────────────────►  unacked ───────────────►  Settled
//!                          ▲       (no-ack: Settled)       │
//!                          └───────────────────────────────┘
//!                                      Requeue
//! ```
//!
//! A message that waits need not be in memory: its entry may know only where it stands in the journal, and a run of such
//! entries may be a page in the metadata store. What has to be read for the next deliveries is asked for by
//! [`Effect::Load`], at most one thing at a time, and comes with [`Command::Loaded`] or [`Command::PageLoaded`].

mod command;
mod consumers;
mod pages;
mod ready;
mod settings;
#[cfg(test)]
mod tests;

pub use command::{Command, Effect, Read};
pub use consumers::{ChannelCredit, Consumer, ConsumerKey};
pub use pages::{Load, Wanted, Window};
pub use ready::{Entry, NEVER, NewImage};
pub use settings::{Bounds, Pressure, Shape};

use crate::name::{ConsumerId, Position, Sequence};
use crate::store::index::{ImageId, IndexEntry, PageSummary, QueueImage, Relocated};
use crate::time::Millis;
use consumers::Consumers;
use foldhash::HashMap;
use ready::Ready;
use std::collections::BTreeSet;
use std::sync::Arc;

/// How many messages one command delivers at most, so that whoever carries the effects out can stop a consumer whose
/// outbox is full.
const DELIVERIES_MAX: usize = 64;
/// How many messages one command lets leave memory at most.
const EVICTIONS_MAX: usize = 1024;

/// Why a consumer is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Another consumer has the queue for itself, or others have it and this one wants to.
    ExclusiveUse,
}

/// An unacked message and who has it; nobody's consumer for `basic.get`.
#[derive(Debug)]
struct Unacked {
    entry: Entry,
    holder: Option<(ConsumerKey, ConsumerId, Arc<ChannelCredit>)>,
}

/// Why something is being read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Loading {
    #[default]
    Nothing,
    Bodies,
    /// A page, because something in it is due or because it is next. Others may be loaded meanwhile, for the compactor.
    Page {
        image: ImageId,
        is_due: bool,
    },
}

impl Loading {
    fn of(load: &Load, is_due: bool) -> Self {
        match load {
            Load::Page { page, .. } => Self::Page { image: page.image, is_due },
            Load::Bodies(_) => Self::Bodies,
        }
    }
}

/// A queue's state.
#[derive(Debug, Default)]
pub struct State {
    bounds: Bounds,
    ready: Ready,
    unacked: HashMap<Sequence, Unacked>,
    unacked_bytes: u64,
    /// What unacked messages take of memory.
    unacked_memory_bytes: u64,
    /// What is being read.
    loading: Loading,
    /// Somebody's `Get` waits for the first message to be read.
    has_get_waiting: bool,
    pressure: Pressure,
    /// Places given to publishes that have not arrived yet.
    reserved: BTreeSet<Sequence>,
    next_sequence: Sequence,
    consumers: Consumers,
    noted: Noted,
}

/// Below which sequence messages may be delivered, because it is durable that they may have been: so that a message that
/// was delivered before a crash always says so after it, but for one while the disk took nothing. Queues with priorities go without: their order is not that of
/// the sequences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Noted {
    durable: Sequence,
    asked: Sequence,
}

impl State {
    /// A queue of that shape with what recovery found. [`State::hand_on`] is to follow.
    pub fn recovered(shape: Shape, image: QueueImage) -> Self {
        let consumers = if shape.single_active { Consumers::single_active() } else { Consumers::default() };
        let ready = Ready::new(shape.max_priority, image.next_image, shape.bounds);
        let next_sequence = image.next_sequence.max(Sequence(1));
        let bounds = shape.bounds;
        let mut state = Self { bounds, ready, consumers, next_sequence, ..Self::default() };
        let QueueImage { mut pages, mut entries, .. } = image;
        pages.sort_unstable_by_key(|page| (page.level, page.first));
        entries.sort_unstable_by_key(|entry| entry.sequence);
        pages.into_iter().for_each(|page| state.ready.add_page(page));
        for index in entries {
            state.ready.insert(Entry { index, message: None });
        }
        // A node may have very many queues of which few will be used soon.
        state.ready.shrink();
        state
    }

    /// How short memory is, from now on.
    pub fn set_pressure(&mut self, pressure: Pressure) {
        self.pressure = pressure;
    }

    /// Whether a message that came now would wait without being in memory.
    pub fn would_park(&self) -> bool {
        self.must_park() && !(self.ready.is_empty() && self.consumers.is_any_ready())
    }

    fn must_park(&self) -> bool {
        self.pressure.is_lean && self.memory_bytes() >= self.pressure.keep_bytes
    }

    /// Takes the next place in the queue. It must be followed by `Enqueue` or `Release`.
    pub fn reserve(&mut self) -> Sequence {
        let sequence = self.take_sequence();
        self.reserved.insert(sequence);
        sequence
    }

    /// Takes the next place for a message that is enqueued at once, under the same lock.
    pub fn take_sequence(&mut self) -> Sequence {
        let sequence = self.next_sequence;
        self.next_sequence.0 += 1;
        sequence
    }

    /// Carries out a command. What expired by `now` is gone before, and before anybody gets it.
    ///
    /// `now` counts only while [`State::next_deadline`] says so.
    pub fn apply(&mut self, now: Millis, command: Command<'_>, effects: &mut Vec<Effect>) {
        self.expire(now, effects);
        match command {
            Command::Enqueue(entry) => self.arrive(now, entry, false, effects),
            Command::EnqueueNoted(entry) => self.arrive(now, entry, true, effects),
            Command::Release(sequence) => {
                self.reserved.remove(&sequence);
            }
            Command::Subscribe(consumer) => {
                effects.push(Effect::Subscribed(self.consumers.add(consumer)));
                self.dispatch(effects);
            }
            Command::Unsubscribe(key, id) => {
                if self.consumers.remove(key, id).is_some() && self.consumers.len() == 0 {
                    effects.push(Effect::Unused);
                }
                // Where one consumer is served at a time another may have taken over.
                self.dispatch(effects);
            }
            Command::Get { acknowledges } => self.get(acknowledges, effects),
            Command::Ack(sequences) => {
                for sequence in sequences {
                    self.ack(*sequence, effects);
                }
                self.dispatch(effects);
            }
            Command::Requeue(sequences) => {
                sequences.iter().for_each(|sequence| self.requeue(*sequence, effects));
                self.expire(now, effects);
                self.dispatch(effects);
            }
            Command::Block(key, id) => self.consumers.set_blocked(key, id, true),
            Command::Resume(key, id) => {
                self.consumers.set_blocked(key, id, false);
                self.dispatch(effects);
            }
            Command::SetPrefetch(key, id, prefetch) => {
                self.consumers.set_prefetch(key, id, prefetch);
                self.dispatch(effects);
            }
            Command::Purge => self.purge(effects),
            Command::Continue => self.dispatch(effects),
            Command::Expire => {}
            Command::Loaded(read) => self.loaded(read, effects),
            Command::PageLoaded { level, page, entries, is_rebuilt } => {
                self.page_loaded(now, level, &page, entries, is_rebuilt, effects);
            }
            Command::Noted(sequence) => self.noted(sequence, effects),
            Command::NotedInVain => self.noted(self.noted.asked, effects),
            Command::Evict { bytes } => self.evict(bytes, effects),
            Command::Stored { level, sequence, position, record_bytes } => {
                self.ready.stored(level, sequence, position, record_bytes);
            }
        }
        self.load(now, effects);
    }

    /// Asks for what the next deliveries need, and hands on what is to be done with images.
    fn load(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        if self.ready.missing() > 0 && self.loading == Loading::Nothing {
            let is_wanted = self.has_get_waiting || self.consumers.is_any_ready();
            let window = self.pressure.window;
            let load = if is_wanted { self.ready.next_load(window) } else { None };
            if let Some(load) = load {
                self.loading = Loading::of(&load, false);
                effects.push(Effect::Load(load));
            } else if let Some(load) = self.ready.due_page(now) {
                self.loading = Loading::of(&load, true);
                effects.push(Effect::Load(load));
            }
        }
        self.hand_on(effects);
    }

    /// Hands on what is to be done with images: every command does, and whoever makes a queue of what recovery found.
    pub fn hand_on(&mut self, effects: &mut Vec<Effect>) {
        let paging = &mut self.ready.paging;
        if !paging.is_empty() {
            effects.extend(paging.written.drain(..).map(Effect::WriteImage));
            effects.extend(paging.forgotten.drain(..).map(Effect::ForgetImage));
        }
    }

    fn page_loaded(
        &mut self,
        now: Millis,
        level: u8,
        page: &PageSummary,
        entries: Vec<IndexEntry>,
        is_rebuilt: bool,
        effects: &mut Vec<Effect>,
    ) {
        let asked = self.loading;
        let is_due = asked == Loading::Page { image: page.image, is_due: true };
        if is_due || asked == (Loading::Page { image: page.image, is_due: false }) {
            self.loading = Loading::Nothing;
        }
        self.ready.page_loaded(level, page, entries, is_rebuilt);
        self.expire(now, effects);
        if is_due {
            self.ready.page_back(now, level, page.first);
        }
        self.dispatch(effects);
    }

    fn noted(&mut self, below: Sequence, effects: &mut Vec<Effect>) {
        // What a checkpoint has forgotten since does not count.
        if below == self.noted.asked {
            self.noted.durable = below;
        }
        self.dispatch(effects);
    }

    fn purge(&mut self, effects: &mut Vec<Effect>) {
        let gone = self.ready.take();
        effects.extend(gone.entries.iter().map(|entry| Effect::Settled(entry.index)));
        effects.extend(gone.pages.into_iter().map(|page| Effect::PageSettled(Box::new(page))));
    }

    fn loaded(&mut self, read: Vec<(Wanted, Read)>, effects: &mut Vec<Effect>) {
        if self.loading == Loading::Bodies {
            self.loading = Loading::Nothing;
        }
        for (Wanted { level, sequence, position, .. }, read) in read {
            match read {
                Read::Message(message) => self.ready.loaded(level, sequence, message),
                Read::Lost => {
                    let lost = self.ready.unreadable(level, sequence, position);
                    effects.extend(lost.map(|entry| Effect::Lost(entry.index)));
                }
            }
        }
        self.dispatch(effects);
    }

    fn evict(&mut self, bytes: u64, effects: &mut Vec<Effect>) {
        let mut freed = 0;
        if self.unacked_memory_bytes > 0 {
            for unacked in self.unacked.values_mut().filter(|unacked| unacked.entry.index.position.is_some())
            {
                freed += unacked.entry.memory_bytes();
                unacked.entry.message = None;
            }
            self.unacked_memory_bytes -= freed;
        }
        let mut unstored = Vec::new();
        self.ready.evict(bytes.saturating_sub(freed), EVICTIONS_MAX, &mut unstored);
        let unstored = unstored.into_iter();
        effects.extend(unstored.map(|(level, sequence, message)| Effect::Unstored {
            level,
            sequence,
            message,
        }));
    }

    fn expire(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        while let Some(entry) = self.ready.pop_expired(now) {
            effects.push(Effect::Expired(entry.index));
        }
    }

    /// When the next message expires.
    pub fn next_deadline(&self) -> Option<Millis> {
        self.ready.next_deadline()
    }

    /// The consumer that is served, where only one is.
    pub fn active_consumer(&self) -> Option<ConsumerId> {
        self.consumers.active()
    }

    /// Whether messages wait although somebody could take them: the last command stopped at its bound, and
    /// `Continue` is due.
    pub fn has_more(&self) -> bool {
        self.ready.front().is_some() && self.consumers.is_any_ready()
    }

    /// Whether a consumer may be added.
    ///
    /// # Errors
    /// [`Refusal`], which becomes 403 ACCESS_REFUSED.
    pub fn check_subscribe(&self, exclusive: bool) -> Result<(), Refusal> {
        let has_exclusive = self.consumers.iter().any(|other| other.exclusive);
        let is_taken = exclusive && (self.consumers.len() > 0 || self.consumers.has_single_active());
        if has_exclusive || is_taken { Err(Refusal::ExclusiveUse) } else { Ok(()) }
    }

    fn arrive(&mut self, now: Millis, entry: Entry, is_noted: bool, effects: &mut Vec<Effect>) {
        if !self.reserved.is_empty() {
            self.reserved.remove(&entry.index.sequence);
        }
        self.enqueue(entry, is_noted, effects);
        // A message that lives no time at all is delivered at once or never.
        self.expire(now, effects);
    }

    fn enqueue(&mut self, mut entry: Entry, is_noted: bool, effects: &mut Vec<Effect>) {
        // The common case of a queue that keeps up: nothing waits, so the message goes straight through.
        if self.would_deliver()
            && entry.message.is_some()
            && (is_noted || self.may_deliver(entry.index, effects))
            && let Some((key, consumer)) = self.consumers.take_next()
        {
            let holder =
                consumer.acknowledges.then(|| (key, consumer.id, Arc::clone(&consumer.channel_credit)));
            self.deliver(key, holder, entry, effects);
            return;
        }
        if entry.index.position.is_some() && self.must_park() {
            entry.message = None;
        }
        self.ready.insert(entry);
        self.dispatch(effects);
    }

    /// Delivers while there is a message and somebody to take it, up to the bound.
    fn dispatch(&mut self, effects: &mut Vec<Effect>) {
        for _ in 0..DELIVERIES_MAX {
            let Some(front) = self.ready.front() else { return };
            if !self.consumers.is_any_ready() || !self.may_deliver(front, effects) {
                return;
            }
            let Some((key, consumer)) = self.consumers.take_next() else { return };
            let holder =
                consumer.acknowledges.then(|| (key, consumer.id, Arc::clone(&consumer.channel_credit)));
            let Some(entry) = self.ready.pop() else { return };
            self.deliver(key, holder, entry, effects);
        }
    }

    /// Whether it is durable that the message may have been delivered; if not, or not for long, that is asked for.
    fn may_deliver(&mut self, entry: IndexEntry, effects: &mut Vec<Effect>) -> bool {
        if entry.is_delivered || !entry.is_durable || self.ready.has_priorities() {
            return true;
        }
        let noted_messages = u64::from(self.bounds.noted_messages);
        if entry.sequence.0 + noted_messages / 2 >= self.noted.asked.0 {
            self.noted.asked = Sequence(entry.sequence.0 + noted_messages);
            effects.push(Effect::Note(self.noted.asked));
        }
        entry.sequence < self.noted.durable
    }

    fn deliver(
        &mut self,
        consumer: ConsumerKey,
        holder: Option<(ConsumerKey, ConsumerId, Arc<ChannelCredit>)>,
        entry: Entry,
        effects: &mut Vec<Effect>,
    ) {
        let IndexEntry { sequence, is_delivered: redelivered, is_durable, .. } = entry.index;
        let Some(message) = entry.message.clone() else {
            debug_assert!(false, "only what is in memory is taken for a delivery");
            return;
        };
        effects.push(Effect::Deliver { consumer, sequence, redelivered, is_durable, message });
        match holder {
            Some(holder) => self.hold(entry, Some(holder)),
            None => effects.push(Effect::Settled(entry.index)),
        }
    }

    fn hold(&mut self, mut entry: Entry, holder: Option<(ConsumerKey, ConsumerId, Arc<ChannelCredit>)>) {
        self.unacked_bytes += u64::from(entry.index.body_bytes);
        entry.index.is_delivered = true;
        if entry.index.position.is_some() && self.must_park() {
            entry.message = None;
        }
        self.unacked_memory_bytes += entry.memory_bytes();
        self.unacked.insert(entry.index.sequence, Unacked { entry, holder });
    }

    fn get(&mut self, acknowledges: bool, effects: &mut Vec<Effect>) {
        let front = self.ready.front();
        let may_deliver = front.is_some_and(|front| self.may_deliver(front, effects));
        let Some(entry) = (if may_deliver { self.ready.pop() } else { None }) else {
            self.has_get_waiting = !self.ready.is_empty();
            effects.extend(self.has_get_waiting.then_some(Effect::GetLater));
            return;
        };
        self.has_get_waiting = false;
        let IndexEntry { sequence, is_delivered: redelivered, is_durable, .. } = entry.index;
        let Some(message) = entry.message.clone() else { return };
        effects.push(Effect::Got { sequence, redelivered, is_durable, message });
        if acknowledges {
            self.hold(entry, None);
        } else {
            effects.push(Effect::Settled(entry.index));
        }
    }

    fn ack(&mut self, sequence: Sequence, effects: &mut Vec<Effect>) {
        if let Some(entry) = self.take_unacked(sequence) {
            effects.push(Effect::Settled(entry.index));
        }
    }

    fn requeue(&mut self, sequence: Sequence, effects: &mut Vec<Effect>) {
        if let Some(mut entry) = self.take_unacked(sequence) {
            entry.index.returns = entry.index.returns.saturating_add(1);
            effects.push(Effect::Returned(entry.index));
            self.ready.insert(entry);
        }
    }

    fn take_unacked(&mut self, sequence: Sequence) -> Option<Entry> {
        let Unacked { entry, holder } = self.unacked.remove(&sequence)?;
        self.unacked_bytes -= u64::from(entry.index.body_bytes);
        self.unacked_memory_bytes -= entry.memory_bytes();
        if let Some((key, id, credit)) = holder {
            self.consumers.give_back(key, id, &credit);
        }
        Some(entry)
    }

    /// What its messages take of memory.
    pub fn memory_bytes(&self) -> u64 {
        self.ready.memory_bytes() + self.unacked_memory_bytes
    }

    /// How many messages that wait are in the journal only.
    pub fn paged_count(&self) -> usize {
        self.ready.missing()
    }

    /// How many messages wait to be delivered.
    pub fn ready_count(&self) -> usize {
        self.ready.len()
    }

    /// How many messages are delivered and not settled.
    pub fn unacked_count(&self) -> usize {
        self.unacked.len()
    }

    /// Body bytes of ready and of unacked messages.
    pub fn body_bytes(&self) -> (u64, u64) {
        (self.ready.body_bytes(), self.unacked_bytes)
    }

    /// An unacked message's entry, for a transaction's group.
    pub fn unacked_entry(&self, sequence: Sequence) -> Option<IndexEntry> {
        self.unacked.get(&sequence).map(|unacked| unacked.entry.index)
    }

    /// The consumers, in no order that means something.
    pub fn consumers(&self) -> impl Iterator<Item = &Consumer> {
        self.consumers.iter()
    }

    /// How many consumers there are.
    pub fn consumer_count(&self) -> usize {
        self.consumers.len()
    }

    /// Whether a message that came now would be delivered at once.
    pub fn can_deliver(&self) -> bool {
        self.consumers.is_any_ready()
    }

    /// The next place that will be given out.
    pub fn next_sequence(&self) -> Sequence {
        self.next_sequence
    }

    /// Whether a message that came now would be delivered at once and be unacked then.
    pub fn would_deliver(&self) -> bool {
        self.ready.is_empty() && self.consumers.is_any_ready()
    }

    /// What a checkpoint keeps. What it wants done with images comes with the effects.
    pub fn image(&mut self, effects: &mut Vec<Effect>) -> QueueImage {
        let is_answered = self.noted.durable == self.noted.asked;
        if self.consumers.len() == 0 && !self.has_get_waiting && is_answered {
            // Every delivery so far is written down. Whoever comes next has it noted anew.
            self.noted = Noted::default();
        }
        let (next_sequence, deliverable_below) = (self.next_sequence, self.noted.asked);
        let mut image = QueueImage { next_sequence, deliverable_below, ..QueueImage::default() };
        self.ready.image(&mut image);
        let unacked = self.unacked.values().map(|unacked| unacked.entry.index);
        let unacked = unacked.filter(|entry| entry.is_durable);
        image.unacked = unacked.clone().map(|entry| entry.sequence).collect();
        image.entries.extend(unacked);
        image.reserved.extend(&self.reserved);
        self.load(Millis::default(), effects);
        image
    }

    /// A message's record moved in the journal. `to` is the new record's position and length.
    pub fn relocate(&mut self, sequence: Sequence, from: Position, to: (Position, u32)) -> Relocated {
        match self.unacked.get_mut(&sequence).map(|unacked| &mut unacked.entry.index) {
            Some(index) if index.position == from => {
                (index.position, index.record_bytes) = to;
                Relocated::Moved
            }
            Some(_) => Relocated::Refused,
            None => self.ready.relocate(sequence, from, to),
        }
    }

    /// The entries, ready and unacked, whose records stand between two positions, and the cold pages that may have such.
    pub fn records_between(&self, from: Position, to: Position) -> (Vec<IndexEntry>, Vec<Load>) {
        let unacked = self.unacked.values().map(|unacked| &unacked.entry);
        let entries = self.ready.iter().chain(unacked).map(|entry| entry.index);
        let entries = entries.filter(|entry| from <= entry.position && entry.position < to);
        (entries.collect(), self.ready.cold_pages(from, to))
    }

    /// Gives back what unacked messages take of their channels' shared credit: nobody will settle them in a deleted queue.
    pub fn give_back_credit(&self) {
        let holders = self.unacked.values().filter_map(|unacked| unacked.holder.as_ref());
        holders.for_each(|(_, _, credit)| credit.give_back());
    }

    /// Takes all messages, ready and unacked, of a queue that is deleted: entries that are here, and cold pages.
    pub fn take_all(&mut self) -> (Vec<IndexEntry>, Vec<PageSummary>) {
        let ready = self.ready.take();
        let unacked = self.unacked.drain().map(|(_, unacked)| unacked.entry.index);
        (ready.entries.iter().map(|entry| entry.index).chain(unacked).collect(), ready.pages)
    }
}
