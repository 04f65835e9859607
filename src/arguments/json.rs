//! JSON as field tables. PURE.

use super::{DEPTH_MAX, LongString, ShortString, Table, Value as Field};
use serde_json::{Map, Value};

/// What a table cannot hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error("a key is longer than 255 bytes")]
    LongKey,
    #[error("{0} is beyond 64 bits")]
    Number(String),
    #[error("nested deeper than {DEPTH_MAX} levels")]
    Deep,
}

/// A JSON object as a table, with the types that RabbitMQ gives: `long`, `double`, `bool`, `longstr`.
///
/// # Errors
/// For keys above 255 bytes, numbers beyond 64 bits, and nesting deeper than tables may have.
pub fn to_table(object: &Map<String, Value>) -> Result<Table, Error> {
    table_at(object, 1)
}

fn table_at<'a>(
    fields: impl IntoIterator<Item = (&'a String, &'a Value)>,
    depth: usize,
) -> Result<Table, Error> {
    if depth > DEPTH_MAX {
        return Err(Error::Deep);
    }
    let mut table = Table::default();
    for (key, value) in fields {
        let name = ShortString::try_new(key.as_str()).map_err(|_| Error::LongKey)?;
        table.insert(name, field_at(value, depth)?);
    }
    Ok(table)
}

fn field_at(value: &Value, depth: usize) -> Result<Field, Error> {
    Ok(match value {
        Value::Null => Field::Void,
        Value::Bool(value) => Field::Boolean(*value),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Field::LongLongInt(integer),
            (None, Some(double)) if number.is_f64() => Field::Double(double),
            _ => return Err(Error::Number(number.to_string())),
        },
        Value::String(text) => Field::LongString(LongString::from(text.as_bytes())),
        Value::Array(_) if depth >= DEPTH_MAX => return Err(Error::Deep),
        Value::Array(values) => {
            let fields: Result<Vec<Field>, Error> =
                values.iter().map(|value| field_at(value, depth + 1)).collect();
            Field::FieldArray(fields?.into())
        }
        Value::Object(fields) => Field::FieldTable(table_at(fields, depth + 1)?),
    })
}

/// A JSON value as a field; void, where a field cannot hold it.
pub fn to_field(value: &Value) -> Field {
    field_at(value, 1).unwrap_or(Field::Void)
}
