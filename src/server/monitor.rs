//! Watches memory and disk and sets the alarms.

use super::huge_pages;
use crate::broker::Broker;
use crate::broker::alarms::Resource;
use crate::config::Config;
use crate::queue::AllQueues as _;
use std::sync::Arc;
use tokio::sync::watch;

/// Checks now and then until told to stop, and at once when the journal's disk refuses a write or takes it again.
pub(super) async fn watch(
    mut configured: watch::Receiver<Arc<Config>>,
    broker: Arc<Broker>,
    mut stop: watch::Receiver<bool>,
) {
    let mut config = Arc::clone(&configured.borrow_and_update());
    let mut disk = broker.store.disk();
    let mut tick = tokio::time::interval(config.memory_monitor_interval);
    let mut has_huge_pages = false;
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            Ok(()) = configured.changed() => {
                config = Arc::clone(&configured.borrow_and_update());
                tick = tokio::time::interval(config.memory_monitor_interval);
            }
            Ok(()) = disk.changed() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let resident = resident_bytes();
        has_huge_pages = has_huge_pages || resident.is_some_and(huge_pages::accept_if_busy);
        let limit = memory_limit(&config);
        broker.alarms.set_limit_bytes(Resource::Memory, limit.unwrap_or(0));
        let disk_limit = disk_limit(&config).unwrap_or(0);
        broker.alarms.set_limit_bytes(Resource::Disk, disk_limit);
        if let (Some(limit), Some(resident)) = (limit, resident) {
            broker.set_alarm(Resource::Memory, resident > limit);
        }
        let is_short = free_bytes(&config).is_some_and(|free| free < disk_limit);
        let is_refusing = disk.borrow_and_update().is_refusing();
        if is_refusing {
            broker.all_queues().iter().for_each(|queue| queue.go_on_without_disk());
        }
        broker.set_alarm(Resource::Disk, is_refusing || is_short);
    }
}

/// The watermark in bytes; none when the machine does not say how much memory it has.
pub(super) fn memory_limit(config: &Config) -> Option<u64> {
    let relative = || total_bytes(config).map(|total| times(total, config.memory_high_watermark_relative));
    config.memory_high_watermark_absolute.or_else(relative)
}

/// So much is to be free for the data, in bytes.
pub(super) fn disk_limit(config: &Config) -> Option<u64> {
    let relative = || total_bytes(config).zip(config.disk_free_limit_relative);
    config.disk_free_limit_bytes.or_else(|| relative().map(|(total, part)| times(total, part)))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss)]
fn times(bytes: u64, part: f64) -> u64 {
    (bytes as f64 * part) as u64
}

/// The memory that there is: as configured, or of the container or, without a limit there, of the machine.
pub(super) fn total_bytes(config: &Config) -> Option<u64> {
    config.total_memory_bytes.or_else(machine_bytes)
}

fn machine_bytes() -> Option<u64> {
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
pub(super) fn free_bytes(config: &Config) -> Option<u64> {
    let status = rustix::fs::statvfs(&config.data_dir).ok()?;
    Some(status.f_bavail * status.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::disk::{Op, SimDisk};
    use crate::store::{self, Drive};
    use crate::time::Duration;

    /// Waits until the disk alarm is as said: whoever waits is told with the broker's other tasks, so it yields.
    async fn alarm_becomes(broker: &Broker, is_on: bool) {
        while broker.alarms.is_on(Resource::Disk) != is_on {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn limits_are_parts_of_the_memory_unless_they_are_absolute() {
        let config = Config {
            total_memory_bytes: Some(1 << 30),
            memory_high_watermark_relative: 0.5,
            disk_free_limit_bytes: None,
            disk_free_limit_relative: Some(2.0),
            ..Config::default()
        };
        assert_eq!((memory_limit(&config), disk_limit(&config)), (Some(1 << 29), Some(2 << 30)));
        let config =
            Config { memory_high_watermark_absolute: Some(7), disk_free_limit_bytes: Some(8), ..config };
        assert_eq!((memory_limit(&config), disk_limit(&config)), (Some(7), Some(8)));
    }

    #[tokio::test]
    async fn the_disk_alarm_follows_a_refused_write_without_waiting_for_the_next_look() {
        let disk = SimDisk::default();
        let options = store::Options::new("/data");
        let (store, recovered) = store::open_with(options, disk.environment(), Drive::Threads).unwrap();
        let config = Config {
            memory_monitor_interval: Duration::from_secs(3600),
            disk_free_limit_bytes: Some(0),
            ..Config::default()
        };
        let broker = Broker::start(super::super::defaults(&config), store.clone(), recovered).unwrap();
        let (stop, stopped) = watch::channel(false);
        let configured = watch::Sender::new(Arc::new(config));
        let watching = tokio::spawn(super::watch(configured.subscribe(), Arc::clone(&broker), stopped));
        disk.set_hook(|op, _| match op {
            Op::Write => Err(std::io::Error::from_raw_os_error(5)),
            _ => Ok(()),
        });
        store.append_changes(&[]);
        alarm_becomes(&broker, true).await;
        disk.repair();
        alarm_becomes(&broker, false).await;
        stop.send(true).unwrap();
        watching.await.unwrap();
    }
}
