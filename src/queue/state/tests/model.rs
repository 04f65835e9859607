//! Any run of commands agrees with a sorted list, whatever leaves memory meanwhile.

use super::paging::Paged;
use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// A message in the naive model: in the order of delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Naive {
    level: std::cmp::Reverse<u8>,
    sequence: u64,
    expires_at: Millis,
    returns: u16,
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
    ready: BTreeSet<Naive>,
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
                self.reserved.push(self.paged.state.reserve(4));
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
                self.paged
                    .run(self.now, Command::Requeue { plain: &[Sequence(message.sequence)], failed: &[] });
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
            self.paged.run(self.now, Command::Requeue { plain: &[Sequence(message.sequence)], failed: &[] });
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
            let (ready, unacked) = self.paged.state.tallies();
            prop_assert_eq!((ready.bytes, unacked.bytes), (4 * count as u64, 4 * self.unacked.len() as u64));
            let is_durable = |message: &&Naive| !self.transient.contains(&message.sequence);
            let durable = self.ready.iter().chain(&self.unacked).filter(is_durable).count() as u64;
            prop_assert_eq!(ready.durable + unacked.durable, durable);
            prop_assert_eq!(ready.durable_bytes + unacked.durable_bytes, 4 * durable);
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
