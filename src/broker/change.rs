//! The only place that changes topology: a list of steps, made in memory and appended to the journal as one.
//!
//! A step that concerns something durable leaves a [`Change`]; the changes of one call are on disk together or not at
//! all. What follows from a step (an auto-delete exchange that lost its last binding, the bindings of a deleted queue) is
//! planned here, too, so that whoever declares or deletes need not know.

use super::topology::{Exchange, Topology, Vhost};
use crate::definition::{Binding, Change, Definition, Destination, Key};
use crate::name::{ExchangeName, Position, QueueName};
use crate::queue::Queue;
use crate::store::Store;
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

/// Makes the steps, in order. Returns where their record ends; [`Position::NONE`] when nothing durable changed.
pub(super) fn make(vhost: &Vhost, topology: &mut Topology, store: &Store, steps: Vec<Step>) -> Position {
    let mut changes = Vec::new();
    for step in steps {
        changes.extend(make_one(vhost, topology, step));
    }
    vhost.changed();
    if changes.is_empty() { Position::NONE } else { store.append_changes(&changes) }
}

fn make_one(vhost: &Vhost, topology: &mut Topology, step: Step) -> Option<Change> {
    let name = vhost.name.clone();
    match step {
        Step::PutExchange(exchange) => {
            let change = exchange.definition.durable.then(|| {
                Change::Put(Definition::Exchange(name, exchange.name.clone(), exchange.definition.clone()))
            });
            topology.exchanges.insert(exchange.name.clone(), exchange);
            change
        }
        Step::DeleteExchange(exchange) => {
            let gone = topology.exchanges.remove(&exchange)?;
            gone.definition.durable.then_some(Change::Delete(Key::Exchange(name, exchange)))
        }
        Step::PutQueue(queue) => {
            let change = queue
                .definition
                .durable
                .then(|| Change::Put(Definition::Queue(name, queue.name.clone(), queue.definition.clone())));
            topology.queues.insert(queue.name.clone(), queue);
            change
        }
        Step::DeleteQueue(queue) => {
            let gone = topology.queues.remove(&queue)?;
            gone.definition.durable.then_some(Change::Delete(Key::Queue(name, queue)))
        }
        Step::Bind(binding) => {
            let change = is_durable(topology, &binding)
                .then(|| Change::Put(Definition::Binding(name, binding.clone())));
            topology.bind(binding);
            change
        }
        Step::Unbind(binding) => {
            let change = is_durable(topology, &binding)
                .then(|| Change::Delete(Key::Binding(name, (*binding).clone())));
            topology.unbind(&binding);
            change
        }
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
    if topology.has_binding(binding) {
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
        for binding in self.topology.bindings_to(destination) {
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
        let is_last = *unbound == self.topology.bindings_from(source.as_str()).count();
        let exchange = self.topology.exchange(source.as_str());
        if is_last && exchange.is_some_and(|exchange| exchange.definition.auto_delete) {
            self.delete_exchange(source);
        }
    }

    fn delete_exchange(&mut self, exchange: ExchangeName) {
        if !self.deleted.insert(exchange.clone()) {
            return;
        }
        for binding in self.topology.bindings_from(exchange.as_str()) {
            self.steps.push_back(Step::Unbind(Arc::clone(binding)));
        }
        self.unbind_all_to(&Destination::Exchange(exchange.clone()));
        self.steps.push_back(Step::DeleteExchange(exchange));
    }

    fn finish(self) -> Vec<Step> {
        self.steps.into()
    }
}
