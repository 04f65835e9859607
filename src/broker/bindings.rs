//! The bindings of a vhost: found by their source and by their destination, and gone through in order.

use crate::definition::{Binding, Destination};
use crate::name::{BindingKey, ExchangeName};
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

/// What tells bindings of one source apart; the arguments as JSON, empty when there are none.
type BindingId = (Destination, BindingKey, String);

fn id(binding: &Binding) -> BindingId {
    let arguments = if binding.arguments.inner().is_empty() {
        String::new()
    } else {
        // A table always has a JSON form; were it not so, bindings would only be told apart less well.
        serde_json::to_string(&binding.arguments).unwrap_or_default()
    };
    (binding.destination.clone(), binding.key.clone(), arguments)
}

/// All bindings of a vhost but those of the default exchange, which follow from the queues.
///
/// They are in order of source, destination, key and arguments, so that long lists can be read a slice at a time: the next
/// slice goes on behind the last binding, whatever came and went in between.
#[derive(Debug, Default)]
pub struct Bindings {
    by_source: BTreeMap<ExchangeName, BTreeMap<BindingId, Arc<Binding>>>,
    by_destination: HashMap<Destination, BTreeMap<(ExchangeName, BindingId), Arc<Binding>>>,
}

impl Bindings {
    /// All.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Binding>> {
        self.by_source.values().flat_map(BTreeMap::values)
    }

    /// Those that leave an exchange.
    pub fn leaving(&self, source: &str) -> impl Iterator<Item = &Arc<Binding>> {
        self.by_source.get(source).into_iter().flat_map(BTreeMap::values)
    }

    /// How many leave an exchange.
    pub fn count_leaving(&self, source: &str) -> usize {
        self.by_source.get(source).map_or(0, BTreeMap::len)
    }

    /// Those that lead to a destination.
    pub fn leading_to(&self, destination: &Destination) -> impl Iterator<Item = &Arc<Binding>> {
        self.by_destination.get(destination).into_iter().flat_map(BTreeMap::values)
    }

    /// Whether this very binding is there.
    pub fn has(&self, binding: &Binding) -> bool {
        self.by_source.get(&binding.source).is_some_and(|bindings| bindings.contains_key(&id(binding)))
    }

    /// Those behind one, or all, in order.
    pub(super) fn after(&self, binding: Option<&Binding>) -> impl Iterator<Item = &Arc<Binding>> {
        let rest_of_source = binding.into_iter().flat_map(|binding| {
            let bindings = self.by_source.get(&binding.source).into_iter();
            bindings.flat_map(|bindings| bindings.range((Excluded(id(binding)), Unbounded)))
        });
        let start = binding.map_or(Unbounded, |binding| Excluded(&binding.source));
        let sources = self.by_source.range::<ExchangeName, _>((start, Unbounded));
        rest_of_source.chain(sources.flat_map(|(_, bindings)| bindings)).map(|(_, binding)| binding)
    }

    /// Of those that leave an exchange, those behind one, or all, in order.
    pub(super) fn leaving_after(
        &self,
        source: &ExchangeName,
        binding: Option<&Binding>,
    ) -> impl Iterator<Item = &Arc<Binding>> {
        let start = binding.map_or(Unbounded, |binding| Excluded(id(binding)));
        let bindings = self.by_source.get(source).into_iter();
        bindings
            .flat_map(move |bindings| bindings.range((start.clone(), Unbounded)))
            .map(|(_, binding)| binding)
    }

    /// Of those that lead to a destination, those behind one, or all, in order.
    pub(super) fn leading_to_after(
        &self,
        destination: &Destination,
        binding: Option<&Binding>,
    ) -> impl Iterator<Item = &Arc<Binding>> {
        let start = binding.map_or(Unbounded, |binding| Excluded((binding.source.clone(), id(binding))));
        let bindings = self.by_destination.get(destination).into_iter();
        bindings
            .flat_map(move |bindings| bindings.range((start.clone(), Unbounded)))
            .map(|(_, binding)| binding)
    }

    /// Adds one that is not there.
    pub(super) fn insert(&mut self, binding: Binding) {
        let (id, binding) = (id(&binding), Arc::new(binding));
        let source = binding.source.clone();
        self.by_source.entry(source.clone()).or_default().insert(id.clone(), Arc::clone(&binding));
        self.by_destination.entry(binding.destination.clone()).or_default().insert((source, id), binding);
    }

    /// Removes one; whether it was there.
    pub(super) fn remove(&mut self, binding: &Binding) -> bool {
        let id = id(binding);
        let Some(bindings) = self.by_source.get_mut(&binding.source) else { return false };
        if bindings.remove(&id).is_none() {
            return false;
        }
        if bindings.is_empty() {
            self.by_source.remove(&binding.source);
        }
        if let Some(bindings) = self.by_destination.get_mut(&binding.destination) {
            bindings.remove(&(binding.source.clone(), id));
            if bindings.is_empty() {
                self.by_destination.remove(&binding.destination);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(source: &str, queue: &str, key: &str) -> Binding {
        Binding {
            source: source.into(),
            destination: Destination::Queue(queue.into()),
            key: key.into(),
            arguments: Default::default(),
        }
    }

    fn told<'b>(bindings: impl Iterator<Item = &'b Arc<Binding>>) -> Vec<String> {
        bindings.map(|binding| format!("{} {}", binding.source, binding.key)).collect()
    }

    #[test]
    fn they_are_gone_through_in_order_from_any_place_even_from_one_that_is_gone() {
        let mut bindings = Bindings::default();
        for (source, queue, key) in [("b", "q", "2"), ("a", "q", "1"), ("b", "p", "3"), ("c", "q", "1")] {
            bindings.insert(binding(source, queue, key));
        }
        assert_eq!(told(bindings.after(None)), ["a 1", "b 3", "b 2", "c 1"]);
        assert_eq!(told(bindings.after(Some(&binding("b", "p", "3")))), ["b 2", "c 1"]);
        assert!(bindings.remove(&binding("b", "q", "2")));
        assert!(!bindings.remove(&binding("b", "q", "2")));
        assert_eq!(told(bindings.after(Some(&binding("b", "q", "2")))), ["c 1"]);
        let destination = Destination::Queue("q".into());
        assert_eq!(told(bindings.leading_to_after(&destination, None)), ["a 1", "c 1"]);
        assert_eq!(told(bindings.leading_to_after(&destination, Some(&binding("b", "q", "2")))), ["c 1"]);
        let (source, gone) = ("b".into(), binding("b", "a", "2"));
        assert_eq!(told(bindings.leaving_after(&source, Some(&gone))), ["b 3"]);
        assert_eq!((bindings.count_leaving("b"), bindings.has(&binding("b", "p", "3"))), (1, true));
    }
}
