//! Makes a page of a queue's index again from the journal, while the broker runs: for one whose image is damaged.
//!
//! The page's summary, which is in memory, says which durable messages are in it and between which positions their records
//! stand. What the journal does not say is lost: whether a message was delivered (so each says that it was) and how often
//! it came back. Transient messages of the page are lost, too, because nothing says which of them were alive.

use super::alive;
use super::files::Files;
use super::index::{IndexEntry, PageSummary};
use super::record::{Entry, Scan, What};
use super::{Error, segment};
use crate::name::{Position, QueueId, Sequence};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

/// The entries of `page`, from the journal's files that start at `starts` (ascending). Messages without a readable
/// record are missing.
///
/// # Errors
/// Those of reading the files; one that is gone has no living message.
pub(super) fn page(
    files: &dyn Files,
    journal: &Path,
    starts: &[u64],
    queue: QueueId,
    page: &PageSummary,
) -> Result<Vec<IndexEntry>, Error> {
    let (Position(lowest), Position(highest)) = page.positions;
    let mut found = BTreeMap::new();
    for (at, &start) in starts.iter().enumerate() {
        let ends_before = starts.get(at + 1).is_some_and(|&end| end <= lowest);
        if ends_before || start > highest {
            continue;
        }
        let path = segment::path(journal, start);
        match files.read(&path) {
            Ok(bytes) => collect(&bytes, start, queue, page, &mut found),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io(path, error)),
        }
    }
    Ok(found.into_values().collect())
}

/// Puts the page's messages that the file has into `found`; a later record of a message is the one that counts.
fn collect(
    bytes: &[u8],
    start: u64,
    queue: QueueId,
    page: &PageSummary,
    found: &mut BTreeMap<Sequence, IndexEntry>,
) {
    for piece in Scan::new(bytes, start, segment::HEADER_BYTES) {
        if let What::Record(entries) = &piece.what {
            entries.iter().for_each(|entry| collect_entry(entry, queue, page, found));
        }
    }
}

fn collect_entry(
    entry: &Entry<'_>,
    queue: QueueId,
    page: &PageSummary,
    found: &mut BTreeMap<Sequence, IndexEntry>,
) {
    let Entry::Publish(publish) = entry else { return };
    let is_within = page.positions.0 <= publish.position && publish.position <= page.positions.1;
    let targets = publish.targets.iter().filter(|(id, _)| *id == queue && is_within);
    for &(_, sequence) in targets.filter(|(_, sequence)| page.live.contains(*sequence)) {
        // What cannot be understood could not be delivered either.
        if let Ok(entry) = alive::entry(publish, sequence) {
            found.insert(sequence, IndexEntry { is_delivered: true, ..entry });
        }
    }
}
