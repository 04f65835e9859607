//! The journal's files: their names and headers, and the few operations on them, behind a trait so that tests can let
//! them fail.
//!
//! A file is named by the journal position of its first byte. Its header counts as part of the journal, so a position
//! less the file's start is an offset in the file.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The bytes before the first record of a file.
pub const HEADER_BYTES: usize = 32;
const MAGIC: [u8; 8] = *b"WARRENJL";
/// The version of the files' layout.
pub const VERSION: u32 = 1;
const EXTENSION: &str = "journal";

/// The header of the file that starts at `start`.
pub fn header(start: u64) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[16..24].copy_from_slice(&start.to_le_bytes());
    let sum = crc32fast::hash(&header);
    header[12..16].copy_from_slice(&sum.to_le_bytes());
    header
}

/// Whether `bytes` begin as the file that starts at `start` must.
pub fn has_header(bytes: &[u8], start: u64) -> bool {
    bytes.starts_with(&header(start))
}

/// The version that an intact header names; `None` if it is not intact.
pub fn version(bytes: &[u8]) -> Option<u32> {
    let mut header: [u8; HEADER_BYTES] = *bytes.first_chunk()?;
    let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    header[12..16].fill(0);
    (header.starts_with(&MAGIC) && crc32fast::hash(&header) == word(12)).then(|| word(8))
}

/// The path of the file that starts at `start`.
pub fn path(dir: &Path, start: u64) -> PathBuf {
    dir.join(format!("{start:020}.{EXTENSION}"))
}

/// The journal's files in `dir`: start and path, ascending. Other files are passed over.
///
/// # Errors
/// Those of reading the directory.
pub fn list(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let is_ours = path.extension().is_some_and(|extension| extension == EXTENSION);
        let start = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        if let (true, Some(start)) = (is_ours, start) {
            files.push((start, path));
        }
    }
    files.sort();
    Ok(files)
}

/// Makes the names in `dir` durable.
///
/// # Errors
/// Those of opening and syncing the directory.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}

/// A journal file open for writing.
pub trait SegmentFile: Send {
    /// Writes all of `bytes` at `offset`; after an error any part of them may be there.
    ///
    /// # Errors
    /// Those of the write.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes what was written durable, with the file's length.
    ///
    /// # Errors
    /// Those of fdatasync; what was written since the last sync may then be lost for ever, also if a later one succeeds.
    fn sync(&self) -> io::Result<()>;
}

/// The file operations of the journal.
pub trait Files: Send + Sync + std::fmt::Debug {
    /// Makes the file, empty also if it was there, and makes its name durable.
    ///
    /// # Errors
    /// Those of the file system.
    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>>;

    /// Opens a file that is there.
    ///
    /// # Errors
    /// Those of the file system.
    fn open(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>>;

    /// Removes a file. That a crash may bring it back is harmless: nothing in it is alive.
    ///
    /// # Errors
    /// Those of the file system.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The real file system.
#[derive(Debug)]
pub struct Disk;

impl Files for Disk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        let file = fs::File::options().write(true).create(true).truncate(true).open(path)?;
        sync_dir(path.parent().unwrap_or(Path::new(".")))?;
        Ok(Box::new(file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        Ok(Box::new(fs::File::options().write(true).open(path)?))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

impl SegmentFile for fs::File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
