//! Whether independent queues share anything that costs: the same traffic in one thread, and in several at once.
//!
//! A thread has a publisher, a consumer and the broker's ends of their pipes, on a runtime of its own; the threads share a broker. So where
//! nothing is shared, several do as many times the work. The limit is what the same number of *brokers* does: memory bandwidth
//! and clock are shared in any case. A lock that is waited for shows as a voluntary switch of the thread.
//!
//! `cargo bench --bench cores -- [--seconds N] [--rounds N] [--threads N]`

#![allow(clippy::unwrap_used)]

mod client;

use anyhow::{Context, Result, bail};
use client::Client;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Barrier};
use std::thread;
use tokio::io::AsyncWriteExt;
use warren::broker::Broker;
use warren::store;
use warren::time::{Duration, now};

/// The broker's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// So many messages are published before deliveries are read.
const BATCH: u64 = 100;
/// Of one queue.
const ON_THEIR_WAY_MAX: i64 = 1000;

/// What the threads have in common.
#[derive(Clone, Copy, PartialEq)]
enum Sharing {
    /// A broker each.
    Nothing,
    /// A broker; each has a queue.
    Broker,
    /// A queue, too.
    Queue,
}

struct Scenario {
    name: &'static str,
    size: usize,
    is_durable: bool,
}

const SCENARIOS: &[Scenario] = &[
    Scenario { name: "transient, 16 B", size: 16, is_durable: false },
    Scenario { name: "transient, 1 KiB", size: 1024, is_durable: false },
    Scenario { name: "persistent, confirms and acks, 16 B, journal in memory", size: 16, is_durable: true },
];

struct Options {
    seconds: f64,
    rounds: usize,
    threads: usize,
}

/// Of one run.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    per_second: f64,
    /// Voluntary switches of all threads, for a million messages.
    switches: f64,
}

fn main() -> Result<()> {
    let options = options()?;
    println!("{} threads, medians of {} rounds of {} s\n", options.threads, options.rounds, options.seconds);
    println!("| | messages/s | × one thread | waits per million |\n|---|---|---|---|");
    for scenario in SCENARIOS {
        let kinds = [
            ("one thread", 1, Sharing::Broker),
            ("a broker each", options.threads, Sharing::Nothing),
            ("one broker, a queue each", options.threads, Sharing::Broker),
            ("one broker, one queue", options.threads, Sharing::Queue),
        ];
        let mut figures = vec![Vec::new(); kinds.len()];
        for _ in 0..options.rounds {
            for ((_, threads, sharing), figures) in kinds.iter().zip(&mut figures) {
                figures.push(run(scenario, *threads, *sharing, options.seconds)?);
            }
        }
        let figures: Vec<_> = figures.iter().map(|rounds| median(rounds)).collect();
        println!("| **{}** | | | |", scenario.name);
        for ((name, ..), of) in kinds.iter().zip(&figures) {
            let times = of.per_second / figures[0].per_second;
            println!("| {name} | {:.0} | {times:.2} | {:.1} |", of.per_second, of.switches);
        }
    }
    Ok(())
}

fn options() -> Result<Options> {
    let threads = thread::available_parallelism().map_or(2, Into::into);
    let mut options = Options { seconds: 2.0, rounds: 5, threads };
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(name) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{name} needs a value"))?;
        match &*name {
            "--seconds" => options.seconds = value.parse()?,
            "--rounds" => options.rounds = value.parse()?,
            "--threads" => options.threads = value.parse()?,
            _ => bail!("{name} is none of --seconds, --rounds, --threads"),
        }
    }
    Ok(options)
}

/// By each figure.
fn median(rounds: &[Figures]) -> Figures {
    let of = |figure: fn(&Figures) -> f64| {
        let mut all: Vec<_> = rounds.iter().map(figure).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    Figures { per_second: of(|f| f.per_second), switches: of(|f| f.switches) }
}

fn run(scenario: &Scenario, threads: usize, sharing: Sharing, seconds: f64) -> Result<Figures> {
    let (begin, messages) = (Barrier::new(threads + 1), AtomicU64::new(0));
    let switches = AtomicU64::new(0);
    let start_runtime = tokio::runtime::Runtime::new()?;
    let new_broker = || {
        let _inside = start_runtime.enter();
        let (store, recovered) = store::memory::open();
        Broker::start(client::defaults(), store, recovered)
    };
    let shared = new_broker()?;
    let counts: Vec<_> = (0..threads).map(|_| Arc::new(AtomicI64::new(0))).collect();
    let took = thread::scope(|scope| -> Result<Duration> {
        let mut handles = Vec::new();
        for thread in 0..threads {
            let broker = if sharing == Sharing::Nothing { new_broker()? } else { Arc::clone(&shared) };
            let queue = if sharing == Sharing::Queue { "q".to_owned() } else { format!("q{thread}") };
            let on_their_way = Arc::clone(&counts[if sharing == Sharing::Queue { 0 } else { thread }]);
            let (begin, messages, switches) = (&begin, &messages, &switches);
            handles.push(scope.spawn(move || -> Result<()> {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                let work = traffic(scenario, &broker, &queue, begin, seconds, (&on_their_way, messages));
                let waits = tokio::task::LocalSet::new().block_on(&runtime, work)?;
                switches.fetch_add(waits, Relaxed);
                Ok(())
            }));
        }
        begin.wait();
        let started = now();
        for handle in handles {
            handle.join().expect("no thread panics")?;
        }
        Ok(now() - started)
    })?;
    let messages = messages.load(Relaxed) as f64;
    let switches = switches.load(Relaxed) as f64;
    Ok(Figures { per_second: messages / took.as_secs_f64(), switches: switches / messages * 1e6 })
}

/// Publishes and consumes for that time; returns how often this thread waited for something meanwhile.
async fn traffic(
    scenario: &Scenario,
    broker: &Arc<Broker>,
    queue: &str,
    begin: &Barrier,
    seconds: f64,
    (on_their_way, messages): (&AtomicI64, &AtomicU64),
) -> Result<u64> {
    let mut publisher = Client::open(broker).await?;
    publisher.declare_queue(queue, scenario.is_durable).await?;
    if scenario.is_durable {
        publisher.select_confirms().await?;
    }
    let mut consumer = Client::open(broker).await?;
    consumer.consume(queue, !scenario.is_durable).await?;
    let bytes = client::publishes("", queue, scenario.size, scenario.is_durable, BATCH as usize);
    begin.wait();
    let end = now() + Duration::from_secs_f64(seconds);
    let before = voluntary_switches()?;
    let (mut published, mut received) = (0, 0);
    while now() < end {
        // With one queue for all, some of them go to others' consumers, and some of theirs come here.
        if on_their_way.load(Relaxed) < ON_THEIR_WAY_MAX {
            publisher.stream.write_all(&bytes).await?;
            published += BATCH;
            on_their_way.fetch_add(BATCH as i64, Relaxed);
        }
        tokio::task::yield_now().await;
        if scenario.is_durable {
            publisher.await_confirms(published).await?;
        }
        let count = consumer.receive_ready(scenario.is_durable).await?;
        on_their_way.fetch_sub(count as i64, Relaxed);
        received += count;
    }
    messages.fetch_add(received, Relaxed);
    Ok(voluntary_switches()? - before)
}

/// Of this thread, since it began.
fn voluntary_switches() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/thread-self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    Ok(line.context("the kernel does not count switches")?.trim().parse()?)
}
