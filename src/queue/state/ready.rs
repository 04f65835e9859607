//! The messages of a queue that wait to be delivered: by priority, and by the order of their sequences. PURE.
//!
//! Knows also which of them expire when, wherever in the queue they are.

use crate::message::Message;
use crate::name::{Position, Sequence};
use crate::time::Millis;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// When a message expires that does not.
pub const NEVER: Millis = Millis(u64::MAX);

/// A message in a queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its place.
    pub sequence: Sequence,
    /// Where its record stands; none for a transient one.
    pub position: Position,
    /// Whether it was delivered before.
    pub redelivered: bool,
    /// When it expires; [`NEVER`] if it does not.
    pub expires_at: Millis,
    /// The message.
    pub message: Arc<Message>,
}

/// Entries by priority and sequence, first out first.
#[derive(Debug)]
pub(super) struct Ready {
    /// One queue per priority; a message above the highest counts as the highest.
    levels: Vec<VecDeque<Entry>>,
    /// The deadlines of those that expire: when, level, place.
    deadlines: BTreeSet<(Millis, usize, Sequence)>,
    len: usize,
    body_bytes: u64,
}

impl Default for Ready {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Ready {
    /// No entries, of priorities 0 to `max_priority`.
    pub(super) fn new(max_priority: u8) -> Self {
        let levels = (0..=max_priority).map(|_| VecDeque::new()).collect();
        Self { levels, deadlines: BTreeSet::new(), len: 0, body_bytes: 0 }
    }

    /// Puts an entry at the place its priority and sequence say. At the end for nearly every publish, at the front for
    /// nearly every requeue; between others when two publishers overtook each other.
    pub(super) fn insert(&mut self, entry: Entry) {
        self.body_bytes += entry.message.body().len() as u64;
        self.len += 1;
        let level = (entry.message.priority as usize).min(self.levels.len() - 1);
        if entry.expires_at != NEVER {
            self.deadlines.insert((entry.expires_at, level, entry.sequence));
        }
        let entries = &mut self.levels[level];
        match (entries.back(), entries.front()) {
            (Some(last), _) if last.sequence < entry.sequence => entries.push_back(entry),
            (_, Some(first)) if entry.sequence < first.sequence => entries.push_front(entry),
            (None, _) | (_, None) => entries.push_back(entry),
            _ => {
                let at = entries.partition_point(|other| other.sequence < entry.sequence);
                entries.insert(at, entry);
            }
        }
    }

    /// Takes the oldest of the highest priority.
    pub(super) fn pop(&mut self) -> Option<Entry> {
        let level = self.levels.iter().rposition(|entries| !entries.is_empty())?;
        let entry = self.levels[level].pop_front()?;
        self.deadlines.remove(&(entry.expires_at, level, entry.sequence));
        self.forget(&entry);
        Some(entry)
    }

    /// Takes an entry that is due at `now`, the one that was due first.
    pub(super) fn pop_expired(&mut self, now: Millis) -> Option<Entry> {
        let &(deadline, level, sequence) = self.deadlines.first()?;
        if deadline > now {
            return None;
        }
        self.deadlines.pop_first();
        let entries = &mut self.levels[level];
        let at = entries.binary_search_by_key(&sequence, |entry| entry.sequence).ok()?;
        let entry = entries.remove(at)?;
        self.forget(&entry);
        Some(entry)
    }

    fn forget(&mut self, entry: &Entry) {
        self.len -= 1;
        self.body_bytes -= entry.message.body().len() as u64;
    }

    /// When the next entry expires.
    pub(super) fn next_deadline(&self) -> Option<Millis> {
        self.deadlines.first().map(|(deadline, ..)| *deadline)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.levels.iter().rev().flatten()
    }

    /// Takes everything.
    pub(super) fn take(&mut self) -> Vec<Entry> {
        self.deadlines.clear();
        (self.len, self.body_bytes) = (0, 0);
        self.levels.iter_mut().rev().flat_map(std::mem::take).collect()
    }
}
