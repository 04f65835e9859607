//! What the store stands on: the file system, the lock on the data directory, and where the metadata store lives.
//!
//! The real one is [`Environment::real`]. A simulation brings its own, and nothing of the store touches a disk then.

use super::files::{Disk, Files};
use super::metadata::{self, Metadata, SledMetadata};
use super::{Error, Options};
use rustix::fs::{FlockOperation, flock};
use std::fs;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the store stands on.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Every file operation of the store's own.
    pub files: Arc<dyn Files>,
    /// The rest.
    pub place: Arc<dyn Place>,
}

impl Environment {
    /// The real file system, flock and sled.
    pub fn real() -> Self {
        Self { files: Arc::new(Disk), place: Arc::new(LocalPlace) }
    }
}

/// A lock that is given back by dropping it.
pub type Lock = Box<dyn Send>;

/// What the store needs in a data directory beside its own files.
pub trait Place: Send + Sync + std::fmt::Debug {
    /// Takes the data directory, which is there, for this store alone.
    ///
    /// # Errors
    /// [`Error::Locked`] when somebody has it, and those of the file system.
    fn lock(&self, dir: &Path) -> Result<Lock, Error>;

    /// Opens or makes the metadata store of the data directory. At most one is open at a time.
    ///
    /// # Errors
    /// [`Error::Metadata`] and [`Error::Damaged`] mean that it cannot be used and is to be moved aside; any other failure
    /// says nothing about what it holds.
    fn open_metadata(&self, dir: &Path, options: &Options) -> Result<Box<dyn Metadata>, Error>;

    /// Moves the metadata store, which is not open, to a name that is free, and says where it is.
    ///
    /// # Errors
    /// Those of the file system.
    fn move_metadata_aside(&self, dir: &Path) -> Result<PathBuf, Error>;

    /// What the metadata store takes of the disk; 0 where it cannot be larger than it must.
    ///
    /// # Errors
    /// Those of the file system.
    fn metadata_bytes(&self, _dir: &Path) -> Result<u64, Error> {
        Ok(0)
    }

    /// Writes the entries of `from` durably into a store beside the one in use; [`Place::swap_metadata`] is next.
    ///
    /// # Errors
    /// Those of both stores and of the file system; the one in use is untouched.
    fn copy_metadata(&self, _dir: &Path, _options: &Options, _from: &dyn Metadata) -> Result<(), Error> {
        Ok(())
    }

    /// Puts the copy into the place of the store, which is not open. After a crash the next
    /// [`Place::open_metadata`] finds one of the two, whole.
    ///
    /// # Errors
    /// Those of the file system; what was done is then ended by the next [`Place::open_metadata`], too.
    fn swap_metadata(&self, _dir: &Path) -> Result<(), Error> {
        Ok(())
    }
}

/// [`Place`] in a real directory: flock, and sled in a folder.
#[derive(Debug)]
struct LocalPlace;

impl Place for LocalPlace {
    fn lock(&self, dir: &Path) -> Result<Lock, Error> {
        let path = dir.join("lock");
        let open = fs::File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open.map_err(|error| Error::io(&path, error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                return Err(Error::Locked { path: dir.into(), pid });
            }
            Err(errno) => return Err(Error::io(path, errno.into())),
        }
        // The number is for people only; a full disk is no reason to stop here.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        // Closing the file gives the lock back.
        Ok(Box::new(file))
    }

    fn open_metadata(&self, dir: &Path, options: &Options) -> Result<Box<dyn Metadata>, Error> {
        end_swap(dir).map_err(|error| Error::io(dir.join("sled"), error))?;
        Ok(Box::new(SledMetadata::open(&dir.join("sled"), options)?))
    }

    fn move_metadata_aside(&self, dir: &Path) -> Result<PathBuf, Error> {
        let path = dir.join("sled");
        let mut names = (1..).map(|n| dir.join(format!("sled.damaged-{n}")));
        let aside = names.find(|path| !path.exists()).expect("numbers do not end");
        fs::rename(&path, &aside).map_err(|error| Error::io(path, error))?;
        Ok(aside)
    }

    fn metadata_bytes(&self, dir: &Path) -> Result<u64, Error> {
        folder_bytes(&dir.join("sled")).map_err(|error| Error::io(dir.join("sled"), error))
    }

    fn copy_metadata(&self, dir: &Path, options: &Options, from: &dyn Metadata) -> Result<(), Error> {
        let path = dir.join("sled.new");
        remove_folder(&path).map_err(|error| Error::io(&path, error))?;
        let copy = SledMetadata::open(&path, options)?;
        metadata::copy(from, &copy)?;
        drop(copy);
        metadata::wait_closed(&path)?;
        sync_dir(&path).and_then(|()| sync_dir(dir)).map_err(|error| Error::io(path, error))
    }

    fn swap_metadata(&self, dir: &Path) -> Result<(), Error> {
        let path = dir.join("sled");
        metadata::wait_closed(&path)?;
        let swap = || {
            fs::rename(&path, dir.join("sled.old"))?;
            sync_dir(dir)?;
            end_swap(dir)
        };
        swap().map_err(|error| Error::io(&path, error))
    }
}

/// Ends a swap that was begun, or undoes what a crash left before it began.
///
/// ```text
///   sled, sled.new            the copy may be half made                → sled
///   sled.old, sled.new        the copy was whole before the first rename → sled.new becomes sled
///   sled.old, sled            swapped                                  → sled
///   sled.old                  somebody removed the copy                → sled.old becomes sled
/// ```
fn end_swap(dir: &Path) -> std::io::Result<()> {
    let [current, new, old] = ["sled", "sled.new", "sled.old"].map(|name| dir.join(name));
    if !current.exists() && old.exists() {
        fs::rename(if new.exists() { &new } else { &old }, &current)?;
        sync_dir(dir)?;
    }
    remove_folder(&new)?;
    remove_folder(&old)
}

fn remove_folder(path: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn sync_dir(dir: &Path) -> std::io::Result<()> {
    fs::File::open(dir)?.sync_all()
}

/// The files of a folder and the folders in it, together; 0 if there is none.
pub(super) fn folder_bytes(path: &Path) -> std::io::Result<u64> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut bytes = 0;
    for entry in entries {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { folder_bytes(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::metadata::Batch;

    /// What a store in `path` says.
    fn word(path: &Path) -> Option<Vec<u8>> {
        SledMetadata::open(path, &Options::new(path)).unwrap().get(b"k").unwrap()
    }

    fn fill(path: &Path, word: &str) {
        let sled = SledMetadata::open(path, &Options::new(path)).unwrap();
        sled.apply(&Batch::from([(b"k".to_vec(), Some(word.into()))])).unwrap();
        sled.sync().unwrap();
        drop(sled);
        metadata::wait_closed(path).unwrap();
    }

    #[test]
    fn a_swap_that_a_crash_cut_short_leaves_one_of_the_two_stores() {
        for (folders, expected) in [
            (&["sled", "sled.new"][..], "sled"),
            (&["sled.old", "sled.new"], "sled.new"),
            (&["sled.old", "sled"], "sled"),
            (&["sled.old"], "sled.old"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            folders.iter().for_each(|name| fill(&dir.path().join(name), name));
            let opened = LocalPlace.open_metadata(dir.path(), &Options::new(dir.path())).unwrap();
            assert_eq!(opened.get(b"k").unwrap(), Some(expected.into()), "{folders:?}");
            assert!(!dir.path().join("sled.new").exists() && !dir.path().join("sled.old").exists());
        }
    }

    #[test]
    fn a_copy_takes_the_place_of_the_store() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options::new(dir.path());
        fill(&dir.path().join("sled"), "old");
        let copied = metadata::MemoryMetadata::default();
        copied.apply(&Batch::from([(b"k".to_vec(), Some("new".into()))])).unwrap();
        LocalPlace.copy_metadata(dir.path(), &options, &copied).unwrap();
        assert_eq!(word(&dir.path().join("sled")), Some("old".into()));
        LocalPlace.swap_metadata(dir.path()).unwrap();
        assert_eq!(word(&dir.path().join("sled")), Some("new".into()));
    }
}
