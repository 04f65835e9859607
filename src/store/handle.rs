//! [`Store`]: a [`MessageLog`] with what is built upon it, for tasks.

use super::{JournalFailed, MessageLog, SyncWaiter};
use crate::durability::{Level, Point, SafeAt};
use crate::name::Position;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::oneshot;

/// The store, cheap to clone: a [`MessageLog`] with what is built upon it.
///
/// When the last clone is dropped without [`MessageLog::close`], the journal is still written and synced.
#[derive(Clone, Debug)]
pub struct Store(Arc<dyn MessageLog>);

impl std::ops::Deref for Store {
    type Target = dyn MessageLog;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl Store {
    pub(crate) fn new(log: Arc<dyn MessageLog>) -> Self {
        Self(log)
    }

    /// Whether the journal has come as far as the point says.
    pub fn has_reached(&self, point: Point) -> bool {
        self.reached(point.level) >= point.end
    }

    /// Waits until the journal has come as far as the point says.
    ///
    /// # Errors
    /// [`JournalFailed`] when it never will.
    pub async fn wait(&self, point: Point) -> Result<(), JournalFailed> {
        self.wait_safe(SafeAt { point, within: None }).await
    }

    /// Waits until everything before `end` is durable, large records and all.
    ///
    /// # Errors
    /// [`JournalFailed`] when it never will be.
    pub async fn wait_synced(&self, end: Position) -> Result<(), JournalFailed> {
        self.wait(Level::Synced.at(end)).await
    }

    /// Waits until something is as safe as it has to be.
    ///
    /// # Errors
    /// [`JournalFailed`] when it never will be.
    pub async fn wait_safe(&self, SafeAt { point, within }: SafeAt) -> Result<(), JournalFailed> {
        if within.is_none() && self.has_reached(point) {
            return Ok(());
        }
        let (sender, told) = oneshot::channel();
        self.notify(point, within, Arc::new(WaitOnce(Mutex::new(Some(sender)))));
        told.await
            .map_err(|_| self.failure().borrow().clone().unwrap_or_else(|| JournalFailed::new("closed")))
    }

    /// Until the guard is dropped the committer is not woken for each record, only where somebody waits.
    pub fn batch(&self) -> Batch {
        self.begin_batch();
        Batch(Arc::clone(&self.0))
    }

    /// Brings the journal to the point in this thread, if the disk is quick and nobody else commits: otherwise does
    /// nothing. For a task that has nothing else to do, with one record or a few that somebody waits for.
    pub fn commit_here(&self, point: Point) {
        let runtime = tokio::runtime::Handle::try_current().map(|handle| handle.runtime_flavor());
        let may_block = matches!(runtime, Ok(tokio::runtime::RuntimeFlavor::MultiThread));
        let is_sync = matches!(point.level, Level::Synced | Level::SyncedButLarge);
        if is_sync && may_block && !self.has_reached(point) && self.can_commit_here() {
            // The other tasks of this thread go on in another.
            tokio::task::block_in_place(|| self.0.commit_here(point));
        }
    }

    /// Waits until the journal fails; the server ends then. Pending for ever if it never does.
    pub async fn wait_failed(&self) -> JournalFailed {
        let mut failure = self.failure();
        let failed = failure.wait_for(Option::is_some).await.ok().and_then(|failed| failed.clone());
        match failed {
            Some(failed) => failed,
            None => std::future::pending().await,
        }
    }
}

struct WaitOnce(Mutex<Option<oneshot::Sender<()>>>);

impl SyncWaiter for WaitOnce {
    fn reached(&self, _point: Point) {
        if let Some(sender) = self.0.lock().take() {
            // The receiver may be gone: whoever waited gave up.
            let _ = sender.send(());
        }
    }
}

/// In the middle of appending: see [`Store::batch`].
#[must_use]
#[derive(Debug)]
pub struct Batch(Arc<dyn MessageLog>);

impl Drop for Batch {
    fn drop(&mut self) {
        self.0.end_batch();
    }
}
