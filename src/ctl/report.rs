//! `report`: all that one has to know of a broker to help with it, in one text. Passwords are not in it.

use super::{Command, Context, Failure, client, configuration, output::Format, output::Rows, status};
use serde_json::Value;

pub(super) const REPORT: Command = Command {
    name: "report",
    about: "Print everything that helps to find a fault, without passwords",
    arguments: |command| command,
    run: report,
};

/// A list: its heading, its path in the API, and the fields that are shown.
struct Section {
    title: &'static str,
    path: &'static [&'static str],
    fields: &'static [&'static str],
}

const SECTIONS: &[Section] = &[
    Section {
        title: "vhosts",
        path: &["vhosts"],
        fields: &["name", "description", "tags", "default_queue_type", "tracing", "messages"],
    },
    Section { title: "vhost limits", path: &["vhost-limits"], fields: &["vhost", "value"] },
    Section { title: "users", path: &["users"], fields: &["name", "tags"] },
    Section { title: "user limits", path: &["user-limits"], fields: &["user", "value"] },
    Section {
        title: "permissions",
        path: &["permissions"],
        fields: &["vhost", "user", "configure", "write", "read"],
    },
    Section {
        title: "connections",
        path: &["connections"],
        fields: &[
            "name",
            "user",
            "vhost",
            "state",
            "channels",
            "protocol",
            "auth_mechanism",
            "timeout",
            "frame_max",
            "send_pend",
            "connected_at",
            "client_properties.product",
            "client_properties.version",
        ],
    },
    Section {
        title: "channels",
        path: &["channels"],
        fields: &[
            "name",
            "user",
            "vhost",
            "state",
            "consumer_count",
            "messages_unacknowledged",
            "messages_unconfirmed",
            "messages_uncommitted",
            "prefetch_count",
            "confirm",
            "transactional",
        ],
    },
    Section {
        title: "consumers",
        path: &["consumers"],
        fields: &[
            "queue.vhost",
            "queue.name",
            "consumer_tag",
            "channel_details.name",
            "ack_required",
            "prefetch_count",
            "active",
            "arguments",
        ],
    },
    Section {
        title: "queues",
        path: &["queues"],
        fields: &[
            "vhost",
            "name",
            "type",
            "durable",
            "auto_delete",
            "exclusive",
            "arguments",
            "policy",
            "operator_policy",
            "state",
            "messages_ready",
            "messages_unacknowledged",
            "message_bytes",
            "memory",
            "consumers",
        ],
    },
    Section {
        title: "exchanges",
        path: &["exchanges"],
        fields: &["vhost", "name", "type", "durable", "auto_delete", "internal", "arguments", "policy"],
    },
    Section {
        title: "bindings",
        path: &["bindings"],
        fields: &["vhost", "source", "destination", "destination_type", "routing_key", "arguments"],
    },
    Section { title: "policies", path: &["policies"], fields: OF_POLICY },
    Section { title: "operator policies", path: &["operator-policies"], fields: OF_POLICY },
    Section {
        title: "runtime parameters",
        path: &["parameters"],
        fields: &["vhost", "component", "name", "value"],
    },
    Section { title: "global parameters", path: &["global-parameters"], fields: &["name", "value"] },
    Section { title: "feature flags", path: &["feature-flags"], fields: &["name", "state"] },
    Section {
        title: "deprecated features in use",
        path: &["deprecated-features", "used"],
        fields: &["name", "deprecation_phase"],
    },
];

const OF_POLICY: &[&str] = &["vhost", "name", "pattern", "apply-to", "priority", "definition"];

/// The sections one behind the other; for scripts an object of them. What the user may not see is said, and the rest
/// follows.
fn report(context: &mut Context<'_>, _: &clap::ArgMatches) -> Result<(), Failure> {
    let facts = status::ask(context)?;
    let is_json = context.output.format.is_json();
    if is_json {
        context.output.format = Format::Json;
        write!(context.output.out, "{{\"status\": ")?;
    } else {
        writeln!(context.output.out, "warrenctl {}", env!("CARGO_PKG_VERSION"))?;
        head(context, "status")?;
    }
    status::print(context, facts, None)?;
    head(context, "environment")?;
    match configuration::effective(context) {
        Ok(settings) => configuration::list(context, &without_passwords(settings), &[])?,
        Err(failure) => left_out(context, failure)?,
    }
    for section in SECTIONS {
        head(context, section.title)?;
        list(context, section)?;
    }
    if is_json {
        writeln!(context.output.out, "}}")?;
    }
    Ok(())
}

/// The heading of a section, or its name.
fn head(context: &mut Context<'_>, title: &str) -> Result<(), Failure> {
    let out = &mut context.output.out;
    match context.output.format {
        Format::Json => write!(out, ",\"{}\": ", title.replace(' ', "_"))?,
        _ => writeln!(out, "\n## {title}\n")?,
    }
    Ok(())
}

fn left_out(context: &mut Context<'_>, failure: Failure) -> Result<(), Failure> {
    // What cannot be reached any more, or written, ends it.
    if !matches!(failure, Failure::AccessRefused { .. } | Failure::NotFound(_)) {
        return Err(failure);
    }
    let text = format!("left out: {failure}");
    match context.output.format {
        Format::Json => writeln!(context.output.out, "{}", Value::from(text))?,
        _ => writeln!(context.output.out, "{text}")?,
    }
    Ok(())
}

fn list(context: &mut Context<'_>, section: &Section) -> Result<(), Failure> {
    let asked = section.fields.join(",");
    let mut pages = context.client.pages(section.path, &asked);
    // Before anything is written: it may not be for this user.
    let first = match pages.next() {
        Some(Err(failure)) => {
            drop(pages);
            return left_out(context, failure);
        }
        first => first,
    };
    let mut rows = Rows::new(&mut context.output, section.fields);
    for page in first.into_iter().chain(pages) {
        let cells = |object: &Value| {
            section.fields.iter().map(|field| without_passwords(client::at(object, field).clone())).collect()
        };
        rows.write(page?.iter().map(cells).collect())?;
    }
    Ok(rows.finish()?)
}

/// The same without the passwords of URIs, which parameters and arguments may have.
fn without_passwords(value: Value) -> Value {
    match value {
        Value::String(text) => Value::from(without_password(&text)),
        Value::Array(items) => items.into_iter().map(without_passwords).collect(),
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(name, value)| (name, without_passwords(value))).collect())
        }
        other => other,
    }
}

fn without_password(text: &str) -> String {
    let mut rest = text;
    let mut clean = String::new();
    while let Some((before, behind)) = rest.split_once("://") {
        clean += before;
        clean += "://";
        let end = behind.find(['/', '?', '#', ' ', '"', ',']).unwrap_or(behind.len());
        let (authority, after) = behind.split_at(end);
        match authority.rsplit_once('@').map(|(login, host)| (login.split_once(':'), host)) {
            Some((Some((user, _)), host)) => clean += &format!("{user}:[redacted]@{host}"),
            _ => clean += authority,
        }
        rest = after;
    }
    clean + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn uris_lose_their_passwords_wherever_they_are() {
        for (text, expected) in [
            ("amqp://u:p@h:5672/%2F", "amqp://u:[redacted]@h:5672/%2F"),
            ("amqp://u:p@ss@h", "amqp://u:[redacted]@h"),
            ("amqp://u:p@h,amqps://v:q@i", "amqp://u:[redacted]@h,amqps://v:[redacted]@i"),
            ("amqp://h/x@y:z", "amqp://h/x@y:z"),
            ("a:b@c", "a:b@c"),
        ] {
            assert_eq!(without_password(text), expected);
        }
        let value = json!({"src-uri": ["amqp://u:p@h"], "n": 1});
        assert_eq!(without_passwords(value), json!({"src-uri": ["amqp://u:[redacted]@h"], "n": 1}));
    }
}
