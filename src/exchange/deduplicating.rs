//! The exchange that lets each message through once, to all that is bound to it. PURE.
//!
//! Every other type does that, too, with `x-message-deduplication` = true; this one is what RabbitMQ's users have as a
//! plugin. What it has seen is the broker's to keep.

use super::{ExchangeType, Router};
use crate::arguments::Table;
use crate::dedup;

#[derive(Debug)]
pub(super) struct Deduplicating;

impl ExchangeType for Deduplicating {
    fn name(&self) -> &'static str {
        "x-message-deduplication"
    }

    fn description(&self) -> &'static str {
        "Routes each message once to every bound destination, by the header x-deduplication-header"
    }

    fn window(&self, arguments: &Table) -> Option<dedup::Rules> {
        Some(dedup::Rules::always(arguments))
    }

    fn new_router(&self, arguments: &Table) -> Box<dyn Router> {
        super::fanout::Fanout.new_router(arguments)
    }
}
