//! The queue machine: commands in, effects out. PURE.
//!
//! Owns which message is ready, which is unacked and with whom, and who gets the next one. Does not own the journal,
//! outboxes or the clock: whoever applies a command carries its effects out, in order, before the next command.
//!
//! ```text
//!              Enqueue                 Deliver                    Ack, Discard
//!   (reserved) ───────►  ready  ─────────────────────►  unacked ───────────────►  Settled
//!                          ▲       (no-ack: Settled)       │
//!                          └───────────────────────────────┘
//!                                      Requeue
//! ```

mod consumers;
mod ready;
#[cfg(test)]
mod tests;

pub use consumers::{ChannelCredit, Consumer, ConsumerKey};
pub use ready::{Entry, NEVER};

use crate::message::Message;
use crate::name::{ConsumerId, Position, Sequence};
use crate::time::Millis;
use consumers::Consumers;
use foldhash::HashMap;
use ready::Ready;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What is asked of a queue.
#[derive(Debug)]
pub enum Command<'a> {
    /// Put a message at the place it reserved.
    Enqueue(Entry),
    /// Give up a reserved place: the message goes elsewhere or nowhere.
    Release(Sequence),
    /// Add a consumer.
    Subscribe(Consumer),
    /// Remove a consumer; what it has unacked stays with its channel.
    Unsubscribe(ConsumerKey, ConsumerId),
    /// Take the first ready message, for `basic.get`.
    Get {
        /// Whether it will be settled later; otherwise it is settled now.
        acknowledges: bool,
    },
    /// Settle unacked messages for good.
    Ack(&'a [Sequence]),
    /// Return unacked messages to their places.
    Requeue(&'a [Sequence]),
    /// The consumer's connection takes no more for now.
    Block(ConsumerKey, ConsumerId),
    /// The consumer may take messages again: room in its outbox, credit on its channel.
    Resume(ConsumerKey, ConsumerId),
    /// Change how many the consumer may have unacked.
    SetPrefetch(ConsumerKey, ConsumerId, u32),
    /// Settle all ready messages.
    Purge,
    /// Go on delivering: see [`State::has_more`].
    Continue,
    /// Nothing but what every command does first: settle what expired.
    Expire,
}

/// How many messages one command delivers at most, so that whoever carries the effects out can stop a consumer whose
/// outbox is full.
const DELIVERIES_MAX: usize = 64;

/// What a command leads to, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Hand the message to the consumer.
    Deliver {
        /// Who gets it.
        consumer: ConsumerKey,
        /// Its place, for settling.
        sequence: Sequence,
        /// Whether it was delivered before.
        redelivered: bool,
        /// The message.
        message: Arc<Message>,
    },
    /// The answer to `Get`.
    Got {
        /// Its place, for settling.
        sequence: Sequence,
        /// Whether it was delivered before.
        redelivered: bool,
        /// The message.
        message: Arc<Message>,
    },
    /// The message is gone for good: its record may go, too.
    Settled(Sequence, Position),
    /// The message lived its time and is gone for good.
    Expired(Sequence, Position),
    /// The answer to `Subscribe`.
    Subscribed(ConsumerKey),
    /// The last consumer of a queue that had one is gone.
    Unused,
}

/// Why a consumer is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Another consumer has the queue for itself, or others have it and this one wants to.
    ExclusiveUse,
}

/// An unacked message and who has it; nobody's consumer for `basic.get`.
#[derive(Debug)]
struct Unacked {
    entry: Entry,
    holder: Option<(ConsumerKey, ConsumerId, Arc<ChannelCredit>)>,
}

/// What a queue's arguments make of it, once and for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// The highest priority that counts; 0 = messages have none.
    pub max_priority: u8,
    /// Whether one consumer at a time is served.
    pub single_active: bool,
}

/// A queue's state.
#[derive(Debug, Default)]
pub struct State {
    ready: Ready,
    unacked: HashMap<Sequence, Unacked>,
    unacked_bytes: u64,
    /// Places given to publishes that have not arrived yet.
    reserved: BTreeSet<Sequence>,
    next_sequence: Sequence,
    /// One more than the highest sequence ever delivered: below it a message may have been seen by somebody.
    delivered_below: Sequence,
    consumers: Consumers,
}

impl State {
    /// A queue of that shape with what recovery found, in the order of the sequences.
    pub fn recovered(
        shape: Shape,
        next_sequence: Sequence,
        entries: impl IntoIterator<Item = Entry>,
    ) -> Self {
        let consumers = if shape.single_active { Consumers::single_active() } else { Consumers::default() };
        let ready = Ready::new(shape.max_priority);
        let next_sequence = next_sequence.max(Sequence(1));
        let mut state = Self { ready, consumers, next_sequence, ..Self::default() };
        for entry in entries {
            state.ready.insert(entry);
        }
        state
    }

    /// Takes the next place in the queue. It must be followed by `Enqueue` or `Release`.
    pub fn reserve(&mut self) -> Sequence {
        let sequence = self.take_sequence();
        self.reserved.insert(sequence);
        sequence
    }

    /// Takes the next place for a message that is enqueued at once, under the same lock.
    pub fn take_sequence(&mut self) -> Sequence {
        let sequence = self.next_sequence;
        self.next_sequence.0 += 1;
        sequence
    }

    /// Carries out a command. What expired by `now` is gone before, and before anybody gets it.
    ///
    /// `now` counts only while [`State::next_deadline`] says so.
    pub fn apply(&mut self, now: Millis, command: Command<'_>, effects: &mut Vec<Effect>) {
        self.expire(now, effects);
        match command {
            Command::Enqueue(entry) => {
                if !self.reserved.is_empty() {
                    self.reserved.remove(&entry.sequence);
                }
                self.enqueue(entry, effects);
                // A message that lives no time at all is delivered at once or never.
                self.expire(now, effects);
            }
            Command::Release(sequence) => {
                self.reserved.remove(&sequence);
            }
            Command::Subscribe(consumer) => {
                effects.push(Effect::Subscribed(self.consumers.add(consumer)));
                self.dispatch(effects);
            }
            Command::Unsubscribe(key, id) => {
                if self.consumers.remove(key, id).is_some() && self.consumers.len() == 0 {
                    effects.push(Effect::Unused);
                }
                // Where one consumer is served at a time another may have taken over.
                self.dispatch(effects);
            }
            Command::Get { acknowledges } => self.get(acknowledges, effects),
            Command::Ack(sequences) => {
                for sequence in sequences {
                    self.ack(*sequence, effects);
                }
                self.dispatch(effects);
            }
            Command::Requeue(sequences) => {
                sequences.iter().for_each(|sequence| self.requeue(*sequence));
                self.expire(now, effects);
                self.dispatch(effects);
            }
            Command::Block(key, id) => self.consumers.set_blocked(key, id, true),
            Command::Resume(key, id) => {
                self.consumers.set_blocked(key, id, false);
                self.dispatch(effects);
            }
            Command::SetPrefetch(key, id, prefetch) => {
                self.consumers.set_prefetch(key, id, prefetch);
                self.dispatch(effects);
            }
            Command::Purge => {
                let gone = self.ready.take();
                effects.extend(gone.iter().map(|entry| Effect::Settled(entry.sequence, entry.position)));
            }
            Command::Continue => self.dispatch(effects),
            Command::Expire => {}
        }
    }

    fn expire(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        while let Some(entry) = self.ready.pop_expired(now) {
            effects.push(Effect::Expired(entry.sequence, entry.position));
        }
    }

    /// When the next message expires.
    pub fn next_deadline(&self) -> Option<Millis> {
        self.ready.next_deadline()
    }

    /// The consumer that is served, where only one is.
    pub fn active_consumer(&self) -> Option<ConsumerId> {
        self.consumers.active()
    }

    /// Whether messages wait although somebody could take them: the last command stopped at its bound, and
    /// `Continue` is due.
    pub fn has_more(&self) -> bool {
        !self.ready.is_empty() && self.consumers.is_any_ready()
    }

    /// Whether a consumer may be added.
    ///
    /// # Errors
    /// [`Refusal`], which becomes 403 ACCESS_REFUSED.
    pub fn check_subscribe(&self, exclusive: bool) -> Result<(), Refusal> {
        let has_exclusive = self.consumers.iter().any(|other| other.exclusive);
        let is_taken = exclusive && (self.consumers.len() > 0 || self.consumers.has_single_active());
        if has_exclusive || is_taken { Err(Refusal::ExclusiveUse) } else { Ok(()) }
    }

    fn enqueue(&mut self, entry: Entry, effects: &mut Vec<Effect>) {
        // The common case of a queue that keeps up: nothing waits, so the message goes straight through.
        if self.ready.is_empty()
            && let Some((key, consumer)) = self.consumers.take_next()
        {
            let holder =
                consumer.acknowledges.then(|| (key, consumer.id, Arc::clone(&consumer.channel_credit)));
            self.deliver(key, holder, entry, effects);
            return;
        }
        self.ready.insert(entry);
        self.dispatch(effects);
    }

    /// Delivers while there is a message and somebody to take it, up to the bound.
    fn dispatch(&mut self, effects: &mut Vec<Effect>) {
        for _ in 0..DELIVERIES_MAX {
            if self.ready.is_empty() {
                return;
            }
            let Some((key, consumer)) = self.consumers.take_next() else { return };
            let holder =
                consumer.acknowledges.then(|| (key, consumer.id, Arc::clone(&consumer.channel_credit)));
            let Some(entry) = self.ready.pop() else { return };
            self.deliver(key, holder, entry, effects);
        }
    }

    fn deliver(
        &mut self,
        consumer: ConsumerKey,
        holder: Option<(ConsumerKey, ConsumerId, Arc<ChannelCredit>)>,
        entry: Entry,
        effects: &mut Vec<Effect>,
    ) {
        let (sequence, redelivered) = (entry.sequence, entry.redelivered);
        effects.push(Effect::Deliver {
            consumer,
            sequence,
            redelivered,
            message: Arc::clone(&entry.message),
        });
        self.delivered_below = self.delivered_below.max(Sequence(sequence.0 + 1));
        match holder {
            Some(holder) => self.hold(entry, Some(holder)),
            None => effects.push(Effect::Settled(sequence, entry.position)),
        }
    }

    fn hold(&mut self, entry: Entry, holder: Option<(ConsumerKey, ConsumerId, Arc<ChannelCredit>)>) {
        self.unacked_bytes += entry.message.body().len() as u64;
        self.unacked.insert(entry.sequence, Unacked { entry, holder });
    }

    fn get(&mut self, acknowledges: bool, effects: &mut Vec<Effect>) {
        let Some(entry) = self.ready.pop() else { return };
        let (sequence, redelivered) = (entry.sequence, entry.redelivered);
        effects.push(Effect::Got { sequence, redelivered, message: Arc::clone(&entry.message) });
        self.delivered_below = self.delivered_below.max(Sequence(sequence.0 + 1));
        if acknowledges {
            self.hold(entry, None);
        } else {
            effects.push(Effect::Settled(sequence, entry.position));
        }
    }

    fn ack(&mut self, sequence: Sequence, effects: &mut Vec<Effect>) {
        if let Some(entry) = self.take_unacked(sequence) {
            effects.push(Effect::Settled(sequence, entry.position));
        }
    }

    fn requeue(&mut self, sequence: Sequence) {
        if let Some(entry) = self.take_unacked(sequence) {
            self.ready.insert(Entry { redelivered: true, ..entry });
        }
    }

    fn take_unacked(&mut self, sequence: Sequence) -> Option<Entry> {
        let Unacked { entry, holder } = self.unacked.remove(&sequence)?;
        self.unacked_bytes -= entry.message.body().len() as u64;
        if let Some((key, id, credit)) = holder {
            self.consumers.give_back(key, id, &credit);
        }
        Some(entry)
    }

    /// How many messages wait to be delivered.
    pub fn ready_count(&self) -> usize {
        self.ready.len()
    }

    /// How many messages are delivered and not settled.
    pub fn unacked_count(&self) -> usize {
        self.unacked.len()
    }

    /// Body bytes of ready and of unacked messages.
    pub fn body_bytes(&self) -> (u64, u64) {
        (self.ready.body_bytes(), self.unacked_bytes)
    }

    /// The position of an unacked message's record, for a transaction's group.
    pub fn unacked_position(&self, sequence: Sequence) -> Option<Position> {
        self.unacked.get(&sequence).map(|unacked| unacked.entry.position)
    }

    /// The consumers, in no order that means something.
    pub fn consumers(&self) -> impl Iterator<Item = &Consumer> {
        self.consumers.iter()
    }

    /// How many consumers there are.
    pub fn consumer_count(&self) -> usize {
        self.consumers.len()
    }

    /// Whether a message that came now would be delivered at once.
    pub fn can_deliver(&self) -> bool {
        self.consumers.is_any_ready()
    }

    /// The next place that will be given out.
    pub fn next_sequence(&self) -> Sequence {
        self.next_sequence
    }

    /// One more than the highest place ever delivered.
    pub fn delivered_below(&self) -> Sequence {
        self.delivered_below
    }

    /// All places not settled whose message has a record or will have one, in order: what a checkpoint keeps.
    pub fn live(&self) -> Vec<Sequence> {
        let stored = |entry: &&Entry| entry.position.is_some();
        let mut live: Vec<Sequence> = self.ready.iter().filter(stored).map(|entry| entry.sequence).collect();
        let unacked = self.unacked.values().map(|unacked| &unacked.entry);
        live.extend(unacked.filter(stored).map(|entry| entry.sequence));
        live.extend(&self.reserved);
        live.sort_unstable();
        live
    }

    /// Gives back what unacked messages take of their channels' shared credit: nobody will settle them in a deleted queue.
    pub fn give_back_credit(&self) {
        let holders = self.unacked.values().filter_map(|unacked| unacked.holder.as_ref());
        holders.for_each(|(_, _, credit)| credit.give_back());
    }

    /// The records of all messages, ready and unacked: what goes with a deleted queue.
    pub fn positions(&self) -> Vec<Position> {
        let ready = self.ready.iter().map(|entry| entry.position);
        let unacked = self.unacked.values().map(|unacked| unacked.entry.position);
        ready.chain(unacked).filter(|position| position.is_some()).collect()
    }
}
