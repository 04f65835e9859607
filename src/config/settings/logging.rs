//! Settings: log lines, where they go and which.

use super::super::setting::{PLAIN, Setting};
use super::super::{LogLevel, value};
use std::path::PathBuf;

/// Where log lines go, and which.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // documented where they are declared, below
pub struct Logging {
    /// None = the most verbose of the outputs' levels.
    pub level: Option<LogLevel>,
    pub connection_level: Option<LogLevel>,
    pub channel_level: Option<LogLevel>,
    pub queue_level: Option<LogLevel>,
    pub console: bool,
    pub console_level: Option<LogLevel>,
    pub console_is_json: bool,
    pub file: Option<PathBuf>,
    pub dir: Option<PathBuf>,
    pub file_level: Option<LogLevel>,
    pub file_is_json: bool,
    /// None = any size.
    pub rotation_bytes: Option<u64>,
    pub rotation_count: usize,
    /// The hour of the day (UTC) at which the file is begun anew; none = it is not.
    pub rotation_hour: Option<u8>,
    pub exchange: bool,
    pub exchange_level: Option<LogLevel>,
}

const LEVELS: &str = "trace, debug, info, warning, error or none";
const FORMATS: &str = "plaintext or json";

fn is_json(text: &str) -> Result<bool, String> {
    value::one_of(text, &["plaintext", "json"]).map(|format| format == "json")
}

/// RabbitMQ's `$D0`: every day at that hour. Its other forms are none here.
fn hour(text: &str) -> Result<Option<u8>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let hour = text.strip_prefix("$D").and_then(|hour| value::integer(hour, 0, 23).ok());
    hour.map(Some).ok_or_else(|| format!("{text:?} is not $D0 to $D23, every day at that hour (UTC)"))
}

pub(super) const LOGGING: &[Setting] = &[
    Setting {
        key: "log.level",
        aliases: &["log.default.level"],
        unit: LEVELS,
        doc: "The least important log lines that are written; not set = the most verbose level of an output, or info.",
        is_live: true,
        set: |config, _, text| value::log_level(text).map(|level| config.log.level = Some(level)),
        ..PLAIN
    },
    Setting {
        key: "log.connection.level",
        unit: LEVELS,
        doc: "The same for what connections log.",
        is_live: true,
        set: |config, _, text| value::log_level(text).map(|level| config.log.connection_level = Some(level)),
        ..PLAIN
    },
    Setting {
        key: "log.channel.level",
        unit: LEVELS,
        doc: "The same for what channels log.",
        is_live: true,
        set: |config, _, text| value::log_level(text).map(|level| config.log.channel_level = Some(level)),
        ..PLAIN
    },
    Setting {
        key: "log.queue.level",
        unit: LEVELS,
        doc: "The same for what queues log.",
        is_live: true,
        set: |config, _, text| value::log_level(text).map(|level| config.log.queue_level = Some(level)),
        ..PLAIN
    },
    Setting {
        key: "log.console",
        default: "true",
        unit: "true or false",
        doc: "Whether log lines are written to standard error.",
        set: |config, _, text| value::boolean(text).map(|is_on| config.log.console = is_on),
        ..PLAIN
    },
    Setting {
        key: "log.console.level",
        unit: LEVELS,
        doc: "The least important lines that go there; not set = all that are written.",
        is_live: true,
        set: |config, _, text| value::log_level(text).map(|level| config.log.console_level = Some(level)),
        ..PLAIN
    },
    Setting {
        key: "log.console.formatter",
        default: "plaintext",
        unit: FORMATS,
        doc: "What they look like there: json is an object a line.",
        set: |config, _, text| is_json(text).map(|is_json| config.log.console_is_json = is_json),
        ..PLAIN
    },
    Setting {
        key: "log.file",
        unit: "file, or false",
        doc: "A file that log lines are appended to. SIGUSR1 or SIGHUP opens it again, for logrotate.",
        set: |config, _, text| {
            config.log.file = (!matches!(text, "" | "false")).then(|| PathBuf::from(text));
            Ok(())
        },
        ..PLAIN
    },
    Setting {
        key: "log.dir",
        unit: "directory",
        doc: "Where that file is, if its name does not say; not set = the working directory.",
        set: |config, _, text| value::text(text).map(|dir| config.log.dir = Some(PathBuf::from(dir))),
        ..PLAIN
    },
    Setting {
        key: "log.file.level",
        unit: LEVELS,
        doc: "The least important lines that go there; not set = all that are written.",
        is_live: true,
        set: |config, _, text| value::log_level(text).map(|level| config.log.file_level = Some(level)),
        ..PLAIN
    },
    Setting {
        key: "log.file.formatter",
        default: "plaintext",
        unit: FORMATS,
        doc: "What they look like there.",
        set: |config, _, text| is_json(text).map(|is_json| config.log.file_is_json = is_json),
        ..PLAIN
    },
    Setting {
        key: "log.file.rotation.size",
        unit: "bytes",
        doc: "Beyond this size the file is begun anew, and the old one becomes `.0`, `.1` and so on; not set = it grows.",
        set: |config, _, text| value::bytes(text).map(|n| config.log.rotation_bytes = (n > 0).then_some(n)),
        ..PLAIN
    },
    Setting {
        key: "log.file.rotation.date",
        unit: "$D0 to $D23",
        doc: "At this hour of every day (UTC) the file is begun anew; not set = it is not.",
        set: |config, _, text| hour(text).map(|hour| config.log.rotation_hour = hour),
        ..PLAIN
    },
    Setting {
        key: "log.file.rotation.count",
        default: "5",
        unit: "files",
        doc: "How many old ones are kept.",
        set: |config, _, text| value::integer(text, 0, 1000).map(|count| config.log.rotation_count = count),
        ..PLAIN
    },
    Setting {
        key: "log.exchange",
        default: "false",
        unit: "true or false",
        doc: "Whether log lines are published to the exchange `amq.rabbitmq.log` of the default vhost, too, with their level as the routing key.",
        set: |config, _, text| value::boolean(text).map(|is_on| config.log.exchange = is_on),
        ..PLAIN
    },
    Setting {
        key: "log.exchange.level",
        unit: LEVELS,
        doc: "The least important lines that are; not set = all that are written.",
        is_live: true,
        set: |config, _, text| value::log_level(text).map(|level| config.log.exchange_level = Some(level)),
        ..PLAIN
    },
];
