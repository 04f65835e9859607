//! The options that every command takes, before or behind its name: rabbitmqctl's names, rabbitmqadmin's short ones.
//!
//! They are not clap's global arguments: a command may have an option of the same name for something else
//! (`declare user --password`), and which of the two is meant is said by where it stands.

use super::client::{Endpoint, Login};
use super::output::Format;
use clap::{Arg, ArgAction, ArgMatches, parser::ValueSource, value_parser};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// What the options say, on the command line, in the environment, or by default.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) endpoint: Endpoint,
    pub(super) host: String,
    pub(super) login: Login,
    pub(super) data_dir: PathBuf,
    pub(super) vhost: String,
    /// Whether the vhost was named, and not only is the default.
    pub(super) is_vhost_given: bool,
    pub(super) format: Format,
    pub(super) has_notes: bool,
    pub(super) has_headers: bool,
    pub(super) timeout: Duration,
}

/// The socket of a broker within its data directory.
const SOCKET: &str = "warren.sock";
/// The options that say that a broker is meant which is reached over the network.
const OF_NETWORK: [&str; 4] = ["@host", "@port", "@username", "@password"];

/// All of them. Their ids begin with a mark, so that a command's own arguments never are taken for them.
fn arguments() -> Vec<Arg> {
    let all = vec![
        option("@host", "HOST", "WARRENCTL_HOST")
            .short('H')
            .default_value("127.0.0.1")
            .help("Host of the HTTP API"),
        option("@port", "PORT", "WARRENCTL_PORT")
            .short('P')
            .value_parser(value_parser!(u16))
            .default_value("15672")
            .help("Port of the HTTP API"),
        option("@socket", "PATH", "WARRENCTL_SOCKET")
            .value_parser(value_parser!(PathBuf))
            .help("Unix socket of the HTTP API, where the broker's own user needs no password"),
        option("@data-dir", "DIR", "WARREN_DATA_DIR")
            .value_parser(value_parser!(PathBuf))
            .default_value("./warren-data")
            .help("Data directory of a broker: its socket is used if neither host nor user is given"),
        option("@username", "USER", "WARRENCTL_USERNAME")
            .short('u')
            .default_value("guest")
            .help("User to log in as"),
        option("@password", "PASSWORD", "WARRENCTL_PASSWORD")
            .default_value("guest")
            .hide_default_value(true)
            .hide_env_values(true)
            .help("That user's password"),
        option("@vhost", "VHOST", "WARRENCTL_VHOST")
            .short('p')
            .short_alias('V')
            .default_value("/")
            .help("Vhost that the command is about"),
        option("@format", "FORMAT", "WARRENCTL_FORMAT")
            .short('f')
            .alias("formatter")
            .value_parser(value_parser!(Format))
            .default_value("table")
            .help("Tables for people; the others for scripts"),
        switch("@quiet").short('q').help("Print no notes, only data"),
        switch("@silent").short('s').help("Print no notes and no table headers"),
        switch("@no-table-headers").help("Print tables without headers"),
        option("@timeout", "SECONDS", "WARRENCTL_TIMEOUT")
            .short('t')
            .value_parser(value_parser!(u64))
            .default_value("60")
            .help("How long to wait for the broker"),
        // What rabbitmqctl takes and has no meaning here.
        Arg::new("@node").short('n').long("node").hide(true),
        switch("@longnames").short('l').hide(true),
    ];
    all.into_iter().map(|argument| argument.help_heading("Broker and output")).collect()
}

fn option(id: &'static str, shown: &'static str, variable: &'static str) -> Arg {
    Arg::new(id).long(&id[1..]).value_name(shown).env(variable)
}

fn switch(id: &'static str) -> Arg {
    Arg::new(id).long(&id[1..]).action(ArgAction::SetTrue)
}

/// Adds the options to a command and those below it, but for names that these have themselves.
pub(super) fn added_to(command: clap::Command) -> clap::Command {
    let command = added_to_one(command);
    let below: Vec<String> = command.get_subcommands().map(|below| below.get_name().to_owned()).collect();
    below.iter().fold(command, |command, name| command.mut_subcommand(name, added_to))
}

/// Adds the options to a command, but not to those below it.
pub(super) fn added_to_one(mut command: clap::Command) -> clap::Command {
    for mut argument in arguments() {
        let own: Vec<&Arg> = command.get_arguments().collect();
        if own.iter().any(|own| own.get_long() == argument.get_long()) {
            continue;
        }
        if own.iter().any(|own| own.get_short().is_some() && own.get_short() == argument.get_short()) {
            argument = argument.short(None);
        }
        command = command.arg(argument);
    }
    command
}

impl Options {
    /// What the command line says, `levels` being the program, its command, and so on; the last one counts most.
    pub(super) fn new(levels: &[&ArgMatches]) -> Options {
        let flag = |id: &str| level_of(levels, id).is_some();
        Options {
            endpoint: endpoint(levels),
            host: text(levels, "@host"),
            login: Login { user: text(levels, "@username"), password: text(levels, "@password") },
            data_dir: value(levels, "@data-dir").unwrap_or_default(),
            vhost: text(levels, "@vhost"),
            is_vhost_given: is_given(levels, "@vhost"),
            format: value(levels, "@format").unwrap_or(Format::Table),
            has_notes: !flag("@quiet") && !flag("@silent"),
            has_headers: !flag("@silent") && !flag("@no-table-headers"),
            timeout: Duration::from_secs(value(levels, "@timeout").unwrap_or_default()),
        }
    }
}

/// Where the broker is: at the socket or the address that was given, or at the socket of the data directory if somebody
/// answers there, or at the usual address.
fn endpoint(levels: &[&ArgMatches]) -> Endpoint {
    if let Some(path) = value(levels, "@socket") {
        return Endpoint::Socket { path, has_login: is_given(levels, "@username") };
    }
    let of_network =
        Endpoint::Address { host: text(levels, "@host"), port: value(levels, "@port").unwrap_or_default() };
    if OF_NETWORK.iter().any(|id| is_given(levels, id)) {
        return of_network;
    }
    let path = value::<PathBuf>(levels, "@data-dir").unwrap_or_default().join(SOCKET);
    // Who names the directory on the command line means the broker there and no other.
    let is_meant = level_of(levels, "@data-dir").is_some();
    if is_meant || UnixStream::connect(&path).is_ok() {
        return Endpoint::Socket { path, has_login: false };
    }
    of_network
}

fn source(level: &ArgMatches, id: &str) -> Option<ValueSource> {
    // An option that the level does not have would be a panic.
    matches!(level.try_contains_id(id), Ok(true)).then(|| level.value_source(id)).flatten()
}

/// The last level on whose command line the option stands.
fn level_of<'a>(levels: &[&'a ArgMatches], id: &str) -> Option<&'a ArgMatches> {
    levels.iter().rev().copied().find(|level| source(level, id) == Some(ValueSource::CommandLine))
}

/// Whether the option is more than its default.
fn is_given(levels: &[&ArgMatches], id: &str) -> bool {
    let of_program = levels.first().and_then(|level| source(level, id));
    level_of(levels, id).is_some() || of_program == Some(ValueSource::EnvVariable)
}

fn value<T: Clone + Send + Sync + 'static>(levels: &[&ArgMatches], id: &str) -> Option<T> {
    let level = level_of(levels, id).or(levels.first().copied())?;
    level.try_get_one::<T>(id).ok().flatten().cloned()
}

fn text(levels: &[&ArgMatches], id: &str) -> String {
    value(levels, id).unwrap_or_default()
}
