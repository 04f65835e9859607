//! Remote procedure calls over direct reply-to.
//!
//! Shows a client that asks several questions at once and two servers that share them. The client consumes from the
//! pseudo-queue `amq.rabbitmq.reply-to` and names it in `reply_to`; the broker replaces that by an address only this
//! client reads, so no reply queue is ever declared. Replies come in any order: `correlation_id` says to which
//! question each belongs.
//!
//!     cargo run --example rpc

mod support;

use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, Consumer};
use std::collections::BTreeMap;

const QUEUE: &str = "example.rpc";
const REPLY_TO: &str = "amq.rabbitmq.reply-to";
const QUESTIONS: [u32; 6] = [30, 1, 25, 10, 2, 20];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let connection = support::connect().await?;
    let client = connection.create_channel().await?;
    let exclusive = QueueDeclareOptions { exclusive: true, ..Default::default() };
    client.queue_declare(QUEUE.into(), exclusive, FieldTable::default()).await?;
    for name in ["server-1", "server-2"] {
        let (channel, requests) = start_server(&connection, name).await?;
        tokio::spawn(serve(name, channel, requests));
    }

    // The reply consumer must be there before the first request, on the same channel, and without acks.
    let automatic = BasicConsumeOptions { no_ack: true, ..Default::default() };
    let mut replies =
        client.basic_consume(REPLY_TO.into(), "".into(), automatic, FieldTable::default()).await?;
    let mut open = BTreeMap::new();
    for (index, n) in QUESTIONS.into_iter().enumerate() {
        let id = format!("question-{}", index + 1);
        let properties =
            BasicProperties::default().with_reply_to(REPLY_TO.into()).with_correlation_id(id.as_str().into());
        let options = BasicPublishOptions::default();
        client.basic_publish("".into(), QUEUE.into(), options, n.to_string().as_bytes(), properties).await?;
        println!("client   {id}: fibonacci({n})?");
        open.insert(id, n);
    }

    while !open.is_empty() {
        let reply = replies.next().await.expect("replies come as long as the channel is open")?;
        let id = reply.properties.correlation_id().as_ref().expect("the server copies it").to_string();
        let n = open.remove(&id).expect("each question is answered once");
        let answer: u64 = str::from_utf8(&reply.data)?.parse()?;
        println!("client   {id}: fibonacci({n}) = {answer}");
        assert_eq!(answer, fibonacci(n));
    }
    connection.close(200, "done".into()).await?;
    Ok(())
}

/// Starts consuming requests, one at a time.
async fn start_server(connection: &Connection, name: &str) -> anyhow::Result<(Channel, Consumer)> {
    let channel = connection.create_channel().await?;
    channel.basic_qos(1, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let requests = channel.basic_consume(QUEUE.into(), name.into(), options, FieldTable::default()).await?;
    Ok((channel, requests))
}

/// Answers requests until the connection is closed.
async fn serve(name: &'static str, channel: Channel, mut requests: Consumer) -> anyhow::Result<()> {
    while let Some(request) = requests.next().await {
        let request = request?;
        let n = str::from_utf8(&request.data)?.parse()?;
        let answer = tokio::task::spawn_blocking(move || fibonacci(n)).await?;
        println!("{name} computed fibonacci({n})");
        let reply_to = request.properties.reply_to().clone().unwrap_or_default();
        let id = request.properties.correlation_id().clone().unwrap_or_default();
        let properties = BasicProperties::default().with_correlation_id(id);
        // A reply is an ordinary publish to the default exchange with the client's address as the routing key.
        let options = BasicPublishOptions::default();
        channel
            .basic_publish("".into(), reply_to, options, answer.to_string().as_bytes(), properties)
            .await?;
        request.ack(BasicAckOptions::default()).await?;
    }
    Ok(())
}

/// The procedure: the naive recursion, so that large numbers take longer than small ones.
fn fibonacci(n: u32) -> u64 {
    if n < 2 { u64::from(n) } else { fibonacci(n - 1) + fibonacci(n - 2) }
}
