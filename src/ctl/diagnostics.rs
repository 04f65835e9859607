//! rabbitmq-diagnostics' commands about what the node uses and who logged in.

use super::{Command, Context, Failure, client, output::Format, output::Rows, status, status::Unit};
use clap::{Arg, ArgAction, ArgMatches};
use serde_json::{Map, Value, json};

pub(super) const MEMORY_BREAKDOWN: Command = Command {
    name: "memory_breakdown",
    about: "List what takes the node's memory, the most first",
    arguments: |command| command.arg(status::unit_argument()),
    run: memory_breakdown,
};

pub(super) const LIST_AUTH_ATTEMPTS: Command = Command {
    name: "list_node_auth_attempt_stats",
    about: "List how often people logged in or tried to, by protocol",
    arguments: |command| {
        let by_source = Arg::new("by-source").long("by-source").action(ArgAction::SetTrue);
        command.arg(by_source.help("By user and address, too"))
    },
    run: |context, arguments| list_attempts(context, arguments.get_flag("by-source")),
};

pub(super) const RESET_AUTH_ATTEMPTS: Command = Command {
    name: "reset_node_auth_attempt_metrics",
    about: "Count logins anew",
    arguments: |command| command,
    run: |context, _| {
        let node = node(context)?;
        context.client.delete(&["auth", "attempts", &node])?;
        context.output.note("Logins are counted anew.")
    },
};

pub(super) const IS_BOOTING: Command = Command {
    name: "is_booting",
    about: "Say whether the broker is still starting",
    arguments: |command| command,
    run: |context, _| {
        // It answers when it has started, and not before.
        context.client.get(&["overview"])?;
        if context.output.format.is_json() {
            return Ok(writeln!(context.output.out, "{}", json!({ "result": false }))?);
        }
        context.output.note("The broker is not starting: it has started.")
    },
};

/// What the node is called.
pub(super) fn node(context: &Context<'_>) -> Result<String, Failure> {
    Ok(client::text(&context.client.get(&["overview"])?, "node").to_owned())
}

/// Lists how often people logged in, or tried to.
pub(super) fn list_attempts(context: &mut Context<'_>, is_by_source: bool) -> Result<(), Failure> {
    const FIELDS: [&str; 6] = [
        "protocol",
        "username",
        "remote_address",
        "auth_attempts",
        "auth_attempts_succeeded",
        "auth_attempts_failed",
    ];
    let node = node(context)?;
    let path = ["auth", "attempts", &node, "source"];
    let (path, fields) = match is_by_source {
        true => (&path[..], FIELDS.to_vec()),
        false => (&path[..3], [&FIELDS[..1], &FIELDS[3..]].concat()),
    };
    let attempts = context.client.get(path)?;
    let attempts = attempts.as_array().into_iter().flatten();
    let row = |attempt: &Value| fields.iter().map(|field| attempt[*field].clone()).collect();
    let mut rows = Rows::new(&mut context.output, &fields);
    rows.write(attempts.map(row).collect())?;
    Ok(rows.finish()?)
}

fn memory_breakdown(context: &mut Context<'_>, arguments: &ArgMatches) -> Result<(), Failure> {
    let node = node(context)?;
    let memory = context.client.get(&["nodes", &node, "memory"])?["memory"].take();
    let total = memory["total"]["rss"].as_u64().unwrap_or_default();
    let parts = memory.as_object().into_iter().flatten();
    let mut parts: Vec<(&str, u64)> =
        parts.filter_map(|(name, bytes)| Some((name.as_str(), bytes.as_u64()?))).collect();
    parts.sort_by_key(|(name, bytes)| (std::cmp::Reverse(*bytes), *name));
    let percent = |bytes: u64| {
        let tenths = bytes.saturating_mul(1000) / total.max(1);
        json!(tenths as f64 / 10.0)
    };
    if context.output.format.is_json() {
        let object = parts
            .iter()
            .map(|(name, bytes)| {
                ((*name).to_owned(), json!({ "bytes": bytes, "percentage": percent(*bytes) }))
            })
            .collect::<Map<_, _>>();
        return context.output.object(object);
    }
    let unit = status::unit_of(arguments);
    let shown = |bytes: u64| match (context.output.format, unit) {
        (Format::Table, _) | (_, Some(_)) => Value::from(Unit::shown(unit, bytes)),
        _ => Value::from(bytes),
    };
    // RabbitMQ's parts that take nothing here would hide the others.
    parts.retain(|(_, bytes)| *bytes > 0);
    let lines = parts.iter().map(|(name, bytes)| vec![Value::from(*name), shown(*bytes), percent(*bytes)]);
    let lines = lines.collect();
    let mut rows = Rows::new(&mut context.output, &["part", "memory", "percent"]);
    rows.write(lines)?;
    Ok(rows.finish()?)
}
