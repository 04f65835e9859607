//! A file system, a lock and a metadata store in memory, which lose what was not synced when the power goes.
//!
//! Every change of a file is kept beside what is durable of it. At a power cut each of them is there, is lost, or is torn
//! at any byte, independently of all others; names that were made, changed and removed are there up to some point of each
//! directory; what was applied to the metadata store is there up to some batch.

use crate::dice::Dice;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use warren::store::files::{File, Files};
use warren::store::metadata::{Batch, Metadata, Visit};
use warren::store::place::{Environment, Lock, Place};
use warren::store::{Error, Options};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
}

#[derive(Clone, Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Naming {
    Create(PathBuf, usize),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

type Names = BTreeMap<PathBuf, usize>;
type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// What the disk does wrong from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    /// Writes and the making of files are refused, each with one of several errors.
    Refusing,
    /// The next fdatasync fails.
    FailingSync,
}

#[derive(Debug)]
struct Inner {
    dice: Dice,
    contents: Vec<Content>,
    names: Names,
    durable_names: Names,
    namings: Vec<Naming>,
    dirs: BTreeSet<PathBuf>,
    metadata: Map,
    durable_metadata: Map,
    batches: Vec<Batch>,
    mood: Mood,
    operations: u64,
    crash_at: Option<u64>,
    /// The power goes with the write under way.
    is_going: bool,
    is_down: bool,
    is_locked: bool,
    /// Counts the crashes: what was opened before one is of no use after it.
    generation: u64,
    hash: u64,
}

/// Shared by all clones.
#[derive(Clone, Debug)]
pub(crate) struct SimDisk(Arc<Mutex<Inner>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Create,
    Write,
    SetLen,
    Sync,
    Rename,
    Remove,
    SyncDir,
    Apply,
    SyncMetadata,
}

impl Content {
    fn apply(bytes: &mut Vec<u8>, change: &Change) {
        match change {
            Change::Write { offset, bytes: written } => {
                let end = offset + written.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*offset..end].copy_from_slice(written);
            }
            Change::SetLen(length) => bytes.resize(*length, 0),
        }
    }

    fn change(&mut self, change: Change) {
        Self::apply(&mut self.bytes, &change);
        self.unsynced.push(change);
    }

    fn sync(&mut self) {
        self.unsynced.clear();
        self.durable.clone_from(&self.bytes);
    }

    fn cut_power(&mut self, dice: &mut Dice) {
        let mut bytes = std::mem::take(&mut self.durable);
        for change in self.unsynced.drain(..) {
            match (dice.roll(4), change) {
                (0 | 1, change) => Self::apply(&mut bytes, &change),
                (2, Change::Write { offset, bytes: mut written }) => {
                    written.truncate(dice.roll(written.len() as u64 + 1) as usize);
                    Self::apply(&mut bytes, &Change::Write { offset, bytes: written });
                }
                _ => {}
            }
        }
        self.bytes.clone_from(&bytes);
        self.durable = bytes;
    }
}

impl Naming {
    fn dir(&self) -> Option<&Path> {
        let (Self::Create(path, _) | Self::Rename(path, _) | Self::Remove(path)) = self;
        path.parent()
    }

    fn apply(&self, names: &mut Names) {
        match self {
            Self::Create(path, content) => _ = names.insert(path.clone(), *content),
            Self::Rename(from, to) => {
                if let Some(content) = names.remove(from) {
                    names.insert(to.clone(), content);
                }
            }
            Self::Remove(path) => _ = names.remove(path),
        }
    }
}

fn apply(map: &mut Map, batch: &Batch) {
    for (key, value) in batch {
        match value {
            Some(value) => map.insert(key.clone(), value.clone()),
            None => map.remove(key),
        };
    }
}

impl Inner {
    fn note(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }

    /// Before every operation that changes something. What is refused is not done, unless the power goes with it.
    fn begin(&mut self, op: Op, path: &Path, is_journal: bool) -> io::Result<()> {
        if self.is_down {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        self.operations += 1;
        self.note(format!("{op:?} {}", path.display()).as_bytes());
        if self.crash_at.is_some_and(|at| at <= self.operations) {
            // A write under way when the power goes may be there, also in part.
            self.is_going = op == Op::Write;
            self.is_down = !self.is_going;
            return if self.is_going { Ok(()) } else { Err(io::Error::from_raw_os_error(EIO)) };
        }
        let errno = match (self.mood, op) {
            (Mood::Refusing, Op::Write | Op::Create) if is_journal => {
                self.dice.pick(&[EIO, ENOSPC, EROFS]).unwrap_or(EIO)
            }
            (Mood::FailingSync, Op::Sync) if is_journal => EIO,
            _ => return Ok(()),
        };
        Err(io::Error::from_raw_os_error(errno))
    }

    /// After a write during which the power went.
    fn end_write(&mut self) -> io::Result<()> {
        if self.is_going {
            self.is_down = true;
            return Err(io::Error::from_raw_os_error(EIO));
        }
        Ok(())
    }

    fn content(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn rename_or_so(&mut self, naming: Naming) {
        naming.apply(&mut self.names);
        self.namings.push(naming);
    }
}

fn is_journal(path: &Path) -> bool {
    path.starts_with("/data/journal")
}

impl SimDisk {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            dice: Dice::new(seed ^ 0xD15C),
            contents: Vec::new(),
            names: Names::new(),
            durable_names: Names::new(),
            namings: Vec::new(),
            dirs: BTreeSet::new(),
            metadata: Map::new(),
            durable_metadata: Map::new(),
            batches: Vec::new(),
            mood: Mood::Well,
            operations: 0,
            crash_at: None,
            is_going: false,
            is_down: false,
            is_locked: false,
            generation: 0,
            hash: 0xCBF2_9CE4_8422_2325,
        })))
    }

    pub(crate) fn environment(&self) -> Environment {
        Environment { files: Arc::new(self.clone()), place: Arc::new(self.clone()) }
    }

    pub(crate) fn set_mood(&self, mood: Mood) {
        self.0.lock().mood = mood;
    }

    /// The power goes with the operation so many from now.
    pub(crate) fn crash_in(&self, operations: u64) {
        let mut inner = self.0.lock();
        inner.crash_at = Some(inner.operations + operations.max(1));
    }

    /// Whether the power is gone.
    pub(crate) fn is_down(&self) -> bool {
        self.0.lock().is_down
    }

    /// Of all operations so far, in order.
    pub(crate) fn hash(&self) -> u64 {
        self.0.lock().hash
    }

    /// The power goes, and comes back.
    pub(crate) fn cut_power(&self) {
        let mut guard = self.0.lock();
        let inner = &mut *guard;
        let dirs: BTreeSet<PathBuf> =
            inner.namings.iter().filter_map(|n| n.dir().map(Path::to_owned)).collect();
        for dir in dirs {
            let of_dir: Vec<Naming> =
                inner.namings.iter().filter(|naming| naming.dir() == Some(&dir)).cloned().collect();
            let kept = inner.dice.roll(of_dir.len() as u64 + 1) as usize;
            of_dir[..kept].iter().for_each(|naming| naming.apply(&mut inner.durable_names));
        }
        inner.namings.clear();
        inner.names.clone_from(&inner.durable_names);
        for content in &mut inner.contents {
            content.cut_power(&mut inner.dice);
        }
        let kept = inner.dice.roll(inner.batches.len() as u64 + 1) as usize;
        for batch in inner.batches.drain(..).take(kept) {
            apply(&mut inner.durable_metadata, &batch);
        }
        inner.metadata.clone_from(&inner.durable_metadata);
        inner.restart();
    }

    /// The process was ended; the operating system goes on.
    pub(crate) fn kill(&self) {
        self.0.lock().restart();
    }

    /// The files in the journal's folder.
    pub(crate) fn journal_files(&self) -> Vec<PathBuf> {
        self.0.lock().names.keys().filter(|path| is_journal(path)).cloned().collect()
    }
}

impl Inner {
    fn restart(&mut self) {
        self.generation += 1;
        (self.is_down, self.is_going, self.is_locked) = (false, false, false);
        (self.crash_at, self.mood) = (None, Mood::Well);
    }
}

impl Files for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut inner = self.0.lock();
        inner.begin(Op::Create, path, is_journal(path))?;
        let content = match inner.names.get(path).copied() {
            Some(content) => {
                inner.contents[content].change(Change::SetLen(0));
                content
            }
            None => {
                inner.contents.push(Content::default());
                let content = inner.contents.len() - 1;
                inner.rename_or_so(Naming::Create(path.into(), content));
                content
            }
        };
        Ok(Box::new(SimFile { disk: self.clone(), path: path.into(), content, generation: inner.generation }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let inner = self.0.lock();
        let content = inner.content(path)?;
        Ok(Box::new(SimFile { disk: self.clone(), path: path.into(), content, generation: inner.generation }))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let inner = self.0.lock();
        Ok(inner.contents[inner.content(path)?].bytes.clone())
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        let inner = self.0.lock();
        Ok(inner.contents[inner.content(path)?].bytes.len() as u64)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(self.0.lock().names.keys().filter(|path| path.parent() == Some(dir)).cloned().collect())
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.0.lock().dirs.insert(dir.into());
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.0.lock();
        inner.begin(Op::Rename, from, is_journal(from))?;
        inner.content(from)?;
        inner.rename_or_so(Naming::Rename(from.into(), to.into()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.0.lock();
        inner.begin(Op::Remove, path, is_journal(path))?;
        inner.content(path)?;
        inner.rename_or_so(Naming::Remove(path.into()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut guard = self.0.lock();
        guard.begin(Op::SyncDir, dir, is_journal(dir))?;
        let inner = &mut *guard;
        let (synced, others): (Vec<_>, Vec<_>) =
            inner.namings.drain(..).partition(|naming| naming.dir() == Some(dir));
        synced.iter().for_each(|naming| naming.apply(&mut inner.durable_names));
        inner.namings = others;
        Ok(())
    }
}

struct SimFile {
    disk: SimDisk,
    path: PathBuf,
    content: usize,
    generation: u64,
}

impl SimFile {
    fn with<T>(&self, op: Op, work: impl FnOnce(&mut Inner) -> io::Result<T>) -> io::Result<T> {
        let mut inner = self.disk.0.lock();
        assert_eq!(inner.generation, self.generation, "a file of a node that is gone");
        inner.begin(op, &self.path, is_journal(&self.path))?;
        work(&mut inner)
    }
}

impl File for SimFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.with(Op::Write, |inner| {
            inner.note(bytes);
            let write = Change::Write { offset: offset as usize, bytes: bytes.into() };
            inner.contents[self.content].change(write);
            inner.end_write()
        })
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let inner = self.disk.0.lock();
        let content = &inner.contents[self.content].bytes;
        let found = content.get(offset as usize..offset as usize + bytes.len());
        bytes.copy_from_slice(found.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.with(Op::Sync, |inner| {
            inner.contents[self.content].sync();
            Ok(())
        })
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.with(Op::SetLen, |inner| {
            inner.contents[self.content].change(Change::SetLen(length as usize));
            Ok(())
        })
    }
}

impl Place for SimDisk {
    fn lock(&self, dir: &Path) -> Result<Lock, Error> {
        let mut inner = self.0.lock();
        if std::mem::replace(&mut inner.is_locked, true) {
            return Err(Error::Locked { path: dir.into(), pid: None });
        }
        Ok(Box::new(SimLock(self.clone(), inner.generation)))
    }

    fn open_metadata(&self, _dir: &Path, _options: &Options) -> Result<Box<dyn Metadata>, Error> {
        Ok(Box::new(SimMetadata(self.clone())))
    }

    fn move_metadata_aside(&self, dir: &Path) -> Result<PathBuf, Error> {
        // With the power gone it looks so.
        assert!(self.is_down(), "the metadata store in {} was never damaged", dir.display());
        Err(failed(io::Error::from_raw_os_error(EIO)))
    }
}

struct SimLock(SimDisk, u64);

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut inner = self.0.0.lock();
        if inner.generation == self.1 {
            inner.is_locked = false;
        }
    }
}

#[derive(Debug)]
struct SimMetadata(SimDisk);

const METADATA: &str = "/data/sled";

fn failed(error: io::Error) -> Error {
    Error::Metadata(error.to_string())
}

impl Metadata for SimMetadata {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.0.0.lock().metadata.get(key).cloned())
    }

    fn visit(&self, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), Error> {
        let entries = self.0.0.lock().metadata.clone();
        let from = entries.range(prefix.to_vec()..);
        from.take_while(|(key, _)| key.starts_with(prefix)).try_for_each(|(key, value)| visit(key, value))
    }

    fn apply(&self, batch: &Batch) -> Result<(), Error> {
        let mut inner = self.0.0.lock();
        inner.begin(Op::Apply, Path::new(METADATA), false).map_err(failed)?;
        apply(&mut inner.metadata, batch);
        inner.batches.push(batch.clone());
        Ok(())
    }

    fn sync(&self) -> Result<(), Error> {
        let mut guard = self.0.0.lock();
        guard.begin(Op::SyncMetadata, Path::new(METADATA), false).map_err(failed)?;
        let inner = &mut *guard;
        for batch in inner.batches.drain(..) {
            apply(&mut inner.durable_metadata, &batch);
        }
        Ok(())
    }
}
