//! A message as a line of JSON, and back. PURE.
//!
//! `properties` is for people and other programs; `properties_base64` has the bytes as the publisher sent them, and is
//! what counts when a line is read: JSON has neither the types of AMQP's headers nor bytes that are no text.

use crate::arguments::{Table, Value as Field};
use crate::message::{Message, Properties};
use crate::name::{ExchangeName, SHORT_STRING_BYTES_MAX};
use crate::time::Millis;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Why a line is no message.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum LineError {
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("{field} is no base64: {error}")]
    Base64 { field: &'static str, error: base64::DecodeError },
    #[error("properties_base64 holds no properties: {0}")]
    Properties(#[from] crate::message::PropertiesError),
    #[error("it has properties and no properties_base64, which is what is read")]
    OnlyForPeople,
    #[error("{0} is longer than 255 bytes")]
    TooLong(&'static str),
}

/// A message, and what became of it in its queue.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) message: Message,
    pub(super) is_delivered: bool,
    pub(super) returns: u16,
    pub(super) failures: u16,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    exchange: String,
    #[serde(default)]
    routing_key: String,
    /// Instead, when the key is no UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    routing_key_base64: Option<String>,
    #[serde(default)]
    properties: Map<String, Value>,
    #[serde(default)]
    properties_base64: Option<String>,
    body_base64: String,
    #[serde(default)]
    redelivered: bool,
    #[serde(default)]
    returns: u16,
    /// How often of these its consumer had failed.
    #[serde(default, skip_serializing_if = "is_zero")]
    failures: u16,
    /// The broker itself wrote what its headers say of its deaths.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    dead_letter: bool,
    published_at: u64,
}

impl Line {
    pub(super) fn to_json(&self) -> String {
        let message = &self.message;
        let key = message.routing_key();
        let text = std::str::from_utf8(key).ok();
        let fields = Fields {
            exchange: message.exchange.as_str().into(),
            routing_key: text.unwrap_or_default().into(),
            routing_key_base64: text.is_none().then(|| BASE64.encode(key)),
            properties: for_people(&message.properties()),
            properties_base64: Some(BASE64.encode(message.raw_properties())),
            body_base64: BASE64.encode(message.body()),
            redelivered: self.is_delivered,
            returns: self.returns,
            failures: self.failures,
            dead_letter: message.is_dead_letter,
            published_at: message.received_at.0,
        };
        // Its keys are texts and its numbers finite or null: nothing of it can fail.
        serde_json::to_string(&fields).unwrap_or_default()
    }

    /// # Errors
    /// Any [`LineError`].
    pub(super) fn from_json(text: &str) -> Result<Self, LineError> {
        let fields: Fields = serde_json::from_str(text)?;
        let raw = match &fields.properties_base64 {
            Some(text) => decode("properties_base64", text)?,
            None if fields.properties.is_empty() => vec![0, 0],
            None => return Err(LineError::OnlyForPeople),
        };
        let parsed = Properties::parse(&raw)?;
        let key = match &fields.routing_key_base64 {
            Some(text) => decode("routing_key_base64", text)?,
            None => fields.routing_key.into_bytes(),
        };
        if key.len() > SHORT_STRING_BYTES_MAX {
            return Err(LineError::TooLong("routing_key"));
        }
        let exchange = ExchangeName::checked(&fields.exchange).map_err(|_| LineError::TooLong("exchange"))?;
        let body = decode("body_base64", &fields.body_base64)?;
        let message = Message::new(exchange, &key, &raw, &parsed, &[&body]).at(Millis(fields.published_at));
        let message = if fields.dead_letter { message.as_dead_letter() } else { message };
        let (is_delivered, returns, failures) = (fields.redelivered, fields.returns, fields.failures);
        Ok(Self { message, is_delivered, returns, failures })
    }
}

// serde wants a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(count: &u16) -> bool {
    *count == 0
}

fn decode(field: &'static str, text: &str) -> Result<Vec<u8>, LineError> {
    BASE64.decode(text).map_err(|error| LineError::Base64 { field, error })
}

fn text(bytes: &[u8]) -> Value {
    json!(String::from_utf8_lossy(bytes))
}

/// The properties under the names that the HTTP API has for them.
fn for_people(properties: &Properties<'_>) -> Map<String, Value> {
    let headers = properties.headers.map(|_| table(&properties.parse_headers().unwrap_or_default()));
    let fields = [
        ("content_type", properties.content_type.map(text)),
        ("content_encoding", properties.content_encoding.map(text)),
        ("headers", headers),
        ("delivery_mode", properties.delivery_mode.map(Value::from)),
        ("priority", properties.priority.map(Value::from)),
        ("correlation_id", properties.correlation_id.map(text)),
        ("reply_to", properties.reply_to.map(text)),
        ("expiration", properties.expiration.map(text)),
        ("message_id", properties.message_id.map(text)),
        ("timestamp", properties.timestamp.map(Value::from)),
        ("type", properties.kind.map(text)),
        ("user_id", properties.user_id.map(text)),
        ("app_id", properties.app_id.map(text)),
        ("cluster_id", properties.cluster_id.map(text)),
    ];
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn table(table: &Table) -> Value {
    Value::Object(table.inner().iter().map(|(key, value)| (key.as_str().to_owned(), field(value))).collect())
}

fn field(value: &Field) -> Value {
    match value {
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
        Field::DecimalValue(value) => json!({"scale": value.scale, "value": value.value}),
        Field::ShortString(value) => json!(value.as_str()),
        Field::LongString(value) => text(value.as_bytes()),
        Field::ByteArray(value) => text(value.as_slice()),
        Field::FieldArray(values) => values.as_slice().iter().map(field).collect(),
        Field::FieldTable(inner) => table(inner),
        Field::Void => Value::Null,
    }
}
