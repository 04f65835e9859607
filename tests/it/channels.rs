//! Channels: opening, closing from both sides, numbers and their limits, flow, what happens behind an error.

use crate::support::{Login, Scenario, scenarios};

const NO_QUEUE: &str = "404 NOT_FOUND - no queue '~none' in vhost '/' (queue.declare)";

fn a_channel_opens_and_closes(t: &Scenario) {
    let mut c = t.open();
    c.close_channel(1);
}

fn a_method_on_an_unopened_channel_is_504(t: &Scenario) {
    let mut c = t.connect(&Login::default());
    c.send(7, "queue.declare queue=~q");
    c.expect_connection_close("504 CHANNEL_ERROR - expected 'channel.open' (queue.declare)");
}

fn a_second_open_is_504(t: &Scenario) {
    let mut c = t.open();
    c.send(1, "channel.open");
    c.expect_connection_close("504 CHANNEL_ERROR - second 'channel.open' seen (channel.open)");
}

fn a_method_on_a_closed_channel_is_504(t: &Scenario) {
    let mut c = t.open();
    c.close_channel(1);
    c.send(1, "queue.declare queue=~q");
    c.expect_connection_close("504 CHANNEL_ERROR - expected 'channel.open' (queue.declare)");
}

fn a_closed_number_can_be_used_again(t: &Scenario) {
    let mut c = t.open();
    for _ in 0..3 {
        c.close_channel(1);
        c.open_channel(1);
    }
    c.declare(1, "~q", "exclusive");
}

fn after_a_channel_error_the_number_can_be_used_again(t: &Scenario) {
    let mut c = t.open();
    for _ in 0..3 {
        c.refused(1, "queue.declare queue=~none passive", NO_QUEUE);
    }
    c.declare(1, "~q", "exclusive");
}

fn an_error_on_a_channel_leaves_the_others_alone(t: &Scenario) {
    let mut c = t.open();
    c.open_channel(2);
    c.declare(2, "~q", "exclusive");
    c.refused(1, "queue.declare queue=~none passive", NO_QUEUE);
    c.expect_queue(2, "~q", 0, 0);
}

fn frames_behind_a_channel_error_are_discarded(t: &Scenario) {
    let mut c = t.open();
    c.open_channel(2);
    c.send(1, "queue.declare queue=~none passive");
    c.send(1, "queue.declare queue=~late exclusive");
    c.send(1, "basic.ack delivery=99");
    c.publish(1, "~nowhere", "", "dropped");
    c.expect(&format!("1 channel.close {NO_QUEUE}"));
    c.send(1, "queue.declare queue=~later exclusive");
    c.send(1, "channel.close-ok");
    c.open_channel(1);
    for late in ["~late", "~later"] {
        let why = format!("404 NOT_FOUND - no queue '{late}' in vhost '/' (queue.declare)");
        c.refused(2, &format!("queue.declare queue={late} passive"), &why);
    }
}

fn a_close_that_crosses_the_brokers_is_answered(t: &Scenario) {
    let mut c = t.open();
    c.send(1, "queue.declare queue=~none passive");
    c.send(1, "channel.close code=200");
    c.expect(&format!("1 channel.close {NO_QUEUE}"));
    c.expect("1 channel.close-ok");
    c.send(1, "channel.close-ok");
    c.open_channel(1);
    c.declare(1, "~q", "exclusive");
}

fn methods_may_be_sent_without_awaiting_the_replies(t: &Scenario) {
    let mut c = t.connect(&Login::default());
    c.send(1, "channel.open");
    c.send(1, "queue.declare queue=~q exclusive");
    c.send(1, "queue.bind queue=~q exchange=amq.direct key=~k");
    c.publish(1, "amq.direct", "~k", "early");
    c.send(1, "basic.get queue=~q no-ack");
    c.send(1, "channel.close code=200");
    c.expect("1 channel.open-ok");
    c.expect("1 queue.declare-ok queue=~q messages=0 consumers=0");
    c.expect("1 queue.bind-ok");
    c.expect("1 basic.get-ok delivery=1 exchange=amq.direct key=~k left=0: early");
    c.expect("1 channel.close-ok");
}

fn several_hundred_channels_work_on_one_connection(t: &Scenario) {
    const CHANNELS: u16 = 400;
    let mut c = t.connect(&Login::default());
    for channel in 1..=CHANNELS {
        c.send(channel, "channel.open");
    }
    let opened: Vec<_> = (1..=CHANNELS).map(|channel| format!("{channel} channel.open-ok")).collect();
    c.expect_all(&opened.iter().map(|text| &**text).collect::<Vec<_>>());
    c.declare(1, "~q", "exclusive");
    for channel in 1..=CHANNELS {
        c.publish(channel, "", "~q", "x");
        c.send(channel, "confirm.select");
    }
    let selected: Vec<_> = (1..=CHANNELS).map(|channel| format!("{channel} confirm.select-ok")).collect();
    c.expect_all(&selected.iter().map(|text| &**text).collect::<Vec<_>>());
    c.expect_queue(CHANNELS, "~q", u32::from(CHANNELS), 0);
}

fn the_highest_number_can_be_opened(t: &Scenario) {
    let mut c = t.connect(&Login::default());
    c.open_channel(2047);
}

fn a_number_above_channel_max_may_be_opened_while_there_are_not_too_many(t: &Scenario) {
    let mut c = t.connect(&Login { channel_max: Some(2), ..Login::default() });
    c.open_channel(u16::MAX);
    c.declare(u16::MAX, "~q", "exclusive");
}

fn more_channels_than_channel_max_are_530(t: &Scenario) {
    let mut c = t.connect(&Login { channel_max: Some(2), ..Login::default() });
    c.open_channel(1);
    c.open_channel(2);
    c.send(3, "channel.open");
    c.expect_connection_close(
        "530 NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2) (0/0)",
    );
}

fn flow_is_always_active(t: &Scenario) {
    let mut c = t.open();
    c.call(1, "channel.flow active", "channel.flow-ok active");
}

fn stopping_the_flow_is_540(t: &Scenario) {
    let mut c = t.open();
    c.send(1, "channel.flow");
    c.expect_connection_close("540 NOT_IMPLEMENTED - active=false (channel.flow)");
}

fn access_request_gets_a_ticket(t: &Scenario) {
    let mut c = t.open();
    c.call(1, "access.request realm=/data read write active", "access.request-ok ticket=1");
}

fn a_method_of_the_server_is_503(t: &Scenario) {
    for method in ["queue.declare-ok queue=~q", "basic.qos-ok", "channel.open-ok"] {
        let mut c = t.open();
        c.send(1, method);
        let name = method.split(' ').next().unwrap();
        c.expect_connection_close(&format!("503 COMMAND_INVALID - unimplemented method ({name})"));
    }
}

scenarios![
    a_channel_opens_and_closes,
    a_method_on_an_unopened_channel_is_504,
    a_second_open_is_504,
    a_method_on_a_closed_channel_is_504,
    a_closed_number_can_be_used_again,
    after_a_channel_error_the_number_can_be_used_again,
    an_error_on_a_channel_leaves_the_others_alone,
    frames_behind_a_channel_error_are_discarded,
    a_close_that_crosses_the_brokers_is_answered,
    methods_may_be_sent_without_awaiting_the_replies,
    several_hundred_channels_work_on_one_connection,
    the_highest_number_can_be_opened,
    a_number_above_channel_max_may_be_opened_while_there_are_not_too_many,
    more_channels_than_channel_max_are_530,
    flow_is_always_active,
    stopping_the_flow_is_540,
    access_request_gets_a_ticket,
    a_method_of_the_server_is_503,
];
