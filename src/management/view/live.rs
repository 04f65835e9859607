//! What those are sent who watch the node live. PURE.

use super::node;
use super::overview::{self, Totals};
use super::stats::{self, Details};
use crate::management::node::Node;
use crate::management::statistics::Told;
use serde_json::{Value, json};

/// A vhost after a sample that was taken at `at`, in seconds since 1970.
pub(in crate::management) fn vhost(name: &str, totals: &Totals, told: &Told, at: u64) -> Value {
    let mut frame = common(totals, told, at);
    frame["vhost"] = json!(name);
    overview::extend_sampled(&mut frame, told);
    frame
}

/// The node: its vhosts together, and what it uses of the machine.
pub(in crate::management) fn node(
    shown: &Node,
    totals: &Totals,
    vhosts: &Told,
    told: &Told,
    figures: &[u64; node::FIGURES.len()],
    at: u64,
) -> Value {
    let mut frame = common(totals, vhosts, at);
    overview::extend_sampled(&mut frame, vhosts);
    frame["churn_rates"] = stats::figures(&node::churn(figures), told).into();
    frame["node"] = node::live(shown, figures, told);
    frame
}

fn common(totals: &Totals, told: &dyn Details, at: u64) -> Value {
    json!({
        "timestamp": at * 1000,
        "queue_totals": totals.depth.fields(told),
        "object_totals": overview::object_totals(totals),
    })
}
