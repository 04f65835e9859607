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
    if call.parameter("name") != call.node.broker.node {
        return Err(Error::NotFound);
    }
    call.object(view::node::render(&call.node, &call.node.usage()))
}
