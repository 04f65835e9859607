//! Watches memory and disk and sets the alarms.

use crate::broker::Broker;
use crate::broker::alarms::Resource;
use crate::config::Config;
use std::sync::Arc;
use tokio::sync::watch;

/// Checks now and then until told to stop.
pub(super) async fn watch(config: Config, broker: Arc<Broker>, mut stop: watch::Receiver<bool>) {
    let limit = memory_limit(&config);
    let mut tick = tokio::time::interval(config.memory_monitor_interval);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        if let (Some(limit), Some(resident)) = (limit, resident_bytes()) {
            broker.set_alarm(Resource::Memory, resident > limit);
        }
        if let Some(free) = free_bytes(&config) {
            let is_full = broker.store.counters().is_disk_full;
            broker.set_alarm(Resource::Disk, is_full || free < config.disk_free_limit_bytes);
        }
    }
}

/// The watermark in bytes; none when the machine does not say how much memory it has.
pub(super) fn memory_limit(config: &Config) -> Option<u64> {
    config.memory_high_watermark_absolute.or_else(|| {
        #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss)]
        total_bytes().map(|total| (total as f64 * config.memory_high_watermark_relative) as u64)
    })
}

/// The memory of the container or, without a limit there, of the machine.
fn total_bytes() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
    });
    let container = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let container = container.and_then(|text| text.trim().parse::<u64>().ok());
    machine.into_iter().chain(container).min()
}

/// This process's resident memory.
pub(crate) fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// What is free where the data is.
fn free_bytes(config: &Config) -> Option<u64> {
    let status = rustix::fs::statvfs(&config.data_dir).ok()?;
    Some(status.f_bavail * status.f_frsize)
}
