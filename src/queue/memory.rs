//! How much of the node's memory messages take, and what queues are to do about it.
//!
//! Every queue counts for itself, under its own lock, and reports what changed once it is worth it; so a queue that keeps
//! up costs nothing here. When much is used, a queue that holds a large part of it lets new messages wait in the journal
//! only (it is *lean*); when more is used, the pager takes messages of the largest queues out of memory.

use super::state::{Pressure, Window};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// A queue reports when so much changed.
const STEP_BYTES: u64 = 4 << 10;
/// While memory is short, but not all of it is used, a queue keeps so much of its messages: the next to be delivered.
const LEAN_BYTES: u64 = 64 << 10;

/// The memory of the node's messages.
#[derive(Debug)]
pub struct Memory {
    limit_bytes: AtomicU64,
    used_bytes: AtomicU64,
    /// The pager was told, and has not looked yet.
    is_told: AtomicBool,
    /// It is told when so much is used.
    tell_at_bytes: AtomicU64,
}

/// What a report leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reported {
    /// Nothing.
    Fine,
    /// The pager must be told to take messages out of memory.
    Tell,
}

impl Memory {
    /// For messages of so many bytes together.
    pub fn new(limit_bytes: u64) -> Self {
        let tell_at_bytes = AtomicU64::new(part(limit_bytes, 95));
        let (limit_bytes, used_bytes) = (AtomicU64::new(limit_bytes), AtomicU64::new(0));
        Self { limit_bytes, used_bytes, is_told: AtomicBool::new(false), tell_at_bytes }
    }

    /// Without a limit: where there is no disk.
    pub fn unlimited() -> Self {
        Self::new(u64::MAX)
    }

    /// What the queues have reported.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Relaxed)
    }

    /// What messages may take together.
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes.load(Relaxed)
    }

    /// Sets what messages may take together from now on. Where there is no limit, as without a disk, there is none.
    pub fn set_limit_bytes(&self, limit_bytes: u64) {
        if self.limit_bytes() != u64::MAX {
            self.limit_bytes.store(limit_bytes, Relaxed);
            self.tell_at_bytes.store(part(limit_bytes, 95), Relaxed);
        }
    }

    /// What a queue that holds `own_bytes` is to do.
    pub(super) fn pressure(&self, own_bytes: u64) -> Pressure {
        let used = self.used_bytes();
        let limit = self.limit_bytes();
        if used < part(limit, 80) {
            return Pressure::default();
        }
        let is_short = used >= limit;
        let is_lean = is_short || own_bytes >= limit / 4;
        let window = if is_short {
            Window { low_bytes: 128 << 10, high_bytes: 512 << 10 }
        } else {
            Pressure::default().window
        };
        Pressure { is_lean, keep_bytes: if is_short { 0 } else { LEAN_BYTES }, window }
    }

    /// A queue now holds `own_bytes`; `reported` is what it said last.
    pub(super) fn report(&self, reported: &mut u64, own_bytes: u64) -> Reported {
        if own_bytes.abs_diff(*reported) < STEP_BYTES && (own_bytes > 0 || *reported == 0) {
            return Reported::Fine;
        }
        let used = if own_bytes > *reported {
            let more = own_bytes - *reported;
            self.used_bytes.fetch_add(more, Relaxed) + more
        } else {
            let less = *reported - own_bytes;
            self.used_bytes.fetch_sub(less, Relaxed) - less
        };
        *reported = own_bytes;
        if used < self.tell_at_bytes.load(Relaxed) || self.is_told.swap(true, Relaxed) {
            return Reported::Fine;
        }
        Reported::Tell
    }

    /// How much is to leave memory now.
    pub(super) fn excess_bytes(&self) -> u64 {
        self.used_bytes().saturating_sub(part(self.limit_bytes(), 80))
    }

    /// The pager has done what it could; it is told again when noticeably more is used than that left.
    pub(super) fn rest(&self) {
        let next =
            part(self.limit_bytes(), 95).max(self.used_bytes().saturating_add(part(self.limit_bytes(), 5)));
        self.tell_at_bytes.store(next, Relaxed);
        self.is_told.store(false, Relaxed);
    }
}

fn part(bytes: u64, percent: u64) -> u64 {
    bytes / 100 * percent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pager_is_told_once_and_again_when_more_is_used() {
        let memory = Memory::new(1_000_000);
        let (mut one, mut other) = (0, 0);
        assert_eq!(memory.report(&mut one, 900_000), Reported::Fine);
        assert_eq!(memory.report(&mut other, 100_000), Reported::Tell);
        assert_eq!(memory.report(&mut other, 200_000), Reported::Fine);
        assert_eq!((memory.used_bytes(), memory.excess_bytes()), (1_100_000, 300_000));
        memory.rest();
        assert_eq!(memory.report(&mut other, 220_000), Reported::Fine);
        assert_eq!(memory.report(&mut other, 300_000), Reported::Tell);
        assert_eq!(memory.report(&mut one, 0), Reported::Fine);
        assert_eq!(memory.used_bytes(), 300_000);
    }

    #[test]
    fn the_largest_queue_is_lean_first_and_all_are_when_memory_is_short() {
        let memory = Memory::new(1_000_000);
        let mut reported = 0;
        memory.report(&mut reported, 850_000);
        assert!(memory.pressure(850_000).is_lean && !memory.pressure(10_000).is_lean);
        memory.report(&mut reported, 1_000_000);
        assert!(memory.pressure(0).is_lean);
        memory.report(&mut reported, 100_000);
        assert!(!memory.pressure(100_000).is_lean);
    }
}
