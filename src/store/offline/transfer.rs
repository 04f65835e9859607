//! Messages of a queue as lines of JSON, out of a data directory and into one.

use super::super::index::IndexEntry;
use super::super::record::Origin;
use super::super::{Drive, JournalFailed, ReadError, Store, SyncWaiter};
use super::compact::check_disk;
use super::line::{Line, LineError};
use super::queues::{self, Shelf};
use super::{Error, Place, Tell, durable_queues, visit_entries};
use crate::definition;
use crate::durability::{Level, Point};
use crate::name::Position;
use crate::time::Duration;
use std::io::{self, BufRead, Write};
use std::sync::{Arc, mpsc};

/// So many messages, or bytes, are read, or may wait for the disk, at a time.
const SLICE_MESSAGES: usize = 1024;
const SLICE_BYTES: u64 = 8 << 20;
/// How often a disk that does not answer is asked whether it refuses.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Why messages were not, or not all, taken out or put in.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum TransferError {
    #[error(transparent)]
    Store(#[from] Error),
    #[error("no durable queue '{name}' in vhost '{vhost}'")]
    NoQueue { vhost: String, name: String },
    #[error("{0}")]
    Text(io::Error),
    #[error(
        "line {line}: {error}; the {imported} messages before it are in the queue, so go on with that line"
    )]
    Line { line: u64, imported: u64, error: LineError },
    #[error("message {position} of the queue is damaged; the {exported} messages before it were written")]
    Damaged { position: u64, exported: u64 },
}

impl From<ReadError> for TransferError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Store(error) => error.into(),
            error @ ReadError::NotWritten(_) => Error::Damaged(error.to_string()).into(),
        }
    }
}

fn find<'a>(
    definitions: &'a [definition::Definition],
    vhost: &str,
    name: &str,
) -> Result<&'a definition::Queue, TransferError> {
    let found = durable_queues(definitions).find(|(v, n, _)| *v == vhost && *n == name);
    found
        .map(|(_, _, queue)| queue)
        .ok_or_else(|| TransferError::NoQueue { vhost: vhost.into(), name: name.into() })
}

/// Writes the messages of a queue that a start would bring back to `out`, oldest first, and returns how many there are.
/// Nothing in the data directory changes.
///
/// # Errors
/// [`TransferError`]; what was written before stands.
pub fn export(
    place: &Place,
    vhost: &str,
    name: &str,
    out: &mut dyn Write,
    tell: &mut Tell<'_>,
) -> Result<u64, TransferError> {
    let (store, recovered) = place.look()?;
    let queue = find(&recovered.definitions, vhost, name)?;
    let mut entries = Vec::new();
    if let Some(found) = recovered.queues.get(&queue.id) {
        let visited = visit_entries(&store, queue.id, found, &mut |entry| {
            entries.push(entry);
            Ok(())
        });
        visited?;
    }
    entries.sort_unstable_by_key(|entry: &IndexEntry| entry.sequence);
    let mut exported = 0;
    let mut rest = &entries[..];
    while !rest.is_empty() {
        let mut bytes = 0;
        let within = rest.iter().take(SLICE_MESSAGES).take_while(|entry| {
            let is_within = bytes < SLICE_BYTES;
            bytes += u64::from(entry.record_bytes);
            is_within
        });
        let (slice, behind) = rest.split_at(within.count());
        let messages = read(&store, slice)?;
        for (entry, message) in slice.iter().zip(messages) {
            let damaged = TransferError::Damaged { position: exported + 1, exported };
            let message = message.ok_or(damaged)?;
            let line = Line {
                message: (*message).clone(),
                is_delivered: entry.is_delivered,
                returns: entry.returns,
                failures: entry.failures,
            };
            writeln!(out, "{}", line.to_json()).map_err(TransferError::Text)?;
            exported += 1;
        }
        tell(exported, entries.len() as u64);
        rest = behind;
    }
    out.flush().map_err(TransferError::Text)?;
    Ok(exported)
}

type Read = Vec<Option<Arc<crate::message::Message>>>;

fn read(store: &Store, entries: &[IndexEntry]) -> Result<Read, ReadError> {
    let records: Vec<_> = entries.iter().map(|entry| (entry.position, entry.record_bytes)).collect();
    let mut messages = vec![None; records.len()];
    store.read(&records, &mut |at, message| messages[at] = message)?;
    Ok(messages)
}

/// Appends the messages that `lines` holds to a queue, in order, and returns how many; they are durable then. `tell`
/// hears how many bytes of lines were read, and 0: nobody knows how many there are.
///
/// # Errors
/// [`TransferError`]; it says how many messages are in the queue.
pub fn import(
    place: &Place,
    vhost: &str,
    name: &str,
    lines: &mut dyn BufRead,
    tell: &mut Tell<'_>,
) -> Result<u64, TransferError> {
    let (store, mut recovered) = place.open(Drive::Threads)?;
    let queue = find(&recovered.definitions, vhost, name)?.clone();
    let shelf = Shelf::new(&store, &mut recovered);
    let imported = import_lines(&store, &shelf, &queue, lines, tell);
    let closed = store.close();
    drop((shelf, store));
    // What went wrong first is said; what was imported before is durable if the store could be closed.
    let imported = imported?;
    closed?;
    Ok(imported)
}

fn import_lines(
    store: &Store,
    shelf: &Shelf,
    queue: &definition::Queue,
    lines: &mut dyn BufRead,
    tell: &mut Tell<'_>,
) -> Result<u64, TransferError> {
    let (mut text, mut number, mut imported) = (String::new(), 0, 0);
    let (mut read, mut unsynced) = (0, 0);
    loop {
        text.clear();
        let length = lines.read_line(&mut text).map_err(TransferError::Text)?;
        if length == 0 {
            break;
        }
        number += 1;
        read += length as u64;
        if text.trim().is_empty() {
            continue;
        }
        let line = Line::from_json(&text);
        let line = line.map_err(|error| TransferError::Line { line: number, imported, error })?;
        let mut end = Position::NONE;
        shelf.append(queue, |sequence| {
            let appended = store.append_publish(&line.message, &[(queue.id, sequence)], Origin::default());
            end = appended.end;
            let published = line.message.received_at;
            let own = queues::own_expiry(line.message.time_to_live_ms(), published);
            IndexEntry {
                sequence,
                position: appended.position,
                expires_at: queues::expiry(queue, own, published),
                body_bytes: u32::try_from(line.message.body().len()).unwrap_or(u32::MAX),
                record_bytes: appended.record_bytes,
                returns: line.returns,
                failures: line.failures,
                priority: line.message.priority.unwrap_or(queue.default_priority()),
                is_delivered: line.is_delivered,
                is_durable: true,
            }
        });
        imported += 1;
        unsynced += length as u64;
        if unsynced >= SLICE_BYTES {
            wait_synced(store, end)?;
            unsynced = 0;
            tell(read, 0);
        }
    }
    Ok(imported)
}

struct Signal(mpsc::SyncSender<()>);

impl SyncWaiter for Signal {
    fn reached(&self, _point: Point) {
        // Whoever waits gave up.
        let _ = self.0.try_send(());
    }
}

/// Waits until everything before `end` is durable; a disk that refuses ends it.
fn wait_synced(store: &Store, end: Position) -> Result<(), Error> {
    let (sender, receiver) = mpsc::sync_channel(1);
    store.notify(Level::Synced.at(end), None, Arc::new(Signal(sender)));
    loop {
        match receiver.recv_timeout(LOOK_INTERVAL) {
            Ok(()) => return Ok(()),
            Err(mpsc::RecvTimeoutError::Timeout) => check_disk(store)?,
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let failure = store.failure().borrow().clone();
                return Err(failure.unwrap_or_else(|| JournalFailed::new("closed")).into());
            }
        }
    }
}
