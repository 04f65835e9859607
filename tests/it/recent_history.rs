//! x-recent-history: the last messages are given to destinations that are bound later.

use crate::support::raw::PATIENCE;
use crate::support::{Client, Properties, Scenario, Value, scenarios, text};

const DECLARE: &str = "exchange.declare exchange=~x type=x-recent-history";

/// An exchange `~x` that keeps so many messages.
fn with_length(t: &Scenario, length: i32) -> Client {
    let mut c = t.open();
    c.call_with(1, DECLARE, &[("x-recent-history-length", Value::I(length))], "exchange.declare-ok");
    c
}

fn publish_numbers(c: &mut Client, numbers: std::ops::RangeInclusive<u32>) {
    numbers.for_each(|number| c.publish(1, "~x", "k", number.to_string()));
}

/// A new queue, bound to `~x`.
fn bind_new(c: &mut Client, queue: &str) {
    c.declare(1, queue, "exclusive");
    c.bind(1, queue, "~x", "");
}

fn numbers(numbers: std::ops::RangeInclusive<u32>) -> Vec<String> {
    numbers.map(|number| number.to_string()).collect()
}

fn expect_numbers(c: &mut Client, queue: &str, wanted: std::ops::RangeInclusive<u32>) {
    let wanted = numbers(wanted);
    c.expect_messages(1, queue, &wanted.iter().map(String::as_str).collect::<Vec<_>>());
}

fn a_new_queue_gets_the_last_twenty_messages(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "x-recent-history");
    publish_numbers(&mut c, 1..=25);
    bind_new(&mut c, "~q");
    publish_numbers(&mut c, 26..=27);
    expect_numbers(&mut c, "~q", 6..=27);
    // What one got, the next gets, too.
    bind_new(&mut c, "~r");
    expect_numbers(&mut c, "~r", 8..=27);
}

fn an_argument_says_how_many_are_kept(t: &Scenario) {
    for length in [1, 3, 30] {
        let mut c = with_length(t, length as i32);
        publish_numbers(&mut c, 1..=40);
        bind_new(&mut c, "~q");
        expect_numbers(&mut c, "~q", 41 - length..=40);
        c.call(1, "exchange.delete exchange=~x", "exchange.delete-ok");
        c.close();
    }
}

fn every_bound_queue_gets_every_message(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "x-recent-history");
    for (queue, key) in [("~q", "a"), ("~r", "b")] {
        c.declare(1, queue, "exclusive");
        c.bind(1, queue, "~x", key);
    }
    publish_numbers(&mut c, 1..=3);
    expect_numbers(&mut c, "~q", 1..=3);
    expect_numbers(&mut c, "~r", 1..=3);
}

fn a_message_comes_as_it_was_published(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "x-recent-history");
    let properties = Properties::new("content-type=text/plain message-id=m").headers(&[("a", Value::I(1))]);
    c.publish_with(1, "exchange=~x key=some.key mandatory", &properties, "hello");
    c.expect(
        "1 basic.return code=312 text=NO_ROUTE exchange=~x key=some.key {content-type=text/plain message-id=m \
         headers={a=I1}}: hello",
    );
    bind_new(&mut c, "~q");
    c.expect_queue(1, "~q", 1, 0);
    c.get(
        1,
        "~q",
        "basic.get-ok delivery=1 exchange=~x key=some.key left=0 {content-type=text/plain message-id=m \
         headers={a=I1}}: hello",
    );
}

fn a_waiting_consumer_is_served_at_once(t: &Scenario) {
    let mut c = with_length(t, 2);
    publish_numbers(&mut c, 1..=3);
    let mut consumer = t.open();
    consumer.declare(1, "~q", "exclusive");
    consumer.consume(1, "~q", "tag", "no-ack");
    consumer.send(1, "queue.bind queue=~q exchange=~x key=");
    consumer.expect_all(&[
        "1 queue.bind-ok",
        "1 basic.deliver tag=tag delivery=1 exchange=~x key=k: 2",
        "1 basic.deliver tag=tag delivery=2 exchange=~x key=k: 3",
    ]);
}

fn a_header_keeps_a_message_out(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "x-recent-history");
    bind_new(&mut c, "~q");
    for (value, body) in [
        (Value::Bool(true), "not kept"),
        (Value::Bool(false), "kept"),
        (text("true"), "kept, too"),
        (Value::I(1), "as well"),
    ] {
        let headers = Properties::default().headers(&[("x-recent-history-no-store", value)]);
        c.publish_with(1, "exchange=~x key=k", &headers, body);
    }
    c.expect_messages(1, "~q", &["not kept", "kept", "kept, too", "as well"]);
    bind_new(&mut c, "~r");
    c.expect_messages(1, "~r", &["kept", "kept, too", "as well"]);
}

fn only_a_new_binding_brings_messages(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "x-recent-history");
    publish_numbers(&mut c, 1..=2);
    bind_new(&mut c, "~q");
    c.bind(1, "~q", "~x", "");
    expect_numbers(&mut c, "~q", 1..=2);
    c.bind(1, "~q", "~x", "another");
    expect_numbers(&mut c, "~q", 1..=2);
    c.call(1, "queue.unbind queue=~q exchange=~x key=another", "queue.unbind-ok");
    c.bind(1, "~q", "~x", "another");
    expect_numbers(&mut c, "~q", 1..=2);
}

fn a_new_exchange_knows_nothing_of_an_old_one(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "x-recent-history");
    publish_numbers(&mut c, 1..=2);
    c.call(1, "exchange.delete exchange=~x", "exchange.delete-ok");
    c.exchange(1, "~x", "x-recent-history");
    bind_new(&mut c, "~q");
    c.expect_messages(1, "~q", &[]);
}

fn a_bound_exchange_routes_what_was_kept(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "x-recent-history");
    c.exchange(1, "~y", "direct");
    for key in ["k", "l"] {
        c.declare(1, &format!("~{key}"), "exclusive");
        c.bind(1, &format!("~{key}"), "~y", key);
        c.publish(1, "~x", key, key);
    }
    c.call(1, "exchange.bind destination=~y source=~x key=", "exchange.bind-ok");
    c.expect_messages(1, "~k", &["k"]);
    c.expect_messages(1, "~l", &["l"]);
}

fn a_bound_exchange_gets_the_oldest_first(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "x-recent-history");
    c.exchange(1, "~y", "fanout");
    c.declare(1, "~q", "exclusive");
    c.bind(1, "~q", "~y", "");
    publish_numbers(&mut c, 1..=3);
    c.call(1, "exchange.bind destination=~y source=~x key=", "exchange.bind-ok");
    expect_numbers(&mut c, "~q", 1..=3);
}

fn a_bound_exchange_need_not_lead_anywhere(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "x-recent-history");
    c.exchange(1, "~y", "fanout");
    publish_numbers(&mut c, 1..=1);
    c.call(1, "exchange.bind destination=~y source=~x key=", "exchange.bind-ok");
}

fn messages_from_other_exchanges_are_kept(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "x-recent-history");
    c.exchange(1, "~source", "direct");
    c.call(1, "exchange.bind destination=~x source=~source key=k", "exchange.bind-ok");
    let alternate = [("alternate-exchange", text("~x"))];
    c.call_with(1, "exchange.declare exchange=~y type=fanout", &alternate, "exchange.declare-ok");
    c.publish(1, "~source", "k", "bound");
    c.publish(1, "~source", "l", "not bound");
    c.publish(1, "~y", "k", "by default of another");
    c.publish(1, "~source", "k", "bound again");
    bind_new(&mut c, "~q");
    c.expect_messages(1, "~q", &["bound", "by default of another", "bound again"]);
}

fn dead_letters_are_kept(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "x-recent-history");
    bind_new(&mut c, "~first");
    c.consume(1, "~first", "tag", "no-ack");
    c.declare_with(1, "~dying", "exclusive", &[("x-dead-letter-exchange", text("~x"))]);
    c.publish(1, "", "~dying", "dead");
    c.expect_queue(1, "~dying", 1, 0);
    c.call(1, "basic.get queue=~dying", "basic.get-ok delivery=1 key=~dying left=0: dead");
    c.send(1, "basic.reject delivery=1");
    c.expect_described("dead", |incoming| String::from_utf8_lossy(&incoming.body).into_owned());
    bind_new(&mut c, "~q");
    c.expect_messages(1, "~q", &["dead"]);
}

fn a_transaction_counts_once_it_is_committed(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "x-recent-history");
    c.open_channel(2);
    c.call(2, "tx.select", "tx.select-ok");
    c.publish(2, "~x", "k", "rolled back");
    c.call(2, "tx.rollback", "tx.rollback-ok");
    c.publish(2, "~x", "k", "committed");
    c.call(2, "tx.commit", "tx.commit-ok");
    bind_new(&mut c, "~q");
    c.expect_messages(1, "~q", &["committed"]);
}

fn extra_keys_count_behind_a_bound_exchange(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "x-recent-history");
    c.exchange(1, "~y", "direct");
    for queue in ["~key", "~cc", "~bcc"] {
        c.declare(1, queue, "exclusive");
        c.bind(1, queue, "~y", &queue[1..]);
    }
    let keys = |name: &str| Value::A(vec![text(name)]);
    let headers = Properties::default().headers(&[("CC", keys("cc")), ("BCC", keys("bcc"))]);
    c.publish_with(1, "exchange=~x key=key", &headers, "m");
    c.call(1, "exchange.bind destination=~y source=~x key=", "exchange.bind-ok");
    for (delivery, queue) in (1..).zip(["~key", "~cc", "~bcc"]) {
        c.expect_queue(1, queue, 1, 0);
        let message = "exchange=~x key=key left=0 {headers={CC=['cc']}}: m";
        c.get(1, queue, &format!("basic.get-ok delivery={delivery} {message}"));
    }
}

fn what_expired_elsewhere_lives_anew(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "x-recent-history");
    bind_new(&mut c, "~q");
    c.publish_with(1, "exchange=~x key=k", &Properties::new("expiration=2000"), "m");
    let started = warren::time::now();
    loop {
        c.send(1, "queue.declare queue=~q passive");
        if c.next("queue.declare-ok").is_some_and(|answer| answer.number("messages") == 0) {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "it does not expire");
    }
    bind_new(&mut c, "~r");
    c.expect_messages(1, "~r", &["m"]);
}

fn a_length_that_is_none_is_406(t: &Scenario) {
    let mut c = t.open();
    for (length, shown) in [
        (Value::I(0), "0"),
        (Value::l(-5), "-5"),
        (Value::i(5), "5"),
        (Value::B(5), "5"),
        (text("5"), "<<\"5\">>"),
        (Value::Bool(true), "true"),
    ] {
        let why = format!(
            "406 PRECONDITION_FAILED - Invalid argument {shown}, 'x-recent-history-length' must be a positive integer \
             (exchange.declare)"
        );
        c.refused_with(1, DECLARE, &[("x-recent-history-length", length)], &why);
    }
    for length in [Value::b(5), Value::s(5), Value::l(5)] {
        c.call_with(1, DECLARE, &[("x-recent-history-length", length)], "exchange.declare-ok");
        c.call(1, "exchange.delete exchange=~x", "exchange.delete-ok");
    }
    // Of an exchange that is there the length is not asked.
    c.exchange(1, "~x", "x-recent-history");
    c.call_with(1, DECLARE, &[("x-recent-history-length", Value::I(0))], "exchange.declare-ok");
}

scenarios![
    a_new_queue_gets_the_last_twenty_messages,
    an_argument_says_how_many_are_kept,
    every_bound_queue_gets_every_message,
    a_message_comes_as_it_was_published,
    a_waiting_consumer_is_served_at_once,
    a_header_keeps_a_message_out,
    only_a_new_binding_brings_messages,
    a_new_exchange_knows_nothing_of_an_old_one,
    a_bound_exchange_routes_what_was_kept,
    a_bound_exchange_gets_the_oldest_first,
    a_bound_exchange_need_not_lead_anywhere,
    messages_from_other_exchanges_are_kept,
    dead_letters_are_kept,
    a_transaction_counts_once_it_is_committed,
    extra_keys_count_behind_a_bound_exchange,
    what_expired_elsewhere_lives_anew,
    a_length_that_is_none_is_406,
];

#[test]
fn a_queue_bound_over_http_gets_the_last_messages_too() {
    crate::support::scenario::run(|t| {
        let mut c = with_length(t, 2);
        publish_numbers(&mut c, 1..=3);
        c.declare(1, "~q", "auto-delete");
        assert_eq!(t.http("POST", "/api/bindings/%2F/e/~x/q/~q", r#"{"routing_key": ""}"#), 201);
        expect_numbers(&mut c, "~q", 2..=3);
        t.forget(&["/api/queues/%2F/~q"]);
    });
}

/// RabbitMQ promises nothing for a queue that is bound while others publish.
#[test]
fn a_queue_bound_while_others_publish_gets_every_message_once_and_in_order() {
    const LAST: u32 = 1000;
    crate::support::scenario::run(|t| {
        let mut c = with_length(t, LAST as i32);
        let (target, exchange) = (t.target, format!("{}x", t.trace.prefix));
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut publisher = Scenario::new(target, true).open();
                publisher.call(1, "confirm.select", "confirm.select-ok");
                (1..=LAST).for_each(|number| publisher.publish(1, &exchange, "k", number.to_string()));
                publisher.expect_confirms(1, 1, LAST.into());
            });
            (0..8).for_each(|queue| bind_new(&mut c, &format!("~q{queue}")));
        });
        (0..8).for_each(|queue| expect_numbers(&mut c, &format!("~q{queue}"), 1..=LAST));
    });
}
