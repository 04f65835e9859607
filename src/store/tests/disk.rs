//! A disk in memory: what was not synced is lost in a power cut, and any operation fails when the test says so.

use super::super::files::{File, Files};
use super::super::metadata::{Batch, MemoryMetadata, Metadata, Visit};
use super::super::place::{Environment, Lock, Place};
use super::super::{Error, Options};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

/// What is about to be done, for a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Create,
    Read,
    Write,
    Sync,
    SetLen,
    Rename,
    Remove,
    /// Changes and syncs of the metadata store, which fails from then on until it is opened again, as sled does.
    Metadata,
}

type Hook = Box<dyn Fn(Op, &Path) -> io::Result<()> + Send + Sync>;

#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    durable: Vec<u8>,
}

type Names = BTreeMap<PathBuf, Arc<Mutex<Content>>>;

/// Shared by all clones.
#[derive(Clone, Default)]
pub(crate) struct SimDisk(Arc<Inner>);

#[derive(Default)]
struct Inner {
    names: Mutex<Names>,
    durable_names: Mutex<Names>,
    dirs: Mutex<BTreeSet<PathBuf>>,
    metadata: Arc<Mutex<Map>>,
    durable_metadata: Arc<Mutex<Map>>,
    is_locked: Arc<Mutex<bool>>,
    hook: Mutex<Option<Arc<Hook>>>,
    removed: Mutex<Option<mpsc::Sender<PathBuf>>>,
}

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

impl std::fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SimDisk")
    }
}

impl SimDisk {
    pub(crate) fn environment(&self) -> Environment {
        Environment { files: Arc::new(self.clone()), place: Arc::new(self.clone()) }
    }

    /// `hook` is asked before every operation from now on.
    pub(crate) fn set_hook(&self, hook: impl Fn(Op, &Path) -> io::Result<()> + Send + Sync + 'static) {
        *self.0.hook.lock() = Some(Arc::new(Box::new(hook)));
    }

    /// Tells which files are removed.
    pub(super) fn on_remove(&self, removed: mpsc::Sender<PathBuf>) {
        *self.0.removed.lock() = Some(removed);
    }

    /// Nothing fails any more.
    pub(crate) fn repair(&self) {
        *self.0.hook.lock() = None;
    }

    /// The disk as it is after a power cut: nothing that was not synced is there.
    pub(super) fn after_power_cut(&self) -> Self {
        self.cut(&mut || false)
    }

    /// The disk as it is after a power cut when it was about to write what was not synced: `survives` says of each block
    /// that had changed whether it came through. Files have the length that they were to have.
    pub(super) fn after_torn_power_cut(&self, mut survives: impl FnMut() -> bool) -> Self {
        self.cut(&mut survives)
    }

    fn cut(&self, survives: &mut dyn FnMut() -> bool) -> Self {
        let names = self.0.durable_names.lock();
        let mut settle = |content: &Mutex<Content>| settled(content, survives);
        let names: Names = names.iter().map(|(path, content)| (path.clone(), settle(content))).collect();
        let metadata = self.0.durable_metadata.lock().clone();
        Self(Arc::new(Inner {
            names: Mutex::new(names.clone()),
            durable_names: Mutex::new(names),
            dirs: Mutex::new(self.0.dirs.lock().clone()),
            metadata: Arc::new(Mutex::new(metadata.clone())),
            durable_metadata: Arc::new(Mutex::new(metadata)),
            ..Inner::default()
        }))
    }

    /// The files whose path contains `part`, in order.
    pub(super) fn paths(&self, part: &str) -> Vec<PathBuf> {
        let names = self.0.names.lock();
        names.keys().filter(|path| path.to_string_lossy().contains(part)).cloned().collect()
    }

    /// Gives a file these bytes behind everybody's back, durably.
    pub(super) fn put(&self, path: &Path, bytes: &[u8]) {
        let content = Content { bytes: bytes.into(), durable: bytes.into() };
        let content = Arc::new(Mutex::new(content));
        self.0.names.lock().insert(path.into(), content.clone());
        self.0.durable_names.lock().insert(path.into(), content);
    }

    /// The metadata store and the snapshots are gone.
    pub(super) fn lose_metadata(&self) {
        for metadata in [&self.0.metadata, &self.0.durable_metadata] {
            metadata.lock().clear();
        }
        self.lose_snapshots();
    }

    fn lose_snapshots(&self) {
        for names in [&self.0.names, &self.0.durable_names] {
            names.lock().retain(|path, _| !path.to_string_lossy().contains("snapshot"));
        }
    }

    /// What the metadata store has durably, to be given to [`SimDisk::unsync_metadata`].
    pub(super) fn synced_metadata(&self) -> Map {
        self.0.durable_metadata.lock().clone()
    }

    /// As if the process had been killed before the sync of a checkpoint: the metadata store's changes are there until the
    /// power goes, and the snapshots, which come later, are not.
    pub(super) fn unsync_metadata(&self, before: Map) {
        *self.0.durable_metadata.lock() = before;
        self.lose_snapshots();
    }

    /// What a power cut would leave of a file that it would leave.
    pub(super) fn durable(&self, path: &Path) -> Vec<u8> {
        self.0.durable_names.lock()[path].lock().durable.clone()
    }

    fn check(&self, op: Op, path: &Path) -> io::Result<()> {
        let hook = self.0.hook.lock().clone();
        hook.map_or(Ok(()), |hook| hook(op, path))
    }

    fn content(&self, path: &Path) -> io::Result<Arc<Mutex<Content>>> {
        self.0.names.lock().get(path).cloned().ok_or_else(|| ErrorKind::NotFound.into())
    }
}

/// What a disk writes whole or not at all.
const BLOCK_BYTES: usize = 512;

fn settled(content: &Mutex<Content>, survives: &mut dyn FnMut() -> bool) -> Arc<Mutex<Content>> {
    let content = content.lock();
    let mut durable = content.durable.clone();
    for (index, block) in content.bytes.chunks(BLOCK_BYTES).enumerate() {
        let (start, end) = (index * BLOCK_BYTES, index * BLOCK_BYTES + block.len());
        if durable.get(start..end) != Some(block) && survives() {
            let length = durable.len().max(end);
            durable.resize(length, 0);
            durable[start..end].copy_from_slice(block);
        }
    }
    Arc::new(Mutex::new(Content { bytes: durable.clone(), durable }))
}

impl Files for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        self.check(Op::Create, path)?;
        let content = self.0.names.lock().entry(path.into()).or_default().clone();
        content.lock().bytes.clear();
        Ok(Box::new(SimFile { content, path: path.into(), disk: self.clone() }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let content = self.content(path)?;
        Ok(Box::new(SimFile { content, path: path.into(), disk: self.clone() }))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.check(Op::Read, path)?;
        Ok(self.content(path)?.lock().bytes.clone())
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        Ok(self.content(path)?.lock().bytes.len() as u64)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let names = self.0.names.lock();
        Ok(names.keys().filter(|path| path.parent() == Some(dir)).cloned().collect())
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let is_new = !self.0.dirs.lock().contains(dir);
        if is_new {
            self.check(Op::Create, dir)?;
            self.0.dirs.lock().insert(dir.into());
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check(Op::Rename, from)?;
        let mut names = self.0.names.lock();
        let content = names.remove(from).ok_or(ErrorKind::NotFound)?;
        names.insert(to.into(), content);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.check(Op::Remove, path)?;
        self.0.names.lock().remove(path).ok_or(ErrorKind::NotFound)?;
        // The test may have seen enough.
        let _ = self.0.removed.lock().as_ref().map(|removed| removed.send(path.into()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.check(Op::Sync, dir)?;
        let names = self.0.names.lock();
        let mut durable = self.0.durable_names.lock();
        durable.retain(|path, _| path.parent() != Some(dir));
        let synced = names.iter().filter(|(path, _)| path.parent() == Some(dir));
        durable.extend(synced.map(|(path, content)| (path.clone(), content.clone())));
        Ok(())
    }
}

struct SimFile {
    content: Arc<Mutex<Content>>,
    path: PathBuf,
    disk: SimDisk,
}

impl File for SimFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.check(Op::Write, &self.path)?;
        let mut content = self.content.lock();
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        let length = content.bytes.len().max(end);
        content.bytes.resize(length, 0);
        content.bytes[start..end].copy_from_slice(bytes);
        Ok(())
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.disk.check(Op::Read, &self.path)?;
        let content = self.content.lock();
        let found = content.bytes.get(offset as usize..offset as usize + bytes.len());
        bytes.copy_from_slice(found.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.check(Op::Sync, &self.path)?;
        let mut content = self.content.lock();
        content.durable = content.bytes.clone();
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.disk.check(Op::SetLen, &self.path)?;
        self.content.lock().bytes.resize(length as usize, 0);
        Ok(())
    }
}

impl Place for SimDisk {
    fn lock(&self, dir: &Path) -> Result<Lock, Error> {
        let mut is_locked = self.0.is_locked.lock();
        if std::mem::replace(&mut is_locked, true) {
            return Err(Error::Locked { path: dir.into(), pid: None });
        }
        Ok(Box::new(SimLock(self.0.is_locked.clone())))
    }

    fn open_metadata(&self, dir: &Path, _: &Options) -> Result<Box<dyn Metadata>, Error> {
        self.check(Op::Metadata, dir).map_err(|error| Error::io(dir, error))?;
        Ok(Box::new(SimMetadata { disk: self.clone(), is_poisoned: Mutex::new(false) }))
    }

    fn move_metadata_aside(&self, dir: &Path) -> Result<PathBuf, Error> {
        self.0.metadata.lock().clear();
        Ok(dir.join("metadata.damaged-1"))
    }
}

struct SimLock(Arc<Mutex<bool>>);

impl Drop for SimLock {
    fn drop(&mut self) {
        *self.0.lock() = false;
    }
}

#[derive(Debug)]
struct SimMetadata {
    disk: SimDisk,
    is_poisoned: Mutex<bool>,
}

impl SimMetadata {
    fn check(&self) -> Result<(), Error> {
        let mut is_poisoned = self.is_poisoned.lock();
        if *is_poisoned {
            return Err(Error::Metadata("it failed before".into()));
        }
        let path = Path::new("/data/metadata");
        let checked = self.disk.check(Op::Metadata, path);
        *is_poisoned = checked.is_err();
        checked.map_err(|error| Error::io(path, error))
    }

    fn map(&self) -> MemoryMetadata {
        MemoryMetadata(Mutex::new(self.disk.0.metadata.lock().clone()))
    }
}

impl Metadata for SimMetadata {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.map().get(key)
    }

    fn visit(&self, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), Error> {
        self.map().visit(prefix, visit)
    }

    fn apply(&self, batch: &Batch) -> Result<(), Error> {
        self.check()?;
        let map = self.map();
        map.apply(batch)?;
        *self.disk.0.metadata.lock() = map.0.into_inner();
        Ok(())
    }

    fn sync(&self) -> Result<(), Error> {
        self.check()?;
        *self.disk.0.durable_metadata.lock() = self.disk.0.metadata.lock().clone();
        Ok(())
    }
}

impl Drop for SimMetadata {
    /// What a poisoned store has in memory only is lost.
    fn drop(&mut self) {
        if *self.is_poisoned.lock() {
            *self.disk.0.metadata.lock() = self.disk.0.durable_metadata.lock().clone();
        }
    }
}
