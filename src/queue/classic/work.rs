//! What the command at hand leads to. Few queues of a node are at work at a time, so these buffers belong to the thread
//! and not to the queue.

use super::settled;
use crate::name::Sequence;
use crate::queue::state::Effect;
use crate::store::Settled;
use crate::store::index::{IndexEntry, PageSummary};
use crate::store::record::Range;
use std::cell::Cell;
use std::collections::BTreeSet;

/// How many elements a buffer keeps room for.
const KEPT_MAX: usize = 1024;

thread_local! {
    static SPARE: Cell<Option<Box<Work>>> = const { Cell::new(None) };
}

/// The buffers for one command, empty at first.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Yet to be carried out.
    pub(super) effects: Vec<Effect>,
    /// What is to be written down.
    pub(super) settled: Vec<Settled>,
    pub(super) settled_ranges: Vec<Range>,
    pub(super) delivered: Vec<Sequence>,
    pub(super) returned: Vec<Sequence>,
    /// Those of them that came back because their consumer failed.
    pub(super) failed: Vec<Sequence>,
    /// Pages whose messages are gone.
    pub(super) settled_pages: Vec<PageSummary>,
    /// Settled by the command, but not to be journaled: they stand in a transaction's group.
    pub(super) written: BTreeSet<Sequence>,
    /// Its record says that it was delivered.
    pub(super) noted: Option<Sequence>,
}

impl Work {
    /// Lends this thread's buffers for a command, which carries out all its effects.
    pub(super) fn with<T>(run: impl FnOnce(&mut Self) -> T) -> T {
        let mut work = SPARE.take().unwrap_or_default();
        let result = run(&mut work);
        debug_assert!(work.effects.is_empty(), "the command's effects were carried out");
        if work.is_large() {
            work = Box::default();
        }
        if !work.written.is_empty() {
            work.written.clear();
        }
        work.noted = None;
        SPARE.set(Some(work));
        result
    }

    fn is_large(&self) -> bool {
        let records = self.settled.capacity().max(self.delivered.capacity()).max(self.returned.capacity());
        self.effects.capacity().max(self.settled_ranges.capacity()).max(records) > KEPT_MAX
    }

    /// The message is gone: that is to be written down, unless it is already.
    pub(super) fn settle(&mut self, entry: IndexEntry) {
        // A message that was delivered and settled by one command need not be noted as delivered.
        if self.delivered.last() == Some(&entry.sequence) {
            self.delivered.pop();
        }
        if entry.position.is_some() && !self.written.contains(&entry.sequence) {
            self.settled.push(settled(entry));
        }
    }
}
