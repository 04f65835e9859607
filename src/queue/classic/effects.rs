//! What a queue's commands lead to, carried out: the journal, outboxes, the pager. Always under the queue's lock.

use super::work::Work;
use super::{Fate, Inner, Outcome, Queue, Taken};
use crate::arguments;
use crate::dead_letter::Reason;
use crate::durability::{Level, Point};
use crate::event::{Delivery, Event, Source};
use crate::message::Message;
use crate::name::{ConsumerId, Sequence};
use crate::outbox::{Room, Wakes};
use crate::queue::Pager;
use crate::queue::memory::Reported;
use crate::queue::state::{Command, ConsumerKey, Effect, Return};
use crate::store::SyncWaiter;
use crate::store::record::{Origin, Progress};
use crate::time::Millis;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};

impl Queue {
    pub(super) fn mind_memory(&self, inner: &mut Inner) {
        let pressure = self.services.memory.pressure(inner.reported_bytes);
        inner.state.set_pressure(pressure);
    }

    pub(super) fn run(&self, inner: &mut Inner, command: Command<'_>, wakes: &mut Wakes) -> Outcome {
        Work::with(|work| self.run_with(inner, work, command, wakes))
    }

    pub(super) fn run_with(
        &self,
        inner: &mut Inner,
        work: &mut Work,
        command: Command<'_>,
        wakes: &mut Wakes,
    ) -> Outcome {
        let now = inner.now_for(&command);
        inner.state.apply(now, command, &mut work.effects);
        let outcome = self.carry_out(inner, work, wakes);
        self.mind_deadline(inner);
        outcome
    }

    /// Carries out the effects at hand, and those of going on while messages wait and somebody can take them.
    pub(super) fn carry_out(&self, inner: &mut Inner, work: &mut Work, wakes: &mut Wakes) -> Outcome {
        let mut outcome = Outcome::default();
        loop {
            let mut effects = std::mem::take(&mut work.effects);
            inner.is_changed |= !effects.is_empty();
            for effect in effects.drain(..) {
                self.carry_out_one(inner, work, effect, &mut outcome, wakes);
            }
            if !work.effects.is_empty() {
                continue;
            }
            work.effects = effects;
            if !inner.state.has_more() {
                break;
            }
            let now = inner.now_for(&Command::Continue);
            inner.state.apply(now, Command::Continue, &mut work.effects);
            if work.effects.is_empty() {
                break;
            }
        }
        self.write_down(work);
        self.count_leaving(inner);
        let own_bytes = inner.state.memory_bytes();
        let before = inner.reported_bytes;
        if self.services.memory.report(&mut inner.reported_bytes, own_bytes) == Reported::Tell {
            self.services.pager.evict();
        }
        if before != inner.reported_bytes {
            self.reported_bytes.store(inner.reported_bytes, Relaxed);
        }
        outcome
    }

    /// Appends what became of messages to the journal, and gives back what they held.
    fn write_down(&self, work: &mut Work) {
        let Work { settled, settled_ranges, delivered, returned, failed, settled_pages, .. } = work;
        let deliverable_below = Sequence(0);
        let progress = Progress { settled, settled_ranges, delivered, returned, failed, deliverable_below };
        if !settled.is_empty() || !progress.is_empty() {
            self.services.store.append_progress(self.definition.id, &progress);
            settled.clear();
            settled_ranges.clear();
            delivered.clear();
            returned.clear();
            failed.clear();
        }
        if !settled_pages.is_empty() {
            self.services.pager.release(self.definition.id, std::mem::take(settled_pages));
        }
    }

    fn carry_out_one(
        &self,
        inner: &mut Inner,
        work: &mut Work,
        effect: Effect,
        outcome: &mut Outcome,
        wakes: &mut Wakes,
    ) {
        match effect {
            Effect::Deliver { consumer, sequence, redelivered, is_durable, returns, failures, message } => {
                if is_durable && !redelivered && work.noted != Some(sequence) {
                    work.delivered.push(sequence);
                }
                let message = if returns == 0 { message } else { inner.told(message, returns, failures) };
                self.deliver(inner, work, consumer, (sequence, redelivered, message), wakes);
            }
            Effect::Settled(entry) => work.settle(entry),
            Effect::Left(_, reason) => inner.count_left(reason),
            Effect::DeadLetters => self.services.dead_letters.add(self.weak()),
            Effect::TimedOut { consumer: (key, id), timeout_ms } => {
                tell_timeout(inner, key, id, timeout_ms, wakes);
            }
            Effect::Got { sequence, redelivered, is_durable, returns, failures, message } => {
                if is_durable && !redelivered {
                    work.delivered.push(sequence);
                }
                inner.counters.redelivered += u64::from(redelivered);
                let message = inner.told(message, returns, failures);
                let ready_left = inner.state.ready_count();
                outcome.taken = Some(Box::new(Taken { sequence, redelivered, message, ready_left }));
            }
            Effect::GetLater => outcome.is_later = true,
            // `subscribe` has looked for it already.
            Effect::Subscribed(_) => {}
            Effect::Unused => outcome.is_unused = true,
            Effect::Returned(entry, how) => {
                if entry.is_durable {
                    work.returned.push(entry.sequence);
                }
                if entry.is_durable && how == Return::Failed {
                    work.failed.push(entry.sequence);
                }
            }
            Effect::Note(below) => self.note(inner, work, below),
            Effect::Lost(entry) => {
                let (sequence, position) = (entry.sequence, entry.position.0);
                tracing::error!(queue = %self.name, vhost = %self.vhost, %sequence, position,
                    "a message cannot be read from the journal and is lost");
                inner.counters.lost += 1;
                work.settle(entry);
            }
            Effect::PageSettled(page) => {
                work.settled_ranges.extend(page.live.iter());
                work.settled_pages.push(*page);
            }
            Effect::Load(load) => self.services.pager.load(self.weak(), load),
            Effect::WriteImage(new) => {
                self.services.store.write_image(self.definition.id, new.image, &new.entries);
            }
            Effect::ForgetImage(image) => self.services.store.forget_images(self.definition.id, &[image]),
            Effect::Unstored { level, sequence, message } => {
                let target = [(self.definition.id, sequence)];
                let origin = Origin { is_transient: true, ..Origin::default() };
                let appended = self.services.store.append_publish(&message, &target, origin);
                let (position, record_bytes) = (appended.position, appended.record_bytes);
                let command = Command::Stored { level, sequence, position, record_bytes };
                inner.state.apply(Millis::default(), command, &mut work.effects);
            }
        }
    }

    /// Writes down that messages below may be delivered, and tells the queue when that is durable; at once while the disk
    /// takes nothing, because consumers go on.
    fn note(&self, inner: &mut Inner, work: &mut Work, below: Sequence) {
        let progress = Progress { deliverable_below: below, ..Progress::default() };
        let store = &self.services.store;
        let point = Level::SyncedButLarge.at(store.append_progress(self.definition.id, &progress));
        if store.has_reached(point) || store.disk().borrow().is_refusing() {
            inner.state.apply(Millis::default(), Command::Noted(below), &mut work.effects);
            self.loaded.notify_waiters();
        } else {
            let noted = Noted { queue: self.weak(), below, pager: Arc::clone(&self.services.pager) };
            store.notify(point, None, Arc::new(noted));
        }
    }

    fn deliver(
        &self,
        inner: &mut Inner,
        work: &mut Work,
        key: ConsumerKey,
        (sequence, redelivered, message): (Sequence, bool, Arc<Message>),
        wakes: &mut Wakes,
    ) {
        let Some(subscription) = inner.subscriptions.get(key.0).and_then(Option::as_ref) else { return };
        let delivery = Delivery {
            channel: subscription.channel,
            consumer: subscription.id,
            source: Some(Source { queue: self.definition.id, sequence }),
            redelivered,
            message,
        };
        let count = if subscription.acknowledges {
            &mut inner.counters.delivered
        } else {
            &mut inner.counters.delivered_no_ack
        };
        *count += 1;
        inner.counters.redelivered += u64::from(redelivered);
        wakes.add(&subscription.outbox);
        if subscription.outbox.push(Event::Deliver(delivery)) == Room::Full {
            // What every command may ask for (a page to be kept, messages to be read) is carried out, too.
            let id = subscription.id;
            wakes.note_full(&subscription.outbox);
            inner.state.apply(Millis::default(), Command::Block(key, id), &mut work.effects);
        }
    }
}

/// Tells a consumer's connection that it has had a message for too long.
fn tell_timeout(inner: &Inner, key: ConsumerKey, id: ConsumerId, timeout_ms: u64, wakes: &mut Wakes) {
    let subscription = inner.subscriptions.get(key.0).and_then(Option::as_ref);
    let Some(subscription) = subscription.filter(|subscription| subscription.id == id) else { return };
    let channel = subscription.channel;
    subscription.outbox.push(Event::ConsumerTimedOut { channel, consumer: id, timeout_ms });
    wakes.add(&subscription.outbox);
}

impl Inner {
    /// A message left without being consumed.
    fn count_left(&mut self, reason: Reason) {
        let fate = Fate::of(self.settings.dead_letters.as_ref());
        self.counters.left[fate as usize][reason as usize - 1] += 1;
    }

    /// The message as its consumer gets it: told how often it came back, where the queue counts that.
    #[cold]
    fn told(&self, message: Arc<Message>, returns: u16, failures: u16) -> Arc<Message> {
        if returns == 0 || !self.settings.counts_deliveries {
            return message;
        }
        let failed = (failures > 0).then_some(("x-delivery-count", failures));
        let counts = std::iter::once(("x-acquired-count", returns)).chain(failed);
        let counts = counts.map(|(name, count)| (name, arguments::Value::LongLongInt(count.into())));
        Arc::new(message.with_headers(counts))
    }
}

/// Tells a queue what is durable now. Its lock is not taken in the committer's thread.
struct Noted {
    queue: Weak<Queue>,
    below: Sequence,
    pager: Arc<Pager>,
}

impl SyncWaiter for Noted {
    fn reached(&self, _point: Point) {
        self.pager.noted(self.queue.clone(), self.below);
    }
}
