//! The names: what every metric is called, its type, and what it means. RabbitMQ's names where the meaning is RabbitMQ's.

/// What a metric does over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only grows, as long as the node runs.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Counts by size.
    Histogram,
}

impl Kind {
    /// As both formats have it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric, without its prefix.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
}

pub(super) const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, help }
}

pub(super) const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, help }
}

pub(super) const fn histogram(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Histogram, help }
}

/// RabbitMQ's names, but for those of detailed pages.
pub(super) const RABBITMQ: &str = "rabbitmq_";
/// RabbitMQ's names on detailed pages, so that nobody adds up both.
pub(super) const DETAILED: &str = "rabbitmq_detailed_";
/// RabbitMQ's names for what a cluster has once.
pub(super) const CLUSTER: &str = "rabbitmq_cluster_";
/// What RabbitMQ has no names for.
pub(super) const WARREN: &str = "warren_";

/// What a detailed page may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Churn,
    Logins,
    LoginSources,
    NodeCoarse,
    Node,
    Persister,
    QueueCoarse,
    QueueConsumers,
    Queue,
    QueueDelivery,
    Exchange,
    Channel,
    ChannelExchange,
    ChannelQueue,
    ConnectionCoarse,
    Connection,
    VhostStatus,
    ExchangeBindings,
    ExchangeNames,
    /// What only a node of RabbitMQ has: nothing here.
    Other,
}

/// The families by RabbitMQ's names for them.
pub(super) const FAMILIES: &[(&str, Family)] = &[
    ("connection_churn_metrics", Family::Churn),
    ("auth_attempt_metrics", Family::Logins),
    ("auth_attempt_detailed_metrics", Family::LoginSources),
    ("node_coarse_metrics", Family::NodeCoarse),
    ("node_metrics", Family::Node),
    ("node_persister_metrics", Family::Persister),
    ("queue_coarse_metrics", Family::QueueCoarse),
    ("queue_consumer_count", Family::QueueConsumers),
    ("queue_metrics", Family::Queue),
    ("queue_delivery_metrics", Family::QueueDelivery),
    ("exchange_metrics", Family::Exchange),
    ("channel_metrics", Family::Channel),
    ("channel_exchange_metrics", Family::ChannelExchange),
    ("channel_queue_metrics", Family::ChannelQueue),
    ("connection_coarse_metrics", Family::ConnectionCoarse),
    ("connection_metrics", Family::Connection),
    ("vhost_status", Family::VhostStatus),
    ("exchange_bindings", Family::ExchangeBindings),
    ("exchange_names", Family::ExchangeNames),
    ("ra_metrics", Family::Other),
    ("queue_exchange_metrics", Family::Other),
    ("channel_process_metrics", Family::Other),
    ("channel_queue_exchange_metrics", Family::Other),
    ("stream_consumer_metrics", Family::Other),
];

/// The family of that name.
pub(super) fn family(name: &str) -> Option<Family> {
    FAMILIES.iter().find(|(own, _)| *own == name).map(|(_, family)| *family)
}
