//! Delayed messages: the header `x-delay` (behaviour.md, 2.5). PURE.
//!
//! A message that an exchange delays waits in a queue of that exchange's own, with the delay as its expiration; what it
//! said of its expiration itself waits in a header. So whatever brings the queue back (a checkpoint, a record of the
//! journal) knows when the message is due.

use crate::arguments::{self, Table, Value};
use crate::message::{Message, Properties};
use crate::time::Millis;

/// How long to wait, in milliseconds.
pub const HEADER: &str = "x-delay";
/// The expiration that the message had.
const EXPIRATION: &str = "x-warren-expiration";
/// The longest delay: ten years, in milliseconds.
const MS_MAX: i64 = 315_360_000_000;

/// How long the message is to wait, in milliseconds; nothing if it is not.
///
/// `raw_headers` as [`Properties::headers`] has them. A delay that is negative says that the message has waited already.
pub fn of_headers(raw_headers: Option<&[u8]>) -> Option<u64> {
    of_table(&arguments::parse_table(raw_headers?).ok()?)
}

fn of_table(headers: &Table) -> Option<u64> {
    let ms = match arguments::get(headers, HEADER)? {
        Value::Float(ms) => *ms as i64,
        Value::Double(ms) => *ms as i64,
        value => arguments::as_integer(value).or_else(|| arguments::as_text(value)?.parse().ok())?,
    };
    u64::try_from(ms.min(MS_MAX)).ok().filter(|ms| *ms > 0)
}

/// The message as it waits.
pub fn held(message: &Message, delay_ms: u64) -> Message {
    let properties = message.properties();
    let delay = delay_ms.to_string();
    let headers = properties.expiration.map(|expiration| {
        let mut headers = properties.parse_headers().unwrap_or_default();
        headers.insert(EXPIRATION.into(), Value::LongString(expiration.into()));
        arguments::write_table(&headers)
    });
    let headers = headers.as_deref().or(properties.headers);
    let properties = Properties { headers, expiration: Some(delay.as_bytes()), ..properties };
    let mut raw = Vec::new();
    properties.write(&mut raw);
    message.with_properties(&raw)
}

/// The message as it goes on once it has waited: its delay is negative now, its expiration counts from now.
pub fn released(held: &Message, now: Millis) -> Message {
    let properties = held.properties();
    let mut headers = properties.parse_headers().unwrap_or_default();
    let expiration = arguments::get(&headers, EXPIRATION).and_then(arguments::as_text).map(str::to_owned);
    if expiration.is_some() {
        headers = arguments::without(&headers, EXPIRATION);
    }
    let waited = of_table(&headers).and_then(|ms| i64::try_from(ms).ok()).unwrap_or(0);
    let negative = negative(arguments::get(&headers, HEADER), waited);
    headers.insert(HEADER.into(), negative);
    let headers = arguments::write_table(&headers);
    let expiration = expiration.as_ref().map(String::as_bytes);
    let properties = Properties { headers: Some(&headers), expiration, ..properties };
    let mut raw = Vec::new();
    properties.write(&mut raw);
    held.with_properties(&raw).at(now)
}

/// The delay as a negative number, of the type that its publisher chose if that has negative ones: clients do not agree on
/// what the others mean.
fn negative(delay: Option<&Value>, ms: i64) -> Value {
    match delay {
        Some(Value::ShortShortInt(delay)) => Value::ShortShortInt(-delay),
        Some(Value::ShortInt(delay)) => Value::ShortInt(-delay),
        Some(Value::LongInt(delay)) => Value::LongInt(-delay),
        Some(Value::Float(delay)) => Value::Float(-delay),
        Some(Value::Double(delay)) => Value::Double(-delay),
        _ => i32::try_from(-ms).map_or(Value::LongLongInt(-ms), Value::LongInt),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(delay: Option<Value>, expiration: Option<&str>) -> Message {
        let mut headers = Table::default();
        headers.insert("mine".into(), Value::Boolean(true));
        if let Some(delay) = delay {
            headers.insert(HEADER.into(), delay);
        }
        let headers = arguments::write_table(&headers);
        let expiration = expiration.map(str::as_bytes);
        let properties = Properties { headers: Some(&headers), expiration, ..Properties::default() };
        let mut raw = Vec::new();
        properties.write(&mut raw);
        Message::new("x".into(), b"key", &raw, &properties, &[b"body"]).at(Millis(50))
    }

    fn of(value: Value) -> Option<u64> {
        of_headers(message(Some(value), None).properties().headers)
    }

    #[test]
    fn a_delay_is_a_positive_number_of_milliseconds() {
        assert_eq!(of(Value::LongInt(5)), Some(5));
        assert_eq!(of(Value::LongString("70".into())), Some(70));
        assert_eq!(of(Value::Double(7.9)), Some(7));
        assert_eq!(of(Value::LongLongInt(i64::MAX)), Some(MS_MAX as u64));
        let none = [Value::LongInt(0), Value::LongInt(-5), Value::LongString("soon".into()), Value::Void];
        assert_eq!(none.map(of), [None; 4]);
        assert_eq!(of_headers(None), None);
    }

    #[test]
    fn what_has_waited_is_a_negative_number_of_the_same_type_if_there_is_one() {
        let negative = |delay| {
            let released = released(&held(&message(Some(delay), None), 70), Millis(0));
            let headers = released.properties().parse_headers().unwrap();
            arguments::get(&headers, HEADER).unwrap().clone()
        };
        for (delay, expected) in [
            (Value::ShortShortInt(70), Value::ShortShortInt(-70)),
            (Value::ShortInt(70), Value::ShortInt(-70)),
            (Value::LongInt(70), Value::LongInt(-70)),
            (Value::Double(70.5), Value::Double(-70.5)),
            (Value::LongUInt(70), Value::LongInt(-70)),
            (Value::LongString("70".into()), Value::LongInt(-70)),
            (Value::LongLongInt(1 << 33), Value::LongLongInt(-(1 << 33))),
        ] {
            assert_eq!(negative(delay), expected);
        }
    }

    #[test]
    fn it_waits_for_its_delay_and_then_has_its_own_expiration_again() {
        for expiration in [None, Some("9")] {
            let original = message(Some(Value::LongInt(30)), expiration);
            let held = held(&original, 30);
            assert_eq!((held.time_to_live_ms(), held.received_at), (Some(30), Millis(50)));
            let released = released(&held, Millis(80));
            assert_eq!(released.properties().expiration, expiration.map(str::as_bytes));
            assert_eq!((released.received_at, released.body()), (Millis(80), &b"body"[..]));
            let headers = released.properties().parse_headers().unwrap();
            let mut expected = original.properties().parse_headers().unwrap();
            expected.insert(HEADER.into(), Value::LongInt(-30));
            assert_eq!(headers, expected);
            assert_eq!(of_headers(released.properties().headers), None);
        }
    }
}
