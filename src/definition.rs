//! Definitions: what an operator or a client declared and a restart must bring back, and the [`Change`]s to them. PURE.
//!
//! A change is absolute (the whole new value, or the key that is gone), so applying a sequence of changes twice ends
//! where applying it once does; recovery relies on that. Who may make a change, and what follows from it, is the
//! broker's business; how it is kept, the store's.

use crate::arguments::Table;
use crate::name::{
    BindingKey, Component, ExchangeName, ParameterName, PolicyName, QueueId, QueueName, UserName, VhostName,
};
use serde::{Deserialize, Serialize, de, ser};

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
    /// Whether it is not to be deleted.
    #[serde(default)]
    pub protected_from_deletion: bool,
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

/// Which routing keys a user may use at a topic exchange: two regular expressions as those of [`Permissions`]. `{username}` and
/// `{vhost}` in them stand for these names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TopicPermissions {
    /// To publish with.
    pub write: String,
    /// To bind with.
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

/// What a policy is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum ApplyTo {
    #[default]
    All,
    Exchanges,
    Queues,
    ClassicQueues,
    QuorumQueues,
    Streams,
}

impl ApplyTo {
    /// All of them.
    pub const ALL: [ApplyTo; 6] = [
        ApplyTo::All,
        ApplyTo::Exchanges,
        ApplyTo::Queues,
        ApplyTo::ClassicQueues,
        ApplyTo::QuorumQueues,
        ApplyTo::Streams,
    ];

    /// RabbitMQ's word for it.
    pub fn name(self) -> &'static str {
        match self {
            ApplyTo::All => "all",
            ApplyTo::Exchanges => "exchanges",
            ApplyTo::Queues => "queues",
            ApplyTo::ClassicQueues => "classic_queues",
            ApplyTo::QuorumQueues => "quorum_queues",
            ApplyTo::Streams => "streams",
        }
    }
}

/// A policy, of users or of operators: what it sets, for which names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// A regular expression, searched for anywhere in a name.
    pub pattern: String,
    /// What it is about.
    pub apply_to: ApplyTo,
    /// Of several that match, the one with the highest counts.
    pub priority: i64,
    /// What it sets.
    pub definition: PolicyKeys,
}

/// Any JSON, kept as text: so it takes nothing from the depth that is allowed around it, and nothing in it is mistaken
/// for a field of ours.
#[derive(Clone, Debug, PartialEq)]
pub struct Json(pub serde_json::Value);

impl Serialize for Json {
    fn serialize<S: ser::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        serde_json::from_str(&text).map(Json).map_err(de::Error::custom)
    }
}

/// How much there may be in a vhost; none and negative = no limit, 0 = nothing at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct VhostLimits {
    pub max_connections: Option<i64>,
    pub max_queues: Option<i64>,
}

/// How much a user may open; none and negative = no limit, 0 = nothing at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct UserLimits {
    pub max_connections: Option<i64>,
    pub max_channels: Option<i64>,
}

/// Which definition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Key {
    Vhost(VhostName),
    User(UserName),
    Permissions(VhostName, UserName),
    TopicPermissions(VhostName, UserName, ExchangeName),
    Exchange(VhostName, ExchangeName),
    Queue(VhostName, QueueName),
    Binding(VhostName, Binding),
    VhostLimits(VhostName),
    UserLimits(UserName),
    Policy(VhostName, PolicyName),
    OperatorPolicy(VhostName, PolicyName),
    Parameter(VhostName, Component, ParameterName),
    GlobalParameter(ParameterName),
}

/// A definition with its key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Definition {
    Vhost(VhostName, Vhost),
    User(UserName, User),
    Permissions(VhostName, UserName, Permissions),
    TopicPermissions(VhostName, UserName, ExchangeName, TopicPermissions),
    Exchange(VhostName, ExchangeName, Exchange),
    Queue(VhostName, QueueName, Queue),
    /// With its place among all bindings of its source, where the source's type asks for that.
    Binding(VhostName, Binding, #[serde(default, skip_serializing_if = "Option::is_none")] Option<u64>),
    VhostLimits(VhostName, VhostLimits),
    UserLimits(UserName, UserLimits),
    Policy(VhostName, PolicyName, Policy),
    OperatorPolicy(VhostName, PolicyName, Policy),
    Parameter(VhostName, Component, ParameterName, Json),
    GlobalParameter(ParameterName, Json),
}

impl Definition {
    /// The key under which it is kept.
    pub fn key(&self) -> Key {
        match self {
            Definition::Vhost(vhost, _) => Key::Vhost(vhost.clone()),
            Definition::User(user, _) => Key::User(user.clone()),
            Definition::Permissions(vhost, user, _) => Key::Permissions(vhost.clone(), user.clone()),
            Definition::TopicPermissions(vhost, user, exchange, _) => {
                Key::TopicPermissions(vhost.clone(), user.clone(), exchange.clone())
            }
            Definition::Exchange(vhost, exchange, _) => Key::Exchange(vhost.clone(), exchange.clone()),
            Definition::Queue(vhost, queue, _) => Key::Queue(vhost.clone(), queue.clone()),
            Definition::Binding(vhost, binding, _) => Key::Binding(vhost.clone(), binding.clone()),
            Definition::VhostLimits(vhost, _) => Key::VhostLimits(vhost.clone()),
            Definition::UserLimits(user, _) => Key::UserLimits(user.clone()),
            Definition::Policy(vhost, policy, _) => Key::Policy(vhost.clone(), policy.clone()),
            Definition::OperatorPolicy(vhost, policy, _) => {
                Key::OperatorPolicy(vhost.clone(), policy.clone())
            }
            Definition::Parameter(vhost, component, name, _) => {
                Key::Parameter(vhost.clone(), component.clone(), name.clone())
            }
            Definition::GlobalParameter(name, _) => Key::GlobalParameter(name.clone()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_parameter_may_be_any_json_and_comes_back_as_it_was() {
        let deep = (0..120).fold(json!(1), |value, _| json!([value]));
        for value in [json!({"Float": null}), json!("text"), json!(null), json!(1.5), deep] {
            let definition = Definition::GlobalParameter("p".into(), Json(value));
            let change = Change::Put(definition);
            let bytes = serde_json::to_vec(&[&change]).unwrap();
            assert_eq!(serde_json::from_slice::<Vec<Change>>(&bytes).unwrap(), [change]);
        }
    }

    #[test]
    fn a_policy_is_kept_under_words_of_ours() {
        let definition = PolicyKeys::from([("max-length".to_owned(), json!(5))]);
        let policy =
            Policy { pattern: "^q".into(), apply_to: ApplyTo::QuorumQueues, priority: -1, definition };
        let kept: Value = json!({"pattern": "^q", "apply_to": "QuorumQueues", "priority": -1, "definition": {"max-length": 5}});
        assert_eq!(serde_json::to_value(&policy).unwrap(), kept);
        assert_eq!(serde_json::from_value::<Policy>(kept).unwrap(), policy);
    }
}
