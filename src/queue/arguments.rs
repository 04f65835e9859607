//! The arguments a queue may be declared with: how each is checked, which queue types know it, and whether it must be
//! the same when the queue is declared again. Arguments that are not listed are stored and shown. What they and the
//! policies make of a queue is [`Settings`](super::settings::Settings).

use crate::arguments::{self, Table, Value};
use crate::dedup;
use crate::durability::Durability;

/// The longest time an argument may give: ten years, in milliseconds.
const TIME_MS_MAX: i64 = 315_360_000_000;

/// What is wrong with a value. Client libraries and people grep RabbitMQ's texts, so all kinds are its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Of the right type, or RabbitMQ says it so; the reason.
    Value(String),
    /// Of this type, which is not the right one.
    Type(&'static str),
    /// No argument of queues of this type, by RabbitMQ's name for it.
    QueueType(&'static str),
}

/// A type of queue, as far as arguments go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// `classic`.
    #[default]
    Classic,
    /// `quorum`.
    Quorum,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 2] = [Kind::Classic, Kind::Quorum];

    /// As clients name it in `x-queue-type`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Classic => "classic",
            Kind::Quorum => "quorum",
        }
    }

    /// The type of that name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// RabbitMQ's name for it in error texts.
    pub fn module(self) -> &'static str {
        match self {
            Kind::Classic => "rabbit_classic_queue",
            Kind::Quorum => "rabbit_quorum_queue",
        }
    }
}

/// A known argument.
#[derive(Clone, Copy, Debug)]
pub struct Argument {
    /// Its name.
    pub name: &'static str,
    /// Whether declaring again with another value is refused.
    pub is_compared: bool,
    /// The types that know it.
    kinds: &'static [Kind],
    /// What is wrong with the value, in RabbitMQ's words.
    check: fn(&Value, &Table) -> Result<(), Fault>,
}

const BOTH: &[Kind] = &Kind::ALL;
const CLASSIC: &[Kind] = &[Kind::Classic];
const QUORUM: &[Kind] = &[Kind::Quorum];
/// RabbitMQ's streams have it.
const NEITHER: &[Kind] = &[];

/// All known arguments.
pub const ARGUMENTS: &[Argument] = &[
    compared("x-expires", BOTH, |value, _| integer(value, 1, TIME_MS_MAX)),
    compared("x-message-ttl", BOTH, |value, _| integer(value, 0, TIME_MS_MAX)),
    compared("x-dead-letter-exchange", BOTH, |value, _| exchange_name(value)),
    compared("x-dead-letter-routing-key", BOTH, dead_letter_routing_key),
    compared("x-dead-letter-strategy", BOTH, |value, _| one_of(value, &["at-most-once", "at-least-once"])),
    compared("x-max-length", BOTH, |value, _| integer(value, 0, i64::MAX)),
    compared("x-max-length-bytes", BOTH, |value, _| integer(value, 0, i64::MAX)),
    compared("x-max-priority", CLASSIC, |value, _| max_priority(value)),
    compared("x-overflow", BOTH, |value, _| overflow(value)),
    compared("x-single-active-consumer", BOTH, |value, _| boolean(value)),
    compared("x-delivery-limit", BOTH, |value, _| integer(value, i64::MIN, i64::MAX)),
    compared("x-queue-type", BOTH, |value, _| text(value).map(drop)),
    compared("x-durability", BOTH, |value, _| durability(value)),
    compared("x-consumer-timeout", BOTH, |value, _| integer(value, 0, TIME_MS_MAX)),
    compared("x-delayed-retry-type", BOTH, |value, _| {
        one_of(value, &["disabled", "all", "failed", "returned"])
    }),
    compared("x-delayed-retry-min", BOTH, |value, _| integer(value, 0, TIME_MS_MAX)),
    compared("x-delayed-retry-max", BOTH, |value, _| integer(value, 0, TIME_MS_MAX)),
    compared("x-message-deduplication", BOTH, |value, _| boolean(value)),
    compared("x-cache-size", BOTH, |value, _| integer(value, 1, dedup::SIZE_MAX)),
    compared("x-cache-ttl", BOTH, |value, _| integer(value, 1, TIME_MS_MAX)),
    compared("x-deduplication-header", BOTH, |value, _| text(value).map(drop)),
    accepted("x-queue-mode", CLASSIC, |value, _| one_of(value, &["default", "lazy"])),
    accepted("x-queue-version", CLASSIC, |value, _| integer(value, 1, 2)),
    accepted("x-queue-master-locator", CLASSIC, |value, _| text(value).map(drop)),
    accepted("x-queue-leader-locator", BOTH, |value, _| {
        one_of(value, &["client-local", "balanced", "random", "least-leaders"])
    }),
    accepted("x-quorum-initial-group-size", QUORUM, |value, _| integer(value, 1, i64::MAX)),
    accepted("x-quorum-target-group-size", QUORUM, |value, _| integer(value, 1, i64::MAX)),
    accepted("x-member-placement-tag", QUORUM, |value, _| text(value).map(drop)),
    accepted("x-max-in-memory-length", QUORUM, |value, _| integer(value, 0, i64::MAX)),
    accepted("x-max-in-memory-bytes", QUORUM, |value, _| integer(value, 0, i64::MAX)),
    accepted("x-consumer-disconnected-timeout", QUORUM, |value, _| integer(value, 0, TIME_MS_MAX)),
    accepted("x-max-age", NEITHER, |_, _| Ok(())),
    accepted("x-stream-max-segment-size-bytes", NEITHER, |_, _| Ok(())),
    accepted("x-stream-filter-size-bytes", NEITHER, |_, _| Ok(())),
    accepted("x-initial-cluster-size", NEITHER, |_, _| Ok(())),
];

type Check = fn(&Value, &Table) -> Result<(), Fault>;

const fn compared(name: &'static str, kinds: &'static [Kind], check: Check) -> Argument {
    Argument { name, is_compared: true, kinds, check }
}

const fn accepted(name: &'static str, kinds: &'static [Kind], check: Check) -> Argument {
    Argument { name, is_compared: false, kinds, check }
}

/// Checks all known arguments of a table.
///
/// # Errors
/// The first bad one, and why.
pub fn check(kind: Kind, table: &Table) -> Result<(), (&'static str, Fault)> {
    let given =
        || ARGUMENTS.iter().filter_map(|argument| Some((argument, arguments::get(table, argument.name)?)));
    for (argument, _) in given() {
        if !argument.kinds.contains(&kind) {
            return Err((argument.name, Fault::QueueType(kind.module())));
        }
    }
    for (argument, value) in given() {
        (argument.check)(value, table).map_err(|fault| (argument.name, fault))?;
    }
    Ok(())
}

fn unacceptable(value: &Value) -> Fault {
    Fault::Value(format!("{{unacceptable_type,{}}}", arguments::type_name(value)))
}

/// What RabbitMQ says of a value that should be an integer; also for a consumer's priority.
pub fn no_integer(value: &Value) -> String {
    format!("\"expected integer, got {}\"", arguments::type_name(value))
}

fn integer(value: &Value, least: i64, most: i64) -> Result<(), Fault> {
    let number = arguments::as_integer(value).ok_or_else(|| Fault::Value(no_integer(value)))?;
    match number {
        0 if least > 0 => Err(Fault::Value("{value_zero,0}".into())),
        _ if number < least => Err(Fault::Value(format!("{{value_negative,{number}}}"))),
        _ if number > most => Err(Fault::Value(format!("{{value_too_large,{number}}}"))),
        _ => Ok(()),
    }
}

fn max_priority(value: &Value) -> Result<(), Fault> {
    match arguments::as_integer(value) {
        Some(number) if number > 255 => Err(Fault::Value(format!("{{max_value_exceeded,{number}}}"))),
        _ => integer(value, 0, 255),
    }
}

fn text(value: &Value) -> Result<&str, Fault> {
    arguments::as_text(value).ok_or_else(|| unacceptable(value))
}

fn boolean(value: &Value) -> Result<(), Fault> {
    if matches!(value, Value::Boolean(_)) { Ok(()) } else { Err(unacceptable(value)) }
}

fn exchange_name(value: &Value) -> Result<(), Fault> {
    arguments::as_text(value).map(drop).ok_or_else(|| Fault::Type(arguments::type_name(value)))
}

fn overflow(value: &Value) -> Result<(), Fault> {
    match text(value)? {
        "drop-head" | "reject-publish" | "reject-publish-dlx" => Ok(()),
        _ => Err(Fault::Value("invalid_overflow".into())),
    }
}

fn durability(value: &Value) -> Result<(), Fault> {
    let text = text(value)?;
    let fault = |_| Fault::Value(format!("{{invalid_value,\"{text}\"}}; expected sync, interval(MS) or os"));
    text.parse::<Durability>().map(drop).map_err(fault)
}

fn one_of(value: &Value, names: &[&str]) -> Result<(), Fault> {
    let name = text(value)?;
    if names.contains(&name) {
        return Ok(());
    }
    Err(Fault::Value(format!("{{invalid_value,\"{name}\"}}; expected {}", names.join(" or "))))
}

fn dead_letter_routing_key(value: &Value, table: &Table) -> Result<(), Fault> {
    text(value)?;
    match arguments::get(table, "x-dead-letter-exchange") {
        Some(_) => Ok(()),
        None => Err(Fault::Value("routing_key_but_no_dlx_defined".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(name: &str, value: Value) -> Option<String> {
        let mut table = Table::default();
        table.insert(name.into(), value);
        check(Kind::Classic, &table).err().map(|(_, fault)| match fault {
            Fault::Value(reason) => reason,
            Fault::Type(kind) | Fault::QueueType(kind) => format!("type {kind}"),
        })
    }

    #[test]
    fn values_out_of_range_or_of_another_type_are_named() {
        assert_eq!(reason("x-expires", Value::LongInt(0)).as_deref(), Some("{value_zero,0}"));
        assert_eq!(reason("x-message-ttl", Value::LongInt(-1)).as_deref(), Some("{value_negative,-1}"));
        let long = Value::LongString("soon".into());
        assert_eq!(reason("x-expires", long).as_deref(), Some("\"expected integer, got longstr\""));
        assert_eq!(
            reason("x-max-priority", Value::LongInt(256)).as_deref(),
            Some("{max_value_exceeded,256}")
        );
        let key = Value::LongString("key".into());
        let expected = Some("routing_key_but_no_dlx_defined");
        assert_eq!(reason("x-dead-letter-routing-key", key).as_deref(), expected);
        assert_eq!(reason("x-overflow", Value::LongString("drop-head".into())), None);
        assert_eq!(reason("x-dead-letter-exchange", Value::LongInt(1)).as_deref(), Some("type signedint"));
        assert_eq!(reason("x-overflow", Value::LongString("x".into())).as_deref(), Some("invalid_overflow"));
        assert_eq!(reason("x-whatever", Value::Void), None);
        let durability = |text: &str| reason("x-durability", Value::LongString(text.into()));
        let expected = "{invalid_value,\"fsync\"}; expected sync, interval(MS) or os";
        assert_eq!((durability("fsync").as_deref(), durability("interval(50)")), (Some(expected), None));
        assert_eq!(
            reason("x-durability", Value::LongInt(5)).as_deref(),
            Some("{unacceptable_type,signedint}")
        );
    }
}
