//! Queues and consumers.

use super::{arguments, connection, policy, stats, vhost::Depth};
use crate::broker::connections::Connection;
use crate::name::ConsumerTag;
use crate::queue::classic::{Activity, Counters, Figures};
use crate::queue::{Queue, Subscription};
use serde_json::{Value, json};

/// A queue on a node; `owner` is the connection of an exclusive one.
pub(in crate::management) fn render(
    queue: &Queue,
    figures: &Figures,
    owner: Option<&Connection>,
    node: &str,
) -> Value {
    let definition = &queue.definition;
    let sole = queue.sole_consumers();
    let mut object = json!({
        "name": queue.name.as_str(),
        "vhost": queue.vhost.as_str(),
        "type": definition.kind,
        "durable": definition.durable,
        "auto_delete": definition.auto_delete,
        "exclusive": definition.exclusive,
        "arguments": arguments::from_table(&definition.arguments),
        "node": node,
        "state": "running",
        "internal": false,
        "consumers": figures.consumers,
        "consumer_capacity": 0.0,
        "consumer_utilisation": 0.0,
        "exclusive_consumer_tag": sole.exclusive.as_ref().map(ConsumerTag::as_str),
        "single_active_consumer_tag": sole.single_active.as_ref().map(ConsumerTag::as_str),
        "head_message_timestamp": null,
        "memory": size_of::<Queue>() as u64 + figures.ready_bytes + figures.unacked_bytes,
        "messages_ram": figures.ready + figures.unacked,
        "messages_ready_ram": figures.ready,
        "messages_unacknowledged_ram": figures.unacked,
        "message_bytes": figures.ready_bytes + figures.unacked_bytes,
        "message_bytes_ready": figures.ready_bytes,
        "message_bytes_unacknowledged": figures.unacked_bytes,
        "message_bytes_ram": figures.ready_bytes + figures.unacked_bytes,
        "messages_dlx": figures.leaving,
        "message_bytes_dlx": figures.leaving_bytes,
        "messages_delayed": figures.held,
    });
    policy::extend(&mut object, &queue.policy());
    stats::extend(&mut object, depth(figures).fields());
    if let Some(owner) = owner {
        object["owner_pid_details"] = connection::owner_details(owner);
    }
    if let Some(stats) = stats::message_stats(&message_stats(&figures.counters)) {
        object["message_stats"] = stats;
    }
    object
}

/// What a queue holds, to be added up.
pub(in crate::management) fn depth(figures: &Figures) -> Depth {
    let (ready, unacked) = (figures.ready as u64, figures.unacked as u64);
    Depth { ready, unacked, aside: figures.aside() as u64 }
}

/// A queue's counters by RabbitMQ's names.
pub(super) fn message_stats(counters: &Counters) -> [(&'static str, u64); 8] {
    let deliver_get = counters.delivered + counters.delivered_no_ack + counters.got + counters.got_no_ack;
    [
        ("publish", counters.published),
        ("deliver", counters.delivered),
        ("deliver_no_ack", counters.delivered_no_ack),
        ("deliver_get", deliver_get),
        ("get", counters.got),
        ("get_no_ack", counters.got_no_ack),
        ("ack", counters.acked),
        ("redeliver", counters.redelivered),
    ]
}

/// A consumer of a queue; `channel` is what is shown of its channel.
pub(in crate::management) fn consumer(
    queue: &Queue,
    (subscription, activity): &(Subscription, Activity),
    channel: Value,
) -> Value {
    json!({
        "consumer_tag": subscription.tag.as_str(),
        "ack_required": subscription.acknowledges,
        "exclusive": subscription.exclusive,
        "prefetch_count": subscription.prefetch,
        "active": activity.is_active(),
        "activity_status": activity.name(),
        "arguments": arguments::from_table(&subscription.arguments),
        "channel_details": channel,
        "queue": { "name": queue.name.as_str(), "vhost": queue.vhost.as_str() },
    })
}
