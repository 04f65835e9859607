//! The node's configuration: what is in force, and reading it again.

use crate::config::SetError;
use crate::management::{Answer, Call, error::Error, view};
use serde_json::Value;

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

/// Gives a setting another value until the node starts or reads its configuration again, if a running node takes it.
pub(in crate::management) fn set(call: &Call) -> Result<Answer, Error> {
    let body = call.body()?;
    body.require(&["value"])?;
    let value = match body.get("value") {
        Some(Value::String(text)) => text.clone(),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => value.to_string(),
        _ => return Err(Error::BadRequest("value must be a string, a number, true or false".into())),
    };
    call.node.config.set(call.parameter("setting"), &value).map_err(|error| match error {
        SetError::Unknown(text) => Error::Missing(text),
        SetError::Refused(text) => Error::BadRequest(text),
    })?;
    Ok(Answer::Done)
}
