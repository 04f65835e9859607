//! Consumers.

use super::{channels, queues};
use crate::broker::connections::Connection;
use crate::management::{Answer, Call, error::Error, view};
use crate::name::ChannelId;
use crate::queue::{Queue, Subscription};
use serde_json::{Value, json};
use std::sync::Arc;

pub(in crate::management) fn list(call: &Call) -> Result<Answer, Error> {
    let mut rows: Vec<(Arc<Queue>, Subscription)> = Vec::new();
    for queue in queues::all(call)? {
        let subscriptions = queue.subscriptions();
        rows.extend(subscriptions.into_iter().map(|subscription| (Arc::clone(&queue), subscription)));
    }
    let render = |(queue, subscription): &(Arc<Queue>, Subscription)| render(call, queue, subscription);
    call.list(rows, |(_, subscription)| subscription.tag.as_str(), render)
}

/// The consumers of a queue.
pub(super) fn of_queue(call: &Call, queue: &Queue) -> Vec<Value> {
    queue.subscriptions().iter().map(|subscription| render(call, queue, subscription)).collect()
}

/// The consumers of a channel, in all queues of its vhost.
pub(super) fn of_channel(
    call: &Call,
    connection: &Connection,
    channel: ChannelId,
) -> Result<Vec<Value>, Error> {
    let vhost = call.node.broker.vhost(&connection.vhost).ok_or(Error::NotFound)?;
    let queues: Vec<Arc<Queue>> = vhost.topology().queues().cloned().collect();
    let mut consumers = Vec::new();
    for queue in queues {
        let mut own = queue.subscriptions();
        own.retain(|other| other.outbox.connection == connection.id && other.channel == channel);
        consumers.extend(own.iter().map(|subscription| render(call, &queue, subscription)));
    }
    Ok(consumers)
}

fn render(call: &Call, queue: &Queue, subscription: &Subscription) -> Value {
    let connection = call.node.broker.connections.get(subscription.outbox.connection);
    let channel = connection.map(|connection| channels::details(call, &connection, subscription.channel));
    view::queue::consumer(queue, subscription, channel.unwrap_or_else(|| json!({})))
}
