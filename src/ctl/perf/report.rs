//! The report of a run: for people, as JSON, as a page.

use super::super::Failure;
use super::super::output::Output;
use super::common::write_file;
use super::meter::{Figures, Mark};
use super::page;
use super::process::Usage;
use super::traffic::Traffic;
use serde::Serialize;

/// A run and its figures. Latencies are in milliseconds.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// What the broker calls itself.
    pub(super) product: String,
    pub(super) version: String,
    pub(super) options: Traffic,
    /// From the beginning to the last message.
    pub(super) seconds: f64,
    pub(super) declare_seconds: f64,
    pub(super) published: u64,
    /// Until the broker had taken (with confirms: confirmed) the last one.
    pub(super) published_per_second: f64,
    pub(super) confirmed: u64,
    pub(super) refused: u64,
    pub(super) returned: u64,
    pub(super) received: u64,
    pub(super) received_per_second: f64,
    /// The most that were published and not received.
    pub(super) backlog_peak: u64,
    pub(super) blocked_seconds: f64,
    /// From when a message was to be sent until it was received.
    pub(super) latency_ms: Option<Figures>,
    /// From when a message was to be sent until it was confirmed, or committed.
    pub(super) confirm_latency_ms: Option<Figures>,
    #[serde(skip)]
    pub(super) latency_curve: Vec<(f64, f64)>,
    #[serde(skip)]
    pub(super) confirm_latency_curve: Vec<(f64, f64)>,
    /// What the processes of `--pid` cost.
    pub(super) broker: Option<Process>,
    pub(super) generator: Process,
    pub(super) samples: Vec<Sample>,
    pub(super) published_marks: Vec<Mark>,
    pub(super) received_marks: Vec<Mark>,
}

/// What a process cost; messages are those received, or published if nobody consumes.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Process {
    pub(super) cpu_seconds: f64,
    pub(super) cpu_seconds_per_million: f64,
    pub(super) memory_bytes_before: u64,
    pub(super) memory_bytes_peak: u64,
}

/// How far it was at a moment; latencies since the sample before.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Sample {
    pub(super) seconds: f64,
    pub(super) published: u64,
    pub(super) confirmed: u64,
    pub(super) received: u64,
    pub(super) latency_ms: Option<Figures>,
    pub(super) confirm_latency_ms: Option<Figures>,
}

impl Report {
    /// Writes it where it was asked for.
    pub(super) fn write(&self, output: &mut Output<'_>) -> Result<(), Failure> {
        if let Some(path) = &self.options.html {
            write_file(path, &page::page(self))?;
        }
        self.options.common.write(self, &self.lines(), output)
    }

    /// What people read.
    pub(super) fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![("Broker", format!("{} {}", self.product, self.version))];
        let mut add = |is_there: bool, name, value: String| {
            if is_there {
                lines.push((name, value));
            }
        };
        let counted =
            |messages: u64, per_second: f64| format!("{} ({}/s)", grouped(messages), rate(per_second));
        add(self.published > 0, "Published", counted(self.published, self.published_per_second));
        add(self.confirmed > 0, "Confirmed", grouped(self.confirmed));
        add(self.refused > 0, "Refused", grouped(self.refused));
        add(self.returned > 0, "Returned", grouped(self.returned));
        add(self.received > 0, "Received", counted(self.received, self.received_per_second));
        let latency =
            |figures: Option<Figures>| figures.map_or_else(String::new, |figures| figures.to_string());
        add(self.latency_ms.is_some(), "Latency", latency(self.latency_ms));
        add(self.confirm_latency_ms.is_some(), "Until confirmed", latency(self.confirm_latency_ms));
        add(true, "Seconds", format!("{:.2}", self.seconds));
        add(self.backlog_peak > 0, "Most on their way", grouped(self.backlog_peak));
        add(self.blocked_seconds > 0.0, "Blocked", format!("{:.2} s", self.blocked_seconds));
        let broker = self.broker.map_or_else(String::new, |broker| broker.to_string());
        add(self.broker.is_some(), "Broker's processor", broker);
        add(true, "Own processor", self.generator.to_string());
        lines
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { min, p50, p90, p99, p999, max, .. } = self;
        write!(
            f,
            "p50 {p50:.3} ms, p90 {p90:.3}, p99 {p99:.3}, p99.9 {p999:.3}; least {min:.3}, most {max:.3}"
        )
    }
}

impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { cpu_seconds, cpu_seconds_per_million, memory_bytes_peak, .. } = self;
        write!(
            f,
            "{cpu_seconds:.2} s, {cpu_seconds_per_million:.2} s per million; {} MiB resident at most",
            memory_bytes_peak >> 20
        )
    }
}

/// What a process has cost between two looks, for so many messages.
pub(super) fn cost(before: Usage, after: Usage, messages: u64) -> Process {
    let cpu_seconds = after.cpu_seconds - before.cpu_seconds;
    Process {
        cpu_seconds,
        cpu_seconds_per_million: cpu_seconds * 1e6 / messages.max(1) as f64,
        memory_bytes_before: before.memory_bytes,
        memory_bytes_peak: after.memory_bytes,
    }
}

/// A rate, rounded to what such a measurement knows.
pub(super) fn rate(per_second: f64) -> String {
    if per_second < 100.0 { format!("{per_second:.1}") } else { grouped(per_second.round() as u64) }
}

/// A number with its thousands apart.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_thousands_apart() {
        let texts = [0, 7, 100, 1_000, 123_456, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "7", "100", "1,000", "123,456", "1,234,567"]);
        assert_eq!([rate(0.25), rate(99.94), rate(1234.5)], ["0.2", "99.9", "1,235"]);
    }
}
