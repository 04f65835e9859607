//! rabbitmqadmin's commands that are no verb with a noun.

use super::super::{
    Context, Failure, client, diagnostics, failure::no_vhost, features, output::Rows, progress, text, vhosts,
};
use super::policies;
use base64::{Engine, prelude::BASE64_STANDARD};
use clap::{Arg, ArgAction, ArgMatches};
use regex::Regex;
use serde_json::Value;
use sha2::{Digest, Sha256, Sha512};

/// A subcommand of a group or a verb.
pub(super) struct More {
    pub(super) group: &'static str,
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) arguments: fn(clap::Command) -> clap::Command,
    pub(super) run: fn(&mut Context<'_>, &ArgMatches) -> Result<(), Failure>,
}

/// Groups of such commands alone.
pub(super) const GROUPS_WITHOUT_NOUN: [&str; 4] = ["auth_attempts", "config_file", "passwords", "plugins"];

/// All of them.
pub(super) fn all() -> impl Iterator<Item = &'static More> {
    MORE.iter().chain(policies::MORE.iter().flatten())
}

const MORE: &[More] = &[
    More {
        group: "queues",
        name: "delete_multiple",
        about: "Delete the queues of the vhost of -p whose names match a pattern",
        arguments: of_many,
        run: |context, arguments| {
            let vhost = context.vhost.clone();
            delete_many(context, arguments, &["queues", &vhost], "queues")
        },
    },
    More {
        group: "queues",
        name: "rebalance",
        about: "Do nothing: all queues are on this node",
        arguments: |command| command,
        run: |context, _| context.output.note("rebalance: all queues are on this node."),
    },
    More {
        group: "vhosts",
        name: "delete_multiple",
        about: "Delete the vhosts whose names match a pattern, but not /",
        arguments: of_many,
        run: |context, arguments| delete_many(context, arguments, &["vhosts"], "vhosts"),
    },
    More {
        group: "vhosts",
        name: "enable_deletion_protection",
        about: "Protect a vhost from deletion",
        arguments: |command| command.arg(named()),
        run: |context, arguments| vhosts::protect(context, text(arguments, "name"), true),
    },
    More {
        group: "vhosts",
        name: "disable_deletion_protection",
        about: "Let a vhost be deleted again",
        arguments: |command| command.arg(named()),
        run: |context, arguments| vhosts::protect(context, text(arguments, "name"), false),
    },
    More {
        group: "feature_flags",
        name: "enable",
        about: "Make sure that a feature flag is on",
        arguments: |command| command.arg(named()),
        run: |context, arguments| features::enable(context, text(arguments, "name")),
    },
    More {
        group: "feature_flags",
        name: "enable_all",
        about: "Make sure that all feature flags are on",
        arguments: |command| command,
        run: |context, _| features::enable(context, "all"),
    },
    More { group: "show", ..MEMORY_IN_BYTES },
    More { group: "show", ..MEMORY_IN_PERCENT },
    More { group: "nodes", ..MEMORY_IN_BYTES },
    More { group: "nodes", ..MEMORY_IN_PERCENT },
    More {
        group: "show",
        name: "endpoint",
        about: "Print the address of the HTTP API that is used",
        arguments: |command| command,
        run: |context, _| Ok(writeln!(context.output.out, "{}", context.client.base())?),
    },
    More {
        group: "plugins",
        name: "list_all",
        about: "List plugins: there are none, what the broker can is always on",
        arguments: |command| command,
        run: |context, _| list_plugins(context),
    },
    More {
        group: "plugins",
        name: "list_on_node",
        about: "List plugins: there are none, what the broker can is always on",
        arguments: |command| command.arg(of_node()),
        run: |context, _| list_plugins(context),
    },
    More {
        group: "auth_attempts",
        name: "stats",
        about: "List how often people logged in or tried to, by protocol",
        arguments: |command| {
            let by_source = Arg::new("by-source").long("by-source").action(ArgAction::SetTrue);
            command.arg(by_source.help("By user and address, too")).arg(of_node())
        },
        run: |context, arguments| diagnostics::list_attempts(context, arguments.get_flag("by-source")),
    },
    More {
        group: "passwords",
        name: "salt_and_hash",
        about: "Print the hash of a password, without asking a broker",
        arguments: |command| {
            let password = Arg::new("cleartext").value_name("PASSWORD").required(true);
            let algorithms = ["SHA256", "SHA512"];
            let algorithm = Arg::new("algorithm").long("hashing-algorithm").value_parser(algorithms);
            command.arg(password).arg(algorithm.ignore_case(true).default_value("SHA256"))
        },
        run: salt_and_hash,
    },
    More {
        group: "config_file",
        name: "show_path",
        about: "Print where the file of sections is",
        arguments: |command| command,
        run: |context, _| {
            let path = context.config_file.as_ref().map(|path| path.display().to_string());
            Ok(writeln!(context.output.out, "{}", path.unwrap_or_default())?)
        },
    },
];

const MEMORY_IN_BYTES: More = More {
    group: "",
    name: "memory_breakdown_in_bytes",
    about: "Show what takes the node's memory, in bytes",
    arguments: |command| command.arg(of_node()),
    run: |context, arguments| memory(context, arguments, &[]),
};

const MEMORY_IN_PERCENT: More = More {
    group: "",
    name: "memory_breakdown_in_percent",
    about: "Show what takes the node's memory, in percent",
    arguments: |command| command.arg(of_node()),
    run: |context, arguments| memory(context, arguments, &["relative"]),
};

/// The option that names what a command is about.
pub(super) fn named() -> Arg {
    needed("name", "Its name")
}

/// An option that must be there.
pub(super) fn needed(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("TEXT").required(true).allow_hyphen_values(true).help(help)
}

fn of_node() -> Arg {
    Arg::new("node").long("node").value_name("NODE").help("The node; there is one")
}

fn of_many(command: clap::Command) -> clap::Command {
    let switch = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    command
        .arg(needed("name-pattern", "Regular expression for names"))
        .arg(switch("approve", "Really delete them"))
        .arg(switch("dry-run", "Only list them"))
        .arg(switch("idempotently", "One that is not there is fine"))
}

/// Deletes what is in a list and matches; only when it is approved, and the vhost `/` never.
fn delete_many(
    context: &mut Context<'_>,
    arguments: &ArgMatches,
    path: &[&str],
    noun: &str,
) -> Result<(), Failure> {
    let pattern = text(arguments, "name-pattern");
    let pattern = Regex::new(pattern)
        .map_err(|_| Failure::Usage(format!("--name-pattern '{pattern}' is no regular expression")))?;
    let is_dry = arguments.get_flag("dry-run");
    if !is_dry && !arguments.get_flag("approve") {
        let text =
            format!("this deletes {noun} with all that is in them: --dry-run lists them, --approve does it");
        return Err(Failure::Usage(text));
    }
    let mut names = Vec::new();
    for page in context.client.pages(path, "name") {
        let page = page.map_err(|failure| failure.or_missing(|| no_vhost(&context.vhost)))?;
        names.extend(page.iter().map(|object| client::text(object, "name").to_owned()));
    }
    names.retain(|name| pattern.is_match(name) && !(noun == "vhosts" && name == "/"));
    if is_dry {
        let mut rows = Rows::new(&mut context.output, &["name"]);
        rows.write(names.into_iter().map(|name| vec![Value::from(name)]).collect())?;
        return Ok(rows.finish()?);
    }
    let bar = progress::bar(&context.output, "deleted");
    bar.set_length(names.len() as u64);
    let mut deleted = 0;
    for name in &names {
        match context.client.delete(&[path, &[name.as_str()]].concat()) {
            // Somebody else was faster.
            Err(Failure::NotFound(_)) => {}
            outcome => outcome.map(|()| deleted += 1).inspect_err(|_| bar.finish_and_clear())?,
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    context.output.note(&format!("Deleted {deleted} {noun}."))
}

fn memory(context: &mut Context<'_>, arguments: &ArgMatches, rest: &[&str]) -> Result<(), Failure> {
    let node = match arguments.get_one::<String>("node") {
        Some(node) => node.clone(),
        None => diagnostics::node(context)?,
    };
    let memory = context.client.get(&[&["nodes", &node, "memory"], rest].concat());
    let no_node = || {
        Failure::Data(format!("node '{node}' does not exist; `warrenctl list nodes` lists the one that does"))
    };
    let mut memory = memory.map_err(|failure| failure.or_missing(no_node))?;
    let parts = memory["memory"].take();
    context.output.object(parts.as_object().cloned().unwrap_or_default())
}

fn list_plugins(context: &mut Context<'_>) -> Result<(), Failure> {
    Ok(Rows::new(&mut context.output, &["name", "version"]).finish()?)
}

/// RabbitMQ's hash: salt, and the digest of salt and password.
fn salt_and_hash(context: &mut Context<'_>, arguments: &ArgMatches) -> Result<(), Failure> {
    let mut salt = [0; 4];
    getrandom::fill(&mut salt).map_err(|error| Failure::Data(format!("no random salt: {error}")))?;
    let salted = [&salt[..], text(arguments, "cleartext").as_bytes()].concat();
    let digest = match text(arguments, "algorithm").eq_ignore_ascii_case("SHA512") {
        true => Sha512::digest(&salted).to_vec(),
        false => Sha256::digest(&salted).to_vec(),
    };
    Ok(writeln!(context.output.out, "{}", BASE64_STANDARD.encode([&salt[..], &digest].concat()))?)
}
