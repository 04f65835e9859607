//! Vhosts.

use super::{
    Command, Context, Failure, columns_argument, failure::no_vhost, output, output::Column, output::column,
    text, texts,
};
use clap::{Arg, ArgMatches};
use serde_json::{Value, json};

pub(super) const ADD_VHOST: Command =
    Command { name: "add_vhost", about: "Create a vhost", arguments: with_metadata, run: add };

pub(super) const DELETE_VHOST: Command = Command {
    name: "delete_vhost",
    about: "Delete a vhost with everything in it",
    arguments: |command| command.arg(Arg::new("name").value_name("VHOST").required(true)),
    run: delete,
};

pub(super) const ENABLE_DELETION_PROTECTION: Command = Command {
    name: "enable_vhost_deletion_protection",
    about: "Protect a vhost from deletion",
    arguments: |command| command.arg(Arg::new("name").value_name("VHOST").required(true)),
    run: |context, arguments| protect(context, text(arguments, "name"), true),
};

pub(super) const DISABLE_DELETION_PROTECTION: Command = Command {
    name: "disable_vhost_deletion_protection",
    about: "Let a vhost be deleted again",
    arguments: |command| command.arg(Arg::new("name").value_name("VHOST").required(true)),
    run: |context, arguments| protect(context, text(arguments, "name"), false),
};

pub(super) const UPDATE_VHOST_METADATA: Command = Command {
    name: "update_vhost_metadata",
    about: "Change a vhost's description, tags, default queue type or protection from deletion",
    arguments: |command| {
        let protected = Arg::new("protected").long("protected-from-deletion").value_name("true|false");
        let protected =
            protected.value_parser(clap::value_parser!(bool)).help("Whether it cannot be deleted");
        with_metadata(command).arg(protected)
    },
    run: |context, arguments| {
        let mut body = metadata(arguments);
        if let Some(protected) = arguments.get_one::<bool>("protected") {
            body["protected_from_deletion"] = json!(protected);
        }
        change(context, text(arguments, "name"), &body)
    },
};

pub(super) const SET_VHOST_TAGS: Command = Command {
    name: "set_vhost_tags",
    about: "Set a vhost's tags; none = remove all",
    arguments: |command| {
        let tags = Arg::new("tags").value_name("TAG").num_args(0..);
        command.arg(Arg::new("name").value_name("VHOST").required(true)).arg(tags)
    },
    run: |context, arguments| {
        let body = json!({ "tags": texts(arguments, "tags").join(",") });
        change(context, text(arguments, "name"), &body)
    },
};

pub(super) const LIST_VHOSTS: Command = Command {
    name: "list_vhosts",
    about: "List vhosts",
    arguments: |command| command.arg(columns_argument()),
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

fn with_metadata(command: clap::Command) -> clap::Command {
    command
        .arg(Arg::new("name").value_name("VHOST").required(true))
        .arg(Arg::new("description").long("description").help("What it is for"))
        .arg(Arg::new("tags").long("tags").help("Tags, separated by commas"))
        .arg(Arg::new("type").long("default-queue-type").help("The type of queues declared without one"))
}

/// What the options say of a vhost.
fn metadata(arguments: &ArgMatches) -> Value {
    let mut body = json!({});
    for (key, option) in [("description", "description"), ("tags", "tags"), ("default_queue_type", "type")] {
        if let Some(value) = arguments.get_one::<String>(option) {
            body[key] = json!(value);
        }
    }
    body
}

fn change(context: &mut Context<'_>, name: &str, body: &Value) -> Result<(), Failure> {
    put_existing(context, name, body)?;
    context.output.note(&format!("Changed vhost '{name}'."))
}

/// Changes a vhost; one that is not there must not be made by this.
fn put_existing(context: &Context<'_>, name: &str, body: &Value) -> Result<(), Failure> {
    context.client.get(&["vhosts", name]).map_err(|failure| failure.or_missing(|| no_vhost(name)))?;
    context.client.put(&["vhosts", name], body)
}

fn trace(context: &mut Context<'_>, is_on: bool) -> Result<(), Failure> {
    let vhost = context.vhost.clone();
    put_existing(context, &vhost, &json!({ "tracing": is_on }))?;
    let word = if is_on { "on" } else { "off" };
    context.output.note(&format!("Tracing is {word} in vhost '{vhost}'."))
}

/// Protects a vhost from deletion, or no longer.
pub(super) fn protect(context: &mut Context<'_>, name: &str, is_protected: bool) -> Result<(), Failure> {
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
    context.client.put(&["vhosts", name], &metadata(arguments))?;
    context.output.note(&format!("Added vhost '{name}'."))
}

fn delete(context: &mut Context<'_>, arguments: &ArgMatches) -> Result<(), Failure> {
    let name = text(arguments, "name");
    context.client.delete(&["vhosts", name]).map_err(|failure| failure.or_missing(|| no_vhost(name)))?;
    context.output.note(&format!("Deleted vhost '{name}'."))
}
