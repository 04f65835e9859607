//! The overview.

use super::fields::Wanted;
use super::stats::{self, Details, Figure, Group};
use super::{connection, exchange, queue, vhost::Depth};
use crate::exchange as types;
use crate::management::node::Node;
use crate::management::statistics::Told;
use crate::queue::classic::Counters;
use serde_json::{Value, json};

/// The version of RabbitMQ whose API and behaviour this is: tools compare it before they use what came later.
pub(in crate::management) const COMPATIBLE_VERSION: &str = "4.3.5";

/// What is sampled of a vhost: what is sampled of its queues, with `publish` for what came to its exchanges, what these told
/// publishers, and what is sampled of its connections.
pub(in crate::management) const FIGURES: [Figure; BYTES + connection::FIGURES.len()] = {
    let mut all = [("", Group::Messages); BYTES + connection::FIGURES.len()];
    let mut place = 0;
    while place < all.len() {
        all[place] = match place {
            BYTES.. => connection::FIGURES[place - BYTES],
            TOLD.. => exchange::FIGURES[exchange::OWN + place - TOLD],
            _ => queue::FIGURES[place],
        };
        place += 1;
    }
    all
};

/// Where `publish` is among them.
pub(in crate::management) const PUBLISH: usize = queue::LENGTHS;
/// Where what publishers were told begins among them.
pub(in crate::management) const TOLD: usize = queue::FIGURES.len();
/// Where bytes begin among them.
pub(in crate::management) const BYTES: usize = TOLD + exchange::FIGURES.len() - exchange::OWN;

/// Adds what happened in vhosts, as of the last sample.
pub(super) fn extend_sampled(object: &mut Value, told: &Told) {
    if let Some(stats) = sampled_stats(told) {
        object["message_stats"] = stats;
    }
    stats::extend(object, stats::figures(&known(&FIGURES[BYTES..], told), told));
}

/// What happened to messages in vhosts, as of the last sample.
pub(in crate::management) fn sampled_stats(told: &Told) -> Option<Value> {
    stats::message_stats(&known(&FIGURES[PUBLISH..BYTES], told), told, &Wanted::All)
}

fn known(figures: &[Figure], told: &Told) -> Vec<(&'static str, u64)> {
    figures.iter().filter_map(|(name, _)| Some((*name, told.value(name)?))).collect()
}

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

impl Totals {
    /// Adds what there is elsewhere.
    pub(in crate::management) fn add(&mut self, other: &Totals) {
        self.connections += other.connections;
        self.channels += other.channels;
        self.consumers += other.consumers;
        self.exchanges += other.exchanges;
        self.queues += other.queues;
        self.depth.add(other.depth);
    }
}

/// The overview of a node.
pub(in crate::management) fn render(
    node: &Node,
    totals: &Totals,
    message_stats: Option<Value>,
    churn: &[(&str, u64)],
    details: &dyn Details,
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
        "disable_stats": !node.statistics.are_on(),
        "default_queue_type": node.broker.rules().default_queue_type.as_deref().unwrap_or("classic"),
        "is_op_policy_updating_enabled": !node.config.config().operator_policies_are_fixed,
        "enable_queue_totals": false,
        "message_stats": message_stats.unwrap_or_else(|| json!({})),
        "churn_rates": stats::figures(churn, details),
        "queue_totals": totals.depth.fields(details),
        "object_totals": object_totals(totals),
        "statistics_db_event_queue": 0,
        "node": node.broker.node,
        "listeners": listeners(node),
        "contexts": contexts(node),
    })
}

/// How many objects there are of each kind.
pub(super) fn object_totals(totals: &Totals) -> Value {
    json!({
        "connections": totals.connections,
        "channels": totals.channels,
        "consumers": totals.consumers,
        "exchanges": totals.exchanges,
        "queues": totals.queues,
    })
}

/// What happened to messages: in queues, and before they reached any. What is counted for the node as a whole counts.
pub(in crate::management) fn message_stats(
    in_queues: &Counters,
    of_node: &[(&'static str, u64)],
    details: &dyn Details,
) -> Option<Value> {
    let is_of_node = |name: &str| of_node.iter().any(|(other, _)| *other == name);
    let in_queues = queue::message_stats(in_queues).into_iter().filter(|(name, _)| !is_of_node(name));
    let counters: Vec<_> = in_queues.chain(of_node.iter().copied()).collect();
    stats::message_stats(&counters, details, &Wanted::All)
}

/// The exchange types there are.
pub(in crate::management) fn exchange_types() -> Value {
    types::TYPES
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
