//! Vhosts.

use super::overview;
use super::stats::{self, Details};
use crate::broker::Broker;
use crate::definition::Vhost;
use crate::management::statistics::Told;
use serde_json::{Map, Value, json};

/// Messages in some queues, as vhosts, the overview and single queues count them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::management) struct Depth {
    pub(in crate::management) ready: u64,
    pub(in crate::management) unacked: u64,
    /// Neither: dead letters on their way, and what came back and waits.
    pub(in crate::management) aside: u64,
}

impl Depth {
    /// Adds what other queues hold.
    pub(in crate::management) fn add(&mut self, other: Depth) {
        self.ready += other.ready;
        self.unacked += other.unacked;
        self.aside += other.aside;
    }

    /// The fields `messages`, `messages_ready` and `messages_unacknowledged` with their details.
    pub(in crate::management) fn fields(self, details: &dyn Details) -> Map<String, Value> {
        let names = ["messages", "messages_ready", "messages_unacknowledged"];
        let lengths = self.lengths();
        stats::figures(&std::array::from_fn::<_, 3, _>(|place| (names[place], lengths[place])), details)
    }

    /// All messages, those that are ready, those that are unacked.
    pub(in crate::management) fn lengths(self) -> [u64; 3] {
        [self.ready + self.unacked + self.aside, self.ready, self.unacked]
    }
}

/// A vhost on a node.
pub(in crate::management) fn render(
    name: &str,
    vhost: &Vhost,
    depth: Depth,
    broker: &Broker,
    told: &Told,
) -> Value {
    let (node, rules) = (&broker.node, broker.rules());
    let default_queue_type = vhost.default_queue_type.as_ref().or(rules.default_queue_type.as_ref());
    let default_queue_type = default_queue_type.map_or("classic", String::as_str);
    let mut object = json!({
        "name": name,
        "description": vhost.description,
        "tags": vhost.tags,
        "default_queue_type": default_queue_type,
        "metadata": {
            "description": vhost.description,
            "tags": vhost.tags,
            "default_queue_type": default_queue_type,
            "protected_from_deletion": vhost.protected_from_deletion,
        },
        "protected_from_deletion": vhost.protected_from_deletion,
        "tracing": vhost.tracing,
        "cluster_state": { node: "running" },
    });
    stats::extend(&mut object, depth.fields(told));
    overview::extend_sampled(&mut object, told);
    object
}
