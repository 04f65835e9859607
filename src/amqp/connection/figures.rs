//! What people and counters are told of a connection's channels.

use super::Connection;
use crate::amqp::channel::ChannelFigures;
use crate::counts::ChannelCounts;
use crate::name::{ChannelId, ConsumerId};
use crate::time::{Instant, Millis};

impl Connection {
    /// The open channels, for people.
    pub fn channels(&self) -> impl Iterator<Item = (ChannelId, ChannelFigures)> {
        let open = self.channels.iter().enumerate();
        open.filter_map(|(id, channel)| {
            Some((ChannelId(u16::try_from(id).ok()?), channel.as_ref()?.figures()))
        })
    }

    /// Takes which channels were opened (`true`) and closed since it was last asked, in order.
    pub fn take_churn(&mut self) -> Vec<(ChannelId, bool)> {
        std::mem::take(&mut self.churn)
    }

    /// How many channels were opened since the connection is, those closed since among them.
    pub fn channels_opened(&self) -> u64 {
        self.channels_opened
    }

    /// Whether a consumer acks what it gets.
    pub fn acknowledges(&self, channel: ChannelId, consumer: ConsumerId) -> bool {
        let channel = self.channels.get(channel.0 as usize).and_then(Option::as_ref);
        channel.is_some_and(|channel| channel.acknowledges(consumer))
    }

    /// What went over all channels, those that are closed among them.
    pub fn counts(&self) -> ChannelCounts {
        let mut counts = self.closed_counts;
        self.channels.iter().flatten().for_each(|channel| counts += channel.counts());
        counts
    }

    /// Takes when publishes were received whose confirms were written since it was last asked: one at a time of each channel.
    pub fn take_answered(&mut self) -> impl Iterator<Item = Instant> + '_ {
        self.answered.drain(..)
    }

    /// When the input at hand was received.
    pub fn received_at(&self) -> Millis {
        self.now
    }

    /// How many channels are open.
    pub fn channel_count(&self) -> usize {
        self.channel_count
    }
}
