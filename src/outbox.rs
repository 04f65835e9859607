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
    events: Mutex<VecDeque<Event>>,
    bytes: AtomicUsize,
    is_full: AtomicBool,
    is_woken: AtomicBool,
    has_close: AtomicBool,
    notify: Notify,
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
            events: Mutex::default(),
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
        let mut events = self.events.lock();
        events.push_back(event);
        let waiting = self.bytes.load(Ordering::Relaxed) + bytes;
        self.bytes.store(waiting, Ordering::Relaxed);
        if waiting < BYTES_MAX {
            return Room::Left;
        }
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
        let mut events = self.events.lock();
        std::mem::swap(&mut *events, into);
        self.bytes.store(0, Ordering::Relaxed);
        self.is_full.swap(false, Ordering::Relaxed)
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
}

impl Wakes {
    /// Remembers to wake `outbox`.
    pub fn add(&mut self, outbox: &Arc<Outbox>) {
        // Swapped by one waker at a time: a second batch that finds it set relies on the first one's wake to come.
        if !outbox.is_woken.swap(true, Ordering::AcqRel) {
            self.outboxes.push(Arc::clone(outbox));
        }
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
