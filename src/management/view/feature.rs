//! Feature flags and deprecated features. PURE.

use serde_json::{Value, json};

/// A flag, which is on and stays on.
pub(in crate::management) fn flag(name: &str, description: &str) -> Value {
    json!({
        "name": name,
        "desc": description,
        "doc_url": "",
        "state": "enabled",
        "stability": "required",
        "provided_by": "warren",
    })
}

/// Something that works, and that clients should not rely on.
pub(in crate::management) fn deprecated(name: &str, description: &str) -> Value {
    json!({
        "name": name,
        "desc": description,
        "doc_url": "",
        "deprecation_phase": "permitted_by_default",
        "provided_by": "warren",
    })
}
