//! Topic exchanges: words, `*`, `#`, and each queue once.

use crate::support::{Client, Properties, Scenario, scenarios};

/// A topic exchange `~x` and a queue `~q` bound with these keys.
fn bound(t: &Scenario, keys: &[&str]) -> Client {
    let mut c = t.open();
    c.exchange(1, "~x", "topic");
    c.declare(1, "~q", "exclusive");
    for key in keys {
        c.bind(1, "~q", "~x", key);
    }
    c
}

/// Publishes each key as a message of the same body, and expects exactly the matching ones in `~q`.
fn expect_matches(c: &mut Client, matching: &[&str], others: &[&str]) {
    for key in matching.iter().chain(others) {
        c.publish(1, "~x", key, format!("<{key}>"));
    }
    let matching: Vec<_> = matching.iter().map(|key| format!("<{key}>")).collect();
    c.expect_messages(1, "~q", &matching.iter().map(|body| &**body).collect::<Vec<_>>());
}

fn animals_go_where_their_description_says(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "topic");
    for (queue, key) in [("~q1", "*.orange.*"), ("~q2", "*.*.rabbit"), ("~q2", "lazy.#")] {
        c.call(
            1,
            &format!("queue.declare queue={queue} exclusive"),
            &format!("queue.declare-ok queue={queue} messages=0 consumers=0"),
        );
        c.bind(1, queue, "~x", key);
    }
    for (key, queues) in [
        ("quick.orange.rabbit", &["~q1", "~q2"][..]),
        ("lazy.orange.elephant", &["~q1", "~q2"]),
        ("lazy.brown.fox", &["~q2"]),
        ("lazy.pink.rabbit", &["~q2"]),
        ("quick.brown.fox", &[]),
        ("orange", &[]),
        ("quick.orange.male.rabbit", &[]),
        ("lazy.orange.male.rabbit", &["~q2"]),
    ] {
        c.publish_with(1, &format!("exchange=~x key={key} mandatory"), &Properties::default(), key);
        if queues.is_empty() {
            c.expect(&format!("1 basic.return code=312 text=NO_ROUTE exchange=~x key={key}: {key}"));
        }
        for queue in ["~q1", "~q2"] {
            let bodies = if queues.contains(&queue) { vec![key] } else { vec![] };
            c.expect_messages(1, queue, &bodies);
        }
    }
}

fn a_star_is_exactly_one_word(t: &Scenario) {
    let mut c = bound(t, &["a.*.c"]);
    expect_matches(&mut c, &["a.b.c", "a..c", "a.*.c"], &["a.c", "a.b.b.c", "a.b", "b.b.c", "a.b.c.d"]);
}

fn a_hash_is_any_number_of_words(t: &Scenario) {
    let mut c = bound(t, &["a.#"]);
    expect_matches(&mut c, &["a", "a.b", "a.b.c", "a.", "a.."], &["b", "b.a", "ab", ""]);
}

fn a_hash_alone_matches_everything(t: &Scenario) {
    let mut c = bound(t, &["#"]);
    expect_matches(&mut c, &["", "a", "a.b", ".", "..."], &[]);
}

fn a_hash_in_the_midst_gives_way(t: &Scenario) {
    let mut c = bound(t, &["a.#.z"]);
    expect_matches(&mut c, &["a.z", "a.b.z", "a.z.z", "a.b.c.d.z"], &["a", "z", "a.z.b", "az"]);
}

fn two_hashes_match(t: &Scenario) {
    let mut c = bound(t, &["#.m.#"]);
    expect_matches(&mut c, &["m", "a.m", "m.z", "a.b.m.y.z", "m.m"], &["", "a", "a.b", "am.z"]);
}

fn hash_and_star_together(t: &Scenario) {
    let mut c = bound(t, &["*.#"]);
    expect_matches(&mut c, &["a", "a.b", "a.b.c", "."], &[]);
}

fn star_hash_star_needs_two_words(t: &Scenario) {
    let mut c = bound(t, &["*.#.*"]);
    expect_matches(&mut c, &["a.b", "a.b.c", "a.b.c.d"], &["a", ""]);
}

fn a_star_alone_is_one_word(t: &Scenario) {
    let mut c = bound(t, &["*"]);
    expect_matches(&mut c, &["a", "word"], &["a.b", "."]);
}

fn an_empty_key_matches_the_empty_key(t: &Scenario) {
    let mut c = bound(t, &[""]);
    expect_matches(&mut c, &[""], &["a", "."]);
}

fn words_are_compared_with_case(t: &Scenario) {
    let mut c = bound(t, &["Stock.nyse"]);
    expect_matches(&mut c, &["Stock.nyse"], &["stock.nyse", "Stock.NYSE"]);
}

fn a_queue_bound_three_times_gets_one_copy(t: &Scenario) {
    let mut c = bound(t, &["a.*", "*.b", "#", "a.b"]);
    expect_matches(&mut c, &["a.b"], &[]);
}

fn removing_one_pattern_leaves_the_others(t: &Scenario) {
    let mut c = bound(t, &["a.*", "*.b", "a.b"]);
    c.call(1, "queue.unbind queue=~q exchange=~x key=*.b", "queue.unbind-ok");
    expect_matches(&mut c, &["a.b", "a.c"], &["c.b"]);
    c.call(1, "queue.unbind queue=~q exchange=~x key=a.*", "queue.unbind-ok");
    expect_matches(&mut c, &["a.b"], &["a.c", "c.b"]);
    c.call(1, "queue.unbind queue=~q exchange=~x key=a.b", "queue.unbind-ok");
    expect_matches(&mut c, &[], &["a.b", "a.c", "c.b"]);
}

fn patterns_of_one_exchange_do_not_leak_into_another(t: &Scenario) {
    let mut c = bound(t, &["a", ""]);
    c.exchange(1, "~y", "topic");
    for key in ["a", ""] {
        c.publish_with(1, &format!("exchange=~y key={key} mandatory"), &Properties::default(), "x");
        c.receive("basic.return");
    }
    c.expect_messages(1, "~q", &[]);
}

fn more_than_two_hashes_are_406(t: &Scenario) {
    let mut c = bound(t, &[]);
    c.refused(
        1,
        "queue.bind queue=~q exchange=~x key=#.a.#.b.#",
        "406 PRECONDITION_FAILED - Topic binding key '#.a.#.b.#' uses 3 '#' wildcards, at most 2 are allowed \
         (queue.bind)",
    );
}

scenarios![
    animals_go_where_their_description_says,
    a_star_is_exactly_one_word,
    a_hash_is_any_number_of_words,
    a_hash_alone_matches_everything,
    a_hash_in_the_midst_gives_way,
    two_hashes_match,
    hash_and_star_together,
    star_hash_star_needs_two_words,
    a_star_alone_is_one_word,
    an_empty_key_matches_the_empty_key,
    words_are_compared_with_case,
    a_queue_bound_three_times_gets_one_copy,
    removing_one_pattern_leaves_the_others,
    patterns_of_one_exchange_do_not_leak_into_another,
    more_than_two_hashes_are_406,
];
