//! Definitions: what an operator or a client declared and a restart must bring back, and the [`Change`]s to them. PURE.
//!
//! A change is absolute (the whole new value, or the key that is gone), so applying a sequence of changes twice ends
//! where applying it once does; recovery relies on that. Who may make a change, and what follows from it, is the
//! broker's business; how it is kept, the store's.

use crate::arguments::Table;
use crate::name::{BindingKey, ExchangeName, QueueId, QueueName, UserName, VhostName};
use serde::{Deserialize, Serialize};

/// What a policy sets, by its keys: `message-ttl`, `dead-letter-exchange`, …
pub type PolicyKeys = std::collections::BTreeMap<String, serde_json::Value>;

/// A virtual host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Vhost {
    /// For people.
    #[serde(default)]
    pub description: String,
    /// For people.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The queue type of a declare without `x-queue-type`; none = classic.
    #[serde(default)]
    pub default_queue_type: Option<String>,
    /// Whether copies of its traffic go to `amq.rabbitmq.trace`.
    #[serde(default)]
    pub tracing: bool,
}

/// A user, with the password only as a hash.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct User {
    /// Base64 as RabbitMQ writes it; empty = no password, so no login with one.
    pub password_hash: String,
    /// RabbitMQ's name of the algorithm, `rabbit_password_hashing_sha256` and so on.
    pub hashing_algorithm: String,
    /// `administrator`, `monitoring`, `policymaker`, `management`, `impersonator` or free words.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// What a user may do in a vhost: three regular expressions, matched anywhere in a name; the empty one matches nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Permissions {
    pub configure: String,
    pub write: String,
    pub read: String,
}

/// An exchange.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exchange {
    /// The type's name: `direct`, `topic`, …
    pub kind: String,
    /// Whether it survives a restart.
    pub durable: bool,
    /// Whether it goes when the last binding from it goes.
    pub auto_delete: bool,
    /// Whether clients may not publish to it.
    pub internal: bool,
    /// As declared.
    #[serde(default)]
    pub arguments: Table,
}

/// What a queue is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// For clients.
    #[default]
    Ordinary,
    /// It holds what an exchange delays. Nobody sees it.
    DelayOf(ExchangeName),
    /// It keeps what an exchange has seen, to tell duplicates, and holds no messages. Nobody sees it.
    WindowOf(ExchangeName),
}

impl Role {
    fn is_ordinary(&self) -> bool {
        *self == Self::Ordinary
    }
}

/// A queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Queue {
    /// Names its messages in the journal.
    pub id: QueueId,
    /// The type's name: `classic`, …
    pub kind: String,
    /// Whether it survives a restart.
    pub durable: bool,
    /// Whether it goes when its last consumer goes.
    pub auto_delete: bool,
    /// Whether it belongs to one connection and goes with it.
    pub exclusive: bool,
    /// As declared.
    #[serde(default)]
    pub arguments: Table,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Role::is_ordinary")]
    pub role: Role,
}

impl Queue {
    /// The priority of a message that says none.
    pub fn default_priority(&self) -> u8 {
        if self.kind == "quorum" { 4 } else { 0 }
    }
}

/// Where a binding leads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Destination {
    Queue(QueueName),
    Exchange(ExchangeName),
}

/// A binding. Two bindings are the same when all their fields are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Binding {
    /// The exchange messages come from.
    pub source: ExchangeName,
    /// The queue or exchange they go to.
    pub destination: Destination,
    /// Compared with the routing key as the exchange's type says.
    pub key: BindingKey,
    /// For types that look at headers.
    #[serde(default)]
    pub arguments: Table,
}

/// Which definition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Key {
    Vhost(VhostName),
    User(UserName),
    Permissions(VhostName, UserName),
    Exchange(VhostName, ExchangeName),
    Queue(VhostName, QueueName),
    Binding(VhostName, Binding),
}

/// A definition with its key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Definition {
    Vhost(VhostName, Vhost),
    User(UserName, User),
    Permissions(VhostName, UserName, Permissions),
    Exchange(VhostName, ExchangeName, Exchange),
    Queue(VhostName, QueueName, Queue),
    /// With its place among all bindings of its source, where the source's type asks for that.
    Binding(VhostName, Binding, #[serde(default, skip_serializing_if = "Option::is_none")] Option<u64>),
}

impl Definition {
    /// The key under which it is kept.
    pub fn key(&self) -> Key {
        match self {
            Definition::Vhost(vhost, _) => Key::Vhost(vhost.clone()),
            Definition::User(user, _) => Key::User(user.clone()),
            Definition::Permissions(vhost, user, _) => Key::Permissions(vhost.clone(), user.clone()),
            Definition::Exchange(vhost, exchange, _) => Key::Exchange(vhost.clone(), exchange.clone()),
            Definition::Queue(vhost, queue, _) => Key::Queue(vhost.clone(), queue.clone()),
            Definition::Binding(vhost, binding, _) => Key::Binding(vhost.clone(), binding.clone()),
        }
    }
}

/// One change of the definitions. What belongs together is kept together: see the store's change log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Change {
    Put(Definition),
    Delete(Key),
}
