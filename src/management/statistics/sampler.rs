//! The task that takes the samples.

use super::live::Frame;
use super::series::point_bytes;
use super::{BASIC, GLOBAL, Recent, Statistics};
use crate::broker::Vhost;
use crate::broker::connections::Connection;
use crate::management::node::Node;
use crate::management::view::overview::{self, Totals};
use crate::management::view::{connection, exchange, node, queue};
use crate::name::VhostName;
use crate::time::{self, Duration};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::watch;

/// What the sampler remembers from one sample to the next.
#[derive(Debug, Default)]
pub(in crate::management) struct Sampler {
    /// What is sampled of each vhost. Its counters go on when the objects that counted are gone.
    counted: HashMap<VhostName, [u64; overview::FIGURES.len()]>,
    /// How often all samples had been forgotten then.
    forgotten: u64,
    /// Milliseconds since 1970, when the last was taken.
    last_ms: u64,
}

/// Takes samples until told to stop, at times that are multiples of the interval.
pub async fn sample(node: Arc<Node>, mut stop: watch::Receiver<bool>) {
    let every_ms = node.statistics.every * 1000;
    if every_ms == 0 {
        return;
    }
    let mut sampler = Sampler::default();
    loop {
        let wait = every_ms - time::unix_ms().0 % every_ms;
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(wait)) => {}
            _ = stop.wait_for(|stop| *stop) => break,
        }
        let node = Arc::clone(&node);
        let taken = tokio::task::spawn_blocking(move || {
            sampler.take(&node, time::unix_ms().0);
            sampler
        });
        match taken.await {
            Ok(again) => sampler = again,
            Err(error) => {
                tracing::error!(%error, "a sample of the statistics failed");
                sampler = Sampler::default();
            }
        }
    }
    node.statistics.live.send_replace(None);
}

impl Sampler {
    /// Samples everything. A clock that went back or stood still gives none.
    pub(in crate::management) fn take(&mut self, node: &Node, now_ms: u64) {
        let statistics = &node.statistics;
        let at = now_ms / 1000 - now_ms / 1000 % statistics.every.max(1);
        let before = *statistics.recent.lock();
        if at <= before.last {
            return;
        }
        let forgotten = statistics.forgotten.lock();
        if *forgotten != self.forgotten {
            // What is new to the tables counts as a whole.
            (self.forgotten, self.counted) = (*forgotten, HashMap::new());
        }
        let connections = node.broker.connections.all();
        let vhosts = node.broker.vhosts();
        let objects =
            connections.len() + vhosts.iter().map(|vhost| vhost.topology().queue_count()).sum::<usize>();
        let points_max = super::POINTS_BYTES / point_bytes::<{ queue::FIGURES.len() }>() / objects.max(1);
        let mut totals = Vec::with_capacity(vhosts.len());
        for vhost in &vhosts {
            totals
                .push((vhost.name.clone(), self.take_vhost(statistics, vhost, &connections, at, points_max)));
        }
        self.counted.retain(|name, _| totals.iter().any(|(other, _)| other == name));
        let figures = node::sampled(node, &node.usage());
        statistics.node.add((), GLOBAL, at, figures, usize::MAX);
        statistics.sweep(at);
        let apart_ms = now_ms.saturating_sub(self.last_ms);
        *statistics.recent.lock() = Recent { last: at, previous: before.last, apart_ms };
        self.last_ms = now_ms;
        if statistics.live.receiver_count() > 0 {
            statistics.live.send_replace(Some(Arc::new(Frame::new(node, &totals, &figures, at))));
        }
    }

    /// Samples what is in a vhost, and says how much there is.
    fn take_vhost(
        &mut self,
        statistics: &Statistics,
        vhost: &Vhost,
        connections: &[Arc<Connection>],
        at: u64,
        points_max: usize,
    ) -> Totals {
        let counted = self.counted.entry(vhost.name.clone()).or_default();
        counted[..queue::LENGTHS].fill(0);
        let mut totals = Totals::default();
        for queue in vhost.queues() {
            let figures = queue.figures();
            totals.queues += 1;
            totals.consumers += figures.consumers;
            totals.depth.add(queue::depth(&figures));
            let figures = queue::sampled(&figures);
            let before = statistics.queues.add(queue.definition.id, BASIC, at, figures, points_max);
            // What is published to a vhost is counted by its exchanges.
            let counters = overview::PUBLISH + 1..overview::TOLD;
            count(
                &mut counted[counters.clone()],
                &figures[counters.clone()],
                before.as_ref().map(|b| &b[counters]),
            );
        }
        counted[..queue::LENGTHS].copy_from_slice(&totals.depth.lengths());
        let exchanges = vhost.exchanges(|_, known| (known.name.clone(), exchange::sampled(known)));
        totals.exchanges = exchanges.len();
        for (name, figures) in exchanges {
            let before = statistics.exchanges.add((vhost.name.clone(), name), BASIC, at, figures, points_max);
            let [published, told] = [0..1, exchange::OWN..figures.len()];
            for (to, from) in [(overview::PUBLISH, published), (overview::TOLD, told)] {
                let before = before.as_ref().map(|before| &before[from.clone()]);
                count(&mut counted[to..to + from.len()], &figures[from], before);
            }
        }
        for connection in connections.iter().filter(|connection| connection.vhost == vhost.name) {
            totals.connections += 1;
            let channels = connection.channels.lock().clone();
            totals.channels += channels.len();
            for channel in channels {
                let figures = connection::channel_sampled(&channel.counts);
                statistics.channels.add((connection.id, channel.id), BASIC, at, figures, points_max);
            }
            let figures = connection::sampled(connection);
            let before = statistics.connections.add(connection.id, BASIC, at, figures, points_max);
            count(&mut counted[overview::BYTES..], &figures, before.as_ref().map(|before| &before[..]));
        }
        statistics.vhosts.add(vhost.name.clone(), GLOBAL, at, *counted, usize::MAX);
        totals
    }
}

/// Counts what came since the sample before; all of it, where there is none.
fn count(sums: &mut [u64], now: &[u64], before: Option<&[u64]>) {
    for (place, (sum, now)) in sums.iter_mut().zip(now).enumerate() {
        *sum += now.saturating_sub(before.map_or(0, |before| before[place]));
    }
}
