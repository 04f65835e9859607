//! Interoperability checks with lapin. They share the broker's AMQP types with it, so a mistake in those is for the
//! programs in other languages to find.

#![allow(clippy::disallowed_methods, reason = "this program is configured by its environment")]

mod interop;

use std::{collections::BTreeMap, env, process::ExitCode};

use anyhow::{Context, Result, bail, ensure};
use futures_util::{FutureExt, StreamExt};
use interop::{Checks, need_restart, restart_broker, unique};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, ErrorKind,
    ExchangeKind,
    message::Delivery,
    options::*,
    types::{AMQPValue, DecimalValue, FieldTable},
};

const PERSISTENT: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    let mut checks = Checks::default();
    checks.run("declare", declare()).await;
    checks.run("publish-with-confirms", publish_with_confirms()).await;
    checks.run("consume-with-prefetch", consume_with_prefetch()).await;
    checks.run("nack-and-redelivered", nack_and_redelivered()).await;
    checks.run("mandatory-return", mandatory_return()).await;
    checks.run("exclusive-queue-is-locked", exclusive_queue_is_locked()).await;
    checks.run("server-named-queue", server_named_queue()).await;
    checks.run("topic-routing", topic_routing()).await;
    checks.run("transaction", transaction()).await;
    checks.run("header-types", header_types()).await;
    checks.run("body-of-10-mib", body_of_10_mib()).await;
    checks.run("recovery-after-kill", recovery_after_kill()).await;
    checks.exit_code()
}

async fn connect() -> Result<Connection> {
    let url = env::var("AMQP_URL").context("AMQP_URL is not set")?;
    Ok(Connection::connect(&url, ConnectionProperties::default()).await?)
}

async fn confirm_channel(connection: &Connection) -> Result<Channel> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

async fn declare_queue(channel: &Channel, name: &str, options: QueueDeclareOptions) -> lapin::Result<String> {
    let queue = channel.queue_declare(name.into(), options, FieldTable::default()).await?;
    Ok(queue.name().to_string())
}

async fn exclusive_queue(channel: &Channel, name: &str) -> lapin::Result<String> {
    declare_queue(channel, name, QueueDeclareOptions::exclusive()).await
}

async fn ready_count(channel: &Channel, queue: &str) -> Result<u32> {
    let options = QueueDeclareOptions::default().passive();
    Ok(channel.queue_declare(queue.into(), options, FieldTable::default()).await?.message_count())
}

async fn delete_queue(channel: &Channel, queue: &str) -> Result<()> {
    channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
    Ok(())
}

/// Publishes and, on a confirm channel, waits for the confirm.
async fn publish(
    channel: &Channel,
    exchange: &str,
    key: &str,
    body: &[u8],
    properties: BasicProperties,
) -> Result<()> {
    let options = BasicPublishOptions::default();
    let confirm =
        channel.basic_publish(exchange.into(), key.into(), options, body, properties).await?.await?;
    ensure!(!confirm.is_nack(), "the broker refused the message");
    Ok(())
}

async fn publish_numbers(
    channel: &Channel,
    queue: &str,
    count: usize,
    delivery_mode: u8,
) -> Result<Vec<String>> {
    let bodies: Vec<String> = (0..count).map(|number| number.to_string()).collect();
    for body in &bodies {
        let properties = BasicProperties::default().with_delivery_mode(delivery_mode);
        publish(channel, "", queue, body.as_bytes(), properties).await?;
    }
    Ok(bodies)
}

async fn get(channel: &Channel, queue: &str, no_ack: bool) -> Result<Option<Delivery>> {
    let message = channel.basic_get(queue.into(), BasicGetOptions { no_ack }).await?;
    Ok(message.map(|message| message.delivery))
}

async fn get_one(channel: &Channel, queue: &str) -> Result<Delivery> {
    get(channel, queue, false).await?.context("the queue is empty")
}

/// Takes what is ready in the queue, in order.
async fn get_all(channel: &Channel, queue: &str) -> Result<Vec<Delivery>> {
    let mut messages = Vec::new();
    while let Some(message) = get(channel, queue, true).await? {
        messages.push(message);
    }
    Ok(messages)
}

async fn consume(channel: &Channel, queue: &str, tag: &str, no_ack: bool) -> Result<Consumer> {
    let options = BasicConsumeOptions { no_ack, ..Default::default() };
    Ok(channel.basic_consume(queue.into(), tag.into(), options, FieldTable::default()).await?)
}

async fn next(consumer: &mut Consumer) -> Result<Delivery> {
    Ok(consumer.next().await.context("the consumer was cancelled")??)
}

fn bodies(messages: &[Delivery]) -> Vec<String> {
    messages.iter().map(|message| String::from_utf8_lossy(&message.data).into_owned()).collect()
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, got: T, expected: T) -> Result<()> {
    ensure!(got == expected, "{what}: got {got:?}, expected {expected:?}");
    Ok(())
}

fn expect_channel_error<T>(result: lapin::Result<T>, code: u16, text: &str) -> Result<()> {
    let Err(error) = result else { bail!("no error {code}") };
    let ErrorKind::ProtocolError(error) = error.kind() else { bail!("not a protocol error: {error}") };
    expect("reply code", error.get_id(), code)?;
    ensure!(error.get_message().as_str().contains(text), "{text:?} is not in {:?}", error.get_message());
    Ok(())
}

async fn declare() -> Result<()> {
    let connection = connect().await?;
    let channel = connection.create_channel().await?;
    let (queue, transient, exchange) = (unique("declare"), unique("transient"), unique("exchange"));
    declare_queue(&channel, &queue, QueueDeclareOptions::durable()).await?;
    declare_queue(&channel, &queue, QueueDeclareOptions::durable()).await?;
    declare_queue(&channel, &transient, QueueDeclareOptions::default()).await?;
    expect("messages in a new queue", ready_count(&channel, &queue).await?, 0)?;
    let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
    channel
        .exchange_declare(exchange.as_str().into(), ExchangeKind::Direct, durable, FieldTable::default())
        .await?;

    let other = connection.create_channel().await?;
    let different = declare_queue(&other, &queue, QueueDeclareOptions::default()).await;
    expect_channel_error(different, 406, "inequivalent arg 'durable'")?;
    let other = connection.create_channel().await?;
    let missing = declare_queue(&other, &unique("none"), QueueDeclareOptions::default().passive()).await;
    expect_channel_error(missing, 404, "no queue")?;

    delete_queue(&channel, &queue).await?;
    delete_queue(&channel, &transient).await?;
    channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await?;
    Ok(())
}

async fn publish_with_confirms() -> Result<()> {
    let connection = connect().await?;
    let channel = confirm_channel(&connection).await?;
    let queue = exclusive_queue(&channel, &unique("confirms")).await?;
    for _ in 0..100 {
        let options = BasicPublishOptions::default();
        let properties = BasicProperties::default();
        // Not awaited one by one: all confirms are awaited together below.
        drop(channel.basic_publish("".into(), queue.as_str().into(), options, b"hello", properties).await?);
    }
    expect("returned messages", channel.wait_for_confirms().await?.len(), 0)?;
    expect("messages after the last confirm", ready_count(&channel, &queue).await?, 100)
}

async fn consume_with_prefetch() -> Result<()> {
    let connection = connect().await?;
    let channel = confirm_channel(&connection).await?;
    let queue = exclusive_queue(&channel, &unique("prefetch")).await?;
    let expected = publish_numbers(&channel, &queue, 10, 1).await?;
    channel.basic_qos(3, BasicQosOptions::default()).await?;
    let mut consumer = consume(&channel, &queue, "consumer", false).await?;
    let mut got = Vec::new();
    for _ in 0..3 {
        got.push(next(&mut consumer).await?);
    }
    expect("ready while prefetch messages are unacked", ready_count(&channel, &queue).await?, 7)?;
    ensure!(consumer.next().now_or_never().is_none(), "a delivery beyond the prefetch");
    got[0].ack(BasicAckOptions::default()).await?;
    got.push(next(&mut consumer).await?);
    expect("ready after one ack", ready_count(&channel, &queue).await?, 6)?;
    got[3].ack(BasicAckOptions { multiple: true }).await?;
    while got.len() < expected.len() {
        let message = next(&mut consumer).await?;
        message.ack(BasicAckOptions::default()).await?;
        got.push(message);
    }
    expect("deliveries", bodies(&got), expected)?;
    channel.basic_cancel("consumer".into(), BasicCancelOptions::default()).await?;
    channel.close(200, "".into()).await?;
    let observer = connection.create_channel().await?;
    expect("messages left after the acks", ready_count(&observer, &queue).await?, 0)
}

async fn nack_and_redelivered() -> Result<()> {
    let connection = connect().await?;
    let channel = confirm_channel(&connection).await?;
    let queue = exclusive_queue(&channel, &unique("nack")).await?;
    let expected = publish_numbers(&channel, &queue, 3, 1).await?;
    let first = get_one(&channel, &queue).await?;
    let second = get_one(&channel, &queue).await?;
    expect("redelivered at first", [first.redelivered, second.redelivered], [false, false])?;
    second.nack(BasicNackOptions { multiple: true, requeue: true }).await?;
    let again = get_all(&channel, &queue).await?;
    expect("messages after nack", bodies(&again), expected)?;
    let flags: Vec<bool> = again.iter().map(|message| message.redelivered).collect();
    expect("redelivered flags", flags, vec![true, true, false])?;
    publish_numbers(&channel, &queue, 1, 1).await?;
    get_one(&channel, &queue).await?.reject(BasicRejectOptions { requeue: false }).await?;
    expect("messages after reject without requeue", ready_count(&channel, &queue).await?, 0)
}

/// lapin hands a returned message out with its confirm, for which it has to have come first.
async fn mandatory_return() -> Result<()> {
    let connection = connect().await?;
    let channel = confirm_channel(&connection).await?;
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let (key, properties) = (unique("nowhere").into(), BasicProperties::default());
    let confirm = channel.basic_publish("".into(), key, options, b"lost", properties).await?.await?;
    let Confirmation::Ack(Some(returned)) = confirm else { bail!("confirmed without a return: {confirm:?}") };
    expect("reply code", returned.reply_code, 312)?;
    expect("reply text", returned.reply_text.as_str(), "NO_ROUTE")?;
    expect("body", returned.data.as_slice(), b"lost")
}

async fn exclusive_queue_is_locked() -> Result<()> {
    let (owner, other) = (connect().await?, connect().await?);
    let owned = owner.create_channel().await?;
    let queue = exclusive_queue(&owned, &unique("exclusive")).await?;
    let result = exclusive_queue(&other.create_channel().await?, &queue).await;
    expect_channel_error(result, 405, "cannot obtain exclusive access to locked queue")
}

async fn server_named_queue() -> Result<()> {
    let connection = connect().await?;
    let channel = confirm_channel(&connection).await?;
    let queue = exclusive_queue(&channel, "").await?;
    ensure!(queue.starts_with("amq.gen-"), "the name is {queue}");
    let expected = publish_numbers(&channel, &queue, 1, 1).await?;
    expect("messages", bodies(&get_all(&channel, &queue).await?), expected)
}

async fn topic_routing() -> Result<()> {
    let connection = connect().await?;
    let channel = confirm_channel(&connection).await?;
    let exchange = unique("topic");
    let options = ExchangeDeclareOptions { auto_delete: true, ..Default::default() };
    channel
        .exchange_declare(exchange.as_str().into(), ExchangeKind::Topic, options, FieldTable::default())
        .await?;
    let q1 = exclusive_queue(&channel, &unique("Q1")).await?;
    let q2 = exclusive_queue(&channel, &unique("Q2")).await?;
    for (queue, key) in [(&q1, "*.orange.*"), (&q2, "*.*.rabbit"), (&q2, "lazy.#")] {
        let (queue, source) = (queue.as_str().into(), exchange.as_str().into());
        channel
            .queue_bind(queue, source, key.into(), QueueBindOptions::default(), FieldTable::default())
            .await?;
    }
    let routes = [
        ("quick.orange.rabbit", vec![&q1, &q2]),
        ("lazy.orange.elephant", vec![&q1, &q2]),
        ("lazy.brown.fox", vec![&q2]),
        ("lazy.pink.rabbit", vec![&q2]),
        ("quick.brown.fox", vec![]),
        ("orange", vec![]),
        ("quick.orange.male.rabbit", vec![]),
        ("lazy.orange.male.rabbit", vec![&q2]),
    ];
    for (key, _) in &routes {
        publish(&channel, &exchange, key, key.as_bytes(), BasicProperties::default()).await?;
    }
    for queue in [&q1, &q2] {
        let reached = routes.iter().filter(|(_, queues)| queues.contains(&queue));
        let expected: Vec<String> = reached.map(|(key, _)| key.to_string()).collect();
        expect(queue, bodies(&get_all(&channel, queue).await?), expected)?;
    }
    Ok(())
}

async fn transaction() -> Result<()> {
    let connection = connect().await?;
    let observer = connection.create_channel().await?;
    let channel = connection.create_channel().await?;
    let queue = exclusive_queue(&observer, &unique("tx")).await?;
    channel.tx_select().await?;
    publish(&channel, "", &queue, b"rolled back", BasicProperties::default()).await?;
    expect("messages before commit", ready_count(&channel, &queue).await?, 0)?;
    channel.tx_rollback().await?;
    expect("messages after rollback", ready_count(&observer, &queue).await?, 0)?;

    publish(&channel, "", &queue, b"one", BasicProperties::default()).await?;
    channel.tx_commit().await?;
    expect("messages after commit", ready_count(&observer, &queue).await?, 1)?;

    get_one(&channel, &queue).await?.ack(BasicAckOptions::default()).await?;
    publish(&channel, "", &queue, b"two", BasicProperties::default()).await?;
    channel.tx_commit().await?;
    channel.close(200, "".into()).await?;
    let left = bodies(&get_all(&observer, &queue).await?);
    expect("messages after the ack was committed", left, vec!["two".to_owned()])
}

fn table<const N: usize>(fields: [(&str, AMQPValue); N]) -> FieldTable {
    let fields: BTreeMap<_, _> = fields.into_iter().map(|(name, value)| (name.into(), value)).collect();
    fields.into()
}

async fn header_types() -> Result<()> {
    let nested = table([("nested", AMQPValue::FieldTable(table([("deeper", AMQPValue::LongInt(1))])))]);
    let array = vec![
        AMQPValue::LongInt(1),
        AMQPValue::LongString("two".into()),
        AMQPValue::FieldTable(table([("three", AMQPValue::LongInt(3))])),
        AMQPValue::FieldArray(vec![AMQPValue::Void, AMQPValue::Boolean(false)].into()),
    ];
    let headers = table([
        ("bool", AMQPValue::Boolean(true)),
        ("int8", AMQPValue::ShortShortInt(i8::MIN)),
        ("uint8", AMQPValue::ShortShortUInt(u8::MAX)),
        ("int16", AMQPValue::ShortInt(i16::MIN)),
        ("uint16", AMQPValue::ShortUInt(u16::MAX)),
        ("int32", AMQPValue::LongInt(i32::MIN)),
        ("uint32", AMQPValue::LongUInt(u32::MAX)),
        ("int64", AMQPValue::LongLongInt(i64::MIN)),
        ("float", AMQPValue::Float(1.5)),
        ("double", AMQPValue::Double(0.1)),
        ("decimal", AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 314 })),
        ("string", AMQPValue::LongString("grüße".into())),
        ("bytes", AMQPValue::ByteArray(vec![0, 255].into())),
        ("timestamp", AMQPValue::Timestamp(1_767_323_045)),
        ("table", AMQPValue::FieldTable(nested)),
        ("array", AMQPValue::FieldArray(array.into())),
        ("void", AMQPValue::Void),
    ]);
    let connection = connect().await?;
    let channel = confirm_channel(&connection).await?;
    let queue = exclusive_queue(&channel, &unique("headers")).await?;
    let properties = BasicProperties::default().with_headers(headers);
    publish(&channel, "", &queue, b"", properties.clone()).await?;
    expect("properties", get_one(&channel, &queue).await?.properties.clone(), properties)
}

async fn body_of_10_mib() -> Result<()> {
    // A sequence that does not repeat at any frame size, so that frames out of place are noticed.
    let body: Vec<u8> =
        (0..10u32 << 20).map(|position| (position.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let connection = connect().await?;
    let channel = confirm_channel(&connection).await?;
    let queue = exclusive_queue(&channel, &unique("large")).await?;
    publish(&channel, "", &queue, &body, BasicProperties::default()).await?;
    ensure!(get_one(&channel, &queue).await?.data == body, "the body changed");
    Ok(())
}

/// The program connects again by hand.
async fn recovery_after_kill() -> Result<()> {
    let control = need_restart()?;
    let before = connect().await?;
    let channel = confirm_channel(&before).await?;
    let queue = declare_queue(&channel, &unique("recovery"), QueueDeclareOptions::durable()).await?;
    let expected = publish_numbers(&channel, &queue, 200, PERSISTENT).await?;
    restart_broker(&control).await?;

    let connection = connect().await?;
    let channel = connection.create_channel().await?;
    let mut consumer = consume(&channel, &queue, "consumer", true).await?;
    let mut got = Vec::new();
    while got.len() < expected.len() {
        got.push(next(&mut consumer).await?);
    }
    expect("messages after the restart", bodies(&got), expected)?;
    delete_queue(&channel, &queue).await
}
