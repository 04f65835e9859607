//! Queues: the pure machine ([`state`]) and the shells that give it a lock, a journal and consumers' outboxes.
//!
//! A queue type is a file here and a line in [`TYPES`]; an argument a line in [`arguments::ARGUMENTS`].

pub mod arguments;
pub mod classic;
pub mod deadlines;
pub mod state;

pub use classic::{NewQueue, Queue, Subscription};
pub use deadlines::Deadlines;

/// The queue types a client may name in `x-queue-type`.
pub const TYPES: &[&str] = &[classic::NAME];
