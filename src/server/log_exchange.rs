//! Log lines as messages: with `log.exchange` they go to `amq.rabbitmq.log`, by their level, too.

use crate::broker::Broker;
use crate::broker::events::{Fields, LOG_EXCHANGE};
use crate::name::VhostName;
use std::cell::Cell;
use std::fmt::{Debug, Write};
use std::sync::{Arc, OnceLock, Weak};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

thread_local! {
    /// This thread tells something just now: what that logs is not told.
    static IS_TELLING: Cell<bool> = const { Cell::new(false) };
}

/// A layer that tells log lines to a broker, once there is one.
#[derive(Clone, Debug, Default)]
pub struct LogExchange {
    target: Arc<OnceLock<(Weak<Broker>, VhostName)>>,
}

impl LogExchange {
    /// From now on log lines go to that broker, too.
    pub fn begin(&self, server: &super::Server) {
        // Only the first broker that asks has them.
        let _ = self.target.set((Arc::downgrade(&server.broker), server.broker.event_vhost().clone()));
    }
}

#[derive(Default)]
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // A text takes everything.
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

fn routing_key(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "info",
        Level::DEBUG | Level::TRACE => "debug",
    }
}

impl<S: Subscriber> Layer<S> for LogExchange {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let Some((broker, vhost)) = self.target.get() else { return };
        let Some(broker) = broker.upgrade() else { return };
        if IS_TELLING.replace(true) {
            return;
        }
        let mut line = Line::default();
        event.record(&mut line);
        let level = routing_key(*event.metadata().level());
        let fields = Fields::default().text("level", level).text("node", &broker.node);
        broker.publish_own(vhost, LOG_EXCHANGE, level, fields, line.0.as_bytes());
        IS_TELLING.set(false);
    }
}
