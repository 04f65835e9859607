//! Bindings. PURE.

use super::arguments;
use crate::definition::{Binding, Destination};
use crate::name::VhostName;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What a form leaves as it is; the space becomes a `+`.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b' ');
/// What a part of a path leaves as it is.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// How much of the arguments' hash tells bindings with the same key apart.
const HASH_BYTES: usize = 8;

/// A binding as JSON.
pub(in crate::management) fn render(vhost: &VhostName, binding: &Binding) -> Value {
    let (destination_type, destination) = match &binding.destination {
        Destination::Queue(name) => ("queue", name.as_str()),
        Destination::Exchange(name) => ("exchange", name.as_str()),
    };
    json!({
        "source": binding.source.as_str(),
        "vhost": vhost.as_str(),
        "destination": destination,
        "destination_type": destination_type,
        "routing_key": binding.key.as_str(),
        "arguments": arguments::from_table(&binding.arguments),
        "properties_key": properties_key(binding),
    })
}

/// What tells a binding from others with the same source and destination, as a part of a path.
///
/// `~` stands for an empty key; behind the key, arguments add a `~` and their hash.
pub(in crate::management) fn properties_key(binding: &Binding) -> String {
    let key = utf8_percent_encode(binding.key.as_str(), FORM).to_string().replace(' ', "+");
    keyed(&key, binding)
}

/// Whether a part of a path, decoded once, means this binding.
///
/// Tools escape the properties key for the path or take it for an escaped part already: both arrive here.
pub(in crate::management) fn is_meant(part: &str, binding: &Binding) -> bool {
    part == properties_key(binding) || part == keyed(binding.key.as_str(), binding)
}

/// Where a new binding is found, relative to the path it was posted to.
pub(in crate::management) fn location(binding: &Binding) -> String {
    let destination = match &binding.destination {
        Destination::Queue(name) => name.as_str(),
        Destination::Exchange(name) => name.as_str(),
    };
    let properties_key = properties_key(binding);
    format!("{}/{}", utf8_percent_encode(destination, PATH), utf8_percent_encode(&properties_key, PATH))
}

fn keyed(key: &str, binding: &Binding) -> String {
    if binding.arguments.inner().is_empty() {
        return if key.is_empty() { "~".into() } else { key.into() };
    }
    // The typed form: two tables with the same JSON may still be two bindings.
    let typed = serde_json::to_vec(&binding.arguments).unwrap_or_default();
    let hash = BASE64_URL_SAFE_NO_PAD.encode(&Sha256::digest(typed)[..HASH_BYTES]);
    format!("{key}~{hash}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(key: &str, arguments: Value) -> Binding {
        Binding {
            source: "logs".into(),
            destination: Destination::Queue("q 1".into()),
            key: key.into(),
            arguments: arguments::to_table(arguments.as_object().unwrap()).unwrap(),
        }
    }

    #[test]
    fn properties_keys_are_rabbitmqs_for_keys_without_arguments() {
        for (key, expected) in
            [("", "~"), ("k", "k"), ("~", "%7E"), ("a b/~#+é*.-_%&=", "a+b%2F%7E%23%2B%C3%A9%2A.-_%25%26%3D")]
        {
            assert_eq!(properties_key(&binding(key, json!({}))), expected);
        }
    }

    #[test]
    fn arguments_tell_bindings_with_the_same_key_apart() {
        let one = properties_key(&binding("k", json!({"n": 1})));
        let two = properties_key(&binding("k", json!({"n": 2})));
        assert!(one.starts_with("k~") && two.starts_with("k~"));
        assert_ne!(one, two);
        assert!(properties_key(&binding("", json!({"n": 1}))).starts_with('~'));
    }

    #[test]
    fn a_binding_is_found_by_its_key_escaped_once_or_twice() {
        let wanted = binding("a b/c", json!({}));
        assert!(is_meant("a+b%2Fc", &wanted), "escaped twice, decoded once");
        assert!(is_meant("a b/c", &wanted), "escaped once, decoded once");
        assert!(!is_meant("a b", &wanted));
        assert!(is_meant("~", &binding("", json!({}))));
    }

    #[test]
    fn a_new_binding_has_a_location_that_leads_back_to_it() {
        assert_eq!(location(&binding("", json!({}))), "q%201/~");
        assert_eq!(location(&binding("a/b", json!({}))), "q%201/a%252Fb");
    }

    #[test]
    fn a_binding_has_the_names_of_rabbitmqs_json() {
        assert_eq!(
            render(&"/".into(), &binding("k", json!({}))),
            json!({
                "source": "logs", "vhost": "/", "destination": "q 1", "destination_type": "queue",
                "routing_key": "k", "arguments": {}, "properties_key": "k"
            })
        );
    }
}
