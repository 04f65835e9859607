//! A file of definitions, as RabbitMQ writes it. PURE.

use super::{arguments, overview::COMPATIBLE_VERSION};
use crate::broker;
use crate::definition::{Destination, Vhost};
use serde_json::{Map, Value, json};

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
    pub(in crate::management) fn add_topology(&mut self, vhost: &broker::Vhost) {
        let name = vhost.name.as_str();
        let topology = vhost.topology();
        let (queues, exchanges, bindings) = (self.queues.len(), self.exchanges.len(), self.bindings.len());
        self.queues.extend(topology.queues().filter(|queue| queue.owner.is_none()).map(|queue| {
            json!({
                "name": queue.name.as_str(),
                "vhost": name,
                "type": queue.definition.kind,
                "durable": queue.definition.durable,
                "auto_delete": queue.definition.auto_delete,
                "arguments": arguments::from_table(&queue.definition.arguments),
            })
        }));
        let own = |exchange: &&broker::topology::Exchange| {
            !exchange.name.is_empty() && !exchange.name.as_str().starts_with(RESERVED)
        };
        self.exchanges.extend(topology.exchanges().filter(own).map(|exchange| {
            json!({
                "name": exchange.name.as_str(),
                "vhost": name,
                "type": exchange.definition.kind,
                "durable": exchange.definition.durable,
                "auto_delete": exchange.definition.auto_delete,
                "internal": exchange.definition.internal,
                "arguments": arguments::from_table(&exchange.definition.arguments),
            })
        }));
        let stays = |destination: &Destination| match destination {
            Destination::Queue(name) => {
                topology.queue(name.as_str()).is_some_and(|queue| queue.owner.is_none())
            }
            Destination::Exchange(_) => true,
        };
        self.bindings.extend(topology.bindings().filter(|binding| stays(&binding.destination)).map(
            |binding| {
                let mut rendered = super::binding::render(&vhost.name, binding);
                if let Some(fields) = rendered.as_object_mut() {
                    fields.remove("properties_key");
                }
                rendered
            },
        ));
        let by_text = |value: &Value| value.to_string();
        self.queues[queues..].sort_by_cached_key(by_text);
        self.exchanges[exchanges..].sort_by_cached_key(by_text);
        self.bindings[bindings..].sort_by_cached_key(by_text);
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
