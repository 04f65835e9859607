//! Reads messages back from the journal, by position: for queues whose messages left memory.
//!
//! Whoever reads waits for the disk, so nobody does under a lock. Records that stand close together are read with one
//! call, so a backlog is read as it was written: in large pieces, forwards.

use super::damage::Damage;
use super::files::{File, Files};
use super::index::{IndexEntry, PageSummary};
use super::journal::{Hurry, Shared};
use super::record::{self, Bad};
use super::{Error, SyncWaiter, rebuild, segment};
use crate::durability::{Level, Point};
use crate::message::Message;
use crate::name::{ExchangeName, Position, QueueId};
use crate::time::Duration;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, mpsc};

/// Records further apart are read by themselves.
const GAP_BYTES_MAX: u64 = 64 << 10;
/// How much is read with one call, at most; a larger record by itself.
const PIECE_BYTES_MAX: u64 = 4 << 20;
/// How many files are kept open.
const OPEN_FILES_MAX: usize = 16;
/// How long the journal's buffer may take to be on disk, so that what stands in it can be read.
const PATIENCE: Duration = Duration::from_millis(50);

/// Why messages cannot be read now; later they may.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The operating system refused.
    #[error(transparent)]
    Store(#[from] Error),
    /// They are not on disk yet.
    #[error("the journal is not written up to {}", .0.0)]
    NotWritten(Position),
}

/// A record to be read: where it stands, and how long it is.
pub type Record = (Position, u32);

/// What is done with each message, by the place of its record in the request; none if there is no such record.
pub type Found<'a> = dyn FnMut(usize, Option<Arc<Message>>) + 'a;

pub(super) struct Reader {
    shared: Arc<Shared>,
    files: Arc<dyn Files>,
    dir: PathBuf,
    /// The last ones used, by where they start; the latest at the back.
    open: Mutex<VecDeque<(u64, Arc<dyn File>)>>,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, files: Arc<dyn Files>, dir: PathBuf) -> Self {
        Self { shared, files, dir, open: Mutex::default() }
    }

    /// Reads records, most quickly if they ascend.
    ///
    /// # Errors
    /// Any [`ReadError`]; some may have been found before.
    pub(super) fn read(&self, records: &[Record], found: &mut Found<'_>) -> Result<(), ReadError> {
        self.wait_written(records)?;
        let mut buffer = Vec::new();
        let mut exchange = ExchangeName::new("");
        let mut at = 0;
        while at < records.len() {
            let piece = self.piece(&records[at..]);
            let Some(Piece { file_start, count, start, end }) = piece else {
                found(at, None);
                at += 1;
                continue;
            };
            buffer.resize((end - start) as usize, 0);
            let is_there = self.fill(file_start, start, &mut buffer)?;
            for (index, &(position, record_bytes)) in records.iter().enumerate().skip(at).take(count) {
                let from = (position.0 - start) as usize;
                let bytes = buffer.get(from..from + record_bytes as usize).filter(|_| is_there);
                found(index, bytes.and_then(|bytes| self.message(bytes, position, &mut exchange)));
            }
            at += count;
        }
        Ok(())
    }

    /// See [`rebuild`].
    ///
    /// # Errors
    /// Any [`ReadError`].
    pub(super) fn rebuild_page(
        &self,
        queue: QueueId,
        page: &PageSummary,
    ) -> Result<Vec<IndexEntry>, ReadError> {
        self.wait(Level::Written.at(Position(page.positions.1.0 + 1)))?;
        let starts = self.shared.state.lock().references.starts();
        Ok(rebuild::page(&*self.files, &self.dir, &starts, queue, page)?)
    }

    fn message(&self, bytes: &[u8], position: Position, exchange: &mut ExchangeName) -> Option<Arc<Message>> {
        let message = record::read_message(bytes, position.0).and_then(|publish| {
            if exchange.as_str() != publish.exchange {
                *exchange = ExchangeName::new(publish.exchange);
            }
            publish.message(exchange.clone())
        });
        match message {
            Ok(message) => Some(Arc::new(message)),
            Err(bad) => {
                self.report(bytes, position, bad);
                None
            }
        }
    }

    /// The file may be deleted soon, so the bytes are copied before.
    fn report(&self, bytes: &[u8], position: Position, reason: Bad) {
        let start = self.shared.state.lock().references.bounds(position.0).map_or(0, |(start, _)| start);
        let path = segment::path(&self.dir, start);
        let offset = (position.0 - start) as usize;
        let damage = Damage { path: &path, offset, bytes, reason };
        let data_dir = self.dir.parent().unwrap_or(&self.dir);
        let kept = damage.keep(&*self.files, data_dir);
        let kept = kept.map_or_else(|error| error.to_string(), |kept| kept.display().to_string());
        tracing::error!(path = %path.display(), offset, %reason, copy = kept, "a message in the journal is damaged");
        self.shared.damaged.fetch_add(1, Relaxed);
    }

    /// The records at the front that are read with one call; none if the first one's file is gone.
    fn piece(&self, records: &[Record]) -> Option<Piece> {
        let (first, first_bytes) = *records.first()?;
        let (file_start, file_end) = self.shared.state.lock().references.bounds(first.0)?;
        let mut piece = Piece { file_start, count: 1, start: first.0, end: first.0 + u64::from(first_bytes) };
        for &(position, record_bytes) in &records[1..] {
            let end = position.0 + u64::from(record_bytes);
            let is_near = position.0 >= piece.end && position.0 - piece.end <= GAP_BYTES_MAX;
            if !is_near || end - piece.start > PIECE_BYTES_MAX || position.0 >= file_end {
                break;
            }
            (piece.count, piece.end) = (piece.count + 1, end);
        }
        Some(piece)
    }

    /// Reads bytes of a file; false if the file or that part of it is not there.
    fn fill(&self, file_start: u64, start: u64, buffer: &mut [u8]) -> Result<bool, ReadError> {
        let path = segment::path(&self.dir, file_start);
        let read = self.file(file_start).and_then(|file| file.read_at(buffer, start - file_start));
        match read {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::UnexpectedEof) => Ok(false),
            Err(error) => Err(Error::io(path, error).into()),
        }
    }

    fn file(&self, start: u64) -> std::io::Result<Arc<dyn File>> {
        let mut open = self.open.lock();
        if let Some(at) = open.iter().position(|(other, _)| *other == start) {
            let entry = open.remove(at).expect("it was just found");
            open.push_back(entry.clone());
            return Ok(entry.1);
        }
        let file: Arc<dyn File> = Arc::from(self.files.open(&segment::path(&self.dir, start))?);
        open.push_back((start, Arc::clone(&file)));
        if open.len() > OPEN_FILES_MAX {
            open.pop_front();
        }
        Ok(file)
    }

    /// Closes files that were deleted, so that their space comes back.
    pub(super) fn close(&self, starts: &[u64]) {
        self.open.lock().retain(|(start, _)| !starts.contains(start));
    }

    /// Waits until what is to be read has left the journal's buffer.
    fn wait_written(&self, records: &[Record]) -> Result<(), ReadError> {
        let ends = records.iter().map(|(position, bytes)| position.0 + u64::from(*bytes));
        let end = ends.max().unwrap_or(0);
        // A large record is written beside the others; whatever is as long may be one.
        let is_large = records.iter().any(|(_, bytes)| *bytes as usize > self.shared.large_body_bytes);
        let level = if is_large { Level::Written } else { Level::WrittenButLarge };
        self.wait(level.at(Position(end)))
    }

    fn wait(&self, point: Point) -> Result<(), ReadError> {
        if self.shared.reached(point.level) >= point.end.0 {
            return Ok(());
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        self.shared.notify(point, None, Arc::new(Signal(sender)), Hurry::Yes);
        // A disk that is slow, full or broken must not hold up those who read what is there.
        receiver.recv_timeout(PATIENCE).map_err(|_| ReadError::NotWritten(point.end))
    }
}

struct Piece {
    file_start: u64,
    count: usize,
    start: u64,
    end: u64,
}

struct Signal(mpsc::SyncSender<()>);

impl SyncWaiter for Signal {
    fn reached(&self, _point: Point) {
        // The receiver waits for this, or has lost its patience.
        let _ = self.0.try_send(());
    }
}
