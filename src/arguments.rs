//! Field tables: the bounded check of their bytes, their values, how they compare and how they are written in errors. PURE.
//!
//! The values are `amq-protocol`'s types. Its table parser recurses without a limit, so nobody calls it but
//! [`parse_table`], which scans the bytes first with a bound on depth. What a table *means* (a queue's arguments, a
//! binding's) is its reader's business.

pub mod json;

pub use amq_protocol::types::{AMQPValue as Value, FieldTable as Table, LongString, ShortString};

use amq_protocol::frame::WriteContext;
use amq_protocol::types::generation::gen_field_table;
use amq_protocol::types::parsing::parse_field_table;

/// How deep tables and arrays may nest. RabbitMQ has no bound; a client that nests deeper is broken or hostile.
pub const DEPTH_MAX: usize = 64;

/// Why bytes are no field table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// A length points beyond the bytes there are.
    #[error("truncated field table")]
    Truncated,
    /// A value's type is none of those RabbitMQ knows.
    #[error("unknown field value type {0:?}")]
    UnknownType(char),
    /// Nested deeper than [`DEPTH_MAX`].
    #[error("field table nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// A field's name is not UTF-8.
    #[error("field name is not valid UTF-8")]
    BadName,
}

/// Checks the table at the start of `bytes` (with its four bytes of length) and returns how many bytes it takes.
///
/// # Errors
/// Any [`TableError`]. What passes here parses without recursion deeper than [`DEPTH_MAX`].
pub fn check_table(bytes: &[u8]) -> Result<usize, TableError> {
    check_fields(sized(bytes)?, 1)?;
    Ok(4 + sized(bytes)?.len())
}

/// Parses the table at the start of `bytes`.
///
/// # Errors
/// Any [`TableError`].
pub fn parse_table(bytes: &[u8]) -> Result<Table, TableError> {
    let length = check_table(bytes)?;
    match parse_field_table(&bytes[..length]) {
        Ok((_, table)) => Ok(table),
        Err(_) => Err(TableError::Truncated),
    }
}

/// A table as its bytes, with their four bytes of length.
pub fn write_table(table: &Table) -> Vec<u8> {
    let written = gen_field_table(table)(WriteContext::from(Vec::new()));
    // A buffer in memory takes everything.
    written.map_or_else(|_| vec![0; 4], |context| context.into_inner().0)
}

/// The bytes behind a four-byte length at the start of `bytes`.
fn sized(bytes: &[u8]) -> Result<&[u8], TableError> {
    let (head, rest) = bytes.split_first_chunk::<4>().ok_or(TableError::Truncated)?;
    rest.get(..u32::from_be_bytes(*head) as usize).ok_or(TableError::Truncated)
}

fn check_fields(mut bytes: &[u8], depth: usize) -> Result<(), TableError> {
    if depth > DEPTH_MAX {
        return Err(TableError::TooDeep);
    }
    while let Some((&length, rest)) = bytes.split_first() {
        let name = rest.get(..length as usize).ok_or(TableError::Truncated)?;
        if std::str::from_utf8(name).is_err() {
            return Err(TableError::BadName);
        }
        bytes = check_value(&rest[length as usize..], depth)?;
    }
    Ok(())
}

fn check_values(mut bytes: &[u8], depth: usize) -> Result<(), TableError> {
    if depth > DEPTH_MAX {
        return Err(TableError::TooDeep);
    }
    while !bytes.is_empty() {
        bytes = check_value(bytes, depth)?;
    }
    Ok(())
}

/// Checks one typed value and returns the bytes behind it.
fn check_value(bytes: &[u8], depth: usize) -> Result<&[u8], TableError> {
    let (&kind, rest) = bytes.split_first().ok_or(TableError::Truncated)?;
    let length = match kind {
        b't' | b'b' | b'B' => 1,
        b's' | b'u' | b'U' => 2,
        b'I' | b'i' | b'f' => 4,
        b'D' => 5,
        b'l' | b'L' | b'd' | b'T' => 8,
        b'V' => 0,
        b'S' | b'x' => 4 + sized(rest)?.len(),
        b'F' => {
            check_fields(sized(rest)?, depth + 1)?;
            4 + sized(rest)?.len()
        }
        b'A' => {
            check_values(sized(rest)?, depth + 1)?;
            4 + sized(rest)?.len()
        }
        other => return Err(TableError::UnknownType(other as char)),
    };
    rest.get(length..).ok_or(TableError::Truncated)
}

/// The value under `key`.
pub fn get<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    table.inner().get(key)
}

/// A copy of `table` without `key`.
pub fn without(table: &Table, key: &str) -> Table {
    let mut fields = table.inner().clone();
    fields.remove(key);
    Table::from(fields)
}

/// The value as an integer, whatever its width.
pub fn as_integer(value: &Value) -> Option<i64> {
    Some(match value {
        Value::ShortShortInt(v) => i64::from(*v),
        Value::ShortShortUInt(v) => i64::from(*v),
        Value::ShortInt(v) => i64::from(*v),
        Value::ShortUInt(v) => i64::from(*v),
        Value::LongInt(v) => i64::from(*v),
        Value::LongUInt(v) => i64::from(*v),
        Value::LongLongInt(v) => *v,
        _ => return None,
    })
}

/// The value as a text, if it is a string of valid UTF-8.
pub fn as_text(value: &Value) -> Option<&str> {
    match value {
        Value::LongString(text) => std::str::from_utf8(text.as_bytes()).ok(),
        Value::ShortString(text) => Some(text.as_str()),
        _ => None,
    }
}

/// Whether two values are the same to RabbitMQ: integers of any width are one class, so are floating point numbers.
pub fn equivalent(left: &Value, right: &Value) -> bool {
    if let (Some(left), Some(right)) = (as_integer(left), as_integer(right)) {
        return left == right;
    }
    match (left, right) {
        (Value::Float(l), Value::Double(r)) => f64::from(*l) == *r,
        (Value::Double(l), Value::Float(r)) => *l == f64::from(*r),
        (Value::FieldArray(l), Value::FieldArray(r)) => {
            let (left, right) = (l.as_slice(), r.as_slice());
            left.len() == right.len() && left.iter().zip(right).all(|(l, r)| equivalent(l, r))
        }
        (Value::FieldTable(l), Value::FieldTable(r)) => equivalent_tables(l, r),
        (left, right) => match (as_text(left), as_text(right)) {
            (Some(left), Some(right)) => left == right,
            _ => left == right,
        },
    }
}

/// Whether two tables have the same keys with [`equivalent`] values.
pub fn equivalent_tables(left: &Table, right: &Table) -> bool {
    let (left, right) = (left.inner(), right.inner());
    left.len() == right.len()
        && left.iter().all(|(key, value)| right.get(key).is_some_and(|other| equivalent(value, other)))
}

/// RabbitMQ's word for a value's type, as its error texts have it.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Boolean(_) => "bool",
        Value::ShortShortInt(_) => "byte",
        Value::ShortShortUInt(_) => "unsignedbyte",
        Value::ShortInt(_) => "short",
        Value::ShortUInt(_) => "unsignedshort",
        Value::LongInt(_) => "signedint",
        Value::LongUInt(_) => "unsignedint",
        Value::LongLongInt(_) => "long",
        Value::Float(_) => "float",
        Value::Double(_) => "double",
        Value::DecimalValue(_) => "decimal",
        Value::ShortString(_) | Value::LongString(_) => "longstr",
        Value::FieldArray(_) => "array",
        Value::Timestamp(_) => "timestamp",
        Value::FieldTable(_) => "table",
        Value::ByteArray(_) => "binary",
        Value::Void => "void",
    }
}

/// A value as RabbitMQ's error texts have it: `the value '60000' of type 'signedint'`, or `none`.
pub fn describe(value: Option<&Value>) -> String {
    match value {
        None => "none".into(),
        Some(value) => format!("the value '{}' of type '{}'", plain(value), type_name(value)),
    }
}

/// A text as RabbitMQ's error texts have it where they show a term: `<<"text">>`.
pub fn binary(text: &str) -> String {
    match text {
        "" => "<<>>".into(),
        _ if text.is_ascii() => format!("<<{text:?}>>"),
        _ => format!("<<{text:?}/utf8>>"),
    }
}

/// A value as RabbitMQ's error texts have it where they show a term.
pub fn term(value: &Value) -> String {
    as_text(value).map_or_else(|| plain(value), binary)
}

/// A value as a plain text.
pub fn plain(value: &Value) -> String {
    if let Some(number) = as_integer(value) {
        return number.to_string();
    }
    match value {
        Value::Boolean(v) => v.to_string(),
        Value::Float(v) => v.to_string(),
        Value::Double(v) => v.to_string(),
        Value::Timestamp(v) => v.to_string(),
        Value::LongString(v) => String::from_utf8_lossy(v.as_bytes()).into_owned(),
        Value::ShortString(v) => v.to_string(),
        other => format!("{other:?}"),
    }
}
