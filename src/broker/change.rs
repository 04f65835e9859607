//! The only place that changes topology: a list of steps, made in memory and appended to the journal as one.
//!
//! A step that concerns something durable leaves a [`Change`]; the changes of one call are on disk together or not at
//! all. What follows from a step (an auto-delete exchange that lost its last binding, the bindings of a deleted queue) is
//! planned here, too, so that whoever declares or deletes need not know.

use super::Broker;
use super::Vhost;
use super::events::{Actor, EVENT_EXCHANGE};
use super::policy::Applied;
use super::topology::{Exchange, Topology};
use crate::definition::{Binding, Change, Definition, Destination, Key, Role};
use crate::name::{ExchangeName, Position, QueueName, VhostName};
use crate::queue::Queue;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

/// One step of a change.
#[derive(Debug)]
pub(super) enum Step {
    PutExchange(Exchange),
    DeleteExchange(ExchangeName),
    PutQueue(Arc<Queue>),
    DeleteQueue(QueueName),
    Bind(Binding),
    Unbind(Arc<Binding>),
}

/// Makes the steps, in order, and tells of them. Returns where their record ends; [`Position::NONE`] when nothing durable
/// changed.
pub(super) fn make(
    broker: &Broker,
    vhost: &Vhost,
    topology: &mut Topology,
    actor: &Actor,
    steps: Vec<Step>,
) -> Position {
    let mut made = Made { broker, vhost: &vhost.name, actor, changes: Vec::new(), orphans: Vec::new() };
    for step in steps {
        made.make(topology, step);
    }
    let Made { changes, orphans, .. } = made;
    if vhost.name == broker.event_vhost {
        broker.events.set_heard(topology.bindings().leaving(EVENT_EXCHANGE).next().is_some());
    }
    vhost.changed();
    let at = if changes.is_empty() { Position::NONE } else { broker.store.append_changes(&changes) };
    orphans.iter().for_each(|orphan| broker.delete_internal(orphan));
    at
}

/// Puts policies in force for exchanges. They follow from what is kept elsewhere, so nothing is appended.
pub(super) fn set_policies(vhost: &Vhost, topology: &mut Topology, applied: &[(ExchangeName, Applied)]) {
    for (name, policy) in applied {
        if let Some(exchange) = topology.exchange_mut(name) {
            exchange.set_policy(policy.clone());
        }
    }
    vhost.changed();
}

/// What was made so far.
struct Made<'a> {
    broker: &'a Broker,
    vhost: &'a VhostName,
    actor: &'a Actor,
    changes: Vec<Change>,
    /// Internal queues of exchanges that are gone.
    orphans: Vec<Arc<Queue>>,
}

impl Made<'_> {
    fn make(&mut self, topology: &mut Topology, step: Step) {
        let vhost = self.vhost.clone();
        match step {
            Step::PutExchange(exchange) => {
                self.tell_exchange(&exchange);
                if exchange.definition.durable {
                    let (name, definition) = (exchange.name.clone(), exchange.definition.clone());
                    self.changes.push(Change::Put(Definition::Exchange(vhost, name, definition)));
                }
                topology.put_exchange(exchange);
            }
            Step::DeleteExchange(name) => {
                let Some(gone) = topology.remove_exchange(&name) else { return };
                self.tell("exchange.deleted", name.as_str());
                for queue in gone.internal_queues() {
                    self.change_queue(queue, |queue| {
                        Change::Delete(Key::Queue(vhost.clone(), queue.name.clone()))
                    });
                    self.orphans.push(Arc::clone(queue));
                }
                if gone.definition.durable {
                    self.changes.push(Change::Delete(Key::Exchange(vhost, name)));
                }
            }
            Step::PutQueue(queue) => {
                let put =
                    |queue: &Queue| Definition::Queue(vhost, queue.name.clone(), queue.definition.clone());
                self.change_queue(&queue, |queue| Change::Put(put(queue)));
                if queue.definition.role == Role::Ordinary {
                    self.tell_queue(&queue);
                }
                topology.put_queue(queue);
            }
            Step::DeleteQueue(name) => {
                let Some(gone) = topology.queues.remove(&name) else { return };
                self.tell("queue.deleted", name.as_str());
                self.change_queue(&gone, |_| Change::Delete(Key::Queue(vhost, name)));
            }
            Step::Bind(binding) => {
                self.tell_binding("binding.created", &binding);
                let place = topology.take_place(&binding.source);
                if is_durable(topology, &binding) {
                    self.changes.push(Change::Put(Definition::Binding(vhost, binding.clone(), place)));
                }
                topology.bind(binding);
            }
            Step::Unbind(binding) => {
                self.tell_binding("binding.deleted", &binding);
                if is_durable(topology, &binding) {
                    self.changes.push(Change::Delete(Key::Binding(vhost, (*binding).clone())));
                }
                topology.unbind(&binding);
            }
        }
    }

    fn change_queue(&mut self, queue: &Arc<Queue>, change: impl FnOnce(&Queue) -> Change) {
        if queue.definition.durable {
            self.changes.push(change(queue));
        }
    }

    fn tell(&self, key: &str, name: &str) {
        self.broker
            .emit(key, self.actor, |fields| fields.text("name", name).text("vhost", self.vhost.as_str()));
    }

    fn tell_exchange(&self, exchange: &Exchange) {
        let definition = &exchange.definition;
        self.broker.emit("exchange.created", self.actor, |fields| {
            let fields = fields.text("name", exchange.name.as_str()).text("vhost", self.vhost.as_str());
            let fields = fields.text("type", &definition.kind).flag("durable", definition.durable);
            let fields = fields.flag("auto_delete", definition.auto_delete);
            fields.flag("internal", definition.internal).table("arguments", &definition.arguments)
        });
    }

    fn tell_queue(&self, queue: &Queue) {
        let definition = &queue.definition;
        self.broker.emit("queue.created", self.actor, |fields| {
            let fields = fields.text("name", queue.name.as_str()).text("vhost", self.vhost.as_str());
            let fields = fields.text("type", &definition.kind).flag("durable", definition.durable);
            let fields = fields.flag("auto_delete", definition.auto_delete);
            fields.flag("exclusive", definition.exclusive).table("arguments", &definition.arguments)
        });
    }

    fn tell_binding(&self, key: &str, binding: &Binding) {
        let (kind, destination) = match &binding.destination {
            Destination::Queue(name) => ("queue", name.as_str()),
            Destination::Exchange(name) => ("exchange", name.as_str()),
        };
        self.broker.emit(key, self.actor, |fields| {
            let fields = fields.text("source_name", binding.source.as_str()).text("source_kind", "exchange");
            let fields = fields.text("destination_name", destination).text("destination_kind", kind);
            let fields = fields.text("routing_key", binding.key.as_str()).text("vhost", self.vhost.as_str());
            fields.table("arguments", &binding.arguments)
        });
    }
}

/// A binding survives a restart only if both its ends do.
fn is_durable(topology: &Topology, binding: &Binding) -> bool {
    let source =
        topology.exchange(binding.source.as_str()).is_some_and(|exchange| exchange.definition.durable);
    source
        && match &binding.destination {
            Destination::Queue(queue) => {
                topology.queue(queue.as_str()).is_some_and(|queue| queue.definition.durable)
            }
            Destination::Exchange(exchange) => {
                topology.exchange(exchange.as_str()).is_some_and(|exchange| exchange.definition.durable)
            }
        }
}

/// The steps that remove a queue and everything that goes with it.
pub(super) fn plan_queue_deletion(topology: &Topology, queue: &QueueName) -> Vec<Step> {
    let mut plan = Plan::new(topology);
    plan.unbind_all_to(&Destination::Queue(queue.clone()));
    plan.steps.push_back(Step::DeleteQueue(queue.clone()));
    plan.finish()
}

/// The steps that remove an exchange and everything that goes with it.
pub(super) fn plan_exchange_deletion(topology: &Topology, exchange: &ExchangeName) -> Vec<Step> {
    let mut plan = Plan::new(topology);
    plan.delete_exchange(exchange.clone());
    plan.finish()
}

/// The steps that remove a binding and the auto-delete exchange whose last it was.
pub(super) fn plan_unbind(topology: &Topology, binding: &Binding) -> Vec<Step> {
    let mut plan = Plan::new(topology);
    if topology.bindings().has(binding) {
        plan.unbind(Arc::new(binding.clone()));
    }
    plan.finish()
}

/// Steps in the making: what one of them frees adds more.
struct Plan<'t> {
    topology: &'t Topology,
    steps: VecDeque<Step>,
    /// Per source, how many of its bindings the plan has removed.
    unbound: std::collections::HashMap<ExchangeName, usize>,
    deleted: HashSet<ExchangeName>,
}

impl<'t> Plan<'t> {
    fn new(topology: &'t Topology) -> Self {
        Self { topology, steps: VecDeque::new(), unbound: Default::default(), deleted: HashSet::new() }
    }

    fn unbind_all_to(&mut self, destination: &Destination) {
        for binding in self.topology.bindings().leading_to(destination) {
            if !self.deleted.contains(&binding.source) {
                self.unbind(Arc::clone(binding));
            }
        }
    }

    fn unbind(&mut self, binding: Arc<Binding>) {
        let source = binding.source.clone();
        self.steps.push_back(Step::Unbind(binding));
        let unbound = self.unbound.entry(source.clone()).or_default();
        *unbound += 1;
        let is_last = *unbound == self.topology.bindings().count_leaving(source.as_str());
        let exchange = self.topology.exchange(source.as_str());
        if is_last && exchange.is_some_and(|exchange| exchange.definition.auto_delete) {
            self.delete_exchange(source);
        }
    }

    fn delete_exchange(&mut self, exchange: ExchangeName) {
        if !self.deleted.insert(exchange.clone()) {
            return;
        }
        for binding in self.topology.bindings().leaving(exchange.as_str()) {
            self.steps.push_back(Step::Unbind(Arc::clone(binding)));
        }
        self.unbind_all_to(&Destination::Exchange(exchange.clone()));
        self.steps.push_back(Step::DeleteExchange(exchange));
    }

    fn finish(self) -> Vec<Step> {
        self.steps.into()
    }
}
