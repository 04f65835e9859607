//! The body of a request: an object, with typed access to its fields. PURE.

use super::{error::Error, view};
use crate::arguments::Table;
use serde_json::{Map, Value};

/// A request's JSON object; an empty body is an empty one.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Body(Map<String, Value>);

impl Body {
    /// # Errors
    /// 400 for what is no JSON object.
    pub(super) fn parse(bytes: &[u8]) -> Result<Body, Error> {
        if bytes.is_empty() {
            return Ok(Body::default());
        }
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(fields)) => Ok(Body(fields)),
            _ => Err(Error::BadRequest("not_json".into())),
        }
    }

    /// The field, unless it is missing or null.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    /// # Errors
    /// 400 naming those of the keys that are missing.
    pub(super) fn require(&self, keys: &[&str]) -> Result<(), Error> {
        let missing: Vec<String> = keys
            .iter()
            .filter(|key| !self.0.contains_key(**key))
            .map(|key| format!("{{key_missing,{key}}}"))
            .collect();
        if missing.is_empty() { Ok(()) } else { Err(Error::BadRequest(format!("[{}]", missing.join(",")))) }
    }

    /// The text, if there is one.
    /// # Errors
    /// 400 for another kind of value.
    pub(super) fn text(&self, key: &str) -> Result<Option<&str>, Error> {
        let text = |value: &Value| value.as_str().is_none().then(|| wrong(key, "a string"));
        self.get(key).and_then(text).map_or(Ok(()), Err)?;
        Ok(self.get(key).and_then(Value::as_str))
    }

    /// The truth value, false when it is missing. Older tools write it as a text.
    /// # Errors
    /// 400 for another kind of value.
    pub(super) fn flag(&self, key: &str) -> Result<bool, Error> {
        match self.get(key) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(Value::String(text)) if text == "true" || text == "false" => Ok(text == "true"),
            Some(_) => Err(wrong(key, "true or false")),
        }
    }

    /// The whole number, if there is one.
    /// # Errors
    /// 400 for another kind of value.
    pub(super) fn number(&self, key: &str) -> Result<Option<u64>, Error> {
        let number = |value: &Value| {
            let from_text = || value.as_str().and_then(|text| text.parse().ok());
            value.as_u64().or_else(from_text).ok_or_else(|| wrong(key, "a whole number"))
        };
        self.get(key).map(number).transpose()
    }

    /// The objects of a list, empty when it is missing.
    /// # Errors
    /// 400 for another kind of value.
    pub(super) fn objects(&self, key: &str) -> Result<Vec<Body>, Error> {
        let object = |item: &Value| match item {
            Value::Object(fields) => Ok(Body(fields.clone())),
            _ => Err(wrong(key, "a list of objects")),
        };
        match self.get(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => items.iter().map(object).collect(),
            Some(_) => Err(wrong(key, "a list of objects")),
        }
    }

    /// The object, empty when it is missing. RabbitMQ also takes an empty list for an empty object.
    /// # Errors
    /// 400 for another kind of value.
    pub(super) fn object(&self, key: &str) -> Result<Body, Error> {
        match self.get(key) {
            None => Ok(Body::default()),
            Some(Value::Object(fields)) => Ok(Body(fields.clone())),
            Some(Value::Array(items)) if items.is_empty() => Ok(Body::default()),
            Some(_) => Err(wrong(key, "an object")),
        }
    }

    /// The arguments, empty when they are missing.
    /// # Errors
    /// 400 for another kind of value, or one that no table can hold.
    pub(super) fn arguments(&self, key: &str) -> Result<Table, Error> {
        view::arguments::to_table(&self.object(key)?.0)
    }

    /// Tags: a list of texts, or one text with commas; none when they are missing.
    /// # Errors
    /// 400 for another kind of value.
    pub(super) fn tags(&self, key: &str) -> Result<Option<Vec<String>>, Error> {
        let tags = |value: &Value| match value {
            Value::String(text) => Ok(text.split(',').map(|tag| tag.trim().to_owned()).collect::<Vec<_>>()),
            Value::Array(items) => items
                .iter()
                .map(|item| item.as_str().map(str::to_owned).ok_or_else(|| wrong(key, "a list of strings")))
                .collect(),
            _ => Err(wrong(key, "a list of strings")),
        };
        let tags = self.get(key).map(tags).transpose()?;
        Ok(tags.map(|tags| tags.into_iter().filter(|tag| !tag.is_empty()).collect()))
    }
}

fn wrong(key: &str, expected: &str) -> Error {
    Error::BadRequest(format!("{key} must be {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str) -> Body {
        Body::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn only_objects_and_nothing_are_bodies() {
        assert_eq!(body(""), body("{}"));
        for text in ["[]", "1", "nonsense", "{\"a\":", "\u{feff}{}"] {
            assert_eq!(Body::parse(text.as_bytes()), Err(Error::BadRequest("not_json".into())), "{text}");
        }
    }

    #[test]
    fn fields_are_read_by_their_types() {
        let body = body(
            r#"{"t": "x", "f": true, "s": "false", "n": 5, "m": "6", "z": null, "a": "b, c", "l": ["d"]}"#,
        );
        assert_eq!((body.text("t"), body.text("z"), body.text("-")), (Ok(Some("x")), Ok(None), Ok(None)));
        assert_eq!((body.flag("f"), body.flag("s"), body.flag("-")), (Ok(true), Ok(false), Ok(false)));
        assert_eq!(
            (body.number("n"), body.number("m"), body.number("-")),
            (Ok(Some(5)), Ok(Some(6)), Ok(None))
        );
        assert_eq!(body.tags("a"), Ok(Some(vec!["b".into(), "c".into()])));
        assert_eq!((body.tags("l"), body.tags("-")), (Ok(Some(vec!["d".into()])), Ok(None)));
        let reason = |outcome: Result<bool, Error>| outcome.unwrap_err().to_string();
        assert_eq!(reason(body.flag("n")), "n must be true or false");
        assert_eq!(reason(body.text("n").map(|_| true)), "n must be a string");
        assert_eq!(reason(body.arguments("n").map(|_| true)), "n must be an object");
    }

    #[test]
    fn missing_keys_are_named_together() {
        let missing = body(r#"{"configure": ""}"#).require(&["configure", "write", "read"]);
        assert_eq!(missing.unwrap_err().to_string(), "[{key_missing,write},{key_missing,read}]");
    }
}
