//! Health checks: 200 with `ok`, or 503 with what is wrong.

use crate::broker::alarms::Resource;
use crate::management::{Answer, Call, error::Error, node::Node};
use regex::Regex;
use serde_json::{Value, json};

/// Other names that RabbitMQ has for the protocols of listeners.
const PROTOCOL_ALIASES: &[(&str, &[&str])] = &[
    ("amqp", &["amqp091", "amqp0.9.1", "amqp0-9-1", "amqp0_9_1"]),
    ("amqp/ssl", &["amqps"]),
    ("http", &["http1", "http1.1", "http_api", "management", "management_ui", "ui"]),
];

/// How far ahead certificates may be asked for.
const TIME_UNITS: &[&str] = &["days", "weeks", "months", "years"];

fn passed(mut fields: Value) -> Answer {
    fields["status"] = json!("ok");
    Answer::Json(fields)
}

fn failed(reason: &str, mut fields: Value) -> Answer {
    fields["status"] = json!("failed");
    fields["reason"] = json!(reason);
    Answer::Failed(fields)
}

/// The answer of a check that has nothing to add.
fn verdict(fault: Option<&str>) -> Answer {
    match fault {
        Some(reason) => failed(reason, json!({})),
        None => passed(json!({})),
    }
}

/// As RabbitMQ 4 has it: that the vhost is there and an answer came is all it says.
pub(in crate::management) fn aliveness(call: &Call) -> Result<Answer, Error> {
    call.vhost()?;
    Ok(verdict(None))
}

/// As RabbitMQ 4 has it: that an answer came is all it says. There is no other node to ask for.
pub(in crate::management) fn node(call: &Call) -> Result<Answer, Error> {
    let is_other = call.has_parameter("name") && call.parameter("name") != call.node.broker.node;
    if is_other { Err(Error::NotFound) } else { Ok(verdict(None)) }
}

/// Fails while an alarm blocks publishers.
pub(in crate::management) fn alarms(call: &Call) -> Result<Answer, Error> {
    let node = &call.node.broker.node;
    let is_on = |(resource, _): &(Resource, &str)| call.node.broker.alarms.is_on(*resource);
    let alarms = [(Resource::Memory, "memory"), (Resource::Disk, "disk")].into_iter().filter(is_on);
    let alarms: Vec<_> = alarms.map(|(_, name)| json!({ "node": node, "resource": name })).collect();
    if alarms.is_empty() {
        return Ok(verdict(None));
    }
    Ok(failed("There are alarms in effect in the cluster", json!({ "alarms": alarms })))
}

/// Whether anything listens on a port.
pub(in crate::management) fn port_listener(call: &Call) -> Result<Answer, Error> {
    let port = call.parameter("port").parse::<i64>();
    let port = port.map_err(|_| Error::BadRequest("Invalid port".into()))?;
    let ports: Vec<u16> = call.node.listeners.iter().map(|listener| listener.address.port()).collect();
    if ports.iter().any(|bound| i64::from(*bound) == port) {
        return Ok(passed(json!({ "port": port })));
    }
    Ok(failed("No active listener", json!({ "missing": port, "ports": ports })))
}

/// Whether anything listens for a protocol, by any of its names.
pub(in crate::management) fn protocol_listener(call: &Call) -> Result<Answer, Error> {
    let asked = call.parameter("protocol").to_lowercase();
    let known = PROTOCOL_ALIASES.iter().find(|(_, aliases)| aliases.contains(&asked.as_str()));
    let protocol = known.map_or(asked.as_str(), |(name, _)| name);
    if call.node.listens_for(protocol) {
        return Ok(passed(json!({ "protocol": protocol })));
    }
    let protocols: Vec<&str> = call.node.listeners.iter().map(|listener| listener.protocol).collect();
    Ok(failed("No active listener", json!({ "missing": protocol, "protocols": protocols })))
}

/// All vhosts are up before the HTTP API is, and none goes down alone.
pub(in crate::management) fn virtual_hosts(_: &Call) -> Result<Answer, Error> {
    Ok(verdict(None))
}

/// No listener has a certificate. What is asked for must make sense nevertheless.
pub(in crate::management) fn certificate_expiration(call: &Call) -> Result<Answer, Error> {
    let within = call.parameter("within");
    let digits = within.strip_prefix(['+', '-']).unwrap_or(within);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Error::BadRequest("Invalid expiration value.".into()));
    }
    if !TIME_UNITS.contains(&call.parameter("unit").to_lowercase().as_str()) {
        let units = TIME_UNITS.join(", ");
        return Err(Error::BadRequest(format!("Time unit not recognised. Supported units: {units}.")));
    }
    Ok(verdict(None))
}

/// On a node that is alone no queue loses a majority: all go with it.
pub(in crate::management) fn node_is_quorum_critical(_: &Call) -> Result<Answer, Error> {
    Ok(passed(json!({ "reason": "single node cluster" })))
}

/// This node leads all queues that there are. What is asked for must make sense nevertheless.
pub(in crate::management) fn leaderless_queues(call: &Call) -> Result<Answer, Error> {
    if call.has_parameter("vhost") {
        call.vhost()?;
    }
    if call.has_parameter("pattern") && Regex::new(call.parameter("pattern")).is_err() {
        return Err(Error::BadRequest("Invalid pattern".into()));
    }
    Ok(verdict(None))
}

/// The definitions are there before the HTTP API is.
pub(in crate::management) fn metadata_store(_: &Call) -> Result<Answer, Error> {
    Ok(verdict(None))
}

/// Users may be kept elsewhere, but a broker without vhosts serves nobody.
pub(in crate::management) fn metadata_store_with_data(call: &Call) -> Result<Answer, Error> {
    let reason = "Metadata store has not yet been initialized: it reports to have no virtual hosts";
    Ok(verdict(call.node.broker.vhosts().is_empty().then_some(reason)))
}

/// Whether the broker does what it is asked.
pub(in crate::management) fn is_in_service(call: &Call) -> Result<Answer, Error> {
    let reason = "this rabbit node is not currently available to serve";
    Ok(verdict((!is_serving(&call.node)).then_some(reason)))
}

/// A node has no limit of connections; those of its vhosts and users are their own.
pub(in crate::management) fn below_connection_limit(call: &Call) -> Result<Answer, Error> {
    Ok(passed(json!({ "limit": "infinity", "connections": call.node.broker.connections.len() })))
}

/// Whether clients can connect and be served.
pub(in crate::management) fn ready_to_serve_clients(call: &Call) -> Result<Answer, Error> {
    let has_listener = ["amqp", "amqp/ssl"].into_iter().any(|protocol| call.node.listens_for(protocol));
    let fault = match (is_serving(&call.node), has_listener) {
        (false, _) => Some("the rabbit node is not currently available to serve"),
        (true, false) => Some("no active listeners for AMQP/AMQPS"),
        (true, true) => None,
    };
    Ok(verdict(fault))
}

/// A cluster has one node, and that answers.
pub(in crate::management) fn reached_target_cluster_size(_: &Call) -> Result<Answer, Error> {
    Ok(verdict(None))
}

/// A drained node serves nobody. Once the journal has failed nothing is confirmed any more, and the node is about to end.
fn is_serving(node: &Node) -> bool {
    !node.broker.is_drained() && node.broker.store.failure().borrow().is_none()
}
