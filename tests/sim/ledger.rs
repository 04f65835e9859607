//! The truth: what was promised of each message, and what a start must therefore find.

use crate::node::{Found, FoundMessage};
use std::collections::{BTreeMap, BTreeSet};
use warren::durability::{Level, Point};
use warren::name::{Position, QueueId, Sequence};

/// What was synced when a life ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Synced {
    pub(crate) all: Position,
    /// All but large records.
    pub(crate) but_large: Position,
}

impl Synced {
    pub(crate) const ALL: Self = Self { all: Position(u64::MAX), but_large: Position(u64::MAX) };

    pub(crate) fn has(&self, point: Point) -> bool {
        match point.level {
            Level::Synced => point.end <= self.all,
            Level::SyncedButLarge => point.end <= self.but_large,
            Level::Written | Level::WrittenButLarge => false,
        }
    }

    /// The same, where a start has found what has no point.
    fn has_now(&self, point: Option<Point>) -> bool {
        point.is_none_or(|point| self.has(point))
    }

    pub(crate) fn max(self, other: Self) -> Self {
        Self { all: self.all.max(other.all), but_large: self.but_large.max(other.but_large) }
    }
}

/// A message in a queue.
pub(crate) type Place = (QueueId, Sequence);

/// What is known of a message in a queue.
#[derive(Clone, Debug)]
pub(crate) struct Fate {
    /// What its body says.
    pub(crate) number: u64,
    pub(crate) is_persistent: bool,
    /// When it is safe; none = never, or a start has found it.
    safe: Option<Point>,
    /// When it is safe that it was settled.
    pub(crate) settled: Option<Point>,
    pub(crate) is_delivered: bool,
    /// How often the last start says it came back; so often at least; and when it is safe that it did since.
    returns: u32,
    returns_safe: u32,
    returned: Vec<Point>,
}

impl Fate {
    /// How often it may say that it came back. What was with somebody at the end counts as one more, which the next
    /// checkpoint keeps.
    fn returns(&self, synced: &Synced) -> std::ops::RangeInclusive<u32> {
        let safe = self.returned.iter().filter(|point| synced.has(**point)).count() as u32;
        self.returns_safe + safe..=self.returns + self.returned.len() as u32 + u32::from(self.is_delivered)
    }
}

/// Messages that moved from queue to queue, all together.
#[derive(Clone, Debug)]
pub(crate) struct Moved {
    pub(crate) end: Point,
    pub(crate) from: Vec<Place>,
    pub(crate) to: Vec<Place>,
}

/// A queue's definition.
#[derive(Clone, Copy, Debug)]
struct Declared {
    /// None: a start has found it.
    at: Option<Point>,
    deleted: Option<Point>,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) fates: BTreeMap<Place, Fate>,
    moved: Vec<Moved>,
    queues: BTreeMap<QueueId, Declared>,
}

impl Ledger {
    pub(crate) fn declared(&mut self, queue: QueueId, at: Point) {
        self.queues.insert(queue, Declared { at: Some(at), deleted: None });
    }

    pub(crate) fn deleted(&mut self, queue: QueueId, at: Point) {
        self.queues.get_mut(&queue).expect("it was declared").deleted = Some(at);
    }

    pub(crate) fn published(&mut self, place: Place, number: u64, safe: Option<Point>) {
        let fate = Fate {
            number,
            is_persistent: safe.is_some(),
            safe,
            settled: None,
            is_delivered: false,
            returns: 0,
            returns_safe: 0,
            returned: Vec::new(),
        };
        assert!(
            self.fates.insert(place, fate).is_none_or(|before| before.settled.is_some()),
            "{place:?} is taken"
        );
    }

    pub(crate) fn settled(&mut self, place: Place, end: Point) {
        let fate = self.fates.get_mut(&place).unwrap_or_else(|| panic!("{place:?} was never there"));
        assert_eq!(fate.settled, None, "{place:?} is settled twice");
        fate.settled = Some(end);
    }

    pub(crate) fn returned(&mut self, place: Place, end: Point) {
        self.fates.get_mut(&place).unwrap_or_else(|| panic!("{place:?} was never there")).returned.push(end);
    }

    pub(crate) fn delivered(&mut self, place: Place, number: u64, redelivered: bool) {
        let fate = self.fates.get_mut(&place).unwrap_or_else(|| panic!("{place:?} was never there"));
        assert_eq!(fate.settled, None, "{place:?} was settled and is delivered");
        assert_eq!(fate.number, number, "{place:?} has another message");
        assert!(redelivered || !fate.is_delivered, "{place:?} was delivered before and does not say so");
        fate.is_delivered = true;
    }

    pub(crate) fn moved(&mut self, moved: Moved) {
        self.moved.push(moved);
    }

    /// Checks what a start found, after what was synced up to `synced`, and goes on from there.
    pub(crate) fn check_start(&mut self, synced: Synced, found: &Found) {
        for (&queue, declared) in &self.queues {
            let is_found = found.queues.contains_key(&queue);
            match declared.deleted {
                Some(deleted) => {
                    assert!(!is_found || !synced.has(deleted), "{queue} was deleted and is back")
                }
                None => assert!(is_found || !synced.has_now(declared.at), "{queue} was declared and is lost"),
            }
        }
        for (&(queue, sequence), fate) in
            self.fates.iter().filter(|((queue, _), _)| found.queues.contains_key(queue))
        {
            let message = found.queues[&queue].get(&sequence);
            let is_settled = fate.settled.is_some_and(|at| synced.has(at));
            let is_safe = fate.is_persistent && fate.settled.is_none() && synced.has_now(fate.safe);
            match message {
                None => {
                    assert!(!is_safe, "{queue} {sequence}: confirmed, and lost: {fate:?}, synced {synced:?}")
                }
                Some(found) => {
                    assert!(fate.is_persistent, "{queue} {sequence}: transient, and there");
                    assert!(!is_settled, "{queue} {sequence}: settled, and back: {fate:?}");
                    assert_eq!(found.number, fate.number, "{queue} {sequence}: another message");
                    let is_honest = found.is_delivered || !fate.is_delivered;
                    assert!(is_honest, "{queue} {sequence}: redelivered is forgotten");
                    let returns = fate.returns(&synced);
                    let is_counted = returns.contains(&found.returns);
                    assert!(is_counted, "{queue} {sequence}: {} returns, not {returns:?}", found.returns);
                }
            }
        }
        for moved in &self.moved {
            self.check_moved(moved, synced, found);
        }
        let strays = found.places().filter(|place| !self.fates.contains_key(place)).collect::<Vec<_>>();
        assert!(strays.is_empty(), "never published, or gone long ago: {strays:?}");
        self.restart(&synced, found);
    }

    fn check_moved(&self, moved: &Moved, synced: Synced, found: &Found) {
        let has =
            |(queue, sequence): &Place| found.queues.get(queue).map(|queue| queue.contains_key(sequence));
        let mut signs = BTreeSet::new();
        for place in &moved.to {
            // Where it went on since, nothing can be said.
            if self
                .fates
                .get(place)
                .is_some_and(|fate| fate.settled.is_none() && fate.safe == Some(moved.end))
            {
                signs.extend(has(place));
            }
        }
        for place in &moved.from {
            let is_of_it = |fate: &&Fate| fate.settled == Some(moved.end) && synced.has_now(fate.safe);
            if self.fates.get(place).filter(is_of_it).is_some() {
                signs.extend(has(place).map(|is_there| !is_there));
            }
        }
        assert!(signs.len() <= 1, "half of a transaction: {moved:?}");
        assert!(
            !synced.has(moved.end) || !signs.contains(&false),
            "a committed transaction is undone: {moved:?}"
        );
    }

    fn restart(&mut self, synced: &Synced, found: &Found) {
        self.moved.clear();
        let found_queues = found.queues.keys();
        self.queues = found_queues.map(|id| (*id, Declared { at: None, deleted: None })).collect();
        let before = std::mem::take(&mut self.fates);
        self.fates = found
            .queues
            .iter()
            .flat_map(|(queue, messages)| {
                messages.iter().map(|(sequence, message)| ((*queue, *sequence), *message))
            })
            .map(|(place, FoundMessage { number, is_delivered, returns })| {
                let returns_safe = before.get(&place).map_or(0, |fate| *fate.returns(synced).start());
                let fate = Fate {
                    number,
                    is_persistent: true,
                    safe: None,
                    settled: None,
                    is_delivered,
                    returns,
                    returns_safe,
                    returned: Vec::new(),
                };
                (place, fate)
            })
            .collect();
    }

    /// What a queue holds, in order.
    pub(crate) fn alive(&self, queue: QueueId) -> Vec<(Sequence, &Fate)> {
        let of_queue = self.fates.range((queue, Sequence(0))..=(queue, Sequence(u64::MAX)));
        of_queue
            .filter(|(_, fate)| fate.settled.is_none())
            .map(|((_, sequence), fate)| (*sequence, fate))
            .collect()
    }
}
