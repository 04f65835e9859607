//! The queue machine: commands in, effects out.

use super::message;
use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput};
use std::sync::Arc;
use warren::message::Message;
use warren::name::{ConsumerId, Position, Sequence};
use warren::queue::state::{Command, Consumer, Effect, Entry, Shape, State};
use warren::store::index::{IndexEntry, NEVER, QueueImage};
use warren::time::Millis;

const COUNT: usize = 1000;
const NOW: Millis = Millis(1);

pub(crate) fn queue(c: &mut Criterion) {
    let mut group = c.benchmark_group("queue");
    group.throughput(Throughput::Elements(COUNT as u64));
    let message = message(16, false);
    for (name, backlog) in
        [("enqueue, deliver, ack", 0), ("the same behind a backlog of 1,000,000", 1_000_000)]
    {
        let mut state = State::recovered(Shape::default(), QueueImage::default());
        let mut effects = Vec::new();
        (0..backlog).for_each(|_| enqueue(&mut state, &message, &mut effects));
        state.apply(NOW, Command::Subscribe(consumer()), &mut effects);
        effects.clear();
        group.bench_function(name, |b| {
            b.iter(|| {
                for _ in 0..COUNT {
                    enqueue(&mut state, &message, &mut effects);
                    ack(&mut state, &mut effects);
                }
            });
        });
    }
    group.bench_function("enqueue with nobody there", |b| {
        let new = || (State::recovered(Shape::default(), QueueImage::default()), Vec::new());
        b.iter_batched_ref(
            new,
            |(state, effects)| (0..COUNT).for_each(|_| enqueue(state, &message, effects)),
            BatchSize::LargeInput,
        );
    });
    deadlines(&mut group, &message);
    group.finish();
}

/// A million messages wait, each until another time within the hour: some come while as many expire.
fn deadlines(group: &mut BenchmarkGroup<'_, WallTime>, message: &Arc<Message>) {
    const WAITING: u64 = 1_000_000;
    const HOUR_MS: u64 = 3_600_000;
    let mut state = State::recovered(Shape::default(), QueueImage::default());
    let (mut effects, mut random) = (Vec::new(), 1u64);
    let mut within_the_hour = move || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) % HOUR_MS
    };
    for _ in 0..WAITING {
        let at = Millis(NOW.0 + within_the_hour());
        enqueue_until(&mut state, NOW, at, message, &mut effects);
    }
    effects.clear();
    let mut now = NOW.0 as f64;
    group.bench_function("enqueue and expire beside 1,000,000 that will", |b| {
        b.iter(|| {
            // As many as come expire meanwhile.
            now += (COUNT as u64 * HOUR_MS) as f64 / WAITING as f64 / 2.0;
            for _ in 0..COUNT {
                let at = Millis(now as u64 + within_the_hour());
                enqueue_until(&mut state, Millis(now as u64), at, message, &mut effects);
            }
            effects.clear();
        });
    });
}

fn enqueue(state: &mut State, message: &Arc<Message>, effects: &mut Vec<Effect>) {
    enqueue_until(state, NOW, NEVER, message, effects);
}

fn enqueue_until(
    state: &mut State,
    now: Millis,
    expires_at: Millis,
    message: &Arc<Message>,
    effects: &mut Vec<Effect>,
) {
    let index = IndexEntry {
        sequence: state.take_sequence(),
        position: Position::NONE,
        expires_at,
        body_bytes: 16,
        record_bytes: 0,
        returns: 0,
        failures: 0,
        priority: 0,
        is_delivered: false,
        is_durable: false,
    };
    let message = Some(Arc::clone(message));
    state.apply(now, Command::Enqueue(Entry { index, message }), effects);
}

/// Acks what was delivered, and what is delivered meanwhile.
fn ack(state: &mut State, effects: &mut Vec<Effect>) {
    let delivered = |effect: &Effect| match effect {
        Effect::Deliver { sequence, .. } => Some(*sequence),
        _ => None,
    };
    let sequences: smallvec::SmallVec<[Sequence; 4]> = effects.iter().filter_map(delivered).collect();
    effects.clear();
    if !sequences.is_empty() {
        state.apply(NOW, Command::Ack(&sequences), effects);
    }
}

fn consumer() -> Consumer {
    Consumer {
        id: ConsumerId(1),
        priority: 0,
        prefetch: 1,
        acknowledges: true,
        exclusive: false,
        timeout_ms: None,
        channel_credit: Arc::default(),
    }
}
