//! A ring of buckets: the bindings of an exchange in the order in which they were made, each with as many buckets as it
//! has weight, numbered from 0. For types that choose one binding by a number. PURE.
//!
//! The number of a bucket is found in logarithmic time, and so does a binding come and go: where it goes, the buckets
//! behind its own move down, as in RabbitMQ. The order is the same whatever was there meanwhile, so a ring made anew of
//! the bindings that are left is the same ring.

use crate::definition::{Binding, Destination};
use foldhash::HashMap;
use smallvec::SmallVec;

/// What a destination gets that several bindings lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    /// The buckets of each of them.
    OfEachBinding,
    /// Those of the first one.
    OfTheFirst,
}

/// Bindings with their buckets.
#[derive(Debug)]
pub(super) struct Ring {
    share: Share,
    /// The bindings with their weights, in order. One that is gone leaves its slot empty until many are.
    slots: Vec<Option<(Binding, u64)>>,
    /// A binary indexed tree over the slots: each number is the buckets of 1, 2, 4 … slots up to its own.
    sums: Vec<u64>,
    /// The slots of each destination, in order.
    slots_of: HashMap<Destination, SmallVec<[usize; 1]>>,
    buckets: u64,
    empty_slots: usize,
}

impl Ring {
    pub(super) fn new(share: Share) -> Self {
        let (slots, sums, slots_of) = Default::default();
        Self { share, slots, sums, slots_of, buckets: 0, empty_slots: 0 }
    }

    /// How many buckets there are.
    pub(super) fn buckets(&self) -> u64 {
        self.buckets
    }

    /// Where a bucket leads.
    pub(super) fn destination(&self, bucket: u64) -> Option<&Destination> {
        let (mut slot, mut left) = (0, bucket);
        let mut step = self.sums.len().checked_ilog2().map_or(0, |exponent| 1 << exponent);
        while step > 0 {
            if let Some(sum) = self.sums.get(slot + step - 1).filter(|sum| **sum <= left) {
                left -= sum;
                slot += step;
            }
            step /= 2;
        }
        let (binding, _) = self.slots.get(slot)?.as_ref()?;
        Some(&binding.destination)
    }

    /// Adds a binding that is not there, behind the others.
    pub(super) fn bind(&mut self, binding: &Binding, weight: u64) {
        let slot = self.slots.len();
        let slots = self.slots_of.entry(binding.destination.clone()).or_default();
        slots.push(slot);
        let counts = slots.len() == 1 || self.share == Share::OfEachBinding;
        self.slots.push(Some((binding.clone(), weight)));
        // The sum of a new slot covers those of slots right before it.
        let (mut sum, mut covered) = (0, 1);
        while (slot + 1) & covered == 0 {
            sum += self.sums[slot - covered];
            covered *= 2;
        }
        self.sums.push(sum);
        if counts {
            self.add(slot, weight);
        }
    }

    /// Removes a binding; without it, nothing changes.
    pub(super) fn unbind(&mut self, binding: &Binding) {
        let Some(slots) = self.slots_of.get_mut(&binding.destination) else { return };
        let is_it = |slot: &usize| self.slots[*slot].as_ref().is_some_and(|(other, _)| other == binding);
        let Some(at) = slots.iter().position(is_it) else { return };
        let slot = slots.remove(at);
        let next = slots.first().copied();
        if next.is_none() {
            self.slots_of.remove(&binding.destination);
        }
        let weight_in =
            |slots: &[Option<(Binding, u64)>], slot: usize| slots[slot].as_ref().map_or(0, |(_, w)| *w);
        match (self.share, at, next) {
            (Share::OfEachBinding, ..) | (Share::OfTheFirst, 0, None) => {
                self.subtract(slot, weight_in(&self.slots, slot));
            }
            (Share::OfTheFirst, 0, Some(next)) => {
                self.subtract(slot, weight_in(&self.slots, slot));
                self.add(next, weight_in(&self.slots, next));
            }
            (Share::OfTheFirst, ..) => {}
        }
        self.slots[slot] = None;
        self.empty_slots += 1;
        if self.empty_slots > self.slots.len() / 2 {
            self.close_gaps();
        }
    }

    fn add(&mut self, slot: usize, weight: u64) {
        self.buckets += weight;
        self.each_sum(slot, |sum| *sum += weight);
    }

    fn subtract(&mut self, slot: usize, weight: u64) {
        self.buckets -= weight;
        self.each_sum(slot, |sum| *sum -= weight);
    }

    /// Changes the sums that cover a slot.
    fn each_sum(&mut self, slot: usize, change: impl Fn(&mut u64)) {
        let mut number = slot + 1;
        while let Some(sum) = self.sums.get_mut(number - 1) {
            change(sum);
            number += number & number.wrapping_neg();
        }
    }

    fn close_gaps(&mut self) {
        let before = std::mem::replace(self, Self::new(self.share));
        before.slots.iter().flatten().for_each(|(binding, weight)| self.bind(binding, *weight));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Table;
    use proptest::prelude::*;

    fn binding(queue: u8, key: u8) -> Binding {
        Binding {
            source: "x".into(),
            destination: Destination::Queue(queue.to_string().as_str().into()),
            key: key.to_string().as_str().into(),
            arguments: Table::default(),
        }
    }

    fn buckets(ring: &Ring) -> Vec<Destination> {
        assert_eq!(ring.destination(ring.buckets()), None);
        (0..ring.buckets()).map(|bucket| ring.destination(bucket).unwrap().clone()).collect()
    }

    /// The buckets of a list of bindings, as the definition says it.
    fn expected(share: Share, bindings: &[(Binding, u64)]) -> Vec<Destination> {
        let counts = |at: usize| {
            let is_same = |(other, _): &(Binding, u64)| other.destination == bindings[at].0.destination;
            share == Share::OfEachBinding || !bindings[..at].iter().any(is_same)
        };
        let counting = (0..bindings.len()).filter(|at| counts(*at)).map(|at| &bindings[at]);
        counting.flat_map(|(binding, weight)| vec![binding.destination.clone(); *weight as usize]).collect()
    }

    #[test]
    fn a_destination_has_the_buckets_of_its_first_binding_until_that_goes() {
        let mut ring = Ring::new(Share::OfTheFirst);
        let shown = |ring: &Ring| -> String {
            buckets(ring)
                .iter()
                .map(|destination| match destination {
                    Destination::Queue(name) => name.to_string(),
                    Destination::Exchange(_) => "?".into(),
                })
                .collect()
        };
        ring.bind(&binding(1, 1), 2);
        ring.bind(&binding(2, 1), 1);
        ring.bind(&binding(1, 2), 3);
        assert_eq!(shown(&ring), "112");
        ring.unbind(&binding(1, 1));
        ring.unbind(&binding(1, 1));
        assert_eq!(shown(&ring), "2111");
        ring.unbind(&binding(1, 2));
        assert_eq!(shown(&ring), "2");
        ring.unbind(&binding(2, 1));
        assert_eq!(shown(&ring), "");
    }

    proptest! {
        #[test]
        fn a_ring_is_its_bindings_in_order_whatever_came_and_went(
            share in prop_oneof![Just(Share::OfEachBinding), Just(Share::OfTheFirst)],
            steps in proptest::collection::vec((0u8..6, 0u8..3, 0u64..5, any::<bool>()), 0..60),
        ) {
            let mut ring = Ring::new(share);
            let mut bindings: Vec<(Binding, u64)> = Vec::new();
            for (queue, key, weight, unbinds) in steps {
                let one = binding(queue, key);
                let at = bindings.iter().position(|(other, _)| *other == one);
                match at {
                    Some(at) if unbinds => {
                        bindings.remove(at);
                        ring.unbind(&one);
                    }
                    None if !unbinds => {
                        bindings.push((one.clone(), weight));
                        ring.bind(&one, weight);
                    }
                    None => ring.unbind(&one),
                    Some(_) => {}
                }
                prop_assert_eq!(buckets(&ring), expected(share, &bindings));
            }
        }
    }
}
