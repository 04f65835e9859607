//! Exchanges that do more than route: they delay messages, or let each through once.
//!
//! Both keep something over a restart, each in a queue of the exchange's own that nobody sees: delayed messages wait in
//! one until their time, the window of what was seen belongs to the other. They come and go with the exchange.

use super::Broker;
use super::policy::Applied;
use super::topology::Topology;
use crate::arguments::Value;
use crate::definition::{self, Role};
use crate::delay;
use crate::exchange::ExchangeType;
use crate::message::{Message, flag};
use crate::name::{ExchangeName, QueueName, VhostName};
use crate::queue::arguments::Kind;
use crate::queue::{NewQueue, Queue};
use crate::store::RecoveredQueue;
use smallvec::SmallVec;
use std::sync::Arc;

/// What stands between an exchange's messages and their queues.
#[derive(Debug, Default)]
pub(super) struct Special {
    /// Where messages wait that have a delay, if they do.
    delays: Vec<Arc<Queue>>,
    /// What tells duplicates.
    window: Option<Arc<Queue>>,
}

/// A message on its way into queues.
pub(super) type Parcel = (Arc<Message>, Arc<[Arc<Queue>]>);

impl Special {
    /// What stands between a message that was published to `start` and its queues: its exchanges that delay it, and the
    /// window of the first one.
    pub(super) fn of(
        topology: &Topology,
        start: &ExchangeName,
        delayed_by: &[ExchangeName],
    ) -> Option<Arc<Self>> {
        let exchange = |name: &ExchangeName| topology.exchange(name.as_str());
        let window = exchange(start).and_then(|exchange| exchange.window.clone());
        let delays: Vec<_> = delayed_by.iter().filter_map(|name| exchange(name)?.delay.clone()).collect();
        (window.is_some() || !delays.is_empty()).then(|| Arc::new(Self { delays, window }))
    }

    /// The same for what is no client's publish: duplicates do not matter.
    pub(super) fn delaying(topology: &Topology, delayed_by: &[ExchangeName]) -> Self {
        let exchanges = delayed_by.iter().filter_map(|name| topology.exchange(name.as_str()));
        Self { delays: exchanges.filter_map(|exchange| exchange.delay.clone()).collect(), window: None }
    }

    /// The message as it goes into its queues and into those where it waits; nothing if it has come before.
    pub(super) fn parcels(
        &self,
        message: &Arc<Message>,
        queues: &Arc<[Arc<Queue>]>,
    ) -> Option<SmallVec<[Parcel; 2]>> {
        if self.window.as_ref().is_some_and(|window| window.has_seen(message)) {
            return None;
        }
        let mut parcels = SmallVec::new();
        if !queues.is_empty() || self.delays.is_empty() {
            parcels.push((Arc::clone(message), Arc::clone(queues)));
        }
        let has_headers = message.property_flags() & flag::HEADERS != 0;
        let delay_ms = if has_headers { delay::of_headers(message.properties().headers) } else { None };
        if let Some(delay_ms) = delay_ms.filter(|_| !self.delays.is_empty()) {
            parcels.push((Arc::new(delay::held(message, delay_ms)), self.delays.clone().into()));
        }
        Some(parcels)
    }
}

impl Broker {
    /// The queues of an exchange's own that its type and arguments ask for.
    pub(super) fn internal_queues(
        &self,
        vhost: &VhostName,
        name: &ExchangeName,
        exchange: &definition::Exchange,
        kind: &dyn ExchangeType,
    ) -> Vec<Arc<Queue>> {
        let mut queues = Vec::new();
        if kind.delays(&exchange.arguments) {
            let arguments = Default::default();
            queues.push((format!("amq.delayed.{name}"), Role::DelayOf(name.clone()), arguments));
        }
        if kind.window(&exchange.arguments).is_some() {
            let mut arguments = exchange.arguments.clone();
            arguments.insert("x-message-deduplication".into(), Value::Boolean(true));
            queues.push((format!("amq.window.{name}"), Role::WindowOf(name.clone()), arguments));
        }
        let new = |(queue, role, arguments): (String, Role, _)| {
            let definition = definition::Queue {
                id: self.next_queue_id(),
                kind: Kind::Classic.name().into(),
                durable: exchange.durable,
                auto_delete: false,
                exclusive: false,
                arguments,
                role,
            };
            let new = NewQueue {
                vhost: vhost.clone(),
                name: QueueName::new(&queue),
                definition,
                owner: None,
                policy: Applied::default(),
                services: Arc::clone(&self.services),
            };
            let queue = Queue::new(new, RecoveredQueue::default());
            self.queues.insert(queue.definition.id, Arc::clone(&queue));
            queue
        };
        queues.into_iter().map(new).collect()
    }
}
