//! What the connections of a run count and time, and tell each other.

use super::connection::PATIENCE;
use crate::time::{self, Duration, Instant};
use hdrhistogram::Histogram;
use parking_lot::{Condvar, Mutex};
use serde::Serialize;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

/// Latencies are kept in nanoseconds, from a microsecond to an hour, to three digits.
const LATENCY_NS: (u64, u64) = (1_000, 3_600_000_000_000);
const DIGITS: u8 = 3;

/// Nanoseconds since 1970, read from the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    base: Instant,
    base_ns: u64,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { base: time::now(), base_ns: time::unix_ns() }
    }

    pub(super) fn now_ns(&self) -> u64 {
        self.base_ns + self.base.elapsed().as_nanos() as u64
    }
}

/// Latencies in nanoseconds.
#[derive(Debug)]
pub(super) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(super) fn new() -> Self {
        let (least, most) = LATENCY_NS;
        // These bounds are constants that it accepts.
        let histogram = Histogram::new_with_bounds(least, most, DIGITS);
        Self(histogram.unwrap_or_else(|_| unreachable!("bounds of a histogram")))
    }

    /// So many had this one.
    pub(super) fn record(&mut self, ns: u64, count: u64) {
        self.0.saturating_record_n(ns.max(1), count);
    }

    /// Takes what the other has, which is empty then.
    fn take(&mut self, other: &mut Self) {
        if !other.0.is_empty() {
            // Both have the same bounds.
            self.0.add(&other.0).unwrap_or_default();
            other.0.reset();
        }
    }

    /// Adds another's.
    pub(super) fn add(&mut self, mut other: Self) {
        self.take(&mut other);
    }

    /// What a report says; none without any.
    pub(super) fn figures(&self) -> Option<Figures> {
        let ms = |ns: u64| ns as f64 / 1e6;
        let at = |part: f64| ms(self.0.value_at_quantile(part));
        (!self.0.is_empty()).then(|| Figures {
            min: ms(self.0.min()),
            mean: self.0.mean() / 1e6,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: ms(self.0.max()),
        })
    }

    /// (how many nines, milliseconds): the curve of a chart.
    pub(super) fn curve(&self) -> Vec<(f64, f64)> {
        let steps = (0..=50).map(|step| f64::from(step) / 10.0);
        let seen = steps.take_while(|nines| 10f64.powf(*nines) <= self.0.len() as f64);
        seen.map(|nines| {
            let part = 1.0 - 10f64.powf(-nines);
            (nines, self.0.value_at_quantile(part) as f64 / 1e6)
        })
        .collect()
    }
}

/// Latencies of a report, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize, PartialEq)]
pub(super) struct Figures {
    pub(super) min: f64,
    pub(super) mean: f64,
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    pub(super) p9999: f64,
    pub(super) max: f64,
}

/// What one connection counts, on cache lines of its own.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Worker {
    /// Published, or received.
    pub(super) messages: AtomicU64,
    /// Of a producer: those that the broker has confirmed or committed, refused, and returned.
    pub(super) confirmed: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) returned: AtomicU64,
    /// Of a producer: how many deliveries its messages lead to, and the sum of their [`print`]s.
    pub(super) copies: AtomicU64,
    /// The sum of what a consumer received; of a producer, of what nobody is to receive.
    pub(super) prints: AtomicU64,
    /// When the last one was there, on the run's clock.
    pub(super) last_ns: AtomicU64,
    /// For how long the broker has blocked it.
    pub(super) blocked_ns: AtomicU64,
    /// Of a consumer: from when it was to be sent until it was there. Of a producer: until it was confirmed.
    pub(super) latencies: Mutex<Latencies>,
}

impl Worker {
    fn new() -> Self {
        Self {
            messages: AtomicU64::new(0),
            confirmed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            returned: AtomicU64::new(0),
            copies: AtomicU64::new(0),
            prints: AtomicU64::new(0),
            last_ns: AtomicU64::new(0),
            blocked_ns: AtomicU64::new(0),
            latencies: Mutex::new(Latencies::new()),
        }
    }
}

/// A message's share of a sum that tells whether each came exactly once.
pub(super) fn print(producer: u16, number: u64) -> u64 {
    let word = u64::from(producer) << 48 | number;
    (word ^ 0x9E37_79B9_7F4A_7C15).wrapping_mul(0xD6E8_FEB8_6659_FD93).rotate_left(29) | 1
}

/// A moment at which so many messages had been counted.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Mark {
    pub(super) messages: u64,
    /// Since the run began.
    pub(super) seconds: f64,
}

/// All connections of one kind.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) workers: Vec<Worker>,
    /// `u64::MAX` = never.
    mark_every: u64,
    next_mark: AtomicU64,
    marks: Mutex<Vec<Mark>>,
}

impl Side {
    fn new(count: u32, mark_every: Option<u64>) -> Self {
        let mark_every = mark_every.unwrap_or(u64::MAX);
        Self {
            workers: (0..count).map(|_| Worker::new()).collect(),
            mark_every,
            next_mark: AtomicU64::new(mark_every),
            marks: Mutex::default(),
        }
    }

    /// The sum of one figure.
    pub(super) fn sum(&self, figure: impl Fn(&Worker) -> &AtomicU64) -> u64 {
        self.workers.iter().fold(0, |sum, worker| sum.wrapping_add(figure(worker).load(Acquire)))
    }

    pub(super) fn messages(&self) -> u64 {
        self.sum(|worker| &worker.messages)
    }

    /// The latest figure.
    pub(super) fn latest(&self, figure: impl Fn(&Worker) -> &AtomicU64) -> u64 {
        self.workers.iter().map(|worker| figure(worker).load(Acquire)).max().unwrap_or(0)
    }

    pub(super) fn marks(&self) -> Vec<Mark> {
        self.marks.lock().clone()
    }

    /// Takes the latencies since it was asked last.
    pub(super) fn take_latencies(&self) -> Latencies {
        let mut all = Latencies::new();
        self.workers.iter().for_each(|worker| all.take(&mut worker.latencies.lock()));
        all
    }

    fn mark(&self, run: &Run) {
        if self.mark_every == u64::MAX {
            return;
        }
        let messages = self.messages();
        if messages >= self.next_mark.load(Relaxed) {
            let mut marks = self.marks.lock();
            if messages >= self.next_mark.load(Relaxed) {
                self.next_mark.store((messages / self.mark_every + 1) * self.mark_every, Relaxed);
                marks.push(Mark { messages, seconds: run.seconds() });
            }
        }
    }
}

/// A run, as all its connections see it.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) clock: Clock,
    start_ns: u64,
    pub(super) producers: Side,
    pub(super) consumers: Side,
    /// How many are to be received; `u64::MAX` before that is known.
    expected: AtomicU64,
    has_failed: AtomicBool,
    /// How many producers wait for consumers to get on.
    waiting: AtomicUsize,
    progress: (Mutex<()>, Condvar),
    backlog_peak: AtomicU64,
}

impl Run {
    /// A run that begins now.
    pub(super) fn new(producers: u32, consumers: u32, mark_every: Option<u64>) -> Self {
        let clock = Clock::new();
        Self {
            start_ns: clock.now_ns(),
            clock,
            producers: Side::new(producers, mark_every),
            consumers: Side::new(consumers, mark_every),
            expected: AtomicU64::new(u64::MAX),
            has_failed: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            progress: Default::default(),
            backlog_peak: AtomicU64::new(0),
        }
    }

    pub(super) fn start_ns(&self) -> u64 {
        self.start_ns
    }

    /// Since the run began.
    pub(super) fn seconds(&self) -> f64 {
        self.seconds_at(self.clock.now_ns())
    }

    pub(super) fn seconds_at(&self, ns: u64) -> f64 {
        ns.saturating_sub(self.start_ns) as f64 / 1e9
    }

    // ---- consumers

    /// A consumer has so many more, with these prints.
    pub(super) fn received(&self, worker: &Worker, messages: u64, prints: u64) {
        worker.last_ns.store(self.clock.now_ns(), Relaxed);
        worker.prints.store(worker.prints.load(Relaxed).wrapping_add(prints), Relaxed);
        worker.messages.store(worker.messages.load(Relaxed) + messages, SeqCst);
        self.consumers.mark(self);
        if self.waiting.load(SeqCst) > 0 {
            let _guard = self.progress.0.lock();
            self.progress.1.notify_all();
        }
    }

    /// Consumers are to receive so many.
    pub(super) fn expect(&self, messages: u64) {
        self.expected.store(messages, Release);
    }

    /// Whether everything is there.
    pub(super) fn is_complete(&self) -> bool {
        let expected = self.expected.load(Acquire);
        expected != u64::MAX && self.consumers.messages() >= expected
    }

    // ---- producers

    /// A producer has published so many more, which lead to so many deliveries.
    pub(super) fn published(&self, worker: &Worker, messages: u64, copies: u64) {
        worker.last_ns.store(self.clock.now_ns(), Relaxed);
        worker.copies.fetch_add(copies, Relaxed);
        worker.messages.store(worker.messages.load(Relaxed) + messages, SeqCst);
        self.producers.mark(self);
    }

    /// How many are on their way.
    fn backlog(&self) -> u64 {
        self.producers.sum(|worker| &worker.copies).saturating_sub(self.consumers.messages())
    }

    /// Notes how many are on their way.
    pub(super) fn note_backlog(&self) {
        self.backlog_peak.fetch_max(self.backlog(), Relaxed);
    }

    pub(super) fn backlog_peak(&self) -> u64 {
        self.backlog_peak.load(Relaxed)
    }

    /// Waits while so many are on their way.
    pub(super) fn wait_for_backlog(&self, backlog_max: u64) {
        if self.backlog() < backlog_max {
            return;
        }
        self.waiting.fetch_add(1, SeqCst);
        let mut guard = self.progress.0.lock();
        // Going on a quarter lower makes a pause worth its two context switches.
        while self.backlog() > backlog_max - backlog_max / 4 && !self.has_failed() {
            self.progress.1.wait_for(&mut guard, PATIENCE);
        }
        drop(guard);
        self.waiting.fetch_sub(1, SeqCst);
    }

    // ---- failing

    /// Some connection has failed: the others have nothing to wait for.
    pub(super) fn fail(&self) {
        self.has_failed.store(true, Release);
    }

    pub(super) fn has_failed(&self) -> bool {
        self.has_failed.load(Acquire)
    }
}

/// Waits until the time has come on the run's clock.
pub(super) fn wait_until(run: &Run, ns: u64) {
    loop {
        let now = run.clock.now_ns();
        if now >= ns || run.has_failed() {
            return;
        }
        std::thread::park_timeout(Duration::from_nanos(ns - now).min(PATIENCE));
    }
}

/// Adds to a figure that only one thread writes.
pub(super) fn add(figure: &AtomicU64, count: u64) {
    figure.fetch_add(count, AcqRel);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_told_in_milliseconds_and_taken_once() {
        let run = Run::new(1, 1, None);
        let worker = &run.consumers.workers[0];
        worker.latencies.lock().record(2_000_000, 99);
        worker.latencies.lock().record(500_000_000, 1);
        let figures = run.consumers.take_latencies().figures().unwrap();
        let near = |value: f64, expected: f64| (value / expected - 1.0).abs() < 0.001;
        assert!(near(figures.p50, 2.0) && near(figures.p99, 2.0), "{figures:?}");
        assert!(
            near(figures.p999, 500.0) && near(figures.max, 500.0) && near(figures.mean, 6.98),
            "{figures:?}"
        );
        assert_eq!(run.consumers.take_latencies().figures(), None);
    }

    #[test]
    fn marks_come_once_for_each_step_whoever_reaches_it() {
        let run = Run::new(2, 0, Some(10));
        for (producer, count) in [(0, 6), (1, 6), (0, 25), (1, 1)] {
            run.published(&run.producers.workers[producer], count, count);
        }
        let marks: Vec<u64> = run.producers.marks().iter().map(|mark| mark.messages).collect();
        assert_eq!(marks, [12, 37]);
    }

    #[test]
    fn a_run_is_complete_when_what_is_expected_is_there() {
        let run = Run::new(1, 2, None);
        run.received(&run.consumers.workers[0], 3, 0);
        assert!(!run.is_complete(), "nobody knows how many there are");
        run.expect(5);
        assert!(!run.is_complete());
        run.received(&run.consumers.workers[1], 2, 0);
        assert!(run.is_complete());
    }
}
