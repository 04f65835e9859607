//! Transactions: publishes and acks that happen together or not at all.
//!
//! Shows a step of order processing that takes an order from one queue and puts an invoice and a parcel into two
//! others. On a channel after `tx.select`, publishes and acks wait for `tx.commit`; until then nobody sees them.
//! `tx.rollback` forgets them: the publishes never happened, and the order can be acknowledged anew.
//!
//!     cargo run --example transactions

mod support;

use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, QueueDeclareOptions, QueueDeleteOptions,
    QueuePurgeOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel};

const ORDERS: &str = "example.transactions.orders";
const INVOICES: &str = "example.transactions.invoices";
const PARCELS: &str = "example.transactions.parcels";
const QUEUES: [&str; 3] = [ORDERS, INVOICES, PARCELS];
const PERSISTENT: u8 = 2;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let connection = support::connect().await?;
    let observer = connection.create_channel().await?;
    for queue in QUEUES {
        observer.queue_declare(queue.into(), QueueDeclareOptions::durable(), FieldTable::default()).await?;
        observer.queue_purge(queue.into(), QueuePurgeOptions::default()).await?;
    }
    let channel = connection.create_channel().await?;
    channel.tx_select().await?;

    publish(&channel, ORDERS, "a lamp").await?;
    assert_eq!(ready(&observer, "published an order, not yet committed").await?, [0, 0, 0]);
    channel.tx_commit().await?;
    assert_eq!(ready(&observer, "committed it").await?, [1, 0, 0]);

    let order =
        channel.basic_get(ORDERS.into(), BasicGetOptions::default()).await?.expect("the order is there");
    let tag = order.delivery.delivery_tag;
    handle(&channel, tag).await?;
    assert_eq!(ready(&observer, "took the order, wrote invoice and parcel, acked").await?, [0, 0, 0]);
    channel.tx_rollback().await?;
    assert_eq!(ready(&observer, "rolled back: no invoice, no parcel").await?, [0, 0, 0]);

    // The ack was forgotten too: the order is still this channel's, under the same delivery tag.
    handle(&channel, tag).await?;
    channel.tx_commit().await?;
    assert_eq!(ready(&observer, "did it again and committed").await?, [0, 1, 1]);

    // An order acknowledged for good does not come back when its channel closes.
    channel.close(200, "done".into()).await?;
    assert_eq!(ready(&observer, "closed the channel").await?, [0, 1, 1]);
    for queue in QUEUES {
        observer.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
    }
    connection.close(200, "done".into()).await?;
    Ok(())
}

/// The step: an invoice, a parcel, and the order is done. Takes effect at the next commit.
async fn handle(channel: &Channel, order: u64) -> anyhow::Result<()> {
    publish(channel, INVOICES, "40 for a lamp").await?;
    publish(channel, PARCELS, "a lamp").await?;
    channel.basic_ack(order, BasicAckOptions::default()).await?;
    Ok(())
}

async fn publish(channel: &Channel, queue: &str, body: &str) -> anyhow::Result<()> {
    let options = BasicPublishOptions::default();
    let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
    channel.basic_publish("".into(), queue.into(), options, body.as_bytes(), properties).await?;
    Ok(())
}

/// How many messages are ready in each queue, as another channel sees it.
async fn ready(observer: &Channel, step: &str) -> anyhow::Result<[u32; 3]> {
    let mut counts = [0; 3];
    for (count, queue) in counts.iter_mut().zip(QUEUES) {
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        *count = observer.queue_declare(queue.into(), passive, FieldTable::default()).await?.message_count();
    }
    let [orders, invoices, parcels] = counts;
    println!("{step:<50} orders {orders}  invoices {invoices}  parcels {parcels}");
    Ok(counts)
}
