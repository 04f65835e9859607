//! Queues: what each holds and has done, or all together.
//!
//! Each queue is asked once and by itself: nobody waits for a page but for the moment in which its own queue is read. What is
//! read is kept as plain numbers until the page is written, since samples of a metric must stand together.

use super::names::{self, Family, Metric, RABBITMQ, WARREN, counter, gauge};
use super::text::{Gone, Labels, Page, Value};
use super::{Scope, Scrape};
use crate::definition::Role;
use crate::queue::arguments::Kind;
use crate::queue::classic::{Counters, Figures, Front};
use crate::queue::{AllQueues as _, Queue};
use crate::time::Millis;

/// What is shown of a queue is made of this.
#[derive(Default)]
struct Read {
    figures: Figures,
    front: Front,
    now: Millis,
}

/// A metric of queues: how it is read, and none where there is nothing to say.
struct QueueMetric {
    family: Family,
    prefix: &'static str,
    metric: Metric,
    read: fn(&Read) -> Option<u64>,
    /// What the number is to be divided by.
    unit: u64,
    together: Together,
}

/// What all queues together have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Together {
    Sum,
    Greatest,
    /// The number of one queue only means something for it.
    Nothing,
}

const fn queue(family: Family, metric: Metric, read: fn(&Read) -> Option<u64>) -> QueueMetric {
    QueueMetric { family, prefix: RABBITMQ, metric, read, unit: 1, together: Together::Sum }
}

/// A queue's own number, which nobody adds up.
const fn single(metric: Metric, read: fn(&Read) -> Option<u64>) -> QueueMetric {
    QueueMetric { together: Together::Nothing, ..queue(Family::Queue, metric, read) }
}

use Family::{Queue as Whole, QueueCoarse as Coarse, QueueDelivery as Delivery};

/// Every metric of queues.
const METRICS: &[QueueMetric] = &[
    queue(Coarse, gauge("queue_messages_ready", "Messages that wait to be delivered"), |read| {
        Some(read.figures.ready as u64)
    }),
    queue(Coarse, gauge("queue_messages_unacked", "Messages delivered and not yet settled"), |read| {
        Some(read.figures.unacked as u64)
    }),
    queue(
        Coarse,
        gauge("queue_messages", "Messages that are ready, unacked or on their way elsewhere"),
        |read| Some((read.figures.ready + read.figures.unacked + read.figures.aside()) as u64),
    ),
    queue(Family::QueueConsumers, gauge("queue_consumers", "Consumers of a queue"), |read| {
        Some(read.figures.consumers as u64)
    }),
    single(
        gauge("queue_consumer_capacity", "1 if a message that came now would be delivered at once, else 0"),
        |read| Some(read.figures.can_deliver.into()),
    ),
    single(gauge("queue_consumer_utilisation", "The same as queue_consumer_capacity"), |read| {
        Some(read.figures.can_deliver.into())
    }),
    queue(
        Whole,
        gauge("queue_process_memory_bytes", "Memory that a queue and its messages take, about"),
        |read| Some(size_of::<Queue>() as u64 + read.figures.memory_bytes),
    ),
    queue(Whole, gauge("queue_messages_ram", "Ready and unacked messages that are in memory"), |read| {
        Some((read.figures.ready - read.figures.paged.min(read.figures.ready) + read.figures.unacked) as u64)
    }),
    queue(Whole, gauge("queue_messages_ready_ram", "Ready messages that are in memory"), |read| {
        Some((read.figures.ready - read.figures.paged.min(read.figures.ready)) as u64)
    }),
    queue(Whole, gauge("queue_messages_unacked_ram", "Unacked messages that are in memory"), |read| {
        Some(read.figures.unacked as u64)
    }),
    queue(Whole, gauge("queue_messages_paged_out", "Ready messages that are on disk only"), |read| {
        Some(read.figures.paged as u64)
    }),
    queue(Whole, gauge("queue_messages_persistent", "Messages that a restart brings back"), |read| {
        Some(read.figures.durable)
    }),
    queue(
        Whole,
        gauge("queue_messages_persistent_bytes", "Body bytes of messages that a restart brings back"),
        |read| Some(read.figures.durable_bytes),
    ),
    queue(Whole, gauge("queue_messages_bytes", "Body bytes of ready and unacked messages"), |read| {
        Some(read.figures.ready_bytes + read.figures.unacked_bytes)
    }),
    queue(Whole, gauge("queue_messages_ready_bytes", "Body bytes of ready messages"), |read| {
        Some(read.figures.ready_bytes)
    }),
    queue(Whole, gauge("queue_messages_unacked_bytes", "Body bytes of unacked messages"), |read| {
        Some(read.figures.unacked_bytes)
    }),
    single(
        gauge(
            "queue_head_message_timestamp",
            "What the next message's publisher says of its time, in seconds since 1970",
        ),
        |read| read.front.next.as_ref()?.properties().timestamp,
    ),
    QueueMetric {
        family: Whole,
        prefix: WARREN,
        metric: gauge(
            "queue_oldest_message_age_seconds",
            "How long ago the oldest of the next messages was published",
        ),
        read: |read| Some(read.now.0.saturating_sub(read.front.oldest?.0)),
        unit: 1_000,
        together: Together::Greatest,
    },
    queue(Delivery, counter("queue_messages_published_total", "Messages enqueued"), |read| {
        Some(read.figures.counters.published)
    }),
    queue(Delivery, counter("queue_get_ack_total", "Messages got that are to be acknowledged"), |read| {
        Some(read.figures.counters.got)
    }),
    queue(Delivery, counter("queue_get_total", "Messages got that are not to be acknowledged"), |read| {
        Some(read.figures.counters.got_no_ack)
    }),
    queue(Delivery, counter("queue_get_empty_total", "How often there was nothing to get"), |read| {
        Some(read.figures.counters.got_empty)
    }),
    queue(
        Delivery,
        counter("queue_messages_delivered_ack_total", "Messages delivered to consumers that acknowledge"),
        |read| Some(read.figures.counters.delivered),
    ),
    queue(
        Delivery,
        counter("queue_messages_delivered_total", "Messages delivered to consumers that do not acknowledge"),
        |read| Some(read.figures.counters.delivered_no_ack),
    ),
    queue(
        Delivery,
        counter("queue_messages_redelivered_total", "Messages delivered or got once more"),
        |read| Some(read.figures.counters.redelivered),
    ),
    queue(Delivery, counter("queue_messages_acked_total", "Messages acknowledged"), |read| {
        Some(read.figures.counters.acked)
    }),
];

const QUEUE_INFO: Metric = gauge("queue_info", "A queue, with its type");

/// Stands for a number that there is not.
const NONE: u64 = u64::MAX;

/// All queues together.
#[derive(Clone, Debug, Default)]
pub(super) struct Sum {
    pub(super) queues: usize,
    pub(super) consumers: usize,
    /// What queues have done by type, those that are deleted among them.
    pub(super) counters: [Counters; Kind::ALL.len()],
}

/// What was read of queues: a row for each that is shown, and all together.
pub(super) struct Rows {
    metrics: Vec<&'static QueueMetric>,
    /// The labels of all rows, one behind the other, and where each ends.
    labels: String,
    ends: Vec<usize>,
    /// Types, for [`QUEUE_INFO`].
    kinds: Vec<Kind>,
    /// A number for each row, by metric: samples are written in that order.
    numbers: Vec<Vec<u64>>,
    together: Vec<u64>,
    pub(super) sum: Sum,
}

impl Rows {
    /// Reads the queues.
    pub(super) fn read(scrape: &Scrape<'_>) -> Self {
        let broker = &scrape.exporter.node.broker;
        let metrics: Vec<_> = METRICS.iter().filter(|metric| scrape.wants(metric.family)).collect();
        // Before the queues: one that is deleted meanwhile is missed this time, and never counted twice.
        let mut sum = Sum { counters: *broker.services.gone.lock(), ..Sum::default() };
        let mut rows = Self {
            together: vec![NONE; metrics.len()],
            numbers: vec![Vec::new(); metrics.len()],
            metrics,
            labels: String::new(),
            ends: Vec::new(),
            kinds: Vec::new(),
            sum: Sum::default(),
        };
        if rows.metrics.is_empty() && scrape.scope == Scope::Detailed {
            return rows;
        }
        let now = crate::time::unix_ms();
        for queue in broker.all_queues() {
            if queue.definition.role != Role::Ordinary || !scrape.filter.has_queue(&queue.vhost, &queue.name)
            {
                continue;
            }
            let Some((figures, front)) = queue.figures_and_front() else { continue };
            sum.queues += 1;
            sum.consumers += figures.consumers;
            sum.counters[queue.kind() as usize] += &figures.counters;
            rows.add(&queue, &Read { figures, front, now }, scrape.scope);
        }
        rows.sum = sum;
        rows
    }

    fn add(&mut self, queue: &Queue, read: &Read, scope: Scope) {
        for (at, metric) in self.metrics.iter().enumerate() {
            let number = (metric.read)(read);
            let together = &mut self.together[at];
            if let Some(number) = number {
                *together = match (*together, metric.together) {
                    (NONE, _) => number,
                    (before, Together::Greatest) => before.max(number),
                    (before, _) => before + number,
                };
            }
            if scope != Scope::Aggregated {
                self.numbers[at].push(number.unwrap_or(NONE));
            }
        }
        if scope != Scope::Aggregated {
            let mut labels = Labels::default();
            labels.add("vhost", queue.vhost.as_str());
            labels.add("queue", queue.name.as_str());
            self.labels.push_str(&labels.finish());
            self.ends.push(self.labels.len());
            self.kinds.push(queue.kind());
        }
    }

    fn labels(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.labels[start..*end])
    }

    /// Writes a row for each queue, or all together.
    pub(super) fn write(&self, scrape: &Scrape<'_>, page: &mut Page<'_>) -> Result<(), Gone> {
        for (at, metric) in self.metrics.iter().enumerate() {
            let value = |number| {
                if metric.unit == 1 { Value::Whole(number) } else { Value::Part(number, metric.unit) }
            };
            let prefix = if metric.prefix == RABBITMQ { scrape.prefix() } else { metric.prefix };
            if scrape.scope == Scope::Aggregated {
                if metric.together != Together::Nothing {
                    page.begin(prefix, &metric.metric);
                    page.sample("", value(self.together(scrape, at)))?;
                }
                continue;
            }
            page.begin(prefix, &metric.metric);
            for (labels, number) in
                self.labels().zip(&self.numbers[at]).filter(|(_, number)| **number != NONE)
            {
                page.sample(labels, value(*number))?;
            }
        }
        if scrape.scope != Scope::Aggregated && scrape.wants(Whole) {
            page.begin(scrape.prefix(), &QUEUE_INFO);
            for (labels, kind) in self.labels().zip(&self.kinds) {
                let own = labels.trim_end_matches('}');
                let labels = format!("{own},queue_type=\"{}\",membership=\"leader\"}}", type_name(*kind));
                page.sample(&labels, Value::Whole(1))?;
            }
        }
        Ok(())
    }

    /// What all queues have together. Counters have what deleted queues did, too.
    fn together(&self, scrape: &Scrape<'_>, at: usize) -> u64 {
        let metric = self.metrics[at];
        if metric.metric.kind != names::Kind::Counter {
            return if self.together[at] == NONE { 0 } else { self.together[at] };
        }
        let mut counters = Counters::default();
        self.sum.counters.iter().for_each(|of_kind| counters += of_kind);
        let all = Read { figures: Figures { counters, ..Figures::default() }, ..Read::default() };
        scrape.exporter.never_less((metric.metric.name, 0), (metric.read)(&all).unwrap_or(0))
    }
}

/// What RabbitMQ calls a type of queue in labels.
pub(super) fn type_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Classic => "rabbit_classic_queue",
        Kind::Quorum => "rabbit_quorum_queue",
    }
}
