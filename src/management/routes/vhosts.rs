//! Vhosts.

use crate::broker::admin::VhostChange;
use crate::broker::{self, Vhost};
use crate::definition::Permissions;
use crate::management::statistics::Spans;
use crate::management::{Answer, Call, error::Error, view, view::vhost::Depth};
use crate::name::VhostName;
use crate::outbox::Wakes;
use serde_json::Value;

pub(in crate::management) fn list(call: &Call) -> Result<Answer, Error> {
    let spans = call.spans()?;
    call.list(call.vhosts()?, |vhost| vhost.name.as_str(), move |call, vhost, _| render(call, vhost, &spans))
}

pub(in crate::management) fn show(call: &Call) -> Result<Answer, Error> {
    let vhost = call.vhost()?;
    call.object(render(call, &vhost, &call.spans()?))
}

/// Adds a vhost or changes what the body names of it. As in RabbitMQ, who adds one may do everything in it.
pub(in crate::management) fn put(call: &Call) -> Result<Answer, Error> {
    let broker = &call.node.broker;
    let name = VhostName::new(call.parameter("vhost"));
    let body = call.body()?;
    let flag = |key: &str| body.get(key).map(|_| body.flag(key)).transpose();
    let change = VhostChange {
        description: body.text("description")?.map(str::to_owned),
        tags: body.tags("tags")?,
        // As RabbitMQ shows that there is none.
        default_queue_type: body
            .text("default_queue_type")?
            .map(|kind| Some(kind).filter(|kind| *kind != "undefined").map(str::to_owned)),
        tracing: flag("tracing")?,
        protected_from_deletion: flag("protected_from_deletion")?,
    };
    let is_new = call.settled(broker.put_vhost(&call.actor(), &name, change)?)?;
    // Who runs the broker may do everything anyway.
    if is_new && !call.is_local_administrator {
        let all = || ".*".to_owned();
        let everything = Permissions { configure: all(), write: all(), read: all() };
        call.settled(broker.set_permissions(&call.actor(), &name, &call.user()?.name, everything)?)?;
    }
    Ok(Answer::put(is_new))
}

/// Protects a vhost from deletion.
pub(in crate::management) fn protect(call: &Call) -> Result<Answer, Error> {
    let (name, text) = (call.parameter("vhost"), "Cannot enable deletion protection of virtual host");
    set_protection(call, true, Error::Missing(format!("{text} '{name}' because it does not exist")))
}

/// Lets a vhost be deleted again.
pub(in crate::management) fn unprotect(call: &Call) -> Result<Answer, Error> {
    set_protection(call, false, Error::NotFound)
}

fn set_protection(call: &Call, is_protected: bool, missing: Error) -> Result<Answer, Error> {
    match call.node.broker.protect_vhost(&call.parameter("vhost").into(), is_protected) {
        Err(broker::Error::NoVhost(_)) => return Err(missing),
        outcome => call.settled(outcome?)?,
    }
    Ok(Answer::Done)
}

pub(in crate::management) fn delete(call: &Call) -> Result<Answer, Error> {
    let mut wakes = Wakes::default();
    let name = VhostName::new(call.parameter("vhost"));
    call.node.broker.vhost(&name).ok_or(Error::NotFound)?;
    let deleted = call.node.broker.delete_vhost(&call.actor(), &name, &mut wakes)?;
    drop(wakes);
    call.settled(deleted)?;
    Ok(Answer::Done)
}

/// A vhost runs from its start to its deletion: there is nothing to start again.
pub(in crate::management) fn start(call: &Call) -> Result<Answer, Error> {
    let (vhost, node) = (call.parameter("vhost"), call.parameter("node"));
    let failed = |why: &str| Err(Error::BadRequest(format!("Request to node {node} failed with {why}")));
    if node != call.node.broker.node {
        return failed("nodedown");
    }
    if call.node.broker.vhost(&vhost.into()).is_none() {
        return failed(&format!("{{no_such_vhost,<<\"{vhost}\">>}}"));
    }
    Ok(Answer::Done)
}

fn render(call: &Call, vhost: &Vhost, spans: &Spans) -> Value {
    let mut depth = Depth::default();
    vhost.queues().iter().for_each(|queue| depth.add(view::queue::depth(&queue.figures())));
    let (broker, told) = (&call.node.broker, call.node.statistics.of_vhosts([&vhost.name], spans));
    view::vhost::render(vhost.name.as_str(), &vhost.definition.read(), depth, broker, &told)
}
