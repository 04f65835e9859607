//! Health checks.

use crate::broker::alarms::Resource;
use crate::management::{Answer, Call, error::Error};
use serde_json::json;

/// As RabbitMQ 4 has it: that the vhost is there and an answer came is all it says.
pub(in crate::management) fn aliveness(call: &Call) -> Result<Answer, Error> {
    call.vhost()?;
    Ok(Answer::Json(json!({ "status": "ok" })))
}

/// Fails while an alarm blocks publishers.
pub(in crate::management) fn alarms(call: &Call) -> Result<Answer, Error> {
    let node = &call.node.broker.node;
    let is_on = |(resource, _): &(Resource, &str)| call.node.broker.alarms.is_on(*resource);
    let alarms = [(Resource::Memory, "memory"), (Resource::Disk, "disk")].into_iter().filter(is_on);
    let alarms: Vec<_> = alarms.map(|(_, name)| json!({ "node": node, "resource": name })).collect();
    if alarms.is_empty() {
        return Ok(Answer::Json(json!({ "status": "ok" })));
    }
    Ok(Answer::Failed(json!({
        "status": "failed",
        "reason": "There are alarms in effect in the cluster",
        "alarms": alarms,
    })))
}
