//! Replays the journal's files over what the catalog holds, and says what is alive.
//!
//! It cuts the last file behind its last good record (a crash left the rest half written) and passes over bad bytes
//! anywhere else ([`damage`](super::damage)); it decides nothing else and starts nothing.

use super::catalog::{self, Contents, Live};
use super::damage::Damage;
use super::files::Files;
use super::record::{self, Bad, Entry, Publish};
use super::{Error, RecoveredQueue, Report, segment};
use crate::definition::{Change, Definition};
use crate::message::Message;
use crate::name::{ExchangeName, Position, QueueId, Sequence};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the journal holds, after all files were read.
#[derive(Debug)]
pub(super) struct Replayed {
    pub(super) definitions: Vec<Definition>,
    pub(super) queues: HashMap<QueueId, RecoveredQueue>,
    /// Changes to be made in the catalog.
    pub(super) changes: Vec<Change>,
    pub(super) next_queue_id: QueueId,
    /// Where the files start.
    pub(super) starts: Vec<u64>,
    /// Behind the last good record.
    pub(super) end: u64,
}

#[derive(Debug, Default)]
struct QueueReplay {
    next_sequence: u64,
    messages: BTreeMap<Sequence, (Position, Arc<Message>)>,
}

/// A replay under way.
#[derive(Debug)]
pub(super) struct Replay {
    files: Arc<dyn Files>,
    data_dir: PathBuf,
    definitions: BTreeMap<Vec<u8>, Definition>,
    /// Earlier changes are in the definitions already, and later ones may have undone them: they are passed over.
    definitions_from: u64,
    live: HashMap<QueueId, Live>,
    queues: HashMap<QueueId, QueueReplay>,
    changes: Vec<Change>,
    next_queue_id: u64,
    starts: Vec<u64>,
    end: u64,
    /// The last message's exchange, shared with the next if it is the same.
    exchange: ExchangeName,
}

impl Replay {
    /// Over the catalog's contents, whose definitions hold every change before `definitions_from`.
    pub(super) fn new(
        contents: Contents,
        definitions_from: u64,
        files: Arc<dyn Files>,
        data_dir: PathBuf,
    ) -> Self {
        let next_sequence =
            |live: &Live| QueueReplay { next_sequence: live.next_sequence.0, ..Default::default() };
        Self {
            files,
            data_dir,
            queues: contents.live.iter().map(|(&id, live)| (id, next_sequence(live))).collect(),
            next_queue_id: contents.mark.next_queue_id,
            definitions: contents.definitions,
            definitions_from,
            live: contents.live,
            changes: Vec::new(),
            starts: Vec::new(),
            end: 0,
            exchange: ExchangeName::new(""),
        }
    }

    /// Reads the file that starts at position `start`; files come in order.
    ///
    /// # Errors
    /// Those of the file system, also of keeping damaged bytes, and [`Error::Format`] for what a newer version wrote. Damage is reported only.
    pub(super) fn read_file(
        &mut self,
        path: &Path,
        start: u64,
        is_last: bool,
        report: &mut Report,
    ) -> Result<(), Error> {
        let bytes = self.files.read(path).map_err(|error| Error::io(path, error))?;
        report.files += 1;
        report.bytes += bytes.len() as u64;
        let mut at = segment::HEADER_BYTES.min(bytes.len());
        if at == segment::HEADER_BYTES && !segment::has_header(&bytes, start) {
            self.check_version(path, &bytes)?;
            // The name says what the header should, and each record's checksum covers its position.
            report.warnings.push(format!("{}: damaged header", path.display()));
        }
        let mut torn = None;
        while torn.is_none() && at < bytes.len() {
            match record::read(&bytes[at..], start + at as u64) {
                Ok((entries, length)) => {
                    at += length;
                    report.records += 1;
                    let position = start + (at - length) as u64;
                    for entry in entries {
                        if self.apply(entry, position).is_err() {
                            report.warnings.push(unreadable(path, at - length));
                        }
                    }
                }
                Err(Bad::Payload) => {
                    report.warnings.push(unreadable(path, at));
                    at += record::total_length(&bytes[at..]);
                }
                Err(Bad::Unknown { kind, version }) => {
                    let found = format!("a record of kind {kind} version {version}");
                    let expected = "kinds of this version of Warren".into();
                    return Err(Error::Format { path: path.into(), found, expected });
                }
                Err(reason) => match record::find(&bytes, at + 1, start) {
                    None if is_last => torn = Some(reason),
                    good => {
                        let end = good.unwrap_or(bytes.len());
                        let damage = Damage { path, offset: at, bytes: &bytes[at..end], reason };
                        damage.pass_over(&*self.files, &self.data_dir, report)?;
                        at = end;
                    }
                },
            }
        }
        if is_last {
            cut(&*self.files, path, &bytes, at, torn, report)?;
        }
        self.starts.push(start);
        self.end = start + at as u64;
        Ok(())
    }

    /// A header of another version, intact, is no damage.
    fn check_version(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        match segment::version(bytes) {
            Some(version) if version != segment::VERSION => Err(Error::Format {
                path: path.into(),
                found: version.to_string(),
                expected: segment::VERSION.to_string(),
            }),
            _ => Ok(()),
        }
    }

    fn apply(&mut self, entry: Entry<'_>, position: u64) -> Result<(), Bad> {
        match entry {
            Entry::Publish(publish) => return self.publish(&publish),
            Entry::Settle(queue, ranges) => {
                self.next_queue_id = self.next_queue_id.max(queue.0 + 1);
                let queue = self.queues.entry(queue).or_default();
                for (first, last) in ranges {
                    queue.next_sequence = queue.next_sequence.max(last.0 + 1);
                    while let Some((&sequence, _)) = queue.messages.range(first..=last).next() {
                        queue.messages.remove(&sequence);
                    }
                }
            }
            Entry::Changes(changes) if position >= self.definitions_from => {
                catalog::apply_changes(&mut self.definitions, &changes);
                self.changes.extend(changes);
            }
            Entry::Changes(_) => {}
        }
        Ok(())
    }

    fn publish(&mut self, publish: &Publish<'_>) -> Result<(), Bad> {
        if self.exchange.as_str() != publish.exchange {
            self.exchange = ExchangeName::new(publish.exchange);
        }
        let mut message = None;
        for &(id, sequence) in &publish.targets {
            self.next_queue_id = self.next_queue_id.max(id.0 + 1);
            let queue = self.queues.entry(id).or_default();
            queue.next_sequence = queue.next_sequence.max(sequence.0 + 1);
            let is_settled = |live: &Live| sequence < live.next_sequence && !live.live.contains(sequence);
            if self.live.get(&id).is_some_and(is_settled) {
                continue;
            }
            let message = match &message {
                Some(message) => message,
                None => message.insert(Arc::new(publish.message(self.exchange.clone())?)),
            };
            queue.messages.insert(sequence, (publish.position, message.clone()));
        }
        Ok(())
    }

    /// Drops what belongs to no defined queue, and returns the rest.
    pub(super) fn finish(mut self, report: &mut Report) -> Replayed {
        let defined = catalog::defined_queues(&self.definitions);
        let highest = defined.iter().map(|id| id.0 + 1).max().unwrap_or(1);
        self.queues.retain(|id, _| defined.contains(id));
        let mut messages = 0;
        let recovered = |(id, queue): (QueueId, QueueReplay)| {
            messages += queue.messages.len() as u64;
            let next_sequence = Sequence(queue.next_sequence);
            let queue = queue.messages.into_iter().map(|(sequence, (at, message))| (sequence, at, message));
            (id, RecoveredQueue { next_sequence, messages: queue.collect() })
        };
        let queues = self.queues.into_iter().map(recovered).collect();
        report.messages = messages;
        Replayed {
            definitions: self.definitions.into_values().collect(),
            queues,
            changes: self.changes,
            next_queue_id: QueueId(self.next_queue_id.max(highest)),
            starts: self.starts,
            end: self.end,
        }
    }
}

fn unreadable(path: &Path, at: usize) -> String {
    format!(
        "{}: the record at offset {at} is intact but cannot be understood, and was passed over",
        path.display()
    )
}

/// Cuts the last file at its last good record.
fn cut(
    files: &dyn Files,
    path: &Path,
    bytes: &[u8],
    at: usize,
    bad: Option<Bad>,
    report: &mut Report,
) -> Result<(), Error> {
    // Less than a header is a file whose making was interrupted: it is begun anew.
    let keep = if at < segment::HEADER_BYTES { 0 } else { at };
    if keep == bytes.len() {
        return Ok(());
    }
    let shorten = || {
        let file = files.open(path)?;
        file.set_len(keep as u64)?;
        file.sync()
    };
    shorten().map_err(|error| Error::io(path, error))?;
    report.bytes_cut = (bytes.len() - keep) as u64;
    let reason = bad.map_or_else(|| "incomplete header".into(), |bad| bad.to_string());
    let (path, count) = (path.display(), report.bytes_cut);
    report.warnings.push(format!("{path}: {reason} at offset {keep}: {count} bytes were cut off"));
    Ok(())
}
