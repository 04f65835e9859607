//! Moves dead letters: out of the queue they died in, into those that the dead-letter exchange leads to. Likewise delayed
//! messages whose time has come, on from the exchange that delayed them.
//!
//! A thread of its own, because messages may have to be read first, and because nobody who holds a queue's lock may take
//! another's. A durable message leaves its queue in the same group of the journal in which it enters the others, so that
//! a crash loses none and doubles none. Dead letters of a queue are moved in the order in which they died.

#[cfg(test)]
mod tests;

use super::Broker;
use super::enqueue::{Part, Places};
use super::session::seed;
use super::special::{Parcel, Special};
use super::topology::ExchangeCounters;
use crate::dead_letter::{self, Cycles, DeadLetters, Death, Reason, Strategy};
use crate::definition::Role;
use crate::delay;
use crate::exchange;
use crate::exchange::extra_keys::extra_keys;
use crate::message::Message;
use crate::name::{ExchangeName, QueueName};
use crate::outbox::Wakes;
use crate::queue::Queue;
use crate::queue::state::Dead;
use crate::time::{self, Millis};
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::thread;
use tracing::{debug, error};

/// How many dead letters are moved together, at most.
const LETTERS_MAX: usize = 256;
/// How many bytes of bodies are moved together, about.
const BYTES_MAX: u64 = 1 << 20;

/// A dead letter, ready to be moved.
struct Letter {
    dead: Dead,
    /// As it goes into its queues, and as it waits where it is delayed.
    parts: Vec<Part>,
}

/// Where a dead letter goes.
#[derive(Default)]
struct LetterRoute {
    parts: Vec<Part>,
    /// None if its exchange is not there.
    passed: Option<Passed>,
}

/// The exchanges that a dead letter passes.
struct Passed {
    /// Of the first one.
    counters: Arc<ExchangeCounters>,
    /// How many queues it reaches.
    count: usize,
    /// Those that keep it in their histories.
    kept_by: Vec<ExchangeName>,
}

/// What became of the first dead letters of a queue.
enum Moved {
    /// They are gone; there may be more.
    Some,
    /// There are none.
    Nothing,
    /// None of them could go anywhere.
    Stuck,
}

impl Broker {
    /// Starts the thread. It ends with [`Broker::stop_moving`], or when the broker is gone.
    pub(super) fn start_mover(self: &Arc<Self>) -> io::Result<()> {
        let (broker, dead_letters) = (Arc::downgrade(self), Arc::clone(&self.services.dead_letters));
        let run = move || {
            while let Some(queue) = dead_letters.take() {
                let Some(broker) = broker.upgrade() else { return };
                broker.move_all(&queue);
            }
        };
        *self.mover.lock() = Some(thread::Builder::new().name("dead letters".into()).spawn(run)?);
        Ok(())
    }

    /// Moves what can be moved, and ends. Blocks. Nobody may let messages die afterwards.
    pub fn stop_moving(&self) {
        self.services.dead_letters.end();
        let mover = self.mover.lock().take();
        if let Some(mover) = mover.filter(|mover| mover.thread().id() != thread::current().id()) {
            // One that panicked has said so.
            let _ = mover.join();
        }
    }

    /// Moves what a queue has, or some of it when others wait for their turn.
    fn move_all(&self, queue: &Weak<Queue>) {
        let Some(queue) = queue.upgrade() else { return };
        loop {
            let mut wakes = Wakes::default();
            match self.move_some(&queue, &mut wakes) {
                Moved::Some if self.services.dead_letters.have_others() => {
                    return self.services.dead_letters.add(Arc::downgrade(&queue));
                }
                Moved::Some => {}
                Moved::Nothing => return,
                Moved::Stuck => return queue.rest(),
            }
        }
    }

    fn move_some(&self, queue: &Arc<Queue>, wakes: &mut Wakes) -> Moved {
        let mut dead = queue.dead(LETTERS_MAX, BYTES_MAX);
        if dead.is_empty() {
            return Moved::Nothing;
        }
        if let Err(error) = self.read_missing(queue, &mut dead, wakes) {
            error!(queue = %queue.name, vhost = %queue.vhost, %error, "dead letters cannot be read for now");
            return Moved::Stuck;
        }
        // No checkpoint sees a place whose record may be older than it.
        let _hold = self.store.hold_checkpoints();
        let (letters, unwanted) = self.sort(queue, dead);
        if letters.is_empty() && unwanted.is_empty() {
            return Moved::Stuck;
        }
        let sequences: Vec<_> = unwanted.iter().map(|dead| dead.entry.index.sequence).collect();
        queue.bury(&sequences, wakes);
        self.deliver_letters(queue, letters, wakes);
        Moved::Some
    }

    /// Reads the messages that are not in memory. One that is lost is said to be, and leaves.
    fn read_missing(
        &self,
        queue: &Queue,
        dead: &mut Vec<Dead>,
        wakes: &mut Wakes,
    ) -> Result<(), crate::store::ReadError> {
        let missing: Vec<usize> = dead
            .iter()
            .enumerate()
            .filter(|(_, dead)| dead.entry.message.is_none())
            .map(|(at, _)| at)
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let index = |at: &usize| dead[*at].entry.index;
        let records: Vec<_> =
            missing.iter().map(index).map(|index| (index.position, index.record_bytes)).collect();
        let mut read = vec![None; missing.len()];
        self.store.read(&records, &mut |at, message| read[at] = message)?;
        for (at, message) in missing.iter().zip(read) {
            dead[*at].entry.message = message;
        }
        // One whose record moved meanwhile is read next time; of the others nothing is left.
        let unread = dead.extract_if(.., |dead| dead.entry.message.is_none());
        let lost: Vec<_> = unread.filter(|dead| !queue.has_moved(dead)).collect();
        for dead in &lost {
            let index = dead.entry.index;
            error!(queue = %queue.name, vhost = %queue.vhost, sequence = %index.sequence, position = index.position.0,
                "a dead letter cannot be read from the journal and is lost");
        }
        let sequences: Vec<_> = lost.iter().map(|dead| dead.entry.index.sequence).collect();
        queue.bury(&sequences, wakes);
        Ok(())
    }

    /// Finds where each goes and takes its places: those that go somewhere, and those that nobody wants. The others stay.
    fn sort(&self, queue: &Queue, dead: Vec<Dead>) -> (Vec<Letter>, Vec<Dead>) {
        let (mut letters, mut unwanted) = (Vec::new(), Vec::new());
        let now = time::unix_ms();
        let Some(way) = Way::out_of(queue) else { return (letters, dead) };
        for dead in dead {
            let Some(message) = &dead.entry.message else { continue };
            let addressed = way.address(queue, message, dead.reason, now);
            let LetterRoute { parts, passed } = self.route_letter(queue, &addressed);
            let reaches = parts.iter().any(|part| !part.queues.is_empty());
            let is_rejected = parts.iter().any(|part| part.places.is_rejected);
            if way.strategy() == Strategy::AtLeastOnce && (!reaches || is_rejected) {
                parts.into_iter().for_each(|part| part.places.release(&part.queues));
                continue;
            }
            // One that stays is routed again: it has passed nothing.
            if let Some(passed) = passed {
                self.note_passed(queue, &addressed, &passed);
            }
            if !reaches {
                debug!(queue = %queue.name, vhost = %queue.vhost, exchange = %addressed.start,
                    "a dead letter reaches no queue and is dropped");
                unwanted.push(dead);
            } else {
                letters.push(Letter { dead, parts });
            }
        }
        (letters, unwanted)
    }

    /// The queues that a dead letter reaches, but those that it came from by itself, with its places there.
    fn route_letter(&self, source: &Queue, addressed: &Addressed) -> LetterRoute {
        let Addressed { start, message, cycles } = addressed;
        let Some(vhost) = self.vhost(&source.vhost) else { return LetterRoute::default() };
        let properties = message.properties();
        // A header that is no list of keys was refused when the message was published.
        let keys = extra_keys(&properties).map(|extra| extra.keys).unwrap_or_default();
        let (parcels, passed) = {
            let topology = vhost.topology();
            let Some(exchange) = topology.exchange(start.as_str()) else { return LetterRoute::default() };
            let publish =
                exchange::Publish::new(message.routing_key(), &keys, &properties).with_random(seed());
            let routed = topology.route(start, &publish);
            let wanted = |name: &&QueueName| {
                let is_cycle = cycles.has(name);
                if is_cycle {
                    debug!(queue = %name, vhost = %source.vhost, "a dead letter would go round and is dropped");
                }
                !is_cycle
            };
            let names = routed.queues.iter().filter(wanted);
            let queues: Arc<[_]> = names.filter_map(|name| topology.queue(name.as_str()).cloned()).collect();
            let parcels = Special::delaying(&topology, &routed.delayed_by).parcels(message, &queues);
            let counters = Arc::clone(&exchange.counters);
            (parcels, Passed { counters, count: queues.len(), kept_by: routed.kept_by })
        };
        let part = |(message, queues): Parcel| {
            let places = Places::reserve_in_all(&queues, &message);
            Part { message, queues, places }
        };
        LetterRoute { parts: parcels.into_iter().flatten().map(part).collect(), passed: Some(passed) }
    }

    /// The exchanges count and keep a message that leaves its queue.
    fn note_passed(&self, source: &Queue, addressed: &Addressed, passed: &Passed) {
        passed.counters.count(passed.count, false);
        if !passed.kept_by.is_empty()
            && let Some(vhost) = self.vhost(&source.vhost)
        {
            vhost.topology().keep(&passed.kept_by, &addressed.message);
        }
    }

    /// Out of their queue and into the others, in one group of the journal.
    fn deliver_letters(&self, queue: &Queue, letters: Vec<Letter>, wakes: &mut Wakes) {
        if letters.is_empty() {
            return;
        }
        let dead: Vec<Dead> = letters.iter().map(|letter| letter.dead.clone()).collect();
        if queue.dead_letters().is_some_and(|to| to.strategy == Strategy::AtLeastOnce) {
            let confirmed = &self.counters.dead_letters_confirmed[queue.kind() as usize];
            confirmed.fetch_add(letters.len() as u64, Ordering::Relaxed);
        }
        let settled = queue.bury_for_transaction(&dead, wakes);
        let settles = [(queue.definition.id, &settled[..])];
        let settles = if settled.is_empty() { &[][..] } else { &settles[..] };
        // Where a full queue does not take one, it is gone: whoever wants more says at-least-once.
        self.enqueue_together(letters.iter().flat_map(|letter| &letter.parts), settles, wakes);
    }
}

/// A message on its way.
struct Addressed {
    /// The exchange that routes it.
    start: ExchangeName,
    /// As it goes there.
    message: Arc<Message>,
    cycles: Cycles,
}

/// Which way messages go that leave a queue.
enum Way {
    /// To a dead-letter exchange.
    Dead(DeadLetters),
    /// On, from the exchange that delayed them.
    Delayed(ExchangeName),
}

impl Way {
    /// Nothing if they go nowhere: a policy may have taken the exchange away since they died.
    fn out_of(queue: &Queue) -> Option<Self> {
        match &queue.definition.role {
            Role::DelayOf(exchange) => Some(Self::Delayed(exchange.clone())),
            Role::Ordinary | Role::WindowOf(_) => queue.dead_letters().map(Self::Dead),
        }
    }

    fn strategy(&self) -> Strategy {
        match self {
            Self::Dead(to) => to.strategy,
            Self::Delayed(_) => Strategy::AtMostOnce,
        }
    }

    fn address(&self, queue: &Queue, message: &Message, reason: Reason, now: Millis) -> Addressed {
        let (start, (message, cycles)) = match self {
            Self::Dead(to) => {
                let death = Death { reason, queue: &queue.name, now };
                (to.exchange.clone(), dead_letter::dead_letter(message, &death, to))
            }
            // Whoever sent it again has looked at it.
            Self::Delayed(exchange) => (exchange.clone(), (delay::released(message, now), Cycles::default())),
        };
        Addressed { start, message: Arc::new(message), cycles }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop_moving();
    }
}
