//! Histories: what an exchange kept is given to the destinations that are bound to it later.

use super::Broker;
use super::session;
use super::topology::Topology;
use crate::definition::Destination;
use crate::exchange::extra_keys::{extra_keys, without_bcc};
use crate::exchange::{self, next_random};
use crate::message::Message;
use crate::name::{ExchangeName, Position};
use crate::outbox::Wakes;
use crate::queue::classic::Enqueued;
use crate::time;
use std::sync::Arc;

impl Broker {
    /// Gives a new destination of `source` the messages that were kept there, oldest first. Returns where the last of
    /// their records ends.
    ///
    /// The caller bound it and still holds the topology's lock, under which messages are routed and kept, too: so each
    /// message reaches the destination once, from here or because it was published later, and in its order.
    pub(super) fn replay(
        &self,
        topology: &Topology,
        source: &ExchangeName,
        destination: &Destination,
        kept: &[Arc<Message>],
        wakes: &mut Wakes,
    ) -> Position {
        let (mut end, mut random) = (Position::NONE, session::seed());
        let now = time::unix_ms();
        for message in kept {
            random = next_random(random);
            let properties = message.properties();
            // They were checked when it was published.
            let extra = extra_keys(&properties).unwrap_or_default();
            let replayed = if extra.has_bcc {
                message.with_properties(&without_bcc(message.raw_properties()))
            } else {
                Message::clone(message)
            };
            // For its new queues it comes now: the time it may live begins anew.
            let replayed = Arc::new(replayed.at(now));
            let queues = match destination {
                Destination::Queue(name) => vec![name.clone()],
                Destination::Exchange(name) => {
                    let publish = exchange::Publish::new(message.routing_key(), &extra.keys, &properties);
                    let routed = topology.route(name, &publish.with_random(random));
                    let others = routed.kept_by.iter().filter(|other| *other != source);
                    topology.keep(others, message);
                    routed.queues
                }
            };
            // One record each: a checkpoint may come between two queues, for which no lock is to be had here.
            for queue in queues.iter().filter_map(|name| topology.queue(name.as_str())) {
                // A full queue that rejects it goes without: nobody is there to be told.
                if let Enqueued::SafeAt(at) = queue.publish(&replayed, wakes) {
                    end = end.max(at.point.end);
                }
            }
        }
        end
    }
}
