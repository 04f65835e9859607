//! Exchanges.

use super::fields::Wanted;
use super::stats::{self, Details, Figure, Group};
use super::{arguments, policy};
use crate::broker::topology::Exchange;
use crate::name::VhostName;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

/// What is sampled of an exchange: what went through it, and what its publishers were told, which is shown of vhosts.
pub(in crate::management) const FIGURES: [Figure; 5] = [
    ("publish_in", Group::Messages),
    ("publish_out", Group::Messages),
    ("confirm", Group::Messages),
    ("return_unroutable", Group::Messages),
    ("drop_unroutable", Group::Messages),
];

/// How many of them are of the exchange alone.
pub(in crate::management) const OWN: usize = 2;

/// These of an exchange.
pub(in crate::management) fn sampled(exchange: &Exchange) -> [u64; FIGURES.len()] {
    let counters = &exchange.counters;
    let [out, returned, dropped] = [&counters.published_out, &counters.returned, &counters.dropped]
        .map(|counter| counter.load(Ordering::Relaxed));
    [counters.published_in(), out, counters.confirmed(), returned, dropped]
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
        stats::message_stats(&stats::named(&FIGURES, &sampled(exchange))[..OWN], details, &Wanted::All)
    {
        object["message_stats"] = stats;
    }
    object
}
