//! Sets of destinations: [`Bound`], what bindings keep, and [`Matches`], what one message found. PURE.

use crate::definition::Destination;
use foldhash::{HashSet, HashSetExt};
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::hash::Hash;

/// Destinations with the number of bindings that lead to each. Almost always it is one.
#[derive(Debug, Default)]
pub(super) enum Bound {
    #[default]
    Nothing,
    One(Destination, u32),
    Many(BTreeMap<Destination, u32>),
}

impl Bound {
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Bound::Nothing)
    }

    /// Counts one more binding to `destination`.
    pub(super) fn add(&mut self, destination: &Destination) {
        match self {
            Bound::Nothing => *self = Bound::One(destination.clone(), 1),
            Bound::One(only, count) if only == destination => *count += 1,
            Bound::One(only, count) => {
                *self = Bound::Many(BTreeMap::from([(only.clone(), *count), (destination.clone(), 1)]));
            }
            Bound::Many(counts) => *counts.entry(destination.clone()).or_insert(0) += 1,
        }
    }

    /// Counts one binding to `destination` less; without one, nothing changes.
    pub(super) fn remove(&mut self, destination: &Destination) {
        match self {
            Bound::One(only, count) if only == destination => {
                *count -= 1;
                if *count == 0 {
                    *self = Bound::Nothing;
                }
            }
            Bound::Nothing | Bound::One(..) => {}
            Bound::Many(counts) => {
                let Some(count) = counts.get_mut(destination) else { return };
                *count -= 1;
                if *count == 0 {
                    counts.remove(destination);
                }
                if counts.is_empty() {
                    *self = Bound::Nothing;
                }
            }
        }
    }

    /// Each destination once, in a stable order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Destination> {
        let (one, many) = match self {
            Bound::Nothing => (None, None),
            Bound::One(only, _) => (Some(only), None),
            Bound::Many(counts) => (None, Some(counts.keys())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

/// The destinations one message found in one exchange, each once, in the order in which they were found.
pub type Matches<'r> = Distinct<&'r Destination>;

/// Up to this many values a scan finds a repeated one faster than a hash does.
const SCAN_MAX: usize = 16;

/// A list in which each value stands once, in the order of arrival. Short ones live without an allocation.
#[derive(Debug)]
pub struct Distinct<T: Copy> {
    items: SmallVec<[T; 8]>,
    /// The values of `items`, completed when [`Distinct::insert`] needs it.
    seen: HashSet<T>,
}

impl<T: Copy + Eq + Hash> Distinct<T> {
    /// Adds `value` unless it is there.
    pub fn insert(&mut self, value: T) {
        if self.items.len() <= SCAN_MAX {
            if !self.items.contains(&value) {
                self.items.push(value);
            }
            return;
        }
        let known = self.seen.len();
        self.seen.extend(&self.items[known..]);
        if self.seen.insert(value) {
            self.items.push(value);
        }
    }

    /// Adds values of which the caller knows that they differ from one another and from all that is there.
    pub fn extend_with_new(&mut self, values: impl IntoIterator<Item = T>) {
        self.items.extend(values);
    }

    /// Removes all values.
    pub fn clear(&mut self) {
        self.items.clear();
        self.seen.clear();
    }
}

impl<T: Copy> Default for Distinct<T> {
    fn default() -> Self {
        Self { items: SmallVec::new(), seen: HashSet::new() }
    }
}

impl<T: Copy> std::ops::Deref for Distinct<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_stays_until_its_last_binding_goes() {
        let (a, b) = (Destination::Queue("a".into()), Destination::Queue("b".into()));
        let mut bound = Bound::default();
        [&b, &a, &b].into_iter().for_each(|destination| bound.add(destination));
        bound.remove(&b);
        assert_eq!(bound.iter().collect::<Vec<_>>(), [&a, &b]);
        bound.remove(&b);
        bound.remove(&b);
        assert_eq!(bound.iter().collect::<Vec<_>>(), [&a]);
        bound.remove(&a);
        assert!(bound.is_empty());
    }

    #[test]
    fn a_distinct_list_keeps_the_first_of_each_value_also_when_it_is_long() {
        let mut distinct = Distinct::default();
        distinct.extend_with_new(0..10);
        (0..1000).rev().for_each(|n| distinct.insert(n % 100));
        let expected: Vec<i32> = (0..10).chain((10..100).rev()).collect();
        assert_eq!(&distinct[..], expected);
    }
}
