//! The random exchange: each message goes to one binding, chosen by chance, whatever the keys. PURE.

use super::hash::mix;
use super::ring::{Ring, Share};
use super::{ExchangeType, Matches, Publish, Router};
use crate::arguments::Table;
use crate::definition::Binding;

/// The number behind `last` in a sequence that looks like chance. Where it begins, chance itself must say.
pub fn next_random(last: u64) -> u64 {
    mix(last.wrapping_add(0x9e37_79b9_7f4a_7c15))
}

#[derive(Debug)]
pub(super) struct Random;

impl ExchangeType for Random {
    fn name(&self) -> &'static str {
        "x-random"
    }

    fn description(&self) -> &'static str {
        "Routes to one binding, by chance"
    }

    fn new_router(&self, _arguments: &Table) -> Box<dyn Router> {
        Box::<RandomRouter>::default()
    }
}

/// Chooses one of its bindings. A queue with two bindings is chosen twice as often, as in RabbitMQ.
#[derive(Debug)]
pub(super) struct RandomRouter(Ring);

impl Default for RandomRouter {
    fn default() -> Self {
        Self(Ring::new(Share::OfEachBinding))
    }
}

impl Router for RandomRouter {
    fn bind(&mut self, binding: &Binding) {
        self.0.bind(binding, 1);
    }

    fn unbind(&mut self, binding: &Binding) {
        self.0.unbind(binding);
    }

    fn route<'r>(&'r self, publish: &Publish<'_>, matches: &mut Matches<'r>) {
        // As large a part of the bindings as the number is of all numbers.
        let bucket = (u128::from(publish.draw()) * u128::from(self.0.buckets())) >> 64;
        matches.extend_with_new(self.0.destination(bucket as u64));
    }

    fn by_key_alone(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::Destination;
    use crate::message::Properties;
    use std::collections::BTreeMap;

    #[test]
    fn each_binding_gets_its_part_of_the_messages() {
        let mut router = RandomRouter::default();
        let found = |router: &RandomRouter, random: u64| -> Vec<Destination> {
            let (properties, mut matches) = (Properties::default(), Matches::default());
            router.route(&Publish::new(b"k", &[], &properties).with_random(random), &mut matches);
            matches.iter().map(|destination| (*destination).clone()).collect()
        };
        assert_eq!(found(&router, 7), []);
        for (queue, key) in [("a", ""), ("b", ""), ("b", "again"), ("c", "")] {
            let destination = Destination::Queue(queue.into());
            router.bind(&Binding {
                source: "x".into(),
                destination,
                key: key.into(),
                arguments: Table::default(),
            });
        }
        let (mut random, mut counts) = (1, BTreeMap::new());
        for _ in 0..40_000 {
            random = next_random(random);
            let found = found(&router, random);
            assert_eq!(found.len(), 1);
            *counts.entry(found[0].clone()).or_insert(0) += 1;
        }
        let counts: Vec<i32> = counts.into_values().collect();
        let differences: Vec<i32> = counts.iter().zip([10_000, 20_000, 10_000]).map(|(l, r)| l - r).collect();
        // Five standard deviations.
        assert!(differences.iter().all(|difference| difference.abs() < 500), "{counts:?}");
    }
}
