//! `warrenctl`: the admin tool, with rabbitmqctl's command names. It speaks the HTTP API and knows nothing of the broker;
//! only [`store`], for brokers that are stopped, works on files, [`perf`] speaks AMQP, and [`top`] is a view on a terminal.
//!
//! To add a command: a `Command` in the file of its noun, a line in `COMMANDS`.

mod bindings;
mod channels;
mod client;
mod config_file;
mod configuration;
mod connections;
mod consumers;
mod definitions;
mod diagnostics;
mod exchanges;
mod failure;
mod features;
mod generated;
mod health;
mod limits;
mod messages;
mod node;
mod nouns;
mod options;
mod output;
mod parameters;
mod perf;
mod permissions;
mod policies;
mod progress;
mod queues;
mod refused;
mod report;
mod socket;
mod status;
mod store;
mod top;
mod topic_permissions;
mod transformations;
mod users;
mod vhosts;

use clap::{Arg, ArgAction, ArgMatches};
use client::{Client, Login};
use failure::Failure;
use options::Options;
use output::Output;
use serde_json::Value;
use std::{ffi::OsString, io::Write, path::PathBuf, time::Duration};

/// Every command that stands alone, in the order of the help; families of them have tables of their own, see [`commands`].
const COMMANDS: &[Command] = &[
    vhosts::ADD_VHOST,
    vhosts::DELETE_VHOST,
    vhosts::ENABLE_DELETION_PROTECTION,
    vhosts::DISABLE_DELETION_PROTECTION,
    vhosts::UPDATE_VHOST_METADATA,
    vhosts::SET_VHOST_TAGS,
    vhosts::LIST_VHOSTS,
    vhosts::TRACE_ON,
    vhosts::TRACE_OFF,
    users::ADD_USER,
    users::DELETE_USER,
    users::CHANGE_PASSWORD,
    users::CLEAR_PASSWORD,
    users::AUTHENTICATE_USER,
    users::HASH_PASSWORD,
    users::SET_USER_TAGS,
    users::LIST_USERS,
    permissions::SET_PERMISSIONS,
    permissions::CLEAR_PERMISSIONS,
    permissions::LIST_PERMISSIONS,
    permissions::LIST_USER_PERMISSIONS,
    topic_permissions::SET_TOPIC_PERMISSIONS,
    topic_permissions::CLEAR_TOPIC_PERMISSIONS,
    topic_permissions::LIST_TOPIC_PERMISSIONS,
    topic_permissions::LIST_USER_TOPIC_PERMISSIONS,
    policies::SET_POLICY,
    policies::CLEAR_POLICY,
    policies::LIST_POLICIES,
    policies::SET_OPERATOR_POLICY,
    policies::CLEAR_OPERATOR_POLICY,
    policies::LIST_OPERATOR_POLICIES,
    parameters::SET_PARAMETER,
    parameters::CLEAR_PARAMETER,
    parameters::LIST_PARAMETERS,
    parameters::SET_GLOBAL_PARAMETER,
    parameters::CLEAR_GLOBAL_PARAMETER,
    parameters::LIST_GLOBAL_PARAMETERS,
    limits::SET_VHOST_LIMITS,
    limits::CLEAR_VHOST_LIMITS,
    limits::LIST_VHOST_LIMITS,
    limits::SET_USER_LIMITS,
    limits::CLEAR_USER_LIMITS,
    limits::LIST_USER_LIMITS,
    definitions::EXPORT_DEFINITIONS,
    definitions::IMPORT_DEFINITIONS,
    definitions::EXPORT,
    definitions::IMPORT,
    definitions::DEFINITIONS,
    queues::LIST_QUEUES,
    queues::LIST_UNRESPONSIVE_QUEUES,
    queues::DELETE_QUEUE,
    queues::PURGE_QUEUE,
    queues::QUORUM_STATUS,
    messages::PUBLISH,
    messages::GET,
    exchanges::LIST_EXCHANGES,
    bindings::LIST_BINDINGS,
    connections::LIST_CONNECTIONS,
    connections::CLOSE_CONNECTION,
    connections::CLOSE_ALL_CONNECTIONS,
    connections::CLOSE_ALL_USER_CONNECTIONS,
    channels::LIST_CHANNELS,
    consumers::LIST_CONSUMERS,
    status::STATUS,
    report::REPORT,
    configuration::ENVIRONMENT,
    configuration::SET_LOG_LEVEL,
    configuration::SET_MEMORY_WATERMARK,
    configuration::SET_DISK_FREE_LIMIT,
    diagnostics::MEMORY_BREAKDOWN,
    diagnostics::LIST_AUTH_ATTEMPTS,
    diagnostics::RESET_AUTH_ATTEMPTS,
    diagnostics::IS_BOOTING,
    top::TOP,
    node::PING,
    node::CLUSTER_STATUS,
    node::SET_CLUSTER_NAME,
    node::LISTENERS,
    node::ALARMS,
    node::SERVER_VERSION,
    node::VERSION,
    node::DRAIN,
    node::REVIVE,
    node::AWAIT_STARTUP,
    node::WAIT,
    node::AWAIT_ONLINE_NODES,
    node::CHECK_PORT_CONNECTIVITY,
    features::LIST_FEATURE_FLAGS,
    features::ENABLE_FEATURE_FLAG,
    features::LIST_DEPRECATED_FEATURES,
    store::STORE,
    generated::COMPLETIONS,
    generated::MAN,
    perf::PERF,
];

/// Other names of commands.
const ALIASES: &[(&str, &str)] = &[
    ("enable_vhost_protection_from_deletion", "enable_vhost_deletion_protection"),
    ("list_node_auth_attempts", "list_node_auth_attempt_stats"),
    ("disable_vhost_protection_from_deletion", "disable_vhost_deletion_protection"),
];

/// Commands that ask no broker: it does not matter to them what a file says of one.
const WITHOUT_BROKER: [&str; 4] = ["version", "store", "completions", "man"];

/// All commands: those above, and those that are made of tables.
fn commands() -> impl Iterator<Item = Command> {
    COMMANDS.iter().copied().chain(health::commands()).chain(nouns::commands()).chain(refused::commands())
}

/// A command: its name, its arguments, what it does.
#[derive(Clone, Copy)]
struct Command {
    name: &'static str,
    about: &'static str,
    arguments: fn(clap::Command) -> clap::Command,
    run: fn(&mut Context<'_>, &ArgMatches) -> Result<(), Failure>,
}

/// What every command is given besides its own arguments.
struct Context<'a> {
    /// The name of the command, for those whose function serves several.
    command: &'static str,
    client: Client,
    /// rabbitmqadmin's file of sections, if one is read.
    config_file: Option<PathBuf>,
    host: String,
    login: Login,
    data_dir: PathBuf,
    /// How long to wait for the broker.
    timeout: Duration,
    vhost: String,
    /// Whether the vhost was named, and not only is the default.
    is_vhost_given: bool,
    output: Output<'a>,
}

impl Context<'_> {
    /// Deletes something in the vhost of `-p`; `missing` says what it is that is not there, if it is not the vhost.
    fn delete_in_vhost(&self, path: &[&str], missing: String) -> Result<(), Failure> {
        let deleted = self.client.delete(path);
        deleted.map_err(|failure| self.missing(failure, || Failure::Data(missing)))
    }

    /// Says what it was that is not there: the vhost of `-p`, or else what `missing` says; other failures stay as they are.
    fn missing(&self, failure: Failure, missing: impl FnOnce() -> Failure) -> Failure {
        failure.or_missing(|| match self.client.get(&["vhosts", &self.vhost]) {
            Err(Failure::NotFound(_)) => failure::no_vhost(&self.vhost),
            _ => missing(),
        })
    }
}

/// Runs one command. `arguments` start with the program's name, as the system gives them.
///
/// Returns the exit code (sysexits): 0, 64 usage, 65 bad or unknown object, 66 no data directory, 67 unknown user,
/// 69 broker not reachable or a health check failed, 70 the broker failed, 72 damage, 74 output failed, 75 timeout or directory in use, 77 login or access refused.
pub fn run(arguments: impl IntoIterator<Item = OsString>, out: &mut dyn Write, errors: &mut dyn Write) -> u8 {
    let outcome = match parser().try_get_matches_from(arguments) {
        Ok(matches) => execute(&matches, out),
        Err(error) if error.use_stderr() => Err(failure::usage(&error)),
        Err(help) => write!(out, "{}", help.render()).map_err(Failure::Output),
    };
    let Err(failure) = outcome else { return 0 };
    if failure.is_closed_pipe() {
        return 0;
    }
    // Nobody is left to be told when this fails as well.
    writeln!(errors, "Error: {failure}").ok();
    failure.exit_code()
}

fn parser() -> clap::Command {
    // A command line needs the arguments of one command only.
    let commands = commands().map(|command| {
        let aliases = ALIASES.iter().filter(|(_, name)| *name == command.name).map(|(alias, _)| *alias);
        let bare = clap::Command::new(command.name).about(command.about).aliases(aliases);
        bare.hide(refused::is(command.name) || nouns::is_group(command.name)).defer(with_arguments)
    });
    // Not clap's own, whose short name is that of the vhost in rabbitmqadmin.
    let version = Arg::new("version").long("version").action(ArgAction::Version).help("Print the version");
    let parser = clap::Command::new("warrenctl")
        .about("Administers a Warren broker over its HTTP API")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_version_flag(true)
        .arg(version)
        .subcommand_required(true)
        .subcommands(commands);
    options::added_to_one(parser)
}

fn with_arguments(bare: clap::Command) -> clap::Command {
    let command = commands().find(|command| command.name == bare.get_name());
    options::added_to(match command {
        Some(command) => (command.arguments)(bare),
        None => bare,
    })
}

fn execute(matches: &ArgMatches, out: &mut dyn Write) -> Result<(), Failure> {
    let (name, arguments) =
        matches.subcommand().ok_or_else(|| Failure::Usage("a command is missing".into()))?;
    let mut levels = vec![matches];
    while let Some((_, below)) = levels.last().and_then(|level| level.subcommand()) {
        levels.push(below);
    }
    let options = Options::new(&levels, !WITHOUT_BROKER.contains(&name))?;
    let command = commands().find(|command| command.name == name);
    let command = command.ok_or_else(|| Failure::Usage(format!("unknown command {name}")))?;
    let mut context = Context {
        command: command.name,
        client: Client::new(options.endpoint, &options.root, &options.login, options.timeout),
        config_file: options.config_file,
        host: options.host,
        login: options.login,
        data_dir: options.data_dir,
        timeout: options.timeout,
        vhost: options.vhost,
        is_vhost_given: options.is_vhost_given,
        output: Output {
            format: options.format,
            has_notes: options.has_notes,
            has_headers: options.has_headers,
            out,
        },
    };
    (command.run)(&mut context, arguments)
}

/// The columns that a list is asked for.
fn columns_argument() -> Arg {
    Arg::new("columns").value_name("COLUMN").num_args(0..)
}

/// The text of a required argument; what clap has checked is there.
fn text<'a>(arguments: &'a ArgMatches, name: &str) -> &'a str {
    arguments.get_one::<String>(name).map_or("", String::as_str)
}

/// The JSON of a required argument.
fn json(arguments: &ArgMatches, name: &str) -> Result<Value, Failure> {
    let text = text(arguments, name);
    serde_json::from_str(text).map_err(|error| Failure::Data(format!("{name} '{text}' is no JSON: {error}")))
}

/// The texts of an argument that may be given several times.
fn texts_as_they_are<'a>(arguments: &'a ArgMatches, name: &str) -> impl Iterator<Item = &'a str> {
    arguments.get_many::<String>(name).into_iter().flatten().map(String::as_str)
}

/// The texts of an argument that may be given several times, also separated by commas.
fn texts(arguments: &ArgMatches, name: &str) -> Vec<String> {
    texts_as_they_are(arguments, name)
        .flat_map(|text| text.split(','))
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests;
