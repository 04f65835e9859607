//! What a quorum queue refuses, in RabbitMQ's words: this node is its only member, but a client that was written for
//! quorum queues meets the same rules, and its queues can be replicated one day.

use super::error::{Error, Resource};
use crate::definition;
use crate::queue::Queue;
use crate::queue::arguments::Kind;

/// Whether it is one.
pub(super) fn is(kind: &str) -> bool {
    kind == Kind::Quorum.name()
}

/// A quorum queue is durable, has a name of its own and belongs to nobody.
pub(super) fn check_declare(
    resource: &Resource,
    definition: &definition::Queue,
    is_exclusive: bool,
    is_server_named: bool,
) -> Result<(), Error> {
    if !is(&definition.kind) {
        return Ok(());
    }
    if is_server_named {
        return Err(Error::ServerNamed { module: Kind::Quorum.module() });
    }
    let properties = [
        ("auto-delete", definition.auto_delete),
        ("exclusive-owner", is_exclusive),
        ("non-durable", !definition.durable && !is_exclusive),
    ];
    match properties.into_iter().find(|(_, is_set)| *is_set) {
        Some((property, _)) => Err(Error::InvalidProperty { property, resource: resource.clone() }),
        None => Ok(()),
    }
}

/// Its consumers' limits are their own.
pub(super) fn check_subscribe(
    resource: &Resource,
    queue: &Queue,
    has_shared_limit: bool,
) -> Result<(), Error> {
    if has_shared_limit && is(&queue.definition.kind) {
        return Err(Error::SharedLimit(resource.clone()));
    }
    Ok(())
}

/// With a single active consumer nobody takes messages past it.
pub(super) fn check_get(resource: &Resource, queue: &Queue) -> Result<(), Error> {
    if is(&queue.definition.kind) && queue.has_single_active() {
        return Err(Error::GetBesideSingleActive(resource.clone()));
    }
    Ok(())
}
