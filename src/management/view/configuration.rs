//! The configuration.

use crate::config::{Configuration, Finding, Reloaded, print};
use serde_json::{Value, json};

/// What is in force: the file, if there is one, and every setting.
pub(in crate::management) fn effective(configuration: &Configuration) -> Value {
    json!({
        "file": configuration.file().map(|file| file.display().to_string()),
        "settings": print::json(&configuration.in_force),
        "notices": findings(configuration.notices()),
    })
}

/// What reading again came to.
pub(in crate::management) fn reloaded(reloaded: &Reloaded) -> Value {
    json!({
        "changed": reloaded.changed,
        "needs_restart": reloaded.needs_restart,
        "notices": findings(reloaded.findings.iter()),
    })
}

fn findings<'a>(findings: impl Iterator<Item = &'a Finding>) -> Value {
    let object = |finding: &Finding| {
        json!({
            "place": finding.origin.to_string(),
            "key": finding.key,
            "verdict": finding.verdict.as_str().to_lowercase(),
            "reason": finding.text,
        })
    };
    findings.map(object).collect()
}
