//! How long a publisher waits for a consumer that it has left behind. Decides only; the driver asks and waits.
//!
//! What a publisher is ahead waits in memory, beyond the processor's caches, and costs twice as much on its way out. So a
//! publisher that fills a consumer's outbox is read once for each time that the outbox was emptied, until it is not full any more.
//! A consumer that does not empty it soon is no reason to be slow, until it has.

use crate::time::{Duration, Instant};

/// How long a publisher gives way, before it is read again.
const GIVE_WAY: Duration = Duration::from_millis(2);

/// A publisher that has filled a consumer's outbox.
#[derive(Debug)]
pub(super) struct GiveWay {
    /// How often the outbox had been emptied when the publisher was last read.
    rounds: u64,
    /// The outbox will wake the publisher when it is emptied next.
    is_listed: bool,
    /// When it gives up to give way.
    until: Instant,
    /// It did.
    is_in_vain: bool,
}

/// Whether the publisher is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Not before then, unless the consumer catches up earlier.
    Wait(Instant),
    /// Once; then this is asked again.
    Read,
    /// As if nothing had been.
    Over,
}

impl GiveWay {
    /// To an outbox that is full now and was emptied so often before.
    pub(super) fn new(rounds: u64, now: Instant) -> Self {
        Self { rounds, is_listed: false, until: now + GIVE_WAY, is_in_vain: false }
    }

    /// Whether the outbox is to be told, with the next question, whom to wake: once for each time that it is emptied.
    pub(super) fn is_to_be_listed(&mut self) -> bool {
        !std::mem::replace(&mut self.is_listed, true)
    }

    /// Decides. The outbox, if it is behind, was emptied so often.
    pub(super) fn turn(&mut self, behind: Option<u64>, now: Instant) -> Turn {
        match behind {
            Some(rounds) if rounds != self.rounds => {
                *self = Self::new(rounds, now);
                Turn::Read
            }
            Some(_) if self.until > now && !self.is_in_vain => Turn::Wait(self.until),
            Some(_) => {
                self.is_in_vain = true;
                Turn::Read
            }
            None => Turn::Over,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_publisher_is_read_once_for_each_time_that_the_outbox_it_filled_was_emptied() {
        let now = crate::time::now();
        let mut give_way = GiveWay::new(7, now);
        assert!(give_way.is_to_be_listed() && !give_way.is_to_be_listed());
        assert_eq!(give_way.turn(Some(7), now), Turn::Wait(now + 2 * MS));
        assert_eq!(give_way.turn(Some(7), now + MS), Turn::Wait(now + 2 * MS));
        // It was emptied and is full again, with what had gathered in the queue.
        assert_eq!(give_way.turn(Some(8), now + MS), Turn::Read);
        assert!(give_way.is_to_be_listed(), "who was listed was woken");
        assert_eq!(give_way.turn(Some(8), now + MS), Turn::Wait(now + 3 * MS));
        assert_eq!(give_way.turn(None, now + MS), Turn::Over);
    }

    #[test]
    fn a_consumer_that_does_not_empty_it_soon_is_not_waited_for_until_it_has() {
        let now = crate::time::now();
        let mut give_way = GiveWay::new(7, now);
        for ms in 2..5 {
            assert_eq!(give_way.turn(Some(7), now + ms * MS), Turn::Read);
        }
        assert_eq!(give_way.turn(Some(8), now + 5 * MS), Turn::Read);
        assert_eq!(give_way.turn(Some(8), now + 5 * MS), Turn::Wait(now + 7 * MS));
    }
}
