//! The open connections: who they are, what they own, how to close them. Protocol-neutral: a driver registers its
//! connection, keeps its figures fresh, and unregisters it.

use super::Broker;
use super::events::{Actor, Fields};
use crate::arguments::Table;
use crate::counts::ChannelCounts;
use crate::event::Event;
use crate::name::{ChannelId, ConnectionId, QueueId, UserName, VhostName};
use crate::outbox::{Outbox, Wakes};
use crate::queue::Queue;
use crate::time::Millis;
use dashmap::DashMap;
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A channel, as people see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Channel {
    pub id: ChannelId,
    pub consumers: usize,
    pub unacked: usize,
    pub unconfirmed: usize,
    pub uncommitted_messages: usize,
    pub uncommitted_acks: usize,
    pub prefetch: u16,
    pub global_prefetch: u32,
    pub is_confirm: bool,
    pub is_transactional: bool,
    pub counts: ChannelCounts,
}

/// What changes while a connection lives.
#[derive(Debug, Default)]
#[allow(missing_docs)]
pub struct Traffic {
    pub received_bytes: AtomicU64,
    pub received_reads: AtomicU64,
    pub sent_bytes: AtomicU64,
    pub sent_writes: AtomicU64,
}

impl Traffic {
    /// Counts a read.
    pub fn received(&self, bytes: usize) {
        self.received_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.received_reads.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a write.
    pub fn sent(&self, bytes: usize) {
        self.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.sent_writes.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a driver says of its connection when it opens.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Opened {
    pub id: ConnectionId,
    pub user: UserName,
    pub vhost: VhostName,
    pub peer: SocketAddr,
    pub local: SocketAddr,
    pub connected_at: Millis,
    /// `AMQP 0-9-1`
    pub protocol: &'static str,
    pub auth_mechanism: String,
    pub channel_max: u16,
    pub frame_max: u32,
    pub heartbeat_s: u16,
    pub client_properties: Table,
    pub user_provided_name: Option<String>,
    pub traffic: Arc<Traffic>,
    pub outbox: Arc<Outbox>,
}

/// An open connection: what its driver said of it, and what changes while it lives.
#[derive(Debug)]
pub struct Connection {
    opened: Opened,
    /// `peer_host:peer_port -> host:port`
    pub name: String,
    /// Whether its input waits for an alarm to end.
    pub is_blocked: AtomicBool,
    /// As of the driver's last batch.
    pub channels: Mutex<Vec<Channel>>,
    /// Its exclusive queues.
    queues: Mutex<Vec<Arc<Queue>>>,
}

impl std::ops::Deref for Connection {
    type Target = Opened;

    fn deref(&self) -> &Opened {
        &self.opened
    }
}

impl Connection {
    /// Who does what is done over it.
    pub fn actor(&self) -> Actor {
        Actor { user: Some(self.user.clone()), connection: Some(self.id) }
    }

    fn name_fields(&self, fields: Fields) -> Fields {
        fields.text("name", &self.name).text("user", self.user.as_str()).text("vhost", self.vhost.as_str())
    }

    /// What an event says of it.
    fn describe(&self, fields: Fields) -> Fields {
        let fields = self.name_fields(fields).text("protocol", self.protocol);
        let fields = fields.text("auth_mechanism", &self.auth_mechanism).flag("ssl", false);
        let fields =
            fields.text("host", &self.local.ip().to_string()).number("port", self.local.port().into());
        let fields = fields.number("channel_max", self.channel_max.into());
        let fields =
            fields.number("frame_max", self.frame_max.into()).number("timeout", self.heartbeat_s.into());
        let fields = fields.number("connected_at", self.connected_at.0);
        fields.table("client_properties", &self.client_properties)
    }
}

/// The open connections.
#[derive(Debug, Default)]
pub struct Connections {
    by_id: DashMap<ConnectionId, Arc<Connection>>,
}

impl Connections {
    /// All, the oldest first.
    pub fn all(&self) -> Vec<Arc<Connection>> {
        let mut all: Vec<_> = self.by_id.iter().map(|connection| Arc::clone(&connection)).collect();
        all.sort_by_key(|connection| connection.id);
        all
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The connection of this id.
    pub fn get(&self, id: ConnectionId) -> Option<Arc<Connection>> {
        self.by_id.get(&id).map(|connection| Arc::clone(&connection))
    }

    /// The connection called `name`.
    pub fn find(&self, name: &str) -> Option<Arc<Connection>> {
        self.by_id.iter().find(|connection| connection.name == name).map(|connection| Arc::clone(&connection))
    }

    /// Asks those that `which` picks to close, with 320 CONNECTION_FORCED and this text.
    pub fn close_where(&self, which: impl Fn(&Connection) -> bool, text: &str) {
        for connection in self.all().iter().filter(|connection| which(connection)) {
            connection.outbox.push_and_wake(Event::Close(text.to_owned()));
        }
    }

    /// Tells every connection.
    pub fn broadcast(&self, event: &Event) {
        for connection in self.all() {
            connection.outbox.push_and_wake(event.clone());
        }
    }

    pub(super) fn own_queue(&self, owner: ConnectionId, queue: &Arc<Queue>) {
        if let Some(connection) = self.get(owner) {
            connection.queues.lock().push(Arc::clone(queue));
        }
    }

    pub(super) fn disown_queue(&self, owner: ConnectionId, queue: QueueId) {
        if let Some(connection) = self.get(owner) {
            connection.queues.lock().retain(|other| other.definition.id != queue);
        }
    }
}

impl Broker {
    /// A channel was opened or closed.
    pub fn channel_churned(&self, connection: &Connection, channel: ChannelId, is_open: bool) {
        let key = if is_open { "channel.created" } else { "channel.closed" };
        self.emit(key, &connection.actor(), |fields| {
            let fields = fields.text("name", &format!("{} ({channel})", connection.name));
            let fields = fields.text("connection", &connection.name).number("number", channel.0.into());
            fields.text("user", connection.user.as_str()).text("vhost", connection.vhost.as_str())
        });
    }

    /// Registers an open connection.
    pub fn connected(&self, opened: Opened) -> Arc<Connection> {
        let connection = Arc::new(Connection {
            name: format!("{} -> {}", opened.peer, opened.local),
            opened,
            is_blocked: AtomicBool::new(false),
            channels: Mutex::default(),
            queues: Mutex::default(),
        });
        self.connections.by_id.insert(connection.id, Arc::clone(&connection));
        self.close_if_drained(&connection);
        self.emit("connection.created", &connection.actor(), |fields| connection.describe(fields));
        self.counters.connections_created.fetch_add(1, Ordering::Relaxed);
        connection
    }

    /// Unregisters a connection and deletes its exclusive queues. Its channels must be released before.
    pub fn disconnected(&self, id: ConnectionId, wakes: &mut Wakes) {
        let Some(connection) = self.connections.get(id) else { return };
        let queues = std::mem::take(&mut *connection.queues.lock());
        for queue in queues {
            let always = |_: &_| Ok::<(), std::convert::Infallible>(());
            let Ok(_) =
                self.remove_queue(&queue, wakes, &connection.actor(), always).map(|deleted| deleted.value);
        }
        self.emit("connection.closed", &connection.actor(), |fields| connection.name_fields(fields));
        // In this order it is missed for a moment, and never counted twice.
        self.connections.by_id.remove(&id);
        self.counters.closed_traffic.add(&connection.traffic);
        self.counters.connections_closed.fetch_add(1, Ordering::Relaxed);
    }
}
