//! From an exchange to queues: bindings between exchanges, alternate exchanges, each queue once. PURE.
//!
//! A message keeps all its keys at every exchange it reaches. An exchange is asked once, so cycles end; when its own
//! bindings match nothing, its alternate exchange is asked instead. What does not exist leads nowhere.

use super::{Matches, Publish, Router};
use crate::definition::Destination;
use crate::name::{ExchangeName, QueueName};
use foldhash::{HashSet, HashSetExt};

/// The exchanges and queues of a vhost.
pub trait Exchanges {
    /// The exchange, if it exists. Not asked for the default exchange.
    fn exchange(&self, name: &ExchangeName) -> Option<Entry<'_>>;

    /// The queue's name as the vhost keeps it, if the queue exists. Asked for the default exchange.
    fn queue_name(&self, name: &str) -> Option<QueueName>;
}

/// What routing needs of an exchange.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'e> {
    /// Its bindings.
    pub router: &'e dyn Router,
    /// Its alternate exchange, from its arguments or a policy.
    pub alternate: Option<&'e ExchangeName>,
}

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routed {
    /// Each queue once, in an order that repeats; none = unroutable.
    pub queues: Vec<QueueName>,
    /// Whether every message with this routing key goes there until topology changes (a queue or an exchange comes or
    /// goes, a binding changes). Not so when headers had a say.
    pub by_key_alone: bool,
}

/// Routes a message that was published to `start`.
pub fn route(exchanges: &dyn Exchanges, start: &ExchangeName, publish: &Publish<'_>) -> Routed {
    let mut queues = Vec::new();
    let mut by_key_alone = publish.extra_keys.is_empty();
    let mut may_repeat = false;
    // Both the exchanges seen and, from `next` on, those still to be asked.
    let mut reached = super::destinations::Distinct::default();
    reached.insert(start);
    let mut matches = Matches::default();
    let mut next = 0;
    while let Some(name) = reached.get(next).copied() {
        next += 1;
        may_repeat |= !queues.is_empty();
        if name.is_empty() {
            queues.extend(
                publish.keys().filter_map(|key| exchanges.queue_name(std::str::from_utf8(key).ok()?)),
            );
            may_repeat |= !publish.extra_keys.is_empty();
            continue;
        }
        let Some(entry) = exchanges.exchange(name) else { continue };
        matches.clear();
        entry.router.route(publish, &mut matches);
        by_key_alone &= entry.router.by_key_alone();
        queues.reserve(matches.len());
        for destination in &matches[..] {
            match destination {
                Destination::Queue(queue) => queues.push(queue.clone()),
                Destination::Exchange(exchange) => reached.insert(exchange),
            }
        }
        if let (true, Some(alternate)) = (matches.is_empty(), entry.alternate) {
            reached.insert(alternate);
        }
    }
    if may_repeat {
        keep_first_of_each(&mut queues);
    }
    Routed { queues, by_key_alone }
}

fn keep_first_of_each(queues: &mut Vec<QueueName>) {
    let mut seen = HashSet::with_capacity(queues.len());
    queues.retain(|queue| seen.insert(queue.clone()));
}
