//! Alarms: memory or disk is short, so publishers are blocked until it is not (behaviour.md, 1.9).

use super::Broker;
use super::events::Actor;
use crate::event::Event;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What may be short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Resident memory above its watermark.
    Memory,
    /// Free disk below its limit.
    Disk,
}

/// Which alarms are on.
#[derive(Debug, Default)]
pub struct Alarms {
    memory: AtomicBool,
    disk: AtomicBool,
    memory_limit_bytes: AtomicU64,
    disk_limit_bytes: AtomicU64,
}

impl Alarms {
    /// Whether the resource is short.
    pub fn is_on(&self, resource: Resource) -> bool {
        self.flag(resource).load(Ordering::Acquire)
    }

    /// What publishers are told; none while no alarm is on.
    pub fn reason(&self) -> Option<&'static str> {
        match (self.is_on(Resource::Memory), self.is_on(Resource::Disk)) {
            (true, true) => Some("low on memory & disk"),
            (true, false) => Some("low on memory"),
            (false, true) => Some("low on disk"),
            (false, false) => None,
        }
    }

    /// In use above which memory, and free below which disk, is short; 0 before whoever watches has looked.
    pub fn limit_bytes(&self, resource: Resource) -> u64 {
        self.limit(resource).load(Ordering::Relaxed)
    }

    /// Says by what the alarm is set. Whoever watches does.
    pub fn set_limit_bytes(&self, resource: Resource, bytes: u64) {
        self.limit(resource).store(bytes, Ordering::Relaxed);
    }

    fn limit(&self, resource: Resource) -> &AtomicU64 {
        match resource {
            Resource::Memory => &self.memory_limit_bytes,
            Resource::Disk => &self.disk_limit_bytes,
        }
    }

    fn flag(&self, resource: Resource) -> &AtomicBool {
        match resource {
            Resource::Memory => &self.memory,
            Resource::Disk => &self.disk,
        }
    }
}

impl Broker {
    /// Sets an alarm on or off and tells every connection when that changes what publishers are told.
    pub fn set_alarm(&self, resource: Resource, is_on: bool) {
        let before = self.alarms.reason();
        if self.alarms.flag(resource).swap(is_on, Ordering::AcqRel) != is_on {
            let key = if is_on { "alarm.set" } else { "alarm.cleared" };
            let name = if resource == Resource::Memory { "memory" } else { "disk" };
            self.emit(key, &Actor::default(), |fields| fields.text("alarm", name).text("node", &self.node));
        }
        let after = self.alarms.reason();
        if before == after {
            return;
        }
        match after {
            Some(reason) => {
                tracing::warn!(reason, "alarm: connections that publish are blocked");
                self.connections.broadcast(&Event::Blocked(reason));
            }
            None => {
                tracing::info!("alarm cleared: connections may publish again");
                self.connections.broadcast(&Event::Unblocked);
            }
        }
    }
}
