//! Measures what [`judge`](super::judge) judges: the only part of the doctor that looks at the machine.

use super::judge::{Clock, Directory, Facts, Found, Port, PortState};
use crate::config::{Config, Configuration};
use crate::net::listener;
use crate::server::monitor;
use crate::time::{self, Duration};
use rustix::fs::Access;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// So many syncs at most, for so long at most.
const SYNCS: usize = 25;
const SYNC_TIME: Duration = Duration::from_secs(3);
const SYNC_BYTES: [u8; 4096] = [0x57; 4096];
/// The state of a socket that listens, in /proc/net/tcp.
const LISTENS: &str = "0A";

/// Looks at everything that a node with this configuration depends upon.
pub(super) fn measure(configuration: &Configuration) -> Facts {
    let config = &configuration.config;
    let dir = std::path::absolute(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone());
    let is_there = dir.is_dir();
    // What is not there yet will be where its parent is.
    let existing = dir.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let at_existing = Config { data_dir: existing.to_owned(), ..config.clone() };
    Facts {
        warnings: configuration.notices().map(ToString::to_string).collect(),
        open_files: rustix::process::getrlimit(rustix::process::Resource::Nofile).current,
        directory: directory(&dir, existing),
        file_system: file_system(&mounts, &existing.canonicalize().unwrap_or_else(|_| existing.to_owned())),
        free_bytes: monitor::free_bytes(&at_existing),
        disk_limit_bytes: monitor::disk_limit(config),
        clock: clock(&dir),
        sync_us: is_there.then(|| median_sync_us(&dir).map_err(|error| error.to_string())),
        ports: crate::server::addresses(config)
            .map(|(protocol, address)| Port { protocol, address, state: port(config, address, &dir) })
            .collect(),
        memory_bytes: monitor::total_bytes(config),
        memory_limit_bytes: monitor::memory_limit(config),
    }
}

fn directory(dir: &Path, existing: &Path) -> Directory {
    let found = fs::metadata(dir).ok();
    Directory {
        path: dir.display().to_string(),
        found: found.map(|found| Found {
            is_directory: found.is_dir(),
            owner: found.uid(),
            mode: found.mode() & 0o777,
        }),
        user: rustix::process::geteuid().as_raw(),
        is_writable: rustix::fs::access(existing, Access::WRITE_OK | Access::EXEC_OK).is_ok(),
    }
}

/// The kind of the file system that a path is on, by the longest mount point before it; a later mount hides an earlier.
fn file_system(mountinfo: &str, path: &Path) -> Option<String> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        // Spaces and such are written as octal numbers.
        let point =
            before.split(' ').nth(4)?.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\");
        Some((PathBuf::from(point), after.split(' ').next()?))
    });
    let above = mounts.filter(|(point, _)| path.starts_with(point));
    above.max_by_key(|(point, _)| point.components().count()).map(|(_, kind)| kind.to_owned())
}

fn clock(dir: &Path) -> Clock {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let written = entries.filter_map(|entry| u64::try_from(entry.metadata().ok()?.mtime()).ok());
    let written_ms = written.max().map(|seconds| seconds.saturating_mul(1000));
    let readings: Vec<_> = (0..1000).map(|_| time::now()).collect();
    Clock { now_ms: time::unix_ms().0, written_ms, is_monotonic: readings.is_sorted() }
}

/// A file that goes with this.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // What is left there is a few blocks that the store passes over.
        let _ = fs::remove_file(&self.0);
    }
}

/// How long it takes to write a little and make it durable, in microseconds: the median.
fn median_sync_us(dir: &Path) -> io::Result<u64> {
    let path = dir.join(format!("doctor-{}.tmp", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
    let _temporary = Temporary(path);
    // The first one also makes the file.
    sync(&mut file)?;
    let (started, mut times) = (time::now(), Vec::with_capacity(SYNCS));
    while times.len() < SYNCS && (times.is_empty() || started.elapsed() < SYNC_TIME) {
        let before = time::now();
        sync(&mut file)?;
        times.push(u64::try_from(before.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

fn sync(file: &mut File) -> io::Result<()> {
    file.write_all(&SYNC_BYTES)?;
    file.sync_data()
}

fn port(config: &Config, address: SocketAddr, dir: &Path) -> PortState {
    // As the broker binds, in a runtime that lives as long.
    let bound = tokio::runtime::Builder::new_current_thread().enable_io().build().and_then(|runtime| {
        let _entered = runtime.enter();
        listener::bind(address, &config.sockets).map(drop)
    });
    match bound {
        Ok(()) => PortState::Free,
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => PortState::Refused(error.to_string()),
        Err(_) => match owner(address.port()) {
            Some(owner) => PortState::Taken(Some(owner)),
            None if UnixStream::connect(dir.join(crate::server::local_socket::NAME)).is_ok() => {
                PortState::TakenWhileWarrenRuns
            }
            None => PortState::Taken(None),
        },
    }
}

/// The name and number of the process that listens on a port; none where that is another user's.
fn owner(port: u16) -> Option<(String, u32)> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|table| listening_inodes(&table, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let pid = numbers.find(|pid| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let mut targets = files.filter_map(|file| fs::read_link(file.path()).ok());
        targets.any(|target| inodes.iter().any(|inode| target.as_os_str() == inode.as_str()))
    })?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some((name.trim().to_owned(), pid))
}

/// The sockets that listen on a port, of a table as /proc/net/tcp has it.
fn listening_inodes(table: &str, port: u16) -> Vec<String> {
    let end = format!(":{port:04X}");
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let listening = rows.filter(|row| row.len() > 9 && row[1].ends_with(&end) && row[3] == LISTENS);
    listening.map(|row| row[9].to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_system_is_that_of_the_longest_mount_point() {
        let mounts = "\
            22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
            30 22 0:25 / /var/lib/war rw - nfs4 server:/ rw\n\
            31 22 0:26 / /var/lib/war\\040ren rw - xfs /dev/sdb rw\n\
            32 22 0:27 / /var/lib/war\\040ren rw master:1 - tmpfs tmpfs rw\n";
        let kind = |path: &str| file_system(mounts, Path::new(path));
        assert_eq!(kind("/var/lib/warren").as_deref(), Some("ext4"), "whole names only");
        assert_eq!(kind("/var/lib/war/data").as_deref(), Some("nfs4"));
        assert_eq!(kind("/var/lib/war ren").as_deref(), Some("tmpfs"), "the last one hides the others");
        assert_eq!(file_system("", Path::new("/")), None);
    }

    #[test]
    fn sockets_that_listen_on_a_port_are_found() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
               0: 0100007F:1628 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0 100 0\n\
               1: 0100007F:1628 0100007F:9000 01 00000000:00000000 00:00000000 00000000     0        0 12 1 0 100 0\n\
               2: 0100007F:1629 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 13 1 0 100 0\n";
        assert_eq!(listening_inodes(table, 5672), ["11"]);
        assert!(listening_inodes("", 5672).is_empty());
    }

    #[test]
    fn syncs_are_measured_and_leave_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        assert!(median_sync_us(dir.path()).is_ok());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(median_sync_us(&dir.path().join("absent")).is_err());
    }
}
