//! The overview: what the node is and how much it holds.

use super::connections;
use crate::management::statistics::Both;
use crate::management::{Answer, Call, error::Error, view, view::overview::Totals};
use crate::queue::classic;
use serde_json::json;

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
        totals.exchanges += vhost.topology().exchange_count();
        let queues = vhost.queues();
        totals.queues += queues.len();
        for queue in queues {
            let figures = queue.figures();
            totals.consumers += figures.consumers;
            totals.depth.add(view::queue::depth(&figures));
            sum += &figures.counters;
        }
    }
    // Queues that are gone leave their counts behind, so that none of them falls.
    call.node.broker.services.gone.lock().iter().for_each(|gone| sum += gone);
    let (statistics, spans) = (&call.node.statistics, call.spans()?);
    let of_vhosts = statistics.of_vhosts(vhosts.iter().map(|vhost| &vhost.name), &spans);
    // Who may not see all vhosts is told of no others.
    let of_some = view::overview::sampled_stats(&of_vhosts);
    let details = Both(statistics.of_node(&spans), of_vhosts);
    let figures = view::node::sampled(&call.node, &call.node.usage());
    let stats = if call.user()?.tags.is_monitoring() {
        view::overview::message_stats(&sum, &view::node::messages(&figures), &details)
    } else {
        of_some
    };
    let churn = view::node::churn(&figures);
    call.object(view::overview::render(&call.node, &totals, stats, &churn, &details))
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
