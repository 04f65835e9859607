//! The deadlines of all queues of a node: one list, one task, however many queues and messages.
//!
//! A queue asks to be woken at its earliest deadline, under its own lock; the task wakes it then and is told the next.

use super::Queue;
use crate::time::{self, Millis};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use tokio::sync::Notify;

/// When which queue wants to be woken. Lock order: queue → deadlines.
#[derive(Debug, Default)]
pub struct Deadlines {
    queues: Mutex<BTreeMap<(Millis, u64), Weak<Queue>>>,
    earlier: Notify,
}

impl Deadlines {
    /// Asks to wake the queue at `at`.
    pub fn add(&self, at: Millis, queue: &Queue) {
        let mut queues = self.queues.lock();
        let is_first = queues.first_key_value().is_none_or(|((first, _), _)| at < *first);
        queues.insert((at, queue.definition.id.0), queue.weak());
        drop(queues);
        if is_first {
            self.earlier.notify_one();
        }
    }

    /// The next queue whose time has come, once there is one.
    pub async fn due(&self) -> Arc<Queue> {
        loop {
            let next = self.queues.lock().first_key_value().map(|((at, _), _)| *at);
            let Some(next) = next else {
                self.earlier.notified().await;
                continue;
            };
            let now = time::unix_ms();
            if next > now {
                let wait = tokio::time::sleep(time::Duration::from_millis(next.0 - now.0));
                tokio::select! {
                    () = wait => {}
                    () = self.earlier.notified() => {}
                }
                continue;
            }
            let due = self.queues.lock().pop_first();
            if let Some(queue) = due.and_then(|(_, queue)| queue.upgrade()) {
                return queue;
            }
        }
    }
}
