//! What is counted of channels: plain numbers that whoever owns a channel counts, and that are added up for the node. PURE.

use std::ops::{AddAssign, Sub};

/// What went over a channel since it was opened, or over many. None of them ever falls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChannelCounts {
    /// Messages published.
    pub published: u64,
    /// Those of them that are to be confirmed.
    pub to_confirm: u64,
    /// Those that have been, by an ack.
    pub confirmed: u64,
    /// Mandatory messages that reached no queue and went back.
    pub returned: u64,
    /// Other messages that reached no queue.
    pub dropped: u64,
    /// Messages delivered to consumers that acknowledge.
    pub delivered_ack: u64,
    /// Messages delivered to consumers that do not.
    pub delivered: u64,
    /// Those delivered or got that had been delivered before.
    pub redelivered: u64,
    /// Messages got that are to be acknowledged.
    pub got_ack: u64,
    /// Messages got that are not.
    pub got: u64,
    /// How often there was nothing to get.
    pub got_empty: u64,
    /// Messages acknowledged.
    pub acked: u64,
}

impl ChannelCounts {
    fn zip(self, other: Self, with: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            published: with(self.published, other.published),
            to_confirm: with(self.to_confirm, other.to_confirm),
            confirmed: with(self.confirmed, other.confirmed),
            returned: with(self.returned, other.returned),
            dropped: with(self.dropped, other.dropped),
            delivered_ack: with(self.delivered_ack, other.delivered_ack),
            delivered: with(self.delivered, other.delivered),
            redelivered: with(self.redelivered, other.redelivered),
            got_ack: with(self.got_ack, other.got_ack),
            got: with(self.got, other.got),
            got_empty: with(self.got_empty, other.got_empty),
            acked: with(self.acked, other.acked),
        }
    }
}

impl AddAssign for ChannelCounts {
    fn add_assign(&mut self, other: Self) {
        *self = self.zip(other, |one, other| one + other);
    }
}

impl Sub for ChannelCounts {
    type Output = Self;

    /// What came since `other`, which is of the same channels and earlier.
    fn sub(self, other: Self) -> Self {
        self.zip(other, u64::saturating_sub)
    }
}
