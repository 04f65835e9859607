//! `enabled_plugins`: the list that RabbitMQ keeps of its plugins, and what of it is in Warren.

use super::layers::{Finding, Origin, Verdict};
use std::path::Path;

/// A plugin of RabbitMQ, and what became of it here.
const PLUGINS: &[(&str, Verdict, &str)] = &[
    ("rabbitmq_management", Verdict::Fine, "part of Warren: the HTTP API"),
    ("rabbitmq_management_agent", Verdict::Fine, "part of Warren: the HTTP API"),
    ("rabbitmq_prometheus", Verdict::Fine, "part of Warren: see prometheus.tcp.port"),
    ("rabbitmq_event_exchange", Verdict::Fine, "part of Warren: events go to amq.rabbitmq.event"),
    (
        "rabbitmq_consistent_hash_exchange",
        Verdict::Fine,
        "part of Warren: the exchange type x-consistent-hash",
    ),
    ("rabbitmq_random_exchange", Verdict::Fine, "part of Warren: the exchange type x-random"),
    ("rabbitmq_recent_history_exchange", Verdict::Fine, "part of Warren: the exchange type x-recent-history"),
    (
        "rabbitmq_delayed_message_exchange",
        Verdict::Fine,
        "part of Warren: the exchange type x-delayed-message",
    ),
    ("rabbitmq_message_deduplication", Verdict::Fine, "part of Warren: x-message-deduplication"),
    (
        "rabbitmq_tracing",
        Verdict::Ignored,
        "the firehose is part of Warren; trace files are not: consume from amq.rabbitmq.trace",
    ),
    ("rabbitmq_top", Verdict::Ignored, "Erlang: there are no processes to list"),
    ("rabbitmq_peer_discovery_*", Verdict::Ignored, "clustering: there is one node"),
    (
        "rabbitmq_sharding",
        Verdict::Warning,
        "the exchange type x-modulus-hash is part of Warren; the queues of shards are not made by a policy",
    ),
    ("rabbitmq_jms_topic_exchange", Verdict::Warning, "not in Warren: declaring x-jms-topic fails"),
    (
        "rabbitmq_federation*",
        Verdict::Warning,
        "not in Warren: upstreams are kept, and nothing is fetched from them",
    ),
    ("rabbitmq_shovel*", Verdict::Warning, "not in Warren: shovels are kept, and nothing is moved by them"),
    ("rabbitmq_mqtt", Verdict::Warning, "not in Warren: clients of MQTT cannot connect"),
    ("rabbitmq_web_mqtt*", Verdict::Warning, "not in Warren: clients of MQTT over WebSockets cannot connect"),
    ("rabbitmq_stomp", Verdict::Warning, "not in Warren: clients of STOMP cannot connect"),
    (
        "rabbitmq_web_stomp*",
        Verdict::Warning,
        "not in Warren: clients of STOMP over WebSockets cannot connect",
    ),
    ("rabbitmq_stream*", Verdict::Warning, "not in Warren: clients of the stream protocol cannot connect"),
    ("rabbitmq_amqp1_0", Verdict::Warning, "not in Warren: clients of AMQP 1.0 cannot connect"),
    (
        "rabbitmq_auth_*",
        Verdict::Warning,
        "not in Warren: logins are checked against the users of this node only",
    ),
    ("rabbitmq_trust_store", Verdict::Warning, "not in Warren: there is no TLS in this version"),
];

/// What is to be said of each plugin in that file. One that is not there lists none.
pub(super) fn read(path: &Path, findings: &mut Vec<Finding>) {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            let text = format!("cannot read the list of plugins: {error}");
            findings.push(Finding::of_place(Origin::File(path.to_owned()), Verdict::Warning, text));
            return;
        }
    };
    let text = text.lines().map(|line| line.split('%').next().unwrap_or_default());
    // The file ends with a full stop, and its list stands in brackets; names have quotes or none.
    for (index, line) in text.enumerate() {
        let names = line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        for name in names.filter(|name| !name.is_empty()) {
            let (verdict, text) = known(name);
            findings.push(Finding::new(Origin::Line(path.to_owned(), index + 1), verdict, name, text));
        }
    }
}

fn known(name: &str) -> (Verdict, &'static str) {
    let fits = |pattern: &str| match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    };
    let known = PLUGINS.iter().find(|(pattern, ..)| fits(pattern));
    known.map_or((Verdict::Warning, "not in Warren"), |(_, verdict, text)| (*verdict, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plugin_of_the_list_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("enabled_plugins");
        std::fs::write(&path, "%% mine, [not_this]\n[rabbitmq_management,'rabbitmq_mqtt',\n rabbitmq_web_mqtt_examples,my_own].\n").unwrap();
        let mut findings = Vec::new();
        read(&path, &mut findings);
        let found: Vec<_> = findings.iter().map(|finding| (finding.key.as_str(), finding.verdict)).collect();
        assert_eq!(
            found,
            [
                ("rabbitmq_management", Verdict::Fine),
                ("rabbitmq_mqtt", Verdict::Warning),
                ("rabbitmq_web_mqtt_examples", Verdict::Warning),
                ("my_own", Verdict::Warning),
            ]
        );
        assert_eq!(findings[2].origin, Origin::Line(path, 3));
    }

    #[test]
    fn a_list_that_cannot_be_read_is_told() {
        let mut findings = Vec::new();
        read(Path::new("/nowhere/enabled_plugins"), &mut findings);
        assert_eq!((findings.len(), findings[0].verdict), (1, Verdict::Warning));
    }
}
