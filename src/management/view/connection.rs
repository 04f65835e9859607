//! Connections and channels.

use super::arguments;
use super::fields::Wanted;
use super::stats::{self, Details, Figure, Group};
use crate::broker::connections::{Channel, Connection};
use crate::counts::ChannelCounts;
use crate::name::ChannelId;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is sampled of a connection.
pub(in crate::management) const FIGURES: [Figure; 2] = [("recv_oct", Group::Data), ("send_oct", Group::Data)];

/// These of a connection.
pub(in crate::management) fn sampled(connection: &Connection) -> [u64; FIGURES.len()] {
    [&connection.traffic.received_bytes, &connection.traffic.sent_bytes].map(count)
}

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// A connection on a node.
pub(in crate::management) fn render(connection: &Connection, node: &str, details: &dyn Details) -> Value {
    let traffic = &connection.traffic;
    let mut object = json!({
        "name": connection.name,
        "node": node,
        "user": connection.user.as_str(),
        "user_who_performed_action": connection.user.as_str(),
        "vhost": connection.vhost.as_str(),
        "host": host(connection.local),
        "port": connection.local.port(),
        "peer_host": host(connection.peer),
        "peer_port": connection.peer.port(),
        "protocol": connection.protocol,
        "auth_mechanism": connection.auth_mechanism,
        "ssl": false,
        "ssl_protocol": null,
        "ssl_key_exchange": null,
        "ssl_cipher": null,
        "ssl_hash": null,
        "peer_cert_subject": null,
        "peer_cert_issuer": null,
        "peer_cert_validity": null,
        "state": if connection.is_blocked.load(Ordering::Relaxed) { "blocked" } else { "running" },
        "channels": connection.channels.lock().len(),
        "channel_max": connection.channel_max,
        "frame_max": connection.frame_max,
        "timeout": connection.heartbeat_s,
        "client_properties": arguments::from_table(&connection.client_properties),
        "connected_at": connection.connected_at.0,
        "recv_cnt": count(&traffic.received_reads),
        "send_cnt": count(&traffic.sent_writes),
        "send_pend": 0,
        "type": "network",
    });
    if let Some(name) = &connection.user_provided_name {
        object["user_provided_name"] = json!(name);
    }
    let bytes = stats::named(&FIGURES, &sampled(connection));
    stats::extend(&mut object, stats::figures(&bytes, details));
    object
}

/// What a channel is called in paths and lists.
pub(in crate::management) fn channel_name(connection: &Connection, channel: ChannelId) -> String {
    format!("{} ({channel})", connection.name)
}

/// What is sampled of a channel.
pub(in crate::management) const CHANNEL_FIGURES: [Figure; 12] = [
    ("publish", Group::Messages),
    ("confirm", Group::Messages),
    ("return_unroutable", Group::Messages),
    ("drop_unroutable", Group::Messages),
    ("deliver", Group::Messages),
    ("deliver_no_ack", Group::Messages),
    ("deliver_get", Group::Messages),
    ("get", Group::Messages),
    ("get_no_ack", Group::Messages),
    ("get_empty", Group::Messages),
    ("ack", Group::Messages),
    ("redeliver", Group::Messages),
];

/// These of a channel.
pub(in crate::management) fn channel_sampled(counts: &ChannelCounts) -> [u64; CHANNEL_FIGURES.len()] {
    [
        counts.published,
        counts.confirmed,
        counts.returned,
        counts.dropped,
        counts.delivered_ack,
        counts.delivered,
        counts.delivered_ack + counts.delivered + counts.got_ack + counts.got,
        counts.got_ack,
        counts.got,
        counts.got_empty,
        counts.acked,
        counts.redelivered,
    ]
}

/// A channel of a connection.
pub(in crate::management) fn channel(
    connection: &Connection,
    channel: &Channel,
    node: &str,
    details: &dyn Details,
) -> Value {
    let mut object = json!({
        "name": channel_name(connection, channel.id),
        "number": channel.id.0,
        "node": node,
        "user": connection.user.as_str(),
        "user_who_performed_action": connection.user.as_str(),
        "vhost": connection.vhost.as_str(),
        "connection_details": {
            "name": connection.name,
            "peer_host": host(connection.peer),
            "peer_port": connection.peer.port(),
        },
        "state": "running",
        "transactional": channel.is_transactional,
        "confirm": channel.is_confirm,
        "consumer_count": channel.consumers,
        "messages_unacknowledged": channel.unacked,
        "messages_unconfirmed": channel.unconfirmed,
        "messages_uncommitted": channel.uncommitted_messages,
        "acks_uncommitted": channel.uncommitted_acks,
        "prefetch_count": channel.prefetch,
        "global_prefetch_count": channel.global_prefetch,
        "pending_raft_commands": 0,
        "cached_segments": 0,
    });
    if let Some(since) = details.idle_since() {
        object["idle_since"] = stats::date(since);
    }
    let counts = stats::named(&CHANNEL_FIGURES, &channel_sampled(&channel.counts));
    if let Some(stats) = stats::message_stats(&counts, details, &Wanted::All) {
        object["message_stats"] = stats;
    }
    object
}

/// What is shown of a channel beside its consumers.
pub(in crate::management) fn channel_details(
    connection: &Connection,
    channel: ChannelId,
    node: &str,
) -> Value {
    json!({
        "connection_name": connection.name,
        "name": channel_name(connection, channel),
        "node": node,
        "number": channel.0,
        "peer_host": host(connection.peer),
        "peer_port": connection.peer.port(),
        "user": connection.user.as_str(),
    })
}

/// What is shown of the connection that an exclusive queue belongs to.
pub(in crate::management) fn owner_details(connection: &Connection) -> Value {
    json!({
        "name": connection.name,
        "peer_host": host(connection.peer),
        "peer_port": connection.peer.port(),
    })
}

/// The address without its port; an IPv4 address within IPv6 as IPv4.
fn host(address: SocketAddr) -> String {
    address.ip().to_canonical().to_string()
}
