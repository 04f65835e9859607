//! Exchanges.

use super::fields::Wanted;
use super::stats::{self, Details, Figure, Group};
use super::{arguments, policy};
use crate::broker::topology::Exchange;
use crate::name::VhostName;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

/// What is sampled of an exchange.
pub(in crate::management) const FIGURES: [Figure; 2] =
    [("publish_in", Group::Messages), ("publish_out", Group::Messages)];

/// These of an exchange.
pub(in crate::management) fn sampled(exchange: &Exchange) -> [u64; FIGURES.len()] {
    let counters = &exchange.counters;
    [counters.published_in(), counters.published_out.load(Ordering::Relaxed)]
}

/// An exchange.
pub(in crate::management) fn render(vhost: &VhostName, exchange: &Exchange, details: &dyn Details) -> Value {
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
    if let Some(stats) =
        stats::message_stats(&stats::named(&FIGURES, &sampled(exchange)), details, &Wanted::All)
    {
        object["message_stats"] = stats;
    }
    object
}
