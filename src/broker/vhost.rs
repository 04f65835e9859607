//! A vhost: its topology behind a lock, and what else it has.

use super::policy::Policies;
use super::topology::{Exchange, Topology};
use crate::definition::{self, Binding, Destination};
use crate::name::{ExchangeName, VhostName};
use crate::queue::Queue;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// So much of a long list is read at once: some tenths of a millisecond.
const SLICE: usize = 1000;

/// A vhost.
#[derive(Debug)]
pub struct Vhost {
    /// Its name.
    pub name: VhostName,
    /// As defined.
    pub definition: parking_lot::RwLock<definition::Vhost>,
    policies: parking_lot::RwLock<Arc<Policies>>,
    limits: parking_lot::RwLock<definition::VhostLimits>,
    /// How many connections have a seat in it.
    pub(super) connections: AtomicU64,
    /// Whoever puts policies in force holds it, so that the last to do so has the last ones.
    pub(super) sweep: parking_lot::Mutex<()>,
    topology: parking_lot::RwLock<Topology>,
    generation: AtomicU64,
    is_traced: AtomicBool,
}

impl Vhost {
    pub(super) fn new(name: VhostName, definition: definition::Vhost) -> Self {
        let (policies, limits, connections, sweep, topology, generation) = Default::default();
        let is_traced = AtomicBool::new(definition.tracing);
        let definition = parking_lot::RwLock::new(definition);
        Self { name, definition, policies, limits, connections, sweep, topology, generation, is_traced }
    }

    /// Whether the firehose is on.
    pub fn is_traced(&self) -> bool {
        self.is_traced.load(Ordering::Relaxed)
    }

    /// What it says of itself from now on.
    pub(super) fn redefine(&self, definition: definition::Vhost) {
        self.is_traced.store(definition.tracing, Ordering::Relaxed);
        *self.definition.write() = definition;
    }

    /// How much there may be in it.
    pub fn limits(&self) -> definition::VhostLimits {
        *self.limits.read()
    }

    pub(super) fn set_limits(&self, limits: definition::VhostLimits) {
        *self.limits.write() = limits;
    }

    /// The policies that are defined. Those of what is in the vhost follow a moment later.
    pub fn policies(&self) -> Arc<Policies> {
        Arc::clone(&self.policies.read())
    }

    pub(super) fn set_policies(&self, policies: Policies) {
        *self.policies.write() = Arc::new(policies);
    }

    /// The topology, to read. Take no queue's lock for long and await nothing while the guard lives.
    pub fn topology(&self) -> parking_lot::RwLockReadGuard<'_, Topology> {
        self.topology.read()
    }

    /// All queues, by name.
    ///
    /// This and the other lists are read a slice at a time: nobody waits for the topology while a long one is made. What
    /// comes or goes meanwhile may be in it or not.
    pub fn queues(&self) -> Vec<Arc<Queue>> {
        self.in_slices(|topology, last: Option<&Arc<Queue>>| {
            topology.queues.after(last.map(|queue| &queue.name)).take(SLICE).cloned().collect()
        })
    }

    /// What is wanted of each exchange, by name.
    pub fn exchanges<T>(&self, wanted: impl Fn(&Topology, &Exchange) -> T) -> Vec<T> {
        let named = self.in_slices(|topology, last: Option<&(ExchangeName, T)>| {
            let exchanges = topology.exchanges_after(last.map(|(name, _)| name)).take(SLICE);
            exchanges.map(|exchange| (exchange.name.clone(), wanted(topology, exchange))).collect()
        });
        named.into_iter().map(|(_, wanted)| wanted).collect()
    }

    /// All bindings but the default exchange's, by source, destination and key.
    pub fn bindings(&self) -> Vec<Arc<Binding>> {
        self.in_slices(|topology, last: Option<&Arc<Binding>>| {
            topology.bindings().after(last.map(|last| &**last)).take(SLICE).cloned().collect()
        })
    }

    /// The bindings that leave an exchange, by destination and key.
    pub fn bindings_from(&self, source: &ExchangeName) -> Vec<Arc<Binding>> {
        self.in_slices(|topology, last: Option<&Arc<Binding>>| {
            let bindings = topology.bindings().leaving_after(source, last.map(|last| &**last));
            bindings.take(SLICE).cloned().collect()
        })
    }

    /// The bindings that lead to a destination, by source and key.
    pub fn bindings_to(&self, destination: &Destination) -> Vec<Arc<Binding>> {
        self.in_slices(|topology, last: Option<&Arc<Binding>>| {
            let bindings = topology.bindings().leading_to_after(destination, last.map(|last| &**last));
            bindings.take(SLICE).cloned().collect()
        })
    }

    /// A long list, of which `slice` reads up to [`SLICE`] behind the last that there is.
    fn in_slices<T>(&self, slice: impl Fn(&Topology, Option<&T>) -> Vec<T>) -> Vec<T> {
        let mut all = Vec::new();
        loop {
            let more = slice(&self.topology(), all.last());
            let is_whole = more.len() < SLICE;
            all.extend(more);
            if is_whole {
                return all;
            }
        }
    }

    /// The topology, to change. Whoever does change it says so by [`Vhost::changed`], before the guard goes.
    pub(super) fn topology_mut(&self) -> parking_lot::RwLockWriteGuard<'_, Topology> {
        self.topology.write()
    }

    /// The topology changed: remembered routes are to be asked anew.
    pub(super) fn changed(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// A number that is another after every change of the topology. Read it before what is to be remembered.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::policy::Applied;
    use crate::exchange;
    use std::sync::atomic::AtomicUsize;

    fn with_exchanges(count: usize) -> Vhost {
        let vhost = Vhost::new("v".into(), definition::Vhost::default());
        let kind = exchange::find("direct").unwrap();
        for number in 0..count {
            let definition = definition::Exchange {
                kind: "direct".into(),
                durable: true,
                auto_delete: false,
                internal: false,
                arguments: Default::default(),
            };
            let name = ExchangeName::new(&format!("{number:05}"));
            vhost.topology_mut().put_exchange(Exchange::new(name, definition, kind, Applied::default()));
        }
        vhost
    }

    #[test]
    fn who_changes_the_topology_waits_for_a_slice_of_a_long_list_at_most() {
        let count = 3 * SLICE + 1;
        let (vhost, read, read_when_changed) =
            (with_exchanges(count), AtomicUsize::new(0), AtomicUsize::new(usize::MAX));
        std::thread::scope(|scope| {
            let names = vhost.exchanges(|_, exchange| {
                if read.fetch_add(1, Ordering::Relaxed) == 0 {
                    scope.spawn(|| {
                        let _changing = vhost.topology_mut();
                        read_when_changed.store(read.load(Ordering::Relaxed), Ordering::Relaxed);
                    });
                    // Nobody else may read once somebody waits to write.
                    while vhost.topology.try_read().is_some() {
                        std::thread::yield_now();
                    }
                }
                exchange.name.clone()
            });
            assert!(names.is_sorted() && names.len() == count, "{}", names.len());
        });
        assert_eq!(read_when_changed.load(Ordering::Relaxed), SLICE);
    }
}
