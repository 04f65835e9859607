//! The journal as its users see it, and who drives it: threads, or a simulation by hand.
//!
//! Appending is [`journal`](super::journal)'s work, reading back the [`reader`](super::reader)'s, pages are
//! [`images`](super::images)'; this file only puts them together behind [`MessageLog`].

use super::checkpoint::{Checkpointer, Task};
use super::committer::Committer;
use super::compaction::Compactor;
use super::images::Images;
use super::index::{ImageId, IndexEntry, PageSummary};
use super::journal::{Hurry, Phase, Shared};
use super::reader::Reader;
use super::record::{Origin, Progress};
use super::{
    Appended, CheckpointHold, Counters, DiskState, Error, Found, JournalFailed, MessageLog, Queues,
    ReadError, Record, Settled, Step, SyncWaiter, Target,
};
use crate::definition::Change;
use crate::durability::{Level, Point};
use crate::message::Message;
use crate::name::{Position, QueueId};
use crate::time::{Duration, Instant};
use parking_lot::Mutex;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use tokio::sync::watch;

/// The journal on disk, with what drives it.
pub(super) struct Journal {
    shared: Arc<Shared>,
    images: Arc<Images>,
    reader: Arc<Reader>,
    /// Before the driver, so that the last file is closed before the directory is given back.
    committer: Arc<Mutex<Committer>>,
    driver: Mutex<Option<Driver>>,
}

/// Who carries out the work of a journal that runs.
pub(super) enum Driver {
    /// A thread for each.
    Threads {
        committer: JoinHandle<()>,
        checkpointer: JoinHandle<Result<(), Error>>,
        compactor: JoinHandle<()>,
    },
    /// Whoever calls the steps.
    Manual { checkpointer: Box<Checkpointer>, compactor: Box<Compactor> },
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("counters", &self.counters()).finish_non_exhaustive()
    }
}

impl Journal {
    pub(super) fn new(
        shared: Arc<Shared>,
        images: Arc<Images>,
        reader: Arc<Reader>,
        committer: Arc<Mutex<Committer>>,
        driver: Driver,
    ) -> Self {
        Self { shared, images, reader, committer, driver: Mutex::new(Some(driver)) }
    }

    /// Writes and syncs everything, makes a checkpoint if asked, and ends whoever drives.
    fn stop(&self, with_checkpoint: bool) -> Result<(), Error> {
        let Some(driver) = self.driver.lock().take() else { return Ok(()) };
        let proceed = |from, to| {
            let mut state = self.shared.state.lock();
            if state.phase == from {
                state.phase = to;
            }
        };
        proceed(Phase::Running, Phase::Stopping);
        self.shared.compactor_wake.notify_all();
        let close = || {
            proceed(Phase::Stopping, Phase::Closing);
            self.shared.wake.notify_all();
        };
        let stop = || {
            let with_checkpoint = with_checkpoint && self.shared.failure.borrow().is_none();
            // It has ended by itself only if it panicked, and has said so.
            let _ = self.shared.tasks.send(Task::Stop { with_checkpoint });
        };
        let checkpointed = match driver {
            Driver::Threads { committer, checkpointer, compactor } => {
                // What it is appending is to be written, too.
                join(compactor);
                close();
                join(committer);
                stop();
                join(checkpointer).unwrap_or(Ok(()))
            }
            // Both end by themselves now: neither waits for anybody.
            Driver::Manual { checkpointer, .. } => {
                close();
                Committer::run(&self.committer);
                stop();
                checkpointer.run()
            }
        };
        let failure = self.shared.failure.borrow().clone();
        failure.map_or(checkpointed, |failure| Err(failure.into()))
    }
}

/// Waits for a thread, unless it is this one (the last handle was dropped there). A thread that panicked has said so.
fn join<T>(handle: JoinHandle<T>) -> Option<T> {
    if handle.thread().id() == thread::current().id() {
        return None;
    }
    handle.join().ok()
}

impl Drop for Journal {
    /// Driven by hand it is as if the plug were pulled: a simulation that wants less calls `close`.
    fn drop(&mut self) {
        if matches!(*self.driver.lock(), Some(Driver::Manual { .. })) {
            return;
        }
        if let Err(error) = self.stop(false) {
            tracing::error!(%error, "the store was dropped and could not be closed");
        }
    }
}

impl MessageLog for Journal {
    fn append_publish(&self, message: &Message, targets: &[Target], origin: Origin) -> Appended {
        self.shared.append_publish(message, targets, origin)
    }

    fn append_progress(&self, queue: QueueId, progress: &Progress<'_>) -> Position {
        self.shared.append_progress(queue, progress)
    }

    fn append_transaction(
        &self,
        publishes: &[(&Message, &[Target])],
        settles: &[(QueueId, &[Settled])],
    ) -> (Vec<Appended>, Position) {
        self.shared.append_transaction(publishes, settles)
    }

    fn append_changes(&self, changes: &[Change]) -> Position {
        self.shared.append_changes(changes)
    }

    fn release(&self, records: &[Record]) {
        self.shared.release(records);
    }

    fn read(&self, records: &[Record], found: &mut Found<'_>) -> Result<(), ReadError> {
        self.reader.read(records, found)
    }

    fn can_page(&self) -> bool {
        true
    }

    fn write_image(&self, queue: QueueId, image: ImageId, entries: &[IndexEntry]) {
        if self.images.write(queue, image, entries) {
            // Without a checkpointer the store is closed, and nothing of this is needed.
            let _ = self.shared.tasks.send(Task::Images);
        }
    }

    fn read_image(&self, queue: QueueId, image: ImageId) -> Result<Vec<IndexEntry>, ReadError> {
        Ok(self.images.read(queue, image)?)
    }

    fn rebuild_page(&self, queue: QueueId, page: &PageSummary) -> Result<Vec<IndexEntry>, ReadError> {
        self.reader.rebuild_page(queue, page)
    }

    fn forget_images(&self, queue: QueueId, images: &[ImageId]) {
        self.images.forget(queue, images);
    }

    fn appended(&self) -> Position {
        Position(self.shared.appended.load(Relaxed))
    }

    fn reached(&self, level: Level) -> Position {
        Position(self.shared.reached(level))
    }

    fn notify(&self, point: Point, within: Option<Duration>, waiter: Arc<dyn SyncWaiter>) {
        self.shared.notify(point, within, waiter, Hurry::Yes);
    }

    fn begin_batch(&self) {
        self.shared.begin_batch();
    }

    fn end_batch(&self) {
        self.shared.end_batch();
    }

    fn can_commit_here(&self) -> bool {
        Committer::is_quick(&self.committer)
    }

    fn commit_here(&self, point: Point) {
        Committer::commit_here(&self.committer, point);
    }

    fn hold_checkpoints(&self) -> CheckpointHold<'_> {
        CheckpointHold { _guard: Some(self.shared.gate.read_recursive()) }
    }

    fn set_queues(&self, source: Weak<dyn Queues>) {
        *self.shared.source.lock() = Some(source);
        if self.shared.is_checkpoint_due.swap(false, Relaxed) {
            // Without a checkpointer the store is closed.
            let _ = self.shared.tasks.send(Task::Checkpoint(self.shared.opened_at));
        }
    }

    fn failure(&self) -> watch::Receiver<Option<JournalFailed>> {
        self.shared.failure.subscribe()
    }

    fn disk(&self) -> watch::Receiver<DiskState> {
        self.shared.disk.subscribe()
    }

    fn counters(&self) -> Counters {
        let shared = &*self.shared;
        let state = shared.state.lock();
        Counters {
            records: state.records,
            bytes: state.next() - shared.opened_at,
            bytes_pending: state.next().saturating_sub(shared.reached(Level::Written)),
            writes: shared.writes.load(Relaxed),
            syncs: shared.syncs.load(Relaxed),
            sync_times: shared.sync_times.snapshot(),
            checkpoints: shared.checkpoints.load(Relaxed),
            checkpoints_failed: shared.checkpoints_failed.load(Relaxed),
            damages: shared.damages.load(Relaxed),
            files: state.references.file_count() as u64,
            files_deleted: shared.files_deleted.load(Relaxed),
            references: state.references.total(),
            damaged: shared.damaged.load(Relaxed),
            moved: shared.moved.load(Relaxed),
            disk: shared.disk.borrow().clone(),
        }
    }

    fn close(&self) -> Result<(), Error> {
        self.stop(true)
    }

    fn step_committer(&self, now: Instant) -> Step {
        match &mut *self.driver.lock() {
            Some(Driver::Manual { .. }) => self.committer.lock().step(now),
            _ => Step::Over,
        }
    }

    fn step_checkpointer(&self, now: Instant) -> Step {
        match &mut *self.driver.lock() {
            Some(Driver::Manual { checkpointer, .. }) => checkpointer.step(now),
            _ => Step::Over,
        }
    }

    fn step_compactor(&self) -> Step {
        match &mut *self.driver.lock() {
            Some(Driver::Manual { compactor, .. }) => compactor.step(),
            _ => Step::Over,
        }
    }
}
