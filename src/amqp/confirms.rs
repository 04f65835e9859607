//! Publisher confirms of a channel: which publishes may be acked, and with how few frames. PURE.

use crate::name::{DeliveryTag, Position};
use std::collections::VecDeque;

/// What became of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing has to reach the disk: it may be acked now.
    Safe,
    /// It may be acked when the journal is synced up to this position.
    SafeAt(Position),
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
    /// Decided since the last [`Confirms::take`]: tag and whether it is acked.
    decided: Vec<(u64, bool)>,
}

impl Default for Confirms {
    fn default() -> Self {
        Self { next: 1, waiting: VecDeque::new(), decided: Vec::new() }
    }
}

impl Confirms {
    /// Counts a publish.
    pub fn published(&mut self, outcome: Outcome) {
        let tag = self.next;
        self.next += 1;
        match outcome {
            Outcome::Safe => self.decided.push((tag, true)),
            Outcome::SafeAt(position) => self.waiting.push_back((tag, position)),
            Outcome::Rejected => self.decided.push((tag, false)),
        }
    }

    /// The journal is on disk up to `position`.
    pub fn synced(&mut self, position: Position) {
        while let Some(&(tag, wanted)) = self.waiting.front() {
            if wanted > position {
                return;
            }
            self.waiting.pop_front();
            self.decided.push((tag, true));
        }
    }

    /// How many publishes have not been answered.
    pub fn unconfirmed(&self) -> usize {
        self.waiting.len() + self.decided.len()
    }

    /// Where the last publish that waits for the disk ends.
    pub fn last_waiting(&self) -> Option<Position> {
        self.waiting.back().map(|(_, position)| *position)
    }

    /// Takes the frames for all that is decided, in the order of the tags. Below the lowest tag that waits, runs of
    /// acks become one frame with `multiple`; above it each goes alone.
    pub fn take(&mut self, frames: &mut Vec<Confirm>) {
        if self.decided.is_empty() {
            return;
        }
        self.decided.sort_unstable();
        let lowest_waiting = self.waiting.front().map_or(self.next, |(tag, _)| *tag);
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

#[cfg(test)]
mod tests {
    use super::*;

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
        confirms.published(Outcome::SafeAt(Position(10)));
        confirms.published(Outcome::Safe);
        confirms.published(Outcome::SafeAt(Position(20)));
        assert_eq!(taken(&mut confirms), [ack(1, false), ack(3, false)]);
        confirms.synced(Position(10));
        assert_eq!(taken(&mut confirms), [ack(2, false)]);
        assert_eq!(confirms.last_waiting(), Some(Position(20)));
        confirms.synced(Position(25));
        assert_eq!(taken(&mut confirms), [ack(4, false)]);
        assert_eq!(confirms.unconfirmed(), 0);
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
