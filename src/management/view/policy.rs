//! Policies. PURE.

use super::fields::Fields;
use crate::broker::policy::{Applied, Compiled};
use serde_json::{Value, json};
use std::sync::Arc;

/// A policy.
pub(in crate::management) fn render(vhost: &str, policy: &Compiled) -> Value {
    let definition = &policy.policy;
    json!({
        "vhost": vhost,
        "name": policy.name.as_str(),
        "pattern": definition.pattern,
        "apply-to": definition.apply_to.name(),
        "definition": definition.definition,
        "priority": definition.priority,
    })
}

/// What is said of the policies that apply to a queue: the names.
pub(super) const FIELDS: [&str; 3] = ["policy", "operator_policy", "effective_policy_definition"];

/// What is said of the policies that apply to a queue.
pub(super) fn put(fields: &mut Fields<'_>, applied: &Applied) {
    fields.put("policy", || name(&applied.policy));
    fields.put("operator_policy", || name(&applied.operator_policy));
    fields.put("effective_policy_definition", || json!(applied.effective()));
}

/// The name of a policy, or null.
pub(super) fn name(policy: &Option<Arc<Compiled>>) -> Value {
    json!(policy.as_ref().map(|policy| policy.name.as_str()))
}
