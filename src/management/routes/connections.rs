//! Connections.

use crate::broker::connections::Connection;
use crate::event::Event;
use crate::management::statistics::Spans;
use crate::management::{Answer, Call, error::Error, view};
use axum::http::HeaderName;
use serde_json::Value;
use std::sync::Arc;

/// The header in which an operator says why a connection is closed.
const REASON: HeaderName = HeaderName::from_static("x-reason");
/// What the client is told when the operator says nothing.
const REASON_DEFAULT: &str = "Closed via management plugin";

/// The connections that the user may see: its own, or all when monitoring; by name.
pub(super) fn visible(call: &Call) -> Result<Vec<Arc<Connection>>, Error> {
    let user = call.user()?;
    let mut connections = call.node.broker.connections.all();
    if !user.tags.is_monitoring() {
        connections.retain(|connection| connection.user == user.name);
    }
    connections.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(connections)
}

/// The connection that the path names.
pub(super) fn find(call: &Call) -> Result<Arc<Connection>, Error> {
    let connection =
        call.node.broker.connections.find(call.parameter("connection")).ok_or(Error::NotFound)?;
    let user = call.user()?;
    let is_visible = user.tags.is_monitoring() || connection.user == user.name;
    if is_visible { Ok(connection) } else { Err(Error::AccessRefused) }
}

pub(in crate::management) fn list(call: &Call) -> Result<Answer, Error> {
    answer(call, visible(call)?)
}

pub(in crate::management) fn list_of_vhost(call: &Call) -> Result<Answer, Error> {
    let vhost = call.vhost()?;
    let mut connections = visible(call)?;
    connections.retain(|connection| connection.vhost == vhost.name);
    answer(call, connections)
}

pub(in crate::management) fn list_of_user(call: &Call) -> Result<Answer, Error> {
    answer(call, of_user(call)?)
}

fn of_user(call: &Call) -> Result<Vec<Arc<Connection>>, Error> {
    let mut connections = visible(call)?;
    connections.retain(|connection| connection.user.as_str() == call.parameter("user"));
    Ok(connections)
}

fn answer(call: &Call, connections: Vec<Arc<Connection>>) -> Result<Answer, Error> {
    let spans = call.spans()?;
    call.list(
        connections,
        |connection| &connection.name,
        move |call, connection, _| render(call, connection, &spans),
    )
}

pub(in crate::management) fn show(call: &Call) -> Result<Answer, Error> {
    call.object(render(call, &*find(call)?, &call.spans()?))
}

fn render(call: &Call, connection: &Connection, spans: &Spans) -> Value {
    let details = call.node.statistics.of_connection(connection.id, spans);
    view::connection::render(connection, &call.node.broker.node, &details)
}

/// Asks the client to close: 320 CONNECTION_FORCED.
pub(in crate::management) fn close(call: &Call) -> Result<Answer, Error> {
    close_one(call, &*find(call)?);
    Ok(Answer::Done)
}

pub(in crate::management) fn close_all_of_user(call: &Call) -> Result<Answer, Error> {
    of_user(call)?.iter().for_each(|connection| close_one(call, connection));
    Ok(Answer::Done)
}

fn close_one(call: &Call, connection: &Connection) {
    let reason = call.header(&REASON).filter(|reason| !reason.is_empty()).unwrap_or(REASON_DEFAULT);
    connection.outbox.push_and_wake(Event::Close(reason.to_owned()));
}

/// Sessions are AMQP 1.0's; a connection of AMQP 0-9-1 has none.
pub(in crate::management) fn list_sessions(call: &Call) -> Result<Answer, Error> {
    find(call)?;
    call.list(Vec::new(), |name: &String| name, |_, _, _| Value::Null)
}
