//! Which queues of a node have dead letters to be moved: a list that queues put themselves on and the broker's mover
//! takes them from.
//!
//! A queue holds its dead letters itself; here is only who has some. A queue whose first dead letters nobody takes rests
//! for a while. Publishers that make more dead letters than are moved wait: see [`DeadLetters::are_behind`].

use super::Queue;
use crate::time::{self, Duration, Instant};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::Weak;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use tokio::sync::Notify;

/// So many dead letters may wait on a node before publishers do.
const WAITING_MAX: i64 = 50_000;
/// How long dead letters that nobody takes rest.
const REST: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct Jobs {
    queues: VecDeque<Weak<Queue>>,
    /// Until when; the first one is up first.
    resting: VecDeque<(Instant, Weak<Queue>)>,
    is_over: bool,
}

/// The queues that have dead letters. Lock order: queue → dead letters.
#[derive(Debug, Default)]
pub struct DeadLetters {
    jobs: Mutex<Jobs>,
    came: Condvar,
    waiting: AtomicI64,
    /// How many of these nobody takes.
    stuck: AtomicI64,
    moved: Notify,
}

impl DeadLetters {
    /// The queue has dead letters now, or still.
    pub fn add(&self, queue: Weak<Queue>) {
        self.jobs.lock().queues.push_back(queue);
        self.came.notify_one();
    }

    /// Whether another queue waits to be looked at.
    pub fn have_others(&self) -> bool {
        !self.jobs.lock().queues.is_empty()
    }

    /// So many more wait in a queue, or less.
    pub(super) fn count(&self, more: i64) {
        self.waiting.fetch_add(more, Relaxed);
        if more < 0 {
            self.moved.notify_waiters();
        }
    }

    /// So many more of them, or less, are of the kind that nobody takes.
    pub(super) fn count_stuck(&self, more: i64) {
        self.stuck.fetch_add(more, Relaxed);
    }

    /// Whether more wait than should.
    pub fn are_behind(&self) -> bool {
        let waiting = self.waiting.load(Relaxed);
        waiting > WAITING_MAX && waiting - self.stuck.load(Relaxed) > WAITING_MAX
    }

    /// Waits until some were moved, if too many wait; not for long.
    pub async fn wait(&self) {
        let moved = self.moved.notified();
        if self.are_behind() {
            // Its end is no error: whoever waits has waited enough.
            let _ = tokio::time::timeout(Duration::from_millis(100), moved).await;
        }
    }

    /// The first dead letters of the queue found nobody: it is looked at again after a while.
    pub fn rest(&self, queue: Weak<Queue>) {
        self.jobs.lock().resting.push_back((time::now() + REST, queue));
        self.came.notify_one();
    }

    /// The next queue to be looked at, once there is one; none when it is over and nothing waits. Blocks.
    pub fn take(&self) -> Option<Weak<Queue>> {
        let mut jobs = self.jobs.lock();
        loop {
            if let Some(queue) = jobs.queues.pop_front() {
                return Some(queue);
            }
            if jobs.is_over {
                return None;
            }
            match jobs.resting.front().map(|(until, _)| *until) {
                Some(until) if until <= time::now() => {
                    return jobs.resting.pop_front().map(|(_, queue)| queue);
                }
                Some(until) => drop(self.came.wait_until(&mut jobs, until)),
                None => self.came.wait(&mut jobs),
            }
        }
    }

    /// Nobody will ask any more once what waits now is moved.
    pub fn end(&self) {
        self.jobs.lock().is_over = true;
        self.came.notify_all();
    }
}
