//! The queue machine: commands in, effects out. PURE.
//!
//! Owns which message is ready, which is unacked and with whom, and who gets the next one. Does not own the journal,
//! outboxes or the clock: whoever applies a command carries its effects out, in order, before the next command.
//!
//! ```text
//!              Enqueue                 Deliver                    Ack
//!   (reserved) ───────►  ready  ─────────────────────►  unacked ───────────────►  Settled
//!                         │ ▲       (no-ack: Settled)     │ │
//!                         │ └─────────── (held) ◄─────────┘ │
//!                         │             Requeue             │ Discard, delivery limit
//!                         │ expiry, limits                  ▼
//!                         └───────────────────────────►  leaving ──── Buried ──►  Settled
//!                                                    (nobody wants it: Dropped)
//! ```
//!
//! A message that waits need not be in memory: its entry may know only where it stands in the journal, and a run of such
//! entries may be a page in the metadata store. What has to be read for the next deliveries is asked for by
//! [`Effect::Load`], at most one thing at a time, and comes with [`Command::Loaded`] or [`Command::PageLoaded`].
//!
//! One file for each of: delivering ([`delivery`]), what becomes of what was delivered ([`settling`]), limits and expiry
//! ([`leaving`]), what a checkpoint keeps ([`kept`]).

mod aside;
mod command;
mod consumers;
mod delivery;
mod kept;
mod leaving;
mod pages;
mod ready;
mod settings;
mod settling;
mod tally;
#[cfg(test)]
mod tests;

pub use aside::Dead;
pub use command::{Command, Effect, Read};
pub use consumers::{ChannelCredit, Consumer, ConsumerKey};
pub use leaving::Verdict;
pub use pages::{Load, Wanted, Window};
pub use ready::{Entry, NEVER, NewImage};
pub use settings::{Bounds, Overflow, Pressure, Retry, Return, Rules, Shape};
pub use tally::Tally;

use crate::message::Message;
use crate::name::{ConsumerId, Sequence};
use crate::store::index::{ImageId, IndexEntry, PageSummary};
use crate::time::Millis;
use aside::{Held, Leaving};
use consumers::Consumers;
use foldhash::HashMap;
use ready::Ready;
use settling::Unacked;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many messages one command lets leave memory at most.
const EVICTIONS_MAX: usize = 1024;

/// Why a consumer is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Another consumer has the queue for itself, or others have it and this one wants to.
    ExclusiveUse,
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
    rules: Rules,
    ready: Ready,
    unacked: HashMap<Sequence, Unacked>,
    unacked_tally: Tally,
    /// What unacked messages take of memory.
    unacked_memory_bytes: u64,
    leaving: Leaving,
    held: Held,
    /// Until when unacked messages are to be settled, and how long their consumers had, in milliseconds.
    due: HashMap<Sequence, (Millis, u64)>,
    /// Whether the timeout changed since `due` was made.
    is_retimed: bool,
    /// When to look for consumers that take too long; none while none can.
    timeouts_at: Option<Millis>,
    /// Whether the time matters; see [`State::note_time`].
    is_timed: bool,
    /// What is being read.
    loading: Loading,
    /// Somebody's `Get` waits for the first message to be read.
    has_get_waiting: bool,
    pressure: Pressure,
    /// Places given to publishes that have not arrived yet, and the bytes of their bodies.
    reserved: BTreeMap<Sequence, u32>,
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
    /// How short memory is, from now on.
    pub fn set_pressure(&mut self, pressure: Pressure) {
        self.pressure = pressure;
    }

    /// What holds from now on. [`Command::Expire`] is to follow, and [`Command::Trim`] until the queue is within its
    /// limits.
    pub fn set_rules(&mut self, rules: Rules) {
        if rules.consumer_timeout_ms != self.rules.consumer_timeout_ms {
            // Who has had a message for how long is looked at again.
            (self.is_retimed, self.timeouts_at) = (true, Some(Millis::default()));
        }
        self.rules = rules;
        self.note_time();
    }

    /// Whether a message that came now would wait without being in memory.
    pub fn would_park(&self) -> bool {
        self.must_park() && !(self.ready.is_empty() && self.consumers.is_any_ready())
    }

    fn must_park(&self) -> bool {
        self.pressure.is_lean && self.memory_bytes() >= self.pressure.keep_bytes
    }

    /// Takes the next place in the queue, for a message of so many bytes. It must be followed by `Enqueue`, `Bury` or
    /// `Release`.
    pub fn reserve(&mut self, body_bytes: u32) -> Sequence {
        let sequence = self.take_sequence();
        self.reserved.insert(sequence, body_bytes);
        sequence
    }

    /// Takes the next place for a message that is enqueued at once, under the same lock.
    pub fn take_sequence(&mut self) -> Sequence {
        let sequence = self.next_sequence;
        self.next_sequence.0 += 1;
        sequence
    }

    fn arrived(&mut self, sequence: Sequence) {
        if !self.reserved.is_empty() {
            self.reserved.remove(&sequence);
        }
    }

    /// Carries out a command. What is due at `now` happens before.
    ///
    /// `now` counts only while [`State::is_timed`] says so.
    pub fn apply(&mut self, now: Millis, command: Command<'_>, effects: &mut Vec<Effect>) {
        if self.is_timed() {
            self.pass(now, effects);
        }
        self.carry_out(now, command, effects);
        self.load(now, effects);
        self.note_time();
    }

    fn carry_out(&mut self, now: Millis, command: Command<'_>, effects: &mut Vec<Effect>) {
        match command {
            Command::Enqueue(entry) => self.arrive(now, entry, false, effects),
            Command::EnqueueNoted(entry) => self.arrive(now, entry, true, effects),
            Command::Bury(entry, reason) => {
                self.arrived(entry.index.sequence);
                self.leave(entry, reason, effects);
            }
            Command::Release(sequence) => self.arrived(sequence),
            Command::Subscribe(consumer) => {
                effects.push(Effect::Subscribed(self.consumers.add(consumer)));
                self.dispatch(now, effects);
            }
            Command::Unsubscribe(key, id) => {
                if self.consumers.remove(key, id).is_some() && self.consumers.len() == 0 {
                    effects.push(Effect::Unused);
                }
                // Where one consumer is served at a time another may have taken over.
                self.dispatch(now, effects);
            }
            Command::Get { acknowledges } => self.get(now, acknowledges, effects),
            Command::Ack(sequences) => {
                for sequence in sequences {
                    self.ack(*sequence, effects);
                }
                self.dispatch(now, effects);
            }
            Command::Discard(sequences) => {
                sequences.iter().for_each(|sequence| self.discard(*sequence, effects));
                self.dispatch(now, effects);
            }
            Command::Requeue { plain, failed } => {
                plain.iter().for_each(|sequence| self.requeue(now, *sequence, Return::Plain, effects));
                failed.iter().for_each(|sequence| self.requeue(now, *sequence, Return::Failed, effects));
                self.pass(now, effects);
                self.trim(effects);
                self.dispatch(now, effects);
            }
            Command::Block(key, id) => self.consumers.set_blocked(key, id, true),
            Command::Resume(key, id) => {
                self.consumers.set_blocked(key, id, false);
                self.dispatch(now, effects);
            }
            Command::SetPrefetch(key, id, prefetch) => {
                self.consumers.set_prefetch(key, id, prefetch);
                self.dispatch(now, effects);
            }
            Command::Purge => self.purge(effects),
            Command::Continue => self.dispatch(now, effects),
            Command::Expire => self.dispatch(now, effects),
            Command::Trim => _ = self.trim(effects),
            Command::Buried(sequences) => {
                sequences.iter().for_each(|sequence| self.buried(*sequence, effects));
            }
            Command::Loaded(read) => self.loaded(now, read, effects),
            Command::PageLoaded { level, page, entries, is_rebuilt } => {
                self.page_loaded(now, level, &page, entries, is_rebuilt, effects);
            }
            Command::PagesBack(pages) => {
                pages.iter().for_each(|(level, first)| self.ready.page_back(now, *level, *first));
            }
            Command::Noted(sequence) => self.noted(now, sequence, effects),
            Command::NotedInVain => self.noted(now, self.noted.asked, effects),
            Command::Evict { bytes } => self.evict(bytes, effects),
            Command::Stored { level, sequence, position, record_bytes } => {
                self.ready.stored(level, sequence, position, record_bytes);
            }
        }
    }

    /// Lets time pass: what was held is ready, what lived its time leaves, who took too long is told.
    fn pass(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        let held = self.held.len();
        while let Some(entry) = self.held.pop_due(now) {
            self.ready.insert(entry);
        }
        self.expire(now, effects);
        if self.held.len() < held {
            self.trim(effects);
        }
        self.mind_timeouts(now, effects);
    }

    /// Hands on what is to be done with images, and asks for what the next deliveries need: in this order, for a page
    /// that is asked for may be one that has just become cold.
    fn load(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        self.hand_on(effects);
        if self.ready.missing() > 0 && self.loading == Loading::Nothing {
            let is_wanted = self.has_get_waiting || self.consumers.is_any_ready();
            let window = self.pressure.window;
            let next = if is_wanted { self.ready.next_load(window) } else { None };
            let next = next.or_else(|| if self.is_over() { self.ready.lowest_page() } else { None });
            if let Some(load) = next {
                self.loading = Loading::of(&load, false);
                effects.push(Effect::Load(load));
            } else if let Some(load) = self.ready.due_page(now) {
                self.loading = Loading::of(&load, true);
                effects.push(Effect::Load(load));
            }
        }
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
        // All that the page has may have to leave: nobody else asks for the next one.
        while self.is_over() && self.trim(effects) {}
        self.dispatch(now, effects);
    }

    fn purge(&mut self, effects: &mut Vec<Effect>) {
        let gone = self.ready.take();
        effects.extend(gone.entries.iter().map(|entry| Effect::Settled(entry.index)));
        effects.extend(gone.pages.into_iter().map(|page| Effect::PageSettled(Box::new(page))));
        effects.extend(self.held.take().map(|entry| Effect::Settled(entry.index)));
    }

    fn loaded(&mut self, now: Millis, read: Vec<(Wanted, Read)>, effects: &mut Vec<Effect>) {
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
        self.dispatch(now, effects);
    }

    fn evict(&mut self, bytes: u64, effects: &mut Vec<Effect>) {
        let mut freed = self.evict_unacked() + self.leaving.evict();
        freed += self.held.evict();
        let mut unstored = Vec::new();
        self.ready.evict(bytes.saturating_sub(freed), EVICTIONS_MAX, &mut unstored);
        let unstored = unstored.into_iter();
        effects.extend(unstored.map(|(level, sequence, message)| Effect::Unstored {
            level,
            sequence,
            message,
        }));
    }

    /// When the queue wants to be woken: a message expires or is ready again, or a consumer takes too long.
    pub fn next_deadline(&self) -> Option<Millis> {
        let deadlines = [self.ready.next_deadline(), self.held.next_deadline(), self.timeouts_at];
        deadlines.into_iter().flatten().min()
    }

    /// Whether the time matters to every command now.
    pub fn is_timed(&self) -> bool {
        debug_assert!(self.is_timed || !self.minds_time(), "it was noted behind the last command");
        self.is_timed
    }

    fn minds_time(&self) -> bool {
        self.ready.is_timed() || self.held.len() > 0 || self.minds_timeouts()
    }

    /// Every command asks for it several times, and few change it.
    fn note_time(&mut self) {
        self.is_timed = self.minds_time();
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

    /// What its messages take of memory.
    pub fn memory_bytes(&self) -> u64 {
        let aside = self.leaving.memory_bytes() + self.held.memory_bytes();
        self.ready.memory_bytes() + self.unacked_memory_bytes + aside
    }

    /// How many messages that wait are in the journal only.
    pub fn paged_count(&self) -> usize {
        self.ready.missing()
    }

    /// The first messages that wait, one of each priority, as far as they are in memory; the next to be delivered first.
    pub fn fronts(&self) -> impl Iterator<Item = &Arc<Message>> {
        self.ready.fronts()
    }

    /// How many messages wait to be delivered.
    pub fn ready_count(&self) -> usize {
        self.ready.len()
    }

    /// The message that is delivered next, if it is in memory.
    pub fn head(&self) -> Option<&Arc<Message>> {
        self.ready.head()
    }

    /// How long consumers that say nothing else may take to settle a message, in milliseconds.
    pub fn consumer_timeout_ms(&self) -> Option<u64> {
        self.rules.consumer_timeout_ms
    }

    /// How many messages are delivered and not settled.
    pub fn unacked_count(&self) -> usize {
        self.unacked.len()
    }

    /// How many dead messages are on their way to the dead-letter exchange.
    pub fn leaving_count(&self) -> usize {
        self.leaving.len()
    }

    /// Their bodies' bytes.
    pub fn leaving_bytes(&self) -> u64 {
        self.leaving.body_bytes()
    }

    /// How many messages came back and are not ready yet.
    pub fn held_count(&self) -> usize {
        self.held.len()
    }

    /// The bytes of ready and of unacked messages, and how many of them are durable.
    pub fn tallies(&self) -> (Tally, Tally) {
        (self.ready.tally(), self.unacked_tally)
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
}
