//! How long a consumer may take to settle a message: `x-consumer-timeout` (behaviour.md, 2.2).

use crate::support::scenario::run;
use crate::support::{Client, Login, Scenario, Value};

/// A queue of one message that a consumer has and does not settle.
fn with_slow_consumer(t: &Scenario, login: &Login) -> Client {
    let mut c = t.open_as(login);
    c.declare_with(1, "~q", "exclusive", &[("x-consumer-timeout", Value::I(50))]);
    c.publish(1, "", "~q", "one");
    c.consume(1, "~q", "slow", "");
    c.expect("1 basic.deliver tag=slow delivery=1 key=~q: one");
    c
}

#[test]
fn a_consumer_that_takes_too_long_is_cancelled_and_its_messages_come_back() {
    run(|t| {
        let mut c = with_slow_consumer(t, &Login::default());
        c.expect("1 basic.cancel tag=slow no-wait");
        c.get(1, "~q", "basic.get-ok delivery=2 redelivered key=~q left=0: one");
        // The channel goes on; what was settled by the broker is unknown to it.
        c.refused(1, "basic.ack delivery=1", "406 PRECONDITION_FAILED - unknown delivery tag 1 (basic.ack)");
    });
}

#[test]
fn the_channel_of_a_client_that_does_not_know_cancels_is_closed() {
    run(|t| {
        let mut c = with_slow_consumer(t, &Login { capabilities: Vec::new(), ..Login::default() });
        c.expect_channel_close(
            1,
            "406 PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 50 ms. \
             This timeout value can be configured, see consumers doc guide to learn more (0/0)",
        );
        c.get(1, "~q", "basic.get-ok delivery=1 redelivered key=~q left=0: one");
    });
}

#[test]
fn a_consumer_may_say_itself_how_long_it_takes() {
    run(|t| {
        let mut c = t.open();
        c.declare(1, "~q", "exclusive");
        c.publish(1, "", "~q", "one");
        let arguments = [("x-consumer-timeout", Value::I(40))];
        c.call_with(1, "basic.consume queue=~q tag=brief", &arguments, "basic.consume-ok tag=brief");
        c.expect("1 basic.deliver tag=brief delivery=1 key=~q: one");
        c.expect("1 basic.cancel tag=brief no-wait");
        c.get(1, "~q", "basic.get-ok delivery=2 redelivered key=~q left=0: one");
    });
}

#[test]
fn a_consumer_that_settles_in_time_stays() {
    run(|t| {
        let login = Login::default();
        let mut c = t.open_as(&login);
        c.declare_with(1, "~q", "exclusive", &[("x-consumer-timeout", Value::I(100))]);
        c.declare_with(1, "~clock", "exclusive", &[("x-consumer-timeout", Value::I(40))]);
        c.consume(1, "~q", "t", "");
        for number in 1..=4 {
            c.publish(1, "", "~q", "work");
            c.expect(&format!("1 basic.deliver tag=t delivery={} key=~q: work", 2 * number - 1));
            // A clock: its consumer is cancelled after 40 ms.
            c.publish(1, "", "~clock", "tick");
            c.consume(1, "~clock", "clock", "");
            c.next("basic.deliver").unwrap();
            c.expect("1 basic.cancel tag=clock no-wait");
            c.send(1, &format!("basic.ack delivery={}", 2 * number - 1));
            c.call(1, "queue.purge queue=~clock", "queue.purge-ok messages=1");
        }
        c.expect_queue(1, "~q", 0, 1);
    });
}
