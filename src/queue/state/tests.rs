//! Command lists in, effect lists out.

mod features;
mod model;
mod paging;

use super::*;
use crate::dead_letter::Reason;
use crate::message::{Message, Properties};
use crate::name::Position;
use crate::store::index::QueueImage;
use std::sync::Arc;

const NOW: Millis = Millis(1_000);

fn message() -> Arc<Message> {
    Arc::new(Message::new("".into(), b"q", &[0, 0], &Properties::default(), &[b"body"]))
}

fn index(sequence: u64) -> IndexEntry {
    IndexEntry {
        sequence: Sequence(sequence),
        position: Position(sequence * 10),
        expires_at: NEVER,
        body_bytes: 4,
        record_bytes: 10,
        returns: 0,
        failures: 0,
        priority: 0,
        is_delivered: false,
        is_durable: true,
    }
}

fn entry(sequence: u64) -> Entry {
    Entry { index: index(sequence), message: Some(message()) }
}

fn expiring(sequence: u64, expires_at: Millis) -> Entry {
    Entry { index: IndexEntry { expires_at, ..index(sequence) }, message: Some(message()) }
}

fn consumer(id: u64, prefetch: u32) -> Consumer {
    Consumer {
        id: ConsumerId(id),
        priority: 0,
        prefetch,
        acknowledges: true,
        exclusive: false,
        timeout_ms: None,
        channel_credit: Arc::default(),
    }
}

/// Applies a command as it is.
fn apply(state: &mut State, command: Command<'_>) -> Vec<Effect> {
    let mut effects = Vec::new();
    state.apply(NOW, command, &mut effects);
    effects
}

fn run(state: &mut State, command: Command<'_>) -> Vec<Effect> {
    run_at(state, NOW, command)
}

/// Applies a command to a queue of which it is durable that everything may be delivered.
fn run_at(state: &mut State, now: Millis, command: Command<'_>) -> Vec<Effect> {
    state.noted.durable = Sequence(u64::MAX);
    let mut effects = Vec::new();
    state.apply(now, command, &mut effects);
    effects.retain(|effect| !matches!(effect, Effect::Note(_)));
    effects
}

#[test]
fn nothing_is_delivered_before_it_is_durable_that_it_may_be() {
    let mut state = filled(20_000);
    state.noted = Noted::default();
    assert_eq!(
        apply(&mut state, Command::Get { acknowledges: true }),
        [Effect::Note(Sequence(8193)), Effect::GetLater]
    );
    assert_eq!(
        apply(&mut state, Command::Get { acknowledges: true }),
        [Effect::GetLater],
        "it is asked for once"
    );
    apply(&mut state, Command::Noted(Sequence(8193)));
    let mut got = 0;
    let is_got = |effect: &Effect| matches!(effect, Effect::Got { .. });
    while apply(&mut state, Command::Get { acknowledges: false }).iter().any(is_got) {
        got += 1;
    }
    // Asked for again in good time; what is not durable yet is waited for.
    assert_eq!(got, 8192);
    assert_eq!(state.image(&mut Vec::new()).deliverable_below, Sequence(8193 + 8192));
}

#[test]
fn a_note_that_comes_after_a_checkpoint_forgot_it_does_not_count() {
    let mut state = filled(20_000);
    state.noted = Noted::default();
    let note = Effect::Note(Sequence(8_193));
    assert_eq!(apply(&mut state, Command::Subscribe(consumer(1, 1))).last(), Some(&note));
    apply(&mut state, Command::Unsubscribe(ConsumerKey(0), ConsumerId(1)));
    // It is asked for and not answered: the checkpoint keeps it.
    assert_eq!(state.image(&mut Vec::new()).deliverable_below, Sequence(8_193));
    apply(&mut state, Command::Noted(Sequence(8_193)));
    assert_eq!(state.image(&mut Vec::new()).deliverable_below, Sequence(0), "every delivery is written down");
    // As when the disk took nothing, and the answer comes after all.
    apply(&mut state, Command::Noted(Sequence(8_193)));
    let effects = apply(&mut state, Command::Subscribe(consumer(2, 1)));
    assert!(delivered(&effects).is_empty() && effects.contains(&note), "{effects:?}");
}

#[test]
fn a_message_that_reached_several_queues_is_not_delivered_before_that_is_noted() {
    let mut state = filled(0);
    run(&mut state, Command::Subscribe(consumer(1, 0)));
    state.noted = Noted::default();
    let mut effects = Vec::new();
    let sequence = state.take_sequence();
    state.apply(NOW, Command::Enqueue(entry(sequence.0)), &mut effects);
    assert_eq!(effects, [Effect::Note(Sequence(8193))]);
    effects.clear();
    state.apply(NOW, Command::Noted(Sequence(8193)), &mut effects);
    assert_eq!(delivered(&effects), [(0, 1, false)]);
    // Where the record itself says it there is nothing to wait for.
    let mut state = filled(0);
    run(&mut state, Command::Subscribe(consumer(1, 0)));
    state.noted = Noted::default();
    let sequence = state.take_sequence();
    assert_eq!(
        delivered(&{
            let mut effects = Vec::new();
            state.apply(NOW, Command::EnqueueNoted(entry(sequence.0)), &mut effects);
            effects
        }),
        [(0, 1, false)]
    );
}

fn filled(count: u64) -> State {
    let mut state = State::recovered(Shape::default(), QueueImage::default());
    for _ in 0..count {
        let sequence = state.take_sequence();
        run(&mut state, Command::Enqueue(entry(sequence.0)));
    }
    state
}

fn delivered(effects: &[Effect]) -> Vec<(usize, u64, bool)> {
    let deliver = |effect: &Effect| match effect {
        Effect::Deliver { consumer, sequence, redelivered, .. } => {
            Some((consumer.0, sequence.0, *redelivered))
        }
        _ => None,
    };
    effects.iter().filter_map(deliver).collect()
}

/// A message that lived its time, where nobody wants it.
fn expired(index: IndexEntry) -> Vec<Effect> {
    vec![Effect::Left(index, Reason::Expired), Effect::Settled(index)]
}

fn settled(sequence: u64) -> Effect {
    Effect::Settled(index(sequence))
}

/// A message that was delivered before it was settled.
fn acked(sequence: u64) -> Effect {
    Effect::Settled(IndexEntry { is_delivered: true, ..index(sequence) })
}

/// All that a checkpoint would keep, by sequence.
fn live(state: &mut State) -> Vec<u64> {
    let live = state.image(&mut Vec::new()).live();
    live.iter().flat_map(|(first, last)| first.0..=last.0).collect()
}

#[test]
fn consumers_of_one_priority_take_turns() {
    let mut state = filled(0);
    run(&mut state, Command::Subscribe(consumer(1, 0)));
    run(&mut state, Command::Subscribe(consumer(2, 0)));
    let mut order = Vec::new();
    for n in 1..=4 {
        order.extend(delivered(&run(&mut state, Command::Enqueue(entry(n)))));
    }
    assert_eq!(order, [(0, 1, false), (1, 2, false), (0, 3, false), (1, 4, false)]);
}

#[test]
fn prefetch_bounds_the_unacked_and_an_ack_makes_room() {
    let mut state = filled(3);
    let effects = run(&mut state, Command::Subscribe(consumer(1, 2)));
    assert_eq!(effects[0], Effect::Subscribed(ConsumerKey(0)));
    assert_eq!(delivered(&effects), [(0, 1, false), (0, 2, false)]);
    let effects = run(&mut state, Command::Ack(&[Sequence(1)]));
    assert_eq!(effects[0], acked(1));
    assert_eq!(delivered(&effects), [(0, 3, false)]);
    assert_eq!((state.ready_count(), state.unacked_count()), (0, 2));
}

#[test]
fn the_higher_priority_is_served_while_it_has_credit() {
    let mut state = filled(3);
    run(&mut state, Command::Block(ConsumerKey(0), ConsumerId(1)));
    let low = Consumer { priority: -1, ..consumer(1, 0) };
    let high = Consumer { priority: 5, ..consumer(2, 1) };
    let mut empty = State::recovered(Shape::default(), QueueImage::default());
    run(&mut empty, Command::Subscribe(low));
    run(&mut empty, Command::Subscribe(high));
    let mut order = Vec::new();
    for n in 1..=3 {
        order.extend(delivered(&run(&mut empty, Command::Enqueue(entry(n)))));
    }
    assert_eq!(order, [(1, 1, false), (0, 2, false), (0, 3, false)]);
    let effects = run(&mut empty, Command::Ack(&[Sequence(1)]));
    assert_eq!(effects, [acked(1)]);
    assert_eq!(delivered(&run(&mut empty, Command::Enqueue(entry(4)))), [(1, 4, false)]);
}

#[test]
fn requeue_returns_messages_to_their_places_as_redelivered() {
    let mut state = filled(4);
    for _ in 0..3 {
        run(&mut state, Command::Get { acknowledges: true });
    }
    run(&mut state, Command::Requeue { plain: &[Sequence(3), Sequence(1), Sequence(2)], failed: &[] });
    let mut order = Vec::new();
    while let [Effect::Got { sequence, redelivered, .. }, ..] =
        run(&mut state, Command::Get { acknowledges: true })[..]
    {
        order.push((sequence.0, redelivered));
    }
    assert_eq!(order, [(1, true), (2, true), (3, true), (4, false)]);
}

#[test]
fn without_acks_a_message_is_settled_when_it_is_delivered() {
    let mut state = filled(1);
    let effects = run(&mut state, Command::Subscribe(Consumer { acknowledges: false, ..consumer(1, 1) }));
    assert_eq!(delivered(&effects), [(0, 1, false)]);
    assert_eq!(effects[2], settled(1));
    assert_eq!(state.unacked_count(), 0);
}

#[test]
fn a_blocked_consumer_gets_nothing_until_it_resumes() {
    let mut state = filled(0);
    run(&mut state, Command::Subscribe(consumer(1, 0)));
    run(&mut state, Command::Block(ConsumerKey(0), ConsumerId(1)));
    assert_eq!(run(&mut state, Command::Enqueue(entry(1))), []);
    let effects = run(&mut state, Command::Resume(ConsumerKey(0), ConsumerId(1)));
    assert_eq!(delivered(&effects), [(0, 1, false)]);
}

#[test]
fn a_channels_credit_is_shared_by_its_consumers() {
    let credit = Arc::new(ChannelCredit::default());
    credit.set_limit(1);
    let mut state = filled(2);
    let shared = |id| Consumer { channel_credit: Arc::clone(&credit), ..consumer(id, 0) };
    assert_eq!(delivered(&run(&mut state, Command::Subscribe(shared(1)))), [(0, 1, false)]);
    assert_eq!(delivered(&run(&mut state, Command::Subscribe(shared(2)))), []);
    let effects = run(&mut state, Command::Ack(&[Sequence(1)]));
    assert_eq!(delivered(&effects).len(), 1);
}

#[test]
fn exclusive_use_is_refused_when_others_consume_and_the_reverse() {
    let mut state = filled(0);
    assert_eq!(state.check_subscribe(true), Ok(()));
    run(&mut state, Command::Subscribe(consumer(1, 0)));
    assert_eq!(state.check_subscribe(true), Err(Refusal::ExclusiveUse));
    assert_eq!(state.check_subscribe(false), Ok(()));
    assert_eq!(run(&mut state, Command::Unsubscribe(ConsumerKey(0), ConsumerId(1))), [Effect::Unused]);
    run(&mut state, Command::Subscribe(Consumer { exclusive: true, ..consumer(2, 0) }));
    assert_eq!(state.check_subscribe(false), Err(Refusal::ExclusiveUse));
}

#[test]
fn a_reserved_place_is_kept_while_later_messages_pass() {
    let mut state = filled(0);
    let first = state.reserve(4);
    let second = state.take_sequence();
    run(&mut state, Command::Enqueue(entry(second.0)));
    assert_eq!(live(&mut state), [first.0, second.0]);
    run(&mut state, Command::Enqueue(entry(first.0)));
    let effects = run(&mut state, Command::Get { acknowledges: false });
    assert!(matches!(effects[0], Effect::Got { sequence, .. } if sequence == first));
    assert_eq!(effects[1], settled(first.0));
    assert_eq!(live(&mut state), [second.0]);
}

#[test]
fn purge_settles_what_is_ready_and_leaves_what_is_unacked() {
    let mut state = filled(3);
    run(&mut state, Command::Get { acknowledges: true });
    assert_eq!(run(&mut state, Command::Purge), [settled(2), settled(3)]);
    assert_eq!((state.ready_count(), state.unacked_count()), (0, 1));
    assert_eq!((state.tallies().0.bytes, state.tallies().1.bytes), (0, 4));
}

#[test]
fn the_higher_priority_leaves_first_and_returns_to_its_place() {
    let shape = Shape { max_priority: 5, ..Shape::default() };
    let mut state = State::recovered(shape, QueueImage::default());
    for (sequence, priority) in [(1, 0), (2, 9), (3, 5), (4, 1)] {
        let index = IndexEntry { priority, ..index(sequence) };
        run(&mut state, Command::Enqueue(Entry { index, message: Some(message()) }));
    }
    let mut got = || match &run(&mut state, Command::Get { acknowledges: true })[..] {
        [Effect::Got { sequence, .. }] => sequence.0,
        other => panic!("{other:?}"),
    };
    // Above the highest counts as the highest: 2 and 3 are equals.
    assert_eq!([got(), got(), got()], [2, 3, 4]);
    run(&mut state, Command::Requeue { plain: &[Sequence(2)], failed: &[] });
    assert!(matches!(
        run(&mut state, Command::Get { acknowledges: true })[..],
        [Effect::Got { sequence: Sequence(2), .. }]
    ));
}

#[test]
fn a_message_expires_when_it_is_due_wherever_it_is() {
    let mut state = filled(2);
    let short = expiring(3, Millis(NOW.0 + 5));
    run(&mut state, Command::Enqueue(short));
    assert_eq!(state.next_deadline(), Some(Millis(1_005)));
    let mut effects = Vec::new();
    state.apply(Millis(1_004), Command::Expire, &mut effects);
    assert_eq!(effects, []);
    state.apply(Millis(1_005), Command::Expire, &mut effects);
    assert_eq!(effects, expired(expiring(3, Millis(NOW.0 + 5)).index));
    assert_eq!((state.ready_count(), state.next_deadline()), (2, None));
}

#[test]
fn without_time_to_live_it_is_delivered_at_once_or_never() {
    let due = |sequence| expiring(sequence, NOW);
    let mut state = filled(0);
    let effects = run(&mut state, Command::Enqueue(due(1)));
    assert_eq!(effects, expired(due(1).index));
    run(&mut state, Command::Subscribe(consumer(1, 0)));
    assert_eq!(delivered(&run(&mut state, Command::Enqueue(due(2)))), [(0, 2, false)]);
    let back = IndexEntry { is_delivered: true, returns: 1, ..due(2).index };
    assert_eq!(
        run(&mut state, Command::Requeue { plain: &[Sequence(2)], failed: &[] }),
        [vec![Effect::Returned(back, Return::Plain)], expired(back)].concat()
    );
}

#[test]
fn the_single_active_consumer_gets_everything_until_it_leaves() {
    let shape = Shape { single_active: true, ..Shape::default() };
    let mut state = State::recovered(shape, QueueImage::default());
    run(&mut state, Command::Subscribe(consumer(1, 1)));
    run(&mut state, Command::Subscribe(consumer(2, 0)));
    run(&mut state, Command::Subscribe(Consumer { priority: 3, ..consumer(3, 0) }));
    assert_eq!(state.check_subscribe(true), Err(Refusal::ExclusiveUse));
    assert_eq!(delivered(&run(&mut state, Command::Enqueue(entry(1)))), [(0, 1, false)]);
    assert_eq!(delivered(&run(&mut state, Command::Enqueue(entry(2)))), []);
    assert_eq!(delivered(&run(&mut state, Command::Ack(&[Sequence(1)]))), [(0, 2, false)]);
    run(&mut state, Command::Unsubscribe(ConsumerKey(0), ConsumerId(1)));
    assert_eq!(state.active_consumer(), Some(ConsumerId(3)));
    assert_eq!(
        delivered(&run(&mut state, Command::Requeue { plain: &[Sequence(2)], failed: &[] })),
        [(2, 2, true)]
    );
}
