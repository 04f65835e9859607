//! How many references to living messages each journal file has, and so which files may go. PURE.
//!
//! A reference is a message in a queue. A file may go once it has none, everything in it is older than the last durable
//! checkpoint (which holds the effect of its settles), and a younger file exists. A file with few is sparse: its messages
//! are moved forward ([`References::forget`] for the old positions, [`References::add`] for the new), and it may go, too.

use std::collections::{HashSet, VecDeque};

#[derive(Debug, PartialEq, Eq)]
struct File {
    start: u64,
    /// The first position behind it; `u64::MAX` for the file that is being written.
    end: u64,
    live: u64,
    /// The bytes of their records, about: a record that several queues hold counts for each.
    live_bytes: u64,
}

/// The journal's files, oldest first; the last is being written.
#[derive(Debug)]
pub(super) struct References {
    files: VecDeque<File>,
    /// Where the last position was found: neighbours are settled together.
    hint: usize,
    checkpoint: u64,
    total: u64,
}

impl References {
    /// The files that start at `starts` (ascending, not empty), without references; the newest is being written.
    pub(super) fn new(starts: &[u64], checkpoint: u64) -> Self {
        let ends = starts.iter().skip(1).copied().chain([u64::MAX]);
        let files = starts
            .iter()
            .zip(ends)
            .map(|(&start, end)| File { start, end, live: 0, live_bytes: 0 })
            .collect();
        Self { files, hint: 0, checkpoint, total: 0 }
    }

    /// Begins a new file.
    pub(super) fn roll(&mut self, start: u64) {
        if let Some(last) = self.files.back_mut() {
            last.end = start;
        }
        self.files.push_back(File { start, end: u64::MAX, live: 0, live_bytes: 0 });
    }

    /// Where the files start.
    pub(super) fn starts(&self) -> Vec<u64> {
        self.files.iter().map(|file| file.start).collect()
    }

    /// The start of the file that is being written.
    pub(super) fn current_start(&self) -> u64 {
        self.files.back().map_or(0, |file| file.start)
    }

    /// How many files there are.
    pub(super) fn file_count(&self) -> usize {
        self.files.len()
    }

    /// The references of all files.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Counts `count` references to the message at `position`, whose record has `record_bytes`.
    pub(super) fn add(&mut self, position: u64, count: u64, record_bytes: u32) {
        if let Some(file) = self.find(position) {
            file.live += count;
            file.live_bytes += count * u64::from(record_bytes);
            self.total += count;
        }
    }

    /// Forgets one reference to the message at `position`; true if its file may have become free.
    pub(super) fn forget(&mut self, position: u64, record_bytes: u32) -> bool {
        let checkpoint = self.checkpoint;
        let Some(file) = self.find(position) else {
            debug_assert!(false, "settled at {position}, where no file is");
            return false;
        };
        debug_assert!(file.live > 0, "settled twice at {position}");
        let forgotten = u64::from(file.live > 0);
        file.live -= forgotten;
        file.live_bytes = file.live_bytes.saturating_sub(record_bytes.into());
        let is_free = file.live == 0 && file.end <= checkpoint;
        self.total -= forgotten;
        is_free
    }

    fn find(&mut self, position: u64) -> Option<&mut File> {
        let is_in = |file: &File| file.start <= position && position < file.end;
        if !self.files.get(self.hint).is_some_and(is_in) {
            // The newest file is the likeliest: most messages are settled soon.
            let newest = self.files.len() - 1;
            self.hint = match self.files.get(newest).is_some_and(is_in) {
                true => newest,
                false => self.files.partition_point(|file| file.end <= position),
            };
        }
        self.files.get_mut(self.hint).filter(|file| is_in(file))
    }

    /// Everything before `checkpoint` is in a durable checkpoint.
    pub(super) fn set_checkpoint(&mut self, checkpoint: u64) {
        self.checkpoint = self.checkpoint.max(checkpoint);
    }

    /// Where the file that holds the position begins and ends; the end of the one that is being written is `u64::MAX`.
    pub(super) fn bounds(&mut self, position: u64) -> Option<(u64, u64)> {
        self.find(position).map(|file| (file.start, file.end))
    }

    /// The sparsest file, if its living records are less than this part of it (in percent). Those that are being written,
    /// are not in a checkpoint or in `passed_over` are left alone.
    pub(super) fn sparsest(&self, percent: u64, passed_over: &HashSet<u64>) -> Option<(u64, u64)> {
        let covered = self.files.iter().filter(|file| file.live > 0 && file.end <= self.checkpoint);
        let covered = covered.filter(|file| !passed_over.contains(&file.start));
        let part = |file: &&File| file.live_bytes * 100 / (file.end - file.start).max(1);
        let sparsest = covered.min_by_key(part).filter(|file| part(file) < percent);
        sparsest.map(|file| (file.start, file.end))
    }

    /// Takes the files that may go out of the table and returns their starts.
    pub(super) fn take_free(&mut self) -> Vec<u64> {
        let mut free = Vec::new();
        self.files.retain(|file| {
            let is_free = file.live == 0 && file.end <= self.checkpoint;
            if is_free {
                free.push(file.start);
            }
            !is_free
        });
        self.hint = 0;
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_goes_when_it_is_empty_and_behind_the_checkpoint_and_not_the_last() {
        let mut references = References::new(&[0, 100], 0);
        references.roll(200);
        references.add(40, 2, 10);
        references.add(150, 1, 10);
        assert!(!references.forget(40, 10) && !references.forget(40, 10), "no checkpoint yet");
        assert!(references.take_free().is_empty());
        references.set_checkpoint(200);
        assert_eq!(references.take_free(), [0]);
        assert!(references.forget(150, 10));
        assert_eq!(references.take_free(), [100]);
        references.set_checkpoint(1_000);
        assert_eq!((references.take_free(), references.file_count(), references.total()), (vec![], 1, 0));
    }

    #[test]
    fn the_sparsest_file_is_found_once_it_is_sparse_enough_and_covered() {
        let mut references = References::new(&[0, 100, 200, 300], 200);
        references.add(10, 1, 40);
        references.add(110, 1, 10);
        references.add(210, 1, 1);
        assert_eq!(references.sparsest(25, &HashSet::new()), Some((100, 200)));
        assert_eq!(references.sparsest(10, &HashSet::new()), None);
        references.set_checkpoint(300);
        assert_eq!(references.sparsest(25, &HashSet::new()), Some((200, 300)));
        assert_eq!(
            (references.bounds(199), references.bounds(300)),
            (Some((100, 200)), Some((300, u64::MAX)))
        );
    }
}
