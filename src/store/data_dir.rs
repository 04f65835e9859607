//! The data directory itself: made when absent, locked against a second process, and marked with its format.

use super::Error;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::path::Path;

/// The first line of the file `format`; another version of the layout changes the number.
const FORMAT: &str = "warren store 1";

/// The data directory is ours while this lives.
#[derive(Debug)]
pub(super) struct DirLock {
    /// Closing it gives the lock back.
    _file: File,
}

/// Makes `dir` if need be, locks it and checks its format.
///
/// # Errors
/// [`Error::NotADirectory`], [`Error::NoPermission`], [`Error::DiskFull`], [`Error::Locked`], [`Error::Format`], and
/// other failures of the file system.
pub(super) fn take(dir: &Path) -> Result<DirLock, Error> {
    if dir.exists() && !dir.is_dir() {
        return Err(Error::NotADirectory(dir.into()));
    }
    fs::create_dir_all(dir).map_err(|error| Error::io(dir, error))?;
    let lock = lock(dir)?;
    let path = dir.join("format");
    match fs::read_to_string(&path) {
        Ok(found) if found.trim_end() == FORMAT => Ok(lock),
        Ok(found) => Err(Error::Format { path, found: found.trim_end().into(), expected: FORMAT.into() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let write = || {
                let mut file = File::create(&path)?;
                writeln!(file, "{FORMAT}")?;
                file.sync_all()?;
                super::segment::sync_dir(dir)
            };
            write().map_err(|error| Error::io(&path, error))?;
            Ok(lock)
        }
        Err(error) => Err(Error::io(path, error)),
    }
}

fn lock(dir: &Path) -> Result<DirLock, Error> {
    let path = dir.join("lock");
    let open = File::options().read(true).write(true).create(true).truncate(false).open(&path);
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
    let _ =
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(DirLock { _file: file })
}
