//! What the HTTP API is, in words for programs.

use crate::management::{Answer, Call, error::Error, openapi};

/// The OpenAPI document.
pub(in crate::management) fn show(call: &Call) -> Result<Answer, Error> {
    let document = serde_json::to_value(openapi::document(&call.node.config.config().http.path_prefix));
    document.map(Answer::Json).map_err(|error| Error::Unavailable(error.to_string()))
}
