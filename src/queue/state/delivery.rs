//! From arriving to being delivered: straight through where nothing waits, in order of priority and sequence otherwise.

use super::consumers::ChannelCredit;
use super::settling::Holder;
use super::{ConsumerKey, Effect, Entry, State};
use crate::dead_letter::Reason;
use crate::name::{ConsumerId, Sequence};
use crate::store::index::IndexEntry;
use crate::time::Millis;
use std::sync::Arc;

/// How many messages one command delivers at most, so that whoever carries the effects out can stop a consumer whose
/// outbox is full.
const DELIVERIES_MAX: usize = 64;

fn holder(key: ConsumerKey, id: ConsumerId, credit: &Arc<ChannelCredit>) -> Holder {
    (key, id, Arc::clone(credit))
}

impl State {
    pub(super) fn arrive(&mut self, now: Millis, entry: Entry, is_noted: bool, effects: &mut Vec<Effect>) {
        self.arrived(entry.index.sequence);
        let expires_at = entry.index.expires_at;
        self.enqueue(now, entry, is_noted, effects);
        // A message that lives no time at all is delivered at once or never.
        if expires_at <= now {
            self.expire(now, effects);
        }
        if self.rules.is_bounded() {
            self.trim(effects);
        }
    }

    #[inline]
    fn enqueue(&mut self, now: Millis, mut entry: Entry, is_noted: bool, effects: &mut Vec<Effect>) {
        // The common case of a queue that keeps up: nothing waits, so the message goes straight through.
        if self.would_deliver()
            && entry.message.is_some()
            && (is_noted || self.may_deliver(entry.index, effects))
            && let Some((key, consumer)) = self.consumers.take_next()
        {
            let holder = consumer.acknowledges.then(|| holder(key, consumer.id, &consumer.channel_credit));
            self.deliver(now, key, holder, entry, effects);
            return;
        }
        if entry.index.position.is_some() && self.must_park() {
            entry.message = None;
        }
        let expires_at = entry.index.expires_at;
        self.ready.insert(entry);
        // Whoever can take it gets it, also if it lives no time at all.
        let before = if expires_at <= now { Millis::default() } else { now };
        self.dispatch(before, effects);
    }

    /// Delivers while there is a message and somebody to take it, up to the bound.
    pub(super) fn dispatch(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        for _ in 0..DELIVERIES_MAX {
            if !self.consumers.is_any_ready() {
                return;
            }
            let Some(front) = self.next(now, effects) else { return };
            if !self.may_deliver(front, effects) {
                return;
            }
            let Some((key, consumer)) = self.consumers.take_next() else { return };
            let holder = consumer.acknowledges.then(|| holder(key, consumer.id, &consumer.channel_credit));
            let Some(entry) = self.ready.pop() else { return };
            self.deliver(now, key, holder, entry, effects);
        }
    }

    /// The next message, if it is here. What lived its time, or failed too often before a limit was set, leaves instead.
    fn next(&mut self, now: Millis, effects: &mut Vec<Effect>) -> Option<IndexEntry> {
        loop {
            let front = self.ready.front()?;
            let reason = if front.expires_at <= now {
                Reason::Expired
            } else if self.is_beyond_limit(front.failures) {
                Reason::DeliveryLimit
            } else {
                return Some(front);
            };
            let entry = self.ready.pop()?;
            self.leave(entry, reason, effects);
        }
    }

    /// Whether it is durable that the message may have been delivered; if not, or not for long, that is asked for.
    fn may_deliver(&mut self, entry: IndexEntry, effects: &mut Vec<Effect>) -> bool {
        if entry.is_delivered || !entry.is_durable || self.ready.has_priorities() {
            return true;
        }
        let noted_messages = u64::from(self.bounds.noted_messages);
        if entry.sequence.0 + noted_messages / 2 >= self.noted.asked.0 {
            self.noted.asked = Sequence(entry.sequence.0 + noted_messages);
            effects.push(Effect::Note(self.noted.asked));
        }
        entry.sequence < self.noted.durable
    }

    pub(super) fn noted(&mut self, now: Millis, below: Sequence, effects: &mut Vec<Effect>) {
        // What a checkpoint has forgotten since does not count.
        if below == self.noted.asked {
            self.noted.durable = below;
        }
        self.dispatch(now, effects);
    }

    #[inline]
    fn deliver(
        &mut self,
        now: Millis,
        consumer: ConsumerKey,
        holder: Option<Holder>,
        entry: Entry,
        effects: &mut Vec<Effect>,
    ) {
        let IndexEntry { sequence, is_delivered: redelivered, is_durable, returns, failures, .. } =
            entry.index;
        let Some(message) = entry.message.clone() else {
            debug_assert!(false, "only what is in memory is taken for a delivery");
            return;
        };
        effects.push(Effect::Deliver {
            consumer,
            sequence,
            redelivered,
            is_durable,
            returns,
            failures,
            message,
        });
        match holder {
            Some(holder) => self.hold(now, entry, Some(holder)),
            None => effects.push(Effect::Settled(entry.index)),
        }
    }

    pub(super) fn get(&mut self, now: Millis, acknowledges: bool, effects: &mut Vec<Effect>) {
        let front = self.next(now, effects);
        let may_deliver = front.is_some_and(|front| self.may_deliver(front, effects));
        let Some(entry) = (if may_deliver { self.ready.pop() } else { None }) else {
            self.has_get_waiting = !self.ready.is_empty();
            effects.extend(self.has_get_waiting.then_some(Effect::GetLater));
            return;
        };
        self.has_get_waiting = false;
        let IndexEntry { sequence, is_delivered: redelivered, is_durable, returns, failures, .. } =
            entry.index;
        let Some(message) = entry.message.clone() else { return };
        effects.push(Effect::Got { sequence, redelivered, is_durable, returns, failures, message });
        if acknowledges {
            self.hold(now, entry, None);
        } else {
            effects.push(Effect::Settled(entry.index));
        }
    }

    /// Whether a message that came now would be delivered at once and be unacked then.
    pub fn would_deliver(&self) -> bool {
        self.ready.is_empty() && self.consumers.is_any_ready()
    }
}
