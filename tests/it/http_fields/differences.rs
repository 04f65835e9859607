//! What may differ from RabbitMQ 3.10, and why.

use super::Difference;

const fn differs(route: &'static str, line: &'static str, why: &'static str) -> Difference {
    Difference { route, line, why }
}

/// Lines that say nothing of either, wherever they stand, and why.
pub(super) const PASSED_OVER: &[(&str, &str)] = &[
    (
        ".*(_details|message_stats)[. ].*|.*(_details|message_stats)",
        "rates and what is counted for them: each broker samples at its own moments",
    ),
    (
        r"value .*\.(os_pid|uptime|run_queue|processors|context_switches|(fd|sockets|proc)_(used|total)|mem_(used|limit)|disk_free|disk_free_limit|db_dir|memory\b.*|io_\w+): .*",
        "of the machine and the process",
    ),
    (
        r"value .*\.(port|peer_port|ip_address|connected_at|(recv|send)_(cnt|oct)|ports\[\d+\]): .*|(missing|more) .*\.ports\[\d+\]",
        "of the sockets",
    ),
    (
        r"value .*\.(connection|channel|queue)_(created|closed|declared|deleted): .*",
        "counted since the start",
    ),
    (
        r"value (\.queue_totals|\[v\]|)\.messages(_ready)?: [25] [36]",
        "RabbitMQ adds the messages of quorum queues to the others only now and then",
    ),
    (r"value .*\bpassword_hash: .*", "each hash has a salt of its own"),
];

pub(super) const DIFFERENCES: &[Difference] = &[
    differs(
        ".*",
        r"missing .*\.(garbage_collection|reductions|backing_queue_status|recoverable_slaves|open_files)\b.*",
        "of Erlang's processes and of the files of RabbitMQ's queues",
    ),
    differs(
        "/nodes.*",
        r"missing .*\.(gc_\w+|mnesia_\w+|msg_store_\w+|queue_index_\w+|ra_open_file_metrics|metrics_gc_queue_length|io_\w+|queue_slave_procs)\b.*",
        "of Erlang's memory and of RabbitMQ's stores",
    ),
    differs("/nodes/NODE/memory", r"more \.memory\.(metadata_store|metadata_store_ets)", "newer than 3.10"),
    differs(
        "/nodes.*",
        r"(missing|more|value) .*\.(applications|log_files|config_files|enabled_plugins)\[.*",
        "what a node is made of: it is another program, and logs where it is told to",
    ),
    differs("/nodes.*", r"more .*\.store\b.*", "what only Warren says: its journal"),
    differs("/nodes.*", r"more .*\.(being_drained|rabbitmq_version)", "newer than 3.10"),
    differs(
        "/nodes.*",
        r"(missing|value) .*\.auth_mechanisms\[.*",
        "in words; and no demonstration mechanism",
    ),
    differs(
        "/(nodes.*|overview)",
        r"(missing|more|value|type) .*\.(contexts|listeners)\[.*",
        "listeners are those of this node, with this server's options",
    ),
    differs(
        "/(nodes.*|overview)",
        r"(missing|more|value) .*\.exchange_types\[.*",
        "the types are this broker's, in its words, and RabbitMQ's own internal one is not among them",
    ),
    differs(
        "/overview",
        r"more \.(cluster_tags|node_tags|crypto_lib_version|default_queue_type|is_op_policy_updating_enabled|release_series_support_status)",
        "newer than 3.10",
    ),
    differs(
        "/(overview|definitions.*)",
        r"value \.(management_version|product_name|product_version|rabbit_version|rabbitmq_version|erlang_version|erlang_full_version): .*",
        "another product, which behaves as another version and has no Erlang",
    ),
    differs(
        "/overview|/cluster-name",
        r"value \.(cluster_)?name: .*",
        "of a cluster that nobody named: RabbitMQ takes the machine's name, Warren the node's",
    ),
    differs(
        "/overview",
        r"value \.object_totals\.exchanges: 15 16",
        "`amq.rabbitmq.event` is always there, not by a plugin",
    ),
    differs(
        "/vhosts(/v)?",
        r"more .*\b(protected_from_deletion|metadata\.default_queue_type)",
        "newer than 3.10",
    ),
    differs(
        "/vhosts(/v)?",
        r"value .*\.default_queue_type: .undefined. .classic.",
        "as RabbitMQ 4 shows that none was set",
    ),
    differs("/exchanges.*", r"more .*\.policy", "newer than 3.10, which says it where there is one"),
    differs(
        "/exchanges.*",
        r"value .*\.user_who_performed_action: .guest. ..",
        "who declared something is not kept",
    ),
    differs(
        "/queues.*",
        r"missing .*\.(message_bytes_ram|message_bytes_paged_out)",
        "not counted: no number is better than a wrong one",
    ),
    differs(
        "/(queues|.*channels).*",
        r"(missing|more|value) .*\.idle_since\b.*",
        "as of the last sample: of whatever nothing has happened to since; RabbitMQ has it of processes that sleep",
    ),
    differs("/whoami", r"more \.login_session_timeout", "RabbitMQ has no timeout unless it is configured"),
    differs(
        "/queues.*",
        r"more .*\.(internal|messages_delayed|messages_dlx|message_bytes_dlx|owner_pid_details\b.*)",
        "newer than 3.10, or of queues that it does not have it for",
    ),
    differs(
        "/queues.*",
        r"(missing .*\.single_active_consumer_ctag|more .*\.(single_active_consumer_tag|exclusive_consumer_tag|head_message_timestamp|messages_\w+_ram|messages_paged_out))",
        "quorum queues have the fields of classic ones, by the same names",
    ),
    differs(
        "/queues.*",
        r"value .*\.(consumer_capacity|consumer_utilisation): .*",
        "this moment's, which RabbitMQ smooths",
    ),
    differs("/queues.*", r"value .*\.messages_ram: 0 1", "a quorum queue keeps messages in memory"),
    differs(
        "/consumers.*|/queues/v/classic|/channels/CHANNEL",
        r"more .*\.consumer_timeout",
        "newer than 3.10",
    ),
    differs("/.*channels.*", r"more .*\.cached_segments", "newer than 3.10"),
    differs(
        "/connections/CONNECTION",
        r"type .*\.(ssl|peer_cert)_\w+: string null",
        "null, as RabbitMQ has it in the list: here it writes the empty text",
    ),
    differs(
        "/definitions.*",
        r"more .*\.(rabbitmq_definition_format|explanation|original_\w+|product_\w+|rabbitmq_version|description|tags|tracing|limits|metadata|protected_from_deletion|type)\b.*",
        "newer than 3.10",
    ),
    differs(
        "/definitions/v",
        r"missing .*\.vhost",
        "a vhost's file does not name it, so that it goes into another one",
    ),
    differs("/whoami", r"more \.is_internal_user", "newer than 3.10"),
    differs("/extensions", r"missing .*", "scripts of the plugins of RabbitMQ's own pages"),
    differs("/feature-flags", ".*", "flags of what each of them can, in its words"),
    differs(
        r"/queues/v\?columns=name,arguments.*",
        r"missing .*\.x-queue-type",
        "an object that lacks a part that is asked for shows none, not all of them",
    ),
    differs(
        r"/queues\?page=0",
        "value .reason: .*page size undefined. .*page size 100.",
        "the size that would have been taken",
    ),
];
