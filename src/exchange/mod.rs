//! Exchange types and the routers that hold their bindings. PURE.
//!
//! An [`ExchangeType`] is a file here and a line in [`TYPES`]; it makes a [`Router`] for each exchange of its type. A
//! router knows the bindings of one exchange only: what lies behind it (other exchanges, alternate exchanges, each queue
//! once) is [`route`]'s business, whether a binding may be made the broker's.

mod consistent_hash;
mod deduplicating;
mod delayed;
mod destinations;
mod direct;
pub mod extra_keys;
mod fanout;
mod hash;
mod headers;
mod local_random;
mod modulus_hash;
mod random;
mod recent_history;
mod ring;
pub mod route;
mod topic;

pub use destinations::Matches;
pub use random::next_random;
pub use recent_history::History;

use crate::arguments::{self, Table};
use crate::definition::{self, Binding};
use crate::message::Properties;
use crate::name::BindingKey;
use crate::{dedup, delay};
use std::cell::{Cell, OnceCell};
use std::fmt::Debug;

/// All exchange types, in the order in which they are listed.
pub const TYPES: &[&dyn ExchangeType] = &[
    &direct::Direct,
    &fanout::Fanout,
    &topic::Topic,
    &headers::Headers,
    &consistent_hash::ConsistentHash,
    &modulus_hash::ModulusHash,
    &random::Random,
    &local_random::LocalRandom,
    &recent_history::RecentHistory,
    &delayed::Delayed,
    &deduplicating::Deduplicating,
];

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

    /// Whether a new exchange with these arguments makes sense to this type.
    /// # Errors
    /// An [`Error`] whose text goes to the client behind 406.
    fn check_arguments(&self, _arguments: &Table) -> Result<(), Error> {
        Ok(())
    }

    /// Whether a binding makes sense to this type.
    /// # Errors
    /// An [`Error`] whose text goes to the client behind 406.
    fn check_binding(&self, _binding: &Binding) -> Result<(), Error> {
        Ok(())
    }

    /// Whether queues like this one may be bound.
    /// # Errors
    /// An [`Error`] whose text goes to the client behind 406.
    fn check_queue(&self, _queue: &definition::Queue) -> Result<(), Error> {
        Ok(())
    }

    /// Whether it matters in which order the bindings of an exchange were made, so that a restart must keep it.
    fn keeps_order(&self) -> bool {
        false
    }

    /// A router without bindings, for an exchange with these arguments: checked when it was declared, but perhaps by
    /// another broker.
    fn new_router(&self, arguments: &Table) -> Box<dyn Router>;

    /// Whether an exchange with these arguments delays messages that ask for it.
    fn delays(&self, arguments: &Table) -> bool {
        arguments::get(arguments, "x-delayed-exchange") == Some(&arguments::Value::Boolean(true))
    }

    /// How an exchange with these arguments tells duplicates, if it does.
    fn window(&self, arguments: &Table) -> Option<dedup::Rules> {
        dedup::Rules::of(arguments)
    }

    /// An empty history, for an exchange with these arguments, if its messages are to be kept for destinations that are
    /// bound later: those of which [`Router::is_kept`] says so.
    fn new_history(&self, _arguments: &Table) -> Option<History> {
        None
    }
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

    /// Whether a message goes into the exchange's history. Asked only where the answer does not depend on keys alone:
    /// else not every message is routed.
    fn is_kept(&self, _publish: &Publish<'_>) -> bool {
        false
    }
}

/// What routing asks of a message.
#[derive(Debug)]
pub struct Publish<'a> {
    /// The key it was published with: bytes, not necessarily UTF-8.
    pub routing_key: &'a [u8],
    /// The keys of its `CC` and `BCC` headers: see [`extra_keys`].
    pub extra_keys: &'a [&'a [u8]],
    /// Its properties.
    pub properties: &'a Properties<'a>,
    random: Cell<u64>,
    headers: OnceCell<Table>,
}

impl<'a> Publish<'a> {
    /// A message's routing key, its extra keys and its properties.
    pub fn new(routing_key: &'a [u8], extra_keys: &'a [&'a [u8]], properties: &'a Properties<'a>) -> Self {
        let (random, headers) = Default::default();
        Self { routing_key, extra_keys, properties, random, headers }
    }

    /// The same with a number that chance made, for types that leave it to chance where a message goes.
    #[must_use]
    pub fn with_random(self, random: u64) -> Self {
        Self { random: Cell::new(random), ..self }
    }

    /// A number by chance; another for each exchange that asks, so that one's choice says nothing about the next one's.
    pub fn draw(&self) -> u64 {
        self.random.set(next_random(self.random.get()));
        self.random.get()
    }

    /// How long the message is to wait at exchanges that delay, in milliseconds.
    pub fn delay_ms(&self) -> Option<u64> {
        delay::of_headers(self.properties.headers)
    }

    /// All keys; a message goes where any of them leads.
    pub fn keys(&self) -> impl Iterator<Item = &'a [u8]> {
        std::iter::once(self.routing_key).chain(self.extra_keys.iter().copied())
    }

    /// The headers, parsed on the first call; an empty table when there are none.
    pub fn headers(&self) -> &Table {
        // Bytes that are no table were refused when the message came in.
        self.headers.get_or_init(|| self.properties.parse_headers().unwrap_or_default())
    }
}

/// Why an exchange, a binding or a message's extra keys are refused; the texts are RabbitMQ's, to be sent behind 406.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An exchange's argument is of a type that it cannot have. (The broker knows the exchange, and names it.)
    #[error("invalid type '{kind}' for arg '{argument}'")]
    ArgumentType {
        /// The argument.
        argument: &'static str,
        /// RabbitMQ's word for the type.
        kind: &'static str,
    },
    /// More `#` in a topic binding than RabbitMQ allows.
    #[error("Topic binding key '{key}' uses {count} '#' wildcards, at most 2 are allowed")]
    TooManyWildcards {
        /// The key.
        key: BindingKey,
        /// How many of its words are `#`.
        count: usize,
    },
    /// An unknown way to match headers.
    #[error(
        "Invalid x-match field value {}; expected all, any, all-with-x, or any-with-x",
        arguments::binary(value)
    )]
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
    /// A weight that is no integer.
    #[error("The binding key must be an integer: {}", arguments::binary(key.as_str()))]
    WeightNoInteger {
        /// The key that should be one.
        key: BindingKey,
    },
    /// A weight below 1.
    #[error("The binding key must be greater than 0")]
    WeightTooSmall,
    /// A weight that nobody means.
    #[error("The binding key must be at most {max}")]
    WeightTooLarge {
        /// The largest weight.
        max: u64,
    },
    /// Both a header and a property are to be hashed.
    #[error("hash-header and hash-property are mutually exclusive")]
    HashOnBoth,
    /// A property is to be hashed that is none of the three.
    #[error("Unsupported property: {property}")]
    HashProperty {
        /// Its name.
        property: String,
    },
    /// A history's length that is none.
    #[error("Invalid argument {value}, 'x-recent-history-length' must be a positive integer")]
    HistoryLength {
        /// What was given, as a term.
        value: String,
    },
    /// The delayed exchange routes as a type that there is not.
    #[error("Invalid argument, 'x-delayed-type' must be an existing exchange type")]
    DelayedType,
    /// The delayed exchange routes as itself.
    #[error("Invalid argument, 'x-delayed-message' can't be used for 'x-delayed-type'")]
    DelayedTypeItself,
    /// A binding to a type that has no use for keys has one.
    #[error("Non empty binding '{key}' key not permitted")]
    KeyNotEmpty {
        /// The key.
        key: BindingKey,
    },
    /// A binding leads to an exchange where only queues are allowed.
    #[error("Destination not found")]
    NoQueue,
    /// A binding leads to a queue of a type that is not allowed.
    #[error("Queue type rabbit_{kind}_queue not valid for this exchange type")]
    QueueType {
        /// The queue's type.
        kind: String,
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
