//! The checkpointer: the only writer of the catalog; it makes checkpoints and deletes journal files.
//!
//! A checkpoint says for a position of the journal which messages were alive there, so that what is older need not be
//! read for settles any more and files without living messages can go. It is made while publishers go on:
//!
//! 1. Wait until no transaction is half made. Every settle before the position is now in its queue's state.
//! 2. Ask the broker what the queues that changed hold, each under its queue's own lock.
//! 3. Wait again until no transaction is half made, and for the sync of everything appended so far. Whatever the queues
//!    showed is now durable in the journal too: half a transaction can not be seen after a crash.
//! 4. Write the pages that wait, then the queues with the position, to sled; flush and sync sled's file.
//! 5. Replace the snapshots. Remove the pages that nobody names any more.
//! 6. Delete the files that have become free, once what freed them is durable.
//!
//! ```text
//!   Idle ──1──► Collect ──2──► Collected ──3──► Write ──4, 5──► Remove ──6──► Idle
//! ```
//!
//! [`Checkpointer::need`] says what a phase waits for, [`Checkpointer::advance`] does what comes then. A thread
//! ([`Checkpointer::run`]) waits; somebody else's loop ([`Checkpointer::step`]) comes again.
//!
//! A failure leaves the checkpoint before in force and keeps what was collected and all journal files; it is tried again
//! after [`RETRY_PAUSE`], or when the next file ends. A metadata store that failed is opened anew first: sled repeats its
//! first failure for ever.

use super::catalog::{self, Catalog, Mark};
use super::files::Files;
use super::images::Images;
use super::index::{ImageId, QueueImage};
use super::journal::Shared;
use super::metadata::Metadata;
use super::place::{Environment, Lock};
use super::reader::Reader;
use super::{Error, JournalFailed, Options, Step, segment, snapshot};
use crate::definition::Change;
use crate::name::QueueId;
use crate::time::{self, Duration, Instant};
use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;

/// The snapshot of the definitions.
pub(super) const DEFINITIONS_NAME: &str = "definitions.snapshot";
/// The snapshot of the live sets; always as old as the last checkpoint.
pub(super) const QUEUES_NAME: &str = "queues.snapshot";

/// The images that are not what a crash left.
#[derive(Debug)]
pub(super) struct Named {
    /// Those that the queues named at the start, and the first that they will give out.
    pub(super) images: HashMap<QueueId, (HashSet<ImageId>, ImageId)>,
    /// Queues from here on were declared since.
    pub(super) next_queue_id: QueueId,
}

impl Named {
    fn has(&self, queue: QueueId, image: ImageId) -> bool {
        let of_queue = self.images.get(&queue);
        queue >= self.next_queue_id
            || of_queue.is_some_and(|(images, next)| image >= *next || images.contains(&image))
    }
}
/// How long after a failure sled and the snapshots are tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// What the checkpointer is asked to do.
#[derive(Debug)]
pub(super) enum Task {
    /// Write changes whose record is synced.
    Changes(Vec<Change>),
    /// Everything before the position is synced: make a checkpoint there.
    Checkpoint(u64),
    /// Delete the files that start there.
    Remove(Vec<u64>),
    /// Many pages wait to be written.
    Images,
    /// Remove the pages that nobody names, after the next checkpoint: a crash left them.
    Sweep(Named),
    /// What was to be synced is synced, or never will be.
    Look,
    /// End.
    Stop { with_checkpoint: bool },
}

/// Where things are, and how they are reached.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) environment: Environment,
    pub(super) options: Options,
    pub(super) journal: PathBuf,
}

impl Setting {
    pub(super) fn new(options: Options, environment: Environment) -> Self {
        let journal = options.data_dir.join("journal");
        Self { environment, options, journal }
    }

    pub(super) fn files(&self) -> &dyn Files {
        &*self.environment.files
    }

    pub(super) fn open_metadata(&self) -> Result<Box<dyn Metadata>, Error> {
        self.environment.place.open_metadata(&self.options.data_dir, &self.options)
    }
}

/// How far the checkpoint is, as the module draws it.
#[derive(Debug)]
enum Phase {
    Idle,
    Collect { position: u64 },
    Collected { position: u64 },
    Write { position: u64, end: u64 },
    Remove { free: Vec<u64>, end: u64 },
}

/// What must be so before a phase's work can be done.
enum Need {
    Nothing,
    /// Something is asked for.
    Task,
    /// No transaction is half made.
    NoTransaction,
    /// Everything before is durable.
    Synced(u64),
}

pub(super) struct Checkpointer {
    shared: Arc<Shared>,
    setting: Setting,
    catalog: Catalog,
    tasks: mpsc::Receiver<Task>,
    images: Arc<Images>,
    reader: Arc<Reader>,
    /// Collected and not yet in a durable checkpoint.
    queues: HashMap<QueueId, QueueImage>,
    /// Pages to be removed once the checkpoint under way is durable.
    removed_images: Vec<(QueueId, ImageId)>,
    /// Pages to be removed once a checkpoint is durable: all but these and those given out since.
    strays: Option<Named>,
    changes: Vec<Change>,
    phase: Phase,
    wanted: Option<u64>,
    /// After a failure: nothing is tried before.
    retry_at: Option<Instant>,
    stop: Option<bool>,
    /// Whether the last checkpoint of all is being made.
    is_last: bool,
    /// The directory is ours until the catalog is closed, and the committer has ended before.
    _lock: Lock,
}

impl Checkpointer {
    pub(super) fn new(
        shared: Arc<Shared>,
        setting: Setting,
        catalog: Catalog,
        (images, reader): (Arc<Images>, Arc<Reader>),
        tasks: mpsc::Receiver<Task>,
        lock: Lock,
    ) -> Self {
        Self {
            shared,
            setting,
            catalog,
            tasks,
            images,
            reader,
            queues: HashMap::new(),
            removed_images: Vec::new(),
            strays: None,
            changes: Vec::new(),
            phase: Phase::Idle,
            wanted: None,
            retry_at: None,
            stop: None,
            is_last: false,
            _lock: lock,
        }
    }

    /// Runs until it is told to stop; the result is the last checkpoint's.
    pub(super) fn run(mut self) -> Result<(), Error> {
        loop {
            self.wait();
            if let Some(result) = self.advance(time::now()) {
                return result;
            }
        }
    }

    /// Does what can be done now, without waiting for anything but file operations.
    pub(super) fn step(&mut self, now: Instant) -> Step {
        let is_asked = self.note_all();
        let is_met = match self.need() {
            Need::Nothing => true,
            Need::Task => is_asked || self.retry_at.is_some_and(|at| at <= now),
            Need::NoTransaction => self.shared.gate.try_write().is_some(),
            Need::Synced(end) => self.shared.is_decided(end),
        };
        match is_met {
            true if self.advance(now).is_some() => Step::Over,
            true => Step::Worked,
            false => Step::Waiting(self.retry_at),
        }
    }

    /// Waits for what the phase needs.
    fn wait(&mut self) {
        match self.need() {
            Need::Nothing => {}
            Need::NoTransaction => drop(self.shared.gate.write()),
            Need::Task => self.wait_for_task(),
            // Whoever decides it sends a task. Files that may go meanwhile do: the sync may be waiting for their space.
            Need::Synced(end) => {
                while !self.shared.is_decided(end) {
                    self.wait_for_task();
                }
            }
        }
    }

    fn wait_for_task(&mut self) {
        let pause = self.retry_at.map(|at| at.saturating_duration_since(time::now()));
        let task = match pause {
            Some(pause) => self.tasks.recv_timeout(pause).ok(),
            None => self.tasks.recv().ok(),
        };
        task.into_iter().for_each(|task| self.note(task));
        self.note_all();
    }

    /// Notes every task there is; false if there is none.
    fn note_all(&mut self) -> bool {
        let mut is_any = false;
        while let Ok(task) = self.tasks.try_recv() {
            self.note(task);
            is_any = true;
        }
        is_any
    }

    fn note(&mut self, task: Task) {
        match task {
            Task::Changes(changes) => self.changes.extend(changes),
            Task::Checkpoint(position) => (self.wanted, self.retry_at) = (Some(position), None),
            Task::Remove(starts) => self.remove(&starts),
            Task::Look => {}
            Task::Sweep(named) => self.strays = Some(named),
            // They stay in memory until they can be written.
            Task::Images => {
                if let Err(error) = self.flush_images() {
                    tracing::error!(%error, "pages of queues could not be written");
                }
            }
            Task::Stop { with_checkpoint } => (self.stop, self.retry_at) = (Some(with_checkpoint), None),
        }
    }

    fn flush_images(&mut self) -> Result<(), Error> {
        let flushed = self.images.flush();
        if flushed.is_err() {
            self.catalog.has_failed();
        }
        flushed
    }

    fn sweep(&self, named: &Named) {
        let swept = self.images.sweep(|queue, image| named.has(queue, image));
        match swept {
            Ok(pages) => tracing::debug!(pages, "pages that a crash left were removed"),
            Err(error) => tracing::warn!(%error, "pages that a crash left could not be removed"),
        }
    }

    fn need(&self) -> Need {
        match &self.phase {
            Phase::Idle if self.stop.is_some() => Need::Nothing,
            Phase::Idle if self.wanted.is_some() && self.retry_at.is_none() => Need::Nothing,
            Phase::Idle => Need::Task,
            Phase::Collect { .. } | Phase::Collected { .. } => Need::NoTransaction,
            Phase::Write { end, .. } | Phase::Remove { end, .. } => Need::Synced(*end),
        }
    }

    /// Does the phase's work, whose need is met; the result is that of the last checkpoint, at the end.
    fn advance(&mut self, now: Instant) -> Option<Result<(), Error>> {
        let result = match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Idle if self.is_last => return Some(Ok(())),
            Phase::Idle => match self.begin(now) {
                Some(phase) => Ok(phase),
                None => return self.stop.map(|_| self.catalog.metadata.sync()),
            },
            Phase::Collect { position } => Ok(self.collect(position)),
            Phase::Collected { position } => Ok(Phase::Write { position, end: self.shared.request_sync() }),
            Phase::Write { position, end } => {
                self.write(position, end).inspect_err(|_| _ = self.wanted.get_or_insert(position))
            }
            Phase::Remove { free, end } => self.check_synced(end).map(|()| {
                self.remove(&free);
                Phase::Idle
            }),
        };
        match result {
            Ok(phase) => self.phase = phase,
            Err(error) if self.is_last => return Some(Err(error)),
            Err(error) => self.note_failed(now, &error),
        }
        None
    }

    fn note_failed(&mut self, now: Instant, error: &Error) {
        self.retry_at = Some(now + RETRY_PAUSE);
        self.shared.checkpoints_failed.fetch_add(1, Relaxed);
        tracing::error!(%error, "no checkpoint could be made: journal files are kept");
    }

    /// Makes the changes there are, and begins a checkpoint if one is to be made.
    fn begin(&mut self, now: Instant) -> Option<Phase> {
        self.retry_at = self.retry_at.filter(|&at| at > now);
        if self.retry_at.is_none()
            && let Err(error) = self.catch_up()
        {
            self.note_failed(now, &error);
        }
        if self.retry_at.is_some() && self.stop.is_none() {
            return None;
        }
        let wanted = self.wanted.take();
        match self.stop {
            None => wanted.map(|position| Phase::Collect { position }),
            Some(false) => None,
            Some(true) => {
                self.is_last = true;
                Some(Phase::Collect { position: self.shared.synced() })
            }
        }
    }

    /// Writes all changes there are at once, into a store that is opened anew if need be. On failure they stay for the
    /// next try; the journal has them.
    fn catch_up(&mut self) -> Result<(), Error> {
        self.note_all();
        if self.catalog.restore(|| self.setting.open_metadata())? {
            self.images.write_again();
        }
        self.catalog.apply(&self.changes)?;
        self.changes.clear();
        Ok(())
    }

    /// Asks for the queues that changed. Without a broker to ask no checkpoint is made.
    fn collect(&mut self, position: u64) -> Phase {
        let source = self.shared.source.lock().as_ref().and_then(std::sync::Weak::upgrade);
        let Some(source) = source else { return Phase::Idle };
        self.removed_images = self.images.begin();
        source.visit_changed(&mut |queue, image| _ = self.queues.insert(queue, image));
        Phase::Collected { position }
    }

    /// Writes the checkpoint, in which everything is durable in the journal before `end`.
    fn write(&mut self, position: u64, end: u64) -> Result<Phase, Error> {
        let written = self.write_queues(position, end);
        let removed = std::mem::take(&mut self.removed_images);
        let ended = self.images.end(removed, written.is_ok());
        written.and(ended)?;
        self.queues.clear();
        // The checkpoint before may have named what a crash left.
        if let Some(named) = self.strays.take() {
            self.sweep(&named);
        }
        self.shared.checkpoints.fetch_add(1, Relaxed);
        self.shared.compactor_wake.notify_all();
        let free = {
            let mut state = self.shared.state.lock();
            state.references.set_checkpoint(position);
            state.references.take_free()
        };
        if free.is_empty() {
            return Ok(Phase::Idle);
        }
        // What freed them may be younger than the checkpoint: see `Shared::remove`.
        Ok(Phase::Remove { free, end: self.shared.request_sync() })
    }

    fn write_queues(&mut self, position: u64, end: u64) -> Result<(), Error> {
        self.check_synced(end)?;
        // A queue that was just collected was declared before, so its change is synced and comes in here.
        self.catch_up()?;
        self.flush_images()?;
        let next_queue_id = self.shared.state.lock().next_queue_id;
        let mark = Mark { position, next_queue_id, has_index: true };
        write(&mut self.catalog, &self.setting, mark, &self.queues)
    }

    fn check_synced(&self, end: u64) -> Result<(), Error> {
        if self.shared.synced() >= end { Ok(()) } else { Err(JournalFailed::new("not synced").into()) }
    }

    fn remove(&mut self, starts: &[u64]) {
        self.reader.close(starts);
        for &start in starts {
            let path = segment::path(&self.setting.journal, start);
            match self.setting.files().remove(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), %error, "a journal file could not be deleted");
                }
                _ => _ = self.shared.files_deleted.fetch_add(1, Relaxed),
            }
        }
    }
}

/// Writes a checkpoint to the catalog and the snapshots, durably.
///
/// # Errors
/// Theirs; the checkpoint may then be in force for sled and not for the snapshots, and must not delete anything.
pub(super) fn write(
    catalog: &mut Catalog,
    setting: &Setting,
    mark: Mark,
    queues: &HashMap<QueueId, QueueImage>,
) -> Result<(), Error> {
    catalog.checkpoint(mark, queues)?;
    let metadata = &*catalog.metadata;
    let (files, data_dir) = (setting.files(), &setting.options.data_dir);
    // The definitions first: a live set's snapshot that is newer than they would name queues they do not know.
    if catalog.is_changed {
        snapshot::write(files, data_dir, DEFINITIONS_NAME, mark, metadata, catalog::DEFINITIONS)?;
        catalog.is_changed = false;
    }
    snapshot::write(files, data_dir, QUEUES_NAME, mark, metadata, catalog::LIVE_SETS)
}
