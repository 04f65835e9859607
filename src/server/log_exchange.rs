//! Log lines as messages: with `log.exchange` they go to `amq.rabbitmq.log`, by their level, too.

use crate::broker::Broker;
use crate::broker::events::{Fields, LOG_EXCHANGE};
use crate::name::VhostName;
use std::cell::Cell;
use std::fmt::{Debug, Write};
use std::sync::{OnceLock, Weak};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Where log lines go once a broker is there.
static TARGET: OnceLock<(Weak<Broker>, VhostName)> = OnceLock::new();

thread_local! {
    /// This thread tells something just now: what that logs is not told.
    static IS_TELLING: Cell<bool> = const { Cell::new(false) };
}

/// From now on log lines go to that broker, too. The first one that asks has them.
pub(super) fn begin(broker: Weak<Broker>, vhost: VhostName) {
    // A second broker in the same process has no log of its own.
    let _ = TARGET.set((broker, vhost));
}

/// A layer that tells log lines to the broker.
#[derive(Debug, Default)]
pub struct LogExchange;

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
        let Some((broker, vhost)) = TARGET.get() else { return };
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
