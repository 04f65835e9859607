//! The life of channels: opened when the broker lets them, closed by either side.

use super::Connection;
use crate::amqp::channel::{Awaiting, Channel, Step};
use crate::amqp::exception::{Exception, ReplyCode};
use crate::amqp::frame::Payload;
use crate::amqp::method::{self, channel, id};
use crate::amqp::request::{Release, Request};
use crate::name::ChannelId;
use amq_protocol::protocol::AMQPClass;

fn not_open() -> Exception {
    Exception::new(ReplyCode::ChannelError, "expected 'channel.open'").hard()
}

impl Connection {
    pub(super) fn handle_on_closed_channel(&mut self, payload: &Payload<'_>) -> Step {
        let Payload::Method { class, method, payload } = *payload else {
            // Content that was on its way when the channel closed.
            return Err(not_open());
        };
        match (class, method) {
            id::CHANNEL_OPEN => {
                method::parse(payload, class, method)?;
                self.check_channel_count()?;
                Ok(Some((Request::OpenChannel, Awaiting::Open)))
            }
            // The answer to a close that crossed with ours.
            id::CHANNEL_CLOSE_OK => Ok(None),
            _ => Err(not_open()),
        }
    }

    pub(super) fn check_channel_count(&self) -> Result<(), Exception> {
        let max = self.tuned.channel_max;
        // RabbitMQ counts: a number above channel_max may be opened as long as there are not too many.
        if self.channel_count >= max as usize {
            let opened = self.channel_count;
            let text = format!(
                "number of channels opened ({opened}) has reached the negotiated channel_max ({max})"
            );
            return Err(Exception::new(ReplyCode::NotAllowed, text).of_no_method());
        }
        Ok(())
    }

    pub(super) fn open_channel(&mut self, id: ChannelId) {
        let index = id.0 as usize;
        if self.channels.len() <= index {
            self.channels.resize_with(index + 1, || None);
        }
        self.channels[index] = Some(Box::new(Channel::new(id, self.tuned.frame_max)));
        self.channel_count += 1;
        self.channels_opened += 1;
        self.churn.push((id, true));
        let ok = channel::AMQPMethod::OpenOk(channel::OpenOk {});
        self.output.class(id, &AMQPClass::Channel(ok));
    }

    /// The channel waits for the answer to our close: all else is discarded.
    pub(super) fn handle_on_closing_channel(&mut self, id: ChannelId, payload: &Payload<'_>) -> Step {
        if let Payload::Method { class, method, payload: bytes } = *payload {
            match (class, method) {
                id::CHANNEL_CLOSE_OK => self.forget_channel(id),
                id::CHANNEL_CLOSE => return self.close_channel(id, bytes),
                _ => {}
            }
        }
        Ok(None)
    }

    /// The client closes the channel.
    pub(super) fn close_channel(&mut self, id: ChannelId, payload: &[u8]) -> Step {
        method::parse(payload, id::CHANNEL_CLOSE.0, id::CHANNEL_CLOSE.1)?;
        self.release_channel(id);
        self.forget_channel(id);
        let ok = channel::AMQPMethod::CloseOk(channel::CloseOk {});
        self.output.class(id, &AMQPClass::Channel(ok));
        Ok(None)
    }

    pub(super) fn release_channel(&mut self, id: ChannelId) {
        let Some(channel) = self.channels.get_mut(id.0 as usize).and_then(Option::as_mut) else { return };
        let release = channel.release();
        if release != (Release { channel: id, ..Release::default() }) {
            self.follow_ups.push_back(Request::Release(release));
        }
    }

    pub(super) fn forget_channel(&mut self, id: ChannelId) {
        self.confirming.retain(|other| *other != id);
        if let Some(channel) = self.channels.get_mut(id.0 as usize).and_then(Option::take) {
            self.closed_counts += channel.counts();
            self.channel_count -= 1;
            self.churn.push((id, false));
        }
    }
}
