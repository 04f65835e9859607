//! The configuration: every setting, where values come from, and the typed [`Config`] that the server is started with.
//!
//! Values come in three layers, a later one overriding an earlier: the file (RabbitMQ's `key = value` format), the
//! environment (`WARREN_…`), the flags. The settings themselves, with their units, defaults and meaning, are one table:
//! [`SETTINGS`]. What this module does not do: read the environment (the binary passes it in) or resolve host names.

mod file;
mod flags;
mod nearest;
mod settings;
mod value;

pub use flags::Flags;
pub use settings::{SETTINGS, Setting};
pub use value::{LogLevel, Secret, without_ipv6};

use crate::definition::Permissions;
use crate::durability::Durability;
use std::{
    collections::{BTreeSet, HashSet},
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

/// The environment variable that names the configuration file when no flag does.
const CONFIG_FILE_VARIABLE: &str = "WARREN_CONFIG_FILE";
/// What the names of all variables of ours start with.
const VARIABLE_PREFIX: &str = "WARREN_";

/// All settings, valid. See [`SETTINGS`] for what each means.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // documented where they are declared, in SETTINGS
pub struct Config {
    pub data_dir: PathBuf,
    pub amqp_listen: Vec<SocketAddr>,
    pub management_listen: SocketAddr,
    pub prometheus_listen: SocketAddr,
    /// Where metrics are on that port.
    pub prometheus_path: String,
    /// Metrics have a sample for each object without being asked for.
    pub prometheus_is_per_object: bool,
    pub heartbeat_s: u16,
    pub frame_max: u32,
    pub channel_max: u16,
    pub handshake_timeout: Duration,
    pub max_message_size: u64,
    pub loopback_users: BTreeSet<String>,
    pub default_user: String,
    pub default_pass: Secret,
    pub default_vhost: String,
    pub default_user_tags: BTreeSet<String>,
    pub default_permissions: Permissions,
    /// A part of the machine's (or the container's) memory; counts unless the absolute watermark is set.
    pub memory_high_watermark_relative: f64,
    /// In bytes; overrides the relative watermark.
    pub memory_high_watermark_absolute: Option<u64>,
    pub disk_free_limit_bytes: u64,
    pub message_memory_limit_bytes: u64,
    /// When clients are told that a message is safe, in queues that say nothing else.
    pub durability: Durability,
    pub memory_monitor_interval: Duration,
    /// How often the figures of everything are sampled.
    pub statistics_interval: Duration,
    /// No samples are taken: there are no rates.
    pub statistics_are_off: bool,
    pub log_level: LogLevel,
    /// Whether log lines go to `amq.rabbitmq.log`, too.
    pub log_exchange: bool,
    /// Definitions that are imported at every start.
    pub load_definitions: Option<PathBuf>,
    pub cluster_name: Option<String>,
    /// Where spans of traced messages are exported to.
    pub otlp_endpoint: Option<String>,
    pub management_body_bytes_max: usize,
    /// Operator policies are as they are: nobody changes them over the HTTP API.
    pub operator_policies_are_fixed: bool,
}

impl Default for Config {
    /// What an empty file, an empty environment and no flags give.
    fn default() -> Self {
        let mut config = settings::blank();
        for setting in SETTINGS {
            if let Some((key, value)) = setting.default_assignment() {
                let outcome = (setting.set)(&mut config, setting.name_in(&key).unwrap_or_default(), value);
                debug_assert_eq!(outcome, Ok(()), "the default of {key} is a valid value");
            }
        }
        config
    }
}

impl Config {
    /// Reads the file that the flags or the environment name, if any, and lays environment and flags over it.
    ///
    /// `environment` is the whole environment: variables that are not ours are passed over.
    /// # Errors
    /// Every problem found, not only the first: an unreadable file, unknown keys, bad values.
    pub fn load(
        flags: &Flags,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Config, ConfigError> {
        let environment: Vec<(String, String)> = environment.into_iter().collect();
        let named = environment.iter().find(|(name, _)| name == CONFIG_FILE_VARIABLE);
        let path = flags.config.clone().or_else(|| named.map(|(_, path)| PathBuf::from(path)));
        let mut problems = Vec::new();
        let file = path.map_or_else(Vec::new, |path| read_file(&path, &mut problems));
        let mut config = Config::default();
        for layer in [file, variables(&environment, &mut problems), flags.assignments()] {
            config.apply(layer, &mut problems);
        }
        if problems.is_empty() { Ok(config) } else { Err(ConfigError { problems }) }
    }

    /// Lays one layer over what is set so far.
    ///
    /// Within a layer the last line for a key counts; a list (listeners, loopback users, tags) that a layer mentions
    /// replaces the list of the layers below.
    fn apply(&mut self, layer: Vec<Assignment>, problems: &mut Vec<Problem>) {
        let mut seen = HashSet::new();
        let mut last: Vec<Assignment> =
            layer.into_iter().rev().filter(|assignment| seen.insert(assignment.key.clone())).collect();
        last.reverse();
        let mut forgotten = HashSet::new();
        for Assignment { key, value, origin } in last {
            let Some((setting, name)) = settings::find(&key) else {
                problems.push(Problem { origin, text: nearest::unknown_key(&key) });
                continue;
            };
            if let Some(forget) = setting.forget
                && forgotten.insert(setting.key)
            {
                forget(self);
            }
            if let Err(reason) = (setting.set)(self, name, &value) {
                problems.push(Problem { origin, text: format!("{key}: {reason}") });
            }
        }
    }
}

/// A key with the value it was given, and where.
#[derive(Clone, Debug, PartialEq)]
struct Assignment {
    key: String,
    value: String,
    origin: Origin,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A line of the configuration file, from 1.
    Line(PathBuf, usize),
    /// The configuration file as a whole.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
    /// A flag of the command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Line(path, line) => write!(f, "{}:{line}", path.display()),
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::Variable(name) => write!(f, "environment variable {name}"),
            Origin::Flag(name) => write!(f, "{name}"),
        }
    }
}

/// One thing wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands.
    pub origin: Origin,
    /// What is wrong.
    pub text: String,
}

/// The configuration is not valid. Its text has a line for each problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// In the order of the layers; never empty.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{}: {}", problem.origin, problem.text)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

fn read_file(path: &Path, problems: &mut Vec<Problem>) -> Vec<Assignment> {
    match std::fs::read_to_string(path) {
        Ok(text) => file::parse(path, &text, problems),
        Err(error) => {
            let text = format!("cannot read the configuration file: {error}");
            problems.push(Problem { origin: Origin::File(path.to_owned()), text });
            Vec::new()
        }
    }
}

/// The settings in the environment. RabbitMQ's own variables come first, so that ours override them.
fn variables(environment: &[(String, String)], problems: &mut Vec<Problem>) -> Vec<Assignment> {
    let assignment = |key: String, name: &str, value: &str| Assignment {
        key,
        value: value.to_owned(),
        origin: Origin::Variable(name.to_owned()),
    };
    let mut assignments = Vec::new();
    for (name, value) in environment {
        let setting = SETTINGS.iter().find(|setting| setting.rabbitmq_variable == Some(name));
        assignments.extend(setting.map(|setting| assignment(setting.key.to_owned(), name, value)));
    }
    for (name, value) in environment {
        let Some(rest) = name.strip_prefix(VARIABLE_PREFIX) else { continue };
        if name == CONFIG_FILE_VARIABLE || is_service_link(rest) {
            continue;
        }
        match settings::key_of_variable(rest) {
            Some(key) => assignments.push(assignment(key, name, value)),
            None => problems.push(Problem {
                origin: Origin::Variable(name.clone()),
                text: nearest::unknown_variable(rest),
            }),
        }
    }
    assignments
}

/// Kubernetes gives every pod the addresses of a service called `warren` as WARREN_SERVICE_… and WARREN_PORT…:
/// a pod must not fail to start over variables that nobody wrote.
fn is_service_link(rest: &str) -> bool {
    rest.starts_with("SERVICE_") || rest == "PORT" || rest.starts_with("PORT_")
}

#[cfg(test)]
mod tests;
