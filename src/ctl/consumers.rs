//! Consumers.

use super::{
    Command, columns_argument, failure::no_vhost, output, output::Column, output::column,
    output::column_from, texts,
};

pub(super) const LIST_CONSUMERS: Command = Command {
    name: "list_consumers",
    about: "List the consumers of a vhost",
    arguments: |command| command.arg(columns_argument()),
    run: |context, arguments| {
        let vhost = context.vhost.clone();
        let wanted = texts(arguments, "columns");
        let listed = output::list(context, &["consumers", &vhost], COLUMNS, DEFAULT, &wanted);
        listed.map_err(|failure| failure.or_missing(|| no_vhost(&vhost)))
    },
};

const DEFAULT: &[&str] =
    &["queue_name", "channel_pid", "consumer_tag", "ack_required", "prefetch_count", "active", "arguments"];

const COLUMNS: &[Column] = &[
    column_from("queue_name", "queue.name"),
    column_from("channel_pid", "channel_details.name"),
    column("consumer_tag"),
    column("ack_required"),
    column("prefetch_count"),
    column("active"),
    column("activity_status"),
    column("exclusive"),
    column("arguments"),
];
