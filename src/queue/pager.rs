//! Reads messages and pages of queues back from the store, and takes messages out of memory: threads of their own,
//! because they wait for the disk.
//!
//! Queues ask under their lock and are answered by a command; nothing is read under a lock. Jobs of one queue are done in
//! the order in which they were asked, where order matters: a queue asks for one thing at a time.

use super::Queue;
use super::memory::Memory;
use super::state::{Command, Load, Read, Wanted};
use crate::name::{QueueId, Sequence};
use crate::outbox::Wakes;
use crate::store::index::{IndexEntry, PageSummary};
use crate::store::{self, ReadError, Store};
use crate::time::Duration;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};

/// How many threads read.
const THREADS: usize = 2;
/// How long a read that failed, and may succeed later, is put off.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug)]
enum Job {
    Load(Weak<Queue>, Load),
    /// It is durable that messages below may be delivered.
    Noted(Weak<Queue>, Sequence),
    /// Pages whose messages are gone: their records and images may go.
    Release(QueueId, Vec<PageSummary>),
    Evict,
    Stop,
}

/// Whoever knows all queues.
pub trait AllQueues: Send + Sync {
    /// All of them.
    fn all_queues(&self) -> Vec<Arc<Queue>>;
}

#[derive(Default)]
struct Jobs {
    waiting: Mutex<VecDeque<Job>>,
    came: Condvar,
    queues: Mutex<Option<Weak<dyn AllQueues>>>,
}

/// The threads that read for the queues.
pub struct Pager {
    jobs: Arc<Jobs>,
    threads: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Pager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pager").field("waiting", &self.jobs.waiting.lock().len()).finish_non_exhaustive()
    }
}

impl Pager {
    /// Starts the threads.
    ///
    /// # Errors
    /// Those of making a thread.
    pub fn start(store: &Store, memory: &Arc<Memory>) -> io::Result<Self> {
        let jobs = Arc::<Jobs>::default();
        let mut threads = Vec::new();
        for _ in 0..THREADS {
            let worker = Worker { jobs: Arc::clone(&jobs), store: store.clone(), memory: Arc::clone(memory) };
            threads.push(thread::Builder::new().name("pager".into()).spawn(move || worker.run())?);
        }
        Ok(Self { jobs, threads })
    }

    /// Says who knows all queues.
    pub fn set_queues(&self, queues: Weak<dyn AllQueues>) {
        *self.jobs.queues.lock() = Some(queues);
    }

    /// Reads for a queue, which is answered by a command.
    pub(super) fn load(&self, queue: Weak<Queue>, load: Load) {
        self.jobs.push(Job::Load(queue, load));
    }

    /// Tells a queue that it is durable that messages below may be delivered.
    pub(super) fn noted(&self, queue: Weak<Queue>, below: Sequence) {
        self.jobs.push(Job::Noted(queue, below));
    }

    /// Gives back the records of pages whose messages are gone.
    pub(super) fn release(&self, queue: QueueId, pages: Vec<PageSummary>) {
        self.jobs.push(Job::Release(queue, pages));
    }

    /// Takes messages out of memory until less is used.
    pub(super) fn evict(&self) {
        self.jobs.push(Job::Evict);
    }
}

impl Drop for Pager {
    fn drop(&mut self) {
        self.threads.iter().for_each(|_| self.jobs.push(Job::Stop));
        for thread in self.threads.drain(..) {
            // The last queue may have been dropped by a thread of ours.
            if thread.thread().id() != thread::current().id() {
                // One that panicked has said so.
                let _ = thread.join();
            }
        }
    }
}

impl Jobs {
    fn push(&self, job: Job) {
        self.waiting.lock().push_back(job);
        self.came.notify_one();
    }

    fn take(&self) -> Job {
        let mut waiting = self.waiting.lock();
        loop {
            if let Some(job) = waiting.pop_front() {
                return job;
            }
            self.came.wait(&mut waiting);
        }
    }

    /// Puts a job off; true if another came meanwhile.
    fn put_off(&self, job: Job) {
        let mut waiting = self.waiting.lock();
        if waiting.is_empty() {
            self.came.wait_for(&mut waiting, RETRY_PAUSE);
        }
        waiting.push_back(job);
    }
}

/// The answer to a queue that asked for a page. Who else asked for it meanwhile may have changed it: then its image is gone,
/// and the answer says nothing.
///
/// # Errors
/// Any [`ReadError`]; it may succeed later.
pub(super) fn read_page(
    store: &Store,
    queue: &Queue,
    level: u8,
    page: &PageSummary,
) -> Result<Command<'static>, ReadError> {
    let id = queue.definition.id;
    let (entries, is_rebuilt) = match store.read_image(id, page.image) {
        Err(ReadError::Store(store::Error::Damaged(_))) if !queue.has_cold(level, page) => {
            (Vec::new(), false)
        }
        read => or_rebuilt(store, id, page, read)?,
    };
    Ok(Command::PageLoaded { level, page: Box::new(page.clone()), entries, is_rebuilt })
}

/// A page's entries; from the journal if its image is damaged, which is said, too.
fn read_entries(
    store: &Store,
    queue: QueueId,
    page: &PageSummary,
) -> Result<(Vec<IndexEntry>, bool), ReadError> {
    or_rebuilt(store, queue, page, store.read_image(queue, page.image))
}

fn or_rebuilt(
    store: &Store,
    queue: QueueId,
    page: &PageSummary,
    read: Result<Vec<IndexEntry>, ReadError>,
) -> Result<(Vec<IndexEntry>, bool), ReadError> {
    match read {
        Err(ReadError::Store(error @ store::Error::Damaged(_))) => {
            let entries = store.rebuild_page(queue, page)?;
            let (found, known) = (entries.len(), page.counts.all);
            tracing::error!(%queue, %error, found, known, "a page of a queue's index is rebuilt from the journal");
            Ok((entries, true))
        }
        read => Ok((read?, false)),
    }
}

struct Worker {
    jobs: Arc<Jobs>,
    store: Store,
    memory: Arc<Memory>,
}

impl Worker {
    fn run(self) {
        loop {
            match self.jobs.take() {
                Job::Load(queue, load) => self.load(queue, load),
                Job::Noted(queue, below) => {
                    if let Some(queue) = queue.upgrade() {
                        queue.answer(Command::Noted(below), &mut Wakes::default());
                    }
                }
                Job::Release(queue, pages) => self.release(queue, &pages),
                Job::Evict => self.evict(),
                Job::Stop => return,
            }
        }
    }

    fn load(&self, queue: Weak<Queue>, load: Load) {
        let Some(owner) = queue.upgrade() else { return };
        let answer = match &load {
            Load::Page { level, page } => read_page(&self.store, &owner, *level, page),
            Load::Bodies(wanted) => self.read(wanted).map(Command::Loaded),
        };
        match answer {
            Ok(command) => owner.answer(command, &mut Wakes::default()),
            Err(error) => {
                let (name, vhost) = (&owner.name, &owner.vhost);
                tracing::error!(queue = %name, %vhost, %error, "messages cannot be read for now");
                drop(owner);
                self.jobs.put_off(Job::Load(queue, load));
            }
        }
    }

    fn read(&self, wanted: &[Wanted]) -> Result<Vec<(Wanted, Read)>, ReadError> {
        let records: Vec<_> = wanted.iter().map(|wanted| (wanted.position, wanted.record_bytes)).collect();
        let mut answer = Vec::with_capacity(wanted.len());
        self.store.read(&records, &mut |at, message| {
            answer.push((wanted[at], message.map_or(Read::Lost, Read::Message)));
        })?;
        Ok(answer)
    }

    fn release(&self, queue: QueueId, pages: &[PageSummary]) {
        for page in pages {
            match read_entries(&self.store, queue, page) {
                Ok((entries, _)) => {
                    let held = entries.iter().filter(|entry| page.holds(entry));
                    let records: Vec<_> = held.map(|e| (e.position, e.record_bytes)).collect();
                    self.store.release(&records);
                }
                // Its records stay counted until the next start.
                Err(error) => tracing::warn!(%queue, %error, "a page of settled messages cannot be read"),
            }
            self.store.forget_images(queue, &[page.image]);
        }
    }

    /// The largest queues first.
    fn evict(&self) {
        let queues = self.jobs.queues.lock().as_ref().and_then(Weak::upgrade);
        if let Some(queues) = queues {
            let mut queues: Vec<_> =
                queues.all_queues().into_iter().map(|queue| (queue.reported_bytes(), queue)).collect();
            queues.sort_unstable_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
            for (bytes, queue) in queues.iter().filter(|(bytes, _)| *bytes > 0) {
                let excess = self.memory.excess_bytes();
                if excess == 0 {
                    break;
                }
                queue.evict(excess.min(*bytes), &mut Wakes::default());
            }
        }
        self.memory.rest();
    }
}
