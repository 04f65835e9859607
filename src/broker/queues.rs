//! The queues of a vhost, by name: found at once, and gone through in order, a slice at a time.

use crate::name::QueueName;
use crate::queue::Queue;
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

/// The queues of a vhost.
///
/// There are two ways to the same queues. Publishers want the one of a name, often. Lists want all of them in the order
/// of their names, and may be so long that nobody could wait until all were read: a slice is read, the lock around
/// this is given back, and the next slice goes on behind the last name, whatever came and went in between.
#[derive(Debug, Default)]
pub(super) struct Queues {
    by_name: HashMap<QueueName, Arc<Queue>>,
    in_order: BTreeMap<QueueName, Arc<Queue>>,
}

impl Queues {
    pub(super) fn get(&self, name: &str) -> Option<&Arc<Queue>> {
        self.by_name.get(name)
    }

    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(super) fn insert(&mut self, queue: Arc<Queue>) {
        self.in_order.insert(queue.name.clone(), Arc::clone(&queue));
        self.by_name.insert(queue.name.clone(), queue);
    }

    pub(super) fn remove(&mut self, name: &QueueName) -> Option<Arc<Queue>> {
        self.in_order.remove(name);
        self.by_name.remove(name)
    }

    /// All, by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Queue>> {
        self.in_order.values()
    }

    /// Those behind a name, or all, by name.
    pub(super) fn after(&self, name: Option<&QueueName>) -> impl Iterator<Item = &Arc<Queue>> {
        let start = name.map_or(Bound::Unbounded, Bound::Excluded);
        self.in_order.range::<QueueName, _>((start, Bound::Unbounded)).map(|(_, queue)| queue)
    }
}
