//! tx.select, tx.commit, tx.rollback: publishes and settles that count together, or not at all.

use crate::support::{Client, Properties, Scenario, scenarios};

/// Channel 1 is in a transaction, channel 2 looks on; queues `~a` and `~b`.
fn in_transaction(t: &Scenario) -> Client {
    let mut c = t.open();
    c.open_channel(2);
    c.declare(2, "~a", "exclusive");
    c.declare(2, "~b", "exclusive");
    c.call(1, "tx.select", "tx.select-ok");
    c
}

fn publishes_wait_for_the_commit(t: &Scenario) {
    let mut c = in_transaction(t);
    c.publish(1, "", "~a", "one");
    c.publish(1, "", "~b", "two");
    c.publish(1, "", "~a", "three");
    c.call(1, "queue.declare queue=~a passive", "queue.declare-ok queue=~a messages=0 consumers=0");
    c.call(1, "tx.commit", "tx.commit-ok");
    c.expect_messages(2, "~a", &["one", "three"]);
    c.expect_messages(2, "~b", &["two"]);
}

fn a_rollback_forgets_publishes(t: &Scenario) {
    let mut c = in_transaction(t);
    c.publish(1, "", "~a", "forgotten");
    c.call(1, "tx.rollback", "tx.rollback-ok");
    c.publish(1, "", "~a", "kept");
    c.call(1, "tx.commit", "tx.commit-ok");
    c.expect_messages(2, "~a", &["kept"]);
}

fn a_transaction_follows_on_the_last(t: &Scenario) {
    let mut c = in_transaction(t);
    for body in ["one", "two"] {
        c.publish(1, "", "~a", body);
        c.call(1, "tx.commit", "tx.commit-ok");
    }
    c.call(1, "tx.commit", "tx.commit-ok");
    c.call(1, "tx.rollback", "tx.rollback-ok");
    c.expect_messages(2, "~a", &["one", "two"]);
}

fn acks_wait_for_the_commit(t: &Scenario) {
    let mut c = in_transaction(t);
    c.publish(2, "", "~a", "one");
    c.publish(2, "", "~a", "two");
    c.expect_queue(2, "~a", 2, 0);
    c.call(1, "basic.get queue=~a", "basic.get-ok delivery=1 key=~a left=1: one");
    c.call(1, "basic.get queue=~a", "basic.get-ok delivery=2 key=~a left=0: two");
    c.send(1, "basic.ack delivery=1");
    c.call(1, "tx.commit", "tx.commit-ok");
    c.send(1, "basic.ack delivery=2");
    c.close_channel(1);
    c.expect_messages(2, "~a", &["two"]);
}

fn a_rollback_leaves_messages_unacked(t: &Scenario) {
    let mut c = in_transaction(t);
    c.publish(2, "", "~a", "one");
    c.expect_queue(2, "~a", 1, 0);
    c.call(1, "basic.get queue=~a", "basic.get-ok delivery=1 key=~a left=0: one");
    c.send(1, "basic.ack delivery=1");
    c.call(1, "tx.rollback", "tx.rollback-ok");
    c.expect_queue(2, "~a", 0, 0);
    c.send(1, "basic.ack delivery=1");
    c.call(1, "tx.commit", "tx.commit-ok");
    c.close_channel(1);
    c.expect_messages(2, "~a", &[]);
}

fn a_requeue_waits_for_the_commit(t: &Scenario) {
    let mut c = in_transaction(t);
    c.publish(2, "", "~a", "one");
    c.expect_queue(2, "~a", 1, 0);
    c.call(1, "basic.get queue=~a", "basic.get-ok delivery=1 key=~a left=0: one");
    c.send(1, "basic.nack delivery=1 requeue");
    c.call(1, "basic.get queue=~a", "basic.get-empty");
    c.call(1, "tx.commit", "tx.commit-ok");
    c.get(1, "~a", "basic.get-ok delivery=2 redelivered key=~a left=0: one");
}

fn closing_the_channel_is_a_rollback(t: &Scenario) {
    let mut c = in_transaction(t);
    c.publish(1, "", "~a", "forgotten");
    c.close_channel(1);
    c.expect_messages(2, "~a", &[]);
}

fn an_error_is_a_rollback(t: &Scenario) {
    let mut c = in_transaction(t);
    c.publish(1, "", "~a", "forgotten");
    c.publish(1, "~none", "", "x");
    c.expect_channel_close(1, "404 NOT_FOUND - no exchange '~none' in vhost '/' (basic.publish)");
    c.expect_messages(2, "~a", &[]);
}

fn an_unknown_tag_is_406_at_once(t: &Scenario) {
    let mut c = in_transaction(t);
    c.refused(1, "basic.ack delivery=1", "406 PRECONDITION_FAILED - unknown delivery tag 1 (basic.ack)");
}

fn selecting_twice_is_ok(t: &Scenario) {
    let mut c = in_transaction(t);
    c.publish(1, "", "~a", "one");
    c.call(1, "tx.select", "tx.select-ok");
    c.call(1, "tx.commit", "tx.commit-ok");
    c.expect_messages(2, "~a", &["one"]);
}

fn without_select_there_is_no_transaction(t: &Scenario) {
    let mut c = t.open();
    for method in ["tx.commit", "tx.rollback"] {
        c.refused(1, method, &format!("406 PRECONDITION_FAILED - channel is not transactional ({method})"));
    }
}

fn a_transaction_on_a_confirming_channel_is_406(t: &Scenario) {
    let mut c = t.open();
    c.call(1, "confirm.select", "confirm.select-ok");
    c.refused(1, "tx.select", "406 PRECONDITION_FAILED - cannot switch from confirm to tx mode (tx.select)");
}

fn a_mandatory_message_is_returned_with_the_commit(t: &Scenario) {
    let mut c = in_transaction(t);
    c.publish_with(1, "key=~none mandatory", &Properties::default(), "back");
    c.send(1, "tx.commit");
    c.expect_all(&["1 basic.return code=312 text=NO_ROUTE key=~none: back", "1 tx.commit-ok"]);
}

fn a_commit_covers_persistent_messages_and_acks(t: &Scenario) {
    let mut c = in_transaction(t);
    c.declare(2, "~d", "durable");
    let persistent = Properties::new("delivery-mode=2");
    c.publish_with(1, "key=~d", &persistent, "first");
    c.call(1, "tx.commit", "tx.commit-ok");
    c.call(1, "basic.get queue=~d", "basic.get-ok delivery=1 key=~d left=0 {delivery-mode=2}: first");
    c.send(1, "basic.ack delivery=1");
    c.publish_with(1, "key=~d", &persistent, "second");
    c.call(1, "tx.commit", "tx.commit-ok");
    c.expect_messages(2, "~d", &["second"]);
    c.call(2, "queue.delete queue=~d", "queue.delete-ok messages=0");
}

fn a_commit_keeps_the_order_of_persistent_and_transient_messages(t: &Scenario) {
    let mut c = t.open();
    c.open_channel(2);
    c.declare(2, "~q", "durable");
    c.call(1, "tx.select", "tx.select-ok");
    for (body, mode) in [("one", ""), ("two", "delivery-mode=2"), ("three", ""), ("four", "delivery-mode=2")]
    {
        c.publish_with(1, "key=~q", &Properties::new(mode), body);
    }
    c.call(1, "tx.commit", "tx.commit-ok");
    c.expect_messages(2, "~q", &["one", "two", "three", "four"]);
    c.call(2, "queue.delete queue=~q", "queue.delete-ok messages=0");
}

scenarios![
    a_commit_keeps_the_order_of_persistent_and_transient_messages,
    publishes_wait_for_the_commit,
    a_rollback_forgets_publishes,
    a_transaction_follows_on_the_last,
    acks_wait_for_the_commit,
    a_rollback_leaves_messages_unacked,
    a_requeue_waits_for_the_commit,
    closing_the_channel_is_a_rollback,
    an_error_is_a_rollback,
    an_unknown_tag_is_406_at_once,
    selecting_twice_is_ok,
    without_select_there_is_no_transaction,
    a_transaction_on_a_confirming_channel_is_406,
    a_mandatory_message_is_returned_with_the_commit,
    a_commit_covers_persistent_messages_and_acks,
];
