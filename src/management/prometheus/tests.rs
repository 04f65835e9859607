//! Pages over a socket, from a broker without a disk.

use super::*;
use crate::arguments::Table;
use crate::broker::declare::{DeclareQueue, DeleteIf};
use crate::broker::events::Actor;
use crate::broker::{Broker, Defaults, Session};
use crate::message::{Message, Properties};
use crate::name::QueueName;
use crate::outbox::Wakes;
use crate::store;
use std::collections::{BTreeMap, BTreeSet};

/// What RabbitMQ's published overview dashboard (10991) asks for, in its older and its newer form.
const OVERVIEW: &[&str] = &[
    "rabbitmq_build_info",
    "rabbitmq_channel_consumers",
    "rabbitmq_channel_get_ack_total",
    "rabbitmq_channel_get_empty_total",
    "rabbitmq_channel_get_total",
    "rabbitmq_channel_messages_acked_total",
    "rabbitmq_channel_messages_confirmed_total",
    "rabbitmq_channel_messages_delivered_ack_total",
    "rabbitmq_channel_messages_delivered_total",
    "rabbitmq_channel_messages_published_total",
    "rabbitmq_channel_messages_redelivered_total",
    "rabbitmq_channel_messages_unconfirmed",
    "rabbitmq_channel_messages_unroutable_dropped_total",
    "rabbitmq_channel_messages_unroutable_returned_total",
    "rabbitmq_channels",
    "rabbitmq_channels_closed_total",
    "rabbitmq_channels_opened_total",
    "rabbitmq_connections",
    "rabbitmq_connections_closed_total",
    "rabbitmq_connections_opened_total",
    "rabbitmq_consumers",
    "rabbitmq_disk_space_available_bytes",
    "rabbitmq_disk_space_available_limit_bytes",
    "rabbitmq_global_consumers",
    "rabbitmq_global_messages_acknowledged_total",
    "rabbitmq_global_messages_confirmed_total",
    "rabbitmq_global_messages_delivered_consume_auto_ack_total",
    "rabbitmq_global_messages_delivered_consume_manual_ack_total",
    "rabbitmq_global_messages_delivered_get_auto_ack_total",
    "rabbitmq_global_messages_delivered_get_manual_ack_total",
    "rabbitmq_global_messages_delivered_total",
    "rabbitmq_global_messages_get_empty_total",
    "rabbitmq_global_messages_received_confirm_total",
    "rabbitmq_global_messages_received_total",
    "rabbitmq_global_messages_redelivered_total",
    "rabbitmq_global_messages_routed_total",
    "rabbitmq_global_messages_unroutable_dropped_total",
    "rabbitmq_global_messages_unroutable_returned_total",
    "rabbitmq_global_publishers",
    "rabbitmq_identity_info",
    "rabbitmq_process_max_fds",
    "rabbitmq_process_max_tcp_sockets",
    "rabbitmq_process_open_fds",
    "rabbitmq_process_open_tcp_sockets",
    "rabbitmq_process_resident_memory_bytes",
    "rabbitmq_queue_messages_published_total",
    "rabbitmq_queue_messages_ready",
    "rabbitmq_queue_messages_unacked",
    "rabbitmq_queues",
    "rabbitmq_queues_created_total",
    "rabbitmq_queues_declared_total",
    "rabbitmq_queues_deleted_total",
    "rabbitmq_resident_memory_limit_bytes",
];

/// A node whose metrics are served.
struct Site {
    base: String,
    broker: Arc<Broker>,
    exporter: Arc<Exporter>,
    agent: ureq::Agent,
    _runtime: tokio::runtime::Runtime,
}

/// Status, content type, and the page.
#[derive(Debug, PartialEq)]
struct Got(u16, String, String);

impl Site {
    fn start() -> Self {
        Self::start_with("/metrics", false)
    }

    fn start_with(path: &str, is_per_object: bool) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (store, recovered) = store::memory::open();
        let broker = Broker::start(Defaults::in_tests(), store, recovered).unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let node = Node {
            broker: Arc::clone(&broker),
            listeners: Vec::new(),
            data_dir: ".".into(),
            config: Arc::new(crate::config::Live::new(Default::default())),
            sessions: Default::default(),
            statistics: crate::management::Statistics::new(crate::time::Duration::ZERO),
        };
        let exporter = Arc::new(Exporter::new(Arc::new(node), path, is_per_object));
        runtime.spawn(serve(listener, Arc::clone(&exporter), std::future::pending()));
        let agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build();
        Site { base: format!("http://{address}"), broker, exporter, agent: agent.into(), _runtime: runtime }
    }

    fn ask(&self, method: &str, path: &str, accept: &str) -> Got {
        let request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        let mut response = self.agent.run(request.header("accept", accept).body(()).unwrap()).unwrap();
        let kind =
            response.headers().get("content-type").map_or("", |kind| kind.to_str().unwrap()).to_owned();
        let text = response.body_mut().with_config().limit(1 << 30).read_to_string().unwrap();
        Got(response.status().as_u16(), kind, text)
    }

    fn page(&self, path: &str) -> String {
        let Got(status, _, text) = self.ask("GET", path, "*/*");
        assert_eq!(status, 200, "{text}");
        check_text(&text);
        text
    }

    fn session(&self) -> Session {
        self.broker.enter_as_administrator(&Actor::default(), &"/".into()).unwrap()
    }

    fn declare(&self, name: &str) {
        declare(&self.broker, &self.session(), name);
    }

    fn publish(&self, exchange: &str, key: &str, body: &str) {
        let message = Message::new(
            exchange.into(),
            key.as_bytes(),
            &[0, 0],
            &Properties::default(),
            &[body.as_bytes()],
        );
        let mut session = self.session();
        let outcome = self.broker.publish::<crate::broker::Error>(
            &mut session,
            &Arc::new(message),
            None,
            &mut Wakes::default(),
        );
        outcome.unwrap();
    }
}

fn declare(broker: &Broker, session: &Session, name: &str) {
    let declare = DeclareQueue {
        name: QueueName::new(name),
        durable: false,
        exclusive: false,
        auto_delete: false,
        arguments: Table::default(),
    };
    let _ = broker.declare_queue(session, declare).unwrap();
}

/// The samples of a page: name with labels, and value.
fn samples(page: &str) -> BTreeMap<&str, &str> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').unwrap()).collect()
}

fn value<'a>(page: &'a str, sample: &str) -> &'a str {
    samples(page).get(sample).unwrap_or_else(|| panic!("no {sample} in:\n{page}"))
}

fn names(page: &str) -> BTreeSet<&str> {
    samples(page).into_keys().map(|sample| sample.split('{').next().unwrap()).collect()
}

/// What both formats want: help and type once and before the samples, which stand together; no sample twice; numbers.
fn check_text(page: &str) {
    let (mut seen, mut families, mut family) = (BTreeSet::new(), BTreeSet::new(), "");
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            family = help.split(' ').next().unwrap();
            assert!(families.insert(family), "{family} is there twice");
            let kind = lines.next().unwrap().strip_prefix(&format!("# TYPE {family} ")).unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{family}: {kind}");
        } else if line != "# EOF" {
            let (sample, number) = line.rsplit_once(' ').unwrap();
            assert!(sample.starts_with(family), "{line} is not of {family}");
            assert!(seen.insert(sample), "{sample} is there twice");
            assert!(number.parse::<f64>().is_ok(), "{line}");
        }
    }
}

#[test]
fn every_name_of_rabbitmqs_overview_dashboard_exists() {
    let site = Site::start();
    site.declare("q");
    let page = site.page("/metrics");
    let names = names(&page);
    let missing: Vec<_> = OVERVIEW.iter().filter(|name| !names.contains(**name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// The dashboard that comes with Warren asks for nothing that is not there.
#[test]
fn every_name_of_our_own_dashboard_exists() {
    let site = Site::start();
    let page = site.page("/metrics");
    let names = names(&page);
    let dashboard = include_str!("../../../docs/grafana/warren-overview.json");
    let dashboard: serde_json::Value = serde_json::from_str(dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let word = regex::Regex::new(r"\b(rabbitmq|warren)_[a-z0-9_]+").unwrap();
    let mut count = 0;
    for target in targets {
        let expression = target["expr"].as_str().unwrap();
        for name in word.find_iter(expression).map(|found| found.as_str()) {
            // Labels that all metrics are joined with.
            if !["rabbitmq_cluster", "rabbitmq_node"].contains(&name) {
                assert!(names.contains(name), "{name} is not there: {expression}");
                count += 1;
            }
        }
    }
    assert!(count > 20, "{count} names");
}

/// The page for people has every metric, and none that is not there.
#[test]
fn the_documentation_has_every_metric_with_its_type() {
    let site = Site::start();
    let all: String = names::FAMILIES.iter().map(|(name, _)| format!("&family={name}")).collect();
    let detailed = format!("/metrics/detailed?{all}");
    let common = |name: &str| name.replace("rabbitmq_detailed_", "rabbitmq_");
    let mut served = BTreeMap::new();
    for path in ["/metrics", "/metrics/per-object", "/metrics/memory-breakdown", &detailed] {
        let page = site.page(path);
        let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        served.extend(types.map(|(name, kind)| (common(name), kind.to_owned())));
    }
    let text = include_str!("../../../docs/metrics.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let rows = rows.filter(|(name, _)| !name.starts_with('/'));
    let documented: BTreeMap<_, _> = rows
        .map(|(name, rest)| (common(name), rest.split(' ').next().unwrap_or_default().to_owned()))
        .collect();
    assert_eq!(served, documented);
}

#[test]
fn all_pages_are_well_formed_in_both_formats() {
    let site = Site::start();
    for name in ["q", "a \"quoted\" one\\", "two\nlines", "größer"] {
        site.declare(name);
        site.publish("", name, "body");
    }
    site.publish("amq.fanout", "", "nobody wants it");
    let all: String = names::FAMILIES.iter().map(|(name, _)| format!("&family={name}")).collect();
    for path in
        ["/metrics", "/metrics/per-object", "/metrics/memory-breakdown", &format!("/metrics/detailed?{all}")]
    {
        let Got(status, kind, text) = site.ask("GET", path, "text/plain");
        assert_eq!((status, kind.as_str()), (200, "text/plain; version=0.0.4; charset=utf-8"), "{path}");
        check_text(&text);
        let Got(status, kind, open) = site.ask("GET", path, "application/openmetrics-text;version=1.0.0");
        assert_eq!(
            (status, kind.as_str()),
            (200, "application/openmetrics-text; version=1.0.0; charset=utf-8")
        );
        check_text(&open);
        assert!(open.ends_with("\n# EOF\n"), "{path}");
        assert_eq!(samples(&text).len(), samples(&open).len(), "{path}");
    }
    let page = site.page("/metrics/per-object");
    for queue in ["q", r#"a \"quoted\" one\\"#, r"two\nlines", "größer"] {
        let sample = format!("rabbitmq_queue_messages_ready{{vhost=\"/\",queue=\"{queue}\"}}");
        assert_eq!(value(&page, &sample), "1");
    }
}

#[test]
fn head_says_what_get_would_and_what_is_not_there_is_not_found() {
    let site = Site::start();
    let Got(status, kind, text) = site.ask("HEAD", "/metrics", "*/*");
    assert_eq!((status, kind.as_str(), text.as_str()), (200, "text/plain; version=0.0.4; charset=utf-8", ""));
    for path in ["/", "/metrics/other", "/metric"] {
        assert_eq!(site.ask("GET", path, "*/*").0, 404, "{path}");
    }
    assert_eq!(site.ask("POST", "/metrics", "*/*").0, 405);
}

#[test]
fn a_detailed_page_has_the_families_vhosts_and_queues_that_are_asked_for_and_no_others() {
    let site = Site::start();
    ["orders", "orders.late", "mail"].iter().for_each(|name| site.declare(name));
    site.publish("", "mail", "x");
    let page = site.page(
        "/metrics/detailed?family=queue_coarse_metrics&family=queue_consumer_count&vhost=%2F&queue=%5Eord",
    );
    let shown: BTreeSet<_> = samples(&page).into_keys().filter(|name| !name.contains("_info{")).collect();
    let mut expected = BTreeSet::new();
    for queue in ["orders", "orders.late"] {
        for name in ["queue_messages_ready", "queue_messages_unacked", "queue_messages", "queue_consumers"] {
            expected.insert(format!("rabbitmq_detailed_{name}{{vhost=\"/\",queue=\"{queue}\"}}"));
        }
    }
    assert_eq!(shown, expected.iter().map(String::as_str).collect());
    let elsewhere = site.page("/metrics/detailed?family=queue_coarse_metrics&vhost=other");
    assert_eq!(samples(&elsewhere).len(), 2, "which node it is, and nothing else:\n{elsewhere}");
}

#[test]
fn a_detailed_page_has_exchanges_vhosts_and_bindings() {
    let site = Site::start();
    site.publish("amq.topic", "nowhere", "x");
    site.broker.count_unroutable(&site.session(), &"amq.topic".into(), false);
    site.broker.count_unroutable(&site.session(), &"amq.topic".into(), true);
    let page = site.page(
        "/metrics/detailed?family=exchange_metrics&family=vhost_status&family=exchange_bindings&family=exchange_names",
    );
    let labels = r#"{vhost="/",exchange="amq.topic",type="topic"}"#;
    for (name, number) in [
        ("rabbitmq_detailed_exchange_messages_published_total", "1"),
        ("rabbitmq_detailed_exchange_messages_unroutable_dropped_total", "1"),
        ("rabbitmq_detailed_exchange_messages_unroutable_returned_total", "1"),
        ("rabbitmq_cluster_exchange_bindings", "0"),
        ("rabbitmq_cluster_exchange_name", "1"),
    ] {
        assert_eq!(value(&page, &format!("{name}{labels}")), number, "{name}");
    }
    assert_eq!(value(&page, r#"rabbitmq_cluster_vhost_status{vhost="/"}"#), "1");
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let site = Site::start();
    let Got(status, _, text) = site.ask("GET", "/metrics/detailed?family=queue_metric", "*/*");
    assert_eq!(status, 400);
    assert!(text.contains("'queue_metric'") && text.contains("queue_coarse_metrics"), "{text}");
    let Got(status, _, text) = site.ask("GET", "/metrics/detailed?family=queue_metrics&queue=(", "*/*");
    assert!(status == 400 && text.contains("'queue' is not a valid regular expression"), "{status}: {text}");
    // What only RabbitMQ has is known, and empty.
    assert_eq!(samples(&site.page("/metrics/detailed?family=ra_metrics")).len(), 2);
}

#[test]
fn the_path_and_what_stands_there_can_be_chosen() {
    let site = Site::start_with("/own/metrics/", true);
    site.declare("q");
    assert_eq!(value(&site.page("/own/metrics"), r#"rabbitmq_queue_messages{vhost="/",queue="q"}"#), "0");
    assert_eq!(site.ask("GET", "/metrics", "*/*").0, 404);
    assert_eq!(samples(&site.page("/own/metrics/detailed")).len(), 2);
}

#[test]
fn counters_do_not_fall_when_a_queue_goes() {
    let site = Site::start();
    site.declare("q");
    (0..3).for_each(|_| site.publish("", "q", "12345"));
    let counters = [
        ("rabbitmq_queue_messages_published_total", "3"),
        ("rabbitmq_global_messages_received_total{protocol=\"amqp091\"}", "3"),
        ("rabbitmq_global_messages_routed_total{protocol=\"amqp091\"}", "3"),
        ("rabbitmq_message_size_bytes_bucket{protocol=\"amqp091\",le=\"100.0\"}", "3"),
        ("rabbitmq_message_size_bytes_sum{protocol=\"amqp091\"}", "15"),
    ];
    let page = site.page("/metrics");
    counters.iter().for_each(|(name, number)| assert_eq!(value(&page, name), *number));
    assert_eq!(value(&page, "rabbitmq_queues"), "1");
    let always = DeleteIf { unused: false, empty: false };
    let _ = site.broker.delete_queue(&site.session(), &"q".into(), always, &mut Wakes::default()).unwrap();
    let page = site.page("/metrics");
    counters.iter().for_each(|(name, number)| assert_eq!(value(&page, name), *number));
    assert_eq!((value(&page, "rabbitmq_queues"), value(&page, "rabbitmq_queue_messages")), ("0", "0"));
    assert_eq!(value(&page, "rabbitmq_queues_deleted_total"), "1");
}

#[test]
fn a_counter_that_was_shown_is_never_shown_with_less() {
    let site = Site::start();
    assert_eq!(site.exporter.never_less(("x", 0), 5), 5);
    assert_eq!((site.exporter.never_less(("x", 0), 3), site.exporter.never_less(("x", 1), 3)), (5, 3));
    assert_eq!(site.exporter.never_less(("x", 0), 6), 6);
}

/// Nothing is locked while a piece is on its way: whoever writes it could publish, declare and delete meanwhile.
#[test]
fn a_page_of_many_queues_comes_in_pieces_between_which_everything_goes_on() {
    const QUEUES: usize = 3_000;
    let site = Site::start();
    let session = site.session();
    (0..QUEUES).for_each(|number| declare(&site.broker, &session, &format!("queue-{number}")));
    let (mut pieces, mut page, mut largest) = (0, String::new(), 0);
    let mut send = |piece: String| {
        pieces += 1;
        largest = largest.max(piece.len());
        page.push_str(&piece);
        site.publish("", "queue-1", "x");
        site.declare(&format!("late-{pieces}"));
        let always = DeleteIf { unused: false, empty: false };
        let name = QueueName::new(&format!("queue-{}", 2 + pieces));
        let _ = site.broker.delete_queue(&session, &name, always, &mut Wakes::default()).unwrap();
        Some(piece)
    };
    site.exporter.write(Scope::PerObject, Filter::default(), Format::Text, &mut send);
    check_text(&page);
    let ready =
        samples(&page).into_iter().filter(|(name, _)| name.starts_with("rabbitmq_queue_messages_ready{"));
    assert_eq!(ready.count(), QUEUES);
    assert!(pieces > 10 && largest < 2 * (256 << 10), "{pieces} pieces of up to {largest} bytes");
}

#[test]
fn the_oldest_message_of_a_queue_has_an_age_and_an_empty_queue_has_none() {
    let site = Site::start();
    site.declare("full");
    site.declare("empty");
    let message = Message::new("".into(), b"full", &[0, 0], &Properties::default(), &[b"x"]);
    let message = Arc::new(message.at(crate::time::Millis(time::unix_ms().0 - 5_000)));
    let mut wakes = Wakes::default();
    site.broker.publish::<crate::broker::Error>(&mut site.session(), &message, None, &mut wakes).unwrap();
    let page = site.page("/metrics/per-object");
    let age = value(&page, r#"warren_queue_oldest_message_age_seconds{vhost="/",queue="full"}"#);
    let age: f64 = age.parse().unwrap();
    assert!((5.0..60.0).contains(&age), "{age}");
    assert!(!page.contains(r#"warren_queue_oldest_message_age_seconds{vhost="/",queue="empty"}"#));
    let oldest: f64 =
        value(&site.page("/metrics"), "warren_queue_oldest_message_age_seconds").parse().unwrap();
    assert!(oldest >= 5.0, "{oldest}");
}

#[test]
fn a_client_that_stops_reading_keeps_nobody_else_from_a_page() {
    use std::io::Write as _;
    let site = Site::start();
    let session = site.session();
    (0..3_000).for_each(|number| declare(&site.broker, &session, &format!("queue-{number}")));
    let address = site.base.strip_prefix("http://").unwrap();
    // One place is left; whoever reads gets its page through it.
    let mut silent = std::net::TcpStream::connect(address).unwrap();
    silent.write_all(b"GET /metrics/per-object HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    (0..3).for_each(|_| drop(site.page("/metrics")));
}

#[test]
fn logins_are_counted_by_protocol_and_by_source() {
    let site = Site::start();
    let logins = &site.broker.counters.logins;
    use crate::broker::counters::LoginProtocol;
    let address = "192.0.2.1".parse().unwrap();
    logins.count(LoginProtocol::Amqp, "guest", address, true);
    logins.count(LoginProtocol::Amqp, "guest", address, false);
    let page = site.page("/metrics");
    assert_eq!(value(&page, r#"rabbitmq_auth_attempts_total{protocol="amqp091"}"#), "2");
    assert_eq!(value(&page, r#"rabbitmq_auth_attempts_failed_total{protocol="amqp091"}"#), "1");
    assert_eq!(value(&page, r#"rabbitmq_auth_attempts_total{protocol="http"}"#), "0");
    assert!(!page.contains("192.0.2.1"), "who comes from where is told to those who ask for it");
    let page = site.page("/metrics/detailed?family=auth_attempt_detailed_metrics");
    let labels = r#"{protocol="amqp091",username="guest",remote_address="192.0.2.1"}"#;
    assert_eq!(
        value(&page, &format!("rabbitmq_detailed_auth_attempts_detailed_succeeded_total{labels}")),
        "1"
    );
}
