//! Large records on their way to the disk: written beside the others in slices, so that nobody else waits for them.
//!
//! A large record has its place in the journal from the moment when it was appended. What stands behind it is written
//! meanwhile; a record that announces it stands before it, so that a start which finds it unfinished knows that this is no
//! damage. Its header is written last: it is no record before it is whole. The [`committer`](super::committer) decides
//! when a slice is written, and syncs.

use super::committer::Current;
use super::record::{self, HEADER_BYTES, Sealing};
use std::collections::VecDeque;
use std::io;

/// When nobody has waited for anything small for so many turns, slices double from turn to turn: each costs a sync. Fewer
/// would be no sign: a publisher that waits for each confirm is between two of them.
const CALM_TURNS: u32 = 4;
/// They do so up to so many times their size, as a power of two.
const DOUBLINGS_MAX: u32 = 3;

struct Large {
    position: u64,
    bytes: Vec<u8>,
    file: Current,
    sealing: Sealing,
    /// How much is written; the header comes last.
    written: usize,
    /// How much the checksum has; a write that was refused is done again.
    sealed: usize,
}

/// A piece that was to be written.
pub(super) struct Piece {
    pub(super) file: Current,
    pub(super) result: io::Result<()>,
}

/// The large records that are not yet all written, in the order of their positions.
pub(super) struct Larges {
    waiting: VecDeque<Large>,
    /// How much of large records is written in a turn: who waits for a small one may have to wait for that.
    slice_bytes: usize,
    /// For how many turns nobody has waited for anything small.
    calm_turns: u32,
    /// How much this turn may still write.
    left_bytes: usize,
    has_unsynced: bool,
}

impl Larges {
    pub(super) fn new(slice_bytes: usize) -> Self {
        Self { waiting: VecDeque::new(), slice_bytes, calm_turns: 0, left_bytes: 0, has_unsynced: false }
    }

    /// Takes the record `bytes`, unsealed, which is to stand in `file`.
    pub(super) fn push(&mut self, position: u64, bytes: Vec<u8>, file: Current) {
        let sealing = Sealing::new(&bytes, position);
        let (written, sealed) = (HEADER_BYTES, HEADER_BYTES);
        self.waiting.push_back(Large { position, bytes, file, sealing, written, sealed });
    }

    /// A turn begins, in which somebody waits for something small or nobody does.
    pub(super) fn begin_turn(&mut self, is_calm: bool) {
        self.calm_turns = if is_calm && !self.is_empty() { self.calm_turns + 1 } else { 0 };
        self.left_bytes = self.slice_bytes << self.calm_turns.saturating_sub(CALM_TURNS).min(DOUBLINGS_MAX);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether a slice was written since the last sync.
    pub(super) fn has_unsynced(&self) -> bool {
        self.has_unsynced
    }

    /// All slices written so far are durable.
    pub(super) fn note_synced(&mut self) {
        self.has_unsynced = false;
    }

    /// Where the first one is announced.
    pub(super) fn first(&self) -> Option<u64> {
        self.waiting.front().map(|large| large.position - record::large_bytes(large.bytes.len()) as u64)
    }

    pub(super) fn has_some_in(&self, start: u64) -> bool {
        self.waiting.iter().any(|large| large.file.start == start)
    }

    /// Writes the next piece of the first record, unless this turn has written enough.
    pub(super) fn write_piece(&mut self) -> Option<Piece> {
        let large = self.waiting.front_mut().filter(|_| self.left_bytes > 0)?;
        let before = large.written;
        let result = large.write_piece(self.left_bytes);
        self.left_bytes -= large.written - before;
        self.has_unsynced |= result.is_ok();
        let file = large.file.clone();
        if large.written == large.bytes.len() {
            self.waiting.pop_front();
        }
        Some(Piece { file, result })
    }
}

impl Large {
    fn write_piece(&mut self, bytes_max: usize) -> io::Result<()> {
        let end = self.bytes.len().min(self.written + bytes_max);
        if self.sealed < end {
            self.sealing.update(&self.bytes[self.sealed..end]);
            self.sealed = end;
        }
        let offset = self.position - self.file.start;
        self.file.file.write_at(&self.bytes[self.written..end], offset + self.written as u64)?;
        if end == self.bytes.len() {
            self.sealing.seal(&mut self.bytes[..HEADER_BYTES]);
            self.file.file.write_at(&self.bytes[..HEADER_BYTES], offset)?;
        }
        self.written = end;
        Ok(())
    }
}
