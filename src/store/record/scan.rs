//! The records of a journal file one after the other, and what stands between them. PURE.

use super::{Bad, Entry, HEADER_BYTES, find, large_end, read, total_length};
use smallvec::SmallVec;

/// What was found.
#[derive(Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "nearly all are records, and none is kept")]
pub enum What<'a> {
    /// A record; several entries for a transaction.
    Record(SmallVec<[Entry<'a>; 1]>),
    /// A record that is intact and cannot be understood.
    Unreadable(Bad),
    /// Room for a large record that was announced and is not there: a crash came while it was written, and what stands
    /// behind it was whole. No damage, and nobody was told that it is safe.
    Unfinished,
    /// Bytes that are no record, with one behind them.
    Damage(Bad),
    /// Bytes that are no record, to the end; or from where a write was torn in the last file.
    Rest(Bad),
    /// Zeros to the end. In the last file that is room prepared for records.
    Room(Bad),
}

/// A stretch of the file.
#[derive(Debug, PartialEq)]
pub struct Piece<'a> {
    /// The offset in the file where it begins.
    pub at: usize,
    /// The offset behind it.
    pub end: usize,
    /// What it is.
    pub what: What<'a>,
}

/// Goes through a file.
#[derive(Debug)]
pub struct Scan<'a> {
    bytes: &'a [u8],
    /// The position of the first byte.
    start: u64,
    at: usize,
    /// Where the record ends that the one before has announced.
    announced: Option<usize>,
    is_last: bool,
}

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

impl<'a> Scan<'a> {
    /// Through the file that starts at position `start`, from offset `at` on, where a record begins.
    pub fn new(bytes: &'a [u8], start: u64, at: usize) -> Self {
        Self { bytes, start, at: at.min(bytes.len()), announced: None, is_last: false }
    }

    /// Whether it is the file that was being written when the broker ended.
    ///
    /// In that a power cut may have torn a write: of its sectors the disk took some, where zeros had been prepared, and not
    /// one before them. Then all behind the gap goes with it, or what depends on what is missing would count (a transaction
    /// that moves a message on, without the one that brought it). Unless a record behind says that the gap had been synced:
    /// then it is damage, and what is behind it was confirmed.
    #[must_use]
    pub fn of_last_file(self, is_last: bool) -> Self {
        Self { is_last, ..self }
    }

    /// Its header is written last: without one the record was on its way. With a wrong one it is damaged.
    fn unfinished_end(&self, announced: Option<usize>) -> Option<usize> {
        announced.filter(|&end| end <= self.bytes.len() && self.has_no_header())
    }

    /// Whether zeros stand where the header of a record should.
    fn has_no_header(&self) -> bool {
        let header = self.bytes.get(self.at..self.at + HEADER_BYTES);
        header.is_some_and(|header| header.iter().all(|&byte| byte == 0))
    }

    /// Whether what stands from here to the record at `good` was never written: a sector of zeros is in it, or the rest
    /// of one, and nothing behind says that it had been synced.
    fn is_torn(&self, good: usize) -> bool {
        let first = self.at.next_multiple_of(SECTOR_BYTES).max(self.at + 1);
        let rest = std::iter::once(&self.bytes[self.at..first.min(good)]);
        let sectors = self.bytes[first.min(good)..good].chunks_exact(SECTOR_BYTES);
        let mut parts = rest.chain(sectors);
        parts.any(|part| part.iter().all(|&byte| byte == 0)) && self.synced_behind(good) <= self.at
    }

    /// The offset before which everything had been synced when the newest record from `good` on was written that says so.
    fn synced_behind(&self, good: usize) -> usize {
        let behind = Scan { at: good, announced: None, is_last: false, ..*self };
        let synced = behind.filter_map(|piece| match piece.what {
            What::Record(entries) => match entries[..] {
                [Entry::Synced(position)] => Some(position.0),
                _ => None,
            },
            _ => None,
        });
        let position = synced.max().unwrap_or(0);
        usize::try_from(position.saturating_sub(self.start)).unwrap_or(usize::MAX)
    }

    /// What begins here and is no record: its end, and what it is.
    fn no_record(&self, bad: Bad, is_announced: bool) -> (usize, What<'a>) {
        if !is_announced && self.bytes[self.at..].iter().all(|&byte| byte == 0) {
            return (self.bytes.len(), What::Room(bad));
        }
        match find(self.bytes, self.at + 1, self.start) {
            Some(good) if self.is_last && self.is_torn(good) => (self.bytes.len(), What::Rest(bad)),
            Some(good) => (good, What::Damage(bad)),
            None => (self.bytes.len(), What::Rest(bad)),
        }
    }
}

impl<'a> Iterator for Scan<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let at = self.at;
        if at >= self.bytes.len() {
            return None;
        }
        let announced = self.announced.take();
        let (end, what) = match read(&self.bytes[at..], self.start + at as u64) {
            Ok((entries, length)) => {
                self.announced = large_end(&entries, at + length);
                (at + length, What::Record(entries))
            }
            Err(bad @ (Bad::Payload | Bad::Unknown { .. })) => {
                (at + total_length(&self.bytes[at..]), What::Unreadable(bad))
            }
            Err(bad) => match self.unfinished_end(announced) {
                Some(end) => (end, What::Unfinished),
                None => self.no_record(bad, announced.is_some()),
            },
        };
        self.at = end;
        Some(Piece { at, end, what })
    }
}

#[cfg(test)]
mod tests;
