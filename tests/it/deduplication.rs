//! Message deduplication: `x-message-deduplication` with `x-cache-size`, `x-cache-ttl`, `x-deduplication-header`
//! (behaviour.md, 2.1). RabbitMQ needs a plugin for it.

use crate::support::node::{ENDS, Node};
use crate::support::scenario::run;
use crate::support::{Client, Properties, Scenario, Value, text};

const HEADER: &str = "x-deduplication-header";

fn publish(c: &mut Client, fields: &str, key: Value, body: &str) {
    let properties = Properties::new("delivery-mode=2").headers(&[(HEADER, key)]);
    c.publish_with(1, fields, &properties, body);
}

fn with_queue(t: &Scenario, arguments: &[(&str, Value)]) -> Client {
    let mut c = t.open();
    let all: Vec<_> = [("x-message-deduplication", Value::Bool(true))]
        .into_iter()
        .chain(arguments.iter().cloned())
        .collect();
    c.declare_with(1, "~q", "exclusive", &all);
    c
}

#[test]
fn a_queue_takes_a_message_once() {
    run(|t| {
        let mut c = with_queue(t, &[]);
        c.call(1, "confirm.select", "confirm.select-ok");
        for (key, body) in [
            (text("a"), "one"),
            (text("a"), "again"),
            (text("b"), "two"),
            (Value::I(5), "three"),
            (Value::l(5), "again"),
        ] {
            publish(&mut c, "key=~q", key, body);
        }
        // A duplicate is no error: whoever publishes it need not know.
        c.expect_confirms(1, 1, 5);
        c.expect_messages(1, "~q", &["one", "two", "three"]);
        // Also when what came first is gone.
        publish(&mut c, "key=~q", text("a"), "late");
        c.expect_confirms(1, 6, 6);
        c.open_channel(2);
        c.publish(2, "", "~q", "without");
        c.publish(2, "", "~q", "without");
        c.expect_queue(2, "~q", 2, 0);
        c.expect_messages(2, "~q", &["without", "without"]);
    });
}

#[test]
fn the_oldest_key_is_forgotten_when_the_window_is_full() {
    run(|t| {
        let mut c = with_queue(t, &[("x-cache-size", Value::I(2))]);
        for key in ["a", "b", "c", "a", "c"] {
            publish(&mut c, "key=~q", text(key), key);
        }
        c.expect_messages(1, "~q", &["a", "b", "c", "a"]);
    });
}

#[test]
fn keys_live_for_a_time() {
    run(|t| {
        let mut c = with_queue(t, &[("x-cache-ttl", Value::I(3_600_000))]);
        let brief = |key: &str| {
            let headers = [(HEADER, text(key)), ("x-cache-ttl", Value::I(1))];
            Properties::default().headers(&headers)
        };
        c.publish_with(1, "key=~q", &brief("brief"), "one");
        publish(&mut c, "key=~q", text("long"), "two");
        // A dead letter says when the time is over.
        c.declare(1, "~over", "exclusive");
        c.consume(1, "~over", "t", "no-ack");
        let dies = [
            ("x-message-ttl", Value::I(10)),
            ("x-dead-letter-exchange", text("")),
            ("x-dead-letter-routing-key", text("~over")),
        ];
        c.declare_with(1, "~clock", "exclusive", &dies);
        c.publish(1, "", "~clock", "tick");
        c.receive("basic.deliver");
        c.publish_with(1, "key=~q", &brief("brief"), "three");
        publish(&mut c, "key=~q", text("long"), "again");
        c.expect_messages(1, "~q", &["one", "two", "three"]);
    });
}

#[test]
fn another_header_may_tell_messages_apart() {
    run(|t| {
        let mut c = with_queue(t, &[(HEADER, text("order"))]);
        for (order, key) in [(1, "a"), (1, "b"), (2, "b")] {
            let headers = [("order", Value::I(order)), (HEADER, text(key))];
            c.publish_with(1, "key=~q", &Properties::default().headers(&headers), format!("{order}{key}"));
        }
        c.expect_messages(1, "~q", &["1a", "2b"]);
    });
}

#[test]
fn what_a_full_queue_rejected_may_be_published_again() {
    run(|t| {
        let mut c = with_queue(t, &[("x-max-length", Value::I(1)), ("x-overflow", text("reject-publish"))]);
        for (key, body) in [("a", "one"), ("b", "rejected"), ("a", "again")] {
            publish(&mut c, "key=~q", text(key), body);
        }
        c.expect_messages(1, "~q", &["one"]);
        publish(&mut c, "key=~q", text("b"), "two");
        c.expect_messages(1, "~q", &["two"]);
    });
}

#[test]
fn each_queue_of_several_has_its_own_window() {
    run(|t| {
        let mut c = with_queue(t, &[]);
        c.declare(1, "~other", "exclusive");
        c.exchange(1, "~x", "fanout auto-delete");
        for queue in ["~q", "~other"] {
            c.bind(1, queue, "~x", "");
        }
        for body in ["one", "again"] {
            publish(&mut c, "exchange=~x", text("a"), body);
        }
        c.expect_messages(1, "~q", &["one"]);
        c.expect_messages(1, "~other", &["one", "again"]);
    });
}

#[test]
fn a_window_goes_on_after_a_restart() {
    for end in ENDS {
        let mut node = Node::start();
        let mut c = node.t.open();
        let arguments = [("x-message-deduplication", Value::Bool(true)), ("x-cache-size", Value::I(2))];
        c.declare_with(1, "q", "durable", &arguments);
        c.call(1, "confirm.select", "confirm.select-ok");
        for key in ["a", "b", "c"] {
            publish(&mut c, "key=q", text(key), key);
        }
        c.expect_confirms(1, 1, 3);
        // What is consumed was seen all the same.
        c.get(
            1,
            "q",
            "basic.get-ok delivery=1 key=q left=2 {delivery-mode=2 headers={x-deduplication-header='a'}}: a",
        );
        c.get(
            1,
            "q",
            "basic.get-ok delivery=2 key=q left=1 {delivery-mode=2 headers={x-deduplication-header='b'}}: b",
        );
        c.hang_up();
        node.restart(end);
        let mut c = node.t.open();
        c.call(1, "queue.purge queue=q", &format!("queue.purge-ok messages={}", c_ready(&mut node.t.open())));
        for key in ["c", "b", "a"] {
            publish(&mut c, "key=q", text(key), key);
        }
        c.expect_messages(1, "q", &["a"]);
    }
}

/// How many are ready: a kill may bring back what was got.
fn c_ready(c: &mut Client) -> u64 {
    c.send(1, "queue.declare queue=q passive");
    c.next("queue.declare-ok").unwrap().number("messages")
}

#[test]
fn an_exchange_lets_a_message_through_once() {
    run(|t| {
        for kind in ["topic", "x-message-deduplication"] {
            let mut c = t.open();
            let method = format!("exchange.declare exchange=~x type={kind} auto-delete");
            let arguments = [("x-message-deduplication", Value::Bool(true)), ("x-cache-size", Value::I(2))];
            c.call_with(1, &method, &arguments, "exchange.declare-ok");
            for queue in ["~q", "~other"] {
                c.declare(1, queue, "exclusive");
                c.bind(1, queue, "~x", "#");
            }
            c.call(1, "confirm.select", "confirm.select-ok");
            for key in ["a", "a", "b", "c", "a"] {
                publish(&mut c, "exchange=~x key=k mandatory", text(key), key);
            }
            c.expect_confirms(1, 1, 5);
            for queue in ["~q", "~other"] {
                c.expect_messages(1, queue, &["a", "b", "c", "a"]);
            }
            c.close();
            c.expect_end();
        }
    });
}

#[test]
fn an_exchanges_window_goes_on_after_a_restart() {
    for end in ENDS {
        let mut node = Node::start();
        let mut c = node.t.open();
        let arguments = [("x-message-deduplication", Value::Bool(true))];
        c.call_with(1, "exchange.declare exchange=x type=fanout durable", &arguments, "exchange.declare-ok");
        c.declare(1, "q", "durable");
        c.bind(1, "q", "x", "");
        c.call(1, "confirm.select", "confirm.select-ok");
        publish(&mut c, "exchange=x", text("a"), "one");
        c.expect_confirms(1, 1, 1);
        c.hang_up();
        node.restart(end);
        let mut c = node.t.open();
        publish(&mut c, "exchange=x", text("a"), "again");
        publish(&mut c, "exchange=x", text("b"), "two");
        c.expect_messages(1, "q", &["one", "two"]);
    }
}
