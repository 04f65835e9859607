//! What messages are, added up. PURE.

use crate::store::index::{Counts, IndexEntry};
use std::ops::{Add, SubAssign};

/// Sums over messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Bytes of their bodies.
    pub bytes: u64,
    /// How many of them a restart brings back.
    pub durable: u64,
    /// Bytes of the bodies of those.
    pub durable_bytes: u64,
}

impl Tally {
    /// Of one message.
    #[inline]
    fn of(entry: &IndexEntry) -> Self {
        let (bytes, durable) = (u64::from(entry.body_bytes), u64::from(entry.is_durable));
        Self { bytes, durable, durable_bytes: durable * bytes }
    }

    #[inline]
    pub(super) fn add(&mut self, entry: &IndexEntry) {
        *self = *self + Self::of(entry);
    }

    #[inline]
    pub(super) fn remove(&mut self, entry: &IndexEntry) {
        *self -= Self::of(entry);
    }

    /// The same, of one that may not have been counted.
    pub(super) fn remove_if_there(&mut self, entry: &IndexEntry) {
        let one = Self::of(entry);
        self.bytes = self.bytes.saturating_sub(one.bytes);
        self.durable = self.durable.saturating_sub(one.durable);
        self.durable_bytes = self.durable_bytes.saturating_sub(one.durable_bytes);
    }
}

impl From<Counts> for Tally {
    fn from(counts: Counts) -> Self {
        Self { bytes: counts.all_bytes, durable: counts.durable.into(), durable_bytes: counts.durable_bytes }
    }
}

impl Add for Tally {
    type Output = Self;

    #[inline]
    fn add(self, other: Self) -> Self {
        Self {
            bytes: self.bytes + other.bytes,
            durable: self.durable + other.durable,
            durable_bytes: self.durable_bytes + other.durable_bytes,
        }
    }
}

impl SubAssign for Tally {
    #[inline]
    fn sub_assign(&mut self, other: Self) {
        self.bytes -= other.bytes;
        self.durable -= other.durable;
        self.durable_bytes -= other.durable_bytes;
    }
}
