//! What records say of messages, as those who append them know it. PURE.

use crate::message::Message;
use crate::name::{Position, Sequence};

/// A settled message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Its place in the queue.
    pub sequence: Sequence,
    /// Where its record stands; [`Position::NONE`] if it never had one.
    pub position: Position,
    /// How long the record is.
    pub record_bytes: u32,
    /// Whether a restart would bring it back, so that its leaving must be written down.
    pub is_durable: bool,
}

/// A run of sequences, first and last.
pub type Range = (Sequence, Sequence);

/// What became of a queue's messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress<'a> {
    /// They left the queue.
    pub settled: &'a [Settled],
    /// So did these, of whose records the caller takes care: see [`MessageLog::release`](crate::store::MessageLog::release).
    pub settled_ranges: &'a [Range],
    /// They were delivered for the first time, and may be settled some time.
    pub delivered: &'a [Sequence],
    /// They were delivered and came back.
    pub returned: &'a [Sequence],
    /// These of them because their consumer failed: it rejected them, or its channel ended.
    pub failed: &'a [Sequence],
    /// Any below may be delivered from now on, without another word; 0 = nothing is said of that.
    pub deliverable_below: Sequence,
}

impl Progress<'_> {
    /// Whether there is nothing to be written down.
    pub fn is_empty(&self) -> bool {
        !self.settled.iter().any(|settled| settled.is_durable)
            && self.settled_ranges.is_empty()
            && self.delivered.is_empty()
            && self.returned.is_empty()
            && self.failed.is_empty()
            && self.deliverable_below == Sequence(0)
    }
}

/// How a publish record came to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// It was delivered as soon as it was published.
    pub is_delivered: bool,
    /// It is transient: it is here to save memory, and a restart passes it over.
    pub is_transient: bool,
    /// It was moved here from an earlier place: it makes no message, but says where one stands.
    pub is_moved: bool,
}

/// Bits of a publish record's flags.
mod flag {
    pub(super) const DELIVERED: u8 = 1;
    pub(super) const TRANSIENT: u8 = 2;
    pub(super) const MOVED: u8 = 4;
    pub(super) const DEAD_LETTER: u8 = 8;
}

impl Origin {
    pub(super) fn flags(self, message: &Message) -> u8 {
        self.own_flags() | if message.is_dead_letter { flag::DEAD_LETTER } else { 0 }
    }

    fn own_flags(self) -> u8 {
        let bit = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        bit(self.is_delivered, flag::DELIVERED)
            | bit(self.is_transient, flag::TRANSIENT)
            | bit(self.is_moved, flag::MOVED)
    }

    /// What the flags say, and whether the message is a dead letter.
    pub(super) fn of(flags: u8) -> Option<(Self, bool)> {
        let has = |bit: u8| flags & bit != 0;
        let origin = Self {
            is_delivered: has(flag::DELIVERED),
            is_transient: has(flag::TRANSIENT),
            is_moved: has(flag::MOVED),
        };
        let is_known = flags & !flag::DEAD_LETTER == origin.own_flags();
        is_known.then(|| (origin, has(flag::DEAD_LETTER)))
    }
}
