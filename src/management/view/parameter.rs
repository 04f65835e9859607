//! Runtime parameters. PURE.

use crate::broker::parameters::Parameter;
use serde_json::{Value, json};

/// A parameter of a vhost.
pub(in crate::management) fn render(parameter: &Parameter) -> Value {
    json!({
        "vhost": parameter.vhost.as_str(),
        "component": parameter.component.as_str(),
        "name": parameter.name.as_str(),
        "value": parameter.value,
    })
}

/// A global parameter.
pub(in crate::management) fn global(name: &str, value: &Value) -> Value {
    json!({ "name": name, "value": value })
}
