//! The formats that metrics are written in, and the page that is written: names, labels and values as Prometheus reads them.
//!
//! A page is handed on in pieces while it is written, so that its length costs no memory. All samples of a metric stand together,
//! behind its help and its type, because both formats want it so.

use super::names::{Kind, Metric};
use crate::histogram::Snapshot;
use std::fmt::Write as _;

/// A piece is handed on once it is so long.
const PIECE_BYTES: usize = 256 << 10;

/// So much a sample takes beside its name and labels.
const SAMPLE_BYTES: usize = 24;

/// How a page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Prometheus' own, version 0.0.4.
    Text,
    /// `OpenMetrics` 1.0.0.
    OpenMetrics,
}

impl Format {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The one that an `Accept` header prefers; Prometheus' own where it says nothing, or likes both as well.
    pub(super) fn preferred(accept: &str) -> Self {
        let (mut text, mut open_metrics) = (0.0_f32, 0.0_f32);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let (mut quality, mut version) = (1.0_f32, None);
            for part in parts {
                match part.split_once('=') {
                    Some(("q", value)) => quality = value.trim().parse().unwrap_or(0.0),
                    Some(("version", value)) => version = Some(value.trim().trim_matches('"')),
                    _ => {}
                }
            }
            match kind.as_str() {
                "application/openmetrics-text" if version.is_none_or(|version| version == "1.0.0") => {
                    open_metrics = quality.max(open_metrics);
                }
                "text/plain" | "text/*" | "*/*" => text = quality.max(text),
                _ => {}
            }
        }
        if open_metrics > text { Self::OpenMetrics } else { Self::Text }
    }
}

/// Whoever asked is gone, or takes nothing any more: there is nothing left to write for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone;

/// A page on its way.
pub(super) struct Page<'a> {
    format: Format,
    piece: String,
    /// Takes the pieces, and gives a buffer for the next one; none when nobody wants them any more.
    send: &'a mut dyn FnMut(String) -> Option<String>,
    sent_bytes: u64,
    /// The name of the metric at hand, and that of its samples.
    name: String,
}

impl<'a> Page<'a> {
    pub(super) fn new(format: Format, send: &'a mut dyn FnMut(String) -> Option<String>) -> Self {
        Self { format, piece: String::new(), send, sent_bytes: 0, name: String::new() }
    }

    /// Begins a metric.
    pub(super) fn begin(&mut self, prefix: &str, metric: &Metric) {
        self.name.clear();
        self.name.push_str(prefix);
        self.name.push_str(metric.name);
        let family = match (self.format, metric.kind) {
            (Format::OpenMetrics, Kind::Counter) => self.name.strip_suffix("_total").unwrap_or(&self.name),
            _ => &self.name,
        };
        for (keyword, text) in [("HELP", metric.help), ("TYPE", metric.kind.name())] {
            for part in ["# ", keyword, " ", family, " ", text, "\n"] {
                self.piece.push_str(part);
            }
        }
    }

    /// A sample of the metric at hand; `labels` as [`Labels`] writes them, empty for none.
    pub(super) fn sample(&mut self, labels: &str, value: Value) -> Result<(), Gone> {
        self.piece.reserve(self.name.len() + labels.len() + SAMPLE_BYTES);
        self.piece.push_str(&self.name);
        self.end_sample(labels, value)
    }

    /// A metric with one sample and no labels.
    pub(super) fn single(
        &mut self,
        prefix: &str,
        metric: &Metric,
        value: impl Into<Value>,
    ) -> Result<(), Gone> {
        self.begin(prefix, metric);
        self.sample("", value.into())
    }

    /// A histogram of the metric at hand; what is recorded is divided by `unit`.
    pub(super) fn histogram(
        &mut self,
        labels: &[(&str, &str)],
        unit: u64,
        snapshot: &Snapshot,
    ) -> Result<(), Gone> {
        let with = |bound: &str| {
            let mut all = Labels::default();
            labels.iter().for_each(|(name, value)| all.add(name, value));
            if !bound.is_empty() {
                all.add("le", bound);
            }
            all.finish()
        };
        for (bound, count) in snapshot.cumulative() {
            let bound = Value::Part(bound, unit).as_bound();
            self.suffixed("_bucket", &with(&bound), count.into())?;
        }
        self.suffixed("_bucket", &with("+Inf"), snapshot.count().into())?;
        self.suffixed("_sum", &with(""), Value::Part(snapshot.sum, unit))?;
        self.suffixed("_count", &with(""), snapshot.count().into())
    }

    fn suffixed(&mut self, suffix: &str, labels: &str, value: Value) -> Result<(), Gone> {
        self.piece.push_str(&self.name);
        self.piece.push_str(suffix);
        self.end_sample(labels, value)
    }

    fn end_sample(&mut self, labels: &str, value: Value) -> Result<(), Gone> {
        self.piece.push_str(labels);
        self.piece.push(' ');
        value.write(&mut self.piece);
        self.piece.push('\n');
        if self.piece.len() < PIECE_BYTES { Ok(()) } else { self.hand_on() }
    }

    fn hand_on(&mut self) -> Result<(), Gone> {
        let piece = std::mem::take(&mut self.piece);
        self.sent_bytes += piece.len() as u64;
        self.piece = (self.send)(piece).ok_or(Gone)?;
        self.piece.clear();
        Ok(())
    }

    /// Ends the page. Returns its length in bytes.
    pub(super) fn finish(mut self) -> Result<u64, Gone> {
        if self.format == Format::OpenMetrics {
            self.piece.push_str("# EOF\n");
        }
        self.hand_on()?;
        Ok(self.sent_bytes)
    }
}

/// A value. Whole numbers are written as such: a counter beyond 2^53 must not lose its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Whole(u64),
    /// The first divided by the second, a power of ten.
    Part(u64, u64),
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::Whole(value as u64)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Whole(value.into())
    }
}

impl Value {
    fn write(self, out: &mut String) {
        match self {
            // Most numbers of most queues.
            Self::Whole(value @ 0..10) => out.push(char::from(b'0' + value as u8)),
            Self::Whole(value) | Self::Part(value, 1) => write_whole(value, out),
            Self::Part(value, unit) => {
                let digits = unit.ilog10() as usize;
                // A text takes everything.
                let _ = write!(out, "{}.{:0digits$}", value / unit, value % unit);
            }
        }
    }

    /// As a bucket's bound is written: with a point, and nothing behind it that means nothing.
    fn as_bound(self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        match text.split_once('.') {
            None => text.push_str(".0"),
            Some((whole, part)) => {
                let part = part.trim_end_matches('0');
                text = format!("{whole}.{}", if part.is_empty() { "0" } else { part });
            }
        }
        text
    }
}

/// Millions of numbers are on some pages, and the standard library's way takes longer than all else of a sample.
fn write_whole(mut value: u64, out: &mut String) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    while at > 0 {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend(digits[at..].iter().map(|digit| char::from(*digit)));
}

/// Labels of a sample, as they are written.
#[derive(Debug, Default)]
pub(super) struct Labels(String);

impl Labels {
    /// These labels and no others.
    pub(super) fn of(labels: &[(&str, &str)]) -> String {
        let mut all = Self::default();
        labels.iter().for_each(|(name, value)| all.add(name, value));
        all.finish()
    }

    /// Adds one. Names are letters; values may be anything.
    pub(super) fn add(&mut self, name: &str, value: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        self.0.push_str(name);
        self.0.push_str("=\"");
        for c in value.chars() {
            match c {
                '\\' => self.0.push_str("\\\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str("\\n"),
                c => self.0.push(c),
            }
        }
        self.0.push('"');
    }

    /// The text of them all; empty if there are none.
    pub(super) fn finish(mut self) -> String {
        if !self.0.is_empty() {
            self.0.push('}');
        }
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::{Histogram, LATENCY_BOUNDS_US};

    const COUNTER: Metric = Metric { name: "things_total", kind: Kind::Counter, help: "Things" };

    fn page(format: Format, write: impl FnOnce(&mut Page<'_>)) -> String {
        let mut text = String::new();
        let mut send = |piece: String| {
            text.push_str(&piece);
            Some(piece)
        };
        let mut page = Page::new(format, &mut send);
        write(&mut page);
        let length = page.finish().unwrap();
        assert_eq!(length, text.len() as u64);
        text
    }

    #[test]
    fn each_format_names_counters_in_its_own_way_and_open_metrics_says_where_it_ends() {
        let write = |page: &mut Page<'_>| page.single("warren_", &COUNTER, 3_u64).unwrap();
        let text =
            "# HELP warren_things_total Things\n# TYPE warren_things_total counter\nwarren_things_total 3\n";
        assert_eq!(page(Format::Text, write), text);
        let open =
            "# HELP warren_things Things\n# TYPE warren_things counter\nwarren_things_total 3\n# EOF\n";
        assert_eq!(page(Format::OpenMetrics, write), open);
    }

    #[test]
    fn whole_numbers_are_written_to_their_last_digit() {
        for number in [0, 9, 10, 120, 9_007_199_254_740_993, u64::MAX] {
            let mut text = String::new();
            Value::Whole(number).write(&mut text);
            assert_eq!(text, number.to_string());
        }
    }

    #[test]
    fn labels_with_quotes_backslashes_and_line_breaks_are_escaped() {
        assert_eq!(
            Labels::of(&[("vhost", "/"), ("queue", "a\"b\\c\nü")]),
            r#"{vhost="/",queue="a\"b\\c\nü"}"#
        );
        assert_eq!(Labels::of(&[]), "");
    }

    #[test]
    fn a_histogram_counts_upwards_in_seconds() {
        let histogram = Histogram::new(LATENCY_BOUNDS_US);
        [40, 700, 11_000_000].iter().for_each(|value| histogram.record(*value));
        let metric = Metric { name: "time_seconds", kind: Kind::Histogram, help: "Time" };
        let text = page(Format::Text, |page| {
            page.begin("warren_", &metric);
            page.histogram(&[("a", "b")], 1_000_000, &histogram.snapshot()).unwrap();
        });
        for line in [
            "# TYPE warren_time_seconds histogram",
            "warren_time_seconds_bucket{a=\"b\",le=\"0.00005\"} 1",
            "warren_time_seconds_bucket{a=\"b\",le=\"0.0005\"} 1",
            "warren_time_seconds_bucket{a=\"b\",le=\"0.001\"} 2",
            "warren_time_seconds_bucket{a=\"b\",le=\"10.0\"} 2",
            "warren_time_seconds_bucket{a=\"b\",le=\"+Inf\"} 3",
            "warren_time_seconds_sum{a=\"b\"} 11.000740",
            "warren_time_seconds_count{a=\"b\"} 3",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is not in:\n{text}");
        }
    }

    #[test]
    fn a_page_that_nobody_takes_is_not_written_to_its_end() {
        let mut pieces = 0;
        let mut send = |_: String| {
            pieces += 1;
            None
        };
        let mut page = Page::new(Format::Text, &mut send);
        page.begin("", &COUNTER);
        let written = (0..1_000_000_u64).take_while(|value| page.sample("", (*value).into()).is_ok()).count();
        assert!(written < PIECE_BYTES, "{written} samples");
        assert_eq!(pieces, 1);
    }

    #[test]
    fn the_format_is_the_one_that_is_liked_best() {
        for (accept, format) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/html, */*;q=0.5", Format::Text),
            ("application/openmetrics-text", Format::OpenMetrics),
            (
                "application/openmetrics-text; version=1.0.0; q=0.8, text/plain;version=0.0.4;q=0.9",
                Format::Text,
            ),
            (
                "application/openmetrics-text;version=\"1.0.0\",text/plain;q=0.5,*/*;q=0.1",
                Format::OpenMetrics,
            ),
            (
                "application/openmetrics-text;version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Format::Text,
            ),
            ("application/openmetrics-text;q=0", Format::Text),
        ] {
            assert_eq!(Format::preferred(accept), format, "{accept}");
        }
    }
}
