//! Replays the journal's files over what the catalog holds: definitions here, messages in [`alive`](super::alive).
//!
//! It cuts the last file behind its last good record (a crash left the rest half written) and passes over bad bytes
//! anywhere else ([`damage`](super::damage)); it decides nothing else and starts nothing.

use super::alive::Alive;
use super::catalog::{self, Contents};
use super::damage::Damage;
use super::files::Files;
use super::metadata::Metadata;
use super::record::{Bad, Entry, Scan, What};
use super::windows::Windows;
use super::{Error, RecoveredQueue, Report, segment};
use crate::definition::{Change, Definition, Key};
use crate::name::{Position, QueueId};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the journal holds, after all files were read.
#[derive(Debug)]
pub(super) struct Replayed {
    pub(super) definitions: Vec<Definition>,
    pub(super) queues: BTreeMap<QueueId, RecoveredQueue>,
    /// Changes to be made in the catalog.
    pub(super) changes: Vec<Change>,
    pub(super) next_queue_id: QueueId,
    /// Where the files start.
    pub(super) starts: Vec<u64>,
    /// Behind the last good record.
    pub(super) end: u64,
    /// Positions below were given out, if only to what is lost.
    pub(super) given_out: u64,
}

/// Where things are.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) files: Arc<dyn Files>,
    pub(super) data_dir: PathBuf,
    /// Has the pages.
    pub(super) metadata: Arc<dyn Metadata>,
}

/// A replay under way.
#[derive(Debug)]
pub(super) struct Replay {
    place: Place,
    definitions: BTreeMap<Vec<u8>, Definition>,
    /// Earlier changes are in the definitions already, and later ones may have undone them: they are passed over.
    definitions_from: u64,
    alive: Alive,
    windows: Windows,
    changes: Vec<Change>,
    next_queue_id: u64,
    starts: Vec<u64>,
    /// Where the good records of each file end.
    ends: Vec<u64>,
    end: u64,
}

impl Replay {
    /// Over the catalog's contents, whose definitions hold every change before `definitions_from`.
    pub(super) fn new(contents: Contents, definitions_from: u64, place: Place) -> Self {
        Self {
            place,
            next_queue_id: contents.mark.next_queue_id,
            windows: Windows::of(&contents.definitions),
            definitions: contents.definitions,
            definitions_from,
            alive: Alive::new(contents.queues),
            changes: Vec::new(),
            starts: Vec::new(),
            ends: Vec::new(),
            end: 0,
        }
    }

    /// A file that need not be read, because the checkpoint covers it.
    pub(super) fn pass_over(&mut self, start: u64, end: u64) {
        self.starts.push(start);
        self.ends.push(end);
        self.end = end;
    }

    /// Reads the file that starts at position `start`, from position `from` on, where a record begins; files come in
    /// order.
    ///
    /// # Errors
    /// Those of the file system, also of keeping damaged bytes, and [`Error::Format`] for what a newer version wrote. Damage is reported only.
    pub(super) fn read_file(
        &mut self,
        path: &Path,
        start: u64,
        from: u64,
        is_last: bool,
        report: &mut Report,
    ) -> Result<(), Error> {
        let bytes = self.place.files.read(path).map_err(|error| Error::io(path, error))?;
        report.files += 1;
        report.bytes += bytes.len() as u64;
        let mut at = segment::HEADER_BYTES.min(bytes.len());
        if at == segment::HEADER_BYTES && !segment::has_header(&bytes, start) {
            self.check_version(path, &bytes)?;
            // The name says what the header should, and each record's checksum covers its position.
            report.warnings.push(format!("{}: damaged header", path.display()));
        }
        at = at.max(usize::try_from(from.saturating_sub(start)).unwrap_or(usize::MAX)).min(bytes.len());
        let mut torn = None;
        for piece in Scan::new(&bytes, start, at).of_last_file(is_last) {
            at = piece.end;
            match piece.what {
                What::Record(entries) => {
                    report.records += 1;
                    for entry in entries {
                        if self.apply(entry, start + piece.at as u64)?.is_err() {
                            report.warnings.push(unreadable(path, piece.at));
                        }
                    }
                }
                What::Unreadable(Bad::Unknown { kind, version }) => {
                    let found = format!("a record of kind {kind} version {version}");
                    let expected = "kinds of this version of Warren".into();
                    return Err(Error::Format { path: path.into(), found, expected });
                }
                What::Unreadable(_) => report.warnings.push(unreadable(path, piece.at)),
                What::Unfinished => report.unfinished += 1,
                What::Room(_) if is_last => at = piece.at,
                What::Rest(reason) if is_last => (at, torn) = (piece.at, Some(reason)),
                What::Rest(reason) | What::Damage(reason) | What::Room(reason) => {
                    let damage =
                        Damage { path, offset: piece.at, bytes: &bytes[piece.at..piece.end], reason };
                    damage.pass_over(&*self.place.files, &self.place.data_dir, report)?;
                }
            }
        }
        if is_last {
            cut(&*self.place.files, path, &bytes, at, torn, report)?;
        }
        self.starts.push(start);
        self.end = start + at as u64;
        self.ends.push(self.end);
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

    /// Applies what a record says; inside, why it cannot be understood.
    fn apply(&mut self, entry: Entry<'_>, position: u64) -> Result<Result<(), Bad>, Error> {
        match entry {
            Entry::Publish(publish) => {
                self.alive.seen(self.windows.seen(&publish));
                return self.alive.publish(&publish, &*self.place.metadata);
            }
            Entry::Progress(progress) => {
                self.alive.progress(&progress, Position(position), &*self.place.metadata)?
            }
            Entry::Changes(changes) if position >= self.definitions_from => {
                catalog::apply_changes(&mut self.definitions, &changes);
                if changes.iter().any(concerns_queues) {
                    self.windows = Windows::of(&self.definitions);
                }
                self.changes.extend(changes);
            }
            Entry::Changes(_) | Entry::Large { .. } | Entry::Synced(_) => {}
        }
        Ok(Ok(()))
    }

    /// Drops what belongs to no defined queue, and returns the rest.
    ///
    /// # Errors
    /// [`Error::Damaged`] and the metadata store's own when a page cannot be read.
    pub(super) fn finish(self, report: &mut Report) -> Result<Replayed, Error> {
        let defined = catalog::defined_queues(&self.definitions);
        let highest = defined.iter().map(|id| id.0 + 1).max().unwrap_or(1);
        let next_queue_id = self.next_queue_id.max(self.alive.next_queue_id()).max(highest);
        let (starts, ends) = (&self.starts, &self.ends);
        let is_there = |position: Position| {
            let file = starts.partition_point(|start| *start <= position.0).checked_sub(1);
            file.is_some_and(|file| position.0 < ends[file])
        };
        let metadata = &*self.place.metadata;
        let (queues, missing) = self.alive.finish(|id| defined.contains(&id), &is_there, metadata)?;
        if missing.count > 0 {
            let count = missing.count;
            report.warnings.push(format!(
                "{count} messages are lost: they had been written, and the journal does not have them any more"
            ));
        }
        report.messages = queues.values().map(RecoveredQueue::count).sum();
        Ok(Replayed {
            definitions: self.definitions.into_values().collect(),
            queues,
            changes: self.changes,
            next_queue_id: QueueId(next_queue_id),
            end: self.end,
            given_out: self.end.max(missing.end),
            starts: self.starts,
        })
    }
}

fn concerns_queues(change: &Change) -> bool {
    matches!(change, Change::Put(Definition::Queue(..)) | Change::Delete(Key::Queue(..)))
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
    let reason = match bad {
        Some(bad) => bad.to_string(),
        None if keep == 0 => "incomplete header".into(),
        // Room that was prepared for records.
        None => return Ok(()),
    };
    report.bytes_cut = (bytes.len() - keep) as u64;
    let (path, count) = (path.display(), report.bytes_cut);
    report.warnings.push(format!("{path}: {reason} at offset {keep}: {count} bytes were cut off"));
    Ok(())
}
