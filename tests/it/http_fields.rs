//! What the HTTP API shows of the same objects, compared with RabbitMQ's field by field: which fields there are, their JSON
//! types, and the values where they depend on neither time nor machine. What may differ stands in `differences`, each with
//! its reason.

use crate::support::broker::{Process, Target};
use crate::support::http;
use crate::support::oracle::Oracle;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use regex::Regex;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

mod differences;

use differences::{DIFFERENCES, PASSED_OVER};

/// Where objects are shown. NODE, CONNECTION and CHANNEL stand for names that each broker gives.
const ROUTES: &[&str] = &[
    "/overview",
    "/cluster-name",
    "/nodes",
    "/nodes/NODE",
    "/nodes/NODE/memory",
    "/vhosts",
    "/vhosts/v",
    "/vhosts/v/permissions",
    "/vhosts/v/connections",
    "/vhosts/v/channels",
    "/users",
    "/users/u",
    "/users/u/permissions",
    "/permissions",
    "/permissions/v/u",
    "/topic-permissions",
    "/exchanges",
    "/exchanges/v",
    "/exchanges/v/x",
    "/exchanges/v/x/bindings/source",
    "/exchanges/v/amq.fanout/bindings/destination",
    "/queues",
    "/queues/v",
    "/queues/v/classic",
    "/queues/v/quorum",
    "/queues/v/exclusive",
    "/queues/v/classic/bindings",
    "/queues/v?page=1&page_size=2&name=classic",
    "/queues/v?columns=name,arguments.x-message-ttl",
    "/queues/v?sort=name&sort_reverse=true&columns=name",
    "/bindings",
    "/bindings/v",
    "/bindings/v/e/x/q/classic",
    "/connections",
    "/connections/CONNECTION",
    "/connections/CONNECTION/channels",
    "/channels",
    "/channels/CHANNEL",
    "/consumers",
    "/consumers/v",
    "/policies",
    "/policies/v/p",
    "/operator-policies",
    "/operator-policies/v/o",
    "/parameters",
    "/parameters/vhost-limits/v",
    "/global-parameters/g",
    "/vhost-limits/v",
    "/user-limits/u",
    "/definitions",
    "/definitions/v",
    "/whoami",
    "/extensions",
    "/feature-flags",
    "/healthchecks/node",
    "/health/checks/alarms",
    "/health/checks/local-alarms",
    "/health/checks/port-listener/1",
    "/health/checks/protocol-listener/amqp091",
    "/health/checks/virtual-hosts",
    "/health/checks/node-is-quorum-critical",
    "/health/checks/certificate-expiration/1/weeks",
    // And what is refused.
    "/queues/v/nope",
    "/queues/nope",
    "/exchanges/v/nope",
    "/queues?page=9",
    "/queues?page=0",
    "/users/nope",
    "/health/checks/port-listener/x",
    // Last, because RabbitMQ 3.10 makes a queue for it.
    "/aliveness-test/v",
];

/// A field, or what it is, where the two differ.
#[derive(Debug)]
struct Difference {
    /// Routes, as a regular expression over the whole path.
    route: &'static str,
    /// Lines of [`compare`], as a regular expression over the whole line.
    line: &'static str,
    why: &'static str,
}

fn ask(target: Target, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let management = target.management.expect("the broker has an HTTP API");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let (status, answer) = http::request(management, method, &format!("/api{path}"), "guest:guest", &body);
    (status, serde_json::from_str(&answer).unwrap_or_default())
}

fn get(target: Target, path: &str) -> (u16, Value) {
    ask(target, "GET", path, &Value::Null)
}

/// One of everything, in the vhost `v`.
fn furnish(target: Target) {
    let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
    for (path, body) in [
        ("/vhosts/v", json!({"description": "d", "tags": "a,b"})),
        ("/users/u", json!({"password": "secret", "tags": "monitoring"})),
        ("/permissions/v/guest", all.clone()),
        ("/permissions/v/u", all),
        ("/exchanges/v/x", json!({"type": "topic", "durable": true, "arguments": {"n": 1}})),
        ("/queues/v/classic", json!({"durable": true, "arguments": {"x-message-ttl": 3_600_000}})),
        ("/queues/v/quorum", json!({"durable": true, "arguments": {"x-queue-type": "quorum"}})),
        (
            "/policies/v/p",
            json!({"pattern": "c", "definition": {"max-length": 100}, "apply-to": "queues", "priority": 1}),
        ),
        (
            "/operator-policies/v/o",
            json!({"pattern": "^c", "definition": {"expires": 36_000_000}, "apply-to": "queues"}),
        ),
        ("/vhost-limits/v/max-queues", json!({"value": 90})),
        ("/user-limits/u/max-channels", json!({"value": 9})),
        ("/global-parameters/g", json!({"value": {"a": [1, "b"]}})),
    ] {
        let (status, answer) = ask(target, "PUT", path, &body);
        assert!(matches!(status, 201 | 204), "{path}: {status} {answer}");
    }
    for (path, body) in [
        ("/bindings/v/e/x/q/classic", json!({"routing_key": "k"})),
        ("/bindings/v/e/x/e/amq.fanout", json!({"routing_key": "a b/c"})),
    ] {
        assert_eq!(ask(target, "POST", path, &body).0, 201, "{path}");
    }
}

/// What ends when it is dropped.
type Client = (Connection, Channel, Consumer);

/// A client with a channel that confirms, five messages of which a consumer has three, and an exclusive queue.
async fn connect(target: Target) -> Client {
    let uri = format!("amqp://guest:guest@{}/v", target.amqp);
    let connection = Connection::connect(&uri, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    channel.basic_qos(3, BasicQosOptions::default()).await.unwrap();
    let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
    channel.queue_declare("exclusive".into(), options, FieldTable::default()).await.unwrap();
    let properties = BasicProperties::default().with_delivery_mode(2).with_timestamp(1_700_000_000);
    for (exchange, key) in [("x", "k"), ("x", "k"), ("x", "k"), ("x", "k"), ("x", "k"), ("", "quorum")] {
        let options = BasicPublishOptions::default();
        let publish =
            channel.basic_publish(exchange.into(), key.into(), options, b"hello", properties.clone());
        publish.await.unwrap().await.unwrap();
    }
    let options = BasicConsumeOptions::default();
    let consume = channel.basic_consume("classic".into(), "tag".into(), options, FieldTable::default());
    let consumer = consume.await.unwrap();
    (connection, channel, consumer)
}

/// Waits until the statistics say what [`connect`] did: RabbitMQ collects them every few seconds.
fn await_statistics(target: Target) {
    let is_told = || {
        let queue = get(target, "/queues/v/classic").1;
        let channel = &get(target, "/vhosts/v/channels").1[0];
        let connection = &get(target, "/vhosts/v/connections").1[0];
        let others = ["quorum", "exclusive"].map(|name| get(target, &format!("/queues/v/{name}")).1);
        queue["messages_unacknowledged"] == 3
            && queue["consumer_details"][0]["consumer_tag"] == "tag"
            && channel["prefetch_count"] == 3
            && channel["messages_unacknowledged"] == 3
            && connection["channels"] == 1
            && others[0]["messages"] == 1
            && others[1]["messages"] == 0
            && get(target, "/overview").1["queue_totals"]["messages"].as_u64() >= Some(5)
            && get(target, "/vhosts/v").1["messages"].as_u64() >= Some(5)
    };
    let started = warren::time::now();
    while !is_told() {
        assert!(started.elapsed() < Duration::from_secs(60), "the statistics do not tell");
        std::thread::park_timeout(Duration::from_millis(100));
    }
}

/// What a broker shows under each route, with names that are its own replaced.
fn shown(target: Target) -> BTreeMap<&'static str, (u16, Value)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let node = text(&get(target, "/overview").1["node"]);
    let connection = text(&get(target, "/vhosts/v/connections").1[0]["name"]);
    let channel = text(&get(target, "/vhosts/v/channels").1[0]["name"]);
    let names = [("CHANNEL", channel), ("CONNECTION", connection), ("NODE", node)];
    let one = |route: &'static str| {
        let mut path = route.to_owned();
        for (placeholder, name) in &names {
            path = path.replace(placeholder, &utf8_percent_encode(name, NON_ALPHANUMERIC).to_string());
        }
        let (status, answer) = get(target, &path);
        let mut text = answer.to_string();
        for (placeholder, name) in &names {
            text = text.replace(name, placeholder);
        }
        (route, (status, serde_json::from_str(&text).unwrap()))
    };
    ROUTES.iter().copied().map(one).collect()
}

/// An object of the other vhosts and users says nothing: each broker has its own.
fn is_ours(item: &Value, path: &str) -> bool {
    let name = item.get("name").and_then(Value::as_str);
    let of_section = |section: &str, wanted: &str| path.ends_with(section) && name != Some(wanted);
    if of_section(".vhosts", "v") || of_section(".global_parameters", "g") {
        return false;
    }
    let is = |field: &str, wanted: &str| item.get(field).is_some_and(|value| value == wanted);
    let is_other_vhost = item.get("vhost").is_some_and(|vhost| vhost != "v");
    let is_other_user = item.get("password_hash").is_some() && !is("name", "u");
    let is_other_home = item.get("cluster_state").is_some() && !is("name", "v");
    !(is_other_vhost || is_other_user || is_other_home)
}

/// What identifies an item in a list.
fn key(item: &Value) -> String {
    let fields = ["vhost", "source", "destination_type", "destination", "routing_key", "user", "component"];
    let also = ["name", "consumer_tag", "protocol"];
    fields.iter().chain(&also).map(|field| item[*field].to_string()).collect()
}

/// The lines `path: value` of all that is in a value; items of lists in an order that does not depend on the broker.
fn leaves(value: &Value, path: &str, out: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) => {
            out.insert(path.to_owned(), json!({}));
            fields.iter().for_each(|(name, field)| leaves(field, &format!("{path}.{name}"), out));
        }
        Value::Array(items) => {
            out.insert(path.to_owned(), json!([]));
            let mut items: Vec<&Value> = items.iter().filter(|item| is_ours(item, path)).collect();
            items.sort_by_key(|item| key(item));
            for (at, item) in items.iter().enumerate() {
                let name = item.get("name").and_then(Value::as_str);
                let at = name.map_or_else(|| at.to_string(), str::to_owned);
                leaves(item, &format!("{path}[{at}]"), out);
            }
        }
        _ => drop(out.insert(path.to_owned(), value.clone())),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

/// Where two answers differ, a line each: `missing PATH`, `more PATH`, `type PATH: RABBITMQ'S OURS`, `value PATH: RABBITMQ'S OURS`.
fn compare(warren: &(u16, Value), rabbitmq: &(u16, Value)) -> Vec<String> {
    if warren.0 != rabbitmq.0 {
        return vec![format!("status {} {}", rabbitmq.0, warren.0)];
    }
    let (mut ours, mut theirs) = (BTreeMap::new(), BTreeMap::new());
    leaves(&warren.1, "", &mut ours);
    leaves(&rabbitmq.1, "", &mut theirs);
    let mut lines = Vec::new();
    for path in theirs.keys().chain(ours.keys()).collect::<BTreeSet<_>>() {
        lines.extend(match (ours.get(path), theirs.get(path)) {
            (None, _) => Some(format!("missing {path}")),
            (_, None) => Some(format!("more {path}")),
            (Some(our), Some(their)) if kind(our) != kind(their) => {
                Some(format!("type {path}: {} {}", kind(their), kind(our)))
            }
            (Some(our), Some(their)) if our != their => Some(format!("value {path}: {their} {our}")),
            _ => None,
        });
    }
    lines
}

#[test]
fn every_field_is_rabbitmqs_or_differs_for_a_reason() {
    let Some(oracle) = Oracle::find() else {
        eprintln!("skipped: RabbitMQ is not installed");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let process = Process::start(&directory.path().join("data"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let targets = [process.target, oracle.target];
    let clients = targets.map(|target| {
        furnish(target);
        runtime.block_on(connect(target))
    });
    targets.into_iter().for_each(await_statistics);
    let [warren, rabbitmq] = targets.map(shown);

    let whole = |pattern: &str| Regex::new(&format!("^(?:{pattern})$")).unwrap();
    let passed_over: Vec<Regex> = PASSED_OVER.iter().map(|(pattern, _)| whole(pattern)).collect();
    let known: Vec<(Regex, Regex)> =
        DIFFERENCES.iter().map(|known| (whole(known.route), whole(known.line))).collect();
    let mut occurred = BTreeSet::new();
    let mut unexplained = Vec::new();
    for route in ROUTES {
        for line in compare(&warren[route], &rabbitmq[route]) {
            if passed_over.iter().any(|pattern| pattern.is_match(&line)) {
                continue;
            }
            let mut explains = known
                .iter()
                .enumerate()
                .filter(|(_, (routes, lines))| routes.is_match(route) && lines.is_match(&line));
            match explains.next() {
                Some((at, _)) => drop(occurred.insert(at)),
                None => unexplained.push(format!("{route}: {line}")),
            }
        }
    }
    assert!(unexplained.is_empty(), "no reason is given for:\n{}", unexplained.join("\n"));
    let stale: Vec<_> = (0..DIFFERENCES.len()).filter(|at| !occurred.contains(at)).collect();
    let stale: Vec<_> = stale.into_iter().map(|at| (DIFFERENCES[at].line, DIFFERENCES[at].why)).collect();
    assert!(stale.is_empty(), "these differences do not occur any more: {stale:#?}");
    runtime.block_on(async {
        for (connection, _channel, _consumer) in clients {
            connection.close(200, "bye".into()).await.unwrap();
        }
    });
    process.stop();
}
