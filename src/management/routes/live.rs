//! What happens, as it happens: server-sent events after each sample of the statistics.

use crate::management::live::Events;
use crate::management::{Answer, Call, error::Error};

/// An event `overview` after each sample for those who may see the whole node, and an event `vhost` for each vhost that
/// the user may see.
pub(in crate::management) fn show(call: &Call) -> Result<Answer, Error> {
    if !call.node.statistics.are_on() {
        return Err(Error::Unavailable(
            "no statistics are collected: management_agent.disable_metrics_collector is true".into(),
        ));
    }
    Ok(Answer::Events(Box::new(Events::new(call.clone()))))
}
