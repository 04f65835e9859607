//! Makes a page of a queue's index again from the journal, while the broker runs: for one whose image is damaged.
//!
//! The page's summary, which is in memory, says which durable messages are in it and between which positions their records
//! stand. What the journal does not say is lost: whether a message was delivered (so each says that it was) and how often
//! it came back. Transient messages of the page are lost, too, because nothing says which of them were alive.

use super::alive;
use super::files::Files;
use super::index::{IndexEntry, PageSummary};
use super::record::{self, Bad, Entry};
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
    let mut at = segment::HEADER_BYTES;
    while at < bytes.len() {
        at += match record::read(&bytes[at..], start + at as u64) {
            Ok((entries, length)) => {
                for entry in &entries {
                    collect_entry(entry, queue, page, found);
                }
                length
            }
            Err(Bad::Payload | Bad::Unknown { .. }) => record::total_length(&bytes[at..]),
            Err(_) => match record::find(bytes, at + 1, start) {
                Some(next) => next - at,
                None => return,
            },
        };
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
