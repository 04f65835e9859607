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

/// How much is left of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::management) enum Phase {
    /// It works.
    Permitted,
    /// It is not there.
    Removed,
}

impl Phase {
    /// RabbitMQ's name.
    fn name(self) -> &'static str {
        match self {
            Phase::Permitted => "permitted_by_default",
            Phase::Removed => "removed",
        }
    }
}

/// Something that clients should not rely on.
pub(in crate::management) fn deprecated(name: &str, description: &str, phase: Phase) -> Value {
    json!({
        "name": name,
        "desc": description,
        "doc_url": "",
        "deprecation_phase": phase.name(),
        "provided_by": "warren",
    })
}
