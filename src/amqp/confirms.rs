//! Publisher confirms of a channel: which publishes may be acked, and with how few frames. PURE.

use crate::durability::{Durability, SafeAt};
use crate::name::{DeliveryTag, Position};
use crate::time::Duration;
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

/// The confirms of a channel, numbered from 1 in the order of the publishes after `confirm.select`.
#[derive(Debug)]
pub struct Confirms {
    next: u64,
    /// Waiting for the disk. Tags and positions both grow: one channel appends in the order it publishes.
    waiting: VecDeque<(u64, Position)>,
    /// The same, of those who wait for the operating system only.
    waiting_written: VecDeque<(u64, Position)>,
    /// The least time within which one of those that came since [`Confirms::waits_for`] is to be synced.
    within: Option<Duration>,
    /// Decided since the last [`Confirms::take`]: tag and whether it is acked.
    decided: Vec<(u64, bool)>,
}

impl Default for Confirms {
    fn default() -> Self {
        Self {
            next: 1,
            waiting: VecDeque::new(),
            waiting_written: VecDeque::new(),
            within: None,
            decided: Vec::new(),
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
            Outcome::SafeAt(SafeAt { end, durability: Durability::Sync }) => {
                self.waiting.push_back((tag, end))
            }
            Outcome::SafeAt(SafeAt { end, durability }) => {
                self.waiting_written.push_back((tag, end));
                self.within = self.within.into_iter().chain(durability.within()).min();
            }
            Outcome::Rejected => self.decided.push((tag, false)),
        }
    }

    /// The journal is on disk up to `position`.
    pub fn synced(&mut self, position: Position) {
        decide(&mut self.waiting, position, &mut self.decided);
    }

    /// The operating system has the journal up to `position`.
    pub fn written(&mut self, position: Position) {
        decide(&mut self.waiting_written, position, &mut self.decided);
    }

    /// How many publishes have not been answered.
    pub fn unconfirmed(&self) -> usize {
        self.waiting.len() + self.waiting_written.len() + self.decided.len()
    }

    /// What the last publishes wait for.
    pub fn waits_for(&mut self) -> Awaited {
        let last =
            |waiting: &VecDeque<(u64, Position)>| waiting.back().map_or(Position::NONE, |(_, end)| *end);
        Awaited {
            synced: last(&self.waiting),
            written: last(&self.waiting_written),
            within: self.within.take(),
        }
    }

    /// Takes the frames for all that is decided, in the order of the tags. Below the lowest tag that waits, runs of
    /// acks become one frame with `multiple`; above it each goes alone.
    pub fn take(&mut self, frames: &mut Vec<Confirm>) {
        if self.decided.is_empty() {
            return;
        }
        self.decided.sort_unstable();
        let first = |waiting: &VecDeque<(u64, Position)>| waiting.front().map_or(self.next, |(tag, _)| *tag);
        let lowest_waiting = first(&self.waiting).min(first(&self.waiting_written));
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
                    end(&mut run, frames);
                    frames.push(Confirm::Nack(DeliveryTag(tag)));
                }
            }
        }
        end(&mut run, frames);
    }
}

/// What confirms wait for; [`Position::NONE`] for nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Awaited {
    /// That the journal is on disk up to here.
    pub synced: Position,
    /// That the operating system has it up to here.
    pub written: Position,
    /// That what was written is on disk so much later.
    pub within: Option<Duration>,
}

impl Awaited {
    /// What two wait for.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            synced: self.synced.max(other.synced),
            written: self.written.max(other.written),
            within: self.within.into_iter().chain(other.within).min(),
        }
    }
}

/// Those that wait for nothing beyond `position` may be acked.
fn decide(waiting: &mut VecDeque<(u64, Position)>, position: Position, decided: &mut Vec<(u64, bool)>) {
    while let Some(&(tag, wanted)) = waiting.front() {
        if wanted > position {
            return;
        }
        waiting.pop_front();
        decided.push((tag, true));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn safe_at(end: u64, durability: Durability) -> Outcome {
        Outcome::SafeAt(SafeAt { end: Position(end), durability })
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
        confirms.synced(Position(10));
        assert_eq!(taken(&mut confirms), [ack(2, false)]);
        assert_eq!(confirms.waits_for().synced, Position(20));
        confirms.synced(Position(25));
        assert_eq!(taken(&mut confirms), [ack(4, false)]);
        assert_eq!(confirms.unconfirmed(), 0);
    }

    #[test]
    fn what_waits_for_the_operating_system_is_acked_before_what_waits_for_the_disk() {
        let mut confirms = Confirms::default();
        confirms.published(safe_at(10, Durability::Interval(50)));
        confirms.published(safe_at(20, Durability::Sync));
        confirms.published(safe_at(30, Durability::Interval(20)));
        confirms.published(safe_at(40, Durability::Os));
        let within = Some(Duration::from_millis(20));
        let awaited = Awaited { synced: Position(20), written: Position(40), within };
        assert_eq!(confirms.waits_for(), awaited);
        assert_eq!(
            confirms.waits_for(),
            Awaited { within: None, ..awaited },
            "what is promised is said once"
        );
        confirms.written(Position(40));
        assert_eq!(taken(&mut confirms), [ack(1, false), ack(3, false), ack(4, false)]);
        assert_eq!(confirms.unconfirmed(), 1);
        confirms.synced(Position(40));
        assert_eq!(taken(&mut confirms), [ack(2, false)]);
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
