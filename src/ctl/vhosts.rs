//! Vhosts.

use super::{
    Command, Context, Failure, failure::no_vhost, output, output::Column, output::column, text, texts,
};
use clap::{Arg, ArgMatches};
use serde_json::json;

pub(super) const ADD_VHOST: Command = Command {
    name: "add_vhost",
    about: "Create a vhost",
    arguments: |command| {
        command
            .arg(Arg::new("name").value_name("VHOST").required(true))
            .arg(Arg::new("description").long("description").help("What it is for"))
            .arg(Arg::new("tags").long("tags").help("Tags, separated by commas"))
            .arg(Arg::new("type").long("default-queue-type").help("The type of queues declared without one"))
    },
    run: add,
};

pub(super) const DELETE_VHOST: Command = Command {
    name: "delete_vhost",
    about: "Delete a vhost with everything in it",
    arguments: |command| command.arg(Arg::new("name").value_name("VHOST").required(true)),
    run: delete,
};

pub(super) const ENABLE_DELETION_PROTECTION: Command = Command {
    name: "enable_vhost_deletion_protection",
    about: "Protect a vhost from deletion",
    arguments: |command| {
        let command = command.alias("enable_vhost_protection_from_deletion");
        command.arg(Arg::new("name").value_name("VHOST").required(true))
    },
    run: |context, arguments| protect(context, text(arguments, "name"), true),
};

pub(super) const DISABLE_DELETION_PROTECTION: Command = Command {
    name: "disable_vhost_deletion_protection",
    about: "Let a vhost be deleted again",
    arguments: |command| {
        let command = command.alias("disable_vhost_protection_from_deletion");
        command.arg(Arg::new("name").value_name("VHOST").required(true))
    },
    run: |context, arguments| protect(context, text(arguments, "name"), false),
};

pub(super) const LIST_VHOSTS: Command = Command {
    name: "list_vhosts",
    about: "List vhosts",
    arguments: |command| command.arg(Arg::new("columns").value_name("COLUMN").num_args(0..)),
    run: |context, arguments| {
        output::list(context, &["vhosts"], COLUMNS, &["name"], &texts(arguments, "columns"))
    },
};

pub(super) const TRACE_ON: Command = Command {
    name: "trace_on",
    about: "Send copies of a vhost's traffic to its exchange amq.rabbitmq.trace",
    arguments: |command| command,
    run: |context, _| trace(context, true),
};

pub(super) const TRACE_OFF: Command = Command {
    name: "trace_off",
    about: "Send no more copies of a vhost's traffic",
    arguments: |command| command,
    run: |context, _| trace(context, false),
};

const COLUMNS: &[Column] = &[
    column("name"),
    column("description"),
    column("tags"),
    column("default_queue_type"),
    column("protected_from_deletion"),
    column("tracing"),
    column("cluster_state"),
    column("metadata"),
];

fn trace(context: &mut Context<'_>, is_on: bool) -> Result<(), Failure> {
    let vhost = context.vhost.clone();
    // A vhost that is not there must not be made by this.
    context.client.get(&["vhosts", &vhost]).map_err(|failure| failure.or_missing(|| no_vhost(&vhost)))?;
    context.client.put(&["vhosts", &vhost], &json!({ "tracing": is_on }))?;
    let word = if is_on { "on" } else { "off" };
    context.output.note(&format!("Tracing is {word} in vhost '{vhost}'."))
}

fn protect(context: &mut Context<'_>, name: &str, is_protected: bool) -> Result<(), Failure> {
    let path = ["vhosts", name, "deletion", "protection"];
    let outcome = if is_protected {
        context.client.post(&path, &json!({})).map(drop)
    } else {
        context.client.delete(&path)
    };
    outcome.map_err(|failure| failure.or_missing(|| no_vhost(name)))?;
    let word = if is_protected { "protected" } else { "no longer protected" };
    context.output.note(&format!("Vhost '{name}' is {word} from deletion."))
}

fn add(context: &mut Context<'_>, arguments: &ArgMatches) -> Result<(), Failure> {
    let name = text(arguments, "name");
    let mut body = json!({});
    for (key, option) in [("description", "description"), ("tags", "tags"), ("default_queue_type", "type")] {
        if let Some(value) = arguments.get_one::<String>(option) {
            body[key] = json!(value);
        }
    }
    context.client.put(&["vhosts", name], &body)?;
    context.output.note(&format!("Added vhost '{name}'."))
}

fn delete(context: &mut Context<'_>, arguments: &ArgMatches) -> Result<(), Failure> {
    let name = text(arguments, "name");
    context.client.delete(&["vhosts", name]).map_err(|failure| failure.or_missing(|| no_vhost(name)))?;
    context.output.note(&format!("Deleted vhost '{name}'."))
}
