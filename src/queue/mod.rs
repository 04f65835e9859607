//! Queues: the pure machine ([`state`]) and the shells that give it a lock, a journal and consumers' outboxes.
//!
//! A queue type is a file here and a line in [`TYPES`]; an argument a line in [`arguments::ARGUMENTS`].

pub mod arguments;
pub mod classic;
pub mod dead_letters;
pub mod deadlines;
pub mod memory;
pub mod pager;
pub mod settings;
pub mod state;

pub use classic::{NewQueue, Queue, Subscription};
pub use dead_letters::DeadLetters;
pub use deadlines::Deadlines;
pub use memory::Memory;
pub use pager::{AllQueues, Pager};
pub use settings::Settings;

use crate::durability::Durability;
use crate::store::Store;
use arguments::Kind;
use parking_lot::Mutex;
use std::sync::Arc;

/// What all queues of a node share.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Services {
    pub store: Store,
    pub deadlines: Arc<Deadlines>,
    pub dead_letters: Arc<DeadLetters>,
    pub memory: Arc<Memory>,
    pub pager: Arc<Pager>,
    /// Of queues that say nothing else.
    pub durability: Durability,
    /// What deleted queues have done, by [`Kind`]: counters of the node never fall.
    pub gone: Arc<Mutex<[classic::Counters; Kind::ALL.len()]>>,
}
