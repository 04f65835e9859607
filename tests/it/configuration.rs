//! The configuration of a broker that runs: checked, printed, read again; the bounds of the node; where its log goes.

use crate::support::broker::{Process, until};
use crate::support::http::request;
use crate::support::{Client, Login, Scenario};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

const GUEST: &str = "guest:guest";

/// `warren` with these arguments and nothing of ours in the environment.
fn warren(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
    command.env_clear().envs(environment.iter().copied()).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn get(process: &Process, path: &str) -> Value {
    let (status, body) = request(process.target.management.unwrap(), "GET", path, GUEST, "");
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

/// A setting of a running broker, as it shows it.
fn shown(process: &Process, key: &str) -> (Value, String) {
    let effective = get(process, "/api/config/effective");
    let rows = effective["settings"].as_array().unwrap();
    let row = rows.iter().find(|row| row["key"] == key).unwrap();
    (row["value"].clone(), row["source"].as_str().unwrap().to_owned())
}

#[test]
fn a_file_is_checked_line_by_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rabbitmq.conf");
    let name = file.display().to_string();
    std::fs::write(
        &file,
        "heartbeat = 30\nlisteners.ssl.default = 5671\ncluster_formation.dns.hostname = x\n",
    )
    .unwrap();
    std::fs::write(directory.path().join("enabled_plugins"), "[rabbitmq_management,rabbitmq_mqtt].").unwrap();
    let fine = warren(&["config", "check", &name], &[]);
    let said = text(&fine.stdout);
    for expected in [
        format!("{name}:1: fine heartbeat\n"),
        format!("{name}:2: WARNING listeners.ssl.default: there is no TLS in this version"),
        format!("{name}:3: ignored cluster_formation.dns.hostname: clustering: there is one node\n"),
        "enabled_plugins:1: fine rabbitmq_management: part of Warren".to_owned(),
        "enabled_plugins:1: WARNING rabbitmq_mqtt: not in Warren".to_owned(),
        "2 fine, 1 ignored, 2 warnings, 0 errors\n".to_owned(),
    ] {
        assert!(said.contains(&expected), "{expected:?} is missing in\n{said}");
    }
    assert_eq!(fine.status.code(), Some(0));
    assert_eq!(warren(&["config", "check", "--strict", &name], &[]).status.code(), Some(78));
    std::fs::write(&file, "heartbeet = 30\n").unwrap();
    let wrong = warren(&["config", "check", &name], &[]);
    let expected = format!("{name}:1: ERROR unknown setting heartbeet; the nearest known one is heartbeat\n");
    assert!(text(&wrong.stdout).contains(&expected), "{}", text(&wrong.stdout));
    assert_eq!(wrong.status.code(), Some(78));
    let missing = warren(&["config", "check", "/nowhere/rabbitmq.conf"], &[]);
    assert_eq!(missing.status.code(), Some(78));
}

#[test]
fn what_is_in_force_is_printed_with_its_source() {
    let environment = [("RABBITMQ_DEFAULT_PASS", "hunter2"), ("WARREN_HEARTBEAT", "30"), ("HOME", "/")];
    let printed = warren(&["config", "print", "--format", "json", "--listen", "5673"], &environment);
    let rows: Vec<Value> = serde_json::from_slice(&printed.stdout).unwrap();
    let source = |key: &str| rows.iter().find(|row| row["key"] == key).unwrap()["source"].clone();
    assert_eq!(source("heartbeat"), "environment variable WARREN_HEARTBEAT");
    assert_eq!(source("listeners.tcp.1"), "--listen");
    assert_eq!(source("default_pass"), "environment variable RABBITMQ_DEFAULT_PASS");
    assert!(!text(&printed.stdout).contains("hunter2"));
    for format in ["table", "conf", "markdown"] {
        let printed = warren(&["config", "print", "--format", format], &environment);
        assert!(printed.status.success() && text(&printed.stdout).contains("heartbeat"), "{format}");
        assert!(!text(&printed.stdout).contains("hunter2"), "{format}");
    }
    let wrong = warren(&["config", "print"], &[("RABBITMQ_VM_MEMORY_HIGH_WATERMARK", "0.4")]);
    assert_eq!(wrong.status.code(), Some(78));
    assert!(
        text(&wrong.stderr).contains("WARREN_VM_MEMORY_HIGH_WATERMARK_RELATIVE"),
        "{}",
        text(&wrong.stderr)
    );
}

#[test]
fn sighup_and_the_api_read_the_configuration_again() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("warren.conf");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    write("cluster_queue_limit = 5\ncluster_name = before\n");
    let settings = [("WARREN_CONFIG_FILE", file.to_str().unwrap()), ("WARREN_VHOST_MAX", "7")];
    let process = Process::start_with(&directory.path().join("data"), &settings);
    let limit = || shown(&process, "cluster_queue_limit").0;
    assert_eq!(limit(), "5");
    write("cluster_queue_limit = 6\ncluster_name = after\nvhost_max = 1\n");
    process.signal("HUP");
    until("the limit is another", || (limit() == "6").then_some(()));
    assert_eq!(shown(&process, "cluster_name").0, "before", "it needs a restart");
    assert_eq!(shown(&process, "vhost_max"), ("7".into(), "environment variable WARREN_VHOST_MAX".into()));
    let reload =
        |login: &str| request(process.target.management.unwrap(), "POST", "/api/config/reload", login, "");
    write("cluster_queue_limit = 8\ncluster_name = after\n");
    let (status, body) = reload(GUEST);
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &answer["changed"]), (200, &serde_json::json!(["cluster_queue_limit"])));
    assert_eq!(answer["needs_restart"], serde_json::json!(["cluster_name"]));
    write("cluster_queue_limit = many\n");
    let (status, body) = reload(GUEST);
    assert!(status == 400 && body.contains("warren.conf:1: cluster_queue_limit: "), "{status} {body}");
    assert_eq!(limit(), "8", "a file that is wrong changes nothing");
    assert_eq!(reload("guest:wrong").0, 401);
    // What changed is obeyed.
    write("cluster_queue_limit = 0\n");
    assert_eq!(reload(GUEST).0, 200);
    let mut c = Scenario::new(process.target, true).open();
    let why = "406 PRECONDITION_FAILED - cannot declare queue 'q': queue limit in cluster (0) is reached (queue.declare)";
    c.refused(1, "queue.declare queue=q durable", why);
    drop(c);
    process.stop();
}

#[test]
fn warrenctl_changes_the_running_broker_until_its_configuration_is_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let (data, log) = (directory.path().join("data"), directory.path().join("warren.log"));
    let settings = [
        ("RABBITMQ_LOGS", log.to_str().unwrap()),
        ("WARREN_LOG_FILE_LEVEL", "error"),
        ("WARREN_MANAGEMENT_HTTP_MAX_BODY_SIZE", "1000"),
    ];
    let process = Process::start_with(&data, &settings);
    let ctl = |arguments: &[&str]| {
        let before = ["warrenctl", "--config", "none", "--data-dir", data.to_str().unwrap()];
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        let line = before.iter().chain(arguments).map(Into::into);
        let code = warren::ctl::run(line, &mut out, &mut errors);
        (code, text(&out).to_owned() + text(&errors))
    };
    let is_on = |alarm: &str| get(&process, "/api/nodes")[0][alarm] == true;
    assert_eq!(ctl(&["set_vm_memory_high_watermark", "0"]).0, 0);
    until("publishers are blocked for memory", || is_on("mem_alarm").then_some(()));
    assert_eq!(ctl(&["check_alarms"]).0, 69);
    assert_eq!(ctl(&["set_disk_free_limit", "1000TB"]).0, 0);
    until("publishers are blocked for disk", || is_on("disk_free_alarm").then_some(()));
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "", "nothing is that important");
    assert_eq!(ctl(&["set_log_level", "info"]).0, 0);
    assert_eq!(ctl(&["set_log_level", "loud"]).0, 65);
    until("the file has lines", || {
        std::fs::read_to_string(&log).unwrap().contains("at_run_time").then_some(())
    });
    let (code, report) = ctl(&["report"]);
    assert!(code == 0 && report.contains("\n## deprecated features in use\n"), "{report}");
    // What is larger than it may be is read to its end, so that the answer comes; also over the socket.
    let file = directory.path().join("large.json");
    std::fs::write(&file, format!(r#"{{"x": "{}"}}"#, "y".repeat(4 << 20))).unwrap();
    let (code, said) = ctl(&["import_definitions", file.to_str().unwrap()]);
    assert!(code == 65 && said.contains("management.http.max_body_size is 1000 bytes; raise it"), "{said}");
    assert_eq!(shown(&process, "disk_free_limit.absolute"), ("1000TB".into(), "set at run time".into()));
    process.signal("HUP");
    until("all is as it was", || (!is_on("mem_alarm") && !is_on("disk_free_alarm")).then_some(()));
    assert_eq!(shown(&process, "disk_free_limit.absolute").1, "default");
    assert_eq!(shown(&process, "log.level").0, Value::Null);
    process.stop();
}

/// Logs in; the answer to connection.open is still to come.
fn ask(process: &Process) -> Client {
    let mut c = Scenario::new(process.target, true).socket();
    c.log_in(&Login::default());
    c
}

#[test]
fn the_node_has_so_many_of_everything_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let settings = [
        ("WARREN_MAX_CONNECTIONS", "1"),
        ("WARREN_CHANNEL_MAX_PER_NODE", "2"),
        ("WARREN_CONSUMER_MAX_PER_CHANNEL", "1"),
        ("WARREN_CLUSTER_QUEUE_LIMIT", "1"),
        ("WARREN_CLUSTER_EXCHANGE_LIMIT", "10"),
        ("WARREN_NODENAME", "rabbit@here"),
    ];
    let process = Process::start_with(&directory.path().join("data"), &settings);
    let mut c = Scenario::new(process.target, true).open();
    let too_many =
        "530 NOT_ALLOWED - connection refused: node connection limit (1) is reached (connection.open)";
    ask(&process).expect_connection_close(too_many);
    c.declare(1, "q", "durable");
    c.declare(1, "q", "durable");
    let why = "406 PRECONDITION_FAILED - cannot declare queue 'r': queue limit in cluster (1) is reached (queue.declare)";
    c.refused(1, "queue.declare queue=r durable", why);
    let before = get(&process, "/api/exchanges").as_array().unwrap().len();
    for number in before..10 {
        c.call(1, &format!("exchange.declare exchange=e{number} type=fanout"), "exchange.declare-ok");
    }
    let why = "406 PRECONDITION_FAILED - cannot declare exchange 'f': exchange limit in cluster (10) is reached (exchange.declare)";
    c.refused(1, "exchange.declare exchange=f type=fanout", why);
    c.call(1, "exchange.declare exchange=e9 type=fanout", "exchange.declare-ok");
    c.open_channel(2);
    c.send(3, "channel.open");
    c.expect_connection_close(
        "530 NOT_ALLOWED - number of channels opened on node 'rabbit@here' has reached the maximum allowed limit of (2) (0/0)",
    );
    let mut c = until("the place is free again", || {
        let mut c = ask(&process);
        (c.next("connection.open-ok").unwrap().method.name == "connection.open-ok").then_some(c)
    });
    c.open_channel(1);
    c.consume(1, "q", "one", "");
    c.send(1, "basic.consume queue=q tag=two");
    c.expect_connection_close(
        "530 NOT_ALLOWED - reached maximum (1) of consumers per channel (basic.consume)",
    );
    drop(c);
    process.stop();
}

/// The lines of a log file that is JSON.
fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_log_is_json_in_a_file_that_is_opened_again_by_a_signal() {
    let directory = tempfile::tempdir().unwrap();
    let (file, moved) = (directory.path().join("warren.log"), directory.path().join("moved.log"));
    let settings = [
        ("RABBITMQ_LOGS", file.to_str().unwrap()),
        ("WARREN_LOG_FILE_FORMATTER", "json"),
        ("WARREN_LOG_CONSOLE", "false"),
        ("WARREN_LOG_CONNECTION_LEVEL", "none"),
    ];
    let data = directory.path().join("data");
    let process = Process::start_with(&data, &settings);
    let says = |path: &Path, text: &str| {
        lines(path).iter().any(|line| line["message"].as_str().is_some_and(|said| said.contains(text)))
    };
    until("it says that it is ready", || says(&file, "ready: connect to").then_some(()));
    let first = &lines(&file)[0];
    assert_eq!((&first["level"], &first["message"]), (&"INFO".into(), &"Warren is starting".into()));
    assert!(!says(&file, "connection"), "connections say nothing: the fixture has made one");
    std::fs::rename(&file, &moved).unwrap();
    process.signal("USR1");
    until("it goes on in a new file", || says(&file, "opened again").then_some(()));
    process.stop();
    assert!(says(&file, "stopped") && !says(&moved, "stopped"));
    assert_eq!(std::fs::read_to_string(data.with_extension("log")).unwrap(), "", "nothing on the console");
}

#[test]
fn clients_log_in_as_configured() {
    let directory = tempfile::tempdir().unwrap();
    let settings = [
        ("WARREN_AUTH_MECHANISMS_1", "ANONYMOUS"),
        ("WARREN_ANONYMOUS_LOGIN_USER", "guest"),
        ("WARREN_ANONYMOUS_LOGIN_PASS", "guest"),
    ];
    let process = Process::start_with(&directory.path().join("data"), &settings);
    let t = Scenario::new(process.target, true);
    let mut c = t.socket();
    c.log_in(&Login { mechanism: "ANONYMOUS", ..Login::default() });
    c.expect("0 connection.open-ok");
    c.close();
    let mut c = t.socket();
    c.start();
    c.start_ok(&Login::default());
    c.expect_connection_close(
        "503 COMMAND_INVALID - unknown authentication mechanism 'PLAIN' (connection.start-ok)",
    );
    drop(c);
    process.stop();
}
