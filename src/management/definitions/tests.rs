//! Reading files.

use super::*;
use serde_json::json;

/// A node with the vhost `/` and the user `guest`.
struct Fresh;

impl Known for Fresh {
    fn has_user(&self, name: &UserName) -> bool {
        name.as_str() == "guest"
    }

    fn has_vhost(&self, name: &VhostName) -> bool {
        name.as_str() == "/"
    }
}

fn parse(file: Value, scope: Scope<'_>) -> Result<File, String> {
    let body = Body::parse(file.to_string().as_bytes()).unwrap();
    File::parse(&body, scope, &Fresh).map_err(|error| error.to_string())
}

#[test]
fn what_makes_no_sense_is_told_with_its_place() {
    for (file, why) in [
        (json!({"users": 1}), "users must be a list of objects"),
        (json!({"users": [1]}), "users must be a list of objects"),
        (json!({"users": [{"name": "a"}, {}]}), "users[1]: name is missing"),
        (
            json!({"users": [{"name": "a", "password": "p", "password_hash": "h"}]}),
            "users[0]: both_password_and_password_hash_are_provided",
        ),
        (
            json!({"queues": [{"vhost": "v", "name": "q"}]}),
            "queues[0]: vhost 'v' is neither in the file nor on this node",
        ),
        (
            json!({"permissions": [{"vhost": "/", "user": "u", "configure": "", "write": "", "read": ""}]}),
            "permissions[0]: user 'u' is neither in the file nor on this node",
        ),
        (
            json!({"permissions": [{"vhost": "/", "user": "guest", "configure": "", "read": ""}]}),
            "permissions[0]: write is missing",
        ),
        (json!({"exchanges": [{"vhost": "/", "name": "x"}]}), "exchanges[0]: type is missing"),
        (
            json!({"bindings": [{"vhost": "/", "source": "x", "destination": "q", "destination_type": "s"}]}),
            "bindings[0]: destination_type must be queue or exchange",
        ),
        (
            json!({"queues": [{"vhost": "/", "name": "n".repeat(256)}]}),
            "queues[0]: name of 256 bytes is longer than 255 bytes",
        ),
        (json!({"policies": [{"vhost": "/", "name": "p"}]}), "policies[0]: definition must be an object"),
        (
            json!({"parameters": [{"vhost": "/", "component": "shovel", "name": "s"}]}),
            "parameters[0]: value is missing",
        ),
    ] {
        assert_eq!(parse(file.clone(), Scope::Node).unwrap_err(), why, "{file}");
    }
}

#[test]
fn what_there_is_nothing_for_is_left_out_and_said_to_be() {
    let file = parse(
        json!({
            "vhosts": [{"name": "v", "default_queue_type": "stream"}],
            "parameters": [{"vhost": "/", "component": "mqtt", "name": "p", "value": {}}],
            "policies": [
                {"vhost": "/", "name": "mirrored", "pattern": "", "definition": {"ha-mode": "all", "ha-sync-mode": "automatic"}},
                {"vhost": "/", "name": "both", "pattern": "", "definition": {"ha-mode": "all", "max-length": 5}},
                {"vhost": "/", "name": "odd", "pattern": "", "definition": {"unheard-of": 1}},
            ],
        }),
        Scope::Node,
    )
    .unwrap();
    let kept: Vec<_> = file.policies.iter().map(|(_, policy)| json!(policy.policy.definition)).collect();
    assert_eq!(kept, [json!({"max-length": 5})]);
    assert!(file.parameters.is_empty() && file.vhosts[0].1.default_queue_type.is_none());
    let left_out: Vec<&str> = file.left_out.iter().filter_map(|what| what.split(": ").next()).collect();
    let expected = [
        "vhost 'v'",
        "parameter 'p' in vhost '/'",
        "policy 'mirrored' in vhost '/'",
        "policy 'both' in vhost '/'",
        "policy 'odd' in vhost '/'",
    ];
    assert_eq!(left_out, expected);
}

#[test]
fn files_of_all_versions_are_read() {
    let file = parse(
        json!({
            "users": [
                {"name": "old", "password_hash": "h", "tags": "administrator,monitoring"},
                {"name": "new", "password_hash": "h", "hashing_algorithm": "rabbit_password_hashing_sha512", "tags": ["management"], "limits": {"max-channels": 3}},
            ],
            "vhosts": [
                {"name": "old"},
                {"name": "new", "metadata": {"description": "d", "tags": ["t"], "default_queue_type": "quorum"}, "limits": []},
            ],
            "queues": [
                {"name": "q", "vhost": "new", "durable": true, "auto_delete": false, "arguments": {}, "type": "quorum"},
                {"name": "c", "vhost": "old", "durable": true, "arguments": []},
            ],
        }),
        Scope::Node,
    )
    .unwrap();
    let tags: Vec<_> = file.users.iter().map(|user| user.tags.clone()).collect();
    assert_eq!(tags, [vec!["administrator", "monitoring"], vec!["management"]]);
    assert_eq!(file.users[1].limits["max-channels"], 3);
    let (_, vhost) = &file.vhosts[1];
    assert_eq!((vhost.description.as_str(), vhost.default_queue_type.as_deref()), ("d", Some("quorum")));
    let kind = |at: usize| arguments::get(&file.queues[at].1.arguments, TYPE).and_then(arguments::as_text);
    assert_eq!((kind(0), kind(1)), (Some("quorum"), None));
}

#[test]
fn into_a_vhost_goes_what_is_in_vhosts_whatever_they_were_called() {
    let vhost = "v".into();
    let file = json!({
        "users": [{"name": "u"}],
        "vhosts": [{"name": "other"}],
        "queues": [{"name": "a", "vhost": "other"}, {"name": "b"}],
    });
    let file = parse(file, Scope::Vhost(&vhost)).unwrap();
    assert!(file.users.is_empty() && file.vhosts.is_empty());
    assert!(file.queues.iter().all(|(home, _)| *home == vhost));
    assert_eq!(file.queues.len(), 2);
}
