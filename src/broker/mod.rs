//! The broker: the operations every protocol and the HTTP API share. It knows no frame and no JSON.
//!
//! One file per kind of operation: [`publish`], [`consume`], [`declare`] (exchanges, queues, bindings), [`admin`]
//! (vhosts, users, permissions), [`limits`], `policies`, [`parameters`], [`connections`], `replies` (direct reply-to). Topology is changed by `change` alone.
//! An operation that must survive a restart returns a [`Durable`]: answer its client once that position is synced.

pub mod admin;
pub mod alarms;
mod bindings;
mod change;
pub mod connections;
pub mod consume;
pub mod counters;
mod dead_letters;
pub mod declare;
mod drain;
mod enqueue;
pub mod error;
pub mod events;
mod history;
pub mod limits;
pub mod parameters;
mod policies;
pub mod policy;
pub mod publish;
mod queues;
mod quorum;
mod replies;
pub mod rules;
pub mod session;
mod special;
mod start;
pub mod topology;
mod trace;
mod vhost;

pub use counters::Counters;
pub use error::{Error, Resource};
pub use publish::{Committed, Outcome};
pub use session::Session;
pub use start::{Defaults, StartError};
pub use vhost::Vhost;

use crate::auth;
use crate::auth::users::Users;
use crate::config::rules::Rules;
use crate::durability::Level;
use crate::name::{ConnectionId, ConsumerId, Position, QueueId, Sequence, VhostName};
use crate::outbox::Wakes;
use crate::queue::classic::Figures;
use crate::queue::{AllQueues, Deadlines, Queue, Services};
use crate::store::index::{IndexEntry, QueueImage, Relocated};
use crate::store::{Queues, Record, Store};
use crate::telemetry::Tracer;
use crate::time::{self, Millis};
use dashmap::DashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tracing::info;

/// A result that is to be told only when the journal is synced up to a position.
#[derive(Clone, Debug)]
#[must_use]
pub struct Durable<T> {
    /// The result.
    pub value: T,
    /// Where its record ends; [`Position::NONE`] when nothing durable changed.
    pub at: Position,
}

impl<T> Durable<T> {
    fn new(value: T, at: Position) -> Self {
        Self { value, at }
    }

    /// A result that left nothing to wait for.
    fn at_once(value: T) -> Self {
        Self { value, at: Position::NONE }
    }
}

/// The node.
#[derive(Debug)]
pub struct Broker {
    /// `warren@host`.
    pub node: String,
    configured_cluster_name: String,
    /// When the node started.
    pub started_at: Millis,
    /// The users and their permissions, to read.
    pub users: Arc<Users>,
    /// Where everything durable goes.
    pub store: Store,
    /// What it did.
    pub counters: Arc<Counters>,
    /// Makes spans of traced messages.
    pub tracer: Tracer,
    /// Memory and disk.
    pub alarms: alarms::Alarms,
    /// The open connections.
    pub connections: connections::Connections,
    /// What it publishes itself; somebody must run [`Broker::publish_events`].
    pub events: events::Events,
    /// Where events are published.
    event_vhost: VhostName,
    has_log_exchange: bool,
    /// When queues want to be woken; somebody must run it.
    pub deadlines: Arc<Deadlines>,
    /// What all queues share.
    pub services: Arc<Services>,
    /// Moves dead letters; none once it has stopped.
    mover: parking_lot::Mutex<Option<std::thread::JoinHandle<()>>>,
    authenticator: auth::Chain,
    vhosts: DashMap<VhostName, Arc<Vhost>>,
    /// Serialises changes of vhosts, users and permissions.
    admin: parking_lot::Mutex<()>,
    queues: DashMap<QueueId, Arc<Queue>>,
    consumers: DashMap<ConsumerId, consume::Registered>,
    open_by_user: limits::Users,
    open: Arc<limits::Open>,
    rules: parking_lot::RwLock<Arc<Rules>>,
    /// Held while an exchange is counted in, where there is a limit.
    counting_exchanges: parking_lot::Mutex<()>,
    parameters: parking_lot::RwLock<parameters::Parameters>,
    replies: DashMap<String, replies::ReplyConsumer>,
    /// In maintenance.
    is_drained: AtomicBool,
    next_queue_id: AtomicU64,
    next_consumer_id: AtomicU64,
    next_connection_id: AtomicU64,
}

impl Broker {
    /// The vhost, if it exists.
    pub fn vhost(&self, name: &VhostName) -> Option<Arc<Vhost>> {
        self.vhosts.get(name).map(|vhost| Arc::clone(&vhost))
    }

    /// All vhosts, by name.
    pub fn vhosts(&self) -> Vec<Arc<Vhost>> {
        let mut vhosts: Vec<_> = self.vhosts.iter().map(|vhost| Arc::clone(&vhost)).collect();
        vhosts.sort_by(|left, right| left.name.cmp(&right.name));
        vhosts
    }

    /// The queue of this id, wherever it is.
    pub fn queue(&self, id: QueueId) -> Option<Arc<Queue>> {
        self.queues.get(&id).map(|queue| Arc::clone(&queue))
    }

    fn next_queue_id(&self) -> QueueId {
        QueueId(self.next_queue_id.fetch_add(1, Ordering::Relaxed))
    }

    fn next_consumer_id(&self) -> ConsumerId {
        ConsumerId(self.next_consumer_id.fetch_add(1, Ordering::Relaxed))
    }

    /// An id for a new connection.
    pub fn next_connection_id(&self) -> ConnectionId {
        ConnectionId(self.next_connection_id.fetch_add(1, Ordering::Relaxed))
    }

    /// Wakes queues when their time comes, and deletes those that nobody uses, for ever.
    pub async fn mind_deadlines(&self) {
        loop {
            let queue = self.deadlines.due().await;
            // Many may be due at once: others have their turn in between.
            tokio::task::yield_now().await;
            let mut wakes = Wakes::default();
            if queue.expire(&mut wakes) {
                let now = time::unix_ms();
                let is_over = |figures: &Figures| figures.lease_until.is_some_and(|until| until <= now);
                let unused = |figures: &Figures| if is_over(figures) { Ok(()) } else { Err(()) };
                if let Ok(deleted) = self.remove_queue(&queue, &mut wakes, &events::Actor::default(), unused)
                    && deleted.value.is_some()
                {
                    info!(queue = %queue.name, vhost = %queue.vhost, "queue expired");
                }
            }
        }
    }

    /// Waits until a result may be told.
    ///
    /// # Errors
    /// [`Error::Journal`] when it never may.
    pub async fn settled<T>(&self, durable: Durable<T>) -> Result<T, Error> {
        if durable.at.is_some() {
            self.store.wait(Level::SyncedButLarge.at(durable.at)).await?;
        }
        Ok(durable.value)
    }
}

impl AllQueues for Broker {
    fn all_queues(&self) -> Vec<Arc<Queue>> {
        // Collected first: a queue's lock is not taken while a shard of the map is held.
        self.queues.iter().map(|queue| Arc::clone(&queue)).collect()
    }
}

impl Queues for Broker {
    fn visit_changed(&self, visit: &mut dyn FnMut(QueueId, QueueImage)) {
        for queue in self.all_queues().into_iter().filter(|queue| queue.is_durable()) {
            if let Some(image) = queue.take_image() {
                visit(queue.definition.id, image);
            }
        }
    }

    fn visit_between(&self, from: Position, to: Position, visit: &mut dyn FnMut(QueueId, IndexEntry)) {
        for queue in self.all_queues() {
            queue.records_between(from, to).into_iter().for_each(|entry| visit(queue.definition.id, entry));
        }
    }

    fn relocate(&self, queue: QueueId, sequence: Sequence, from: Position, to: Record) -> Relocated {
        let queue = self.queue(queue);
        queue.map_or(Relocated::Refused, |queue| queue.relocate(sequence, from, to))
    }

    fn tidy(&self, queue: QueueId) {
        if let Some(queue) = self.queue(queue) {
            queue.tidy();
        }
    }
}
