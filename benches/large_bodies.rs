//! What large bodies cost small messages: the confirm latency of a publisher of 16 B messages, window 1, alone and beside
//! a publisher of 1 MiB and of 16 MiB bodies that sends as fast as it may.
//!
//! `cargo bench --bench large_bodies -- --seconds 10`. It starts a broker of its own, on a folder under `--dir`.

#![allow(clippy::unwrap_used)]

use anyhow::{Context, Result, ensure};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueuePurgeOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use warren::time::now;

/// How many large messages may be unconfirmed.
const LARGE_WINDOW: usize = 8;
/// The queue of large messages is emptied after so many bytes, lest the disk fill up.
const PURGE_BYTES: u64 = 256 << 20;

struct Broker(Child);

impl Drop for Broker {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn main() -> Result<()> {
    let mut seconds = 10;
    let mut dir = PathBuf::from("target");
    let mut broker = PathBuf::from(env!("CARGO_BIN_EXE_warren"));
    let mut sizes = vec![0, 1 << 20, 16 << 20];
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().context("a value is missing");
        match argument.as_str() {
            "--seconds" => seconds = value()?.parse()?,
            "--dir" => dir = value()?.into(),
            "--broker" => broker = value()?.into(),
            "--large" => sizes = value()?.split(',').map(str::parse).collect::<Result<_, _>>()?,
            // cargo says so to every bench.
            "--bench" => {}
            other => {
                anyhow::bail!(
                    "unknown argument {other}: --seconds N, --dir FOLDER, --broker PROGRAM, --large BYTES,BYTES"
                )
            }
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    println!(
        "{:>12}  {:>9} {:>9} {:>9} {:>9} {:>9}  {:>11}",
        "large", "confirms", "p50 ms", "p90 ms", "p99 ms", "max ms", "large MiB/s"
    );
    for large in sizes {
        runtime.block_on(measure(&broker, &dir, large, Duration::from_secs(seconds)))?;
    }
    Ok(())
}

async fn measure(broker: &Path, dir: &Path, large: usize, time: Duration) -> Result<()> {
    let data = tempfile::tempdir_in(dir)?;
    let port = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    let (amqp, management, prometheus) = (port()?, port()?, port()?);
    let mut command = Command::new(broker);
    command.arg("serve").arg("--data-dir").arg(data.path().join("data"));
    command.args(["--listen", &amqp.to_string(), "--management-listen", &management.to_string()]);
    command.args(["--prometheus-listen", &prometheus.to_string()]);
    let _broker = Broker(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
    let uri = format!("amqp://guest:guest@{amqp}/%2f");
    let small = loop {
        match open(&uri, "small").await {
            Ok(channel) => break channel,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    let (is_over, bytes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let flood = (large > 0)
        .then(|| tokio::spawn(flood(uri.clone(), large, Arc::clone(&is_over), Arc::clone(&bytes))));
    // The flood is to have begun.
    tokio::time::sleep(Duration::from_millis(if large > 0 { 1_000 } else { 200 })).await;
    let (started, before) = (now(), bytes.load(Relaxed));
    let mut latencies = Vec::new();
    while started.elapsed() < time {
        let sent = now();
        confirm(publish(&small.1, "small", &[7; 16]).await?).await?;
        latencies.push(sent.elapsed());
    }
    let rate = (bytes.load(Relaxed) - before) as f64 / started.elapsed().as_secs_f64() / f64::from(1 << 20);
    is_over.store(true, Relaxed);
    if let Some(flood) = flood {
        flood.await??;
    }
    latencies.sort_unstable();
    let at = |part: f64| {
        let index = ((latencies.len() as f64 * part) as usize).min(latencies.len() - 1);
        latencies[index].as_secs_f64() * 1_000.0
    };
    println!(
        "{large:>12}  {:>9} {:>9.2} {:>9.2} {:>9.2} {:>9.2}  {rate:>11.1}",
        latencies.len(),
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
    Ok(())
}

/// A connection with a channel that confirms, and a durable queue.
async fn open(uri: &str, queue: &str) -> Result<(Connection, Channel)> {
    let connection = Connection::connect(uri, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(queue.into(), options, FieldTable::default()).await?;
    Ok((connection, channel))
}

async fn publish(
    channel: &Channel,
    queue: &str,
    body: &[u8],
) -> Result<impl Future<Output = lapin::Result<Confirmation>>> {
    let properties = BasicProperties::default().with_delivery_mode(2);
    Ok(channel
        .basic_publish("".into(), queue.into(), BasicPublishOptions::default(), body, properties)
        .await?)
}

async fn confirm(confirm: impl Future<Output = lapin::Result<Confirmation>>) -> Result<()> {
    ensure!(matches!(confirm.await?, Confirmation::Ack(_)), "a publish was not acked");
    Ok(())
}

/// Publishes large messages until it is over.
async fn flood(uri: String, large: usize, is_over: Arc<AtomicBool>, bytes: Arc<AtomicU64>) -> Result<()> {
    let (_connection, channel) = open(&uri, "large").await?;
    let body = vec![1; large];
    let mut waiting = std::collections::VecDeque::new();
    let mut kept = 0;
    while !is_over.load(Relaxed) {
        waiting.push_back(publish(&channel, "large", &body).await?);
        if waiting.len() >= LARGE_WINDOW {
            confirm(waiting.pop_front().unwrap()).await?;
            bytes.fetch_add(large as u64, Relaxed);
            kept += large as u64;
        }
        if kept >= PURGE_BYTES {
            kept = 0;
            channel.queue_purge("large".into(), QueuePurgeOptions::default()).await?;
        }
    }
    for publish in waiting {
        confirm(publish).await?;
    }
    Ok(())
}
