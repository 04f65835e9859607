//! A [`MessageLog`] without a disk: for tests, and for a broker that has no data directory.
//!
//! Everything appended counts as durable at once, and nothing comes back. Positions and counters behave as on disk.

use super::index::{ImageId, IndexEntry, PageSummary};
use super::record::{Origin, Progress};
use super::{
    Appended, CheckpointHold, Counters, DiskState, Error, Found, JournalFailed, MessageLog, Queues,
    ReadError, Record, Recovered, Settled, Store, SyncWaiter, Target,
};
use crate::definition::Change;
use crate::durability::{Level, Point};
use crate::message::Message;
use crate::name::{Position, QueueId};
use crate::time::Duration;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use tokio::sync::watch;

/// An empty store in memory.
pub fn open() -> (Store, Recovered) {
    store(watch::Sender::new(None), false)
}

/// An empty store in memory that fails when told so, for tests.
pub fn open_to_fail(failure: watch::Sender<Option<JournalFailed>>) -> (Store, Recovered) {
    store(failure, true)
}

fn store(failure: watch::Sender<Option<JournalFailed>>, may_fail: bool) -> (Store, Recovered) {
    let log = MemoryLog {
        end: AtomicU64::new(FIRST_POSITION),
        failed_at: AtomicU64::new(u64::MAX),
        records: AtomicU64::new(0),
        references: AtomicU64::new(0),
        may_fail,
        failure,
        disk: watch::Sender::default(),
    };
    let recovered = Recovered { next_queue_id: QueueId(1), ..Recovered::default() };
    (Store::new(Arc::new(log)), recovered)
}

/// As on disk, where a file's header stands before the first record.
const FIRST_POSITION: u64 = super::segment::HEADER_BYTES as u64;

#[derive(Debug)]
struct MemoryLog {
    end: AtomicU64,
    /// The end when it failed: nothing behind it is ever safe.
    failed_at: AtomicU64,
    records: AtomicU64,
    references: AtomicU64,
    may_fail: bool,
    failure: watch::Sender<Option<JournalFailed>>,
    disk: watch::Sender<DiskState>,
}

impl MemoryLog {
    fn append(&self, payload_bytes: usize) -> Appended {
        let bytes = (super::record::HEADER_BYTES + payload_bytes) as u64;
        self.records.fetch_add(1, Relaxed);
        let position = self.end.fetch_add(bytes, Relaxed);
        if self.may_fail && self.failure.borrow().is_some() {
            self.failed_at.fetch_min(position, Relaxed);
        }
        let record_bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        Appended {
            position: Position(position),
            end: Position(position + bytes),
            record_bytes,
            is_large: false,
        }
    }

    /// Forgets the references of what has a record.
    fn forget(&self, positions: impl Iterator<Item = Position>) {
        let count = positions.filter(|position| position.is_some()).count();
        self.references.fetch_sub(count as u64, Relaxed);
    }
}

impl MessageLog for MemoryLog {
    fn append_publish(&self, message: &Message, targets: &[Target], _origin: Origin) -> Appended {
        self.references.fetch_add(targets.len() as u64, Relaxed);
        self.append(message.memory_bytes())
    }

    fn append_progress(&self, _queue: QueueId, progress: &Progress<'_>) -> Position {
        self.forget(progress.settled.iter().map(|settled| settled.position));
        if progress.is_empty() { self.synced() } else { self.append(progress.settled.len()).end }
    }

    fn append_transaction(
        &self,
        publishes: &[(&Message, &[Target])],
        settles: &[(QueueId, &[Settled])],
    ) -> (Vec<Appended>, Position) {
        let bytes = |message: &Message| super::record::HEADER_BYTES + message.memory_bytes();
        let group = self.append(publishes.iter().map(|(message, _)| bytes(message)).sum());
        let mut next = group.position.0 + super::record::HEADER_BYTES as u64;
        let mut places = Vec::with_capacity(publishes.len());
        for (message, targets) in publishes {
            self.references.fetch_add(targets.len() as u64, Relaxed);
            let record_bytes = u32::try_from(bytes(message)).unwrap_or(u32::MAX);
            places.push(Appended { position: Position(next), record_bytes, ..group });
            next += bytes(message) as u64;
        }
        for (_, settled) in settles {
            self.forget(settled.iter().map(|settled| settled.position));
        }
        (places, group.end)
    }

    fn append_changes(&self, changes: &[Change]) -> Position {
        self.append(changes.len()).end
    }

    fn release(&self, records: &[Record]) {
        self.forget(records.iter().map(|(position, _)| *position));
    }

    fn read(&self, records: &[Record], found: &mut Found<'_>) -> Result<(), ReadError> {
        records.iter().enumerate().for_each(|(at, _)| found(at, None));
        Ok(())
    }

    fn can_page(&self) -> bool {
        false
    }

    fn write_image(&self, _queue: QueueId, _image: ImageId, _entries: &[IndexEntry]) {}

    fn read_image(&self, queue: QueueId, image: ImageId) -> Result<Vec<IndexEntry>, ReadError> {
        Err(Error::Damaged(format!("page {} of queue {queue}: nothing is kept", image.0)).into())
    }

    fn rebuild_page(&self, queue: QueueId, page: &PageSummary) -> Result<Vec<IndexEntry>, ReadError> {
        self.read_image(queue, page.image)
    }

    fn forget_images(&self, _queue: QueueId, _images: &[ImageId]) {}

    fn appended(&self) -> Position {
        self.synced()
    }

    fn reached(&self, _level: Level) -> Position {
        Position(self.end.load(Relaxed).min(self.failed_at.load(Relaxed)))
    }

    fn notify(&self, point: Point, _within: Option<Duration>, waiter: Arc<dyn SyncWaiter>) {
        if point.end <= self.reached(point.level) {
            waiter.reached(point.level.at(self.reached(point.level)));
        }
    }

    fn hold_checkpoints(&self) -> CheckpointHold<'_> {
        CheckpointHold { _guard: None }
    }

    fn set_queues(&self, _source: Weak<dyn Queues>) {}

    fn failure(&self) -> watch::Receiver<Option<JournalFailed>> {
        self.failure.subscribe()
    }

    fn disk(&self) -> watch::Receiver<DiskState> {
        self.disk.subscribe()
    }

    fn counters(&self) -> Counters {
        Counters {
            records: self.records.load(Relaxed),
            bytes: self.end.load(Relaxed) - FIRST_POSITION,
            references: self.references.load(Relaxed),
            ..Counters::default()
        }
    }

    fn close(&self) -> Result<(), Error> {
        Ok(())
    }
}
