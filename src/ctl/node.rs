//! The node: whether it is there, what it is called, where it listens.

use super::{Command, Context, Failure, client, columns_argument, output::Rows, text, texts};
use clap::{Arg, ArgMatches, value_parser};
use serde_json::{Map, Value, json};
use std::net::{IpAddr, TcpStream};
use std::time::Duration;

pub(super) const PING: Command = Command {
    name: "ping",
    about: "Fail if the broker does not answer, or does not let one in",
    arguments: |command| command,
    run: |context, _| {
        context.client.get(&["whoami"])?;
        context.output.note("The broker answers.")
    },
};

pub(super) const CLUSTER_STATUS: Command = Command {
    name: "cluster_status",
    about: "Show the cluster: its name, its only node, listeners, alarms, feature flags",
    arguments: |command| command,
    run: cluster_status,
};

pub(super) const SET_CLUSTER_NAME: Command = Command {
    name: "set_cluster_name",
    about: "Name the cluster; clients that connect from then on are told",
    arguments: |command| command.arg(Arg::new("name").value_name("NAME").required(true)),
    run: |context, arguments| {
        let name = text(arguments, "name");
        context.client.put(&["cluster-name"], &json!({ "name": name }))?;
        context.output.note(&format!("The cluster is called '{name}'."))
    },
};

pub(super) const LISTENERS: Command = Command {
    name: "listeners",
    about: "List where the node listens, and for what",
    arguments: |command| command.arg(columns_argument()),
    run: |context, arguments| {
        let overview = context.client.get(&["overview"])?;
        let wanted = texts(arguments, "columns");
        rows(context, &["protocol", "ip_address", "port", "tls", "node"], &overview["listeners"], &wanted)
    },
};

pub(super) const ALARMS: Command = Command {
    name: "alarms",
    about: "List the alarms that block publishers",
    arguments: |command| command.arg(columns_argument()),
    run: |context, arguments| {
        let alarms = alarms(context)?;
        rows(context, &["resource", "node"], &alarms, &texts(arguments, "columns"))
    },
};

pub(super) const SERVER_VERSION: Command = Command {
    name: "server_version",
    about: "Print the version of the broker",
    arguments: |command| command,
    run: |context, _| {
        let overview = context.client.get(&["overview"])?;
        Ok(writeln!(context.output.out, "{}", client::text(&overview, "product_version"))?)
    },
};

pub(super) const DRAIN: Command = Command {
    name: "drain",
    about: "Put the node into maintenance: no client is served until it is revived or started again",
    arguments: |command| command,
    run: |context, _| {
        let node = maintain(context, "drain")?;
        context
            .output
            .note(&format!("Node '{node}' is drained: it serves no clients. `warrenctl revive` ends that."))
    },
};

pub(super) const REVIVE: Command = Command {
    name: "revive",
    about: "End the maintenance of the node: clients are served again",
    arguments: |command| command,
    run: |context, _| {
        let node = maintain(context, "revive")?;
        context.output.note(&format!("Node '{node}' is revived: it serves clients."))
    },
};

/// Asks the node, which is called as it says.
fn maintain(context: &mut Context<'_>, what: &str) -> Result<String, Failure> {
    let overview = context.client.get(&["overview"])?;
    let node = client::text(&overview, "node").to_owned();
    context.client.post(&["nodes", &node, what], &json!({}))?;
    Ok(node)
}

pub(super) const VERSION: Command = Command {
    name: "version",
    about: "Print the version of this tool",
    arguments: |command| command,
    run: |context, _| Ok(writeln!(context.output.out, "{}", env!("CARGO_PKG_VERSION"))?),
};

pub(super) const AWAIT_STARTUP: Command = Command {
    name: "await_startup",
    about: "Wait until the broker serves clients, for as long as --timeout says",
    arguments: |command| command,
    run: |context, _| await_startup(context),
};

pub(super) const WAIT: Command = Command {
    name: "wait",
    about: "The same as await_startup; the process that rabbitmqctl is told of does not matter",
    arguments: |command| {
        let pid = Arg::new("pid").long("pid").short('P').value_name("PID").hide(true);
        command.arg(Arg::new("pidfile").value_name("PIDFILE")).arg(pid)
    },
    run: |context, _| await_startup(context),
};

pub(super) const AWAIT_ONLINE_NODES: Command = Command {
    name: "await_online_nodes",
    about: "Wait until so many nodes serve clients; there is one",
    arguments: |command| {
        let count = Arg::new("count").value_name("COUNT").required(true);
        command.arg(count.value_parser(value_parser!(u64)))
    },
    run: |context, arguments| match arguments.get_one::<u64>("count") {
        Some(0 | 1) => await_startup(context),
        _ => Err(Failure::Data("a broker is one node, and there will be no more; wait for 1".into())),
    },
};

pub(super) const CHECK_PORT_CONNECTIVITY: Command = Command {
    name: "check_port_connectivity",
    about: "Fail if a port of the node's listeners lets nobody in from here",
    arguments: |command| {
        command.arg(Arg::new("address").long("address").value_name("HOST").help("Instead of --host"))
    },
    run: check_port_connectivity,
};

/// How long a broker that is not there yet is left alone.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a port may take to let one in.
const CONNECT: Duration = Duration::from_secs(5);

/// Writes the fields of a list's objects: those that are wanted, or all.
fn rows(context: &mut Context<'_>, fields: &[&str], list: &Value, wanted: &[String]) -> Result<(), Failure> {
    let wanted: Vec<&str> =
        if wanted.is_empty() { fields.to_vec() } else { wanted.iter().map(String::as_str).collect() };
    if let Some(unknown) = wanted.iter().find(|name| !fields.contains(name)) {
        return Err(Failure::Usage(format!("unknown column '{unknown}'; there are: {}", fields.join(" "))));
    }
    let mut rows = Rows::new(&mut context.output, &wanted);
    let objects = list.as_array().into_iter().flatten();
    rows.write(objects.map(|object| wanted.iter().map(|name| object[*name].clone()).collect()).collect())?;
    Ok(rows.finish()?)
}

/// The alarms that are on, as a list of objects.
fn alarms(context: &Context<'_>) -> Result<Value, Failure> {
    let nodes = context.client.get(&["nodes"])?;
    let nodes = nodes.as_array().into_iter().flatten();
    let alarms = nodes.flat_map(|node| {
        let on = [("mem_alarm", "memory"), ("disk_free_alarm", "disk")].into_iter();
        on.filter(|(key, _)| node[*key] == json!(true))
            .map(|(_, resource)| json!({ "node": node["name"], "resource": resource }))
    });
    Ok(alarms.collect())
}

/// With rabbitmqctl's names in JSON.
fn cluster_status(context: &mut Context<'_>, _: &ArgMatches) -> Result<(), Failure> {
    let overview = context.client.get(&["overview"])?;
    let alarms = match alarms(context) {
        // For users with the tag monitoring; the rest is not to be withheld for it.
        Err(Failure::AccessRefused { .. }) => Value::Null,
        alarms => alarms?,
    };
    let flags = context.client.get(&["feature-flags"])?;
    let node = client::text(&overview, "node");
    let of_node = |value: Value| Value::Object(Map::from_iter([(node.to_owned(), value)]));
    let mut status = json!({
        "cluster_name": overview["cluster_name"],
        "disk_nodes": [node],
        "ram_nodes": [],
        "running_nodes": [node],
        "alarms": alarms,
        "partitions": {},
        "versions": of_node(json!({
            "product_name": overview["product_name"],
            "product_version": overview["product_version"],
            "rabbitmq_version": overview["rabbitmq_version"],
        })),
        "listeners": of_node(overview["listeners"].clone()),
        "feature_flags": flags,
        "maintenance_status": of_node(json!("not under maintenance")),
    });
    if !context.output.format.is_json() {
        let listeners = overview["listeners"].as_array().into_iter().flatten();
        let listener = |of: &Value| json!(format!("{} {}", client::text(of, "protocol"), of["port"]));
        let flags = flags.as_array().into_iter().flatten();
        status = json!({
            "Cluster": overview["cluster_name"],
            "Nodes": [node],
            "Version": overview["product_version"],
            "Alarms": status["alarms"].as_array().map(|alarms| {
                alarms.iter().map(|alarm| alarm["resource"].clone()).collect::<Vec<_>>()
            }),
            "Listeners": listeners.map(listener).collect::<Vec<_>>(),
            "Feature flags": flags.map(|flag| flag["name"].clone()).collect::<Vec<_>>(),
        });
    }
    context.output.object(status.as_object().cloned().unwrap_or_default())
}

/// Asks again and again. Only what cannot get better by waiting is a failure at once.
fn await_startup(context: &mut Context<'_>) -> Result<(), Failure> {
    let attempts = (context.timeout.as_millis() / PAUSE.as_millis()).max(1);
    for attempt in 1..=attempts {
        match context.client.get(&["health", "checks", "ready-to-serve-clients"]) {
            Ok(_) => return context.output.note("The broker serves clients."),
            Err(failure) if attempt == attempts => return Err(failure),
            Err(Failure::Unavailable { .. } | Failure::NoSocket { .. } | Failure::Check(_)) => {}
            Err(failure) => return Err(failure),
        }
        // Nothing tells that a broker begins to listen.
        std::thread::park_timeout(PAUSE);
    }
    Ok(())
}

fn check_port_connectivity(context: &mut Context<'_>, arguments: &ArgMatches) -> Result<(), Failure> {
    let overview = context.client.get(&["overview"])?;
    let host = arguments.get_one::<String>("address").unwrap_or(&context.host);
    let mut refused = Vec::new();
    for listener in overview["listeners"].as_array().into_iter().flatten() {
        let port = listener["port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or_default();
        // A listener of one interface is not to be looked for on another.
        let own = client::text(listener, "ip_address").parse::<IpAddr>().ok();
        let own = own.filter(|address| !address.is_unspecified()).map(|address| address.to_string());
        let host = own.as_ref().filter(|_| !arguments.contains_id("address")).unwrap_or(host);
        if let Err(error) = connect(host, port) {
            refused.push(format!("{} on {host}:{port} ({error})", client::text(listener, "protocol")));
        }
    }
    if refused.is_empty() {
        return context.output.note("All ports let one in.");
    }
    let refused = refused.join(", ");
    Err(Failure::Check(format!("not reachable: {refused}; is a firewall in between, or is --address right?")))
}

fn connect(host: &str, port: u16) -> std::io::Result<()> {
    use std::net::ToSocketAddrs;
    let mut outcome = Err(std::io::ErrorKind::NotFound.into());
    for address in (host.trim_matches(['[', ']']), port).to_socket_addrs()? {
        outcome = TcpStream::connect_timeout(&address, CONNECT).map(drop);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}
