//! Direct reply-to: a consumer without a queue, whose name the broker makes up.

use crate::support::broker::start_in_process;
use crate::support::{Properties, Scenario, scenarios};

const REPLY_TO: &str = "amq.rabbitmq.reply-to";

fn a_reply_comes_back_without_a_queue(t: &Scenario) {
    let mut server = t.open();
    server.declare(1, "~rpc", "exclusive");
    server.consume(1, "~rpc", "s", "no-ack");
    let mut client = t.open();
    client.consume(1, REPLY_TO, "r", "no-ack");
    let properties = Properties::new("correlation-id=7 reply-to=amq.rabbitmq.reply-to");
    client.publish_with(1, "key=~rpc", &properties, "question");
    let question = server.expect(
        "1 basic.deliver tag=s delivery=1 key=~rpc {correlation-id=7 reply-to=amq.rabbitmq.reply-to.*}: question",
    );
    let reply_to = question.properties.get("reply-to").to_string();
    server.publish_with(1, &format!("key={reply_to}"), &Properties::new("correlation-id=7"), "answer");
    client.expect("1 basic.deliver tag=r delivery=1 key=amq.rabbitmq.reply-to.* {correlation-id=7}: answer");
}

fn a_reply_in_a_transaction_comes_back(t: &Scenario) {
    let mut server = t.open();
    server.declare(1, "~rpc", "exclusive");
    server.consume(1, "~rpc", "s", "no-ack");
    let mut client = t.open();
    client.consume(1, REPLY_TO, "r", "no-ack");
    let properties = Properties::new("reply-to=amq.rabbitmq.reply-to");
    client.publish_with(1, "key=~rpc", &properties, "question");
    let question = server.receive("the question");
    let reply_to = question.properties.get("reply-to").to_string();
    server.open_channel(2);
    server.call(2, "tx.select", "tx.select-ok");
    server.publish(2, "", &reply_to, "answer");
    server.call(2, "tx.commit", "tx.commit-ok");
    client.expect("1 basic.deliver tag=r delivery=1 key=amq.rabbitmq.reply-to.* answer");
}

fn acks_are_406(t: &Scenario) {
    let mut c = t.open();
    c.refused(
        1,
        "basic.consume queue=amq.rabbitmq.reply-to",
        "406 PRECONDITION_FAILED - reply consumer cannot acknowledge (basic.consume)",
    );
}

fn a_second_reply_consumer_is_406(t: &Scenario) {
    let mut c = t.open();
    c.consume(1, REPLY_TO, "r", "no-ack");
    c.refused(
        1,
        "basic.consume queue=amq.rabbitmq.reply-to no-ack",
        "406 PRECONDITION_FAILED - reply consumer already set (basic.consume)",
    );
}

fn asking_without_a_reply_consumer_is_406(t: &Scenario) {
    let mut c = t.open();
    c.publish_with(1, "key=~rpc", &Properties::new("reply-to=amq.rabbitmq.reply-to"), "question");
    c.expect_channel_close(1, "406 PRECONDITION_FAILED - fast reply consumer does not exist (basic.publish)");
}

fn a_cancelled_reply_consumer_can_be_set_again(t: &Scenario) {
    let mut c = t.open();
    c.consume(1, REPLY_TO, "r", "no-ack");
    c.call(1, "basic.cancel tag=r", "basic.cancel-ok tag=r");
    c.consume(1, REPLY_TO, "r", "no-ack");
}

fn a_passive_declare_shows_whether_the_asker_is_there(t: &Scenario) {
    let mut server = t.open();
    server.declare(1, "~rpc", "exclusive");
    server.consume(1, "~rpc", "s", "no-ack");
    let mut client = t.open();
    client.consume(1, REPLY_TO, "r", "no-ack");
    client.publish_with(1, "key=~rpc", &Properties::new("reply-to=amq.rabbitmq.reply-to"), "question");
    let question = server
        .expect("1 basic.deliver tag=s delivery=1 key=~rpc {reply-to=amq.rabbitmq.reply-to.*}: question");
    let reply_to = question.properties.get("reply-to").to_string();
    server.call(
        1,
        &format!("queue.declare queue={reply_to} passive"),
        "queue.declare-ok queue=amq.rabbitmq.reply-to.* messages=0 consumers=1",
    );
    client.close_channel(1);
    server.refused(
        1,
        &format!("queue.declare queue={reply_to} passive"),
        "404 NOT_FOUND - no queue 'amq.rabbitmq.reply-to.*' in vhost '/' (queue.declare)",
    );
    // An answer nobody waits for is dropped.
    server.publish(1, "", &reply_to, "too late");
    server.call(1, "basic.qos", "basic.qos-ok");
}

fn another_reply_to_is_carried_as_it_is(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.publish_with(1, "key=~q", &Properties::new("reply-to=somewhere"), "x");
    c.get(1, "~q", "basic.get-ok delivery=1 key=~q left=0 {reply-to=somewhere}: x");
}

/// No queue holds a reply, so memory must not either.
#[test]
fn replies_to_a_client_that_reads_nothing_are_dropped_at_a_bound() {
    const MEBIBYTE: usize = 1024 * 1024;
    let (target, broker) = start_in_process();
    let t = Scenario::new(target, true);
    let mut deaf = t.open();
    let of_the_deaf = broker.connections.all()[0].id;
    let mut server = t.open();
    server.declare(1, "~rpc", "exclusive");
    server.consume(1, "~rpc", "s", "no-ack");
    deaf.consume(1, REPLY_TO, "r", "no-ack");
    deaf.publish_with(1, "key=~rpc", &Properties::new("reply-to=amq.rabbitmq.reply-to"), "question");
    let reply_to = server.receive("the question").properties.get("reply-to").to_string();
    for _ in 0..64 {
        server.publish(1, "", &reply_to, vec![b'x'; MEBIBYTE]);
    }
    server.call(1, "basic.qos", "basic.qos-ok");
    let waiting = broker.connections.get(of_the_deaf).unwrap().outbox.waiting_bytes();
    assert!(waiting <= 18 * MEBIBYTE, "{waiting} bytes wait");
}

scenarios![
    a_reply_in_a_transaction_comes_back,
    a_reply_comes_back_without_a_queue,
    acks_are_406,
    a_second_reply_consumer_is_406,
    asking_without_a_reply_consumer_is_406,
    a_cancelled_reply_consumer_can_be_set_again,
    a_passive_declare_shows_whether_the_asker_is_there,
    another_reply_to_is_carried_as_it_is,
];
