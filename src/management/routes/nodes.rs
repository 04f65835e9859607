//! The node: what it uses of the machine.

use crate::management::{Answer, Call, error::Error, view};

pub(in crate::management) fn list(call: &Call) -> Result<Answer, Error> {
    call.list(
        vec![&call.node],
        |node| node.broker.node.as_str(),
        |node| view::node::render(node, &node.usage()),
    )
}

pub(in crate::management) fn show(call: &Call) -> Result<Answer, Error> {
    check_name(call)?;
    call.object(view::node::render(&call.node, &call.node.usage()))
}

/// There is one node.
fn check_name(call: &Call) -> Result<(), Error> {
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
