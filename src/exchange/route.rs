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
    /// Whether it delays messages that ask for it.
    pub delays: bool,
    /// Whether it tells duplicates, so that it must see every message.
    pub has_window: bool,
}

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routed {
    /// Each queue once, in an order that repeats; none = unroutable.
    pub queues: Vec<QueueName>,
    /// Whether every message with this routing key goes there until topology changes (a queue or an exchange comes or
    /// goes, a binding changes). Not so when headers had a say.
    pub by_key_alone: bool,
    /// The exchanges into whose histories it goes.
    pub kept_by: Vec<ExchangeName>,
    /// The exchanges at which it waits; from there it goes on when its time has come.
    pub delayed_by: Vec<ExchangeName>,
}

/// Routes a message that was published to `start`.
pub fn route(exchanges: &dyn Exchanges, start: &ExchangeName, publish: &Publish<'_>) -> Routed {
    let (mut queues, mut kept_by, mut delayed_by) = (Vec::new(), Vec::new(), Vec::new());
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
        by_key_alone &= !entry.delays && !entry.has_window;
        if entry.delays && publish.delay_ms().is_some() {
            delayed_by.push(name.clone());
            continue;
        }
        matches.clear();
        entry.router.route(publish, &mut matches);
        if !entry.router.by_key_alone() {
            by_key_alone = false;
            kept_by.extend(entry.router.is_kept(publish).then(|| name.clone()));
        }
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
    Routed { queues, by_key_alone, kept_by, delayed_by }
}

fn keep_first_of_each(queues: &mut Vec<QueueName>) {
    let mut seen = HashSet::with_capacity(queues.len());
    queues.retain(|queue| seen.insert(queue.clone()));
}
