//! Policies, of users and of operators.

use super::{
    Command, Context, Failure, failure::no_vhost, json, output, output::Column, output::column, text,
};
use clap::{Arg, ArgMatches};
use serde_json::json;

pub(super) const SET_POLICY: Command = Command {
    name: "set_policy",
    about: "Set what queues and exchanges get whose names match a pattern",
    arguments: with_definition,
    run: |context, arguments| set(context, arguments, USERS),
};

pub(super) const CLEAR_POLICY: Command = Command {
    name: "clear_policy",
    about: "Clear a policy",
    arguments: |command| command.arg(name_argument()),
    run: |context, arguments| clear(context, arguments, USERS),
};

pub(super) const LIST_POLICIES: Command = Command {
    name: "list_policies",
    about: "List the policies of a vhost",
    arguments: |command| command,
    run: |context, _| list(context, USERS),
};

pub(super) const SET_OPERATOR_POLICY: Command = Command {
    name: "set_operator_policy",
    about: "Set a policy that bounds what policies and arguments say",
    arguments: with_definition,
    run: |context, arguments| set(context, arguments, OPERATORS),
};

pub(super) const CLEAR_OPERATOR_POLICY: Command = Command {
    name: "clear_operator_policy",
    about: "Clear an operator policy",
    arguments: |command| command.arg(name_argument()),
    run: |context, arguments| clear(context, arguments, OPERATORS),
};

pub(super) const LIST_OPERATOR_POLICIES: Command = Command {
    name: "list_operator_policies",
    about: "List the operator policies of a vhost",
    arguments: |command| command,
    run: |context, _| list(context, OPERATORS),
};

/// A kind of policies: where the API has them, and what people call one.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    pub(super) path: &'static str,
    pub(super) noun: &'static str,
}

pub(super) const USERS: Kind = Kind { path: "policies", noun: "policy" };
pub(super) const OPERATORS: Kind = Kind { path: "operator-policies", noun: "operator policy" };

const COLUMNS: &[Column] = &[
    column("vhost"),
    column("name"),
    column("pattern"),
    column("apply-to"),
    column("definition"),
    column("priority"),
];

fn name_argument() -> Arg {
    Arg::new("name").value_name("NAME").required(true)
}

/// What a policy may apply to.
pub(super) const APPLY_TO: [&str; 6] =
    ["all", "queues", "classic_queues", "quorum_queues", "streams", "exchanges"];

fn with_definition(command: clap::Command) -> clap::Command {
    command
        .arg(name_argument())
        .arg(
            Arg::new("pattern")
                .value_name("PATTERN")
                .required(true)
                .allow_hyphen_values(true)
                .help("Regular expression for names"),
        )
        .arg(Arg::new("definition").value_name("DEFINITION").required(true).help("Keys and values, as JSON"))
        .arg(
            Arg::new("priority")
                .long("priority")
                .value_parser(clap::value_parser!(i64))
                .allow_negative_numbers(true)
                .default_value("0")
                .help("Of several that match, the highest counts"),
        )
        .arg(Arg::new("apply_to").long("apply-to").value_parser(APPLY_TO).default_value("all"))
}

fn set(context: &mut Context<'_>, arguments: &ArgMatches, kind: Kind) -> Result<(), Failure> {
    let name = text(arguments, "name");
    let body = json!({
        "pattern": text(arguments, "pattern"),
        "definition": json(arguments, "definition")?,
        "priority": arguments.get_one::<i64>("priority"),
        "apply-to": text(arguments, "apply_to"),
    });
    let vhost = &context.vhost;
    let outcome = context.client.put(&[kind.path, vhost, name], &body);
    outcome.map_err(|failure| failure.or_missing(|| no_vhost(vhost)))?;
    context.output.note(&format!("Set {} '{name}' in vhost '{vhost}'.", kind.noun))
}

fn clear(context: &mut Context<'_>, arguments: &ArgMatches, kind: Kind) -> Result<(), Failure> {
    let (name, vhost) = (text(arguments, "name"), context.vhost.clone());
    let missing = format!("{} '{name}' does not exist in vhost '{vhost}'", kind.noun);
    context.delete_in_vhost(&[kind.path, &vhost, name], missing)?;
    context.output.note(&format!("Cleared {} '{name}' in vhost '{vhost}'.", kind.noun))
}

fn list(context: &mut Context<'_>, kind: Kind) -> Result<(), Failure> {
    let vhost = context.vhost.clone();
    let names: Vec<&str> = COLUMNS.iter().map(|column| column.name).collect();
    let listed = output::list(context, &[kind.path, &vhost], COLUMNS, &names, &[]);
    listed.map_err(|failure| failure.or_missing(|| no_vhost(&vhost)))
}
