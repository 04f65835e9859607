//! Queues.

use super::{Command, failure::no_vhost, output, output::Column, output::column, output::column_from, texts};
use clap::Arg;

pub(super) const LIST_QUEUES: Command = Command {
    name: "list_queues",
    about: "List the queues of a vhost",
    arguments: |command| command.arg(Arg::new("columns").value_name("COLUMN").num_args(0..)),
    run: |context, arguments| {
        let vhost = context.vhost.clone();
        let wanted = texts(arguments, "columns");
        let listed = output::list(context, &["queues", &vhost], COLUMNS, &["name", "messages"], &wanted);
        listed.map_err(|failure| failure.or_missing(|| no_vhost(&vhost)))
    },
};

const COLUMNS: &[Column] = &[
    column("name"),
    column("durable"),
    column("auto_delete"),
    column("arguments"),
    column("policy"),
    column("operator_policy"),
    column("effective_policy_definition"),
    column("exclusive"),
    column_from("owner_pid", "owner_pid_details.name"),
    column("exclusive_consumer_tag"),
    column("single_active_consumer_tag"),
    column("messages_ready"),
    column("messages_unacknowledged"),
    column("messages"),
    column("messages_ready_ram"),
    column("messages_unacknowledged_ram"),
    column("messages_ram"),
    column("messages_persistent"),
    column("message_bytes"),
    column("message_bytes_ready"),
    column("message_bytes_unacknowledged"),
    column("message_bytes_ram"),
    column("message_bytes_persistent"),
    column("head_message_timestamp"),
    column("disk_reads"),
    column("disk_writes"),
    column("consumers"),
    column("consumer_utilisation"),
    column("consumer_capacity"),
    column("memory"),
    column("state"),
    column("type"),
    column("leader"),
    column("members"),
    column("online"),
    column("idle_since"),
    column("node"),
    column("vhost"),
];
