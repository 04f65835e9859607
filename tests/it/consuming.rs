//! basic.consume, basic.cancel, basic.get and basic.qos: who gets which message, and how many at a time.

use crate::support::{Login, Scenario, Value, scenarios};

fn a_consumer_gets_what_is_there_and_what_comes(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.publish(1, "", "~q", "early");
    c.consume(1, "~q", "t", "");
    c.expect("1 basic.deliver tag=t delivery=1 key=~q: early");
    c.publish(1, "", "~q", "late");
    c.expect("1 basic.deliver tag=t delivery=2 key=~q: late");
}

fn consume_ok_comes_before_the_first_delivery(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    for _ in 0..50 {
        c.publish(1, "", "~q", "x");
    }
    c.send(1, "basic.consume queue=~q tag=t no-ack");
    c.expect("1 basic.consume-ok tag=t");
    for number in 1..=50 {
        c.expect(&format!("1 basic.deliver tag=t delivery={number} key=~q: x"));
    }
}

fn the_broker_makes_up_a_missing_tag(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    let first = c.call(1, "basic.consume queue=~q", "basic.consume-ok tag=amq.ctag-*");
    let second = c.call(1, "basic.consume queue=~q", "basic.consume-ok tag=amq.ctag-*");
    assert_ne!(first.get("tag"), second.get("tag"));
}

fn a_tag_in_use_is_530(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.consume(1, "~q", "t", "");
    c.send(1, "basic.consume queue=~q tag=t");
    c.expect_connection_close("530 NOT_ALLOWED - attempt to reuse consumer tag 't' (basic.consume)");
}

fn a_cancelled_tag_can_be_used_again(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    for _ in 0..2 {
        c.consume(1, "~q", "t", "");
        c.call(1, "basic.cancel tag=t", "basic.cancel-ok tag=t");
    }
}

fn two_channels_may_use_the_same_tag(t: &Scenario) {
    let mut c = t.open();
    c.open_channel(2);
    c.declare(1, "~q", "exclusive");
    c.consume(1, "~q", "t", "no-ack");
    c.consume(2, "~q", "t", "no-ack");
    c.expect_queue(1, "~q", 0, 2);
}

fn consuming_from_a_missing_queue_is_404(t: &Scenario) {
    let mut c = t.open();
    c.refused(1, "basic.consume queue=~q", "404 NOT_FOUND - no queue '~q' in vhost '/' (basic.consume)");
}

fn getting_from_a_missing_queue_is_404(t: &Scenario) {
    let mut c = t.open();
    c.refused(1, "basic.get queue=~q", "404 NOT_FOUND - no queue '~q' in vhost '/' (basic.get)");
}

fn get_takes_one_message_and_says_how_many_are_left(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.get(1, "~q", "basic.get-empty");
    for body in ["one", "two", "three"] {
        c.publish(1, "", "~q", body);
    }
    c.call(1, "basic.get queue=~q", "basic.get-ok delivery=1 key=~q left=2: one");
    c.call(1, "basic.get queue=~q", "basic.get-ok delivery=2 key=~q left=1: two");
    c.get(1, "~q", "basic.get-ok delivery=3 key=~q left=0: three");
    c.get(1, "~q", "basic.get-empty");
}

fn an_exclusive_consumer_keeps_others_out(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.consume(1, "~q", "t", "exclusive");
    c.open_channel(2);
    for flags in ["", " exclusive"] {
        c.refused(
            2,
            &format!("basic.consume queue=~q{flags}"),
            "403 ACCESS_REFUSED - queue '~q' in vhost '/' in exclusive use (basic.consume)",
        );
    }
    c.call(1, "basic.cancel tag=t", "basic.cancel-ok tag=t");
    c.consume(2, "~q", "t", "");
}

fn exclusive_needs_a_queue_without_consumers(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.consume(1, "~q", "t", "");
    c.open_channel(2);
    c.refused(
        2,
        "basic.consume queue=~q exclusive",
        "403 ACCESS_REFUSED - queue '~q' in vhost '/' in exclusive use (basic.consume)",
    );
}

fn no_local_is_ignored(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.consume(1, "~q", "t", "no-local no-ack");
    c.publish(1, "", "~q", "my own");
    c.expect("1 basic.deliver tag=t delivery=1 key=~q: my own");
}

fn consume_without_waiting_gets_deliveries_only(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.send(1, "basic.consume queue=~q tag=t no-ack no-wait");
    c.publish(1, "", "~q", "x");
    c.expect("1 basic.deliver tag=t delivery=1 key=~q: x");
    c.send(1, "basic.cancel tag=t no-wait");
    c.expect_queue(1, "~q", 0, 0);
}

fn cancelling_an_unknown_tag_is_ok(t: &Scenario) {
    let mut c = t.open();
    c.call(1, "basic.cancel tag=nobody", "basic.cancel-ok tag=nobody");
}

fn a_cancelled_consumer_gets_nothing_more(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.consume(1, "~q", "t", "no-ack");
    c.call(1, "basic.cancel tag=t", "basic.cancel-ok tag=t");
    c.publish(1, "", "~q", "x");
    c.get(1, "~q", "basic.get-ok delivery=1 key=~q left=0: x");
}

fn unacked_messages_survive_their_consumer(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.publish(1, "", "~q", "x");
    c.consume(1, "~q", "t", "");
    c.expect("1 basic.deliver tag=t delivery=1 key=~q: x");
    c.call(1, "basic.cancel tag=t", "basic.cancel-ok tag=t");
    c.expect_queue(1, "~q", 0, 0);
    c.send(1, "basic.ack delivery=1");
    c.close_channel(1);
    c.open_channel(1);
    c.expect_queue(1, "~q", 0, 0);
}

fn a_deleted_queue_cancels_its_consumers(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "");
    c.consume(1, "~q", "t", "");
    let mut other = t.open();
    other.call(1, "queue.delete queue=~q", "queue.delete-ok messages=0");
    c.expect("1 basic.cancel tag=t no-wait");
}

fn a_client_that_cannot_be_told_is_not_told_of_a_cancel(t: &Scenario) {
    let mut c = t.open_as(&Login { capabilities: vec![], ..Login::default() });
    c.declare(1, "~q", "");
    c.consume(1, "~q", "t", "");
    let mut other = t.open();
    other.call(1, "queue.delete queue=~q", "queue.delete-ok messages=0");
    c.call(1, "basic.qos prefetch=1", "basic.qos-ok");
}

fn consumers_take_turns(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.consume(1, "~q", "a", "no-ack");
    c.consume(1, "~q", "b", "no-ack");
    c.consume(1, "~q", "c", "no-ack");
    for number in 0..6 {
        c.publish(1, "", "~q", format!("{number}"));
    }
    for (number, tag) in ["a", "b", "c", "a", "b", "c"].iter().enumerate() {
        c.expect(&format!("1 basic.deliver tag={tag} delivery={} key=~q: {number}", number + 1));
    }
}

fn consumers_of_higher_priority_come_first(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    let priority = |value| [("x-priority", Value::I(value))];
    c.call(1, "basic.qos prefetch=2", "basic.qos-ok");
    c.call_with(1, "basic.consume queue=~q tag=low", &priority(-1), "basic.consume-ok tag=low");
    c.call_with(1, "basic.consume queue=~q tag=high", &priority(5), "basic.consume-ok tag=high");
    c.consume(1, "~q", "middle", "");
    for number in 0..6 {
        c.publish(1, "", "~q", format!("{number}"));
    }
    for (number, tag) in ["high", "high", "middle", "middle", "low", "low"].iter().enumerate() {
        c.expect(&format!("1 basic.deliver tag={tag} delivery={} key=~q: {number}", number + 1));
    }
}

fn a_priority_that_is_no_number_is_406(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.refused_with(
        1,
        "basic.consume queue=~q",
        &[("x-priority", crate::support::text("high"))],
        "406 PRECONDITION_FAILED - invalid arg 'x-priority' for queue '~q' in vhost '/': \"expected integer, got \
         longstr\" (basic.consume)",
    );
}

fn prefetch_bounds_what_is_unacked(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.call(1, "basic.qos prefetch=2", "basic.qos-ok");
    c.consume(1, "~q", "t", "");
    for number in 0..4 {
        c.publish(1, "", "~q", format!("{number}"));
    }
    c.expect("1 basic.deliver tag=t delivery=1 key=~q: 0");
    c.expect("1 basic.deliver tag=t delivery=2 key=~q: 1");
    c.expect_nothing(1, "~q");
    c.send(1, "basic.ack delivery=1");
    c.expect("1 basic.deliver tag=t delivery=3 key=~q: 2");
    c.expect_nothing(1, "~q");
    c.send(1, "basic.ack delivery=3 multiple");
    c.expect("1 basic.deliver tag=t delivery=4 key=~q: 3");
}

fn prefetch_counts_for_each_consumer_of_its_own(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.call(1, "basic.qos prefetch=1", "basic.qos-ok");
    c.consume(1, "~q", "a", "");
    c.consume(1, "~q", "b", "");
    for number in 0..3 {
        c.publish(1, "", "~q", format!("{number}"));
    }
    c.expect("1 basic.deliver tag=a delivery=1 key=~q: 0");
    c.expect("1 basic.deliver tag=b delivery=2 key=~q: 1");
    c.expect_nothing(1, "~q");
    c.send(1, "basic.ack delivery=2");
    c.expect("1 basic.deliver tag=b delivery=3 key=~q: 2");
}

fn a_new_prefetch_is_for_later_consumers(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.declare(1, "~p", "exclusive");
    c.call(1, "basic.qos prefetch=1", "basic.qos-ok");
    c.consume(1, "~q", "a", "");
    c.call(1, "basic.qos prefetch=2", "basic.qos-ok");
    c.consume(1, "~p", "b", "");
    for number in 0..3 {
        c.publish(1, "", "~q", format!("{number}"));
    }
    c.expect("1 basic.deliver tag=a delivery=1 key=~q: 0");
    c.expect_nothing(1, "~q");
    for number in 0..3 {
        c.publish(1, "", "~p", format!("{number}"));
    }
    c.expect("1 basic.deliver tag=b delivery=2 key=~p: 0");
    c.expect("1 basic.deliver tag=b delivery=3 key=~p: 1");
    c.expect_nothing(1, "~p");
}

fn a_global_prefetch_is_shared_by_the_channel(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.declare(1, "~p", "exclusive");
    c.call(1, "basic.qos prefetch=2 global", "basic.qos-ok");
    c.consume(1, "~q", "a", "");
    c.consume(1, "~p", "b", "");
    c.publish(1, "", "~q", "q0");
    c.expect("1 basic.deliver tag=a delivery=1 key=~q: q0");
    c.publish(1, "", "~p", "p0");
    c.expect("1 basic.deliver tag=b delivery=2 key=~p: p0");
    c.publish(1, "", "~q", "q1");
    c.expect_nothing(1, "~q");
    c.send(1, "basic.ack delivery=2");
    c.expect("1 basic.deliver tag=a delivery=3 key=~q: q1");
}

fn prefetch_does_not_bound_consumers_without_acks(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.call(1, "basic.qos prefetch=1", "basic.qos-ok");
    c.consume(1, "~q", "t", "no-ack");
    for number in 1..=5 {
        c.publish(1, "", "~q", "x");
        c.expect(&format!("1 basic.deliver tag=t delivery={number} key=~q: x"));
    }
}

fn prefetch_does_not_bound_get(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.call(1, "basic.qos prefetch=1", "basic.qos-ok");
    c.publish(1, "", "~q", "one");
    c.publish(1, "", "~q", "two");
    c.call(1, "basic.get queue=~q", "basic.get-ok delivery=1 key=~q left=1: one");
    c.call(1, "basic.get queue=~q", "basic.get-ok delivery=2 key=~q left=0: two");
}

fn a_prefetch_in_bytes_is_540(t: &Scenario) {
    let mut c = t.open();
    c.send(1, "basic.qos size=1024 prefetch=1");
    c.expect_connection_close("540 NOT_IMPLEMENTED - prefetch_size!=0 (1024) (basic.qos)");
}

fn delivery_tags_count_per_channel(t: &Scenario) {
    let mut c = t.open();
    c.open_channel(2);
    c.declare(1, "~q", "exclusive");
    for _ in 0..3 {
        c.publish(1, "", "~q", "x");
    }
    c.call(1, "basic.get queue=~q", "basic.get-ok delivery=1 key=~q left=2: x");
    c.call(2, "basic.get queue=~q", "basic.get-ok delivery=1 key=~q left=1: x");
    c.consume(1, "~q", "t", "");
    c.expect("1 basic.deliver tag=t delivery=2 key=~q: x");
}

fn a_message_without_ack_is_gone(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.publish(1, "", "~q", "x");
    c.consume(1, "~q", "t", "no-ack");
    c.expect("1 basic.deliver tag=t delivery=1 key=~q: x");
    c.close_channel(1);
    c.open_channel(1);
    c.expect_queue(1, "~q", 0, 0);
}

fn consumers_on_two_connections_share_a_queue(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "auto-delete");
    let mut other = t.open();
    c.consume(1, "~q", "here", "no-ack");
    other.consume(1, "~q", "there", "no-ack");
    for number in 0..4 {
        c.publish(1, "", "~q", format!("{number}"));
    }
    c.expect("1 basic.deliver tag=here delivery=1 key=~q: 0");
    other.expect("1 basic.deliver tag=there delivery=1 key=~q: 1");
    c.expect("1 basic.deliver tag=here delivery=2 key=~q: 2");
    other.expect("1 basic.deliver tag=there delivery=2 key=~q: 3");
}

fn a_lost_connection_takes_its_consumers_along(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "");
    let mut other = t.open();
    other.consume(1, "~q", "t", "");
    c.publish(1, "", "~q", "x");
    other.expect("1 basic.deliver tag=t delivery=1 key=~q: x");
    other.hang_up();
    c.consume(1, "~q", "t", "");
    c.expect("1 basic.deliver tag=t delivery=1 redelivered key=~q: x");
    c.call(1, "queue.delete queue=~q", "queue.delete-ok messages=0");
}

fn messages_of_a_deleted_queue_do_not_count_against_a_global_prefetch(t: &Scenario) {
    let mut c = t.open();
    c.open_channel(2);
    c.declare(2, "~a", "exclusive");
    c.declare(2, "~b", "exclusive");
    c.call(1, "basic.qos prefetch=2 global", "basic.qos-ok");
    c.consume(1, "~a", "a", "");
    c.consume(1, "~b", "b", "");
    c.publish(2, "", "~a", "one");
    c.publish(2, "", "~a", "two");
    c.expect("1 basic.deliver tag=a delivery=1 key=~a: one");
    c.expect("1 basic.deliver tag=a delivery=2 key=~a: two");
    c.send(2, "queue.delete queue=~a");
    c.expect_all(&["1 basic.cancel tag=a no-wait", "2 queue.delete-ok messages=0"]);
    c.send(1, "basic.ack delivery=2 multiple");
    c.publish(2, "", "~b", "three");
    c.expect("1 basic.deliver tag=b delivery=3 key=~b: three");
}

fn acks_of_a_transaction_make_room_under_a_global_prefetch(t: &Scenario) {
    let mut c = t.open();
    c.open_channel(2);
    c.declare(2, "~a", "exclusive");
    c.declare(2, "~b", "exclusive");
    c.call(1, "basic.qos prefetch=1 global", "basic.qos-ok");
    c.call(1, "tx.select", "tx.select-ok");
    c.consume(1, "~a", "a", "");
    c.consume(1, "~b", "b", "");
    c.publish(2, "", "~a", "one");
    c.expect("1 basic.deliver tag=a delivery=1 key=~a: one");
    c.publish(2, "", "~b", "two");
    c.expect_queue(2, "~b", 1, 1);
    c.send(1, "basic.ack delivery=1");
    c.send(1, "tx.commit");
    c.expect_all(&["1 tx.commit-ok", "1 basic.deliver tag=b delivery=2 key=~b: two"]);
}

scenarios![
    messages_of_a_deleted_queue_do_not_count_against_a_global_prefetch,
    acks_of_a_transaction_make_room_under_a_global_prefetch,
    a_consumer_gets_what_is_there_and_what_comes,
    consume_ok_comes_before_the_first_delivery,
    the_broker_makes_up_a_missing_tag,
    a_tag_in_use_is_530,
    a_cancelled_tag_can_be_used_again,
    two_channels_may_use_the_same_tag,
    consuming_from_a_missing_queue_is_404,
    getting_from_a_missing_queue_is_404,
    get_takes_one_message_and_says_how_many_are_left,
    an_exclusive_consumer_keeps_others_out,
    exclusive_needs_a_queue_without_consumers,
    no_local_is_ignored,
    consume_without_waiting_gets_deliveries_only,
    cancelling_an_unknown_tag_is_ok,
    a_cancelled_consumer_gets_nothing_more,
    unacked_messages_survive_their_consumer,
    a_deleted_queue_cancels_its_consumers,
    a_client_that_cannot_be_told_is_not_told_of_a_cancel,
    consumers_take_turns,
    consumers_of_higher_priority_come_first,
    a_priority_that_is_no_number_is_406,
    prefetch_bounds_what_is_unacked,
    prefetch_counts_for_each_consumer_of_its_own,
    a_new_prefetch_is_for_later_consumers,
    a_global_prefetch_is_shared_by_the_channel,
    prefetch_does_not_bound_consumers_without_acks,
    prefetch_does_not_bound_get,
    a_prefetch_in_bytes_is_540,
    delivery_tags_count_per_channel,
    a_message_without_ack_is_gone,
    consumers_on_two_connections_share_a_queue,
    a_lost_connection_takes_its_consumers_along,
];
