//! The fanout exchange: a message goes to every binding, whatever the keys. PURE.

use super::destinations::Bound;
use super::{ExchangeType, Matches, Publish, Router};
use crate::arguments::Table;
use crate::definition::Binding;

#[derive(Debug)]
pub(super) struct Fanout;

impl ExchangeType for Fanout {
    fn name(&self) -> &'static str {
        "fanout"
    }

    fn description(&self) -> &'static str {
        "Routes to all bindings"
    }

    fn new_router(&self, _arguments: &Table) -> Box<dyn Router> {
        Box::<FanoutRouter>::default()
    }
}

#[derive(Debug, Default)]
pub(super) struct FanoutRouter {
    bound: Bound,
}

impl Router for FanoutRouter {
    fn bind(&mut self, binding: &Binding) {
        self.bound.add(&binding.destination);
    }

    fn unbind(&mut self, binding: &Binding) {
        self.bound.remove(&binding.destination);
    }

    fn route<'r>(&'r self, _publish: &Publish<'_>, matches: &mut Matches<'r>) {
        matches.extend_with_new(self.bound.iter());
    }

    fn by_key_alone(&self) -> bool {
        true
    }
}
