//! The page for people who point a browser at the port.

use crate::management::{Answer, Call, error::Error};

/// What this is and how to connect.
pub(in crate::management) fn show(call: &Call) -> Result<Answer, Error> {
    let amqp = call.node.listeners.iter().find(|listener| listener.protocol == "amqp");
    let port = amqp.map_or(5672, |listener| listener.address.port());
    let version = env!("CARGO_PKG_VERSION");
    Ok(Answer::Html(format!(
        "<!DOCTYPE html>
<html lang=\"en\">
<head><meta charset=\"utf-8\"><title>Warren</title></head>
<body>
<h1>Warren {version}</h1>
<p>An AMQP 0-9-1 message broker. Clients of RabbitMQ connect to it as they are:
<code>amqp://guest:guest@localhost:{port}/</code> (the user <code>guest</code> only from this machine).</p>
<p>This port serves RabbitMQ's management HTTP API: try <a href=\"/api/overview\">/api/overview</a>
with the user's name and password, or <code>warrenctl status</code>.</p>
</body>
</html>
"
    )))
}
