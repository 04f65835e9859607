//! Every file operation of the store, behind two traits: so a simulation can run the store without a disk, and tests can
//! let any operation fail.
//!
//! Only sled and the lock on the data directory are elsewhere, in [`place`](super::place).

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};

/// An open file.
pub trait File: Send + Sync {
    /// Writes all of `bytes` at `offset`; after an error any part of them may be there.
    ///
    /// # Errors
    /// Those of the write.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Fills `bytes` with what stands at `offset`.
    ///
    /// # Errors
    /// Those of the read; [`io::ErrorKind::UnexpectedEof`] when the file ends before.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;

    /// Makes what was written durable, with the file's length (fdatasync). The file's name is another matter: see
    /// [`Files::sync_dir`].
    ///
    /// # Errors
    /// Those of fdatasync; what was written since the last sync may then be lost for ever, also if a later one succeeds.
    fn sync(&self) -> io::Result<()>;

    /// Cuts the file, or makes it longer with zeros.
    ///
    /// # Errors
    /// Those of the file system.
    fn set_len(&self, length: u64) -> io::Result<()>;
}

/// A file system. Its operations are durable only after the syncs named here.
pub trait Files: Send + Sync + std::fmt::Debug {
    /// Makes the file, empty also if it was there, for reading and writing.
    ///
    /// # Errors
    /// Those of the file system.
    fn create(&self, path: &Path) -> io::Result<Box<dyn File>>;

    /// Opens a file that is there, for reading and writing.
    ///
    /// # Errors
    /// Those of the file system.
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>>;

    /// All of a file.
    ///
    /// # Errors
    /// Those of the file system; [`io::ErrorKind::NotFound`] when there is none.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// How long a file is.
    ///
    /// # Errors
    /// Those of the file system; [`io::ErrorKind::NotFound`] when there is none.
    fn len(&self, path: &Path) -> io::Result<u64>;

    /// The paths in a directory, in any order.
    ///
    /// # Errors
    /// Those of the file system.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;

    /// Makes a directory and those above it, which other users may not enter; it may be there.
    ///
    /// # Errors
    /// Those of the file system; [`io::ErrorKind::AlreadyExists`] when the path is something else.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Renames a file, over another if there is one.
    ///
    /// # Errors
    /// Those of the file system.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// Those of the file system.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in `dir` durable: files made, renamed and removed.
    ///
    /// # Errors
    /// Those of opening and syncing the directory.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// Makes the file `name` in `dir` hold `bytes`, durably: whatever fails, it holds all of them or what it held before.
///
/// # Errors
/// Those of the file system.
pub(super) fn replace(files: &dyn Files, dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let new_path = dir.join(format!("{name}.new"));
    let file = files.create(&new_path)?;
    file.write_at(bytes, 0)?;
    file.sync()?;
    files.rename(&new_path, &dir.join(name))?;
    files.sync_dir(dir)
}

/// What others may do in a directory that is made: nothing. Messages and the hashes of passwords are in there.
const DIR_MODE: u32 = 0o750;

/// The real file system.
#[derive(Clone, Copy, Debug)]
pub struct Disk;

impl Files for Disk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut options = fs::File::options();
        Ok(Box::new(options.read(true).write(true).create(true).truncate(true).open(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(fs::File::options().read(true).write(true).open(path)?))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path)?.len())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect()
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }
}

impl File for fs::File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        fs::File::set_len(self, length)
    }
}
