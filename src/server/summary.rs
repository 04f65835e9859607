//! The one line that says what a start came to.

use super::monitor;
use crate::config::Config;
use crate::definition::Definition;
use crate::store::{Recovered, Report};
use crate::time::Duration;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What an operator asks first of a node that serves.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    data_dir: PathBuf,
    listening: Vec<(&'static str, SocketAddr)>,
    /// Above it publishers are blocked, in bytes; none where the machine does not say how much memory there is.
    memory_limit_bytes: Option<u64>,
    /// Below it publishers are blocked, in bytes.
    disk_limit_bytes: Option<u64>,
    free_bytes: Option<u64>,
    recovered: Counts,
    report: Report,
    took: Duration,
    /// The user that an empty node has just got.
    new_user: Option<String>,
}

/// What came back.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    vhosts: usize,
    queues: usize,
}

impl Summary {
    /// Of what the store brought back in that time, before the broker takes it.
    pub(super) fn new(config: &Config, recovered: &Recovered, took: Duration) -> Self {
        let count = |is: fn(&Definition) -> bool| recovered.definitions.iter().filter(|one| is(one)).count();
        Self {
            data_dir: std::path::absolute(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone()),
            memory_limit_bytes: monitor::memory_limit(config),
            disk_limit_bytes: monitor::disk_limit(config),
            free_bytes: monitor::free_bytes(config),
            recovered: Counts {
                vhosts: count(|one| matches!(one, Definition::Vhost(..))),
                queues: count(|one| matches!(one, Definition::Queue(..))),
            },
            report: recovered.report.clone(),
            took,
            ..Self::default()
        }
    }

    /// Whether the data directory was empty: then the broker makes a vhost and perhaps a user.
    pub(super) fn is_first_start(&self) -> bool {
        self.recovered.vhosts == 0
    }

    pub(super) fn set_new_user(&mut self, name: &str) {
        self.new_user = Some(name.to_owned());
    }

    pub(super) fn set_listening(&mut self, listening: &[(&'static str, SocketAddr)]) {
        self.listening = listening.to_vec();
    }

    /// Where the node listens, for a line of its own.
    pub fn listeners(&self) -> String {
        let listening = self.listening.iter().map(|(protocol, address)| format!("{protocol} {address}"));
        listening.collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Warren {} serves {}; ", env!("CARGO_PKG_VERSION"), self.listeners())?;
        write!(f, "data in {}, {} free there; ", self.data_dir.display(), Size(self.free_bytes))?;
        write!(f, "publishers wait above {} of memory ", Size(self.memory_limit_bytes))?;
        write!(f, "and below {} of free disk; ", Size(self.disk_limit_bytes))?;
        if self.is_first_start() {
            f.write_str("the data directory is new")?;
        } else {
            let (Counts { vhosts, queues }, Report { messages, clean, .. }) = (self.recovered, &self.report);
            write!(f, "recovered {vhosts} vhosts, {queues} queues and {messages} messages ")?;
            write!(f, "in {} ms", self.took.as_millis())?;
            f.write_str(if *clean { "" } else { ", after an end that was none of ours" })?;
        }
        match &self.new_user {
            Some(user) => write!(f, "; user '{user}' was made"),
            None => Ok(()),
        }
    }
}

/// Bytes for people.
pub(super) struct Size(pub(super) Option<u64>);

impl fmt::Display for Size {
    #[allow(clippy::cast_precision_loss)]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: &[(&str, u64)] =
            &[("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        let Some(bytes) = self.0 else { return f.write_str("an unknown amount") };
        match UNITS.iter().find(|(_, unit)| bytes >= *unit) {
            Some((name, unit)) => write!(f, "{:.1} {name}", bytes as f64 / *unit as f64),
            None => write!(f, "{bytes} bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> Summary {
        let amqp = ("amqp", ([127, 0, 0, 1], 5672).into());
        Summary {
            data_dir: "/data".into(),
            listening: vec![amqp, ("http", ([0, 0, 0, 0], 15672).into())],
            memory_limit_bytes: Some(3 << 30),
            disk_limit_bytes: Some(50_000_000),
            free_bytes: None,
            ..Summary::default()
        }
    }

    #[test]
    fn a_first_start_names_the_user_that_was_made() {
        let mut summary = summary();
        summary.set_new_user("guest");
        let expected = format!(
            "Warren {} serves amqp 127.0.0.1:5672, http 0.0.0.0:15672; data in /data, an unknown amount free there; \
             publishers wait above 3.0 GiB of memory and below 47.7 MiB of free disk; the data directory is new; \
             user 'guest' was made",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(summary.to_string(), expected);
    }

    #[test]
    fn a_later_start_says_what_came_back_and_how_the_last_run_ended() {
        let mut summary = summary();
        summary.recovered = Counts { vhosts: 1, queues: 2 };
        summary.report = Report { messages: 3, clean: true, ..Report::default() };
        summary.took = Duration::from_millis(4);
        let text = "; recovered 1 vhosts, 2 queues and 3 messages in 4 ms";
        assert!(summary.to_string().ends_with(text), "{summary}");
        summary.report.clean = false;
        assert!(
            summary.to_string().ends_with(&format!("{text}, after an end that was none of ours")),
            "{summary}"
        );
    }

    #[test]
    fn sizes_are_in_the_largest_unit_that_fits() {
        for (bytes, text) in [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (1 << 40, "1.0 TiB")] {
            assert_eq!(Size(Some(bytes)).to_string(), text);
        }
    }
}
