//! The node's status: what it is, where it listens, how it is doing.

use super::{Command, Context, Failure, client, output::Format, output::Rows};
use clap::{Arg, ArgMatches};
use serde_json::{Value, json};

pub(super) const STATUS: Command = Command {
    name: "status",
    about: "Show the status of the node: version, listeners, memory, disk, totals",
    arguments: |command| command.arg(unit_argument()),
    run: |context, arguments| {
        let facts = ask(context)?;
        print(context, facts, unit_of(arguments))
    },
};

/// A unit of sizes that people ask for: its name, and its bytes.
#[derive(Clone, Copy)]
pub(super) struct Unit(&'static str, u64);

/// rabbitmqctl's names; those without an `i` are powers of 1000.
const UNITS: [Unit; 9] = [
    Unit("bytes", 1),
    Unit("kb", 1_000),
    Unit("mb", 1_000_000),
    Unit("gb", 1_000_000_000),
    Unit("tb", 1_000_000_000_000),
    Unit("kib", 1 << 10),
    Unit("mib", 1 << 20),
    Unit("gib", 1 << 30),
    Unit("tib", 1 << 40),
];

impl Unit {
    /// A size in this unit, or in the one that makes it short.
    pub(super) fn shown(unit: Option<Unit>, bytes: u64) -> String {
        match unit {
            None => bytes_for_people(bytes),
            Some(Unit(name, 1)) => format!("{bytes} {name}"),
            Some(Unit(name, size)) => format!("{:.4} {name}", bytes as f64 / size as f64),
        }
    }
}

/// The option for the unit of sizes.
pub(super) fn unit_argument() -> Arg {
    let names = UNITS.map(|Unit(name, _)| name);
    let unit = Arg::new("unit").long("unit").value_name("UNIT").value_parser(names).ignore_case(true);
    unit.help("Unit of sizes in tables; else the one that is short")
}

/// The unit that was asked for.
pub(super) fn unit_of(arguments: &ArgMatches) -> Option<Unit> {
    let name = arguments.get_one::<String>("unit")?;
    UNITS.into_iter().find(|Unit(known, _)| name.eq_ignore_ascii_case(known))
}

/// Asks the broker for its status.
pub(super) fn ask(context: &Context<'_>) -> Result<Vec<Fact>, Failure> {
    let overview = context.client.get(&["overview"])?;
    // What the node uses is for users with the tag monitoring; the rest is not to be withheld for it.
    let node = match context.client.get(&["nodes", client::text(&overview, "node")]) {
        Err(Failure::AccessRefused { .. } | Failure::NotFound(_)) => Value::Null,
        node => node?,
    };
    Ok(facts(&overview, &node))
}

/// Shows a status, sizes in the unit.
pub(super) fn print(context: &mut Context<'_>, facts: Vec<Fact>, unit: Option<Unit>) -> Result<(), Failure> {
    match context.output.format {
        Format::Table => print_table(context, &facts, unit),
        _ => print_object(context, facts),
    }
}

/// A fact of the status: its name in JSON, its label in a table, its value and how people want it shown.
pub(super) struct Fact {
    key: &'static str,
    label: &'static str,
    value: Value,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Plain,
    Bytes,
    Milliseconds,
    Listeners,
}

fn facts(overview: &Value, node: &Value) -> Vec<Fact> {
    use Kind::{Bytes, Listeners, Milliseconds, Plain};
    let alarms: Vec<&str> = [("mem_alarm", "memory"), ("disk_free_alarm", "disk")]
        .into_iter()
        .filter_map(|(key, name)| (node[key] == json!(true)).then_some(name))
        .collect();
    let alarms = if node.is_null() { Value::Null } else { json!(alarms) };
    let fact = |key, label, value: &Value, kind| Fact { key, label, value: value.clone(), kind };
    let overview_fact = |key, label, path, kind| fact(key, label, client::at(overview, path), kind);
    let node_fact = |key, label, kind| fact(key, label, &node[key], kind);
    vec![
        overview_fact("product_name", "Product", "product_name", Plain),
        overview_fact("product_version", "Version", "product_version", Plain),
        overview_fact("rabbitmq_version", "Compatible with RabbitMQ", "rabbitmq_version", Plain),
        overview_fact("node", "Node", "node", Plain),
        overview_fact("cluster_name", "Cluster", "cluster_name", Plain),
        node_fact("os_pid", "Process", Plain),
        node_fact("uptime", "Up", Milliseconds),
        node_fact("db_dir", "Data directory", Plain),
        overview_fact("listeners", "Listeners", "listeners", Listeners),
        fact("alarms", "Alarms", &alarms, Plain),
        node_fact("mem_used", "Memory used", Bytes),
        node_fact("mem_limit", "Memory high watermark", Bytes),
        node_fact("disk_free", "Disk free", Bytes),
        node_fact("disk_free_limit", "Disk free limit", Bytes),
        fact("journal_files", "Journal files", &node["store"]["journal_files"], Plain),
        fact("journal_damages", "Damaged places in the journal", &damages(&node["store"]), Plain),
        fact("disk_refused", "Disk refuses writes", &node["store"]["refused"], Plain),
        node_fact("fd_used", "File descriptors used", Plain),
        node_fact("fd_total", "File descriptor limit", Plain),
        overview_fact("connections", "Connections", "object_totals.connections", Plain),
        overview_fact("channels", "Channels", "object_totals.channels", Plain),
        overview_fact("consumers", "Consumers", "object_totals.consumers", Plain),
        overview_fact("exchanges", "Exchanges", "object_totals.exchanges", Plain),
        overview_fact("queues", "Queues", "object_totals.queues", Plain),
        overview_fact("messages", "Messages", "queue_totals.messages", Plain),
        overview_fact("messages_ready", "Messages ready", "queue_totals.messages_ready", Plain),
        overview_fact(
            "messages_unacknowledged",
            "Messages unacknowledged",
            "queue_totals.messages_unacknowledged",
            Plain,
        ),
    ]
}

/// How many stretches of the journal were found damaged, at the start and since.
fn damages(store: &Value) -> Value {
    let counts = ["damages_found_at_start", "damaged_records_read"].map(|key| store[key].as_u64());
    counts.into_iter().sum::<Option<u64>>().map_or(Value::Null, Value::from)
}

fn print_object(context: &mut Context<'_>, facts: Vec<Fact>) -> Result<(), Failure> {
    context.output.object(facts.into_iter().map(|fact| (fact.key.to_owned(), fact.value)).collect())
}

fn print_table(context: &mut Context<'_>, facts: &[Fact], unit: Option<Unit>) -> Result<(), Failure> {
    let has_headers = std::mem::replace(&mut context.output.has_headers, false);
    let mut rows = Rows::new(&mut context.output, &["", ""]);
    let known = facts.iter().filter(|fact| !fact.value.is_null());
    rows.write(known.map(|fact| vec![Value::from(fact.label), shown(fact, unit)]).collect())?;
    rows.finish()?;
    context.output.has_headers = has_headers;
    Ok(())
}

fn shown(fact: &Fact, unit: Option<Unit>) -> Value {
    match (fact.kind, &fact.value) {
        (Kind::Bytes, value) => {
            value.as_u64().map_or(Value::Null, |bytes| Value::from(Unit::shown(unit, bytes)))
        }
        (Kind::Milliseconds, value) => {
            value.as_u64().map_or(Value::Null, |ms| Value::from(time_for_people(ms / 1000)))
        }
        (Kind::Listeners, Value::Array(listeners)) => {
            let listener = |listener: &Value| {
                let ip = client::text(listener, "ip_address");
                let ip = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
                format!("{} {ip}:{}", client::text(listener, "protocol"), listener["port"])
            };
            Value::from(listeners.iter().map(listener).collect::<Vec<_>>().join(", "))
        }
        (Kind::Plain, Value::Array(items)) if items.is_empty() => Value::from("none"),
        (_, value) => value.clone(),
    }
}

fn bytes_for_people(bytes: u64) -> String {
    let units = [(1u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(size, _)| bytes >= *size) {
        Some((size, unit)) => format!("{:.1} {unit}", bytes as f64 / size as f64),
        None => format!("{bytes} B"),
    }
}

fn time_for_people(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_short() {
        assert_eq!([0, 1023, 1536, 5 << 30].map(bytes_for_people), ["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]);
        assert_eq!(
            [59, 61, 3_700, 90_000].map(time_for_people),
            ["59 s", "1 min 1 s", "1 h 1 min", "1 d 1 h"]
        );
    }

    #[test]
    fn alarms_are_unknown_without_the_node_and_none_when_there_are_none() {
        let alarms = |node| facts(&json!({}), &node).into_iter().find(|fact| fact.key == "alarms").unwrap();
        assert_eq!(alarms(Value::Null).value, Value::Null);
        assert_eq!(shown(&alarms(json!({"mem_alarm": false})), None), json!("none"));
        assert_eq!(
            shown(&alarms(json!({"mem_alarm": true, "disk_free_alarm": true})), None),
            json!(["memory", "disk"])
        );
    }
}
