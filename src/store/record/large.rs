//! Large records: the one that announces a large record, and a checksum made piece by piece. PURE.

use super::{CHECKSUM_AT, Entry, HEADER_BYTES, Kind, begin, checksum_head, end, write_varint};

/// Appends a record, unsealed, that says how long the large record behind it is.
pub fn write_large(out: &mut Vec<u8>, record_bytes: u64) {
    let start = begin(out, Kind::Large);
    write_varint(out, record_bytes);
    end(out, start);
}

/// How long the record is that announces a large one of this length.
pub fn large_bytes(record_bytes: usize) -> usize {
    let mut announced = Vec::with_capacity(HEADER_BYTES + 10);
    write_large(&mut announced, record_bytes as u64);
    announced.len()
}

/// Where the record behind `at` ends, if the one before `at`, with these entries, has announced it.
pub(super) fn large_end(entries: &[Entry<'_>], at: usize) -> Option<usize> {
    match entries {
        [Entry::Large { record_bytes }] => at.checked_add(usize::try_from(*record_bytes).ok()?),
        _ => None,
    }
}

/// The checksum of a record that is written in pieces: its header comes last, so that it is none before.
#[derive(Debug)]
pub struct Sealing(crc32fast::Hasher);

impl Sealing {
    /// Of the record that `record` is, at `position`.
    pub fn new(record: &[u8], position: u64) -> Self {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&checksum_head(record, position));
        Self(hasher)
    }

    /// Takes the next piece of the payload.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// Fills in the checksum, after the whole payload.
    pub fn seal(&self, record: &mut [u8]) {
        let sum = self.0.clone().finalize();
        record[CHECKSUM_AT..HEADER_BYTES].copy_from_slice(&sum.to_le_bytes());
    }
}
