//! Consumers.

use super::{channels, queues};
use crate::broker::connections::Connection;
use crate::management::{Answer, Call, error::Error, view};
use crate::name::ChannelId;
use crate::queue::classic::Activity;
use crate::queue::{Queue, Subscription};
use serde_json::{Value, json};
use std::sync::Arc;

pub(in crate::management) fn list(call: &Call) -> Result<Answer, Error> {
    let mut rows: Vec<(Arc<Queue>, (Subscription, Activity))> = Vec::new();
    for queue in queues::all(call)? {
        rows.extend(queue.subscriptions().into_iter().map(|consumer| (Arc::clone(&queue), consumer)));
    }
    call.list(
        rows,
        |(_, (subscription, _))| subscription.tag.as_str(),
        |call, (queue, consumer), _| render(call, queue, consumer),
    )
}

/// The consumers of a queue.
pub(super) fn of_queue(call: &Call, queue: &Queue) -> Vec<Value> {
    queue.subscriptions().iter().map(|consumer| render(call, queue, consumer)).collect()
}

/// The consumers of a channel, in all queues of its vhost.
pub(super) fn of_channel(
    call: &Call,
    connection: &Connection,
    channel: ChannelId,
) -> Result<Vec<Value>, Error> {
    let vhost = call.node.broker.vhost(&connection.vhost).ok_or(Error::NotFound)?;
    let mut consumers = Vec::new();
    for queue in vhost.queues() {
        let mut own = queue.subscriptions();
        own.retain(|(other, _)| other.outbox.connection == connection.id && other.channel == channel);
        consumers.extend(own.iter().map(|consumer| render(call, &queue, consumer)));
    }
    Ok(consumers)
}

fn render(call: &Call, queue: &Queue, consumer: &(Subscription, Activity)) -> Value {
    let subscription = &consumer.0;
    let connection = call.node.broker.connections.get(subscription.outbox.connection);
    let channel = connection.map(|connection| channels::details(call, &connection, subscription.channel));
    view::queue::consumer(queue, consumer, channel.unwrap_or_else(|| json!({})))
}
