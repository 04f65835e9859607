//! Definitions: everything that was declared and administered, as a file out of the broker and into it.

use super::{Command, Context, Failure, progress, text, texts, transformations};
use clap::{Arg, ArgAction, ArgMatches};
use serde::de::IgnoredAny;
use serde_json::Value;
use std::fs::OpenOptions;
use std::io::{self, BufReader, BufWriter, Read, Write};

pub(super) const EXPORT_DEFINITIONS: Command = Command {
    name: "export_definitions",
    about: "Write users, vhosts, permissions, policies, queues, exchanges and bindings into a file",
    arguments: |command| {
        let file =
            Arg::new("file").value_name("FILE").required(true).help("A file, or - for standard output");
        command.arg(file).arg(single_vhost("Only what is in the vhost of -p, to go into another"))
    },
    run: |context, arguments| {
        export(context, text(arguments, "file"), arguments.get_flag("single_vhost"), &[])
    },
};

pub(super) const IMPORT_DEFINITIONS: Command = Command {
    name: "import_definitions",
    about: "Make what such a file says, also one of RabbitMQ's; what is there already stays as it is",
    arguments: |command| {
        let file = Arg::new("file").value_name("FILE").default_value("-").hide_default_value(true);
        let file = file.help("A file, or - for standard input");
        // What is unchanged stays as it is anyway.
        let skip = Arg::new("skip").long("skip-if-unchanged").action(ArgAction::SetTrue).hide(true);
        let single = single_vhost("All of it in the vhost of -p, whatever the file says");
        command.arg(file).arg(single).arg(skip)
    },
    run: |context, arguments| import(context, text(arguments, "file"), arguments.get_flag("single_vhost")),
};

pub(super) const EXPORT: Command = Command {
    name: "export",
    about: "Write definitions into a file, as rabbitmqadmin: `export FILE`, `export definitions --file FILE`",
    arguments: |command| with_transformations(with_file(command).arg(words())),
    run: |context, arguments| {
        let file = named_file(arguments).unwrap_or(STANDARD.into());
        export(context, &file, context.is_vhost_given, &texts(arguments, "transformations"))
    },
};

pub(super) const IMPORT: Command = Command {
    name: "import",
    about: "Make what a file of definitions says, as rabbitmqadmin: `import FILE`",
    arguments: |command| with_file(command).arg(words()),
    run: |context, arguments| {
        let file = file(arguments)?;
        import(context, &file, context.is_vhost_given)
    },
};

pub(super) const DEFINITIONS: Command = Command {
    name: "definitions",
    about: "Export and import definitions, by the names of rabbitmqadmin's version 2",
    arguments: |command| {
        let action = |(name, about): &(&'static str, &'static str)| {
            let command = with_file(clap::Command::new(*name).about(*about));
            if name.starts_with("export") { with_transformations(command) } else { command }
        };
        command.subcommand_required(true).subcommands(ACTIONS.iter().map(action))
    },
    run: |context, arguments| {
        let Some((action, arguments)) = arguments.subcommand() else { return Ok(()) };
        let is_single_vhost = action.ends_with("_vhost");
        if action.starts_with("export") {
            let file = named_file(arguments).unwrap_or(STANDARD.into());
            return export(context, &file, is_single_vhost, &texts(arguments, "transformations"));
        }
        let file = file(arguments)?;
        import(context, &file, is_single_vhost)
    },
};

/// What `definitions` does.
const ACTIONS: &[(&str, &str)] = &[
    ("export", "Write all definitions into a file"),
    ("export_from_vhost", "Write what is in the vhost of -p into a file"),
    ("import", "Make what a file of definitions says"),
    ("import_into_vhost", "Make what a file of definitions says in the vhost of -p"),
];

/// How the broker begins to say that a body is larger than it may be.
const TOO_LARGE: &str = "Exceeded HTTP request body size limit";
/// What stands for standard input and output.
const STANDARD: &str = "-";

fn single_vhost(help: &'static str) -> Arg {
    Arg::new("single_vhost").long("single-vhost").action(ArgAction::SetTrue).help(help)
}

fn with_file(command: clap::Command) -> clap::Command {
    let standard = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    command
        .arg(
            Arg::new("file")
                .long("file")
                .value_name("FILE")
                .help("A file, or - for standard input or output"),
        )
        .arg(standard("stdout").help("Write to standard output"))
        .arg(standard("stdin").help("Read from standard input"))
}

fn words() -> Arg {
    Arg::new("words").value_name("FILE").num_args(0..).help("The file, if --file does not say it")
}

fn with_transformations(command: clap::Command) -> clap::Command {
    let names = Arg::new("transformations").long("transformations").value_name("NAMES").num_args(1..);
    command.arg(names.help("What is done to them before: exclude_users, obfuscate_usernames, …"))
}

/// The file that an import reads.
fn file(arguments: &ArgMatches) -> Result<String, Failure> {
    named_file(arguments).ok_or_else(|| Failure::Usage("which file? Say --file FILE, or --stdin".into()))
}

/// The file that is meant by the options, or by the words behind the command.
fn named_file(arguments: &ArgMatches) -> Option<String> {
    if arguments.get_flag("stdout") || arguments.get_flag("stdin") {
        return Some(STANDARD.to_owned());
    }
    let named = arguments.get_one::<String>("file").cloned();
    let has_words = matches!(arguments.try_contains_id("words"), Ok(true));
    let words = if has_words { texts(arguments, "words") } else { Vec::new() };
    let word = words.into_iter().find(|word| word != "definitions");
    named.or(word)
}

fn path<'a>(context: &'a Context<'_>, is_single_vhost: bool) -> Vec<&'a str> {
    let vhost = is_single_vhost.then_some(context.vhost.as_str());
    std::iter::once("definitions").chain(vhost).collect()
}

fn named(file: &str, error: &io::Error) -> Failure {
    Failure::Output(io::Error::new(error.kind(), format!("{file}: {error}")))
}

fn missing(context: &Context<'_>, failure: Failure) -> Failure {
    failure.or_missing(|| super::failure::no_vhost(&context.vhost))
}

fn export(
    context: &mut Context<'_>,
    file: &str,
    is_single_vhost: bool,
    transformations: &[String],
) -> Result<(), Failure> {
    let turning = progress::spinner(&context.output, "{bytes} read");
    let got = context.client.get_text(&path(context, is_single_vhost));
    let got = got.map_err(|failure| missing(context, failure))?;
    let definitions: Result<Value, _> = serde_json::from_reader(BufReader::new(turning.wrap_read(got)));
    turning.finish_and_clear();
    let mut definitions = definitions.map_err(|error| {
        Failure::Broker(format!("the definitions from {} broke off ({error})", context.client.address()))
    })?;
    transformations::apply(&mut definitions, transformations)?;
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

fn import(context: &mut Context<'_>, file: &str, is_single_vhost: bool) -> Result<(), Failure> {
    let mut json = String::new();
    let read = if file == STANDARD {
        io::stdin().read_to_string(&mut json).map(drop)
    } else {
        std::fs::read_to_string(file).map(|read| json = read)
    };
    read.map_err(|error| Failure::Data(format!("cannot read {file}: {error}")))?;
    let json = json.trim_start_matches('\u{feff}');
    serde_json::from_str::<IgnoredAny>(json).map_err(|error| {
        Failure::Data(format!(
            "{file} is no JSON ({error}); `rabbitmqctl export_definitions` writes it with --format json"
        ))
    })?;
    let bar = progress::transfer(&context.output, json.len() as u64);
    let mut sent = bar.wrap_read(json.as_bytes());
    let answer = context.client.post_text(&path(context, is_single_vhost), &mut sent, json.len() as u64);
    bar.finish_and_clear();
    let answer = answer.map_err(|failure| match failure {
        Failure::Data(reason) if reason.starts_with(TOO_LARGE) => {
            Failure::Data(format!("{file} has {} bytes. {reason}", json.len()))
        }
        failure => missing(context, failure),
    })?;
    if context.output.format.is_json() {
        let left_out = answer.get("left_out").cloned().unwrap_or_else(|| Value::Array(Vec::new()));
        return Ok(writeln!(context.output.out, "{}", serde_json::json!({ "left_out": left_out }))?);
    }
    for what in answer["left_out"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        writeln!(context.output.out, "left out: {what}")?;
    }
    context.output.note("Definitions are imported.")
}
