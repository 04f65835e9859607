//! Publisher confirms: each publish once, grouped as the broker likes, also for what reaches no queue.

use crate::support::{Client, Properties, Scenario, scenarios};

fn confirming(t: &Scenario) -> Client {
    let mut c = t.open();
    c.call(1, "confirm.select", "confirm.select-ok");
    c
}

fn the_first_publish_is_number_1(t: &Scenario) {
    let mut c = confirming(t);
    c.declare(1, "~q", "exclusive");
    c.publish(1, "", "~q", "x");
    c.expect("1 basic.ack delivery=1");
    c.publish(1, "", "~q", "x");
    c.expect("1 basic.ack delivery=2");
}

fn selecting_again_is_ok_and_counts_on(t: &Scenario) {
    let mut c = confirming(t);
    c.publish(1, "", "~none", "x");
    c.expect("1 basic.ack delivery=1");
    c.call(1, "confirm.select", "confirm.select-ok");
    c.publish(1, "", "~none", "x");
    c.expect("1 basic.ack delivery=2");
}

fn select_without_waiting_has_no_reply(t: &Scenario) {
    let mut c = t.open();
    c.send(1, "confirm.select no-wait");
    c.publish(1, "", "~none", "x");
    c.expect("1 basic.ack delivery=1");
}

fn what_was_published_before_select_is_not_counted(t: &Scenario) {
    let mut c = t.open();
    c.publish(1, "", "~none", "x");
    c.call(1, "confirm.select", "confirm.select-ok");
    c.publish(1, "", "~none", "x");
    c.expect("1 basic.ack delivery=1");
}

fn what_reaches_no_queue_is_confirmed(t: &Scenario) {
    let mut c = confirming(t);
    c.publish(1, "amq.direct", "~none", "x");
    c.expect("1 basic.ack delivery=1");
}

fn persistent_messages_of_a_durable_queue_are_confirmed(t: &Scenario) {
    let mut c = confirming(t);
    c.declare(1, "~q", "durable");
    for _ in 0..100 {
        c.publish_with(1, "key=~q", &Properties::new("delivery-mode=2"), "x");
    }
    c.expect_confirms(1, 1, 100);
    c.call(1, "queue.delete queue=~q", "queue.delete-ok messages=100");
}

fn many_kinds_of_messages_are_confirmed_once_each(t: &Scenario) {
    let mut c = confirming(t);
    c.declare(1, "~durable", "durable");
    c.declare(1, "~transient", "exclusive");
    for _ in 0..50 {
        c.publish_with(1, "key=~durable", &Properties::new("delivery-mode=2"), "persistent");
        c.publish(1, "", "~durable", "transient");
        c.publish(1, "", "~transient", "x");
        c.publish(1, "", "~none", "x");
    }
    c.expect_confirms(1, 1, 200);
    c.call(1, "queue.delete queue=~durable", "queue.delete-ok messages=100");
}

fn each_channel_counts_for_itself(t: &Scenario) {
    let mut c = confirming(t);
    c.open_channel(2);
    c.call(2, "confirm.select", "confirm.select-ok");
    c.publish(1, "", "~none", "x");
    c.expect("1 basic.ack delivery=1");
    c.publish(2, "", "~none", "x");
    c.expect("2 basic.ack delivery=1");
}

fn a_channel_without_confirms_gets_none(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.publish(1, "", "~q", "x");
    c.expect_queue(1, "~q", 1, 0);
}

fn a_confirm_says_that_the_message_is_in_its_queue(t: &Scenario) {
    let mut c = confirming(t);
    c.declare(1, "~q", "exclusive");
    let mut other = t.open();
    for number in 1..=20 {
        c.publish(1, "", "~q", "x");
        c.expect(&format!("1 basic.ack delivery={number}"));
    }
    c.expect_queue(1, "~q", 20, 0);
    other.close();
}

fn a_queue_deleted_meanwhile_does_not_hold_confirms_back(t: &Scenario) {
    let mut c = confirming(t);
    c.open_channel(2);
    c.declare(2, "~q", "durable");
    for _ in 0..20 {
        c.publish_with(1, "key=~q", &Properties::new("delivery-mode=2"), "x");
    }
    c.send(2, "queue.delete queue=~q no-wait");
    c.expect_confirms(1, 1, 20);
}

fn confirms_on_a_tx_channel_are_406(t: &Scenario) {
    let mut c = t.open();
    c.call(1, "tx.select", "tx.select-ok");
    c.refused(
        1,
        "confirm.select",
        "406 PRECONDITION_FAILED - cannot switch from tx to confirm mode (confirm.select)",
    );
}

fn after_an_error_the_new_channel_does_not_confirm(t: &Scenario) {
    let mut c = confirming(t);
    c.publish(1, "~none", "", "x");
    c.expect_channel_close(1, "404 NOT_FOUND - no exchange '~none' in vhost '/' (basic.publish)");
    c.declare(1, "~q", "exclusive");
    c.publish(1, "", "~q", "x");
    c.expect_queue(1, "~q", 1, 0);
    c.call(1, "confirm.select", "confirm.select-ok");
    c.publish(1, "", "~q", "x");
    c.expect("1 basic.ack delivery=1");
}

scenarios![
    the_first_publish_is_number_1,
    selecting_again_is_ok_and_counts_on,
    select_without_waiting_has_no_reply,
    what_was_published_before_select_is_not_counted,
    what_reaches_no_queue_is_confirmed,
    persistent_messages_of_a_durable_queue_are_confirmed,
    many_kinds_of_messages_are_confirmed_once_each,
    each_channel_counts_for_itself,
    a_channel_without_confirms_gets_none,
    a_confirm_says_that_the_message_is_in_its_queue,
    a_queue_deleted_meanwhile_does_not_hold_confirms_back,
    confirms_on_a_tx_channel_are_406,
    after_an_error_the_new_channel_does_not_confirm,
];
