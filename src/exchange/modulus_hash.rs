//! The modulus hash exchange: each message goes to one binding, the same for all messages of a routing key. PURE.
//!
//! It is the hash of the routing key modulo the number of bindings, so one binding more or less moves nearly all keys:
//! [`consistent_hash`](super::consistent_hash) moves few.

use super::hash::hash;
use super::ring::{Ring, Share};
use super::{ExchangeType, Matches, Publish, Router};
use crate::arguments::Table;
use crate::definition::Binding;

#[derive(Debug)]
pub(super) struct ModulusHash;

impl ExchangeType for ModulusHash {
    fn name(&self) -> &'static str {
        "x-modulus-hash"
    }

    fn description(&self) -> &'static str {
        "Routes to one binding, by the hash of the routing key modulo the number of bindings"
    }

    /// Else a restart would lead keys to other queues.
    fn keeps_order(&self) -> bool {
        true
    }

    fn new_router(&self, _arguments: &Table) -> Box<dyn Router> {
        Box::new(ModulusHashRouter(Ring::new(Share::OfEachBinding)))
    }
}

#[derive(Debug)]
struct ModulusHashRouter(Ring);

impl Router for ModulusHashRouter {
    fn bind(&mut self, binding: &Binding) {
        self.0.bind(binding, 1);
    }

    fn unbind(&mut self, binding: &Binding) {
        self.0.unbind(binding);
    }

    fn route<'r>(&'r self, publish: &Publish<'_>, matches: &mut Matches<'r>) {
        let bucket = hash(publish.routing_key).checked_rem(self.0.buckets());
        matches.extend_with_new(bucket.and_then(|bucket| self.0.destination(bucket)));
    }

    fn by_key_alone(&self) -> bool {
        true
    }
}
