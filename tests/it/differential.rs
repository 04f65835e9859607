//! The same scenarios against Warren and against RabbitMQ: equal transcripts, but for the differences listed here and
//! explained in `docs/compatibility.md`.

use crate::support::broker::{self, Target};
use crate::support::oracle::Oracle;
use crate::support::scenario::{Body, Scenario};
use regex::Regex;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

mod differences;

use differences::DIFFERENCES;

/// A deliberate difference: a line of RabbitMQ's transcript that Warren's has otherwise.
#[derive(Debug)]
struct Difference {
    /// The heading in `docs/compatibility.md` under which the reason stands.
    heading: &'static str,
    /// Scenarios it applies to, as a regular expression over `module::scenario`.
    scenario: &'static str,
    /// RabbitMQ's line, as a regular expression over the whole line.
    rabbitmq: &'static str,
    /// Warren's line; `$1` is what the expression captured.
    warren: &'static str,
    /// Whether the transcripts go separate ways from there.
    is_parting: bool,
}

fn modules() -> Vec<(&'static str, &'static [(&'static str, Body)])> {
    vec![
        ("alternate_exchange", crate::alternate_exchange::ALL),
        ("bindings", crate::bindings::ALL),
        ("channels", crate::channels::ALL),
        ("confirms", crate::confirms::ALL),
        ("consuming", crate::consuming::ALL),
        ("content", crate::content::ALL),
        ("dead_letters", crate::dead_letters::ALL),
        ("direct_reply_to", crate::direct_reply_to::ALL),
        ("exchange_to_exchange", crate::exchange_to_exchange::ALL),
        ("exchanges", crate::exchanges::ALL),
        ("exclusive_and_auto_delete", crate::exclusive_and_auto_delete::ALL),
        ("firehose", crate::firehose::ALL),
        ("handshake", crate::handshake::ALL),
        ("hash_exchanges", crate::hash_exchanges::ALL),
        ("headers_exchange", crate::headers_exchange::ALL),
        ("limits", crate::limits::ALL),
        ("permissions", crate::permissions::ALL),
        ("policies", crate::policies::ALL),
        ("publishing", crate::publishing::ALL),
        ("queue_arguments", crate::queue_arguments::ALL),
        ("queue_expiry", crate::queue_expiry::ALL),
        ("queue_limits", crate::queue_limits::ALL),
        ("queues", crate::queues::ALL),
        ("quorum_queues", crate::quorum_queues::ALL),
        ("random_exchanges", crate::random_exchanges::ALL),
        ("recent_history", crate::recent_history::ALL),
        ("runtime_parameters", crate::runtime_parameters::ALL),
        ("settling", crate::settling::ALL),
        ("topic_routing", crate::topic_routing::ALL),
        ("transactions", crate::transactions::ALL),
        ("vhost_and_user_limits", crate::vhost_and_user_limits::ALL),
        ("vhosts", crate::vhosts::ALL),
    ]
}

/// All scenarios by name.
fn scenarios() -> Vec<(String, Body)> {
    let named = |(module, list): (&'static str, &'static [(&'static str, Body)])| {
        list.iter().map(move |(name, body)| (format!("{module}::{name}"), *body))
    };
    modules().into_iter().flat_map(named).collect()
}

/// What a scenario sees at a broker. A transcript may end early: then its last line says why.
fn transcript(target: Target, body: Body) -> Vec<String> {
    let scenario = Scenario::new(target, false);
    let ended = catch_unwind(AssertUnwindSafe(|| body(&scenario)));
    let mut lines = scenario.trace.lines.take();
    if ended.is_err() {
        lines.push("(ended early)".into());
    }
    lines
}

/// All transcripts at a broker, several scenarios at a time: most of them wait most of the time.
fn transcripts(target: Target, scenarios: &[(String, Body)]) -> Vec<Vec<String>> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(vec![Vec::new(); scenarios.len()]);
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                while let Some((at, (_, body))) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    scenarios.get(at).map(|scenario| (at, scenario))
                } {
                    let lines = transcript(target, *body);
                    done.lock().unwrap()[at] = lines;
                }
            });
        }
    });
    done.into_inner().unwrap()
}

/// Compares two transcripts. Notes the differences that occurred, by their place in the list; returns the first line
/// pair that nothing explains.
fn compare(
    name: &str,
    warren: &[String],
    rabbitmq: &[String],
    occurred: &mut BTreeSet<usize>,
) -> Result<(), String> {
    let end = "(end)".to_string();
    for at in 0..warren.len().max(rabbitmq.len()) {
        let (ours, theirs) = (warren.get(at).unwrap_or(&end), rabbitmq.get(at).unwrap_or(&end));
        if ours == theirs {
            continue;
        }
        let explains = |difference: &Difference| {
            let pattern = |text: &str| Regex::new(&format!("^(?:{text})$")).unwrap();
            let rabbitmq = pattern(difference.rabbitmq);
            pattern(difference.scenario).is_match(name)
                && rabbitmq.is_match(theirs)
                && rabbitmq.replace(theirs, difference.warren) == *ours
        };
        let Some(found) = DIFFERENCES.iter().position(explains) else {
            return Err(format!("{name}, line {}:\n  Warren:   {ours}\n  RabbitMQ: {theirs}", at + 1));
        };
        occurred.insert(found);
        if DIFFERENCES[found].is_parting {
            return Ok(());
        }
    }
    Ok(())
}

#[test]
fn warren_answers_as_rabbitmq_does() {
    let Some(oracle) = Oracle::find() else {
        eprintln!("skipped: rabbitmq-server is not installed");
        return;
    };
    let mut scenarios = scenarios();
    if let Some(only) = std::env::var_os("WARREN_TEST_ONLY") {
        let only = only.into_string().unwrap();
        scenarios.retain(|(name, _)| name.contains(&only));
    }
    let theirs = transcripts(oracle.target, &scenarios);
    let ours = transcripts(broker::shared(), &scenarios);
    let (mut occurred, mut unexplained) = (BTreeSet::new(), Vec::new());
    for ((name, _), (ours, theirs)) in scenarios.iter().zip(ours.iter().zip(&theirs)) {
        unexplained.extend(compare(name, ours, theirs, &mut occurred).err());
    }
    assert!(
        unexplained.is_empty(),
        "{} of {} scenarios differ:\n\n{}\n",
        unexplained.len(),
        scenarios.len(),
        unexplained.join("\n\n")
    );
    let stale: Vec<_> = (0..DIFFERENCES.len()).filter(|at| !occurred.contains(at)).collect();
    let stale: Vec<_> = stale.iter().map(|at| &DIFFERENCES[*at]).collect();
    assert!(stale.is_empty(), "listed differences that do not occur: {stale:#?}");
}

#[test]
fn every_listed_difference_is_explained_in_the_documentation() {
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/compatibility.md")).unwrap();
    let headings: BTreeSet<_> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    for difference in DIFFERENCES {
        assert!(headings.contains(difference.heading), "no heading: {}", difference.heading);
    }
    for heading in headings {
        let is_listed = DIFFERENCES.iter().any(|difference| difference.heading == heading);
        assert!(is_listed, "documented, but no difference of the test: {heading}");
    }
}
