//! The exchanges, queues and bindings of a vhost, in memory. Read by everybody under the vhost's lock; written only by
//! [`super::change`].

use super::policy::{Applied, Policies};
use super::queues::Queues;
use crate::arguments;
use crate::definition::{self, Binding, Destination, Role};
use crate::exchange::route::{self, Exchanges};
use crate::exchange::{self, ExchangeType, History, Router};
use crate::message::Message;
use crate::name::{BindingKey, ExchangeName, QueueName, VhostName};
use crate::queue::Queue;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The exchanges every vhost has from the start; all durable.
pub const PREDECLARED: &[(&str, &str)] = &[
    ("", "direct"),
    ("amq.direct", "direct"),
    ("amq.fanout", "fanout"),
    ("amq.headers", "headers"),
    ("amq.match", "headers"),
    ("amq.topic", "topic"),
    ("amq.rabbitmq.trace", "topic"),
];

/// So many queues are read at once: some tenths of a millisecond.
const SLICE: usize = 1000;

/// What went through an exchange since the node started.
#[derive(Debug, Default)]
pub struct ExchangeCounters {
    /// Messages published to it: those that nobody confirms, or that were refused; and those that are confirmed, as soon as they
    /// are safe.
    published_in: [AtomicU64; 2],
    /// Messages times the queues they reached.
    pub published_out: AtomicU64,
    /// Mandatory messages published to it that reached no queue.
    pub returned: AtomicU64,
    /// Other messages that reached none.
    pub dropped: AtomicU64,
}

impl ExchangeCounters {
    /// Messages published to it.
    pub fn published_in(&self) -> u64 {
        self.published_in.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Those of them that are confirmed, or will be once they are on disk.
    pub fn confirmed(&self) -> u64 {
        self.published_in[1].load(Ordering::Relaxed)
    }

    /// Counts a message, how many queues it reached, and whether its publisher is told that it is safe.
    #[inline]
    pub fn count(&self, queues: usize, is_confirmed: bool) {
        self.published_in[usize::from(is_confirmed)].fetch_add(1, Ordering::Relaxed);
        self.published_out.fetch_add(queues as u64, Ordering::Relaxed);
    }
}

/// An exchange and its bindings' router.
#[derive(Debug)]
pub struct Exchange {
    /// Its name.
    pub name: ExchangeName,
    /// As declared.
    pub definition: definition::Exchange,
    /// The policies in force.
    pub(super) policy: Applied,
    /// Where it sends what it cannot route.
    pub alternate: Option<ExchangeName>,
    /// What went through it; shared with those who remember routes.
    pub counters: Arc<ExchangeCounters>,
    pub(super) router: Box<dyn Router>,
    /// Holds what it delays.
    pub(super) delay: Option<Arc<Queue>>,
    /// Keeps what it has seen, to tell duplicates.
    pub(super) window: Option<Arc<Queue>>,
    /// What new destinations are given, if its type keeps such. Nothing else is locked while it is.
    pub(super) history: Option<parking_lot::Mutex<History>>,
}

impl Exchange {
    pub(super) fn new(
        name: ExchangeName,
        definition: definition::Exchange,
        kind: &dyn ExchangeType,
        policy: Applied,
    ) -> Self {
        let router = kind.new_router(&definition.arguments);
        let history = kind.new_history(&definition.arguments).map(parking_lot::Mutex::new);
        let mut exchange = Self {
            name,
            definition,
            policy: Applied::default(),
            alternate: None,
            router,
            history,
            delay: None,
            window: None,
            counters: Arc::default(),
        };
        exchange.set_policy(policy);
        exchange
    }

    /// The queues that are its own.
    pub fn internal_queues(&self) -> impl Iterator<Item = &Arc<Queue>> {
        self.delay.iter().chain(&self.window)
    }

    /// Whether it delays messages.
    pub fn delays(&self) -> bool {
        self.delay.is_some()
    }

    /// How many messages it delays now.
    pub fn delayed_count(&self) -> usize {
        self.delay.as_ref().map_or(0, |queue| queue.figures().ready)
    }

    /// The policies in force.
    pub fn policy(&self) -> &Applied {
        &self.policy
    }

    /// What applies from now on. The exchange's own argument counts before a policy; the default exchange has neither.
    pub(super) fn set_policy(&mut self, policy: Applied) {
        let argument = arguments::get(&self.definition.arguments, "alternate-exchange");
        let alternate = argument.and_then(arguments::as_text).or_else(|| policy.text("alternate-exchange"));
        self.alternate = alternate.filter(|_| !self.name.is_empty()).map(ExchangeName::new);
        self.policy = policy;
    }
}

/// What tells bindings of one source apart; the arguments as JSON, empty when there are none.
type BindingId = (Destination, BindingKey, String);

fn binding_id(binding: &Binding) -> BindingId {
    let arguments = if binding.arguments.inner().is_empty() {
        String::new()
    } else {
        // A table always has a JSON form; were it not so, bindings would only be told apart less well.
        serde_json::to_string(&binding.arguments).unwrap_or_default()
    };
    (binding.destination.clone(), binding.key.clone(), arguments)
}

/// The exchanges, queues and bindings of a vhost.
#[derive(Debug, Default)]
pub struct Topology {
    /// The vhost is gone: its last connections must not leave anything behind in it.
    pub(super) is_deleted: bool,
    pub(super) exchanges: HashMap<ExchangeName, Exchange>,
    pub(super) queues: Queues,
    by_source: HashMap<ExchangeName, HashMap<BindingId, Arc<Binding>>>,
    by_destination: HashMap<Destination, HashMap<(ExchangeName, BindingId), Arc<Binding>>>,
    /// Above the place of every binding that has one.
    next_place: u64,
}

impl Topology {
    /// The exchange called `name`.
    pub fn exchange(&self, name: &str) -> Option<&Exchange> {
        self.exchanges.get(name)
    }

    /// The queue called `name`.
    pub fn queue(&self, name: &str) -> Option<&Arc<Queue>> {
        self.queues.get(name)
    }

    /// All exchanges.
    pub fn exchanges(&self) -> impl Iterator<Item = &Exchange> {
        self.exchanges.values()
    }

    /// All queues, by name. Whoever has no need of all of them at one moment takes [`Vhost::queues`].
    pub fn queues(&self) -> impl Iterator<Item = &Arc<Queue>> {
        self.queues.iter()
    }

    /// How many queues there are.
    pub fn queue_count(&self) -> usize {
        self.queues.len()
    }

    /// All bindings but the default exchange's.
    pub fn bindings(&self) -> impl Iterator<Item = &Arc<Binding>> {
        self.by_source.values().flat_map(HashMap::values)
    }

    /// The bindings that leave an exchange.
    pub fn bindings_from(&self, source: &str) -> impl Iterator<Item = &Arc<Binding>> {
        self.by_source.get(source).into_iter().flat_map(HashMap::values)
    }

    /// How many bindings leave an exchange.
    pub fn binding_count_from(&self, source: &str) -> usize {
        self.by_source.get(source).map_or(0, HashMap::len)
    }

    /// The bindings that lead to a destination.
    pub fn bindings_to(&self, destination: &Destination) -> impl Iterator<Item = &Arc<Binding>> {
        self.by_destination.get(destination).into_iter().flat_map(HashMap::values)
    }

    /// Whether this very binding is there.
    pub fn has_binding(&self, binding: &Binding) -> bool {
        self.by_source
            .get(&binding.source)
            .is_some_and(|bindings| bindings.contains_key(&binding_id(binding)))
    }

    /// Adds a queue; an exchange's own goes there.
    pub(super) fn put_queue(&mut self, queue: Arc<Queue>) {
        let own = match &queue.definition.role {
            Role::Ordinary => {
                self.queues.insert(queue);
                return;
            }
            Role::DelayOf(exchange) => self.exchanges.get_mut(exchange).map(|exchange| &mut exchange.delay),
            Role::WindowOf(exchange) => self.exchanges.get_mut(exchange).map(|exchange| &mut exchange.window),
        };
        if let Some(own) = own {
            *own = Some(queue);
        }
    }

    /// Adds a binding that is not there and whose source is.
    pub(super) fn bind(&mut self, binding: Binding) {
        let id = binding_id(&binding);
        if let Some(exchange) = self.exchanges.get_mut(&binding.source) {
            exchange.router.bind(&binding);
        }
        let binding = Arc::new(binding);
        let source = binding.source.clone();
        self.by_source.entry(source.clone()).or_default().insert(id.clone(), Arc::clone(&binding));
        self.by_destination.entry(binding.destination.clone()).or_default().insert((source, id), binding);
    }

    /// The place of a new binding from that exchange, if a restart must bring its bindings back in order.
    pub(super) fn take_place(&mut self, source: &ExchangeName) -> Option<u64> {
        let kind = exchange::find(&self.exchanges.get(source)?.definition.kind)?;
        let place = kind.keeps_order().then_some(self.next_place)?;
        self.next_place += 1;
        Some(place)
    }

    /// Adds a binding that a restart brought back; those that have a place, in the order of these.
    pub(super) fn restore_binding(&mut self, binding: Binding, place: Option<u64>) {
        self.next_place = self.next_place.max(place.map_or(0, |place| place + 1));
        self.bind(binding);
    }

    /// Removes a binding if it is there.
    pub(super) fn unbind(&mut self, binding: &Binding) {
        let id = binding_id(binding);
        let Some(bindings) = self.by_source.get_mut(&binding.source) else { return };
        if bindings.remove(&id).is_none() {
            return;
        }
        if bindings.is_empty() {
            self.by_source.remove(&binding.source);
        }
        if let Some(exchange) = self.exchanges.get_mut(&binding.source) {
            exchange.router.unbind(binding);
        }
        if let Some(bindings) = self.by_destination.get_mut(&binding.destination) {
            bindings.remove(&(binding.source.clone(), id));
            if bindings.is_empty() {
                self.by_destination.remove(&binding.destination);
            }
        }
    }

    /// Forgets everything, for good.
    pub(super) fn delete_all(&mut self) {
        *self = Self { is_deleted: true, ..Self::default() };
    }

    /// Routes a message published to `exchange`.
    pub fn route(&self, exchange: &ExchangeName, publish: &exchange::Publish<'_>) -> route::Routed {
        route::route(self, exchange, publish)
    }

    /// Puts a message into the histories of exchanges.
    pub(super) fn keep<'n>(
        &self,
        exchanges: impl IntoIterator<Item = &'n ExchangeName>,
        message: &Arc<Message>,
    ) {
        let histories = exchanges.into_iter().filter_map(|name| self.exchanges.get(name)?.history.as_ref());
        histories.for_each(|history| history.lock().keep(message));
    }
}

impl Exchanges for Topology {
    fn exchange(&self, name: &ExchangeName) -> Option<route::Entry<'_>> {
        let exchange = self.exchanges.get(name)?;
        Some(route::Entry {
            router: &*exchange.router,
            alternate: exchange.alternate.as_ref(),
            delays: exchange.delay.is_some(),
            has_window: exchange.window.is_some(),
        })
    }

    fn queue_name(&self, name: &str) -> Option<QueueName> {
        self.queues.get(name).map(|queue| queue.name.clone())
    }
}

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

    /// All queues, by name, as they are found a slice at a time: nobody waits for the topology while a long list is read.
    /// What comes or goes meanwhile may be among them or not.
    pub fn queues(&self) -> Vec<Arc<Queue>> {
        let mut all: Vec<Arc<Queue>> = Vec::with_capacity(self.topology().queue_count());
        loop {
            let (topology, before) = (self.topology(), all.len());
            let last = all.last().map(|queue| queue.name.clone());
            all.extend(topology.queues.after(last.as_ref()).take(SLICE).cloned());
            if all.len() < before + SLICE {
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
