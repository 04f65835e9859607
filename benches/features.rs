//! What each feature costs when it is used: processor time for a message, beside a plain queue, in alternating rounds.
//!
//! A broker on the store in memory, a publisher and a consumer that speak through pipes, 16 bytes a body; the processor time is
//! that of the whole process, because dead letters and events have threads of their own. That the features cost nothing when they are not used
//! is what `tests/instructions` watches.
//!
//! `cargo bench --bench features -- [--messages N] [--rounds N] [NAME…]`

#![allow(clippy::unwrap_used)]

mod client;

use anyhow::{Context, Result};
use client::{Client, properties, publish, table};
use tokio::io::AsyncWriteExt;
use warren::arguments::Value;
use warren::broker::Broker;
use warren::message::Properties;
use warren::store;

/// The broker's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// So many messages are published before their deliveries are read.
const BATCH: u64 = 100;

fn text(text: &str) -> Value {
    Value::LongString(text.into())
}

/// A way through the broker.
#[derive(Default)]
struct Feature {
    name: &'static str,
    /// Of the queue.
    arguments: Vec<(&'static str, Value)>,
    /// The exchange's type and arguments; none = the default exchange.
    exchange: Option<(&'static str, Vec<(&'static str, Value)>)>,
    /// Of each message.
    headers: Vec<(&'static str, Value)>,
    /// A header with another number in each message.
    counted: Option<&'static str>,
    expiration: Option<&'static str>,
    priority: Option<u8>,
    is_durable: bool,
    /// Messages come out of another queue, to which this one's dead letters go.
    dies: bool,
    /// Messages do not come out at all.
    drops: bool,
}

fn features() -> Vec<Feature> {
    let plain = |name| Feature { name, ..Feature::default() };
    let with = |name, arguments| Feature { arguments, ..plain(name) };
    let number = Value::LongLongInt;
    vec![
        plain("plain"),
        with("x-max-length, not reached", vec![("x-max-length", number(1_000_000))]),
        with(
            "x-max-length with reject-publish, not reached",
            vec![("x-max-length", number(1_000_000)), ("x-overflow", text("reject-publish"))],
        ),
        Feature {
            drops: true,
            ..with("x-max-length 100: each drops one", vec![("x-max-length", number(100))])
        },
        with("x-message-ttl", vec![("x-message-ttl", number(3_600_000))]),
        Feature { expiration: Some("3600000"), ..plain("expiration") },
        Feature { priority: Some(3), ..with("x-max-priority 5", vec![("x-max-priority", number(5))]) },
        with("x-delivery-limit", vec![("x-delivery-limit", number(20))]),
        with("x-single-active-consumer", vec![("x-single-active-consumer", Value::Boolean(true))]),
        with("x-consumer-timeout", vec![("x-consumer-timeout", number(1_800_000))]),
        with("x-expires", vec![("x-expires", number(3_600_000))]),
        Feature {
            dies: true,
            ..with(
                "dead letters: each dies of x-max-length 0 and is consumed",
                vec![("x-max-length", number(0))],
            )
        },
        Feature {
            counted: Some("x-deduplication-header"),
            ..with("x-message-deduplication", vec![("x-message-deduplication", Value::Boolean(true))])
        },
        Feature { exchange: Some(("fanout", vec![])), ..plain("a fanout exchange") },
        Feature { exchange: Some(("x-consistent-hash", vec![])), ..plain("x-consistent-hash") },
        Feature { exchange: Some(("x-random", vec![])), ..plain("x-random") },
        Feature { exchange: Some(("x-recent-history", vec![])), ..plain("x-recent-history") },
        Feature {
            exchange: Some(("x-delayed-message", vec![("x-delayed-type", text("fanout"))])),
            headers: vec![("x-delay", number(1))],
            ..plain("x-delayed-message, 1 ms")
        },
        plain("plain, once more"),
        Feature { is_durable: true, ..plain("plain, durable") },
        Feature { is_durable: true, ..with("x-queue-type quorum", vec![("x-queue-type", text("quorum"))]) },
        Feature {
            is_durable: true,
            dies: true,
            ..with("durable dead letters, the same", vec![("x-max-length", number(0))])
        },
    ]
}

fn main() -> Result<()> {
    let (mut messages, mut rounds, mut names) = (50_000u64, 15usize, Vec::new());
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--messages" => messages = arguments.next().context("how many?")?.parse()?,
            "--rounds" => rounds = arguments.next().context("how many?")?.parse()?,
            _ => names.push(argument),
        }
    }
    let is_wanted =
        |feature: &Feature| names.is_empty() || names.iter().any(|name| feature.name.contains(name.as_str()));
    let features: Vec<_> = features()
        .into_iter()
        .filter(|feature| feature.name.starts_with("plain") || is_wanted(feature))
        .collect();
    let mut costs = vec![Vec::new(); features.len()];
    for _ in 0..rounds {
        for (feature, costs) in features.iter().zip(&mut costs) {
            costs.push(measure(feature, messages).with_context(|| feature.name)?);
        }
    }
    let median = |mut values: Vec<f64>| {
        values.sort_unstable_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let of = |name| features.iter().position(|feature| feature.name == name).map(|at| &costs[at]);
    // What two rows differ in that are the same says what a difference means.
    println!("{:<62} {:>10} {:>8}", "", "CPU µs", "beside");
    for (feature, own) in features.iter().zip(&costs) {
        let plain = of(if feature.is_durable { "plain, durable" } else { "plain" }).unwrap_or(own);
        // Of the same round: the machine is not equally fast all the time.
        let beside = own.iter().zip(plain).map(|(own, plain)| own / plain).collect();
        println!("{:<62} {:>10.2} {:>7.2}×", feature.name, median(own.clone()), median(beside));
    }
    Ok(())
}

/// Processor seconds of this process, also those of threads that have ended.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Microseconds of processor time for a message.
fn measure(feature: &Feature, messages: u64) -> Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, run(feature, messages))
}

async fn run(feature: &Feature, messages: u64) -> Result<f64> {
    let (store, recovered) = store::memory::open();
    let broker = Broker::start(client::defaults(), store, recovered)?;
    let deadlines = std::sync::Arc::clone(&broker);
    let deadlines = tokio::task::spawn_local(async move { deadlines.mind_deadlines().await });
    let mut publisher = Client::open(&broker).await?;
    let mut arguments = feature.arguments.clone();
    if feature.dies {
        arguments.extend([("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text("dead"))]);
        publisher.declare_queue("dead", feature.is_durable).await?;
    }
    publisher.declare_queue_with("q", feature.is_durable, table(&arguments)).await?;
    let (exchange, key) = if feature.exchange.is_some() { ("x", "1") } else { ("", "q") };
    if let Some((kind, arguments)) = &feature.exchange {
        publisher.declare_exchange_with(exchange, kind, feature.is_durable, table(arguments)).await?;
        publisher.bind_with("q", exchange, key).await?;
    }
    let mut consumer = Client::open(&broker).await?;
    if !feature.drops {
        consumer.consume(if feature.dies { "dead" } else { "q" }, !feature.is_durable).await?;
    }
    if feature.is_durable {
        publisher.select_confirms().await?;
    }
    let frames = |number: u64| publish(exchange, key, &list(feature, number), &[b'x'; 16]);
    // Made before, as far as they are alike.
    let alike = (0..BATCH).flat_map(frames).collect::<Vec<u8>>();
    // The first ones warm up.
    let warm = (messages / 5).next_multiple_of(BATCH);
    let (mut started, mut published) = (0.0, 0);
    while published < warm + messages {
        if published == warm {
            started = cpu_seconds();
        }
        if feature.counted.is_some() {
            let batch = (published..published + BATCH).flat_map(frames).collect::<Vec<u8>>();
            publisher.stream.write_all(&batch).await?;
        } else {
            publisher.stream.write_all(&alike).await?;
        }
        published += BATCH;
        if !feature.drops {
            consumer.receive(published, feature.is_durable).await?;
        } else {
            tokio::task::yield_now().await;
        }
        if feature.is_durable {
            publisher.await_confirms(published).await?;
        }
    }
    let took = cpu_seconds() - started;
    deadlines.abort();
    Ok(took * 1e6 / messages as f64)
}

/// A message's property list.
fn list(feature: &Feature, number: u64) -> Vec<u8> {
    let mut headers = feature.headers.clone();
    headers.extend(feature.counted.map(|name| (name, Value::LongLongInt(number as i64))));
    let raw = properties(&headers, feature.is_durable);
    let parsed = Properties::parse(&raw).unwrap();
    let list = Properties {
        headers: parsed.headers.filter(|_| !headers.is_empty()),
        expiration: feature.expiration.map(str::as_bytes),
        priority: feature.priority,
        ..parsed
    };
    let mut out = Vec::new();
    list.write(&mut out);
    out
}
