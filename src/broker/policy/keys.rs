//! The keys that a policy may have: what their values may be, whether operators may set them, and which queue types they
//! make a policy useless for. PURE.

use crate::durability::Durability;
use crate::name::SHORT_STRING_BYTES_MAX;
use serde_json::Value;

/// The longest time: ten years, in milliseconds.
const TIME_MS_MAX: i64 = 315_360_000_000;

/// A key.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    is_valid: fn(&Value) -> bool,
    /// RabbitMQ's words behind a value that is none.
    fault: &'static str,
    /// How an operator's value and a user's make one; none = only users set it.
    merge: Option<Merge>,
    /// A policy that has the key is none for queues of these types.
    excludes: &'static [&'static str],
    /// Whether something follows from it in RabbitMQ that is not there in Warren.
    pub(super) is_idle: bool,
}

/// How an operator's value and a user's make one.
#[derive(Clone, Copy, Debug)]
enum Merge {
    Least,
    Most,
    Operators,
    /// The least; but a negative number is no limit, and where one of them is none, the greater counts.
    DeliveryLimit,
}

const CLASSIC: &[&str] = &["classic"];
const QUORUM: &[&str] = &["quorum"];
const BOTH: &[&str] = &["classic", "quorum"];

/// All keys. RabbitMQ's classic queues know neither `delivery-limit` nor `dead-letter-strategy`; ours do.
pub(super) const KEYS: &[Key] = &[
    key("alternate-exchange", is_name, "alternate exchange name"),
    key("consumer-disconnected-timeout", is_time, "consumer disconnected timeout"),
    key("consumer-timeout", is_time, "consumer timeout"),
    key("dead-letter-exchange", is_name, "dead letter exchange name"),
    key("dead-letter-routing-key", is_name, "dead letter routing key"),
    key(
        "dead-letter-strategy",
        |value| is_one_of(value, &["at-most-once", "at-least-once"]),
        "dead letter strategy",
    ),
    key("delayed-retry-max", is_time, "delayed retry maximum").operators(Merge::Least),
    key("delayed-retry-min", is_time, "delayed retry minimum").operators(Merge::Most),
    key("delayed-retry-type", is_retry_type, "delayed retry type").operators(Merge::Operators),
    key("delivery-limit", |value| value.as_i64().is_some(), "delivery limit").operators(Merge::DeliveryLimit),
    key("durability", is_durability, "durability"),
    key("expires", |value| is_within(value, 1, TIME_MS_MAX), "queue expiry").operators(Merge::Least),
    key("federation-upstream", is_name, "federation upstream").idle(),
    key("federation-upstream-pattern", Value::is_string, "federation upstream pattern").idle(),
    key("federation-upstream-set", is_name, "federation upstream set").idle(),
    key("ha-mode", Value::is_string, "ha-mode").excludes(QUORUM).idle(),
    key("ha-params", |_| true, "ha-params").excludes(QUORUM).idle(),
    key("ha-promote-on-failure", Value::is_string, "ha-promote-on-failure").excludes(QUORUM).idle(),
    key("ha-promote-on-shutdown", Value::is_string, "ha-promote-on-shutdown").excludes(QUORUM).idle(),
    key("ha-sync-batch-size", is_count, "ha-sync-batch-size").excludes(QUORUM).idle(),
    key("ha-sync-mode", Value::is_string, "ha-sync-mode").excludes(QUORUM).idle(),
    key("initial-cluster-size", is_count, "cluster size").excludes(BOTH),
    key("max-age", is_age, "max age").excludes(BOTH),
    key("max-in-memory-bytes", is_count, "maximum memory in bytes").operators(Merge::Least).excludes(CLASSIC),
    key("max-in-memory-length", is_count, "maximum memory in bytes")
        .operators(Merge::Least)
        .excludes(CLASSIC),
    key("max-length", is_count, "maximum length").operators(Merge::Least),
    key("max-length-bytes", is_count, "maximum length in bytes").operators(Merge::Least),
    key("member-placement-tag", Value::is_string, "member placement tag"),
    key("message-ttl", is_time, "message TTL").operators(Merge::Least),
    key("overflow", is_overflow, "overflow value").operators(Merge::Operators),
    key("queue-leader-locator", is_locator, "queue leader locator value"),
    key("queue-master-locator", Value::is_string, "queue master locator value").excludes(QUORUM),
    key("queue-mode", |value| is_one_of(value, &["default", "lazy"]), "queue-mode value").excludes(QUORUM),
    key("queue-version", |value| is_within(value, 1, 2), "queue-version value").operators(Merge::Operators),
    key("stream-filter-size-bytes", |value| is_within(value, 16, 255), "filter size. Valid range is 16-255"),
    key("stream-max-segment-size-bytes", is_count, "segment size").excludes(BOTH),
    key("target-group-size", is_count, "target group size").operators(Merge::Most).excludes(CLASSIC),
];

const fn key(name: &'static str, is_valid: fn(&Value) -> bool, fault: &'static str) -> Key {
    Key { name, is_valid, fault, merge: None, excludes: &[], is_idle: false }
}

impl Key {
    const fn operators(self, merge: Merge) -> Self {
        Key { merge: Some(merge), ..self }
    }

    const fn excludes(self, excludes: &'static [&'static str]) -> Self {
        Key { excludes, ..self }
    }

    const fn idle(self) -> Self {
        Key { is_idle: true, ..self }
    }

    /// Whether an operator's policy may have it.
    pub(super) fn is_operators(&self) -> bool {
        self.merge.is_some()
    }

    /// What is wrong with a value.
    pub(super) fn fault(&self, value: &Value) -> Option<&'static str> {
        (!(self.is_valid)(value)).then_some(self.fault)
    }

    /// Whether a policy that has it is none for queues of this type.
    pub(super) fn excludes_type(&self, kind: &str) -> bool {
        self.excludes.contains(&kind)
    }

    /// The value that counts.
    pub(super) fn merged<'v>(&self, users: &'v Value, operators: &'v Value) -> &'v Value {
        let (user, operator) = (users.as_i64(), operators.as_i64());
        let is_users = match self.merge {
            Some(Merge::Least) => user < operator,
            Some(Merge::Most) => user > operator,
            Some(Merge::DeliveryLimit) if user.min(operator) < Some(0) => user > operator,
            Some(Merge::DeliveryLimit) => user < operator,
            Some(Merge::Operators) | None => false,
        };
        if is_users { users } else { operators }
    }
}

/// The key of that name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

fn is_within(value: &Value, least: i64, most: i64) -> bool {
    value.as_i64().is_some_and(|number| (least..=most).contains(&number))
}

fn is_count(value: &Value) -> bool {
    is_within(value, 0, i64::MAX)
}

fn is_time(value: &Value) -> bool {
    is_within(value, 0, TIME_MS_MAX)
}

fn is_name(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.len() <= SHORT_STRING_BYTES_MAX)
}

fn is_one_of(value: &Value, words: &[&str]) -> bool {
    value.as_str().is_some_and(|text| words.contains(&text))
}

fn is_overflow(value: &Value) -> bool {
    is_one_of(value, &["drop-head", "reject-publish", "reject-publish-dlx"])
}

fn is_retry_type(value: &Value) -> bool {
    is_one_of(value, &["disabled", "all", "failed", "returned"])
}

fn is_locator(value: &Value) -> bool {
    is_one_of(value, &["client-local", "balanced", "random", "least-leaders"])
}

fn is_durability(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.parse::<Durability>().is_ok())
}

/// A number and its unit: `7D`, `12h`.
fn is_age(value: &Value) -> bool {
    let number = value.as_str().and_then(|text| text.strip_suffix(['Y', 'M', 'D', 'h', 'm', 's']));
    number.is_some_and(|number| number.parse::<u64>().is_ok())
}
