//! Counters and lengths, each with the details that tools expect beside it: its rate and, where they are asked for, its
//! samples. PURE.

use super::fields::{Fields, Wanted};
use serde_json::{Map, Value, json};

/// Which of the spans that a request may ask for a figure's samples are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::management) enum Group {
    /// `msg_rates_age`, `msg_rates_incr`
    Messages,
    /// `lengths_age`, `lengths_incr`
    Lengths,
    /// `data_rates_age`, `data_rates_incr`
    Data,
    /// `node_stats_age`, `node_stats_incr`
    Node,
}

impl Group {
    /// All, with what their parameters begin with.
    pub(in crate::management) const ALL: [(Group, &'static str); 4] = [
        (Group::Messages, "msg_rates"),
        (Group::Lengths, "lengths"),
        (Group::Data, "data_rates"),
        (Group::Node, "node_stats"),
    ];
}

/// A figure that is sampled: its name and the group of its samples.
pub(in crate::management) type Figure = (&'static str, Group);

/// What is known of figures beside what they are now.
pub(in crate::management) trait Details {
    /// The object `…_details` of a figure; one that is not sampled has the rate 0.
    fn of(&self, name: &str) -> Value;

    /// Since when all the figures have been as they are, in seconds since 1970; none where that is not known, or something
    /// happened just now.
    fn idle_since(&self) -> Option<u64> {
        None
    }
}

/// A time as the API writes it, in seconds since 1970.
pub(in crate::management) fn date(seconds: u64) -> Value {
    let time = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    // With the fraction and the zone as RabbitMQ has them, for tools that look no closer.
    time.map_or(Value::Null, |time| time.strftime("%Y-%m-%dT%H:%M:%S.000+00:00").to_string().into())
}

/// Where nothing is sampled.
#[derive(Clone, Copy, Debug)]
pub(in crate::management) struct Unsampled;

impl Details for Unsampled {
    fn of(&self, _: &str) -> Value {
        json!({ "rate": 0.0 })
    }
}

/// The object `…_details`: a rate in units a second, and samples as (seconds since 1970, value), the newest first, where
/// they were asked for.
#[allow(clippy::cast_precision_loss)]
pub(in crate::management) fn details(rate: f64, samples: Option<&[(u64, u64)]>) -> Value {
    let mut details = json!({ "rate": rate });
    let Some(samples) = samples else { return details };
    details["samples"] =
        samples.iter().map(|(at, value)| json!({ "sample": value, "timestamp": at * 1000 })).collect();
    if let [newest, .., oldest] = samples {
        let sum: f64 = samples.iter().map(|(_, value)| *value as f64).sum();
        let grown = newest.1 as f64 - oldest.1 as f64;
        details["avg"] = json!(sum / samples.len() as f64);
        details["avg_rate"] = json!(grown / newest.0.abs_diff(oldest.0).max(1) as f64);
    }
    details
}

/// Figures with their names.
pub(in crate::management) fn named<const N: usize>(
    names: &[Figure; N],
    figures: &[u64; N],
) -> [(&'static str, u64); N] {
    std::array::from_fn(|place| (names[place].0, figures[place]))
}

/// The fields `name` and `name_details` of each figure.
pub(in crate::management) fn figures(figures: &[(&str, u64)], details: &dyn Details) -> Map<String, Value> {
    let mut fields = Fields::new(&Wanted::All);
    put(&mut fields, figures, details);
    fields.into_map()
}

fn put(fields: &mut Fields<'_>, figures: &[(&str, u64)], details: &dyn Details) {
    for (name, figure) in figures {
        fields.put_figure(name, *figure, || details.of(name));
    }
}

/// `message_stats`: the counters as an object, or nothing before anything happened. Tools take what is absent for 0.
pub(in crate::management) fn message_stats(
    stats: &[(&str, u64)],
    details: &dyn Details,
    wanted: &Wanted,
) -> Option<Value> {
    let mut fields = Fields::new(wanted);
    stats.iter().any(|(_, count)| *count > 0).then(|| {
        put(&mut fields, stats, details);
        fields.into_value()
    })
}

/// Adds `fields` to an object.
pub(in crate::management) fn extend(object: &mut Value, fields: Map<String, Value>) {
    if let Value::Object(object) = object {
        object.extend(fields);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_stats_are_absent_until_something_happened() {
        assert_eq!(message_stats(&[("publish", 0), ("ack", 0)], &Unsampled, &Wanted::All), None);
        assert_eq!(
            message_stats(&[("publish", 2), ("ack", 0)], &Unsampled, &Wanted::All),
            Some(
                json!({"publish": 2, "publish_details": {"rate": 0.0}, "ack": 0, "ack_details": {"rate": 0.0}})
            )
        );
    }

    #[test]
    fn dates_are_written_as_rfc_3339_has_them() {
        assert_eq!(date(1_795_720_394), json!("2026-11-26T19:13:14.000+00:00"));
        assert_eq!(date(u64::MAX), Value::Null);
    }

    #[test]
    fn samples_come_with_their_average_and_the_average_rate() {
        let samples = [(25, 11_780), (20, 9_171), (15, 6_925), (10, 4_231), (5, 1_607)];
        let shown = details(521.8, Some(&samples));
        assert_eq!(
            (&shown["rate"], &shown["avg"], &shown["avg_rate"]),
            (&json!(521.8), &json!(6742.8), &json!(508.65))
        );
        assert_eq!(shown["samples"][1], json!({"sample": 9171, "timestamp": 20_000}));
        assert_eq!(details(0.0, None), json!({"rate": 0.0}));
        let one = details(0.0, Some(&[(5, 1)]));
        assert_eq!(
            one,
            json!({"rate": 0.0, "samples": [{"sample": 1, "timestamp": 5000}]}),
            "no average of one"
        );
    }
}
