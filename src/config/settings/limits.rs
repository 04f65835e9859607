//! Settings: how much there may be on the node, and what queues and passwords are like.

use super::super::rules::Validator;
use super::super::setting::{PLAIN, Setting};
use super::super::value;

/// The queue types there are, by the names that may be given.
const QUEUE_TYPES: &[&str] = &["classic", "quorum"];
const HASHES: &[&str] =
    &["rabbit_password_hashing_sha256", "rabbit_password_hashing_sha512", "rabbit_password_hashing_md5"];

pub(super) const LIMITS: &[Setting] = &[
    Setting {
        key: "max_connections",
        aliases: &["connection_max", "ranch_connection_max"],
        default: "infinity",
        unit: "connections or infinity",
        doc: "How many connections may be open on the node. One more is refused when it enters its vhost.",
        is_live: true,
        set: |config, _, text| value::bound(text, 0).map(|n| config.rules.limits.connections = n),
        ..PLAIN
    },
    Setting {
        key: "channel_max_per_node",
        default: "infinity",
        unit: "channels or infinity",
        doc: "How many channels may be open on the node.",
        is_live: true,
        set: |config, _, text| value::bound(text, 1).map(|n| config.rules.limits.channels = n),
        ..PLAIN
    },
    Setting {
        key: "consumer_max_per_channel",
        default: "infinity",
        unit: "consumers or infinity",
        doc: "How many consumers a channel may have. It holds for connections that come after it was set.",
        is_live: true,
        set: |config, _, text| value::bound(text, 1).map(|n| config.rules.limits.consumers_per_channel = n),
        ..PLAIN
    },
    Setting {
        key: "vhost_max",
        default: "infinity",
        unit: "vhosts or infinity",
        doc: "How many vhosts there may be.",
        is_live: true,
        set: |config, _, text| value::bound(text, 0).map(|n| config.rules.limits.vhosts = n),
        ..PLAIN
    },
    Setting {
        key: "cluster_queue_limit",
        default: "infinity",
        unit: "queues or infinity",
        doc: "How many queues there may be in all vhosts together.",
        is_live: true,
        set: |config, _, text| value::bound(text, 0).map(|n| config.rules.limits.queues = n),
        ..PLAIN
    },
    Setting {
        key: "cluster_exchange_limit",
        default: "infinity",
        unit: "exchanges or infinity",
        doc: "How many exchanges there may be in all vhosts together, with those that every vhost has.",
        is_live: true,
        set: |config, _, text| value::bound(text, 0).map(|n| config.rules.limits.exchanges = n),
        ..PLAIN
    },
    Setting {
        key: "default_queue_type",
        default: "classic",
        unit: "classic or quorum",
        doc: "The type of queues that are declared without one, in vhosts that have no default of their own.",
        is_live: true,
        set: |config, _, text| {
            let kind = value::one_of(text, QUEUE_TYPES)?;
            config.rules.default_queue_type = (kind != "classic").then_some(kind);
            Ok(())
        },
        ..PLAIN
    },
    Setting {
        key: "consumer_timeout",
        default: "1800000",
        unit: "milliseconds, or infinity",
        doc: "How long a consumer of a quorum queue may take to settle a message, where neither arguments nor policies say another time.",
        is_live: true,
        set: |config, _, text| {
            let text = if matches!(text, "undefined" | "false") { "infinity" } else { text };
            value::bound(text, 1).map(|n| config.rules.consumer_timeout_ms = n)
        },
        ..PLAIN
    },
    Setting {
        key: "password_hashing_module",
        default: "rabbit_password_hashing_sha256",
        unit: "rabbit_password_hashing_sha256, …_sha512 or …_md5",
        doc: "How the passwords of new users are kept.",
        is_live: true,
        set: |config, _, text| {
            value::one_of(text, HASHES).map(|name| config.rules.passwords.algorithm = name)
        },
        ..PLAIN
    },
    Setting {
        key: "credential_validator.validation_backend",
        default: "rabbit_credential_validator_accept_everything",
        unit: "rabbit_credential_validator_accept_everything, …_min_password_length or …_password_regexp",
        doc: "What a new password is checked for.",
        is_live: true,
        set: |config, _, text| {
            config.rules.passwords.validator = match text {
                "rabbit_credential_validator_accept_everything" => Validator::Nothing,
                "rabbit_credential_validator_min_password_length" => Validator::Length,
                "rabbit_credential_validator_password_regexp" => Validator::Pattern,
                _ => return Err(format!("{text:?} is no validator that there is here")),
            };
            Ok(())
        },
        ..PLAIN
    },
    Setting {
        key: "credential_validator.min_length",
        unit: "bytes",
        doc: "How long a new password must be, for rabbit_credential_validator_min_password_length.",
        is_live: true,
        set: |config, _, text| {
            value::integer(text, 0, 10_000).map(|length| config.rules.passwords.length_min = length)
        },
        ..PLAIN
    },
    Setting {
        key: "credential_validator.regexp",
        unit: "regular expression",
        doc: "What is to be found in a new password, for rabbit_credential_validator_password_regexp.",
        is_live: true,
        set: |config, _, text| value::pattern(text).map(|p| config.rules.passwords.pattern = p),
        ..PLAIN
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_that_the_node_knows() {
        for name in QUEUE_TYPES {
            assert!(crate::queue::arguments::Kind::of_name(name).is_some(), "{name}");
        }
        for name in HASHES {
            assert!(crate::auth::password::Algorithm::find(name).is_ok(), "{name}");
        }
    }
}
