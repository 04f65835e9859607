//! How messages leave without being consumed: they live their time, or the queue is full. Those that somebody wants
//! wait until they are moved, see [`aside`](super::aside).

use super::{Dead, Effect, Entry, Overflow, State};
use crate::dead_letter::Reason;
use crate::name::Sequence;
use crate::store::index::IndexEntry;
use crate::time::Millis;

/// How many messages one command lets leave at most: expiring a million must not keep the others waiting.
const LEAVES_MAX: usize = 1024;

/// What becomes of a message that comes now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is enqueued.
    Accept,
    /// Its publisher is told that the queue is full.
    Reject,
    /// The same, and it is a dead letter: [`Command::Bury`](super::Command::Bury).
    Bury,
}

impl State {
    /// What becomes of a message of so many bytes that comes now.
    pub fn verdict(&self, body_bytes: u32) -> Verdict {
        let rules = &self.rules;
        if rules.overflow == Overflow::DropHead || !rules.is_bounded() {
            return Verdict::Accept;
        }
        let on_their_way: u64 = self.reserved.values().map(|bytes| u64::from(*bytes)).sum();
        let length = (self.ready.len() + self.reserved.len()) as u64 + 1;
        let bytes = self.ready.body_bytes() + on_their_way + u64::from(body_bytes);
        let is_full = rules.length_max.is_some_and(|max| length > max)
            || rules.length_bytes_max.is_some_and(|max| bytes > max);
        match (is_full, rules.overflow) {
            (false, _) => Verdict::Accept,
            (true, Overflow::RejectPublishDlx) if rules.has_dead_letters => Verdict::Bury,
            (true, _) => Verdict::Reject,
        }
    }

    /// Whether more messages are ready than may be.
    pub fn is_over(&self) -> bool {
        let rules = &self.rules;
        rules.length_max.is_some_and(|max| self.ready.len() as u64 > max)
            || rules.length_bytes_max.is_some_and(|max| self.ready.body_bytes() > max)
    }

    /// Lets the oldest of the lowest priority leave until the queue is within its limits, in slices. Returns whether any
    /// left.
    pub(super) fn trim(&mut self, effects: &mut Vec<Effect>) -> bool {
        if !self.rules.is_bounded() || self.rules.overflow != Overflow::DropHead {
            return false;
        }
        let mut has_left = false;
        for _ in 0..LEAVES_MAX {
            if !self.is_over() {
                break;
            }
            let Some(entry) = self.ready.pop_lowest() else { break };
            self.leave(entry, Reason::MaxLen, effects);
            has_left = true;
        }
        has_left
    }

    /// Lets what is due leave, in slices.
    pub(super) fn expire(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        for _ in 0..LEAVES_MAX {
            let Some(entry) = self.ready.pop_expired(now) else { return };
            self.leave(entry, Reason::Expired, effects);
        }
    }

    /// The message is gone, or on its way to where dead letters go.
    pub(super) fn leave(&mut self, entry: Entry, reason: Reason, effects: &mut Vec<Effect>) {
        effects.push(Effect::Left(entry.index, reason));
        if !self.rules.has_dead_letters {
            effects.push(Effect::Settled(entry.index));
            return;
        }
        self.leaving.add(entry, reason);
        if !std::mem::replace(&mut self.leaving.is_told, true) {
            effects.push(Effect::DeadLetters);
        }
    }

    /// The first dead messages to be moved, up to a count and, but for the first, so many bytes together. When there
    /// are none, or `is_resting`, the next one to die is told by [`Effect::DeadLetters`] again.
    pub fn dead(&mut self, count_max: usize, bytes_max: u64, is_resting: bool) -> Vec<Dead> {
        let dead = self.leaving.first(count_max, bytes_max);
        if dead.is_empty() || is_resting {
            self.leaving.is_told = false;
        }
        dead
    }

    /// A dead message's entry, for a transaction's group.
    pub fn dead_entry(&self, sequence: Sequence) -> Option<IndexEntry> {
        self.leaving.entry(sequence)
    }

    pub(super) fn buried(&mut self, sequence: Sequence, effects: &mut Vec<Effect>) {
        if let Some(dead) = self.leaving.remove(sequence) {
            effects.push(Effect::Settled(dead.entry.index));
        }
    }
}
