//! The table of settings. To add one: a field in [`Config`], an entry in [`SETTINGS`].
//!
//! Keys are RabbitMQ's where the meaning is. The order is the reading order of the documentation.

use super::{Config, LogLevel, Secret, value};
use crate::definition::Permissions;
use crate::durability::Durability;
use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf, time::Duration};

/// A setting: how it is called, what it means, how it is set.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The key. A last part `*` stands for a name of the operator's choice.
    pub key: &'static str,
    /// Other keys with the same meaning.
    pub aliases: &'static [&'static str],
    /// The default as it would stand in a file; empty = not set.
    pub default: &'static str,
    /// The name that stands for the `*` in the default.
    default_name: &'static str,
    /// The unit of the value, or what kind of value it is.
    pub unit: &'static str,
    /// What it does.
    pub doc: &'static str,
    /// RabbitMQ's variable for it, as its container images have it.
    pub rabbitmq_variable: Option<&'static str>,
    /// For lists: empties it, before the first entry of a higher layer.
    pub(super) forget: Option<fn(&mut Config)>,
    /// Checks the value (with the name that stands for the `*`) and puts it in its place.
    pub(super) set: fn(&mut Config, &str, &str) -> Result<(), String>,
}

/// What most entries have in common.
const PLAIN: Setting = Setting {
    key: "",
    aliases: &[],
    default: "",
    default_name: "",
    unit: "",
    doc: "",
    rabbitmq_variable: None,
    forget: None,
    set: |_, _, _| Ok(()),
};

/// Every setting.
pub const SETTINGS: &[Setting] = &[
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
        forget: Some(|config| config.amqp_listen.clear()),
        set: |config, _, text| value::address(text).map(|address| config.amqp_listen.push(address)),
        ..PLAIN
    },
    Setting {
        key: "listeners.tcp",
        unit: "none",
        doc: "`none` turns plain AMQP listeners off.",
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
        set: |config, _, text| value::milliseconds(text).map(|time| config.handshake_timeout = time),
        ..PLAIN
    },
    Setting {
        key: "heartbeat",
        default: "60",
        unit: "seconds",
        doc: "The heartbeat interval that clients are offered; 0 = none.",
        set: |config, _, text| value::integer(text, 0, u16::MAX).map(|time| config.heartbeat_s = time),
        ..PLAIN
    },
    Setting {
        key: "frame_max",
        default: "131072",
        unit: "bytes",
        doc: "The largest frame a client may agree on.",
        set: |config, _, text| value::integer(text, 4096, 1 << 30).map(|bytes| config.frame_max = bytes),
        ..PLAIN
    },
    Setting {
        key: "channel_max",
        aliases: &["max_channels_per_connection"],
        default: "2047",
        unit: "channels",
        doc: "How many channels a connection may have.",
        set: |config, _, text| {
            value::integer(text, 1, u16::MAX).map(|channels| config.channel_max = channels)
        },
        ..PLAIN
    },
    Setting {
        key: "max_message_size",
        default: "16777216",
        unit: "bytes",
        doc: "The largest body of a message; at most 512 MiB.",
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
        forget: Some(|config| config.default_user_tags.clear()),
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
        forget: Some(|config| config.loopback_users.clear()),
        set: |config, user, text| {
            value::boolean(text).map(|is_member| put(&mut config.loopback_users, user, is_member))
        },
        ..PLAIN
    },
    Setting {
        key: "loopback_users",
        unit: "none",
        doc: "`none` lets every user log in from everywhere.",
        set: |config, _, text| value::none(text).map(|()| config.loopback_users.clear()),
        ..PLAIN
    },
    Setting {
        key: "vm_memory_high_watermark.relative",
        default: "0.6",
        unit: "part of the memory",
        doc: "Above this much memory in use, publishers are blocked.",
        set: |config, _, text| value::fraction(text).map(|part| config.memory_high_watermark_relative = part),
        ..PLAIN
    },
    Setting {
        key: "vm_memory_high_watermark.absolute",
        unit: "bytes",
        doc: "The same as a number of bytes (`2GB`, `512MiB`); overrides the relative one.",
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
        set: |config, _, text| value::bytes(text).map(|bytes| config.disk_free_limit_bytes = bytes),
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
        set: |config, _, text| value::bytes(text).map(|bytes| config.message_memory_limit_bytes = bytes),
        ..PLAIN
    },
    Setting {
        key: "log.level",
        aliases: &["log.console.level"],
        default: "info",
        unit: "trace, debug, info, warning, error or none",
        doc: "The least important log lines that are written.",
        set: |config, _, text| value::log_level(text).map(|level| config.log_level = level),
        ..PLAIN
    },
    Setting {
        key: "log.exchange",
        default: "false",
        unit: "true or false",
        doc: "Whether log lines are published to the exchange `amq.rabbitmq.log` of the default vhost, too, with their level as the routing key.",
        set: |config, _, text| value::boolean(text).map(|is_on| config.log_exchange = is_on),
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
        key: "cluster_name",
        unit: "name",
        doc: "What the cluster is called in server properties and the HTTP API; not set = the node's name.",
        set: |config, _, text| value::text(text).map(|name| config.cluster_name = Some(name)),
        ..PLAIN
    },
];

fn put(list: &mut BTreeSet<String>, name: &str, is_member: bool) {
    if is_member {
        list.insert(name.to_owned());
    } else {
        list.remove(name);
    }
}

impl Setting {
    /// The default as key and value, if there is one.
    pub(super) fn default_assignment(&self) -> Option<(String, &'static str)> {
        (!self.default.is_empty()).then(|| (self.key.replace('*', self.default_name), self.default))
    }

    /// What stands for the `*` in `key` (nothing, where the setting has none), if `key` is this setting.
    pub(super) fn name_in<'a>(&self, key: &'a str) -> Option<&'a str> {
        if self.key == key || self.aliases.contains(&key) {
            return Some("");
        }
        let name = key.strip_prefix(self.key.strip_suffix('*')?)?;
        (!name.is_empty()).then_some(name)
    }
}

/// The setting with this key, and what stands for its `*`.
pub(super) fn find(key: &str) -> Option<(&'static Setting, &str)> {
    SETTINGS.iter().find_map(|setting| setting.name_in(key).map(|name| (setting, name)))
}

/// The key's variable without `WARREN_`: in capitals, with underscores for dots.
pub(super) fn variable_of_key(key: &str) -> String {
    key.to_ascii_uppercase().replace(['.', '-'], "_")
}

/// The key whose variable is `WARREN_<rest>`. A free name comes out in lower case: variables have no other.
pub(super) fn key_of_variable(rest: &str) -> Option<String> {
    let keys = || {
        SETTINGS
            .iter()
            .flat_map(|setting| std::iter::once(setting.key).chain(setting.aliases.iter().copied()))
    };
    let exact = keys().find(|key| variable_of_key(key) == rest).map(str::to_owned);
    exact.or_else(|| {
        keys().filter_map(|key| key.strip_suffix('*')).find_map(|start| {
            let name = rest.strip_prefix(&variable_of_key(start)).filter(|name| !name.is_empty())?;
            Some(format!("{start}{}", name.to_ascii_lowercase()))
        })
    })
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
        disk_free_limit_bytes: 0,
        message_memory_limit_bytes: 0,
        durability: Durability::Sync,
        memory_monitor_interval: Duration::ZERO,
        statistics_interval: Duration::ZERO,
        statistics_are_off: false,
        log_level: LogLevel::Info,
        log_exchange: false,
        load_definitions: None,
        cluster_name: None,
        otlp_endpoint: None,
        management_body_bytes_max: 0,
        operator_policies_are_fixed: false,
    }
}
