//! The node: what it is, what it uses of the machine, what its store does, who logged in, how long things take.

use super::Scrape;
use super::names::{Family, Metric, RABBITMQ, WARREN, counter, gauge, histogram};
use super::text::{Gone, Labels, Page, Value};
use crate::broker::alarms::Resource;
use crate::broker::counters::{Attempts, LoginProtocol};
use crate::management::node::Usage;
use crate::management::view::overview::COMPATIBLE_VERSION;
use serde_json::Value as Json;
use std::sync::atomic::Ordering::Relaxed;

/// Microseconds in a second: times are recorded in the former and shown in the latter.
const MICROSECONDS: u64 = 1_000_000;
/// The global parameter by which RabbitMQ knows a cluster whatever it is called.
const CLUSTER_ID: &str = "internal_cluster_id";

/// Which node this is, and how it was asked.
pub(super) fn write_identity(scrape: &Scrape<'_>, page: &mut Page<'_>) -> Result<(), Gone> {
    page.begin(RABBITMQ, &gauge("build_info", "The product, and the RabbitMQ that it can stand in for"));
    let product = [
        ("rabbitmq_version", COMPATIBLE_VERSION),
        ("prometheus_client_version", ""),
        ("prometheus_plugin_version", env!("CARGO_PKG_VERSION")),
        ("erlang_version", ""),
        ("product_name", "Warren"),
        ("product_version", env!("CARGO_PKG_VERSION")),
    ];
    page.sample(&Labels::of(&product), Value::Whole(1))?;
    let broker = &scrape.exporter.node.broker;
    let id = broker.global_parameters().into_iter().find(|(name, _)| name.as_str() == CLUSTER_ID);
    let id = id.and_then(|(_, value)| value.as_str().map(str::to_owned)).unwrap_or_default();
    page.begin(
        RABBITMQ,
        &gauge("identity_info", "The node and its cluster, to be joined with all other metrics"),
    );
    let identity = [
        ("rabbitmq_node", broker.node.as_str()),
        ("rabbitmq_cluster", &broker.cluster_name()),
        ("rabbitmq_cluster_permanent_id", &id),
        ("rabbitmq_endpoint", scrape.scope.name()),
    ];
    page.sample(&Labels::of(&identity), Value::Whole(1))
}

/// What came and went, what is used, what was written, who logged in.
pub(super) fn write(scrape: &Scrape<'_>, page: &mut Page<'_>) -> Result<(), Gone> {
    if scrape.wants(Family::Churn) {
        write_churn(scrape, page)?;
    }
    if scrape.wants(Family::NodeCoarse) || scrape.wants(Family::Node) {
        write_usage(scrape, &scrape.exporter.node.usage(), page)?;
    }
    if scrape.wants(Family::Persister) {
        write_store(scrape, page)?;
    }
    if scrape.wants(Family::Logins) {
        write_logins(scrape, page)?;
    }
    if scrape.wants(Family::LoginSources) {
        write_login_sources(scrape, page)?;
    }
    Ok(())
}

fn write_churn(scrape: &Scrape<'_>, page: &mut Page<'_>) -> Result<(), Gone> {
    let counters = scrape.counters();
    for (name, help, value) in [
        ("connections_opened_total", "Connections opened", &counters.connections_created),
        ("connections_closed_total", "Connections closed", &counters.connections_closed),
        ("channels_opened_total", "Channels opened", &counters.channels_created),
        ("channels_closed_total", "Channels closed", &counters.channels_closed),
        ("queues_declared_total", "Declarations of queues", &counters.queues_declared),
        ("queues_created_total", "Queues made", &counters.queues_created),
        ("queues_deleted_total", "Queues deleted", &counters.queues_deleted),
    ] {
        page.single(scrape.prefix(), &counter(name, help), value.load(Relaxed))?;
    }
    Ok(())
}

fn write_usage(scrape: &Scrape<'_>, usage: &Usage, page: &mut Page<'_>) -> Result<(), Gone> {
    let node = &scrape.exporter.node;
    let coarse = [
        ("process_open_fds", "Open file descriptors", usage.files),
        ("process_open_tcp_sockets", "Open sockets", usage.sockets),
        ("process_resident_memory_bytes", "Memory in use", usage.memory),
        ("disk_space_available_bytes", "Free disk space where the data is", usage.disk_free),
    ];
    let limits = [
        ("process_max_fds", "File descriptors that may be open", usage.files_max),
        ("process_max_tcp_sockets", "Sockets that may be open", usage.files_max),
        (
            "resident_memory_limit_bytes",
            "Publishers are blocked above this much memory in use",
            node.broker.alarms.limit_bytes(Resource::Memory),
        ),
        (
            "disk_space_available_limit_bytes",
            "Publishers are blocked below this much free disk space",
            node.broker.alarms.limit_bytes(Resource::Disk),
        ),
    ];
    for (name, help, value) in coarse.into_iter().filter(|_| scrape.wants(Family::NodeCoarse)) {
        page.single(scrape.prefix(), &gauge(name, help), value)?;
    }
    if !scrape.wants(Family::Node) {
        return Ok(());
    }
    for (name, help, value) in limits {
        page.single(scrape.prefix(), &gauge(name, help), value)?;
    }
    let uptime = gauge("erlang_uptime_seconds", "How long the node has been running");
    page.single(scrape.prefix(), &uptime, Value::Part(usage.uptime_ms, 1_000))
}

fn write_store(scrape: &Scrape<'_>, page: &mut Page<'_>) -> Result<(), Gone> {
    let store = scrape.exporter.node.broker.store.counters();
    let prefix = scrape.prefix();
    page.single(prefix, &counter("io_write_ops_total", "Writes to the journal"), store.writes)?;
    let written = store.bytes - store.bytes_pending.min(store.bytes);
    page.single(prefix, &counter("io_write_bytes_total", "Bytes written to the journal"), written)?;
    page.single(prefix, &counter("io_sync_ops_total", "Syncs of journal files"), store.syncs)?;
    let time = Value::Part(store.sync_times.sum, MICROSECONDS);
    page.single(prefix, &counter("io_sync_time_seconds_total", "Time that syncs of the journal took"), time)
}

/// How many attempts there were, all told, and how they ended.
type AttemptCounter = (&'static str, &'static str, fn(&Attempts) -> u64);

const ATTEMPTS: [AttemptCounter; 3] = [
    ("auth_attempts_total", "Attempts to log in", Attempts::total),
    ("auth_attempts_succeeded_total", "Attempts to log in that succeeded", |attempts| attempts.succeeded),
    ("auth_attempts_failed_total", "Attempts to log in that failed", |attempts| attempts.failed),
];

fn write_logins(scrape: &Scrape<'_>, page: &mut Page<'_>) -> Result<(), Gone> {
    let by_protocol = scrape.counters().logins.by_protocol();
    for (name, help, read) in ATTEMPTS {
        page.begin(scrape.prefix(), &counter(name, help));
        for (protocol, attempts) in LoginProtocol::ALL.iter().zip(&by_protocol) {
            page.sample(&Labels::of(&[("protocol", protocol.name())]), read(attempts).into())?;
        }
    }
    Ok(())
}

/// The same of one source.
type SourceCounter = (Metric, fn(&Attempts) -> u64);

const SOURCE_ATTEMPTS: [SourceCounter; 3] = [
    (counter("auth_attempts_detailed_total", "Attempts to log in by user and address"), Attempts::total),
    (
        counter(
            "auth_attempts_detailed_succeeded_total",
            "Attempts to log in that succeeded, by user and address",
        ),
        |attempts| attempts.succeeded,
    ),
    (
        counter("auth_attempts_detailed_failed_total", "Attempts to log in that failed, by user and address"),
        |attempts| attempts.failed,
    ),
];

fn write_login_sources(scrape: &Scrape<'_>, page: &mut Page<'_>) -> Result<(), Gone> {
    let sources = scrape.counters().logins.by_source();
    for (metric, read) in &SOURCE_ATTEMPTS {
        page.begin(scrape.prefix(), metric);
        for ((protocol, user, address), attempts) in &sources {
            let address = address.to_string();
            let labels = [("protocol", protocol.name()), ("username", user), ("remote_address", &address)];
            page.sample(&Labels::of(&labels), read(attempts).into())?;
        }
    }
    Ok(())
}

/// Which alarms are on.
pub(super) fn write_alarms(scrape: &Scrape<'_>, page: &mut Page<'_>) -> Result<(), Gone> {
    let alarms = &scrape.exporter.node.broker.alarms;
    let memory =
        gauge("alarms_memory_used_watermark", "1 while publishers are blocked because memory is short");
    page.single(RABBITMQ, &memory, alarms.is_on(Resource::Memory))?;
    let disk =
        gauge("alarms_free_disk_space_watermark", "1 while publishers are blocked because the disk is short");
    page.single(RABBITMQ, &disk, alarms.is_on(Resource::Disk))
}

/// How long things take, and what the store holds: what RabbitMQ has no names for.
pub(super) fn write_own(scrape: &Scrape<'_>, page: &mut Page<'_>) -> Result<(), Gone> {
    let (counters, broker) = (scrape.counters(), &scrape.exporter.node.broker);
    let store = broker.store.counters();
    for (name, help, times) in [
        (
            "confirm_latency_seconds",
            "From the reading of a publish to the writing of its confirm",
            counters.confirm_times.snapshot(),
        ),
        (
            "queue_residence_seconds",
            "From the publishing of a message to its first delivery",
            counters.residence_times.snapshot(),
        ),
        ("fsync_seconds", "How long it took to make the journal durable", store.sync_times),
    ] {
        page.begin(WARREN, &histogram(name, help));
        page.histogram(&[], MICROSECONDS, &times)?;
    }
    let memory = &broker.services.memory;
    for (name, help, value) in [
        ("message_memory_bytes", "Memory that messages take", memory.used_bytes()),
        ("message_memory_limit_bytes", "What messages may take of memory", memory.limit_bytes()),
        (
            "journal_pending_bytes",
            "Bytes in memory that wait to be written to the journal",
            store.bytes_pending,
        ),
        ("journal_files", "Files of the journal", store.files),
    ] {
        page.single(WARREN, &gauge(name, help), value)?;
    }
    page.single(
        WARREN,
        &counter("journal_appended_bytes_total", "Bytes appended to the journal"),
        store.bytes,
    )
}

/// How long the last page took, and how long it was.
pub(super) fn write_telemetry(scrape: &Scrape<'_>, page: &mut Page<'_>) -> Result<(), Gone> {
    let (took_us, bytes) = scrape.exporter.last(scrape.scope);
    let labels = Labels::of(&[("registry", scrape.scope.name())]);
    page.begin("", &gauge("telemetry_scrape_duration_seconds", "How long the last page of this kind took"));
    page.sample(&labels, Value::Part(took_us, MICROSECONDS))?;
    page.begin("", &gauge("telemetry_scrape_size_bytes", "How long the last page of this kind was"));
    page.sample(&labels, bytes.into())
}

/// What memory is used for, as far as it is counted.
pub(super) fn write_memory(scrape: &Scrape<'_>, page: &mut Page<'_>) -> Result<(), Gone> {
    let broker = &scrape.exporter.node.broker;
    let total = scrape.exporter.node.usage().memory;
    let messages = broker.services.memory.used_bytes();
    let journal = broker.store.counters().bytes_pending;
    let outboxes = broker.connections.all().iter().map(|open| open.outbox.waiting_bytes() as u64).sum();
    let rest = total.saturating_sub(messages).saturating_sub(journal);
    page.begin(WARREN, &gauge("memory_bytes", "Resident memory by what it is used for"));
    for (part, bytes) in [("messages", messages), ("journal", journal), ("rest", rest)] {
        page.sample(&Labels::of(&[("part", part)]), Value::Whole(bytes))?;
    }
    // Those are of messages that are counted already, for the greater part.
    page.single(
        WARREN,
        &gauge("outbox_bytes", "What waits to be handed to connections"),
        Value::Whole(outboxes),
    )?;
    page.single(RABBITMQ, &gauge("process_resident_memory_bytes", "Memory in use"), total)?;
    let limit = scrape.exporter.node.broker.alarms.limit_bytes(Resource::Memory);
    page.single(
        RABBITMQ,
        &gauge("resident_memory_limit_bytes", "Publishers are blocked above this much memory in use"),
        limit,
    )
}

/// A parameter's text.
trait AsText {
    fn as_str(&self) -> Option<&str>;
}

impl AsText for std::sync::Arc<Json> {
    fn as_str(&self) -> Option<&str> {
        Json::as_str(self)
    }
}
