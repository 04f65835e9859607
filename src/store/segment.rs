//! The journal's files: their names and headers. What is done with them is up to the committer and the replay.
//!
//! A file is named by the journal position of its first byte. Its header counts as part of the journal, so a position
//! less the file's start is an offset in the file.

use super::files::Files;
use std::io;
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
pub fn list(files: &dyn Files, dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut segments = Vec::new();
    for path in files.list(dir)? {
        let is_ours = path.extension().is_some_and(|extension| extension == EXTENSION);
        let start = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        if let (true, Some(start)) = (is_ours, start) {
            segments.push((start, path));
        }
    }
    segments.sort();
    Ok(segments)
}
