//! The objects of bodies. A field that is null is one that is missing; flags and numbers may be written as texts. PURE.

use super::answers::APPLY_TO;
use super::schema::Kind::{Any, Count, Either, EmptyList, Flag, List, Map, Maybe, OneOf, Whole};
use super::schema::{Kind, Object, always, object, sometimes};

pub(super) const TEXT: Kind = Maybe(&Kind::Text);
/// Older tools write them as texts.
pub(super) const FLAG: Kind = Maybe(&Either(&[Flag, OneOf(&["true", "false"])]));
/// A list, or a text with commas.
pub(super) const TAGS: Kind = Either(&[List(&Kind::Text), Kind::Text]);
/// An object; RabbitMQ writes one without fields as an empty list.
pub(super) const TABLE: Kind = Maybe(&Either(&[Map(&Any), EmptyList]));
/// Older tools write them as texts.
const NUMBER: Kind = Maybe(&Either(&[Count, Kind::Digits]));

pub(super) const CLUSTER_NAME: Object = object(
    "ClusterNameBody",
    "What the cluster is to be called.",
    &[always("name", TEXT, "Clients that connect from now on are told.")],
);

pub(super) const LOGIN: Object = object(
    "LoginForm",
    "Who logs in.",
    &[always("username", Kind::Text, ""), always("password", Kind::Text, "")],
);

pub(super) const SETTING: Object = object(
    "SettingBody",
    "The value of a setting.",
    &[always("value", Either(&[Kind::Number, Flag, Kind::Text]), "As the configuration has it.")],
);

pub(super) const VHOST: Object = object(
    "VhostBody",
    "What is to be known of a vhost. What is left out stays as it is.",
    &[
        sometimes("description", TEXT, ""),
        sometimes("tags", Maybe(&TAGS), ""),
        sometimes("default_queue_type", TEXT, "The type of queues that are declared without one."),
        sometimes("tracing", FLAG, "Whether the firehose is on."),
        sometimes("protected_from_deletion", FLAG, ""),
    ],
);

pub(super) const USER: Object = object(
    "UserBody",
    "A user as a whole: with a password, with its hash, or without one.",
    &[
        always("tags", TAGS, "`administrator`, `monitoring`, `policymaker`, `management` or free words."),
        sometimes("password", TEXT, ""),
        sometimes("password_hash", TEXT, "Salt and hash, as base64."),
        sometimes("hashing_algorithm", TEXT, ""),
    ],
);

pub(super) const PASSWORD: Object =
    object("PasswordBody", "A password to be hashed.", &[always("password", TEXT, "")]);

pub(super) const ACTION: Object =
    object("ActionBody", "Something that a queue is to do.", &[always("action", TEXT, "")]);

pub(super) const USERS: Object =
    object("UsersBody", "Users to be deleted.", &[always("users", Maybe(&TAGS), "Their names.")]);

pub(super) const TOPIC_PERMISSIONS: Object = object(
    "TopicPermissionsBody",
    "Which routing keys a user may use at a topic exchange: regular expressions, the empty one for none. `{username}` and \
     `{vhost}` stand for these names.",
    &[
        always("exchange", Kind::Text, "Its name; it need not be there yet."),
        always("write", Kind::Text, "To publish with."),
        always("read", Kind::Text, "To bind with."),
    ],
);

pub(super) const PERMISSIONS: Object = object(
    "PermissionsBody",
    "Regular expressions of the names that a user may use.",
    &[always("configure", TEXT, ""), always("write", TEXT, ""), always("read", TEXT, "")],
);

pub(super) const POLICY: Object = object(
    "PolicyBody",
    "A policy as a whole.",
    &[
        always("pattern", Kind::Text, "A regular expression: names that it applies to."),
        always("definition", Map(&Any), "At least one policy key with its value."),
        sometimes("priority", Maybe(&Whole), ""),
        sometimes("apply-to", Maybe(&APPLY_TO), ""),
    ],
);

pub(super) const PARAMETER: Object = object(
    "ParameterBody",
    "The value of a parameter.",
    &[always("value", Either(&[Map(&Any), List(&Any)]), "")],
);

pub(super) const GLOBAL_PARAMETER: Object =
    object("GlobalParameterBody", "The value of a global parameter.", &[always("value", Any, "")]);

pub(super) const LIMIT: Object = object(
    "LimitBody",
    "The value of a limit.",
    &[always("value", Whole, "Below 0, there is no limit; above, the most that there may be.")],
);

pub(super) const QUEUE: Object = object(
    "QueueBody",
    "A queue to be declared.",
    &[
        sometimes("durable", FLAG, ""),
        sometimes("auto_delete", FLAG, ""),
        sometimes("arguments", TABLE, "`x-queue-type`, `x-max-length` …"),
    ],
);

pub(super) const EXCHANGE: Object = object(
    "ExchangeBody",
    "An exchange to be declared.",
    &[
        sometimes("type", TEXT, "`direct`, if there is none."),
        sometimes("durable", FLAG, ""),
        sometimes("auto_delete", FLAG, ""),
        sometimes("internal", FLAG, "Whether nobody may publish to it."),
        sometimes("arguments", TABLE, ""),
    ],
);

pub(super) const BINDING: Object = object(
    "BindingBody",
    "A binding to be made.",
    &[sometimes("routing_key", TEXT, ""), sometimes("arguments", TABLE, "")],
);

const PROPERTIES: Object = object(
    "PropertiesBody",
    "The properties of a message.",
    &[
        sometimes("content_type", TEXT, ""),
        sometimes("content_encoding", TEXT, ""),
        sometimes("headers", TABLE, ""),
        sometimes("delivery_mode", NUMBER, "2 for a persistent message."),
        sometimes("priority", NUMBER, ""),
        sometimes("correlation_id", TEXT, ""),
        sometimes("reply_to", TEXT, ""),
        sometimes("expiration", TEXT, "In milliseconds."),
        sometimes("message_id", TEXT, ""),
        sometimes("timestamp", NUMBER, "In seconds since 1970."),
        sometimes("type", TEXT, ""),
        sometimes("user_id", TEXT, ""),
        sometimes("app_id", TEXT, ""),
        sometimes("cluster_id", TEXT, ""),
    ],
);

pub(super) const PUBLISH: Object = object(
    "PublishBody",
    "A message to be published.",
    &[
        always("routing_key", TEXT, ""),
        always("properties", Maybe(&Either(&[Kind::Object(&PROPERTIES), EmptyList])), ""),
        always("payload", TEXT, ""),
        always("payload_encoding", OneOf(&["string", "base64"]), "What the payload is."),
    ],
);

pub(super) const GET: Object = object(
    "GetBody",
    "How messages are to be taken out of a queue.",
    &[
        always("count", NUMBER, "The most messages; 10000 in any case."),
        always(
            "ackmode",
            OneOf(&["ack_requeue_true", "reject_requeue_true", "ack_requeue_false", "reject_requeue_false"]),
            "What becomes of them: back in their place, or gone.",
        ),
        always("encoding", OneOf(&["auto", "base64"]), "`auto`: as text where it is UTF-8."),
        sometimes("truncate", NUMBER, "The most bytes of a payload that are shown."),
    ],
);
