//! rabbitmqadmin's commands that change what policies say without saying all of it again, and that look through them.

use super::super::policies::{APPLY_TO, Kind, OPERATORS, USERS};
use super::super::{Context, Failure, client, failure::no_vhost, json, output::Rows, text, texts};
use super::more::{More, named, needed};
use clap::{Arg, ArgMatches};
use regex::Regex;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Which policies a command is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// The one that `--name` names.
    One,
    /// Those of the vhost of `-p`.
    Vhost,
    All,
}

/// rabbitmqadmin gives an overriding policy so much more than the one it overrides.
const OVERRIDE: i64 = 100;
/// A policy for what no other matches is below this, and below all others.
const BLANKET: i64 = -20;
const FIELDS: [&str; 6] = ["vhost", "name", "pattern", "apply-to", "priority", "definition"];

/// A subcommand of both groups, or of the first alone.
macro_rules! both {
    ($name:literal, $about:literal, $arguments:expr, $run:expr) => {
        [
            More {
                group: "policies",
                name: $name,
                about: $about,
                arguments: $arguments,
                run: |context, arguments| $run(context, arguments, USERS),
            },
            More {
                group: "operator_policies",
                name: $name,
                about: $about,
                arguments: $arguments,
                run: |context, arguments| $run(context, arguments, OPERATORS),
            },
        ]
    };
}

pub(super) const MORE: &[[More; 2]] = &[
    both!(
        "declare_override",
        "Declare a policy over another one: its definition, and some keys more",
        |command| {
            let name = Arg::new("override_name").long("override-name").value_name("TEXT");
            let name = name.help("What it is called; else as the other one, with .override behind");
            command.arg(named()).arg(name).arg(needed("definition", "The keys, as JSON"))
        },
        declare_override
    ),
    both!(
        "declare_blanket",
        "Declare a policy for what no other one matches",
        |command| command
            .arg(named())
            .arg(apply_to().required(true))
            .arg(needed("definition", "Keys, as JSON")),
        declare_blanket
    ),
    both!(
        "patch",
        "Set some keys of a policy; the others stay as they are",
        |command| command.arg(named()).arg(needed("definition", "The keys, as JSON")),
        |context: &mut Context<'_>, arguments: &ArgMatches, kind| {
            let keys = object(json(arguments, "definition")?)?;
            change(context, arguments, kind, Reach::One, |definition| definition.extend(keys.clone()))
        }
    ),
    both!(
        "update_definition",
        "Set one key of a policy",
        |command| with_key(command.arg(named())),
        |context, arguments, kind| update(context, arguments, kind, Reach::One)
    ),
    both!(
        "update_definitions_of_all_in",
        "Set one key of all policies of the vhost of -p",
        with_key,
        |context, arguments, kind| update(context, arguments, kind, Reach::Vhost)
    ),
    both!(
        "update_definitions_of_all",
        "Set one key of all policies",
        with_key,
        |context, arguments, kind| update(context, arguments, kind, Reach::All)
    ),
    both!(
        "delete_definition_keys",
        "Take keys out of a policy, unless nothing would be left",
        |command| with_keys(command.arg(named())),
        |context, arguments, kind| take_out(context, arguments, kind, Reach::One)
    ),
    both!(
        "delete_definition_keys_from_all_in",
        "Take keys out of all policies of the vhost of -p, unless nothing would be left of one",
        with_keys,
        |context, arguments, kind| take_out(context, arguments, kind, Reach::Vhost)
    ),
    both!(
        "delete_definition_keys_from_all",
        "Take keys out of all policies, unless nothing would be left of one",
        with_keys,
        |context, arguments, kind| take_out(context, arguments, kind, Reach::All)
    ),
    both!(
        "list_in",
        "List those of the vhost of -p",
        |command| command.arg(apply_to()),
        |context, arguments: &ArgMatches, kind| {
            let to = arguments.get_one::<String>("apply_to");
            let is_wanted = |policy: &Value| to.is_none_or(|to| client::text(policy, "apply-to") == to);
            list(context, kind, Reach::Vhost, |policies| policies.retain(is_wanted))
        }
    ),
    both!(
        "list_conflicting",
        "List those that have the priority of another one in the same vhost",
        |command| command,
        |context, _, kind| list(context, kind, Reach::All, keep_conflicting)
    ),
    both!("list_conflicting_in", "The same in the vhost of -p", |command| command, |context, _, kind| list(
        context,
        kind,
        Reach::Vhost,
        keep_conflicting
    )),
    both!(
        "list_matching_object",
        "List those in the vhost of -p that match the name of a queue or an exchange, the one that counts first",
        |command| {
            let kind = Arg::new("type").long("type").value_name("TYPE").value_parser(APPLY_TO).required(true);
            command.arg(named()).arg(kind.help("What it is: queues, exchanges, …"))
        },
        |context, arguments: &ArgMatches, kind| {
            let (name, wanted) = (text(arguments, "name"), text(arguments, "type"));
            list(context, kind, Reach::Vhost, |policies| {
                policies.retain(|policy| is_for(policy, wanted) && is_matching(policy, name));
                policies.sort_by_key(|policy| std::cmp::Reverse(policy["priority"].as_i64()));
            })
        }
    ),
];

fn apply_to() -> Arg {
    let option = Arg::new("apply_to").long("apply-to").alias("applies-to").value_name("TYPE");
    option.value_parser(APPLY_TO).help("What it applies to")
}

fn with_key(command: clap::Command) -> clap::Command {
    let value = Arg::new("value").long("new-value").value_name("JSON").required(true);
    let value = value.allow_hyphen_values(true).help("Its value; what is no JSON is a text");
    command.arg(needed("definition-key", "The key")).arg(value)
}

fn with_keys(command: clap::Command) -> clap::Command {
    let keys = Arg::new("keys").long("definition-keys").value_name("KEYS").num_args(1..).required(true);
    command.arg(keys.help("Keys, separated by commas"))
}

fn object(value: Value) -> Result<Map<String, Value>, Failure> {
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(Failure::Data("a definition is an object: {\"max-length\": 10}".into())),
    }
}

/// The policies that the command is about, as they are.
fn policies(context: &Context<'_>, kind: Kind, reach: Reach, name: &str) -> Result<Vec<Value>, Failure> {
    let vhost = context.vhost.clone();
    let path = [kind.path, &vhost, name];
    let missing = || {
        Failure::Data(format!(
            "{} '{name}' does not exist in vhost '{vhost}'; `warrenctl list {}` lists those that do",
            kind.noun,
            kind.path.replace('-', "_")
        ))
    };
    let mut found = Vec::new();
    match reach {
        Reach::One => {
            let policy = context.client.get(&path);
            found.push(policy.map_err(|failure| context.missing(failure, missing))?);
        }
        Reach::Vhost | Reach::All => {
            let path = if reach == Reach::Vhost { &path[..2] } else { &path[..1] };
            for page in context.client.pages(path, "") {
                found.extend(page.map_err(|failure| failure.or_missing(|| no_vhost(&vhost)))?);
            }
        }
    }
    Ok(found)
}

/// Puts a policy as it is said to be.
fn put(context: &Context<'_>, kind: Kind, policy: &Value) -> Result<(), Failure> {
    let body = json!({
        "pattern": policy["pattern"],
        "definition": policy["definition"],
        "priority": policy["priority"],
        "apply-to": policy["apply-to"],
    });
    let [vhost, name] = ["vhost", "name"].map(|key| client::text(policy, key));
    context
        .client
        .put(&[kind.path, vhost, name], &body)
        .map_err(|failure| failure.or_missing(|| no_vhost(vhost)))
}

/// Changes the definitions of policies; one that would have none any more, or is the same, stays as it is.
fn change(
    context: &mut Context<'_>,
    arguments: &ArgMatches,
    kind: Kind,
    reach: Reach,
    change: impl Fn(&mut Map<String, Value>),
) -> Result<(), Failure> {
    let name = if reach == Reach::One { text(arguments, "name") } else { "" };
    for mut policy in policies(context, kind, reach, name)? {
        let before = policy["definition"].as_object().cloned().unwrap_or_default();
        let mut definition = before.clone();
        change(&mut definition);
        let place =
            format!("{} '{}' in vhost '{}'", kind.noun, policy["name"].as_str().unwrap_or_default(), {
                policy["vhost"].as_str().unwrap_or_default()
            });
        if definition == before {
            context.output.note(&format!("Left {place} as it is."))?;
        } else if definition.is_empty() {
            context.output.note(&format!("Left {place} as it is: nothing would be left of it."))?;
        } else {
            policy["definition"] = Value::Object(definition);
            put(context, kind, &policy)?;
            context.output.note(&format!("Changed {place}."))?;
        }
    }
    Ok(())
}

fn update(
    context: &mut Context<'_>,
    arguments: &ArgMatches,
    kind: Kind,
    reach: Reach,
) -> Result<(), Failure> {
    let (key, value) = (text(arguments, "definition-key"), text(arguments, "value"));
    let value: Value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
    change(context, arguments, kind, reach, |definition| {
        drop(definition.insert(key.to_owned(), value.clone()))
    })
}

fn take_out(
    context: &mut Context<'_>,
    arguments: &ArgMatches,
    kind: Kind,
    reach: Reach,
) -> Result<(), Failure> {
    let keys = texts(arguments, "keys");
    change(context, arguments, kind, reach, |definition| definition.retain(|key, _| !keys.contains(key)))
}

fn declare_override(context: &mut Context<'_>, arguments: &ArgMatches, kind: Kind) -> Result<(), Failure> {
    let name = text(arguments, "name");
    let keys = object(json(arguments, "definition")?)?;
    let own = arguments.get_one::<String>("override_name").cloned();
    let own = own.unwrap_or_else(|| format!("{name}.override"));
    let mut policy = policies(context, kind, Reach::One, name)?.pop().unwrap_or_default();
    let mut definition = policy["definition"].as_object().cloned().unwrap_or_default();
    definition.extend(keys);
    policy["definition"] = Value::Object(definition);
    policy["priority"] = json!(policy["priority"].as_i64().unwrap_or(0) + OVERRIDE);
    policy["name"] = json!(own);
    put(context, kind, &policy)?;
    context
        .output
        .note(&format!("Declared {} '{own}' over '{name}' in vhost '{}'.", kind.noun, context.vhost))
}

fn declare_blanket(context: &mut Context<'_>, arguments: &ArgMatches, kind: Kind) -> Result<(), Failure> {
    let name = text(arguments, "name");
    let others = policies(context, kind, Reach::Vhost, "")?;
    let others = others.iter().filter(|policy| policy["name"] != name);
    let lowest = others.filter_map(|policy| policy["priority"].as_i64()).min().unwrap_or(0);
    let policy = json!({
        "vhost": context.vhost,
        "name": name,
        "pattern": ".*",
        "apply-to": text(arguments, "apply_to"),
        "priority": (lowest - 1).min(BLANKET),
        "definition": object(json(arguments, "definition")?)?,
    });
    put(context, kind, &policy)?;
    context.output.note(&format!("Declared {} '{name}' in vhost '{}'.", kind.noun, context.vhost))
}

fn list(
    context: &mut Context<'_>,
    kind: Kind,
    reach: Reach,
    choose: impl FnOnce(&mut Vec<Value>),
) -> Result<(), Failure> {
    let mut found = policies(context, kind, reach, "")?;
    choose(&mut found);
    let mut rows = Rows::new(&mut context.output, &FIELDS);
    rows.write(
        found.iter().map(|policy| FIELDS.iter().map(|field| policy[*field].clone()).collect()).collect(),
    )?;
    Ok(rows.finish()?)
}

fn keep_conflicting(policies: &mut Vec<Value>) {
    let key = |policy: &Value| (client::text(policy, "vhost").to_owned(), policy["priority"].as_i64());
    let mut counts = BTreeMap::new();
    policies.iter().for_each(|policy| *counts.entry(key(policy)).or_insert(0) += 1);
    policies.retain(|policy| counts.get(&key(policy)).is_some_and(|count| *count > 1));
}

/// Whether a policy applies to things of that kind.
fn is_for(policy: &Value, wanted: &str) -> bool {
    let own = client::text(policy, "apply-to");
    let is_some_queue = |kind: &str| kind.ends_with("queues") || kind == "streams";
    own == wanted || own == "all" || (own == "queues" && is_some_queue(wanted))
}

fn is_matching(policy: &Value, name: &str) -> bool {
    // A pattern that is none here is looked at by people.
    Regex::new(client::text(policy, "pattern")).is_ok_and(|pattern| pattern.is_match(name))
}
