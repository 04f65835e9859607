//! The configuration: every setting, where values come from, and the typed [`Config`] that the server is started with.
//!
//! Values come in three layers, a later one overriding an earlier: the file (RabbitMQ's `key = value` format), the
//! environment (`WARREN_…`), the flags. The settings themselves, with their units, defaults and meaning, are one table:
//! [`GROUPS`]. RabbitMQ's keys that are not obeyed are another: `ignored`. A [`Configuration`] knows where each value came
//! from and what is to be said of each line; [`Live`] is the one that a running node reads again. What this module does
//! not do: read the environment (the binary passes it in) or resolve host names.

pub mod command;
mod environment;
mod file;
mod flags;
mod ignored;
mod layers;
mod live;
mod load;
mod nearest;
mod plugins;
pub mod print;
pub mod rules;
mod setting;
mod settings;
mod value;

pub use flags::Flags;
pub use layers::{Finding, InForce, Origin, Verdict};
pub use live::Live;
pub use load::{ConfigError, Configuration, Reloaded, SetError};
pub use setting::Setting;
pub use settings::{GROUPS, Group, Http, Logging, SocketOptions};
pub use value::{LogLevel, Secret, without_ipv6};

use crate::definition::Permissions;
use crate::durability::Durability;
use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf, time::Duration};

/// All settings, valid. See [`GROUPS`] for what each means.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // documented where they are declared, in GROUPS
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
    /// None = the relative one counts.
    pub disk_free_limit_bytes: Option<u64>,
    /// A multiple of the memory.
    pub disk_free_limit_relative: Option<f64>,
    /// In bytes, instead of what the machine says.
    pub total_memory_bytes: Option<u64>,
    pub message_memory_limit_bytes: u64,
    /// When clients are told that a message is safe, in queues that say nothing else.
    pub durability: Durability,
    pub memory_monitor_interval: Duration,
    /// How often the figures of everything are sampled.
    pub statistics_interval: Duration,
    /// No samples are taken: there are no rates.
    pub statistics_are_off: bool,
    pub log: Logging,
    /// Definitions that are imported at every start.
    pub load_definitions: Option<PathBuf>,
    pub cluster_name: Option<String>,
    /// Where spans of traced messages are exported to.
    pub otlp_endpoint: Option<String>,
    pub management_body_bytes_max: usize,
    /// Operator policies are as they are: nobody changes them over the HTTP API.
    pub operator_policies_are_fixed: bool,
    /// None = `warren@` and the machine's name.
    pub node_name: Option<String>,
    pub motd_file: Option<PathBuf>,
    pub sockets: SocketOptions,
    /// In the order in which they are offered.
    pub auth_mechanisms: Vec<String>,
    pub anonymous_login_user: String,
    pub anonymous_login_pass: Secret,
    pub http: Http,
    pub rules: rules::Rules,
}

impl Default for Config {
    /// What an empty file, an empty environment and no flags give.
    fn default() -> Self {
        layers::build(&layers::Layers::new().end().0)
    }
}

#[cfg(test)]
mod tests;
