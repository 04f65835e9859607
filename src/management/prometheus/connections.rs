//! Connections and channels: what went over each, or over all of them.

use super::names::{Family, Metric, counter, gauge};
use super::text::{Gone, Labels, Page, Value};
use super::{Scope, Scrape};
use crate::broker::connections::{Channel, Connection};
use crate::counts::ChannelCounts;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number of a connection.
struct ConnectionMetric {
    family: Family,
    metric: Metric,
    read: fn(&Connection) -> u64,
    /// What closed connections had, where that is counted.
    closed: fn(&Scrape<'_>) -> Option<u64>,
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Relaxed)
}

const CONNECTION_METRICS: &[ConnectionMetric] = &[
    ConnectionMetric {
        family: Family::ConnectionCoarse,
        metric: counter("connection_incoming_bytes_total", "Bytes received from clients"),
        read: |connection| load(&connection.traffic.received_bytes),
        closed: |scrape| Some(load(&scrape.counters().closed_traffic.received_bytes)),
    },
    ConnectionMetric {
        family: Family::ConnectionCoarse,
        metric: counter("connection_outgoing_bytes_total", "Bytes sent to clients"),
        read: |connection| load(&connection.traffic.sent_bytes),
        closed: |scrape| Some(load(&scrape.counters().closed_traffic.sent_bytes)),
    },
    ConnectionMetric {
        family: Family::Connection,
        metric: counter("connection_incoming_packets_total", "Reads from sockets"),
        read: |connection| load(&connection.traffic.received_reads),
        closed: |scrape| Some(load(&scrape.counters().closed_traffic.received_reads)),
    },
    ConnectionMetric {
        family: Family::Connection,
        metric: counter("connection_outgoing_packets_total", "Writes to sockets"),
        read: |connection| load(&connection.traffic.sent_writes),
        closed: |scrape| Some(load(&scrape.counters().closed_traffic.sent_writes)),
    },
    ConnectionMetric {
        family: Family::Connection,
        metric: gauge("connection_channels", "Channels of a connection"),
        read: |connection| connection.channels.lock().len() as u64,
        closed: |_| None,
    },
];

/// A number of a channel as it is now.
struct ChannelGauge {
    metric: Metric,
    read: fn(&Channel) -> u64,
    /// A limit: nobody adds it up.
    is_limit: bool,
}

const fn of_channel(metric: Metric, read: fn(&Channel) -> u64) -> ChannelGauge {
    ChannelGauge { metric, read, is_limit: false }
}

const CHANNEL_GAUGES: &[ChannelGauge] = &[
    of_channel(gauge("channel_consumers", "Consumers of a channel"), |channel| channel.consumers as u64),
    of_channel(
        gauge("channel_messages_unacked", "Messages delivered over a channel and not yet settled"),
        |channel| channel.unacked as u64,
    ),
    of_channel(
        gauge("channel_messages_unconfirmed", "Messages published and not yet confirmed"),
        |channel| channel.unconfirmed as u64,
    ),
    of_channel(
        gauge("channel_messages_uncommitted", "Messages published in an open transaction"),
        |channel| channel.uncommitted_messages as u64,
    ),
    of_channel(gauge("channel_acks_uncommitted", "Acks in an open transaction"), |channel| {
        channel.uncommitted_acks as u64
    }),
    ChannelGauge {
        metric: gauge("consumer_prefetch", "So many messages a new consumer may have unacked; 0 is no limit"),
        read: |channel| channel.prefetch.into(),
        is_limit: true,
    },
    ChannelGauge {
        metric: gauge(
            "channel_prefetch",
            "So many messages all consumers of a channel may have unacked; 0 is no limit",
        ),
        read: |channel| channel.global_prefetch.into(),
        is_limit: true,
    },
];

/// What went over a channel.
type ChannelCounter = (Family, Metric, fn(&ChannelCounts) -> u64);

const CHANNEL_COUNTERS: &[ChannelCounter] = &[
    (Family::ChannelExchange, counter("channel_messages_published_total", "Messages published"), |counts| {
        counts.published
    }),
    (
        Family::ChannelExchange,
        counter("channel_messages_confirmed_total", "Messages confirmed to publishers"),
        |counts| counts.confirmed,
    ),
    (
        Family::ChannelExchange,
        counter(
            "channel_messages_unroutable_returned_total",
            "Mandatory messages that reached no queue and went back",
        ),
        |counts| counts.returned,
    ),
    (
        Family::ChannelExchange,
        counter("channel_messages_unroutable_dropped_total", "Messages that reached no queue and are gone"),
        |counts| counts.dropped,
    ),
    (
        Family::ChannelQueue,
        counter("channel_get_ack_total", "Messages got that are to be acknowledged"),
        |counts| counts.got_ack,
    ),
    (
        Family::ChannelQueue,
        counter("channel_get_total", "Messages got that are not to be acknowledged"),
        |counts| counts.got,
    ),
    (
        Family::ChannelQueue,
        counter("channel_messages_delivered_ack_total", "Messages delivered to consumers that acknowledge"),
        |counts| counts.delivered_ack,
    ),
    (
        Family::ChannelQueue,
        counter(
            "channel_messages_delivered_total",
            "Messages delivered to consumers that do not acknowledge",
        ),
        |counts| counts.delivered,
    ),
    (
        Family::ChannelQueue,
        counter("channel_messages_redelivered_total", "Messages delivered or got once more"),
        |counts| counts.redelivered,
    ),
    (Family::ChannelQueue, counter("channel_messages_acked_total", "Messages acknowledged"), |counts| {
        counts.acked
    }),
    (
        Family::ChannelQueue,
        counter("channel_get_empty_total", "How often there was nothing to get"),
        |counts| counts.got_empty,
    ),
];

/// What was read of connections and channels.
pub(super) struct Open {
    connections: Vec<Arc<Connection>>,
    channels: Vec<(Arc<Connection>, Channel)>,
    /// What went over all channels, as of each connection's last batch that people are told of.
    counts: ChannelCounts,
    /// Of closed connections, by metric: read before the open ones.
    closed: Vec<Option<u64>>,
}

impl Open {
    /// Reads them.
    pub(super) fn read(scrape: &Scrape<'_>) -> Self {
        let closed = CONNECTION_METRICS.iter().map(|metric| (metric.closed)(scrape)).collect();
        let connections = scrape.exporter.node.broker.connections.all();
        let mut channels = Vec::new();
        for connection in &connections {
            let own = connection.channels.lock();
            channels.extend(own.iter().map(|channel| (Arc::clone(connection), *channel)));
        }
        let counts = *scrape.counters().channels.lock();
        Self { connections, channels, counts, closed }
    }

    pub(super) fn connection_count(&self) -> usize {
        self.connections.len()
    }

    pub(super) fn channel_count(&self) -> usize {
        self.channels.len()
    }

    /// Channels that something was published over.
    pub(super) fn publisher_count(&self) -> usize {
        self.channels.iter().filter(|(_, channel)| channel.counts.published > 0).count()
    }

    /// What went over all channels.
    pub(super) fn counts(&self) -> &ChannelCounts {
        &self.counts
    }

    /// Writes a row for each, or all together.
    pub(super) fn write(&self, scrape: &Scrape<'_>, page: &mut Page<'_>) -> Result<(), Gone> {
        self.write_connections(scrape, page)?;
        let labels: Vec<String> = if scrape.scope == Scope::Aggregated {
            Vec::new()
        } else {
            let name = |(connection, channel): &(Arc<Connection>, Channel)| {
                format!("{} ({})", connection.name, channel.id)
            };
            self.channels.iter().map(|channel| Labels::of(&[("channel", &name(channel))])).collect()
        };
        let shown = || labels.iter().zip(self.channels.iter().map(|(_, channel)| channel));
        for gauge in CHANNEL_GAUGES.iter().filter(|_| scrape.wants(Family::Channel)) {
            if scrape.scope == Scope::Aggregated && gauge.is_limit {
                continue;
            }
            page.begin(scrape.prefix(), &gauge.metric);
            if scrape.scope == Scope::Aggregated {
                let sum: u64 = self.channels.iter().map(|(_, channel)| (gauge.read)(channel)).sum();
                page.sample("", sum.into())?;
            }
            for (labels, channel) in shown() {
                page.sample(labels, (gauge.read)(channel).into())?;
            }
        }
        for (_, metric, read) in CHANNEL_COUNTERS.iter().filter(|(family, ..)| scrape.wants(*family)) {
            page.begin(scrape.prefix(), metric);
            if scrape.scope == Scope::Aggregated {
                page.sample("", read(&self.counts).into())?;
            }
            for (labels, channel) in shown() {
                page.sample(labels, read(&channel.counts).into())?;
            }
        }
        Ok(())
    }

    fn write_connections(&self, scrape: &Scrape<'_>, page: &mut Page<'_>) -> Result<(), Gone> {
        let metrics = CONNECTION_METRICS.iter().zip(&self.closed);
        for (metric, closed) in metrics.filter(|(metric, _)| scrape.wants(metric.family)) {
            page.begin(scrape.prefix(), &metric.metric);
            if scrape.scope == Scope::Aggregated {
                let sum = self.connections.iter().map(|connection| (metric.read)(connection)).sum::<u64>();
                let all = closed
                    .map_or(sum, |closed| scrape.exporter.never_less((metric.metric.name, 0), sum + closed));
                page.sample("", Value::Whole(all))?;
                continue;
            }
            for connection in &self.connections {
                let labels = Labels::of(&[("connection", &connection.name)]);
                page.sample(&labels, (metric.read)(connection).into())?;
            }
        }
        Ok(())
    }
}
