//! A connection's mailbox: the only hand-off between tasks.
//!
//! Whoever has something for a connection pushes an event and puts the outbox into its [`Wakes`]; a driver wakes the
//! outboxes it collected once per read batch. The connection's driver alone takes events out.

use crate::durability::Point;
use crate::event::Event;
use crate::name::ConnectionId;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::Notify;

/// Above this many waiting bytes the connection's consumers are not served.
const BYTES_MAX: usize = 1024 * 1024;

/// A connection's mailbox. Lock order: queue → outbox.
#[derive(Debug)]
pub struct Outbox {
    /// Whose it is.
    pub connection: ConnectionId,
    mail: Mutex<Mail>,
    bytes: AtomicUsize,
    is_full: AtomicBool,
    is_woken: AtomicBool,
    has_close: AtomicBool,
    notify: Notify,
}

/// What waits in an outbox.
#[derive(Debug, Default)]
struct Mail {
    events: VecDeque<Event>,
    /// It was full, and its consumers are not yet served again.
    is_behind: bool,
    /// How often it has caught up.
    rounds: u64,
    /// Who gives way until it has caught up.
    giving_way: Vec<Arc<Outbox>>,
}

/// What [`Outbox::push`] says of the room that is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// There is room for more.
    Left,
    /// The limit is crossed: serve no more messages until the driver says there is room again.
    Full,
}

impl Outbox {
    /// An empty mailbox.
    pub fn new(connection: ConnectionId) -> Self {
        Self {
            connection,
            mail: Mutex::default(),
            bytes: AtomicUsize::new(0),
            is_full: AtomicBool::new(false),
            is_woken: AtomicBool::new(false),
            has_close: AtomicBool::new(false),
            notify: Notify::new(),
        }
    }

    /// Appends an event; the caller sees to the wake.
    pub fn push(&self, event: Event) -> Room {
        let bytes = event.memory_bytes();
        if matches!(event, Event::Close(_)) {
            self.has_close.store(true, Ordering::Relaxed);
        }
        let mut mail = self.mail.lock();
        mail.events.push_back(event);
        let waiting = self.bytes.load(Ordering::Relaxed) + bytes;
        self.bytes.store(waiting, Ordering::Relaxed);
        if waiting < BYTES_MAX {
            return Room::Left;
        }
        mail.is_behind = true;
        self.is_full.store(true, Ordering::Relaxed);
        Room::Full
    }

    /// Appends an event and wakes the driver: for the rare events outside a read batch.
    pub fn push_and_wake(&self, event: Event) {
        self.push(event);
        self.wake();
    }

    /// Wakes the driver.
    pub fn wake(&self) {
        // Sees what was pushed by those who relied on this wake.
        self.is_woken.swap(false, Ordering::AcqRel);
        self.notify.notify_one();
    }

    /// Takes all events into `into`, which must be empty. Returns whether the outbox had been full.
    pub fn drain(&self, into: &mut VecDeque<Event>) -> bool {
        debug_assert!(into.is_empty(), "events of the last drain were handled");
        let mut mail = self.mail.lock();
        std::mem::swap(&mut mail.events, into);
        self.bytes.store(0, Ordering::Relaxed);
        self.is_full.swap(false, Ordering::Relaxed)
    }

    /// What was in it is written: its consumers can be served again. Who gave way is to be woken once they are.
    pub fn caught_up(&self) -> Vec<Arc<Outbox>> {
        let mut mail = self.mail.lock();
        mail.is_behind = false;
        mail.rounds += 1;
        std::mem::take(&mut mail.giving_way)
    }

    /// How often it has caught up so far, if it was full and has not caught up since. A `waiter` is woken once it has.
    pub fn behind(&self, waiter: Option<&Arc<Outbox>>) -> Option<u64> {
        let mut mail = self.mail.lock();
        if mail.is_behind {
            mail.giving_way.extend(waiter.cloned());
        }
        mail.is_behind.then_some(mail.rounds)
    }

    /// Whether the connection was told to close: that counts also while its client reads nothing.
    pub fn has_close(&self) -> bool {
        self.has_close.load(Ordering::Relaxed)
    }

    /// How many bytes wait, about.
    pub fn waiting_bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Waits until someone wakes the driver.
    pub async fn woken(&self) {
        self.notify.notified().await;
    }
}

impl crate::store::SyncWaiter for Outbox {
    fn reached(&self, point: Point) {
        self.push_and_wake(Event::Reached(point));
    }
}

/// The outboxes to wake at the end of a read batch, each once.
#[derive(Debug, Default)]
pub struct Wakes {
    outboxes: Vec<Arc<Outbox>>,
    /// One that was filled.
    filled: Option<Arc<Outbox>>,
}

impl Wakes {
    /// Remembers to wake `outbox`.
    pub fn add(&mut self, outbox: &Arc<Outbox>) {
        // Swapped by one waker at a time: a second batch that finds it set relies on the first one's wake to come.
        if !outbox.is_woken.swap(true, Ordering::AcqRel) {
            self.outboxes.push(Arc::clone(outbox));
        }
    }

    /// Remembers that `outbox` is full now.
    pub fn note_full(&mut self, outbox: &Arc<Outbox>) {
        self.filled.get_or_insert_with(|| Arc::clone(outbox));
    }

    /// One that became full since this was asked before.
    pub fn take_filled(&mut self) -> Option<Arc<Outbox>> {
        self.filled.take()
    }

    /// Wakes them all.
    pub fn flush(&mut self) {
        for outbox in self.outboxes.drain(..) {
            outbox.wake();
        }
    }
}

impl Drop for Wakes {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Delivery;
    use crate::message::{Message, Properties};
    use crate::name::{ChannelId, ConsumerId};

    fn outbox(id: u64) -> Arc<Outbox> {
        Arc::new(Outbox::new(ConnectionId(id)))
    }

    fn fill(outbox: &Outbox) {
        let body = vec![0; BYTES_MAX / 4];
        let message = Arc::new(Message::new("".into(), b"", &[0, 0], &Properties::default(), &[&body]));
        let (channel, consumer) = (ChannelId(1), ConsumerId(1));
        let deliver = || {
            Event::Deliver(Delivery {
                channel,
                consumer,
                source: None,
                redelivered: false,
                message: message.clone(),
            })
        };
        while outbox.push(deliver()) == Room::Left {}
    }

    #[test]
    fn an_outbox_that_was_full_is_behind_until_its_consumers_are_served_again() {
        let (consumer, publisher, other) = (outbox(1), outbox(2), outbox(3));
        assert_eq!(consumer.behind(None), None);
        fill(&consumer);
        assert_eq!(consumer.behind(Some(&publisher)), Some(0));
        assert!(consumer.drain(&mut VecDeque::new()), "it had been full");
        assert_eq!(consumer.behind(None), Some(0), "emptied is not served");
        assert_eq!(consumer.behind(Some(&other)), Some(0));
        let woken = consumer.caught_up();
        assert!(Arc::ptr_eq(&woken[0], &publisher) && Arc::ptr_eq(&woken[1], &other) && woken.len() == 2);
        assert_eq!(consumer.behind(None), None);
        fill(&consumer);
        assert_eq!(consumer.behind(None), Some(1));
    }
}
