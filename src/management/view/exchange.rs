//! Exchanges.

use super::{arguments, policy, stats};
use crate::broker::topology::Exchange;
use crate::name::VhostName;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

/// An exchange.
pub(in crate::management) fn render(vhost: &VhostName, exchange: &Exchange) -> Value {
    let definition = &exchange.definition;
    let mut object = json!({
        "name": exchange.name.as_str(),
        "vhost": vhost.as_str(),
        "type": definition.kind,
        "durable": definition.durable,
        "auto_delete": definition.auto_delete,
        "internal": definition.internal,
        "arguments": arguments::from_table(&definition.arguments),
        "policy": policy::name(&exchange.policy().policy),
        "user_who_performed_action": "",
    });
    if exchange.delays() {
        object["messages_delayed"] = json!(exchange.delayed_count());
    }
    let published_in = exchange.counters.published_in();
    let published_out = exchange.counters.published_out.load(Ordering::Relaxed);
    if let Some(stats) = stats::message_stats(&[("publish_in", published_in), ("publish_out", published_out)])
    {
        object["message_stats"] = stats;
    }
    object
}
