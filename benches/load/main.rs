//! A load generator: one producer and one consumer over raw sockets, with a codec that knows only what they need, so
//! that what is measured is the broker. It names nothing of Warren and works against any AMQP 0-9-1 broker.
//!
//! The producer writes messages that carry their number; the consumer checks that every one arrives, once and in
//! order, and the run fails otherwise. A run may have only one of the two sides (`--part`), so that a backlog can be
//! made and drained, and several queues. The result is one line of JSON: rates, and processor seconds of the broker
//! (`--pid`) and of the generator per million messages that went in and out.
//!
//! `cargo bench --bench load -- --help` lists the options. It depends on std alone, so `rustc -O` builds it in seconds;
//! `benches/compare` does that and runs it against Warren and RabbitMQ in turns.

#![expect(clippy::disallowed_methods, reason = "a load generator is a program of its own and measures time")]

mod consumer;
mod options;
mod processor;
mod producer;
mod progress;
mod wire;

use consumer::Consumed;
use options::{Bound, Mode, Options, Part};
use producer::Produced;
use std::io;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};
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
    let queues: Vec<String> = (0..options.queues).map(|index| options.queue_of(index)).collect();
    let mut publishing = Connection::open(options)?;
    publishing.open_channel()?;
    if options.part == Part::Both {
        delete(&mut publishing, &queues)?; // left by a run that was interrupted
    }
    let declaring = Instant::now();
    publishing.declare_queues(&queues, options.mode == Mode::Confirms)?;
    let declared = declaring.elapsed();
    let mut consuming = Connection::open(options)?;
    consuming.open_channel()?;
    let broker_before = processor::seconds_of(options.pid)?;
    let own_before = processor::seconds_of(Some(std::process::id()))?;
    let start = Instant::now();
    if options.part != Part::Publish {
        consumer::subscribe(&mut consuming, options)?;
    }
    let (produced, consumed) = transfer(options, &mut publishing, &mut consuming, start)?;
    let own = processor::seconds_of(Some(std::process::id()))? - own_before;
    let broker = processor::seconds_of(options.pid)? - broker_before;

    if options.part == Part::Both {
        publishing.open_channel()?;
        let left = delete(&mut publishing, &queues)?;
        if left != 0 {
            return Err(io::Error::other(format!(
                "{left} messages are left in the queue, none was expected"
            )));
        }
    }
    let (product, version) = (publishing.product.clone(), publishing.version.clone());
    publishing.close()?;
    consuming.close()?;
    Ok(report(options, &Measured { product, version, start, declared, produced, consumed, broker, own }))
}

/// Deletes the queues that exist, and says how many messages they held.
fn delete(connection: &mut Connection, queues: &[String]) -> io::Result<u64> {
    let mut left = 0;
    for queue in queues {
        left += u64::from(connection.delete_queue(queue)?);
    }
    Ok(left)
}

/// Publishes and consumes, as far as these are parts of the run.
fn transfer(
    options: &Options,
    publishing: &mut Connection,
    consuming: &mut Connection,
    start: Instant,
) -> io::Result<(Option<Produced>, Option<Consumed>)> {
    let total = match (options.part, options.bound) {
        (Part::Drain, Bound::Messages(messages)) => messages,
        _ => u64::MAX,
    };
    let shared = Shared {
        total: AtomicU64::new(total),
        received: AtomicU64::new(0),
        wake_at: AtomicU64::new(u64::MAX),
        failed: AtomicBool::new(false),
    };
    thread::scope(|scope| {
        let producer = scope.spawn(|| {
            if options.part == Part::Drain {
                return Ok(None);
            }
            let result = producer::run(publishing, options, &shared, start);
            shared.failed.fetch_or(result.is_err(), SeqCst);
            result.map(Some)
        });
        let waker = producer.thread().clone();
        let consumed = match options.part {
            Part::Publish => Ok(None),
            _ => consumer::run(consuming, options, &shared, &waker, start).map(Some),
        };
        shared.failed.fetch_or(consumed.is_err(), SeqCst);
        let produced = producer.join().expect("the producer returns its errors");
        // Of two errors the producer's is the cause more often: the consumer then only misses messages.
        Ok((produced?, consumed?))
    })
}

/// The results of a run, before they are written down.
struct Measured {
    product: String,
    version: String,
    start: Instant,
    declared: Duration,
    produced: Option<Produced>,
    consumed: Option<Consumed>,
    broker: f64,
    own: f64,
}

/// One line of JSON. What was no part of the run is missing in it.
fn report(options: &Options, measured: &Measured) -> String {
    let Measured { product, version, start, declared, produced, consumed, broker, own } = measured;
    let in_last = produced.as_ref().map(|produced| (produced.messages, produced.last));
    let out_last = consumed.as_ref().map(|consumed| (consumed.messages, consumed.last));
    let messages = out_last.or(in_last).map_or(0, |(messages, _)| messages);
    let seconds_to = |end: Instant| end.duration_since(*start).as_secs_f64();
    let per_million = |seconds: f64| seconds * 1e6 / messages as f64;
    let mut fields = vec![
        format!(r#""product":"{}","version":"{}""#, product.escape_default(), version.escape_default()),
        format!(
            r#""part":"{}","mode":"{}","size":{}"#,
            options.part.name(),
            options.mode.name(),
            options.size
        ),
        format!(r#""window":{},"prefetch":{}"#, options.window, options.prefetch),
        format!(r#""ack_every":{},"queues":{},"messages":{messages}"#, options.ack_every, options.queues),
    ];
    if let Some((_, last)) = out_last.or(in_last) {
        fields.push(format!(r#""seconds":{:.3}"#, seconds_to(last)));
    }
    if let Some((messages, last)) = in_last {
        fields.push(format!(r#""in_per_second":{:.0}"#, messages as f64 / seconds_to(last)));
    }
    if let Some((messages, last)) = out_last {
        fields.push(format!(r#""out_per_second":{:.0}"#, messages as f64 / seconds_to(last)));
    }
    if options.pid.is_some() {
        let broker_per_million = per_million(*broker);
        fields.push(format!(
            r#""broker_cpu_seconds":{broker:.2},"broker_cpu_per_million":{broker_per_million:.3}"#
        ));
    }
    let own_per_million = per_million(*own);
    fields.push(format!(
        r#""generator_cpu_seconds":{own:.2},"generator_cpu_per_million":{own_per_million:.3}"#
    ));
    fields.push(format!(r#""declare_seconds":{:.3}"#, declared.as_secs_f64()));
    if let Some(Produced { backlog_peak, blocked, .. }) = produced {
        let blocked = blocked.as_secs_f64();
        fields.push(format!(r#""backlog_peak":{backlog_peak},"blocked_seconds":{blocked:.3}"#));
    }
    format!("{{{}}}", fields.join(","))
}
