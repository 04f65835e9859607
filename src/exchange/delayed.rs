//! The delayed exchange: it routes as the type that it names, once the message's `x-delay` is over. PURE.
//!
//! How a message waits is the broker's business: here is only what routes it then.

use super::{Error, ExchangeType, Router, find};
use crate::arguments::{self, Table};

const TYPE: &str = "x-delayed-type";

#[derive(Debug)]
pub(super) struct Delayed;

/// The type it routes as; none where the arguments name none, or this one.
fn inner(arguments: &Table) -> Option<&'static dyn ExchangeType> {
    let name = arguments::get(arguments, TYPE).and_then(arguments::as_text)?;
    find(name).filter(|kind| kind.name() != Delayed.name())
}

impl ExchangeType for Delayed {
    fn name(&self) -> &'static str {
        "x-delayed-message"
    }

    fn description(&self) -> &'static str {
        "Routes as its x-delayed-type does, after the milliseconds in the message's header x-delay"
    }

    fn check_arguments(&self, arguments: &Table) -> Result<(), Error> {
        if arguments::get(arguments, TYPE).and_then(arguments::as_text) == Some(self.name()) {
            return Err(Error::DelayedTypeItself);
        }
        inner(arguments).ok_or(Error::DelayedType)?.check_arguments(arguments)
    }

    fn delays(&self, _arguments: &Table) -> bool {
        true
    }

    fn new_router(&self, arguments: &Table) -> Box<dyn Router> {
        // What was declared here names a type; what comes from elsewhere may not.
        inner(arguments).unwrap_or(&super::direct::Direct).new_router(arguments)
    }
}
