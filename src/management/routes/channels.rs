//! Channels.

use super::connections;
use crate::broker::connections::{Channel, Connection};
use crate::management::statistics::Spans;
use crate::management::{Answer, Call, error::Error, view};
use crate::name::ChannelId;
use std::sync::Arc;

/// A channel with its connection and its name.
type Row = (Arc<Connection>, Channel, String);

fn rows(connections: &[Arc<Connection>]) -> Vec<Row> {
    let mut rows = Vec::new();
    for connection in connections {
        let mut channels = connection.channels.lock().clone();
        channels.sort_by_key(|channel| channel.id);
        rows.extend(channels.into_iter().map(|channel| {
            let name = view::connection::channel_name(connection, channel.id);
            (Arc::clone(connection), channel, name)
        }));
    }
    rows
}

fn answer(call: &Call, rows: Vec<Row>) -> Result<Answer, Error> {
    let spans = call.spans()?;
    call.list(
        rows,
        |(_, _, name)| name.as_str(),
        move |call, (connection, channel, _), _| render(call, connection, channel, &spans),
    )
}

pub(in crate::management) fn list(call: &Call) -> Result<Answer, Error> {
    answer(call, rows(&connections::visible(call)?))
}

pub(in crate::management) fn list_of_vhost(call: &Call) -> Result<Answer, Error> {
    let vhost = call.vhost()?;
    let mut connections = connections::visible(call)?;
    connections.retain(|connection| connection.vhost == vhost.name);
    answer(call, rows(&connections))
}

pub(in crate::management) fn list_of_connection(call: &Call) -> Result<Answer, Error> {
    answer(call, rows(&[connections::find(call)?]))
}

pub(in crate::management) fn show(call: &Call) -> Result<Answer, Error> {
    let wanted = call.parameter("channel");
    let row = rows(&connections::visible(call)?).into_iter().find(|(_, _, name)| name == wanted);
    let (connection, channel, _) = row.ok_or(Error::NotFound)?;
    let mut object = render(call, &connection, &channel, &call.spans()?);
    let consumers = super::consumers::of_channel(call, &connection, channel.id)?;
    object["consumer_details"] = consumers.into();
    object["publishes"] = serde_json::json!([]);
    object["deliveries"] = serde_json::json!([]);
    call.object(object)
}

fn render(call: &Call, connection: &Connection, channel: &Channel, spans: &Spans) -> serde_json::Value {
    let details = call.node.statistics.of_channel(connection.id, channel.id, spans);
    view::connection::channel(connection, channel, &call.node.broker.node, &details)
}

/// What is shown of the channel of a consumer.
pub(super) fn details(call: &Call, connection: &Connection, channel: ChannelId) -> serde_json::Value {
    view::connection::channel_details(connection, channel, &call.node.broker.node)
}
