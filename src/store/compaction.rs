//! Moves the living messages out of sparse journal files, so that their space comes back: the compactor.
//!
//! A file whose living records are a small part of it costs more than it is worth: one message that nobody consumes would
//! keep 64 MiB. The compactor takes the sparsest file that a checkpoint covers, asks the queues which messages stand in it,
//! and for each appends its record once more and tells the queues where it is now:
//!
//! 1. Read the message. No lock is held.
//! 2. Hold checkpoints. Append the record, marked as moved; it refers to every queue that still has the message.
//! 3. Tell each queue. Where the message was settled meanwhile the reference to the new record is given back, and the
//!    settle is written down again, behind the new record. Where its page has left memory meanwhile, or the queue is being
//!    deleted, the reference is given back and nothing is written down: a later slice tries again.
//! 4. The file goes when nothing refers to it any more and what was moved is durable; see `Shared::remove`.
//!
//! It moves at a bounded rate, works a part of the time only, and not at all while the disk refuses writes or somebody
//! still has to wait for it.

use super::index::{IndexEntry, Relocated};
use super::journal::{Phase, Shared};
use super::reader::Reader;
use super::record::{Origin, Progress, Settled};
use super::{Queues, Step};
use crate::message::Message;
use crate::name::{Position, QueueId};
use crate::time::{self, Duration};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};

/// A file is sparse when its living records are less than this part of it.
const SPARSE_PERCENT: u64 = 30;
/// How many bytes are moved a second, at most.
const BYTES_PER_S: u64 = 32 << 20;
/// The least pause between two slices.
const PAUSE: Duration = Duration::from_millis(1_000 * SLICE_BYTES / BYTES_PER_S);
/// It rests so many times as long as it worked: small messages cost more than their bytes say, and whoever is served
/// meanwhile has the processor.
const REST: u32 = 3;
/// How many bytes are read and moved together, about.
const SLICE_BYTES: u64 = 1 << 20;
/// How much of a file is asked for at a time: about a slice of a file that is just sparse. Who holds what stands in it has
/// to look for that, and to read pages; a whole file would be asked for again with each slice.
const RANGE_BYTES: u64 = SLICE_BYTES * 100 / SPARSE_PERCENT;
/// How often it looks when nobody wakes it.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// The queues that have the message of one record.
type Holders = Vec<(QueueId, IndexEntry)>;

pub(super) struct Compactor {
    shared: Arc<Shared>,
    reader: Arc<Reader>,
    /// Files that could not be emptied at the checkpoint at hand.
    passed_over: HashSet<u64>,
    /// How far it is.
    pass: Pass,
    checkpoints: u64,
}

/// A way through a file.
#[derive(Default)]
struct Pass {
    /// Where the file starts.
    file: u64,
    /// What stands before was moved, or could not be.
    at: u64,
    has_moved: bool,
}

impl Compactor {
    pub(super) fn new(shared: Arc<Shared>, reader: Arc<Reader>) -> Self {
        Self { shared, reader, passed_over: HashSet::new(), pass: Pass::default(), checkpoints: 0 }
    }

    /// Runs until the journal is closed or fails.
    pub(super) fn run(mut self) {
        loop {
            let started = time::now();
            let pause = match self.step() {
                Step::Over => return,
                Step::Worked => PAUSE.max(started.elapsed() * REST),
                Step::Waiting(_) => LOOK_INTERVAL,
            };
            let mut state = self.shared.state.lock();
            if state.phase != Phase::Running {
                return;
            }
            self.shared.compactor_wake.wait_for(&mut state, pause);
        }
    }

    /// Moves a slice of the sparsest file's messages.
    pub(super) fn step(&mut self) -> Step {
        let source = self.shared.source.lock().as_ref().and_then(Weak::upgrade);
        let file = {
            let state = self.shared.state.lock();
            if state.phase != Phase::Running {
                return Step::Over;
            }
            let checkpoints = self.shared.checkpoints.load(Relaxed);
            if std::mem::replace(&mut self.checkpoints, checkpoints) != checkpoints {
                self.passed_over.clear();
            }
            state.references.sparsest(SPARSE_PERCENT, &self.passed_over)
        };
        let is_refused = self.shared.disk.borrow().is_refusing();
        let (Some((start, end)), Some(queues), false) = (file, source, is_refused) else {
            return Step::Waiting(None);
        };
        if self.pass.file != start || !(start..end).contains(&self.pass.at) {
            self.pass = Pass { file: start, at: start, has_moved: false };
        }
        let to = end.min(self.pass.at + RANGE_BYTES);
        let (moved, is_all) = self.empty(self.pass.at, to, &*queues);
        self.pass.has_moved |= moved > 0;
        if is_all || moved == 0 {
            self.pass.at = to;
        }
        if self.pass.at == end && !self.pass.has_moved {
            self.passed_over.insert(start);
        }
        Step::Worked
    }

    /// Moves a slice of what stands between two positions. Returns how many messages it moved, and whether the slice had
    /// all that stands there.
    fn empty(&self, start: u64, end: u64, queues: &dyn Queues) -> (u64, bool) {
        let mut records: BTreeMap<Position, Holders> = BTreeMap::new();
        let mut visited = BTreeSet::new();
        queues.visit_between(Position(start), Position(end), &mut |queue, entry| {
            visited.insert(queue);
            records.entry(entry.position).or_default().push((queue, entry));
        });
        let (mut slice_bytes, count) = (0, records.len());
        let slice: Vec<(Position, Holders)> = records
            .into_iter()
            .take_while(|(_, holders)| {
                let is_in = slice_bytes < SLICE_BYTES;
                slice_bytes += holders.first().map_or(0, |(_, entry)| u64::from(entry.record_bytes));
                is_in
            })
            .collect();
        let wanted: Vec<_> =
            slice.iter().filter_map(|(at, holders)| Some((*at, holders.first()?.1.record_bytes))).collect();
        let mut moved = 0;
        let read = self.reader.read(&wanted, &mut |at, message| {
            if let (Some(message), Some((from, holders))) = (message, slice.get(at)) {
                move_one(&self.shared, queues, *from, holders, &message);
                moved += 1;
            }
        });
        if let Err(error) = read {
            tracing::warn!(%error, "a sparse journal file cannot be read for now");
        }
        visited.into_iter().for_each(|queue| queues.tidy(queue));
        self.shared.moved.fetch_add(moved, Relaxed);
        (moved, slice.len() == count)
    }
}

/// Appends a message's record again and tells its holders.
fn move_one(log: &Shared, queues: &dyn Queues, from: Position, holders: &Holders, message: &Message) {
    let _hold = log.gate.read_recursive();
    let targets: Vec<_> = holders.iter().map(|(queue, entry)| (*queue, entry.sequence)).collect();
    let is_transient = holders.iter().all(|(_, entry)| !entry.is_durable);
    let origin = Origin { is_moved: true, is_transient, is_delivered: false };
    let to = log.append_publish(message, &targets, origin);
    for (queue, entry) in holders {
        let record = (to.position, to.record_bytes);
        match queues.relocate(*queue, entry.sequence, from, record) {
            Relocated::Moved => log.release(&[(from, entry.record_bytes)]),
            // The message may be alive: a settle would lose it at the next start.
            Relocated::Refused => log.release(&[record]),
            // Perhaps before the new record: without an index that would bring it back.
            Relocated::Settled => {
                let settled = [Settled {
                    sequence: entry.sequence,
                    position: to.position,
                    record_bytes: to.record_bytes,
                    is_durable: entry.is_durable,
                }];
                log.append_progress(*queue, &Progress { settled: &settled, ..Progress::default() });
            }
        }
    }
}
