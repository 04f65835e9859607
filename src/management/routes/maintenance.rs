//! Maintenance of the node: drained it serves no clients, and health checks fail; the HTTP API goes on.

use crate::management::{Answer, Call, error::Error};

/// Fails for any other node: there is none.
fn this_node(call: &Call) -> Result<(), Error> {
    if call.parameter("name") == call.node.broker.node { Ok(()) } else { Err(Error::NotFound) }
}

/// No client is served from now on. Draining a drained node asks those to close that have not yet.
pub(in crate::management) fn drain(call: &Call) -> Result<Answer, Error> {
    this_node(call)?;
    call.node.broker.drain();
    Ok(Answer::Done)
}

/// Clients are served again.
pub(in crate::management) fn revive(call: &Call) -> Result<Answer, Error> {
    this_node(call)?;
    call.node.broker.revive();
    Ok(Answer::Done)
}
