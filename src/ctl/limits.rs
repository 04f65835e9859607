//! Limits of vhosts and users.

use super::{
    Command, Context, Failure, failure::no_vhost, json, output, output::Column, output::column,
    output::column_from, text, users,
};
use clap::{Arg, ArgAction, ArgMatches};
use serde_json::{Value, json};

pub(super) const SET_VHOST_LIMITS: Command = Command {
    name: "set_vhost_limits",
    about: "Set the limits of a vhost: max-connections, max-queues",
    arguments: |command| command.arg(definition_argument()),
    run: set_of_vhost,
};

pub(super) const CLEAR_VHOST_LIMITS: Command = Command {
    name: "clear_vhost_limits",
    about: "Clear the limits of a vhost",
    arguments: |command| command,
    run: |context, _| {
        let vhost = context.vhost.clone();
        context.delete_in_vhost(&limits_of_vhost(&vhost), format!("vhost '{vhost}' has no limits"))?;
        context.output.note(&format!("Cleared the limits of vhost '{vhost}'."))
    },
};

pub(super) const LIST_VHOST_LIMITS: Command = Command {
    name: "list_vhost_limits",
    about: "List the limits of a vhost",
    arguments: |command| command.arg(global_argument("Of all vhosts")),
    run: |context, arguments| {
        let vhost = context.vhost.clone();
        let path = ["vhost-limits", &vhost];
        let listed = list(context, arguments, &path, &[column("vhost"), column_from("limits", "value")]);
        listed.map_err(|failure| failure.or_missing(|| no_vhost(&vhost)))
    },
};

pub(super) const SET_USER_LIMITS: Command = Command {
    name: "set_user_limits",
    about: "Set limits of a user: max-connections, max-channels; others stay as they are",
    arguments: |command| command.arg(user_argument()).arg(definition_argument()),
    run: set_of_user,
};

pub(super) const CLEAR_USER_LIMITS: Command = Command {
    name: "clear_user_limits",
    about: "Clear a limit of a user, or all",
    arguments: |command| {
        let limits = [MAX_CONNECTIONS, MAX_CHANNELS, "all"];
        let limit = Arg::new("limit").value_name("LIMIT").required(true).value_parser(limits);
        command.arg(user_argument()).arg(limit)
    },
    run: clear_of_user,
};

pub(super) const LIST_USER_LIMITS: Command = Command {
    name: "list_user_limits",
    about: "List the limits of a user: --user, or who is logged in",
    arguments: |command| {
        let user = Arg::new("user").long("user").value_name("USER");
        command.arg(user).arg(global_argument("Of all users"))
    },
    run: |context, arguments| {
        let user = arguments.get_one::<String>("user").unwrap_or(&context.login.user).clone();
        let path = ["user-limits", &user];
        let listed = list(context, arguments, &path, &[column("user"), column_from("limits", "value")]);
        listed.map_err(|failure| failure.or_missing(|| Failure::NoUser(user)))
    },
};

const MAX_CONNECTIONS: &str = "max-connections";
const MAX_CHANNELS: &str = "max-channels";

fn user_argument() -> Arg {
    Arg::new("user").value_name("USER").required(true)
}

fn definition_argument() -> Arg {
    Arg::new("definition")
        .value_name("LIMITS")
        .required(true)
        .help("Numbers by limit, as JSON; negative = none")
}

fn global_argument(help: &'static str) -> Arg {
    Arg::new("all").long("global").action(ArgAction::SetTrue).help(help)
}

/// All limits of a vhost together are a parameter.
fn limits_of_vhost(vhost: &str) -> [&str; 4] {
    ["parameters", "vhost-limits", vhost, "limits"]
}

fn set_of_vhost(context: &mut Context<'_>, arguments: &ArgMatches) -> Result<(), Failure> {
    let vhost = &context.vhost;
    let outcome =
        context.client.put(&limits_of_vhost(vhost), &json!({ "value": json(arguments, "definition")? }));
    outcome.map_err(|failure| failure.or_missing(|| no_vhost(vhost)))?;
    context.output.note(&format!("Set the limits of vhost '{vhost}'."))
}

fn set_of_user(context: &mut Context<'_>, arguments: &ArgMatches) -> Result<(), Failure> {
    let user = text(arguments, "user");
    let Value::Object(limits) = json(arguments, "definition")? else {
        return Err(Failure::Data("limits are an object: {\"max-connections\": 10}".into()));
    };
    users::find(context, user)?;
    for (limit, value) in limits {
        context.client.put(&["user-limits", user, &limit], &json!({ "value": value }))?;
    }
    context.output.note(&format!("Set limits of user '{user}'."))
}

fn clear_of_user(context: &mut Context<'_>, arguments: &ArgMatches) -> Result<(), Failure> {
    let (user, limit) = (text(arguments, "user"), text(arguments, "limit"));
    let limits = if limit == "all" { vec![MAX_CONNECTIONS, MAX_CHANNELS] } else { vec![limit] };
    for limit in limits {
        let outcome = context.client.delete(&["user-limits", user, limit]);
        outcome.map_err(|failure| failure.or_missing(|| Failure::NoUser(user.to_owned())))?;
    }
    context.output.note(&match limit {
        "all" => format!("User '{user}' has no limits."),
        limit => format!("User '{user}' has no limit {limit}."),
    })
}

/// All of them with `--global`, else what is at the path.
fn list(
    context: &mut Context<'_>,
    arguments: &ArgMatches,
    path: &[&str],
    columns: &[Column; 2],
) -> Result<(), Failure> {
    let path = if arguments.get_flag("all") { &path[..1] } else { path };
    output::list(context, path, columns, &[columns[0].name, columns[1].name], &[])
}
