//! Metrics on the port for Prometheus: what clients did is what is counted there, by RabbitMQ's names.

use crate::support::broker::start_in_process;
use crate::support::codec::Value;
use crate::support::raw::PATIENCE;
use crate::support::{Client, Login, Properties, Scenario, http, text};
use std::collections::BTreeMap;
use warren::time;

/// A broker of the test's own: it counts nobody else.
struct Counted {
    t: Scenario,
}

impl Counted {
    fn start() -> Self {
        Self { t: Scenario::new(start_in_process().0, true) }
    }

    fn page(&self, path: &str) -> BTreeMap<String, f64> {
        let address = self.t.target.metrics.expect("Warren serves metrics");
        let (status, page) = http::request(address, "GET", path, "", "");
        assert_eq!(status, 200, "{page}");
        let samples = page.lines().filter(|line| !line.starts_with('#'));
        let samples = samples.filter_map(|line| line.rsplit_once(' '));
        samples.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
    }

    /// Waits until the page says this: figures of a connection are a second old at most.
    fn expect(&self, path: &str, wanted: &[(&str, f64)]) {
        let started = time::now();
        loop {
            let page = self.page(path);
            let differing: Vec<_> =
                wanted.iter().filter(|(name, value)| page.get(*name) != Some(value)).collect();
            if differing.is_empty() {
                return;
            }
            if started.elapsed() > PATIENCE {
                let found: Vec<_> = differing.iter().map(|(name, _)| (name, page.get(*name))).collect();
                panic!("wanted {differing:?}, found {found:?}");
            }
        }
    }
}

fn confirming(t: &Scenario) -> Client {
    let mut c = t.open();
    c.call(1, "confirm.select", "confirm.select-ok");
    c
}

const AMQP: &str = "{protocol=\"amqp091\"}";
const CLASSIC: &str = "{protocol=\"amqp091\",queue_type=\"rabbit_classic_queue\"}";

#[test]
fn what_is_published_is_counted_and_stays_counted_when_its_connection_is_gone() {
    let counted = Counted::start();
    let mut plain = counted.t.open();
    plain.declare(1, "~q", "durable");
    (0..3).for_each(|_| plain.publish(1, "", "~q", "12345"));
    let mut c = confirming(&counted.t);
    c.publish_with(1, "key=~q", &Properties::new("delivery-mode=2"), vec![b'x'; 2_000]);
    c.expect("1 basic.ack delivery=1");
    c.publish(1, "amq.direct", "~none", "dropped");
    c.expect("1 basic.ack delivery=2");
    c.publish_with(1, "exchange=amq.direct key=~none mandatory", &Properties::new(""), "back");
    c.expect("1 basic.return code=312 text=NO_ROUTE exchange=amq.direct key=~none: back");
    c.expect("1 basic.ack delivery=3");
    let wanted = [
        (format!("rabbitmq_global_messages_received_total{AMQP}"), 6.0),
        (format!("rabbitmq_global_messages_received_confirm_total{AMQP}"), 3.0),
        (format!("rabbitmq_global_messages_routed_total{AMQP}"), 4.0),
        (format!("rabbitmq_global_messages_confirmed_total{AMQP}"), 3.0),
        (format!("rabbitmq_global_messages_unroutable_dropped_total{AMQP}"), 1.0),
        (format!("rabbitmq_global_messages_unroutable_returned_total{AMQP}"), 1.0),
        ("rabbitmq_channel_messages_published_total".to_owned(), 6.0),
        ("rabbitmq_channel_messages_confirmed_total".to_owned(), 3.0),
        ("rabbitmq_channel_messages_unroutable_dropped_total".to_owned(), 1.0),
        ("rabbitmq_channel_messages_unroutable_returned_total".to_owned(), 1.0),
        ("rabbitmq_queue_messages_published_total".to_owned(), 4.0),
        ("rabbitmq_queue_messages_ready".to_owned(), 4.0),
        ("rabbitmq_message_size_bytes_bucket{protocol=\"amqp091\",le=\"100.0\"}".to_owned(), 5.0),
        ("rabbitmq_message_size_bytes_count{protocol=\"amqp091\"}".to_owned(), 6.0),
        ("rabbitmq_message_size_bytes_sum{protocol=\"amqp091\"}".to_owned(), 2_026.0),
    ];
    let wanted: Vec<_> = wanted.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    counted.expect("/metrics", &wanted);
    let publishers = format!("rabbitmq_global_publishers{AMQP}");
    counted.expect("/metrics", &[("rabbitmq_connections", 2.0), (&publishers, 2.0)]);
    let page = counted.page("/metrics");
    let bytes = page["rabbitmq_connection_incoming_bytes_total"];
    assert!(page["warren_confirm_latency_seconds_count"] >= 1.0 && bytes > 2_000.0, "{page:?}");
    assert!(page["warren_fsync_seconds_count"] >= 1.0, "a durable message was confirmed");
    let exchange = r#"{vhost="/",exchange="amq.direct",type="direct"}"#;
    counted.expect(
        "/metrics/detailed?family=exchange_metrics",
        &[
            (&format!("rabbitmq_detailed_exchange_messages_published_total{exchange}"), 2.0),
            (&format!("rabbitmq_detailed_exchange_messages_confirmed_total{exchange}"), 2.0),
            (&format!("rabbitmq_detailed_exchange_messages_unroutable_dropped_total{exchange}"), 1.0),
            (&format!("rabbitmq_detailed_exchange_messages_unroutable_returned_total{exchange}"), 1.0),
        ],
    );
    plain.close();
    c.close();
    counted.expect("/metrics", &[("rabbitmq_connections", 0.0), ("rabbitmq_connections_closed_total", 2.0)]);
    counted.expect("/metrics", &wanted);
    assert!(counted.page("/metrics")["rabbitmq_connection_incoming_bytes_total"] >= bytes);
}

#[test]
fn deliveries_gets_and_acks_are_counted_by_how_they_are_acknowledged() {
    let counted = Counted::start();
    let mut c = counted.t.open();
    c.declare(1, "~q", "exclusive");
    (0..3).for_each(|_| drop(c.get(1, "~q", "basic.get-empty")));
    (0..6).for_each(|_| c.publish(1, "", "~q", "x"));
    // Got: one to be acknowledged, one not.
    c.call(1, "basic.get queue=~q", "basic.get-ok delivery=1 key=~q left=5: x");
    c.call(1, "basic.get queue=~q no-ack", "basic.get-ok delivery=2 key=~q left=4: x");
    c.send(1, "basic.ack delivery=1");
    c.consume(1, "~q", "acks", "");
    (3..7).for_each(|tag| drop(c.expect(&format!("1 basic.deliver tag=acks delivery={tag} key=~q: x"))));
    c.send(1, "basic.ack delivery=4 multiple");
    c.send(1, "basic.nack delivery=5 requeue");
    c.expect("1 basic.deliver tag=acks delivery=7 redelivered key=~q: x");
    let global = |name: &str| format!("rabbitmq_global_messages_{name}_total{CLASSIC}");
    let wanted = [
        (global("delivered"), 7.0),
        (global("delivered_consume_manual_ack"), 5.0),
        (global("delivered_consume_auto_ack"), 0.0),
        (global("delivered_get_manual_ack"), 1.0),
        (global("delivered_get_auto_ack"), 1.0),
        (global("get_empty"), 3.0),
        (global("redelivered"), 1.0),
        (global("acknowledged"), 3.0),
        ("rabbitmq_channel_messages_delivered_ack_total".to_owned(), 5.0),
        ("rabbitmq_channel_messages_delivered_total".to_owned(), 0.0),
        ("rabbitmq_channel_get_ack_total".to_owned(), 1.0),
        ("rabbitmq_channel_get_total".to_owned(), 1.0),
        ("rabbitmq_channel_get_empty_total".to_owned(), 3.0),
        ("rabbitmq_channel_messages_redelivered_total".to_owned(), 1.0),
        ("rabbitmq_channel_messages_acked_total".to_owned(), 3.0),
        ("rabbitmq_channel_messages_unacked".to_owned(), 2.0),
        ("rabbitmq_channel_consumers".to_owned(), 1.0),
        ("rabbitmq_consumers".to_owned(), 1.0),
    ];
    let wanted: Vec<_> = wanted.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    counted.expect("/metrics", &wanted);
    assert!(counted.page("/metrics")["warren_queue_residence_seconds_count"] >= 1.0);
    // The queue goes with its connection; what it did stays.
    c.close();
    counted.expect("/metrics", &[("rabbitmq_queues", 0.0), ("rabbitmq_consumers", 0.0)]);
    counted.expect("/metrics", &wanted[..15]);
}

#[test]
fn what_goes_over_a_channel_is_shown_by_its_name() {
    let counted = Counted::start();
    let mut c = counted.t.open();
    c.call(1, "basic.qos prefetch=7", "basic.qos-ok");
    c.declare(1, "~q", "exclusive");
    c.consume(1, "~q", "takes", "no-ack");
    c.publish(1, "", "~q", "x");
    c.expect("1 basic.deliver tag=takes delivery=1 key=~q: x");
    let started = time::now();
    let shown = loop {
        let page = counted.page("/metrics/detailed?family=channel_metrics&family=channel_queue_metrics");
        let delivered = page.iter().find(|(name, value)| {
            name.starts_with("rabbitmq_detailed_channel_messages_delivered_total{channel=\"127.0.0.1:")
                && **value == 1.0
        });
        if let Some((name, _)) = delivered {
            break (name.replace("rabbitmq_detailed_channel_messages_delivered_total", ""), page.clone());
        }
        assert!(started.elapsed() < PATIENCE, "{page:?}");
    };
    let (labels, page) = shown;
    assert!(labels.ends_with(" (1)\"}"), "{labels}");
    assert_eq!(page[&format!("rabbitmq_detailed_channel_consumers{labels}")], 1.0);
    assert_eq!(page[&format!("rabbitmq_detailed_consumer_prefetch{labels}")], 7.0);
}

#[test]
fn a_transaction_counts_its_publishes_when_they_come_and_its_acks_when_it_is_committed() {
    let counted = Counted::start();
    let mut c = counted.t.open();
    c.declare(1, "~q", "exclusive");
    c.publish(1, "", "~q", "x");
    c.call(1, "basic.get queue=~q", "basic.get-ok delivery=1 key=~q left=0: x");
    c.call(1, "tx.select", "tx.select-ok");
    c.publish(1, "", "~q", "x");
    c.publish(1, "", "~none", "dropped");
    c.send(1, "basic.ack delivery=1");
    let received = format!("rabbitmq_global_messages_received_total{AMQP}");
    counted.expect("/metrics", &[(&received, 3.0), ("rabbitmq_channel_messages_acked_total", 0.0)]);
    counted.expect(
        "/metrics",
        &[("rabbitmq_channel_messages_uncommitted", 2.0), ("rabbitmq_channel_acks_uncommitted", 1.0)],
    );
    c.call(1, "tx.commit", "tx.commit-ok");
    let dropped = format!("rabbitmq_global_messages_unroutable_dropped_total{AMQP}");
    let routed = format!("rabbitmq_global_messages_routed_total{AMQP}");
    counted.expect(
        "/metrics",
        &[("rabbitmq_channel_messages_acked_total", 1.0), (&dropped, 1.0), (&routed, 2.0)],
    );
    counted.expect("/metrics", &[("rabbitmq_channel_messages_unroutable_dropped_total", 1.0)]);
}

#[test]
fn dead_letters_are_counted_by_reason_and_by_what_becomes_of_them() {
    let counted = Counted::start();
    let mut c = counted.t.open();
    c.declare(1, "~dead", "exclusive");
    let to = [("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text("~dead"))];
    let full = [to[0].clone(), to[1].clone(), ("x-max-length", Value::I(1))];
    c.declare_with(1, "~full", "exclusive", &full);
    (0..3).for_each(|_| c.publish(1, "", "~full", "x"));
    c.declare_with(1, "~gone", "exclusive", &[("x-max-length", Value::I(0))]);
    c.publish(1, "", "~gone", "x");
    c.call(1, "basic.get queue=~full", "basic.get-ok delivery=1 key=~full left=0: x");
    c.send(1, "basic.reject delivery=1");
    let of = |reason: &str, strategy: &str| {
        format!(
            "rabbitmq_global_messages_dead_lettered_{reason}_total{{queue_type=\"rabbit_classic_queue\",dead_letter_strategy=\"{strategy}\"}}"
        )
    };
    let wanted = [
        (of("maxlen", "at_most_once"), 2.0),
        (of("maxlen", "disabled"), 1.0),
        (of("rejected", "at_most_once"), 1.0),
        (of("expired", "disabled"), 0.0),
    ];
    let wanted: Vec<_> = wanted.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    counted.expect("/metrics", &wanted);
}

#[test]
fn logins_are_counted_with_their_user_and_address() {
    let counted = Counted::start();
    (0..2).for_each(|_| counted.t.open().close());
    let mut refused = counted.t.socket();
    refused.start();
    refused.start_ok(&Login { password: "wrong".into(), ..Login::default() });
    counted.expect(
        "/metrics",
        &[
            ("rabbitmq_auth_attempts_total{protocol=\"amqp091\"}", 3.0),
            ("rabbitmq_auth_attempts_succeeded_total{protocol=\"amqp091\"}", 2.0),
            ("rabbitmq_auth_attempts_failed_total{protocol=\"amqp091\"}", 1.0),
        ],
    );
    let name = "rabbitmq_detailed_auth_attempts_detailed_failed_total";
    let labels = r#"{protocol="amqp091",username="guest",remote_address="127.0.0.1"}"#;
    let path = "/metrics/detailed?family=auth_attempt_detailed_metrics";
    counted.expect(path, &[(&format!("{name}{labels}"), 1.0)]);
}

#[test]
fn the_port_for_metrics_is_among_the_nodes_listeners() {
    let counted = Counted::start();
    let metrics = counted.t.target.metrics.expect("Warren serves metrics");
    let overview = counted.t.shown("/api/overview");
    let listeners = overview["listeners"].as_array().expect("a list");
    let own = listeners.iter().find(|listener| listener["protocol"] == "http/prometheus");
    assert_eq!(own.expect("it is listed")["port"], metrics.port());
    assert_eq!(
        counted.t.http("GET", &format!("/api/health/checks/port-listener/{}", metrics.port()), ""),
        200
    );
}
