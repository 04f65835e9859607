//! Routing: subscribers choose messages by an exact routing key.
//!
//! Shows a direct exchange carrying log lines whose routing key is the severity. One queue is bound for `error`
//! only, another for three severities; a line no queue is bound for comes back to a publisher that says `mandatory`.
//!
//!     cargo run --example routing

mod support;

use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, ExchangeKind};

const EXCHANGE: &str = "example.routing";
const LINES: [(&str, &str); 5] = [
    ("info", "started"),
    ("error", "disk is full"),
    ("debug", "x = 3"),
    ("warning", "disk is slow"),
    ("error", "disk is gone"),
];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let connection = support::connect().await?;
    let channel = connection.create_channel().await?;
    let options = ExchangeDeclareOptions { auto_delete: true, ..Default::default() };
    channel.exchange_declare(EXCHANGE.into(), ExchangeKind::Direct, options, FieldTable::default()).await?;
    let pager = bind(&channel, "pager", &["error"]).await?;
    let console = bind(&channel, "console", &["info", "warning", "error"]).await?;

    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    for (severity, text) in LINES {
        publish(&channel, severity, text).await?;
    }

    // A confirm says that a line is in every queue it was routed to, so nothing has to be waited for.
    assert_eq!(drain(&channel, "pager", pager).await?, ["disk is full", "disk is gone"]);
    let expected = ["started", "disk is full", "disk is slow", "disk is gone"];
    assert_eq!(drain(&channel, "console", console).await?, expected);
    connection.close(200, "done".into()).await?;
    Ok(())
}

/// Declares a queue and binds it once per severity.
async fn bind(channel: &Channel, name: &str, severities: &[&str]) -> anyhow::Result<ShortString> {
    let exclusive = QueueDeclareOptions { exclusive: true, ..Default::default() };
    let queue = channel.queue_declare("".into(), exclusive, FieldTable::default()).await?.name().clone();
    for severity in severities {
        let (key, options) = ((*severity).into(), QueueBindOptions::default());
        channel.queue_bind(queue.clone(), EXCHANGE.into(), key, options, FieldTable::default()).await?;
    }
    println!("{name} is bound for {}", severities.join(", "));
    Ok(queue)
}

/// Publishes a line, waits for its confirm and says whether it came back.
async fn publish(channel: &Channel, severity: &str, text: &str) -> anyhow::Result<()> {
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let properties = BasicProperties::default();
    let confirmation = channel
        .basic_publish(EXCHANGE.into(), severity.into(), options, text.as_bytes(), properties)
        .await?
        .await?;
    match confirmation {
        Confirmation::Ack(None) => println!("published [{severity}] {text}"),
        Confirmation::Ack(Some(returned)) => {
            println!(
                "published [{severity}] {text}: came back, {} {}",
                returned.reply_code, returned.reply_text
            );
            assert_eq!(severity, "debug");
        }
        other => anyhow::bail!("the broker did not accept the line: {other:?}"),
    }
    Ok(())
}

/// Takes everything out of a queue.
async fn drain(channel: &Channel, name: &str, queue: ShortString) -> anyhow::Result<Vec<String>> {
    let mut texts = Vec::new();
    while let Some(message) = channel.basic_get(queue.clone(), BasicGetOptions { no_ack: true }).await? {
        let text = String::from_utf8(message.delivery.data)?;
        println!("{name:<7} got [{}] {text}", message.delivery.routing_key);
        texts.push(text);
    }
    Ok(texts)
}
