//! Direct reply-to: consumers of replies that no queue ever holds (behaviour.md, 2.4).

use super::Broker;
use super::error::Error;
use super::session::Session;
use crate::auth::permissions::Access;
use crate::event::{Delivery, Event};
use crate::message::Message;
use crate::name::{ChannelId, ConsumerId};
use crate::outbox::{Outbox, Wakes};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::sync::Arc;

/// What the names of reply addresses start with; the pseudo queue's name and a dot.
const PREFIX: &str = "amq.rabbitmq.reply-to.";

/// Replies to a client that has this much waiting are dropped: no queue holds them, and memory must not.
const WAITING_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Where replies to an address go.
#[derive(Clone, Debug)]
pub(super) struct ReplyConsumer {
    consumer: ConsumerId,
    channel: ChannelId,
    outbox: Arc<Outbox>,
}

/// Whether a message is a reply: published to the default exchange with an address as its key.
pub(super) fn is_address(message: &Message) -> bool {
    message.exchange.is_empty() && message.routing_key().starts_with(PREFIX.as_bytes())
}

impl Broker {
    /// Registers a consumer of replies. Returns its id and its address.
    ///
    /// # Errors
    /// [`Error::NoRandom`]: the address must not be guessed.
    pub fn subscribe_replies(
        &self,
        channel: ChannelId,
        outbox: &Arc<Outbox>,
    ) -> Result<(ConsumerId, String), Error> {
        let consumer = self.next_consumer_id();
        let address = format!("{PREFIX}{}.{}", consumer.0, random_text()?);
        let outbox = Arc::clone(outbox);
        self.replies.insert(address.clone(), ReplyConsumer { consumer, channel, outbox });
        Ok((consumer, address))
    }

    /// Forgets an address.
    pub fn unsubscribe_replies(&self, address: &str) {
        self.replies.remove(address);
    }

    /// Whether somebody still waits for replies there.
    pub fn has_reply_address(&self, name: &str) -> bool {
        name.starts_with(PREFIX) && self.replies.contains_key(name)
    }

    /// Hands a reply over. Returns whether it reached somebody.
    pub(super) fn reply(
        &self,
        session: &Session,
        message: &Arc<Message>,
        wakes: &mut Wakes,
    ) -> Result<bool, Error> {
        session.check(Access::Write, session.exchange(&message.exchange))?;
        let Ok(address) = std::str::from_utf8(message.routing_key()) else { return Ok(false) };
        let Some(target) = self.replies.get(address).map(|target| target.clone()) else { return Ok(false) };
        if target.outbox.waiting_bytes() > WAITING_BYTES_MAX {
            tracing::debug!(address, "reply dropped: its consumer reads nothing");
            return Ok(true);
        }
        let delivery = Delivery {
            channel: target.channel,
            consumer: target.consumer,
            source: None,
            redelivered: false,
            message: Arc::clone(message),
        };
        target.outbox.push(Event::Deliver(delivery));
        wakes.add(&target.outbox);
        Ok(true)
    }
}

/// 22 characters nobody guesses, for server-made names.
pub(super) fn random_text() -> Result<String, Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| Error::NoRandom)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
