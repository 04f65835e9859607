//! Queues and consumers.

use super::fields::{Fields, Wanted};
use super::stats::{self, Details, Figure, Group};
use super::{arguments, connection, policy, vhost::Depth};
use crate::arguments as table;
use crate::broker::connections::Connection;
use crate::name::ConsumerTag;
use crate::queue::arguments::Kind;
use crate::queue::classic::{Activity, Counters, Figures};
use crate::queue::{Queue, Subscription};
use serde_json::{Value, json};

/// What is sampled of a queue: three lengths, then what happened to its messages.
pub(in crate::management) const FIGURES: [Figure; 12] = [
    ("messages", Group::Lengths),
    ("messages_ready", Group::Lengths),
    ("messages_unacknowledged", Group::Lengths),
    ("publish", Group::Messages),
    ("deliver", Group::Messages),
    ("deliver_no_ack", Group::Messages),
    ("deliver_get", Group::Messages),
    ("get", Group::Messages),
    ("get_no_ack", Group::Messages),
    ("get_empty", Group::Messages),
    ("ack", Group::Messages),
    ("redeliver", Group::Messages),
];

/// How many of them are lengths.
pub(in crate::management) const LENGTHS: usize = 3;

/// These of a queue.
pub(in crate::management) fn sampled(figures: &Figures) -> [u64; FIGURES.len()] {
    let (lengths, counters) = (depth(figures).lengths(), message_stats(&figures.counters));
    std::array::from_fn(|place| lengths.get(place).copied().unwrap_or_else(|| counters[place - LENGTHS].1))
}

/// The fields that tell which queue it is: those of lists without statistics.
pub(in crate::management) const IDENTITY: &[&str] = &[
    "name",
    "vhost",
    "type",
    "durable",
    "auto_delete",
    "exclusive",
    "arguments",
    "node",
    "state",
    "internal",
    "policy",
    "operator_policy",
    "effective_policy_definition",
    "owner_pid_details",
    "leader",
    "members",
    "online",
];

/// What such lists have beside them when they are to tell how much the queues hold.
pub(in crate::management) const TOTALS: &[&str] = &["messages", "messages_ready", "messages_unacknowledged"];

/// A queue on a node; `owner` is the connection of an exclusive one.
pub(in crate::management) fn render(
    queue: &Queue,
    owner: Option<&Connection>,
    node: &str,
    details: &dyn Details,
    wanted: &Wanted,
) -> Value {
    let mut fields = Fields::new(wanted);
    let definition = &queue.definition;
    fields.put("name", || queue.name.as_str());
    fields.put("vhost", || queue.vhost.as_str());
    fields.put("type", || definition.kind.as_str());
    fields.put("durable", || definition.durable);
    fields.put("auto_delete", || definition.auto_delete);
    fields.put("exclusive", || definition.exclusive);
    fields.put("arguments", || arguments::from_table(&definition.arguments));
    fields.put("node", || node);
    fields.put("state", || "running");
    fields.put("internal", || false);
    if definition.kind == Kind::Quorum.name() {
        // Its replicas: here it has one.
        fields.put("leader", || node);
        fields.put("members", || json!([node]));
        fields.put("online", || json!([node]));
    }
    if policy::FIELDS.iter().any(|name| wanted.has(name)) {
        policy::put(&mut fields, &queue.policy());
    }
    if let Some(since) = details.idle_since() {
        fields.put("idle_since", || stats::date(since));
    }
    if let Some(owner) = owner {
        fields.put("owner_pid_details", || connection::owner_details(owner));
    }
    // Its lock is asked for no more often than there is need to.
    if wanted.has_more_than(IDENTITY) {
        put_figures(&mut fields, &queue.figures(), details);
    }
    if wanted.has("exclusive_consumer_tag") || wanted.has("single_active_consumer_tag") {
        let sole = queue.sole_consumers();
        fields.put("exclusive_consumer_tag", || sole.exclusive.as_ref().map(ConsumerTag::as_str));
        fields.put("single_active_consumer_tag", || sole.single_active.as_ref().map(ConsumerTag::as_str));
    }
    fields.put("head_message_timestamp", || queue.head_timestamp());
    fields.into_value()
}

/// Whether rates or samples are among what is wanted of queues.
pub(in crate::management) fn wants_details(wanted: &Wanted) -> bool {
    wanted.has("message_stats")
        || wanted.has("idle_since")
        || TOTALS.iter().any(|name| wanted.has_details(name))
}

/// The replicas of a quorum queue, by RabbitMQ's names.
pub(in crate::management) fn replicas(node: &str) -> Value {
    json!([{ "Node Name": node, "Raft State": "leader", "Membership": "voter" }])
}

/// What it holds, and what happened to its messages.
fn put_figures(fields: &mut Fields<'_>, figures: &Figures, details: &dyn Details) {
    fields.put("consumers", || figures.consumers);
    fields.put("consumer_capacity", || consumer_capacity(figures));
    fields.put("consumer_utilisation", || consumer_capacity(figures));
    fields.put("memory", || size_of::<Queue>() as u64 + figures.memory_bytes);
    fields.put("messages_ram", || figures.ready + figures.unacked - figures.paged);
    fields.put("messages_ready_ram", || figures.ready - figures.paged);
    fields.put("messages_paged_out", || figures.paged);
    fields.put("messages_unacknowledged_ram", || figures.unacked);
    fields.put("messages_persistent", || figures.durable);
    fields.put("message_bytes_persistent", || figures.durable_bytes);
    fields.put("message_bytes", || figures.ready_bytes + figures.unacked_bytes);
    fields.put("message_bytes_ready", || figures.ready_bytes);
    fields.put("message_bytes_unacknowledged", || figures.unacked_bytes);
    fields.put("messages_dlx", || figures.leaving);
    fields.put("message_bytes_dlx", || figures.leaving_bytes);
    fields.put("messages_delayed", || figures.held);
    for (name, length) in TOTALS.iter().zip(depth(figures).lengths()) {
        fields.put_figure(name, length, || details.of(name));
    }
    if !fields.wanted().has("message_stats") {
        return;
    }
    let counters = message_stats(&figures.counters);
    if let Some(stats) = stats::message_stats(&counters, details, fields.wanted().under("message_stats")) {
        fields.put("message_stats", || stats);
    }
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
pub(super) fn message_stats(counters: &Counters) -> [(&'static str, u64); 9] {
    let deliver_get = counters.delivered + counters.delivered_no_ack + counters.got + counters.got_no_ack;
    [
        ("publish", counters.published),
        ("deliver", counters.delivered),
        ("deliver_no_ack", counters.delivered_no_ack),
        ("deliver_get", deliver_get),
        ("get", counters.got),
        ("get_no_ack", counters.got_no_ack),
        ("get_empty", counters.got_empty),
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
    let own = table::get(&subscription.arguments, "x-consumer-timeout");
    let own_timeout_ms = own.and_then(table::as_integer).and_then(|ms| u64::try_from(ms).ok());
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
    fn what_is_sampled_has_the_names_of_what_is_shown() {
        let names: Vec<&str> = FIGURES.iter().map(|(name, _)| *name).collect();
        let counters = message_stats(&Counters::default());
        let shown: Vec<&str> = TOTALS.iter().copied().chain(counters.iter().map(|(name, _)| *name)).collect();
        assert_eq!(names, shown);
    }

    #[test]
    fn consumers_have_capacity_as_long_as_no_message_waits_for_them() {
        let capacity = |consumers, ready| {
            consumer_capacity(&Figures { consumers, ready, unacked: 5, ..Figures::default() })
        };
        assert_eq!([capacity(0, 0), capacity(0, 1), capacity(2, 0), capacity(2, 1)], [0.0, 0.0, 1.0, 0.0]);
    }
}
