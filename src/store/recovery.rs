//! Opening: takes the data directory, reads the catalog and the journal, and starts the journal's threads.
//!
//! What lives after a restart is decided by three things, for each (queue, sequence) of a publish record:
//! - the queue is defined: by the catalog, and the changes that the journal holds since;
//! - the last checkpoint does not know the queue or gave out only lower sequences, or has it in the live set;
//! - no settle record names it. (A message's settles stand behind it.)

use super::catalog::{Catalog, Contents, Mark};
use super::checkpoint::{self, Checkpointer, DEFINITIONS_NAME, QUEUES_NAME, Setting};
use super::committer::{Committer, Current};
use super::data_dir;
use super::files::Files;
use super::journal::{Driver, Journal, Shared, State};
use super::place::Environment;
use super::references::References;
use super::replay::{Replay, Replayed};
use super::snapshot::{self, Snapshot};
use super::{Drive, Error, LiveSet, Options, Recovered, RecoveredQueue, Report, Store, segment};
use crate::name::QueueId;
use std::collections::HashMap;
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
    files.create_dir_all(&journal_dir).map_err(|error| Error::io(&journal_dir, error))?;
    let mut report = Report::default();
    let segments = segment::list(files, &journal_dir).map_err(|error| Error::io(&journal_dir, error))?;
    let (mut catalog, base) = open_catalog(&setting, &segments, &mut report)?;
    let (mark, known): (Mark, Vec<QueueId>) =
        (base.contents.mark, base.contents.live.keys().copied().collect());

    let mut replay = Replay::new(
        base.contents,
        base.definitions_from,
        setting.environment.files.clone(),
        setting.options.data_dir.clone(),
    );
    for (index, (start, path)) in segments.iter().enumerate() {
        replay.read_file(path, *start, index + 1 == segments.len(), &mut report)?;
    }
    let replayed = replay.finish(&mut report);

    catalog.apply(&replayed.changes)?;
    catalog.remove_strangers(known.into_iter())?;
    if replayed.end < mark.position {
        let (end, covered) = (replayed.end, mark.position);
        report.warnings.push(format!(
            "the journal ends at {end}, before the last checkpoint at {covered}: files are missing"
        ));
    }
    let current = open_current(&setting, &replayed, mark.position)?;
    let is_covered = mark.position == current.next;
    report.clean = is_covered || (segments.is_empty() && mark.position == 0);
    let mut references = References::new(&current.starts, mark.position);
    for (_, position, _) in replayed.queues.values().flat_map(|queue| &queue.messages) {
        references.add(position.0, 1);
    }
    if !is_covered {
        // The journal is in the catalog from here on, so that the next start need not read it for settles.
        let mark = Mark { position: current.next, next_queue_id: replayed.next_queue_id.0 };
        checkpoint::write(&mut catalog, &setting, mark, &live_sets(&replayed.queues))?;
        references.set_checkpoint(mark.position);
    }
    for start in references.take_free() {
        let path = segment::path(&journal_dir, start);
        files.remove(&path).map_err(|error| Error::io(path, error))?;
    }
    let state = State::new(current.next, references, replayed.next_queue_id);
    let (sender, tasks) = mpsc::channel();
    let shared = Arc::new(Shared::new(state, setting.options.segment_bytes, sender));
    shared.damages.store(report.damages, Relaxed);
    let (files, delay) = (setting.environment.files.clone(), setting.options.sync_delay);
    let committer = Committer::new(shared.clone(), files, journal_dir.clone(), delay, current.file);
    let checkpointer = Checkpointer::new(shared.clone(), setting, catalog, tasks, lock);
    let driver = start(drive, committer, checkpointer).map_err(|error| Error::io(journal_dir, error))?;
    let journal = Journal::new(shared, driver);
    let recovered = Recovered {
        definitions: replayed.definitions,
        queues: replayed.queues,
        next_queue_id: replayed.next_queue_id,
        report,
    };
    Ok((Store::new(Arc::new(journal)), recovered))
}

/// Starts the two threads, if there are to be any.
fn start(drive: Drive, committer: Committer, checkpointer: Checkpointer) -> std::io::Result<Driver> {
    if drive == Drive::Manual {
        let (committer, checkpointer) = (Box::new(committer), Box::new(checkpointer));
        return Ok(Driver::Manual { committer, checkpointer });
    }
    let checkpointer =
        thread::Builder::new().name("checkpointer".into()).spawn(move || checkpointer.run())?;
    let committer = thread::Builder::new().name("committer".into()).spawn(move || committer.run())?;
    Ok(Driver::Threads { committer, checkpointer })
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
    let contents = catalog.load()?;
    if contents.mark == Mark::default() {
        catalog.write_schema()?;
    }
    Ok((catalog, contents))
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

/// Opens the last file for appending, or begins a new one; what was read from it is made durable first, since a
/// killed process may have left it in the page cache only.
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
    Ok(Opened { starts, next, file: Current { file, start } })
}

fn live_sets(queues: &HashMap<QueueId, RecoveredQueue>) -> HashMap<QueueId, LiveSet> {
    let set = |(&queue, recovered): (&QueueId, &RecoveredQueue)| {
        let live = recovered.messages.iter().map(|(sequence, ..)| *sequence).collect();
        (queue, LiveSet { queue, next_sequence: recovered.next_sequence, live })
    };
    queues.iter().map(set).collect()
}
