//! Channels.

use super::{Command, columns_argument, output, output::Column, output::column, output::column_from, texts};

pub(super) const LIST_CHANNELS: Command = Command {
    name: "list_channels",
    about: "List the channels of the node",
    arguments: |command| command.arg(columns_argument()),
    run: |context, arguments| {
        output::list(context, &["channels"], COLUMNS, DEFAULT, &texts(arguments, "columns"))
    },
};

/// rabbitmqctl's, with the name in the place of the Erlang process.
const DEFAULT: &[&str] = &["name", "user", "consumer_count", "messages_unacknowledged"];

const COLUMNS: &[Column] = &[
    column_from("pid", "name"),
    column_from("connection", "connection_details.name"),
    column("name"),
    column("number"),
    column("user"),
    column("vhost"),
    column("state"),
    column("transactional"),
    column("confirm"),
    column("consumer_count"),
    column("messages_unacknowledged"),
    column("messages_uncommitted"),
    column("acks_uncommitted"),
    column("messages_unconfirmed"),
    column("prefetch_count"),
    column("global_prefetch_count"),
];
