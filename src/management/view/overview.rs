//! The overview.

use super::{queue, stats, vhost::Depth};
use crate::exchange;
use crate::management::node::Node;
use crate::queue::classic::Counters;
use serde_json::{Value, json};

/// The version of RabbitMQ whose API and behaviour this is: tools compare it before they use what came later.
pub(in crate::management) const COMPATIBLE_VERSION: &str = "4.3.5";

/// How much there is, in the vhosts that the user may see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::management) struct Totals {
    pub(in crate::management) connections: usize,
    pub(in crate::management) channels: usize,
    pub(in crate::management) consumers: usize,
    pub(in crate::management) exchanges: usize,
    pub(in crate::management) queues: usize,
    pub(in crate::management) depth: Depth,
}

/// The overview of a node.
pub(in crate::management) fn render(
    node: &Node,
    totals: &Totals,
    message_stats: Option<Value>,
    churn: &[(&str, u64)],
) -> Value {
    json!({
        "management_version": COMPATIBLE_VERSION,
        "rates_mode": "basic",
        "sample_retention_policies": {
            "global": [600, 3600, 28800, 86400],
            "basic": [600, 3600],
            "detailed": [600],
        },
        "exchange_types": exchange_types(),
        "product_name": "Warren",
        "product_version": env!("CARGO_PKG_VERSION"),
        "rabbitmq_version": COMPATIBLE_VERSION,
        "cluster_name": node.broker.cluster_name(),
        "cluster_tags": {},
        "node_tags": {},
        "erlang_version": "",
        "erlang_full_version": "",
        "crypto_lib_version": "",
        "release_series_support_status": "supported",
        "disable_stats": false,
        "default_queue_type": node.broker.rules().default_queue_type.as_deref().unwrap_or("classic"),
        "is_op_policy_updating_enabled": !node.config.config().operator_policies_are_fixed,
        "enable_queue_totals": false,
        "message_stats": message_stats.unwrap_or_else(|| json!({})),
        "churn_rates": stats::counters(churn),
        "queue_totals": totals.depth.fields(),
        "object_totals": {
            "connections": totals.connections,
            "channels": totals.channels,
            "consumers": totals.consumers,
            "exchanges": totals.exchanges,
            "queues": totals.queues,
        },
        "statistics_db_event_queue": 0,
        "node": node.broker.node,
        "listeners": listeners(node),
        "contexts": contexts(node),
    })
}

/// What happened to messages in all queues, and how many reached none.
pub(in crate::management) fn message_stats(counters: &Counters, unroutable: u64) -> Option<Value> {
    let mut counters = queue::message_stats(counters).to_vec();
    counters.push(("drop_unroutable", unroutable));
    stats::message_stats(&counters)
}

/// The exchange types there are.
pub(in crate::management) fn exchange_types() -> Value {
    exchange::TYPES
        .iter()
        .map(|kind| json!({ "name": kind.name(), "description": kind.description(), "enabled": true }))
        .collect()
}

/// Where HTTP is served, and what for.
pub(in crate::management) fn contexts(node: &Node) -> Value {
    let http = node.listeners.iter().filter(|listener| listener.protocol == "http");
    http.map(|listener| {
        json!({
            "description": "Warren management",
            "path": "/",
            // A text, as RabbitMQ has it.
            "port": listener.address.port().to_string(),
            "ssl_opts": [],
            "node": node.broker.node,
        })
    })
    .collect()
}

fn listeners(node: &Node) -> Value {
    let listener = |listener: &crate::management::Listener| {
        json!({
            "node": node.broker.node,
            "protocol": listener.protocol,
            "ip_address": listener.address.ip().to_string(),
            "port": listener.address.port(),
            "tls": false,
            "socket_opts": { "nodelay": true },
        })
    };
    node.listeners.iter().map(listener).collect()
}
