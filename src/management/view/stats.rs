//! Counters, each with the details that tools expect beside it. PURE.

use serde_json::{Map, Value, json};

/// The fields `name` and `name_details` of each counter.
///
/// Rates are those of the samples; a counter that is not sampled has the rate 0.
pub(in crate::management) fn counters(counters: &[(&str, u64)]) -> Map<String, Value> {
    let mut fields = Map::new();
    for (name, count) in counters {
        fields.insert((*name).to_owned(), json!(count));
        fields.insert(format!("{name}_details"), json!({ "rate": 0.0 }));
    }
    fields
}

/// `message_stats`: the counters as an object, or nothing before anything happened. Tools take what is absent for 0.
pub(in crate::management) fn message_stats(stats: &[(&str, u64)]) -> Option<Value> {
    stats.iter().any(|(_, count)| *count > 0).then(|| Value::Object(counters(stats)))
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
        assert_eq!(message_stats(&[("publish", 0), ("ack", 0)]), None);
        assert_eq!(
            message_stats(&[("publish", 2), ("ack", 0)]),
            Some(
                json!({"publish": 2, "publish_details": {"rate": 0.0}, "ack": 0, "ack_details": {"rate": 0.0}})
            )
        );
    }
}
