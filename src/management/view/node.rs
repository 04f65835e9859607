//! The node.

use super::{overview, stats};
use crate::broker::alarms::Resource;
use crate::management::node::{MemoryUsage, Node, Usage};
use crate::store::{Counters, DiskState};
use serde_json::{Map, Value, json};

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
pub(in crate::management) fn render(node: &Node, usage: &Usage) -> Value {
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
        "mem_used": usage.memory,
        "mem_used_details": rate,
        "mem_limit": node.memory_limit,
        "mem_alarm": node.broker.alarms.is_on(Resource::Memory),
        "mem_calculation_strategy": "rss",
        "disk_free": usage.disk_free,
        "disk_free_details": rate,
        "disk_free_limit": node.disk_free_limit,
        "disk_free_alarm": node.broker.alarms.is_on(Resource::Disk),
        "fd_used": usage.files,
        "fd_used_details": rate,
        "fd_total": usage.files_max,
        "sockets_used": node.broker.connections.len(),
        "sockets_used_details": rate,
        "sockets_total": usage.files_max,
        // Erlang's processes are what threads are here.
        "proc_used": usage.threads,
        "proc_used_details": rate,
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
    let io = [
        ("io_write_count", counters.writes),
        ("io_sync_count", counters.syncs),
        ("io_write_bytes", counters.bytes),
        ("context_switches", usage.context_switches),
    ];
    stats::extend(&mut shown, stats::counters(&io));
    stats::extend(&mut shown, stats::counters(&overview::churn(&node.broker.counters)));
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
