//! A set of sequences as sorted ranges, in memory and as bytes. PURE.

use crate::name::Sequence;

/// A set of sequences, kept as sorted ranges that do not touch.
///
/// Made by collecting: sequences may come in any order and more than once, ascending ones cost nothing extra.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(Vec<(u64, u64)>);

impl FromIterator<Sequence> for Ranges {
    fn from_iter<I: IntoIterator<Item = Sequence>>(sequences: I) -> Self {
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        let mut is_sorted = true;
        for Sequence(sequence) in sequences {
            match ranges.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(sequence) => *last = sequence,
                Some((_, last)) if *last == sequence => {}
                previous => {
                    is_sorted &= previous.is_none_or(|(_, last)| *last < sequence);
                    ranges.push((sequence, sequence));
                }
            }
        }
        if is_sorted { Self(ranges) } else { Self(normalize(ranges)) }
    }
}

fn normalize(mut ranges: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            _ => merged.push((first, last)),
        }
    }
    merged
}

impl Ranges {
    /// The set of all sequences in the ranges, each named by its first and last; they come in any order and may touch.
    pub fn of(ranges: impl IntoIterator<Item = (Sequence, Sequence)>) -> Self {
        Self(normalize(ranges.into_iter().map(|(first, last)| (first.0, last.0)).collect()))
    }

    /// Whether `sequence` is in the set.
    pub fn contains(&self, sequence: Sequence) -> bool {
        let index = self.0.partition_point(|&(_, last)| last < sequence.0);
        self.0.get(index).is_some_and(|&(first, _)| first <= sequence.0)
    }

    /// Whether nothing is in the set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many sequences are in the set.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|&(first, last)| last - first + 1).sum()
    }

    /// The ranges, first and last sequence of each, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (Sequence, Sequence)> + '_ {
        self.0.iter().map(|&(first, last)| (Sequence(first), Sequence(last)))
    }

    /// Writes the set: for each range the distance from the range before and the length less one, as varints.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut end = 0;
        for &(first, last) in &self.0 {
            super::record::write_varint(out, first - end);
            super::record::write_varint(out, last - first);
            end = last;
        }
    }

    /// Reads what [`Ranges::write`] wrote; `None` if it is not that.
    pub fn read(mut bytes: &[u8]) -> Option<Self> {
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        let mut end = 0u64;
        while !bytes.is_empty() {
            let first = end.checked_add(super::record::read_varint(&mut bytes)?)?;
            let last = first.checked_add(super::record::read_varint(&mut bytes)?)?;
            if ranges.last().is_some_and(|&(_, before)| first <= before) {
                return None;
            }
            ranges.push((first, last));
            end = last;
        }
        Some(Self(ranges))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_set_holds_what_was_collected_and_comes_back_from_bytes(sequences in proptest::collection::vec(0u64..200, 0..100)) {
            let ranges: Ranges = sequences.iter().map(|&s| Sequence(s)).collect();
            let model: BTreeSet<u64> = sequences.into_iter().collect();
            for sequence in 0..201 {
                prop_assert_eq!(ranges.contains(Sequence(sequence)), model.contains(&sequence));
            }
            prop_assert_eq!(ranges.count(), model.len() as u64);
            let mut bytes = Vec::new();
            ranges.write(&mut bytes);
            prop_assert_eq!(Ranges::read(&bytes), Some(ranges));
        }

        #[test]
        fn bytes_that_are_no_set_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Some(ranges) = Ranges::read(&bytes) {
                let mut again = Vec::new();
                ranges.write(&mut again);
                prop_assert_eq!(Ranges::read(&again), Some(ranges));
            }
        }
    }

    #[test]
    fn a_contiguous_backlog_is_one_range() {
        let ranges: Ranges = (5..1_000_005).map(Sequence).collect();
        let mut bytes = Vec::new();
        ranges.write(&mut bytes);
        assert_eq!((ranges.count(), bytes.len()), (1_000_000, 4));
    }
}
