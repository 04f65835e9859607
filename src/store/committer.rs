//! The committer: one thread that writes and syncs the journal for everybody.
//!
//! ```text
//!            nothing appended                        somebody waits, or a large buffer, or the pause is over
//!   Idle ◄──────────────────── look ──────────────────────────────► write (roll files) ──► sync? ──► tell waiters
//!     │        Pausing ◄───────┘ │ something appended, nobody waits                        │
//!     └───────────┴──────────────┴─────────────────────────────────────────────────────────┘
//! ```
//!
//! Batches form by themselves: what is appended while a sync runs is written and synced together by the next. What
//! nobody waits for is written at once, but at most once per [`WRITE_PAUSE`], and synced within the options' delay.
//!
//! A full disk stops the journal until there is space: nothing is confirmed meanwhile. Any other failure of a write, and
//! every failed fdatasync, ends it for good, because the kernel may have dropped what it could not write.

use super::checkpoint::Task;
use super::files::{File, Files};
use super::journal::{Chunk, Phase, Shared, Sleep};
use super::record;
use super::segment;
use crate::definition::Change;
use crate::time::{self, Duration, Instant};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// The least time between two writes that nobody waits for.
const WRITE_PAUSE: Duration = Duration::from_millis(1);
/// How long a write waits for space before it is tried again.
const FULL_PAUSE: Duration = Duration::from_millis(250);

/// The file that is being written.
pub(super) struct Current {
    pub(super) file: Box<dyn File>,
    pub(super) start: u64,
}

pub(super) struct Committer {
    shared: Arc<Shared>,
    files: Arc<dyn Files>,
    dir: PathBuf,
    sync_delay: Duration,
    current: Current,
    /// What was taken from the appenders.
    chunks: Vec<Chunk>,
    /// Written chunks' buffers, to be used again.
    used: Vec<Vec<u8>>,
    /// Changes whose record is not yet synced.
    changes: Vec<(u64, Vec<Change>)>,
    written: u64,
    synced: u64,
    last_write: Option<Instant>,
    unsynced_since: Option<Instant>,
}

/// Whether a batch is to be synced as well as written.
enum Work {
    Write,
    WriteAndSync,
    Stop,
}

impl Committer {
    /// For a journal that is durable up to `synced`.
    pub(super) fn new(
        shared: Arc<Shared>,
        files: Arc<dyn Files>,
        dir: PathBuf,
        sync_delay: Duration,
        current: Current,
    ) -> Self {
        let synced = shared.synced();
        Self {
            shared,
            files,
            dir,
            sync_delay,
            current,
            chunks: Vec::new(),
            used: Vec::new(),
            changes: Vec::new(),
            written: synced,
            synced,
            last_write: None,
            unsynced_since: None,
        }
    }

    /// Runs until the journal is closed or fails.
    pub(super) fn run(mut self) {
        let shared = self.shared.clone();
        let work = std::panic::AssertUnwindSafe(move || {
            loop {
                let with_sync = match self.wait() {
                    Work::Stop => return Ok(()),
                    Work::Write => false,
                    Work::WriteAndSync => true,
                };
                self.commit(with_sync)?;
            }
        });
        match std::panic::catch_unwind(work) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => shared.fail(&io::Error::to_string(&error)),
            Err(_) => shared.fail("the committer panicked"),
        }
    }

    /// Waits until there is something to do, and takes it.
    fn wait(&mut self) -> Work {
        let shared = self.shared.clone();
        let mut state = shared.state.lock();
        loop {
            let now = time::now();
            let is_closing = state.phase != Phase::Running;
            let is_wanted = state.sync_wanted > self.synced || is_closing;
            let is_pending = state.is_pending();
            let pause_end = self.last_write.map(|at| at + WRITE_PAUSE).filter(|&end| end > now);
            let sync_due = self.unsynced_since.map(|since| since + self.sync_delay);
            let to_write = is_pending && (is_wanted || pause_end.is_none() || state.is_large());
            let to_sync = (is_wanted || sync_due.is_some_and(|due| due <= now))
                && (to_write || self.written > self.synced);
            if to_write || to_sync {
                if is_pending {
                    state.take(&mut self.chunks, &mut self.used);
                    self.changes.append(&mut state.changes);
                }
                return if to_sync { Work::WriteAndSync } else { Work::Write };
            }
            if is_closing {
                state.phase = Phase::Over;
                state.discard();
                return Work::Stop;
            }
            state.sleep = if is_pending { Sleep::Pausing } else { Sleep::Idle };
            match pause_end.filter(|_| is_pending).into_iter().chain(sync_due).min() {
                Some(deadline) => _ = shared.wake.wait_until(&mut state, deadline),
                None => shared.wake.wait(&mut state),
            }
            state.sleep = Sleep::Awake;
        }
    }

    /// Writes what was taken, in as many files as it needs, and syncs it if asked.
    fn commit(&mut self, with_sync: bool) -> io::Result<()> {
        let mut chunks = std::mem::take(&mut self.chunks);
        for Chunk { mut bytes, base, cuts } in chunks.drain(..) {
            let mut from = 0;
            for cut in cuts {
                self.write(&mut bytes[from..cut.at], base + from as u64)?;
                self.roll(cut.start)?;
                self.write_raw(&bytes[cut.at..cut.at + segment::HEADER_BYTES], cut.start)?;
                from = cut.at + segment::HEADER_BYTES;
            }
            self.write(&mut bytes[from..], base + from as u64)?;
            bytes.clear();
            self.used.push(bytes);
        }
        self.chunks = chunks;
        if with_sync { self.sync() } else { Ok(()) }
    }

    /// Seals and writes whole records.
    fn write(&mut self, records: &mut [u8], position: u64) -> io::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        record::seal(records, position);
        self.write_raw(records, position)
    }

    fn write_raw(&mut self, bytes: &[u8], position: u64) -> io::Result<()> {
        let offset = position - self.current.start;
        self.until_space(|committer| committer.current.file.write_at(bytes, offset))?;
        let now = time::now();
        self.written = position + bytes.len() as u64;
        self.last_write = Some(now);
        self.unsynced_since.get_or_insert(now);
        self.shared.written.store(self.written, Relaxed);
        self.shared.writes.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Ends the current file and begins the one at `start`.
    fn roll(&mut self, start: u64) -> io::Result<()> {
        self.sync()?;
        let path = segment::path(&self.dir, start);
        let file = self.until_space(|committer| {
            let file = committer.files.create(&path)?;
            committer.files.sync_dir(&committer.dir)?;
            Ok(file)
        })?;
        self.current = Current { file, start };
        // If nobody hears it the store is closing, and makes its last checkpoint later.
        let _ = self.shared.tasks.send(Task::Checkpoint(start));
        Ok(())
    }

    /// Makes everything written durable and tells those who wait.
    fn sync(&mut self) -> io::Result<()> {
        if self.written > self.synced {
            self.current.file.sync()?;
            self.shared.syncs.fetch_add(1, Relaxed);
            self.synced = self.written;
        }
        self.unsynced_since = None;
        // The checkpointer must have the changes before anybody knows that they are synced: see its `checkpoint`.
        let count = self.changes.partition_point(|(end, _)| *end <= self.synced);
        for (_, changes) in self.changes.drain(..count) {
            let _ = self.shared.tasks.send(Task::Changes(changes));
        }
        self.shared.set_synced(self.synced);
        Ok(())
    }

    /// Does `work` again and again while the disk is full.
    fn until_space<T>(&mut self, work: impl Fn(&mut Self) -> io::Result<T>) -> io::Result<T> {
        loop {
            match work(self) {
                Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                    if !self.shared.is_disk_full.swap(true, Relaxed) {
                        tracing::error!(dir = %self.dir.display(), "the disk is full, confirms wait for space");
                    }
                    let shared = self.shared.clone();
                    let mut state = shared.state.lock();
                    if state.phase != Phase::Running {
                        return Err(error);
                    }
                    shared.wake.wait_for(&mut state, FULL_PAUSE);
                }
                result => {
                    if self.shared.is_disk_full.swap(false, Relaxed) {
                        tracing::info!(dir = %self.dir.display(), "the disk has space again");
                    }
                    return result;
                }
            }
        }
    }
}
