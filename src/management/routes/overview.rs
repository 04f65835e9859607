//! The overview: what the node is and how much it holds.

use super::connections;
use crate::management::statistics::Both;
use crate::management::{Answer, Call, error::Error, view, view::overview::Totals};
use crate::queue::classic;
use serde_json::json;
use std::sync::atomic::{AtomicU64, Ordering};

pub(in crate::management) fn show(call: &Call) -> Result<Answer, Error> {
    let connections = connections::visible(call)?;
    let mut totals = Totals {
        connections: connections.len(),
        channels: connections.iter().map(|connection| connection.channels.lock().len()).sum(),
        ..Totals::default()
    };
    let mut sum = classic::Counters::default();
    let vhosts = call.vhosts()?;
    for vhost in &vhosts {
        totals.exchanges += vhost.topology().exchanges().count();
        let queues = vhost.queues();
        totals.queues += queues.len();
        for queue in queues {
            let figures = queue.figures();
            totals.consumers += figures.consumers;
            totals.depth.add(view::queue::depth(&figures));
            add(&mut sum, &figures.counters);
        }
    }
    let (counters, statistics, spans) = (&call.node.broker.counters, &call.node.statistics, call.spans()?);
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    // What was published to exchanges is counted for the node as a whole.
    sum.published = count(&counters.published);
    let details = Both(
        statistics.of_node(&spans),
        statistics.of_vhosts(vhosts.iter().map(|vhost| &vhost.name), &spans),
    );
    let stats = view::overview::message_stats(&sum, count(&counters.dropped), &details);
    let churn = view::node::churn(&view::node::sampled(&call.node, &call.node.usage()));
    call.object(view::overview::render(&call.node, &totals, stats, &churn, &details))
}

fn add(sum: &mut classic::Counters, other: &classic::Counters) {
    sum.delivered += other.delivered;
    sum.delivered_no_ack += other.delivered_no_ack;
    sum.redelivered += other.redelivered;
    sum.got += other.got;
    sum.got_no_ack += other.got_no_ack;
    sum.acked += other.acked;
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
