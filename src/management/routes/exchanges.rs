//! Exchanges, and publishing to them.

use crate::broker::declare::{DeclareExchange, DeleteIf};
use crate::broker::{Outcome, Vhost};
use crate::management::statistics::Spans;
use crate::management::{Answer, Call, body::Body, error::Error, view};
use crate::message::{Message, Properties};
use crate::name::ExchangeName;
use crate::outbox::Wakes;
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use std::sync::Arc;

/// What the default exchange is called in paths, which have no empty parts.
const DEFAULT_EXCHANGE: &str = "amq.default";

/// The exchange that the path names.
pub(super) fn name(call: &Call, parameter: &str) -> ExchangeName {
    match call.parameter(parameter) {
        DEFAULT_EXCHANGE => "".into(),
        name => name.into(),
    }
}

pub(in crate::management) fn list(call: &Call) -> Result<Answer, Error> {
    let mut rows: Vec<(ExchangeName, Arc<Vhost>)> = Vec::new();
    for vhost in call.vhosts()? {
        let names = vhost.exchanges(|_, exchange| exchange.name.clone());
        rows.extend(names.into_iter().map(|name| (name, Arc::clone(&vhost))));
    }
    let spans = call.spans()?;
    call.list(
        rows,
        |(name, _)| name.as_str(),
        move |call, (name, vhost), _| {
            // Deleted since the list was made: then nothing is known of it but its name.
            let gone = || json!({ "name": name.as_str(), "vhost": vhost.name.as_str() });
            render(call, vhost, name, &spans).unwrap_or_else(gone)
        },
    )
}

pub(in crate::management) fn show(call: &Call) -> Result<Answer, Error> {
    let vhost = call.vhost()?;
    let mut object = render(call, &vhost, &name(call, "exchange"), &call.spans()?).ok_or(Error::NotFound)?;
    object["incoming"] = json!([]);
    object["outgoing"] = json!([]);
    call.object(object)
}

fn render(call: &Call, vhost: &Vhost, name: &ExchangeName, spans: &Spans) -> Option<Value> {
    let details = call.node.statistics.of_exchange(&vhost.name, name, spans);
    let topology = vhost.topology();
    Some(view::exchange::render(&vhost.name, topology.exchange(name.as_str())?, &details))
}

pub(in crate::management) fn put(call: &Call) -> Result<Answer, Error> {
    let session = call.session()?;
    let body = call.body()?;
    let declare = DeclareExchange {
        name: name(call, "exchange"),
        kind: body.text("type")?.unwrap_or("direct").to_owned(),
        durable: body.flag("durable")?,
        auto_delete: body.flag("auto_delete")?,
        internal: body.flag("internal")?,
        arguments: body.arguments("arguments")?,
    };
    let declared = call.node.broker.declare_exchange(&session, declare)?;
    Ok(Answer::put(call.settled(declared)?))
}

pub(in crate::management) fn delete(call: &Call) -> Result<Answer, Error> {
    let session = call.session()?;
    let condition = DeleteIf { unused: call.query.is_true("if-unused"), empty: false };
    let deleted = call.node.broker.delete_exchange(&session, &name(call, "exchange"), condition)?;
    if call.settled(deleted)? { Ok(Answer::Done) } else { Err(Error::NotFound) }
}

/// Publishes a message and says whether it reached a queue; answers once it is safe there.
pub(in crate::management) fn publish(call: &Call) -> Result<Answer, Error> {
    let mut session = call.session()?;
    let body = call.body()?;
    body.require(&["routing_key", "properties", "payload", "payload_encoding"])?;
    let mut raw = Vec::new();
    view::message::write_properties(&body, &mut raw)?;
    let properties = Properties::parse(&raw).map_err(|error| Error::BadRequest(error.to_string()))?;
    let routing_key = body.text("routing_key")?.unwrap_or_default().as_bytes();
    if routing_key.len() > crate::name::SHORT_STRING_BYTES_MAX {
        return Err(Error::BadRequest("routing_key is longer than 255 bytes".into()));
    }
    let payload = payload(&body)?;
    let message = Message::new(name(call, "exchange"), routing_key, &raw, &properties, &[&payload]);
    let message = Arc::new(message);
    let mut wakes = Wakes::default();
    let outcome = call.node.broker.publish::<Error>(&mut session, &message, None, &mut wakes)?;
    drop(wakes);
    match outcome {
        Outcome::SafeAt(at) => call.safe(at)?,
        // As RabbitMQ has it: whoever publishes here is told whether it was routed.
        Outcome::Unroutable => call.node.broker.count_unroutable(&session, &message.exchange, true),
        Outcome::Safe | Outcome::Rejected => {}
    }
    Ok(Answer::Json(json!({ "routed": outcome != Outcome::Unroutable })))
}

fn payload(body: &Body) -> Result<Vec<u8>, Error> {
    let text = body.text("payload")?.unwrap_or_default();
    match body.text("payload_encoding")? {
        Some("string") => Ok(text.as_bytes().to_vec()),
        Some("base64") => {
            BASE64_STANDARD.decode(text).map_err(|_| Error::BadRequest("payload is not valid base64".into()))
        }
        _ => Err(Error::BadRequest("payload_encoding must be string or base64".into())),
    }
}
