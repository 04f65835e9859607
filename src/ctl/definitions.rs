//! Definitions: everything that was declared and administered, as a file out of the broker and into it.

use super::{Command, Context, Failure, output::Format, text};
use clap::{Arg, ArgAction, ArgMatches};
use serde_json::Value;
use std::fs::OpenOptions;
use std::io::{self, BufWriter, Read, Write};

pub(super) const EXPORT_DEFINITIONS: Command = Command {
    name: "export_definitions",
    about: "Write users, vhosts, permissions, policies, queues, exchanges and bindings into a file",
    arguments: |command| {
        let file =
            Arg::new("file").value_name("FILE").required(true).help("A file, or - for standard output");
        command.arg(file).arg(single_vhost("Only what is in the vhost of -p, to go into another"))
    },
    run: export,
};

pub(super) const IMPORT_DEFINITIONS: Command = Command {
    name: "import_definitions",
    about: "Make what such a file says, also one of RabbitMQ's; what is there already stays as it is",
    arguments: |command| {
        let file = Arg::new("file").value_name("FILE").default_value("-").hide_default_value(true);
        let file = file.help("A file, or - for standard input");
        command.arg(file).arg(single_vhost("All of it in the vhost of -p, whatever the file says"))
    },
    run: import,
};

/// What stands for standard input and output.
const STANDARD: &str = "-";

fn single_vhost(help: &'static str) -> Arg {
    Arg::new("single_vhost").long("single-vhost").action(ArgAction::SetTrue).help(help)
}

fn path<'a>(context: &'a Context<'_>, arguments: &ArgMatches) -> Vec<&'a str> {
    let vhost = arguments.get_flag("single_vhost").then_some(context.vhost.as_str());
    std::iter::once("definitions").chain(vhost).collect()
}

fn named(file: &str, error: &io::Error) -> Failure {
    Failure::Output(io::Error::new(error.kind(), format!("{file}: {error}")))
}

fn missing(context: &Context<'_>, failure: Failure) -> Failure {
    failure.or_missing(|| super::failure::no_vhost(&context.vhost))
}

fn export(context: &mut Context<'_>, arguments: &ArgMatches) -> Result<(), Failure> {
    let file = text(arguments, "file");
    let got = context.client.get(&path(context, arguments));
    let definitions = got.map_err(|failure| missing(context, failure))?;
    if file == STANDARD {
        return Ok(writeln!(context.output.out, "{definitions:#}")?);
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    // There are hashes of passwords in it.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(file).and_then(|file| {
        let mut file = BufWriter::new(file);
        writeln!(file, "{definitions:#}")?;
        file.flush()
    });
    written.map_err(|error| named(file, &error))?;
    let counts =
        ["queues", "exchanges", "bindings", "users", "vhosts"].map(|section| count(&definitions, section));
    let counts: Vec<String> = counts.into_iter().flatten().collect();
    context.output.note(&format!("Wrote {} to {file}.", counts.join(", ")))
}

fn count(definitions: &Value, section: &str) -> Option<String> {
    let count = definitions[section].as_array()?.len();
    let noun = if count == 1 { section.trim_end_matches('s') } else { section };
    Some(format!("{count} {noun}"))
}

fn import(context: &mut Context<'_>, arguments: &ArgMatches) -> Result<(), Failure> {
    let file = text(arguments, "file");
    let mut json = String::new();
    let read = if file == STANDARD {
        io::stdin().read_to_string(&mut json).map(drop)
    } else {
        std::fs::read_to_string(file).map(|read| json = read)
    };
    read.map_err(|error| Failure::Data(format!("cannot read {file}: {error}")))?;
    let definitions: Value = serde_json::from_str(json.trim_start_matches('\u{feff}')).map_err(|error| {
        Failure::Data(format!(
            "{file} is no JSON ({error}); `rabbitmqctl export_definitions` writes it with --format json"
        ))
    })?;
    let sent = context.client.post(&path(context, arguments), &definitions);
    let answer = sent.map_err(|failure| missing(context, failure))?;
    if context.output.format == Format::Json {
        let left_out = answer.get("left_out").cloned().unwrap_or_else(|| Value::Array(Vec::new()));
        return Ok(writeln!(context.output.out, "{}", serde_json::json!({ "left_out": left_out }))?);
    }
    for what in answer["left_out"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        writeln!(context.output.out, "left out: {what}")?;
    }
    context.output.note("Definitions are imported.")
}
