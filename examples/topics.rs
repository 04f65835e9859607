//! Topics: subscribers choose messages by a pattern over the words of the routing key.
//!
//! Shows a topic exchange: in a binding key `*` stands for exactly one word and `#` for any number of words, also
//! none. A queue that matches by two of its bindings still gets the message once.
//!
//!     cargo run --example topics

mod support;

use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, ExchangeKind};

const EXCHANGE: &str = "example.topics";

/// Keys of the form `<speed>.<colour>.<species>`, and the queues each must reach.
const ANIMALS: [(&str, &[&str]); 8] = [
    ("quick.orange.rabbit", &["Q1", "Q2"]),
    ("lazy.orange.elephant", &["Q1", "Q2"]),
    ("lazy.brown.fox", &["Q2"]),
    ("lazy.pink.rabbit", &["Q2"]), // by both of its bindings, yet once
    ("quick.brown.fox", &[]),
    ("orange", &[]),
    ("quick.orange.male.rabbit", &[]), // four words: no `*` stretches over two
    ("lazy.orange.male.rabbit", &["Q2"]),
];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let connection = support::connect().await?;
    let channel = connection.create_channel().await?;
    let options = ExchangeDeclareOptions { auto_delete: true, ..Default::default() };
    channel.exchange_declare(EXCHANGE.into(), ExchangeKind::Topic, options, FieldTable::default()).await?;
    let queues = [
        ("Q1", bind(&channel, "Q1", &["*.orange.*"]).await?),
        ("Q2", bind(&channel, "Q2", &["*.*.rabbit", "lazy.#"]).await?),
    ];

    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    for (key, expected) in ANIMALS {
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        // Once confirmed, the message is in every queue it was routed to.
        channel
            .basic_publish(EXCHANGE.into(), key.into(), options, key.as_bytes(), properties)
            .await?
            .await?;
        let mut reached = Vec::new();
        for (name, queue) in &queues {
            let automatic = BasicGetOptions { no_ack: true };
            while channel.basic_get(queue.clone(), automatic).await?.is_some() {
                reached.push(*name);
            }
        }
        let shown = if reached.is_empty() { "nowhere".to_owned() } else { reached.join(" and ") };
        println!("{key:<25} went to {shown}");
        assert_eq!(reached, expected);
    }
    connection.close(200, "done".into()).await?;
    Ok(())
}

/// Declares a queue and binds it with each pattern.
async fn bind(channel: &Channel, name: &str, patterns: &[&str]) -> anyhow::Result<ShortString> {
    let exclusive = QueueDeclareOptions { exclusive: true, ..Default::default() };
    let queue = channel.queue_declare("".into(), exclusive, FieldTable::default()).await?.name().clone();
    for pattern in patterns {
        let (key, options) = ((*pattern).into(), QueueBindOptions::default());
        channel.queue_bind(queue.clone(), EXCHANGE.into(), key, options, FieldTable::default()).await?;
    }
    println!("{name} is bound with {}", patterns.join(" and "));
    Ok(queue)
}
