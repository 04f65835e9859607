//! Spans of traced messages, as a collector gets them over OTLP.

use crate::support::broker::Process;
use crate::support::{Properties, Scenario, text};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// A collector: the bodies that are posted to it, one after the other.
fn collector() -> (String, mpsc::Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut length = 0;
            let mut line = String::new();
            while stream.read_line(&mut line).unwrap_or(0) > 2 {
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                assert!(!line.starts_with("POST") || line.starts_with("POST /v1/traces "), "{line}");
                line.clear();
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            stream.get_mut().write_all(answer).unwrap();
            if sender.send(body).is_err() {
                return;
            }
        }
    });
    (endpoint, receiver)
}

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hexadecimal[at..at + 2], 16).unwrap();
    (0..hexadecimal.len()).step_by(2).map(byte).collect()
}

fn count(body: &[u8], part: &[u8]) -> usize {
    body.windows(part.len()).filter(|window| *window == part).count()
}

#[test]
fn what_was_done_with_a_traced_message_is_told_as_a_part_of_its_trace() {
    let directory = tempfile::tempdir().unwrap();
    let (endpoint, bodies) = collector();
    let settings = [("WARREN_OPENTELEMETRY_OTLP_ENDPOINT", endpoint.as_str())];
    let process = Process::start_with(&directory.path().join("data"), &settings);
    let t = Scenario::new(process.target, true);
    let mut c = t.open();
    c.declare(1, "q", "exclusive");
    c.bind(1, "q", "amq.topic", "traced.#");
    let parent = |flags: &str| [("traceparent", text(&format!("00-{TRACE}-{PARENT}-{flags}")))];
    let traced = Properties::new("").headers(&parent("01"));
    c.publish_with(1, "exchange=amq.topic key=traced.yes", &traced, "one");
    c.publish_with(1, "exchange=amq.topic key=traced.no", &Properties::new("").headers(&parent("00")), "two");
    c.publish(1, "amq.topic", "traced.not", "three");
    c.consume(1, "q", "t", "");
    for (tag, key, flags, body) in
        [(1, "yes", Some("01"), "one"), (2, "no", Some("00"), "two"), (3, "not", None, "three")]
    {
        let headers = flags.map_or(String::new(), |flags| {
            format!(" {{headers={{traceparent='00-{TRACE}-{PARENT}-{flags}'}}}}")
        });
        c.expect(&format!(
            "1 basic.deliver tag=t delivery={tag} exchange=amq.topic key=traced.{key}{headers}: {body}"
        ));
    }
    c.send(1, "basic.ack delivery=3 multiple");
    c.call(1, "basic.qos", "basic.qos-ok");
    c.close();
    process.stop();
    let body: Vec<u8> = bodies.try_iter().flatten().collect();
    for (name, times) in [("publish amq.topic", 1), ("route amq.topic", 1), ("deliver", 3), ("settle", 2)] {
        assert_eq!(
            count(&body, name.as_bytes()),
            times,
            "{name}: a span; the last two also as operations, and within `warren.redelivered`"
        );
    }
    assert_eq!(count(&body, &bytes(TRACE)), 4, "all spans are of the trace");
    assert_eq!(
        count(&body, &bytes(PARENT)),
        3,
        "publish, deliver and settle are children of the publisher's span"
    );
    assert_eq!(count(&body, b"traced.yes"), 4);
    assert_eq!(count(&body, b"traced.no"), 0, "neither what is not sampled nor what has no trace");
    assert!(count(&body, b"ack") > 0 && count(&body, b"warren@") > 0);
}
