//! The node as the HTTP API shows it: what the server that put it together knows and the broker does not.

use super::sessions::Sessions;
use super::statistics::Statistics;
use crate::broker::Broker;
use crate::config;
use crate::queue::arguments::Kind;
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
    /// Who has logged in with a form.
    pub sessions: Sessions,
    /// Rates and their history. Somebody must run [`sample`](super::sample).
    pub statistics: Statistics,
}

/// What the node uses of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) memory: u64,
    pub(super) disk_free: u64,
    pub(super) files: u64,
    pub(super) files_max: u64,
    pub(super) sockets: u64,
    pub(super) uptime_ms: u64,
    pub(super) threads: u64,
    pub(super) threads_max: u64,
    pub(super) context_switches: u64,
}

/// What takes the memory that the process has, in bytes. See [`Node::memory_usage`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MemoryUsage {
    /// All that is not swapped out.
    pub(super) resident: u64,
    /// The program and the files that are mapped.
    pub(super) code: u64,
    /// Messages of classic queues.
    pub(super) classic_queues: u64,
    /// Messages of quorum queues.
    pub(super) quorum_queues: u64,
}

impl MemoryUsage {
    /// What the process allocated: all but the program itself.
    pub(super) fn allocated(&self) -> u64 {
        self.resident.saturating_sub(self.code)
    }

    /// What it allocated for something else than messages.
    pub(super) fn other(&self) -> u64 {
        self.allocated().saturating_sub(self.classic_queues).saturating_sub(self.quorum_queues)
    }
}

impl Node {
    /// Whether it has a listener for a protocol.
    pub(super) fn listens_for(&self, protocol: &str) -> bool {
        self.listeners.iter().any(|listener| listener.protocol == protocol)
    }

    /// What it uses now. Where the system does not say (as elsewhere than on Linux), it is 0.
    pub(super) fn usage(&self) -> Usage {
        let disk = rustix::fs::statvfs(&self.data_dir).ok();
        let (files, sockets) = open_files();
        Usage {
            memory: status_bytes("VmRSS:").unwrap_or(0),
            disk_free: disk.map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize)),
            files,
            sockets,
            files_max: limit("Max open files").unwrap_or(0),
            uptime_ms: time::unix_ms().0.saturating_sub(self.broker.started_at.0),
            threads: status("Threads:").unwrap_or(0),
            threads_max: limit("Max processes").unwrap_or(0),
            context_switches: ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"]
                .into_iter()
                .filter_map(status)
                .sum(),
        }
    }

    /// What takes the memory now. Where the system does not say, only the queues do.
    pub(super) fn memory_usage(&self) -> MemoryUsage {
        let bytes = |key| status_bytes(key).unwrap_or(0);
        let mut usage = MemoryUsage {
            resident: bytes("VmRSS:"),
            code: bytes("RssFile:") + bytes("RssShmem:"),
            ..MemoryUsage::default()
        };
        for vhost in self.broker.vhosts() {
            for queue in vhost.queues() {
                let is_quorum = queue.definition.kind == Kind::Quorum.name();
                let sum = if is_quorum { &mut usage.quorum_queues } else { &mut usage.classic_queues };
                *sum += queue.figures().memory_bytes;
            }
        }
        usage
    }
}

/// What the system says of the process's memory under a key, in bytes.
fn status_bytes(key: &str) -> Option<u64> {
    status(key)?.checked_mul(1024)
}

/// The number that the system says of the process under a key.
fn status(key: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

/// So much the process may have of something.
fn limit(name: &str) -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// How many files the process has open, and how many of them are sockets.
fn open_files() -> (u64, u64) {
    let Ok(files) = std::fs::read_dir("/proc/self/fd") else { return (0, 0) };
    let is_socket = |file: &std::fs::DirEntry| {
        std::fs::read_link(file.path())
            .is_ok_and(|target| target.as_os_str().as_encoded_bytes().starts_with(b"socket:"))
    };
    let files = files
        .filter_map(Result::ok)
        .fold((0_u64, 0_u64), |(all, sockets), file| (all + 1, sockets + u64::from(is_socket(&file))));
    // The listing itself is one while it lasts.
    (files.0.saturating_sub(1), files.1)
}
