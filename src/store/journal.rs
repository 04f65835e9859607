//! The append side of the journal: records are encoded into a shared buffer under a short lock, and get their positions
//! there.
//!
//! It decides where files end and counts references; it never touches a file. The [`committer`](super::committer) takes
//! the buffer, seals the checksums and writes.

use super::checkpoint::Task;
use super::record::{Origin, Progress};
use super::references::References;
use super::requests::{Nudge, Removal};
use super::{
    Appended, DiskState, JournalFailed, Options, Queues, Record, Settled, SyncWaiter, Target, record, segment,
};
use crate::definition::{Change, Definition};
use crate::durability::{Level, Point};
use crate::histogram::{Histogram, LATENCY_BOUNDS_US};
use crate::message::Message;
use crate::name::{Position, QueueId};
use crate::time::Duration;
use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
use std::sync::atomic::{
    AtomicBool, AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Arc, Weak, mpsc};
use tokio::sync::watch;

/// A buffer of this size is written although nobody waits and a write was just made.
const LARGE_BUFFER_BYTES: usize = 256 << 10;
/// A buffer of this size is put aside and another begun, so that growing never copies much under the lock.
const CHUNK_BYTES: usize = 1 << 20;
/// How many buffers are kept for use again, and how large each may be.
const SPARE_COUNT_MAX: usize = 8;
const SPARE_BYTES_MAX: usize = 2 * CHUNK_BYTES;
/// Within what time a sync is made so that files can be deleted, where nothing else wants one.
const SYNC_FOR_SPACE: Duration = Duration::from_secs(1);
/// References are released in slices of this many, so that appenders get their turn.
const RELEASE_SLICE: usize = 4096;

/// What the committer is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sleep {
    /// It is not: it will look again.
    Awake,
    /// For anything.
    Idle,
    /// For a large buffer or for somebody who waits; it wakes by itself to write what is there.
    Pausing,
}

/// How far the journal's life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    /// The compactor is to end.
    Stopping,
    /// It has. The committer is to write what there is and to end.
    Closing,
    /// Closed or failed: what is appended goes nowhere.
    Over,
}

/// Where in the buffer a new file begins, with its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) at: usize,
    pub(super) start: u64,
}

/// Whole records, unsealed.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub(super) bytes: Vec<u8>,
    /// The position of the first byte.
    pub(super) base: u64,
    pub(super) cuts: Vec<Cut>,
    /// How much of it the committer has written.
    pub(super) written: usize,
    /// It is one large record. The chunk before ends with the record that announces it.
    pub(super) is_large: bool,
}

/// What appenders and the committer share under the lock.
pub(super) struct State {
    /// Chunks not yet taken by the committer: full ones, oldest first, and the one that is appended to.
    full: Vec<Chunk>,
    chunk: Chunk,
    /// Empty buffers, for their memory.
    spare: Vec<Vec<u8>>,
    /// Changes whose record is not yet synced, with its end.
    pub(super) changes: Vec<(u64, Vec<Change>)>,
    /// By [`Level`].
    waiters: [Waiters; Level::COUNT],
    /// How far somebody waits for each [`Level`].
    wanted: [u64; Level::COUNT],
    /// The least time within which somebody who was told of a write has been promised a sync, since the last sync began.
    pub(super) sync_within: Option<Duration>,
    /// That all before this is durable is to be written down before the next record: so that a start can tell a write that
    /// a power cut has torn, of which nobody was told, from what was synced and has rotted.
    synced_to_note: Option<u64>,
    pub(super) sleep: Sleep,
    pub(super) phase: Phase,
    pub(super) references: References,
    pub(super) next_queue_id: u64,
    pub(super) records: u64,
}

impl State {
    pub(super) fn new(next: u64, references: References, next_queue_id: QueueId) -> Self {
        Self {
            full: Vec::new(),
            chunk: Chunk { base: next, ..Chunk::default() },
            spare: Vec::new(),
            changes: Vec::new(),
            waiters: Default::default(),
            wanted: [0; Level::COUNT],
            sync_within: None,
            synced_to_note: None,
            sleep: Sleep::Awake,
            phase: Phase::Running,
            references,
            next_queue_id: next_queue_id.0,
            records: 0,
        }
    }

    /// The position of the next byte.
    pub(super) fn next(&self) -> u64 {
        self.chunk.base + self.chunk.bytes.len() as u64
    }

    /// Whether something waits to be written.
    pub(super) fn is_pending(&self) -> bool {
        !self.chunk.bytes.is_empty() || !self.full.is_empty()
    }

    /// Whether so much waits that it should be written now.
    pub(super) fn is_large(&self) -> bool {
        self.chunk.bytes.len() >= LARGE_BUFFER_BYTES || !self.full.is_empty()
    }

    /// How many bytes wait to be written.
    pub(super) fn bytes(&self) -> usize {
        self.full.iter().chain([&self.chunk]).map(|chunk| chunk.bytes.len()).sum()
    }

    /// Whether something waits to be written, and nothing of it is large.
    pub(super) fn is_small(&self) -> bool {
        self.is_pending() && !self.full.iter().any(|chunk| chunk.is_large)
    }

    /// Makes room for a record: another chunk if this one is large enough, another file if the current one is full. What
    /// is to be written down of the last sync comes first.
    fn prepare(&mut self, segment_bytes: u64) {
        if self.chunk.bytes.len() >= CHUNK_BYTES {
            let bytes =
                self.spare.pop().unwrap_or_else(|| Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 16));
            self.put_aside(bytes);
        }
        let next = self.next();
        if next - self.references.current_start() >= segment_bytes {
            self.chunk.cuts.push(Cut { at: self.chunk.bytes.len(), start: next });
            self.chunk.bytes.extend_from_slice(&segment::header(next));
            self.references.roll(next);
        }
        if let Some(position) = self.synced_to_note.take() {
            record::write_synced(&mut self.chunk.bytes, position);
        }
    }

    /// Puts a large record aside by itself, behind one that announces it. Returns its position.
    fn put_large(&mut self, bytes: Vec<u8>) -> u64 {
        record::write_large(&mut self.chunk.bytes, bytes.len() as u64);
        self.put_aside(bytes);
        self.chunk.is_large = true;
        let position = self.chunk.base;
        let spare = self.spare.pop().unwrap_or_default();
        self.put_aside(spare);
        position
    }

    /// How far somebody waits for this.
    pub(super) fn wanted(&self, level: Level) -> u64 {
        self.wanted[level.index()]
    }

    pub(super) fn want(&mut self, point: Point) {
        let wanted = &mut self.wanted[point.level.index()];
        *wanted = point.end.0.max(*wanted);
    }

    /// Goes on in `bytes`.
    fn put_aside(&mut self, bytes: Vec<u8>) {
        let chunk = Chunk { base: self.next(), bytes, ..Chunk::default() };
        self.full.push(std::mem::replace(&mut self.chunk, chunk));
    }

    /// Moves all chunks to `taken`, which is empty, and keeps the buffers of `used` for the next ones.
    pub(super) fn take(&mut self, taken: &mut Vec<Chunk>, used: &mut Vec<Vec<u8>>) {
        let kept = used.drain(..).filter(|bytes| bytes.capacity() <= SPARE_BYTES_MAX);
        self.spare.extend(kept.take(SPARE_COUNT_MAX - self.spare.len().min(SPARE_COUNT_MAX)));
        if !self.chunk.bytes.is_empty() {
            let bytes = self.spare.pop().unwrap_or_default();
            self.put_aside(bytes);
        }
        std::mem::swap(taken, &mut self.full);
    }

    /// Nothing is written any more: what waits goes.
    pub(super) fn discard(&mut self) {
        self.chunk = Chunk { base: self.next(), ..Chunk::default() };
        self.full.clear();
        self.spare.clear();
        self.changes.clear();
        self.waiters.iter_mut().for_each(Vec::clear);
    }

    /// Whether the committer must be woken; it is told so only once.
    fn take_wake(&mut self, shared: &Shared) -> bool {
        let is_wanted = Level::ALL.into_iter().any(|level| self.wanted(level) > shared.reached(level));
        let wake = match self.sleep {
            Sleep::Awake => false,
            Sleep::Idle if shared.batches.load(Relaxed) > 0 => is_wanted || self.is_large(),
            Sleep::Idle => is_wanted || self.is_pending(),
            Sleep::Pausing => is_wanted || self.is_large(),
        };
        if wake {
            self.sleep = Sleep::Awake;
        }
        wake
    }

    /// Forgets references and returns the files that became free.
    fn forget(&mut self, records: impl Iterator<Item = Record>) -> Vec<u64> {
        let mut any_free = false;
        for (position, record_bytes) in records.filter(|(position, _)| position.is_some()) {
            any_free |= self.references.forget(position.0, record_bytes);
        }
        if any_free { self.references.take_free() } else { Vec::new() }
    }
}

/// Who waits, and for what position.
type Waiters = Vec<(u64, Arc<dyn SyncWaiter>)>;

/// How far the journal has come in one respect: all of it, and all but large records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reached {
    pub(super) all: u64,
    pub(super) but_large: u64,
}

/// What the journal, the committer and the checkpointer share.
pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    pub(super) wake: Condvar,
    /// How many appenders are in the middle of a [batch](super::Batch).
    batches: AtomicUsize,
    /// Wakes the compactor: a checkpoint was made, or the journal is closed.
    pub(super) compactor_wake: Condvar,
    /// Read by whoever is in the middle of a transaction, written by a checkpoint where it begins and ends.
    pub(super) gate: RwLock<()>,
    pub(super) source: Mutex<Option<Weak<dyn Queues>>>,
    pub(super) failure: watch::Sender<Option<JournalFailed>>,
    pub(super) tasks: mpsc::Sender<Task>,
    /// The start has replayed something: a checkpoint is to be made as soon as the queues can be asked.
    pub(super) is_checkpoint_due: AtomicBool,
    /// How far everything has come, by [`Level`].
    reached: [AtomicU64; Level::COUNT],
    segment_bytes: u64,
    pub(super) large_body_bytes: usize,
    pub(super) disk: watch::Sender<DiskState>,
    /// The end of what was appended.
    pub(super) appended: AtomicU64,
    pub(super) writes: AtomicU64,
    pub(super) syncs: AtomicU64,
    pub(super) sync_times: Histogram,
    pub(super) checkpoints: AtomicU64,
    pub(super) checkpoints_failed: AtomicU64,
    pub(super) damages: AtomicU64,
    pub(super) files_deleted: AtomicU64,
    pub(super) damaged: AtomicU64,
    pub(super) moved: AtomicU64,
    pub(super) opened_at: u64,
}

impl Shared {
    pub(super) fn new(
        state: State,
        options: &Options,
        tasks: mpsc::Sender<Task>,
        is_checkpoint_due: bool,
    ) -> Self {
        let next = state.next();
        Self {
            state: Mutex::new(state),
            wake: Condvar::new(),
            batches: AtomicUsize::new(0),
            compactor_wake: Condvar::new(),
            gate: RwLock::new(()),
            source: Mutex::new(None),
            failure: watch::Sender::new(None),
            is_checkpoint_due: AtomicBool::new(is_checkpoint_due),
            tasks,
            reached: [(); Level::COUNT].map(|()| AtomicU64::new(next)),
            segment_bytes: options.segment_bytes,
            large_body_bytes: options.large_body_bytes,
            disk: watch::Sender::default(),
            appended: AtomicU64::new(next),
            writes: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
            sync_times: Histogram::new(LATENCY_BOUNDS_US),
            checkpoints: AtomicU64::new(0),
            checkpoints_failed: AtomicU64::new(0),
            damages: AtomicU64::new(0),
            files_deleted: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
            moved: AtomicU64::new(0),
            opened_at: next,
        }
    }

    pub(super) fn synced(&self) -> u64 {
        self.reached(Level::Synced)
    }

    pub(super) fn reached(&self, level: Level) -> u64 {
        self.reached[level.index()].load(Acquire)
    }

    /// So much is durable: says so and calls those who waited for it.
    pub(super) fn set_synced(&self, reached: Reached) {
        self.set(Level::Synced, reached.all);
        self.set(Level::SyncedButLarge, reached.but_large);
        self.state.lock().synced_to_note = Some(reached.but_large);
        self.tell(&[Level::SyncedButLarge, Level::Synced]);
    }

    /// So much is written; [`Shared::tell_written`] is to follow.
    pub(super) fn set_written(&self, reached: Reached) {
        self.set(Level::Written, reached.all);
        self.set(Level::WrittenButLarge, reached.but_large);
    }

    /// Calls those who waited for what is written.
    pub(super) fn tell_written(&self) {
        self.tell(&[Level::WrittenButLarge, Level::Written]);
    }

    fn set(&self, level: Level, position: u64) {
        self.reached[level.index()].store(position, Release);
    }

    /// Calls those who wait for no more than what these levels have reached.
    fn tell(&self, levels: &[Level]) {
        let mut done: smallvec::SmallVec<[(Point, Arc<dyn SyncWaiter>); 16]> = smallvec::SmallVec::new();
        let mut state = self.state.lock();
        for &level in levels {
            let reached = self.reached(level);
            let point = level.at(Position(reached));
            let waiters = &mut state.waiters[level.index()];
            done.extend(
                waiters.extract_if(.., |(end, _)| *end <= reached).map(|(_, waiter)| (point, waiter)),
            );
        }
        drop(state);
        done.into_iter().for_each(|(point, waiter)| waiter.reached(point));
    }

    /// The journal's promise is broken: nothing is confirmed any more, and everybody is told.
    pub(super) fn fail(&self, reason: &str) {
        tracing::error!(reason, "the journal failed, nothing can be made durable any more");
        self.failure.send_if_modified(|failure| {
            let is_first = failure.is_none();
            failure.get_or_insert_with(|| JournalFailed::new(reason));
            is_first
        });
        let mut state = self.state.lock();
        state.phase = Phase::Over;
        state.discard();
    }

    /// Calls `waiter` once the journal has come as far as the point says; unless it can wait, that is hurried up. Of what
    /// is written only it is synced `within` that time then.
    pub(super) fn notify(
        &self,
        point: Point,
        within: Option<Duration>,
        waiter: Arc<dyn SyncWaiter>,
        hurry: Hurry,
    ) {
        let mut state = self.state.lock();
        if let Some(within) = within.filter(|_| self.synced() < point.end.0) {
            self.promise_sync(&mut state, within);
        }
        let reached = self.reached(point.level);
        if reached >= point.end.0 {
            drop(state);
            return waiter.reached(point.level.at(Position(reached)));
        }
        if state.phase == Phase::Over {
            return;
        }
        state.waiters[point.level.index()].push((point.end.0, waiter));
        if hurry == Hurry::Yes {
            state.want(point);
        }
        self.wake_committer(state);
    }

    /// What is written is to be synced within that time.
    fn promise_sync(&self, state: &mut State, within: Duration) {
        if state.sync_within.is_none_or(|least| within < least) {
            state.sync_within = Some(within);
            // The committer may be asleep until later than that.
            state.sleep = Sleep::Awake;
            self.wake.notify_one();
        }
    }

    fn wake_committer(&self, mut state: MutexGuard<'_, State>) {
        if state.take_wake(self) {
            drop(state);
            self.wake.notify_one();
        }
    }

    pub(super) fn begin_batch(&self) {
        self.batches.fetch_add(1, Relaxed);
    }

    /// Whatever others are in the middle of: what was appended meanwhile is to be written.
    pub(super) fn end_batch(&self) {
        self.batches.fetch_sub(1, Relaxed);
        if self.appended.load(Relaxed) > self.reached(Level::WrittenButLarge) {
            let mut state = self.state.lock();
            if state.sleep == Sleep::Idle && state.is_pending() {
                state.sleep = Sleep::Awake;
                drop(state);
                self.wake.notify_one();
            }
        }
    }

    /// Hurries up the sync of everything appended so far, and returns its end; the checkpointer is sent a task when it
    /// [is decided](Shared::is_decided).
    pub(super) fn request_sync(&self) -> u64 {
        let end = self.state.lock().next();
        let nudge = Arc::new(Nudge::new(self.tasks.clone()));
        self.notify(Level::Synced.at(Position(end)), None, nudge, Hurry::Yes);
        end
    }

    /// Whether everything before `end` is durable, or never will be.
    pub(super) fn is_decided(&self, end: u64) -> bool {
        self.synced() >= end || self.state.lock().phase == Phase::Over
    }

    /// Appends what `write` puts into the buffer, and returns what it returns and the end of it.
    fn append<T>(&self, write: impl FnOnce(&mut State) -> T) -> (T, Position) {
        let mut state = self.state.lock();
        state.prepare(self.segment_bytes);
        let result = write(&mut state);
        state.records += 1;
        let end = state.next();
        self.appended.store(end, Relaxed);
        if state.phase == Phase::Over {
            state.discard();
        }
        self.wake_committer(state);
        (result, Position(end))
    }

    // What these do is said at `MessageLog`.

    pub(super) fn append_publish(&self, message: &Message, targets: &[Target], origin: Origin) -> Appended {
        if message.body().len() > self.large_body_bytes {
            return self.append_large(message, targets, origin);
        }
        let ((position, record_bytes), end) = self.append(|state| {
            let position = state.next();
            record::write_publish(&mut state.chunk.bytes, message, targets, origin);
            let record_bytes = bytes(state.next() - position);
            state.references.add(position, targets.len() as u64, record_bytes);
            (Position(position), record_bytes)
        });
        Appended { position, end, record_bytes, is_large: false }
    }

    /// Encodes the record before the lock is taken: nobody waits for that but its publisher.
    fn append_large(&self, message: &Message, targets: &[Target], origin: Origin) -> Appended {
        let mut record = Vec::new();
        record::write_publish(&mut record, message, targets, origin);
        let record_bytes = bytes(record.len() as u64);
        let (position, end) = self.append(|state| {
            let position = state.put_large(record);
            state.references.add(position, targets.len() as u64, record_bytes);
            Position(position)
        });
        Appended { position, end, record_bytes, is_large: true }
    }

    pub(super) fn append_progress(&self, queue: QueueId, progress: &Progress<'_>) -> Position {
        let settled = || progress.settled.iter().map(|settled| (settled.position, settled.record_bytes));
        if progress.is_empty() {
            let records: smallvec::SmallVec<[Record; 16]> = settled().collect();
            self.release(&records);
            return Position(self.synced());
        }
        let (free, end) = self.append(|state| {
            record::write_progress(&mut state.chunk.bytes, queue, progress);
            state.forget(settled())
        });
        self.remove(free, end);
        end
    }

    pub(super) fn append_transaction(
        &self,
        publishes: &[(&Message, &[Target])],
        settles: &[(QueueId, &[Settled])],
    ) -> (Vec<Appended>, Position) {
        let mut offsets = Vec::with_capacity(publishes.len());
        let ((places, free), end) = self.append(|state| {
            let base = state.chunk.base;
            record::write_transaction(&mut state.chunk.bytes, publishes, settles, &mut offsets);
            let mut places = Vec::with_capacity(publishes.len());
            for (&offset, (_, targets)) in offsets.iter().zip(publishes) {
                let position = base + offset as u64;
                let record_bytes = bytes(record::total_length(&state.chunk.bytes[offset..]) as u64);
                state.references.add(position, targets.len() as u64, record_bytes);
                places.push((Position(position), record_bytes));
            }
            let settled = settles.iter().flat_map(|(_, settled)| settled.iter());
            let free = state.forget(settled.map(|settled| (settled.position, settled.record_bytes)));
            (places, free)
        });
        self.remove(free, end);
        let appended = |(position, record_bytes)| Appended { position, end, record_bytes, is_large: false };
        (places.into_iter().map(appended).collect(), end)
    }

    pub(super) fn release(&self, records: &[Record]) {
        for slice in records.chunks(RELEASE_SLICE) {
            let mut state = self.state.lock();
            let (free, end) = (state.forget(slice.iter().copied()), Position(state.next()));
            drop(state);
            self.remove(free, end);
        }
    }

    pub(super) fn append_changes(&self, changes: &[Change]) -> Position {
        let encoded = record::encode_changes(changes);
        let kept = changes.to_vec();
        let highest = changes.iter().filter_map(|change| match change {
            Change::Put(Definition::Queue(_, _, queue)) => Some(queue.id.0),
            _ => None,
        });
        let next_queue_id = highest.max().map_or(0, |id| id + 1);
        let append = |state: &mut State| {
            record::write_changes(&mut state.chunk.bytes, &encoded);
            state.next_queue_id = state.next_queue_id.max(next_queue_id);
            state.want(Level::SyncedButLarge.at(Position(state.next())));
            state.changes.push((state.next(), kept));
        };
        self.append(append).1
    }

    /// Asks the checkpointer to delete files that became free by a record before `end`.
    ///
    /// Only once that record is durable: a transaction that moves a message must not cost the old copy before the new one
    /// is safe.
    fn remove(&self, free: Vec<u64>, end: Position) {
        if !free.is_empty() {
            let removal = Removal::new(self.tasks.clone(), free);
            self.notify(Level::Synced.at(end), Some(SYNC_FOR_SPACE), Arc::new(removal), Hurry::No);
        }
    }
}

/// Whether a sync is made for somebody who waits, or the next one will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hurry {
    Yes,
    No,
}

/// A record's length; no message is as long as four gigabytes.
fn bytes(length: u64) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
