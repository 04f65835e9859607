//! Connections.

use super::{Command, output, output::Column, output::column, output::column_from, texts};
use clap::Arg;

pub(super) const LIST_CONNECTIONS: Command = Command {
    name: "list_connections",
    about: "List the connections of the node",
    arguments: |command| command.arg(Arg::new("columns").value_name("COLUMN").num_args(0..)),
    run: |context, arguments| {
        let wanted = texts(arguments, "columns");
        output::list(
            context,
            &["connections"],
            COLUMNS,
            &["user", "peer_host", "peer_port", "state"],
            &wanted,
        )
    },
};

const COLUMNS: &[Column] = &[
    // There are no Erlang processes here; what scripts do with a connection's pid, its name serves as well.
    column_from("pid", "name"),
    column("name"),
    column("user_provided_name"),
    column("node"),
    column("port"),
    column("host"),
    column("peer_port"),
    column("peer_host"),
    column("ssl"),
    column("ssl_protocol"),
    column("ssl_key_exchange"),
    column("ssl_cipher"),
    column("ssl_hash"),
    column("peer_cert_subject"),
    column("peer_cert_issuer"),
    column("peer_cert_validity"),
    column("state"),
    column("channels"),
    column("protocol"),
    column("auth_mechanism"),
    column("user"),
    column("vhost"),
    column("timeout"),
    column("frame_max"),
    column("channel_max"),
    column("client_properties"),
    column("connected_at"),
    column("recv_oct"),
    column("recv_cnt"),
    column("send_oct"),
    column("send_cnt"),
    column("send_pend"),
];
