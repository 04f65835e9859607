//! Opening: takes the data directory, reads the catalog and the journal, and starts the journal's threads.
//!
//! What lives after a restart is decided by three things, for each (queue, sequence) of a publish record:
//! - the queue is defined: by the catalog, and the changes that the journal holds since;
//! - the last checkpoint does not know the queue or gave out only lower sequences, or has it among the living;
//! - no settle record names it. (A message's settles stand behind it.)
//!
//! With the index of the last checkpoint only what the journal got since is read. Without it, or when a page of it cannot
//! be read, all of the journal is.

use super::catalog::{Catalog, Contents, Known, Mark};
use super::checkpoint::{Checkpointer, DEFINITIONS_NAME, Named, QUEUES_NAME, Setting, Task};
use super::committer::{Committer, Current};
use super::compaction::Compactor;
use super::data_dir;
use super::disk_log::{Driver, Journal};
use super::files::Files;
use super::images::{self, Images};
use super::index::{ImageId, PageSummary};
use super::journal::{Shared, State};
use super::metadata::{self, Metadata};
use super::place::Environment;
use super::reader::Reader;
use super::references::References;
use super::replay::{Place, Replay, Replayed};
use super::snapshot::{self, Snapshot};
use super::{Drive, Error, Options, Recovered, RecoveredQueue, Report, Store, segment};
use crate::definition::Definition;
use crate::name::QueueId;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, mpsc};
use std::thread;

/// See [`super::open`].
pub(super) fn open(
    options: Options,
    environment: Environment,
    drive: Drive,
) -> Result<(Store, Recovered), Error> {
    let lock = data_dir::take(&options.data_dir, &environment)?;
    let setting = Setting::new(options, environment);
    let (files, journal_dir) = (setting.files(), setting.journal.clone());
    prepare_journal_dir(&setting).map_err(|error| Error::io(&journal_dir, error))?;
    let mut report = Report::default();
    let segments = segment::list(files, &journal_dir).map_err(|error| Error::io(&journal_dir, error))?;
    let (mut catalog, base) = open_catalog(&setting, &segments, &mut report)?;
    let (mark, known) = (base.contents.mark, base.contents.queues.ids());
    let (replayed, had_index) = replay(&setting, &segments, &mut catalog, base, &mut report)?;
    catalog.apply(&replayed.changes)?;
    catalog.remove_strangers(known.into_iter())?;
    if replayed.end < mark.position {
        let (end, covered) = (replayed.end, mark.position);
        report.warnings.push(format!(
            "the journal ends at {end}, before the last checkpoint at {covered}: files are missing"
        ));
    }
    sync_read(&setting, &replayed, mark.position)?;
    let current = open_current(&setting, &replayed, mark.position.max(replayed.given_out))?;
    let is_covered = mark.position == current.next;
    let is_new = segments.is_empty() && mark.position == 0;
    report.clean = is_covered || is_new;
    // Without an index the files also say who was delivered what, until the next checkpoint does.
    let covered = if had_index { mark.position } else { 0 };
    let mut references = References::new(&current.starts, covered);
    // A process that was killed may have left the checkpoint in the page cache only, also one that covers everything, and
    // files go on its word.
    catalog.metadata.sync()?;
    count_references(&mut references, &replayed.queues, &*catalog.metadata)?;
    for start in references.take_free() {
        let path = segment::path(&journal_dir, start);
        files.remove(&path).map_err(|error| Error::io(path, error))?;
    }
    let state = State::new(current.next, references, replayed.next_queue_id);
    let (sender, tasks) = mpsc::channel();
    if !report.clean {
        // Nobody but the checkpointer hears it, and it is not there yet: it cannot fail.
        let _ = sender.send(Task::Sweep(named_images(&replayed)));
    }
    let has_checkpoint = is_covered && had_index;
    let is_checkpoint_due = !is_new && !has_checkpoint;
    let shared = Arc::new(Shared::new(state, &setting.options, sender, is_checkpoint_due));
    shared.damages.store(report.damages, Relaxed);
    let files = setting.environment.files.clone();
    let images = Arc::new(Images::new(Arc::clone(&catalog.metadata) as Arc<dyn Metadata>));
    let reader = Arc::new(Reader::new(shared.clone(), files.clone(), journal_dir.clone()));
    let committer =
        Committer::new(shared.clone(), files, journal_dir.clone(), &setting.options, current.file);
    let committer = Arc::new(Mutex::new(committer));
    let pages = (Arc::clone(&images), Arc::clone(&reader));
    catalog.batch_bytes = setting.options.sled_batch_bytes;
    let checkpointer = Checkpointer::new(shared.clone(), setting, catalog, pages, tasks, lock);
    let compactor = Compactor::new(shared.clone(), reader.clone());
    let driver =
        start(drive, &committer, checkpointer, compactor).map_err(|error| Error::io(journal_dir, error))?;
    let journal = Journal::new(shared, images, reader, committer, driver);
    let recovered = Recovered {
        definitions: replayed.definitions,
        queues: replayed.queues,
        next_queue_id: replayed.next_queue_id,
        report,
    };
    Ok((Store::new(Arc::new(journal)), recovered))
}

/// Makes the journal's directory, durably. A start, or the making of a file, that was cut short may have left names in the
/// page cache only; what is appended from now on must not go with the name of its file.
fn prepare_journal_dir(setting: &Setting) -> std::io::Result<()> {
    let files = setting.files();
    files.create_dir_all(&setting.journal)?;
    files.sync_dir(&setting.options.data_dir)?;
    files.sync_dir(&setting.journal)
}

/// Reads what the journal got since the checkpoint. If there is no index or it turns out to be damaged, all of it;
/// whether there was one is returned, too.
fn replay(
    setting: &Setting,
    segments: &[(u64, PathBuf)],
    catalog: &mut Catalog,
    base: Base,
    report: &mut Report,
) -> Result<(Replayed, bool), Error> {
    let before = report.clone();
    let (definitions_from, has_index) =
        (base.definitions_from, matches!(base.contents.queues, Known::Index(_)));
    match read_segments(setting, segments, catalog, base, report) {
        Err(error @ Error::Damaged(_)) if has_index => {
            *report = before;
            report.warnings.push(format!("the index of queues is rebuilt from the journal: {error}"));
            let mut contents = catalog.load()?;
            contents.queues = Known::IndexLost(catalog.load_live()?);
            let base = Base { contents, definitions_from };
            read_segments(setting, segments, catalog, base, report).map(|replayed| (replayed, false))
        }
        result => result.map(|replayed| (replayed, has_index)),
    }
}

fn read_segments(
    setting: &Setting,
    segments: &[(u64, PathBuf)],
    catalog: &Catalog,
    base: Base,
    report: &mut Report,
) -> Result<Replayed, Error> {
    let covered = match base.contents.queues {
        Known::Index(_) => base.contents.mark.position,
        Known::LiveSets(_) | Known::IndexLost(_) => 0,
    };
    let place = Place {
        files: setting.environment.files.clone(),
        data_dir: setting.options.data_dir.clone(),
        metadata: Arc::clone(&catalog.metadata) as Arc<dyn Metadata>,
    };
    let mut replay = Replay::new(base.contents, base.definitions_from, place);
    for (index, (start, path)) in segments.iter().enumerate() {
        match segments.get(index + 1) {
            Some(&(end, _)) if end <= covered => replay.pass_over(*start, end),
            next => replay.read_file(path, *start, covered, next.is_none(), report)?,
        }
    }
    replay.finish(report)
}

/// Counts who refers to which file. A page lies in one file, or has to be read.
fn count_references(
    references: &mut References,
    queues: &BTreeMap<QueueId, RecoveredQueue>,
    metadata: &dyn Metadata,
) -> Result<(), Error> {
    for (&id, queue) in queues {
        queue.records().for_each(|(position, bytes)| references.add(position.0, 1, bytes));
        for page in &queue.image.pages {
            let PageSummary { positions: (lowest, highest), counts, .. } = page;
            let is_in_one = references.bounds(lowest.0).is_some_and(|(_, end)| highest.0 < end);
            if is_in_one {
                let mean = counts.durable_bytes / u64::from(counts.durable.max(1)) + MEAN_OVERHEAD_BYTES;
                let mean = u32::try_from(mean).unwrap_or(u32::MAX);
                references.add(lowest.0, counts.durable.into(), mean);
                continue;
            }
            let entries = images::read(metadata, id, page.image)?;
            let durable = entries.iter().filter(|entry| entry.is_durable);
            durable.for_each(|entry| references.add(entry.position.0, 1, entry.record_bytes));
        }
    }
    Ok(())
}

/// What a record has beyond its body, about: only how sparse a file is depends on it.
const MEAN_OVERHEAD_BYTES: u64 = 40;

/// The images that queues name, and will name.
fn named_images(replayed: &Replayed) -> Named {
    let mut images: HashMap<_, _> = HashMap::new();
    for definition in &replayed.definitions {
        if let Definition::Queue(_, _, queue) = definition {
            images.insert(queue.id, (HashSet::new(), ImageId(0)));
        }
    }
    for (id, queue) in &replayed.queues {
        let of_queue = queue.image.pages.iter().map(|page| page.image).collect();
        images.insert(*id, (of_queue, queue.image.next_image));
    }
    Named { images, next_queue_id: replayed.next_queue_id }
}

/// Starts the threads, if there are to be any.
fn start(
    drive: Drive,
    committer: &Arc<Mutex<Committer>>,
    checkpointer: Checkpointer,
    compactor: Compactor,
) -> std::io::Result<Driver> {
    if drive == Drive::Manual {
        return Ok(Driver::Manual { checkpointer: Box::new(checkpointer), compactor: Box::new(compactor) });
    }
    let named = |name: &str| thread::Builder::new().name(name.into());
    let checkpointer = named("checkpointer").spawn(move || checkpointer.run())?;
    let committer = Arc::clone(committer);
    let committer = named("committer").spawn(move || Committer::run(&committer))?;
    let compactor = named("compactor").spawn(move || compactor.run())?;
    Ok(Driver::Threads { committer, checkpointer, compactor })
}

/// What the journal is replayed upon.
struct Base {
    contents: Contents,
    /// The definitions hold every change before this position.
    definitions_from: u64,
}

/// Opens sled, or rebuilds it from the snapshots when it is damaged, missing or older than they are.
fn open_catalog(
    setting: &Setting,
    segments: &[(u64, PathBuf)],
    report: &mut Report,
) -> Result<(Catalog, Base), Error> {
    let (dir, files) = (&setting.options.data_dir, setting.files());
    let definitions = read_snapshot(files, dir, DEFINITIONS_NAME, report)?;
    let queues = read_snapshot(files, dir, QUEUES_NAME, report)?;
    let covered = queues.as_ref().map_or(0, |queues| queues.mark.position);
    let is_journal_whole = is_whole(files, segments).map_err(|error| Error::io(dir, error))?;
    let is_new = segments.is_empty() && covered == 0;
    let reason = match open_metadata(setting) {
        Ok((mut catalog, contents)) => {
            let position = contents.mark.position;
            if position >= covered && (position > 0 || is_journal_whole || is_new) {
                catalog.is_changed = definitions.is_none();
                return Ok((catalog, Base { contents, definitions_from: position }));
            }
            format!("sled is at position {position} of the journal, the snapshot at {covered}")
        }
        Err(error @ (Error::Metadata(_) | Error::Damaged(_))) => error.to_string(),
        Err(error) => return Err(error),
    };
    let mut base = Base { contents: Contents::default(), definitions_from: 0 };
    let mut catalog = match (definitions, queues) {
        (Some(definitions), Some(queues)) => {
            base.definitions_from = definitions.mark.position;
            rebuild(setting, report, &[definitions.entries, queues.entries], Some(queues.mark))?
        }
        _ if is_journal_whole => rebuild(setting, report, &[], None)?,
        _ => return Err(Error::Unrecoverable { path: dir.clone(), reason }),
    };
    report.warnings.push(format!("sled was not usable ({reason}) and was rebuilt"));
    base.contents = catalog.load()?;
    base.contents.queues = match base.contents.queues {
        Known::LiveSets(live) => Known::IndexLost(live),
        known => known,
    };
    Ok((catalog, base))
}

/// Whether no file was ever deleted: then the journal alone says everything.
fn is_whole(files: &dyn Files, segments: &[(u64, PathBuf)]) -> std::io::Result<bool> {
    let mut end = 0;
    for (start, path) in segments {
        if *start != end {
            return Ok(false);
        }
        end = start + files.len(path)?;
    }
    Ok(!segments.is_empty())
}

/// A damaged snapshot is as good as none, but worth a word.
fn read_snapshot(
    files: &dyn Files,
    dir: &Path,
    name: &str,
    report: &mut Report,
) -> Result<Option<Snapshot>, Error> {
    match snapshot::read(files, dir, name) {
        Err(error @ Error::Damaged(_)) => {
            report.warnings.push(error.to_string());
            Ok(None)
        }
        result => result,
    }
}

fn open_metadata(setting: &Setting) -> Result<(Catalog, Contents), Error> {
    let mut catalog = Catalog::new(setting.open_metadata()?);
    let mut contents = catalog.load()?;
    if is_bloated(setting, &catalog)? {
        let (place, options) = (&setting.environment.place, &setting.options);
        match place.copy_metadata(&options.data_dir, options, &*catalog.metadata) {
            Ok(()) => {
                // It is closed by that.
                drop(catalog);
                place.swap_metadata(&options.data_dir)?;
                catalog = Catalog::new(setting.open_metadata()?);
                contents = catalog.load()?;
            }
            // Room may be what is missing: the broker is needed all the same.
            Err(error) => {
                tracing::warn!(%error, "sled is larger than it must be and could not be written anew")
            }
        }
    }
    if contents.mark == Mark::default() {
        catalog.write_schema()?;
    }
    Ok((catalog, contents))
}

/// sled's folder is written anew when it is so many times larger than its entries.
const BLOAT_FACTOR: u64 = 4;

/// Whether sled is much larger than what it holds: its file never shrinks.
fn is_bloated(setting: &Setting, catalog: &Catalog) -> Result<bool, Error> {
    let bytes = setting.environment.place.metadata_bytes(&setting.options.data_dir)?;
    if bytes <= setting.options.sled_rebuild_bytes {
        return Ok(false);
    }
    Ok(metadata::entries_bytes(&*catalog.metadata)? < bytes / BLOAT_FACTOR)
}

/// Moves sled's folder aside and fills a new one.
fn rebuild(
    setting: &Setting,
    report: &mut Report,
    entries: &[super::metadata::Batch],
    mark: Option<Mark>,
) -> Result<Catalog, Error> {
    report.sled_moved_to = Some(setting.environment.place.move_metadata_aside(&setting.options.data_dir)?);
    let mut catalog = Catalog::new(setting.open_metadata()?);
    catalog.write_schema()?;
    for entries in entries {
        catalog.metadata.apply(entries)?;
    }
    if let Some(mark) = mark {
        catalog.checkpoint(mark, &HashMap::new())?;
    }
    catalog.is_changed = true;
    Ok(catalog)
}

/// The files as they are when the journal goes on.
struct Opened {
    starts: Vec<u64>,
    next: u64,
    file: Current,
}

/// Makes durable what was read: a killed process may have left it in the page cache only, and not in the last file alone,
/// because large records are written while the next file has begun.
fn sync_read(setting: &Setting, replayed: &Replayed, covered: u64) -> Result<(), Error> {
    let starts = &replayed.starts;
    let ends = starts.iter().skip(1).chain([&u64::MAX]);
    for (start, _) in starts.iter().zip(ends).filter(|(_, end)| **end > covered) {
        let path = segment::path(&setting.journal, *start);
        let synced = setting.files().open(&path).and_then(|file| file.sync());
        synced.map_err(|error| Error::io(&path, error))?;
    }
    Ok(())
}

/// Opens the last file for appending, or begins a new one.
fn open_current(setting: &Setting, replayed: &Replayed, covered: u64) -> Result<Opened, Error> {
    let mut starts = replayed.starts.clone();
    let next = replayed.end.max(covered);
    let last = starts.last().copied().filter(|_| replayed.end >= covered);
    let start = last.unwrap_or(next);
    let path = segment::path(&setting.journal, start);
    let files = setting.files();
    let opened = (|| {
        let file = match last {
            Some(_) => files.open(&path)?,
            None => {
                let file = files.create(&path)?;
                files.sync_dir(&setting.journal)?;
                file
            }
        };
        if next < start + segment::HEADER_BYTES as u64 {
            file.write_at(&segment::header(start), 0)?;
        }
        file.sync()?;
        Ok(file)
    })();
    let file = opened.map_err(|error| Error::io(&path, error))?;
    if last.is_none() {
        starts.push(start);
    }
    let next = next.max(start + segment::HEADER_BYTES as u64);
    Ok(Opened { starts, next, file: Current { file: file.into(), start } })
}
