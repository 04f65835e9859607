//! The messages of a queue that wait to be delivered, in the order of their sequences. PURE.

use crate::message::Message;
use crate::name::{Position, Sequence};
use std::collections::VecDeque;
use std::sync::Arc;

/// A message in a queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its place.
    pub sequence: Sequence,
    /// Where its record stands; none for a transient one.
    pub position: Position,
    /// Whether it was delivered before.
    pub redelivered: bool,
    /// The message.
    pub message: Arc<Message>,
}

/// Entries by sequence, first out first.
#[derive(Debug, Default)]
pub(super) struct Ready {
    entries: VecDeque<Entry>,
    body_bytes: u64,
}

impl Ready {
    /// Puts an entry at the place its sequence says. At the end for nearly every publish, at the front for nearly
    /// every requeue; between others when two publishers overtook each other.
    pub(super) fn insert(&mut self, entry: Entry) {
        self.body_bytes += entry.message.body().len() as u64;
        match (self.entries.back(), self.entries.front()) {
            (Some(last), _) if last.sequence < entry.sequence => self.entries.push_back(entry),
            (_, Some(first)) if entry.sequence < first.sequence => self.entries.push_front(entry),
            (None, _) | (_, None) => self.entries.push_back(entry),
            _ => {
                let at = self.entries.partition_point(|other| other.sequence < entry.sequence);
                self.entries.insert(at, entry);
            }
        }
    }

    pub(super) fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.body_bytes -= entry.message.body().len() as u64;
        Some(entry)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Takes everything.
    pub(super) fn take(&mut self) -> VecDeque<Entry> {
        self.body_bytes = 0;
        std::mem::take(&mut self.entries)
    }
}
