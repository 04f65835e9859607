//! What becomes of messages that were delivered: they are consumed, refused, or come back; and of consumers that say
//! nothing.

use super::aside;
use super::consumers::ChannelCredit;
use super::{ConsumerKey, Effect, Entry, Retry, Return, State};
use crate::dead_letter::Reason;
use crate::name::{ConsumerId, Position, Sequence};
use crate::store::index::{IndexEntry, Relocated};
use crate::time::Millis;
use std::sync::Arc;

/// Who has a message, and the credit that it took.
pub(super) type Holder = (ConsumerKey, ConsumerId, Arc<ChannelCredit>);

/// An unacked message and who has it; nobody's consumer for `basic.get`.
#[derive(Debug)]
pub(super) struct Unacked {
    pub(super) entry: Entry,
    pub(super) holder: Option<Holder>,
}

impl State {
    pub(super) fn hold(&mut self, now: Millis, mut entry: Entry, holder: Option<Holder>) {
        self.unacked_tally.add(&entry.index);
        entry.index.is_delivered = true;
        if entry.index.position.is_some() && self.must_park() {
            entry.message = None;
        }
        self.unacked_memory_bytes += entry.memory_bytes();
        if self.minds_timeouts()
            && let Some(timeout_ms) = self.timeout_of(holder.as_ref())
        {
            let due = Millis(now.0.saturating_add(timeout_ms));
            self.due.insert(entry.index.sequence, (due, timeout_ms));
            self.timeouts_at = Some(self.timeouts_at.map_or(due, |at| at.min(due)));
        }
        self.unacked.insert(entry.index.sequence, Unacked { entry, holder });
    }

    pub(super) fn ack(&mut self, sequence: Sequence, effects: &mut Vec<Effect>) {
        if let Some(entry) = self.take_unacked(sequence) {
            effects.push(Effect::Settled(entry.index));
        }
    }

    pub(super) fn discard(&mut self, sequence: Sequence, effects: &mut Vec<Effect>) {
        if let Some(entry) = self.take_unacked(sequence) {
            self.leave(entry, Reason::Rejected, effects);
        }
    }

    pub(super) fn requeue(
        &mut self,
        now: Millis,
        sequence: Sequence,
        how: Return,
        effects: &mut Vec<Effect>,
    ) {
        let Some(mut entry) = self.take_unacked(sequence) else { return };
        entry.index.returns = entry.index.returns.saturating_add(1);
        if how == Return::Failed {
            entry.index.failures = entry.index.failures.saturating_add(1);
        }
        effects.push(Effect::Returned(entry.index, how));
        if self.is_beyond_limit(entry.index.failures) {
            self.leave(entry, Reason::DeliveryLimit, effects);
            return;
        }
        match self.rules.retry.and_then(|retry: Retry| retry.delay_ms(how, entry.index.returns)) {
            Some(delay_ms) if delay_ms > 0 => self.held.add(Millis(now.0.saturating_add(delay_ms)), entry),
            _ => self.ready.insert(entry),
        }
    }

    /// Whether a message with so many failures is not to be delivered again.
    pub(super) fn is_beyond_limit(&self, failures: u16) -> bool {
        self.rules.delivery_limit.is_some_and(|limit| failures > limit)
    }

    fn take_unacked(&mut self, sequence: Sequence) -> Option<Entry> {
        let Unacked { entry, holder } = self.unacked.remove(&sequence)?;
        if !self.due.is_empty() {
            self.due.remove(&sequence);
        }
        self.unacked_tally.remove(&entry.index);
        self.unacked_memory_bytes -= entry.memory_bytes();
        if let Some((key, id, credit)) = holder {
            self.consumers.give_back(key, id, &credit);
        }
        Some(entry)
    }

    /// Whether anybody may take only so long to settle a message.
    pub(super) fn minds_timeouts(&self) -> bool {
        self.rules.consumer_timeout_ms.is_some() || self.consumers.are_timed() || self.timeouts_at.is_some()
    }

    /// How long who has a message may take to settle it.
    fn timeout_of(&self, holder: Option<&Holder>) -> Option<u64> {
        let own = holder.and_then(|(key, ..)| self.consumers.timeout_ms(*key));
        own.into_iter().chain(self.rules.consumer_timeout_ms).min()
    }

    /// Another timeout holds for what is unacked already: from its delivery, or from now if nobody minded then.
    fn time_again(&mut self, now: Millis) {
        let known = std::mem::take(&mut self.due);
        for (&sequence, unacked) in &self.unacked {
            let Some(timeout_ms) = self.timeout_of(unacked.holder.as_ref()) else { continue };
            let since = known.get(&sequence).map_or(now.0, |(due, was)| due.0.saturating_sub(*was));
            self.due.insert(sequence, (Millis(since.saturating_add(timeout_ms)), timeout_ms));
        }
    }

    /// Finds the consumers that have had a message for too long. Looked for when the first of the last look is due.
    pub(super) fn mind_timeouts(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        if self.timeouts_at.is_none_or(|at| at > now) {
            return;
        }
        if std::mem::take(&mut self.is_retimed) {
            self.time_again(now);
        }
        let (mut late, mut next) = (Vec::new(), None::<Millis>);
        for (sequence, &(due, timeout_ms)) in &self.due {
            match self.unacked.get(sequence).and_then(|unacked| unacked.holder.as_ref()) {
                Some((key, id, _)) if due <= now => late.push((*key, *id, timeout_ms)),
                // Nobody can be told of a message that was got.
                _ if due <= now => {}
                _ => next = Some(next.map_or(due, |next| next.min(due))),
            }
        }
        self.timeouts_at = next;
        late.sort_unstable_by_key(|(_, id, _)| *id);
        late.dedup_by_key(|(_, id, _)| *id);
        let told = late
            .into_iter()
            .map(|(key, id, timeout_ms)| Effect::TimedOut { consumer: (key, id), timeout_ms });
        effects.extend(told);
    }

    pub(super) fn evict_unacked(&mut self) -> u64 {
        let mut freed = 0;
        if self.unacked_memory_bytes > 0 {
            for unacked in self.unacked.values_mut().filter(|unacked| unacked.entry.index.position.is_some())
            {
                freed += unacked.entry.memory_bytes();
                unacked.entry.message = None;
            }
            self.unacked_memory_bytes -= freed;
        }
        freed
    }

    /// An unacked message's entry, for a transaction's group.
    pub fn unacked_entry(&self, sequence: Sequence) -> Option<IndexEntry> {
        self.unacked.get(&sequence).map(|unacked| unacked.entry.index)
    }

    pub(super) fn relocate_unacked(
        &mut self,
        sequence: Sequence,
        from: Position,
        to: (Position, u32),
    ) -> Option<Relocated> {
        self.unacked.get_mut(&sequence).map(|unacked| aside::relocate(&mut unacked.entry, from, to))
    }

    /// Gives back what unacked messages take of their channels' shared credit: nobody will settle them in a deleted queue.
    pub fn give_back_credit(&self) {
        let holders = self.unacked.values().filter_map(|unacked| unacked.holder.as_ref());
        holders.for_each(|(_, _, credit)| credit.give_back());
    }
}
