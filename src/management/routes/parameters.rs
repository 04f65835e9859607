//! Runtime parameters, of vhosts and global.

use super::policies::no_vhost;
use crate::broker::parameters::{OPERATOR_POLICY, OPERATORS, Parameter};
use crate::management::{Answer, Call, error::Error, view};
use crate::name::{Component, ParameterName};
use serde_json::Value;

/// The parameters of the vhosts that the request is about, or of one component there.
pub(in crate::management) fn list(call: &Call) -> Result<Answer, Error> {
    let mut rows = Vec::new();
    for vhost in call.vhosts()? {
        rows.extend(call.node.broker.parameters(&vhost.name));
    }
    if call.has_parameter("component") {
        rows.retain(|row| row.component.as_str() == call.parameter("component"));
    }
    call.list(rows, |row| row.name.as_str(), |_, row, _| view::parameter::render(row))
}

pub(in crate::management) fn show(call: &Call) -> Result<Answer, Error> {
    let vhost = call.governed_vhost()?;
    let (component, name) = (call.parameter("component"), call.parameter("name"));
    let is_meant = |row: &Parameter| row.component.as_str() == component && row.name.as_str() == name;
    let row = call.node.broker.parameters(&vhost.name).into_iter().find(is_meant);
    call.object(view::parameter::render(&row.ok_or(Error::NotFound)?))
}

pub(in crate::management) fn put(call: &Call) -> Result<Answer, Error> {
    let vhost = call.governed_vhost().map_err(no_vhost)?;
    let (component, name) = key(call)?;
    let value = value(call)?;
    let put = call.node.broker.put_parameter(&call.actor(), &vhost.name, &component, &name, value)?;
    Ok(Answer::put(call.settled(put)?))
}

pub(in crate::management) fn delete(call: &Call) -> Result<Answer, Error> {
    let vhost = call.governed_vhost()?;
    let (component, name) = key(call)?;
    let deleted = call.node.broker.delete_parameter(&call.actor(), &vhost.name, &component, &name)?;
    if call.settled(deleted)? { Ok(Answer::Done) } else { Err(Error::NotFound) }
}

/// What the path names, if the user may change it. Not as in RabbitMQ, where whoever sets policies can do away with what
/// operators set, by this way.
fn key(call: &Call) -> Result<(Component, ParameterName), Error> {
    let (component, name) = (call.parameter("component"), call.parameter("name"));
    if OPERATORS.contains(&component) && !call.user()?.tags.is_administrator() {
        return Err(Error::AccessRefused);
    }
    if component == OPERATOR_POLICY {
        call.check_operator_policies_change()?;
    }
    Ok((component.into(), name.into()))
}

/// The value in the body; null is one.
pub(super) fn value(call: &Call) -> Result<Value, Error> {
    let body = call.body()?;
    body.require(&["value"])?;
    Ok(body.get("value").cloned().unwrap_or_default())
}

pub(in crate::management) fn list_global(call: &Call) -> Result<Answer, Error> {
    let rows = call.node.broker.global_parameters();
    call.list(
        rows,
        |(name, _)| name.as_str(),
        |_, (name, value), _| view::parameter::global(name.as_str(), value),
    )
}

pub(in crate::management) fn show_global(call: &Call) -> Result<Answer, Error> {
    let rows = call.node.broker.global_parameters();
    let row = rows.iter().find(|(name, _)| name.as_str() == call.parameter("name"));
    let (name, value) = row.ok_or(Error::NotFound)?;
    call.object(view::parameter::global(name.as_str(), value))
}

pub(in crate::management) fn put_global(call: &Call) -> Result<Answer, Error> {
    let put =
        call.node.broker.put_global_parameter(&call.actor(), &call.parameter("name").into(), value(call)?)?;
    Ok(Answer::put(call.settled(put)?))
}

pub(in crate::management) fn delete_global(call: &Call) -> Result<Answer, Error> {
    let deleted = call.node.broker.delete_global_parameter(&call.actor(), &call.parameter("name").into());
    if call.settled(deleted)? { Ok(Answer::Done) } else { Err(Error::NotFound) }
}
