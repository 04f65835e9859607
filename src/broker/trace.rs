//! The firehose: copies of what is published and delivered in a vhost, for whoever watches it (behaviour.md, 12).
//!
//! Off unless somebody turns it on for the vhost; then every message costs another.

use super::Broker;
use super::events::{Fields, TRACE_EXCHANGE};
use super::session::Session;
use crate::arguments::{Table, Value};
use crate::exchange::extra_keys::extra_keys;
use crate::message::{Message, Properties};
use crate::name::{ChannelId, QueueId};
use crate::queue::Queue;
use amq_protocol::types::FieldArray;
use std::sync::Arc;

fn text(bytes: &[u8]) -> Value {
    Value::LongString(bytes.into())
}

fn list(values: impl Iterator<Item = Value>) -> Value {
    Value::FieldArray(FieldArray::from(values.collect::<Vec<_>>()))
}

/// The properties by their names, as RabbitMQ's firehose has them.
fn properties_table(properties: &Properties<'_>) -> Table {
    let mut table = Table::default();
    for (name, value) in properties.texts().into_iter().filter_map(|(name, value)| Some((name, value?))) {
        table.insert(name.into(), text(value));
    }
    let numbers = [("delivery_mode", properties.delivery_mode), ("priority", properties.priority)];
    for (name, value) in numbers.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        table.insert(name.into(), Value::LongInt(value.into()));
    }
    if let Some(timestamp) = properties.timestamp {
        table.insert("timestamp".into(), Value::Timestamp(timestamp));
    }
    if properties.headers.is_some() {
        let headers = properties.parse_headers().unwrap_or_default();
        table.insert("headers".into(), Value::FieldTable(headers));
    }
    table
}

impl Broker {
    /// Tells the firehose of a published message, and of the queues it reached.
    pub(super) fn trace_publish(&self, session: &Session, message: &Message, queues: &[Arc<Queue>]) {
        let key = format!("publish.{}", message.exchange);
        let queues = list(queues.iter().map(|queue| text(queue.name.as_str().as_bytes())));
        self.trace(session, session.channel, &key, message, |fields| fields.value("routed_queues", queues));
    }

    /// Tells the firehose of a message that a consumer on that channel gets from a queue.
    pub fn trace_delivery(
        &self,
        session: &Session,
        channel: ChannelId,
        queue: QueueId,
        message: &Message,
        redelivered: bool,
    ) {
        let Some(queue) = self.queue(queue) else { return };
        let key = format!("deliver.{}", queue.name);
        let redelivered = Value::LongInt(redelivered.into());
        self.trace(session, channel, &key, message, |fields| fields.value("redelivered", redelivered));
    }

    fn trace(
        &self,
        session: &Session,
        channel: ChannelId,
        key: &str,
        message: &Message,
        more: impl FnOnce(Fields) -> Fields,
    ) {
        // Who watches the firehose is not watched, or there would be no end of it.
        if message.exchange.as_str() == TRACE_EXCHANGE {
            return;
        }
        let properties = message.properties();
        let copies = extra_keys(&properties).map(|extra| extra.keys).unwrap_or_default();
        let keys = list(std::iter::once(message.routing_key()).chain(copies).map(text));
        let connection = session.connection.and_then(|id| self.connections.get(id));
        let connection = connection.as_ref().map_or("", |connection| &connection.name);
        let vhost = &session.vhost.name;
        let fields = Fields::default().text("exchange_name", message.exchange.as_str());
        let fields = fields.value("routing_keys", keys).table("properties", &properties_table(&properties));
        let fields =
            fields.text("node", &self.node).text("vhost", vhost.as_str()).text("connection", connection);
        let fields = fields.value("channel", Value::LongInt(channel.0.into()));
        let fields = more(fields.text("user", session.user.as_str()));
        self.publish_own(vhost, TRACE_EXCHANGE, key, fields, message.body());
    }
}
