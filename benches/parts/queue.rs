//! The queue machine: commands in, effects out.

use super::message;
use criterion::{BatchSize, Criterion, Throughput};
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
    group.finish();
}

fn enqueue(state: &mut State, message: &Arc<Message>, effects: &mut Vec<Effect>) {
    let index = IndexEntry {
        sequence: state.take_sequence(),
        position: Position::NONE,
        expires_at: NEVER,
        body_bytes: 16,
        record_bytes: 0,
        returns: 0,
        failures: 0,
        priority: 0,
        is_delivered: false,
        is_durable: false,
    };
    let message = Some(Arc::clone(message));
    state.apply(NOW, Command::Enqueue(Entry { index, message }), effects);
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
        channel_credit: Arc::default(),
    }
}
