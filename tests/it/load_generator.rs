//! `warrenctl perf` against a broker: every message is accounted for, what is wrong is a failure, and nothing stays behind.

use crate::support::broker::{Target, start_in_process};
use crate::support::{Client, Login, Scenario};
use serde_json::Value;
use std::ffi::OsString;
use std::thread;
use warren::broker::Broker;
use warren::name::VhostName;

/// What a command line did.
struct Ran {
    code: u8,
    out: String,
    errors: String,
}

impl Ran {
    fn json(&self) -> Value {
        assert_eq!((self.code, &*self.errors), (0, ""), "{}", self.out);
        serde_json::from_str(&self.out).unwrap()
    }
}

/// Runs `perf` against the broker; words of the line are apart by spaces.
fn perf(target: Target, line: &str) -> Ran {
    let uri = format!("amqp://guest:guest@{}/%2f", target.amqp);
    perf_at(&uri, line)
}

fn perf_at(uri: &str, line: &str) -> Ran {
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let words = ["warrenctl", "--format", "json", "perf"].into_iter().chain(line.split_whitespace());
    let words = words.chain(["--uri", uri]).map(OsString::from);
    let code = warren::ctl::run(words, &mut out, &mut errors);
    Ran { code, out: String::from_utf8(out).unwrap(), errors: String::from_utf8(errors).unwrap() }
}

/// A client for whom guest's password is right.
fn client(target: Target) -> Client {
    Scenario::new(target, true).open_as(&Login::default())
}

fn queue_count(broker: &Broker) -> usize {
    let home = broker.vhost(&VhostName::new("/")).unwrap();
    home.topology().queue_count()
}

fn number(report: &Value, path: &str) -> f64 {
    let value = report.pointer(path).unwrap_or_else(|| panic!("{path} is missing: {report}"));
    value.as_f64().unwrap_or_else(|| panic!("{path} is no number: {report}"))
}

#[test]
fn every_kind_of_traffic_is_accounted_for_and_leaves_nothing() {
    let (target, broker) = start_in_process();
    // (options, deliveries of each message)
    let lines = [
        ("", 1.0),
        ("-x3 -y2 --queues 5 -A 7 --prefetch 50", 1.0),
        ("-x2 -y3 -c 50 -A 1 --persistent -s 1000", 1.0),
        ("--tx 7 --persistent -A 100", 1.0),
        ("--exchange-type fanout --queues 4 -y4", 4.0),
        ("--exchange-type direct --queues 2 --keys 5 -y2", 1.0),
        ("--exchange-type topic --queues 6 --keys 2 -y3 --extra-bindings 20", 3.0),
        ("--exchange-type headers --queues 2 --keys 4 -c 10", 1.0),
        ("--priorities 3 -A 10 -s 300000 -C 20", 1.0),
        ("--get -A 1 -C 100", 1.0),
        ("--get --queues 3 -C 100", 1.0),
        ("-s 8 --backlog-max 10", 1.0),
        ("-r 2000 -R 3000 -C 200", 1.0),
        ("--queue-argument x-max-priority=3 --mandatory", 1.0),
    ];
    for (line, copies) in lines {
        let count = if line.contains("-C") { "" } else { "-C 700" };
        let report = perf(target, &format!("throughput {count} {line}")).json();
        let producers = number(&report, "/options/producers");
        let published = number(&report, "/options/messages") * producers;
        assert_eq!(number(&report, "/published"), published, "{line}");
        assert_eq!(number(&report, "/received"), published * copies, "{line}");
        let confirmed = if line.contains("-c") || line.contains("--tx") { published } else { 0.0 };
        assert_eq!(number(&report, "/confirmed"), confirmed, "{line}");
        let has_times = number(&report, "/options/size") >= 16.0;
        assert_eq!(report["latency_ms"].is_object(), has_times, "{line}");
        if has_times {
            let (p50, most) = (number(&report, "/latency_ms/p50"), number(&report, "/latency_ms/max"));
            assert!(0.0 < p50 && p50 <= most && most < 30_000.0, "{line}: {report}");
        }
        assert_eq!(report["confirm_latency_ms"].is_object(), confirmed > 0.0, "{line}");
        assert_eq!(report["product"], "Warren");
    }
    assert_eq!(queue_count(&broker), 0);
    let mut c = client(target);
    c.refused(
        1,
        "exchange.declare exchange=perf type=direct passive",
        "404 NOT_FOUND - no exchange 'perf' in vhost '/' (exchange.declare)",
    );
}

#[test]
fn a_backlog_that_one_run_leaves_another_takes_out() {
    let (target, _broker) = start_in_process();
    let line = "throughput -y0 -C 600 --queues 3 --persistent -c 100 --mark-every 200";
    let report = perf(target, line).json();
    assert_eq!((number(&report, "/confirmed"), number(&report, "/received")), (600.0, 0.0));
    assert!(report["published_marks"].as_array().is_some_and(|marks| !marks.is_empty()), "{report}");
    let line = "throughput -y0 -C 60 --first 600 --queues 3 --persistent -c 100";
    assert_eq!(number(&perf(target, line).json(), "/published"), 60.0);
    let mut c = client(target);
    c.expect_queue(1, "perf.000002", 220, 0);
    let report = perf(target, "throughput -x0 -y2 -C 660 --queues 3 --persistent -A 10").json();
    assert_eq!(number(&report, "/received"), 660.0);
    assert!(report["latency_ms"].is_null(), "how long they lay there says nothing: {report}");
    c.expect_queue(1, "perf.000002", 0, 0);
}

#[test]
fn messages_in_a_wrong_order_or_twice_are_a_failure() {
    let (target, _broker) = start_in_process();
    let mut c = client(target);
    c.declare(1, "perf", "");
    for number in [0u64, 2, 1] {
        c.publish(1, "", "perf", [&number.to_be_bytes()[..], b"12345678"].concat());
    }
    let ran = perf(target, "throughput -x0 -C 3");
    assert_eq!((ran.code, &*ran.errors), (70, "Error: message 1 of producer 0 came behind 2\n"));
    // A message for the consumer that just ended would be lost with it.
    c.expect_none(1, "perf", "consumers");
    for number in [0u64, 0] {
        c.publish(1, "", "perf", [&number.to_be_bytes()[..], b"12345678"].concat());
    }
    let ran = perf(target, "throughput -x0 -C 2");
    assert_eq!((ran.code, &*ran.errors), (70, "Error: message 0 of producer 0 came behind 0\n"));
    c.expect_none(1, "perf", "consumers");
    c.publish(1, "", "perf", [0; 20]);
    let ran = perf(target, "throughput -x0 -C 1");
    assert_eq!(ran.code, 70);
    assert!(ran.errors.contains("a body of 20 bytes instead of 16; is --size right?"), "{}", ran.errors);
}

#[test]
fn messages_that_nobody_can_get_are_returned_and_counted() {
    let (target, _broker) = start_in_process();
    let mut c = client(target);
    c.declare(1, "perf", "");
    let line = "throughput -y0 -C 1000 -r 1000 --mandatory -c 10 --keep";
    let running = thread::spawn(move || perf(target, line));
    c.consume(1, "perf", "c", "no-ack");
    for _ in 0..50 {
        c.next("a message of the run").unwrap();
    }
    c.send(1, "queue.delete queue=perf");
    while c.next("queue.delete-ok, behind deliveries").unwrap().method.name != "queue.delete-ok" {}
    let report = running.join().unwrap().json();
    let returned = number(&report, "/returned");
    assert!((1.0..951.0).contains(&returned), "{report}");
    assert_eq!(number(&report, "/confirmed"), 1000.0);
}

#[test]
fn a_message_that_is_late_counts_from_when_it_was_to_be_sent() {
    let (target, _broker) = start_in_process();
    // A consumer that takes half as many as are published: the later, the longer they wait. A machine that stalls makes all
    // of them wait longer still, and none less.
    let report = perf(target, "throughput -r 1000 -C 400 -c 1 -A 1 --interval 0.1").json();
    assert_eq!(number(&report, "/received"), 400.0);
    assert!(number(&report, "/seconds") > 0.39, "as fast as it was to be: {report}");
    assert!(report["samples"].as_array().is_some_and(|samples| samples.len() > 2), "{report}");
    let slow = perf(target, "throughput -r 2000 -C 400 -R 1000 -A 1 --prefetch 1").json();
    let (p50, most) = (number(&slow, "/latency_ms/p50"), number(&slow, "/latency_ms/max"));
    assert!(p50 > 50.0 && most > 150.0, "{slow}");
}

#[test]
fn a_report_is_written_as_json_and_as_a_page_with_charts() {
    let (target, _broker) = start_in_process();
    let folder = tempfile::tempdir().unwrap();
    let (json, html) = (folder.path().join("r.json"), folder.path().join("r.html"));
    let pid = std::process::id();
    let files = format!("--json {} --html {}", json.display(), html.display());
    let line = format!("throughput -C 2000 -r 4000 -c 50 --interval 0.1 --pid {pid} {files}");
    let report = perf(target, &line).json();
    let written: Value = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    assert_eq!(written, report);
    assert!(number(&report, "/broker/memory_bytes_peak") > 1e6);
    let page = std::fs::read_to_string(html).unwrap();
    assert_eq!(page.matches("<svg").count(), 4, "{page}");
    for text in ["Messages a second", "Latency by percentile", "Until confirmed", "2,000"] {
        assert!(page.contains(text), "{text} is missing: {page}");
    }
    assert!(!page.contains("<script") && !page.contains("src="), "nothing is loaded");
}

#[test]
fn what_the_broker_refuses_is_said_with_its_own_words() {
    let (target, _broker) = start_in_process();
    let at = |login: &str, line: &str| perf_at(&format!("amqp://{login}@{}/%2f", target.amqp), line);
    let ran = at("guest:wrong", "throughput -C 1");
    assert_eq!(ran.code, 77, "{}", ran.errors);
    assert!(ran.errors.contains("login refused for user 'guest'"), "{}", ran.errors);
    let mut c = client(target);
    c.declare(1, "perf", "durable");
    let ran = perf(target, "throughput -C 1 -y0");
    assert_eq!(ran.code, 70);
    assert!(ran.errors.contains("406 PRECONDITION_FAILED - inequivalent arg 'durable'"), "{}", ran.errors);
    let ran = perf_at("amqp://127.0.0.1:1", "churn queue -C 1");
    assert_eq!(ran.code, 69, "{}", ran.errors);
    assert!(ran.errors.contains("no broker at 127.0.0.1:1"), "{}", ran.errors);
    let ran = perf_at("amqp://127.0.0.1:1", "throughput -x0 -C 5 --pid 4294967295");
    assert_eq!(ran.code, 69, "{}", ran.errors);
}

#[test]
fn things_come_and_go_as_often_as_they_are_asked_to_and_none_stays() {
    let (target, broker) = start_in_process();
    for what in ["connection", "channel", "queue", "exchange", "binding", "consumer", "queue --leave"] {
        let report = perf(target, &format!("churn {what} -x2 -C 20 --persistent")).json();
        assert_eq!(number(&report, "/turns"), 40.0, "{what}");
        assert!(number(&report, "/latency_ms/p50") > 0.0, "{report}");
    }
    assert_eq!(queue_count(&broker), 0);
    let line = format!("idle -x 20 --channels 50 --queues 30 --pid {}", std::process::id());
    let report = perf(target, &line).json();
    let steps = report["steps"].as_array().unwrap();
    let counts: Vec<_> =
        steps.iter().map(|step| (step["what"].as_str().unwrap(), number(step, "/count"))).collect();
    assert_eq!(counts, [("connections", 20.0), ("channels", 50.0), ("queues", 30.0)]);
    assert!(steps.iter().all(|step| step["bytes_each"].is_f64()), "{report}");
    assert_eq!(queue_count(&broker), 0);
}

#[test]
fn the_help_of_each_kind_of_load_says_what_it_does_and_shows_how() {
    for (kind, expected) in [
        ("throughput", ["checks that every message comes once", "perf throughput -x4"]),
        ("churn", ["over and over", "perf churn queue --persistent"]),
        ("idle", ["ends all of it again", "perf idle -x10000"]),
    ] {
        let ran = perf_at("amqp://127.0.0.1:1", &format!("{kind} --help"));
        assert_eq!(ran.code, 0, "{}", ran.errors);
        expected.iter().for_each(|text| assert!(ran.out.contains(text), "{kind}: {text}: {}", ran.out));
    }
}
