//! How long messages and queues live: `x-message-ttl`, `expiration`, `x-expires` (behaviour.md, 2.1 and 2.3).

use crate::support::raw::PATIENCE;
use crate::support::scenario::run;
use crate::support::{Client, Properties, Scenario, Value, scenarios, text};

const SHORT_MS: i32 = 60;

/// Waits until a queue is gone, without using it: publishing is no use, as a declare is. The channel confirms.
fn await_end(c: &mut Client, queue: &str) {
    let started = warren::time::now();
    loop {
        c.publish_with(1, &format!("key={queue} mandatory"), &Properties::default(), "are you there?");
        let first = c.next("basic.ack or basic.return").unwrap();
        if first.method.name == "basic.return" {
            c.next("basic.ack").unwrap();
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{queue} stays");
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
}

fn confirming(t: &Scenario) -> Client {
    let mut c = t.open();
    c.call(1, "confirm.select", "confirm.select-ok");
    c
}

fn a_queue_that_nobody_uses_goes(t: &Scenario) {
    let mut c = confirming(t);
    c.declare_with(1, "~q", "", &[("x-expires", Value::I(SHORT_MS))]);
    await_end(&mut c, "~q");
}

fn a_queue_stays_while_it_has_consumers(t: &Scenario) {
    let mut c = confirming(t);
    c.declare_with(1, "~used", "", &[("x-expires", Value::I(SHORT_MS))]);
    c.consume(1, "~used", "t", "no-ack");
    c.declare_with(1, "~unused", "", &[("x-expires", Value::I(SHORT_MS))]);
    await_end(&mut c, "~unused");
    c.expect_queue(1, "~used", 0, 1);
    c.call(1, "basic.cancel tag=t", "basic.cancel-ok tag=t");
    await_end(&mut c, "~used");
}

/// Others that are not used say how much time has gone by.
#[test]
fn declaring_again_and_getting_keep_a_queue() {
    run(|t| {
        let mut c = confirming(t);
        let arguments = [("x-expires", Value::I(200))];
        for queue in ["~declared", "~got"] {
            c.declare_with(1, queue, "", &arguments);
        }
        for round in 0..3 {
            let clock = format!("~clock{round}");
            c.declare_with(1, &clock, "", &[("x-expires", Value::I(120))]);
            await_end(&mut c, &clock);
            let reply = "queue.declare-ok queue=~declared messages=0 consumers=0";
            c.call_with(1, "queue.declare queue=~declared", &arguments, reply);
            c.call(1, "basic.get queue=~got no-ack", "basic.get-empty");
        }
        await_end(&mut c, "~declared");
        await_end(&mut c, "~got");
    });
}

/// The dead letters' arrival says when each message left.
fn expect_in_order(c: &mut Client, bodies: &[&str]) {
    for body in bodies {
        c.expect_described(body, |incoming| String::from_utf8_lossy(&incoming.body).into_owned());
    }
}

/// RabbitMQ looks at the head of the queue only.
#[test]
fn messages_leave_when_they_are_due_wherever_in_the_queue_they_are() {
    run(|t| {
        let mut c = t.open();
        c.declare(1, "~dead", "exclusive");
        c.consume(1, "~dead", "d", "no-ack");
        let arguments = [
            ("x-dead-letter-exchange", text("")),
            ("x-dead-letter-routing-key", text("~dead")),
            ("x-max-priority", Value::I(3)),
        ];
        c.declare_with(1, "~q", "exclusive", &arguments);
        for (expiration, priority, body) in [
            (90, 0, "third"),
            (30, 3, "first"),
            (3_600_000, 1, "stays"),
            (60, 2, "second"),
            (120, 1, "fourth"),
        ] {
            let properties = Properties::new(&format!("expiration={expiration} priority={priority}"));
            c.publish_with(1, "key=~q", &properties, body);
        }
        expect_in_order(&mut c, &["first", "second", "third", "fourth"]);
        c.expect_queue(1, "~q", 1, 0);
    });
}

/// A thousand messages of one page, and many pages.
#[test]
fn many_messages_expire_in_the_order_of_their_times() {
    run(|t| {
        const COUNT: u64 = 6_000;
        let mut c = t.open();
        c.declare(1, "~dead", "exclusive");
        let arguments = [("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text("~dead"))];
        c.declare_with(1, "~q", "exclusive", &arguments);
        // The later it comes the earlier it goes.
        for number in 0..COUNT {
            let expiration = 400 + (COUNT - number) / 20;
            let properties = Properties::new(&format!("expiration={expiration}"));
            c.publish_with(1, "key=~q", &properties, format!("{number}"));
        }
        c.consume(1, "~dead", "d", "no-ack");
        let mut seen = Vec::new();
        for _ in 0..COUNT {
            let incoming = c.next("basic.deliver").unwrap();
            seen.push(String::from_utf8_lossy(&incoming.body).parse::<u64>().unwrap());
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..COUNT).collect::<Vec<_>>(), "each once");
        c.expect_queue(1, "~q", 0, 0);
    });
}

scenarios![a_queue_that_nobody_uses_goes, a_queue_stays_while_it_has_consumers];
