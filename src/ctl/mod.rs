//! `warrenctl`: the admin tool, with rabbitmqctl's command names. It speaks the HTTP API and knows nothing of the broker;
//! only [`store`], for brokers that are stopped, works on files, and [`perf`] speaks AMQP.
//!
//! To add a command: a `Command` in the file of its noun, a line in `COMMANDS`.

mod bindings;
mod channels;
mod client;
mod connections;
mod consumers;
mod definitions;
mod exchanges;
mod failure;
mod limits;
mod output;
mod parameters;
mod perf;
mod permissions;
mod policies;
mod queues;
mod status;
mod store;
mod users;
mod vhosts;

use clap::{ArgAction, ArgMatches, Args, FromArgMatches};
use client::{Client, Login};
use failure::Failure;
use output::{Format, Output};
use serde_json::Value;
use std::{ffi::OsString, io::Write, time::Duration};

/// Every command, in the order of the help.
const COMMANDS: &[Command] = &[
    vhosts::ADD_VHOST,
    vhosts::DELETE_VHOST,
    vhosts::ENABLE_DELETION_PROTECTION,
    vhosts::DISABLE_DELETION_PROTECTION,
    vhosts::LIST_VHOSTS,
    vhosts::TRACE_ON,
    vhosts::TRACE_OFF,
    users::ADD_USER,
    users::DELETE_USER,
    users::CHANGE_PASSWORD,
    users::SET_USER_TAGS,
    users::LIST_USERS,
    permissions::SET_PERMISSIONS,
    permissions::CLEAR_PERMISSIONS,
    permissions::LIST_PERMISSIONS,
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
    queues::LIST_QUEUES,
    exchanges::LIST_EXCHANGES,
    bindings::LIST_BINDINGS,
    connections::LIST_CONNECTIONS,
    channels::LIST_CHANNELS,
    consumers::LIST_CONSUMERS,
    status::STATUS,
    store::STORE,
    perf::PERF,
];

/// A command: its name, its arguments, what it does.
struct Command {
    name: &'static str,
    about: &'static str,
    arguments: fn(clap::Command) -> clap::Command,
    run: fn(&mut Context<'_>, &ArgMatches) -> Result<(), Failure>,
}

/// What every command is given besides its own arguments.
struct Context<'a> {
    client: Client,
    host: String,
    login: Login,
    vhost: String,
    output: Output<'a>,
}

impl Context<'_> {
    /// Deletes something in the vhost of `-p`; `missing` says what it is that is not there, if it is not the vhost.
    fn delete_in_vhost(&self, path: &[&str], missing: String) -> Result<(), Failure> {
        match self.client.delete(path) {
            Err(Failure::NotFound(_)) => match self.client.get(&["vhosts", &self.vhost]) {
                Err(Failure::NotFound(_)) => Err(failure::no_vhost(&self.vhost)),
                _ => Err(Failure::Data(missing)),
            },
            outcome => outcome,
        }
    }
}

/// The options that every command takes, before or behind its name.
#[derive(Debug, Args)]
struct Options {
    /// Host of the HTTP API
    #[arg(long, global = true, env = "WARRENCTL_HOST", default_value = "127.0.0.1")]
    host: String,
    /// Port of the HTTP API
    #[arg(long, global = true, env = "WARRENCTL_PORT", default_value_t = 15672)]
    port: u16,
    /// User to log in as
    #[arg(short, long, global = true, env = "WARRENCTL_USERNAME", default_value = "guest")]
    username: String,
    /// That user's password
    #[arg(
        long,
        global = true,
        env = "WARRENCTL_PASSWORD",
        default_value = "guest",
        hide_default_value = true
    )]
    #[arg(hide_env_values = true)]
    password: String,
    /// Vhost that the command is about
    #[arg(short = 'p', long, global = true, env = "WARRENCTL_VHOST", default_value = "/")]
    vhost: String,
    /// Tables for people, JSON for scripts
    #[arg(long, global = true, env = "WARRENCTL_FORMAT", default_value = "table", alias = "formatter")]
    format: Format,
    /// Print data only: no notes, no table headers
    #[arg(short, long, global = true, action = ArgAction::SetTrue)]
    quiet: bool,
    /// Print tables without headers
    #[arg(long, global = true, action = ArgAction::SetTrue)]
    no_table_headers: bool,
    /// Seconds to wait for the broker
    #[arg(short, long, global = true, env = "WARRENCTL_TIMEOUT", default_value_t = 60)]
    timeout: u64,
}

/// Runs one command. `arguments` start with the program's name, as the system gives them.
///
/// Returns the exit code (sysexits): 0, 64 usage, 65 bad or unknown object, 66 no data directory, 67 unknown user,
/// 69 broker not reachable, 70 the broker failed, 72 damage, 74 output failed, 75 timeout or directory in use, 77 login or access refused.
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
    let commands = COMMANDS.iter().map(|command| {
        let bare = clap::Command::new(command.name).about(command.about);
        (command.arguments)(bare)
    });
    Options::augment_args(clap::Command::new("warrenctl"))
        .about("Administers a Warren broker over its HTTP API")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .subcommands(commands)
}

fn execute(matches: &ArgMatches, out: &mut dyn Write) -> Result<(), Failure> {
    let (name, arguments) =
        matches.subcommand().ok_or_else(|| Failure::Usage("a command is missing".into()))?;
    let options = Options::from_arg_matches(arguments).map_err(|error| failure::usage(&error))?;
    let command = COMMANDS.iter().find(|command| command.name == name);
    let command = command.ok_or_else(|| Failure::Usage(format!("unknown command {name}")))?;
    let login = Login { user: options.username, password: options.password };
    let mut context = Context {
        client: Client::new(&options.host, options.port, &login, Duration::from_secs(options.timeout)),
        host: options.host,
        login,
        vhost: options.vhost,
        output: Output {
            format: options.format,
            has_notes: !options.quiet,
            has_headers: !options.quiet && !options.no_table_headers,
            out,
        },
    };
    (command.run)(&mut context, arguments)
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

/// The texts of an argument that may be given several times, also separated by commas.
fn texts(arguments: &ArgMatches, name: &str) -> Vec<String> {
    let given = arguments.get_many::<String>(name).into_iter().flatten();
    given
        .flat_map(|text| text.split(','))
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests;
