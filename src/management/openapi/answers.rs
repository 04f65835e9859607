//! The objects of answers. Names of figures stand in the views. PURE.

use super::schema::Kind::{
    Any, Count, Either, EmptyList, Flag, List, Map, Maybe, Number, OneOf, Text, Whole,
};
use super::schema::{Kind, Object, always, object, sometimes};
use crate::management::view::stats::Figure;
use crate::management::view::{connection, exchange, node, queue};

pub(super) const TEXTS: Kind = List(&Text);
pub(super) const TABLE: Kind = Map(&Any);
pub(super) const NAME: Kind = Maybe(&Text);

pub(super) const LENGTHS: &[Figure] = split(&queue::FIGURES, queue::LENGTHS).0;
const MESSAGES: &[Figure] = split(&queue::FIGURES, queue::LENGTHS).1;
/// Behind `publish`, which queues have, too.
const OF_NODE_ALONE: &[Figure] = split(&node::FIGURES, node::OF_NODE + 1).1;
const BYTES: &[Figure] = &connection::FIGURES;

pub(super) const fn split(figures: &'static [Figure], at: usize) -> (&'static [Figure], &'static [Figure]) {
    figures.split_at(at)
}

/// What stands beside a figure.
pub(super) const DETAILS: Object = object(
    "Details",
    "How a figure changes.",
    &[
        always("rate", Number, "How much it grew per second between the last two samples."),
        sometimes(
            "samples",
            List(&Kind::Object(&SAMPLE)),
            "Of the span that was asked for, the newest first.",
        ),
        sometimes("avg", Number, "The mean of the samples."),
        sometimes("avg_rate", Number, "How much it grew per second over the span."),
    ],
);

const SAMPLE: Object = object(
    "Sample",
    "A figure at a time.",
    &[always("sample", Count, ""), always("timestamp", Count, "In milliseconds since 1970.")],
);

pub(super) const ERROR: Object = object(
    "Error",
    "Why a request is refused.",
    &[always("error", Text, "The kind of error."), always("reason", Text, "What is wrong, in words.")],
);

pub(super) const MESSAGE_STATS: Object =
    object("MessageStats", "What happened to messages of a queue.", &[]).with(&[MESSAGES]);

const VHOST_STATS: Object = object("VhostStats", "What happened to messages in a vhost.", &[])
    .with(&[MESSAGES, split(&exchange::FIGURES, exchange::OWN).1]);

pub(super) const NODE_STATS: Object =
    object("NodeStats", "What happened to messages.", &[]).with(&[MESSAGES, OF_NODE_ALONE]);

const CHANNEL_STATS: Object =
    object("ChannelStats", "What went over a channel.", &[]).with(&[&connection::CHANNEL_FIGURES]);

const EXCHANGE_STATS: Object = object("ExchangeStats", "What went through an exchange.", &[]).with(&[split(
    &exchange::FIGURES,
    exchange::OWN,
)
.0]);

pub(super) const VHOST_METADATA: Object = object(
    "VhostMetadata",
    "What is known of a vhost.",
    &[
        always("description", Text, ""),
        always("tags", TEXTS, ""),
        sometimes("default_queue_type", Text, ""),
        always("protected_from_deletion", Flag, ""),
    ],
);

pub(super) const VHOST: Object = object(
    "Vhost",
    "A virtual host.",
    &[
        always("name", Text, ""),
        always("description", Text, ""),
        always("tags", TEXTS, ""),
        always("default_queue_type", Text, ""),
        always("metadata", Kind::Object(&VHOST_METADATA), ""),
        always("protected_from_deletion", Flag, ""),
        always("tracing", Flag, "Whether the firehose is on."),
        always("cluster_state", Map(&Text), "By the node's name."),
        sometimes("message_stats", Kind::Object(&VHOST_STATS), ""),
    ],
)
.with(&[LENGTHS, BYTES]);

pub(super) const USER: Object = object(
    "User",
    "A user.",
    &[
        always("name", Text, ""),
        always("password_hash", Text, "Salt and hash, as base64; empty for a user without a password."),
        always("hashing_algorithm", Text, ""),
        always("tags", TEXTS, ""),
        always("limits", Map(&Whole), ""),
    ],
);

pub(super) const REPLICA: Object = object(
    "Replica",
    "A replica of a quorum queue.",
    &[
        always("Node Name", Text, ""),
        always("Raft State", Text, "`leader`."),
        always("Membership", Text, "`voter`."),
    ],
);

pub(super) const WHOAMI: Object = object(
    "Whoami",
    "Who asks.",
    &[
        always("name", Text, ""),
        always("tags", TEXTS, ""),
        always("is_internal_user", Flag, ""),
        always("login_session_timeout", Count, "In minutes."),
    ],
);

pub(super) const PERMISSIONS: Object = object(
    "Permissions",
    "What a user may do in a vhost: names that match these regular expressions.",
    &[
        always("user", Text, ""),
        always("vhost", Text, ""),
        always("configure", Text, ""),
        always("write", Text, ""),
        always("read", Text, ""),
    ],
);

pub(super) const TOPIC_PERMISSIONS: Object = object(
    "TopicPermissions",
    "Which routing keys a user may use at a topic exchange: names that match these regular expressions.",
    &[
        always("user", Text, ""),
        always("vhost", Text, ""),
        always("exchange", Text, ""),
        always("write", Text, ""),
        always("read", Text, ""),
    ],
);

/// What is in lists that are always empty.
pub(super) const SESSION: Object =
    object("Session", "A session of AMQP 1.0: a connection of AMQP 0-9-1 has none.", &[]);

/// What a policy may apply to.
pub(super) const APPLY_TO: Kind =
    OneOf(&["all", "queues", "classic_queues", "quorum_queues", "streams", "exchanges"]);

pub(super) const POLICY: Object = object(
    "Policy",
    "A policy, of users or of operators.",
    &[
        sometimes("vhost", Text, "Absent in a vhost's file."),
        always("name", Text, ""),
        always("pattern", Text, "A regular expression: names that it applies to."),
        always("apply-to", APPLY_TO, ""),
        always("definition", TABLE, ""),
        always("priority", Whole, ""),
    ],
);

pub(super) const PARAMETER: Object = object(
    "Parameter",
    "A runtime parameter.",
    &[
        sometimes("vhost", Text, "Absent in a vhost's file."),
        always("component", Text, ""),
        always("name", Text, ""),
        always("value", Any, ""),
    ],
);

pub(super) const GLOBAL_PARAMETER: Object = object(
    "GlobalParameter",
    "A runtime parameter of the whole cluster.",
    &[always("name", Text, ""), always("value", Any, "")],
);

pub(super) const VHOST_LIMITS: Object = object(
    "VhostLimits",
    "The limits of a vhost.",
    &[always("vhost", Text, ""), always("value", Map(&Whole), "Below 0, there is none.")],
);

pub(super) const USER_LIMITS: Object = object(
    "UserLimits",
    "The limits of a user.",
    &[always("user", Text, ""), always("value", Map(&Whole), "Below 0, there is none.")],
);

const PEER: Object = object(
    "Peer",
    "The connection that something belongs to.",
    &[always("name", Text, ""), always("peer_host", Text, ""), always("peer_port", Count, "")],
);

pub(super) const QUEUE: Object = object(
    "Queue",
    "A queue. Lists have less of it where statistics are not wanted.",
    &[
        always("name", Text, ""),
        always("vhost", Text, ""),
        always("type", Text, ""),
        always("durable", Flag, ""),
        always("auto_delete", Flag, ""),
        always("exclusive", Flag, ""),
        always("arguments", TABLE, ""),
        always("node", Text, ""),
        always("state", Text, ""),
        always("internal", Flag, ""),
        always("policy", NAME, ""),
        always("operator_policy", NAME, ""),
        always("effective_policy_definition", TABLE, "What both policies say together."),
        sometimes("owner_pid_details", Kind::Object(&PEER), "Of an exclusive queue."),
        sometimes("leader", Text, "Of a quorum queue."),
        sometimes("members", TEXTS, "Of a quorum queue."),
        sometimes("online", TEXTS, "Of a quorum queue."),
        always("exclusive_consumer_tag", NAME, ""),
        always("single_active_consumer_tag", NAME, "Who is served, where one is."),
        sometimes("idle_since", Text, "Where nothing has happened since the last sample, or for longer."),
        always("consumers", Count, ""),
        always("consumer_capacity", Number, ""),
        always("consumer_utilisation", Number, ""),
        always("head_message_timestamp", Maybe(&Count), "Of the next message, where it has one."),
        always("memory", Count, "In bytes."),
        always("messages_ram", Count, ""),
        always("messages_ready_ram", Count, ""),
        always("messages_unacknowledged_ram", Count, ""),
        always("messages_paged_out", Count, "Those whose bodies are on disk only."),
        always("messages_persistent", Count, "Ready and unacked messages that a restart brings back."),
        always("message_bytes_persistent", Count, ""),
        always("message_bytes", Count, ""),
        always("message_bytes_ready", Count, ""),
        always("message_bytes_unacknowledged", Count, ""),
        always("messages_dlx", Count, "Dead letters that have not left yet."),
        always("message_bytes_dlx", Count, ""),
        always("messages_delayed", Count, "Messages that come back later."),
        sometimes("message_stats", Kind::Object(&MESSAGE_STATS), "Absent before anything happened."),
        sometimes("consumer_details", List(&Kind::Object(&CONSUMER)), "Of a single queue."),
        sometimes("incoming", List(&Any), "Of a single queue."),
        sometimes("deliveries", List(&Any), "Of a single queue."),
    ],
)
.with(&[LENGTHS]);

pub(super) const EXCHANGE: Object = object(
    "Exchange",
    "An exchange.",
    &[
        always("name", Text, "Empty for the default exchange."),
        always("vhost", Text, ""),
        always("type", Text, ""),
        always("durable", Flag, ""),
        always("auto_delete", Flag, ""),
        always("internal", Flag, ""),
        always("arguments", TABLE, ""),
        always("policy", NAME, ""),
        always("user_who_performed_action", Text, ""),
        sometimes("messages_delayed", Count, "Of an exchange that delays messages."),
        sometimes("message_stats", Kind::Object(&EXCHANGE_STATS), "Absent before anything happened."),
        sometimes("incoming", List(&Any), "Of a single exchange."),
        sometimes("outgoing", List(&Any), "Of a single exchange."),
    ],
);

pub(super) const BINDING: Object = object(
    "Binding",
    "A binding.",
    &[
        always("source", Text, "An exchange."),
        sometimes("vhost", Text, "Absent in a vhost's file."),
        always("destination", Text, ""),
        always("destination_type", OneOf(&["queue", "exchange"]), ""),
        always("routing_key", Text, ""),
        always("arguments", TABLE, ""),
        sometimes("properties_key", Text, "What tells it from others between the same two. Absent in files."),
    ],
);

pub(super) const CONNECTION: Object = object(
    "Connection",
    "A connection of a client.",
    &[
        always("name", Text, ""),
        always("node", Text, ""),
        always("user", Text, ""),
        always("user_who_performed_action", Text, ""),
        always("vhost", Text, ""),
        always("host", Text, "The node's address."),
        always("port", Count, "The node's port."),
        always("peer_host", Text, "The client's address."),
        always("peer_port", Count, "The client's port."),
        always("protocol", Text, ""),
        always("auth_mechanism", Text, ""),
        always("ssl", Flag, ""),
        always("ssl_protocol", NAME, ""),
        always("ssl_key_exchange", NAME, ""),
        always("ssl_cipher", NAME, ""),
        always("ssl_hash", NAME, ""),
        always("peer_cert_subject", NAME, ""),
        always("peer_cert_issuer", NAME, ""),
        always("peer_cert_validity", NAME, ""),
        always("state", OneOf(&["running", "blocked"]), ""),
        always("channels", Count, "How many it has open."),
        always("channel_max", Count, ""),
        always("frame_max", Count, "In bytes."),
        always("timeout", Count, "The heartbeat, in seconds."),
        always("client_properties", TABLE, "What the client says of itself."),
        always("connected_at", Count, "In milliseconds since 1970."),
        always("recv_cnt", Count, "How often something was read."),
        always("send_cnt", Count, "How often something was written."),
        always("send_pend", Count, ""),
        always("type", Text, ""),
        sometimes("user_provided_name", Text, "What the client calls it."),
    ],
)
.with(&[BYTES]);

pub(super) const CHANNEL: Object = object(
    "Channel",
    "A channel of a connection.",
    &[
        always("name", Text, ""),
        always("number", Count, ""),
        always("node", Text, ""),
        always("user", Text, ""),
        always("user_who_performed_action", Text, ""),
        always("vhost", Text, ""),
        always("connection_details", Kind::Object(&PEER), ""),
        always("state", Text, ""),
        always("transactional", Flag, ""),
        always("confirm", Flag, "Whether publishers are told what is safe."),
        always("consumer_count", Count, ""),
        sometimes("idle_since", Text, "Where nothing has happened since the last sample, or for longer."),
        always("messages_unacknowledged", Count, ""),
        always("messages_unconfirmed", Count, ""),
        always("messages_uncommitted", Count, ""),
        always("acks_uncommitted", Count, ""),
        always("prefetch_count", Count, "For each new consumer; 0 for any number."),
        always("global_prefetch_count", Count, "For the channel as a whole; 0 for any number."),
        always("pending_raft_commands", Count, ""),
        always("cached_segments", Count, ""),
        sometimes("message_stats", Kind::Object(&CHANNEL_STATS), "Absent before anything happened."),
        sometimes("consumer_details", List(&Kind::Object(&CONSUMER)), "Of a single channel."),
        sometimes("publishes", List(&Any), "Of a single channel."),
        sometimes("deliveries", List(&Any), "Of a single channel."),
    ],
);

const CHANNEL_DETAILS: Object = object(
    "ChannelDetails",
    "The channel of a consumer. Empty where it has gone meanwhile.",
    &[
        sometimes("connection_name", Text, ""),
        sometimes("name", Text, ""),
        sometimes("node", Text, ""),
        sometimes("number", Count, ""),
        sometimes("peer_host", Text, ""),
        sometimes("peer_port", Count, ""),
        sometimes("user", Text, ""),
    ],
);

const QUEUE_NAME: Object =
    object("QueueName", "A queue and its vhost.", &[always("name", Text, ""), always("vhost", Text, "")]);

pub(super) const CONSUMER: Object = object(
    "Consumer",
    "A consumer of a queue.",
    &[
        always("consumer_tag", Text, ""),
        always("ack_required", Flag, ""),
        always("exclusive", Flag, ""),
        always("prefetch_count", Count, ""),
        always("active", Flag, ""),
        always("activity_status", Text, "`up`, `single_active` or `waiting`."),
        always("consumer_timeout", Maybe(&Count), "Milliseconds that it may take to ack; null for any time."),
        always("arguments", TABLE, ""),
        always("channel_details", Kind::Object(&CHANNEL_DETAILS), ""),
        always("queue", Kind::Object(&QUEUE_NAME), ""),
    ],
);

pub(super) const FEATURE_FLAG: Object = object(
    "FeatureFlag",
    "Something that the broker can and RabbitMQ has a flag for.",
    &[
        always("name", Text, ""),
        always("desc", Text, ""),
        always("doc_url", Text, ""),
        always("state", Text, ""),
        always("stability", Text, ""),
        always("provided_by", Text, ""),
    ],
);

pub(super) const DEPRECATED_FEATURE: Object = object(
    "DeprecatedFeature",
    "Something that works, and that clients should not rely on.",
    &[
        always("name", Text, ""),
        always("desc", Text, ""),
        always("doc_url", Text, ""),
        always("deprecation_phase", Text, ""),
        always("provided_by", Text, ""),
    ],
);

pub(super) const AUTH_SETTINGS: Object =
    object("AuthSettings", "How people log in.", &[always("oauth_enabled", Flag, "")]);

pub(super) const LOGIN_ATTEMPTS: Object = object(
    "LoginAttempts",
    "How often people logged in, or tried to.",
    &[
        always("protocol", Text, "`amqp091` or `http`."),
        always("auth_attempts", Count, ""),
        always("auth_attempts_succeeded", Count, ""),
        always("auth_attempts_failed", Count, ""),
        sometimes("username", Text, "By source."),
        sometimes("remote_address", Text, "By source."),
    ],
);

pub(super) const PASSWORD_HASH: Object = object(
    "PasswordHash",
    "The hash of a password.",
    &[always("ok", Text, "What `password_hash` of a user takes.")],
);

pub(super) const ROUTED: Object =
    object("Routed", "What became of a message.", &[always("routed", Flag, "Whether it reached a queue.")]);

const PROPERTIES: Object = object(
    "Properties",
    "The properties of a message that are set.",
    &[
        sometimes("content_type", Text, ""),
        sometimes("content_encoding", Text, ""),
        sometimes("headers", TABLE, ""),
        sometimes("delivery_mode", Count, "2 for a persistent message."),
        sometimes("priority", Count, ""),
        sometimes("correlation_id", Text, ""),
        sometimes("reply_to", Text, ""),
        sometimes("expiration", Text, "In milliseconds."),
        sometimes("message_id", Text, ""),
        sometimes("timestamp", Count, "In seconds since 1970."),
        sometimes("type", Text, ""),
        sometimes("user_id", Text, ""),
        sometimes("app_id", Text, ""),
        sometimes("cluster_id", Text, ""),
    ],
);

pub(super) const MESSAGE: Object = object(
    "Message",
    "A message out of a queue.",
    &[
        always("payload_bytes", Count, ""),
        always("redelivered", Flag, ""),
        always("exchange", Text, ""),
        always("routing_key", Text, ""),
        always("message_count", Count, "How many the queue had left."),
        always("properties", Either(&[Kind::Object(&PROPERTIES), EmptyList]), ""),
        always("payload", Text, ""),
        always("payload_encoding", OneOf(&["string", "base64"]), ""),
    ],
);

pub(super) const IMPORTED: Object =
    object("Imported", "What came of a file.", &[always("left_out", TEXTS, "Each with the reason.")]);

pub(super) const PASSED: Object = object(
    "Passed",
    "A health check that passes.",
    &[
        always("status", OneOf(&["ok"]), ""),
        sometimes("reason", Text, ""),
        sometimes("port", Whole, ""),
        sometimes("protocol", Text, ""),
        sometimes("connections", Count, ""),
        sometimes("limit", Text, ""),
    ],
);

const ALARM: Object = object(
    "Alarm",
    "Why publishers are blocked.",
    &[always("node", Text, ""), always("resource", OneOf(&["memory", "disk"]), "")],
);

pub(super) const FAILED: Object = object(
    "Failed",
    "A health check that fails.",
    &[
        always("status", OneOf(&["failed"]), ""),
        always("reason", Text, ""),
        sometimes("alarms", List(&Kind::Object(&ALARM)), ""),
        sometimes("missing", Either(&[Whole, Text]), "What was asked for."),
        sometimes("ports", List(&Count), "What there is."),
        sometimes("protocols", TEXTS, "What there is."),
    ],
);
