//! Publish/subscribe: every subscriber gets its own copy of every message.
//!
//! Shows a fanout exchange. Publishers know only the exchange; each subscriber binds a queue of its own to it. The
//! queues are exclusive and named by the broker (`amq.gen-…`): a subscriber that leaves takes its queue along.
//!
//!     cargo run --example publish_subscribe

mod support;

use futures_util::StreamExt;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, Consumer, ExchangeKind};

const EXCHANGE: &str = "example.publish_subscribe";
const NEWS: [&str; 3] = ["the sun is up", "lunch is ready", "the sun is down"];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let connection = support::connect().await?;
    let channel = connection.create_channel().await?;
    // Auto-delete: the exchange goes when the last queue bound to it goes.
    let options = ExchangeDeclareOptions { auto_delete: true, ..Default::default() };
    channel.exchange_declare(EXCHANGE.into(), ExchangeKind::Fanout, options, FieldTable::default()).await?;

    // Subscribe first: what is published before a queue is bound does not reach it.
    let mut subscribers = Vec::new();
    for name in ["phone", "tablet", "laptop"] {
        let consumer = subscribe(&connection, name).await?;
        subscribers.push(tokio::spawn(listen(name, consumer)));
    }

    for text in NEWS {
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        channel
            .basic_publish(EXCHANGE.into(), "".into(), options, text.as_bytes(), properties)
            .await?
            .await?;
        println!("published {text:?}");
    }
    for subscriber in subscribers {
        assert_eq!(subscriber.await??, NEWS, "each subscriber gets everything, in order");
    }
    println!("3 messages published, 9 received");
    connection.close(200, "done".into()).await?;
    Ok(())
}

/// Opens a channel and binds a new queue to the exchange.
async fn subscribe(connection: &Connection, name: &str) -> anyhow::Result<Consumer> {
    let channel = connection.create_channel().await?;
    let exclusive = QueueDeclareOptions { exclusive: true, ..Default::default() };
    let queue = channel.queue_declare("".into(), exclusive, FieldTable::default()).await?.name().clone();
    let options = QueueBindOptions::default();
    channel.queue_bind(queue.clone(), EXCHANGE.into(), "".into(), options, FieldTable::default()).await?;
    println!("{name} subscribed with the queue {queue}");
    let automatic = BasicConsumeOptions { no_ack: true, ..Default::default() };
    Ok(channel.basic_consume(queue, name.into(), automatic, FieldTable::default()).await?)
}

/// Receives as many messages as there are news.
async fn listen(name: &str, mut consumer: Consumer) -> anyhow::Result<Vec<String>> {
    let mut received = Vec::new();
    while received.len() < NEWS.len() {
        let delivery = consumer.next().await.expect("the subscription stays")?;
        let text = String::from_utf8(delivery.data)?;
        println!("{name:<6} received {text:?}");
        received.push(text);
    }
    Ok(received)
}
