//! What the operator lays down for the whole node and the broker obeys: bounds, defaults, what new vhosts begin with.
//! Values only; what they lead to is decided in the broker.

use super::Secret;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// How much there may be on the node; none = any number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct NodeLimits {
    pub connections: Option<u64>,
    pub channels: Option<u64>,
    pub consumers_per_channel: Option<u64>,
    pub vhosts: Option<u64>,
    pub queues: Option<u64>,
    pub exchanges: Option<u64>,
}

/// Limits of every new vhost whose name fits; none = not limited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct DefaultLimits {
    /// Found anywhere in the name; empty fits all.
    pub pattern: String,
    pub max_connections: Option<i64>,
    pub max_queues: Option<i64>,
}

/// An operator policy of every new vhost whose name fits.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct DefaultPolicy {
    /// Found anywhere in the name; empty fits all.
    pub vhost_pattern: String,
    /// Of the policy; empty fits all.
    pub queue_pattern: String,
    /// `queues` and so on; none = queues.
    pub apply_to: Option<String>,
    /// By the names that policies have.
    pub definition: Map<String, Value>,
}

/// A user who may enter every new vhost whose name fits. One who is not there is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct DefaultUser {
    /// Found anywhere in the name; empty fits all.
    pub vhost_pattern: String,
    /// None = nobody logs in with a password.
    pub password: Option<Secret>,
    pub tags: Vec<String>,
    pub configure: String,
    pub write: String,
    pub read: String,
}

/// What a new vhost begins with, by the operator's names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewVhosts {
    /// The first that fits counts, for each number.
    pub limits: BTreeMap<String, DefaultLimits>,
    /// All that fit, under their names.
    pub operator_policies: BTreeMap<String, DefaultPolicy>,
    /// All that fit.
    pub users: BTreeMap<String, DefaultUser>,
}

/// What a password must be like, and how it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passwords {
    /// RabbitMQ's name of the algorithm of new hashes; empty = SHA-256.
    pub algorithm: String,
    /// What is checked when a password is set.
    pub validator: Validator,
    /// In bytes, for [`Validator::Length`].
    pub length_min: usize,
    /// For [`Validator::Pattern`].
    pub pattern: String,
}

/// What is checked when a password is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Validator {
    /// Nothing.
    #[default]
    Nothing,
    /// How long it is.
    Length,
    /// A regular expression.
    Pattern,
}

/// What the broker obeys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// How much there may be.
    pub limits: NodeLimits,
    /// The type of queues that say none, in vhosts that say none; none = classic.
    pub default_queue_type: Option<String>,
    /// How long a consumer of a quorum queue may keep a message, in milliseconds; none = for ever.
    pub consumer_timeout_ms: Option<u64>,
    /// What new vhosts begin with.
    pub new_vhosts: NewVhosts,
    /// What passwords must be like.
    pub passwords: Passwords,
}
