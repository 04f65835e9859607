//! What the store stands on: the file system, the lock on the data directory, and where the metadata store lives.
//!
//! The real one is [`Environment::real`]. A simulation brings its own, and nothing of the store touches a disk then.

use super::files::{Disk, Files};
use super::metadata::{Metadata, SledMetadata};
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
        Ok(Box::new(SledMetadata::open(&dir.join("sled"), options)?))
    }

    fn move_metadata_aside(&self, dir: &Path) -> Result<PathBuf, Error> {
        let path = dir.join("sled");
        let mut names = (1..).map(|n| dir.join(format!("sled.damaged-{n}")));
        let aside = names.find(|path| !path.exists()).expect("numbers do not end");
        fs::rename(&path, &aside).map_err(|error| Error::io(path, error))?;
        Ok(aside)
    }
}
