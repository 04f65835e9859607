//! A load generator: one producer and one consumer over raw sockets, with a codec that knows only what they need, so
//! that what is measured is the broker. It names nothing of Warren and works against any AMQP 0-9-1 broker.
//!
//! The producer writes messages that carry their number; the consumer checks that every one arrives, once and in
//! order, and the run fails otherwise. The result is one line of JSON: rates, and processor seconds of the broker
//! (`--pid`) and of the generator per million messages that went in and out.
//!
//! `cargo bench --bench load -- --help` lists the options. It depends on std alone, so `rustc -O` builds it in seconds;
//! `benches/compare` does that and runs it against Warren and RabbitMQ in turns.

#![expect(clippy::disallowed_methods, reason = "a load generator is a program of its own and measures time")]

mod consumer;
mod options;
mod processor;
mod producer;
mod wire;

use options::{Mode, Options};
use std::io;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Instant;
use wire::Connection;

/// What the two threads tell each other.
#[derive(Debug)]
struct Shared {
    /// The number of messages of the run, once the producer knows it; `u64::MAX` before.
    total: AtomicU64,
    received: AtomicU64,
    /// The count of received messages at which the producer, parked because of the backlog, wants to be woken.
    wake_at: AtomicU64,
    /// One side failed: the other has nothing to wait for.
    failed: AtomicBool,
}

fn main() -> ExitCode {
    let options = match Options::from_arguments(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{}", options::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("load: {message}\n\n{}", options::USAGE);
            return ExitCode::from(64);
        }
    };
    match run(&options) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the load once and returns the line of JSON.
fn run(options: &Options) -> io::Result<String> {
    let mut publishing = Connection::open(options)?;
    publishing.open_channel()?;
    publishing.delete_queue(&options.queue)?; // left by a run that was interrupted
    publishing.declare_queue(&options.queue, options.mode == Mode::Confirms)?;
    let mut consuming = Connection::open(options)?;
    consuming.open_channel()?;
    consumer::subscribe(&mut consuming, options)?;

    let shared = Shared {
        total: AtomicU64::new(u64::MAX),
        received: AtomicU64::new(0),
        wake_at: AtomicU64::new(u64::MAX),
        failed: AtomicBool::new(false),
    };
    let broker_before = processor::seconds_of(options.pid)?;
    let own_before = processor::seconds_of(Some(std::process::id()))?;
    let start = Instant::now();
    let (produced, consumed) = thread::scope(|scope| {
        let producer = scope.spawn(|| {
            let result = producer::run(&mut publishing, options, &shared, start);
            shared.failed.fetch_or(result.is_err(), SeqCst);
            result
        });
        let waker = producer.thread().clone();
        let consumed = consumer::run(&mut consuming, options, &shared, &waker);
        shared.failed.fetch_or(consumed.is_err(), SeqCst);
        (producer.join().expect("the producer returns its errors"), consumed)
    });
    // Of two errors the producer's is the cause more often: the consumer then only misses messages.
    let (produced, consumed) = (produced?, consumed?);
    let own = processor::seconds_of(Some(std::process::id()))? - own_before;
    let broker = processor::seconds_of(options.pid)? - broker_before;

    publishing.open_channel()?;
    let left = publishing.delete_queue(&options.queue)?;
    if left != 0 {
        return Err(io::Error::other(format!("{left} messages are left in the queue, none was expected")));
    }
    let (product, version) = (publishing.product.clone(), publishing.version.clone());
    publishing.close()?;
    consuming.close()?;
    Ok(report(options, &Measured { product, version, start, produced, consumed, broker, own }))
}

/// The results of a run, before they are written down.
struct Measured {
    product: String,
    version: String,
    start: Instant,
    produced: producer::Produced,
    consumed: consumer::Consumed,
    broker: f64,
    own: f64,
}

fn report(options: &Options, measured: &Measured) -> String {
    let Measured { product, version, start, produced, consumed, broker, own } = measured;
    let messages = consumed.messages;
    let per_second = |end: Instant| messages as f64 / end.duration_since(*start).as_secs_f64();
    let per_million = |seconds: f64| seconds * 1e6 / messages as f64;
    let broker = match options.pid {
        Some(_) => format!(
            r#""broker_cpu_seconds":{broker:.2},"broker_cpu_per_million":{:.3},"#,
            per_million(*broker)
        ),
        None => String::new(),
    };
    format!(
        concat!(
            r#"{{"product":"{}","version":"{}","mode":"{}","size":{},"window":{},"prefetch":{},"ack_every":{},"#,
            r#""messages":{},"seconds":{:.3},"in_per_second":{:.0},"out_per_second":{:.0},{}"#,
            r#""generator_cpu_seconds":{:.2},"generator_cpu_per_million":{:.3},"backlog_peak":{},"blocked_seconds":{:.3}}}"#,
        ),
        product.escape_default(),
        version.escape_default(),
        options.mode.name(),
        options.size,
        options.window,
        options.prefetch,
        options.ack_every,
        messages,
        consumed.last.duration_since(*start).as_secs_f64(),
        per_second(produced.last),
        per_second(consumed.last),
        broker,
        own,
        per_million(*own),
        produced.backlog_peak,
        produced.blocked.as_secs_f64(),
    )
}
