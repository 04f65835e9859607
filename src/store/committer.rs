//! The committer: the one writer and syncer of the journal, for everybody.
//!
//! ```text
//!            nothing appended                        somebody waits, or a large buffer, or the pause is over
//!   Idle ◄──────────────────── next ──────────────────────────────► write (roll files) ──► sync? ──► tell waiters
//!     │        Pausing ◄───────┘ │ something appended, nobody waits       │ refused              │
//!     └───────────┴──────────────┤◄──── Refused: the same again, later ◄──┘                      │
//!                                └───────────────────────────────────────────────────────────────┘
//! ```
//!
//! [`Committer::next`] decides and touches nothing. A thread ([`Committer::run`]) does what it says and waits when it
//! says so; or somebody else's loop calls [`Committer::step`], which never waits.
//!
//! While the thread waits, who needs a sync and has nothing else to do may commit in its own thread
//! ([`Committer::commit_here`]): on a fast disk, waking the committer and being woken by it takes as long as the sync.
//!
//! Batches form by themselves: what is appended while a sync runs is written and synced together by the next. What
//! nobody waits for is written at once, but at most once per [`WRITE_PAUSE`], and synced within the options' delay, or the
//! shorter one that somebody was promised who waits for the write only.
//!
//! Large records are written beside the others: a turn writes and syncs what is small, then one slice of large
//! records ([`large`](super::large)), and begins again. So who waits for a small record waits for one slice at most, and
//! there are two ends of what is safe: of everything, and of everything but large records ([`Reached`]).
//!
//! A write that fails, or the making of a file, is tried again until it works, whatever the reason: the bytes are still
//! here, and what is half written is written over. Nothing is confirmed meanwhile. A failed fdatasync ends the journal
//! for good, because the kernel may have dropped what it could not write.

use super::checkpoint::Task;
use super::files::{File, Files};
use super::journal::{Chunk, Phase, Reached, Shared, Sleep, State};
use super::large::{Larges, Piece};
use super::{DiskState, Options, Step, record, segment};
use crate::definition::Change;
use crate::durability::{Level, Point};
use crate::time::{self, Duration, Instant};
use parking_lot::Mutex;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// The least time between two writes that nobody waits for.
const WRITE_PAUSE: Duration = Duration::from_millis(1);
/// How long after it was refused a write is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// Small writes that are synced go where zeros stand already: such a sync need not write down that the file has grown, and
/// takes two thirds of the time. For large ones writing twice costs more than that.
const SMALL_WRITE_BYTES: usize = 8 << 10;
/// So many zeros are written at once.
static ROOM: [u8; 64 << 10] = [0; 64 << 10];
/// A disk that syncs within that time is quick enough to be waited for.
const QUICK_SYNC: Duration = Duration::from_millis(1);
/// So much is written and synced by who needs it; for more the thread is better.
const SMALL_BATCH_BYTES: usize = 64 << 10;

/// A file that is written.
#[derive(Clone)]
pub(super) struct Current {
    pub(super) file: Arc<dyn File>,
    pub(super) start: u64,
}

pub(super) struct Committer {
    shared: Arc<Shared>,
    files: Arc<dyn Files>,
    dir: PathBuf,
    sync_delay: Option<Duration>,
    current: Current,
    /// The offset in the current file up to which it has been written, with zeros ahead.
    room_end: u64,
    /// What was taken from the appenders and is not yet all written.
    chunks: Vec<Chunk>,
    /// Large records that are not yet all written.
    larges: Larges,
    /// Files before the current one that have something unsynced.
    behind: Vec<Current>,
    /// Whether it is to be synced, too.
    with_sync: bool,
    /// When what was refused is tried again.
    retry_at: Option<Instant>,
    /// Written chunks' buffers, to be used again.
    used: Vec<Vec<u8>>,
    /// Changes whose record is not yet synced.
    changes: Vec<(u64, Vec<Change>)>,
    /// How far all but large records are written.
    written: u64,
    synced: Reached,
    /// Something was written since.
    is_dirty: bool,
    last_write: Option<Instant>,
    unsynced_since: Option<Instant>,
    /// How long syncs took lately; none before the first.
    sync_time: Option<Duration>,
}

/// What is to be done now.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// Take what was appended, and write it.
    Commit { with_sync: bool },
    /// Go on with what was taken before.
    Retry,
    /// Nothing, until somebody wakes the committer or a time has come.
    Wait { sleep: Sleep, until: Option<Instant> },
    /// The journal is closed and everything is done.
    Stop,
}

/// Why a batch is not on disk.
enum Failed {
    /// The disk did not take it; it may later.
    Refused(String),
    /// The journal's promise is broken.
    Lost(String),
}

impl Committer {
    /// For a journal that is durable up to `synced`.
    pub(super) fn new(
        shared: Arc<Shared>,
        files: Arc<dyn Files>,
        dir: PathBuf,
        options: &Options,
        current: Current,
    ) -> Self {
        let synced = shared.synced();
        Self {
            shared,
            files,
            dir,
            sync_delay: options.sync_delay,
            current,
            room_end: 0,
            chunks: Vec::new(),
            larges: Larges::new(options.slice_bytes),
            behind: Vec::new(),
            with_sync: false,
            retry_at: None,
            used: Vec::new(),
            changes: Vec::new(),
            written: synced,
            synced: Reached { all: synced, but_large: synced },
            is_dirty: false,
            last_write: None,
            unsynced_since: None,
            sync_time: None,
        }
    }

    /// Runs until the journal is closed or fails.
    pub(super) fn run(committer: &Mutex<Self>) {
        let shared = committer.lock().shared.clone();
        or_fail(&shared, || while Self::turn(committer, &shared) {});
    }

    /// Does what is to be done, or waits; false at the end.
    fn turn(committer: &Mutex<Self>, shared: &Shared) -> bool {
        let mut own = committer.lock();
        let mut state = shared.state.lock();
        let next = own.next(&state, time::now());
        let Next::Wait { sleep, until } = next else {
            let goes_on = own.begin(&mut state, &next);
            drop(state);
            if goes_on {
                own.commit(time::now);
            } else {
                own.give_back_room();
            }
            return goes_on;
        };
        // Others may commit meanwhile.
        drop(own);
        state.sleep = sleep;
        match until {
            Some(deadline) => _ = shared.wake.wait_until(&mut state, deadline),
            None => shared.wake.wait(&mut state),
        }
        state.sleep = Sleep::Awake;
        true
    }

    /// Whether [`Committer::commit_here`] is worth trying.
    pub(super) fn is_quick(committer: &Mutex<Self>) -> bool {
        let time = committer.try_lock().and_then(|own| own.sync_time);
        time.is_some_and(|time| time <= QUICK_SYNC)
    }

    /// Writes and syncs what was appended, unless that is better left to the thread: because it is at work, or because
    /// it is much, or large. Blocks for a sync.
    pub(super) fn commit_here(committer: &Mutex<Self>, point: Point) {
        let Some(mut own) = committer.try_lock() else { return };
        let shared = own.shared.clone();
        let mut state = shared.state.lock();
        let is_thread_asleep = state.sleep != Sleep::Awake;
        let is_small = state.is_small() && state.bytes() <= SMALL_BATCH_BYTES;
        if !is_thread_asleep || !is_small || !own.larges.is_empty() || own.retry_at.is_some() {
            return;
        }
        state.want(point);
        let next = own.next(&state, time::now());
        if !matches!(next, Next::Commit { with_sync: true }) {
            return;
        }
        own.begin(&mut state, &next);
        drop(state);
        or_fail(&shared, || own.commit(time::now));
        let mut state = shared.state.lock();
        // What is left is the thread's; it knows only what there was when it fell asleep.
        let is_done = matches!(own.next(&state, time::now()), Next::Wait { .. });
        let is_due_later = own.retry_at.is_some() || own.unsynced_since.is_some();
        if (!is_done || is_due_later) && state.sleep != Sleep::Awake {
            state.sleep = Sleep::Awake;
            drop(state);
            shared.wake.notify_one();
        }
    }

    /// Does what is to be done at `now`, without waiting for anything but the file operations.
    pub(super) fn step(&mut self, now: Instant) -> Step {
        let shared = self.shared.clone();
        let mut state = shared.state.lock();
        let next = self.next(&state, now);
        if let Next::Wait { until, .. } = next {
            return Step::Waiting(until);
        }
        if !self.begin(&mut state, &next) {
            return Step::Over;
        }
        drop(state);
        self.commit(|| now);
        Step::Worked
    }

    /// Decides. Changes nothing.
    fn next(&self, state: &State, now: Instant) -> Next {
        if state.phase == Phase::Over {
            return Next::Stop;
        }
        let is_closing = state.phase == Phase::Closing;
        if let Some(retry_at) = self.retry_at {
            let is_due = is_closing || retry_at <= now;
            // Whoever appends or waits meanwhile need not wake the committer.
            return if is_due {
                Next::Retry
            } else {
                Next::Wait { sleep: Sleep::Awake, until: Some(retry_at) }
            };
        }
        let is_wanted = self.is_sync_wanted(state) || is_closing;
        let is_pending = state.is_pending();
        let pause_end = self.last_write.map(|at| at + WRITE_PAUSE).filter(|&end| end > now);
        let delay = self.sync_delay.into_iter().chain(state.sync_within).min();
        let sync_due = self.unsynced_since.zip(delay).map(|(since, delay)| since + delay);
        let levels = [Level::Synced, Level::Written, Level::WrittenButLarge];
        let is_write_wanted = is_wanted || levels.iter().any(|&level| state.wanted(level) > self.written);
        let to_write = is_pending && (is_write_wanted || pause_end.is_none() || state.is_large());
        let to_sync = (is_wanted || sync_due.is_some_and(|due| due <= now)) && (to_write || self.is_dirty);
        if to_write || to_sync || !self.larges.is_empty() {
            return Next::Commit { with_sync: to_sync };
        }
        if is_closing {
            return Next::Stop;
        }
        let sleep = if is_pending { Sleep::Pausing } else { Sleep::Idle };
        Next::Wait { sleep, until: pause_end.filter(|_| is_pending).into_iter().chain(sync_due).min() }
    }

    /// Whether somebody waits for what a sync would make durable; or a slice of a large record was written, which is synced
    /// with the next turn: who waits for a small record then need not wait for many slices.
    fn is_sync_wanted(&self, state: &State) -> bool {
        let wants_all = state.wanted(Level::Synced) > self.synced.all;
        let is_slice_written = self.larges.has_unsynced() && (wants_all || self.sync_delay.is_some());
        state.wanted(Level::SyncedButLarge) > self.synced.but_large
            || is_slice_written
            || (wants_all
                && (self.reached().all > self.synced.all || self.larges.is_empty() && state.is_small()))
    }

    /// Takes what is to be committed; false if that is nothing, for ever.
    fn begin(&mut self, state: &mut State, next: &Next) -> bool {
        match next {
            Next::Commit { with_sync } => {
                state.take(&mut self.chunks, &mut self.used);
                self.changes.append(&mut state.changes);
                self.with_sync = *with_sync;
                // Large records will be written after this sync, and were promised one, too.
                let has_larges = !self.larges.is_empty() || self.chunks.iter().any(|chunk| chunk.is_large);
                if *with_sync && !has_larges {
                    state.sync_within = None;
                }
                let is_calm = state.wanted(Level::SyncedButLarge) <= self.synced.but_large
                    && state.wanted(Level::WrittenButLarge) <= self.written;
                self.larges.begin_turn(is_calm);
            }
            Next::Stop => {
                state.phase = Phase::Over;
                state.discard();
            }
            Next::Retry | Next::Wait { .. } => {}
        }
        *next != Next::Stop
    }

    /// Writes what was taken and syncs it if asked, then a slice of a large record; `now` is read afterwards. What is
    /// refused stays taken.
    fn commit(&mut self, now: impl Fn() -> Instant) {
        let written = self.written;
        let result = self.write_chunks();
        // Said before those who wait for the sync hear of it.
        if result.is_ok() && self.set_disk(DiskState::Writable) {
            tracing::info!(dir = %self.dir.display(), "the disk can be written again");
        }
        self.shared.tell_written();
        let result = result.and_then(|()| if self.with_sync { self.sync_timed(&now) } else { Ok(()) });
        if self.written > written {
            self.last_write = Some(now());
        }
        let result = result.and_then(|()| self.write_slice());
        if self.is_dirty {
            self.unsynced_since.get_or_insert_with(&now);
        }
        match result {
            Ok(()) => self.retry_at = None,
            Err(Failed::Refused(reason)) => self.note_refused(&reason, now()),
            Err(Failed::Lost(reason)) => self.shared.fail(&reason),
        }
    }

    /// Writes everything that was taken but large records, which go into their lane.
    fn write_chunks(&mut self) -> Result<(), Failed> {
        let mut chunks = std::mem::take(&mut self.chunks);
        let mut done = 0;
        let mut result = Ok(());
        for chunk in &mut chunks {
            if chunk.is_large {
                self.written = chunk.base + chunk.bytes.len() as u64;
                self.larges.push(chunk.base, std::mem::take(&mut chunk.bytes), self.current.clone());
                self.shared.set_written(self.reached());
            } else {
                result = self.write_chunk(chunk);
            }
            if result.is_err() {
                break;
            }
            done += 1;
        }
        self.used.extend(chunks.drain(..done).map(|chunk| chunk.bytes).filter(|bytes| bytes.capacity() > 0));
        self.used.iter_mut().for_each(Vec::clear);
        self.chunks = chunks;
        result
    }

    /// Writes the next slice of large records.
    fn write_slice(&mut self) -> Result<(), Failed> {
        while let Some(Piece { file, result }) = self.larges.write_piece() {
            result.map_err(|error| self.refused(file.start, &error))?;
            if file.start != self.current.start && self.behind.iter().all(|behind| behind.start != file.start)
            {
                self.behind.push(file);
            }
            self.note_written(self.written);
            self.shared.tell_written();
        }
        Ok(())
    }

    /// How far it is written.
    fn reached(&self) -> Reached {
        Reached { all: self.larges.first().unwrap_or(self.written), but_large: self.written }
    }

    fn note_refused(&mut self, reason: &str, now: Instant) {
        if self.shared.state.lock().phase != Phase::Running {
            return self.shared.fail(&format!("closed while the disk refused to take it: {reason}"));
        }
        self.retry_at = Some(now + RETRY_PAUSE);
        if self.set_disk(DiskState::Refusing { reason: reason.into() }) {
            tracing::error!(reason, "the journal cannot be written: confirms wait until it can");
        }
    }

    /// Says whether that is news.
    fn set_disk(&self, state: DiskState) -> bool {
        self.shared.disk.send_if_modified(|before| {
            let is_news = *before != state;
            *before = state;
            is_news
        })
    }

    /// Writes what is not yet written of a chunk, in as many files as it needs.
    fn write_chunk(&mut self, chunk: &mut Chunk) -> Result<(), Failed> {
        loop {
            let cut = chunk.cuts.first().copied();
            let end = cut.map_or(chunk.bytes.len(), |cut| cut.at);
            if chunk.written < end {
                let position = chunk.base + chunk.written as u64;
                let records = &mut chunk.bytes[chunk.written..end];
                record::seal(records, position);
                let offset = position - self.current.start;
                let written = self.current.file.write_at(records, offset);
                written.map_err(|error| self.refused(self.current.start, &error))?;
                let count = records.len();
                chunk.written = end;
                self.prepare_room(offset + count as u64, count);
                self.note_written(chunk.base + end as u64);
            }
            let Some(cut) = cut else { return Ok(()) };
            let header_end = cut.at + segment::HEADER_BYTES;
            self.roll(cut.start, &chunk.bytes[cut.at..header_end])?;
            chunk.cuts.remove(0);
            chunk.written = header_end;
        }
    }

    /// Writes zeros behind what was written up to an offset, if that was little and more of the kind is expected.
    fn prepare_room(&mut self, end: u64, written: usize) {
        if end <= self.room_end || !self.with_sync || written > SMALL_WRITE_BYTES || !self.larges.is_empty() {
            return;
        }
        // A disk that does not take it will say so when it is needed.
        if self.current.file.write_at(&ROOM, end).is_ok() {
            self.room_end = end + ROOM.len() as u64;
        }
    }

    /// Ends the current file where its records end. If that fails a start does it.
    fn give_back_room(&mut self) {
        let end = self.written - self.current.start;
        if self.room_end > end && self.retry_at.is_none() {
            let _ = self.current.file.set_len(end);
        }
        self.room_end = 0;
    }

    fn note_written(&mut self, end: u64) {
        self.written = end;
        self.is_dirty = true;
        self.shared.set_written(self.reached());
        self.shared.writes.fetch_add(1, Relaxed);
    }

    /// Ends the current file and begins the one at `start`. May be done again when it was refused.
    fn roll(&mut self, start: u64, header: &[u8]) -> Result<(), Failed> {
        let length = start - self.current.start;
        if self.larges.has_some_in(self.current.start) || self.room_end > length {
            // Large records are written there later: a start must find room for as much as there will be. And no more.
            let resized = self.current.file.set_len(length);
            resized.map_err(|error| self.refused(self.current.start, &error))?;
            self.is_dirty = true;
        }
        self.room_end = 0;
        self.sync()?;
        let path = segment::path(&self.dir, start);
        let file = self.files.create(&path).map_err(|error| self.refused(start, &error))?;
        let synced = self.files.sync_dir(&self.dir);
        synced.map_err(|error| Failed::Lost(format!("cannot sync {}: {error}", self.dir.display())))?;
        file.write_at(header, 0).map_err(|error| self.refused(start, &error))?;
        self.current = Current { file: file.into(), start };
        self.note_written(start + header.len() as u64);
        // If nobody hears it the store is closing, and makes its last checkpoint later.
        let _ = self.shared.tasks.send(Task::Checkpoint(start));
        Ok(())
    }

    /// [`Committer::sync`], by the clock.
    fn sync_timed(&mut self, now: &impl Fn() -> Instant) -> Result<(), Failed> {
        let (begin, was_dirty) = (now(), self.is_dirty);
        let result = self.sync();
        let took = now() - begin;
        if was_dirty {
            self.shared.sync_times.record_time(took);
        }
        self.sync_time = Some(self.sync_time.map_or(took, |time| (time * 7 + took) / 8));
        result
    }

    /// Makes everything written durable and tells those who wait.
    fn sync(&mut self) -> Result<(), Failed> {
        if self.is_dirty {
            for file in self.behind.drain(..).chain([self.current.clone()]) {
                file.file.sync().map_err(|error| {
                    let path = segment::path(&self.dir, file.start);
                    Failed::Lost(format!("cannot sync {}: {error}", path.display()))
                })?;
                self.shared.syncs.fetch_add(1, Relaxed);
            }
            self.is_dirty = false;
            self.larges.note_synced();
            self.synced = self.reached();
        }
        self.unsynced_since = None;
        // The checkpointer must have the changes before anybody knows that they are synced: see its `checkpoint`.
        let count = self.changes.partition_point(|(end, _)| *end <= self.synced.but_large);
        for (_, changes) in self.changes.drain(..count) {
            let _ = self.shared.tasks.send(Task::Changes(changes));
        }
        self.shared.set_synced(self.synced);
        Ok(())
    }

    /// A write to the file at `start`, or its making, failed.
    fn refused(&self, start: u64, error: &io::Error) -> Failed {
        Failed::Refused(format!("{}: {error}", segment::path(&self.dir, start).display()))
    }
}

/// Does `work`; a panic in it is the end of the journal.
fn or_fail(shared: &Shared, work: impl FnOnce()) {
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err() {
        shared.fail("the committer panicked");
    }
}
