//! Counters of the node as a whole, by protocol and type of queue: what dashboards and alerts are made of.

use super::Scrape;
use super::connections::Open;
use super::names::{Metric, RABBITMQ, counter, gauge, histogram};
use super::queues::{Sum, type_name};
use super::text::{Gone, Labels, Page};
use crate::broker::counters::LoginProtocol;
use crate::dead_letter::Reason;
use crate::queue::arguments::Kind;
use crate::queue::classic::{Counters, Fate};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Relaxed)
}

/// Writes them.
pub(super) fn write(scrape: &Scrape<'_>, sum: &Sum, open: &Open, page: &mut Page<'_>) -> Result<(), Gone> {
    write_totals(sum, open, page)?;
    write_published(scrape, open, page)?;
    write_delivered(scrape, sum, page)?;
    write_dead_letters(scrape, sum, page)?;
    page.begin(RABBITMQ, &histogram("message_size_bytes", "Body bytes of messages published"));
    page.histogram(&[("protocol", protocol())], 1, &scrape.counters().sizes.snapshot())
}

/// The protocol that messages come and go by.
fn protocol() -> &'static str {
    LoginProtocol::Amqp.name()
}

fn write_totals(sum: &Sum, open: &Open, page: &mut Page<'_>) -> Result<(), Gone> {
    page.single(RABBITMQ, &gauge("connections", "Open connections"), open.connection_count())?;
    page.single(RABBITMQ, &gauge("channels", "Open channels"), open.channel_count())?;
    page.single(RABBITMQ, &gauge("consumers", "Consumers"), sum.consumers)?;
    page.single(RABBITMQ, &gauge("queues", "Queues"), sum.queues)?;
    let by_protocol = Labels::of(&[("protocol", protocol())]);
    page.begin(RABBITMQ, &gauge("global_publishers", "Channels that something was published over"));
    page.sample(&by_protocol, open.publisher_count().into())?;
    page.begin(RABBITMQ, &gauge("global_consumers", "Consumers by protocol"));
    page.sample(&by_protocol, sum.consumers.into())
}

fn write_published(scrape: &Scrape<'_>, open: &Open, page: &mut Page<'_>) -> Result<(), Gone> {
    let counters = scrape.counters();
    let by_protocol = Labels::of(&[("protocol", protocol())]);
    let mut one = |name, help, value: u64| {
        page.begin(RABBITMQ, &counter(name, help));
        page.sample(&by_protocol, value.into())
    };
    let published = load(&counters.published);
    one("global_messages_received_total", "Messages published", published)?;
    let (to_confirm, confirmed) = (open.counts().to_confirm, open.counts().confirmed);
    one("global_messages_received_confirm_total", "Messages published that are to be confirmed", to_confirm)?;
    one(
        "global_messages_routed_total",
        "Messages times the queues they were routed to",
        load(&counters.routed),
    )?;
    let dropped = load(&counters.dropped);
    one("global_messages_unroutable_dropped_total", "Messages that reached no queue and are gone", dropped)?;
    let returned = load(&counters.returned);
    let help = "Mandatory messages that reached no queue and went back";
    one("global_messages_unroutable_returned_total", help, returned)?;
    one("global_messages_confirmed_total", "Messages confirmed to publishers", confirmed)
}

/// What is counted of queues, by type.
type QueueCounter = (Metric, fn(&Counters) -> u64);

const DELIVERED: &[QueueCounter] = &[
    (counter("global_messages_delivered_total", "Messages delivered to consumers, or got"), |queue| {
        queue.delivered + queue.delivered_no_ack + queue.got + queue.got_no_ack
    }),
    (
        counter(
            "global_messages_delivered_consume_manual_ack_total",
            "Messages delivered to consumers that acknowledge",
        ),
        |queue| queue.delivered,
    ),
    (
        counter(
            "global_messages_delivered_consume_auto_ack_total",
            "Messages delivered to consumers that do not acknowledge",
        ),
        |queue| queue.delivered_no_ack,
    ),
    (
        counter("global_messages_delivered_get_manual_ack_total", "Messages got that are to be acknowledged"),
        |queue| queue.got,
    ),
    (
        counter(
            "global_messages_delivered_get_auto_ack_total",
            "Messages got that are not to be acknowledged",
        ),
        |queue| queue.got_no_ack,
    ),
    (counter("global_messages_get_empty_total", "How often there was nothing to get"), |queue| {
        queue.got_empty
    }),
    (counter("global_messages_redelivered_total", "Messages delivered or got once more"), |queue| {
        queue.redelivered
    }),
    (counter("global_messages_acknowledged_total", "Messages acknowledged"), |queue| queue.acked),
];

fn write_delivered(scrape: &Scrape<'_>, sum: &Sum, page: &mut Page<'_>) -> Result<(), Gone> {
    for (metric, read) in DELIVERED {
        page.begin(RABBITMQ, metric);
        for kind in Kind::ALL {
            let labels = Labels::of(&[("protocol", protocol()), ("queue_type", type_name(kind))]);
            let value = read(&sum.counters[kind as usize]);
            page.sample(&labels, scrape.exporter.never_less((metric.name, kind as usize), value).into())?;
        }
    }
    Ok(())
}

const DEAD_LETTERED: [(Reason, Metric); Reason::ALL.len()] = [
    (Reason::MaxLen, counter("global_messages_dead_lettered_maxlen_total", "Messages that left full queues")),
    (
        Reason::Expired,
        counter("global_messages_dead_lettered_expired_total", "Messages that lived their time"),
    ),
    (
        Reason::Rejected,
        counter("global_messages_dead_lettered_rejected_total", "Messages that consumers refused for good"),
    ),
    (
        Reason::DeliveryLimit,
        counter(
            "global_messages_dead_lettered_delivery_limit_total",
            "Messages that were delivered in vain too often",
        ),
    ),
];

fn strategy(fate: Fate) -> &'static str {
    match fate {
        Fate::Gone => "disabled",
        Fate::AtMostOnce => "at_most_once",
        Fate::AtLeastOnce => "at_least_once",
    }
}

fn write_dead_letters(scrape: &Scrape<'_>, sum: &Sum, page: &mut Page<'_>) -> Result<(), Gone> {
    let labels =
        |kind, fate| Labels::of(&[("queue_type", type_name(kind)), ("dead_letter_strategy", strategy(fate))]);
    for (reason, metric) in &DEAD_LETTERED {
        page.begin(RABBITMQ, metric);
        for kind in Kind::ALL {
            for fate in Fate::ALL {
                let value = sum.counters[kind as usize].left[fate as usize][*reason as usize - 1];
                let key = (metric.name, kind as usize * Fate::ALL.len() + fate as usize);
                page.sample(&labels(kind, fate), scrape.exporter.never_less(key, value).into())?;
            }
        }
    }
    let help = "Dead letters that arrived, of queues that keep them until then";
    page.begin(RABBITMQ, &counter("global_messages_dead_lettered_confirmed_total", help));
    for kind in Kind::ALL {
        let confirmed = load(&scrape.counters().dead_letters_confirmed[kind as usize]);
        page.sample(&labels(kind, Fate::AtLeastOnce), confirmed.into())?;
    }
    Ok(())
}
