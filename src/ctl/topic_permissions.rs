//! Permissions by routing key, at topic exchanges.

use super::permissions::missing_part;
use super::{Command, Context, Failure, failure::no_vhost, output, output::Column, output::column, text};
use clap::{Arg, ArgMatches};
use serde_json::json;

pub(super) const SET_TOPIC_PERMISSIONS: Command = Command {
    name: "set_topic_permissions",
    about: "Set which routing keys a user may publish (write) and bind (read) with at a topic exchange (regular expressions)",
    arguments: |command| {
        let names = [("user", "USER"), ("exchange", "EXCHANGE"), ("write", "WRITE"), ("read", "READ")];
        command.args(names.map(|(name, shown)| Arg::new(name).value_name(shown).required(true)))
    },
    run: set,
};

pub(super) const CLEAR_TOPIC_PERMISSIONS: Command = Command {
    name: "clear_topic_permissions",
    about: "Let a user use any routing key again, at one exchange or at all of a vhost",
    arguments: |command| {
        let user = Arg::new("user").value_name("USER").required(true);
        command.arg(user).arg(Arg::new("exchange").value_name("EXCHANGE"))
    },
    run: clear,
};

pub(super) const LIST_TOPIC_PERMISSIONS: Command = Command {
    name: "list_topic_permissions",
    about: "List the topic permissions in a vhost",
    arguments: |command| command,
    run: |context, _| {
        let vhost = context.vhost.clone();
        let path = ["vhosts", &vhost, "topic-permissions"];
        let listed = output::list(context, &path, COLUMNS, &["user", "exchange", "write", "read"], &[]);
        listed.map_err(|failure| failure.or_missing(|| no_vhost(&vhost)))
    },
};

pub(super) const LIST_USER_TOPIC_PERMISSIONS: Command = Command {
    name: "list_user_topic_permissions",
    about: "List the topic permissions of a user in all vhosts",
    arguments: |command| command.arg(Arg::new("user").value_name("USER").required(true)),
    run: |context, arguments| {
        let user = text(arguments, "user");
        let path = ["users", user, "topic-permissions"];
        let listed = output::list(context, &path, COLUMNS, &["vhost", "exchange", "write", "read"], &[]);
        listed.map_err(|failure| failure.or_missing(|| Failure::NoUser(user.to_owned())))
    },
};

const COLUMNS: &[Column] =
    &[column("user"), column("vhost"), column("exchange"), column("write"), column("read")];

fn set(context: &mut Context<'_>, arguments: &ArgMatches) -> Result<(), Failure> {
    let (user, exchange) = (text(arguments, "user"), text(arguments, "exchange"));
    let body =
        json!({ "exchange": exchange, "write": text(arguments, "write"), "read": text(arguments, "read") });
    match context.client.put(&["topic-permissions", &context.vhost, user], &body) {
        Err(refused @ (Failure::Data(_) | Failure::NotFound(_))) => {
            return Err(missing_part(context, user)?.unwrap_or(refused));
        }
        outcome => outcome?,
    }
    let vhost = &context.vhost;
    let note =
        format!("Set the topic permissions of user '{user}' at exchange '{exchange}' in vhost '{vhost}'.");
    context.output.note(&note)
}

fn clear(context: &mut Context<'_>, arguments: &ArgMatches) -> Result<(), Failure> {
    let user = text(arguments, "user");
    let exchange = arguments.get_one::<String>("exchange").map(String::as_str);
    let mut path = vec!["topic-permissions", &context.vhost, user];
    path.extend(exchange);
    match context.client.delete(&path) {
        // Without topic permissions there is nothing to clear, as long as there are such a user and vhost.
        Err(Failure::NotFound(_)) => missing_part(context, user)?.map_or(Ok(()), Err)?,
        outcome => outcome?,
    }
    let place = exchange.map(|exchange| format!(" at exchange '{exchange}'")).unwrap_or_default();
    let note = format!("User '{user}' may use any routing key{place} in vhost '{}'.", context.vhost);
    context.output.note(&note)
}
