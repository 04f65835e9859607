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
    /// Bytes that are no record, to the end.
    Rest(Bad),
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
}

impl<'a> Scan<'a> {
    /// Through the file that starts at position `start`, from offset `at` on, where a record begins.
    pub fn new(bytes: &'a [u8], start: u64, at: usize) -> Self {
        Self { bytes, start, at: at.min(bytes.len()), announced: None }
    }

    /// Its header is written last: without one the record was on its way. With a wrong one it is damaged.
    fn unfinished_end(&self, announced: Option<usize>) -> Option<usize> {
        let header = self.bytes.get(self.at..self.at + HEADER_BYTES)?;
        announced.filter(|&end| end <= self.bytes.len() && header.iter().all(|&byte| byte == 0))
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
                None => match find(self.bytes, at + 1, self.start) {
                    Some(good) => (good, What::Damage(bad)),
                    None => (self.bytes.len(), What::Rest(bad)),
                },
            },
        };
        self.at = end;
        Some(Piece { at, end, what })
    }
}

#[cfg(test)]
mod tests;
