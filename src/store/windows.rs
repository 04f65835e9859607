//! Which records tell a window of duplicates something: while the journal is replayed, so that a window goes on after a
//! restart where it was.

use super::record::Publish;
use crate::dedup::{Rules, Seen};
use crate::definition::{Definition, Role};
use crate::name::{ExchangeName, QueueId, VhostName};
use foldhash::HashMap;
use smallvec::SmallVec;
use std::collections::BTreeMap;

/// The windows of queues and exchanges, by what a publish record says of them.
#[derive(Debug, Default)]
pub(super) struct Windows {
    /// The header that is looked at.
    queues: HashMap<QueueId, String>,
    /// The queue that stands for the exchange's window, and the header.
    exchanges: HashMap<(VhostName, ExchangeName), (QueueId, String)>,
    /// Where queues live; only while exchanges have windows.
    homes: HashMap<QueueId, VhostName>,
}

impl Windows {
    /// Of what is defined.
    pub(super) fn of(definitions: &BTreeMap<Vec<u8>, Definition>) -> Self {
        let mut windows = Self::default();
        let queues = definitions.values().filter_map(|definition| match definition {
            Definition::Queue(vhost, _, queue) => Some((vhost, queue)),
            _ => None,
        });
        for (vhost, queue) in queues.clone() {
            match &queue.role {
                Role::Ordinary => {
                    let rules = Rules::of(&queue.arguments);
                    windows.queues.extend(rules.map(|rules| (queue.id, rules.header)));
                }
                Role::WindowOf(exchange) => {
                    let header = Rules::always(&queue.arguments).header;
                    windows.exchanges.insert((vhost.clone(), exchange.clone()), (queue.id, header));
                }
                Role::DelayOf(_) => {}
            }
        }
        if !windows.exchanges.is_empty() {
            windows.homes.extend(queues.map(|(vhost, queue)| (queue.id, vhost.clone())));
        }
        windows
    }

    /// What the record tells which windows.
    pub(super) fn seen(&self, publish: &Publish<'_>) -> SmallVec<[(QueueId, Seen); 1]> {
        let mut seen = SmallVec::new();
        if (self.queues.is_empty() && self.exchanges.is_empty()) || publish.origin.is_moved {
            return seen;
        }
        let headers = publish.message_headers();
        let of = |header: &str| Seen::of_headers(header, headers, publish.received_at);
        for (queue, _) in &publish.targets {
            let header = self.queues.get(queue);
            seen.extend(header.and_then(|header| of(header)).map(|seen| (*queue, seen)));
        }
        let home = publish.targets.first().and_then(|(queue, _)| self.homes.get(queue));
        if let Some(home) = home {
            let window = self.exchanges.get(&(home.clone(), ExchangeName::new(publish.exchange)));
            seen.extend(window.and_then(|(queue, header)| Some((*queue, of(header)?))));
        }
        seen
    }
}
