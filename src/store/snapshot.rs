//! Snapshots: the catalog's entries in checksummed files, for the day sled does not open.
//!
//! There are two, replaced atomically at a checkpoint: the definitions (only when they changed) and the live sets. Each
//! says which part of the journal it covers.

use super::Error;
use super::catalog::Mark;
use super::files::{self, Files};
use super::metadata::{Batch, Metadata};
use super::record::{read_varint, write_varint};
use std::path::Path;

const MAGIC: &[u8; 8] = b"WARRENSN";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 32;

/// A snapshot as it was read.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// What it covers.
    pub(super) mark: Mark,
    /// Its entries.
    pub(super) entries: Batch,
}

/// Replaces the snapshot `name` in `dir` by the entries of `metadata` whose key starts with `prefix`.
///
/// # Errors
/// Those of the file system and the metadata store; the old snapshot stays then.
pub(super) fn write(
    files: &dyn Files,
    dir: &Path,
    name: &str,
    mark: Mark,
    metadata: &dyn Metadata,
    prefix: &[u8],
) -> Result<(), Error> {
    let mut bytes = vec![0; HEADER_BYTES];
    metadata.visit(prefix, &mut |key, value| {
        for part in [key, value] {
            write_varint(&mut bytes, part.len() as u64);
            bytes.extend_from_slice(part);
        }
        Ok(())
    })?;
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[16..24].copy_from_slice(&mark.position.to_le_bytes());
    bytes[24..32].copy_from_slice(&mark.next_queue_id.to_le_bytes());
    let sum = crc32fast::hash(&bytes);
    bytes[12..16].copy_from_slice(&sum.to_le_bytes());
    files::replace(files, dir, name, &bytes).map_err(|error| Error::io(dir.join(name), error))
}

/// Reads the snapshot `name` in `dir`; `None` if there is none.
///
/// # Errors
/// [`Error::Damaged`] when it is not what was written, [`Error::Format`] for another version's.
pub(super) fn read(files: &dyn Files, dir: &Path, name: &str) -> Result<Option<Snapshot>, Error> {
    let path = dir.join(name);
    let mut bytes = match files.read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(path, error)),
    };
    let damaged = || Error::Damaged(format!("snapshot {}", path.display()));
    let header: [u8; HEADER_BYTES] = *bytes.first_chunk().ok_or_else(damaged)?;
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
    bytes[12..16].fill(0);
    if &header[..8] != MAGIC || crc32fast::hash(&bytes) != word(12) {
        return Err(damaged());
    }
    if word(8) != VERSION {
        return Err(Error::Format { found: word(8).to_string(), expected: VERSION.to_string(), path });
    }
    let mut entries = Batch::new();
    let mut rest = &bytes[HEADER_BYTES..];
    while !rest.is_empty() {
        let mut part = || {
            let length = usize::try_from(read_varint(&mut rest)?).ok()?;
            let (part, behind) = rest.split_at_checked(length)?;
            rest = behind;
            Some(part.to_vec())
        };
        let (key, value) = part().zip(part()).ok_or_else(damaged)?;
        entries.insert(key, Some(value));
    }
    let mark = Mark { position: long(16), next_queue_id: long(24), has_index: false };
    Ok(Some(Snapshot { mark, entries }))
}
