//! The local random exchange: each message goes to one queue, chosen by chance among those of the node it was published
//! to. PURE.
//!
//! There is one node, so every queue is local; what differs from the random exchange is what may be bound.

use super::random::RandomRouter;
use super::{Error, ExchangeType, Router};
use crate::arguments::Table;
use crate::definition::{self, Binding, Destination};

#[derive(Debug)]
pub(super) struct LocalRandom;

impl ExchangeType for LocalRandom {
    fn name(&self) -> &'static str {
        "x-local-random"
    }

    fn description(&self) -> &'static str {
        "Routes to one queue of this node, by chance"
    }

    fn check_binding(&self, binding: &Binding) -> Result<(), Error> {
        match &binding.destination {
            _ if !binding.key.is_empty() => Err(Error::KeyNotEmpty { key: binding.key.clone() }),
            Destination::Exchange(_) => Err(Error::NoQueue),
            Destination::Queue(_) => Ok(()),
        }
    }

    /// The messages of other types may be on another node, or on several.
    fn check_queue(&self, queue: &definition::Queue) -> Result<(), Error> {
        if queue.kind == "classic" { Ok(()) } else { Err(Error::QueueType { kind: queue.kind.clone() }) }
    }

    fn new_router(&self, _arguments: &Table) -> Box<dyn Router> {
        Box::<RandomRouter>::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_queues_are_bound_and_without_a_key() {
        let check = |destination, key: &str| {
            let (source, key, arguments) = ("x".into(), key.into(), Table::default());
            let checked = LocalRandom.check_binding(&Binding { source, destination, key, arguments });
            checked.map_err(|error| error.to_string())
        };
        let (queue, exchange) = (Destination::Queue("q".into()), Destination::Exchange("e".into()));
        assert_eq!(check(queue.clone(), ""), Ok(()));
        assert_eq!(check(queue, "k"), Err("Non empty binding 'k' key not permitted".into()));
        assert_eq!(check(exchange.clone(), ""), Err("Destination not found".into()));
        assert_eq!(check(exchange, "k"), Err("Non empty binding 'k' key not permitted".into()));
    }
}
