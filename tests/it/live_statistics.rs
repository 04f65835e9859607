//! Rates, and those who watch them, on a broker that samples by the clock.

use crate::support::Scenario;
use crate::support::broker::Process;
use base64::Engine as _;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Long enough for many samples.
const PATIENCE: Duration = Duration::from_secs(30);

/// Watches a broker; the connection ends with the events.
fn watch(process: &Process) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(process.target.management.unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let login = base64::engine::general_purpose::STANDARD.encode("guest:guest");
    let request = format!("GET /api/live HTTP/1.0\r\nhost: h\r\nauthorization: Basic {login}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    BufReader::new(stream)
}

/// What overviews come, until the watching ends.
fn overviews(events: BufReader<TcpStream>) -> impl Iterator<Item = Value> {
    let lines = events.lines().map(|line| line.expect("something comes with each sample"));
    lines.filter_map(|line| {
        let value: Value = serde_json::from_str(line.strip_prefix("data: ")?).unwrap();
        value.get("vhost").is_none().then_some(value)
    })
}

fn start(directory: &tempfile::TempDir) -> Process {
    let settings = [("WARREN_COLLECT_STATISTICS_INTERVAL", "1000")];
    Process::start_with(&directory.path().join("data"), &settings)
}

#[test]
fn who_watches_sees_the_rate_of_what_is_published_and_of_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let process = start(&directory);
    let t = Scenario::new(process.target, true);
    let mut c = t.open();
    c.declare(1, "q", "exclusive");
    let rate = |overview: &Value| overview["message_stats"]["publish_details"]["rate"].as_f64();
    let mut overviews = overviews(watch(&process));
    overviews.next().unwrap();
    for _ in 0..100 {
        c.publish(1, "", "q", "m");
    }
    let busy = overviews.find(|overview| rate(overview) > Some(0.0)).unwrap();
    assert!(busy["object_totals"]["connections"] == 1 && busy["object_totals"]["queues"] == 1, "{busy}");
    assert!(overviews.any(|overview| rate(&overview) == Some(0.0)));
    process.stop();
}

#[test]
fn a_node_stops_while_somebody_watches_and_ends_the_watching() {
    let directory = tempfile::tempdir().unwrap();
    let process = start(&directory);
    let mut overviews = overviews(watch(&process));
    overviews.next().unwrap();
    process.stop();
    assert!(overviews.count() < 30, "it ends");
}
