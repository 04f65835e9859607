//! The node's configuration: what is in force, and reading it again.

use crate::management::{Answer, Call, error::Error, view};

/// Every setting with its value and where that comes from. Secrets are not shown.
pub(in crate::management) fn effective(call: &Call) -> Result<Answer, Error> {
    Ok(Answer::Json(view::configuration::effective(&call.node.config.current())))
}

/// Reads the file again: what can change does, and the answer names the rest. A file that is wrong changes nothing.
pub(in crate::management) fn reload(call: &Call) -> Result<Answer, Error> {
    match call.node.config.reload() {
        Ok(reloaded) => Ok(Answer::Json(view::configuration::reloaded(&reloaded))),
        Err(error) => Err(Error::BadRequest(error.to_string())),
    }
}
