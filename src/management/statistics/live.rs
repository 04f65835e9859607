//! What those are sent who watch the node live: made once for each sample, whoever and however many they are.

use super::Spans;
use crate::management::node::Node;
use crate::management::view::{self, overview::Totals};
use crate::name::VhostName;
use serde_json::Value;
use std::sync::Arc;

/// What is sent after a sample, as JSON.
#[derive(Debug)]
pub(in crate::management) struct Frame {
    /// The node as a whole, for those who may see all of it.
    pub(in crate::management) node: Arc<str>,
    /// Each vhost, for those who may see it.
    pub(in crate::management) vhosts: Vec<(VhostName, Arc<str>)>,
}

impl Frame {
    /// What is to be sent after the sample of `at`.
    pub(super) fn new(
        node: &Node,
        vhosts: &[(VhostName, Totals)],
        figures: &[u64; view::node::FIGURES.len()],
        at: u64,
    ) -> Frame {
        let text = |value: Value| Arc::from(value.to_string());
        let (statistics, spans) = (&node.statistics, Spans::default());
        let vhost = |(name, totals): &(VhostName, Totals)| {
            let told = statistics.of_vhosts([name], &spans);
            (name.clone(), text(view::live::vhost(name.as_str(), totals, &told, at)))
        };
        let mut sum = Totals::default();
        vhosts.iter().for_each(|(_, totals)| sum.add(totals));
        let together = statistics.of_vhosts(vhosts.iter().map(|(name, _)| name), &spans);
        let whole = view::live::node(node, &sum, &together, &statistics.of_node(&spans), figures, at);
        Frame { node: text(whole), vhosts: vhosts.iter().map(vhost).collect() }
    }
}
