//! Exchanges that leave it to chance which binding a message goes to: x-random and x-local-random.

use crate::support::{Client, Properties, Scenario, scenarios, text};

/// Publishes messages to `~x` and says how they are spread over the queues `~q1`, `~q2` and `~q3`.
fn publish_and_take(t: &Scenario, c: &mut Client) -> Vec<usize> {
    (0..300).for_each(|message: u32| c.publish(1, "~x", "k", message.to_string()));
    let mut counts = vec![0; 3];
    // In RabbitMQ a queue may see a message a little later.
    for _ in 0..if t.trace.is_rabbitmq { 1000 } else { 1 } {
        for (at, count) in counts.iter_mut().enumerate() {
            *count += c.drain(1, &format!("~q{}", at + 1)).len();
        }
        if counts.iter().sum::<usize>() >= 300 {
            break;
        }
    }
    counts
}

/// Writes down whether each of 300 messages is in one of the queues, and each queue has about as many as expected: so that
/// less than one run in a million would differ.
fn note_spread(t: &Scenario, counts: &[usize], expected: &[usize]) {
    let is_fair = counts.iter().zip(expected).all(|(count, expected)| count.abs_diff(*expected) < 45);
    let is_whole = counts.iter().sum::<usize>() == 300;
    t.note("spread as expected", is_fair && is_whole);
}

fn each_message_goes_to_one_queue_by_chance(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "x-random");
    for (queue, key) in [("~q1", ""), ("~q2", "k"), ("~q3", "other")] {
        c.declare(1, queue, "exclusive");
        c.bind(1, queue, "~x", key);
    }
    let counts = publish_and_take(t, &mut c);
    note_spread(t, &counts, &[100, 100, 100]);
}

fn a_queue_bound_twice_is_chosen_twice_as_often(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "x-random");
    for (queue, key) in [("~q1", "a"), ("~q1", "b"), ("~q2", "a"), ("~q3", "a")] {
        if key == "a" {
            c.declare(1, queue, "exclusive");
        }
        c.bind(1, queue, "~x", key);
    }
    let counts = publish_and_take(t, &mut c);
    note_spread(t, &counts, &[150, 75, 75]);
}

fn without_a_binding_a_message_is_unroutable(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~ae", "fanout");
    c.declare(1, "~q", "exclusive");
    let alternate = [("alternate-exchange", text("~ae"))];
    c.call_with(1, "exchange.declare exchange=~x type=x-random", &alternate, "exchange.declare-ok");
    c.publish_with(1, "exchange=~x key=k mandatory", &Properties::default(), "nowhere");
    c.expect("1 basic.return code=312 text=NO_ROUTE exchange=~x key=k: nowhere");
    c.bind(1, "~q", "~ae", "");
    c.publish(1, "~x", "k", "alternate");
    c.expect_messages(1, "~q", &["alternate"]);
    c.bind(1, "~q", "~x", "");
    c.publish(1, "~x", "k", "bound");
    c.expect_messages(1, "~q", &["bound"]);
}

scenarios![
    each_message_goes_to_one_queue_by_chance,
    a_queue_bound_twice_is_chosen_twice_as_often,
    without_a_binding_a_message_is_unroutable,
];

// RabbitMQ 3.10 has no x-local-random.

#[test]
fn a_local_random_exchange_chooses_among_its_queues() {
    crate::support::scenario::run(|t| {
        let mut c = t.open();
        c.exchange(1, "~x", "x-local-random");
        for queue in ["~q1", "~q2", "~q3"] {
            c.declare(1, queue, "exclusive");
            c.bind(1, queue, "~x", "");
        }
        let counts = publish_and_take(t, &mut c);
        note_spread(t, &counts, &[100, 100, 100]);
    });
}

#[test]
fn a_local_random_exchange_takes_classic_queues_only_and_no_key() {
    crate::support::scenario::run(|t| {
        let mut c = t.open();
        c.exchange(1, "~x", "x-local-random");
        c.exchange(1, "~y", "fanout");
        c.declare(1, "~q", "exclusive");
        c.refused(
            1,
            "queue.bind queue=~q exchange=~x key=k",
            "406 PRECONDITION_FAILED - Non empty binding 'k' key not permitted (queue.bind)",
        );
        c.refused(
            1,
            "exchange.bind destination=~y source=~x",
            "406 PRECONDITION_FAILED - Destination not found (exchange.bind)",
        );
        c.declare_with(1, "~quorum", "durable", &[("x-queue-type", text("quorum"))]);
        c.refused(
            1,
            "queue.bind queue=~quorum exchange=~x",
            "406 PRECONDITION_FAILED - Queue type rabbit_quorum_queue not valid for this exchange type (queue.bind)",
        );
        c.call(1, "queue.delete queue=~quorum", "queue.delete-ok messages=0");
    });
}
