//! A client that people use, lapin: the usual ways once through. The details are the raw client's business.

use crate::support::broker;
use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};

async fn open() -> (Connection, Channel) {
    let uri = format!("amqp://guest:guest@{}/%2f", broker::shared().amqp);
    let connection = Connection::connect(&uri, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

async fn declare(channel: &Channel) -> String {
    let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
    let queue = channel.queue_declare("".into(), options, FieldTable::default()).await.unwrap();
    queue.name().as_str().to_string()
}

#[tokio::test]
async fn lapin_publishes_with_confirms_and_consumes_with_acks() {
    let (connection, channel) = open().await;
    let queue = declare(&channel).await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    for number in 0..100u32 {
        let body = number.to_be_bytes();
        let publish = channel.basic_publish(
            "".into(),
            queue.as_str().into(),
            BasicPublishOptions::default(),
            &body,
            BasicProperties::default().with_delivery_mode(2),
        );
        let confirmation = publish.await.unwrap().await.unwrap();
        assert!(matches!(confirmation, Confirmation::Ack(None)), "{confirmation:?}");
    }
    channel.basic_qos(10, BasicQosOptions::default()).await.unwrap();
    let consume = channel.basic_consume(
        queue.as_str().into(),
        "t".into(),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    let mut consumer = consume.await.unwrap();
    for number in 0..100u32 {
        let delivery = consumer.next().await.unwrap().unwrap();
        assert_eq!(delivery.data, number.to_be_bytes());
        delivery.ack(BasicAckOptions::default()).await.unwrap();
    }
    connection.close(200, "bye".into()).await.unwrap();
}

#[tokio::test]
async fn lapin_gets_an_unroutable_message_back() {
    let (connection, channel) = open().await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let publish = channel.basic_publish(
        "".into(),
        "lapin.nobody".into(),
        BasicPublishOptions { mandatory: true, ..Default::default() },
        b"back",
        BasicProperties::default(),
    );
    let confirmation = publish.await.unwrap().await.unwrap();
    let returned = confirmation.take_message().expect("a returned message");
    assert_eq!((returned.reply_code, &returned.delivery.data[..]), (312, &b"back"[..]));
    connection.close(200, "bye".into()).await.unwrap();
}

#[tokio::test]
async fn lapin_sees_a_channel_error() {
    let (connection, channel) = open().await;
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    let error = channel.queue_declare("lapin.none".into(), options, FieldTable::default()).await.unwrap_err();
    assert!(error.to_string().contains("NOT_FOUND - no queue 'lapin.none' in vhost '/'"), "{error}");
    connection.close(200, "bye".into()).await.unwrap();
}
