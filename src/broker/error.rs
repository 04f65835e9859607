//! Why an operation is refused. The texts are what clients read; each edge maps the variants once to its own codes.

use super::policy::Invalid;
use crate::auth::permissions::{self, Access};
use crate::exchange;
use crate::name::{ExchangeName, QueueName, UserName, VhostName};
use crate::store::JournalFailed;
use std::fmt;

/// An exchange or a queue, as error texts have it: `queue 'q' in vhost '/'`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Resource {
    Exchange(VhostName, ExchangeName),
    Queue(VhostName, QueueName),
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Resource::Exchange(vhost, name) => write!(f, "exchange '{name}' in vhost '{vhost}'"),
            Resource::Queue(vhost, name) => write!(f, "queue '{name}' in vhost '{vhost}'"),
        }
    }
}

/// Why an operation is refused.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error("no {0}")]
    NotFound(Resource),
    #[error("{} access to {resource} refused for user '{user}'", access.name())]
    Refused { access: Access, resource: Resource, user: UserName },
    #[error("{} access to topic '{key}' in {exchange} refused for user '{user}'", access.name())]
    RefusedTopic { access: Access, key: String, exchange: Resource, user: UserName },
    #[error("operation not permitted on the default exchange")]
    DefaultExchange,
    #[error("{kind} name '{name}' contains reserved prefix 'amq.*'")]
    ReservedPrefix { kind: &'static str, name: String },
    #[error("deletion of system {0} not allowed")]
    SystemExchange(Resource),
    #[error("cannot publish to internal {0}")]
    InternalExchange(Resource),
    #[error("{0} in exclusive use")]
    ExclusiveUse(Resource),
    #[error("cannot bind or unbind to a volatile (direct reply-to) queue")]
    VolatileQueue,
    #[error(
        "cannot obtain exclusive access to locked {0}. It could be originally declared on another connection or the \
         exclusive property value does not match that of the original declaration."
    )]
    Locked(Resource),
    #[error("inequivalent arg '{argument}' for {resource}: received {received} but current is {current}")]
    Inequivalent { argument: String, resource: Resource, received: String, current: String },
    #[error("unknown exchange type '{0}'")]
    UnknownExchangeType(String),
    #[error("invalid arg '{argument}' for {resource}: {reason}")]
    InvalidArgument { argument: &'static str, resource: Resource, reason: String },
    #[error("invalid type '{kind}' for arg '{argument}' in {resource}")]
    InvalidType { argument: &'static str, resource: Resource, kind: &'static str },
    #[error("invalid arg '{argument}' for {resource} of queue type {module}")]
    ArgumentOfQueueType { argument: &'static str, resource: Resource, module: &'static str },
    #[error("Cannot declare a server-named queue for type {module}")]
    ServerNamed { module: &'static str },
    #[error("invalid property '{property}' for {resource}")]
    InvalidProperty { property: &'static str, resource: Resource },
    #[error("{0} does not support global qos")]
    SharedLimit(Resource),
    #[error(
        "cannot obtain access to locked {0}. basic.get operations are not supported by quorum queues with single active \
         consumer"
    )]
    GetBesideSingleActive(Resource),
    #[error("partial tx completion")]
    PartialTransaction,
    #[error("{0} in use")]
    InUse(Resource),
    #[error("{0} not empty")]
    NotEmpty(Resource),
    #[error("user_id property set to '{claimed}' but authenticated user was '{user}'")]
    UserId { claimed: String, user: UserName },
    #[error("invalid expiration '{value}': {reason}")]
    Expiration { value: String, reason: String },
    /// A binding or extra routing keys that its exchange type refuses.
    #[error(transparent)]
    Exchange(#[from] exchange::Error),
    #[error("vhost {0} not found")]
    NoVhost(VhostName),
    #[error("Refusing to delete virtual host '{0}' because it is protected from deletion")]
    ProtectedVhost(VhostName),
    #[error("access to vhost '{vhost}' refused for user '{user}'")]
    VhostRefused { vhost: VhostName, user: UserName },
    #[error("access to vhost '{vhost}' refused for user '{user}': connection limit ({limit}) is reached")]
    VhostFull { vhost: VhostName, user: UserName, limit: u64 },
    #[error("connection refused for user '{user}': user connection limit ({limit}) is reached")]
    UserFull { user: UserName, limit: u64 },
    #[error(
        "number of channels opened for user '{user}' has reached the maximum allowed user limit of ({limit})"
    )]
    UserChannels { user: UserName, limit: u64 },
    #[error("cannot declare queue '{queue}': queue limit in vhost '{vhost}' ({limit}) is reached")]
    TooManyQueues { queue: QueueName, vhost: VhostName, limit: u64 },
    #[error("connection refused: node connection limit ({0}) is reached")]
    NodeFull(u64),
    #[error("number of channels opened on node '{node}' has reached the maximum allowed limit of ({limit})")]
    NodeChannels { node: String, limit: u64 },
    #[error("reached maximum ({0}) of consumers per channel")]
    TooManyConsumers(u64),
    #[error("cannot create vhost '{vhost}': vhost limit of {limit} is reached")]
    TooManyVhosts { vhost: VhostName, limit: u64 },
    #[error("cannot declare queue '{queue}': queue limit in cluster ({limit}) is reached")]
    TooManyQueuesOfAll { queue: QueueName, limit: u64 },
    #[error("cannot declare exchange '{exchange}': exchange limit in cluster ({limit}) is reached")]
    TooManyExchanges { exchange: ExchangeName, limit: u64 },
    #[error("login refused")]
    LoginRefused,
    #[error("no such user '{0}'")]
    NoUser(UserName),
    #[error(transparent)]
    Pattern(#[from] permissions::Error),
    #[error("{0}")]
    Invalid(String),
    #[error(transparent)]
    Policy(#[from] Invalid),
    /// Nothing can be made durable any more; the node is about to end.
    #[error(transparent)]
    Journal(#[from] JournalFailed),
    #[error("no random bytes from the operating system")]
    NoRandom,
}
