//! The table of nouns: what the HTTP API has, what declares it, and what is done with it.
//!
//! To add a noun: an entry in [`NOUNS`]. Its options and keys are rabbitmqadmin's.

use super::values::{Field, Kind, Need};

/// What is done with a noun; also the names of commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Declare,
    Delete,
    List,
    Show,
    Purge,
    Close,
}

use Verb::{Close, Declare, Delete, List, Purge, Show};

impl Verb {
    pub(super) const ALL: [Verb; 6] = [Declare, Delete, List, Show, Purge, Close];

    pub(super) fn name(self) -> &'static str {
        match self {
            Declare => "declare",
            Delete => "delete",
            List => "list",
            Show => "show",
            Purge => "purge",
            Close => "close",
        }
    }

    pub(super) fn about(self) -> &'static str {
        match self {
            Declare => "Declare a queue, exchange, binding, user, …; with options, or as NAME=VALUE",
            Delete => "Delete a queue, exchange, binding, user, …",
            List => "List queues, exchanges, bindings, users, …, of all vhosts unless one is named",
            Show => "Show one thing with all that the HTTP API says of it",
            Purge => "Remove all ready messages from a queue",
            Close => "Close connections",
        }
    }
}

/// A noun.
pub(super) struct Noun {
    /// One of it.
    pub(super) name: &'static str,
    /// Many of it; empty if there is one only.
    pub(super) plural: &'static str,
    /// Its path in the API, without `/api`; in braces: the vhost, and fields.
    pub(super) path: &'static str,
    /// Which part of the answer is meant; empty = all.
    pub(super) part: &'static str,
    /// The path of the list; in braces what it goes on with if that is given: the vhost, and fields.
    pub(super) list: &'static str,
    /// The fields that a list is asked by.
    pub(super) list_by: &'static [Field],
    /// The fields that a list shows.
    pub(super) columns: &'static [&'static str],
    pub(super) fields: &'static [Field],
    /// Those fields that people know it by.
    pub(super) known_by: &'static [&'static str],
    pub(super) verbs: &'static [Verb],
}

const OF_CONNECTION: &[&str] = &["name", "user", "vhost", "peer_host", "state", "channels", "protocol"];

/// Other names of a verb with a noun (as the verb calls it): the group, and the name in it.
pub(super) const SAME: &[(&str, &str, Verb, &str)] = &[
    ("exchanges", "bind", Declare, "binding"),
    ("exchanges", "unbind", Delete, "binding"),
    ("parameters", "list_all", List, "parameters"),
    ("parameters", "list_in", List, "parameters"),
    ("parameters", "set", Declare, "parameter"),
    ("parameters", "clear", Delete, "parameter"),
    ("global_parameters", "set", Declare, "global_parameter"),
    ("global_parameters", "clear", Delete, "global_parameter"),
    ("policies", "set", Declare, "policy"),
    ("policies", "update", Declare, "policy"),
    ("operator_policies", "set", Declare, "operator_policy"),
    ("operator_policies", "update", Declare, "operator_policy"),
    ("connections", "list_of_user", List, "user_connections"),
    ("connections", "close_of_user", Close, "user_connections"),
    ("users", "connections", List, "user_connections"),
    ("users", "permissions", List, "permissions"),
    ("users", "limits", List, "user_limits"),
    ("deprecated_features", "list_used", List, "deprecated_features_in_use"),
];

/// What most entries have in common.
const NOUN: Noun = Noun {
    name: "",
    plural: "",
    path: "",
    part: "",
    list: "",
    list_by: &[],
    columns: &[],
    fields: &[],
    known_by: &["name"],
    verbs: &[List],
};

const fn must(option: &'static str, key: &'static str, help: &'static str) -> Field {
    Field { option, key, kind: Kind::Text, need: Need::Must, help }
}

const fn may(option: &'static str, key: &'static str, kind: Kind, help: &'static str) -> Field {
    Field { option, key, kind, need: Need::May, help }
}

const fn defaulting(
    option: &'static str,
    key: &'static str,
    kind: Kind,
    default: &'static str,
    help: &'static str,
) -> Field {
    Field { option, key, kind, need: Need::Default(default), help }
}

const NAME: Field = must("name", "name", "Its name");
const USER: Field = must("user", "user", "Name of the user");
const DURABLE: Field =
    defaulting("durable", "durable", Kind::Switch, "true", "Whether it is there after a restart");
const AUTO_DELETE: Field = defaulting(
    "auto-delete",
    "auto_delete",
    Kind::Switch,
    "false",
    "Whether it is deleted when nobody uses it any more",
);
const ARGUMENTS: Field = may("arguments", "arguments", Kind::Json, "More arguments, as JSON");
const JSON_VALUE: Field =
    Field { option: "value", key: "value", kind: Kind::Json, need: Need::Must, help: "Its value, as JSON" };
const OF_POLICY: &[Field] = &[
    NAME,
    must("pattern", "pattern", "Regular expression for names"),
    Field {
        option: "definition",
        key: "definition",
        kind: Kind::Json,
        need: Need::Must,
        help: "Keys and values, as JSON",
    },
    defaulting("apply-to", "apply-to", Kind::Text, "all", "all, queues, exchanges, classic_queues, …"),
    defaulting("priority", "priority", Kind::Number, "0", "Of several that match, the highest counts"),
];
const POLICY_COLUMNS: &[&str] = &["vhost", "name", "pattern", "apply-to", "priority", "definition"];
const ALL: &[Verb] = &[Declare, Delete, List, Show];

/// All nouns.
pub(super) const NOUNS: &[Noun] = &[
    Noun {
        name: "queue",
        plural: "queues",
        path: "queues/{vhost}/{name}",
        list: "queues/{vhost}",
        columns: &[
            "vhost",
            "name",
            "type",
            "durable",
            "auto_delete",
            "messages",
            "consumers",
            "policy",
            "state",
        ],
        fields: &[
            NAME,
            may("type", "type", Kind::Argument("x-queue-type"), "classic, quorum, …"),
            DURABLE,
            AUTO_DELETE,
            ARGUMENTS,
        ],
        verbs: &[Declare, Delete, List, Show, Purge],
        ..NOUN
    },
    Noun {
        name: "exchange",
        plural: "exchanges",
        path: "exchanges/{vhost}/{name}",
        list: "exchanges/{vhost}",
        columns: &["vhost", "name", "type", "durable", "auto_delete", "internal", "policy"],
        fields: &[
            NAME,
            defaulting("type", "type", Kind::Text, "direct", "direct, fanout, topic, headers, …"),
            DURABLE,
            AUTO_DELETE,
            defaulting("internal", "internal", Kind::Switch, "false", "Whether clients cannot publish to it"),
            ARGUMENTS,
        ],
        verbs: ALL,
        ..NOUN
    },
    Noun {
        name: "binding",
        plural: "bindings",
        path: "bindings/{vhost}/e/{source}/{destination_type}/{destination}",
        list: "bindings/{vhost}",
        columns: &["vhost", "source", "destination", "destination_type", "routing_key", "arguments"],
        fields: &[
            must("source", "source", "The exchange that messages come from"),
            must("destination", "destination", "The queue or exchange that they go to"),
            defaulting(
                "destination-type",
                "destination_type",
                Kind::Destination,
                "queue",
                "queue or exchange",
            ),
            defaulting("routing-key", "routing_key", Kind::Text, "", "The routing key, or pattern"),
            ARGUMENTS,
        ],
        known_by: &["source", "destination"],
        verbs: &[Declare, Delete, List],
        ..NOUN
    },
    Noun {
        name: "vhost",
        plural: "vhosts",
        path: "vhosts/{name}",
        list: "vhosts",
        columns: &["name", "description", "tags", "default_queue_type", "messages", "tracing"],
        fields: &[
            NAME,
            may("description", "description", Kind::Text, "What it is for"),
            may("tags", "tags", Kind::Text, "Tags, separated by commas"),
            may("default-queue-type", "default_queue_type", Kind::Text, "Of queues declared without a type"),
            may(
                "tracing",
                "tracing",
                Kind::Switch,
                "Whether copies of its traffic are sent to amq.rabbitmq.trace",
            ),
        ],
        verbs: ALL,
        ..NOUN
    },
    Noun {
        name: "user",
        plural: "users",
        path: "users/{name}",
        list: "users",
        columns: &["name", "tags"],
        fields: &[
            NAME,
            may("password", "password", Kind::Text, "Its password"),
            may("password-hash", "password_hash", Kind::Text, "Or the hash of it"),
            may("hashing-algorithm", "hashing_algorithm", Kind::Text, "The algorithm of the hash"),
            defaulting("tags", "tags", Kind::Text, "", "Tags, separated by commas"),
        ],
        verbs: ALL,
        ..NOUN
    },
    Noun {
        name: "permissions",
        plural: "permissions",
        path: "permissions/{vhost}/{user}",
        list: "permissions",
        columns: &["vhost", "user", "configure", "write", "read"],
        fields: &[
            USER,
            must("configure", "configure", "Pattern of what it may declare and delete"),
            must("write", "write", "Pattern of what it may publish to"),
            must("read", "read", "Pattern of what it may consume from"),
        ],
        known_by: &["user"],
        verbs: ALL,
        ..NOUN
    },
    Noun {
        name: "policy",
        plural: "policies",
        path: "policies/{vhost}/{name}",
        list: "policies/{vhost}",
        columns: POLICY_COLUMNS,
        fields: OF_POLICY,
        verbs: ALL,
        ..NOUN
    },
    Noun {
        name: "operator_policy",
        plural: "operator_policies",
        path: "operator-policies/{vhost}/{name}",
        list: "operator-policies/{vhost}",
        columns: POLICY_COLUMNS,
        fields: OF_POLICY,
        verbs: ALL,
        ..NOUN
    },
    Noun {
        name: "parameter",
        plural: "parameters",
        path: "parameters/{component}/{vhost}/{name}",
        list: "parameters/{component}/{vhost}",
        list_by: &[may("component", "component", Kind::Text, "Only those of this component")],
        columns: &["vhost", "component", "name", "value"],
        fields: &[must("component", "component", "What it is a parameter of"), NAME, JSON_VALUE],
        known_by: &["component", "name"],
        verbs: ALL,
        ..NOUN
    },
    Noun {
        name: "global_parameter",
        plural: "global_parameters",
        path: "global-parameters/{name}",
        list: "global-parameters",
        columns: &["name", "value"],
        fields: &[NAME, JSON_VALUE],
        verbs: ALL,
        ..NOUN
    },
    Noun {
        name: "vhost_limit",
        plural: "vhost_limits",
        path: "vhost-limits/{vhost}/{name}",
        list: "vhost-limits/{vhost}",
        columns: &["vhost", "value"],
        fields: &[must("name", "name", "max-connections or max-queues"), JSON_VALUE],
        verbs: &[Declare, Delete, List],
        ..NOUN
    },
    Noun {
        name: "user_limit",
        plural: "user_limits",
        path: "user-limits/{user}/{name}",
        list: "user-limits/{user}",
        list_by: &[may("user", "user", Kind::Text, "Only those of this user")],
        columns: &["user", "value"],
        fields: &[USER, must("name", "name", "max-connections or max-channels"), JSON_VALUE],
        known_by: &["user", "name"],
        verbs: &[Declare, Delete, List],
        ..NOUN
    },
    Noun {
        name: "connection",
        plural: "connections",
        path: "connections/{name}",
        list: "connections",
        columns: OF_CONNECTION,
        fields: &[NAME],
        verbs: &[List, Show, Close],
        ..NOUN
    },
    Noun {
        name: "user_connections",
        plural: "user_connections",
        path: "connections/username/{username}",
        list: "connections/username/{username}",
        list_by: &[must("username", "username", "Name of the user")],
        columns: OF_CONNECTION,
        fields: &[must("username", "username", "Name of the user")],
        known_by: &["username"],
        verbs: &[List, Close],
        ..NOUN
    },
    Noun {
        name: "channel",
        plural: "channels",
        path: "channels/{name}",
        list: "channels",
        columns: &["name", "user", "vhost", "number", "state", "consumer_count", "messages_unacknowledged"],
        fields: &[NAME],
        verbs: &[List, Show],
        ..NOUN
    },
    Noun {
        plural: "consumers",
        list: "consumers/{vhost}",
        columns: &[
            "queue.vhost",
            "queue.name",
            "consumer_tag",
            "channel_details.name",
            "prefetch_count",
            "active",
        ],
        ..NOUN
    },
    Noun {
        name: "node",
        plural: "nodes",
        path: "nodes/{name}",
        list: "nodes",
        columns: &["name", "running", "uptime", "mem_used", "disk_free", "fd_used"],
        fields: &[NAME],
        verbs: &[List, Show],
        ..NOUN
    },
    Noun { plural: "feature_flags", list: "feature-flags", columns: &["name", "state", "desc"], ..NOUN },
    Noun {
        plural: "deprecated_features",
        list: "deprecated-features",
        columns: &["name", "deprecation_phase", "desc"],
        ..NOUN
    },
    Noun {
        plural: "deprecated_features_in_use",
        list: "deprecated-features/used",
        columns: &["name", "deprecation_phase", "desc"],
        ..NOUN
    },
    Noun { name: "overview", path: "overview", verbs: &[Show], ..NOUN },
    Noun { name: "churn", path: "overview", part: "churn_rates", verbs: &[Show], ..NOUN },
    Noun { name: "whoami", path: "whoami", verbs: &[Show], ..NOUN },
];
