//! The smallest program: declare a queue, publish one message into it, receive it.
//!
//! Shows that a publisher names a queue through the default exchange (`""`): the routing key is the queue's name.
//!
//!     cargo run --example hello

mod support;

use futures_util::StreamExt;
use lapin::BasicProperties;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let connection = support::connect().await?;
    let channel = connection.create_channel().await?;

    // Exclusive: the queue belongs to this connection and disappears with it.
    let exclusive = QueueDeclareOptions { exclusive: true, ..Default::default() };
    channel.queue_declare("example.hello".into(), exclusive, FieldTable::default()).await?;
    println!("declared the queue 'example.hello'");

    let body = "Hello, world!";
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    channel
        .basic_publish("".into(), "example.hello".into(), options, body.as_bytes(), properties)
        .await?
        .await?;
    println!("sent     {body:?}");

    let automatic = BasicConsumeOptions { no_ack: true, ..Default::default() };
    let mut consumer =
        channel.basic_consume("example.hello".into(), "".into(), automatic, FieldTable::default()).await?;
    let delivery = consumer.next().await.expect("a consumer waits until a message comes")?;
    let received = String::from_utf8(delivery.data)?;
    println!("received {received:?}");
    assert_eq!(received, body);

    connection.close(200, "done".into()).await?;
    Ok(())
}
