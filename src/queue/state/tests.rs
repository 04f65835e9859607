//! Command lists in, effect lists out.

use super::*;
use crate::message::Properties;
use proptest::prelude::*;

const NOW: Millis = Millis(1_000);

fn message() -> Arc<Message> {
    Arc::new(Message::new("".into(), b"q", &[0, 0], &Properties::default(), &[b"body"]))
}

fn entry(sequence: u64) -> Entry {
    Entry {
        sequence: Sequence(sequence),
        position: Position(sequence * 10),
        redelivered: false,
        expires_at: NEVER,
        message: message(),
    }
}

fn consumer(id: u64, prefetch: u32) -> Consumer {
    Consumer {
        id: ConsumerId(id),
        priority: 0,
        prefetch,
        acknowledges: true,
        exclusive: false,
        channel_credit: Arc::default(),
    }
}

fn run(state: &mut State, command: Command<'_>) -> Vec<Effect> {
    let mut effects = Vec::new();
    state.apply(NOW, command, &mut effects);
    effects
}

fn filled(count: u64) -> State {
    let mut state = State::recovered(Shape::default(), Sequence(1), []);
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

fn settled(sequence: u64) -> Effect {
    Effect::Settled(Sequence(sequence), Position(sequence * 10))
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
    assert_eq!(effects[0], settled(1));
    assert_eq!(delivered(&effects), [(0, 3, false)]);
    assert_eq!((state.ready_count(), state.unacked_count()), (0, 2));
}

#[test]
fn the_higher_priority_is_served_while_it_has_credit() {
    let mut state = filled(3);
    run(&mut state, Command::Block(ConsumerKey(0), ConsumerId(1)));
    let low = Consumer { priority: -1, ..consumer(1, 0) };
    let high = Consumer { priority: 5, ..consumer(2, 1) };
    let mut empty = State::recovered(Shape::default(), Sequence(1), []);
    run(&mut empty, Command::Subscribe(low));
    run(&mut empty, Command::Subscribe(high));
    let mut order = Vec::new();
    for n in 1..=3 {
        order.extend(delivered(&run(&mut empty, Command::Enqueue(entry(n)))));
    }
    assert_eq!(order, [(1, 1, false), (0, 2, false), (0, 3, false)]);
    let effects = run(&mut empty, Command::Ack(&[Sequence(1)]));
    assert_eq!(effects, [settled(1)]);
    assert_eq!(delivered(&run(&mut empty, Command::Enqueue(entry(4)))), [(1, 4, false)]);
}

#[test]
fn requeue_returns_messages_to_their_places_as_redelivered() {
    let mut state = filled(4);
    for _ in 0..3 {
        run(&mut state, Command::Get { acknowledges: true });
    }
    run(&mut state, Command::Requeue(&[Sequence(3), Sequence(1), Sequence(2)]));
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
    let first = state.reserve();
    let second = state.take_sequence();
    run(&mut state, Command::Enqueue(entry(second.0)));
    assert_eq!(state.live(), [first, second]);
    run(&mut state, Command::Enqueue(entry(first.0)));
    let effects = run(&mut state, Command::Get { acknowledges: false });
    assert!(matches!(effects[0], Effect::Got { sequence, .. } if sequence == first));
    assert_eq!(effects[1], settled(first.0));
    assert_eq!(state.live(), [second]);
}

#[test]
fn purge_settles_what_is_ready_and_leaves_what_is_unacked() {
    let mut state = filled(3);
    run(&mut state, Command::Get { acknowledges: true });
    assert_eq!(run(&mut state, Command::Purge), [settled(2), settled(3)]);
    assert_eq!((state.ready_count(), state.unacked_count()), (0, 1));
    assert_eq!(state.body_bytes(), (0, 4));
}

#[test]
fn the_higher_priority_leaves_first_and_returns_to_its_place() {
    let shape = Shape { max_priority: 5, ..Shape::default() };
    let mut state = State::recovered(shape, Sequence(1), []);
    for (sequence, priority) in [(1, 0), (2, 9), (3, 5), (4, 1)] {
        let mut message = (*message()).clone();
        message.priority = priority;
        let message = Arc::new(message);
        run(&mut state, Command::Enqueue(Entry { message, ..entry(sequence) }));
    }
    let mut got = || match &run(&mut state, Command::Get { acknowledges: true })[..] {
        [Effect::Got { sequence, .. }] => sequence.0,
        other => panic!("{other:?}"),
    };
    // Above the highest counts as the highest: 2 and 3 are equals.
    assert_eq!([got(), got(), got()], [2, 3, 4]);
    run(&mut state, Command::Requeue(&[Sequence(2)]));
    assert!(matches!(
        run(&mut state, Command::Get { acknowledges: true })[..],
        [Effect::Got { sequence: Sequence(2), .. }]
    ));
}

#[test]
fn a_message_expires_when_it_is_due_wherever_it_is() {
    let mut state = filled(2);
    let short = Entry { expires_at: Millis(NOW.0 + 5), ..entry(3) };
    run(&mut state, Command::Enqueue(short));
    assert_eq!(state.next_deadline(), Some(Millis(1_005)));
    let mut effects = Vec::new();
    state.apply(Millis(1_004), Command::Expire, &mut effects);
    assert_eq!(effects, []);
    state.apply(Millis(1_005), Command::Expire, &mut effects);
    assert_eq!(effects, [Effect::Expired(Sequence(3), Position(30))]);
    assert_eq!((state.ready_count(), state.next_deadline()), (2, None));
}

#[test]
fn without_time_to_live_it_is_delivered_at_once_or_never() {
    let due = |sequence| Entry { expires_at: NOW, ..entry(sequence) };
    let mut state = filled(0);
    let effects = run(&mut state, Command::Enqueue(due(1)));
    assert_eq!(effects, [Effect::Expired(Sequence(1), Position(10))]);
    run(&mut state, Command::Subscribe(consumer(1, 0)));
    assert_eq!(delivered(&run(&mut state, Command::Enqueue(due(2)))), [(0, 2, false)]);
    assert_eq!(
        run(&mut state, Command::Requeue(&[Sequence(2)])),
        [Effect::Expired(Sequence(2), Position(20))]
    );
}

#[test]
fn the_single_active_consumer_gets_everything_until_it_leaves() {
    let shape = Shape { single_active: true, ..Shape::default() };
    let mut state = State::recovered(shape, Sequence(1), []);
    run(&mut state, Command::Subscribe(consumer(1, 1)));
    run(&mut state, Command::Subscribe(consumer(2, 0)));
    run(&mut state, Command::Subscribe(Consumer { priority: 3, ..consumer(3, 0) }));
    assert_eq!(state.check_subscribe(true), Err(Refusal::ExclusiveUse));
    assert_eq!(delivered(&run(&mut state, Command::Enqueue(entry(1)))), [(0, 1, false)]);
    assert_eq!(delivered(&run(&mut state, Command::Enqueue(entry(2)))), []);
    assert_eq!(delivered(&run(&mut state, Command::Ack(&[Sequence(1)]))), [(0, 2, false)]);
    run(&mut state, Command::Unsubscribe(ConsumerKey(0), ConsumerId(1)));
    assert_eq!(state.active_consumer(), Some(ConsumerId(3)));
    assert_eq!(delivered(&run(&mut state, Command::Requeue(&[Sequence(2)]))), [(2, 2, true)]);
}

#[derive(Clone, Debug)]
enum Step {
    Publish,
    Get,
    Ack(usize),
    Requeue(usize),
    Purge,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Publish),
        4 => Just(Step::Get),
        2 => (0..8usize).prop_map(Step::Ack),
        2 => (0..8usize).prop_map(Step::Requeue),
        1 => Just(Step::Purge),
    ]
}

proptest! {
    #[test]
    fn any_run_agrees_with_a_sorted_list(steps in prop::collection::vec(step(), 0..60)) {
        let mut state = State::recovered(Shape::default(), Sequence(1), []);
        let (mut ready, mut unacked): (Vec<u64>, Vec<u64>) = Default::default();
        for step in steps {
            match step {
                Step::Publish => {
                    let sequence = state.take_sequence();
                    run(&mut state, Command::Enqueue(entry(sequence.0)));
                    ready.push(sequence.0);
                }
                Step::Get => {
                    let got = run(&mut state, Command::Get { acknowledges: true });
                    let expected = (!ready.is_empty()).then(|| ready.remove(0));
                    let sequence = got.iter().find_map(|effect| match effect {
                        Effect::Got { sequence, .. } => Some(sequence.0),
                        _ => None,
                    });
                    prop_assert_eq!(sequence, expected);
                    unacked.extend(expected);
                }
                Step::Ack(at) if at < unacked.len() => {
                    let sequence = unacked.remove(at);
                    prop_assert_eq!(run(&mut state, Command::Ack(&[Sequence(sequence)])), [settled(sequence)]);
                }
                Step::Requeue(at) if at < unacked.len() => {
                    let sequence = unacked.remove(at);
                    run(&mut state, Command::Requeue(&[Sequence(sequence)]));
                    ready.push(sequence);
                    ready.sort_unstable();
                }
                Step::Purge => {
                    prop_assert_eq!(run(&mut state, Command::Purge).len(), ready.len());
                    ready.clear();
                }
                Step::Ack(_) | Step::Requeue(_) => {}
            }
            prop_assert_eq!(state.ready_count(), ready.len());
            prop_assert_eq!(state.unacked_count(), unacked.len());
            let mut live: Vec<u64> = ready.iter().chain(&unacked).copied().collect();
            live.sort_unstable();
            prop_assert_eq!(state.live().iter().map(|s| s.0).collect::<Vec<_>>(), live);
        }
    }
}
