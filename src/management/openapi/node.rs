//! The overview, the node, and what it uses of the machine. PURE.

use super::answers::{LENGTHS, NAME, NODE_STATS, TABLE, TEXTS, split};
use super::schema::Kind::{Any, Count, Either, Flag, List, Map, OneOf, Text};
use super::schema::{Kind, Object, always, object};
use crate::management::view::node;
use crate::management::view::stats::Figure;

const CHURN: &[Figure] = split(&node::FIGURES, node::CHURN).0;
const OF_NODE: &[Figure] = split(&node::FIGURES, node::OF_NODE).0;
const USED: &[Figure] = split(OF_NODE, node::CHURN).1;

const KNOWN_TYPE: Object = object(
    "KnownType",
    "Something that the node knows by a name.",
    &[always("name", Text, ""), always("description", Text, ""), always("enabled", Flag, "")],
);

const CONTEXT: Object = object(
    "Context",
    "Something that is served over HTTP.",
    &[
        always("description", Text, ""),
        always("path", Text, ""),
        always("port", Text, ""),
        always("ssl_opts", List(&Any), ""),
        always("node", Text, ""),
    ],
);

const LISTENER: Object = object(
    "Listener",
    "A port that the node listens on.",
    &[
        always("node", Text, ""),
        always("protocol", Text, "`amqp`, `http` …"),
        always("ip_address", Text, ""),
        always("port", Count, ""),
        always("tls", Flag, ""),
        always("socket_opts", TABLE, ""),
    ],
);

const OBJECT_TOTALS: Object = object(
    "ObjectTotals",
    "How many objects of each kind there are.",
    &[
        always("connections", Count, ""),
        always("channels", Count, ""),
        always("consumers", Count, ""),
        always("exchanges", Count, ""),
        always("queues", Count, ""),
    ],
);

const QUEUE_TOTALS: Object =
    object("QueueTotals", "How many messages the queues hold.", &[]).with(&[LENGTHS]);

const CHURN_RATES: Object =
    object("ChurnRates", "What came and went since the node started.", &[]).with(&[CHURN]);

pub(super) const OVERVIEW: Object = object(
    "Overview",
    "What the node is and how much it holds, as far as the user may see it.",
    &[
        always("management_version", Text, "The version of RabbitMQ whose API this is."),
        always("rates_mode", Text, ""),
        always("sample_retention_policies", Map(&List(&Count)), "For how many seconds samples are kept."),
        always("exchange_types", List(&Kind::Object(&KNOWN_TYPE)), ""),
        always("product_name", Text, ""),
        always("product_version", Text, ""),
        always("rabbitmq_version", Text, "The version of RabbitMQ that it behaves as."),
        always("cluster_name", Text, ""),
        always("cluster_tags", TABLE, ""),
        always("node_tags", TABLE, ""),
        always("erlang_version", Text, "Empty: there is none."),
        always("erlang_full_version", Text, "Empty: there is none."),
        always("crypto_lib_version", Text, "Empty: there is none."),
        always("release_series_support_status", Text, ""),
        always("disable_stats", Flag, "Whether nothing is sampled."),
        always("default_queue_type", Text, ""),
        always("is_op_policy_updating_enabled", Flag, ""),
        always("enable_queue_totals", Flag, ""),
        always("message_stats", Kind::Object(&NODE_STATS), "Empty before anything happened."),
        always("churn_rates", Kind::Object(&CHURN_RATES), ""),
        always("queue_totals", Kind::Object(&QUEUE_TOTALS), ""),
        always("object_totals", Kind::Object(&OBJECT_TOTALS), ""),
        always("statistics_db_event_queue", Count, ""),
        always("node", Text, ""),
        always("listeners", List(&Kind::Object(&LISTENER)), ""),
        always("contexts", List(&Kind::Object(&CONTEXT)), ""),
    ],
);

const APPLICATION: Object = object(
    "Application",
    "A program that the node runs.",
    &[always("name", Text, ""), always("description", Text, ""), always("version", Text, "")],
);

const STORE: Object = object(
    "Store",
    "What the journal has done since the node started.",
    &[
        always("journal_files", Count, "How many there are."),
        always("journal_files_deleted", Count, ""),
        always("journal_bytes_appended", Count, ""),
        always("journal_bytes_pending", Count, "Not synced yet."),
        always("records_appended", Count, ""),
        always("references", Count, ""),
        always("messages_moved", Count, ""),
        always("checkpoints", Count, ""),
        always("checkpoints_failed", Count, ""),
        always("damages_found_at_start", Count, ""),
        always("damaged_records_read", Count, ""),
        always("refused", NAME, "Why the disk takes nothing at the moment."),
    ],
);

pub(super) const NODE: Object = object(
    "Node",
    "The node, and what it uses of the machine.",
    &[
        always("name", Text, ""),
        always("type", Text, ""),
        always("running", Flag, ""),
        always("being_drained", Flag, ""),
        always("os_pid", Text, ""),
        always("uptime", Count, "In milliseconds."),
        always("processors", Count, ""),
        always("run_queue", Count, ""),
        always("mem_limit", Count, "In bytes; above it publishers are blocked."),
        always("mem_alarm", Flag, ""),
        always("mem_calculation_strategy", Text, ""),
        always("disk_free_limit", Count, "In bytes; below it publishers are blocked."),
        always("disk_free_alarm", Flag, ""),
        always("fd_total", Count, "The most file descriptors that the process may have."),
        always("sockets_total", Count, ""),
        always("proc_total", Count, ""),
        always("partitions", TEXTS, ""),
        always("rates_mode", Text, ""),
        always("net_ticktime", Count, ""),
        always("db_dir", Text, "The data directory."),
        always("config_files", TEXTS, ""),
        always("log_files", TEXTS, ""),
        always("enabled_plugins", TEXTS, ""),
        always("cluster_links", List(&Any), ""),
        always("applications", List(&Kind::Object(&APPLICATION)), ""),
        always("auth_mechanisms", List(&Kind::Object(&KNOWN_TYPE)), ""),
        always("exchange_types", List(&Kind::Object(&KNOWN_TYPE)), ""),
        always("contexts", List(&Kind::Object(&CONTEXT)), ""),
        always("rabbitmq_version", Text, "The version of RabbitMQ that it behaves as."),
        always("store", Kind::Object(&STORE), ""),
    ],
)
.with(&[CHURN, USED]);

const MEMORY_TOTAL: Object = object(
    "MemoryTotal",
    "The node's memory as a whole, in bytes.",
    &[always("erlang", Count, ""), always("rss", Count, ""), always("allocated", Count, "")],
);

pub(super) const MEMORY: Object = object(
    "NodeMemory",
    "What takes the node's memory.",
    &[always(
        "memory",
        Map(&Either(&[Count, Text, Kind::Object(&MEMORY_TOTAL)])),
        "By what takes it, in bytes; `total` in all and how it was found out, `strategy`, beside them.",
    )],
);

pub(super) const RELATIVE_MEMORY: Object = object(
    "NodeMemoryShares",
    "What takes the node's memory.",
    &[always("memory", Map(&Count), "By what takes it, in percent.")],
);

pub(super) const CLUSTER_NAME: Object =
    object("ClusterName", "What the cluster is called.", &[always("name", Text, "")]);

const SETTING: Object = object(
    "Setting",
    "A setting of the configuration.",
    &[
        always("key", Text, ""),
        always("value", NAME, "As text; secrets are not shown."),
        always("source", Text, "Where the value comes from."),
        always("unit", Text, ""),
        always("default", Text, "Empty where there is none."),
        always("live", Flag, "Whether it can change without a restart."),
        always("meaning", Text, ""),
    ],
);

const NOTICE: Object = object(
    "Notice",
    "What is to be said of a line of the configuration.",
    &[
        always("place", Text, ""),
        always("key", NAME, ""),
        always("verdict", OneOf(&["fine", "ignored", "warning", "error"]), ""),
        always("reason", Text, ""),
    ],
);

pub(super) const CONFIGURATION: Object = object(
    "Configuration",
    "The configuration that is in force.",
    &[
        always("file", NAME, ""),
        always("settings", List(&Kind::Object(&SETTING)), ""),
        always("notices", List(&Kind::Object(&NOTICE)), ""),
    ],
);

pub(super) const RELOADED: Object = object(
    "Reloaded",
    "What came of reading the configuration again.",
    &[
        always("changed", TEXTS, "Keys whose new values are in force."),
        always("needs_restart", TEXTS, "Keys whose new values are not."),
        always("notices", List(&Kind::Object(&NOTICE)), ""),
    ],
);
