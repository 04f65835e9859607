//! What is refused and how, what applies, what counts.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn check(whose: Whose, draft: Draft) -> Result<Compiled, String> {
    Compiled::check(whose, "p".into(), draft).map_err(|invalid| invalid.to_string())
}

fn draft(pattern: &str, definition: Value) -> Draft {
    Draft { pattern: pattern.into(), definition, ..Draft::default() }
}

fn policy(name: &str, pattern: &str, priority: i64, apply_to: &str, definition: Value) -> Compiled {
    let draft = Draft {
        priority: Some(priority.into()),
        apply_to: Some(apply_to.into()),
        ..draft(pattern, definition)
    };
    Compiled::check(Whose::Users, name.into(), draft).unwrap()
}

fn policies(users: Vec<Compiled>, operators: Vec<Compiled>) -> Policies {
    let mut policies = Policies::default();
    users.into_iter().for_each(|policy| policies.put(Whose::Users, policy));
    operators.into_iter().for_each(|policy| policies.put(Whose::Operators, policy));
    policies
}

fn names(applied: &Applied) -> [Option<&str>; 2] {
    [&applied.policy, &applied.operator_policy]
        .map(|policy| policy.as_ref().map(|policy| policy.name.as_str()))
}

fn queue<'a>(name: &'a str, kind: &'a str) -> Target<'a> {
    Target::Queue { name, kind }
}

#[test]
fn a_key_that_nobody_knows_is_named_with_its_value() {
    for (definition, named) in [
        (json!({"x": 1}), r#"{<<"x">>,1}"#),
        (json!({"y": {"a": 1}, "x": "b"}), r#"{<<"x">>,<<"b">>},{<<"y">>,#{<<"a">> => 1}}"#),
        (json!({"max-length": 1, "max-priority": 5}), r#"{<<"max-priority">>,5}"#),
        (json!({"é": [true, null, 1.5]}), r#"{<<"é"/utf8>>,[true,null,1.5]}"#),
    ] {
        let expected = format!("Validation failed\n\n[{named}] are not recognised policy settings\n");
        assert_eq!(check(Whose::Users, draft("", definition)).unwrap_err(), expected);
    }
}

#[test]
fn a_value_that_its_key_cannot_have_is_refused_in_rabbitmqs_words() {
    for (key, bad, words) in [
        ("alternate-exchange", json!(1), "alternate exchange name"),
        ("consumer-timeout", json!(-1), "consumer timeout"),
        ("dead-letter-exchange", json!("x".repeat(256)), "dead letter exchange name"),
        ("dead-letter-routing-key", json!(1), "dead letter routing key"),
        ("dead-letter-strategy", json!("sometimes"), "dead letter strategy"),
        ("delayed-retry-max", json!("x"), "delayed retry maximum"),
        ("delayed-retry-min", json!(-1), "delayed retry minimum"),
        ("delayed-retry-type", json!("never"), "delayed retry type"),
        ("delivery-limit", json!(1.5), "delivery limit"),
        ("durability", json!("fsync"), "durability"),
        ("expires", json!(0), "queue expiry"),
        ("initial-cluster-size", json!(-1), "cluster size"),
        ("max-age", json!("5x"), "max age"),
        ("max-in-memory-bytes", json!(-1), "maximum memory in bytes"),
        ("max-in-memory-length", json!(-1), "maximum memory in bytes"),
        ("max-length", json!("a"), "maximum length"),
        ("max-length-bytes", json!(-1), "maximum length in bytes"),
        ("message-ttl", json!(315_360_000_001_i64), "message TTL"),
        ("overflow", json!("drop-tail"), "overflow value"),
        ("queue-leader-locator", json!("x"), "queue leader locator value"),
        ("queue-mode", json!("x"), "queue-mode value"),
        ("queue-version", json!(3), "queue-version value"),
        ("stream-filter-size-bytes", json!(15), "filter size. Valid range is 16-255"),
        ("stream-max-segment-size-bytes", json!(-1), "segment size"),
        ("target-group-size", json!(-1), "target group size"),
    ] {
        // What is wrong with a value is said before what is unknown.
        let error = check(Whose::Users, draft("", json!({ key: bad, "a": 1 }))).unwrap_err();
        let expected = format!("Validation failed\n\n{} is not a valid {words}\n", Term(&bad));
        assert_eq!(error, expected);
    }
}

#[test]
fn every_key_has_a_value_that_it_may_have() {
    let words = ["x", "at-least-once", "all", "sync", "drop-head", "balanced", "lazy", "7D", "interval(50)"];
    let values: Vec<Value> = words.into_iter().map(Value::from).chain([1, 16].map(Value::from)).collect();
    for key in keys::KEYS {
        assert!(values.iter().any(|value| key.fault(value).is_none()), "{}", key.name);
    }
    assert!(keys::KEYS.is_sorted_by_key(|key| key.name));
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let draft = Draft {
        pattern: "(".into(),
        definition: json!({"x": 1}),
        priority: Some("a".into()),
        apply_to: Some("foo".into()),
    };
    let expected = concat!(
        "Validation failed\n\n",
        "[{<<\"x\">>,1}] are not recognised policy settings\n",
        "apply-to 'foo' unrecognised; should be one of: 'queues', 'classic_queues',  'quorum_queues', 'streams', ",
        "'exchanges', or 'all'\n",
        "pattern should be regular expression but is invalid: unclosed group\n",
        "priority should be a number, actually was <<\"a\">>\n",
    );
    assert_eq!(check(Whose::Users, draft).unwrap_err(), expected);
}

#[test]
fn a_policy_without_a_definition_or_with_a_pattern_that_is_none_is_refused() {
    let reason = |pattern: Value, definition: Value| {
        let draft = Draft { pattern, definition, ..Draft::default() };
        let error = check(Whose::Users, draft).unwrap_err();
        error.trim_start_matches("Validation failed\n\n").trim_end().to_owned()
    };
    let any = json!({"max-length": 1});
    assert_eq!(reason("".into(), json!({})), "no policy provided");
    assert_eq!(reason("".into(), json!("x")), "definition must be a dictionary: <<\"x\">>");
    assert_eq!(reason(1.into(), any.clone()), "pattern should be a binary but was 1");
    let long = "ä".repeat(1025);
    let expected = "pattern should have at most 1024 characters but has 1025";
    assert_eq!(reason(long.into(), any.clone()), expected);
    assert!(reason("(((a{100}){100}){100})".into(), any.clone()).contains("size limit"));
    assert!(reason("^(?!amq\\.)".into(), any.clone()).contains("look-around"));
    assert!(check(Whose::Users, draft(&"ä".repeat(1024), any)).is_ok());
}

#[test]
fn operators_set_what_bounds_a_queue() {
    let operators: Vec<&str> =
        keys::KEYS.iter().filter(|key| key.is_operators()).map(|key| key.name).collect();
    let expected = [
        "delayed-retry-max",
        "delayed-retry-min",
        "delayed-retry-type",
        "delivery-limit",
        "expires",
        "max-in-memory-bytes",
        "max-in-memory-length",
        "max-length",
        "max-length-bytes",
        "message-ttl",
        "overflow",
        "queue-version",
        "target-group-size",
    ];
    assert_eq!(operators, expected);
    let error = check(Whose::Operators, draft("", json!({"dead-letter-exchange": "x"}))).unwrap_err();
    assert!(error.contains(r#"[{<<"dead-letter-exchange">>,<<"x">>}] are not recognised"#), "{error}");
}

#[test]
fn a_pattern_is_searched_for_anywhere_in_a_name() {
    let policies = policies(vec![policy("p", "q[0-9]", 0, "all", json!({"max-length": 1}))], vec![]);
    for (name, is_meant) in [("q1", true), ("my q1 here", true), ("q", false), ("", false)] {
        assert_eq!(policies.of(queue(name, "classic")).policy.is_some(), is_meant, "{name}");
        assert_eq!(policies.of(Target::Exchange(name)).policy.is_some(), is_meant, "{name}");
    }
}

#[test]
fn a_policy_is_for_what_it_names() {
    for (apply_to, expected) in [
        ("all", [true, true, true]),
        ("exchanges", [true, false, false]),
        ("queues", [false, true, true]),
        ("classic_queues", [false, true, false]),
        ("quorum_queues", [false, false, true]),
        ("streams", [false, false, false]),
    ] {
        let policies = policies(vec![policy("p", ".*", 0, apply_to, json!({"max-length": 1}))], vec![]);
        let targets = [Target::Exchange("x"), queue("x", "classic"), queue("x", "quorum")];
        assert_eq!(targets.map(|target| policies.of(target).policy.is_some()), expected, "{apply_to}");
    }
}

#[test]
fn the_highest_priority_counts_and_of_equal_ones_the_first_name() {
    let at = |name, priority| policy(name, ".*", priority, "all", json!({"max-length": 1}));
    let mut policies = policies(vec![at("b", 3), at("a", 3), at("low", -1), at("c", 3)], vec![at("o", 9)]);
    let applied = |policies: &Policies| {
        names(&policies.of(queue("q", "classic"))).map(|name| name.unwrap_or("").to_owned())
    };
    assert_eq!(applied(&policies), ["a", "o"]);
    policies.put(Whose::Users, at("low", 4));
    assert_eq!(applied(&policies), ["low", "o"]);
    assert!(policies.remove(Whose::Users, "low") && !policies.remove(Whose::Users, "low"));
    policies.put(Whose::Users, at("a", 2));
    policies.remove(Whose::Operators, "o");
    assert_eq!(applied(&policies), ["b", ""]);
}

#[test]
fn one_key_that_a_queue_type_does_not_know_and_the_next_policy_counts() {
    for (key, value, classic, quorum) in [
        ("max-in-memory-length", json!(1), false, true),
        ("target-group-size", json!(1), false, true),
        ("queue-mode", json!("lazy"), true, false),
        ("ha-mode", json!("all"), true, false),
        ("max-age", json!("7D"), false, false),
        ("delivery-limit", json!(1), true, true),
        ("dead-letter-strategy", json!("at-least-once"), true, true),
        ("consumer-timeout", json!(1), true, true),
        ("delayed-retry-type", json!("all"), true, true),
        ("durability", json!("os"), true, true),
    ] {
        let high = policy("high", ".*", 1, "all", json!({ "max-length": 1, key: value }));
        let policies = policies(vec![high, policy("low", ".*", 0, "all", json!({"max-length": 2}))], vec![]);
        let is_high = |kind| names(&policies.of(queue("q", kind)))[0] == Some("high");
        assert_eq!((is_high("classic"), is_high("quorum")), (classic, quorum), "{key}");
        // It is one for exchanges all the same.
        assert_eq!(names(&policies.of(Target::Exchange("q")))[0], Some("high"));
    }
}

#[test]
fn of_both_policies_the_stricter_value_counts() {
    for (key, users, operators, expected) in [
        ("max-length", json!(5), json!(7), json!(5)),
        ("max-length", json!(7), json!(5), json!(5)),
        ("message-ttl", json!(7), json!(5), json!(5)),
        ("expires", json!(5), json!(7), json!(5)),
        ("delayed-retry-max", json!(5), json!(7), json!(5)),
        ("delayed-retry-min", json!(5), json!(7), json!(7)),
        ("delayed-retry-min", json!(7), json!(5), json!(7)),
        ("target-group-size", json!(5), json!(3), json!(5)),
        ("overflow", json!("drop-head"), json!("reject-publish"), json!("reject-publish")),
        ("delayed-retry-type", json!("all"), json!("failed"), json!("failed")),
        ("queue-version", json!(2), json!(1), json!(1)),
        ("delivery-limit", json!(5), json!(7), json!(5)),
        ("delivery-limit", json!(-1), json!(7), json!(7)),
        ("delivery-limit", json!(5), json!(-1), json!(5)),
        ("delivery-limit", json!(-2), json!(-1), json!(-1)),
    ] {
        let users = policy("u", "", 0, "all", json!({ key: users, "dead-letter-exchange": "d" }));
        let operators = policy("o", "", 0, "all", json!({ key: operators, "max-length-bytes": 9 }));
        let effective = policies(vec![users], vec![operators]).of(queue("q", "quorum")).effective();
        let expected = json!({ key: expected, "dead-letter-exchange": "d", "max-length-bytes": 9 });
        assert_eq!(Value::from_iter(effective), expected, "{key}");
    }
}

#[test]
fn a_stored_pattern_that_is_none_matches_nothing_and_is_told() {
    let definition = PolicyKeys::from([("max-length".to_owned(), json!(1))]);
    let stored = Policy { pattern: "(".into(), definition, ..Policy::default() };
    let (compiled, reason) = Compiled::stored("p".into(), stored);
    assert_eq!(reason.as_deref(), Some("unclosed group"));
    assert_eq!(names(&policies(vec![compiled], vec![]).of(queue("(", "classic"))), [None, None]);
}

fn some_policies() -> impl Strategy<Value = Vec<(String, i64, &'static str, bool)>> {
    let apply_to = prop::sample::select(ApplyTo::ALL.map(ApplyTo::name).to_vec());
    prop::collection::vec(("[a-e]", -2i64..3, apply_to, any::<bool>()), 0..8)
}

proptest! {
    /// Whatever was put, replaced and removed in which order: what applies is the best of those that are there.
    #[test]
    fn what_applies_is_the_best_of_those_that_match(
        put in some_policies(),
        removed in "[a-e]",
        kind in prop::sample::select(vec!["classic", "quorum"]),
    ) {
        let mut policies = Policies::default();
        let mut naive = std::collections::BTreeMap::new();
        for (name, priority, apply_to, is_lazy) in put {
            let definition = if is_lazy { json!({"queue-mode": "lazy"}) } else { json!({"max-age": "1s", "max-length": 1}) };
            let definition = if priority == 0 { json!({"expires": 5}) } else { definition };
            policies.put(Whose::Users, policy(&name, "q", priority, apply_to, definition.clone()));
            naive.insert(name, (priority, apply_to, definition));
        }
        policies.remove(Whose::Users, &removed);
        naive.remove(&removed);
        let is_meant = |apply_to: &str, definition: &Value| {
            let is_kind = ["all", "queues"].contains(&apply_to) || apply_to == format!("{kind}_queues");
            let is_known = definition.get("max-age").is_none()
                && (kind == "classic" || definition.get("queue-mode").is_none());
            is_kind && is_known
        };
        let best = naive
            .iter()
            .filter(|(_, (_, apply_to, definition))| is_meant(apply_to, definition))
            .max_by_key(|(name, (priority, ..))| (*priority, std::cmp::Reverse((*name).clone())));
        let applied = policies.of(queue("a queue", kind));
        prop_assert_eq!(names(&applied)[0], best.map(|(name, _)| name.as_str()));
        prop_assert!(policies.of(queue("other", kind)).policy.is_none() || "other".contains('q'));
    }

    /// No operator's limit can be exceeded by what users set, and nothing that only one of them sets is lost.
    #[test]
    fn an_operators_limit_bounds_a_users(user in 0i64..100, operator in 0i64..100, other in 0i64..100) {
        let users = policy("u", "", 0, "all", json!({"max-length": user, "expires": other + 1}));
        let operators = policy("o", "", 0, "all", json!({"max-length": operator, "message-ttl": other}));
        let effective = policies(vec![users], vec![operators]).of(queue("q", "classic")).effective();
        let expected = json!({"max-length": user.min(operator), "expires": other + 1, "message-ttl": other});
        prop_assert_eq!(Value::from_iter(effective), expected);
    }
}
