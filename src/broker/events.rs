//! What the broker publishes itself: events to `amq.rabbitmq.event`, copies of traffic to `amq.rabbitmq.trace`, log lines
//! to `amq.rabbitmq.log` (behaviour.md, 12).
//!
//! Whoever has something to tell may hold any lock, so it only goes onto a list; a task publishes it. Nothing is made up
//! for an exchange from which no binding leads anywhere.

use super::enqueue::Places;
use super::session::{Session, seed};
use super::special::Special;
use super::{Broker, Vhost};
use crate::arguments::{self, ShortString, Table, Value};
use crate::auth::User;
use crate::exchange;
use crate::message::{Message, Properties};
use crate::name::{ConnectionId, ExchangeName, UserName, VhostName};
use crate::outbox::Wakes;
use crate::store::record::Origin;
use crate::time::{self, Millis};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use tokio::sync::Notify;

/// Where events go.
pub const EVENT_EXCHANGE: &str = "amq.rabbitmq.event";
/// Where copies of traffic go.
pub const TRACE_EXCHANGE: &str = "amq.rabbitmq.trace";
/// Where log lines go.
pub const LOG_EXCHANGE: &str = "amq.rabbitmq.log";
/// So many may wait to be published; what comes then is dropped and counted.
const WAITING_MAX: usize = 100_000;
/// So much memory may they take: the firehose copies bodies.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// A message of the broker's own.
#[derive(Debug)]
struct Own {
    vhost: VhostName,
    message: Arc<Message>,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Own>,
    bytes: usize,
}

/// What waits to be published.
#[derive(Debug, Default)]
pub struct Events {
    waiting: Mutex<Waiting>,
    came: Notify,
    /// Whether anybody listens to events.
    is_heard: AtomicBool,
    dropped: AtomicU64,
}

impl Events {
    /// Whether anybody listens to events.
    pub(super) fn are_heard(&self) -> bool {
        self.is_heard.load(Relaxed)
    }

    /// Whether bindings lead from the event exchange now.
    pub(super) fn set_heard(&self, is_heard: bool) {
        self.is_heard.store(is_heard, Relaxed);
    }

    fn push(&self, own: Own) {
        let mut waiting = self.waiting.lock();
        let bytes = waiting.bytes + own.message.memory_bytes();
        // A large one alone is not too much.
        let is_too_much = bytes > WAITING_BYTES_MAX && !waiting.messages.is_empty();
        if waiting.messages.len() >= WAITING_MAX || is_too_much {
            drop(waiting);
            self.dropped.fetch_add(1, Relaxed);
            return;
        }
        waiting.bytes = bytes;
        waiting.messages.push_back(own);
        drop(waiting);
        self.came.notify_one();
    }

    /// How many messages of the broker's own were dropped because too many waited.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}

/// The headers of an event, in the making.
#[derive(Debug, Default)]
pub struct Fields(Table);

impl Fields {
    /// A text.
    #[must_use]
    pub fn text(self, name: &str, text: &str) -> Self {
        self.value(name, Value::LongString(text.into()))
    }

    /// A number.
    #[must_use]
    pub fn number(self, name: &str, number: u64) -> Self {
        self.value(name, Value::LongLongInt(i64::try_from(number).unwrap_or(i64::MAX)))
    }

    /// Yes or no.
    #[must_use]
    pub fn flag(self, name: &str, is_set: bool) -> Self {
        self.value(name, Value::Boolean(is_set))
    }

    /// A table, such as arguments.
    #[must_use]
    pub fn table(self, name: &str, table: &Table) -> Self {
        self.value(name, Value::FieldTable(table.clone()))
    }

    /// A JSON value.
    #[must_use]
    pub fn json(self, name: &str, value: &serde_json::Value) -> Self {
        self.value(name, arguments::json::to_field(value))
    }

    /// The fields of a JSON object.
    #[must_use]
    pub fn fields(self, object: &serde_json::Map<String, serde_json::Value>) -> Self {
        object.iter().fold(self, |fields, (name, value)| fields.json(name, value))
    }

    /// Any value.
    #[must_use]
    pub fn value(mut self, name: &str, value: Value) -> Self {
        self.0.insert(ShortString::from(name), value);
        self
    }
}

/// Who does something that is told.
#[derive(Clone, Debug, Default)]
pub struct Actor {
    /// The user; none where the broker does it by itself.
    pub user: Option<UserName>,
    /// The user's connection.
    pub connection: Option<ConnectionId>,
}

impl From<&User> for Actor {
    fn from(user: &User) -> Self {
        Self { user: Some(user.name.clone()), connection: None }
    }
}

impl From<&Session> for Actor {
    fn from(session: &Session) -> Self {
        Self { user: Some(session.user.clone()), connection: session.connection }
    }
}

/// RabbitMQ's name for what no user does.
pub(super) const NOBODY: &str = "rmq-internal";

impl Broker {
    /// Where events and log lines are published.
    pub fn event_vhost(&self) -> &VhostName {
        &self.event_vhost
    }

    /// Tells an event, if anybody listens. `fields` are its headers; who did it, from where and when is added.
    pub fn emit(&self, key: &str, actor: &Actor, fields: impl FnOnce(Fields) -> Fields) {
        if !self.events.are_heard() {
            return;
        }
        let now = time::unix_ms();
        let mut fields = fields(Fields::default());
        fields =
            fields.text("user_who_performed_action", actor.user.as_ref().map_or(NOBODY, UserName::as_str));
        fields = fields.number("timestamp_in_ms", now.0);
        if let Some(connection) = actor.connection.and_then(|id| self.connections.get(id)) {
            fields = fields.text("peer_host", &connection.peer.ip().to_string());
            fields = fields.number("peer_port", connection.peer.port().into());
        }
        let message = own_message(EVENT_EXCHANGE, key, &fields.0, b"", now);
        self.events.push(Own { vhost: self.event_vhost.clone(), message });
    }

    /// Publishes a message of the broker's own, soon.
    pub fn publish_own(&self, vhost: &VhostName, exchange: &str, key: &str, headers: Fields, body: &[u8]) {
        let message = own_message(exchange, key, &headers.0, body, time::unix_ms());
        self.events.push(Own { vhost: vhost.clone(), message });
    }

    /// Publishes what waits, for ever.
    pub async fn publish_events(&self) {
        let mut told = 0;
        loop {
            let came = self.events.came.notified();
            let waiting = std::mem::take(&mut *self.events.waiting.lock()).messages;
            if waiting.is_empty() {
                came.await;
                continue;
            }
            // Not where they are dropped: what is logged may be published, too.
            let dropped = self.events.dropped();
            if dropped > told {
                tracing::warn!(
                    count = dropped - told,
                    "events, traces or log lines came too fast and were dropped"
                );
                told = dropped;
            }
            let mut wakes = Wakes::default();
            for Own { vhost, message } in waiting {
                if let Some(vhost) = self.vhost(&vhost) {
                    self.publish_one(&vhost, &message, &mut wakes);
                }
            }
            drop(wakes);
            tokio::task::yield_now().await;
        }
    }

    fn publish_one(&self, vhost: &Vhost, message: &Arc<Message>, wakes: &mut Wakes) {
        let parcels = {
            let topology = vhost.topology();
            let properties = message.properties();
            let publish = exchange::Publish::new(message.routing_key(), &[], &properties);
            let routed = topology.route(&message.exchange, &publish.with_random(seed()));
            if let Some(exchange) = topology.exchange(message.exchange.as_str()) {
                exchange.counters.count(routed.queues.len(), false);
            }
            topology.keep(&routed.kept_by, message);
            let queues = routed.queues.iter().filter_map(|name| topology.queue(name.as_str()).cloned());
            Special::delaying(&topology, &routed.delayed_by).parcels(message, &queues.collect())
        };
        for (message, queues) in parcels.into_iter().flatten() {
            let _hold = self.store.hold_checkpoints();
            let places = Places::reserve(&queues, &message);
            let record = || self.store.append_publish(&message, &places.targets(), Origin::default());
            let appended = places.is_kept().then(record);
            places.enqueue(&queues, appended, &message, wakes);
        }
    }
}

/// A persistent message with these headers.
fn own_message(exchange: &str, key: &str, headers: &Table, body: &[u8], now: Millis) -> Arc<Message> {
    let headers = arguments::write_table(headers);
    let properties = Properties {
        headers: Some(&headers),
        delivery_mode: Some(2),
        timestamp: Some(now.0 / 1000),
        ..Properties::default()
    };
    let mut raw = Vec::new();
    properties.write(&mut raw);
    // A routing key has 255 bytes at most: a queue's name behind a word may have more.
    let mut end = key.len().min(255);
    while !key.is_char_boundary(end) {
        end -= 1;
    }
    let key = &key.as_bytes()[..end];
    Arc::new(Message::new(ExchangeName::new(exchange), key, &raw, &properties, &[body]).at(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_to_be_told_is_bounded_in_number_and_in_bytes() {
        let push = |events: &Events, body: &[u8]| {
            let message = own_message(TRACE_EXCHANGE, "k", &Table::default(), body, Millis(0));
            events.push(Own { vhost: "/".into(), message });
        };
        let large = vec![0; WAITING_BYTES_MAX / 2];
        let events = Events::default();
        for _ in 0..3 {
            push(&events, &large);
        }
        assert_eq!(
            (events.waiting.lock().messages.len(), events.dropped()),
            (1, 2),
            "with what it takes beside"
        );
        std::mem::take(&mut *events.waiting.lock());
        push(&events, &vec![0; 2 * WAITING_BYTES_MAX]);
        assert_eq!(
            (events.waiting.lock().messages.len(), events.dropped()),
            (1, 2),
            "alone it is not too much"
        );
        let events = Events::default();
        for _ in 0..WAITING_MAX + 7 {
            push(&events, b"");
        }
        assert_eq!((events.waiting.lock().messages.len(), events.dropped()), (WAITING_MAX, 7));
    }
}
