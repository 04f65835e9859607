//! The store: one journal for the messages of all queues, and sled for definitions and checkpoints.
//!
//! It owns the data directory, the format of its files (`docs/storage-format.md`) and what a restart brings back. It
//! knows no exchange, no consumer and no queue's order of delivery: it is told which (queue, sequence) a message reached
//! and what became of it. It reads messages back, and keeps the pages of queues' indexes ([`index`]).
//!
//! ```text
//!   append_* ──► journal (a buffer under a short lock) ──► committer (a thread: write, fdatasync) ──► waiters
//!                                                             │ synced changes, rolled files
//!                                                             ▼
//!                             Queues ◄──ask── checkpointer (a thread: sled, snapshots, deletes files)
//!                                             compactor (a thread: moves messages out of sparse files)
//! ```
//!
//! What its caller promises:
//! - a queue's declaring [`Change`] is appended before any message names the queue;
//! - `append_publish` of a message comes before every settle of it;
//! - a settle is applied to the queue's state and then appended, or both happen under the queue's lock;
//! - whoever gives out a place before its record is appended, or appends a transaction, holds
//!   [`MessageLog::hold_checkpoints`] from the first change of a queue's state until all are made.
//!
//! It touches the world through an [`Environment`] only: every file operation is one of [`files`].

mod alive;
mod catalog;
mod checkpoint;
mod committer;
mod compaction;
mod damage;
mod data_dir;
mod disk_log;
pub mod files;
mod handle;
mod images;
pub mod index;
mod journal;
mod large;
pub mod memory;
pub mod metadata;
pub mod offline;
pub mod place;
mod ranges;
mod reader;
mod rebuild;
pub mod record;
mod recovery;
mod references;
mod replay;
mod requests;
pub mod segment;
mod snapshot;
#[cfg(test)]
pub(crate) mod tests;
mod windows;

pub use handle::{Batch, Store};
pub use place::Environment;
pub use ranges::Ranges;
pub use reader::{Found, ReadError, Record};
pub use record::{Settled, Target};

use crate::dedup::Seen;
use crate::definition::{Change, Definition};
use crate::durability::{Durability, Level, Point};
use crate::histogram;
use crate::message::Message;
use crate::name::{Position, QueueId, Sequence};
use crate::time::{Duration, Instant, Millis};
use index::{ImageId, IndexEntry, PageSummary, QueueImage, Relocated};
use parking_lot::RwLockReadGuard;
use record::{Origin, Progress};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use tokio::sync::watch;

/// A message with a larger body is large, unless the [`Options`] say otherwise.
pub const LARGE_BODY_BYTES: usize = 64 << 10;

/// How the store is to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where everything is kept; made when absent.
    pub data_dir: PathBuf,
    /// A journal file is closed and the next begun once it has this many bytes.
    pub segment_bytes: u64,
    /// A message with a larger body is written beside the others, in slices, so that they need not wait for it.
    pub large_body_bytes: usize,
    /// How large these slices are; with nobody waiting for anything small they grow to eight times that.
    pub slice_bytes: usize,
    /// How long a record that nobody waits for may stay without fdatasync; none = until somebody waits or its file ends.
    pub sync_delay: Option<Duration>,
    /// Memory for sled's page cache.
    pub sled_cache_bytes: u64,
    /// So much of a checkpoint is written with one batch: sled keeps all versions of what a batch touches until its end, and
    /// reads from disk what its cache has not.
    pub sled_batch_bytes: usize,
    /// How often sled flushes by itself; nothing relies on it.
    pub sled_flush_every_ms: u64,
    /// A start that finds sled's folder larger than this, and several times larger than its entries, writes it anew.
    pub sled_rebuild_bytes: u64,
}

impl Options {
    /// The defaults for a data directory.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            segment_bytes: 64 << 20,
            large_body_bytes: LARGE_BODY_BYTES,
            slice_bytes: 1 << 20,
            sync_delay: Durability::Sync.sync_delay(),
            sled_cache_bytes: 4 << 20,
            sled_batch_bytes: 256 << 10,
            sled_flush_every_ms: 1_000,
            sled_rebuild_bytes: 64 << 20,
        }
    }
}

/// Who carries out the store's work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Drive {
    /// Threads of its own.
    #[default]
    Threads,
    /// Whoever calls [`MessageLog::step_committer`] and its like; the store starts no thread and
    /// reads no clock. Dropping it without [`MessageLog::close`] is then like pulling the plug: nothing more is written.
    Manual,
}

/// What a step of a store that is driven by hand came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Something was done; there may be more.
    Worked,
    /// There is nothing to do before this time, unless something happens that makes work; without a time, until it does.
    Waiting(Option<Instant>),
    /// There never will be anything to do: closed, failed, or not driven by hand.
    Over,
}

/// Why the store cannot be opened or cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data directory's path is taken by something else.
    #[error("data directory {0:?} is not a directory")]
    NotADirectory(PathBuf),
    /// The operating system refused.
    #[error("no permission to use {path:?}: run as the owner of the data directory, or choose another")]
    NoPermission {
        /// What was to be used.
        path: PathBuf,
    },
    /// No space is left, or none of the quota.
    #[error("the disk is full: {path:?} cannot be written; free space and start again")]
    DiskFull {
        /// What was to be written.
        path: PathBuf,
    },
    /// The file system takes no changes.
    #[error("the file system of {path:?} is read-only; make it writable, or choose another data directory")]
    ReadOnly {
        /// What was to be written.
        path: PathBuf,
    },
    /// Another process has the data directory.
    #[error("data directory {path:?} is in use by another process{}", .pid.map_or(String::new(), |pid| format!(" (pid {pid})")))]
    Locked {
        /// The data directory.
        path: PathBuf,
        /// The process, if its lock file says so.
        pid: Option<u32>,
    },
    /// Written by another version of Warren, or by something else.
    #[error("{path:?} has format {found:?}, this version reads {expected:?}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// Neither sled nor the snapshots can say what the deleted journal files held.
    #[error(
        "the definitions in {path:?} are damaged ({reason}) and no snapshot can replace them; restore the data \
         directory from a backup, or move it away to start empty"
    )]
    Unrecoverable {
        /// The data directory.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Bytes that are not what was written.
    #[error("damaged: {0}")]
    Damaged(String),
    /// Any other failure of a file operation.
    #[error("{path:?}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The failure.
        source: std::io::Error,
    },
    /// sled failed.
    #[error("metadata store: {0}")]
    Metadata(String),
    /// The journal failed before.
    #[error(transparent)]
    JournalFailed(#[from] JournalFailed),
}

impl Error {
    /// The failure of an operation on `path`, told apart where a person can act on it.
    pub(crate) fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            std::io::ErrorKind::PermissionDenied => Error::NoPermission { path },
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Error::DiskFull { path },
            std::io::ErrorKind::ReadOnlyFilesystem => Error::ReadOnly { path },
            std::io::ErrorKind::NotADirectory => Error::NotADirectory(path),
            _ => Error::Io { path, source },
        }
    }
}

/// The journal could not be made durable, so nothing may be confirmed any more: the process must end.
///
/// Also what [`Store::wait_synced`] returns after [`MessageLog::close`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal failed: {reason}")]
pub struct JournalFailed {
    /// What happened.
    pub reason: Arc<str>,
}

impl JournalFailed {
    pub(crate) fn new(reason: &str) -> Self {
        Self { reason: Arc::from(reason) }
    }
}

/// Where a message was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Names the message, for its settling and for reading it back.
    pub position: Position,
    /// Where its record ends: see [`Durability::safe_at`].
    pub end: Position,
    /// How long the message's record is.
    pub record_bytes: u32,
    /// Its record is written beside the others: it is safe when everything before its end is.
    pub is_large: bool,
}

/// Is told once when the journal has come as far as it waits for.
pub trait SyncWaiter: Send + Sync {
    /// The journal has come so far. Called from the committer thread (or from the caller's, when it had come there
    /// already): it must be quick and must not append under a lock that an appender may hold.
    fn reached(&self, point: Point);
}

/// The broker's queues, as the store asks them.
pub trait Queues: Send + Sync {
    /// Visits every durable queue of which something changed since it was last visited.
    ///
    /// Called from the checkpointer thread with no lock of the store held. Each queue is visited under its own lock;
    /// what was visited need not be visited again before its next change, also when the checkpoint fails.
    fn visit_changed(&self, visit: &mut dyn FnMut(QueueId, QueueImage));

    /// Visits every message whose record stands between two positions, also transient ones. Pages are read for that.
    /// Called without a lock, from a thread that may wait.
    fn visit_between(&self, from: Position, to: Position, visit: &mut dyn FnMut(QueueId, IndexEntry));

    /// A record moved. Unless the answer is [`Relocated::Moved`] the new one is not needed for this queue.
    fn relocate(&self, queue: QueueId, sequence: Sequence, from: Position, to: Record) -> Relocated;

    /// What was read for [`Queues::visit_between`] may leave memory again.
    fn tidy(&self, queue: QueueId);
}

/// Whether the disk takes what the journal writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DiskState {
    /// It does, as far as is known.
    #[default]
    Writable,
    /// A write, or the making of a file, was refused and is tried again until it works. Nothing is confirmed meanwhile;
    /// publishers are to be blocked.
    Refusing {
        /// The file, and what the operating system said.
        reason: Arc<str>,
    },
}

impl DiskState {
    /// Whether publishers are to be blocked.
    pub fn is_refusing(&self) -> bool {
        *self != DiskState::Writable
    }
}

/// What the journal has done since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Records appended; a transaction is one.
    pub records: u64,
    /// Bytes appended, with the files' headers.
    pub bytes: u64,
    /// Bytes appended and not yet written: what memory holds because the disk is slower.
    pub bytes_pending: u64,
    /// Write calls.
    pub writes: u64,
    /// fdatasync calls on journal files.
    pub syncs: u64,
    /// How long it took to make what was written durable, in microseconds.
    pub sync_times: histogram::Snapshot,
    /// Checkpoints made durable.
    pub checkpoints: u64,
    /// Tries to write definitions or a checkpoint that failed; they are made up for later.
    pub checkpoints_failed: u64,
    /// Stretches of damaged bytes in the journal that were found at the start: see [`Report::damages`].
    pub damages: u64,
    /// Journal files there are now.
    pub files: u64,
    /// Journal files deleted because nothing in them was alive.
    pub files_deleted: u64,
    /// Live references: messages times the queues that still hold them.
    pub references: u64,
    /// Records and pages that could not be read back because they are damaged.
    pub damaged: u64,
    /// Messages moved out of sparse files.
    pub moved: u64,
    /// Whether the disk takes what is written; see [`MessageLog::disk`].
    pub disk: DiskState,
}

/// While it lives no checkpoint is begun or ended. Hold it for the length of a transaction; it must not cross an await.
#[must_use]
#[derive(Debug)]
pub struct CheckpointHold<'a> {
    /// None where there are no checkpoints.
    pub(crate) _guard: Option<RwLockReadGuard<'a, ()>>,
}

/// The journal as its users see it: on disk, or in memory only.
///
/// Appending never waits for the disk and never fails: a failure shows in [`MessageLog::failure`], and nothing is
/// reported as synced any more.
pub trait MessageLog: Send + Sync + std::fmt::Debug {
    /// Appends a message with the queues it reached.
    fn append_publish(&self, message: &Message, targets: &[Target], origin: Origin) -> Appended;

    /// Appends what became of a queue's messages, and returns the end of the record; what need not be written down is
    /// passed over. The records of settled messages are given back. It is synced within [`Options::sync_delay`].
    fn append_progress(&self, queue: QueueId, progress: &Progress<'_>) -> Position;

    /// Appends messages and settles that a restart brings back together or not at all, and returns where the messages
    /// stand, in order, and the end of the record. See [`MessageLog::hold_checkpoints`].
    fn append_transaction(
        &self,
        publishes: &[(&Message, &[Target])],
        settles: &[(QueueId, &[Settled])],
    ) -> (Vec<Appended>, Position);

    /// Appends changes of the definitions, all or none, and returns the end of the record. It is synced at once.
    fn append_changes(&self, changes: &[Change]) -> Position;

    /// Gives back the records of messages that are gone without a record of their own that says it: their queue's
    /// deletion does, or a restart drops them anyway.
    fn release(&self, records: &[Record]);

    /// Reads messages back. Blocks; most quickly if the records ascend.
    ///
    /// # Errors
    /// Any [`ReadError`]; it may succeed later.
    fn read(&self, records: &[Record], found: &mut Found<'_>) -> Result<(), ReadError>;

    /// Whether messages and pages can be read back, so that they may leave memory.
    fn can_page(&self) -> bool;

    /// Keeps a page of a queue's index under a name that was never used. Never waits.
    fn write_image(&self, queue: QueueId, image: ImageId, entries: &[IndexEntry]);

    /// Reads a page that is kept. Blocks.
    ///
    /// # Errors
    /// [`Error::Damaged`] when it is not there or not what was written, and the metadata store's own.
    fn read_image(&self, queue: QueueId, image: ImageId) -> Result<Vec<IndexEntry>, ReadError>;

    /// Makes a page again from the journal, if its image turns out to be damaged: its durable messages, marked as delivered
    /// because perhaps they were. Blocks, and reads whole files.
    ///
    /// # Errors
    /// Any [`ReadError`]; it may succeed later.
    fn rebuild_page(&self, queue: QueueId, page: &PageSummary) -> Result<Vec<IndexEntry>, ReadError>;

    /// These pages are not needed any more, as far as the queue knows now.
    fn forget_images(&self, queue: QueueId, images: &[ImageId]);

    /// The end of what was appended.
    fn appended(&self) -> Position;

    /// The end of what has come so far.
    fn reached(&self, level: Level) -> Position;

    /// The end of what is durable, large records and all.
    fn synced(&self) -> Position {
        self.reached(Level::Synced)
    }

    /// Calls `waiter` once when the journal has come as far as `point` says, at once if it has. After a failure never: the
    /// waiter is dropped. What is waited for is hurried up; where that is the write only, it is synced `within` that time
    /// of being written, if that is said.
    fn notify(&self, point: Point, within: Option<Duration>, waiter: Arc<dyn SyncWaiter>);

    /// More is appended soon: the committer need not begin before the matching [`MessageLog::end_batch`], unless
    /// somebody waits. See [`Store::batch`].
    fn begin_batch(&self) {}

    /// What was appended meanwhile may be written.
    fn end_batch(&self) {}

    /// Whether [`MessageLog::commit_here`] is worth trying: the disk is quick, and nobody commits just now.
    fn can_commit_here(&self) -> bool {
        false
    }

    /// Brings the journal to the point in the caller's thread if nobody else is about to: see [`Store::commit_here`].
    fn commit_here(&self, _point: Point) {}

    /// Keeps checkpoints from being cut until the guard is dropped.
    fn hold_checkpoints(&self) -> CheckpointHold<'_>;

    /// Says whom to ask for queues. No checkpoint is made before, so no file is deleted.
    fn set_queues(&self, source: Weak<dyn Queues>);

    /// Holds the failure once there is one.
    fn failure(&self) -> watch::Receiver<Option<JournalFailed>>;

    /// Whether the disk takes what is written, with every change at once.
    fn disk(&self) -> watch::Receiver<DiskState>;

    /// What was done so far.
    fn counters(&self) -> Counters;

    /// Writes and syncs what was appended, makes a last checkpoint and ends the threads. Blocks. Nothing may be
    /// appended afterwards; a second call does nothing.
    ///
    /// # Errors
    /// [`Error::JournalFailed`] when the journal is not durable; other errors when only the checkpoint could not be made,
    /// which costs the next start some time.
    fn close(&self) -> Result<(), Error>;

    /// With [`Drive::Manual`], does at most one batch of the committer's work that is due at `now`: writing, and syncing
    /// if it is time. Waiters are called from here.
    fn step_committer(&self, _now: Instant) -> Step {
        Step::Over
    }

    /// With [`Drive::Manual`], does one piece of the checkpointer's work at `now`. [`Queues::visit_changed`] is called from here.
    /// A checkpoint takes several steps, and waits where a transaction is half made or the committer has to sync.
    fn step_checkpointer(&self, _now: Instant) -> Step {
        Step::Over
    }

    /// With [`Drive::Manual`], moves a slice of the messages in the sparsest journal file, if one is sparse enough. The
    /// other methods of [`Queues`] are called from here. What is read must have been written before.
    fn step_compactor(&self) -> Step {
        Step::Over
    }
}

/// What a start found, handed out once.
#[derive(Debug, Default)]
pub struct Recovered {
    /// All definitions.
    pub definitions: Vec<Definition>,
    /// What queues hold; a queue that was never used may be absent.
    pub queues: BTreeMap<QueueId, RecoveredQueue>,
    /// Above every id that was ever stored.
    pub next_queue_id: QueueId,
    /// For the log.
    pub report: Report,
}

/// What the index does not say of a message, and its queue asks when the message comes back from its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// When it was published.
    pub at: Millis,
    /// Whether its publisher gave it a priority.
    pub has_priority: bool,
}

/// A queue's messages.
#[derive(Debug, Default)]
pub struct RecoveredQueue {
    /// What it held at the last checkpoint, less what was settled since.
    pub image: QueueImage,
    /// What it got since, in no order, each with the time when it was published: the queue's own time to live is not
    /// in their [`IndexEntry::expires_at`].
    pub replayed: Vec<(IndexEntry, Published)>,
    /// What it got since, as its window of duplicates sees it, in order.
    pub seen: Vec<Seen>,
    /// Whether the last checkpoint says just this.
    pub is_stored: bool,
}

/// What recovery did, for log lines and tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Whether the last run ended with [`MessageLog::close`].
    pub clean: bool,
    /// Journal files read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Good records in them.
    pub records: u64,
    /// Messages that some queue still holds.
    pub messages: u64,
    /// Bytes cut off the last file behind its last good record: what a crash left half written.
    pub bytes_cut: u64,
    /// Large records that a crash left half written while what stands behind them was whole. They were never confirmed.
    pub unfinished: u64,
    /// Stretches of damaged bytes between good records, or behind the last of an earlier file; they were passed over.
    pub damages: u64,
    /// Their bytes, which are kept in the folder `damaged`.
    pub bytes_skipped: u64,
    /// Where sled was moved because it could not be used.
    pub sled_moved_to: Option<PathBuf>,
    /// One line for each thing that an operator should know.
    pub warnings: Vec<String>,
}

/// Opens or makes the store in `options.data_dir` and brings back what it holds.
///
/// Blocks: it reads what the journal got since the last checkpoint, or all of it where that cannot be used.
///
/// # Errors
/// Any [`Error`]. Damage in the journal or in sled is no error where something can be saved: see [`Report`].
pub fn open(options: Options) -> Result<(Store, Recovered), Error> {
    open_with(options, Environment::real(), Drive::Threads)
}

/// [`open`] with a file system, a lock and a metadata store of the caller's, and threads or none.
///
/// # Errors
/// As [`open`].
pub fn open_with(
    options: Options,
    environment: Environment,
    drive: Drive,
) -> Result<(Store, Recovered), Error> {
    recovery::open(options, environment, drive)
}
