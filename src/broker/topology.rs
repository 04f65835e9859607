//! The exchanges, queues and bindings of a vhost, in memory. Read by everybody under the vhost's lock; written only by
//! [`super::change`].

use super::bindings::Bindings;
use super::policy::Applied;
use super::queues::Queues;
use crate::arguments;
use crate::definition::{self, Binding, Role};
use crate::exchange::route::{self, Exchanges};
use crate::exchange::{self, ExchangeType, History, Router};
use crate::message::Message;
use crate::name::{ExchangeName, QueueName};
use crate::queue::Queue;
use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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

/// The exchanges, queues and bindings of a vhost.
#[derive(Debug, Default)]
pub struct Topology {
    /// The vhost is gone: its last connections must not leave anything behind in it.
    pub(super) is_deleted: bool,
    exchanges: HashMap<ExchangeName, Exchange>,
    /// Their names, for those that go through them in order.
    exchange_names: BTreeSet<ExchangeName>,
    pub(super) queues: Queues,
    bindings: Bindings,
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

    /// All exchanges. Whoever has no need of all of them at one moment takes [`Vhost::exchanges`].
    ///
    /// [`Vhost::exchanges`]: super::Vhost::exchanges
    pub fn exchanges(&self) -> impl Iterator<Item = &Exchange> {
        self.exchanges.values()
    }

    /// Those behind a name, or all, by name.
    pub(super) fn exchanges_after(&self, name: Option<&ExchangeName>) -> impl Iterator<Item = &Exchange> {
        let start = name.map_or(Bound::Unbounded, Bound::Excluded);
        let names = self.exchange_names.range::<ExchangeName, _>((start, Bound::Unbounded));
        names.filter_map(|name| self.exchanges.get(name))
    }

    /// How many exchanges there are.
    pub fn exchange_count(&self) -> usize {
        self.exchanges.len()
    }

    /// All queues, by name. Whoever has no need of all of them at one moment takes [`Vhost::queues`].
    ///
    /// [`Vhost::queues`]: super::Vhost::queues
    pub fn queues(&self) -> impl Iterator<Item = &Arc<Queue>> {
        self.queues.iter()
    }

    /// How many queues there are.
    pub fn queue_count(&self) -> usize {
        self.queues.len()
    }

    /// All bindings but the default exchange's.
    pub fn bindings(&self) -> &Bindings {
        &self.bindings
    }

    /// An exchange, to change it.
    pub(super) fn exchange_mut(&mut self, name: &ExchangeName) -> Option<&mut Exchange> {
        self.exchanges.get_mut(name)
    }

    /// Adds an exchange.
    pub(super) fn put_exchange(&mut self, exchange: Exchange) {
        self.exchange_names.insert(exchange.name.clone());
        self.exchanges.insert(exchange.name.clone(), exchange);
    }

    /// Removes an exchange.
    pub(super) fn remove_exchange(&mut self, name: &ExchangeName) -> Option<Exchange> {
        self.exchange_names.remove(name);
        self.exchanges.remove(name)
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
        if let Some(exchange) = self.exchanges.get_mut(&binding.source) {
            exchange.router.bind(&binding);
        }
        self.bindings.insert(binding);
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
        if !self.bindings.remove(binding) {
            return;
        }
        if let Some(exchange) = self.exchanges.get_mut(&binding.source) {
            exchange.router.unbind(binding);
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
