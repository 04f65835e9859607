//! Queues.

use super::{
    Command, Context, Failure, columns_argument, failure::no_vhost, output, output::Column, output::Filter,
    output::Listing, output::Rows, output::column, output::column_from, progress, text, texts,
};
use clap::{Arg, ArgAction, ArgMatches};
use serde_json::Value;

pub(super) const LIST_QUEUES: Command = Command {
    name: "list_queues",
    about: "List the queues of a vhost",
    arguments: |command| {
        let filter = |name: &'static str, help: &'static str| {
            Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
        };
        command
            .arg(columns_argument())
            .arg(filter("online", "Only those that can be used").conflicts_with("offline"))
            .arg(filter("offline", "Only those that cannot be used"))
            .arg(filter("local", "Only those of this node, which are all"))
    },
    run: |context, arguments| {
        let by_state = |is_wanted| Some(Filter { field: "state", is_wanted });
        let filter = match (arguments.get_flag("online"), arguments.get_flag("offline")) {
            (true, _) => by_state(|state| !is_offline(state)),
            (_, true) => by_state(is_offline),
            _ => None,
        };
        list(context, arguments, filter)
    },
};

pub(super) const LIST_UNRESPONSIVE_QUEUES: Command = Command {
    name: "list_unresponsive_queues",
    about: "List the queues of a vhost that cannot be used",
    arguments: |command| {
        let local = Arg::new("local").long("local").action(ArgAction::SetTrue).hide(true);
        let timeout = Arg::new("queue-timeout").long("queue-timeout").value_name("SECONDS").hide(true);
        command.arg(columns_argument()).arg(local).arg(timeout)
    },
    run: |context, arguments| {
        list(context, arguments, Some(Filter { field: "state", is_wanted: is_offline }))
    },
};

pub(super) const DELETE_QUEUE: Command = Command {
    name: "delete_queue",
    about: "Delete a queue with its messages",
    arguments: |command| {
        let condition = |name: &'static str, short: char, help: &'static str| {
            Arg::new(name).long(name).short(short).action(ArgAction::SetTrue).help(help)
        };
        command
            .arg(queue_argument())
            .arg(condition("if-empty", 'e', "Only if it has no messages"))
            .arg(condition("if-unused", 'u', "Only if it has no consumers"))
            .arg(Arg::new("force").long("force").action(ArgAction::SetTrue).hide(true))
    },
    run: delete,
};

pub(super) const PURGE_QUEUE: Command = Command {
    name: "purge_queue",
    about: "Remove all ready messages from a queue",
    arguments: |command| command.arg(queue_argument()),
    run: purge,
};

pub(super) const QUORUM_STATUS: Command = Command {
    name: "quorum_status",
    about: "List the replicas of a quorum queue: here each has one",
    arguments: |command| command.arg(queue_argument()),
    run: quorum_status,
};

fn queue_argument() -> Arg {
    Arg::new("queue").value_name("QUEUE").required(true)
}

/// Whether a queue's state is one in which nobody can use it.
fn is_offline(state: &Value) -> bool {
    matches!(state.as_str(), Some("down" | "stopped" | "crashed" | "minority"))
}

fn list(context: &mut Context<'_>, arguments: &ArgMatches, filter: Option<Filter>) -> Result<(), Failure> {
    let vhost = context.vhost.clone();
    let listing = Listing { path: &["queues", &vhost], columns: COLUMNS, default: &["name", "messages"] };
    let listed = output::list_some(context, listing, &texts(arguments, "columns"), filter);
    listed.map_err(|failure| failure.or_missing(|| no_vhost(&vhost)))
}

fn delete(context: &mut Context<'_>, arguments: &ArgMatches) -> Result<(), Failure> {
    let (queue, vhost) = (text(arguments, "queue"), &context.vhost);
    let conditions = ["if-empty", "if-unused"].into_iter().filter(|name| arguments.get_flag(name));
    let conditions: Vec<_> = conditions.map(|name| (name, "true")).collect();
    let deleted = context.client.delete_if(&["queues", vhost, queue], &conditions, None);
    deleted.map_err(|failure| context.missing(failure, || missing(queue, vhost)))?;
    context.output.note(&format!("Deleted queue '{queue}' in vhost '{vhost}'."))
}

fn purge(context: &mut Context<'_>, arguments: &ArgMatches) -> Result<(), Failure> {
    let (queue, vhost) = (text(arguments, "queue"), &context.vhost);
    let turning = progress::spinner(&context.output, "purging");
    let purged = context.client.delete(&["queues", vhost, queue, "contents"]);
    turning.finish_and_clear();
    purged.map_err(|failure| context.missing(failure, || missing(queue, vhost)))?;
    context.output.note(&format!("Purged queue '{queue}' in vhost '{vhost}'."))
}

fn quorum_status(context: &mut Context<'_>, arguments: &ArgMatches) -> Result<(), Failure> {
    let (queue, vhost) = (text(arguments, "queue"), &context.vhost);
    let asked = context.client.get(&["queues", "quorum", vhost, queue, "status"]);
    let replicas = asked.map_err(|failure| context.missing(failure, || missing(queue, vhost)))?;
    let names = ["Node Name", "Raft State", "Membership"];
    let rows = replicas.as_array().into_iter().flatten();
    let mut shown = Rows::new(&mut context.output, &names);
    shown.write(rows.map(|replica| names.iter().map(|name| replica[*name].clone()).collect()).collect())?;
    Ok(shown.finish()?)
}

pub(super) fn missing(queue: &str, vhost: &str) -> Failure {
    Failure::Data(format!(
        "queue '{queue}' does not exist in vhost '{vhost}'; `warrenctl list_queues` lists those that do"
    ))
}

const COLUMNS: &[Column] = &[
    column("name"),
    column("durable"),
    column("auto_delete"),
    column("arguments"),
    column("policy"),
    column("operator_policy"),
    column("effective_policy_definition"),
    // There are no Erlang processes here: a queue is known by its name.
    column_from("pid", "name"),
    column("exclusive"),
    column_from("owner_pid", "owner_pid_details.name"),
    column_from("exclusive_consumer_pid", "exclusive_consumer_tag"),
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
