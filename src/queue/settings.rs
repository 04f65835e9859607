//! What a queue's arguments and the policies that apply to it make of it (behaviour.md, 2.1 and 3).
//!
//! Both say the same things, policies without the `x-`. Of two numbers the lower counts; of two words the argument's,
//! but for what a quorum queue's operator must be able to take back.

use super::arguments::Kind;
use super::state::{Overflow, Retry, Return, Rules, Shape};
use crate::arguments::{self, Table, Value};
use crate::dead_letter::{DeadLetters, Strategy};
use crate::dedup;
use crate::definition::PolicyKeys;
use crate::durability::Durability;
use crate::name::ExchangeName;

/// How many failures a quorum queue takes of a message, where nothing else is said.
const QUORUM_DELIVERY_LIMIT: i64 = 20;
/// The highest priority of a quorum queue.
const QUORUM_PRIORITY_MAX: u8 = 31;

/// What arguments and policies make of a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Its type.
    pub kind: Kind,
    /// What stays as it was declared.
    pub shape: Shape,
    /// What the queue machine minds.
    pub rules: Rules,
    /// How long a message may stay, in milliseconds.
    pub message_ttl_ms: Option<u64>,
    /// How long the queue stays when nobody uses it, in milliseconds.
    pub expires_ms: Option<u64>,
    /// Where messages go that leave without being consumed.
    pub dead_letters: Option<DeadLetters>,
    /// When a publisher is told that its message is safe; none = as the node says.
    pub durability: Option<Durability>,
    /// How messages are told that came before.
    pub dedup: Option<dedup::Rules>,
    /// Whether consumers are told how often a message came back.
    pub counts_deliveries: bool,
}

impl Settings {
    /// Of a table that [`check`](super::arguments::check) has accepted, and the keys of the policies that apply.
    /// `quorum_timeout_ms` is how long a consumer of a quorum queue may take to settle a message, where nothing else is said.
    pub fn of(kind: Kind, table: &Table, policy: &PolicyKeys, quorum_timeout_ms: Option<u64>) -> Self {
        let said = Said { table, policy };
        let is_quorum = kind == Kind::Quorum;
        let max_priority = said.argument("x-max-priority").and_then(arguments::as_integer);
        let max_priority = max_priority.and_then(|number| u8::try_from(number).ok()).unwrap_or(0);
        let single_active = said.argument("x-single-active-consumer") == Some(&Value::Boolean(true));
        let max_priority = if is_quorum { QUORUM_PRIORITY_MAX } else { max_priority };
        let dead_letters = said.dead_letters();
        let delivery_limit = said.delivery_limit(is_quorum.then_some(QUORUM_DELIVERY_LIMIT));
        let consumer_timeout_ms = said.least("consumer-timeout");
        let rules = Rules {
            length_max: said.least("max-length"),
            length_bytes_max: said.least("max-length-bytes"),
            overflow: said.overflow(kind),
            has_dead_letters: dead_letters.is_some(),
            delivery_limit,
            consumer_timeout_ms: consumer_timeout_ms.or(quorum_timeout_ms.filter(|_| is_quorum)),
            retry: said.retry(kind),
        };
        Self {
            kind,
            shape: Shape { max_priority, single_active, single_active_yields: is_quorum, ..Shape::default() },
            rules,
            message_ttl_ms: said.least("message-ttl"),
            expires_ms: said.least("expires"),
            dead_letters,
            durability: said.argument_first("durability").and_then(|text| text.parse().ok()),
            dedup: dedup::Rules::of(table),
            counts_deliveries: is_quorum || delivery_limit.is_some(),
        }
    }
}

impl Settings {
    /// Whether the queue may not take a message: it may be full and say so, or have seen it.
    pub(super) fn is_choosy(&self) -> bool {
        self.dedup.is_some() || self.rules.overflow != Overflow::DropHead
    }
}

/// Both sources.
struct Said<'a> {
    table: &'a Table,
    policy: &'a PolicyKeys,
}

impl<'a> Said<'a> {
    fn argument(&self, name: &str) -> Option<&'a Value> {
        arguments::get(self.table, name)
    }

    fn argument_number(&self, key: &str) -> Option<i64> {
        self.argument(&format!("x-{key}")).and_then(arguments::as_integer)
    }

    fn policy_number(&self, key: &str) -> Option<i64> {
        self.policy.get(key)?.as_i64()
    }

    fn policy_text(&self, key: &str) -> Option<&'a str> {
        self.policy.get(key)?.as_str()
    }

    /// The lower of two numbers.
    fn least(&self, key: &str) -> Option<u64> {
        let said = [self.argument_number(key), self.policy_number(key)];
        said.into_iter().flatten().filter_map(|number| u64::try_from(number).ok()).min()
    }

    fn argument_first(&self, key: &str) -> Option<&'a str> {
        self.argument(&format!("x-{key}")).and_then(arguments::as_text).or_else(|| self.policy_text(key))
    }

    fn policy_first(&self, key: &str) -> Option<&'a str> {
        self.policy_text(key).or_else(|| self.argument_first(key))
    }

    fn dead_letters(&self) -> Option<DeadLetters> {
        let exchange = ExchangeName::new(self.argument_first("dead-letter-exchange")?);
        let routing_key = self.argument_first("dead-letter-routing-key").map(str::to_owned);
        let strategy = match self.argument_first("dead-letter-strategy") {
            Some("at-least-once") => Strategy::AtLeastOnce,
            _ => Strategy::AtMostOnce,
        };
        Some(DeadLetters { exchange, routing_key, strategy })
    }

    /// Negative = none; that counts above any number.
    fn delivery_limit(&self, default: Option<i64>) -> Option<u16> {
        let limit = match (self.argument_number("delivery-limit"), self.policy_number("delivery-limit")) {
            (Some(argument), Some(policy)) if argument < 0 || policy < 0 => argument.max(policy),
            (Some(argument), Some(policy)) => argument.min(policy),
            (argument, policy) => argument.or(policy).or(default)?,
        };
        (limit >= 0).then(|| u16::try_from(limit).unwrap_or(u16::MAX))
    }

    fn overflow(&self, kind: Kind) -> Overflow {
        let said = match kind {
            Kind::Classic => self.argument_first("overflow"),
            Kind::Quorum => self.policy_first("overflow"),
        };
        match said {
            Some("reject-publish") => Overflow::RejectPublish,
            // A quorum queue of RabbitMQ warns and drops from its head.
            Some("reject-publish-dlx") if kind == Kind::Classic => Overflow::RejectPublishDlx,
            _ => Overflow::DropHead,
        }
    }

    fn retry(&self, kind: Kind) -> Option<Retry> {
        let said = match kind {
            Kind::Classic => self.argument_first("delayed-retry-type"),
            Kind::Quorum => self.policy_first("delayed-retry-type"),
        };
        let only = match said? {
            "all" => None,
            "failed" => Some(Return::Failed),
            "returned" => Some(Return::Plain),
            _ => return None,
        };
        let min_ms = self.least("delayed-retry-min").unwrap_or(0);
        let max_ms = self.least("delayed-retry-max").unwrap_or(u64::MAX);
        Some(Retry { only, min_ms, max_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn settings(kind: Kind, arguments: &[(&str, Value)], policy: &serde_json::Value) -> Settings {
        let mut table = Table::default();
        for (name, value) in arguments {
            table.insert((*name).into(), value.clone());
        }
        let keys =
            policy.as_object().unwrap().iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        Settings::of(kind, &table, &keys, Some(1_800_000))
    }

    fn number(number: i64) -> Value {
        Value::LongLongInt(number)
    }

    fn text(text: &str) -> Value {
        Value::LongString(text.into())
    }

    #[test]
    fn consumers_of_quorum_queues_that_say_nothing_have_the_time_that_the_node_gives_them() {
        let timeout = |kind, of_node| {
            Settings::of(kind, &Table::default(), &PolicyKeys::default(), of_node).rules.consumer_timeout_ms
        };
        assert_eq!(timeout(Kind::Quorum, Some(5)), Some(5));
        assert_eq!(timeout(Kind::Quorum, None), None);
        assert_eq!(timeout(Kind::Classic, Some(5)), None);
        let own = settings(Kind::Quorum, &[("x-consumer-timeout", number(70))], &json!({}));
        assert_eq!(own.rules.consumer_timeout_ms, Some(70));
    }

    #[test]
    fn of_two_numbers_the_lower_counts() {
        let arguments =
            [("x-max-length", number(5)), ("x-message-ttl", number(70)), ("x-expires", number(9))];
        let policy = json!({"max-length": 7, "message-ttl": 60, "max-length-bytes": 3});
        let settings = settings(Kind::Classic, &arguments, &policy);
        let Rules { length_max, length_bytes_max, .. } = settings.rules;
        assert_eq!((length_max, length_bytes_max), (Some(5), Some(3)));
        assert_eq!((settings.message_ttl_ms, settings.expires_ms), (Some(60), Some(9)));
    }

    #[test]
    fn of_two_words_the_arguments_count_but_for_a_quorum_queues_overflow() {
        let arguments = [("x-dead-letter-exchange", text("mine")), ("x-overflow", text("drop-head"))];
        let policy = json!({
            "dead-letter-exchange": "theirs", "dead-letter-routing-key": "key", "overflow": "reject-publish"
        });
        let of = |kind| settings(kind, &arguments, &policy);
        let (classic, quorum) = (of(Kind::Classic), of(Kind::Quorum));
        let expected = DeadLetters {
            exchange: "mine".into(),
            routing_key: Some("key".into()),
            strategy: Strategy::AtMostOnce,
        };
        assert_eq!((&classic.dead_letters, &quorum.dead_letters), (&Some(expected.clone()), &Some(expected)));
        assert_eq!(classic.rules.overflow, Overflow::DropHead);
        assert_eq!(quorum.rules.overflow, Overflow::RejectPublish);
    }

    #[test]
    fn a_delivery_limit_below_zero_is_none_wherever_it_is_said() {
        let limit = |kind, argument: Option<i64>, policy: Option<i64>| {
            let arguments: Vec<_> =
                argument.map(|limit| ("x-delivery-limit", number(limit))).into_iter().collect();
            let policy = policy.map_or(json!({}), |limit| json!({ "delivery-limit": limit }));
            settings(kind, &arguments, &policy).rules.delivery_limit
        };
        assert_eq!(limit(Kind::Classic, None, None), None);
        assert_eq!(limit(Kind::Quorum, None, None), Some(20));
        assert_eq!(limit(Kind::Quorum, Some(-1), None), None);
        assert_eq!(limit(Kind::Quorum, Some(-1), Some(3)), Some(3));
        assert_eq!(limit(Kind::Quorum, Some(-1), Some(-2)), None);
        assert_eq!(limit(Kind::Classic, Some(0), Some(3)), Some(0));
        assert_eq!(limit(Kind::Classic, Some(1 << 40), None), Some(u16::MAX));
    }
}
