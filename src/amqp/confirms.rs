//! Publisher confirms of a channel: which publishes may be acked, and with how few frames. PURE.

use crate::durability::{Level, Point, SafeAt};
use crate::name::{DeliveryTag, Position};
use crate::time::{Duration, Instant};
use std::collections::VecDeque;

/// What became of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing has to reach the disk: it may be acked now.
    Safe,
    /// It may be acked then.
    SafeAt(SafeAt),
    /// No queue took it.
    Rejected,
}

/// One frame to the publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirm {
    /// `basic.ack` of the tag and, if `multiple`, of all below.
    Ack(DeliveryTag, bool),
    /// `basic.nack` of this tag alone.
    Nack(DeliveryTag),
}

/// Tag and end of publishes that wait. Both grow: one channel appends in the order it publishes.
type Waiting = VecDeque<(u64, Position)>;

/// The confirms of a channel, numbered from 1 in the order of the publishes after `confirm.select`.
#[derive(Debug)]
pub struct Confirms {
    next: u64,
    /// By [`Level`].
    waiting: [Waiting; Level::COUNT],
    /// The least time within which one of those that came since [`Confirms::waits_for`] is to be synced.
    within: Option<Duration>,
    /// Decided since the last [`Confirms::take`]: tag and whether it is acked.
    decided: Vec<(u64, bool)>,
    /// How many were refused, as far as their publisher was told.
    refused: u64,
    /// The publish whose confirm is waited for, to know how long that takes: its tag, and when it was received.
    watched: Option<(u64, Instant)>,
    /// The first tag that came since [`Confirms::watch`].
    unwatched: u64,
}

impl Default for Confirms {
    fn default() -> Self {
        Self {
            next: 1,
            waiting: Default::default(),
            within: None,
            decided: Vec::new(),
            refused: 0,
            watched: None,
            unwatched: 1,
        }
    }
}

impl Confirms {
    /// Counts a publish.
    pub fn published(&mut self, outcome: Outcome) {
        let tag = self.next;
        self.next += 1;
        match outcome {
            Outcome::Safe => self.decided.push((tag, true)),
            Outcome::SafeAt(SafeAt { point, within }) => {
                self.waiting[point.level.index()].push_back((tag, point.end));
                self.within = self.within.into_iter().chain(within).min();
            }
            Outcome::Rejected => self.decided.push((tag, false)),
        }
    }

    /// The journal has come so far. That says nothing of other levels.
    pub fn reached(&mut self, point: Point) {
        let waiting = &mut self.waiting[point.level.index()];
        while let Some((tag, _)) = waiting.pop_front_if(|(_, end)| *end <= point.end) {
            self.decided.push((tag, true));
        }
    }

    /// How many publishes have not been answered.
    pub fn unconfirmed(&self) -> usize {
        self.waiting.iter().map(VecDeque::len).sum::<usize>() + self.decided.len()
    }

    /// How many publishes there were, and how many of them were acked.
    pub fn counts(&self) -> (u64, u64) {
        let published = self.next - 1;
        (published, published - self.refused - self.unconfirmed() as u64)
    }

    /// Watches the first of the publishes that came since it was last asked and that were received at that time, unless it
    /// watches another one still.
    pub fn watch(&mut self, received_at: Instant) {
        if self.watched.is_none() && self.unwatched < self.next {
            self.watched = Some((self.unwatched, received_at));
        }
        self.unwatched = self.next;
    }

    /// When the watched publish was received, if it has its answer since [`Confirms::take`].
    pub fn take_watched(&mut self) -> Option<Instant> {
        let (tag, _) = self.watched?;
        // Each level's tags ascend.
        let waits = |waiting: &Waiting| waiting.binary_search_by_key(&tag, |(tag, _)| *tag).is_ok();
        if self.waiting.iter().any(waits) {
            return None;
        }
        self.watched.take().map(|(_, received_at)| received_at)
    }

    /// What the last publishes wait for.
    pub fn waits_for(&mut self) -> Awaited {
        let last = |waiting: &Waiting| waiting.back().map_or(Position::NONE, |(_, end)| *end);
        Awaited { ends: self.waiting.each_ref().map(last), within: self.within.take() }
    }

    /// Takes the frames for all that is decided, in the order of the tags. Below the lowest tag that waits, runs of
    /// acks become one frame with `multiple`; above it each goes alone.
    pub fn take(&mut self, frames: &mut Vec<Confirm>) {
        if self.decided.is_empty() {
            return;
        }
        self.decided.sort_unstable();
        let fronts = self.waiting.iter().filter_map(VecDeque::front);
        let lowest_waiting = fronts.map(|(tag, _)| *tag).min().unwrap_or(self.next);
        let mut run: Option<(u64, usize)> = None;
        let end = |run: &mut Option<(u64, usize)>, frames: &mut Vec<Confirm>| {
            if let Some((tag, count)) = run.take() {
                frames.push(Confirm::Ack(DeliveryTag(tag), count > 1));
            }
        };
        for (tag, is_acked) in self.decided.drain(..) {
            match (is_acked, tag < lowest_waiting) {
                (true, true) => run = Some((tag, run.map_or(0, |(_, count)| count) + 1)),
                (true, false) => {
                    end(&mut run, frames);
                    frames.push(Confirm::Ack(DeliveryTag(tag), false));
                }
                (false, _) => {
                    self.refused += 1;
                    end(&mut run, frames);
                    frames.push(Confirm::Nack(DeliveryTag(tag)));
                }
            }
        }
        end(&mut run, frames);
    }
}

/// What confirms wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Awaited {
    /// How far the journal must come, by [`Level`]; [`Position::NONE`] for not at all.
    pub ends: [Position; Level::COUNT],
    /// That what was written is on disk so much later.
    pub within: Option<Duration>,
}

impl Awaited {
    /// What two wait for.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.ends.iter_mut().zip(other.ends).for_each(|(end, other)| *end = other.max(*end));
        self.within = self.within.into_iter().chain(other.within).min();
        self
    }

    /// The points that are beyond those of `before`.
    pub fn beyond(&self, before: &Self) -> impl Iterator<Item = Point> {
        let ends = self.ends.into_iter().zip(before.ends);
        let levels = Level::ALL.into_iter().zip(ends);
        levels.filter(|(_, (end, before))| end > before).map(|(level, (end, _))| level.at(end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durability::Durability;

    fn safe_at(end: u64, durability: Durability) -> Outcome {
        Outcome::SafeAt(durability.safe_at(Position(end), false))
    }

    fn reached(confirms: &mut Confirms, level: Level, end: u64) -> Vec<Confirm> {
        confirms.reached(level.at(Position(end)));
        taken(confirms)
    }

    fn taken(confirms: &mut Confirms) -> Vec<Confirm> {
        let mut frames = Vec::new();
        confirms.take(&mut frames);
        frames
    }

    fn ack(tag: u64, multiple: bool) -> Confirm {
        Confirm::Ack(DeliveryTag(tag), multiple)
    }

    #[test]
    fn what_is_safe_together_is_acked_with_one_frame() {
        let mut confirms = Confirms::default();
        (0..3).for_each(|_| confirms.published(Outcome::Safe));
        assert_eq!(taken(&mut confirms), [ack(3, true)]);
        confirms.published(Outcome::Safe);
        assert_eq!(taken(&mut confirms), [ack(4, false)]);
        assert_eq!(taken(&mut confirms), []);
    }

    #[test]
    fn multiple_never_covers_a_publish_that_waits_for_the_disk() {
        let mut confirms = Confirms::default();
        confirms.published(Outcome::Safe);
        confirms.published(safe_at(10, Durability::Sync));
        confirms.published(Outcome::Safe);
        confirms.published(safe_at(20, Durability::Sync));
        assert_eq!(taken(&mut confirms), [ack(1, false), ack(3, false)]);
        assert_eq!(reached(&mut confirms, Level::SyncedButLarge, 10), [ack(2, false)]);
        assert_eq!(confirms.waits_for().ends, [0, 20, 0, 0].map(Position));
        assert_eq!(reached(&mut confirms, Level::SyncedButLarge, 25), [ack(4, false)]);
        assert_eq!(confirms.unconfirmed(), 0);
    }

    #[test]
    fn one_publish_at_a_time_is_watched_until_it_has_its_answer() {
        let mut confirms = Confirms::default();
        let (first, second) = (crate::time::now(), crate::time::now() + Duration::from_secs(1));
        confirms.published(safe_at(10, Durability::Sync));
        confirms.published(safe_at(20, Durability::Sync));
        confirms.watch(first);
        assert_eq!(confirms.take_watched(), None);
        confirms.published(safe_at(30, Durability::Sync));
        confirms.watch(second);
        reached(&mut confirms, Level::SyncedButLarge, 10);
        assert_eq!(confirms.take_watched(), Some(first), "the first of its batch");
        confirms.watch(second);
        assert_eq!(confirms.take_watched(), None, "what came while another was watched is not");
        confirms.published(Outcome::Rejected);
        confirms.watch(second);
        assert_eq!(confirms.take_watched(), Some(second), "a refusal is an answer");
    }

    #[test]
    fn what_was_refused_or_waits_does_not_count_as_confirmed() {
        let mut confirms = Confirms::default();
        confirms.published(Outcome::Safe);
        confirms.published(Outcome::Rejected);
        confirms.published(safe_at(10, Durability::Sync));
        taken(&mut confirms);
        assert_eq!(confirms.counts(), (3, 1));
        reached(&mut confirms, Level::SyncedButLarge, 10);
        assert_eq!(confirms.counts(), (3, 2));
    }

    #[test]
    fn what_waits_for_the_operating_system_is_acked_before_what_waits_for_the_disk() {
        let mut confirms = Confirms::default();
        confirms.published(safe_at(10, Durability::Interval(50)));
        confirms.published(safe_at(20, Durability::Sync));
        confirms.published(safe_at(30, Durability::Interval(20)));
        confirms.published(safe_at(40, Durability::Os));
        let within = Some(Duration::from_millis(20));
        let awaited = Awaited { ends: [0, 20, 0, 40].map(Position), within };
        assert_eq!(confirms.waits_for(), awaited);
        let again = Awaited { within: None, ..awaited };
        assert_eq!(confirms.waits_for(), again, "what is promised is said once");
        assert_eq!(
            reached(&mut confirms, Level::WrittenButLarge, 40),
            [ack(1, false), ack(3, false), ack(4, false)]
        );
        assert_eq!(confirms.unconfirmed(), 1);
        assert_eq!(reached(&mut confirms, Level::SyncedButLarge, 40), [ack(2, false)]);
    }

    #[test]
    fn multiple_never_covers_a_publish_that_waits_for_another_level() {
        for waiting in Level::ALL {
            let done = Level::ALL[(waiting.index() + 1) % Level::COUNT];
            let mut confirms = Confirms::default();
            for level in [waiting, done, done] {
                confirms.published(Outcome::SafeAt(SafeAt { point: level.at(Position(10)), within: None }));
            }
            assert_eq!(reached(&mut confirms, done, 10), [ack(2, false), ack(3, false)], "{waiting:?}");
        }
    }

    #[test]
    fn what_two_channels_wait_for_is_asked_for_once_and_again_only_further_on() {
        let awaited = |ends: [u64; 4], ms: u64| Awaited {
            ends: ends.map(Position),
            within: Some(Duration::from_millis(ms)),
        };
        let both = awaited([0, 20, 0, 40], 50).and(&awaited([10, 30, 0, 5], 20));
        assert_eq!(both, awaited([10, 30, 0, 40], 20));
        let beyond: Vec<_> = both.beyond(&awaited([10, 20, 0, 39], 1)).collect();
        assert_eq!(beyond, [Level::SyncedButLarge.at(Position(30)), Level::WrittenButLarge.at(Position(40))]);
    }

    #[test]
    fn a_rejected_publish_is_nacked_alone_between_the_acks() {
        let mut confirms = Confirms::default();
        for outcome in [Outcome::Safe, Outcome::Safe, Outcome::Rejected, Outcome::Safe, Outcome::Safe] {
            confirms.published(outcome);
        }
        assert_eq!(taken(&mut confirms), [ack(2, true), Confirm::Nack(DeliveryTag(3)), ack(5, true)]);
    }
}
