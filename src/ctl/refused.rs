//! RabbitMQ's commands that have no meaning here: who calls one is told what to do instead.

use super::{Command, Failure};
use clap::Arg;

/// What becomes of a command.
enum Outcome {
    /// It fails: what it is for is done otherwise.
    Refused,
    /// It succeeds: what it is for is the case already.
    Needless,
}

use Outcome::{Needless, Refused};

const ONE_NODE: &str = "a broker is one node, it joins no cluster";
const NO_ERLANG: &str = "there is no Erlang here; `warrenctl status` and the HTTP API say how the node is";
const NO_PLUGINS: &str =
    "there are no plugins: what the broker can is always on; `warrenctl list_feature_flags` lists some of it";
const PROCESS: &str =
    "the broker is one process: start it with `warren` or its service, stop it with SIGTERM";

/// Names, what becomes of them, and what to say.
const COMMANDS: &[(&[&str], Outcome, &str)] = &[
    (
        &[
            "join_cluster",
            "forget_cluster_node",
            "discover_peers",
            "add_member",
            "delete_member",
            "grow",
            "grow_to_count",
            "shrink",
            "transfer_leadership",
            "add_replica",
            "delete_replica",
        ],
        Refused,
        ONE_NODE,
    ),
    (&["start_app", "stop_app", "stop", "shutdown"], Refused, PROCESS),
    (
        &["reset", "force_reset"],
        Refused,
        "stop the broker and delete its data directory; `warrenctl export_definitions` before keeps what was declared",
    ),
    (&["force_boot"], Refused, "a node waits for no other, it starts"),
    (&["enable", "disable", "set", "directories"], Refused, NO_PLUGINS),
    (
        &[
            "eval",
            "eval_file",
            "exec",
            "remote_shell",
            "observer",
            "maybe_stuck",
            "erlang_version",
            "erlang_cookie_hash",
            "erlang_cookie_sources",
            "runtime_thread_stats",
            "resolver_info",
        ],
        Refused,
        NO_ERLANG,
    ),
    (
        &["os_env", "command_line_arguments"],
        Refused,
        "`warrenctl environment` says of every setting what it is and whether a flag or a variable set it",
    ),
    (
        &["deactivate_free_disk_space_monitoring"],
        Refused,
        "the disk is always watched; `warrenctl set_disk_free_limit 0` blocks nobody for it",
    ),
    (&["list_network_interfaces"], Refused, "`ip address` on the node's machine lists them"),
    (&["resolve_hostname"], Refused, "`getent hosts NAME` on the node's machine says it"),
    (
        &["message_size_stats"],
        Refused,
        "the histogram rabbitmq_message_size_bytes among the metrics (port 15692) has them",
    ),
    (
        &["metadata_store_status"],
        Refused,
        "definitions are in the node's own store: `warrenctl check_if_metadata_store_is_initialized`, and \
         `warrenctl store stats` of a stopped broker",
    ),
    (
        &["list_channel_interceptors", "set_channel_interceptor_priorities"],
        Refused,
        "there are no interceptors",
    ),
    (
        &["disable_auth_attempt_source_tracking", "disable_track_auth_attempt_source"],
        Refused,
        "logins are always counted by user and address: `warrenctl reset_node_auth_attempt_metrics` forgets them",
    ),
    (
        &["peek"],
        Refused,
        "`warrenctl get messages --queue QUEUE --count POSITION` shows messages and leaves them in the queue",
    ),
    (
        &["encode", "decode", "encrypt_conf_value", "decrypt_conf_value", "list_ciphers", "list_hashes"],
        Refused,
        "values in the configuration are not encrypted; keep passwords out of it: `warrenctl add_user`",
    ),
    (
        &["suspend_listeners", "resume_listeners"],
        Refused,
        "listeners are open while the broker runs; `warrenctl close_all_connections` closes connections",
    ),
    (
        &["restart_vhost"],
        Refused,
        "a vhost is up while the broker is; after a failure of the disk restart the broker",
    ),
    (&["certificates", "cipher_suites", "tls_versions"], Refused, "no listener has TLS"),
    (
        &["log_location", "log_tail", "log_tail_stream", "consume_event_stream"],
        Refused,
        "the log is on standard error, or with the service manager (journalctl -u warren); events are messages of the \
         exchange amq.rabbitmq.event",
    ),
    (
        &["autocomplete"],
        Refused,
        "`warrenctl completions SHELL` prints the script that completes commands in a shell",
    ),
    (
        &[
            "force_gc",
            "rotate_logs",
            "reconcile_vhosts",
            "rename_cluster_node",
            "update_cluster_nodes",
            "await_online_quorum_plus_one",
            "has_reached_target_cluster_size",
            "post_upgrade",
            "remove_classic_queue_mirroring_from_policies",
            "check_if_cluster_has_classic_queue_mirroring_policy",
            "check_if_node_is_mirror_sync_critical",
            "reclaim_quorum_memory",
            "force_checkpoint",
            "enable_auth_attempt_source_tracking",
            "list_policies_with_classic_queue_mirroring",
            "list_operator_policies_with_classic_queue_mirroring",
            "activate_free_disk_space_monitoring",
        ],
        Needless,
        "there is nothing to do",
    ),
    (&["rebalance"], Needless, "all queues are on this node"),
];

/// Whether a command is one of these.
pub(super) fn is(command: &str) -> bool {
    COMMANDS.iter().any(|(names, ..)| names.contains(&command))
}

pub(super) fn commands() -> impl Iterator<Item = Command> {
    COMMANDS.iter().flat_map(|(names, ..)| names.iter()).map(|name| Command {
        name,
        about: "A command of RabbitMQ's that has no meaning here",
        arguments: |command| {
            let anything = Arg::new("anything").num_args(0..).allow_hyphen_values(true);
            command.arg(anything.trailing_var_arg(true))
        },
        run: |context, _| {
            let is_meant = |names: &[&str]| names.contains(&context.command);
            match COMMANDS.iter().find(|(names, ..)| is_meant(names)) {
                Some((_, Needless, text)) => {
                    let note = format!("{}: {text}.", context.command);
                    context.output.note(&note)
                }
                Some((_, Refused, text)) => Err(Failure::Usage(format!("{}: {text}", context.command))),
                None => Ok(()),
            }
        },
    })
}
