//! Users and their permissions. PURE.

use crate::auth::users::TopicGrant;
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

/// Which routing keys a user may use at an exchange.
pub(in crate::management) fn topic_permissions(grant: &TopicGrant) -> Value {
    json!({
        "user": grant.user.as_str(),
        "vhost": grant.vhost.as_str(),
        "exchange": grant.exchange.as_str(),
        "write": grant.permissions.write,
        "read": grant.permissions.read,
    })
}
