//! The checkpointer: one thread that is the only writer of the catalog, makes checkpoints and deletes journal files.
//!
//! A checkpoint says for a position of the journal which messages were alive there, so that what is older need not be
//! read for settles any more and files without living messages can go. It is made while publishers go on:
//!
//! 1. Wait until no transaction is half made. Every settle before the position is now in its queue's state.
//! 2. Ask the broker for the live sets of the queues that changed, each under its queue's own lock.
//! 3. Wait again until no transaction is half made, and for the sync of everything appended so far. Whatever the live
//!    sets show is now durable in the journal too: half a transaction can not be seen after a crash.
//! 4. Write the live sets with the position to sled in one batch; flush and sync sled's file.
//! 5. Replace the snapshots.
//! 6. Delete the files that have become free, once what freed them is durable.
//!
//! A failure leaves the checkpoint before in force and keeps the live sets for the next.

use super::catalog::{self, Catalog, Mark};
use super::files::Files;
use super::journal::{Hurry, Shared};
use super::{Error, JournalFailed, LiveSet, SyncWaiter, segment, snapshot};
use crate::definition::Change;
use crate::name::{Position, QueueId};
use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;

/// The snapshot of the definitions.
pub(super) const DEFINITIONS_NAME: &str = "definitions.snapshot";
/// The snapshot of the live sets; always as old as the last checkpoint.
pub(super) const QUEUES_NAME: &str = "queues.snapshot";

/// What the checkpointer is asked to do.
#[derive(Debug)]
pub(super) enum Task {
    /// Write changes whose record is synced.
    Changes(Vec<Change>),
    /// Everything before the position is synced: make a checkpoint there.
    Checkpoint(u64),
    /// Delete the files that start there.
    Remove(Vec<u64>),
    /// End.
    Stop { with_checkpoint: bool },
}

/// Where things are.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    pub(super) data_dir: PathBuf,
    pub(super) journal: PathBuf,
}

pub(super) struct Checkpointer {
    shared: Arc<Shared>,
    files: Arc<dyn Files>,
    paths: Paths,
    catalog: Catalog,
    tasks: mpsc::Receiver<Task>,
    /// Collected and not yet in a durable checkpoint.
    sets: HashMap<QueueId, LiveSet>,
    changes: Vec<Change>,
    wanted: Option<u64>,
    stop: Option<bool>,
}

impl Checkpointer {
    pub(super) fn new(
        shared: Arc<Shared>,
        files: Arc<dyn Files>,
        paths: Paths,
        catalog: Catalog,
        tasks: mpsc::Receiver<Task>,
    ) -> Self {
        let (sets, changes) = (HashMap::new(), Vec::new());
        Self { shared, files, paths, catalog, tasks, sets, changes, wanted: None, stop: None }
    }

    /// Runs until it is told to stop; the result is the last checkpoint's.
    pub(super) fn run(mut self) -> Result<(), Error> {
        while self.stop.is_none() {
            let Ok(task) = self.tasks.recv() else { break };
            self.note(task);
            self.catch_up();
            // While one is made, files may end and ask for the next.
            while self.stop.is_none()
                && let Some(position) = self.wanted.take()
            {
                if let Err(error) = self.checkpoint(position) {
                    tracing::error!(%error, "no checkpoint could be made: journal files are kept");
                }
            }
        }
        let end = self.shared.synced();
        if self.stop == Some(true) { self.checkpoint(end) } else { self.catalog.metadata.sync() }
    }

    /// Notes every task there is, and writes all changes among them at once.
    fn catch_up(&mut self) {
        while let Ok(task) = self.tasks.try_recv() {
            self.note(task);
        }
        if let Err(error) = self.catalog.apply(&self.changes) {
            // They stay for the next try; the journal has them.
            tracing::error!(%error, "definitions could not be written");
            return;
        }
        self.changes.clear();
    }

    fn note(&mut self, task: Task) {
        match task {
            Task::Changes(changes) => self.changes.extend(changes),
            Task::Checkpoint(position) => self.wanted = Some(position),
            Task::Remove(starts) => self.remove(&starts),
            Task::Stop { with_checkpoint } => self.stop = Some(with_checkpoint),
        }
    }

    /// Makes a checkpoint at `position`, as the module says. Without a broker to ask nothing is done.
    fn checkpoint(&mut self, position: u64) -> Result<(), Error> {
        let source = self.shared.source.lock().as_ref().and_then(std::sync::Weak::upgrade);
        let Some(source) = source else { return Ok(()) };
        drop(self.shared.gate.write());
        source.visit_changed(&mut |set| _ = self.sets.insert(set.queue, set));
        drop(source);
        drop(self.shared.gate.write());
        self.wait_synced()?;
        // A queue whose live set was just collected was declared before, so its change is synced and comes in here.
        self.catch_up();
        if !self.changes.is_empty() {
            return Err(Error::Metadata("definitions are behind the journal".into()));
        }
        let mark = Mark { position, next_queue_id: self.shared.state.lock().next_queue_id };
        write(&mut self.catalog, &*self.files, &self.paths, mark, &self.sets)?;
        self.sets.clear();
        self.shared.checkpoints.fetch_add(1, Relaxed);
        let free = {
            let mut state = self.shared.state.lock();
            state.references.set_checkpoint(position);
            state.references.take_free()
        };
        if !free.is_empty() {
            // What freed them may be younger than the checkpoint: see `Shared::remove`.
            self.wait_synced()?;
            self.remove(&free);
        }
        Ok(())
    }

    /// Waits until everything appended so far is durable.
    fn wait_synced(&self) -> Result<(), Error> {
        let end = self.shared.state.lock().next();
        let (sender, receiver) = mpsc::sync_channel(1);
        self.shared.notify_when_synced(Position(end), Arc::new(Signal(sender)), Hurry::Yes);
        receiver.recv().map_err(|_| JournalFailed::new("not synced").into())
    }

    fn remove(&mut self, starts: &[u64]) {
        for &start in starts {
            let path = segment::path(&self.paths.journal, start);
            match self.files.remove(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), %error, "a journal file could not be deleted");
                }
                _ => _ = self.shared.files_deleted.fetch_add(1, Relaxed),
            }
        }
    }
}

struct Signal(mpsc::SyncSender<()>);

impl SyncWaiter for Signal {
    fn synced(&self, _position: Position) {
        // The receiver waits for this, or is gone for good.
        let _ = self.0.try_send(());
    }
}

/// Writes a checkpoint to the catalog and the snapshots, durably.
///
/// # Errors
/// Theirs; the checkpoint may then be in force for sled and not for the snapshots, and must not delete anything.
pub(super) fn write(
    catalog: &mut Catalog,
    files: &dyn Files,
    paths: &Paths,
    mark: Mark,
    sets: &HashMap<QueueId, LiveSet>,
) -> Result<(), Error> {
    catalog.checkpoint(mark, sets)?;
    let metadata = &*catalog.metadata;
    // The definitions first: a live set's snapshot that is newer than they would name queues they do not know.
    if catalog.is_changed {
        snapshot::write(files, &paths.data_dir, DEFINITIONS_NAME, mark, metadata, catalog::DEFINITIONS)?;
        catalog.is_changed = false;
    }
    snapshot::write(files, &paths.data_dir, QUEUES_NAME, mark, metadata, catalog::LIVE_SETS)
}
