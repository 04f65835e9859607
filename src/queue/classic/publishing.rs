//! Publishing to a queue: whether it takes the message, its place, its record, and who gets it.

use super::work::Work;
use super::{Enqueued, Full, Inner, Queue, Reserved, after};
use crate::dead_letter::Reason;
use crate::dedup::Seen;
use crate::message::Message;
use crate::name::{Position, Sequence};
use crate::outbox::Wakes;
use crate::queue::state::{Command, Entry, Verdict};
use crate::store::Appended;
use crate::store::index::IndexEntry;
use crate::store::record::Origin;
use crate::time::Millis;
use std::sync::Arc;

/// When a message expires in a queue with that time to live: the shorter of the queue's and its own counts.
fn expiry(message_ttl_ms: Option<u64>, message: &Message) -> Millis {
    let own = message.time_to_live_ms();
    after(message.received_at, own.into_iter().chain(message_ttl_ms).min())
}

fn body_bytes(message: &Message) -> u32 {
    u32::try_from(message.body().len()).unwrap_or(u32::MAX)
}

/// A message that has come before.
struct Duplicate;

/// What becomes of a message that comes now.
enum Judgement {
    /// It is taken, and counts as seen.
    Accept(Option<Seen>),
    /// It has come before.
    Duplicate,
    /// The queue is full.
    Reject,
    /// The same, and it is a dead letter.
    Bury,
}

impl Inner {
    /// The message as the window of duplicates sees it, if there is one.
    ///
    /// # Errors
    /// [`Duplicate`] if it has come before.
    fn check_new(&mut self, message: &Message) -> Result<Option<Seen>, Duplicate> {
        let Some(rules) = &self.settings.dedup else { return Ok(None) };
        let seen = Seen::of(&rules.header, message);
        if seen.as_ref().is_some_and(|seen| self.window.has(seen)) {
            self.counters.duplicates += 1;
            return Err(Duplicate);
        }
        Ok(seen)
    }

    /// What becomes of a message that comes now. Most queues take everything: see [`Inner::is_choosy`].
    #[cold]
    fn judge(&mut self, message: &Message) -> Judgement {
        let Ok(seen) = self.check_new(message) else { return Judgement::Duplicate };
        match self.state.verdict(body_bytes(message)) {
            Verdict::Accept => {
                self.remember(seen);
                Judgement::Accept(seen)
            }
            Verdict::Reject => {
                self.counters.rejected += 1;
                Judgement::Reject
            }
            Verdict::Bury => Judgement::Bury,
        }
    }

    /// The message is taken: it counts as seen from now on. One that was rejected will be published again.
    fn remember(&mut self, seen: Option<Seen>) {
        if let (Some(seen), Some(rules)) = (seen, &self.settings.dedup) {
            self.window.admit(rules, &seen);
            self.is_changed = true;
        }
    }
}

impl Queue {
    /// Whether an exchange's window has seen the message before; it has from now on.
    pub fn has_seen(&self, message: &Message) -> bool {
        let mut inner = self.inner.lock();
        if inner.is_deleted {
            return false;
        }
        match inner.check_new(message) {
            Ok(seen) => inner.remember(seen),
            Err(Duplicate) => return true,
        }
        false
    }

    /// Whether a restart brings the message back, once it is here.
    pub fn keeps(&self, message: &Message) -> bool {
        self.definition.durable && (message.is_persistent || self.keeps_all)
    }

    /// Enqueues a message that reached this queue alone.
    pub fn publish(&self, message: &Arc<Message>, wakes: &mut Wakes) -> Enqueued {
        let mut inner = self.inner.lock();
        if inner.is_deleted {
            return Enqueued::Safe;
        }
        let mut is_full = false;
        if inner.is_choosy {
            match inner.judge(message) {
                Judgement::Accept(_) => {}
                Judgement::Duplicate => return Enqueued::Safe,
                Judgement::Reject => return Enqueued::Rejected,
                Judgement::Bury => is_full = true,
            }
        }
        self.mind_memory(&mut inner);
        let sequence = inner.state.take_sequence();
        let target = [(self.definition.id, sequence)];
        let is_durable = self.keeps(message);
        let (mut appended, mut is_noted) = (None, false);
        if is_durable {
            is_noted = !is_full && inner.state.would_deliver();
            let origin = Origin { is_delivered: is_noted, ..Origin::default() };
            appended = Some(self.services.store.append_publish(message, &target, origin));
        } else if inner.state.would_park() {
            let origin = Origin { is_transient: true, ..Origin::default() };
            appended = Some(self.services.store.append_publish(message, &target, origin));
        }
        let entry = self.entry(&inner, sequence, appended, is_durable, message);
        if is_full {
            self.reject(&mut inner, entry, wakes);
            return Enqueued::Rejected;
        }
        self.enqueue(&mut inner, entry, is_noted, wakes);
        match appended.filter(|_| is_durable) {
            Some(appended) => Enqueued::SafeAt(self.durability().safe_at(appended.end, appended.is_large)),
            None => Enqueued::Safe,
        }
    }

    /// The message leaves as it comes: the queue is full.
    fn reject(&self, inner: &mut Inner, entry: Entry, wakes: &mut Wakes) {
        inner.counters.rejected += 1;
        self.run(inner, Command::Bury(entry, Reason::MaxLen), wakes);
    }

    /// Takes a place for a message that reaches several queues. [`Queue::enqueue_reserved`] or [`Queue::release`] must
    /// follow. Nothing if the queue is gone or has seen the message before.
    ///
    /// # Errors
    /// [`Full`] when the queue does not take it.
    pub fn reserve(&self, message: &Message) -> Result<Option<Reserved>, Full> {
        let mut inner = self.inner.lock();
        if inner.is_deleted {
            return Ok(None);
        }
        let (mut is_rejected, mut seen) = (false, None);
        if inner.is_choosy {
            match inner.judge(message) {
                Judgement::Accept(now_seen) => seen = now_seen,
                Judgement::Duplicate => return Ok(None),
                Judgement::Reject => return Err(Full),
                Judgement::Bury => is_rejected = true,
            }
        }
        inner.is_changed = true;
        let sequence = inner.state.reserve(body_bytes(message));
        Ok(Some(Reserved { sequence, is_rejected, seen }))
    }

    /// A reserved place is not needed.
    pub fn release(&self, reserved: Reserved) {
        let mut inner = self.inner.lock();
        if !inner.is_deleted {
            if let Some(seen) = reserved.seen {
                inner.window.forget(seen.key);
            }
            self.run(&mut inner, Command::Release(reserved.sequence), &mut Wakes::default());
        }
    }

    /// Enqueues a message at its reserved place, with the record that was appended for it, if it has one.
    pub fn enqueue_reserved(
        &self,
        reserved: Reserved,
        appended: Option<Appended>,
        message: &Arc<Message>,
        wakes: &mut Wakes,
    ) {
        let mut inner = self.inner.lock();
        if inner.is_deleted {
            drop(inner);
            if let Some(appended) = appended {
                self.services.store.release(&[(appended.position, appended.record_bytes)]);
            }
            return;
        }
        self.mind_memory(&mut inner);
        let entry = self.entry(&inner, reserved.sequence, appended, appended.is_some(), message);
        if reserved.is_rejected {
            self.reject(&mut inner, entry, wakes);
        } else {
            self.enqueue(&mut inner, entry, false, wakes);
        }
    }

    fn entry(
        &self,
        inner: &Inner,
        sequence: Sequence,
        appended: Option<Appended>,
        is_durable: bool,
        message: &Arc<Message>,
    ) -> Entry {
        let index = IndexEntry {
            sequence,
            position: appended.map_or(Position::NONE, |appended| appended.position),
            expires_at: expiry(inner.settings.message_ttl_ms, message),
            body_bytes: body_bytes(message),
            record_bytes: appended.map_or(0, |appended| appended.record_bytes),
            returns: 0,
            failures: 0,
            priority: message.priority.unwrap_or(self.default_priority),
            is_delivered: false,
            is_durable,
        };
        Entry { index, message: Some(Arc::clone(message)) }
    }

    /// Enqueues what a record, if there is one, may say was delivered.
    #[inline]
    fn enqueue(&self, inner: &mut Inner, entry: Entry, is_noted: bool, wakes: &mut Wakes) {
        inner.counters.published += 1;
        inner.is_changed = true;
        Work::with(|work| {
            work.noted = is_noted.then_some(entry.index.sequence);
            let command = if is_noted { Command::EnqueueNoted(entry) } else { Command::Enqueue(entry) };
            self.run_with(inner, work, command, wakes)
        });
    }
}
