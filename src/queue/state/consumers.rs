//! The consumers of a queue: who gets the next message. PURE.
//!
//! Round robin among the consumers of the highest priority that can take one. A consumer that cannot (no credit, outbox
//! full) leaves its ring when its turn comes and returns when it can again, so that choosing does not walk over the idle.

use crate::name::ConsumerId;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Names a consumer within its queue for as long as it is subscribed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConsumerKey(pub usize);

/// What consumers of one channel may have unacked together: `basic.qos` with global = true.
#[derive(Debug, Default)]
pub struct ChannelCredit {
    /// 0 = no limit.
    limit: AtomicU32,
    unacked: AtomicU32,
}

impl ChannelCredit {
    /// Sets the limit; 0 = none.
    pub fn set_limit(&self, limit: u32) {
        self.limit.store(limit, Ordering::Release);
    }

    /// The limit; 0 = none.
    pub fn limit(&self) -> u32 {
        self.limit.load(Ordering::Acquire)
    }

    /// Takes one, unless the limit is reached.
    fn take(&self) -> bool {
        let limit = self.limit();
        let taken = self.unacked.fetch_update(Ordering::AcqRel, Ordering::Acquire, |unacked| {
            (limit == 0 || unacked < limit).then_some(unacked + 1)
        });
        taken.is_ok()
    }

    pub(super) fn give_back(&self) {
        let _ =
            self.unacked.fetch_update(Ordering::AcqRel, Ordering::Acquire, |unacked| unacked.checked_sub(1));
    }
}

/// A consumer as its queue sees it.
#[derive(Clone, Debug)]
pub struct Consumer {
    /// Unique in the node.
    pub id: ConsumerId,
    /// Higher ones are served first.
    pub priority: i32,
    /// How many unacked it may have; 0 = any number.
    pub prefetch: u32,
    /// Whether it acks; otherwise a message is settled when it is delivered.
    pub acknowledges: bool,
    /// Whether it wants the queue for itself.
    pub exclusive: bool,
    /// How long it may take to settle a message, in milliseconds, if it says so itself.
    pub timeout_ms: Option<u64>,
    /// What it shares with the other consumers of its channel.
    pub channel_credit: Arc<ChannelCredit>,
}

#[derive(Debug)]
struct Slot {
    consumer: Consumer,
    unacked: u32,
    /// Its connection's outbox is full.
    is_blocked: bool,
    is_in_ring: bool,
}

impl Slot {
    /// Takes the credit for one message, if it has.
    fn take(&mut self) -> bool {
        if self.is_blocked {
            return false;
        }
        if !self.consumer.acknowledges {
            return true;
        }
        let has_credit = self.consumer.prefetch == 0 || self.unacked < self.consumer.prefetch;
        if has_credit && self.consumer.channel_credit.take() {
            self.unacked += 1;
            return true;
        }
        false
    }
}

/// The consumers of a queue.
#[derive(Debug, Default)]
pub(super) struct Consumers {
    slots: Vec<Option<Slot>>,
    /// The rings by priority, the highest first; each holds the keys of those that can take a message, next one first.
    rings: Vec<(i32, VecDeque<ConsumerKey>)>,
    count: usize,
    /// How many say how long they may take.
    timed: usize,
    /// Single active consumer: this one gets everything until it leaves.
    active: Option<ConsumerKey>,
    has_single_active: bool,
    /// The active one gives way to a higher priority, once it has settled what it has.
    yields: bool,
}

impl Consumers {
    /// No consumers, of which one at a time will be served.
    pub(super) fn single_active(yields: bool) -> Self {
        Self { has_single_active: true, yields, ..Self::default() }
    }

    /// Whether one consumer at a time is served.
    pub(super) fn has_single_active(&self) -> bool {
        self.has_single_active
    }

    /// The consumer that is served, where only one is.
    pub(super) fn active(&self) -> Option<ConsumerId> {
        let slot = self.slots.get(self.active?.0)?.as_ref()?;
        Some(slot.consumer.id)
    }

    /// The highest priority, and among equals the oldest, takes over.
    fn elect(&mut self) {
        let slots = self.slots.iter().enumerate();
        let waiting = slots.filter_map(|(key, slot)| Some((ConsumerKey(key), &slot.as_ref()?.consumer)));
        let best = waiting.max_by_key(|(_, consumer)| (consumer.priority, std::cmp::Reverse(consumer.id)));
        self.active = best.map(|(key, _)| key);
    }

    /// Whether a consumer of a higher priority waits for the active one to settle what it has; one that has nothing gives
    /// way now.
    fn gives_way(&mut self, active: ConsumerKey) -> bool {
        // The rings are those of all priorities that there are, the highest first.
        let highest = self.rings.first().map(|(priority, _)| *priority);
        let Some(slot) = self.slots.get(active.0).and_then(Option::as_ref) else { return false };
        let (has_unacked, is_outdone) = (slot.unacked > 0, highest > Some(slot.consumer.priority));
        if is_outdone && !has_unacked {
            self.elect();
        }
        is_outdone && has_unacked
    }

    pub(super) fn add(&mut self, consumer: Consumer) -> ConsumerKey {
        let priority = consumer.priority;
        self.timed += usize::from(consumer.timeout_ms.is_some());
        let slot = Slot { consumer, unacked: 0, is_blocked: false, is_in_ring: false };
        let key = match self.slots.iter().position(Option::is_none) {
            Some(free) => {
                self.slots[free] = Some(slot);
                ConsumerKey(free)
            }
            None => {
                self.slots.push(Some(slot));
                ConsumerKey(self.slots.len() - 1)
            }
        };
        if let Err(at) = self.rings.binary_search_by(|(other, _)| priority.cmp(other)) {
            self.rings.insert(at, (priority, VecDeque::new()));
        }
        self.count += 1;
        self.enter_ring(key);
        if self.has_single_active && self.active.is_none() {
            self.active = Some(key);
        }
        key
    }

    /// Removes the consumer, if it still is the one named by `id`.
    pub(super) fn remove(&mut self, key: ConsumerKey, id: ConsumerId) -> Option<Consumer> {
        let slot = self.slots.get_mut(key.0)?.take_if(|slot| slot.consumer.id == id)?;
        let priority = slot.consumer.priority;
        for (_, ring) in &mut self.rings {
            ring.retain(|other| *other != key);
        }
        let is_last = !self.iter().any(|other| other.priority == priority);
        if is_last {
            self.rings.retain(|(other, _)| *other != priority);
        }
        self.count -= 1;
        self.timed -= usize::from(slot.consumer.timeout_ms.is_some());
        if self.active == Some(key) {
            self.elect();
        }
        Some(slot.consumer)
    }

    /// Chooses who gets the next message and takes its credit.
    pub(super) fn take_next(&mut self) -> Option<(ConsumerKey, &Consumer)> {
        let mut chosen = None;
        if self.has_single_active {
            return self.take_active();
        }
        'rings: for (_, ring) in &mut self.rings {
            while let Some(key) = ring.pop_front() {
                let Some(slot) = self.slots.get_mut(key.0).and_then(Option::as_mut) else { continue };
                if slot.take() {
                    ring.push_back(key);
                    chosen = Some(key);
                    break 'rings;
                }
                slot.is_in_ring = false;
            }
        }
        let key = chosen?;
        let slot = self.slots.get(key.0).and_then(Option::as_ref)?;
        Some((key, &slot.consumer))
    }

    fn take_active(&mut self) -> Option<(ConsumerKey, &Consumer)> {
        let active = self.active?;
        if self.yields && self.gives_way(active) {
            return None;
        }
        let key = self.active?;
        let slot = self.slots.get_mut(key.0)?.as_mut()?;
        slot.take().then_some((key, &slot.consumer))
    }

    /// Gives a consumer the credit of a settled message back. The channel's credit is given back also when the
    /// consumer is gone, through `credit`.
    pub(super) fn give_back(&mut self, key: ConsumerKey, id: ConsumerId, credit: &ChannelCredit) {
        credit.give_back();
        if let Some(slot) = self.slot(key, id) {
            slot.unacked = slot.unacked.saturating_sub(1);
            self.enter_ring(key);
        }
    }

    pub(super) fn set_blocked(&mut self, key: ConsumerKey, id: ConsumerId, is_blocked: bool) {
        if let Some(slot) = self.slot(key, id) {
            slot.is_blocked = is_blocked;
            if !is_blocked {
                self.enter_ring(key);
            }
        }
    }

    pub(super) fn set_prefetch(&mut self, key: ConsumerKey, id: ConsumerId, prefetch: u32) {
        if let Some(slot) = self.slot(key, id) {
            slot.consumer.prefetch = prefetch;
            self.enter_ring(key);
        }
    }

    /// Whether any says how long it may take.
    pub(super) fn are_timed(&self) -> bool {
        self.timed > 0
    }

    /// How long the consumer says it may take, in milliseconds.
    pub(super) fn timeout_ms(&self, key: ConsumerKey) -> Option<u64> {
        self.slots.get(key.0)?.as_ref()?.consumer.timeout_ms
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Consumer> {
        self.slots.iter().flatten().map(|slot| &slot.consumer)
    }

    /// How many can take a message now, for the share of time a queue could deliver at once.
    pub(super) fn is_any_ready(&self) -> bool {
        self.rings.iter().any(|(_, ring)| !ring.is_empty())
    }

    fn slot(&mut self, key: ConsumerKey, id: ConsumerId) -> Option<&mut Slot> {
        self.slots.get_mut(key.0)?.as_mut().filter(|slot| slot.consumer.id == id)
    }

    fn enter_ring(&mut self, key: ConsumerKey) {
        let Some(slot) = self.slots.get_mut(key.0).and_then(Option::as_mut) else { return };
        if slot.is_in_ring {
            return;
        }
        slot.is_in_ring = true;
        let priority = slot.consumer.priority;
        if let Ok(at) = self.rings.binary_search_by(|(other, _)| priority.cmp(other)) {
            self.rings[at].1.push_back(key);
        }
    }
}
