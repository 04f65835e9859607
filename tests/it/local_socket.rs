//! The socket in the data directory: administering without a password, before and after a kill, and warrenctl over it.

use crate::support::broker::Process;
use std::path::Path;

/// What a command line prints, with the exit code.
fn ctl(data: &Path, arguments: &[&str]) -> (u8, String, String) {
    let line =
        ["warrenctl", "--data-dir", data.to_str().unwrap()].into_iter().chain(arguments.iter().copied());
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let code = warren::ctl::run(line.map(Into::into), &mut out, &mut errors);
    (code, String::from_utf8(out).unwrap(), String::from_utf8(errors).unwrap())
}

fn done(data: &Path, arguments: &[&str]) -> String {
    let (code, out, errors) = ctl(data, arguments);
    assert_eq!((code, errors.as_str()), (0, ""), "{arguments:?}");
    out
}

#[test]
fn who_runs_the_broker_administers_it_without_a_password() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let broker = Process::start(&data);
    // Nobody can log in any more, and still all can be done.
    done(&data, &["delete_user", "guest"]);
    done(&data, &["add_vhost", "v"]);
    done(&data, &["declare", "queue", "-p", "v", "name=q"]);
    done(&data, &["declare", "exchange", "-p", "v", "name=x", "type=topic"]);
    done(&data, &["declare", "binding", "-p", "v", "source=x", "destination=q", "routing_key=a.#"]);
    for payload in ["one", "two"] {
        let line = ["publish", "-p", "v", "exchange=x", "routing_key=a.b", &format!("payload={payload}")];
        assert_eq!(done(&data, &line), "The message is published.\n");
    }
    assert_eq!(done(&data, &["list_queues", "-p", "v", "-s", "name", "messages", "-f", "csv"]), "q,2\n");
    assert_eq!(
        done(&data, &["get", "-p", "v", "queue=q", "ackmode=ack_requeue_false", "-s", "-f", "tsv"]),
        "a.b\tx\t1\tone\t3\tfalse\t[]\n"
    );
    let top = done(&data, &["top", "--once", "-p", "v", "-s", "-f", "csv"]);
    assert!(top.starts_with("v,q,1,0,"), "{top}");
    done(&data, &["delete", "binding", "-p", "v", "source=x", "destination=q", "routing_key=a.#"]);
    done(&data, &["purge_queue", "-p", "v", "q"]);
    assert_eq!(done(&data, &["list", "queues", "-s", "vhost", "name", "messages"]), "v  q  0\n");
    for check in [
        "ping",
        "check_running",
        "check_alarms",
        "await_startup",
        "check_port_connectivity",
        "check_virtual_hosts",
    ] {
        done(&data, &[check]);
    }
    done(&data, &["add_user", "u", "p"]);
    done(&data, &["authenticate_user", "u", "p"]);
    let (code, _, errors) = ctl(&data, &["authenticate_user", "u", "other"]);
    assert_eq!((code, errors.contains("login refused for user 'u'")), (77, true), "{errors}");
    // Who logs in is that user, on the socket, too.
    let socket = data.join("warren.sock");
    let login = ["--socket", socket.to_str().unwrap(), "--username", "u", "--password", "p", "list_users"];
    let (code, _, errors) = ctl(&data, &login);
    assert_eq!((code, errors.contains("user 'u' may not do this")), (77, true), "{errors}");
    drop(broker);
}

#[test]
fn a_killed_brokers_socket_is_told_and_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (code, _, errors) = ctl(&data, &["status"]);
    assert_eq!(
        (code, errors.contains("is it running? --socket and --data-dir name another")),
        (69, true),
        "{errors}"
    );
    drop(Process::start(&data));
    assert!(data.join("warren.sock").exists(), "it was killed");
    let (code, _, errors) = ctl(&data, &["status"]);
    assert_eq!(code, 69, "{errors}");
    assert!(
        errors.starts_with(&format!("Error: no broker at {} (", data.join("warren.sock").display())),
        "{errors}"
    );
    let _broker = Process::start(&data);
    assert_eq!(done(&data, &["ping"]), "The broker answers.\n");
}
