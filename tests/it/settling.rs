//! basic.ack, basic.nack, basic.reject and basic.recover: what is settled, what comes back, and where.

use crate::support::scenario::run;
use crate::support::{Client, Scenario, scenarios};

/// A queue of bodies `one`, `two`, …, all of them got and unacked on channel 1 as deliveries 1, 2, ….
fn with_unacked(t: &Scenario, count: usize) -> Client {
    const BODIES: [&str; 5] = ["one", "two", "three", "four", "five"];
    let mut c = t.open();
    c.open_channel(2);
    c.declare(1, "~q", "exclusive");
    for body in &BODIES[..count] {
        c.publish(1, "", "~q", body);
    }
    c.expect_queue(1, "~q", count as u32, 0);
    for (at, body) in BODIES[..count].iter().enumerate() {
        let reply = format!("basic.get-ok delivery={} key=~q left={}: {body}", at + 1, count - at - 1);
        c.call(1, "basic.get queue=~q", &reply);
    }
    c
}

/// Closes channel 1, which returns what is unacked, and says what is in the queue then.
fn expect_unsettled(c: &mut Client, bodies: &[&str]) {
    c.close_channel(1);
    c.expect_messages(2, "~q", bodies);
}

fn an_ack_settles_one_message(t: &Scenario) {
    let mut c = with_unacked(t, 3);
    c.send(1, "basic.ack delivery=2");
    expect_unsettled(&mut c, &["one", "three"]);
}

fn a_multiple_ack_settles_all_up_to_its_tag(t: &Scenario) {
    let mut c = with_unacked(t, 4);
    c.send(1, "basic.ack delivery=3 multiple");
    expect_unsettled(&mut c, &["four"]);
}

fn tag_0_with_multiple_settles_everything(t: &Scenario) {
    let mut c = with_unacked(t, 3);
    c.send(1, "basic.ack multiple");
    c.send(1, "basic.ack multiple");
    expect_unsettled(&mut c, &[]);
}

fn tag_0_with_multiple_is_no_error_with_nothing_unacked(t: &Scenario) {
    let mut c = t.open();
    c.send(1, "basic.ack multiple");
    c.send(1, "basic.nack multiple requeue");
    c.call(1, "basic.qos", "basic.qos-ok");
}

fn an_unknown_tag_is_406(t: &Scenario) {
    let mut c = t.open();
    for method in ["basic.ack", "basic.nack", "basic.reject"] {
        for tag in [0, 1, 99] {
            c.refused(
                1,
                &format!("{method} delivery={tag}"),
                &format!("406 PRECONDITION_FAILED - unknown delivery tag {tag} ({method})"),
            );
        }
    }
}

fn settling_twice_is_406(t: &Scenario) {
    let mut c = with_unacked(t, 2);
    c.send(1, "basic.ack delivery=1");
    c.refused(1, "basic.ack delivery=1", "406 PRECONDITION_FAILED - unknown delivery tag 1 (basic.ack)");
    c.expect_messages(2, "~q", &["two"]);
}

fn a_multiple_ack_of_a_settled_tag_is_406(t: &Scenario) {
    let mut c = with_unacked(t, 3);
    c.send(1, "basic.ack delivery=2");
    c.refused(
        1,
        "basic.ack delivery=2 multiple",
        "406 PRECONDITION_FAILED - unknown delivery tag 2 (basic.ack)",
    );
    c.expect_messages(2, "~q", &["one", "three"]);
}

fn a_multiple_ack_beyond_the_last_tag_is_406(t: &Scenario) {
    let mut c = with_unacked(t, 2);
    c.refused(
        1,
        "basic.ack delivery=3 multiple",
        "406 PRECONDITION_FAILED - unknown delivery tag 3 (basic.ack)",
    );
    c.expect_messages(2, "~q", &["one", "two"]);
}

fn a_tag_of_another_channel_is_unknown(t: &Scenario) {
    let mut c = with_unacked(t, 1);
    c.refused(2, "basic.ack delivery=1", "406 PRECONDITION_FAILED - unknown delivery tag 1 (basic.ack)");
    c.send(1, "basic.ack delivery=1");
    c.call(1, "basic.qos", "basic.qos-ok");
}

fn what_needed_no_ack_cannot_be_acked(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.publish(1, "", "~q", "x");
    c.get(1, "~q", "basic.get-ok delivery=1 key=~q left=0: x");
    c.refused(1, "basic.ack delivery=1", "406 PRECONDITION_FAILED - unknown delivery tag 1 (basic.ack)");
}

fn a_rejected_message_is_dropped(t: &Scenario) {
    let mut c = with_unacked(t, 2);
    c.send(1, "basic.reject delivery=1");
    expect_unsettled(&mut c, &["two"]);
}

fn a_rejected_message_can_come_back(t: &Scenario) {
    let mut c = with_unacked(t, 2);
    c.send(1, "basic.reject delivery=1 requeue");
    c.get(1, "~q", "basic.get-ok delivery=3 redelivered key=~q left=0: one");
}

fn a_nack_drops_or_requeues(t: &Scenario) {
    let mut c = with_unacked(t, 3);
    c.send(1, "basic.nack delivery=1");
    c.send(1, "basic.nack delivery=2 requeue");
    c.get(1, "~q", "basic.get-ok delivery=4 redelivered key=~q left=0: two");
    expect_unsettled(&mut c, &["three"]);
}

fn a_multiple_nack_requeues_all_up_to_its_tag(t: &Scenario) {
    let mut c = with_unacked(t, 3);
    c.send(1, "basic.nack delivery=2 multiple requeue");
    c.get(1, "~q", "basic.get-ok delivery=4 redelivered key=~q left=1: one");
    c.get(1, "~q", "basic.get-ok delivery=5 redelivered key=~q left=0: two");
}

fn nack_0_with_multiple_requeues_everything_in_order(t: &Scenario) {
    let mut c = with_unacked(t, 5);
    c.send(1, "basic.nack multiple requeue");
    c.expect_messages(1, "~q", &["one", "two", "three", "four", "five"]);
}

fn a_requeued_message_returns_to_its_place(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    for body in ["one", "two", "three", "four"] {
        c.publish(1, "", "~q", body);
    }
    c.expect_queue(1, "~q", 4, 0);
    c.call(1, "basic.get queue=~q", "basic.get-ok delivery=1 key=~q left=3: one");
    c.call(1, "basic.get queue=~q", "basic.get-ok delivery=2 key=~q left=2: two");
    c.call(1, "basic.get queue=~q", "basic.get-ok delivery=3 key=~q left=1: three");
    c.send(1, "basic.reject delivery=2 requeue");
    c.publish(1, "", "~q", "five");
    c.send(1, "basic.reject delivery=1 requeue");
    c.expect_messages(1, "~q", &["one", "two", "four", "five"]);
}

fn a_requeued_message_goes_to_another_consumer(t: &Scenario) {
    let mut c = t.open();
    c.open_channel(2);
    c.declare(1, "~q", "exclusive");
    c.publish(1, "", "~q", "x");
    c.call(1, "basic.qos prefetch=1", "basic.qos-ok");
    c.consume(1, "~q", "a", "");
    c.expect("1 basic.deliver tag=a delivery=1 key=~q: x");
    c.consume(2, "~q", "b", "");
    c.call(1, "basic.cancel tag=a", "basic.cancel-ok tag=a");
    c.send(1, "basic.nack delivery=1 requeue");
    c.expect("2 basic.deliver tag=b delivery=1 redelivered key=~q: x");
}

fn a_requeued_message_may_come_back_to_its_consumer(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.publish(1, "", "~q", "x");
    c.consume(1, "~q", "t", "");
    c.expect("1 basic.deliver tag=t delivery=1 key=~q: x");
    for tag in 1..5 {
        c.send(1, &format!("basic.nack delivery={tag} requeue"));
        c.expect(&format!("1 basic.deliver tag=t delivery={} redelivered key=~q: x", tag + 1));
    }
}

fn a_closed_channel_returns_its_messages_in_order(t: &Scenario) {
    let mut c = with_unacked(t, 3);
    c.publish(2, "", "~q", "four");
    c.close_channel(1);
    c.expect_queue(2, "~q", 4, 0);
    c.get(2, "~q", "basic.get-ok delivery=1 redelivered key=~q left=3: one");
    c.get(2, "~q", "basic.get-ok delivery=2 redelivered key=~q left=2: two");
    c.get(2, "~q", "basic.get-ok delivery=3 redelivered key=~q left=1: three");
    c.get(2, "~q", "basic.get-ok delivery=4 key=~q left=0: four");
}

fn a_failed_channel_returns_its_messages(t: &Scenario) {
    let mut c = with_unacked(t, 2);
    c.refused(1, "basic.ack delivery=9", "406 PRECONDITION_FAILED - unknown delivery tag 9 (basic.ack)");
    c.expect_messages(2, "~q", &["one", "two"]);
}

fn a_lost_connection_returns_its_messages_in_order(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "");
    for body in ["one", "two", "three"] {
        c.publish(1, "", "~q", body);
    }
    c.expect_queue(1, "~q", 3, 0);
    let mut other = t.open();
    other.consume(1, "~q", "t", "");
    for (delivery, body) in [(1, "one"), (2, "two"), (3, "three")] {
        other.expect(&format!("1 basic.deliver tag=t delivery={delivery} key=~q: {body}"));
    }
    other.hang_up();
    c.consume(1, "~q", "t", "");
    for (delivery, body) in [(1, "one"), (2, "two"), (3, "three")] {
        c.expect(&format!("1 basic.deliver tag=t delivery={delivery} redelivered key=~q: {body}"));
    }
    c.call(1, "queue.delete queue=~q", "queue.delete-ok messages=0");
}

fn recover_requeues_everything_unacked(t: &Scenario) {
    let mut c = with_unacked(t, 2);
    c.call(1, "basic.recover requeue", "basic.recover-ok");
    c.get(1, "~q", "basic.get-ok delivery=3 redelivered key=~q left=1: one");
    c.get(1, "~q", "basic.get-ok delivery=4 redelivered key=~q left=0: two");
}

fn recover_async_has_no_reply(t: &Scenario) {
    let mut c = with_unacked(t, 1);
    c.send(1, "basic.recover-async requeue");
    c.get(1, "~q", "basic.get-ok delivery=2 redelivered key=~q left=0: one");
}

fn recover_without_requeue_is_540(t: &Scenario) {
    for method in ["basic.recover", "basic.recover-async"] {
        let mut c = with_unacked(t, 1);
        c.send(1, method);
        c.expect_connection_close(&format!("540 NOT_IMPLEMENTED - requeue=false ({method})"));
        // The queue was exclusive, so it is gone with its connection.
        let mut c = t.open();
        c.refused(
            1,
            "queue.declare queue=~q passive",
            "404 NOT_FOUND - no queue '~q' in vhost '/' (queue.declare)",
        );
    }
}

fn a_settle_behind_a_close_is_ignored(t: &Scenario) {
    let mut c = with_unacked(t, 1);
    c.call(1, "channel.close code=200", "channel.close-ok");
    c.open_channel(1);
    c.send(1, "basic.ack delivery=1");
    c.expect_channel_close(1, "406 PRECONDITION_FAILED - unknown delivery tag 1 (basic.ack)");
    c.expect_messages(2, "~q", &["one"]);
}

fn an_unanswered_connection_close_returns_messages_at_once(t: &Scenario) {
    let mut other = t.open();
    other.declare(1, "~q", "");
    for body in ["one", "two", "three"] {
        other.publish(1, "", "~q", body);
    }
    other.expect_queue(1, "~q", 3, 0);
    let mut c = t.open();
    c.call(1, "basic.qos prefetch=2", "basic.qos-ok");
    c.consume(1, "~q", "t", "");
    c.expect("1 basic.deliver tag=t delivery=1 key=~q: one");
    c.expect("1 basic.deliver tag=t delivery=2 key=~q: two");
    c.send(1, "channel.open");
    c.expect("0 connection.close 504 CHANNEL_ERROR - second 'channel.open' seen (channel.open)");
    other.expect_messages(1, "~q", &["one", "two", "three"]);
    other.call(1, "queue.delete queue=~q", "queue.delete-ok messages=0");
}

/// Not the other way round: first what the one channel had, to a consumer on the other that is to go, too.
#[test]
fn what_a_lost_connection_had_unacked_does_not_go_to_its_other_consumers() {
    run(|t| {
        let mut other = t.open();
        other.declare(1, "~q", "");
        let mut c = t.open();
        c.open_channel(2);
        c.consume(1, "~q", "acks", "");
        other.publish(1, "", "~q", "one");
        c.expect("1 basic.deliver tag=acks delivery=1 key=~q: one");
        c.consume(2, "~q", "needs-no-ack", "no-ack");
        c.close();
        other.expect_messages(1, "~q", &["one"]);
        other.call(1, "queue.delete queue=~q", "queue.delete-ok messages=0");
    });
}

scenarios![
    an_unanswered_connection_close_returns_messages_at_once,
    an_ack_settles_one_message,
    a_multiple_ack_settles_all_up_to_its_tag,
    tag_0_with_multiple_settles_everything,
    tag_0_with_multiple_is_no_error_with_nothing_unacked,
    an_unknown_tag_is_406,
    settling_twice_is_406,
    a_multiple_ack_of_a_settled_tag_is_406,
    a_multiple_ack_beyond_the_last_tag_is_406,
    a_tag_of_another_channel_is_unknown,
    what_needed_no_ack_cannot_be_acked,
    a_rejected_message_is_dropped,
    a_rejected_message_can_come_back,
    a_nack_drops_or_requeues,
    a_multiple_nack_requeues_all_up_to_its_tag,
    nack_0_with_multiple_requeues_everything_in_order,
    a_requeued_message_returns_to_its_place,
    a_requeued_message_goes_to_another_consumer,
    a_requeued_message_may_come_back_to_its_consumer,
    a_closed_channel_returns_its_messages_in_order,
    a_failed_channel_returns_its_messages,
    a_lost_connection_returns_its_messages_in_order,
    recover_requeues_everything_unacked,
    recover_async_has_no_reply,
    recover_without_requeue_is_540,
    a_settle_behind_a_close_is_ignored,
];
