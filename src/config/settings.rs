//! The table of settings. To add one: a field in [`Config`], an entry here or in the file of its group.
//!
//! Keys are RabbitMQ's where the meaning is. The order is the reading order of the documentation.

mod limits;
mod logging;
mod new_vhosts;
mod sockets;

pub use logging::Logging;
pub use sockets::{Http, SocketOptions};

use super::rules::Rules;
use super::setting::{PLAIN, Setting};
use super::{Config, Secret, value};
use crate::definition::Permissions;
use crate::durability::Durability;
use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf, time::Duration};

/// Every setting, in the reading order of the documentation.
pub(super) fn all() -> impl Iterator<Item = &'static Setting> {
    GROUPS.iter().flat_map(|group| group.settings)
}

/// Settings that belong together.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// What they are about, as the heading of a page has it.
    pub title: &'static str,
    /// The settings.
    pub settings: &'static [Setting],
}

/// Every setting by what it is about.
pub const GROUPS: &[Group] = &[
    Group { title: "The node", settings: COMMON },
    Group { title: "Sockets, logins, HTTP", settings: sockets::SOCKETS },
    Group { title: "Limits and defaults", settings: limits::LIMITS },
    Group { title: "New vhosts", settings: new_vhosts::NEW_VHOSTS },
    Group { title: "The log", settings: logging::LOGGING },
];

/// The node and what it listens on, what clients may do, what an empty node begins with, memory, disk, logs.
const COMMON: &[Setting] = &[
    Setting {
        key: "data_dir",
        default: "./warren-data",
        unit: "directory",
        doc: "Where the node keeps definitions and messages. It is made if it is not there.",
        set: |config, _, text| value::text(text).map(|dir| config.data_dir = PathBuf::from(dir)),
        ..PLAIN
    },
    Setting {
        key: "listeners.tcp.*",
        default: "5672",
        default_name: "default",
        unit: "port or address:port",
        doc: "Where AMQP connections are accepted. A port alone means all interfaces.",
        is_list: true,
        replaces: &["listeners.tcp"],
        set: |config, _, text| value::address(text).map(|address| config.amqp_listen.push(address)),
        ..PLAIN
    },
    Setting {
        key: "listeners.tcp",
        unit: "none",
        doc: "`none` turns plain AMQP listeners off.",
        replaces: &["listeners.tcp.*"],
        set: |config, _, text| value::none(text).map(|()| config.amqp_listen.clear()),
        ..PLAIN
    },
    Setting {
        key: "management.tcp.port",
        default: "15672",
        unit: "port",
        doc: "Where the HTTP API is served.",
        set: |config, _, text| value::port(text).map(|port| config.management_listen.set_port(port)),
        ..PLAIN
    },
    Setting {
        key: "management.tcp.ip",
        default: "::",
        unit: "IP address",
        doc: "The interface on which the HTTP API is served; `::` = all.",
        set: |config, _, text| value::ip(text).map(|ip| config.management_listen.set_ip(ip)),
        ..PLAIN
    },
    Setting {
        key: "management.http.max_body_size",
        default: "10485760",
        unit: "bytes",
        doc: "The largest body of a request to the HTTP API.",
        is_live: true,
        set: |config, _, text| {
            let limit = value::bytes(text)?.min(u64::from(u32::MAX));
            config.management_body_bytes_max = usize::try_from(limit).unwrap_or(usize::MAX);
            Ok(())
        },
        ..PLAIN
    },
    Setting {
        key: "management.restrictions.operator_policy_changes.disabled",
        default: "false",
        unit: "true or false",
        doc: "Whether operator policies stay as they are: nobody may change them over the HTTP API.",
        is_live: true,
        set: |config, _, text| value::boolean(text).map(|fixed| config.operator_policies_are_fixed = fixed),
        ..PLAIN
    },
    Setting {
        key: "prometheus.tcp.port",
        default: "15692",
        unit: "port",
        doc: "Where metrics are served to Prometheus.",
        set: |config, _, text| value::port(text).map(|port| config.prometheus_listen.set_port(port)),
        ..PLAIN
    },
    Setting {
        key: "prometheus.tcp.ip",
        default: "::",
        unit: "IP address",
        doc: "The interface on which metrics are served; `::` = all.",
        set: |config, _, text| value::ip(text).map(|ip| config.prometheus_listen.set_ip(ip)),
        ..PLAIN
    },
    Setting {
        key: "prometheus.path",
        default: "/metrics",
        unit: "path",
        doc: "Where [metrics](metrics.md) are on that port.",
        set: |config, _, text| value::path(text).map(|path| config.prometheus_path = path),
        ..PLAIN
    },
    Setting {
        key: "prometheus.return_per_object_metrics",
        default: "false",
        unit: "true or false",
        doc: "Whether `/metrics` has a sample for each queue, channel and connection, as `/metrics/per-object` has.",
        set: |config, _, text| value::boolean(text).map(|is_on| config.prometheus_is_per_object = is_on),
        ..PLAIN
    },
    Setting {
        key: "handshake_timeout",
        default: "10000",
        unit: "milliseconds",
        doc: "How long a client may take from connecting to an open connection.",
        is_live: true,
        set: |config, _, text| value::milliseconds(text).map(|time| config.handshake_timeout = time),
        ..PLAIN
    },
    Setting {
        key: "heartbeat",
        default: "60",
        unit: "seconds",
        doc: "The heartbeat interval that clients are offered; 0 = none.",
        is_live: true,
        set: |config, _, text| value::integer(text, 0, u16::MAX).map(|time| config.heartbeat_s = time),
        ..PLAIN
    },
    Setting {
        key: "frame_max",
        default: "131072",
        unit: "bytes",
        doc: "The largest frame a client may agree on; 0 = any size.",
        is_live: true,
        set: |config, _, text| frame_max(text).map(|bytes| config.frame_max = bytes),
        ..PLAIN
    },
    Setting {
        key: "channel_max",
        aliases: &["max_channels_per_connection"],
        default: "2047",
        unit: "channels",
        doc: "How many channels a connection may have; 0 = 65535.",
        is_live: true,
        set: |config, _, text| {
            value::integer(text, 0, u16::MAX).map(|channels| config.channel_max = channels)
        },
        ..PLAIN
    },
    Setting {
        key: "max_message_size",
        default: "16777216",
        unit: "bytes",
        doc: "The largest body of a message; at most 512 MiB.",
        is_live: true,
        set: |config, _, text| {
            config.max_message_size = value::bytes(text)?;
            if config.max_message_size > 512 << 20 { Err("at most 536870912".into()) } else { Ok(()) }
        },
        ..PLAIN
    },
    Setting {
        key: "default_user",
        default: "guest",
        unit: "user",
        doc: "The user that is made when the node first starts on an empty data directory.",
        rabbitmq_variable: Some("RABBITMQ_DEFAULT_USER"),
        set: |config, _, text| value::name(text).map(|name| config.default_user = name),
        ..PLAIN
    },
    Setting {
        key: "default_pass",
        default: "guest",
        unit: "password",
        doc: "That user's password.",
        rabbitmq_variable: Some("RABBITMQ_DEFAULT_PASS"),
        is_secret: true,
        set: |config, _, text| value::text(text).map(|password| config.default_pass = Secret(password)),
        ..PLAIN
    },
    Setting {
        key: "default_vhost",
        default: "/",
        unit: "vhost",
        doc: "The vhost that is made when the node first starts on an empty data directory.",
        rabbitmq_variable: Some("RABBITMQ_DEFAULT_VHOST"),
        set: |config, _, text| value::name(text).map(|name| config.default_vhost = name),
        ..PLAIN
    },
    Setting {
        key: "default_user_tags.*",
        default: "true",
        default_name: "administrator",
        unit: "true or false",
        doc: "Whether the default user has this tag.",
        is_list: true,
        set: |config, tag, text| {
            value::boolean(text).map(|is_member| put(&mut config.default_user_tags, tag, is_member))
        },
        ..PLAIN
    },
    Setting {
        key: "default_permissions.configure",
        default: ".*",
        unit: "regular expression",
        doc: "What the default user may declare and delete in the default vhost.",
        set: |config, _, text| value::pattern(text).map(|p| config.default_permissions.configure = p),
        ..PLAIN
    },
    Setting {
        key: "default_permissions.write",
        default: ".*",
        unit: "regular expression",
        doc: "What the default user may write to in the default vhost.",
        set: |config, _, text| value::pattern(text).map(|p| config.default_permissions.write = p),
        ..PLAIN
    },
    Setting {
        key: "default_permissions.read",
        default: ".*",
        unit: "regular expression",
        doc: "What the default user may read from in the default vhost.",
        set: |config, _, text| value::pattern(text).map(|p| config.default_permissions.read = p),
        ..PLAIN
    },
    Setting {
        key: "loopback_users.*",
        default: "true",
        default_name: "guest",
        unit: "true or false",
        doc: "Whether this user may log in only from the machine itself.",
        is_list: true,
        replaces: &["loopback_users"],
        set: |config, user, text| {
            value::boolean(text).map(|is_member| put(&mut config.loopback_users, user, is_member))
        },
        ..PLAIN
    },
    Setting {
        key: "loopback_users",
        unit: "none",
        doc: "`none` lets every user log in from everywhere.",
        replaces: &["loopback_users.*"],
        set: |config, _, text| value::none(text).map(|()| config.loopback_users.clear()),
        ..PLAIN
    },
    Setting {
        key: "vm_memory_high_watermark.relative",
        default: "0.6",
        unit: "part of the memory",
        doc: "Above this much memory in use, publishers are blocked.",
        replaces: &["vm_memory_high_watermark.absolute"],
        is_live: true,
        set: |config, _, text| value::fraction(text).map(|part| config.memory_high_watermark_relative = part),
        ..PLAIN
    },
    Setting {
        key: "vm_memory_high_watermark.absolute",
        unit: "bytes",
        doc: "The same as a number of bytes (`2GB`, `512MiB`); overrides the relative one.",
        is_live: true,
        set: |config, _, text| {
            value::bytes(text).map(|bytes| config.memory_high_watermark_absolute = Some(bytes))
        },
        ..PLAIN
    },
    Setting {
        key: "memory_monitor_interval",
        default: "2500",
        unit: "milliseconds",
        doc: "How often memory in use is compared with the watermark.",
        is_live: true,
        set: |config, _, text| value::milliseconds(text).map(|time| config.memory_monitor_interval = time),
        ..PLAIN
    },
    Setting {
        key: "opentelemetry.otlp.endpoint",
        unit: "URL",
        doc: "An OpenTelemetry collector (`http://127.0.0.1:4318`) to which spans of traced messages are exported. Only where Warren is built with the feature `otel`.",
        set: |config, _, text| value::text(text).map(|endpoint| config.otlp_endpoint = Some(endpoint)),
        ..PLAIN
    },
    Setting {
        key: "collect_statistics_interval",
        default: "5000",
        unit: "milliseconds",
        doc: "How often the figures of all objects are sampled, from which rates are made. Whole seconds, one or more.",
        set: |config, _, text| {
            let time = value::milliseconds(text)?;
            if time < Duration::from_secs(1) || time.subsec_millis() != 0 {
                return Err("must be whole seconds in milliseconds, as 5000".into());
            }
            config.statistics_interval = time;
            Ok(())
        },
        ..PLAIN
    },
    Setting {
        key: "management_agent.disable_metrics_collector",
        default: "false",
        unit: "true or false",
        doc: "Takes no samples: the HTTP API shows what is, without rates.",
        set: |config, _, text| value::boolean(text).map(|are_off| config.statistics_are_off = are_off),
        ..PLAIN
    },
    Setting {
        key: "disk_free_limit.absolute",
        default: "50MB",
        unit: "bytes",
        doc: "With less space left for the data directory, publishers are blocked.",
        is_live: true,
        replaces: &["disk_free_limit.relative"],
        set: |config, _, text| value::bytes(text).map(|bytes| config.disk_free_limit_bytes = Some(bytes)),
        ..PLAIN
    },
    Setting {
        key: "disk_free_limit.relative",
        unit: "multiple of the memory",
        doc: "The same as a multiple of the machine's (or the container's) memory; an absolute one that is set beside it counts.",
        is_live: true,
        replaces: &["disk_free_limit.absolute"],
        set: |config, _, text| value::multiple(text).map(|part| config.disk_free_limit_relative = Some(part)),
        ..PLAIN
    },
    Setting {
        key: "total_memory_available_override_value",
        unit: "bytes",
        doc: "How much memory there is, for the relative watermarks; not set = what the machine or the container says.",
        is_live: true,
        set: |config, _, text| value::bytes(text).map(|bytes| config.total_memory_bytes = Some(bytes)),
        ..PLAIN
    },
    Setting {
        key: "durability",
        default: "sync",
        unit: "sync, interval(MS) or os",
        doc: "When a publisher is told that a message is safe: once it is on disk, once the operating system has it and at most MS milliseconds before it is on disk, or once the operating system has it. A queue's `x-durability` counts before it.",
        set: |config, _, text| {
            text.parse().map(|durability| config.durability = durability).map_err(|error| error.to_string())
        },
        ..PLAIN
    },
    Setting {
        key: "message_memory_limit",
        default: "96MiB",
        unit: "bytes",
        doc: "What messages may take of memory together. Beyond it those that wait are on disk only, and are read back before their turn.",
        is_live: true,
        set: |config, _, text| value::bytes(text).map(|bytes| config.message_memory_limit_bytes = bytes),
        ..PLAIN
    },
    Setting {
        key: "load_definitions",
        aliases: &["management.load_definitions", "definitions.local.path"],
        unit: "file",
        doc: "A file of [definitions](definitions.md) that is imported at every start. If it has users, an empty node does not get `default_user`.",
        set: |config, _, text| {
            value::text(text).map(|file| config.load_definitions = Some(PathBuf::from(file)))
        },
        ..PLAIN
    },
    Setting {
        key: "nodename",
        unit: "name",
        doc: "What the node is called, as `warren@host`; not set = that, with this machine's name, which also stands for what is missing. The data does not depend on it.",
        set: |config, _, text| value::name(text).map(|name| config.node_name = Some(name)),
        ..PLAIN
    },
    Setting {
        key: "motd_file",
        unit: "file",
        doc: "A text that is logged when the node starts.",
        set: |config, _, text| value::text(text).map(|file| config.motd_file = Some(PathBuf::from(file))),
        ..PLAIN
    },
    Setting {
        key: "cluster_name",
        unit: "name",
        doc: "What the cluster is called in server properties and the HTTP API; not set = the node's name.",
        set: |config, _, text| value::text(text).map(|name| config.cluster_name = Some(name)),
        ..PLAIN
    },
];

fn frame_max(text: &str) -> Result<u32, String> {
    match value::bytes(text)? {
        0 => Ok(0),
        bytes @ 4096..=0x4000_0000 => Ok(u32::try_from(bytes).unwrap_or(u32::MAX)),
        _ => Err(format!("{text:?} is neither 0 nor from 4096 to 1073741824")),
    }
}

fn put(list: &mut BTreeSet<String>, name: &str, is_member: bool) {
    if is_member {
        list.insert(name.to_owned());
    } else {
        list.remove(name);
    }
}

/// A configuration in which nothing is set.
pub(super) fn blank() -> Config {
    let nowhere = SocketAddr::new(value::ALL_INTERFACES, 0);
    Config {
        data_dir: PathBuf::new(),
        amqp_listen: Vec::new(),
        management_listen: nowhere,
        prometheus_listen: nowhere,
        prometheus_path: String::new(),
        prometheus_is_per_object: false,
        heartbeat_s: 0,
        frame_max: 0,
        channel_max: 0,
        handshake_timeout: Duration::ZERO,
        max_message_size: 0,
        loopback_users: BTreeSet::new(),
        default_user: String::new(),
        default_pass: Secret::default(),
        default_vhost: String::new(),
        default_user_tags: BTreeSet::new(),
        default_permissions: Permissions::default(),
        memory_high_watermark_relative: 0.0,
        memory_high_watermark_absolute: None,
        disk_free_limit_bytes: None,
        disk_free_limit_relative: None,
        total_memory_bytes: None,
        message_memory_limit_bytes: 0,
        durability: Durability::Sync,
        memory_monitor_interval: Duration::ZERO,
        statistics_interval: Duration::ZERO,
        statistics_are_off: false,
        log: Logging::default(),
        load_definitions: None,
        cluster_name: None,
        otlp_endpoint: None,
        management_body_bytes_max: 0,
        operator_policies_are_fixed: false,
        node_name: None,
        motd_file: None,
        sockets: SocketOptions::default(),
        auth_mechanisms: Vec::new(),
        anonymous_login_user: String::new(),
        anonymous_login_pass: Secret::default(),
        http: Http::default(),
        rules: Rules::default(),
    }
}
