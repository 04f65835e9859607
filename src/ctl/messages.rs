//! Messages, one by one over the HTTP API: for trying things out, not for traffic.

use super::nouns::values::{self, Field, Kind, Need};
use super::{Command, Context, Failure, client, output::Rows, queues};
use clap::ArgMatches;
use serde_json::{Value, json};
use std::io::{self, Read};

pub(super) const PUBLISH: Command = Command {
    name: "publish",
    about: "Publish a message; without a payload it is read from standard input",
    arguments: |command| command.args(values::arguments(OF_PUBLISH.iter())),
    run: publish,
};

pub(super) const GET: Command = Command {
    name: "get",
    about: "Get messages from a queue; they stay in it unless --ack-mode says otherwise",
    arguments: |command| command.args(values::arguments(OF_GET.iter())),
    run: get,
};

const OF_PUBLISH: &[Field] = &[
    Field {
        option: "exchange",
        key: "exchange",
        kind: Kind::Text,
        need: Need::Default(""),
        help: "Where to; the default exchange if it is left out",
    },
    Field {
        option: "routing-key",
        key: "routing_key",
        kind: Kind::Text,
        need: Need::Default(""),
        help: "The routing key",
    },
    Field { option: "payload", key: "payload", kind: Kind::Text, need: Need::May, help: "The payload" },
    Field {
        option: "payload-encoding",
        key: "payload_encoding",
        kind: Kind::Text,
        need: Need::Default("string"),
        help: "string or base64",
    },
    Field {
        option: "properties",
        key: "properties",
        kind: Kind::Json,
        need: Need::Default("{}"),
        help: "Properties, as JSON",
    },
];

const OF_GET: &[Field] = &[
    Field { option: "queue", key: "queue", kind: Kind::Text, need: Need::Must, help: "The queue" },
    Field {
        option: "count",
        key: "count",
        kind: Kind::Number,
        need: Need::Default("1"),
        help: "How many at most",
    },
    Field {
        option: "ack-mode",
        key: "ackmode",
        kind: Kind::Text,
        need: Need::Default("ack_requeue_true"),
        help: "ack_requeue_true, ack_requeue_false, reject_requeue_true or reject_requeue_false",
    },
    Field {
        option: "encoding",
        key: "encoding",
        kind: Kind::Text,
        need: Need::Default("auto"),
        help: "auto or base64",
    },
    Field {
        option: "truncate",
        key: "truncate",
        kind: Kind::Number,
        need: Need::May,
        help: "Bytes of a payload at most",
    },
];

/// What is shown of a message.
const COLUMNS: [&str; 7] =
    ["routing_key", "exchange", "message_count", "payload", "payload_bytes", "redelivered", "properties"];

fn publish(context: &mut Context<'_>, arguments: &ArgMatches) -> Result<(), Failure> {
    let (mut values, vhost) = values::read(arguments, OF_PUBLISH, "message")?;
    if !values.contains_key("payload") {
        let mut payload = String::new();
        io::stdin().read_to_string(&mut payload).map_err(|error| {
            Failure::Data(format!("cannot read the payload ({error}); give bytes that are no text as base64"))
        })?;
        values.insert("payload".into(), json!(payload));
    }
    let vhost = vhost.unwrap_or_else(|| context.vhost.clone());
    let exchange = client::text_of(&values, "exchange").to_owned();
    let named = if exchange.is_empty() { "amq.default" } else { &exchange };
    let body = values::body(OF_PUBLISH, &values, |key| key == "exchange");
    context.vhost = vhost.clone();
    let answer = context.client.post(&["exchanges", &vhost, named, "publish"], &body);
    let answer = answer.map_err(|failure| {
        context.missing(failure, || {
            Failure::Data(format!(
                "exchange '{exchange}' does not exist in vhost '{vhost}'; `warrenctl list_exchanges` lists those that do"
            ))
        })
    })?;
    if context.output.format.is_json() {
        return Ok(writeln!(context.output.out, "{answer}")?);
    }
    context.output.note(match answer["routed"] == json!(true) {
        true => "The message is published.",
        false => "The message is published, but reached no queue: `warrenctl list_bindings` shows the routing keys.",
    })
}

fn get(context: &mut Context<'_>, arguments: &ArgMatches) -> Result<(), Failure> {
    let (values, vhost) = values::read(arguments, OF_GET, "messages")?;
    context.vhost = vhost.unwrap_or_else(|| context.vhost.clone());
    let queue = client::text_of(&values, "queue");
    let body = values::body(OF_GET, &values, |key| key == "queue");
    let got = context.client.post(&["queues", &context.vhost, queue, "get"], &body);
    let got = got.map_err(|failure| context.missing(failure, || queues::missing(queue, &context.vhost)))?;
    let messages = got.as_array().map(Vec::as_slice).unwrap_or_default();
    if context.output.format.is_json() {
        // With all that there is of them.
        let fields: Vec<&str> = messages
            .first()
            .and_then(Value::as_object)
            .map(|of| of.keys().map(String::as_str).collect())
            .unwrap_or_default();
        return write(context, &fields, messages);
    }
    write(context, &COLUMNS, messages)
}

fn write(context: &mut Context<'_>, fields: &[&str], messages: &[Value]) -> Result<(), Failure> {
    let mut rows = Rows::new(&mut context.output, fields);
    let cells = |message: &Value| fields.iter().map(|field| message[*field].clone()).collect();
    rows.write(messages.iter().map(cells).collect())?;
    Ok(rows.finish()?)
}
