//! What the service manager is told: systemd's notify protocol, spoken only where `NOTIFY_SOCKET` is set.
//!
//! The watchdog is fed by a task of the runtime, and only while everything it depends upon moves: the journal gets on
//! with what was appended, and the log's outputs take lines. A broker that hangs is then ended and started again.

use super::logging::Logs;
use crate::durability::Level;
use crate::name::Position;
use crate::store::Store;
use crate::time::Duration;
use sd_notify::NotifyState;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{debug, error, warn};

/// So often within the manager's patience the broker is looked at: one look may be late.
const LOOKS: u32 = 4;

/// The broker is being started, and does this.
pub fn starting(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// The broker serves, or serves again with the configuration that it has read.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The configuration is being read; [`ready`] follows.
pub fn reloading() {
    let status = NotifyState::Status("reading the configuration again");
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now, status]),
        Err(_) => tell(&[NotifyState::Reloading, status]),
    }
}

/// The broker ends, and says why.
pub fn stopping(status: &str) {
    tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "the service manager cannot be told ({states:?})");
    }
}

/// Feeds the service manager's watchdog while the broker moves, until the runtime ends. Does nothing where nobody watches.
pub fn feed_watchdog(store: Store, logs: Logs) {
    let is_told = std::env::var_os("NOTIFY_SOCKET").is_some();
    let Some(patience) = sd_notify::watchdog_enabled().filter(|patience| is_told && !patience.is_zero())
    else {
        return;
    };
    let pause = (patience / LOOKS).max(Duration::from_millis(1));
    debug!(?patience, "the service manager's watchdog is fed");
    tokio::spawn(async move {
        let mut pulse = Pulse::new(store, logs);
        let mut tick = interval(pause);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            match pulse.feel(pause).await {
                Ok(()) => tell(&[NotifyState::Watchdog]),
                // Nobody would hear of it.
                Err(Stuck::Log) => {}
                Err(stuck @ Stuck::Journal) => {
                    error!("{stuck}: the service manager is not told that all is well")
                }
            }
        }
    });
}

/// What does not move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Stuck {
    #[error("what was appended to the journal is not written")]
    Journal,
    #[error("an output of the log takes nothing")]
    Log,
}

/// How far the journal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Progress {
    appended: Position,
    written: Position,
    /// Writes and syncs that have ended.
    calls: u64,
    /// The disk refuses, and the write is tried again and again: waiting is what the broker has to do.
    is_refusing: bool,
}

impl Progress {
    fn of(store: &Store) -> Self {
        let counters = store.counters();
        Self {
            appended: store.appended(),
            written: store.reached(Level::Written),
            calls: counters.writes + counters.syncs,
            is_refusing: counters.disk.is_refusing(),
        }
    }

    /// Whether the committer has done something since `before`, or had nothing to do.
    fn is_since(self, before: Self) -> bool {
        self.is_refusing || self.written >= before.appended || self.calls != before.calls
    }
}

/// Whether the broker moves.
struct Pulse {
    store: Store,
    logs: Logs,
    before: Progress,
    /// A look at the log that has not come back yet: no second thread is to hang there, too.
    log: Option<JoinHandle<()>>,
}

impl Pulse {
    fn new(store: Store, logs: Logs) -> Self {
        let before = Progress::of(&store);
        Self { store, logs, before, log: None }
    }

    /// Looks at everything, and waits for the log so long at most.
    async fn feel(&mut self, patience: Duration) -> Result<(), Stuck> {
        let now = Progress::of(&self.store);
        let before = std::mem::replace(&mut self.before, now);
        let has_failed = self.store.failure().borrow().is_some();
        let logs = self.logs.clone();
        let look = self.log.get_or_insert_with(|| tokio::task::spawn_blocking(move || logs.wait_idle()));
        timeout(patience, look).await.map_err(|_| Stuck::Log)?.ok();
        self.log = None;
        if has_failed || !now.is_since(before) { Err(Stuck::Journal) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Logging;
    use crate::server::log_file::LogFile;
    use crate::store::tests::disk::{Op, SimDisk};
    use crate::store::{self, Drive};
    use parking_lot::Mutex;
    use std::sync::mpsc;
    use tracing_subscriber::fmt::MakeWriter;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn store(disk: &SimDisk) -> Store {
        store::open_with(store::Options::new("/data"), disk.environment(), Drive::Threads).unwrap().0
    }

    #[test]
    fn progress_is_what_was_written_or_done_or_cannot_be_done() {
        let before = Progress { appended: Position(10), written: Position(5), calls: 3, is_refusing: false };
        let table = [
            (before, false),
            (Progress { appended: Position(90), ..before }, false),
            (Progress { written: Position(9), ..before }, false),
            (Progress { written: Position(10), ..before }, true),
            (Progress { calls: 4, ..before }, true),
            (Progress { is_refusing: true, ..before }, true),
        ];
        for (now, expected) in table {
            assert_eq!(now.is_since(before), expected, "{now:?}");
        }
        let idle = Progress { written: Position(10), ..before };
        assert!(idle.is_since(idle), "with nothing to do nothing is done");
    }

    #[tokio::test]
    async fn a_write_that_does_not_return_is_felt_and_so_is_its_return() {
        let disk = SimDisk::default();
        let store = store(&disk);
        let (reached, hangs) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let released = Mutex::new(released);
        disk.set_hook(move |op, _| {
            if op == Op::Write {
                reached.send(()).ok();
                released.lock().recv().ok();
            }
            Ok(())
        });
        let mut pulse = Pulse::new(store.clone(), Logs::default());
        assert_eq!(pulse.feel(PATIENCE).await, Ok(()), "nothing was appended");
        let end = store.append_changes(&[]);
        hangs.recv().unwrap();
        pulse.feel(PATIENCE).await.ok();
        assert_eq!(pulse.feel(PATIENCE).await, Err(Stuck::Journal));
        drop(release);
        store.wait_synced(end).await.unwrap();
        assert_eq!(pulse.feel(PATIENCE).await, Ok(()));
    }

    #[tokio::test]
    async fn a_disk_that_refuses_is_waited_for_and_one_that_lost_data_is_not() {
        let disk = SimDisk::default();
        let store = store(&disk);
        let mut pulse = Pulse::new(store.clone(), Logs::default());
        disk.set_hook(|op, _| match op {
            Op::Write => Err(std::io::Error::from_raw_os_error(28)),
            _ => Ok(()),
        });
        store.append_changes(&[]);
        store.disk().wait_for(|disk| disk.is_refusing()).await.unwrap();
        for _ in 0..3 {
            assert_eq!(pulse.feel(PATIENCE).await, Ok(()));
        }
        disk.set_hook(|op, _| match op {
            Op::Sync => Err(std::io::Error::from_raw_os_error(5)),
            _ => Ok(()),
        });
        store.wait_failed().await;
        assert_eq!(pulse.feel(PATIENCE).await, Err(Stuck::Journal));
    }

    #[tokio::test]
    async fn a_log_that_takes_no_line_is_felt() {
        let dir = tempfile::tempdir().unwrap();
        let log = Logging { file: Some(dir.path().join("log")), ..Logging::default() };
        let file = LogFile::open(&log).unwrap();
        let mut pulse = Pulse::new(store(&SimDisk::default()), Logs::of_file(file.clone()));
        let (holds, held) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let writer = std::thread::spawn(move || {
            let _line = file.make_writer();
            holds.send(()).unwrap();
            released.recv().ok();
        });
        held.recv().unwrap();
        for _ in 0..2 {
            assert_eq!(pulse.feel(Duration::from_millis(5)).await, Err(Stuck::Log));
        }
        drop(release);
        writer.join().unwrap();
        assert_eq!(pulse.feel(PATIENCE).await, Ok(()));
    }
}
