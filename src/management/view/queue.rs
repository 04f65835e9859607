//! Queues and consumers.

use super::{arguments, connection, policy, stats, vhost::Depth};
use crate::arguments as fields;
use crate::broker::connections::Connection;
use crate::name::ConsumerTag;
use crate::queue::arguments::Kind;
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
    let capacity = consumer_capacity(figures);
    let (ready_ram, in_ram) =
        (figures.ready - figures.paged, figures.ready + figures.unacked - figures.paged);
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
        "consumer_capacity": capacity,
        "consumer_utilisation": capacity,
        "exclusive_consumer_tag": sole.exclusive.as_ref().map(ConsumerTag::as_str),
        "single_active_consumer_tag": sole.single_active.as_ref().map(ConsumerTag::as_str),
        "head_message_timestamp": queue.head_timestamp(),
        "memory": size_of::<Queue>() as u64 + figures.memory_bytes,
        "messages_ram": in_ram,
        "messages_ready_ram": ready_ram,
        "messages_unacknowledged_ram": figures.unacked,
        "message_bytes": figures.ready_bytes + figures.unacked_bytes,
        "message_bytes_ready": figures.ready_bytes,
        "message_bytes_unacknowledged": figures.unacked_bytes,
        "messages_paged_out": figures.paged,
        "messages_dlx": figures.leaving,
        "message_bytes_dlx": figures.leaving_bytes,
        "messages_delayed": figures.held,
    });
    if definition.kind == Kind::Quorum.name() {
        // Its replicas: here it has one.
        object["leader"] = json!(node);
        (object["members"], object["online"]) = (json!([node]), json!([node]));
    }
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

/// Whether a message that came now would be delivered at once, as a part of the time.
///
/// RabbitMQ has the mean over a while. Here it is this moment's: a message only waits while no consumer may take it.
fn consumer_capacity(figures: &Figures) -> f64 {
    if figures.consumers > 0 && figures.ready == 0 { 1.0 } else { 0.0 }
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
    let own = fields::get(&subscription.arguments, "x-consumer-timeout");
    let own_timeout_ms = own.and_then(fields::as_integer).and_then(|ms| u64::try_from(ms).ok());
    json!({
        "consumer_tag": subscription.tag.as_str(),
        "ack_required": subscription.acknowledges,
        "exclusive": subscription.exclusive,
        "prefetch_count": subscription.prefetch,
        "active": activity.is_active(),
        "activity_status": activity.name(),
        "consumer_timeout": own_timeout_ms.into_iter().chain(queue.consumer_timeout_ms()).min(),
        "arguments": arguments::from_table(&subscription.arguments),
        "channel_details": channel,
        "queue": { "name": queue.name.as_str(), "vhost": queue.vhost.as_str() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consumers_have_capacity_as_long_as_no_message_waits_for_them() {
        let capacity = |consumers, ready| {
            consumer_capacity(&Figures { consumers, ready, unacked: 5, ..Figures::default() })
        };
        assert_eq!([capacity(0, 0), capacity(0, 1), capacity(2, 0), capacity(2, 1)], [0.0, 0.0, 1.0, 0.0]);
    }
}
