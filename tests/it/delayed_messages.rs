//! x-delayed-message: a message waits for the milliseconds of its `x-delay` before it is routed (behaviour.md, 2.5).
//! RabbitMQ needs a plugin for it.

use crate::support::node::{ENDS, Node};
use crate::support::raw::PATIENCE;
use crate::support::scenario::run;
use crate::support::{Client, Properties, Scenario, Value, text};
use std::time::Duration;

fn exchange(c: &mut Client, flags: &str, kind: &'static str) {
    let method = format!("exchange.declare exchange=~x type=x-delayed-message {flags}");
    c.call_with(1, method.trim_end(), &[("x-delayed-type", text(kind))], "exchange.declare-ok");
}

fn with_queue(t: &Scenario, kind: &'static str, key: &str) -> Client {
    let mut c = t.open();
    exchange(&mut c, "auto-delete", kind);
    c.declare(1, "~q", "exclusive");
    c.bind(1, "~q", "~x", key);
    c
}

fn delayed(ms: i32) -> Properties {
    Properties::new("delivery-mode=2").headers(&[("x-delay", Value::I(ms))])
}

fn publish(c: &mut Client, fields: &str, ms: i32, body: &str) {
    c.publish_with(1, fields, &delayed(ms), body);
}

/// What comes, whatever its headers.
fn expect_body(c: &mut Client, body: &str) {
    c.expect_described(body, |incoming| String::from_utf8_lossy(&incoming.body).into_owned());
}

#[test]
fn messages_come_when_their_delay_is_over_the_shortest_first() {
    run(|t| {
        let mut c = with_queue(t, "direct", "k");
        c.consume(1, "~q", "t", "no-ack");
        let started = warren::time::now();
        for (ms, body) in [(150, "third"), (50, "first"), (100, "second")] {
            publish(&mut c, "exchange=~x key=k", ms, body);
        }
        c.publish(1, "~x", "k", "at once");
        publish(&mut c, "exchange=~x key=k", -5, "has waited already");
        publish(&mut c, "exchange=~x key=other", 1, "nowhere");
        for body in ["at once", "has waited already", "first", "second", "third"] {
            expect_body(&mut c, body);
        }
        let waited = started.elapsed();
        assert!((Duration::from_millis(150)..PATIENCE).contains(&waited), "{waited:?}");
    });
}

/// Whoever tries again later sends a dead letter as it came, with its history.
#[test]
fn a_dead_letter_that_is_sent_again_with_a_delay_reaches_the_queue_it_died_in() {
    run(|t| {
        let mut c = t.open();
        exchange(&mut c, "auto-delete", "direct");
        c.declare(1, "~failed", "exclusive");
        let dies = [("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text("~failed"))];
        c.declare_with(1, "~q", "exclusive", &dies);
        c.bind(1, "~q", "~x", "again");
        c.consume(1, "~failed", "t", "no-ack");
        c.publish_with(1, "key=~q", &Properties::new("expiration=1"), "try");
        let died = c.receive("basic.deliver");
        let mut headers = died.properties.headers.unwrap();
        assert!(headers.iter().any(|(name, _)| name == "x-death"), "{headers:?}");
        headers.push(("x-delay".into(), Value::I(1)));
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        c.consume(1, "~q", "again", "no-ack");
        c.publish_with(1, "exchange=~x key=again", &Properties::default().headers(&headers), "once more");
        expect_body(&mut c, "once more");
    });
}

#[test]
fn a_message_that_waited_says_so_and_has_its_own_expiration() {
    run(|t| {
        let mut c = with_queue(t, "fanout", "");
        let properties = Properties::new("delivery-mode=2 expiration=60000 message-id=m");
        let properties = properties.headers(&[("a", text("b")), ("x-delay", text("20"))]);
        c.publish_with(1, "exchange=~x key=k", &properties, "one");
        c.consume(1, "~q", "t", "no-ack");
        c.expect(
            "1 basic.deliver tag=t delivery=1 exchange=~x key=k {delivery-mode=2 expiration=60000 message-id=m \
             headers={a='b' x-delay=I-20}}: one",
        );
    });
}

#[test]
fn a_publisher_gets_its_confirm_before_and_no_return() {
    run(|t| {
        let mut c = with_queue(t, "direct", "k");
        c.call(1, "confirm.select", "confirm.select-ok");
        publish(&mut c, "exchange=~x key=nowhere mandatory", 30, "waits");
        c.expect("1 basic.ack delivery=1");
        c.publish_with(1, "exchange=~x key=nowhere mandatory", &delayed(0), "not");
        assert_eq!(c.next("basic.return").unwrap().method.name, "basic.return");
    });
}

#[test]
fn messages_of_a_transaction_wait_too() {
    run(|t| {
        let mut c = with_queue(t, "direct", "k");
        c.call(1, "tx.select", "tx.select-ok");
        publish(&mut c, "exchange=~x key=k", 20, "later");
        c.publish(1, "~x", "k", "now");
        c.call(1, "tx.commit", "tx.commit-ok");
        c.consume(1, "~q", "t", "no-ack");
        expect_body(&mut c, "now");
        expect_body(&mut c, "later");
    });
}

#[test]
fn a_transactions_message_that_need_not_wait_and_leads_nowhere_is_returned() {
    run(|t| {
        let mut c = with_queue(t, "direct", "k");
        c.call(1, "tx.select", "tx.select-ok");
        c.publish_with(1, "exchange=~x key=none mandatory", &Properties::default(), "back");
        c.send(1, "tx.commit");
        c.expect_all(&["1 basic.return code=312 text=NO_ROUTE exchange=~x key=none: back", "1 tx.commit-ok"]);
    });
}

#[test]
fn what_comes_from_another_exchange_waits_too() {
    run(|t| {
        let mut c = with_queue(t, "topic", "a.#");
        c.exchange(1, "~first", "fanout auto-delete");
        c.declare(1, "~direct", "exclusive");
        c.bind(1, "~direct", "~first", "");
        c.call(1, "exchange.bind destination=~x source=~first key=", "exchange.bind-ok");
        publish(&mut c, "exchange=~first key=a.b", 30, "one");
        c.expect_queue(1, "~direct", 1, 0);
        c.expect_queue(1, "~q", 0, 0);
        c.consume(1, "~q", "t", "no-ack");
        expect_body(&mut c, "one");
    });
}

#[test]
fn a_dead_letter_waits_too() {
    run(|t| {
        let mut c = with_queue(t, "fanout", "");
        c.declare_with(
            1,
            "~source",
            "exclusive",
            &[("x-dead-letter-exchange", text("~x")), ("x-message-ttl", Value::I(1))],
        );
        publish(&mut c, "key=~source", 60, "one");
        c.consume(1, "~q", "t", "no-ack");
        let started = warren::time::now();
        expect_body(&mut c, "one");
        assert!(started.elapsed() > Duration::from_millis(30), "{:?}", started.elapsed());
    });
}

#[test]
fn any_type_delays_if_its_argument_says_so() {
    run(|t| {
        let mut c = t.open();
        let arguments = [("x-delayed-exchange", Value::Bool(true))];
        c.call_with(
            1,
            "exchange.declare exchange=~x type=topic auto-delete",
            &arguments,
            "exchange.declare-ok",
        );
        c.declare(1, "~q", "exclusive");
        c.bind(1, "~q", "~x", "a.*");
        publish(&mut c, "exchange=~x key=a.b", 30, "later");
        c.publish(1, "~x", "a.b", "now");
        c.consume(1, "~q", "t", "no-ack");
        expect_body(&mut c, "now");
        expect_body(&mut c, "later");
    });
}

#[test]
fn the_type_that_it_routes_as_must_exist() {
    run(|t| {
        let mut c = t.open();
        let declare = "exchange.declare exchange=~x type=x-delayed-message";
        let text_of =
            |reason: &str| format!("406 PRECONDITION_FAILED - Invalid argument, {reason} (exchange.declare)");
        let missing = text_of("'x-delayed-type' must be an existing exchange type");
        c.refused(1, declare, &missing);
        c.refused_with(1, declare, &[("x-delayed-type", text("bogus"))], &missing);
        let itself = text_of("'x-delayed-message' can't be used for 'x-delayed-type'");
        c.refused_with(1, declare, &[("x-delayed-type", text("x-delayed-message"))], &itself);
    });
}

#[test]
fn what_waits_goes_with_its_exchange() {
    run(|t| {
        let mut c = t.open();
        exchange(&mut c, "durable", "fanout");
        publish(&mut c, "exchange=~x", 3_600_000, "never");
        c.call(1, "exchange.delete exchange=~x", "exchange.delete-ok");
        exchange(&mut c, "durable", "direct");
        c.call(1, "exchange.delete exchange=~x", "exchange.delete-ok");
        // Its queue is nobody's.
        c.refused(
            1,
            "queue.declare queue=amq.delayed.~x passive",
            "404 NOT_FOUND - no queue 'amq.delayed.~x' in vhost '/' (queue.declare)",
        );
    });
}

#[test]
fn what_waits_waits_on_after_a_restart() {
    for end in ENDS {
        let mut node = Node::start();
        let mut c = node.t.open();
        exchange(&mut c, "durable", "direct");
        c.declare(1, "~q", "durable");
        c.bind(1, "~q", "~x", "k");
        c.call(1, "confirm.select", "confirm.select-ok");
        let started = warren::time::now();
        for (ms, body) in [(1_500, "second"), (1_200, "first"), (3_600_000, "never")] {
            publish(&mut c, "exchange=~x key=k", ms, body);
        }
        c.expect_confirms(1, 1, 3);
        c.hang_up();
        node.restart(end);
        let mut c = node.t.open();
        c.consume(1, "~q", "t", "no-ack");
        expect_body(&mut c, "first");
        let waited = started.elapsed();
        assert!((Duration::from_millis(1_190)..PATIENCE).contains(&waited), "{end:?}: {waited:?}");
        expect_body(&mut c, "second");
    }
}
