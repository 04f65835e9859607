//! Messages and their properties, out of a queue and into an exchange.

use super::arguments;
use crate::arguments::Table;
use crate::management::{body::Body, error::Error};
use crate::message::{Message, Properties};
use crate::queue::classic::Taken;
use amq_protocol::{frame::WriteContext, types::generation::gen_field_table};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};

/// A message that was taken from a queue. Its payload is text where it is UTF-8, unless base64 is wanted.
pub(in crate::management) fn render(taken: &Taken, is_base64: bool, truncate: Option<usize>) -> Value {
    let message = &taken.message;
    let body = message.body();
    let shown = &body[..body.len().min(truncate.unwrap_or(usize::MAX))];
    let (payload, encoding) = match std::str::from_utf8(shown) {
        Ok(text) if !is_base64 => (text.to_owned(), "string"),
        _ => (BASE64_STANDARD.encode(shown), "base64"),
    };
    json!({
        "payload_bytes": body.len(),
        "redelivered": taken.redelivered,
        "exchange": message.exchange.as_str(),
        "routing_key": String::from_utf8_lossy(message.routing_key()),
        "message_count": taken.ready_left,
        "properties": properties(message),
        "payload": payload,
        "payload_encoding": encoding,
    })
}

/// The properties that are set. RabbitMQ writes none as an empty list, and its clients expect that.
fn properties(message: &Message) -> Value {
    let properties = message.properties();
    let mut fields = Map::new();
    for (name, value) in properties.texts() {
        if let Some(value) = value {
            fields.insert(name.to_owned(), json!(String::from_utf8_lossy(value)));
        }
    }
    let numbers = [
        ("delivery_mode", properties.delivery_mode.map(u64::from)),
        ("priority", properties.priority.map(u64::from)),
        ("timestamp", properties.timestamp),
    ];
    fields.extend(numbers.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value?)))));
    if properties.headers.is_some() {
        let headers = properties.parse_headers().unwrap_or_default();
        fields.insert("headers".to_owned(), arguments::from_table(&headers));
    }
    if fields.is_empty() { json!([]) } else { Value::Object(fields) }
}

/// Writes the field `properties` of a request as a property list.
///
/// # Errors
/// 400 for values of other types than the properties have; names that no property has are passed over.
pub(in crate::management) fn write_properties(body: &Body, out: &mut Vec<u8>) -> Result<(), Error> {
    let fields = body.object("properties")?;
    let text = |name: &str| {
        let text = fields.text(name)?.map(str::as_bytes);
        match text {
            Some(text) if text.len() > crate::name::SHORT_STRING_BYTES_MAX => {
                Err(Error::BadRequest(format!("{name} is longer than 255 bytes")))
            }
            text => Ok(text),
        }
    };
    let octet = |name: &str| {
        let octet = fields.number(name)?.map(u8::try_from).transpose();
        octet.map_err(|_| Error::BadRequest(format!("{name} must be a number from 0 to 255")))
    };
    let headers = match fields.get("headers") {
        Some(_) => Some(table_bytes(&fields.arguments("headers")?)?),
        None => None,
    };
    Properties {
        content_type: text("content_type")?,
        content_encoding: text("content_encoding")?,
        headers: headers.as_deref(),
        delivery_mode: octet("delivery_mode")?,
        priority: octet("priority")?,
        correlation_id: text("correlation_id")?,
        reply_to: text("reply_to")?,
        expiration: text("expiration")?,
        message_id: text("message_id")?,
        timestamp: fields.number("timestamp")?,
        kind: text("type")?,
        user_id: text("user_id")?,
        app_id: text("app_id")?,
        cluster_id: text("cluster_id")?,
    }
    .write(out);
    Ok(())
}

/// A table as it stands in a property list.
fn table_bytes(table: &Table) -> Result<Vec<u8>, Error> {
    let written = gen_field_table(table)(WriteContext::from(Vec::new()));
    let written =
        written.map_err(|error| Error::BadRequest(format!("headers cannot be written: {error}")))?;
    Ok(written.into_inner().0)
}
