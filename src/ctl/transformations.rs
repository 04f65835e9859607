//! What may be done to definitions before they are written: rabbitmqadmin's transformations. PURE.

use super::failure::Failure;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A transformation, and its name.
type Transformation = (&'static str, fn(&mut Value));

const ALL: &[Transformation] = &[
    ("no_op", |_| {}),
    ("strip_cmq_keys_from_policies", strip_mirroring),
    ("drop_empty_policies", drop_empty_policies),
    ("obfuscate_usernames", obfuscate_usernames),
    ("exclude_users", |definitions| empty(definitions, "users")),
    ("exclude_permissions", |definitions| empty(definitions, "permissions")),
    ("exclude_runtime_parameters", |definitions| empty(definitions, "parameters")),
    ("exclude_policies", |definitions| empty(definitions, "policies")),
];

/// Does these to the definitions, one behind the other.
///
/// # Errors
/// [`Failure::Usage`] for a name that is none, with those there are.
pub(super) fn apply(definitions: &mut Value, names: &[String]) -> Result<(), Failure> {
    for name in names {
        let Some((_, transform)) = ALL.iter().find(|(known, _)| known == name) else {
            return Err(Failure::Usage(unknown(name)));
        };
        transform(definitions);
    }
    Ok(())
}

fn unknown(name: &str) -> String {
    let known: Vec<&str> = ALL.iter().map(|(name, _)| *name).collect();
    format!("there is no transformation '{name}'; there are: {}", known.join(" "))
}

fn empty(definitions: &mut Value, section: &str) {
    if let Some(section) = definitions.get_mut(section) {
        *section = json!([]);
    }
}

/// The objects of a section.
fn each<'v>(definitions: &'v mut Value, section: &str) -> impl Iterator<Item = &'v mut Value> {
    definitions.get_mut(section).and_then(Value::as_array_mut).into_iter().flatten()
}

fn strip_mirroring(definitions: &mut Value) {
    for policy in each(definitions, "policies") {
        if let Some(definition) = policy["definition"].as_object_mut() {
            definition.retain(|key, _| !key.starts_with("ha-"));
        }
    }
}

fn drop_empty_policies(definitions: &mut Value) {
    if let Some(policies) = definitions.get_mut("policies").and_then(Value::as_array_mut) {
        policies.retain(|policy| policy["definition"].as_object().is_some_and(|keys| !keys.is_empty()));
    }
}

/// Gives users names that say nothing, the same one wherever a user is meant, and no password.
fn obfuscate_usernames(definitions: &mut Value) {
    let mut names = BTreeMap::new();
    for user in each(definitions, "users") {
        let next = format!("user-{}", names.len() + 1);
        let name = user["name"].as_str().unwrap_or_default().to_owned();
        let name = names.entry(name).or_insert(next).clone();
        user["name"] = json!(name);
        user["password_hash"] = json!("");
    }
    for section in ["permissions", "topic_permissions", "user_limits"] {
        for object in each(definitions, section) {
            let next = format!("user-{}", names.len() + 1);
            let name = object["user"].as_str().unwrap_or_default().to_owned();
            object["user"] = json!(names.entry(name).or_insert(next));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transformed(names: &[&str]) -> Value {
        let mut definitions = json!({
            "users": [{"name": "ann", "password_hash": "h", "tags": []}, {"name": "bob", "password_hash": "i"}],
            "permissions": [{"user": "bob", "vhost": "/"}],
            "parameters": [{"name": "p"}],
            "policies": [{"name": "a", "definition": {"ha-mode": "all"}}, {"name": "b", "definition": {"ha-mode": "all", "x": 1}}],
        });
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        apply(&mut definitions, &names).unwrap();
        definitions
    }

    #[test]
    fn definitions_lose_what_is_not_wanted() {
        assert_eq!(transformed(&["no_op"]), transformed(&[]));
        for (name, section) in [
            ("exclude_users", "users"),
            ("exclude_permissions", "permissions"),
            ("exclude_runtime_parameters", "parameters"),
            ("exclude_policies", "policies"),
        ] {
            assert_eq!(transformed(&[name])[section], json!([]), "{name}");
        }
        let policies = &transformed(&["strip_cmq_keys_from_policies", "drop_empty_policies"])["policies"];
        assert_eq!(*policies, json!([{"name": "b", "definition": {"x": 1}}]));
    }

    #[test]
    fn users_get_the_same_other_name_everywhere_and_no_password() {
        let definitions = transformed(&["obfuscate_usernames"]);
        assert_eq!(
            definitions["users"],
            json!([{"name": "user-1", "password_hash": "", "tags": []}, {"name": "user-2", "password_hash": ""}])
        );
        assert_eq!(definitions["permissions"], json!([{"user": "user-2", "vhost": "/"}]));
    }

    #[test]
    fn an_unknown_name_is_answered_with_those_there_are() {
        let failure = apply(&mut json!({}), &["exclude_user".to_owned()]).unwrap_err().to_string();
        let expected =
            "there is no transformation 'exclude_user'; there are: no_op strip_cmq_keys_from_policies";
        assert!(failure.starts_with(expected), "{failure}");
    }
}
