//! What a data directory holds and what it costs.

use super::super::place::folder_bytes;
use super::super::{ReadError, segment};
use super::{Error, Place, Tell, dry, durable_queues, visit_entries};
use crate::store::catalog::Catalog;
use std::collections::BTreeMap;

/// A journal file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct FileStats {
    pub name: String,
    pub bytes: u64,
    /// Of the records that a queue still needs; one that several queues need counts once.
    pub live_bytes: u64,
    /// Those records.
    pub live_records: u64,
}

impl FileStats {
    /// The part of the file that is alive, in percent.
    pub fn density_percent(&self) -> u64 {
        self.live_bytes * 100 / self.bytes.max(1)
    }
}

/// A queue.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct QueueStats {
    pub vhost: String,
    pub name: String,
    pub messages: u64,
    /// Of their bodies.
    pub message_bytes: u64,
    /// Pages of its index in sled.
    pub pages: u64,
}

/// A data directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Stats {
    pub files: Vec<FileStats>,
    pub queues: Vec<QueueStats>,
    pub sled_bytes: u64,
    /// The journal position that the last checkpoint covers; 0 without one.
    pub checkpoint: u64,
    /// Journal files that the next start would read, and their bytes.
    pub start_files: u64,
    pub start_bytes: u64,
    /// What the next start would report.
    pub warnings: Vec<String>,
}

/// Measures a data directory. `tell` hears how many queues were seen, of how many.
///
/// # Errors
/// Those of a start; damage that a start would pass over is in [`Stats::warnings`].
pub fn stats(place: &Place, tell: &mut Tell<'_>) -> Result<Stats, Error> {
    let (store, recovered) = place.look()?;
    let mut stats = Stats {
        sled_bytes: folder_bytes(&place.dir().join("sled")).map_err(|error| Error::io(place.dir(), error))?,
        start_files: recovered.report.files,
        start_bytes: recovered.report.bytes,
        warnings: recovered.report.warnings.clone(),
        ..Stats::default()
    };
    // By position, so that a message of several queues counts once.
    let mut records = BTreeMap::new();
    let queues: Vec<_> = durable_queues(&recovered.definitions).collect();
    for (at, (vhost, name, definition)) in queues.iter().enumerate() {
        let mut queue = QueueStats {
            vhost: (*vhost).into(),
            name: (*name).into(),
            messages: 0,
            message_bytes: 0,
            pages: 0,
        };
        if let Some(recovered) = recovered.queues.get(&definition.id) {
            queue.pages = recovered.image.pages.len() as u64;
            let visited = visit_entries(&store, definition.id, recovered, &mut |entry| {
                records.insert(entry.position.0, entry.record_bytes);
                queue.messages += 1;
                queue.message_bytes += u64::from(entry.body_bytes);
                Ok(())
            });
            note(visited, &mut stats.warnings)?;
        }
        stats.queues.push(queue);
        tell(at as u64 + 1, queues.len() as u64);
    }
    let journal = place.dir().join("journal");
    let files = super::super::files::Disk;
    for (start, path) in segment::list(&files, &journal).map_err(|error| Error::io(&journal, error))? {
        let bytes = std::fs::metadata(&path).map_err(|error| Error::io(&path, error))?.len();
        let live = records.range(start..start + bytes);
        let (live_records, live_bytes) =
            live.fold((0, 0), |(n, sum), (_, bytes)| (n + 1, sum + u64::from(*bytes)));
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        stats.files.push(FileStats { name, bytes, live_bytes, live_records });
    }
    // The directory is ours until here.
    drop(store);
    stats.checkpoint = checkpoint(place).unwrap_or(0);
    Ok(stats)
}

/// A page that cannot be read is worth a word; a disk that cannot is a failure.
pub(super) fn note(visited: Result<(), ReadError>, warnings: &mut Vec<String>) -> Result<(), Error> {
    match visited {
        Err(ReadError::Store(error @ Error::Damaged(_))) => warnings.push(error.to_string()),
        Err(ReadError::Store(error)) => return Err(error),
        Err(error) => warnings.push(error.to_string()),
        Ok(()) => {}
    }
    Ok(())
}

/// What the last checkpoint covers.
fn checkpoint(place: &Place) -> Result<u64, Error> {
    let environment = dry::environment(&place.scratch)?;
    let _lock = environment.place.lock(place.dir())?;
    let mut catalog = Catalog::new(environment.place.open_metadata(place.dir(), &place.options)?);
    Ok(catalog.load()?.mark.position)
}
