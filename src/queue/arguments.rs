//! The arguments a queue may be declared with: how each is checked, and whether it must be the same when the queue is
//! declared again. Arguments that are not listed are stored and shown.

use super::state::Shape;
use crate::arguments::{self, Table, Value};
use crate::durability::Durability;

/// The longest time an argument may give: ten years, in milliseconds.
const TIME_MS_MAX: i64 = 315_360_000_000;

/// What is wrong with a value. Client libraries and people grep RabbitMQ's texts, so both kinds are its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Of the right type, or RabbitMQ says it so; the reason.
    Value(String),
    /// Of this type, which is not the right one.
    Type(&'static str),
}

/// A known argument.
#[derive(Clone, Copy, Debug)]
pub struct Argument {
    /// Its name.
    pub name: &'static str,
    /// Whether declaring again with another value is refused.
    pub is_compared: bool,
    /// What is wrong with the value, in RabbitMQ's words.
    check: fn(&Value, &Table) -> Result<(), Fault>,
}

/// All known arguments.
pub const ARGUMENTS: &[Argument] = &[
    compared("x-expires", |value, _| integer(value, 1, TIME_MS_MAX)),
    compared("x-message-ttl", |value, _| integer(value, 0, TIME_MS_MAX)),
    compared("x-dead-letter-exchange", |value, _| exchange_name(value)),
    compared("x-dead-letter-routing-key", dead_letter_routing_key),
    compared("x-dead-letter-strategy", |value, _| one_of(value, &["at-most-once", "at-least-once"])),
    compared("x-max-length", |value, _| integer(value, 0, i64::MAX)),
    compared("x-max-length-bytes", |value, _| integer(value, 0, i64::MAX)),
    compared("x-max-priority", |value, _| integer(value, 0, 255)),
    compared("x-overflow", |value, _| overflow(value)),
    compared("x-single-active-consumer", |value, _| boolean(value)),
    compared("x-delivery-limit", |value, _| integer(value, i64::MIN, i64::MAX)),
    compared("x-queue-type", |value, _| text(value).map(drop)),
    compared("x-durability", |value, _| durability(value)),
    accepted("x-queue-mode", |value, _| one_of(value, &["default", "lazy"])),
    accepted("x-queue-version", |value, _| integer(value, 1, 2)),
];

const fn compared(name: &'static str, check: fn(&Value, &Table) -> Result<(), Fault>) -> Argument {
    Argument { name, is_compared: true, check }
}

const fn accepted(name: &'static str, check: fn(&Value, &Table) -> Result<(), Fault>) -> Argument {
    Argument { name, is_compared: false, check }
}

/// What the arguments make of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Priorities and consumers.
    pub shape: Shape,
    /// How long a message may stay, in milliseconds.
    pub message_ttl_ms: Option<u64>,
    /// When a publisher is told that its message is safe; none = as the node says.
    pub durability: Option<Durability>,
}

impl Settings {
    /// Of a table that [`check`] has accepted.
    pub fn of(table: &Table) -> Self {
        let number = |name| arguments::get(table, name).and_then(arguments::as_integer);
        let priority = number("x-max-priority").and_then(|number| u8::try_from(number).ok());
        let single = arguments::get(table, "x-single-active-consumer") == Some(&Value::Boolean(true));
        Self {
            shape: Shape { max_priority: priority.unwrap_or(0), single_active: single, ..Shape::default() },
            message_ttl_ms: number("x-message-ttl").and_then(|number| u64::try_from(number).ok()),
            durability: arguments::get(table, "x-durability")
                .and_then(arguments::as_text)
                .and_then(|text| text.parse().ok()),
        }
    }
}

/// Checks all known arguments of a table.
///
/// # Errors
/// The first bad one, and why.
pub fn check(table: &Table) -> Result<(), (&'static str, Fault)> {
    for argument in ARGUMENTS {
        if let Some(value) = arguments::get(table, argument.name) {
            (argument.check)(value, table).map_err(|fault| (argument.name, fault))?;
        }
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
        check(&table).err().map(|(_, fault)| match fault {
            Fault::Value(reason) => reason,
            Fault::Type(kind) => format!("type {kind}"),
        })
    }

    #[test]
    fn values_out_of_range_or_of_another_type_are_named() {
        assert_eq!(reason("x-expires", Value::LongInt(0)).as_deref(), Some("{value_zero,0}"));
        assert_eq!(reason("x-message-ttl", Value::LongInt(-1)).as_deref(), Some("{value_negative,-1}"));
        let long = Value::LongString("soon".into());
        assert_eq!(reason("x-expires", long).as_deref(), Some("\"expected integer, got longstr\""));
        assert_eq!(reason("x-max-priority", Value::LongInt(256)).as_deref(), Some("{value_too_large,256}"));
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
