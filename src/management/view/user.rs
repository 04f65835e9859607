//! Users and their permissions. PURE.

use crate::definition::{Permissions, User};
use serde_json::{Map, Value, json};

/// A user.
pub(in crate::management) fn render(name: &str, user: &User, limits: Map<String, Value>) -> Value {
    json!({
        "name": name,
        "password_hash": user.password_hash,
        "hashing_algorithm": user.hashing_algorithm,
        "tags": user.tags,
        "limits": limits,
    })
}

/// What a user may do in a vhost.
pub(in crate::management) fn permissions(vhost: &str, user: &str, permissions: &Permissions) -> Value {
    json!({
        "user": user,
        "vhost": vhost,
        "configure": permissions.configure,
        "write": permissions.write,
        "read": permissions.read,
    })
}
