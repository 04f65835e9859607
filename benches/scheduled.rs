//! A million scheduled messages: how fast they come in, what a restart in between costs, and how late they are.
//!
//! A broker process of its own on a temporary folder; every message is durable and confirmed before the broker is killed and
//! started again. They are due one behind the other, at a rate; lateness is when the consumer has it less when it was due.
//!
//! A delay counts from when the broker has the message, and nobody outside knows when that is: between the write and the
//! confirm. Messages that took longer than [`KNOWN_MS`] to be confirmed are delivered and checked, but do not say how late they
//! were.
//!
//! `cargo bench --bench scheduled -- [--messages N] [--rate N] [--lead SECONDS]`

#![allow(clippy::unwrap_used)]

mod client;

use anyhow::{Context, Result, bail, ensure};
use client::{Client, properties, publish, table};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use warren::arguments::Value;
use warren::time::{Duration, now, unix_ns};

const BATCH: u64 = 500;
/// So many may be unconfirmed.
const WINDOW: u64 = 2_000;
/// How exactly it must be known when a message came in.
const KNOWN_MS: u64 = 20;

struct Options {
    messages: u64,
    rate: u64,
    lead_s: f64,
}

fn main() -> Result<()> {
    let mut options = Options { messages: 1_000_000, rate: 50_000, lead_s: 25.0 };
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(name) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{name} takes a number"))?;
        match name.as_str() {
            "--messages" => options.messages = value.parse()?,
            "--rate" => options.rate = value.parse()?,
            "--lead" => options.lead_s = value.parse()?,
            _ => bail!("unknown option {name}: --messages, --rate, --lead"),
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(&options))
}

/// A broker process, killed when it is dropped.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Node {
    async fn start(data: &Path, address: SocketAddr) -> Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
        command.arg("--data-dir").arg(data).args(["--listen", &address.to_string()]);
        command.args(["--management-listen", "127.0.0.1:0", "--prometheus-listen", "127.0.0.1:0"]);
        let log = std::fs::File::options().append(true).create(true).open(log_of(data))?;
        let node = Self(command.stderr(log).spawn()?);
        let started = now();
        while TcpStream::connect(address).await.is_err() {
            ensure!(started.elapsed() < Duration::from_secs(60), "the broker does not start");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(node)
    }

    /// Resident memory, in MiB.
    fn resident_mib(&self) -> u64 {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.0.id())).unwrap_or_default();
        let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0);
        (pages * 4096) >> 20
    }
}

/// What the broker says goes beside its data.
fn log_of(data: &Path) -> PathBuf {
    data.with_extension("log")
}

/// # Errors
/// What the broker said went wrong.
fn check_log(data: &Path) -> Result<()> {
    let log = std::fs::read_to_string(log_of(data))?;
    let bad: Vec<_> = log.lines().filter(|line| line.contains("ERROR") || line.contains("WARN")).collect();
    ensure!(bad.is_empty(), "the broker said {} such:\n{}", bad.len(), bad[..bad.len().min(9)].join("\n"));
    Ok(())
}

async fn run(options: &Options) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let data = &directory.path().join("data");
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let node = Node::start(data, address).await?;
    let mut publisher = Client::to(address).await?;
    let delayed = table(&[("x-delayed-type", Value::LongString("fanout".into()))]);
    publisher.declare_exchange_with("later", "x-delayed-message", true, delayed).await?;
    publisher.declare_queue("due", true).await?;
    publisher.bind("due", "later").await?;
    publisher.select_confirms().await?;
    let first_due = unix_ns() + (options.lead_s * 1e9) as u64;
    let due = |number: u64| first_due + number * 1_000_000_000 / options.rate;
    let started = now();
    let mut published = 0;
    // Of each batch: when it was written, and when its confirms were there.
    let mut batches: Vec<(u64, u64)> = Vec::new();
    while published < options.messages {
        let mut batch = Vec::new();
        let at = unix_ns();
        for number in published..(published + BATCH).min(options.messages) {
            let delay_ms = due(number).saturating_sub(at).div_ceil(1_000_000);
            let delay = Value::LongLongInt(i64::try_from(delay_ms)?);
            batch.extend(publish(
                "later",
                "",
                &properties(&[("x-delay", delay)], true),
                &due(number).to_le_bytes(),
            ));
        }
        publisher.stream.write_all(&batch).await?;
        batches.push((at, 0));
        published = (published + BATCH).min(options.messages);
        let confirmed = published.saturating_sub(WINDOW);
        publisher.await_confirms(confirmed).await?;
        if let Some(last) = (confirmed / BATCH).checked_sub(1) {
            batches[last as usize].1 = unix_ns();
        }
    }
    publisher.await_confirms(published).await?;
    let ended = unix_ns();
    let ways_ms = batches.iter().map(|&(written, confirmed)| {
        let confirmed = if confirmed == 0 { ended } else { confirmed };
        (confirmed - written) / 1_000_000
    });
    let ways_ms: Vec<u64> = ways_ms.collect();
    let took = started.elapsed().as_secs_f64();
    println!(
        "in:      {} messages confirmed, {:.0}/s, {} MiB resident",
        published,
        published as f64 / took,
        node.resident_mib()
    );
    drop(node);
    let killed = now();
    let node = Node::start(data, address).await?;
    println!(
        "restart: {:.2} s after kill -9, {} MiB resident",
        killed.elapsed().as_secs_f64(),
        node.resident_mib()
    );
    ensure!(unix_ns() < first_due, "the first was due before all were in: give more --lead");
    let mut consumer = Client::to(address).await?;
    consumer.consume("due", true).await?;
    let (mut lateness_us, mut early, mut unknown) = (Vec::with_capacity(published as usize), 0u64, 0u64);
    consumer
        .each_body(published, |body| {
            let due = body.first_chunk().map_or(0, |due| u64::from_le_bytes(*due));
            let at = unix_ns();
            // The broker counts whole milliseconds.
            early += u64::from(at + 1_000_000 < due);
            let number = (due - first_due) * options.rate / 1_000_000_000;
            match ways_ms.get((number / BATCH) as usize) {
                Some(&way_ms) if way_ms <= KNOWN_MS => lateness_us.push(at.saturating_sub(due) / 1000),
                _ => unknown += 1,
            }
        })
        .await?;
    ensure!(!lateness_us.is_empty(), "of no message it is known when it came in");
    // In the order in which they came: about a second each.
    let worst = lateness_us.chunks(options.rate.max(1) as usize).filter_map(|second| second.iter().max());
    let worst: Vec<_> = worst.map(|us| (us / 1000).to_string()).collect();
    println!("latest of each second, ms: {}", worst.join(" "));
    lateness_us.sort_unstable();
    let at = |share: f64| lateness_us[((lateness_us.len() - 1) as f64 * share) as usize] as f64 / 1000.0;
    println!(
        "out:     {published} at {}/s; late by {:.1} ms (median), {:.1} (p99), {:.1} (p99.9), {:.1} (most); early by over a \
         millisecond: {early}; not known of {unknown}, which were up to {} ms on their way in; {} MiB resident",
        options.rate,
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0),
        ways_ms.iter().max().unwrap_or(&0),
        node.resident_mib()
    );
    check_log(data)
}
