//! Feature flags and deprecated features: RabbitMQ's names for what this broker can, and for what clients should not
//! rely on. Nothing here is ever switched: what the broker can, it does.

use crate::broker::{Broker, connections::Channel};
use crate::management::{Answer, Call, error::Error, view, view::feature::Phase};
use crate::queue::Queue;
use std::sync::Arc;

/// What the broker can, of what RabbitMQ has flags for: its name, and in words.
const FLAGS: &[(&str, &str)] = &[
    ("detailed_queues_endpoint", "All that is known of queues under `/api/queues/detailed`"),
    (
        "implicit_default_bindings",
        "Bindings of the default exchange are not kept, they follow from the queues",
    ),
    ("quorum_queue", "Queues of type `quorum`"),
    ("rabbitmq_4.0.0", "What clients and tools rely on since RabbitMQ 4.0"),
    ("rabbitmq_4.1.0", "What clients and tools rely on since RabbitMQ 4.1"),
    ("rabbitmq_4.2.0", "What clients and tools rely on since RabbitMQ 4.2"),
    ("rabbitmq_4.3.0", "What clients and tools rely on since RabbitMQ 4.3"),
    ("user_limits", "Limits of connections and channels for users"),
    ("virtual_host_metadata", "Descriptions, tags and default queue types of virtual hosts"),
];

/// Something that clients should not rely on, though it may work.
struct Deprecated {
    name: &'static str,
    description: &'static str,
    phase: Phase,
    is_used: fn(&Broker) -> bool,
}

const DEPRECATED: &[Deprecated] = &[
    Deprecated {
        name: "classic_queue_mirroring",
        description: "Classic queues with copies on other nodes: policies with `ha-mode`",
        phase: Phase::Removed,
        is_used: |_| false,
    },
    Deprecated {
        name: "global_qos",
        description: "A prefetch that the consumers of a channel share: `basic.qos` with `global`",
        phase: Phase::Permitted,
        is_used: has_global_prefetch,
    },
    Deprecated {
        name: "ram_node_type",
        description: "Nodes that keep definitions in memory only",
        phase: Phase::Removed,
        is_used: |_| false,
    },
    Deprecated {
        name: "transient_nonexcl_queues",
        description: "Queues that are neither durable nor exclusive",
        phase: Phase::Permitted,
        is_used: has_transient_queue,
    },
];

fn has_global_prefetch(broker: &Broker) -> bool {
    let is_global = |channel: &Channel| channel.global_prefetch > 0;
    broker.connections.all().iter().any(|connection| connection.channels.lock().iter().any(is_global))
}

fn has_transient_queue(broker: &Broker) -> bool {
    let is_transient = |queue: &Arc<Queue>| !queue.definition.durable && !queue.definition.exclusive;
    broker.vhosts().iter().any(|vhost| vhost.queues().iter().any(is_transient))
}

pub(in crate::management) fn list_flags(call: &Call) -> Result<Answer, Error> {
    let flags = FLAGS.iter().collect();
    call.list(flags, |(name, _)| name, |_, (name, description), _| view::feature::flag(name, description))
}

/// Does nothing to a flag that there is, because it is on.
pub(in crate::management) fn enable_flag(call: &Call) -> Result<Answer, Error> {
    let is_there = FLAGS.iter().any(|(name, _)| *name == call.parameter("name"));
    if is_there { Ok(Answer::Done) } else { Err(Error::BadRequest("unsupported".into())) }
}

pub(in crate::management) fn list_deprecated(call: &Call) -> Result<Answer, Error> {
    render(call, DEPRECATED.iter().collect())
}

/// Those that somebody relies on now.
pub(in crate::management) fn list_used(call: &Call) -> Result<Answer, Error> {
    render(call, DEPRECATED.iter().filter(|feature| (feature.is_used)(&call.node.broker)).collect())
}

fn render(call: &Call, features: Vec<&'static Deprecated>) -> Result<Answer, Error> {
    call.list(
        features,
        |feature| feature.name,
        |_, feature, _| view::feature::deprecated(feature.name, feature.description, feature.phase),
    )
}
