//! Command lists in, effect lists out.

use super::*;
use crate::message::{Message, Properties};
use crate::store::index::{ImageId, PageSummary};
use proptest::prelude::*;

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
    assert_eq!(state.body_bytes(), (0, 4));
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
    run(&mut state, Command::Requeue(&[Sequence(2)]));
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
    assert_eq!(effects, [Effect::Expired(expiring(3, Millis(NOW.0 + 5)).index)]);
    assert_eq!((state.ready_count(), state.next_deadline()), (2, None));
}

#[test]
fn without_time_to_live_it_is_delivered_at_once_or_never() {
    let due = |sequence| expiring(sequence, NOW);
    let mut state = filled(0);
    let effects = run(&mut state, Command::Enqueue(due(1)));
    assert_eq!(effects, [Effect::Expired(due(1).index)]);
    run(&mut state, Command::Subscribe(consumer(1, 0)));
    assert_eq!(delivered(&run(&mut state, Command::Enqueue(due(2)))), [(0, 2, false)]);
    let back = IndexEntry { is_delivered: true, returns: 1, ..due(2).index };
    assert_eq!(
        run(&mut state, Command::Requeue(&[Sequence(2)])),
        [Effect::Returned(back), Effect::Expired(back)]
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
    assert_eq!(delivered(&run(&mut state, Command::Requeue(&[Sequence(2)]))), [(2, 2, true)]);
}

/// A queue whose messages may leave memory at any time, with a store that answers what it asks.
struct Paged {
    state: State,
    images: std::collections::BTreeMap<ImageId, Vec<IndexEntry>>,
    load: Option<Load>,
    /// Where the records stand that moved.
    moved: std::collections::BTreeMap<Sequence, Position>,
}

impl Paged {
    fn new(max_priority: u8) -> Self {
        let shape = Shape { max_priority, ..Shape::default() };
        let mut state = State::recovered(shape, QueueImage::default());
        state.set_pressure(Pressure {
            window: Window { low_bytes: 500, high_bytes: 4_000 },
            ..Pressure::default()
        });
        Self { state, images: Default::default(), load: None, moved: Default::default() }
    }

    /// Applies a command; notes what is to be read, and does what is to be done with images at once.
    fn run(&mut self, now: Millis, command: Command<'_>) -> Vec<Effect> {
        let effects = run_at(&mut self.state, now, command);
        self.note(now, effects)
    }

    fn note(&mut self, now: Millis, effects: Vec<Effect>) -> Vec<Effect> {
        let mut rest = Vec::new();
        for effect in effects {
            match effect {
                Effect::WriteImage(new) => assert!(self.images.insert(new.image, new.entries).is_none()),
                Effect::ForgetImage(image) => assert!(self.images.remove(&image).is_some(), "{image:?}"),
                Effect::PageSettled(page) => {
                    let entries = self.images.remove(&page.image).unwrap();
                    rest.extend(entries.into_iter().map(Effect::Settled));
                }
                Effect::Load(load) => assert!(self.load.replace(load).is_none(), "one at a time"),
                Effect::Unstored { level, sequence, .. } => {
                    let (position, record_bytes) = (Position(sequence.0 * 10), 10);
                    rest.extend(self.run(now, Command::Stored { level, sequence, position, record_bytes }));
                }
                other => rest.push(other),
            }
        }
        rest
    }

    /// The store answers.
    fn answer(&mut self, now: Millis) -> Vec<Effect> {
        match self.load.take() {
            Some(Load::Page { level, page }) => {
                // Purged meanwhile: then there is nothing to be answered.
                let entries = self.images.get(&page.image).cloned().unwrap_or_default();
                self.run(now, Command::PageLoaded { level, page, entries, is_rebuilt: false })
            }
            Some(Load::Bodies(wanted)) => {
                let read = |wanted: Wanted| {
                    let position = self.position(wanted.sequence);
                    // One that moved since it was asked for may still be read where it was, if its file is there yet.
                    let is_read = wanted.position == position || wanted.position.0.is_multiple_of(20);
                    (wanted, if is_read { Read::Message(message()) } else { Read::Lost })
                };
                let read = wanted.into_iter().map(read).collect();
                self.run(now, Command::Loaded(read))
            }
            None => Vec::new(),
        }
    }

    fn position(&self, sequence: Sequence) -> Position {
        self.moved.get(&sequence).copied().unwrap_or(Position(sequence.0 * 10))
    }

    /// The compactor moves a record.
    fn relocate(&mut self, sequence: Sequence) {
        let from = self.position(sequence);
        let to = Position(from.0 + 1_000_000_000 + 10 * (sequence.0 % 2));
        if self.state.relocate(sequence, from, (to, 10)) == Relocated::Moved {
            self.moved.insert(sequence, to);
        }
    }

    /// Takes the first message, reading until it is there.
    fn get(&mut self, now: Millis) -> (Option<(u64, bool, u32)>, Vec<Effect>) {
        let mut others = Vec::new();
        loop {
            let mut is_later = false;
            for effect in self.run(now, Command::Get { acknowledges: true }) {
                match effect {
                    Effect::Got { sequence, redelivered, .. } => {
                        let returns = self.state.unacked_entry(sequence).unwrap().returns;
                        return (Some((sequence.0, redelivered, returns)), others);
                    }
                    Effect::GetLater => is_later = true,
                    other => others.push(other),
                }
            }
            if !is_later {
                return (None, others);
            }
            assert!(self.load.is_some(), "nothing is being read, and nothing will come");
            others.extend(self.answer(now));
        }
    }
}

/// A message in the naive model: in the order of delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Naive {
    level: std::cmp::Reverse<u8>,
    sequence: u64,
    expires_at: Millis,
    returns: u32,
}

#[derive(Clone, Debug)]
enum Step {
    Publish {
        count: u64,
        priority: u8,
        ttl_ms: u64,
        is_durable: bool,
    },
    Late,
    Get,
    Ack(usize),
    Requeue(usize),
    Evict(u64),
    Answer,
    /// The compactor moves some records.
    Relocate(usize, usize),
    Checkpoint,
    Restart,
    Pass(u64),
    Purge,
}

fn step() -> impl Strategy<Value = Step> {
    let ttl = prop_oneof![8 => Just(0), 1 => 1u64..50, 1 => 5_000u64..60_000];
    let publish = (1u64..1_500, 0u8..4, ttl, prop::bool::weighted(0.8));
    prop_oneof![
        6 => publish.prop_map(|(count, priority, ttl_ms, is_durable)| Step::Publish {
            count,
            priority,
            ttl_ms,
            is_durable
        }),
        1 => Just(Step::Late),
        12 => Just(Step::Get),
        4 => (0..8usize).prop_map(Step::Ack),
        4 => (0..8usize).prop_map(Step::Requeue),
        4 => (0..2_000_000u64).prop_map(Step::Evict),
        4 => Just(Step::Answer),
        3 => (0..3_000usize, 1..8usize).prop_map(|(from, step)| Step::Relocate(from, step)),
        2 => Just(Step::Checkpoint),
        1 => Just(Step::Restart),
        2 => prop_oneof![1u64..60, 9_000u64..40_000].prop_map(Step::Pass),
        1 => Just(Step::Purge),
    ]
}

struct Run {
    paged: Paged,
    max_priority: u8,
    now: Millis,
    ready: std::collections::BTreeSet<Naive>,
    unacked: Vec<Naive>,
    transient: BTreeSet<u64>,
    reserved: Vec<Sequence>,
}

impl Run {
    fn new(max_priority: u8) -> Self {
        Self {
            paged: Paged::new(max_priority),
            max_priority,
            now: NOW,
            ready: Default::default(),
            unacked: Vec::new(),
            transient: BTreeSet::new(),
            reserved: Vec::new(),
        }
    }

    fn enqueue(&mut self, sequence: Sequence, priority: u8, expires_at: Millis, is_durable: bool) {
        let position = if is_durable { Position(sequence.0 * 10) } else { Position::NONE };
        let index = IndexEntry { priority, expires_at, position, is_durable, ..index(sequence.0) };
        self.paged.run(self.now, Command::Enqueue(Entry { index, message: Some(message()) }));
        let level = std::cmp::Reverse(priority.min(self.max_priority));
        self.ready.insert(Naive { level, sequence: sequence.0, expires_at, returns: 0 });
        if !is_durable {
            self.transient.insert(sequence.0);
        }
    }

    fn expire(&mut self) {
        let now = self.now;
        self.ready.retain(|message| message.expires_at > now);
    }

    fn take(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Publish { count, priority, ttl_ms, is_durable } => {
                for _ in 0..count {
                    let sequence = self.paged.state.take_sequence();
                    let expires_at = if ttl_ms == 0 { NEVER } else { Millis(self.now.0 + ttl_ms) };
                    self.enqueue(sequence, priority, expires_at, is_durable);
                }
                self.reserved.push(self.paged.state.reserve());
            }
            Step::Late => {
                if let Some(sequence) = self.reserved.pop() {
                    self.enqueue(sequence, 1, NEVER, true);
                }
            }
            Step::Get => {
                self.expire();
                let (got, _) = self.paged.get(self.now);
                let expected = self.ready.pop_first();
                let seen = expected.map(|message| (message.sequence, message.returns > 0, message.returns));
                prop_assert_eq!(got, seen);
                self.unacked.extend(expected);
            }
            Step::Ack(at) if at < self.unacked.len() => {
                let message = self.unacked.remove(at);
                self.paged.run(self.now, Command::Ack(&[Sequence(message.sequence)]));
            }
            Step::Requeue(at) if at < self.unacked.len() => {
                let mut message = self.unacked.remove(at);
                self.paged.run(self.now, Command::Requeue(&[Sequence(message.sequence)]));
                message.returns += 1;
                self.ready.insert(message);
            }
            Step::Evict(bytes) => drop(self.paged.run(self.now, Command::Evict { bytes })),
            Step::Answer => drop(self.paged.answer(self.now)),
            Step::Relocate(from, step) => {
                let held = self.ready.iter().chain(&self.unacked).map(|message| message.sequence);
                let moved: Vec<_> = held.skip(from).step_by(step).map(Sequence).collect();
                moved.into_iter().for_each(|sequence| self.paged.relocate(sequence));
            }
            Step::Checkpoint => {
                let image = self.image()?;
                prop_assert_eq!(image.next_sequence, self.paged.state.next_sequence());
            }
            Step::Restart => self.restart()?,
            Step::Pass(ms) => self.now.0 += ms,
            Step::Purge => {
                self.expire();
                self.paged.run(self.now, Command::Purge);
                self.ready.clear();
            }
            Step::Ack(_) | Step::Requeue(_) => {}
        }
        Ok(())
    }

    /// What a checkpoint keeps: all that is durable, and those on their way.
    fn image(&mut self) -> Result<QueueImage, TestCaseError> {
        self.settle_expired();
        let mut effects = Vec::new();
        let image = self.paged.state.image(&mut effects);
        self.paged.note(self.now, effects);
        let durable = self.ready.iter().chain(&self.unacked).map(|message| message.sequence);
        let durable = durable.filter(|sequence| !self.transient.contains(sequence));
        let expected: crate::store::Ranges =
            durable.map(Sequence).chain(self.reserved.iter().copied()).collect();
        // What expired in a cold page may still be there.
        let now = self.now;
        let live = image.live();
        for (first, last) in expected.iter() {
            prop_assert!((first.0..=last.0).all(|sequence| live.contains(Sequence(sequence))));
        }
        if self.paged.state.next_deadline().is_none_or(|deadline| deadline > now) {
            prop_assert_eq!(live.count(), expected.count());
        }
        Ok(image)
    }

    /// Lets everything that is due expire, also in cold pages.
    fn settle_expired(&mut self) {
        self.expire();
        for _ in 0..1_000 {
            self.paged.run(self.now, Command::Expire);
            if self.paged.state.next_deadline().is_none_or(|deadline| deadline > self.now)
                && self.paged.load.is_none()
            {
                return;
            }
            self.paged.answer(self.now);
        }
    }

    /// The node stops after its clients gave everything back, and starts with what the checkpoint kept.
    fn restart(&mut self) -> Result<(), TestCaseError> {
        for message in std::mem::take(&mut self.unacked) {
            self.paged.run(self.now, Command::Requeue(&[Sequence(message.sequence)]));
            self.ready.insert(Naive { returns: message.returns + 1, ..message });
        }
        let image = self.image()?.encode(crate::name::QueueId(1));
        let mut image = QueueImage::decode(crate::name::QueueId(1), &image).unwrap();
        self.reserved.clear();
        image.reserved.clear();
        let shape = Shape { max_priority: self.max_priority, ..Shape::default() };
        self.paged.state = State::recovered(shape, image);
        self.paged.load = None;
        self.ready.retain(|message| !self.transient.contains(&message.sequence));
        Ok(())
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        self.settle_expired();
        prop_assert_eq!(self.paged.state.unacked_count(), self.unacked.len());
        // Messages that expired in a cold page are counted until it is looked at again, ten seconds later at most.
        let count = self.paged.state.ready_count();
        prop_assert!(count >= self.ready.len(), "{} ready, {} expected", count, self.ready.len());
        if self.paged.state.next_deadline().is_none() {
            prop_assert_eq!(count, self.ready.len());
            prop_assert_eq!(self.paged.state.body_bytes().0, 4 * count as u64);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn any_run_agrees_with_a_sorted_list_whatever_leaves_memory(
        max_priority in 0u8..3,
        is_window_wide in any::<bool>(),
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let mut run = Run::new(max_priority);
        if is_window_wide {
            run.paged.state.set_pressure(Pressure::default());
        }
        for step in steps {
            run.take(step)?;
            run.check()?;
        }
        // Everything comes out, in order.
        while !run.ready.is_empty() {
            run.take(Step::Get)?;
        }
        run.take(Step::Get)?;
        for message in std::mem::take(&mut run.unacked) {
            run.paged.run(run.now, Command::Ack(&[Sequence(message.sequence)]));
        }
        prop_assert_eq!(run.paged.state.memory_bytes(), 0);
        prop_assert_eq!(run.paged.images.len(), 0);
    }
}

/// A queue of `count` messages of which only the journal has the bodies.
fn deep(count: u64) -> Paged {
    let mut paged = Paged::new(0);
    for _ in 0..count {
        let sequence = paged.state.take_sequence();
        paged.run(NOW, Command::Enqueue(entry(sequence.0)));
    }
    while paged.state.memory_bytes() > 0 {
        paged.run(NOW, Command::Evict { bytes: u64::MAX });
    }
    paged
}

#[test]
fn a_long_backlog_leaves_memory_but_for_its_ends() {
    let mut paged = deep(100_000);
    assert_eq!((paged.state.ready_count(), paged.state.paged_count()), (100_000, 100_000));
    assert_eq!(paged.images.len(), 100_000 / 1024 + 1 - 4);
    // What is read ahead is bounded by the window, however many consumers there are.
    run(&mut paged.state, Command::Subscribe(consumer(1, 0)));
    paged.load = Some(Load::Bodies(Vec::new()));
    paged.answer(NOW);
    assert!(paged.state.memory_bytes() < 20_000, "{}", paged.state.memory_bytes());
}

#[test]
fn a_consumer_gets_a_backlog_in_order_while_it_is_read_ahead() {
    let mut paged = deep(20_000);
    let first = paged.run(NOW, Command::Subscribe(consumer(1, 0)));
    let mut order: Vec<u64> = delivered(&first).iter().map(|(_, sequence, _)| *sequence).collect();
    while paged.load.is_some() || paged.state.has_more() {
        let effects =
            if paged.state.has_more() { paged.run(NOW, Command::Continue) } else { paged.answer(NOW) };
        order.extend(delivered(&effects).iter().map(|(_, sequence, _)| *sequence));
    }
    assert_eq!(order, (1..=20_000).collect::<Vec<_>>());
}

#[test]
fn a_page_of_which_a_restart_leaves_nothing_does_not_hide_those_behind_it() {
    let entries = |from: u64| (from..from + 3).map(index).collect::<Vec<_>>();
    let transient = |entry: IndexEntry| IndexEntry { is_durable: false, ..entry };
    let gone: Vec<_> = entries(1).into_iter().map(transient).collect();
    let gone = PageSummary { counts: Default::default(), ..PageSummary::of(ImageId(0), 0, &gone) };
    let pages = vec![gone, PageSummary::of(ImageId(1), 0, &entries(4))];
    let image =
        QueueImage { next_sequence: Sequence(7), next_image: ImageId(2), pages, ..QueueImage::default() };
    let images = [(ImageId(0), Vec::new()), (ImageId(1), entries(4))].into();
    let mut paged = Paged { state: State::recovered(Shape::default(), image), images, ..Paged::new(0) };
    assert_eq!(paged.get(NOW).0, Some((4, false, 0)));
    assert!(!paged.images.contains_key(&ImageId(0)), "its image is of no use");
}

#[test]
fn a_purge_forgets_pages_without_reading_them() {
    let mut paged = deep(10_000);
    let pages = paged.images.len();
    let mut effects = Vec::new();
    paged.state.apply(NOW, Command::Purge, &mut effects);
    let settled: usize = effects.iter().filter(|effect| matches!(effect, Effect::PageSettled(_))).count();
    assert_eq!((settled, paged.state.ready_count()), (pages, 0));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Load(_))));
}

#[test]
fn what_the_journal_has_of_a_damaged_page_is_delivered_and_the_page_is_written_anew() {
    let mut paged = deep(8 * 1024);
    let Some(Load::Page { level, page }) =
        paged.state.records_between(Position(0), Position(u64::MAX)).1.pop()
    else {
        panic!("a page is cold");
    };
    let damaged = page.image;
    // One of its messages is not in the journal either.
    let entries =
        paged.images[&damaged].iter().skip(1).map(|entry| IndexEntry { is_delivered: true, ..*entry });
    let entries = entries.collect();
    paged.run(NOW, Command::PageLoaded { level, page, entries, is_rebuilt: true });
    assert_eq!((paged.state.ready_count(), paged.images.contains_key(&damaged)), (8 * 1024 - 1, false));
    while paged.state.memory_bytes() > 0
        || paged.state.records_between(Position(0), Position(u64::MAX)).1.len() < 4
    {
        paged.run(NOW, Command::Evict { bytes: u64::MAX });
    }
    let mut got = 0;
    while paged.get(NOW).0.is_some() {
        got += 1;
    }
    assert_eq!(got, 8 * 1024 - 1);
}

#[test]
fn a_message_that_cannot_be_read_is_lost_alone() {
    let mut paged = deep(3_000);
    paged.run(NOW, Command::Get { acknowledges: false });
    let Some(Load::Bodies(wanted)) = paged.load.take() else { panic!("bodies are wanted") };
    let read = |wanted: Wanted| {
        let read = if wanted.sequence == Sequence(1) { Read::Lost } else { Read::Message(message()) };
        (wanted, read)
    };
    let effects = paged.run(NOW, Command::Loaded(wanted.into_iter().map(read).collect()));
    assert_eq!(effects, [Effect::Lost(index(1))]);
    assert_eq!(paged.get(NOW).0, Some((2, false, 0)));
}

#[test]
fn a_record_that_moved_is_read_where_it_is_now() {
    let mut paged = deep(10);
    paged.run(NOW, Command::Get { acknowledges: false });
    let Some(Load::Bodies(wanted)) = paged.load.take() else { panic!("bodies are wanted") };
    let relocate = |paged: &mut Paged, sequence: u64, to: u64| {
        paged.state.relocate(Sequence(sequence), Position(10), (Position(to), 11))
    };
    assert_eq!(relocate(&mut paged, 1, 999), Relocated::Moved);
    assert_eq!(relocate(&mut paged, 1, 998), Relocated::Refused, "it is not there any more");
    assert_eq!(relocate(&mut paged, 11, 998), Relocated::Settled);
    let lost = wanted.into_iter().map(|wanted| (wanted, Read::Lost)).take(1).collect();
    assert_eq!(paged.run(NOW, Command::Loaded(lost)), []);
    let Some(Load::Bodies(wanted)) = paged.load.take() else { panic!("it is asked for again") };
    assert_eq!(
        (wanted[0].sequence, wanted[0].position, wanted[0].record_bytes),
        (Sequence(1), Position(999), 11)
    );
}

#[test]
fn a_message_that_moved_while_it_was_read_is_delivered() {
    let mut paged = deep(10);
    paged.run(NOW, Command::Subscribe(consumer(1, 0)));
    paged.relocate(Sequence(2));
    let effects = paged.answer(NOW);
    let order: Vec<u64> = delivered(&effects).iter().map(|(_, sequence, _)| *sequence).collect();
    assert_eq!(order, (1..=10).collect::<Vec<_>>());
}

#[test]
fn a_message_that_did_not_come_is_asked_for_again_however_short_the_queue() {
    let mut paged = deep(10);
    paged.state.set_pressure(Pressure::default());
    paged.run(NOW, Command::Subscribe(consumer(1, 0)));
    assert!(paged.load.take().is_some());
    paged.run(NOW, Command::Loaded(Vec::new()));
    let effects = paged.answer(NOW);
    assert_eq!(delivered(&effects).len(), 10);
}

#[test]
fn a_message_whose_page_left_memory_keeps_its_record_and_does_not_count_as_settled() {
    let mut paged = deep(10_000);
    let relocated = paged.state.relocate(Sequence(5_000), Position(50_000), (Position(200_000), 10));
    assert_eq!(relocated, Relocated::Refused);
}

#[test]
fn while_memory_is_short_unacked_and_waiting_messages_are_in_the_journal_only() {
    let mut paged = deep(0);
    paged.state.set_pressure(Pressure { is_lean: true, keep_bytes: 64 << 10, ..Pressure::default() });
    for _ in 0..2_000 {
        let sequence = paged.state.take_sequence();
        paged.run(NOW, Command::Enqueue(entry(sequence.0)));
    }
    let kept = paged.state.memory_bytes();
    assert!((64 << 10..(64 << 10) + 1_000).contains(&kept), "{kept}");
    assert!(paged.state.would_park());
    assert_eq!(paged.get(NOW).0, Some((1, false, 0)));
    paged.run(NOW, Command::Requeue(&[Sequence(1)]));
    assert_eq!(paged.get(NOW).0, Some((1, true, 1)));
}
