//! Settings: what a new vhost begins with. The `*` is a name of the operator's, the same for all parts of one thing.

use super::super::rules::{DefaultLimits, DefaultPolicy, DefaultUser};
use super::super::setting::{PLAIN, Setting};
use super::super::{Config, Secret, value};

fn limits<'a>(config: &'a mut Config, name: &str) -> &'a mut DefaultLimits {
    config.rules.new_vhosts.limits.entry(name.to_owned()).or_default()
}

fn policy<'a>(config: &'a mut Config, name: &str) -> &'a mut DefaultPolicy {
    config.rules.new_vhosts.operator_policies.entry(name.to_owned()).or_default()
}

fn user<'a>(config: &'a mut Config, name: &str) -> &'a mut DefaultUser {
    config.rules.new_vhosts.users.entry(name.to_owned()).or_default()
}

/// A key of a policy with a number.
fn says(config: &mut Config, name: &str, key: &str, number: u64) {
    policy(config, name).definition.insert(key.to_owned(), number.into());
}

pub(super) const NEW_VHOSTS: &[Setting] = &[
    Setting {
        key: "default_limits.vhosts.*.pattern",
        unit: "regular expression",
        doc: "Which new vhosts get these limits; not set = all.",
        is_live: true,
        set: |config, name, text| value::pattern(text).map(|p| limits(config, name).pattern = p),
        ..PLAIN
    },
    Setting {
        key: "default_limits.vhosts.*.max_connections",
        unit: "connections",
        doc: "How many connections they may have.",
        is_live: true,
        set: |config, name, text| {
            value::integer(text, -1, i64::MAX).map(|n| limits(config, name).max_connections = Some(n))
        },
        ..PLAIN
    },
    Setting {
        key: "default_limits.vhosts.*.max_queues",
        unit: "queues",
        doc: "How many queues they may have.",
        is_live: true,
        set: |config, name, text| {
            value::integer(text, -1, i64::MAX).map(|n| limits(config, name).max_queues = Some(n))
        },
        ..PLAIN
    },
    Setting {
        key: "default_policies.operator.*.vhost_pattern",
        unit: "regular expression",
        doc: "Which new vhosts get this operator policy; not set = all.",
        is_live: true,
        set: |config, name, text| value::pattern(text).map(|p| policy(config, name).vhost_pattern = p),
        ..PLAIN
    },
    Setting {
        key: "default_policies.operator.*.queue_pattern",
        unit: "regular expression",
        doc: "To which queues it applies; not set = all.",
        is_live: true,
        set: |config, name, text| value::pattern(text).map(|p| policy(config, name).queue_pattern = p),
        ..PLAIN
    },
    Setting {
        key: "default_policies.operator.*.apply_to",
        unit: "queues, classic_queues or quorum_queues",
        doc: "To which kind of queues it applies; not set = queues.",
        is_live: true,
        set: |config, name, text| {
            let kind = value::one_of(text, &["queues", "classic_queues", "quorum_queues"])?;
            policy(config, name).apply_to = Some(kind);
            Ok(())
        },
        ..PLAIN
    },
    Setting {
        key: "default_policies.operator.*.expires",
        unit: "milliseconds, or a number with ms, s, m, h, d or w",
        doc: "Its `expires`.",
        is_live: true,
        set: |config, name, text| value::duration_ms(text).map(|n| says(config, name, "expires", n)),
        ..PLAIN
    },
    Setting {
        key: "default_policies.operator.*.message_ttl",
        unit: "milliseconds, or a number with ms, s, m, h, d or w",
        doc: "Its `message-ttl`.",
        is_live: true,
        set: |config, name, text| value::duration_ms(text).map(|n| says(config, name, "message-ttl", n)),
        ..PLAIN
    },
    Setting {
        key: "default_policies.operator.*.max_length",
        unit: "messages",
        doc: "Its `max-length`.",
        is_live: true,
        set: |config, name, text| {
            value::integer(text, 1, u64::from(u32::MAX)).map(|n| says(config, name, "max-length", n))
        },
        ..PLAIN
    },
    Setting {
        key: "default_policies.operator.*.max_length_bytes",
        unit: "bytes",
        doc: "Its `max-length-bytes`.",
        is_live: true,
        set: |config, name, text| value::bytes(text).map(|n| says(config, name, "max-length-bytes", n)),
        ..PLAIN
    },
    Setting {
        key: "default_policies.operator.*.delivery_limit",
        unit: "deliveries",
        doc: "Its `delivery-limit`.",
        is_live: true,
        set: |config, name, text| {
            value::integer(text, 1, u64::from(u32::MAX)).map(|n| says(config, name, "delivery-limit", n))
        },
        ..PLAIN
    },
    Setting {
        key: "default_users.*.vhost_pattern",
        unit: "regular expression",
        doc: "Which new vhosts this user may enter; not set = all. The user is made with the first of them.",
        is_live: true,
        set: |config, name, text| value::pattern(text).map(|p| user(config, name).vhost_pattern = p),
        ..PLAIN
    },
    Setting {
        key: "default_users.*.password",
        unit: "password",
        doc: "That user's password; not set = nobody logs in with one.",
        is_live: true,
        is_secret: true,
        set: |config, name, text| {
            value::text(text).map(|password| user(config, name).password = Some(Secret(password)))
        },
        ..PLAIN
    },
    Setting {
        key: "default_users.*.tags",
        unit: "tags, with commas",
        doc: "That user's tags.",
        is_live: true,
        set: |config, name, text| {
            let tags = text.split(',').map(str::trim).filter(|tag| !tag.is_empty());
            user(config, name).tags = tags.map(str::to_owned).collect();
            Ok(())
        },
        ..PLAIN
    },
    Setting {
        key: "default_users.*.configure",
        unit: "regular expression",
        doc: "What the user may declare and delete there.",
        is_live: true,
        set: |config, name, text| value::pattern(text).map(|p| user(config, name).configure = p),
        ..PLAIN
    },
    Setting {
        key: "default_users.*.write",
        unit: "regular expression",
        doc: "What the user may write to there.",
        is_live: true,
        set: |config, name, text| value::pattern(text).map(|p| user(config, name).write = p),
        ..PLAIN
    },
    Setting {
        key: "default_users.*.read",
        unit: "regular expression",
        doc: "What the user may read from there.",
        is_live: true,
        set: |config, name, text| value::pattern(text).map(|p| user(config, name).read = p),
        ..PLAIN
    },
];
