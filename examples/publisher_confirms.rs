//! Publisher confirms: how a publisher knows that its messages are safe, in three ways.
//!
//! For a persistent message in a durable queue the broker confirms when the message is on disk. Waiting for each
//! confirm costs a round trip and a disk sync per message; a batch shares them; handling confirms as they come, with
//! a bound on how many are open, keeps the broker busy all the time. Last, a mandatory message no queue wants: it is
//! returned first and confirmed then.
//!
//!     cargo run --example publisher_confirms

mod support;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, PublisherConfirm};
use tokio::time::Instant;

const QUEUE: &str = "example.publisher_confirms";
const MESSAGES: u32 = 300;
const BATCH: u32 = 50;
const OPEN_MAX: usize = 100;
const PERSISTENT: u8 = 2;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let connection = support::connect().await?;
    let channel = connection.create_channel().await?;
    channel.queue_declare(QUEUE.into(), QueueDeclareOptions::durable(), FieldTable::default()).await?;
    channel.queue_purge(QUEUE.into(), QueuePurgeOptions::default()).await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;

    let start = Instant::now();
    one_by_one(&channel).await?;
    println!("one by one:     {MESSAGES} messages confirmed in {:?}", start.elapsed());

    let start = Instant::now();
    in_batches(&channel).await?;
    println!("batches of {BATCH}:  {MESSAGES} messages confirmed in {:?}", start.elapsed());

    let start = Instant::now();
    as_they_come(&channel).await?;
    println!("as they come:   {MESSAGES} messages confirmed in {:?}", start.elapsed());

    returned(&channel).await?;

    let count = channel.queue_delete(QUEUE.into(), QueueDeleteOptions::default()).await?;
    println!("the queue held {count} messages: everything confirmed was there");
    assert_eq!(count, 3 * MESSAGES);
    connection.close(200, "done".into()).await?;
    Ok(())
}

/// Publishes one message; the result is its confirm to be waited for.
async fn publish(channel: &Channel, number: u32) -> anyhow::Result<PublisherConfirm> {
    let options = BasicPublishOptions::default();
    let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
    Ok(channel.basic_publish("".into(), QUEUE.into(), options, &number.to_be_bytes(), properties).await?)
}

/// The simple way: nothing is sent while a confirm is open.
async fn one_by_one(channel: &Channel) -> anyhow::Result<()> {
    for number in 0..MESSAGES {
        let confirmation = publish(channel, number).await?.await?;
        assert!(confirmation.is_ack(), "the broker refused message {number}");
    }
    Ok(())
}

/// Sends a batch, then waits for all of its confirms.
async fn in_batches(channel: &Channel) -> anyhow::Result<()> {
    let mut open = Vec::new();
    for number in 0..MESSAGES {
        open.push(publish(channel, number).await?);
        if open.len() == BATCH as usize || number + 1 == MESSAGES {
            for confirm in open.drain(..) {
                assert!(confirm.await?.is_ack(), "the broker refused a message of the batch");
            }
        }
    }
    Ok(())
}

/// Sends on while confirms come back, with at most [`OPEN_MAX`] of them open.
///
/// A nack names a message to send again, so each confirm keeps its message's number.
async fn as_they_come(channel: &Channel) -> anyhow::Result<()> {
    let mut open = FuturesUnordered::new();
    for number in 0..MESSAGES {
        let confirm = publish(channel, number).await?;
        open.push(async move { (number, confirm.await) });
        if open.len() == OPEN_MAX {
            let (number, confirmation) = open.next().await.expect("the window is full");
            assert!(confirmation?.is_ack(), "the broker refused message {number}");
        }
    }
    while let Some((number, confirmation)) = open.next().await {
        assert!(confirmation?.is_ack(), "the broker refused message {number}");
    }
    Ok(())
}

/// A confirm alone does not say that a queue got the message: `mandatory` asks for it back if none did.
async fn returned(channel: &Channel) -> anyhow::Result<()> {
    let mandatory = BasicPublishOptions { mandatory: true, ..Default::default() };
    let key = "example.no_such_queue";
    let confirmation = channel
        .basic_publish("".into(), key.into(), mandatory, b"anyone?", BasicProperties::default())
        .await?
        .await?;
    assert!(confirmation.is_ack(), "the broker takes responsibility also for what it returns");
    let message = confirmation.take_message().expect("no queue has that name");
    println!("a mandatory message for '{key}' came back: {} {}", message.reply_code, message.reply_text);
    Ok(())
}
