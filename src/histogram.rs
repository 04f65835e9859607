//! Histograms that many write and few read: a count for each bucket, and the sum of what was recorded.
//!
//! Recording is two additions without a lock. Bounds are given in the unit that is recorded; what they are called outside is the
//! reader's business. The count of all is not kept: it is the sum of the buckets, so that the two can never disagree.

use crate::time::Duration;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The most buckets a histogram has, beside the one for everything above the last bound.
pub const BOUNDS_MAX: usize = 20;

/// From a tenth of a millisecond to ten seconds, in microseconds: for what waits for the disk.
pub const LATENCY_BOUNDS_US: &[u64] = &[
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

/// From a millisecond to a day, in microseconds: for what waits for somebody to want it.
pub const RESIDENCE_BOUNDS_US: &[u64] = &[
    1_000,
    5_000,
    10_000,
    50_000,
    100_000,
    500_000,
    1_000_000,
    5_000_000,
    10_000_000,
    60_000_000,
    300_000_000,
    900_000_000,
    3_600_000_000,
    21_600_000_000,
    86_400_000_000,
];

/// From 100 bytes to 100 MB, RabbitMQ's bounds for message sizes.
pub const SIZE_BOUNDS: &[u64] =
    &[100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 50_000_000, 100_000_000];

/// A histogram.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// How many values are at most the bound and above the one before; the last is for what is above all bounds.
    counts: [AtomicU64; BOUNDS_MAX + 1],
    sum: AtomicU64,
}

/// What a histogram has at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The upper bounds of all buckets but the last, which has none. They ascend.
    pub bounds: &'static [u64],
    /// By bucket: how many values are in it alone. One more than bounds are in use.
    pub counts: [u64; BOUNDS_MAX + 1],
    /// The sum of all values.
    pub sum: u64,
}

impl Histogram {
    /// An empty one. At most [`BOUNDS_MAX`] ascending bounds.
    pub fn new(bounds: &'static [u64]) -> Self {
        debug_assert!(bounds.len() <= BOUNDS_MAX && bounds.is_sorted(), "few bounds that ascend");
        Self { bounds, counts: Default::default(), sum: AtomicU64::new(0) }
    }

    /// Records a value.
    pub fn record(&self, value: u64) {
        self.record_many(value, 1);
    }

    /// Records a time, for bounds in microseconds.
    pub fn record_time(&self, time: Duration) {
        self.record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// Records a value that came `count` times.
    pub fn record_many(&self, value: u64, count: u64) {
        let bucket = self.bounds.iter().position(|bound| value <= *bound).unwrap_or(self.bounds.len());
        self.sum.fetch_add(value.saturating_mul(count), Relaxed);
        self.counts[bucket].fetch_add(count, Relaxed);
    }

    /// What it has now.
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot { bounds: self.bounds, ..Snapshot::default() };
        snapshot.counts.iter_mut().zip(&self.counts).for_each(|(count, own)| *count = own.load(Relaxed));
        snapshot.sum = self.sum.load(Relaxed);
        snapshot
    }
}

impl Snapshot {
    /// How many values were recorded.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// For each bound how many values are at most as large, as Prometheus has buckets.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut sum = 0;
        self.bounds.iter().zip(&self.counts).map(move |(bound, count)| {
            sum += count;
            (*bound, sum)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        let histogram = Histogram::new(SIZE_BOUNDS);
        [0, 100, 101, 1_000, 99_999_999, 100_000_001].iter().for_each(|value| histogram.record(*value));
        histogram.record_many(5_000, 3);
        let snapshot = histogram.snapshot();
        let cumulative: Vec<u64> = snapshot.cumulative().map(|(_, count)| count).collect();
        assert_eq!(cumulative, [2, 4, 7, 7, 7, 7, 7, 8]);
        assert_eq!((snapshot.count(), snapshot.sum), (9, 1_201 + 200_000_000 + 15_000));
    }

    #[test]
    fn times_are_recorded_in_microseconds() {
        let histogram = Histogram::new(LATENCY_BOUNDS_US);
        histogram.record_time(Duration::from_micros(51));
        histogram.record_time(Duration::from_secs(11));
        let snapshot = histogram.snapshot();
        assert_eq!((snapshot.counts[1], snapshot.counts[LATENCY_BOUNDS_US.len()]), (1, 1));
        assert_eq!(snapshot.sum, 11_000_051);
    }
}
