//! Messages of a queue that do not wait in their places: dead ones on their way to the dead-letter exchange, and those
//! that came back and are held for a while. PURE.
//!
//! Both are durable as they were in their places: whoever moves a dead message says so by a command when it is safe
//! elsewhere, and until then a restart brings it back.

use super::ready::Entry;
use crate::dead_letter::Reason;
use crate::name::{Position, Sequence};
use crate::store::index::{IndexEntry, Relocated};
use crate::time::Millis;
use foldhash::HashMap;
use std::collections::{BTreeMap, VecDeque};

/// A message that left its place for good.
#[derive(Clone, Debug, PartialEq)]
pub struct Dead {
    /// Its message may be in the journal only.
    pub entry: Entry,
    /// Why it left.
    pub reason: Reason,
}

/// Dead messages on their way, in the order in which they left.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    order: VecDeque<Sequence>,
    dead: HashMap<Sequence, Dead>,
    body_bytes: u64,
    memory_bytes: u64,
    /// Whoever moves them has been told, and has not found all of them moved since.
    pub(super) is_told: bool,
}

impl Leaving {
    pub(super) fn add(&mut self, entry: Entry, reason: Reason) {
        let sequence = entry.index.sequence;
        self.memory_bytes += entry.memory_bytes();
        self.body_bytes += u64::from(entry.index.body_bytes);
        self.order.push_back(sequence);
        self.dead.insert(sequence, Dead { entry, reason });
    }

    /// The first ones, up to `count_max` of at most `bytes_max` bytes together, but one.
    pub(super) fn first(&self, count_max: usize, bytes_max: u64) -> Vec<Dead> {
        let mut bytes = 0;
        let dead = self.order.iter().filter_map(|sequence| self.dead.get(sequence));
        let within = dead.take(count_max).take_while(|dead| {
            let is_first = bytes == 0;
            bytes += u64::from(dead.entry.index.body_bytes);
            is_first || bytes <= bytes_max
        });
        within.cloned().collect()
    }

    pub(super) fn entry(&self, sequence: Sequence) -> Option<IndexEntry> {
        self.dead.get(&sequence).map(|dead| dead.entry.index)
    }

    pub(super) fn remove(&mut self, sequence: Sequence) -> Option<Dead> {
        let dead = self.dead.remove(&sequence)?;
        self.memory_bytes -= dead.entry.memory_bytes();
        self.body_bytes -= u64::from(dead.entry.index.body_bytes);
        while self.order.front().is_some_and(|first| !self.dead.contains_key(first)) {
            self.order.pop_front();
        }
        // Those that no queue takes stay in front.
        if self.order.len() > 64 + 2 * self.dead.len() {
            self.order.retain(|sequence| self.dead.contains_key(sequence));
        }
        Some(dead)
    }

    /// Lets messages leave memory that have a record. Returns how many bytes that freed.
    pub(super) fn evict(&mut self) -> u64 {
        if self.memory_bytes == 0 {
            return 0;
        }
        let stored = self.dead.values_mut().map(|dead| &mut dead.entry);
        let freed = stored.filter(|entry| entry.index.position.is_some()).map(forget).sum();
        self.memory_bytes -= freed;
        freed
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Dead> {
        self.order.iter().filter_map(|sequence| self.dead.get(sequence))
    }

    pub(super) fn take(&mut self) -> impl Iterator<Item = Entry> {
        let dead = std::mem::take(self).dead;
        dead.into_values().map(|dead| dead.entry)
    }

    pub(super) fn len(&self) -> usize {
        self.dead.len()
    }

    pub(super) fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// A record moved; nothing if the message is not here.
    pub(super) fn relocate(
        &mut self,
        sequence: Sequence,
        from: Position,
        to: (Position, u32),
    ) -> Option<Relocated> {
        self.dead.get_mut(&sequence).map(|dead| relocate(&mut dead.entry, from, to))
    }
}

fn forget(entry: &mut Entry) -> u64 {
    let freed = entry.memory_bytes();
    entry.message = None;
    freed
}

/// The message stands there now, if it stood where the caller thinks.
pub(super) fn relocate(entry: &mut Entry, from: Position, to: (Position, u32)) -> Relocated {
    if entry.index.position != from {
        return Relocated::Refused;
    }
    (entry.index.position, entry.index.record_bytes) = to;
    Relocated::Moved
}

/// Messages that wait for a time before they are ready.
#[derive(Debug, Default)]
pub(super) struct Held {
    by_time: BTreeMap<(Millis, Sequence), Entry>,
    times: HashMap<Sequence, Millis>,
    memory_bytes: u64,
}

impl Held {
    pub(super) fn add(&mut self, until: Millis, entry: Entry) {
        let sequence = entry.index.sequence;
        self.memory_bytes += entry.memory_bytes();
        self.times.insert(sequence, until);
        self.by_time.insert((until, sequence), entry);
    }

    /// When the next one is ready.
    pub(super) fn next_deadline(&self) -> Option<Millis> {
        self.by_time.first_key_value().map(|((time, _), _)| *time)
    }

    /// Takes one that is ready at `now`, the earliest first.
    pub(super) fn pop_due(&mut self, now: Millis) -> Option<Entry> {
        let next = self.by_time.first_entry().filter(|next| next.key().0 <= now)?;
        let ((_, sequence), entry) = next.remove_entry();
        self.times.remove(&sequence);
        self.memory_bytes -= entry.memory_bytes();
        Some(entry)
    }

    /// Lets messages leave memory that have a record. Returns how many bytes that freed.
    pub(super) fn evict(&mut self) -> u64 {
        if self.memory_bytes == 0 {
            return 0;
        }
        let stored = self.by_time.values_mut().filter(|entry| entry.index.position.is_some());
        let freed = stored.map(forget).sum();
        self.memory_bytes -= freed;
        freed
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Millis, &Entry)> {
        self.by_time.iter().map(|((time, _), entry)| (*time, entry))
    }

    pub(super) fn take(&mut self) -> impl Iterator<Item = Entry> {
        std::mem::take(self).by_time.into_values()
    }

    pub(super) fn len(&self) -> usize {
        self.by_time.len()
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// A record moved; nothing if the message is not here.
    pub(super) fn relocate(
        &mut self,
        sequence: Sequence,
        from: Position,
        to: (Position, u32),
    ) -> Option<Relocated> {
        let time = *self.times.get(&sequence)?;
        self.by_time.get_mut(&(time, sequence)).map(|entry| relocate(entry, from, to))
    }
}
