//! The options that every command takes, before or behind its name: rabbitmqctl's names, rabbitmqadmin's short ones.
//!
//! They are not clap's global arguments: a command may have an option of the same name for something else
//! (`declare user --password`), and which of the two is meant is said by where it stands.

use super::client::{Endpoint, Login};
use super::config_file::{self, Section, Wanted};
use super::failure::Failure;
use super::output::Format;
use clap::{Arg, ArgAction, ArgMatches, parser::ValueSource, value_parser};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// What the options say, on the command line, in the environment, or by default.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) endpoint: Endpoint,
    /// Where the API is below that: what stands before its paths.
    pub(super) root: String,
    /// rabbitmqadmin's file, if one is read.
    pub(super) config_file: Option<PathBuf>,
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
const OF_NETWORK: [&str; 5] = ["@host", "@port", "@base-uri", "@username", "@password"];

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
        option("@config", "FILE", "WARRENCTL_CONFIG").short('c').value_parser(value_parser!(PathBuf)).help(
            "rabbitmqadmin's file with sections of nodes [default: ~/.rabbitmqadmin.conf if it is there]",
        ),
        option("@node", "ALIAS", "WARRENCTL_NODE")
            .short('N')
            .help("The section of that file [default: default]"),
        option("@base-uri", "URI", "WARRENCTL_BASE_URI")
            .short('U')
            .help("The HTTP API's address, instead of host and port"),
        option("@path-prefix", "PATH", "WARRENCTL_PATH_PREFIX")
            .help("What stands before the API's paths, as management.path_prefix has it"),
        switch("@tls").alias("use-tls").help("Fails: there is no TLS yet"),
        Arg::new("@home").long("home").env("HOME").value_parser(value_parser!(PathBuf)).hide(true),
        // What rabbitmqctl takes and has no meaning here.
        Arg::new("@erlang-node").short('n').hide(true),
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
        if own.iter().any(|own| own.get_long().is_some() && own.get_long() == argument.get_long()) {
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
    /// What the command line says, `levels` being the program, its command, and so on; the last one counts most. The file
    /// of sections counts before the defaults, where `reads_file` says that it matters.
    ///
    /// # Errors
    /// [`Failure::Usage`] for what makes no sense, also in that file.
    pub(super) fn new(levels: &[&ArgMatches], reads_file: bool) -> Result<Options, Failure> {
        let flag = |id: &str| level_of(levels, id).is_some();
        if flag("@tls") {
            return Err(config_file::no_tls("--tls"));
        }
        let wanted = Wanted {
            file: value(levels, "@config"),
            home: value(levels, "@home"),
            // rabbitmqctl's names of nodes have a host; that is nothing to look for.
            alias: value::<String>(levels, "@node").filter(|node| !node.contains('@')),
        };
        let base = value::<String>(levels, "@base-uri");
        let base = base.map(|uri| config_file::base_of(&uri, "--base-uri")).transpose()?;
        let mut section = if reads_file { wanted.section()? } else { Section::default() };
        let has_base = base.is_some();
        if let Some(base) = base {
            if flag("@host") || flag("@port") {
                let text = "--base-uri says host and port: leave --host and --port out";
                return Err(Failure::Usage(text.into()));
            }
            (section.hostname, section.port) = (Some(base.host), Some(base.port));
            section.path_prefix = Some(base.prefix).filter(|prefix| !prefix.is_empty());
        }
        let prefix = value(levels, "@path-prefix").or(section.path_prefix.clone()).unwrap_or_default();
        let text = |id: &str, own: &Option<String>| match own {
            Some(own) if !is_given(levels, id) => own.clone(),
            _ => text(levels, id),
        };
        Ok(Options {
            endpoint: endpoint(levels, &section, has_base),
            root: root(&prefix),
            config_file: wanted.path().map(|(path, _)| path),
            host: section
                .hostname
                .clone()
                .filter(|_| has_base)
                .unwrap_or_else(|| text("@host", &section.hostname)),
            login: Login {
                user: text("@username", &section.username),
                password: text("@password", &section.password),
            },
            data_dir: value(levels, "@data-dir").unwrap_or_default(),
            vhost: text("@vhost", &section.vhost),
            is_vhost_given: is_given(levels, "@vhost") || section.vhost.is_some(),
            format: value(levels, "@format").unwrap_or(Format::Table),
            has_notes: !flag("@quiet") && !flag("@silent"),
            has_headers: !flag("@silent") && !flag("@no-table-headers"),
            timeout: Duration::from_secs(value(levels, "@timeout").unwrap_or_default()),
        })
    }
}

/// Where the API is below a prefix: rabbitmqadmin's ends with `/api`, the broker's setting does not.
fn root(prefix: &str) -> String {
    let prefix = prefix.trim_matches('/');
    let before = prefix.strip_suffix("api").filter(|before| before.is_empty() || before.ends_with('/'));
    match before.unwrap_or(prefix).trim_end_matches('/') {
        "" => "/api".to_owned(),
        prefix => format!("/{prefix}/api"),
    }
}

/// Where the broker is: at the socket or the address that was given, or at the socket of the data directory if somebody
/// answers there, or at the usual address.
fn endpoint(levels: &[&ArgMatches], section: &Section, has_base: bool) -> Endpoint {
    if let Some(path) = value(levels, "@socket") {
        return Endpoint::Socket { path, has_login: is_given(levels, "@username") };
    }
    let host = section.hostname.clone().filter(|_| has_base || !is_given(levels, "@host"));
    let port = section.port.filter(|_| has_base || !is_given(levels, "@port"));
    let of_network = Endpoint::Address {
        host: host.unwrap_or_else(|| text(levels, "@host")),
        port: port.or_else(|| value(levels, "@port")).unwrap_or_default(),
    };
    // Who names the directory on the command line means the broker there and no other.
    let is_meant = level_of(levels, "@data-dir").is_some();
    let is_given = OF_NETWORK.iter().any(|id| is_given(levels, id));
    if is_given || (section.is_of_network() && !is_meant) {
        return of_network;
    }
    let path = value::<PathBuf>(levels, "@data-dir").unwrap_or_default().join(SOCKET);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_is_below_the_prefix_however_that_is_written() {
        for (prefix, expected) in [
            ("", "/api"),
            ("/api", "/api"),
            ("/rabbit", "/rabbit/api"),
            ("rabbit/api/", "/rabbit/api"),
            ("/a/b/api", "/a/b/api"),
            ("/myapi", "/myapi/api"),
        ] {
            assert_eq!(root(prefix), expected, "{prefix}");
        }
    }
}
