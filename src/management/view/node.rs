//! The node.

use super::overview;
use crate::broker::alarms::Resource;
use crate::management::node::{Node, Usage};
use crate::store::{Counters, DiskState};
use serde_json::{Value, json};

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
        "mem_limit": node.broker.alarms.limit_bytes(Resource::Memory),
        "mem_alarm": node.broker.alarms.is_on(Resource::Memory),
        "mem_calculation_strategy": "rss",
        "disk_free": usage.disk_free,
        "disk_free_details": rate,
        "disk_free_limit": node.broker.alarms.limit_bytes(Resource::Disk),
        "disk_free_alarm": node.broker.alarms.is_on(Resource::Disk),
        "fd_used": usage.files,
        "fd_used_details": rate,
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
    shown["io_write_count"] = json!(counters.writes);
    shown["io_sync_count"] = json!(counters.syncs);
    shown["store"] = store(&counters);
    shown
}
