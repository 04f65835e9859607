//! The node: what it uses of the machine.

use crate::management::{Answer, Call, error::Error, view};
use std::sync::Arc;

pub(in crate::management) fn list(call: &Call) -> Result<Answer, Error> {
    let details = call.node.statistics.of_node(&call.spans()?);
    call.list(
        vec![Arc::clone(&call.node)],
        |node| node.broker.node.as_str(),
        move |_, node, _| view::node::render(node, &node.usage(), &details),
    )
}

pub(in crate::management) fn show(call: &Call) -> Result<Answer, Error> {
    check_name(call)?;
    let details = call.node.statistics.of_node(&call.spans()?);
    call.object(view::node::render(&call.node, &call.node.usage(), &details))
}

/// Forgets the samples and the rates that are made of them; what is counted stays.
pub(in crate::management) fn reset(call: &Call) -> Result<Answer, Error> {
    if call.has_parameter("name") {
        check_name(call)?;
    }
    call.node.statistics.forget();
    Ok(Answer::Done)
}

/// There is one node.
pub(super) fn check_name(call: &Call) -> Result<(), Error> {
    if call.parameter("name") == call.node.broker.node { Ok(()) } else { Err(Error::NotFound) }
}

/// What takes the memory, in bytes.
pub(in crate::management) fn memory(call: &Call) -> Result<Answer, Error> {
    check_name(call)?;
    call.object(view::node::memory(&call.node.memory_usage()))
}

/// The same in percent.
pub(in crate::management) fn relative_memory(call: &Call) -> Result<Answer, Error> {
    check_name(call)?;
    call.object(view::node::relative_memory(&call.node.memory_usage()))
}
