//! The configuration of a running broker: what is in force, and what can be changed until its next start.

use super::{Command, Context, Failure, columns_argument, output::Rows, text, texts};
use clap::{Arg, ArgMatches};
use serde_json::{Value, json};

pub(super) const ENVIRONMENT: Command = Command {
    name: "environment",
    about: "List the settings of the running broker with their values and where those come from",
    arguments: |command| command.arg(columns_argument()),
    run: |context, arguments| {
        let effective = effective(context)?;
        list(context, &effective, &texts(arguments, "columns"))
    },
};

pub(super) const SET_LOG_LEVEL: Command = Command {
    name: "set_log_level",
    about: "Log lines of that importance or more: debug, info, warning, error, none, until the broker's next start",
    arguments: |command| command.arg(Arg::new("level").value_name("LEVEL").required(true)),
    run: set_log_level,
};

pub(super) const SET_MEMORY_WATERMARK: Command = Command {
    name: "set_vm_memory_high_watermark",
    about: "Block publishers above so much memory: `0.6` of it, or `absolute 2GB`, until the broker's next start",
    arguments: |command| two(command, "FRACTION|absolute"),
    run: |context, arguments| {
        let (key, value) = match (text(arguments, "limit"), arguments.get_one::<String>("value")) {
            ("absolute", Some(value)) => (MEMORY_ABSOLUTE, value.as_str()),
            // None at all, as RabbitMQ's operators block all publishers.
            (fraction, None) if fraction.parse() == Ok(0.0) => (MEMORY_ABSOLUTE, "0"),
            (fraction, None) if fraction != "absolute" => (MEMORY_RELATIVE, fraction),
            _ => {
                return Err(Failure::Usage(
                    "say a fraction, as 0.6, or `absolute` and a size, as 2GB".into(),
                ));
            }
        };
        set(context, key, value)?;
        done(context, key, value)
    },
};

pub(super) const SET_DISK_FREE_LIMIT: Command = Command {
    name: "set_disk_free_limit",
    about: "Block publishers below so much free disk: `2GB`, or `mem_relative 1.5`, until the broker's next start",
    arguments: |command| two(command, "SIZE|mem_relative"),
    run: |context, arguments| {
        let (key, value) = match (text(arguments, "limit"), arguments.get_one::<String>("value")) {
            ("mem_relative", Some(value)) => (DISK_RELATIVE, value.as_str()),
            (size, None) if size != "mem_relative" => (DISK_ABSOLUTE, size),
            _ => {
                let what = "say a size, as 2GB, or `mem_relative` and a multiple of the memory, as 1.5";
                return Err(Failure::Usage(what.into()));
            }
        };
        set(context, key, value)?;
        done(context, key, value)
    },
};

const MEMORY_RELATIVE: &str = "vm_memory_high_watermark.relative";
const MEMORY_ABSOLUTE: &str = "vm_memory_high_watermark.absolute";
const DISK_RELATIVE: &str = "disk_free_limit.relative";
const DISK_ABSOLUTE: &str = "disk_free_limit.absolute";
const LOG_LEVEL: &str = "log.level";
/// What holds lines back that the level lets through, where it is set.
const OUTPUT_LEVELS: [&str; 3] = ["log.console.level", "log.file.level", "log.exchange.level"];

const COLUMNS: [&str; 7] = ["key", "value", "source", "unit", "default", "live", "meaning"];
const DEFAULT: [&str; 3] = ["key", "value", "source"];

fn two(command: clap::Command, shown: &'static str) -> clap::Command {
    let limit = Arg::new("limit").value_name(shown).required(true).allow_negative_numbers(true);
    command.arg(limit).arg(Arg::new("value").value_name("VALUE").allow_negative_numbers(true))
}

/// The settings, with their values; secrets are not among those.
pub(super) fn effective(context: &Context<'_>) -> Result<Value, Failure> {
    Ok(context.client.get(&["config", "effective"])?["settings"].take())
}

/// Lists settings: the wanted columns, or the usual ones.
pub(super) fn list(context: &mut Context<'_>, settings: &Value, wanted: &[String]) -> Result<(), Failure> {
    let wanted: Vec<&str> =
        if wanted.is_empty() { DEFAULT.to_vec() } else { wanted.iter().map(String::as_str).collect() };
    if let Some(unknown) = wanted.iter().find(|name| !COLUMNS.contains(name)) {
        return Err(Failure::Usage(format!("unknown column '{unknown}'; there are: {}", COLUMNS.join(" "))));
    }
    let row = |setting: &Value| wanted.iter().map(|name| setting[*name].clone()).collect();
    let rows = settings.as_array().into_iter().flatten().map(row).collect();
    let mut output = Rows::new(&mut context.output, &wanted);
    output.write(rows)?;
    Ok(output.finish()?)
}

fn set(context: &Context<'_>, key: &str, value: &str) -> Result<(), Failure> {
    context.client.put(&["config", "effective", key], &json!({ "value": value }))
}

fn done(context: &mut Context<'_>, key: &str, value: &str) -> Result<(), Failure> {
    context
        .output
        .note(&format!("{key} is {value} until the broker starts again or reads its configuration."))
}

/// The general level, and that of each output which has one of its own and would hold lines back.
fn set_log_level(context: &mut Context<'_>, arguments: &ArgMatches) -> Result<(), Failure> {
    let level = text(arguments, "level");
    set(context, LOG_LEVEL, level)?;
    let settings = effective(context)?;
    let has_own = |key: &&str| {
        let mut rows = settings.as_array().into_iter().flatten();
        rows.any(|row| row["key"] == **key && !row["value"].is_null())
    };
    for key in OUTPUT_LEVELS.iter().filter(|key| has_own(key)) {
        set(context, key, level)?;
    }
    done(context, LOG_LEVEL, level)
}
