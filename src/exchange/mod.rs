//! Exchange types and the routers that hold their bindings. PURE.
//!
//! An [`ExchangeType`] is a file here and a line in [`TYPES`]; it makes a [`Router`] for each exchange of its type. A
//! router knows the bindings of one exchange only: what lies behind it (other exchanges, alternate exchanges, each queue
//! once) is [`route`]'s business, whether a binding may be made the broker's.

mod destinations;
mod direct;
pub mod extra_keys;
mod fanout;
mod headers;
pub mod route;
mod topic;

pub use destinations::Matches;

use crate::arguments::{self, Table};
use crate::definition::Binding;
use crate::name::BindingKey;
use std::{cell::OnceCell, fmt::Debug};

/// All exchange types, in the order in which they are listed.
pub const TYPES: &[&dyn ExchangeType] = &[&direct::Direct, &fanout::Fanout, &topic::Topic, &headers::Headers];

/// The type called `name`.
pub fn find(name: &str) -> Option<&'static dyn ExchangeType> {
    TYPES.iter().copied().find(|kind| kind.name() == name)
}

/// A type of exchange.
pub trait ExchangeType: Sync + Debug {
    /// The name by which clients declare it.
    fn name(&self) -> &'static str;

    /// One sentence for people.
    fn description(&self) -> &'static str;

    /// Whether a binding makes sense to this type.
    /// # Errors
    /// An [`Error`] whose text goes to the client behind 406.
    fn check_binding(&self, _key: &BindingKey, _arguments: &Table) -> Result<(), Error> {
        Ok(())
    }

    /// A router without bindings.
    fn new_router(&self) -> Box<dyn Router>;
}

/// The bindings of one exchange.
pub trait Router: Send + Sync + Debug {
    /// Adds a binding that is not there yet (all fields compared).
    fn bind(&mut self, binding: &Binding);

    /// Removes a binding that [`Router::bind`] added; each call undoes one.
    fn unbind(&mut self, binding: &Binding);

    /// Adds the destinations of a message to the empty `matches`, each once.
    fn route<'r>(&'r self, publish: &Publish<'_>, matches: &mut Matches<'r>);

    /// Whether the answer depends on the routing keys alone, so that it can be remembered until a binding changes.
    fn by_key_alone(&self) -> bool;
}

/// What routing asks of a message.
#[derive(Debug)]
pub struct Publish<'a> {
    /// The key it was published with: bytes, not necessarily UTF-8.
    pub routing_key: &'a [u8],
    /// The keys of its `CC` and `BCC` headers: see [`extra_keys`].
    pub extra_keys: &'a [&'a [u8]],
    raw_headers: Option<&'a [u8]>,
    headers: OnceCell<Table>,
}

impl<'a> Publish<'a> {
    /// A message's routing key, its extra keys, and [`Properties::headers`](crate::message::Properties), still unparsed.
    pub fn new(routing_key: &'a [u8], extra_keys: &'a [&'a [u8]], raw_headers: Option<&'a [u8]>) -> Self {
        Self { routing_key, extra_keys, raw_headers, headers: OnceCell::new() }
    }

    /// All keys; a message goes where any of them leads.
    pub fn keys(&self) -> impl Iterator<Item = &'a [u8]> {
        std::iter::once(self.routing_key).chain(self.extra_keys.iter().copied())
    }

    /// The headers, parsed on the first call; an empty table when there are none.
    pub fn headers(&self) -> &Table {
        // Bytes that are no table were refused when the message came in.
        let parse = || self.raw_headers.and_then(|raw| arguments::parse_table(raw).ok()).unwrap_or_default();
        self.headers.get_or_init(parse)
    }
}

/// Why a binding or a message's extra keys are refused; the texts are RabbitMQ's, to be sent behind 406.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// More `#` in a topic binding than RabbitMQ allows.
    #[error("Topic binding key '{key}' uses {count} '#' wildcards, at most 2 are allowed")]
    TooManyWildcards {
        /// The key.
        key: BindingKey,
        /// How many of its words are `#`.
        count: usize,
    },
    /// An unknown way to match headers.
    #[error("Invalid x-match field value <<{value:?}>>; expected all, any, all-with-x, or any-with-x")]
    XMatchValue {
        /// What was given.
        value: String,
    },
    /// `x-match` is no string.
    #[error("Invalid x-match field type {kind} (value {value}); expected longstr")]
    XMatchType {
        /// RabbitMQ's word for the type.
        kind: &'static str,
        /// What was given.
        value: String,
    },
    /// `CC` or `BCC` is no array.
    #[error("invalid message: {{unacceptable_type_in_header,{header:?},{kind}}}")]
    ExtraKeysType {
        /// Which of the two.
        header: &'static str,
        /// RabbitMQ's word for the type.
        kind: &'static str,
    },
}

#[cfg(test)]
mod tests;
