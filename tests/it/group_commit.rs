//! What a confirm waits for: the setting `durability` and the argument `x-durability`.

use crate::support::broker::{Process, start_in_process};
use crate::support::{Client, Properties, Scenario, Value};

const PUBLISHES: u64 = 20;

/// A client whose channel 1 confirms, with a queue of each kind.
fn open(t: &Scenario) -> Client {
    let mut c = t.open();
    for (queue, durability) in [("~sync", "sync"), ("~interval", "interval(60000)"), ("~os", "os")] {
        c.declare_with(1, queue, "durable", &[("x-durability", Value::S(durability.into()))]);
    }
    c.declare(1, "~default", "durable");
    c.exchange(1, "~all", "fanout durable");
    c.call(1, "confirm.select", "confirm.select-ok");
    c
}

/// Publishes one message after another, each when the one before was confirmed; `tag` is the last confirmed.
fn publish(c: &mut Client, to: &str, tag: &mut u64) {
    for _ in 0..PUBLISHES {
        c.publish_with(1, to, &Properties::new("delivery-mode=2"), "x");
        *tag += 1;
        c.expect_confirms(1, *tag, *tag);
    }
}

#[test]
fn a_confirm_waits_for_the_disk_only_where_the_most_careful_queue_asks_for_it() {
    let (target, broker) = start_in_process();
    let t = Scenario::new(target, true);
    let mut c = open(&t);
    let mut tag = 0;
    for (to, careful) in
        [("key=~os", false), ("key=~interval", false), ("key=~sync", true), ("key=~default", true)]
    {
        let before = broker.store.counters().syncs;
        let started = warren::time::now();
        publish(&mut c, to, &mut tag);
        let syncs = broker.store.counters().syncs - before;
        // Five a second are made whoever waits, for what nobody waits for.
        let background = started.elapsed().as_millis() as u64 / 200 + 1;
        let is_careful = syncs >= PUBLISHES;
        assert!(is_careful == careful && (careful || syncs <= background), "{to}: {syncs} syncs");
    }
    // One message in several queues: the most careful one counts.
    c.bind(1, "~os", "~all", "");
    c.bind(1, "~sync", "~all", "");
    let before = broker.store.counters().syncs;
    publish(&mut c, "exchange=~all key=", &mut tag);
    assert!(broker.store.counters().syncs - before >= PUBLISHES);
}

#[test]
fn a_transaction_waits_for_the_disk_only_where_one_of_its_queues_asks_for_it() {
    let (target, broker) = start_in_process();
    let t = Scenario::new(target, true);
    let mut c = open(&t);
    c.call(2, "channel.open", "channel.open-ok");
    c.call(2, "tx.select", "tx.select-ok");
    for (queue, careful) in [("~os", false), ("~sync", true)] {
        let before = broker.store.counters().syncs;
        let started = warren::time::now();
        for _ in 0..PUBLISHES {
            c.publish_with(2, &format!("key={queue}"), &Properties::new("delivery-mode=2"), "x");
            c.call(2, "tx.commit", "tx.commit-ok");
        }
        let syncs = broker.store.counters().syncs - before;
        let background = started.elapsed().as_millis() as u64 / 200 + 1;
        assert!(
            (syncs >= PUBLISHES) == careful && (careful || syncs <= background),
            "{queue}: {syncs} syncs"
        );
    }
    c.expect_queue(1, "~os", PUBLISHES as u32, 0);
}

#[test]
fn what_is_confirmed_without_a_sync_survives_the_process() {
    for setting in ["os", "interval(60000)"] {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        let process = Process::start_with(&data, &[("WARREN_DURABILITY", setting)]);
        let t = Scenario::new(process.target, true);
        let mut c = t.open();
        c.declare(1, "q", "durable");
        c.call(1, "confirm.select", "confirm.select-ok");
        let mut tag = 0;
        publish(&mut c, "key=q", &mut tag);
        process.kill();
        let process = Process::start(&data);
        let mut c = t.moved(process.target).open();
        c.expect_queue(1, "q", PUBLISHES as u32, 0);
        c.hang_up();
        process.stop();
    }
}

#[test]
fn another_durability_is_refused_when_the_queue_is_declared_again() {
    let (target, _) = start_in_process();
    let t = Scenario::new(target, true);
    let mut c = open(&t);
    c.declare_with(1, "~os", "durable", &[("x-durability", Value::S("os".into()))]);
    c.refused_with(
        1,
        "queue.declare queue=~os durable",
        &[("x-durability", Value::S("sync".into()))],
        "406 PRECONDITION_FAILED - inequivalent arg 'x-durability' for queue '~os' in vhost '/': received 'sync' but \
         current is 'os' (queue.declare)",
    );
    c.refused_with(
        1,
        "queue.declare queue=~new durable",
        &[("x-durability", Value::S("interval(0)".into()))],
        "406 PRECONDITION_FAILED - invalid arg 'x-durability' for queue '~new' in vhost '/': \
         {invalid_value,\"interval(0)\"}; expected sync, interval(MS) or os (queue.declare)",
    );
}
