//! Makes a data directory as small as it can be: living messages leave sparse files, and sled's tree is written anew.

use super::super::place::folder_bytes;
use super::super::{DiskState, Drive, JournalFailed, Options, Step, Store, segment};
use super::queues::Shelf;
use super::{Error, Place, Tell};
use crate::time;
use std::path::Path;

/// sled's folder may have this size, whatever it holds.
const SLED_BYTES_MIN: u64 = 2 << 20;
/// The last file is ended, so that it can be emptied as well, once it has this part of a full one.
const LAST_FILE_PART: u64 = 8;

/// What a compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Compacted {
    pub journal_bytes_before: u64,
    pub journal_bytes: u64,
    pub sled_bytes_before: u64,
    pub sled_bytes: u64,
    pub moved: u64,
    /// Messages that are damaged, and whose files were kept for that.
    pub damaged: u64,
}

/// Compacts a data directory. `tell` hears how many files were deleted, of how many there were. It may be stopped at any
/// time, also by pulling the plug: nothing leaves its old place before it is durable in its new one.
///
/// # Errors
/// Those of a start and of the disk.
pub fn compact(place: &Place, tell: &mut Tell<'_>) -> Result<Compacted, Error> {
    let (journal_bytes_before, sled_bytes_before) = sizes(place.dir())?;
    let options = Options {
        sled_rebuild_bytes: place.options.sled_rebuild_bytes.min(SLED_BYTES_MIN),
        ..place.options.clone()
    };
    let place = Place { options, ..place.clone() };
    end_last_file(&place)?;
    let (store, mut recovered) = place.open(Drive::Manual)?;
    let shelf = Shelf::new(&store, &mut recovered);
    let emptied = empty_files(&store, tell);
    let counters = store.counters();
    // Also after a failure: what was moved is good.
    let closed = store.close();
    drop((shelf, store));
    emptied.and(closed)?;
    let (journal_bytes, sled_bytes) = sizes(place.dir())?;
    let (moved, damaged) = (counters.moved, counters.damaged);
    Ok(Compacted { journal_bytes_before, journal_bytes, sled_bytes_before, sled_bytes, moved, damaged })
}

/// Begins a new file if the last one is worth it: a file is compacted only once it is complete.
fn end_last_file(place: &Place) -> Result<(), Error> {
    let journal = place.dir().join("journal");
    let segments = segment::list(&super::super::files::Disk, &journal);
    let segments = segments.map_err(|error| Error::io(&journal, error))?;
    let last = segments.last().map_or(Ok(0), |(_, path)| std::fs::metadata(path).map(|found| found.len()));
    let last_bytes = last.map_err(|error| Error::io(&journal, error))?;
    if last_bytes < place.options.segment_bytes / LAST_FILE_PART {
        return Ok(());
    }
    let options = Options { segment_bytes: segment::HEADER_BYTES as u64 + 1, ..place.options.clone() };
    let (store, mut recovered) = Place { options, ..place.clone() }.open(Drive::Manual)?;
    let shelf = Shelf::new(&store, &mut recovered);
    // A record that changes nothing: it is the new file's first.
    store.append_changes(&[]);
    let closed = store.close();
    drop((shelf, store));
    closed
}

fn empty_files(store: &Store, tell: &mut Tell<'_>) -> Result<(), Error> {
    let files = store.counters().files;
    loop {
        let step = store.step_compactor();
        while store.step_committer(time::now()) == Step::Worked {
            check_disk(store)?;
        }
        while store.step_checkpointer(time::now()) == Step::Worked {}
        check_disk(store)?;
        tell(store.counters().files_deleted, files);
        if step != Step::Worked {
            return Ok(());
        }
    }
}

/// Nobody is here to make room and wait: a disk that refuses ends the work.
pub(super) fn check_disk(store: &Store) -> Result<(), Error> {
    if let Some(failure) = store.failure().borrow().clone() {
        return Err(failure.into());
    }
    match &*store.disk().borrow() {
        DiskState::Refusing { reason } => Err(JournalFailed::new(reason).into()),
        DiskState::Writable => Ok(()),
    }
}

fn sizes(dir: &Path) -> Result<(u64, u64), Error> {
    let of = |name: &str| folder_bytes(&dir.join(name)).map_err(|error| Error::io(dir.join(name), error));
    Ok((of("journal")?, of("sled")?))
}
