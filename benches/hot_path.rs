//! The hot path from bytes to bytes, in one thread and without a socket, for counting instructions: `tests/instructions`.
//!
//! `hot_path SCENARIO MESSAGES`: a broker on the store for tests, a publisher and consumers that speak through pipes. Nothing in
//! it depends on the time, so that two runs of the same code execute the same instructions, nearly.

#![allow(clippy::unwrap_used)]

mod client;

use anyhow::{Context, Result};
use client::Client;
use warren::broker::Broker;
use warren::store;

/// The broker's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// So many messages are published before their deliveries are read.
const BATCH: u64 = 100;

/// A way through the broker.
struct Scenario {
    name: &'static str,
    size: usize,
    /// Persistent messages and confirms, and an ack for every 50 messages.
    is_durable: bool,
    /// Queues, each with a consumer, that are bound to a fanout exchange; 1 is the default exchange's.
    queues: usize,
}

const SCENARIOS: &[Scenario] = &[
    Scenario { name: "transient-16", size: 16, is_durable: false, queues: 1 },
    Scenario { name: "transient-1024", size: 1024, is_durable: false, queues: 1 },
    Scenario { name: "durable-16", size: 16, is_durable: true, queues: 1 },
    Scenario { name: "durable-1024", size: 1024, is_durable: true, queues: 1 },
    Scenario { name: "fanout-10", size: 1024, is_durable: false, queues: 10 },
];

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let Some(name) = arguments.next() else {
        SCENARIOS.iter().for_each(|scenario| println!("{}", scenario.name));
        return Ok(());
    };
    let messages: u64 = arguments.next().context("how many messages?")?.parse()?;
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name);
    let scenario =
        scenario.with_context(|| format!("no scenario {name}; without arguments they are listed"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, run(scenario, messages))
}

async fn run(scenario: &Scenario, messages: u64) -> Result<()> {
    let (store, recovered) = store::memory::open();
    let broker = Broker::start(client::defaults(), store, recovered)?;
    let mut publisher = Client::open(&broker).await?;
    let mut consumers = Vec::new();
    let (exchange, key) = if scenario.queues == 1 { ("", "q0") } else { ("x", "") };
    if scenario.queues > 1 {
        publisher.declare_exchange(exchange).await?;
    }
    for index in 0..scenario.queues {
        let name = format!("q{index}");
        publisher.declare_queue(&name, scenario.is_durable).await?;
        if scenario.queues > 1 {
            publisher.bind(&name, exchange).await?;
        }
        let mut consumer = Client::open(&broker).await?;
        consumer.consume(&name, !scenario.is_durable).await?;
        consumers.push(consumer);
    }
    if scenario.is_durable {
        publisher.select_confirms().await?;
    }
    let batch = client::publishes(exchange, key, scenario.size, scenario.is_durable, BATCH as usize);
    let mut published = 0;
    while published < messages {
        tokio::io::AsyncWriteExt::write_all(&mut publisher.stream, &batch).await?;
        published += BATCH;
        for consumer in &mut consumers {
            consumer.receive(published, scenario.is_durable).await?;
        }
        if scenario.is_durable {
            publisher.await_confirms(published).await?;
        }
    }
    Ok(())
}
