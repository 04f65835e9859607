//! `perf throughput`: producers and consumers, each with a connection and a thread, and what they measure.

use super::super::output::{Format, Output};
use super::super::{Context, Failure};
use super::connection::{CHANNEL, Connection, Peer, STALL};
use super::meter::{Figures, Latencies, Run};
use super::process::{self, Usage};
use super::report::{Process, Report, Sample, cost, rate};
use super::target::Target;
use super::traffic::Traffic;
use super::{consumer, producer, topology};
use crate::time::{self, Duration, Instant};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{Builder, Scope};

/// Of a producer's or consumer's thread; there may be many.
const STACK_BYTES: usize = 256 << 10;
/// A run in which messages may disappear has ended when none has come for so long.
const QUIET: Duration = Duration::from_secs(1);
/// How often the whole run is looked at.
const TICK: Duration = Duration::from_millis(250);

/// What a thread says at its end: of a producer, the sum of what consumers are to find.
enum Ended {
    Producer(Result<u64, Failure>),
    Consumer(Result<(), Failure>),
}

/// All that is known when a run is over.
struct Measured {
    peer: Peer,
    declared: Duration,
    samples: Vec<Sample>,
    latencies: Latencies,
    confirm_latencies: Latencies,
    broker: Option<Process>,
    own: Process,
}

/// Runs it and reports.
///
/// # Errors
/// The broker is not there, refuses or closes something; messages were lost, came twice, or in the wrong order.
pub(super) fn run(context: &mut Context<'_>, traffic: &Traffic) -> Result<(), Failure> {
    traffic.check()?;
    let target = traffic.common.target(context)?;
    let report = measure(&target, traffic, &mut context.output)?;
    report.write(&mut context.output)
}

fn measure(target: &Target, traffic: &Traffic, output: &mut Output<'_>) -> Result<Report, Failure> {
    let mut control = open(target, "control")?;
    let declaring = time::now();
    topology::declare(&mut control, traffic)?;
    let declared = declaring.elapsed();
    let producers: Vec<_> = connections(target, "producer", traffic.producers.into())?;
    let mut consumers: Vec<_> = connections(target, "consumer", traffic.consumers)?;
    let before = (traffic.common.usage()?, process::usage(&[std::process::id()])?);
    let run = &Run::new(traffic.producers.into(), traffic.consumers, traffic.mark_every);
    for (index, connection) in (0..).zip(&mut consumers) {
        consumer::subscribe(connection, traffic, index)?;
    }
    let live = output.has_notes.then_some(output.format);
    let mut watch = Watch::new(traffic, run, live);
    let outcome = std::thread::scope(|scope| {
        let (sender, ended) = channel();
        for (index, connection) in (0..).zip(producers) {
            let work = move || producer::publish(connection, traffic, run, index);
            spawn(scope, run, &sender, move || Ended::Producer(work()))?;
        }
        for (index, connection) in (0..).zip(consumers) {
            let work = move || consumer::consume(connection, traffic, run, index);
            spawn(scope, run, &sender, move || Ended::Consumer(work()))?;
        }
        drop(sender);
        let outcome = watch.until_all_ended(&ended);
        // Whatever it was, nobody waits any longer.
        if outcome.is_err() {
            run.fail();
        }
        outcome
    });
    outcome?;
    watch.sample();
    let after = (traffic.common.usage()?, process::usage(&[std::process::id()])?);
    let messages =
        run.consumers.messages().max(if traffic.consumers == 0 { run.producers.messages() } else { 0 });
    let measured = Measured {
        peer: control.peer.clone(),
        declared,
        broker: traffic.common.is_measured().then(|| {
            let memory_bytes = after.0.memory_bytes.max(watch.memory_peak);
            cost(before.0, Usage { memory_bytes, ..after.0 }, messages)
        }),
        own: cost(before.1, after.1, messages),
        samples: watch.samples,
        latencies: watch.latencies,
        confirm_latencies: watch.confirm_latencies,
    };
    if traffic.is_whole() && !traffic.keep {
        topology::delete(&mut control, traffic)?;
    }
    control.close()?;
    Ok(report(traffic, run, measured))
}

fn open(target: &Target, role: &str) -> Result<Connection, Failure> {
    let mut connection = Connection::open(target, &format!("perf {role}"))?;
    connection.open_channel(CHANNEL)?;
    Ok(connection)
}

fn connections(target: &Target, role: &str, count: u32) -> Result<Vec<Connection>, Failure> {
    (0..count).map(|_| open(target, role)).collect()
}

fn spawn<'scope>(
    scope: &'scope Scope<'scope, '_>,
    run: &'scope Run,
    sender: &Sender<Ended>,
    work: impl FnOnce() -> Ended + Send + 'scope,
) -> Result<(), Failure> {
    let sender = sender.clone();
    let body = move || {
        let ended = work();
        if matches!(ended, Ended::Producer(Err(_)) | Ended::Consumer(Err(_))) {
            run.fail();
        }
        // The run may have ended without waiting for all.
        sender.send(ended).ok();
    };
    let spawned = Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, body);
    spawned.map(drop).map_err(|error| {
        run.fail();
        Failure::Broker(format!("this machine has no thread for another connection: {error}"))
    })
}

// ---- watching

/// Looks at a run while it goes on.
struct Watch<'a> {
    traffic: &'a Traffic,
    run: &'a Run,
    /// How to say how far it is, if anybody wants to read that.
    live: Option<Format>,
    interval: Duration,
    sampled_at: Instant,
    samples: Vec<Sample>,
    latencies: Latencies,
    confirm_latencies: Latencies,
    memory_peak: u64,
    /// When something happened last, and the figures then.
    moved_at: Instant,
    moved: (u64, u64, u64),
    prints: u64,
}

impl<'a> Watch<'a> {
    fn new(traffic: &'a Traffic, run: &'a Run, live: Option<Format>) -> Self {
        let now = time::now();
        Self {
            traffic,
            run,
            live,
            interval: Duration::from_secs_f64(traffic.interval),
            sampled_at: now,
            samples: Vec::new(),
            latencies: Latencies::new(),
            confirm_latencies: Latencies::new(),
            memory_peak: 0,
            moved_at: now,
            moved: (0, 0, 0),
            prints: 0,
        }
    }

    /// Waits for every thread, and judges what came.
    fn until_all_ended(&mut self, ended: &Receiver<Ended>) -> Result<(), Failure> {
        let (mut producers, mut failures) = (u32::from(self.traffic.producers), Vec::new());
        if producers == 0 {
            self.run.expect(self.traffic.messages.unwrap_or(0));
        }
        let mut has_all = false;
        loop {
            let due = self.sampled_at + self.interval;
            match ended.recv_timeout(due.saturating_duration_since(time::now()).min(TICK)) {
                Ok(Ended::Producer(Ok(prints))) => {
                    producers -= 1;
                    self.prints = self.prints.wrapping_add(prints);
                    has_all = producers == 0;
                    if has_all && !self.may_lose() {
                        self.run.expect(self.run.producers.sum(|worker| &worker.copies));
                    }
                }
                Ok(Ended::Producer(Err(failure)) | Ended::Consumer(Err(failure))) => failures.push(failure),
                Ok(Ended::Consumer(Ok(()))) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.look(has_all, &mut failures);
        }
        failures.sort_by_key(|failure| matches!(failure, Failure::Stopped));
        match failures.into_iter().next() {
            Some(failure) => Err(failure),
            None => self.judge(),
        }
    }

    /// Whether the broker may rightly drop messages.
    fn may_lose(&self) -> bool {
        let argument =
            |text: &String| !text.starts_with("x-queue-type=") && !text.starts_with("x-max-priority=");
        self.traffic.expiration.is_some() || self.traffic.queue_argument.iter().any(argument)
    }

    fn look(&mut self, has_all: bool, failures: &mut Vec<Failure>) {
        if self.sampled_at + self.interval <= time::now() {
            self.sample();
        }
        if let Ok(usage) = self.traffic.common.usage() {
            self.memory_peak = self.memory_peak.max(usage.memory_bytes);
        }
        let run = self.run;
        let (published, received) = (run.producers.messages(), run.consumers.messages());
        let moved = (published, run.producers.sum(|worker| &worker.confirmed), received);
        if moved != self.moved {
            (self.moved, self.moved_at) = (moved, time::now());
        } else if has_all && self.may_lose() && self.moved_at.elapsed() > QUIET {
            run.expect(received);
        } else if self.moved_at.elapsed() > STALL && !run.has_failed() {
            run.fail();
            let seconds = STALL.as_secs();
            failures.push(Failure::Broker(format!(
                "nothing has moved for {seconds} s: {published} published, {received} received"
            )));
        }
    }

    fn sample(&mut self) {
        let run = self.run;
        let latencies = run.consumers.take_latencies();
        let confirms = run.producers.take_latencies();
        let sample = Sample {
            seconds: run.seconds(),
            published: run.producers.messages(),
            confirmed: run.producers.sum(|worker| &worker.confirmed),
            received: run.consumers.messages(),
            latency_ms: latencies.figures(),
            confirm_latency_ms: confirms.figures(),
        };
        let before = self.samples.last().copied().unwrap_or_default();
        // A rest at the end says little.
        let live = self.live.filter(|_| sample.seconds - before.seconds > self.interval.as_secs_f64() / 2.0);
        match live {
            Some(format) if format.is_json() => {
                eprintln!("{}", serde_json::to_string(&sample).unwrap_or_default());
            }
            Some(_) => eprintln!("{}", live_line(&sample, &before, self.traffic)),
            None => {}
        }
        self.samples.push(sample);
        self.latencies.add(latencies);
        self.confirm_latencies.add(confirms);
        self.sampled_at = time::now();
    }

    /// Whether every message came once.
    fn judge(&self) -> Result<(), Failure> {
        let (producers, consumers) = (&self.run.producers, &self.run.consumers);
        if !self.traffic.is_whole() || self.may_lose() {
            return Ok(());
        }
        let expected = producers.sum(|worker| &worker.copies);
        let received = consumers.messages();
        let is_same = self.prints == consumers.sum(|worker| &worker.prints);
        if expected == received && is_same {
            return Ok(());
        }
        Err(Failure::Broker(format!(
            "{expected} messages were to come, and {received} came, not each of them once"
        )))
    }
}

/// What the last interval was like.
fn live_line(now: &Sample, before: &Sample, traffic: &Traffic) -> String {
    let seconds = now.seconds - before.seconds;
    let per_second = |now: u64, before: u64| rate((now - before) as f64 / seconds);
    let mut line = format!("{:>7.1} s", now.seconds);
    if traffic.producers > 0 {
        line += &format!("   published {:>11}/s", per_second(now.published, before.published));
    }
    if traffic.confirm.is_some() || traffic.tx.is_some() {
        line += &format!("   confirmed {:>11}/s", per_second(now.confirmed, before.confirmed));
    }
    if traffic.consumers > 0 {
        line += &format!("   received {:>11}/s", per_second(now.received, before.received));
    }
    if let Some(Figures { p50, p99, .. }) = now.latency_ms.or(now.confirm_latency_ms) {
        line += &format!("   p50 {p50:.2} ms   p99 {p99:.2} ms");
    }
    line
}

fn report(traffic: &Traffic, run: &Run, measured: Measured) -> Report {
    let Measured { peer, declared, samples, latencies, confirm_latencies, broker, own } = measured;
    let per_second = |messages: u64, last_ns: u64| {
        let seconds = run.seconds_at(last_ns);
        if seconds > 0.0 { messages as f64 / seconds } else { 0.0 }
    };
    let (published, received) = (run.producers.messages(), run.consumers.messages());
    let published_ns = run.producers.latest(|worker| &worker.last_ns);
    let received_ns = run.consumers.latest(|worker| &worker.last_ns);
    Report {
        product: peer.product,
        version: peer.version,
        options: traffic.clone(),
        seconds: run.seconds_at(published_ns.max(received_ns)),
        declare_seconds: declared.as_secs_f64(),
        published,
        published_per_second: per_second(published, published_ns),
        confirmed: run.producers.sum(|worker| &worker.confirmed),
        refused: run.producers.sum(|worker| &worker.refused),
        returned: run.producers.sum(|worker| &worker.returned),
        received,
        received_per_second: per_second(received, received_ns),
        backlog_peak: run.backlog_peak(),
        blocked_seconds: run.producers.sum(|worker| &worker.blocked_ns) as f64 / 1e9,
        latency_ms: latencies.figures(),
        confirm_latency_ms: confirm_latencies.figures(),
        latency_curve: latencies.curve(),
        confirm_latency_curve: confirm_latencies.curve(),
        broker,
        generator: own,
        samples,
        published_marks: run.producers.marks(),
        received_marks: run.consumers.marks(),
    }
}
