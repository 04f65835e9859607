//! What a restart brings back: after a clean stop, after SIGKILL, and with a torn last record.

use crate::support::node::{ENDS, End, Node};
use crate::support::raw::HEADER;
use crate::support::{Client, Login, Properties, Value, text};
use std::io::Write;

/// Publishes persistent messages and waits for their confirms. The channel must be new.
fn publish(c: &mut Client, channel: u16, queue: &str, bodies: &[String]) {
    c.call(channel, "confirm.select", "confirm.select-ok");
    for body in bodies {
        c.publish_with(channel, &format!("key={queue}"), &Properties::new("delivery-mode=2"), body);
    }
    c.expect_confirms(channel, 1, bodies.len() as u64);
}

fn numbered(count: usize) -> Vec<String> {
    (1..=count).map(|number| number.to_string()).collect()
}

fn expect_messages(c: &mut Client, channel: u16, queue: &str, bodies: &[String]) {
    c.expect_messages(channel, queue, &bodies.iter().map(|body| &**body).collect::<Vec<_>>());
}

#[test]
fn durable_definitions_come_back_and_others_do_not() {
    for end in ENDS {
        let mut node = Node::start();
        let mut c = node.t.open();
        c.declare(1, "durable", "durable");
        c.declare(1, "auto", "durable auto-delete");
        c.declare(1, "transient", "");
        c.exchange(1, "x", "topic durable");
        c.exchange(1, "internal", "fanout durable internal");
        c.exchange(1, "passing", "fanout");
        c.bind(1, "durable", "x", "a.*");
        c.bind(1, "durable", "internal", "");
        c.call(1, "exchange.bind destination=internal source=x key=i", "exchange.bind-ok");
        c.bind(1, "transient", "x", "#");
        c.bind(1, "durable", "amq.fanout", "");
        c.call(1, "exchange.declare exchange=x type=topic durable", "exchange.declare-ok");
        c.hang_up();
        node.restart(end);
        let mut c = node.t.open();
        c.call(
            1,
            "queue.declare queue=durable durable",
            "queue.declare-ok queue=durable messages=0 consumers=0",
        );
        c.expect_queue(1, "auto", 0, 0);
        c.refused(
            1,
            "queue.declare queue=transient passive",
            "404 NOT_FOUND - no queue 'transient' in vhost '/' (queue.declare)",
        );
        c.call(1, "exchange.declare exchange=x type=topic durable", "exchange.declare-ok");
        c.call(1, "exchange.declare exchange=internal type=fanout durable internal", "exchange.declare-ok");
        c.refused(
            1,
            "exchange.declare exchange=passing type=fanout passive",
            "404 NOT_FOUND - no exchange 'passing' in vhost '/' (exchange.declare)",
        );
        c.publish(1, "x", "a.b", "by pattern");
        c.publish(1, "x", "i", "over the internal exchange");
        c.publish(1, "x", "other", "nowhere");
        c.publish(1, "amq.fanout", "", "over a predeclared exchange");
        let bodies = ["by pattern", "over the internal exchange", "over a predeclared exchange"];
        c.expect_messages(1, "durable", &bodies);
    }
}

#[test]
fn arguments_come_back() {
    for end in ENDS {
        let mut node = Node::start();
        let queue_arguments = [("x-max-length", Value::I(5)), ("x-note", text("ü"))];
        let exchange_arguments = [("alternate-exchange", text("amq.fanout"))];
        let binding_arguments = [("x-match", text("any")), ("a", Value::l(1))];
        let mut c = node.t.open();
        c.declare_with(1, "q", "durable", &queue_arguments);
        c.call_with(
            1,
            "exchange.declare exchange=x type=headers durable",
            &exchange_arguments,
            "exchange.declare-ok",
        );
        c.call_with(1, "queue.bind queue=q exchange=x", &binding_arguments, "queue.bind-ok");
        c.hang_up();
        node.restart(end);
        let mut c = node.t.open();
        c.declare_with(1, "q", "durable", &queue_arguments);
        c.refused(
            1,
            "queue.declare queue=q durable",
            "406 PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'q' in vhost '/': received none but \
             current is the value '5' of type 'signedint' (queue.declare)",
        );
        c.call_with(
            1,
            "exchange.declare exchange=x type=headers durable",
            &exchange_arguments,
            "exchange.declare-ok",
        );
        let headers = Properties::default().headers(&[("a", Value::l(1))]);
        c.publish_with(1, "exchange=x", &headers, "matched");
        c.expect_messages(1, "q", &["matched"]);
    }
}

#[test]
fn confirmed_messages_come_back_in_order() {
    for end in ENDS {
        let mut node = Node::start();
        let bodies = numbered(500);
        let mut c = node.t.open();
        c.declare(1, "q", "durable");
        publish(&mut c, 1, "q", &bodies);
        c.hang_up();
        node.restart(end);
        expect_messages(&mut node.t.open(), 1, "q", &bodies);
    }
}

#[test]
fn messages_come_back_as_they_were() {
    for end in ENDS {
        let mut node = Node::start();
        let mut c = node.t.open();
        c.declare(1, "q", "durable");
        c.bind(1, "q", "amq.topic", "some.key");
        c.call(1, "confirm.select", "confirm.select-ok");
        let properties = Properties::new(
            "content-type=text/plain delivery-mode=2 priority=3 correlation-id=c message-id=m timestamp=1700000000 \
             app-id=a",
        );
        let properties = properties.headers(&[("n", Value::I(-1)), ("t", text("x")), ("v", Value::V)]);
        let large = vec![0xA5; 300_000];
        c.publish_with(1, "exchange=amq.topic key=some.key", &properties, "small");
        c.publish_with(1, "exchange=amq.topic key=some.key", &properties, &large);
        c.publish_with(1, "exchange=amq.topic key=some.key", &properties, "");
        c.expect_confirms(1, 1, 3);
        c.hang_up();
        node.restart(end);
        let mut c = node.t.open();
        for body in [b"small", &large[..], b""] {
            c.send(1, "basic.get queue=q no-ack");
            let got = c.receive("basic.get-ok");
            assert_eq!((got.get("exchange"), got.get("key")), ("amq.topic", "some.key"));
            assert_eq!(got.properties, properties);
            assert!(got.body == body, "a body came back changed");
        }
    }
}

#[test]
fn transient_messages_do_not_come_back() {
    for end in ENDS {
        let mut node = Node::start();
        let mut c = node.t.open();
        c.declare(1, "q", "durable");
        c.call(1, "confirm.select", "confirm.select-ok");
        c.publish(1, "", "q", "transient");
        c.publish_with(1, "key=q", &Properties::new("delivery-mode=1"), "transient too");
        c.publish_with(1, "key=q", &Properties::new("delivery-mode=2"), "persistent");
        c.expect_confirms(1, 1, 3);
        c.hang_up();
        node.restart(end);
        node.t.open().expect_messages(1, "q", &["persistent"]);
    }
}

#[test]
fn settled_messages_do_not_come_back_after_a_clean_stop() {
    let mut node = Node::start();
    let mut c = node.t.open();
    c.declare(1, "q", "durable");
    publish(&mut c, 1, "q", &numbered(6));
    c.call(1, "basic.get queue=q no-ack", "basic.get-ok delivery=1 key=q left=5 {delivery-mode=2}: 1");
    for (delivery, left) in [(2, 4), (3, 3), (4, 2)] {
        let reply =
            format!("basic.get-ok delivery={delivery} key=q left={left} {{delivery-mode=2}}: {delivery}");
        c.call(1, "basic.get queue=q", &reply);
    }
    c.send(1, "basic.ack delivery=2");
    c.send(1, "basic.reject delivery=3");
    c.send(1, "basic.nack delivery=4 requeue");
    c.expect_queue(1, "q", 3, 0);
    c.hang_up();
    node.restart(End::Stop);
    node.t.open().expect_messages(1, "q", &["4", "5", "6"]);
}

#[test]
fn an_ack_ahead_of_a_confirmed_publish_is_durable() {
    let mut node = Node::start();
    let mut c = node.t.open();
    c.declare(1, "q", "durable");
    publish(&mut c, 1, "q", &numbered(3));
    c.call(1, "basic.get queue=q", "basic.get-ok delivery=1 key=q left=2 {delivery-mode=2}: 1");
    c.send(1, "basic.ack delivery=1");
    c.publish_with(1, "key=q", &Properties::new("delivery-mode=2"), "4");
    c.expect_confirms(1, 4, 4);
    node.restart(End::Kill);
    node.t.open().expect_messages(1, "q", &["2", "3", "4"]);
}

#[test]
fn unacked_messages_come_back_and_say_so() {
    for end in ENDS {
        let mut node = Node::start();
        let mut c = node.t.open();
        c.declare(1, "q", "durable");
        publish(&mut c, 1, "q", &numbered(3));
        c.call(1, "basic.get queue=q", "basic.get-ok delivery=1 key=q left=2 {delivery-mode=2}: 1");
        node.restart(end);
        let mut c = node.t.open();
        c.call(
            1,
            "basic.get queue=q",
            "basic.get-ok delivery=1 redelivered key=q left=2 {delivery-mode=2}: 1",
        );
        for body in ["2", "3"] {
            c.send(1, "basic.get queue=q");
            assert_eq!(c.receive("basic.get-ok").body, body.as_bytes());
        }
    }
}

#[test]
fn purged_and_deleted_stays_gone() {
    for end in ENDS {
        let mut node = Node::start();
        let mut c = node.t.open();
        for (channel, queue) in [(2, "purged"), (3, "deleted"), (4, "replaced")] {
            c.open_channel(channel);
            c.declare(1, queue, "durable");
            publish(&mut c, channel, queue, &numbered(3));
        }
        c.exchange(1, "x", "fanout durable");
        c.bind(1, "purged", "x", "");
        c.call(1, "queue.unbind queue=purged exchange=x", "queue.unbind-ok");
        c.exchange(1, "y", "fanout durable");
        c.call(1, "exchange.delete exchange=y", "exchange.delete-ok");
        c.call(1, "queue.purge queue=purged", "queue.purge-ok messages=3");
        c.call(1, "queue.delete queue=deleted", "queue.delete-ok messages=3");
        c.call(1, "queue.delete queue=replaced", "queue.delete-ok messages=3");
        c.declare(1, "replaced", "durable");
        // What is confirmed behind the purge is on disk, and so is the purge.
        c.publish_with(2, "key=purged", &Properties::new("delivery-mode=2"), "new");
        c.expect_confirms(2, 4, 4);
        c.hang_up();
        node.restart(end);
        let mut c = node.t.open();
        c.expect_messages(1, "purged", &["new"]);
        c.expect_messages(1, "replaced", &[]);
        c.publish(1, "x", "", "unbound");
        c.expect_messages(1, "purged", &[]);
        c.refused(
            1,
            "queue.declare queue=deleted passive",
            "404 NOT_FOUND - no queue 'deleted' in vhost '/' (queue.declare)",
        );
        c.refused(
            1,
            "exchange.declare exchange=y type=fanout passive",
            "404 NOT_FOUND - no exchange 'y' in vhost '/' (exchange.declare)",
        );
    }
}

#[test]
fn exclusive_queues_do_not_come_back() {
    for end in ENDS {
        let mut node = Node::start();
        let mut c = node.t.open();
        c.declare(1, "q", "durable exclusive");
        publish(&mut c, 1, "q", &numbered(1));
        c.hang_up();
        node.restart(end);
        node.t.open().refused(
            1,
            "queue.declare queue=q passive",
            "404 NOT_FOUND - no queue 'q' in vhost '/' (queue.declare)",
        );
    }
}

#[test]
fn a_message_of_two_queues_comes_back_in_both_and_settles_in_each() {
    for end in ENDS {
        let mut node = Node::start();
        let mut c = node.t.open();
        for queue in ["a", "b"] {
            c.declare(1, queue, "durable");
            c.bind(1, queue, "amq.fanout", "");
        }
        c.call(1, "confirm.select", "confirm.select-ok");
        for body in ["1", "2"] {
            c.publish_with(1, "exchange=amq.fanout", &Properties::new("delivery-mode=2"), body);
        }
        c.expect_confirms(1, 1, 2);
        c.call(
            1,
            "basic.get queue=a",
            "basic.get-ok delivery=1 exchange=amq.fanout left=1 {delivery-mode=2}: 1",
        );
        c.send(1, "basic.ack delivery=1");
        c.publish_with(1, "key=b", &Properties::new("delivery-mode=2"), "3");
        c.expect_confirms(1, 3, 3);
        c.hang_up();
        node.restart(end);
        let mut c = node.t.open();
        c.expect_messages(1, "a", &["2"]);
        c.expect_messages(1, "b", &["1", "2", "3"]);
    }
}

#[test]
fn a_committed_transaction_comes_back_whole_and_an_open_one_not_at_all() {
    for end in ENDS {
        let mut node = Node::start();
        let mut c = node.t.open();
        c.open_channel(2);
        for queue in ["a", "b"] {
            c.declare(1, queue, "durable");
        }
        let persistent = Properties::new("delivery-mode=2");
        c.call(1, "tx.select", "tx.select-ok");
        for body in ["1", "2"] {
            c.publish_with(1, "key=a", &persistent, body);
            c.publish_with(1, "key=b", &persistent, body);
        }
        c.call(1, "tx.commit", "tx.commit-ok");
        c.call(1, "basic.get queue=a", "basic.get-ok delivery=1 key=a left=1 {delivery-mode=2}: 1");
        c.send(1, "basic.ack delivery=1");
        c.publish_with(1, "key=b", &persistent, "3");
        c.call(1, "tx.commit", "tx.commit-ok");
        c.call(1, "basic.get queue=a", "basic.get-ok delivery=2 key=a left=0 {delivery-mode=2}: 2");
        c.send(1, "basic.ack delivery=2");
        c.publish_with(1, "key=b", &persistent, "uncommitted");
        // The broker has seen it all: the channel answers in order.
        c.call(1, "basic.qos", "basic.qos-ok");
        c.hang_up();
        node.restart(end);
        let mut c = node.t.open();
        c.expect_messages(1, "a", &["2"]);
        c.expect_messages(1, "b", &["1", "2", "3"]);
    }
}

#[test]
fn vhosts_users_and_permissions_come_back() {
    for end in ENDS {
        let mut node = Node::start();
        node.t.vhost("~v");
        node.t.user("~u", "monitoring", None);
        node.t.permit("~u", "~v", ["^~", ".*", ".*"]);
        let login = Login::user("~u").vhost("~v");
        let mut c = node.t.open_as(&login);
        c.declare(1, "~q", "durable");
        publish(&mut c, 1, "~q", &numbered(2));
        c.hang_up();
        node.restart(end);
        let mut c = node.t.open_as(&login);
        c.expect_messages(1, "~q", &["1", "2"]);
        c.refused(
            1,
            "queue.declare queue=q",
            "403 ACCESS_REFUSED - configure access to queue 'q' in vhost '~v' refused for user '~u' (queue.declare)",
        );
    }
}

#[test]
fn several_restarts_in_a_row_lose_nothing() {
    let mut node = Node::start();
    let mut expected = Vec::new();
    node.t.open().declare(1, "q", "durable");
    for round in 0..6 {
        let bodies: Vec<_> = (0..20).map(|number| format!("{round}.{number}")).collect();
        publish(&mut node.t.open(), 1, "q", &bodies);
        expected.extend(bodies);
        node.restart(ENDS[round % 2]);
    }
    expect_messages(&mut node.t.open(), 1, "q", &expected);
}

#[test]
fn garbage_behind_the_last_record_is_cut_off() {
    let mut node = Node::start();
    let mut c = node.t.open();
    c.declare(1, "q", "durable");
    publish(&mut c, 1, "q", &numbered(10));
    node.end(End::Kill);
    let file = node.newest_journal_file();
    std::fs::OpenOptions::new().append(true).open(file).unwrap().write_all(&[0x5A; 100]).unwrap();
    node.start_again();
    expect_messages(&mut node.t.open(), 1, "q", &numbered(10));
    publish(&mut node.t.open(), 1, "q", &numbered(3));
    node.restart(End::Kill);
    expect_messages(&mut node.t.open(), 1, "q", &numbered(3));
}

#[test]
fn a_torn_last_record_costs_that_record_alone() {
    for torn in [1, 7, 20] {
        let mut node = Node::start();
        let mut c = node.t.open();
        c.declare(1, "q", "durable");
        c.call(1, "confirm.select", "confirm.select-ok");
        for number in 1..=10 {
            // One at a time: each is a record of its own.
            c.publish_with(1, "key=q", &Properties::new("delivery-mode=2"), number.to_string());
            c.expect_confirms(1, number, number);
        }
        node.end(End::Kill);
        let file = std::fs::OpenOptions::new().write(true).open(node.newest_journal_file()).unwrap();
        let length = file.metadata().unwrap().len();
        file.set_len(length - torn).unwrap();
        node.start_again();
        let mut c = node.t.open();
        let bodies = c.drain(1, "q");
        assert_eq!(bodies, numbered(bodies.len()), "the messages ahead of it, in order");
        assert!(bodies.len() >= 9, "{} of 10 messages after {torn} bytes were torn off", bodies.len());
        publish(&mut c, 1, "q", &numbered(2));
        node.restart(End::Kill);
        expect_messages(&mut node.t.open(), 1, "q", &numbered(2));
    }
}

#[test]
fn a_stopping_broker_tells_its_clients() {
    let mut node = Node::start();
    let mut c = node.t.open();
    let id = node.process.as_ref().unwrap().id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    c.expect("0 connection.close 320 CONNECTION_FORCED - broker forced connection closure with reason 'shutdown' (0/0)");
    c.send(0, "connection.close-ok");
    c.expect_end();
    // It is ending already, and says 0.
    node.end(End::Stop);
}

#[test]
fn a_second_broker_on_the_same_data_is_refused() {
    let node = Node::start();
    let started = std::process::Command::new(env!("CARGO_BIN_EXE_warren"))
        .args(["serve", "--listen", "127.0.0.1:0", "--management-listen", "127.0.0.1:0"])
        .args(["--prometheus-listen", "127.0.0.1:0", "--data-dir"])
        .arg(node.data())
        .output()
        .unwrap();
    assert!(!started.status.success(), "two brokers on one data directory");
    let mut c = node.t.socket();
    c.send_bytes(HEADER);
    assert_eq!(c.receive("connection.start").method.name, "connection.start");
}

#[test]
fn a_key_leads_to_the_same_queue_after_a_restart() {
    for kind in ["x-consistent-hash", "x-modulus-hash"] {
        let mut node = Node::start();
        let mut c = node.t.open();
        c.exchange(1, "x", &format!("{kind} durable"));
        // In another order than that of their names, and with a gap.
        let queues = ["d", "a", "f", "c", "gap", "b", "e"];
        for (weight, queue) in (1..).zip(queues) {
            c.declare(1, queue, "durable");
            c.bind(1, queue, "x", &weight.to_string());
        }
        c.call(1, "queue.delete queue=gap", "queue.delete-ok messages=0");
        let spread = |c: &mut Client| -> Vec<Vec<String>> {
            (0..200).for_each(|key| c.publish(1, "x", &key.to_string(), key.to_string()));
            let queues = queues.iter().filter(|queue| **queue != "gap");
            queues.map(|queue| c.drain(1, queue)).collect()
        };
        let before = spread(&mut c);
        for end in ENDS {
            c.hang_up();
            node.restart(end);
            c = node.t.open();
            assert_eq!(spread(&mut c), before, "{kind}");
        }
        // What is bound now stands behind what was there, also after the next restart.
        c.declare(1, "0", "durable");
        c.bind(1, "0", "x", "9");
        let before = spread(&mut c);
        c.hang_up();
        node.restart(End::Stop);
        assert_eq!(spread(&mut node.t.open()), before, "{kind}");
    }
}

#[test]
fn a_history_is_forgotten_and_what_it_gave_to_a_queue_is_not() {
    for end in ENDS {
        let mut node = Node::start();
        let mut c = node.t.open();
        c.exchange(1, "x", "x-recent-history durable");
        for body in ["one", "two"] {
            c.publish_with(1, "exchange=x key=k", &Properties::new("delivery-mode=2"), body);
        }
        c.publish(1, "x", "k", "transient");
        c.declare(1, "q", "durable");
        c.bind(1, "q", "x", "");
        c.hang_up();
        node.restart(end);
        let mut c = node.t.open();
        c.expect_messages(1, "q", &["one", "two"]);
        c.declare(1, "r", "durable");
        c.bind(1, "r", "x", "");
        c.publish(1, "x", "k", "three");
        c.expect_messages(1, "r", &["three"]);
        c.expect_messages(1, "q", &["three"]);
    }
}
