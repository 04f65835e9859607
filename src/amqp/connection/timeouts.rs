//! Consumers that have a message for longer than they may: `x-consumer-timeout` (behaviour.md, 2.2).

use super::Connection;
use crate::amqp::exception::{Exception, ReplyCode};
use crate::amqp::request::{Release, Request};
use crate::name::{ChannelId, ConsumerId};

impl Connection {
    /// A consumer has had a message for too long. A client that understands it is told that the consumer is cancelled,
    /// the channel of another is closed. Returns what is left behind.
    pub fn consumer_timed_out(
        &mut self,
        channel_id: ChannelId,
        consumer: ConsumerId,
        timeout_ms: u64,
    ) -> Option<Release> {
        let notify = self.client_properties.has("consumer_cancel_notify");
        let channel = self.channels.get_mut(channel_id.0 as usize).and_then(Option::as_mut)?;
        if channel.is_closing || !channel.has_consumer(consumer) {
            return None;
        }
        if notify {
            let deliveries = channel.take_of(consumer);
            channel.consumer_cancelled(consumer, notify, &mut self.output);
            let consumers = vec![consumer];
            return Some(Release { channel: channel_id, consumers, deliveries, had_replies: false });
        }
        let text = format!(
            "delivery acknowledgement on channel {channel_id} timed out. Timeout value used: {timeout_ms} ms. This timeout \
             value can be configured, see consumers doc guide to learn more"
        );
        self.raise(channel_id, &Exception::new(ReplyCode::PreconditionFailed, text).of_no_method());
        match self.follow_ups.pop_back() {
            Some(Request::Release(release)) => Some(release),
            other => {
                self.follow_ups.extend(other);
                None
            }
        }
    }
}
