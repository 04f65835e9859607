//! Bindings.

use super::exchanges;
use crate::broker::Vhost;
use crate::definition::{Binding, Destination};
use crate::management::{Answer, Call, error::Error, view};
use crate::name::{BindingKey, QueueName, VhostName};
use crate::outbox::Wakes;
use std::sync::Arc;

/// A binding with its vhost.
type Row = (VhostName, Arc<Binding>);

/// All bindings, those of the default exchange included: every queue has one with its name for a key.
pub(in crate::management) fn list(call: &Call) -> Result<Answer, Error> {
    let mut rows = Vec::new();
    for vhost in call.vhosts()? {
        let default = vhost.queues().into_iter().map(|queue| of_default_exchange(&queue.name));
        // The default exchange's come first: it has the empty name.
        rows.extend(default.chain(vhost.bindings()).map(|binding| (vhost.name.clone(), binding)));
    }
    answer_rows(call, rows)
}

pub(in crate::management) fn list_of_queue(call: &Call) -> Result<Answer, Error> {
    let vhost = call.vhost()?;
    // As in RabbitMQ, what is not there has none: tools look for a binding here before they delete it.
    let Some(queue) = vhost.topology().queue(call.parameter("queue")).cloned() else {
        return answer_rows(call, Vec::new());
    };
    let bindings = vhost.bindings_to(&Destination::Queue(queue.name.clone()));
    answer(call, &vhost, std::iter::once(of_default_exchange(&queue.name)).chain(bindings))
}

/// Bindings that leave the exchange.
pub(in crate::management) fn list_from(call: &Call) -> Result<Answer, Error> {
    let (vhost, name) = (call.vhost()?, exchanges::name(call, "exchange"));
    let bindings: Vec<Arc<Binding>> = if name.is_empty() {
        vhost.queues().iter().map(|queue| of_default_exchange(&queue.name)).collect()
    } else {
        vhost.bindings_from(&name)
    };
    answer(call, &vhost, bindings)
}

/// Bindings that lead to the exchange.
pub(in crate::management) fn list_to(call: &Call) -> Result<Answer, Error> {
    let (vhost, name) = (call.vhost()?, exchanges::name(call, "exchange"));
    answer(call, &vhost, vhost.bindings_to(&Destination::Exchange(name)))
}

/// Bindings with the source and the destination of the path.
pub(in crate::management) fn list_between(call: &Call) -> Result<Answer, Error> {
    let vhost = call.vhost()?;
    let bindings = between(call, &vhost)?;
    answer(call, &vhost, bindings)
}

pub(in crate::management) fn show(call: &Call) -> Result<Answer, Error> {
    let vhost = call.vhost()?;
    let binding = find(call, &vhost)?;
    call.object(view::binding::render(&vhost.name, &binding))
}

pub(in crate::management) fn create(call: &Call) -> Result<Answer, Error> {
    let session = call.session()?;
    let body = call.body()?;
    let key = BindingKey::checked(body.text("routing_key")?.unwrap_or_default());
    let binding = Binding {
        source: exchanges::name(call, "source"),
        destination: destination(call)?,
        key: key.map_err(|error| Error::BadRequest(error.to_string()))?,
        arguments: body.arguments("arguments")?,
    };
    let location = view::binding::location(&binding);
    let mut wakes = Wakes::default();
    let bound = call.node.broker.bind(&session, binding, &mut wakes)?;
    drop(wakes);
    call.settled(bound)?;
    Ok(Answer::Created(Some(location)))
}

pub(in crate::management) fn delete(call: &Call) -> Result<Answer, Error> {
    let session = call.session()?;
    let binding = find(call, &session.vhost)?;
    call.settled(call.node.broker.unbind(&session, &binding)?)?;
    Ok(Answer::Done)
}

/// The binding that the path names.
fn find(call: &Call, vhost: &Vhost) -> Result<Arc<Binding>, Error> {
    let key = call.parameter("key");
    let mut bindings = between(call, vhost)?;
    // An exact match counts more than one that was escaped once too little.
    bindings.sort_by_key(|binding| view::binding::properties_key(binding) != key);
    bindings.into_iter().find(|binding| view::binding::is_meant(key, binding)).ok_or(Error::NotFound)
}

fn between(call: &Call, vhost: &Vhost) -> Result<Vec<Arc<Binding>>, Error> {
    let (source, destination) = (exchanges::name(call, "source"), destination(call)?);
    if !source.is_empty() {
        let mut bindings = vhost.bindings_to(&destination);
        bindings.retain(|binding| binding.source == source);
        return Ok(bindings);
    }
    let queue = match &destination {
        Destination::Queue(name) => vhost.topology().queue(name.as_str()).cloned(),
        Destination::Exchange(_) => None,
    };
    Ok(queue.iter().map(|queue| of_default_exchange(&queue.name)).collect())
}

/// The destination of the path: `q` or `e`, and a name.
fn destination(call: &Call) -> Result<Destination, Error> {
    match call.parameter("kind") {
        "q" => Ok(Destination::Queue(call.parameter("destination").into())),
        "e" => Ok(Destination::Exchange(exchanges::name(call, "destination"))),
        _ => Err(Error::NotFound),
    }
}

/// The binding that nobody made and nobody can remove.
fn of_default_exchange(queue: &QueueName) -> Arc<Binding> {
    Arc::new(Binding {
        source: "".into(),
        destination: Destination::Queue(queue.clone()),
        key: queue.as_str().into(),
        arguments: Default::default(),
    })
}

/// Answers with bindings of a vhost, in this order.
fn answer(
    call: &Call,
    vhost: &Vhost,
    bindings: impl IntoIterator<Item = Arc<Binding>>,
) -> Result<Answer, Error> {
    answer_rows(call, bindings.into_iter().map(|binding| (vhost.name.clone(), binding)).collect())
}

fn answer_rows(call: &Call, rows: Vec<Row>) -> Result<Answer, Error> {
    call.list(
        rows,
        |(_, binding)| binding.source.as_str(),
        |_, (vhost, binding), _| view::binding::render(vhost, binding),
    )
}
