//! Exchanges and vhosts: what went through each exchange, and which there are.

use super::Scrape;
use super::names::{CLUSTER, Family, Metric, counter, gauge};
use super::text::{Gone, Labels, Page, Value};
use crate::broker::Vhost;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What is shown of an exchange.
struct Row {
    labels: String,
    bindings: u64,
    published: u64,
    confirmed: u64,
    returned: u64,
    dropped: u64,
}

/// A counter of exchanges, and how it is read.
type ExchangeCounter = (Metric, fn(&Row) -> u64);

const COUNTERS: &[ExchangeCounter] = &[
    (counter("exchange_messages_published_total", "Messages published to an exchange"), |row| row.published),
    (
        counter(
            "exchange_messages_confirmed_total",
            "Messages published to an exchange over channels that confirm, and taken",
        ),
        |row| row.confirmed,
    ),
    (
        counter(
            "exchange_messages_unroutable_returned_total",
            "Mandatory messages published to an exchange that reached no queue and went back",
        ),
        |row| row.returned,
    ),
    (
        counter(
            "exchange_messages_unroutable_dropped_total",
            "Messages published to an exchange that reached no queue and are gone",
        ),
        |row| row.dropped,
    ),
];

const BINDINGS: Metric = gauge("exchange_bindings", "Bindings that leave an exchange");
const NAME: Metric = gauge("exchange_name", "An exchange");
const VHOST_STATUS: Metric = gauge("vhost_status", "1 if a vhost is running");

/// Writes what the families of exchanges and vhosts have.
pub(super) fn write(scrape: &Scrape<'_>, page: &mut Page<'_>) -> Result<(), Gone> {
    let vhosts: Vec<_> = scrape.exporter.node.broker.vhosts();
    if scrape.wants(Family::VhostStatus) {
        page.begin(CLUSTER, &VHOST_STATUS);
        for vhost in &vhosts {
            page.sample(&Labels::of(&[("vhost", vhost.name.as_str())]), Value::Whole(1))?;
        }
    }
    let families = [Family::Exchange, Family::ExchangeBindings, Family::ExchangeNames];
    if !families.iter().any(|family| scrape.wants(*family)) {
        return Ok(());
    }
    let shown = vhosts.iter().filter(|vhost| scrape.filter.has_vhost(&vhost.name));
    let rows: Vec<Row> = shown.flat_map(|vhost| read(vhost)).collect();
    for (metric, read) in COUNTERS.iter().filter(|_| scrape.wants(Family::Exchange)) {
        page.begin(scrape.prefix(), metric);
        for row in &rows {
            page.sample(&row.labels, read(row).into())?;
        }
    }
    if scrape.wants(Family::ExchangeBindings) {
        page.begin(CLUSTER, &BINDINGS);
        for row in &rows {
            page.sample(&row.labels, row.bindings.into())?;
        }
    }
    if scrape.wants(Family::ExchangeNames) {
        page.begin(CLUSTER, &NAME);
        for row in &rows {
            page.sample(&row.labels, Value::Whole(1))?;
        }
    }
    Ok(())
}

/// Reads a vhost's exchanges.
fn read(vhost: &Vhost) -> Vec<Row> {
    vhost.exchanges(|topology, exchange| {
        let counters = &exchange.counters;
        let load = |counter: &AtomicU64| counter.load(Relaxed);
        let labels = [
            ("vhost", vhost.name.as_str()),
            ("exchange", exchange.name.as_str()),
            ("type", exchange.definition.kind.as_str()),
        ];
        Row {
            labels: Labels::of(&labels),
            bindings: topology.bindings().count_leaving(exchange.name.as_str()) as u64,
            published: counters.published_in(),
            confirmed: counters.confirmed(),
            returned: load(&counters.returned),
            dropped: load(&counters.dropped),
        }
    })
}
