//! Connections.

use super::{
    Command, Context, Failure, client, columns_argument, failure::no_vhost, output, output::Column,
    output::column, output::column_from, progress, text, texts,
};
use clap::{Arg, ArgAction, ArgMatches, value_parser};
use std::time::Duration;

pub(super) const LIST_CONNECTIONS: Command = Command {
    name: "list_connections",
    about: "List the connections of the node",
    arguments: |command| command.arg(columns_argument()),
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

pub(super) const CLOSE_CONNECTION: Command = Command {
    name: "close_connection",
    about: "Close a connection, by its name; the client is told why",
    arguments: |command| {
        command.arg(Arg::new("connection").value_name("CONNECTION").required(true)).arg(reason_argument())
    },
    run: |context, arguments| {
        let connection = text(arguments, "connection");
        let closed =
            context.client.delete_if(&["connections", connection], &[], Some(text(arguments, "reason")));
        closed.map_err(|failure| failure.or_missing(|| missing(connection)))?;
        context.output.note(&format!("Closed connection '{connection}'."))
    },
};

pub(super) const CLOSE_ALL_CONNECTIONS: Command = Command {
    name: "close_all_connections",
    about: "Close the connections to a vhost, or all; the clients are told why",
    arguments: |command| {
        let number = |name: &'static str, default: &'static str, help: &'static str| {
            let argument = Arg::new(name).long(name).default_value(default).help(help);
            argument.value_parser(value_parser!(u64))
        };
        let all = Arg::new("all").long("global").action(ArgAction::SetTrue).help("Of all vhosts");
        command
            .arg(reason_argument().required(true))
            .arg(all)
            .arg(number("limit", "0", "How many at most; 0 = all"))
            .arg(number("per-connection-delay", "0", "Milliseconds between one and the next"))
    },
    run: close_all,
};

pub(super) const CLOSE_ALL_USER_CONNECTIONS: Command = Command {
    name: "close_all_user_connections",
    about: "Close the connections of a user; the clients are told why",
    arguments: |command| {
        command.arg(Arg::new("user").value_name("USER").required(true)).arg(reason_argument())
    },
    run: |context, arguments| {
        let user = text(arguments, "user");
        context.client.delete_if(&["connections", "username", user], &[], Some(text(arguments, "reason")))?;
        context.output.note(&format!("Closed the connections of user '{user}'."))
    },
};

fn reason_argument() -> Arg {
    Arg::new("reason").value_name("EXPLANATION").help("What the client is told")
}

fn missing(connection: &str) -> Failure {
    Failure::Data(format!(
        "there is no connection '{connection}'; `warrenctl list_connections name` lists those there are"
    ))
}

fn close_all(context: &mut Context<'_>, arguments: &ArgMatches) -> Result<(), Failure> {
    let number = |name: &str| arguments.get_one::<u64>(name).copied().unwrap_or(0);
    let (limit, delay) = (number("limit"), Duration::from_millis(number("per-connection-delay")));
    let vhost = context.vhost.clone();
    let path = ["vhosts", &vhost, "connections"];
    let path = if arguments.get_flag("all") { &["connections"][..] } else { &path };
    // All names first: the list becomes shorter as it is read otherwise.
    let mut names = Vec::new();
    for page in context.client.pages(path, "name") {
        let page = page.map_err(|failure| failure.or_missing(|| no_vhost(&vhost)))?;
        names.extend(page.iter().map(|connection| client::text(connection, "name").to_owned()));
    }
    if limit > 0 {
        names.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    let bar = progress::bar(&context.output, "connections");
    bar.set_length(names.len() as u64);
    let mut closed = 0;
    for name in &names {
        match context.client.delete_if(&["connections", name], &[], Some(text(arguments, "reason"))) {
            // It has gone by itself.
            Err(Failure::NotFound(_)) => {}
            outcome => outcome.map(|()| closed += 1)?,
        }
        bar.inc(1);
        if !delay.is_zero() {
            std::thread::park_timeout(delay);
        }
    }
    bar.finish_and_clear();
    context.output.note(&format!("Closed {closed} connections."))
}

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
    column("peer_cert_serial_number"),
    column("peer_cert_validity"),
    column("state"),
    column("channels"),
    column("protocol"),
    column("auth_mechanism"),
    column("user"),
    column("vhost"),
    // Of AMQP 1.0.
    column("container_id"),
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
