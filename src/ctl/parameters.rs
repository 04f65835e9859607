//! Runtime parameters, of vhosts and global.

use super::{Command, Context, Failure, failure::no_vhost, json, output, output::Rows, output::column, text};
use clap::{Arg, ArgMatches};
use serde_json::json;

pub(super) const SET_PARAMETER: Command = Command {
    name: "set_parameter",
    about: "Set a runtime parameter of a component",
    arguments: |command| command.args([COMPONENT, NAME, VALUE].map(required)),
    run: set,
};

pub(super) const CLEAR_PARAMETER: Command = Command {
    name: "clear_parameter",
    about: "Clear a runtime parameter",
    arguments: |command| command.args([COMPONENT, NAME].map(required)),
    run: clear,
};

pub(super) const LIST_PARAMETERS: Command = Command {
    name: "list_parameters",
    about: "List the runtime parameters of a vhost",
    arguments: |command| command,
    run: |context, _| list(context),
};

pub(super) const SET_GLOBAL_PARAMETER: Command = Command {
    name: "set_global_parameter",
    about: "Set a global runtime parameter",
    arguments: |command| command.args([NAME, VALUE].map(required)),
    run: set_global,
};

pub(super) const CLEAR_GLOBAL_PARAMETER: Command = Command {
    name: "clear_global_parameter",
    about: "Clear a global runtime parameter",
    arguments: |command| command.arg(required(NAME)),
    run: clear_global,
};

pub(super) const LIST_GLOBAL_PARAMETERS: Command = Command {
    name: "list_global_parameters",
    about: "List the global runtime parameters",
    arguments: |command| command,
    run: |context, _| {
        let columns = &[column("name"), column("value")];
        output::list(context, &["global-parameters"], columns, &["name", "value"], &[])
    },
};

/// An argument: its id, and what the help calls it.
type Argument = (&'static str, &'static str);

const COMPONENT: Argument = ("component", "COMPONENT");
const NAME: Argument = ("name", "NAME");
const VALUE: Argument = ("value", "JSON");

fn required((id, shown): Argument) -> Arg {
    Arg::new(id).value_name(shown).required(true).allow_negative_numbers(true)
}

fn set(context: &mut Context<'_>, arguments: &ArgMatches) -> Result<(), Failure> {
    let (component, name) = (text(arguments, "component"), text(arguments, "name"));
    let body = json!({ "value": json(arguments, "value")? });
    let vhost = &context.vhost;
    let outcome = context.client.put(&["parameters", component, vhost, name], &body);
    outcome.map_err(|failure| failure.or_missing(|| no_vhost(vhost)))?;
    context.output.note(&format!("Set parameter '{name}' of component '{component}' in vhost '{vhost}'."))
}

fn clear(context: &mut Context<'_>, arguments: &ArgMatches) -> Result<(), Failure> {
    let (component, name) = (text(arguments, "component"), text(arguments, "name"));
    let vhost = context.vhost.clone();
    let missing = format!("component '{component}' has no parameter '{name}' in vhost '{vhost}'");
    context.delete_in_vhost(&["parameters", component, &vhost, name], missing)?;
    context.output.note(&format!("Cleared parameter '{name}' of component '{component}' in vhost '{vhost}'."))
}

/// The API lists the parameters of all vhosts, or those of one component in one.
fn list(context: &mut Context<'_>) -> Result<(), Failure> {
    const NAMES: [&str; 3] = ["component", "name", "value"];
    context
        .client
        .get(&["vhosts", &context.vhost])
        .map_err(|failure| failure.or_missing(|| no_vhost(&context.vhost)))?;
    let mut rows = Rows::new(&mut context.output, &NAMES);
    for page in context.client.pages(&["parameters"], "vhost,component,name,value") {
        let page = page?;
        let here = page.iter().filter(|row| row["vhost"] == context.vhost.as_str());
        rows.write(here.map(|row| NAMES.iter().map(|name| row[*name].clone()).collect()).collect())?;
    }
    Ok(rows.finish()?)
}

fn set_global(context: &mut Context<'_>, arguments: &ArgMatches) -> Result<(), Failure> {
    let name = text(arguments, "name");
    context.client.put(&["global-parameters", name], &json!({ "value": json(arguments, "value")? }))?;
    context.output.note(&format!("Set global parameter '{name}'."))
}

fn clear_global(context: &mut Context<'_>, arguments: &ArgMatches) -> Result<(), Failure> {
    let name = text(arguments, "name");
    let missing = || Failure::Data(format!("there is no global parameter '{name}'"));
    context.client.delete(&["global-parameters", name]).map_err(|failure| failure.or_missing(missing))?;
    context.output.note(&format!("Cleared global parameter '{name}'."))
}
