//! Routing through the registry and [`route`], as the broker uses them.

use super::route::{Entry, Exchanges, Routed, route};
use super::*;
use crate::definition::Destination;
use crate::name::{ExchangeName, QueueName};
use std::collections::BTreeMap;

/// A vhost in miniature.
#[derive(Default)]
struct Vhost {
    exchanges: BTreeMap<ExchangeName, (Box<dyn Router>, Option<ExchangeName>)>,
    queues: Vec<QueueName>,
}

impl Exchanges for Vhost {
    fn exchange(&self, name: &ExchangeName) -> Option<Entry<'_>> {
        let (router, alternate) = self.exchanges.get(name)?;
        Some(Entry { router: &**router, alternate: alternate.as_ref(), delays: false, has_window: false })
    }

    fn queue_name(&self, name: &str) -> Option<QueueName> {
        self.queues.iter().find(|queue| queue.as_str() == name).cloned()
    }
}

impl Vhost {
    fn exchange(mut self, name: &str, kind: &str, alternate: Option<&str>) -> Self {
        let router = find(kind).unwrap().new_router(&Table::default());
        self.exchanges.insert(name.into(), (router, alternate.map(ExchangeName::new)));
        self
    }

    /// Binds to the exchange called `to`, or else to a queue.
    fn bind(mut self, source: &str, key: &str, to: &str) -> Self {
        let destination = match self.exchanges.contains_key(to) {
            true => Destination::Exchange(to.into()),
            false => Destination::Queue(to.into()),
        };
        let binding =
            Binding { source: source.into(), destination, key: key.into(), arguments: Table::default() };
        self.exchanges.get_mut(source).unwrap().0.bind(&binding);
        self
    }

    fn route(&self, start: &str, keys: &[&[u8]]) -> Routed {
        route(self, &start.into(), &Publish::new(keys[0], &keys[1..], &Properties::default()))
    }

    fn queues(&self, start: &str, key: &str) -> Vec<String> {
        self.route(start, &[key.as_bytes()]).queues.iter().map(ToString::to_string).collect()
    }
}

#[test]
fn every_type_is_found_by_its_name() {
    assert_eq!(
        TYPES.iter().map(|kind| kind.name()).collect::<Vec<_>>(),
        [
            "direct",
            "fanout",
            "topic",
            "headers",
            "x-consistent-hash",
            "x-modulus-hash",
            "x-random",
            "x-local-random",
            "x-recent-history",
            "x-delayed-message",
            "x-message-deduplication",
        ]
    );
    assert!(TYPES.iter().all(|kind| find(kind.name()).is_some_and(|found| found.name() == kind.name())));
    assert!(find("x-none").is_none());
}

#[test]
fn topic_keys_lead_to_the_queues_of_the_tutorial() {
    let vhost = Vhost::default()
        .exchange("t", "topic", None)
        .bind("t", "*.orange.*", "Q1")
        .bind("t", "*.*.rabbit", "Q2")
        .bind("t", "lazy.#", "Q2");
    for (key, mut queues) in [
        ("quick.orange.rabbit", vec!["Q1", "Q2"]),
        ("lazy.orange.elephant", vec!["Q1", "Q2"]),
        ("quick.orange.fox", vec!["Q1"]),
        ("lazy.brown.fox", vec!["Q2"]),
        ("lazy.pink.rabbit", vec!["Q2"]),
        ("quick.brown.fox", vec![]),
        ("orange", vec![]),
        ("quick.orange.male.rabbit", vec![]),
        ("lazy.orange.male.rabbit", vec!["Q2"]),
    ] {
        let mut found = vhost.queues("t", key);
        found.sort();
        queues.sort_unstable();
        assert_eq!(found, queues, "key {key}");
    }
}

#[test]
fn direct_compares_the_whole_key_and_fanout_none() {
    let vhost = Vhost::default()
        .exchange("d", "direct", None)
        .exchange("f", "fanout", None)
        .bind("d", "k", "a")
        .bind("d", "k", "b")
        .bind("d", "K", "c")
        .bind("f", "k", "b")
        .bind("f", "other", "b")
        .bind("f", "", "a");
    assert_eq!(vhost.queues("d", "k"), ["a", "b"]);
    assert_eq!(vhost.queues("d", "k.x"), [""; 0]);
    assert_eq!(vhost.queues("f", "anything"), ["a", "b"]);
}

#[test]
fn the_default_exchange_takes_the_key_for_a_queue() {
    let vhost = Vhost { queues: vec!["a".into(), "b".into()], ..Vhost::default() };
    assert_eq!(vhost.queues("", "a"), ["a"]);
    assert_eq!(vhost.queues("", "missing"), [""; 0]);
    assert_eq!(
        vhost.route("", &[b"\xff"]),
        Routed { queues: vec![], by_key_alone: true, kept_by: vec![], delayed_by: vec![] }
    );
    let routed = vhost.route("", &[b"a", b"b", b"a", b"missing"]);
    assert_eq!(
        routed,
        Routed {
            queues: vec!["a".into(), "b".into()],
            by_key_alone: false,
            kept_by: vec![],
            delayed_by: vec![]
        }
    );
}

#[test]
fn cycles_of_exchanges_end_and_each_queue_gets_one_copy() {
    let vhost = Vhost::default()
        .exchange("a", "fanout", None)
        .exchange("b", "direct", None)
        .exchange("c", "fanout", None)
        .bind("a", "", "a")
        .bind("a", "", "b")
        .bind("a", "", "q")
        .bind("b", "k", "c")
        .bind("b", "k", "q")
        .bind("c", "", "a")
        .bind("c", "", "r");
    assert_eq!(vhost.queues("a", "k"), ["q", "r"]);
    assert_eq!(vhost.queues("a", "other"), ["q"]);
    assert_eq!(vhost.queues("b", "k"), ["q", "r"]);
}

#[test]
fn the_alternate_exchange_gets_what_no_binding_matched() {
    let vhost = Vhost::default()
        .exchange("a", "direct", Some("b"))
        .exchange("b", "direct", Some("c"))
        .exchange("c", "fanout", None)
        .exchange("dead end", "direct", None)
        .bind("a", "k", "q")
        .bind("a", "nowhere", "dead end")
        .bind("b", "l", "r")
        .bind("c", "", "s");
    assert_eq!(vhost.queues("a", "k"), ["q"]);
    assert_eq!(vhost.queues("a", "l"), ["r"]);
    assert_eq!(vhost.queues("a", "m"), ["s"]);
    // Its own binding matched, so that the message got lost behind it does not count.
    assert_eq!(vhost.queues("a", "nowhere"), [""; 0]);
}

#[test]
fn alternate_exchanges_may_form_a_cycle_or_be_missing() {
    let vhost = Vhost::default()
        .exchange("a", "direct", Some("b"))
        .exchange("b", "direct", Some("a"))
        .exchange("c", "direct", Some("c"))
        .exchange("d", "direct", Some("missing"));
    for start in ["a", "b", "c", "d", "missing"] {
        assert_eq!(vhost.queues(start, "k"), [""; 0], "from {start}");
    }
}

#[test]
fn all_keys_travel_to_every_exchange() {
    let vhost = Vhost::default()
        .exchange("a", "direct", Some("alternate"))
        .exchange("b", "topic", None)
        .exchange("alternate", "fanout", None)
        .bind("a", "k", "b")
        .bind("a", "k", "q")
        .bind("b", "l.*", "r")
        .bind("b", "#", "q")
        .bind("alternate", "", "lost");
    // `l.x` matches nothing in a, yet b sees it, and the alternate exchange does not: the message was routed.
    assert_eq!(
        vhost.route("a", &[b"k", b"l.x", b"k"]),
        Routed {
            queues: vec!["q".into(), "r".into()],
            by_key_alone: false,
            kept_by: vec![],
            delayed_by: vec![]
        }
    );
}

#[test]
fn an_answer_is_kept_by_key_only_if_no_exchange_looked_at_headers() {
    let vhost = Vhost::default()
        .exchange("a", "topic", None)
        .exchange("h", "headers", None)
        .bind("a", "h", "h")
        .bind("a", "q", "q")
        .bind("h", "", "r");
    assert_eq!(
        vhost.route("a", &[b"q"]),
        Routed { queues: vec!["q".into()], by_key_alone: true, kept_by: vec![], delayed_by: vec![] }
    );
    assert_eq!(
        vhost.route("a", &[b"h"]),
        Routed { queues: vec!["r".into()], by_key_alone: false, kept_by: vec![], delayed_by: vec![] }
    );
}

#[test]
fn a_thousand_queues_reached_twice_get_one_copy_each() {
    let mut vhost = Vhost::default().exchange("a", "fanout", None).exchange("b", "fanout", None);
    for queue in (0..1000).map(|n| format!("q{n:03}")) {
        vhost = vhost.bind("a", "", &queue).bind("b", "", &queue);
    }
    let queues = vhost.bind("a", "", "b").queues("a", "");
    assert_eq!(queues, (0..1000).map(|n| format!("q{n:03}")).collect::<Vec<_>>());
}

#[test]
fn chance_chooses_anew_in_each_exchange() {
    let mut vhost = Vhost::default()
        .exchange("x", "x-random", None)
        .exchange("y", "x-random", None)
        .exchange("z", "x-random", None)
        .bind("x", "", "y")
        .bind("x", "", "z");
    for queue in ["y0", "y1", "y2", "y3", "z0", "z1", "z2", "z3"] {
        vhost = vhost.bind(&queue[..1], "", queue);
    }
    let mut counts = BTreeMap::new();
    let properties = Properties::default();
    for random in 0..8_000 {
        let publish = Publish::new(b"k", &[], &properties).with_random(random);
        let routed = route(&vhost, &"x".into(), &publish);
        assert_eq!((routed.queues.len(), routed.by_key_alone), (1, false));
        *counts.entry(routed.queues[0].clone()).or_insert(0) += 1;
    }
    // Over five standard deviations around a thousand.
    assert!(counts.len() == 8 && counts.values().all(|count| (850..1150).contains(count)), "{counts:?}");
}

#[test]
fn a_message_is_kept_wherever_it_passes_a_history() {
    let vhost = Vhost::default()
        .exchange("a", "direct", Some("g"))
        .exchange("g", "x-recent-history", None)
        .exchange("h", "x-recent-history", None)
        .bind("a", "h", "h")
        .bind("a", "q", "q")
        .bind("h", "", "g")
        .bind("h", "", "q");
    let (q, kept) =
        (QueueName::from("q"), |names: &[&str]| names.iter().map(|name| (*name).into()).collect());
    for (key, queues, by_key_alone, kept_by) in [
        (&b"q"[..], vec![q.clone()], true, kept(&[])),
        (b"h", vec![q], false, kept(&["h", "g"])),
        (b"lost", vec![], false, kept(&["g"])),
    ] {
        assert_eq!(vhost.route("a", &[key]), Routed { queues, by_key_alone, kept_by, delayed_by: vec![] });
    }
}
