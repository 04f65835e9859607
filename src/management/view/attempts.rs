//! How often people logged in, or tried to. PURE.

use crate::broker::counters::{Attempts, LoginProtocol, LoginSource};
use serde_json::{Value, json};

/// Over a protocol.
pub(in crate::management) fn of_protocol(protocol: LoginProtocol, attempts: &Attempts) -> Value {
    json!({
        "protocol": protocol.name(),
        "auth_attempts": attempts.total(),
        "auth_attempts_succeeded": attempts.succeeded,
        "auth_attempts_failed": attempts.failed,
    })
}

/// As a user, from an address.
pub(in crate::management) fn of_source(source: &LoginSource, attempts: &Attempts) -> Value {
    let (protocol, user, address) = source;
    let mut object = of_protocol(*protocol, attempts);
    object["username"] = json!(user);
    object["remote_address"] = json!(address.to_string());
    object
}
