//! Brokers to test: one Warren in this process that all scenarios share, and Warren processes of their own for tests
//! that kill them.

use super::raw::{HEADER, PATIENCE};
use parking_lot::Mutex;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use warren::broker::Broker;
use warren::config::Config;
use warren::server::Server;

/// Where a broker listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) amqp: SocketAddr,
    pub(crate) management: Option<SocketAddr>,
    /// Where metrics are served.
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) is_rabbitmq: bool,
}

/// The broker all scenarios share: Warren in this process, or the one at `WARREN_TEST_AMQP` and
/// `WARREN_TEST_MANAGEMENT` (which is RabbitMQ if `WARREN_TEST_RABBITMQ` is set).
pub(crate) fn shared() -> Target {
    static SHARED: OnceLock<Target> = OnceLock::new();
    *SHARED.get_or_init(|| match address("WARREN_TEST_AMQP") {
        Some(amqp) => Target {
            amqp,
            management: address("WARREN_TEST_MANAGEMENT"),
            metrics: None,
            is_rabbitmq: std::env::var_os("WARREN_TEST_RABBITMQ").is_some(),
        },
        None => start_in_process().0,
    })
}

/// An address from the environment.
pub(crate) fn address(variable: &str) -> Option<SocketAddr> {
    let value = std::env::var_os(variable)?.into_string().ok()?;
    Some(value.parse().unwrap_or_else(|e| panic!("{variable}={value}: {e}")))
}

/// Starts a Warren in this process, on port 0 and a temporary directory, for as long as the process lives. Its broker is
/// for tests that play the machine running short of something.
pub(crate) fn start_in_process() -> (Target, Arc<Broker>) {
    let (sender, receiver) = std::sync::mpsc::channel();
    // A runtime of its own: it must outlive the test that happens to start it.
    std::thread::spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let config = Config {
                data_dir: directory.path().join("data"),
                amqp_listen: vec![any_port()],
                management_listen: any_port(),
                prometheus_listen: any_port(),
                memory_monitor_interval: Duration::from_secs(3_600),
                ..Config::default()
            };
            let server = Server::start(config).await.expect("Warren starts");
            let amqp = server.address("amqp").expect("Warren speaks AMQP");
            let (management, metrics) = (server.address("http"), server.address("http/prometheus"));
            let target = Target { amqp, management, metrics, is_rabbitmq: false };
            sender.send((target, server.broker.clone())).unwrap();
            server.failed().await
        });
    });
    receiver.recv().expect("Warren starts")
}

fn any_port() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

/// A Warren process. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    /// Behind a lock, so that it can be killed while clients still use the target.
    child: Mutex<Child>,
    pub(crate) target: Target,
}

impl Process {
    /// Starts the broker on a data directory and waits until it answers.
    pub(crate) fn start(data: &Path) -> Self {
        Self::spawn(data).started(data)
    }

    /// The same, with settings in the environment.
    pub(crate) fn start_with(data: &Path, settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
        command.envs(settings.iter().copied());
        Self::launch(command, data).started(data)
    }

    /// The same, with a file system of its own for the data that holds so many bytes and goes with the process. None where
    /// that is not allowed, which is said aloud.
    pub(crate) fn start_on_small_disk(data: &Path, bytes: u64) -> Option<Self> {
        std::fs::create_dir_all(data).unwrap();
        let script = r#"mount -t tmpfs -o "size=$1" none "$2" && shift 2 && exec "$@""#;
        let small = |run: &[&str]| {
            let mut command = Command::new("unshare");
            command.args(["--mount", "sh", "-c", script, "sh"]).arg(bytes.to_string()).arg(data).args(run);
            command
        };
        if !small(&["true"]).stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
            eprintln!("skipped: no file system can be mounted here");
            return None;
        }
        let mut command = small(&[env!("CARGO_BIN_EXE_warren")]);
        // Full is full: the alarm for little space left must not come first.
        command.env("WARREN_DISK_FREE_LIMIT_ABSOLUTE", "1");
        Some(Self::launch(command, data).started(data))
    }

    /// The same on a disk whose syncs fail with EIO once the file `trigger` exists.
    pub(crate) fn start_on_failing_disk(data: &Path, trigger: &Path, settings: &[(&str, &str)]) -> Self {
        let library = data.with_extension("so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/failing_sync.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source);
        assert!(compiler.status().expect("Rust links with cc").success());
        let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
        command.env("LD_PRELOAD", library).env("FAILING_SYNC_TRIGGER", trigger);
        command.envs(settings.iter().copied());
        Self::launch(command, data).started(data)
    }

    /// Waits until it ends by itself; its exit code.
    pub(crate) fn wait(self) -> Option<i32> {
        self.child.lock().wait().unwrap().code()
    }

    fn started(self, data: &Path) -> Self {
        let process = self;
        let is_alive = || process.child.lock().try_wait().unwrap().is_none();
        if !await_answer(process.target.amqp, is_alive) {
            let log = std::fs::read_to_string(data.with_extension("log")).unwrap_or_default();
            panic!("the broker did not start:\n{log}");
        }
        process
    }

    /// Starts the broker on a data directory and waits for nothing.
    pub(crate) fn spawn(data: &Path) -> Self {
        Self::launch(Command::new(env!("CARGO_BIN_EXE_warren")), data)
    }

    fn launch(mut command: Command, data: &Path) -> Self {
        let [amqp, management, prometheus] = free_ports();
        // The broker takes every WARREN_ variable for a setting; ours are for the tests.
        let ours = std::env::vars_os().map(|(name, _)| name);
        ours.filter(|name| name.to_string_lossy().starts_with("WARREN_")).for_each(|name| {
            command.env_remove(name);
        });
        command.arg("serve").arg("--data-dir").arg(data);
        command.args(["--listen", &amqp.to_string(), "--management-listen", &management.to_string()]);
        command.args(["--prometheus-listen", &prometheus.to_string()]);
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(data.with_extension("log")).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let (management, metrics) = (Some(management), Some(prometheus));
        let target = Target { amqp, management, metrics, is_rabbitmq: false };
        Self { child: Mutex::new(child), target }
    }

    /// Ends it at once, as SIGKILL does.
    pub(crate) fn kill(self) {
        self.kill_now();
        self.child.lock().wait().unwrap();
    }

    /// The process's id.
    pub(crate) fn id(&self) -> u32 {
        self.child.lock().id()
    }

    /// Sends it a signal: `HUP`, `USR1`, …
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Ends it at once while others still talk to it.
    pub(crate) fn kill_now(&self) {
        self.child.lock().kill().unwrap();
    }

    /// Asks it to stop with SIGTERM, waits until it has, and checks that it says 0.
    pub(crate) fn stop(self) {
        let mut child = self.child.lock();
        if child.try_wait().unwrap().is_none() {
            let id = child.id().to_string();
            assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        }
        assert_eq!(child.wait().unwrap().code(), Some(0), "exit status after SIGTERM");
    }
}

/// Asks until there is an answer, for as long as a test may wait; `what` says what was waited for.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = warren::time::now();
    loop {
        if let Some(value) = ask() {
            return value;
        }
        assert!(started.elapsed() < PATIENCE, "{what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let child = self.child.get_mut();
        child.kill().ok();
        child.wait().ok();
    }
}

/// Ports nobody listens on now.
pub(crate) fn free_ports<const N: usize>() -> [SocketAddr; N] {
    let listeners = [(); N].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap())
}

/// Waits until an AMQP broker answers at `address`, at most two minutes and only while `is_alive`.
pub(crate) fn await_answer(address: SocketAddr, mut is_alive: impl FnMut() -> bool) -> bool {
    let started = warren::time::now();
    while started.elapsed() < Duration::from_secs(120) && is_alive() {
        if let Ok(mut stream) = TcpStream::connect(address) {
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let answers = stream.write_all(HEADER).is_ok() && stream.read_exact(&mut [0; 7]).is_ok();
            if answers {
                return true;
            }
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    false
}
