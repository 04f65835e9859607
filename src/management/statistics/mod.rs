//! Rates and their history: every few seconds the figures of all objects are sampled, and kept for a while.
//!
//! One task takes the samples, and no request does. What is kept is bounded: what stands still costs next to nothing,
//! and where there are very many objects their history gets shorter ([`POINTS_BYTES`]). The newest two samples, of which
//! rates are made, are always there.

mod live;
mod sampler;
mod series;

pub(in crate::management) use live::Frame;
#[cfg(test)]
pub(in crate::management) use sampler::Sampler;
pub use sampler::sample;

use super::error::Error;
use super::query::Query;
use super::view::stats::{self, Details, Figure, Group};
use super::view::{connection, exchange, node, overview, queue};
use crate::name::{ChannelId, ConnectionId, ExchangeName, QueueId, VhostName};
use crate::time::Duration;
use dashmap::DashMap;
use parking_lot::Mutex;
use serde_json::Value;
use series::{BASIC, GLOBAL, Level, Recent, Series, Span};
use std::hash::Hash;
use std::sync::Arc;
use tokio::sync::watch;

/// What the histories of single objects may take together, about.
const POINTS_BYTES: usize = 64 << 20;
/// The most samples that a request gets of a figure.
const SAMPLES_MAX: u64 = 2_000;
/// So many parts that a table is locked only for a moment while what is gone is swept out of it.
const SHARDS: usize = 128;

/// The histories of objects of a kind, each of `N` figures.
#[derive(Debug)]
struct Table<K: Eq + Hash, const N: usize> {
    names: &'static [Figure; N],
    of: DashMap<K, Series<N>>,
}

impl<K: Eq + Hash, const N: usize> Table<K, N> {
    fn new(names: &'static [Figure; N]) -> Self {
        Self { names, of: DashMap::with_shard_amount(SHARDS) }
    }

    /// Adds a sample, and gives back the one before.
    fn add(
        &self,
        key: K,
        levels: &'static [Level],
        at: u64,
        figures: [u64; N],
        points_max: usize,
    ) -> Option<[u64; N]> {
        self.of.entry(key).or_insert_with(|| Series::new(levels)).add(at, figures, points_max)
    }

    /// Forgets those that were not there any more.
    fn sweep(&self, at: u64) {
        self.of.retain(|_, series| series.seen == at);
    }

    /// Of one that is not sampled.
    fn tell_nothing(&self) -> Told {
        Told { names: self.names, figures: Vec::new(), idle_since: None }
    }

    fn tell(&self, key: &K, recent: Recent, spans: &Spans) -> Told {
        let told = self.of.get(key).map(|series| Told::of(self.names, &series, recent, spans));
        told.unwrap_or_else(|| self.tell_nothing())
    }
}

/// The statistics of a node.
#[derive(Debug)]
pub struct Statistics {
    /// Seconds between samples; 0 where none are taken.
    every: u64,
    recent: Mutex<Recent>,
    queues: Table<QueueId, { queue::FIGURES.len() }>,
    exchanges: Table<(VhostName, ExchangeName), { exchange::FIGURES.len() }>,
    connections: Table<ConnectionId, { connection::FIGURES.len() }>,
    channels: Table<(ConnectionId, ChannelId), { connection::CHANNEL_FIGURES.len() }>,
    vhosts: Table<VhostName, { overview::FIGURES.len() }>,
    node: Table<(), { node::FIGURES.len() }>,
    live: watch::Sender<Option<Arc<Frame>>>,
    /// How often all was forgotten. Whoever takes a sample holds it.
    forgotten: Mutex<u64>,
}

impl Statistics {
    /// Statistics with a sample each so often, in whole seconds; with none at all for less than one.
    pub fn new(every: Duration) -> Self {
        Self {
            every: every.as_secs(),
            recent: Mutex::default(),
            queues: Table::new(&queue::FIGURES),
            exchanges: Table::new(&exchange::FIGURES),
            connections: Table::new(&connection::FIGURES),
            channels: Table::new(&connection::CHANNEL_FIGURES),
            vhosts: Table::new(&overview::FIGURES),
            node: Table::new(&node::FIGURES),
            live: watch::Sender::new(None),
            forgotten: Mutex::default(),
        }
    }

    /// Whether samples are taken.
    pub(in crate::management) fn are_on(&self) -> bool {
        self.every > 0
    }

    /// What is known of a queue.
    pub(in crate::management) fn of_queue(&self, id: QueueId, spans: &Spans) -> Told {
        self.queues.tell(&id, *self.recent.lock(), spans)
    }

    /// What is known of an exchange.
    pub(in crate::management) fn of_exchange(
        &self,
        vhost: &VhostName,
        name: &ExchangeName,
        spans: &Spans,
    ) -> Told {
        self.exchanges.tell(&(vhost.clone(), name.clone()), *self.recent.lock(), spans)
    }

    /// What is known of a connection.
    pub(in crate::management) fn of_connection(&self, id: ConnectionId, spans: &Spans) -> Told {
        self.connections.tell(&id, *self.recent.lock(), spans)
    }

    /// What is known of a channel.
    pub(in crate::management) fn of_channel(
        &self,
        connection: ConnectionId,
        id: ChannelId,
        spans: &Spans,
    ) -> Told {
        self.channels.tell(&(connection, id), *self.recent.lock(), spans)
    }

    /// What is known of vhosts together.
    pub(in crate::management) fn of_vhosts<'n>(
        &self,
        names: impl IntoIterator<Item = &'n VhostName>,
        spans: &Spans,
    ) -> Told {
        let (recent, empty) =
            (*self.recent.lock(), Told { names: &overview::FIGURES, figures: Vec::new(), idle_since: None });
        names.into_iter().fold(empty, |sum, name| sum.plus(self.vhosts.tell(name, recent, spans)))
    }

    /// What is known of the node.
    pub(in crate::management) fn of_node(&self, spans: &Spans) -> Told {
        self.node.tell(&(), *self.recent.lock(), spans)
    }

    /// How many queues are known.
    #[cfg(test)]
    pub(in crate::management) fn queue_count(&self) -> usize {
        self.queues.of.len()
    }

    /// Forgets all samples.
    pub(in crate::management) fn forget(&self) {
        let mut forgotten = self.forgotten.lock();
        *forgotten += 1;
        self.queues.of.clear();
        self.exchanges.of.clear();
        self.connections.of.clear();
        self.channels.of.clear();
        self.vhosts.of.clear();
        self.node.of.clear();
    }

    /// Forgets what was not there at the last sample.
    fn sweep(&self, at: u64) {
        self.queues.sweep(at);
        self.exchanges.sweep(at);
        self.connections.sweep(at);
        self.channels.sweep(at);
        self.vhosts.sweep(at);
    }

    /// Each new frame for those that watch; ends with the node.
    pub(in crate::management) fn watch(&self) -> watch::Receiver<Option<Arc<Frame>>> {
        self.live.subscribe()
    }
}

/// The samples that a request asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::management) struct Spans([Option<Span>; Group::ALL.len()]);

impl Spans {
    /// Those of a query: `lengths_age` and `lengths_incr` in seconds, and so on.
    /// # Errors
    /// 400 for what is no number, and for too many samples.
    pub(in crate::management) fn of(query: &Query) -> Result<Spans, Error> {
        let number = |key: String| {
            let parse = |text: &str| {
                text.parse::<u64>()
                    .map_err(|_| Error::BadRequest(format!("{key} must be a number of seconds")))
            };
            query.get(&key).map(parse).transpose()
        };
        let mut spans = Spans::default();
        for (span, (_, prefix)) in spans.0.iter_mut().zip(Group::ALL) {
            let (age, step) = (number(format!("{prefix}_age"))?, number(format!("{prefix}_incr"))?);
            let (Some(age), Some(step)) = (age, step) else { continue };
            if step == 0 || age / step > SAMPLES_MAX {
                let text = format!("{prefix}_incr must be 1 or more, and give {SAMPLES_MAX} samples at most");
                return Err(Error::BadRequest(text));
            }
            *span = Some(Span { age, step });
        }
        Ok(spans)
    }

    fn get(&self, group: Group) -> Option<Span> {
        let place = Group::ALL.iter().position(|(other, _)| *other == group)?;
        self.0[place]
    }
}

/// What is known of one figure: what it was at the last sample, its rate, and the samples that were asked for.
#[derive(Clone, Debug, PartialEq)]
struct ToldFigure {
    value: u64,
    rate: f64,
    samples: Option<Vec<(u64, u64)>>,
}

/// What is known of an object's figures.
#[derive(Clone, Debug)]
pub(in crate::management) struct Told {
    names: &'static [Figure],
    /// In the order of the names; none where the object has not been sampled yet.
    figures: Vec<ToldFigure>,
    /// Since when they have all been so, if that was before the last sample.
    idle_since: Option<u64>,
}

impl Told {
    fn of<const N: usize>(
        names: &'static [Figure; N],
        series: &Series<N>,
        recent: Recent,
        spans: &Spans,
    ) -> Told {
        let (values, rates) = (series.last(), series.rates(recent));
        let figure = |(place, (_, group)): (usize, &Figure)| {
            let known = |time| Some((time, series.value(time, place)?));
            let samples =
                spans.get(*group).map(|span| span.times(recent.last).filter_map(known).collect::<Vec<_>>());
            ToldFigure { value: values[place], rate: rates[place], samples }
        };
        let idle_since = series.changed_at().filter(|at| *at < recent.last);
        Told { names, figures: names.iter().enumerate().map(figure).collect(), idle_since }
    }

    /// What a figure was at the last sample.
    pub(in crate::management) fn value(&self, name: &str) -> Option<u64> {
        self.find(name).map(|figure| figure.value)
    }

    fn find(&self, name: &str) -> Option<&ToldFigure> {
        let place = self.names.iter().position(|(other, _)| *other == name)?;
        self.figures.get(place)
    }

    /// Both together: the sum of the rates, and of the samples of each time.
    fn plus(mut self, other: Told) -> Told {
        if self.figures.is_empty() {
            return other;
        }
        for (figure, more) in self.figures.iter_mut().zip(other.figures) {
            figure.value += more.value;
            figure.rate += more.rate;
            let (Some(samples), Some(more)) = (&mut figure.samples, more.samples) else { continue };
            // Both go back from the same time in the same steps; one may go back further.
            for (place, (at, value)) in more.into_iter().enumerate() {
                match samples.get_mut(place) {
                    Some(sum) => sum.1 += value,
                    None => samples.push((at, value)),
                }
            }
        }
        self
    }
}

impl Details for Told {
    fn of(&self, name: &str) -> Value {
        match self.find(name) {
            Some(figure) => stats::details(figure.rate, figure.samples.as_deref()),
            None => stats::details(0.0, None),
        }
    }

    fn idle_since(&self) -> Option<u64> {
        self.idle_since
    }
}

/// What the first knows, else what the second does.
#[derive(Clone, Debug)]
pub(in crate::management) struct Both(pub(in crate::management) Told, pub(in crate::management) Told);

impl Details for Both {
    fn of(&self, name: &str) -> Value {
        if self.0.find(name).is_some() { self.0.of(name) } else { self.1.of(name) }
    }
}
