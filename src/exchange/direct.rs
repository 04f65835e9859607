//! The direct exchange: a message goes to the bindings whose key is its routing key, byte for byte. PURE.

use super::destinations::Bound;
use super::{ExchangeType, Matches, Publish, Router};
use crate::arguments::Table;
use crate::definition::Binding;
use foldhash::HashMap;

#[derive(Debug)]
pub(super) struct Direct;

impl ExchangeType for Direct {
    fn name(&self) -> &'static str {
        "direct"
    }

    fn description(&self) -> &'static str {
        "Routes to the bindings whose key equals the routing key"
    }

    fn new_router(&self, _arguments: &Table) -> Box<dyn Router> {
        Box::<DirectRouter>::default()
    }
}

#[derive(Debug, Default)]
struct DirectRouter {
    keys: HashMap<Box<[u8]>, Bound>,
}

impl Router for DirectRouter {
    fn bind(&mut self, binding: &Binding) {
        self.keys.entry(binding.key.as_str().as_bytes().into()).or_default().add(&binding.destination);
    }

    fn unbind(&mut self, binding: &Binding) {
        let key = binding.key.as_str().as_bytes();
        let Some(bound) = self.keys.get_mut(key) else { return };
        bound.remove(&binding.destination);
        if bound.is_empty() {
            self.keys.remove(key);
        }
    }

    fn route<'r>(&'r self, publish: &Publish<'_>, matches: &mut Matches<'r>) {
        let found = |key| self.keys.get(key).into_iter().flat_map(Bound::iter);
        matches.extend_with_new(found(publish.routing_key));
        for key in publish.extra_keys {
            found(key).for_each(|destination| matches.insert(destination));
        }
    }

    fn by_key_alone(&self) -> bool {
        true
    }
}
