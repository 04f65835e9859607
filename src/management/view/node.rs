//! The node.

use super::overview;
use super::stats::{self, Details, Figure, Group};
use crate::broker::alarms::Resource;
use crate::management::node::{MemoryUsage, Node, Usage};
use crate::store::{Counters, DiskState};
use serde_json::{Map, Value, json};
use std::sync::atomic::{AtomicU64, Ordering};

/// What is sampled of a node.
pub(in crate::management) const FIGURES: [Figure; 21] = [
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
    ("sockets_used", Group::Node),
    ("proc_used", Group::Node),
    ("io_write_count", Group::Node),
    ("io_write_bytes", Group::Node),
    ("io_sync_count", Group::Node),
    ("context_switches", Group::Node),
    ("publish", Group::Messages),
    ("drop_unroutable", Group::Messages),
    ("return_unroutable", Group::Messages),
    ("confirm", Group::Messages),
    ("get_empty", Group::Messages),
];

/// How many of these are churn.
pub(in crate::management) const CHURN: usize = 7;
/// How many of these are shown of a node; the others are the overview's.
pub(in crate::management) const OF_NODE: usize = 16;

/// These of the node.
pub(in crate::management) fn sampled(node: &Node, usage: &Usage) -> [u64; FIGURES.len()] {
    let (counters, store) = (&node.broker.counters, node.broker.store.counters());
    let channels = *counters.channels.lock();
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
        node.broker.connections.len() as u64,
        // Erlang's processes are what threads are here.
        usage.threads,
        store.writes,
        store.bytes,
        store.syncs,
        usage.context_switches,
        count(&counters.published),
        count(&counters.dropped),
        count(&counters.returned),
        channels.confirmed,
        channels.got_empty,
    ]
}

/// What happened to messages that is counted for the node as a whole.
pub(in crate::management) fn messages(figures: &[u64; FIGURES.len()]) -> Vec<(&'static str, u64)> {
    stats::named(&FIGURES, figures).into_iter().skip(OF_NODE).collect()
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
        "mem_limit": node.broker.alarms.limit_bytes(Resource::Memory),
        "mem_alarm": node.broker.alarms.is_on(Resource::Memory),
        "disk_free_limit": node.broker.alarms.limit_bytes(Resource::Disk),
        "disk_free_alarm": node.broker.alarms.is_on(Resource::Disk),
    });
    let used = &stats::named(&FIGURES, figures)[CHURN..OF_NODE];
    stats::extend(&mut shown, stats::figures(used, details));
    shown
}

/// What RabbitMQ has as plugins and this broker without any: tools look for their names.
const BUILT_IN: &[&str] = &[
    "rabbitmq_consistent_hash_exchange",
    "rabbitmq_delayed_message_exchange",
    "rabbitmq_management",
    "rabbitmq_management_agent",
    "rabbitmq_prometheus",
    "rabbitmq_random_exchange",
    "rabbitmq_recent_history_exchange",
];

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
    let counters = node.broker.store.counters();
    let mut shown = json!({
        "name": node.broker.node,
        "type": "disc",
        "running": true,
        "being_drained": node.broker.is_drained(),
        // A text, as RabbitMQ has it.
        "os_pid": std::process::id().to_string(),
        "uptime": usage.uptime_ms,
        "processors": std::thread::available_parallelism().map_or(1, |count| count.get()),
        "run_queue": 0,
        "mem_limit": node.broker.alarms.limit_bytes(Resource::Memory),
        "mem_alarm": node.broker.alarms.is_on(Resource::Memory),
        "mem_calculation_strategy": "rss",
        "disk_free_limit": node.broker.alarms.limit_bytes(Resource::Disk),
        "disk_free_alarm": node.broker.alarms.is_on(Resource::Disk),
        "fd_total": usage.files_max,
        "sockets_total": usage.files_max,
        "proc_total": usage.threads_max,
        "partitions": [],
        "rates_mode": "basic",
        "net_ticktime": 60,
        "db_dir": node.data_dir.display().to_string(),
        "config_files": [],
        "log_files": [],
        "enabled_plugins": BUILT_IN,
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

/// Parts of a node's memory that only RabbitMQ has: here none of them takes any.
const NO_MEMORY: &[&str] = &[
    "connection_readers",
    "connection_writers",
    "connection_channels",
    "connection_other",
    "quorum_queue_dlx_procs",
    "stream_queue_procs",
    "stream_queue_replica_reader_procs",
    "stream_queue_coordinator_procs",
    "plugins",
    "other_proc",
    "metrics",
    "mgmt_db",
    "mnesia",
    "metadata_store",
    "quorum_ets",
    "metadata_store_ets",
    "other_ets",
    "binary",
    "msg_index",
    "atom",
    "allocated_unused",
    "reserved_unallocated",
];

/// The parts of a node's memory, each as `shown`.
fn parts(usage: &MemoryUsage, shown: impl Fn(u64) -> u64) -> Map<String, Value> {
    let own = [
        ("queue_procs", usage.classic_queues),
        ("quorum_queue_procs", usage.quorum_queues),
        ("code", usage.code),
        ("other_system", usage.other()),
    ];
    let none = NO_MEMORY.iter().map(|name| (*name, 0));
    own.into_iter().chain(none).map(|(name, bytes)| (name.to_owned(), json!(shown(bytes)))).collect()
}

/// What takes the memory, in bytes.
pub(in crate::management) fn memory(usage: &MemoryUsage) -> Value {
    let mut memory = parts(usage, |bytes| bytes);
    memory.insert("strategy".into(), json!("rss"));
    let total = json!({ "erlang": usage.allocated(), "rss": usage.resident, "allocated": usage.allocated() });
    memory.insert("total".into(), total);
    json!({ "memory": memory })
}

/// The same in percent, rounded up as RabbitMQ does.
pub(in crate::management) fn relative_memory(usage: &MemoryUsage) -> Value {
    let mut memory = parts(usage, |bytes| (bytes * 100).div_ceil(usage.resident.max(1)));
    memory.insert("total".into(), json!(100));
    json!({ "memory": memory })
}
