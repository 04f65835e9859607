//! Exchanges, queues and bindings: declared, deleted, bound, unbound, purged, with RabbitMQ's checks in its order
//! (behaviour.md, 1.7 and 1.8).

use super::change::{self, Step};
use super::error::{Error, Resource};
use super::events::Actor;
use super::policy::Target;
use super::replies::random_text;
use super::session::Session;
use super::topology::{Exchange, Topology};
use super::{Broker, Durable, limits, quorum};
use crate::arguments::{self, Table, Value};
use crate::auth::permissions::Access;
use crate::definition::{self, Binding, Destination, Role};
use crate::exchange;
use crate::name::{ConsumerId, ExchangeName, QueueName};
use crate::outbox::Wakes;
use crate::queue::arguments::{Fault, Kind};
use crate::queue::{self, NewQueue, Queue};
use crate::store::RecoveredQueue;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// An exchange to be declared.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct DeclareExchange {
    pub name: ExchangeName,
    pub kind: String,
    pub durable: bool,
    pub auto_delete: bool,
    pub internal: bool,
    pub arguments: Table,
}

/// A queue to be declared; the empty name asks for one made by the server.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct DeclareQueue {
    pub name: QueueName,
    pub durable: bool,
    pub exclusive: bool,
    pub auto_delete: bool,
    pub arguments: Table,
}

/// What `declare-ok` says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct DeclaredQueue {
    pub name: QueueName,
    pub messages: usize,
    pub consumers: usize,
    /// Whether it was not there before.
    pub is_new: bool,
}

/// When a queue or an exchange may be deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct DeleteIf {
    pub unused: bool,
    pub empty: bool,
}

impl Broker {
    /// Declares an exchange; `true` when it was not there before.
    ///
    /// # Errors
    /// 403 for refused or reserved names, 406 for an unknown type, arguments that it refuses, or another exchange of that name.
    pub fn declare_exchange(
        &self,
        session: &Session,
        declare: DeclareExchange,
    ) -> Result<Durable<bool>, Error> {
        let resource = session.exchange(&declare.name);
        if declare.name.is_empty() {
            return Err(Error::DefaultExchange);
        }
        let kind = exchange::find(&declare.kind).ok_or(Error::UnknownExchangeType(declare.kind.clone()))?;
        session.check(Access::Configure, resource.clone())?;
        let alternate = arguments::get(&declare.arguments, "alternate-exchange");
        let alternate = match alternate {
            None => None,
            Some(value) => Some(arguments::as_text(value).map(ExchangeName::new).ok_or_else(|| {
                let (argument, kind) = ("alternate-exchange", arguments::type_name(value));
                Error::InvalidType { argument, resource: resource.clone(), kind }
            })?),
        };
        let DeclareExchange { name, kind: _, durable, auto_delete, internal, arguments } = declare;
        let definition =
            definition::Exchange { kind: kind.name().into(), durable, auto_delete, internal, arguments };
        // Before the topology is held: others' are looked at.
        let counted = self.count_exchange_in(&name);
        let mut topology = session.vhost.topology_mut();
        check_vhost(session, &topology)?;
        if let Some(current) = topology.exchange(name.as_str()) {
            check_exchange(&resource, &current.definition, &definition)?;
            return Ok(Durable::at_once(false));
        }
        if name.as_str().starts_with("amq.") {
            return Err(Error::ReservedPrefix { kind: "exchange", name: name.to_string() });
        }
        let _counted = counted?;
        if let Some(alternate) = alternate {
            session.check(Access::Read, resource.clone())?;
            session.check(Access::Write, session.exchange(&alternate))?;
        }
        kind.check_arguments(&definition.arguments).map_err(|error| match error {
            exchange::Error::ArgumentType { argument, kind } => {
                Error::InvalidType { argument, resource, kind }
            }
            error => error.into(),
        })?;
        let internal = self.internal_queues(&session.vhost.name, &name, &definition, kind);
        let policy = session.vhost.policies().of(Target::Exchange(name.as_str()));
        let put = Step::PutExchange(Exchange::new(name, definition, kind, policy));
        let steps = std::iter::once(put).chain(internal.into_iter().map(Step::PutQueue)).collect();
        let at = change::make(self, &session.vhost, &mut topology, &session.into(), steps);
        Ok(Durable::new(true, at))
    }

    /// Whether an exchange exists, for a passive declare.
    ///
    /// # Errors
    /// 404, or 403 when the user may do nothing with it.
    pub fn check_exchange_exists(&self, session: &Session, name: &ExchangeName) -> Result<(), Error> {
        let resource = session.exchange(name);
        if name.is_empty() {
            return Err(Error::DefaultExchange);
        }
        session.check_any(resource.clone())?;
        match session.vhost.topology().exchange(name.as_str()) {
            Some(_) => Ok(()),
            None => Err(Error::NotFound(resource)),
        }
    }

    /// Deletes an exchange with its bindings; one that does not exist is deleted already.
    ///
    /// # Errors
    /// 403 for refused or system exchanges, 406 when `unused` is asked for and bindings leave it.
    pub fn delete_exchange(
        &self,
        session: &Session,
        name: &ExchangeName,
        condition: DeleteIf,
    ) -> Result<Durable<bool>, Error> {
        if name.is_empty() {
            return Err(Error::DefaultExchange);
        }
        let resource = session.exchange(name);
        session.check(Access::Configure, resource.clone())?;
        if name.as_str().starts_with("amq.") {
            return Err(Error::SystemExchange(resource));
        }
        let mut topology = session.vhost.topology_mut();
        if topology.exchange(name.as_str()).is_none() {
            return Ok(Durable::at_once(false));
        }
        if condition.unused && topology.bindings().count_leaving(name.as_str()) > 0 {
            return Err(Error::InUse(resource));
        }
        let steps = change::plan_exchange_deletion(&topology, name);
        let at = change::make(self, &session.vhost, &mut topology, &session.into(), steps);
        Ok(Durable::new(true, at))
    }

    /// Declares a queue.
    ///
    /// # Errors
    /// 403 for refused or reserved names, 405 for another connection's exclusive queue, 406 for another queue of that
    /// name or arguments no queue has.
    pub fn declare_queue(
        &self,
        session: &Session,
        declare: DeclareQueue,
    ) -> Result<Durable<DeclaredQueue>, Error> {
        let is_server_named = declare.name.is_empty();
        let name = if is_server_named {
            QueueName::new(&format!("amq.gen-{}", random_text()?))
        } else {
            declare.name.clone()
        };
        let resource = session.queue(&name);
        session.check(Access::Configure, resource.clone())?;
        let is_exclusive = declare.exclusive && session.connection.is_some();
        let definition = self.new_definition(session, &resource, declare)?;
        quorum::check_declare(&resource, &definition, is_exclusive, is_server_named)?;
        let mut topology = session.vhost.topology_mut();
        check_vhost(session, &topology)?;
        self.counters.queues_declared.fetch_add(1, Ordering::Relaxed);
        if let Some(current) = topology.queue(name.as_str()) {
            check_owner(session, &resource, current)?;
            if definition.exclusive != current.definition.exclusive {
                return Err(Error::Locked(resource));
            }
            check_queue(&resource, &current.definition, &definition)?;
            current.touch();
            return Ok(Durable::at_once(declared(current, false)));
        }
        if !is_server_named && name.as_str().starts_with("amq.") {
            return Err(Error::ReservedPrefix { kind: "queue", name: name.to_string() });
        }
        let of_all = self.rules().limits.queues.filter(|limit| self.queues.len() as u64 >= *limit);
        if let Some(limit) = of_all {
            return Err(Error::TooManyQueuesOfAll { queue: name, limit });
        }
        let limit = limits::exceeded(session.vhost.limits().max_queues, topology.queue_count());
        if let Some(limit) = limit {
            return Err(Error::TooManyQueues { queue: name, vhost: session.vhost.name.clone(), limit });
        }
        if let Some(dead_letters) = arguments::get(&definition.arguments, "x-dead-letter-exchange") {
            let target = ExchangeName::new(arguments::as_text(dead_letters).unwrap_or_default());
            session.check(Access::Read, resource)?;
            session.check(Access::Write, session.exchange(&target))?;
        }
        let owner = if definition.exclusive { session.connection } else { None };
        let (vhost, recovered) = (session.vhost.name.clone(), RecoveredQueue::default());
        let policy =
            session.vhost.policies().of(Target::Queue { name: name.as_str(), kind: &definition.kind });
        let services = Arc::clone(&self.services);
        let queue = Queue::new(NewQueue { vhost, name, definition, owner, policy, services }, recovered);
        self.queues.insert(queue.definition.id, Arc::clone(&queue));
        let steps = vec![Step::PutQueue(Arc::clone(&queue))];
        let at = change::make(self, &session.vhost, &mut topology, &session.into(), steps);
        drop(topology);
        self.counters.queues_created.fetch_add(1, Ordering::Relaxed);
        if let Some(owner) = owner {
            self.connections.own_queue(owner, &queue);
        }
        Ok(Durable::new(declared(&queue, true), at))
    }

    fn new_definition(
        &self,
        session: &Session,
        resource: &Resource,
        declare: DeclareQueue,
    ) -> Result<definition::Queue, Error> {
        let DeclareQueue { durable, exclusive, auto_delete, mut arguments, .. } = declare;
        if durable && !exclusive && !auto_delete {
            self.set_default_type(session, &mut arguments);
        }
        let kind = match arguments::get(&arguments, "x-queue-type") {
            None => Kind::Classic,
            Some(value) => {
                let asked = arguments::as_text(value).unwrap_or_default();
                Kind::of_name(asked).ok_or_else(|| {
                    let reason = match asked {
                        "stream" => {
                            "\"queue type 'stream' is not supported yet: classic and quorum are\"".into()
                        }
                        _ => format!("\"unsupported queue type '{}'\"", arguments::plain(value)),
                    };
                    Error::InvalidArgument { argument: "x-queue-type", resource: resource.clone(), reason }
                })?
            }
        };
        queue::arguments::check(kind, &arguments).map_err(|(argument, fault)| {
            let resource = resource.clone();
            match fault {
                Fault::Value(reason) => Error::InvalidArgument { argument, resource, reason },
                Fault::Type(kind) => Error::InvalidType { argument, resource, kind },
                Fault::QueueType(module) => Error::ArgumentOfQueueType { argument, resource, module },
            }
        })?;
        // Over HTTP there is no connection that could own it.
        let exclusive = exclusive && session.connection.is_some();
        let (id, kind) = (self.next_queue_id(), kind.name().to_owned());
        // RabbitMQ: an exclusive queue goes with its connection, so it is never durable.
        let durable = durable && !exclusive;
        Ok(definition::Queue { id, kind, durable, auto_delete, exclusive, arguments, role: Role::Ordinary })
    }

    /// What a passive declare answers.
    ///
    /// # Errors
    /// 404, 405 for another connection's exclusive queue, 403 when the user may do nothing with it.
    pub fn check_queue_exists(&self, session: &Session, name: &QueueName) -> Result<DeclaredQueue, Error> {
        if self.has_reply_address(name.as_str()) {
            return Ok(DeclaredQueue { name: name.clone(), messages: 0, consumers: 1, is_new: false });
        }
        let resource = session.queue(name);
        session.check_any(resource.clone())?;
        let queue = self.find_queue(session, name)?;
        check_owner(session, &resource, &queue)?;
        queue.touch();
        Ok(declared(&queue, false))
    }

    /// The queue, if it exists.
    ///
    /// # Errors
    /// 404.
    pub fn find_queue(&self, session: &Session, name: &QueueName) -> Result<Arc<Queue>, Error> {
        let topology = session.vhost.topology();
        topology.queue(name.as_str()).cloned().ok_or_else(|| Error::NotFound(session.queue(name)))
    }

    /// Deletes a queue and returns how many messages were ready in it; one that does not exist is deleted already.
    ///
    /// # Errors
    /// 403, 405, 406 when it is in use or not empty and that was asked for.
    pub fn delete_queue(
        &self,
        session: &Session,
        name: &QueueName,
        condition: DeleteIf,
        wakes: &mut Wakes,
    ) -> Result<Durable<Option<usize>>, Error> {
        let resource = session.queue(name);
        session.check(Access::Configure, resource.clone())?;
        let Ok(queue) = self.find_queue(session, name) else { return Ok(Durable::at_once(None)) };
        check_owner(session, &resource, &queue)?;
        let deleted = self.remove_queue(&queue, wakes, &session.into(), |figures| {
            if condition.unused && figures.consumers > 0 {
                return Err(Error::InUse(resource.clone()));
            }
            // A message that comes back later, or is on its way elsewhere, is here as well.
            if condition.empty && figures.ready + figures.aside() > 0 {
                return Err(Error::NotEmpty(resource.clone()));
            }
            Ok(())
        })?;
        Ok(Durable::new(deleted.value, deleted.at))
    }

    /// Deletes a queue whose last consumer went, if it is of that kind.
    pub(super) fn delete_unused(&self, queue: &Arc<Queue>, wakes: &mut Wakes) {
        if !queue.definition.auto_delete {
            return;
        }
        // Somebody may have subscribed meanwhile: then it lives on.
        let is_unused =
            |figures: &queue::classic::Figures| if figures.consumers > 0 { Err(()) } else { Ok(()) };
        let _ = self.remove_queue(queue, wakes, &Actor::default(), is_unused).map(|deleted| deleted.value);
    }

    /// Deletes a queue from topology, bindings first, if `condition` holds.
    pub(super) fn remove_queue<E>(
        &self,
        queue: &Arc<Queue>,
        wakes: &mut Wakes,
        actor: &Actor,
        condition: impl FnOnce(&queue::classic::Figures) -> Result<(), E>,
    ) -> Result<Durable<Option<usize>>, E> {
        let Some(vhost) = self.vhost(&queue.vhost) else { return Ok(Durable::at_once(None)) };
        let mut topology = vhost.topology_mut();
        let is_there = |other: &Arc<Queue>| other.definition.id == queue.definition.id;
        if !topology.queue(queue.name.as_str()).is_some_and(is_there) {
            return Ok(Durable::at_once(None));
        }
        let deleted = queue.delete(condition, wakes)?;
        let steps = change::plan_queue_deletion(&topology, &queue.name);
        let at = change::make(self, &vhost, &mut topology, actor, steps);
        drop(topology);
        self.forget_queue(queue, deleted.subscriptions.iter().map(|subscription| subscription.id));
        let ready = deleted.figures.ready;
        // Behind the change: should a crash undo the deletion, the messages must be there, too.
        queue.give_back(deleted);
        Ok(Durable::new(Some(ready), at))
    }

    /// Deletes an exchange's own queue, which is out of topology already.
    pub(super) fn delete_internal(&self, queue: &Queue) {
        let always = |_: &_| Ok::<(), std::convert::Infallible>(());
        let Ok(deleted) = queue.delete(always, &mut Wakes::default());
        self.queues.remove(&queue.definition.id);
        queue.give_back(deleted);
    }

    /// Takes a deleted queue out of the node-wide tables.
    pub(super) fn forget_queue(&self, queue: &Queue, consumers: impl Iterator<Item = ConsumerId>) {
        self.queues.remove(&queue.definition.id);
        for (_, gone) in consumers.filter_map(|consumer| self.consumers.remove(&consumer)) {
            self.tell_gone(&gone);
        }
        if let Some(owner) = queue.owner {
            self.connections.disown_queue(owner, queue.definition.id);
        }
        self.counters.queues_deleted.fetch_add(1, Ordering::Relaxed);
    }

    /// Settles a queue's ready messages and returns how many there were.
    ///
    /// # Errors
    /// 403, 404, 405.
    pub fn purge_queue(
        &self,
        session: &Session,
        name: &QueueName,
        wakes: &mut Wakes,
    ) -> Result<usize, Error> {
        let resource = session.queue(name);
        session.check(Access::Read, resource.clone())?;
        let queue = self.find_queue(session, name)?;
        check_owner(session, &resource, &queue)?;
        let count = queue.purge(wakes);
        self.emit("queue.purged", &session.into(), |fields| {
            let fields = fields.text("name", name.as_str()).text("vhost", session.vhost.name.as_str());
            fields.number("messages", count as u64)
        });
        Ok(count)
    }

    /// Binds, and gives the destination what the exchange kept for it; a binding that is there is bound already.
    ///
    /// # Errors
    /// 403, 404 for either end, 405, 406 for a key or arguments the exchange's type refuses.
    pub fn bind(
        &self,
        session: &Session,
        binding: Binding,
        wakes: &mut Wakes,
    ) -> Result<Durable<bool>, Error> {
        self.check_binding(session, &binding)?;
        let mut topology = session.vhost.topology_mut();
        check_ends(session, &topology, &binding)?;
        let source = topology.exchange(binding.source.as_str());
        if let Some(kind) = source.and_then(|source| exchange::find(&source.definition.kind)) {
            kind.check_binding(&binding)?;
            if let Destination::Queue(name) = &binding.destination
                && let Some(queue) = topology.queue(name.as_str())
            {
                kind.check_queue(&queue.definition)?;
            }
        }
        if topology.bindings().has(&binding) {
            return Ok(Durable::at_once(false));
        }
        let history = topology.exchange(binding.source.as_str()).and_then(|source| source.history.as_ref());
        let kept = history.map(|history| history.lock().messages()).unwrap_or_default();
        let (source, destination) = (binding.source.clone(), binding.destination.clone());
        let at =
            change::make(self, &session.vhost, &mut topology, &session.into(), vec![Step::Bind(binding)]);
        let replayed_at = self.replay(&topology, &source, &destination, &kept, wakes);
        Ok(Durable::new(true, at.max(replayed_at)))
    }

    /// Unbinds; what is not bound is unbound already, and so is what does not exist.
    ///
    /// # Errors
    /// 403, 405.
    pub fn unbind(&self, session: &Session, binding: &Binding) -> Result<Durable<bool>, Error> {
        self.check_binding(session, binding)?;
        let mut topology = session.vhost.topology_mut();
        if let Destination::Queue(name) = &binding.destination
            && let Some(queue) = topology.queue(name.as_str())
        {
            check_owner(session, &session.queue(name), queue)?;
        }
        let steps = change::plan_unbind(&topology, binding);
        if steps.is_empty() {
            return Ok(Durable::at_once(false));
        }
        let at = change::make(self, &session.vhost, &mut topology, &session.into(), steps);
        Ok(Durable::new(true, at))
    }

    /// The default exchange stays as it is; write on the destination, read on the source.
    fn check_binding(&self, session: &Session, binding: &Binding) -> Result<(), Error> {
        let destination = match &binding.destination {
            Destination::Queue(name) if name.as_str().starts_with("amq.rabbitmq.reply-to") => {
                return Err(Error::VolatileQueue);
            }
            Destination::Queue(name) => session.queue(name),
            Destination::Exchange(name) if name.is_empty() => return Err(Error::DefaultExchange),
            Destination::Exchange(name) => session.exchange(name),
        };
        if binding.source.is_empty() {
            return Err(Error::DefaultExchange);
        }
        session.check(Access::Write, destination)?;
        session.check(Access::Read, session.exchange(&binding.source))?;
        session.check_topics(Access::Read, &binding.source, [binding.key.as_str().as_bytes()])
    }
}

/// A vhost may be deleted while its connections still talk.
fn check_vhost(session: &Session, topology: &Topology) -> Result<(), Error> {
    if topology.is_deleted { Err(Error::NoVhost(session.vhost.name.clone())) } else { Ok(()) }
}

fn check_ends(session: &Session, topology: &Topology, binding: &Binding) -> Result<(), Error> {
    match &binding.destination {
        Destination::Queue(name) => {
            let resource = session.queue(name);
            let queue = topology.queue(name.as_str()).ok_or_else(|| Error::NotFound(resource.clone()))?;
            check_owner(session, &resource, queue)?;
        }
        Destination::Exchange(name) => {
            let missing = || Error::NotFound(session.exchange(name));
            topology.exchange(name.as_str()).ok_or_else(missing)?;
        }
    }
    let missing = || Error::NotFound(session.exchange(&binding.source));
    topology.exchange(binding.source.as_str()).ok_or_else(missing).map(|_| ())
}

fn declared(queue: &Queue, is_new: bool) -> DeclaredQueue {
    let figures = queue.figures();
    DeclaredQueue { name: queue.name.clone(), messages: figures.ready, consumers: figures.consumers, is_new }
}

/// An exclusive queue is for its own connection only.
pub(super) fn check_owner(session: &Session, resource: &Resource, queue: &Queue) -> Result<(), Error> {
    match queue.owner {
        Some(owner) if session.connection != Some(owner) => Err(Error::Locked(resource.clone())),
        _ => Ok(()),
    }
}

fn check_flag(resource: &Resource, argument: &str, received: bool, current: bool) -> Result<(), Error> {
    check_text(resource, argument, &received.to_string(), &current.to_string())
}

fn check_text(resource: &Resource, argument: &str, received: &str, current: &str) -> Result<(), Error> {
    if received == current {
        return Ok(());
    }
    let (argument, resource) = (argument.to_owned(), resource.clone());
    let (received, current) = (format!("'{received}'"), format!("'{current}'"));
    Err(Error::Inequivalent { argument, resource, received, current })
}

fn check_argument(
    resource: &Resource,
    argument: &str,
    received: &Table,
    current: &Table,
) -> Result<(), Error> {
    let (received, current) = (arguments::get(received, argument), arguments::get(current, argument));
    let is_same = match (received, current) {
        (None, None) => true,
        (Some(received), Some(current)) => arguments::equivalent(received, current),
        // A missing queue type is the default one.
        (None, Some(value)) | (Some(value), None) if argument == "x-queue-type" => is_classic(value),
        _ => false,
    };
    if is_same {
        return Ok(());
    }
    let (argument, resource) = (argument.to_owned(), resource.clone());
    let (received, current) = match (received, current) {
        (Some(received), Some(current)) => {
            (format!("'{}'", arguments::plain(received)), format!("'{}'", arguments::plain(current)))
        }
        _ => (arguments::describe(received), arguments::describe(current)),
    };
    Err(Error::Inequivalent { argument, resource, received, current })
}

fn is_classic(value: &Value) -> bool {
    arguments::as_text(value) == Some(Kind::Classic.name())
}

fn check_exchange(
    resource: &Resource,
    current: &definition::Exchange,
    received: &definition::Exchange,
) -> Result<(), Error> {
    check_text(resource, "type", &received.kind, &current.kind)?;
    check_flag(resource, "durable", received.durable, current.durable)?;
    check_flag(resource, "auto_delete", received.auto_delete, current.auto_delete)?;
    check_flag(resource, "internal", received.internal, current.internal)?;
    check_argument(resource, "alternate-exchange", &received.arguments, &current.arguments)
}

fn check_queue(
    resource: &Resource,
    current: &definition::Queue,
    received: &definition::Queue,
) -> Result<(), Error> {
    check_flag(resource, "durable", received.durable, current.durable)?;
    check_flag(resource, "auto_delete", received.auto_delete, current.auto_delete)?;
    let mut compared = queue::arguments::ARGUMENTS.iter().filter(|argument| argument.is_compared);
    compared.try_for_each(|argument| {
        check_argument(resource, argument.name, &received.arguments, &current.arguments)
    })
}
