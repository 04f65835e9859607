//! The node.

use super::overview;
use super::stats::{self, Details, Figure, Group};
use crate::broker::alarms::Resource;
use crate::management::node::{Node, Usage};
use crate::store::{Counters, DiskState};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};

/// What is sampled of a node.
pub(in crate::management) const FIGURES: [Figure; 14] = [
    ("connection_created", Group::Node),
    ("connection_closed", Group::Node),
    ("channel_created", Group::Node),
    ("channel_closed", Group::Node),
    ("queue_declared", Group::Node),
    ("queue_created", Group::Node),
    ("queue_deleted", Group::Node),
    ("mem_used", Group::Node),
    ("disk_free", Group::Node),
    ("fd_used", Group::Node),
    ("io_write_count", Group::Node),
    ("io_sync_count", Group::Node),
    ("publish", Group::Messages),
    ("drop_unroutable", Group::Messages),
];

/// How many of these are churn.
const CHURN: usize = 7;
/// How many of these are shown of a node; the others are the overview's.
const OF_NODE: usize = 12;

/// These of the node.
pub(in crate::management) fn sampled(node: &Node, usage: &Usage) -> [u64; FIGURES.len()] {
    let (counters, store) = (&node.broker.counters, node.broker.store.counters());
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    [
        count(&counters.connections_created),
        count(&counters.connections_closed),
        count(&counters.channels_created),
        count(&counters.channels_closed),
        count(&counters.queues_declared),
        count(&counters.queues_created),
        count(&counters.queues_deleted),
        usage.memory,
        usage.disk_free,
        usage.files,
        store.writes,
        store.syncs,
        count(&counters.published),
        count(&counters.unroutable),
    ]
}

/// What came and went since the node started.
pub(in crate::management) fn churn(figures: &[u64; FIGURES.len()]) -> Vec<(&'static str, u64)> {
    stats::named(&FIGURES, figures).into_iter().take(CHURN).collect()
}

/// What the node uses of the machine, for those who watch it.
pub(in crate::management) fn live(
    node: &Node,
    figures: &[u64; FIGURES.len()],
    details: &dyn Details,
) -> Value {
    let mut shown = json!({
        "name": node.broker.node,
        "mem_limit": node.memory_limit,
        "mem_alarm": node.broker.alarms.is_on(Resource::Memory),
        "disk_free_limit": node.disk_free_limit,
        "disk_free_alarm": node.broker.alarms.is_on(Resource::Disk),
    });
    let used = &stats::named(&FIGURES, figures)[CHURN..OF_NODE];
    stats::extend(&mut shown, stats::figures(used, details));
    shown
}

/// Why the disk takes nothing at the moment; null if it does.
fn refused(disk: &DiskState) -> Value {
    match disk {
        DiskState::Writable => Value::Null,
        DiskState::Refusing { reason } => json!(**reason),
    }
}

/// What the journal has done, which RabbitMQ has no names for.
fn store(counters: &Counters) -> Value {
    json!({
        "journal_files": counters.files,
        "journal_files_deleted": counters.files_deleted,
        "journal_bytes_appended": counters.bytes,
        "journal_bytes_pending": counters.bytes_pending,
        "records_appended": counters.records,
        "references": counters.references,
        "messages_moved": counters.moved,
        "checkpoints": counters.checkpoints,
        "checkpoints_failed": counters.checkpoints_failed,
        "damages_found_at_start": counters.damages,
        "damaged_records_read": counters.damaged,
        "refused": refused(&counters.disk),
    })
}

/// The node with what it uses.
pub(in crate::management) fn render(node: &Node, usage: &Usage, details: &dyn Details) -> Value {
    let rate = json!({ "rate": 0.0 });
    let counters = node.broker.store.counters();
    let mut shown = json!({
        "name": node.broker.node,
        "type": "disc",
        "running": true,
        "being_drained": false,
        // A text, as RabbitMQ has it.
        "os_pid": std::process::id().to_string(),
        "uptime": usage.uptime_ms,
        "processors": std::thread::available_parallelism().map_or(1, |count| count.get()),
        "run_queue": 0,
        "mem_limit": node.memory_limit,
        "mem_alarm": node.broker.alarms.is_on(Resource::Memory),
        "mem_calculation_strategy": "rss",
        "disk_free_limit": node.disk_free_limit,
        "disk_free_alarm": node.broker.alarms.is_on(Resource::Disk),
        "fd_total": usage.files_max,
        "sockets_used": 0,
        "sockets_used_details": rate,
        "sockets_total": usage.files_max,
        "proc_used": 0,
        "proc_used_details": rate,
        "proc_total": 0,
        "partitions": [],
        "rates_mode": "basic",
        "net_ticktime": 60,
        "db_dir": node.data_dir.display().to_string(),
        "config_files": [],
        "log_files": [],
        "enabled_plugins": [],
        "cluster_links": [],
        "applications": [
            { "name": "warren", "description": "Warren", "version": env!("CARGO_PKG_VERSION") },
        ],
        "auth_mechanisms": [
            { "name": "PLAIN", "description": "SASL PLAIN authentication mechanism", "enabled": true },
            { "name": "AMQPLAIN", "description": "AMQPLAIN authentication mechanism", "enabled": true },
        ],
        "exchange_types": overview::exchange_types(),
        "contexts": overview::contexts(node),
        "rabbitmq_version": overview::COMPATIBLE_VERSION,
    });
    let sampled = stats::named(&FIGURES, &sampled(node, usage));
    stats::extend(&mut shown, stats::figures(&sampled[..OF_NODE], details));
    shown["store"] = store(&counters);
    shown
}
