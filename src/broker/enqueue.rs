//! One message into several queues: a place in each, one record, then the queues. Shared by publishing, transactions and
//! dead letters.

use super::Broker;
use crate::durability::Durability;
use crate::message::Message;
use crate::name::{Position, QueueId, Sequence};
use crate::outbox::Wakes;
use crate::queue::Queue;
use crate::queue::classic::{Enqueued, Reserved};
use crate::store::Appended;
use crate::store::record::Settled;
use smallvec::SmallVec;
use std::sync::Arc;

/// A place in a queue.
#[derive(Debug)]
struct Place {
    /// The queue's index in the route.
    index: usize,
    queue: QueueId,
    reserved: Reserved,
    /// Whether the queue keeps the message over a restart.
    is_kept: bool,
}

/// A message's places in queues.
#[derive(Debug, Default)]
pub(super) struct Places {
    taken: SmallVec<[Place; 4]>,
    /// The indices of queues that are full.
    full: SmallVec<[usize; 2]>,
    /// A queue is full.
    pub(super) is_rejected: bool,
}

/// As the journal wants them.
type Targets = SmallVec<[(QueueId, Sequence); 4]>;

/// A message with its places in queues, one of those that are enqueued together.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) message: Arc<Message>,
    pub(super) queues: Arc<[Arc<Queue>]>,
    pub(super) places: Places,
}

impl Broker {
    /// Writes messages and settles down as one, as far as a queue keeps them, and enqueues the messages. Returns where the
    /// record ends, if there is one, and whether a queue is full.
    pub(super) fn enqueue_together<'a>(
        &self,
        parts: impl Iterator<Item = &'a Part> + Clone,
        settles: &[(QueueId, &[Settled])],
        wakes: &mut Wakes,
    ) -> (Option<Position>, bool) {
        let kept = parts.clone().filter(|part| part.places.is_kept());
        let kept: Vec<_> = kept.map(|part| (&*part.message, part.places.targets())).collect();
        let records: Vec<(&Message, &[_])> =
            kept.iter().map(|(message, targets)| (*message, &targets[..])).collect();
        let (mut appended, mut end, mut is_rejected) = (Vec::new().into_iter(), None, false);
        if !records.is_empty() || !settles.is_empty() {
            let (places, at) = self.store.append_transaction(&records, settles);
            (appended, end) = (places.into_iter(), Some(at));
        }
        for Part { message, queues, places } in parts {
            let appended = if places.is_kept() { appended.next() } else { None };
            is_rejected |= places.enqueue(queues, appended, message, wakes);
        }
        (end, is_rejected)
    }
}

impl Places {
    /// Takes a place in each queue that keeps the message.
    pub(super) fn reserve(queues: &[Arc<Queue>], message: &Message) -> Self {
        Self::reserve_where(queues, message, |queue| queue.keeps(message))
    }

    /// Takes a place in each queue, so that it is known beforehand whether all of them take the message.
    pub(super) fn reserve_in_all(queues: &[Arc<Queue>], message: &Message) -> Self {
        Self::reserve_where(queues, message, |_| true)
    }

    /// Takes a place in each durable queue: for messages that come together, or transient ones would stand behind the
    /// persistent ones.
    pub(super) fn reserve_in_order(queues: &[Arc<Queue>], message: &Message) -> Self {
        Self::reserve_where(queues, message, Queue::is_durable)
    }

    fn reserve_where(queues: &[Arc<Queue>], message: &Message, which: impl Fn(&Queue) -> bool) -> Self {
        let mut places = Self::default();
        for (index, queue) in queues.iter().enumerate().filter(|(_, queue)| which(queue)) {
            match queue.reserve(message) {
                Ok(Some(reserved)) => {
                    places.is_rejected |= reserved.is_rejected;
                    let (queue, is_kept) = (queue.definition.id, queue.keeps(message));
                    places.taken.push(Place { index, queue, reserved, is_kept });
                }
                // Deleted meanwhile.
                Ok(None) => {}
                Err(_) => {
                    places.is_rejected = true;
                    places.full.push(index);
                }
            }
        }
        places
    }

    /// Gives all places back.
    pub(super) fn release(self, queues: &[Arc<Queue>]) {
        self.taken.iter().for_each(|place| queues[place.index].release(place.reserved));
    }

    /// Whether the message needs a record.
    pub(super) fn is_kept(&self) -> bool {
        self.kept().next().is_some()
    }

    fn kept(&self) -> impl Iterator<Item = &Place> {
        self.taken.iter().filter(|place| place.is_kept)
    }

    /// What the most careful of the queues asks for.
    pub(super) fn strictest(&self, queues: &[Arc<Queue>]) -> Durability {
        self.kept().map(|place| queues[place.index].durability()).min().unwrap_or_default()
    }

    pub(super) fn targets(&self) -> Targets {
        self.kept().map(|place| (place.queue, place.reserved.sequence)).collect()
    }

    /// Enqueues the message in all queues, with the record that was appended for those that keep it. Returns whether a
    /// queue is full.
    pub(super) fn enqueue(
        &self,
        queues: &[Arc<Queue>],
        appended: Option<Appended>,
        message: &Arc<Message>,
        wakes: &mut Wakes,
    ) -> bool {
        let mut is_rejected = self.is_rejected;
        let mut taken = self.taken.iter().peekable();
        for (index, queue) in queues.iter().enumerate() {
            match taken.next_if(|place| place.index == index) {
                Some(place) => {
                    let appended = appended.filter(|_| place.is_kept);
                    queue.enqueue_reserved(place.reserved, appended, message, wakes);
                }
                None if queue.keeps(message) || self.full.contains(&index) => {} // full, or deleted meanwhile
                None => is_rejected |= queue.publish(message, wakes) == Enqueued::Rejected,
            }
        }
        is_rejected
    }
}
