//! The key-value store below definitions and checkpoints: a narrow trait, sled, and memory.
//!
//! What keys and values mean is the catalog's business. The rules that sled 0.34 asks for are kept here and by the one
//! writer, the checkpointer: few, stable keys; small values; batches; no claim that its own flush makes durable.

use super::{Error, Options};
use crate::time::Duration;
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Changes by key; no value = the key goes. A later change of the same key replaces an earlier one.
pub type Batch = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// How often sled's own lock is tried, and how long after.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// What is done with each entry of a visit.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<(), Error> + 'a;

/// An ordered key-value store with one writer; others may read meanwhile.
pub trait Metadata: Send + Sync + std::fmt::Debug {
    /// The value under `key`.
    ///
    /// # Errors
    /// [`Error::Metadata`].
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error>;

    /// Visits the entries whose key starts with `prefix`, in order.
    ///
    /// # Errors
    /// [`Error::Metadata`], and what `visit` returns.
    fn visit(&self, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), Error>;

    /// Makes all changes or none.
    ///
    /// # Errors
    /// [`Error::Metadata`].
    fn apply(&self, batch: &Batch) -> Result<(), Error>;

    /// Makes what was applied durable.
    ///
    /// # Errors
    /// [`Error::Metadata`].
    fn sync(&self) -> Result<(), Error>;
}

/// [`Metadata`] in memory.
#[derive(Debug, Default)]
pub struct MemoryMetadata(pub(super) Mutex<BTreeMap<Vec<u8>, Vec<u8>>>);

impl Metadata for MemoryMetadata {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.0.lock().get(key).cloned())
    }

    fn visit(&self, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), Error> {
        let entries = self.0.lock().clone();
        let from = entries.range(prefix.to_vec()..);
        from.take_while(|(key, _)| key.starts_with(prefix)).try_for_each(|(key, value)| visit(key, value))
    }

    fn apply(&self, batch: &Batch) -> Result<(), Error> {
        let mut entries = self.0.lock();
        for (key, value) in batch {
            match value {
                Some(value) => entries.insert(key.clone(), value.clone()),
                None => entries.remove(key),
            };
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// A [`Metadata`] that can be opened anew while others hold on to it: sled repeats its first failure for ever.
#[derive(Debug)]
pub(super) struct Replaceable(RwLock<Option<Box<dyn Metadata>>>);

impl Replaceable {
    pub(super) fn new(metadata: Box<dyn Metadata>) -> Self {
        Self(RwLock::new(Some(metadata)))
    }

    /// Closes it and opens it anew with `open`; until that succeeds every operation fails.
    ///
    /// # Errors
    /// Those of `open`.
    pub(super) fn replace(
        &self,
        open: impl FnOnce() -> Result<Box<dyn Metadata>, Error>,
    ) -> Result<(), Error> {
        let mut metadata = self.0.write();
        // Two at a time cannot be open.
        *metadata = None;
        *metadata = Some(open()?);
        Ok(())
    }

    /// Closes it: whoever still holds on to it is told.
    pub(super) fn close(&self) {
        *self.0.write() = None;
    }

    fn with<T>(&self, work: impl FnOnce(&dyn Metadata) -> Result<T, Error>) -> Result<T, Error> {
        let closed = || Error::Metadata("it is closed, or failed and could not be opened again yet".into());
        work(&**self.0.read().as_ref().ok_or_else(closed)?)
    }
}

impl Metadata for Replaceable {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.with(|metadata| metadata.get(key))
    }

    fn visit(&self, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), Error> {
        self.with(|metadata| metadata.visit(prefix, visit))
    }

    fn apply(&self, batch: &Batch) -> Result<(), Error> {
        self.with(|metadata| metadata.apply(batch))
    }

    fn sync(&self) -> Result<(), Error> {
        self.with(|metadata| metadata.sync())
    }
}

/// [`Metadata`] in sled.
#[derive(Debug)]
pub struct SledMetadata {
    db: sled::Db,
    path: PathBuf,
    /// sled's flush leaves the device's cache alone on Linux, so the file is synced through a handle of our own.
    file: File,
}

impl SledMetadata {
    /// Opens or makes sled's folder at `path`.
    ///
    /// # Errors
    /// [`Error::Metadata`], also when sled panics over damage.
    pub fn open(path: &Path, options: &Options) -> Result<Self, Error> {
        let config = sled::Config::new()
            .path(path)
            .mode(sled::Mode::LowSpace)
            .cache_capacity(options.sled_cache_bytes)
            .flush_every_ms(Some(options.sled_flush_every_ms));
        let db = open_when_unlocked(path, &config)?;
        let file = File::options().read(true).write(true).open(path.join("db"));
        Ok(Self { db, path: path.into(), file: file.map_err(|error| Error::io(path.join("db"), error))? })
    }
}

/// Opens sled, waiting for its lock: the data directory is ours, so who holds it is a thread that an instance closed
/// just now in this process has left behind. Failures that are no damage keep their kind.
fn open_when_unlocked(path: &Path, config: &sled::Config) -> Result<sled::Db, Error> {
    for _ in 0..LOCK_TRIES {
        match guarded(path, || Ok(config.open()))? {
            Err(sled::Error::Io(error)) if error.to_string().contains("could not acquire lock") => {
                std::thread::park_timeout(LOCK_PAUSE);
            }
            Err(sled::Error::Io(error))
                if error.raw_os_error().is_some() && error.kind() != std::io::ErrorKind::NotFound =>
            {
                return Err(Error::io(path, error));
            }
            result => return result.map_err(|error| failure(path, error)),
        }
    }
    Err(Error::Locked { path: path.into(), pid: None })
}

/// Waits until nobody in this process has sled's folder open any more: its last thread ends some time after the drop,
/// and must not find another folder in the place of its own.
///
/// # Errors
/// [`Error::Locked`] if that takes too long, and those of the file system.
pub(super) fn wait_closed(path: &Path) -> Result<(), Error> {
    let file = File::open(path.join("db")).map_err(|error| Error::io(path, error))?;
    for _ in 0..LOCK_TRIES {
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::park_timeout(LOCK_PAUSE),
            Err(errno) => return Err(Error::io(path, errno.into())),
        }
    }
    Err(Error::Locked { path: path.into(), pid: None })
}

/// How much is copied with one batch.
const COPY_BYTES: usize = 1 << 20;

/// Copies all entries, durably.
///
/// # Errors
/// Those of both stores.
pub(super) fn copy(from: &dyn Metadata, to: &dyn Metadata) -> Result<(), Error> {
    let (mut batch, mut bytes) = (Batch::new(), 0);
    from.visit(b"", &mut |key, value| {
        bytes += key.len() + value.len();
        batch.insert(key.to_vec(), Some(value.to_vec()));
        if bytes >= COPY_BYTES {
            to.apply(&std::mem::take(&mut batch))?;
            bytes = 0;
        }
        Ok(())
    })?;
    to.apply(&batch)?;
    to.sync()
}

/// What the entries are together.
///
/// # Errors
/// The store's own.
pub(super) fn entries_bytes(metadata: &dyn Metadata) -> Result<u64, Error> {
    let mut bytes = 0;
    metadata.visit(b"", &mut |key, value| {
        bytes += (key.len() + value.len()) as u64;
        Ok(())
    })?;
    Ok(bytes)
}

/// Runs `work` and turns sled's errors and panics (it has many on damage) into ours.
fn guarded<T>(path: &Path, work: impl FnOnce() -> sled::Result<T>) -> Result<T, Error> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| failure(path, error)),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(Error::Metadata(format!("sled panicked: {}", text.unwrap_or("without a word"))))
        }
    }
}

/// sled's error as ours. A disk that takes nothing says nothing about what is on it: that must not pass for damage.
fn failure(path: &Path, error: sled::Error) -> Error {
    use std::io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    match error {
        sled::Error::Io(error)
            if matches!(
                error.kind(),
                PermissionDenied | QuotaExceeded | ReadOnlyFilesystem | StorageFull
            ) =>
        {
            Error::io(path, error)
        }
        error => Error::Metadata(error.to_string()),
    }
}

impl Metadata for SledMetadata {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        guarded(&self.path, || self.db.get(key)).map(|value| value.map(|value| value.to_vec()))
    }

    fn visit(&self, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), Error> {
        let mut entries = self.db.scan_prefix(prefix);
        while let Some((key, value)) = guarded(&self.path, || entries.next().transpose())? {
            visit(&key, &value)?;
        }
        Ok(())
    }

    fn apply(&self, batch: &Batch) -> Result<(), Error> {
        let mut changes = sled::Batch::default();
        for (key, value) in batch {
            match value {
                Some(value) => changes.insert(key.as_slice(), value.as_slice()),
                None => changes.remove(key.as_slice()),
            }
        }
        guarded(&self.path, || self.db.apply_batch(changes))
    }

    fn sync(&self) -> Result<(), Error> {
        guarded(&self.path, || self.db.flush())?;
        self.file.sync_data().map_err(|error| Error::Metadata(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn a_full_disk_is_no_damage_of_sled_and_a_short_read_is() {
        let path = Path::new("sled");
        let full = failure(path, sled::Error::Io(io::Error::from_raw_os_error(28)));
        assert!(matches!(full, Error::DiskFull { .. }), "{full}");
        let read_only = failure(path, sled::Error::Io(io::ErrorKind::ReadOnlyFilesystem.into()));
        assert!(matches!(read_only, Error::ReadOnly { .. }), "{read_only}");
        let short = failure(path, sled::Error::Io(io::ErrorKind::UnexpectedEof.into()));
        assert!(matches!(short, Error::Metadata(_)), "{short}");
    }
}
