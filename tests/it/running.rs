//! How a node is run: what the service manager is told, and what the log says of a start.

use crate::support::Scenario;
use crate::support::broker::{Process, until};
use crate::support::http::request;
use crate::support::raw::{HEADER, PATIENCE};
use serde_json::Value;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A service manager, as far as a service sees it.
pub(crate) struct Manager(UnixDatagram);

impl Manager {
    pub(crate) fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    /// What it is told next.
    pub(crate) fn told(&self) -> String {
        let mut bytes = [0; 4096];
        let length = self.0.recv(&mut bytes).expect("it is told something");
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    /// That the broker starts, and then that it is ready: with what.
    pub(crate) fn told_of_start(&self) -> String {
        assert_eq!(self.told(), "STATUS=recovering what the data directory holds\n");
        self.told_of("READY=1")
    }

    /// What it is told next that begins so; the watchdog is fed in between.
    fn told_of(&self, beginning: &str) -> String {
        loop {
            let told = self.told();
            if told.starts_with(beginning) {
                return told;
            }
            assert_eq!(told, "WATCHDOG=1\n", "before {beginning}");
        }
    }
}

#[test]
fn the_service_manager_is_told_of_start_reload_and_stop_and_its_watchdog_is_fed() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("notify");
    let manager = Manager::at(&socket);
    let settings = [("NOTIFY_SOCKET", socket.to_str().unwrap()), ("WATCHDOG_USEC", "400000")];
    let process = Process::start_with(&dir.path().join("data"), &settings);
    let told = manager.told_of_start();
    let ready = format!("READY=1\nSTATUS=serves amqp {}, http ", process.target.amqp);
    assert!(told.starts_with(&ready), "{told}");
    for _ in 0..3 {
        manager.told_of("WATCHDOG=1");
    }
    process.signal("HUP");
    let told = manager.told_of("RELOADING=1");
    assert!(told.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{told}");
    assert!(manager.told_of("READY=1").starts_with(&ready));
    manager.told_of("WATCHDOG=1");
    process.stop();
    manager.told_of("STOPPING=1\nSTATUS=closing connections and the store\n");
}

#[test]
fn the_watchdog_is_not_fed_while_the_log_takes_no_line() {
    let dir = tempfile::tempdir().unwrap();
    let (socket, fifo) = (dir.path().join("notify"), dir.path().join("fifo"));
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    // Both of its ends: nobody waits for the other one, and it can be filled from here.
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap();
    let mut log = OpenOptions::new().read(true).write(true).custom_flags(nonblocking).open(&fifo).unwrap();
    let manager = Manager::at(&socket);
    let settings = [
        ("NOTIFY_SOCKET", socket.to_str().unwrap()),
        ("WATCHDOG_USEC", "400000"),
        ("RABBITMQ_LOGS", fifo.to_str().unwrap()),
    ];
    let process = Process::start_with(&dir.path().join("data"), &settings);
    manager.told_of_start();
    manager.told_of("WATCHDOG=1");
    while log.write(b"x").is_ok() {}
    // Whatever has its line to write waits now.
    process.signal("USR1");
    manager.0.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    until("nobody tells for a second that all is well", || {
        manager.0.recv(&mut [0; 64]).is_err().then_some(())
    });
    manager.0.set_read_timeout(Some(PATIENCE)).unwrap();
    while log.read(&mut [0; 4096]).is_ok() {}
    manager.told_of("WATCHDOG=1");
    process.stop();
}

#[test]
fn the_service_manager_is_told_why_a_broker_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("notify");
    let manager = Manager::at(&socket);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
    command.env("NOTIFY_SOCKET", &socket).args(["--listen", &listener.local_addr().unwrap().to_string()]);
    let status = command.arg("--data-dir").arg(dir.path().join("data")).output().unwrap().status;
    assert_eq!(status.code(), Some(69));
    assert!(manager.told().starts_with("STATUS=recovering"));
    let told = manager.told();
    assert!(told.starts_with("STOPPING=1\nSTATUS=cannot listen on 127.0.0.1:"), "{told}");
}

#[test]
fn the_log_sums_a_start_up() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    // The last summary, once there are so many.
    let summary = |count: usize| {
        until("the start is summed up", || {
            let log = std::fs::read_to_string(data.with_extension("log")).unwrap();
            let mut lines = log.lines().filter(|line| line.contains(" serves amqp "));
            lines.nth(count - 1).map(str::to_owned)
        })
    };
    let process = Process::start(&data);
    let (amqp, http) = (process.target.amqp, process.target.management.unwrap());
    let said = summary(1);
    for what in [
        &format!("Warren {} serves amqp {amqp}, http {http}, http/prometheus ", env!("CARGO_PKG_VERSION")),
        &format!("; data in {}, ", data.display()),
        "iB free there; publishers wait above ",
        "iB of free disk; ",
        "the data directory is new; user 'guest' was made",
    ] {
        assert!(said.contains(what), "{what:?} is missing in {said}");
    }
    process.stop();
    let process = Process::start(&data);
    let said = summary(2);
    assert!(said.contains("; recovered 1 vhosts, 0 queues and 0 messages in "), "{said}");
    assert!(said.ends_with(" ms"), "{said}");
    let (status, body) =
        request(process.target.management.unwrap(), "PUT", "/api/vhosts/v", "guest:guest", "{}");
    assert_eq!(status, 201, "{body}");
    process.kill();
    let process = Process::start(&data);
    let said = summary(3);
    assert!(said.contains("; recovered 2 vhosts, "), "{said}");
    assert!(said.ends_with(" ms, after an end that was none of ours"), "{said}");
    process.stop();
}

/// What `warren doctor` says, as objects, and its exit code.
fn doctor(arguments: &[&str]) -> (Vec<Value>, Option<i32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
    let output = command.env_clear().args(["doctor", "--format", "json"]).args(arguments).output().unwrap();
    (serde_json::from_slice(&output.stdout).unwrap(), output.status.code())
}

#[test]
fn the_doctor_knows_a_warren_that_runs_from_somebody_else() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let process = Process::start(&data);
    let [amqp, http, metrics] =
        [Some(process.target.amqp), process.target.management, process.target.metrics]
            .map(|it| it.unwrap().to_string());
    let ports = ["--listen", &amqp, "--management-listen", &http, "--prometheus-listen", &metrics];
    let (findings, _) = doctor(&[&["--data-dir", data.to_str().unwrap()], &ports[..]].concat());
    let of = |findings: &[Value], check: &str| -> Vec<Value> {
        findings.iter().filter(|finding| finding["check"] == check).cloned().collect()
    };
    let found = of(&findings, "port");
    assert_eq!(found.len(), 3);
    for port in found {
        let text = port["text"].as_str().unwrap();
        assert!(
            text.ends_with(&format!("is taken by a Warren that runs (process {})", process.id())),
            "{text}"
        );
        assert_eq!(port["verdict"], "ok");
    }
    for check in
        ["configuration", "open files", "data directory", "file system", "disk", "fsync", "clock", "memory"]
    {
        assert!(!of(&findings, check).is_empty(), "{check}: {findings:?}");
    }
    assert!(of(&findings, "fsync")[0]["text"].as_str().unwrap().contains(" µs for "), "{findings:?}");
    process.stop();
    let mut left = std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!left.any(|name| name.to_string_lossy().starts_with("doctor-")), "it leaves nothing behind");

    let listener = std::net::TcpListener::bind(&amqp).unwrap();
    let (findings, code) = doctor(&[&["--data-dir", data.to_str().unwrap()], &ports[..]].concat());
    let port = &of(&findings, "port")[0];
    let text = port["text"].as_str().unwrap();
    assert!(text.contains(&format!("(process {})", std::process::id())), "{text}");
    assert_eq!((&port["verdict"], code), (&"problem".into(), Some(1)));
    assert!(port["advice"].as_str().unwrap().starts_with("stop it, or"), "{port}");
    drop(listener);
}

#[test]
fn the_doctor_reads_the_configuration_and_says_for_people_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("warren.conf");
    std::fs::write(&file, "heartbeet = 3\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_warren"))
        .env_clear()
        .args(["doctor", "--config", file.to_str().unwrap()])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let expected = format!("problem  configuration: {}:1: unknown setting heartbeet", file.display());
    assert!(text.starts_with(&expected) && text.ends_with("0 ok, 0 warnings, 1 problems\n"), "{text}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_drained_node_closes_clients_and_takes_none_until_it_is_revived() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(&dir.path().join("data"));
    let t = Scenario::new(process.target, true);
    let ask = |method: &str, path: &str| {
        let (status, body) = request(process.target.management.unwrap(), method, path, "guest:guest", "");
        (status, serde_json::from_str::<Value>(&body).unwrap_or_default())
    };
    let node = ask("GET", "/api/nodes").1[0]["name"].as_str().unwrap().to_owned();
    let stands = || {
        let checks = ["is-in-service", "ready-to-serve-clients"];
        let checks = checks.map(|check| ask("GET", &format!("/api/health/checks/{check}")).0);
        (checks, ask("GET", "/api/nodes").1[0]["being_drained"].clone())
    };
    assert_eq!(ask("POST", "/api/nodes/other@here/drain").0, 404);
    assert_eq!(stands(), ([200, 200], false.into()));
    let mut c = t.open();
    assert_eq!(ask("POST", &format!("/api/nodes/{node}/drain")).0, 204);
    c.expect_connection_close(
        "320 CONNECTION_FORCED - broker forced connection closure with reason 'Node was put into maintenance mode' (0/0)",
    );
    assert_eq!(stands(), ([503, 503], true.into()));
    let mut stream = TcpStream::connect(process.target.amqp).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // A node that served would answer; this one is rid of the stream before it has read from it.
    let answered = stream.write_all(HEADER).and_then(|()| stream.read(&mut [0; 8]));
    let is_closed = match &answered {
        Ok(bytes) => *bytes == 0,
        Err(error) => [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe].contains(&error.kind()),
    };
    assert!(is_closed, "who connects is closed: {answered:?}");
    assert_eq!(ask("POST", "/api/nodes/other@here/revive").0, 404);
    assert_eq!(ask("POST", &format!("/api/nodes/{node}/revive")).0, 204);
    assert_eq!(stands(), ([200, 200], false.into()));
    t.open().close();
    process.stop();
}
