//! Arguments and headers: field tables as JSON and back. PURE.

use crate::{
    arguments::{Table, Value as Field, json},
    management::error::Error,
};
use serde_json::{Map, Value, json};

/// A table as a JSON object.
///
/// What JSON cannot say is said as well as it can: bytes that are no UTF-8 are replaced, numbers that are none are null.
pub(in crate::management) fn from_table(table: &Table) -> Value {
    let fields = table.inner().iter().map(|(key, field)| (key.as_str().to_owned(), from_field(field)));
    Value::Object(fields.collect())
}

/// A field as JSON.
pub(in crate::management) fn from_field(field: &Field) -> Value {
    match field {
        Field::Boolean(value) => json!(value),
        Field::ShortShortInt(value) => json!(value),
        Field::ShortShortUInt(value) => json!(value),
        Field::ShortInt(value) => json!(value),
        Field::ShortUInt(value) => json!(value),
        Field::LongInt(value) => json!(value),
        Field::LongUInt(value) => json!(value),
        Field::LongLongInt(value) => json!(value),
        Field::Timestamp(value) => json!(value),
        Field::Float(value) => json!(value),
        Field::Double(value) => json!(value),
        Field::DecimalValue(value) => json!(f64::from(value.value) / 10f64.powi(i32::from(value.scale))),
        Field::ShortString(value) => json!(value.as_str()),
        Field::LongString(value) => json!(String::from_utf8_lossy(value.as_bytes())),
        Field::ByteArray(value) => json!(String::from_utf8_lossy(value.as_slice())),
        Field::FieldArray(values) => values.as_slice().iter().map(from_field).collect(),
        Field::FieldTable(table) => from_table(table),
        Field::Void => Value::Null,
    }
}

/// A JSON object as a table.
///
/// # Errors
/// 400 for what a table cannot hold.
pub(in crate::management) fn to_table(object: &Map<String, Value>) -> Result<Table, Error> {
    json::to_table(object).map_err(|error| Error::BadRequest(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::{self, DEPTH_MAX, LongString};

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn json_becomes_a_table_with_rabbitmqs_types_and_comes_back_as_it_was() {
        let json = json!({
            "b": true, "d": 1.5, "l": 60000, "n": -1, "s": "text", "v": null, "a": [1, "x", {"y": false}], "t": {"k": []}
        });
        let table = to_table(&object(json.clone())).unwrap();
        let types = |key| arguments::type_name(arguments::get(&table, key).unwrap());
        assert_eq!(
            ["b", "d", "l", "n", "s", "v", "a", "t"].map(types),
            ["bool", "double", "long", "long", "longstr", "void", "array", "table"]
        );
        assert_eq!(from_table(&table), json);
    }

    #[test]
    fn every_type_of_field_has_a_json_value() {
        for (field, expected) in [
            (Field::ShortShortInt(-1), json!(-1)),
            (Field::ShortShortUInt(200), json!(200)),
            (Field::LongUInt(u32::MAX), json!(u32::MAX)),
            (Field::Timestamp(7), json!(7)),
            (Field::Float(0.5), json!(0.5)),
            (Field::Double(f64::NAN), Value::Null),
            (Field::LongString(LongString::from(&b"a\xff"[..])), json!("a\u{fffd}")),
            (Field::Void, Value::Null),
        ] {
            assert_eq!(from_field(&field), expected);
        }
    }

    #[test]
    fn what_no_table_can_hold_is_refused() {
        assert!(to_table(&object(json!({ "k".repeat(256): 1 }))).is_err());
        assert!(to_table(&object(json!({ "k": u64::MAX }))).is_err());
        let nested = |levels: usize| (0..levels).fold(json!(1), |value, _| json!([value]));
        assert!(to_table(&object(json!({ "k": nested(DEPTH_MAX - 1) }))).is_ok());
        assert!(to_table(&object(json!({ "k": nested(DEPTH_MAX) }))).is_err());
    }
}
