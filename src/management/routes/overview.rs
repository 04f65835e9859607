//! The overview: what the node is and how much it holds.

use super::connections;
use crate::broker::Counters;
use crate::management::{Answer, Call, error::Error, view, view::overview::Totals};
use crate::queue::classic;
use serde_json::json;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

pub(in crate::management) fn show(call: &Call) -> Result<Answer, Error> {
    let connections = connections::visible(call)?;
    let mut totals = Totals {
        connections: connections.len(),
        channels: connections.iter().map(|connection| connection.channels.lock().len()).sum(),
        ..Totals::default()
    };
    let mut sum = classic::Counters::default();
    for vhost in call.vhosts()? {
        let topology = vhost.topology();
        totals.exchanges += topology.exchanges().count();
        let queues: Vec<_> = topology.queues().map(Arc::clone).collect();
        drop(topology);
        totals.queues += queues.len();
        for queue in queues {
            let figures = queue.figures();
            totals.consumers += figures.consumers;
            totals.depth.add(view::queue::depth(&figures));
            add(&mut sum, &figures.counters);
        }
    }
    let counters = &call.node.broker.counters;
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    // What was published to exchanges is counted for the node as a whole.
    sum.published = count(&counters.published);
    let stats = view::overview::message_stats(&sum, count(&counters.dropped));
    call.object(view::overview::render(&call.node, &totals, stats, &churn(counters)))
}

fn add(sum: &mut classic::Counters, other: &classic::Counters) {
    sum.delivered += other.delivered;
    sum.delivered_no_ack += other.delivered_no_ack;
    sum.redelivered += other.redelivered;
    sum.got += other.got;
    sum.got_no_ack += other.got_no_ack;
    sum.acked += other.acked;
}

fn churn(counters: &Counters) -> [(&'static str, u64); 7] {
    [
        ("connection_created", &counters.connections_created),
        ("connection_closed", &counters.connections_closed),
        ("channel_created", &counters.channels_created),
        ("channel_closed", &counters.channels_closed),
        ("queue_declared", &counters.queues_declared),
        ("queue_created", &counters.queues_created),
        ("queue_deleted", &counters.queues_deleted),
    ]
    .map(|(name, counter)| (name, counter.load(Ordering::Relaxed)))
}

pub(in crate::management) fn cluster_name(call: &Call) -> Result<Answer, Error> {
    call.object(json!({ "name": call.node.broker.cluster_name() }))
}

pub(in crate::management) fn put_cluster_name(call: &Call) -> Result<Answer, Error> {
    let body = call.body()?;
    body.require(&["name"])?;
    let put = call.node.broker.set_cluster_name(&call.actor(), body.text("name")?.unwrap_or_default())?;
    call.settled(put)?;
    Ok(Answer::Done)
}

/// The product's version, as the overview has it: RabbitMQ's is in there, too.
pub(in crate::management) fn version(_: &Call) -> Result<Answer, Error> {
    Ok(Answer::Json(json!(env!("CARGO_PKG_VERSION"))))
}

/// RabbitMQ lists the scripts of its plugins' pages here; tools only want the list to be there.
pub(in crate::management) fn extensions(_: &Call) -> Result<Answer, Error> {
    Ok(Answer::Json(json!([])))
}
