//! Exchanges that choose one binding by a hash: x-consistent-hash and x-modulus-hash.
//!
//! Which queue a key goes to differs from broker to broker. What holds in all of them is written down: that a key stays
//! with its queue, and that queues get their share.

use crate::support::{Client, Properties, Scenario, Value, scenarios, text};
use std::collections::BTreeMap;

const CONSISTENT: &str = "x-consistent-hash";
const KINDS: [&str; 2] = [CONSISTENT, "x-modulus-hash"];

/// Queues `~q1`, `~q2` and so on, bound with these weights.
fn bind_queues(c: &mut Client, weights: &[u32]) {
    for (at, weight) in weights.iter().enumerate() {
        c.declare(1, &format!("~q{}", at + 1), "exclusive");
        c.bind(1, &format!("~q{}", at + 1), "~x", &weight.to_string());
    }
}

/// Takes all messages out of the queues `~q1` and so on: their bodies, by queue.
fn take(t: &Scenario, c: &mut Client, queues: usize, messages: usize) -> Vec<Vec<String>> {
    let mut found = vec![Vec::new(); queues];
    // In RabbitMQ a queue may see a message a little later.
    for _ in 0..if t.trace.is_rabbitmq { 1000 } else { 1 } {
        for (at, bodies) in found.iter_mut().enumerate() {
            bodies.extend(c.drain(1, &format!("~q{}", at + 1)));
        }
        if found.iter().map(Vec::len).sum::<usize>() >= messages {
            break;
        }
    }
    found
}

/// Whether all messages are there, and those with one body in one queue.
fn keeps_together(found: &[Vec<String>], messages: usize) -> bool {
    let mut queue_of = BTreeMap::new();
    let mut placed =
        found.iter().enumerate().flat_map(|(queue, bodies)| bodies.iter().map(move |b| (queue, b)));
    found.iter().map(Vec::len).sum::<usize>() == messages
        && placed.all(|(queue, body)| *queue_of.entry(body).or_insert(queue) == queue)
}

fn a_key_stays_with_its_queue(t: &Scenario) {
    for kind in KINDS {
        let mut c = t.open();
        c.exchange(1, "~x", kind);
        bind_queues(&mut c, &[1, 1, 1]);
        for key in (0..3).flat_map(|_| 0..100) {
            c.publish(1, "~x", &key.to_string(), key.to_string());
        }
        let found = take(t, &mut c, 3, 300);
        t.note("each key in one queue", keeps_together(&found, 300));
        t.note("every queue has its share", found.iter().all(|bodies| bodies.len() >= 45));
        c.call(1, "exchange.delete exchange=~x", "exchange.delete-ok");
        c.close();
    }
}

fn a_queue_gets_keys_by_its_weight(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", CONSISTENT);
    bind_queues(&mut c, &[1, 3]);
    (0..400).for_each(|key| c.publish(1, "~x", &key.to_string(), key.to_string()));
    let found = take(t, &mut c, 2, 400);
    t.note("the first has one in four, about", (60..140).contains(&found[0].len()));
    t.note("the second has the others", found[0].len() + found[1].len() == 400);
}

fn a_second_binding_of_a_queue_does_not_count(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", CONSISTENT);
    bind_queues(&mut c, &[1, 1]);
    c.bind(1, "~q1", "~x", "50");
    (0..400).for_each(|key| c.publish(1, "~x", &key.to_string(), key.to_string()));
    let found = take(t, &mut c, 2, 400);
    t.note("half of the keys each, about", (140..260).contains(&found[0].len()));
}

fn a_queue_stays_while_a_binding_is_left(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", CONSISTENT);
    bind_queues(&mut c, &[1]);
    c.bind(1, "~q1", "~x", "2");
    c.call(1, "queue.unbind queue=~q1 exchange=~x key=1", "queue.unbind-ok");
    c.publish_with(1, "exchange=~x key=k mandatory", &Properties::default(), "m");
    c.expect_messages(1, "~q1", &["m"]);
}

fn an_unbound_queue_gets_nothing(t: &Scenario) {
    for kind in KINDS {
        let mut c = t.open();
        c.exchange(1, "~x", kind);
        bind_queues(&mut c, &[2, 1]);
        c.call(1, "queue.unbind queue=~q1 exchange=~x key=2", "queue.unbind-ok");
        (0..50).for_each(|key| c.publish(1, "~x", &key.to_string(), key.to_string()));
        let found = take(t, &mut c, 2, 50);
        t.note("all messages in the queue that is left", found[0].is_empty() && found[1].len() == 50);
        c.call(1, "queue.delete queue=~q2", "queue.delete-ok messages=0");
        c.publish_with(1, "exchange=~x key=k mandatory", &Properties::default(), "nowhere");
        c.expect("1 basic.return code=312 text=NO_ROUTE exchange=~x key=k: nowhere");
        c.call(1, "exchange.delete exchange=~x", "exchange.delete-ok");
        c.close();
    }
}

fn a_header_can_be_hashed(t: &Scenario) {
    let mut c = t.open();
    let hash_header = [("hash-header", text("customer"))];
    c.call_with(
        1,
        "exchange.declare exchange=~x type=x-consistent-hash",
        &hash_header,
        "exchange.declare-ok",
    );
    bind_queues(&mut c, &[1, 1]);
    for (key, customer) in (0..2).flat_map(|key| (0..100).map(move |customer| (key, customer))) {
        let headers = Properties::default().headers(&[("customer", Value::I(customer))]);
        c.publish_with(1, &format!("exchange=~x key={key}"), &headers, customer.to_string());
    }
    let found = take(t, &mut c, 2, 200);
    t.note("each customer in one queue", keeps_together(&found, 200));
    t.note("every queue has its share", found.iter().all(|bodies| bodies.len() >= 60));
    // What has no such header is kept together, too.
    (0..50).for_each(|key| c.publish(1, "~x", &key.to_string(), "none"));
    t.note("without the header in one queue", keeps_together(&take(t, &mut c, 2, 50), 50));
}

fn a_property_can_be_hashed(t: &Scenario) {
    for property in ["correlation_id", "message_id", "timestamp"] {
        let mut c = t.open();
        let hash_property = [("hash-property", text(property))];
        let declare = "exchange.declare exchange=~x type=x-consistent-hash";
        c.call_with(1, declare, &hash_property, "exchange.declare-ok");
        bind_queues(&mut c, &[1, 1]);
        for (key, value) in (0..2).flat_map(|key| (1000..1100).map(move |value| (key, value))) {
            let properties = Properties::new(&format!("{}={value}", property.replace('_', "-")));
            c.publish_with(1, &format!("exchange=~x key={key}"), &properties, value.to_string());
        }
        let found = take(t, &mut c, 2, 200);
        t.note("each value in one queue", keeps_together(&found, 200));
        t.note("every queue has its share", found.iter().all(|bodies| bodies.len() >= 60));
        (0..50).for_each(|key| c.publish(1, "~x", &key.to_string(), "none"));
        t.note("without the property in one queue", keeps_together(&take(t, &mut c, 2, 50), 50));
        c.call(1, "exchange.delete exchange=~x", "exchange.delete-ok");
        c.close();
    }
}

fn a_weight_that_is_none_is_406(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", CONSISTENT);
    c.declare(1, "~q", "exclusive");
    for (key, why) in [
        ("", "The binding key must be an integer: <<>>"),
        ("one", "The binding key must be an integer: <<\"one\">>"),
        ("1.5", "The binding key must be an integer: <<\"1.5\">>"),
        ("0", "The binding key must be greater than 0"),
        ("-1", "The binding key must be greater than 0"),
    ] {
        let bind = format!("queue.bind queue=~q exchange=~x key={key}");
        c.refused(1, &bind, &format!("406 PRECONDITION_FAILED - {why} (queue.bind)"));
    }
    c.exchange(1, "~y", "fanout");
    c.refused(
        1,
        "exchange.bind destination=~y source=~x key=none",
        "406 PRECONDITION_FAILED - The binding key must be an integer: <<\"none\">> (exchange.bind)",
    );
    c.bind(1, "~q", "~x", "+1");
}

fn hashing_what_cannot_be_hashed_is_406(t: &Scenario) {
    let mut c = t.open();
    let declare = "exchange.declare exchange=~x type=x-consistent-hash";
    let (header, property) = (("hash-header", text("h")), ("hash-property", text("message_id")));
    c.refused_with(
        1,
        declare,
        &[header.clone(), property],
        "406 PRECONDITION_FAILED - hash-header and hash-property are mutually exclusive (exchange.declare)",
    );
    c.refused_with(
        1,
        declare,
        &[("hash-property", text("reply_to"))],
        "406 PRECONDITION_FAILED - Unsupported property: reply_to (exchange.declare)",
    );
    // Only a new exchange is asked; of one that is there, these arguments don't matter.
    c.call_with(1, declare, &[header], "exchange.declare-ok");
    c.call_with(1, declare, &[("hash-property", text("reply_to"))], "exchange.declare-ok");
    c.call(1, declare, "exchange.declare-ok");
}

fn a_header_name_that_is_no_text_is_406(t: &Scenario) {
    let mut c = t.open();
    c.refused_with(
        1,
        "exchange.declare exchange=~x type=x-consistent-hash",
        &[("hash-header", Value::I(1))],
        "406 PRECONDITION_FAILED - invalid type 'signedint' for arg 'hash-header' in exchange '~x' in vhost '/' \
         (exchange.declare)",
    );
}

fn what_leads_nowhere_goes_to_the_alternate_exchange(t: &Scenario) {
    for kind in KINDS {
        let mut c = t.open();
        let declare = format!("exchange.declare exchange=~x type={kind}");
        c.exchange(1, "~ae", "fanout");
        c.call_with(1, &declare, &[("alternate-exchange", text("~ae"))], "exchange.declare-ok");
        c.declare(1, "~q", "exclusive");
        c.bind(1, "~q", "~ae", "");
        c.publish(1, "~x", "k", kind);
        c.expect_messages(1, "~q", &[kind]);
        c.call(1, "exchange.delete exchange=~x", "exchange.delete-ok");
        c.close();
    }
}

fn an_exchange_can_be_a_destination(t: &Scenario) {
    for kind in KINDS {
        let mut c = t.open();
        c.exchange(1, "~x", kind);
        for (exchange, queue) in [("~y1", "~q1"), ("~y2", "~q2")] {
            c.exchange(1, exchange, "fanout auto-delete");
            c.declare(1, queue, "exclusive");
            c.bind(1, queue, exchange, "");
            c.call(1, &format!("exchange.bind destination={exchange} source=~x key=1"), "exchange.bind-ok");
        }
        (0..100).for_each(|key| c.publish(1, "~x", &key.to_string(), key.to_string()));
        let found = take(t, &mut c, 2, 100);
        t.note("each message in one queue", keeps_together(&found, 100));
        t.note("every queue has its share", found.iter().all(|bodies| bodies.len() >= 20));
        c.call(1, "exchange.delete exchange=~x", "exchange.delete-ok");
        c.close();
    }
}

scenarios![
    a_key_stays_with_its_queue,
    a_queue_gets_keys_by_its_weight,
    a_second_binding_of_a_queue_does_not_count,
    a_queue_stays_while_a_binding_is_left,
    an_unbound_queue_gets_nothing,
    a_header_can_be_hashed,
    a_property_can_be_hashed,
    a_weight_that_is_none_is_406,
    hashing_what_cannot_be_hashed_is_406,
    a_header_name_that_is_no_text_is_406,
    what_leads_nowhere_goes_to_the_alternate_exchange,
    an_exchange_can_be_a_destination,
];

/// A weight that nobody means: RabbitMQ would make as many buckets.
#[test]
fn a_weight_above_a_million_is_406() {
    crate::support::scenario::run(|t| {
        let mut c = t.open();
        c.exchange(1, "~x", CONSISTENT);
        c.declare(1, "~q", "exclusive");
        c.bind(1, "~q", "~x", "1000000");
        c.refused(
            1,
            "queue.bind queue=~q exchange=~x key=1000001",
            "406 PRECONDITION_FAILED - The binding key must be at most 1000000 (queue.bind)",
        );
    });
}
