//! Policies: what each key does to queues and exchanges that are there, and that it is undone with the policy; which of
//! several counts.

use crate::support::broker::{Process, start_in_process};
use crate::support::raw::PATIENCE;
use crate::support::scenario::run;
use crate::support::{Client, Properties, Scenario, Value, scenarios, text};
use serde_json::json;

const POLICY: &str = "/api/policies/%2F/~p";
const OPERATORS: &str = "/api/operator-policies/%2F/~o";

/// Sets the scenario's policy, for all its names.
fn set(t: &Scenario, definition: serde_json::Value) {
    t.set(POLICY, &json!({"pattern": "^~", "definition": definition}));
}

fn clear(t: &Scenario) {
    t.unset(POLICY);
}

/// Waits until so many messages are in a queue that nobody takes from, and takes them: dead letters are on their way for
/// a moment.
fn expect_dead(c: &mut Client, queue: &str, bodies: &[&str]) {
    let started = warren::time::now();
    loop {
        c.send(1, &format!("queue.declare queue={queue} passive"));
        let declared = c.next("queue.declare-ok").expect("the connection is open");
        if declared.number("messages") >= bodies.len() as u64 || started.elapsed() > PATIENCE {
            return c.expect_messages(1, queue, bodies);
        }
    }
}

fn publish_all(c: &mut Client, bodies: &[&str]) {
    bodies.iter().for_each(|body| c.publish(1, "", "~q", body));
}

/// Gets the message that is to come, whatever it carries, and rejects it; back into the queue or not.
fn reject(c: &mut Client, body: &str, requeue: bool) {
    let got = get(c, "~q");
    assert_eq!(String::from_utf8_lossy(&got.body), body);
    let requeue = if requeue { " requeue" } else { "" };
    c.send(1, &format!("basic.reject delivery={}{requeue}", got.number("delivery")));
}

/// Gets a message as soon as there is one.
fn get(c: &mut Client, queue: &str) -> crate::support::raw::Incoming {
    let started = warren::time::now();
    loop {
        c.send(1, &format!("basic.get queue={queue}"));
        let got = c.next("basic.get-ok").expect("the connection is open");
        if got.method.name == "basic.get-ok" {
            return got;
        }
        assert!(started.elapsed() < PATIENCE, "nothing comes: {}", got.text);
    }
}

fn max_length_takes_what_is_too_much_until_it_is_cleared(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    publish_all(&mut c, &["1", "2", "3"]);
    c.expect_queue(1, "~q", 3, 0);
    set(t, json!({"max-length": 2}));
    c.expect_queue(1, "~q", 2, 0);
    publish_all(&mut c, &["4"]);
    c.expect_queue(1, "~q", 2, 0);
    clear(t);
    publish_all(&mut c, &["5"]);
    c.expect_messages(1, "~q", &["3", "4", "5"]);
}

fn max_length_bytes_takes_what_is_too_much_until_it_is_cleared(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    publish_all(&mut c, &["aaaa", "bb"]);
    c.expect_queue(1, "~q", 2, 0);
    set(t, json!({"max-length-bytes": 5}));
    c.expect_queue(1, "~q", 1, 0);
    publish_all(&mut c, &["cccc"]);
    c.expect_queue(1, "~q", 1, 0);
    clear(t);
    publish_all(&mut c, &["dddd"]);
    c.expect_messages(1, "~q", &["cccc", "dddd"]);
}

fn overflow_refuses_what_is_too_much_until_it_is_cleared(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.call(1, "confirm.select", "confirm.select-ok");
    set(t, json!({"max-length": 1, "overflow": "reject-publish"}));
    publish_all(&mut c, &["taken"]);
    c.expect_confirms(1, 1, 1);
    publish_all(&mut c, &["refused"]);
    // Its other fields mean nothing to a publisher.
    let answer = c.next("basic.nack").expect("the connection is open");
    let seen = format!("{} {}", answer.method.name, answer.get("delivery"));
    t.trace.saw("", "basic.nack 2", &seen);
    clear(t);
    publish_all(&mut c, &["taken, too"]);
    c.expect_confirms(1, 3, 3);
    c.expect_messages(1, "~q", &["taken", "taken, too"]);
}

fn message_ttl_holds_for_what_is_published_until_it_is_cleared(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    set(t, json!({"message-ttl": 0}));
    publish_all(&mut c, &["gone"]);
    c.expect_queue(1, "~q", 0, 0);
    clear(t);
    publish_all(&mut c, &["stays"]);
    c.expect_messages(1, "~q", &["stays"]);
}

fn expires_takes_the_queue_until_it_is_cleared(t: &Scenario) {
    let mut c = t.open();
    for queue in ["~unused", "~used"] {
        c.declare(1, queue, "durable");
    }
    c.open_channel(2);
    c.consume(2, "~used", "t", "");
    set(t, json!({"expires": 1}));
    c.expect_gone(1, "~unused");
    clear(t);
    c.close_channel(2);
    c.declare_with(1, "~other", "durable", &[("x-expires", Value::I(1))]);
    c.expect_gone(1, "~other");
    c.expect_queue(1, "~used", 0, 0);
    c.call(1, "queue.delete queue=~used", "queue.delete-ok messages=0");
}

fn a_dead_letter_exchange_gets_what_is_rejected_until_it_is_cleared(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~dlx", "direct");
    c.declare(1, "~q", "exclusive");
    for (queue, key) in [("~by-own-key", "~q"), ("~by-key", "k")] {
        c.declare(1, queue, "exclusive");
        c.bind(1, queue, "~dlx", key);
    }
    publish_all(&mut c, &["1", "2", "3", "4"]);
    set(t, json!({"dead-letter-exchange": "~dlx"}));
    reject(&mut c, "1", false);
    expect_dead(&mut c, "~by-own-key", &["1"]);
    set(t, json!({"dead-letter-exchange": "~dlx", "dead-letter-routing-key": "k"}));
    reject(&mut c, "2", false);
    expect_dead(&mut c, "~by-key", &["2"]);
    clear(t);
    reject(&mut c, "3", false);
    c.expect_queue(1, "~q", 1, 0);
    set(t, json!({"dead-letter-exchange": "~dlx"}));
    reject(&mut c, "4", false);
    expect_dead(&mut c, "~by-own-key", &["4"]);
    c.expect_messages(1, "~by-key", &[]);
    clear(t);
}

fn an_alternate_exchange_gets_what_no_binding_wants_until_it_is_cleared(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "direct");
    c.exchange(1, "~ae", "fanout");
    c.declare(1, "~q", "exclusive");
    c.bind(1, "~q", "~ae", "");
    let publish = |c: &mut Client, body: &str| {
        c.publish_with(1, "exchange=~x key=k mandatory", &Properties::default(), body);
    };
    publish(&mut c, "1");
    c.expect("1 basic.return code=312 text=NO_ROUTE exchange=~x key=k: 1");
    set(t, json!({"alternate-exchange": "~ae"}));
    publish(&mut c, "2");
    c.expect_queue(1, "~q", 1, 0);
    clear(t);
    publish(&mut c, "3");
    c.expect("1 basic.return code=312 text=NO_ROUTE exchange=~x key=k: 3");
    c.expect_messages(1, "~q", &["2"]);
}

fn a_queue_and_an_exchange_that_come_later_get_it_too(t: &Scenario) {
    set(t, json!({"max-length": 1, "alternate-exchange": "~ae"}));
    let mut c = t.open();
    c.exchange(1, "~x", "direct");
    c.exchange(1, "~ae", "fanout");
    c.declare(1, "~q", "exclusive");
    c.bind(1, "~q", "~ae", "");
    c.publish(1, "~x", "k", "1");
    c.publish(1, "~x", "k", "2");
    c.expect_messages(1, "~q", &["2"]);
    // Who declares the queue again need not know of policies.
    c.call(1, "queue.declare queue=~q exclusive", "queue.declare-ok queue=~q messages=0 consumers=0");
    clear(t);
}

fn of_a_number_in_argument_and_policy_the_lesser_counts(t: &Scenario) {
    let mut c = t.open();
    set(t, json!({"max-length": 2}));
    c.declare_with(1, "~less", "exclusive", &[("x-max-length", Value::I(1))]);
    c.declare_with(1, "~more", "exclusive", &[("x-max-length", Value::I(3))]);
    for (queue, left) in [("~less", &["4"][..]), ("~more", &["3", "4"])] {
        for body in ["1", "2", "3", "4"] {
            c.publish(1, "", queue, body);
        }
        c.expect_messages(1, queue, left);
    }
    clear(t);
    for body in ["1", "2", "3", "4"] {
        c.publish(1, "", "~more", body);
    }
    c.expect_messages(1, "~more", &["2", "3", "4"]);
}

fn of_a_word_in_argument_and_policy_the_arguments_counts(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~theirs", "fanout");
    c.call_with(
        1,
        "exchange.declare exchange=~x type=direct",
        &[("alternate-exchange", text("~mine"))],
        "exchange.declare-ok",
    );
    c.exchange(1, "~mine", "fanout");
    let argument = text("~mine");
    c.declare_with(1, "~q", "exclusive", &[("x-dead-letter-exchange", argument)]);
    for (queue, exchange) in [("~to-mine", "~mine"), ("~to-theirs", "~theirs")] {
        c.declare(1, queue, "exclusive");
        c.bind(1, queue, exchange, "");
    }
    set(t, json!({"dead-letter-exchange": "~theirs", "alternate-exchange": "~theirs"}));
    publish_all(&mut c, &["dead"]);
    reject(&mut c, "dead", false);
    expect_dead(&mut c, "~to-mine", &["dead"]);
    c.publish(1, "~x", "k", "unrouted");
    c.expect_messages(1, "~to-mine", &["unrouted"]);
    c.expect_messages(1, "~to-theirs", &[]);
    clear(t);
}

fn an_operators_policy_bounds_policy_and_argument(t: &Scenario) {
    let mut c = t.open();
    let publish = |c: &mut Client| publish_all(c, &["1", "2", "3", "4"]);
    c.declare_with(1, "~q", "exclusive", &[("x-max-length", Value::I(4))]);
    set(t, json!({"max-length": 3}));
    t.set(OPERATORS, &json!({"pattern": "^~", "definition": {"max-length": 2}}));
    publish(&mut c);
    c.expect_messages(1, "~q", &["3", "4"]);
    t.set(OPERATORS, &json!({"pattern": "^~", "definition": {"max-length": 9}}));
    publish(&mut c);
    c.expect_messages(1, "~q", &["2", "3", "4"]);
    clear(t);
    publish(&mut c);
    c.expect_messages(1, "~q", &["1", "2", "3", "4"]);
    t.set(OPERATORS, &json!({"pattern": "^~", "definition": {"max-length": 1}}));
    publish(&mut c);
    c.expect_messages(1, "~q", &["4"]);
    t.unset(OPERATORS);
    publish(&mut c);
    c.expect_messages(1, "~q", &["1", "2", "3", "4"]);
}

fn one_policy_counts_and_it_is_that_with_the_highest_priority(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    let high = "/api/policies/%2F/~high";
    t.set(POLICY, &json!({"pattern": "^~", "definition": {"max-length": 1}, "priority": -1}));
    t.set(high, &json!({"pattern": "^~", "definition": {"max-length-bytes": 3}}));
    publish_all(&mut c, &["1", "2", "3", "4"]);
    // There is nothing of the other in it.
    c.expect_messages(1, "~q", &["2", "3", "4"]);
    t.unset(high);
    publish_all(&mut c, &["1", "2", "3", "4"]);
    c.expect_messages(1, "~q", &["4"]);
    clear(t);
}

fn a_policy_is_for_the_names_and_things_that_it_is_about(t: &Scenario) {
    let mut c = t.open();
    for queue in ["~a-log", "~b-log-2", "~c"] {
        c.declare(1, queue, "exclusive");
    }
    let publish = |c: &mut Client, lengths: [u32; 3]| {
        for (queue, length) in ["~a-log", "~b-log-2", "~c"].iter().zip(lengths) {
            c.publish(1, "", queue, "x");
            c.expect_queue(1, queue, length, 0);
        }
    };
    // Found anywhere in a name.
    let pattern = "~.*-log";
    t.set(POLICY, &json!({"pattern": pattern, "definition": {"max-length": 0}, "apply-to": "queues"}));
    publish(&mut c, [0, 0, 1]);
    t.set(POLICY, &json!({"pattern": "~.*-log$", "definition": {"max-length": 0}, "apply-to": "all"}));
    publish(&mut c, [0, 1, 2]);
    t.set(POLICY, &json!({"pattern": pattern, "definition": {"max-length": 0}, "apply-to": "exchanges"}));
    publish(&mut c, [1, 2, 3]);
    clear(t);
}

fn policies_are_shown_as_they_were_set(t: &Scenario) {
    let saw = |path: &str, wanted: serde_json::Value| {
        t.trace.saw("", &wanted.to_string(), &t.shown(path).to_string());
    };
    t.vhost("~v");
    let body = json!({
        "pattern": "^q", "definition": {"max-length": 5, "overflow": "drop-head"}, "priority": 7, "apply-to": "queues"
    });
    t.set("/api/policies/~v/p", &body);
    t.set("/api/operator-policies/~v/p", &json!({"pattern": "", "definition": {"expires": 5}}));
    let row = json!({
        "vhost": "~v", "name": "p", "pattern": "^q", "definition": {"max-length": 5, "overflow": "drop-head"},
        "priority": 7, "apply-to": "queues"
    });
    saw("/api/policies/~v/p", row.clone());
    saw("/api/policies/~v", json!([row]));
    let row = json!({
        "vhost": "~v", "name": "p", "pattern": "", "definition": {"expires": 5}, "priority": 0, "apply-to": "all"
    });
    saw("/api/operator-policies/~v", json!([row]));
    t.forget(&["/api/policies/~v/p", "/api/operator-policies/~v/p"]);
    saw("/api/policies/~v", json!([]));
    t.forget(&["/api/vhosts/~v"]);
}

scenarios![
    max_length_takes_what_is_too_much_until_it_is_cleared,
    max_length_bytes_takes_what_is_too_much_until_it_is_cleared,
    overflow_refuses_what_is_too_much_until_it_is_cleared,
    message_ttl_holds_for_what_is_published_until_it_is_cleared,
    expires_takes_the_queue_until_it_is_cleared,
    a_dead_letter_exchange_gets_what_is_rejected_until_it_is_cleared,
    an_alternate_exchange_gets_what_no_binding_wants_until_it_is_cleared,
    a_queue_and_an_exchange_that_come_later_get_it_too,
    of_a_number_in_argument_and_policy_the_lesser_counts,
    of_a_word_in_argument_and_policy_the_arguments_counts,
    an_operators_policy_bounds_policy_and_argument,
    one_policy_counts_and_it_is_that_with_the_highest_priority,
    a_policy_is_for_the_names_and_things_that_it_is_about,
    policies_are_shown_as_they_were_set,
];

// ---- what RabbitMQ 3.10 does not have, or not for classic queues

#[test]
fn a_delivery_limit_takes_what_fails_too_often_until_it_is_cleared() {
    run(|t| {
        let mut c = t.open();
        c.declare(1, "~q", "exclusive");
        c.declare(1, "~dead", "exclusive");
        let dead = json!({"dead-letter-exchange": "", "dead-letter-routing-key": "~dead"});
        let mut limited = dead.clone();
        limited["delivery-limit"] = json!(1);
        publish_all(&mut c, &["1", "2"]);
        set(t, limited);
        reject(&mut c, "1", true);
        reject(&mut c, "1", true);
        c.expect_queue(1, "~q", 1, 0);
        assert_eq!(get(&mut c, "~dead").body, b"1");
        set(t, dead);
        for _ in 0..5 {
            reject(&mut c, "2", true);
        }
        c.expect_queue(1, "~q", 1, 0);
        clear(t);
    });
}

#[test]
fn at_least_once_keeps_a_dead_letter_that_nobody_takes_until_it_is_cleared() {
    run(|t| {
        let mut c = t.open();
        c.exchange(1, "~dlx", "fanout");
        c.declare(1, "~q", "exclusive");
        c.declare(1, "~dead", "exclusive");
        publish_all(&mut c, &["1", "2"]);
        set(t, json!({"dead-letter-exchange": "~dlx", "dead-letter-strategy": "at-least-once"}));
        reject(&mut c, "1", false);
        c.expect_queue(1, "~q", 1, 0);
        c.bind(1, "~dead", "~dlx", "");
        assert_eq!(get(&mut c, "~dead").body, b"1");
        c.call(1, "queue.unbind queue=~dead exchange=~dlx key=", "queue.unbind-ok");
        set(t, json!({"dead-letter-exchange": "~dlx"}));
        reject(&mut c, "2", false);
        // Dead letters are moved one after the other: when one that died later is there, this one is gone.
        let to_seen = [
            ("x-message-ttl", Value::I(0)),
            ("x-dead-letter-exchange", text("")),
            ("x-dead-letter-routing-key", text("~seen")),
        ];
        c.declare_with(1, "~r", "exclusive", &to_seen);
        c.declare(1, "~seen", "exclusive");
        c.publish(1, "", "~r", "later");
        assert_eq!(get(&mut c, "~seen").body, b"later");
        c.bind(1, "~dead", "~dlx", "");
        publish_all(&mut c, &["3"]);
        reject(&mut c, "3", false);
        assert_eq!(get(&mut c, "~dead").body, b"3");
        clear(t);
    });
}

#[test]
fn a_consumer_timeout_takes_the_consumer_until_it_is_cleared() {
    run(|t| {
        let mut c = t.open();
        c.declare(1, "~q", "exclusive");
        c.consume(1, "~q", "slow", "");
        publish_all(&mut c, &["1"]);
        c.expect("1 basic.deliver tag=slow delivery=1 key=~q: 1");
        set(t, json!({"consumer-timeout": 20}));
        c.expect("1 basic.cancel tag=slow no-wait");
        clear(t);
        c.send(1, "basic.consume queue=~q tag=again");
        c.expect("1 basic.consume-ok tag=again");
        assert_eq!(c.receive("basic.deliver").get("tag"), "again");
        // Another that has the timeout goes, and this one stays.
        c.declare_with(1, "~r", "exclusive", &[("x-consumer-timeout", Value::I(20))]);
        c.consume(1, "~r", "other", "");
        c.publish(1, "", "~r", "2");
        assert_eq!(c.receive("basic.deliver").get("tag"), "other");
        c.expect("1 basic.cancel tag=other no-wait");
        c.expect_queue(1, "~q", 0, 1);
    });
}

#[test]
fn a_delayed_retry_holds_what_comes_back_until_it_is_cleared() {
    const HOUR_MS: u32 = 3_600_000;
    run(|t| {
        let mut c = t.open();
        c.declare(1, "~q", "exclusive");
        publish_all(&mut c, &["1"]);
        set(t, json!({"delayed-retry-type": "failed", "delayed-retry-min": HOUR_MS, "delayed-retry-max": 1}));
        // The longest wait is over at once.
        reject(&mut c, "1", true);
        reject(&mut c, "1", true);
        let got = get(&mut c, "~q");
        set(t, json!({"delayed-retry-type": "failed", "delayed-retry-min": HOUR_MS}));
        // Only what failed waits.
        c.send(1, &format!("basic.nack delivery={} requeue", got.number("delivery")));
        reject(&mut c, "1", true);
        c.expect_queue(1, "~q", 0, 0);
        publish_all(&mut c, &["2"]);
        set(t, json!({"delayed-retry-type": "returned", "delayed-retry-min": HOUR_MS}));
        reject(&mut c, "2", true);
        let got = get(&mut c, "~q");
        clear(t);
        c.send(1, &format!("basic.nack delivery={} requeue", got.number("delivery")));
        assert_eq!(get(&mut c, "~q").body, b"2");
    });
}

#[test]
fn durability_says_what_a_confirm_waits_for_until_it_is_cleared() {
    const PUBLISHES: u64 = 20;
    let (target, broker) = start_in_process();
    let t = Scenario::new(target, true);
    let mut c = t.open();
    c.declare(1, "~q", "durable");
    c.call(1, "confirm.select", "confirm.select-ok");
    let mut tag = 0;
    let mut waits_for_syncs = |c: &mut Client| {
        let before = broker.store.counters().syncs;
        for _ in 0..PUBLISHES {
            c.publish_with(1, "key=~q", &Properties::new("delivery-mode=2"), "x");
            tag += 1;
            c.expect_confirms(1, tag, tag);
        }
        broker.store.counters().syncs - before >= PUBLISHES
    };
    assert!(waits_for_syncs(&mut c));
    set(&t, json!({"durability": "os"}));
    assert!(!waits_for_syncs(&mut c));
    clear(&t);
    assert!(waits_for_syncs(&mut c));
}

#[test]
fn a_quorum_queues_overflow_is_the_policys() {
    run(|t| {
        let mut c = t.open();
        let arguments = [
            ("x-queue-type", text("quorum")),
            ("x-max-length", Value::I(1)),
            ("x-overflow", text("drop-head")),
        ];
        c.declare_with(1, "~q", "durable", &arguments);
        c.call(1, "confirm.select", "confirm.select-ok");
        t.set(
            POLICY,
            &json!({"pattern": "^~", "definition": {"overflow": "reject-publish"}, "apply-to": "quorum_queues"}),
        );
        publish_all(&mut c, &["1"]);
        c.expect_confirms(1, 1, 1);
        publish_all(&mut c, &["2"]);
        c.expect("1 basic.nack delivery=2");
        t.set(POLICY, &json!({"pattern": "^~", "definition": {"overflow": "reject-publish"}, "apply-to": "classic_queues"}));
        publish_all(&mut c, &["3"]);
        c.expect_confirms(1, 3, 3);
        c.expect_messages(1, "~q", &["3"]);
        clear(t);
        c.call(1, "queue.delete queue=~q", "queue.delete-ok messages=0");
    });
}

/// As in RabbitMQ, where the list of such keys is another for classic queues.
#[test]
fn a_policy_with_one_key_that_a_queue_type_does_not_know_is_none_for_it() {
    run(|t| {
        let mut c = t.open();
        c.declare(1, "~classic", "durable");
        c.declare_with(1, "~quorum", "durable", &[("x-queue-type", text("quorum"))]);
        let low = "/api/policies/%2F/~low";
        t.set(low, &json!({"pattern": "^~", "definition": {"message-ttl": 5}, "priority": -1}));
        let names = |definition: serde_json::Value| {
            set(t, definition);
            ["~classic", "~quorum"]
                .map(|queue| t.shown(&format!("/api/queues/%2F/{queue}?columns=policy"))["policy"].clone())
        };
        assert_eq!(names(json!({"max-length": 5, "max-in-memory-length": 5})), ["~low", "~p"]);
        assert_eq!(names(json!({"max-length": 5, "queue-mode": "lazy"})), ["~p", "~low"]);
        assert_eq!(names(json!({"max-length": 5, "max-age": "1D"})), ["~low", "~low"]);
        assert_eq!(names(json!({"max-length": 5, "delivery-limit": 5})), ["~p", "~p"]);
        t.forget(&[POLICY, low]);
        for queue in ["~classic", "~quorum"] {
            c.call(1, &format!("queue.delete queue={queue}"), "queue.delete-ok messages=0");
        }
    });
}

#[test]
fn a_queue_names_its_policies_and_what_they_say_together() {
    run(|t| {
        let mut c = t.open();
        c.declare(1, "~q", "durable");
        set(t, json!({"max-length": 9, "overflow": "drop-head", "expires": 60000}));
        t.set(
            OPERATORS,
            &json!({"pattern": "^~", "definition": {"max-length": 5, "overflow": "reject-publish"}}),
        );
        let columns = "columns=policy,operator_policy,effective_policy_definition";
        let expected = json!({
            "policy": "~p", "operator_policy": "~o",
            "effective_policy_definition": {"max-length": 5, "overflow": "reject-publish", "expires": 60000},
        });
        assert_eq!(t.shown(&format!("/api/queues/%2F/~q?{columns}")), expected);
        t.forget(&[POLICY, OPERATORS]);
        let expected = json!({"policy": null, "operator_policy": null, "effective_policy_definition": {}});
        assert_eq!(t.shown(&format!("/api/queues/%2F/~q?{columns}")), expected);
        c.call(1, "queue.delete queue=~q", "queue.delete-ok messages=0");
    });
}

#[test]
fn policies_survive_a_crash_and_are_in_force_before_anybody_publishes() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let process = Process::start(&data);
    let t = Scenario::new(process.target, true);
    set(&t, json!({"max-length": 5, "alternate-exchange": "~ae"}));
    t.set(OPERATORS, &json!({"pattern": "^~", "definition": {"max-length": 2}}));
    let gone = "/api/policies/%2F/gone";
    t.set(gone, &json!({"pattern": "^~", "definition": {"max-length": 0}, "priority": 9}));
    t.forget(&[gone]);
    t.vhost("~v");
    for kind in ["policies", "operator-policies"] {
        let path = format!("/api/{kind}/~v/gone");
        t.set(&path, &json!({"pattern": "", "definition": {"max-length": 0}}));
    }
    t.forget(&["/api/vhosts/~v"]);
    t.vhost("~v");
    let mut c = t.open();
    c.declare(1, "~q", "durable");
    c.exchange(1, "~x", "direct durable");
    c.exchange(1, "~ae", "fanout durable");
    c.bind(1, "~q", "~ae", "");
    process.kill();
    let process = Process::start(&data);
    let t = t.moved(process.target);
    let mut c = t.open();
    for body in ["1", "2", "3"] {
        c.publish(1, "~x", "k", body);
    }
    c.expect_messages(1, "~q", &["2", "3"]);
    assert_eq!(t.shown("/api/policies?columns=name"), json!([{"name": "~p"}]));
    assert_eq!(t.shown("/api/operator-policies?columns=name"), json!([{"name": "~o"}]));
    c.hang_up();
    process.stop();
}

/// Policies come and go while one connection publishes and another consumes: every message arrives once, in order.
#[test]
fn no_message_is_lost_or_doubled_while_policies_come_and_go() {
    const MESSAGES: u64 = 5_000;
    let (target, _) = start_in_process();
    let t = Scenario::new(target, true);
    let mut c = t.open();
    for queue in ["~q", "~dead"] {
        c.declare(1, queue, "durable");
    }
    c.exchange(1, "~x", "direct");
    c.exchange(1, "~ae", "fanout");
    c.bind(1, "~q", "~x", "k");
    c.bind(1, "~q", "~ae", "");
    let prefix = t.trace.prefix.clone();
    let publisher = std::thread::spawn(move || {
        let t = Scenario::new(target, true);
        let mut c = t.open();
        c.call(1, "confirm.select", "confirm.select-ok");
        for number in 1..=MESSAGES {
            let properties = Properties::new(if number % 2 == 0 { "delivery-mode=2" } else { "" });
            // What has no binding goes the way of the alternate exchange, if there is one at the time.
            let key = if number % 5 == 0 { "none mandatory" } else { "k" };
            c.publish_with(1, &format!("exchange={prefix}x key={key}"), &properties, number.to_string());
            if number % 50 == 0 {
                expect_confirms_and_returns(&mut c, number);
            }
        }
        RETURNED.with_borrow(Clone::clone)
    });
    let mut round = 0;
    while !publisher.is_finished() {
        round += 1;
        // None of them takes a message: they only make queue and exchange change under it.
        set(
            &t,
            json!({
                "max-length": 1_000_000 + round, "alternate-exchange": if round % 2 == 0 { "~ae" } else { "~nowhere" },
                "dead-letter-exchange": "", "dead-letter-routing-key": "~dead", "message-ttl": 3_600_000,
                "durability": if round % 3 == 0 { "os" } else { "sync" }, "delivery-limit": 5,
            }),
        );
        if round % 4 == 0 {
            clear(&t);
        }
    }
    let returned = publisher.join().unwrap();
    let got: Vec<u64> = c.drain(1, "~q").iter().map(|body| body.parse().unwrap()).collect();
    let mut all: Vec<u64> = got.iter().copied().chain(returned.iter().copied()).collect();
    assert!(got.is_sorted(), "in the order of their publishing");
    all.sort_unstable();
    assert_eq!(all, (1..=MESSAGES).collect::<Vec<_>>(), "{round} rounds, {} returned", returned.len());
    c.expect_messages(1, "~dead", &[]);
}

thread_local! {
    static RETURNED: std::cell::RefCell<Vec<u64>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Receives until message `last` is confirmed; notes what comes back.
fn expect_confirms_and_returns(c: &mut Client, last: u64) {
    loop {
        let incoming = c.next("confirms").expect("the connection is open");
        match &*incoming.method.name {
            "basic.return" => {
                let number = String::from_utf8_lossy(&incoming.body).parse().unwrap();
                RETURNED.with_borrow_mut(|returned| returned.push(number));
            }
            "basic.ack" if incoming.number("delivery") == last => return,
            "basic.ack" => {}
            _ => panic!("{}", incoming.text),
        }
    }
}
