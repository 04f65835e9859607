//! The node as the HTTP API shows it: what the server that put it together knows and the broker does not.

use crate::broker::Broker;
use crate::config;
use crate::time;
use std::{net::SocketAddr, path::PathBuf, sync::Arc};

/// A port that the node listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// RabbitMQ's word: `amqp`, `http`, …
    pub protocol: &'static str,
    /// Where it is bound.
    pub address: SocketAddr,
}

/// What the HTTP API serves.
#[derive(Debug)]
pub struct Node {
    /// What does the work.
    pub broker: Arc<Broker>,
    /// Where it listens.
    pub listeners: Vec<Listener>,
    /// Where it keeps its data.
    pub data_dir: PathBuf,
    /// What it was told, and can be told again.
    pub config: Arc<config::Live>,
}

/// What the node uses of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) memory: u64,
    pub(super) disk_free: u64,
    pub(super) files: u64,
    pub(super) files_max: u64,
    pub(super) uptime_ms: u64,
}

impl Node {
    /// Whether it has a listener for a protocol.
    pub(super) fn listens_for(&self, protocol: &str) -> bool {
        self.listeners.iter().any(|listener| listener.protocol == protocol)
    }

    /// What it uses now. Where the system does not say (as elsewhere than on Linux), it is 0.
    pub(super) fn usage(&self) -> Usage {
        let disk = rustix::fs::statvfs(&self.data_dir).ok();
        Usage {
            memory: resident_bytes().unwrap_or(0),
            disk_free: disk.map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize)),
            files: std::fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64),
            files_max: files_max().unwrap_or(0),
            uptime_ms: time::unix_ms().0.saturating_sub(self.broker.started_at.0),
        }
    }
}

/// The process's memory that is not swapped out.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// How many files the process may have open.
fn files_max() -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}
