//! Routers: one message to the destinations of an exchange, without the connections' cache of routes.

use criterion::{Criterion, Throughput};
use std::hint::black_box;
use warren::definition::{Binding, Destination};
use warren::exchange::{self, Matches, Publish, Router};
use warren::message::Properties;
use warren::name::{BindingKey, ExchangeName, QueueName};

/// Bindings of the large exchanges.
const BINDINGS: usize = 100_000;
/// Routes that are timed together.
const KEYS: usize = 1000;

pub(crate) fn routing(c: &mut Criterion) {
    let mut group = c.benchmark_group("routing");
    group.throughput(Throughput::Elements(KEYS as u64));
    let direct = |n: usize| format!("key.{n}");
    let keys: Vec<_> = (0..KEYS).map(|n| direct(n * 97 % BINDINGS)).collect();
    let mut measure = |name: &str, router: &dyn Router, keys: &[String]| {
        let found = route(router, keys);
        assert!(found >= keys.len(), "{name}: every key leads somewhere");
        group.bench_function(format!("{name}, {:.1} found", found as f64 / keys.len() as f64), |b| {
            b.iter(|| route(router, black_box(keys)));
        });
    };
    measure("direct, 100,000 bindings", &*router("direct", (0..BINDINGS).map(direct)), &keys);
    let small = ["#.error", "eu.*.temperature", "eu.#", "us.*.#"].map(str::to_owned);
    let small_keys = vec!["eu.berlin.temperature".to_owned(); KEYS];
    measure("topic, 4 bindings", &*router("topic", small.into_iter()), &small_keys);
    // What sensors send: three words and a kind. Seven of ten bindings have no wildcard, two a `*`, one a `#`.
    let sensor = |n: usize| (n % 10, n / 10 % 100, n / 1000);
    let pattern = |n: usize| {
        let (region, site, device) = sensor(n);
        match n * 7 % 10 {
            0 => format!("region{region}.site{site}.device{device}.#"),
            1 | 2 => format!("region{region}.site{site}.*.kind{device}"),
            _ => format!("region{region}.site{site}.device{device}.temperature"),
        }
    };
    let key = |n: usize| {
        let (region, site, device) = sensor(n);
        format!("region{region}.site{site}.device{device}.temperature")
    };
    // Only those that a binding matches: the wildcards' own and the exact ones.
    let matched = (0..BINDINGS).filter(|n| !matches!(n * 7 % 10, 1 | 2));
    let keys: Vec<_> = matched.step_by(71).take(KEYS).map(key).collect();
    measure("topic, 100,000 bindings", &*router("topic", (0..BINDINGS).map(pattern)), &keys);
    let weights = || (0..100).map(|n| (1 + n % 3).to_string());
    for kind in ["x-consistent-hash", "x-modulus-hash", "x-random"] {
        measure(&format!("{kind}, 100 bindings"), &*router(kind, weights()), &keys);
    }
    group.finish();
}

fn router(kind: &str, keys: impl Iterator<Item = String>) -> Box<dyn Router> {
    let mut router = exchange::find(kind).unwrap().new_router(&Default::default());
    for (n, key) in keys.enumerate() {
        router.bind(&Binding {
            source: ExchangeName::new("exchange"),
            destination: Destination::Queue(QueueName::new(&format!("queue{n}"))),
            key: BindingKey::new(&key),
            arguments: Default::default(),
        });
    }
    router
}

/// How many destinations were found.
fn route(router: &dyn Router, keys: &[String]) -> usize {
    let (mut found, properties) = (0, Properties::default());
    for key in keys {
        let mut matches = Matches::default();
        router.route(&Publish::new(key.as_bytes(), &[], &properties), &mut matches);
        found += matches.len();
    }
    found
}
