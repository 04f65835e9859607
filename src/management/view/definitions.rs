//! A file of definitions, as RabbitMQ writes it. PURE.

use super::{arguments, overview::COMPATIBLE_VERSION};
use crate::broker;
use crate::definition::{Destination, Vhost};
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// Names that begin so are the broker's own.
const RESERVED: &str = "amq.";

fn head(format: &str, explanation: String) -> Map<String, Value> {
    let fields = [
        ("rabbit_version", json!(COMPATIBLE_VERSION)),
        ("rabbitmq_version", json!(COMPATIBLE_VERSION)),
        ("product_name", json!("Warren")),
        ("product_version", json!(env!("CARGO_PKG_VERSION"))),
        ("rabbitmq_definition_format", json!(format)),
        ("explanation", json!(explanation)),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The head of a node's file.
pub(in crate::management) fn of_node(cluster: &str) -> Map<String, Value> {
    let mut file = head("cluster", format!("Definitions of cluster '{cluster}'"));
    file.insert("original_cluster_name".into(), cluster.into());
    file
}

/// The head of a vhost's file.
pub(in crate::management) fn of_vhost(name: &str, definition: &Vhost) -> Map<String, Value> {
    let mut file = head("single_virtual_host", format!("Definitions of virtual host '{name}'"));
    file.insert("original_vhost_name".into(), name.into());
    let Value::Object(vhost) = vhost(name, definition) else { return file };
    let said = vhost.into_iter().filter(|(key, _)| !matches!(key.as_str(), "name" | "limits"));
    file.extend(said);
    file
}

/// A vhost.
pub(in crate::management) fn vhost(name: &str, definition: &Vhost) -> Value {
    let mut metadata = json!({
        "description": definition.description,
        "tags": definition.tags,
        "protected_from_deletion": definition.protected_from_deletion,
    });
    let mut vhost = json!({
        "name": name,
        "description": definition.description,
        "tags": definition.tags,
        "tracing": definition.tracing,
        "protected_from_deletion": definition.protected_from_deletion,
        // They are parameters of the component vhost-limits.
        "limits": [],
    });
    if let Some(kind) = &definition.default_queue_type {
        (vhost["default_queue_type"], metadata["default_queue_type"]) = (json!(kind), json!(kind));
    }
    vhost["metadata"] = metadata;
    vhost
}

/// What vhosts have in them.
#[derive(Debug, Default)]
pub(in crate::management) struct Sections {
    pub(in crate::management) parameters: Vec<Value>,
    pub(in crate::management) policies: Vec<Value>,
    queues: Vec<Value>,
    exchanges: Vec<Value>,
    bindings: Vec<Value>,
}

impl Sections {
    /// Queues, exchanges and bindings: those that clients made, and that do not end with a connection.
    ///
    /// They are read one after the other: a binding that came after its queue was looked for is left out, so that what is
    /// in the file can be imported.
    pub(in crate::management) fn add_topology(&mut self, vhost: &broker::Vhost) {
        let name = vhost.name.as_str();
        let mut queues = vhost.queues();
        queues.retain(|queue| queue.owner.is_none());
        let own = vhost.exchanges(|_, exchange| {
            let is_own = !exchange.name.is_empty() && !exchange.name.as_str().starts_with(RESERVED);
            is_own.then(|| (exchange.name.clone(), exchange.definition.clone()))
        });
        let (known_queues, own): (HashSet<&str>, Vec<_>) =
            (queues.iter().map(|queue| queue.name.as_str()).collect(), own.into_iter().flatten().collect());
        let known_exchanges: HashSet<&str> = own.iter().map(|(name, _)| name.as_str()).collect();
        let has_exchange = |name: &str| name.starts_with(RESERVED) || known_exchanges.contains(name);
        let bindings = vhost.bindings().into_iter().filter(|binding| {
            has_exchange(binding.source.as_str())
                && match &binding.destination {
                    Destination::Queue(name) => known_queues.contains(name.as_str()),
                    Destination::Exchange(name) => has_exchange(name.as_str()),
                }
        });
        self.bindings.extend(bindings.map(|binding| {
            let mut rendered = super::binding::render(&vhost.name, &binding);
            if let Some(fields) = rendered.as_object_mut() {
                fields.remove("properties_key");
            }
            rendered
        }));
        self.queues.extend(queues.iter().map(|queue| {
            json!({
                "name": queue.name.as_str(),
                "vhost": name,
                "type": queue.definition.kind,
                "durable": queue.definition.durable,
                "auto_delete": queue.definition.auto_delete,
                "arguments": arguments::from_table(&queue.definition.arguments),
            })
        }));
        self.exchanges.extend(own.iter().map(|(exchange, definition)| {
            json!({
                "name": exchange.as_str(),
                "vhost": name,
                "type": definition.kind,
                "durable": definition.durable,
                "auto_delete": definition.auto_delete,
                "internal": definition.internal,
                "arguments": arguments::from_table(&definition.arguments),
            })
        }));
    }

    /// Adds them to a file.
    pub(in crate::management) fn insert_into(self, file: &mut Map<String, Value>) {
        for (section, objects) in [
            ("parameters", self.parameters),
            ("policies", self.policies),
            ("queues", self.queues),
            ("exchanges", self.exchanges),
            ("bindings", self.bindings),
        ] {
            file.insert(section.into(), objects.into());
        }
    }
}
