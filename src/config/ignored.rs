//! RabbitMQ's keys that are known here and not obeyed: why, and what to do instead. PURE.
//!
//! A setting of that key counts before this table: whoever adds one need not remove its line here.

use super::layers::Verdict::{self, Error, Ignored, Warning};
use super::setting::name_in;

/// Keys with the reason why they are not obeyed.
struct Passed {
    /// A `*` at the end stands for any rest, elsewhere for a part without dots.
    keys: &'static [&'static str],
    verdict: Verdict,
    reason: &'static str,
}

const fn passed(verdict: Verdict, keys: &'static [&'static str], reason: &'static str) -> Passed {
    Passed { keys, verdict, reason }
}

const NO_TLS: &str = "there is no TLS in this version: nothing is encrypted. Put a proxy that ends TLS in front of the \
                      broker, and let the broker listen on 127.0.0.1 or a private network only";
const ONE_NODE: &str = "clustering: there is one node";
const NO_ERLANG: &str = "Erlang: there is no virtual machine to tune";
const STORE: &str =
    "RabbitMQ's store: the journal here needs no tuning for it; see docs/durability.md for what can be set";
const NO_PLUGIN: &str = "the plugin's protocol is not spoken here: its clients cannot connect";
const NO_AUTH: &str = "logins are checked against the users of this node only. Import them (docs/definitions.md) or make \
                       them with `warrenctl add_user`";
const LOG_FORM: &str = "the form of log lines: set the formatter to plaintext or json";
const SOCKET: &str = "an option of Erlang's sockets";

/// Every key that is known and not obeyed; the first that fits counts.
const PASSED: &[Passed] = &[
    passed(Warning, &["listeners.ssl", "listeners.ssl.*", "ssl_options", "ssl_options.*"], NO_TLS),
    passed(
        Warning,
        &["management.ssl.*", "management.listener.ssl", "management.listener.ssl_opts*"],
        NO_TLS,
    ),
    passed(Warning, &["prometheus.ssl.*", "mqtt.listeners.ssl*", "stomp.listeners.ssl*"], NO_TLS),
    passed(Warning, &["stream.listeners.ssl*", "web_mqtt.ssl.*", "web_stomp.ssl.*", "sni_hosts.*"], NO_TLS),
    passed(Ignored, &["ssl_handshake_timeout", "ssl_allow_poodle_attack", "num_acceptors.ssl"], NO_TLS),
    passed(
        Warning,
        &["ssl_cert_login_from", "ssl_cert_login_san_type", "ssl_cert_login_san_index", "trust_store.*"],
        "there is no TLS in this version, so nobody logs in by a certificate: give these users passwords",
    ),
    passed(
        Warning,
        &[
            "auth_backends.*",
            "auth_ldap.*",
            "auth_http.*",
            "auth_cache.*",
            "auth_oauth2.*",
            "auth_internal_loopback.*",
        ],
        NO_AUTH,
    ),
    passed(
        Warning,
        &["management.oauth_*", "management.enable_uaa", "management.uaa_*", "management.disable_basic_auth"],
        "the HTTP API takes a user and a password (basic authentication) only",
    ),
    passed(Warning, &["management.basic_auth.*"], "the HTTP API always takes basic authentication"),
    passed(
        Warning,
        &[
            "proxy_protocol",
            "proxy_protocol.*",
            "mqtt.proxy_protocol",
            "stomp.proxy_protocol",
            "stream.proxy_protocol",
        ],
        "the PROXY protocol is not spoken: behind a proxy that sends it no client can connect, and behind one that does \
         not every client has the proxy's address (also for loopback_users)",
    ),
    passed(
        Warning,
        &["web_mqtt.proxy_protocol", "web_stomp.proxy_protocol"],
        "the PROXY protocol is not spoken",
    ),
    passed(
        Warning,
        &["distributed_cookie", "erlang.cookie"],
        "Erlang's cookie is a secret that is not needed here: take it out of the file",
    ),
    passed(
        Warning,
        &["message_interceptors.*", "channel_interceptor.priorities.*"],
        "interceptors are not in Warren: messages get no timestamp or client id of the broker's",
    ),
    passed(
        Warning,
        &["queue_types.*", "exchange_types.*"],
        "types cannot be turned off; policies and permissions can keep clients from declaring",
    ),
    passed(
        Warning,
        &["definitions.https.url", "definitions.tls.*", "definitions.ssl_options.*"],
        "definitions are read from a file only: fetch it before the start and name it in load_definitions",
    ),
    passed(
        Ignored,
        &["definitions.import_backend", "definitions.skip_if_unchanged", "definitions.hashing.algorithm"],
        "definitions are imported from load_definitions at every start; what is the same already is not changed",
    ),
    passed(
        Ignored,
        &["cluster_formation.*", "cluster_partition_handling", "cluster_partition_handling.*"],
        ONE_NODE,
    ),
    passed(Ignored, &["cluster_keepalive_interval", "net_ticktime", "distribution.*"], ONE_NODE),
    passed(Ignored, &["queue_leader_locator", "queue_master_locator", "mirroring_sync_*"], ONE_NODE),
    passed(Ignored, &["mnesia_table_loading_retry_*", "metadata_store.*", "khepri.*"], ONE_NODE),
    passed(
        Ignored,
        &["quorum_queue.*", "raft.*"],
        "clustering: there is one node, and quorum queues need no log of their own",
    ),
    passed(
        Ignored,
        &["node_tags.*", "cluster_tags.*"],
        "tags of nodes are not shown; name the cluster by cluster_name",
    ),
    passed(Ignored, &["erlang.*", "vm_args.*", "hipe_compile", "sysmon_handler.*"], NO_ERLANG),
    passed(Ignored, &["background_gc_*", "writer_gc_threshold", "socket_writer.gc_threshold"], NO_ERLANG),
    passed(Ignored, &["default_worker_pool_size", "delegate_count", "num_acceptors.*"], NO_ERLANG),
    passed(Ignored, &["vm_memory_calculation_strategy"], "memory is what the system says is resident (rss)"),
    passed(
        Ignored,
        &["vm_memory_high_watermark_paging_ratio"],
        "messages are on disk from the start; message_memory_limit says what they may take of memory",
    ),
    passed(
        Ignored,
        &["classic_queue.*", "queue_index_embed_msgs_below", "msg_store_*", "message_store_shutdown_timeout"],
        STORE,
    ),
    passed(
        Ignored,
        &["lazy_queue_*", "vhost_restart_strategy", "queue_explicit_gc_run_operation_threshold"],
        STORE,
    ),
    passed(
        Ignored,
        &["credit_flow_default_credit", "credit_flow_default_credit.*", "stream_messages_soft_limit"],
        "publishers are slowed by not reading their socket: there is no credit to set",
    ),
    passed(
        Ignored,
        &[
            "dead_letter_worker_*",
            "channel_operation_timeout",
            "channel_tick_interval",
            "reverse_dns_lookups",
        ],
        "an inner limit of RabbitMQ that has nothing to limit here",
    ),
    passed(
        Ignored,
        &["initial_frame_max"],
        "frames of up to 8192 bytes are taken before a client has agreed on a size",
    ),
    passed(
        Ignored,
        &[
            "default_policies.operator.*.max_in_memory_length",
            "default_policies.operator.*.max_in_memory_bytes",
            "default_policies.operator.*.classic_queues.ha_mode",
            "default_policies.operator.*.classic_queues.ha_params",
            "default_policies.operator.*.classic_queues.ha_sync_mode",
            "default_policies.operator.*.classic_queues.queue_version",
        ],
        "the key of a policy that RabbitMQ gave up",
    ),
    passed(
        Ignored,
        &["consumer_disconnected_timeout"],
        "clustering: a consumer of this node is connected or gone",
    ),
    passed(
        Ignored,
        &["deprecated_features.permit.*"],
        "what RabbitMQ gave up is still there: nothing has to be permitted",
    ),
    passed(Ignored, &["feature_flags.*"], "all features are on from the start"),
    passed(Ignored, &["product.name", "product.version"], "Warren says its own name and version"),
    passed(Ignored, &["prevent_startup_if_node_was_reset"], "a data directory is never reset by the broker"),
    passed(Ignored, &["session_max_per_connection", "link_max_per_session"], "AMQP 1.0 is not spoken here"),
    passed(Warning, &["amqp1_0.*", "mqtt.*", "stomp.*", "stream.*", "web_mqtt.*", "web_stomp.*"], NO_PLUGIN),
    passed(
        Warning,
        &["federation.*", "shovel.*", "runtime_parameters.limits.*"],
        "federation and shovels are not in Warren: their parameters are kept, and nothing follows from them",
    ),
    passed(Ignored, &["aws.*"], "nothing is asked of AWS"),
    passed(
        Ignored,
        &["event_exchange.*"],
        "events go to amq.rabbitmq.event of default_vhost; see docs/events.md",
    ),
    passed(
        Ignored,
        &[
            "collect_statistics",
            "collect_statistics_interval",
            "management_agent.*",
            "management.db_cache_multiplier",
        ],
        "statistics are always there: the HTTP API reads them where they arise",
    ),
    passed(
        Ignored,
        &["management.rates_mode", "management.sample_retention_policies.*", "management.disable_stats"],
        "statistics are always there: the HTTP API reads them where they arise",
    ),
    passed(Ignored, &["management.enable_queue_totals"], "the totals of queues are always shown"),
    passed(Ignored, &["management.hide_ui_connections", "management.restrictions.*"], "there is no web page"),
    passed(Ignored, &["management.http_log_dir"], "requests to the HTTP API are not logged one by one"),
    passed(
        Ignored,
        &["management.tcp.*", "management.listener.*", "prometheus.tcp.*"],
        "an option of RabbitMQ's HTTP server; requests and idle connections are bounded here without it",
    ),
    passed(Ignored, &["management.headers.*", "management.http.*"], "an option of RabbitMQ's web pages"),
    passed(Ignored, &["prometheus.*"], "an option of RabbitMQ's exporter"),
    passed(
        Ignored,
        &[
            "log.ra.*",
            "log.mirroring.*",
            "log.upgrade.*",
            "log.federation.*",
            "log.shovel.*",
            "log.ldap.*",
            "log.prelaunch.*",
            "log.osiris.*",
        ],
        "a part of RabbitMQ that is not here logs nothing",
    ),
    passed(
        Warning,
        &["log.syslog", "log.syslog.*", "log.journald", "log.journald.*"],
        "log lines go to the console, a file and the log exchange only; systemd takes the console's into its journal",
    ),
    passed(
        Ignored,
        &[
            "log.*.formatter.*",
            "log.console.color_esc_seqs.*",
            "log.console.use_colors",
            "log.console.stdio",
            "log.exchange.*",
        ],
        LOG_FORM,
    ),
    passed(Ignored, &["log.*"], "categories share one file and its rotation: see log.file"),
    passed(Ignored, &["tcp_listen_options", "tcp_listen_options.*"], SOCKET),
    passed(Error, &["include"], "write `include FILE`, without `=`"),
];

/// What to say of a key with a value, if it is known here.
pub(super) fn find(key: &str, value: &str) -> Option<(Verdict, &'static str)> {
    if key == "management.cors.allow_origins" {
        return Some((Error, "write management.cors.allow_origins.1 and so on, one origin for each"));
    }
    // The internal backend is the one there is.
    if key.starts_with("auth_backends.") && matches!(value, "internal" | "rabbit_auth_backend_internal") {
        return Some((Verdict::Fine, ""));
    }
    // Saying that something is off is obeyed where it is not there.
    let is_off = matches!(value, "none" | "false" | "off");
    let fits = |pattern: &str| pattern == key || name_in(pattern, key).is_some();
    let passed = PASSED.iter().find(|passed| passed.keys.iter().any(|pattern| fits(pattern)))?;
    let is_harmless = is_off && passed.verdict == Warning && CAN_BE_OFF.contains(&key);
    Some(if is_harmless { (Ignored, passed.reason) } else { (passed.verdict, passed.reason) })
}

/// What to say of a key that is a setting, but has a value that is not here.
pub(super) fn value(key: &str, value: &str) -> Option<(Verdict, &'static str)> {
    let is_mechanism = key.starts_with("auth_mechanisms.") && MECHANISMS.contains(&value);
    is_mechanism.then_some((
        Warning,
        "this way of logging in is not in Warren: give its users passwords, which they send with PLAIN",
    ))
}

/// Mechanisms of RabbitMQ's and its plugins.
const MECHANISMS: &[&str] = &["EXTERNAL", "RABBIT-CR-DEMO"];

/// Keys of things that are not here, which may be told to be off.
const CAN_BE_OFF: &[&str] = &[
    "listeners.ssl",
    "proxy_protocol",
    "management.oauth_enabled",
    "management.disable_basic_auth",
    "mqtt.listeners.ssl",
    "mqtt.listeners.tcp",
    "stomp.listeners.ssl",
    "stomp.listeners.tcp",
    "stream.listeners.ssl",
    "stream.listeners.tcp",
    "log.syslog",
    "log.journald",
];

/// The keys, to compare others with.
pub(super) fn keys() -> impl Iterator<Item = &'static str> {
    PASSED.iter().flat_map(|passed| passed.keys).copied().filter(|key| *key != "include")
}

#[cfg(test)]
mod tests {
    use super::super::setting;
    use super::*;

    /// The names of all keys in the schemas of RabbitMQ 3.10 and its plugins, and those that 4.x added; `$x` is a name.
    const RABBITMQS_KEYS: &str = include_str!("rabbitmq_keys.txt");

    #[test]
    fn every_key_of_rabbitmq_is_obeyed_or_explained() {
        let is_known = |key: &str| {
            let key = key.replace('$', "");
            setting::find(&key).is_some() || find(&key, "1").is_some()
        };
        let unknown: Vec<&str> = RABBITMQS_KEYS.lines().filter(|key| !is_known(key)).collect();
        assert_eq!(unknown, [""; 0]);
    }

    #[test]
    fn what_would_weaken_security_stands_out() {
        for (key, value, expected) in [
            ("listeners.ssl.default", "5671", Warning),
            ("listeners.ssl", "none", Ignored),
            ("ssl_options.verify", "verify_peer", Warning),
            ("auth_backends.1", "ldap", Warning),
            ("auth_backends.1.authz", "rabbit_auth_backend_ldap", Warning),
            ("auth_backends.1", "internal", Verdict::Fine),
            ("management.ssl.port", "15671", Warning),
            ("cluster_formation.classic_config.nodes.1", "rabbit@a", Ignored),
            ("quorum_queue.commands_soft_limit", "32", Ignored),
        ] {
            assert_eq!(find(key, value).map(|(verdict, _)| verdict), Some(expected), "{key} = {value}");
        }
        assert_eq!(find("heartbeet", "10"), None);
    }
}
