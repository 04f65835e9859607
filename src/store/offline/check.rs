//! Reads everything that a data directory holds and says what of it is not as it was written.

use super::super::checkpoint::{DEFINITIONS_NAME, QUEUES_NAME};
use super::super::files::{Disk, Files};
use super::super::index::{IndexEntry, PageSummary};
use super::super::record::{Entry, Scan, Target, What};
use super::super::{Recovered, Store, images, segment, snapshot};
use super::{Error, Place, Tell, dry};
use crate::definition::Definition;
use crate::name::{Position, QueueId, Sequence};
use crate::store::catalog::{Catalog, Contents, Known};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Checked {
    pub files: u64,
    pub bytes: u64,
    pub records: u64,
    pub pages: u64,
    pub queues: u64,
    /// Messages that a start brings back; one in several queues counts for each.
    pub messages: u64,
    /// What is not as it was written, a line each, with file and offset where it has one.
    pub damage: Vec<String>,
    /// What is no damage and worth knowing.
    pub notes: Vec<String>,
}

impl Checked {
    /// Whether everything is as it was written.
    pub fn is_whole(&self) -> bool {
        self.damage.is_empty()
    }
}

/// Checks a data directory. `tell` hears how many bytes of the journal were read, of how many.
///
/// # Errors
/// A directory that is locked, is none of ours or cannot be read. Damage is no error.
pub fn check(place: &Place, tell: &mut Tell<'_>) -> Result<Checked, Error> {
    place.check_exists()?;
    let mut checked = Checked::default();
    check_catalog(place, &mut checked)?;
    // The next start's view of what is alive. Where that is refused, the records are checked by themselves.
    let looked = match place.look() {
        Ok(looked) => Some(looked),
        Err(
            error @ (Error::Damaged(_)
            | Error::Metadata(_)
            | Error::Unrecoverable { .. }
            | Error::Format { .. }),
        ) => {
            checked.damage.push(format!("the next start would be refused: {error}"));
            None
        }
        Err(error) => return Err(error),
    };
    check_journal(place, looked.as_ref(), &mut checked, tell)?;
    if let Some((store, recovered)) = &looked {
        // Lost and rebuilt things; bad bytes were found above, by file and offset, and are not said twice.
        let is_news =
            |warning: &&String| !warning.contains(" at offset ") && !warning.contains("damaged header");
        let warnings = recovered.report.warnings.iter().filter(is_news);
        checked.damage.extend(warnings.map(|warning| format!("the next start would say: {warning}")));
        let counted = store.counters().references;
        if counted != checked.messages {
            let messages = checked.messages;
            checked
                .damage
                .push(format!("{messages} messages are alive, and the files' references are {counted}"));
        }
    }
    Ok(checked)
}

/// sled and the snapshots, each by itself and beside one another.
fn check_catalog(place: &Place, checked: &mut Checked) -> Result<(), Error> {
    let environment = dry::environment(&place.scratch)?;
    let _lock = environment.place.lock(place.dir())?;
    let mut snapshots = [None, None];
    for (snapshot, name) in snapshots.iter_mut().zip([DEFINITIONS_NAME, QUEUES_NAME]) {
        match snapshot::read(&Disk, place.dir(), name) {
            Ok(found) => *snapshot = found,
            Err(error @ (Error::Damaged(_) | Error::Format { .. })) => checked.damage.push(error.to_string()),
            Err(error) => return Err(error),
        }
    }
    let opened = environment.place.open_metadata(place.dir(), &place.options).and_then(|metadata| {
        let mut catalog = Catalog::new(metadata);
        let contents = catalog.load()?;
        Ok((catalog, contents))
    });
    let (catalog, contents) = match opened {
        Ok(opened) => opened,
        Err(error @ (Error::Damaged(_) | Error::Metadata(_) | Error::Format { .. })) => {
            checked.damage.push(format!("{}: {error}", place.dir().join("sled").display()));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    check_images(&catalog, &contents, checked)?;
    let [definitions, queues] = snapshots;
    for (key, value) in definitions.into_iter().flat_map(|snapshot| snapshot.entries) {
        if value.is_none_or(|value| serde_json::from_slice::<Definition>(&value).is_err()) {
            let key = String::from_utf8_lossy(&key).into_owned();
            checked.damage.push(format!("snapshot {DEFINITIONS_NAME}: {key} is no definition"));
        }
    }
    if let Some(queues) = queues.filter(|queues| queues.mark.position == contents.mark.position) {
        for (key, value) in queues.entries {
            use super::super::metadata::Metadata;
            if catalog.metadata.get(&key)? != value && contents.mark.has_index {
                checked.damage.push(format!("snapshot {QUEUES_NAME}: a live set is not sled's"));
            }
        }
    }
    Ok(())
}

/// Every page that a queue names, against what the queue says of it; and each queue's live set.
fn check_images(catalog: &Catalog, contents: &Contents, checked: &mut Checked) -> Result<(), Error> {
    let Known::Index(queues) = &contents.queues else {
        checked.notes.push("there is no index yet: the next start reads all of the journal".into());
        return Ok(());
    };
    let live = match catalog.load_live() {
        Ok(live) => live,
        Err(error @ Error::Damaged(_)) => {
            checked.damage.push(format!("sled: {error}"));
            HashMap::new()
        }
        Err(error) => return Err(error),
    };
    for (&id, queue) in queues {
        if live.get(&id).is_some_and(|live| live.live != queue.live()) {
            checked.damage.push(format!("sled: the live set of queue {id} is not what its image says"));
        }
        for page in &queue.pages {
            checked.pages += 1;
            match images::read(&*catalog.metadata, id, page.image) {
                Ok(entries) if !is_as_summed(page, &entries) => {
                    let image = page.image.0;
                    checked
                        .damage
                        .push(format!("sled: page {image} of queue {id} is not what its summary says"));
                }
                Ok(_) => {}
                Err(error @ (Error::Damaged(_) | Error::Metadata(_))) => {
                    checked.damage.push(format!("sled: {error}"))
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

fn is_as_summed(page: &PageSummary, entries: &[IndexEntry]) -> bool {
    let found = PageSummary::of(page.image, page.level, entries);
    let of = |page: &PageSummary| {
        (page.counts.durable, page.counts.durable_bytes, page.positions, page.first, page.last)
    };
    of(page) == of(&found) && page.live == found.live
}

/// The living messages whose records should stand in a file, by position: who needs them.
type Wanted = BTreeMap<u64, (u32, HashSet<Target>)>;

fn wanted(looked: Option<&(Store, Recovered)>, from: Position, to: Position) -> Wanted {
    let mut wanted = Wanted::new();
    let Some((store, recovered)) = looked else { return wanted };
    let mut want = |id: QueueId, entry: &IndexEntry| {
        if entry.is_durable && from <= entry.position && entry.position < to {
            let of = wanted.entry(entry.position.0).or_default();
            of.0 = entry.record_bytes;
            of.1.insert((id, entry.sequence));
        }
    };
    for (&id, queue) in &recovered.queues {
        queue.entries().for_each(|entry| want(id, entry));
        let pages = queue.image.pages.iter();
        for page in pages.filter(|page| page.positions.0 < to && from <= page.positions.1) {
            // One that cannot be read was named already.
            store.read_image(id, page.image).unwrap_or_default().iter().for_each(|entry| want(id, entry));
        }
    }
    wanted
}

fn check_journal(
    place: &Place,
    looked: Option<&(Store, Recovered)>,
    checked: &mut Checked,
    tell: &mut Tell<'_>,
) -> Result<(), Error> {
    let journal = place.dir().join("journal");
    let segments = segment::list(&Disk, &journal).map_err(|error| Error::io(&journal, error))?;
    let lengths = segments.iter().map(|(_, path)| Disk.len(path).map_err(|error| Error::io(path, error)));
    let total: u64 = lengths.sum::<Result<u64, Error>>()?;
    checked.queues = looked.map_or(0, |(_, recovered)| recovered.queues.len() as u64);
    for (at, (start, path)) in segments.iter().enumerate() {
        let bytes = Disk.read(path).map_err(|error| Error::io(path, error))?;
        let next = segments.get(at + 1).map_or(u64::MAX, |(next, _)| *next);
        let mut file = FileCheck {
            path,
            start: *start,
            is_last: next == u64::MAX,
            wanted: wanted(looked, Position(*start), Position(next)),
            checked,
        };
        file.read(&bytes);
        file.end();
        checked.files += 1;
        checked.bytes += bytes.len() as u64;
        tell(checked.bytes, total);
    }
    Ok(())
}

/// The check of one journal file.
struct FileCheck<'a> {
    path: &'a PathBuf,
    start: u64,
    is_last: bool,
    /// What is left of them at the end was not found.
    wanted: Wanted,
    checked: &'a mut Checked,
}

impl FileCheck<'_> {
    fn damage(&mut self, offset: usize, what: &str) {
        self.checked.damage.push(format!("{}: offset {offset}: {what}", display(self.path)));
    }

    fn read(&mut self, bytes: &[u8]) {
        self.checked.messages += self.wanted.values().map(|(_, targets)| targets.len() as u64).sum::<u64>();
        let at = segment::HEADER_BYTES;
        if bytes.len() < at {
            return self.torn(0, bytes.len(), "incomplete header");
        }
        if !segment::has_header(bytes, self.start) {
            self.damage(0, "damaged header");
        }
        for piece in Scan::new(bytes, self.start, at).of_last_file(self.is_last) {
            let (at, count) = (piece.at, piece.end - piece.at);
            match piece.what {
                What::Record(entries) => {
                    self.checked.records += 1;
                    entries.iter().for_each(|entry| self.found(entry));
                }
                What::Unreadable(bad) => self.damage(at, &bad.to_string()),
                What::Unfinished => self.unfinished(at, count),
                What::Room(_) if self.is_last => {}
                What::Rest(bad) if self.is_last => self.torn(at, count, &bad.to_string()),
                What::Rest(bad) | What::Damage(bad) | What::Room(bad) => {
                    self.damage(at, &format!("{bad}: {count} bytes are no record"));
                }
            }
        }
    }

    /// The same in the middle. With a message there that should be, it is damage, too.
    fn unfinished(&mut self, at: usize, count: usize) {
        let path = display(self.path);
        self.checked.notes.push(format!(
            "{path}: offset {at}: room for {count} bytes of a message that a crash left half written; it was never \
             confirmed"
        ));
    }

    /// What a crash may leave. With a message in it that should be there, it is damage all the same: see `end`.
    fn torn(&mut self, at: usize, count: usize, reason: &str) {
        let path = display(self.path);
        self.checked.notes.push(format!(
            "{path}: offset {at}: {reason}: the last {count} bytes are half a record, as a crash leaves it; the next \
             start will cut them off"
        ));
    }

    fn found(&mut self, entry: &Entry<'_>) {
        let Entry::Publish(publish) = entry else { return };
        let Some((record_bytes, targets)) = self.wanted.remove(&publish.position.0) else { return };
        let offset = (publish.position.0 - self.start) as usize;
        if record_bytes != publish.record_bytes {
            let found = publish.record_bytes;
            self.damage(offset, &format!("the index says {record_bytes} bytes, the record has {found}"));
        }
        for (queue, Sequence(sequence)) in targets {
            if !publish.targets.contains(&(queue, Sequence(sequence))) {
                self.damage(offset, &format!("the record does not name message {sequence} of queue {queue}"));
            }
        }
    }

    /// Living messages whose record was not found.
    fn end(&mut self) {
        for (position, (_, targets)) in std::mem::take(&mut self.wanted) {
            for (queue, Sequence(sequence)) in targets {
                let offset = (position - self.start) as usize;
                self.damage(offset, &format!("message {sequence} of queue {queue} has no intact record"));
            }
        }
    }
}

fn display(path: &Path) -> String {
    path.display().to_string()
}
