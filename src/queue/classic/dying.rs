//! What whoever moves dead letters asks of a queue.

use super::work::Work;
use super::{Queue, settled};
use crate::dead_letter;
use crate::name::Sequence;
use crate::outbox::Wakes;
use crate::queue::state::{Command, Dead};
use crate::store::Settled;
use crate::store::index::IndexEntry;

impl Queue {
    /// Where its dead letters go.
    pub fn dead_letters(&self) -> Option<dead_letter::DeadLetters> {
        self.inner.lock().settings.dead_letters.clone()
    }

    /// Its first dead letters: up to a count and, but for the first, so many bytes of bodies together.
    pub fn dead(&self, count_max: usize, bytes_max: u64) -> Vec<Dead> {
        self.inner.lock().state.dead(count_max, bytes_max, false)
    }

    /// Whether the record of a dead letter stands elsewhere now than was said.
    pub fn has_moved(&self, dead: &Dead) -> bool {
        let IndexEntry { sequence, position, .. } = dead.entry.index;
        let now = self.inner.lock().state.dead_entry(sequence);
        now.is_some_and(|entry| entry.position != position)
    }

    /// Nobody took its first dead letters: they are tried again when more die, or after a while.
    pub fn rest(&self) {
        let mut inner = self.inner.lock();
        inner.state.dead(0, 0, true);
        let stuck = inner.state.leaving_count() as i64;
        let before = std::mem::replace(&mut inner.stuck, stuck);
        self.services.dead_letters.count_stuck(stuck - before);
        drop(inner);
        self.services.dead_letters.rest(self.weak());
    }

    /// Dead letters leave for good, because nobody wants them.
    pub fn bury(&self, sequences: &[Sequence], wakes: &mut Wakes) {
        let mut inner = self.inner.lock();
        if !inner.is_deleted {
            self.run(&mut inner, Command::Buried(sequences), wakes);
            self.count_leaving(&mut inner);
        }
    }

    /// Dead letters leave, in a group that the caller appends. Returns the records to be settled there; messages without
    /// one are left out.
    pub fn bury_for_transaction(&self, dead: &[Dead], wakes: &mut Wakes) -> Vec<Settled> {
        let mut inner = self.inner.lock();
        if inner.is_deleted {
            return Vec::new();
        }
        let sequences: Vec<Sequence> = dead.iter().map(|dead| dead.entry.index.sequence).collect();
        let entries = sequences.iter().filter_map(|sequence| inner.state.dead_entry(*sequence));
        let records: Vec<Settled> = entries.filter(|entry| entry.is_durable).map(settled).collect();
        Work::with(|work| {
            work.written = records.iter().map(|settled| settled.sequence).collect();
            self.run_with(&mut inner, work, Command::Buried(&sequences), wakes)
        });
        self.count_leaving(&mut inner);
        records
    }

    /// Tells the node how many dead letters wait here.
    pub(super) fn count_leaving(&self, inner: &mut super::Inner) {
        let waiting = inner.state.leaving_count() as i64;
        if waiting == inner.leaving {
            return;
        }
        let before = std::mem::replace(&mut inner.leaving, waiting);
        self.services.dead_letters.count(waiting - before);
        if inner.stuck > waiting {
            self.services.dead_letters.count_stuck(waiting - inner.stuck);
            inner.stuck = waiting;
        }
    }
}
