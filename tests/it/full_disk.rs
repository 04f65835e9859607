//! A disk that is full, and one whose sync fails, under a broker that runs: what is not safe is not confirmed.

use crate::running::Manager;
use crate::support::broker::Process;
use crate::support::{Client, Properties, Scenario};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

const DISK_BYTES: u64 = 24 << 20;

/// Takes all the space that is left, and gives it back when it is dropped.
struct Filler(PathBuf);

impl Filler {
    fn new(path: PathBuf) -> Self {
        let mut file = File::create(&path).unwrap();
        let error = loop {
            if let Err(error) = file.write_all(&[7; 4096]) {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        Self(path)
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

/// The path as the process sees it, which has file systems of its own.
fn seen_by(process: &Process, path: &Path) -> PathBuf {
    Path::new("/proc").join(process.id().to_string()).join("root").join(path.strip_prefix("/").unwrap())
}

fn publish(c: &mut Client, number: u64) -> String {
    let body = format!("{number:01000}");
    c.publish_with(1, "key=q", &Properties::new("delivery-mode=2"), &body);
    body
}

/// Receives until the connection is (un)blocked and, if `confirmed` says so, everything up to it is confirmed. Returns what
/// is confirmed.
fn receive_until(c: &mut Client, word: &str, mut confirmed: u64, up_to: u64) -> u64 {
    let mut is_told = false;
    while !is_told || confirmed < up_to {
        let incoming = c.receive(word);
        match &*incoming.method.name {
            "basic.ack" => confirmed = confirmed.max(incoming.number("delivery")),
            name if name == word => is_told = true,
            _ => panic!("{}", incoming.text),
        }
    }
    confirmed
}

#[test]
fn a_full_disk_confirms_nothing_and_blocks_publishers_while_consumers_go_on_until_there_is_room_again() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let Some(process) = Process::start_on_small_disk(&data, DISK_BYTES) else { return };
    let t = Scenario::new(process.target, true);
    let (mut c, mut d) = (t.open(), t.open());
    c.declare(1, "q", "durable");
    c.call(1, "confirm.select", "confirm.select-ok");
    let mut bodies: Vec<_> = (1..=3).map(|number| publish(&mut c, number)).collect();
    c.expect_confirms(1, 1, 3);

    let filler = Filler::new(seen_by(&process, &data.join("filler")));
    // More than the room that the file may have left.
    bodies.extend((4..=100).map(|number| publish(&mut c, number)));
    while t.http("GET", "/api/health/checks/alarms", "") == 200 {}
    // Whoever publishes now is told.
    bodies.push(publish(&mut c, 101));
    let confirmed = receive_until(&mut c, "connection.blocked", 3, 0);
    assert!((3..100).contains(&confirmed), "{confirmed} of 100 are confirmed on a full disk");
    // Meanwhile others consume, who had no delivery before.
    d.send(1, "basic.get queue=q no-ack");
    assert_eq!(d.receive("basic.get-ok").body, bodies.remove(0).into_bytes());

    drop(filler);
    receive_until(&mut c, "connection.unblocked", confirmed, 101);
    d.expect_messages(1, "q", &bodies.iter().map(String::as_str).collect::<Vec<_>>());
    drop((c, d));
    process.stop();
}

#[test]
fn after_a_failed_sync_the_broker_ends_with_a_message_and_has_confirmed_nothing_on_the_strength_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let (data, trigger) = (directory.path().join("data"), directory.path().join("trigger"));
    let socket = directory.path().join("notify");
    let manager = Manager::at(&socket);
    let settings = [("NOTIFY_SOCKET", socket.to_str().unwrap())];
    let process = Process::start_on_failing_disk(&data, &trigger, &settings);
    manager.told_of_start();
    let t = Scenario::new(process.target, true);
    let mut c = t.open();
    c.declare(1, "q", "durable");
    c.call(1, "confirm.select", "confirm.select-ok");
    let safe = publish(&mut c, 1);
    c.expect_confirms(1, 1, 1);
    File::create(&trigger).unwrap();
    publish(&mut c, 2);
    // The connection is closed, or lost with the process; no confirm comes before.
    while let Some(incoming) = c.next("the end").filter(|incoming| incoming.method.name != "connection.close")
    {
        assert_ne!(incoming.method.name, "basic.ack");
    }
    drop(c);
    assert_eq!(process.wait(), Some(74));
    let told = manager.told();
    assert_eq!(told, "STOPPING=1\nSTATUS=the journal cannot be made durable\n");
    let log = std::fs::read_to_string(data.with_extension("log")).unwrap();
    assert!(log.contains("cannot sync") && log.contains(".journal"), "{log}");

    let process = Process::start(&data);
    let mut c = t.moved(process.target).open();
    let found = c.drain(1, "q");
    assert_eq!(found.first(), Some(&safe), "{found:?}");
    c.hang_up();
    process.stop();
}
