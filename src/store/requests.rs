//! What the journal asks of the checkpointer once it has come somewhere.

use super::SyncWaiter;
use super::checkpoint::Task;
use crate::durability::Point;
use parking_lot::Mutex;
use std::sync::mpsc;

/// Files to be deleted once a position is durable.
pub(super) struct Removal {
    tasks: mpsc::Sender<Task>,
    free: Mutex<Vec<u64>>,
}

impl Removal {
    pub(super) fn new(tasks: mpsc::Sender<Task>, free: Vec<u64>) -> Self {
        Self { tasks, free: Mutex::new(free) }
    }
}

impl SyncWaiter for Removal {
    fn reached(&self, _point: Point) {
        // Without a checkpointer the store is closed: the next start deletes them.
        let _ = self.tasks.send(Task::Remove(std::mem::take(&mut *self.free.lock())));
    }
}

/// Makes the checkpointer look again when it is called, and also when it never will be: both end with its drop.
pub(super) struct Nudge(mpsc::Sender<Task>);

impl Nudge {
    pub(super) fn new(tasks: mpsc::Sender<Task>) -> Self {
        Self(tasks)
    }
}

impl SyncWaiter for Nudge {
    fn reached(&self, _point: Point) {}
}

impl Drop for Nudge {
    fn drop(&mut self) {
        // Without a checkpointer nobody waits.
        let _ = self.0.send(Task::Look);
    }
}
