//! Maintenance: a node that is drained serves no clients until it is revived or started again.

use super::Broker;
use super::connections::Connection;
use crate::event::Event;
use std::sync::atomic::Ordering::SeqCst;
use tracing::info;

/// What RabbitMQ tells clients then, too; the code is 320.
const REASON: &str = "broker forced connection closure with reason 'Node was put into maintenance mode'";

impl Broker {
    /// Whether the node is in maintenance: no connection is to be taken.
    pub fn is_drained(&self) -> bool {
        self.is_drained.load(SeqCst)
    }

    /// Takes no new connections from now on, and asks those there are to close.
    pub fn drain(&self) {
        self.is_drained.store(true, SeqCst);
        info!(
            connections = self.connections.len(),
            "the node is drained: it serves no clients until it is revived"
        );
        self.connections.broadcast(&Event::Close(REASON.to_owned()));
    }

    /// Takes connections again.
    pub fn revive(&self) {
        if self.is_drained.swap(false, SeqCst) {
            info!("the node is revived: it serves clients");
        }
    }

    /// Of a connection that has just been registered: it was let in before, and [`Broker::drain`] may not have seen it.
    pub(super) fn close_if_drained(&self, connection: &Connection) {
        if self.is_drained() {
            connection.outbox.push_and_wake(Event::Close(REASON.to_owned()));
        }
    }
}
