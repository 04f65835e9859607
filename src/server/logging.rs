//! Log lines: which are written, to where, and what they look like.
//!
//! Three outputs: standard error, a file, and an exchange ([`LogExchange`]). Each has its [`Levels`], which a running
//! node takes anew. Lines belong to a category by the module that writes them.

use super::log_exchange::LogExchange;
use super::log_file::LogFile;
use crate::config::{Config, LogLevel, Logging};
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, Filter, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// What writes a line, by RabbitMQ's names: all else, connections, channels, queues.
const CATEGORIES: usize = 4;

/// Modules by category; the first that fits counts.
const MODULES: &[(&str, usize)] = &[
    ("warren::amqp::channel", 2),
    ("warren::amqp", 1),
    ("warren::net", 1),
    ("warren::queue", 3),
    ("warren::broker::declare", 3),
];

fn category(target: &str) -> usize {
    let is_within = |module: &str| {
        target.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    MODULES.iter().find(|(module, _)| is_within(module)).map_or(0, |(_, category)| *category)
}

/// The least important lines that an output takes, by category.
#[derive(Clone, Debug, Default)]
struct Levels(Arc<[AtomicU8; CATEGORIES]>);

/// From the least verbose.
fn verbosity(level: LogLevel) -> u8 {
    match level {
        LogLevel::Off => 0,
        LogLevel::Error => 1,
        LogLevel::Warn => 2,
        LogLevel::Info => 3,
        LogLevel::Debug => 4,
        LogLevel::Trace => 5,
    }
}

fn verbosity_of(level: Level) -> u8 {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

impl Levels {
    /// Takes the configured ones: a line must be wanted by its category and by the output.
    fn set(&self, log: &Logging, output: Option<LogLevel>) {
        let outputs = [log.console_level, log.file_level, log.exchange_level].into_iter().flatten();
        let general = outputs.max_by_key(|level| verbosity(*level)).unwrap_or(LogLevel::Info);
        let general = log.level.unwrap_or(general);
        let wanted = [None, log.connection_level, log.channel_level, log.queue_level];
        for (own, category) in self.0.iter().zip(wanted) {
            let most = output.map_or(u8::MAX, verbosity);
            own.store(verbosity(category.unwrap_or(general)).min(most), Relaxed);
        }
    }

    fn take(&self, metadata: &Metadata<'_>) -> bool {
        verbosity_of(*metadata.level()) <= self.0[category(metadata.target())].load(Relaxed)
    }
}

impl<S> Filter<S> for Levels {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.take(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        // Asked anew when the levels change.
        if self.take(metadata) { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let most = self.0.iter().map(|level| level.load(Relaxed)).max().unwrap_or(0);
        Some(match most {
            0 => LevelFilter::OFF,
            1 => LevelFilter::ERROR,
            2 => LevelFilter::WARN,
            3 => LevelFilter::INFO,
            4 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        })
    }
}

/// The outputs of a process.
#[derive(Clone, Debug, Default)]
pub struct Logs {
    console: Levels,
    file: Levels,
    exchange: Levels,
    log_file: Option<LogFile>,
    /// To be told of the broker, if lines go to an exchange.
    pub log_exchange: Option<LogExchange>,
}

impl Logs {
    /// Writes log lines of this process from now on as configured. Once.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn begin(config: &Config) -> io::Result<Logs> {
        let log = &config.log;
        let log_file = log.file.as_ref().map(|_| LogFile::open(log)).transpose()?;
        let log_exchange = log.exchange.then(LogExchange::default);
        let logs = Logs { log_file, log_exchange, ..Logs::default() };
        logs.set(log);
        let console = log.console.then(|| {
            let is_terminal = io::stderr().is_terminal();
            lines(io::stderr, log.console_is_json, is_terminal).with_filter(logs.console.clone())
        });
        let file = logs
            .log_file
            .clone()
            .map(|file| lines(file, log.file_is_json, false).with_filter(logs.file.clone()));
        let exchange = logs.log_exchange.clone().map(|layer| layer.with_filter(logs.exchange.clone()));
        tracing_subscriber::registry().with(console).with(file).with(exchange).init();
        Ok(logs)
    }

    /// Of a file alone, and nothing is written to it.
    #[cfg(test)]
    pub(super) fn of_file(file: LogFile) -> Self {
        Logs { log_file: Some(file), ..Logs::default() }
    }

    /// Takes other levels.
    pub fn set(&self, log: &Logging) {
        self.console.set(log, log.console_level);
        self.file.set(log, log.file_level);
        self.exchange.set(log, log.exchange_level);
        tracing::callsite::rebuild_interest_cache();
    }

    /// Returns when no line is being written: at once, unless the terminal, the pipe or the disk behind an output takes
    /// nothing. Blocks.
    pub(super) fn wait_idle(&self) {
        drop(io::stderr().lock());
        self.log_file.iter().for_each(|file| drop(file.make_writer()));
    }

    /// Opens the file again under its name: another program has moved it away.
    ///
    /// # Errors
    /// Those of opening it; lines go on into the old one.
    pub fn reopen(&self) -> io::Result<()> {
        self.log_file.as_ref().map_or(Ok(()), LogFile::reopen)
    }
}

fn lines<S, W>(writer: W, is_json: bool, has_colours: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    match is_json {
        true => layer.json().flatten_event(true).boxed(),
        false => layer.with_ansi(has_colours).with_target(false).boxed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use tracing::{debug, info, trace, warn};

    /// What was written.
    #[derive(Clone, Debug, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Written {
        fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut *self.0.lock())).unwrap()
        }
    }

    fn levels(log: &Logging, output: Option<LogLevel>) -> Vec<u8> {
        let levels = Levels::default();
        levels.set(log, output);
        levels.0.iter().map(|level| level.load(Relaxed)).collect()
    }

    #[test]
    fn a_line_is_wanted_by_its_category_and_by_its_output() {
        let log = Logging { queue_level: Some(LogLevel::Debug), ..Logging::default() };
        assert_eq!(levels(&log, None), [3, 3, 3, 4], "info where nothing is said");
        assert_eq!(levels(&log, Some(LogLevel::Warn)), [2, 2, 2, 2]);
        let log = Logging { console_level: Some(LogLevel::Debug), ..Logging::default() };
        assert_eq!(levels(&log, log.console_level), [4; 4], "the most verbose output says what is written");
        let log = Logging { level: Some(LogLevel::Error), connection_level: Some(LogLevel::Off), ..log };
        assert_eq!(levels(&log, log.console_level), [1, 0, 1, 1]);
    }

    #[test]
    fn lines_belong_to_categories_by_their_modules() {
        for (target, expected) in [
            ("warren::amqp::driver", 1),
            ("warren::amqp::channel", 2),
            ("warren::amqp::channel::methods", 2),
            ("warren::amqp::channels", 1),
            ("warren::queue::classic", 3),
            ("warren::store", 0),
            ("other", 0),
        ] {
            assert_eq!(category(target), expected, "{target}");
        }
    }

    #[test]
    fn levels_change_while_lines_are_written_and_json_is_an_object_a_line() {
        let written = Written::default();
        let writer = {
            let written = written.clone();
            move || written.clone()
        };
        let levels = Levels::default();
        levels.set(&Logging::default(), None);
        let layer = lines(writer, true, false).with_filter(levels.clone());
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            let say = || {
                debug!("quiet");
                warn!(queue = "q", "loud");
                info!(target: "warren::queue", "of a queue");
                trace!("never");
            };
            say();
            let text = written.take();
            let line: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
            assert_eq!(
                (&line["message"], &line["queue"], &line["level"]),
                (&"loud".into(), &"q".into(), &"WARN".into())
            );
            assert_eq!(text.lines().count(), 2);
            let log = Logging {
                level: Some(LogLevel::Debug),
                queue_level: Some(LogLevel::Error),
                ..Logging::default()
            };
            levels.set(&log, None);
            tracing::callsite::rebuild_interest_cache();
            say();
            let text = written.take();
            assert!(
                text.contains("quiet") && text.contains("loud") && !text.contains("of a queue"),
                "{text}"
            );
        });
    }
}
