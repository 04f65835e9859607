//! Limits of vhosts and users.

use super::parameters::value;
use super::policies::no_vhost;
use crate::broker::{self, limits};
use crate::management::{Answer, Call, error::Error};
use crate::name::{UserName, VhostName};
use serde_json::{Map, Value, json};

/// Those of the vhosts that the request is about; a vhost without limits is left out.
pub(in crate::management) fn list_of_vhosts(call: &Call) -> Result<Answer, Error> {
    let row = |name: &str, limits| (name.to_owned(), limits);
    let vhosts = call.vhosts()?;
    let rows = vhosts.iter().map(|vhost| row(vhost.name.as_str(), limits::of_vhost(&vhost.limits())));
    list(call, "vhost", rows.collect())
}

/// Those of the user of the path, or of all; a user without limits is left out.
pub(in crate::management) fn list_of_users(call: &Call) -> Result<Answer, Error> {
    let users = &call.node.broker.users;
    let names: Vec<UserName> = match call.has_parameter("user") {
        true => {
            let name = call.parameter("user");
            users.user(name).ok_or(Error::NotFound)?;
            vec![name.into()]
        }
        false => users.users().into_iter().map(|(name, _)| name).collect(),
    };
    let rows = names.iter().map(|name| (name.to_string(), limits::of_user(&users.limits(name))));
    list(call, "user", rows.collect())
}

fn list(call: &Call, of: &'static str, rows: Vec<(String, Map<String, Value>)>) -> Result<Answer, Error> {
    let rows: Vec<_> = rows.into_iter().filter(|(_, limits)| !limits.is_empty()).collect();
    call.list(rows, |(name, _)| name, move |_, (name, limits), _| json!({ of: name, "value": limits }))
}

/// RabbitMQ answers 204 also for a limit that is new.
pub(in crate::management) fn put_of_vhost(call: &Call) -> Result<Answer, Error> {
    set_of_vhost(call, Some(value(call)?)).map_err(no_vhost)
}

pub(in crate::management) fn delete_of_vhost(call: &Call) -> Result<Answer, Error> {
    set_of_vhost(call, None)
}

fn set_of_vhost(call: &Call, value: Option<Value>) -> Result<Answer, Error> {
    let vhost = VhostName::new(call.parameter("vhost"));
    match call.node.broker.set_vhost_limit(&call.actor(), &vhost, call.parameter("name"), value) {
        Err(broker::Error::NoVhost(_)) => Err(Error::NotFound),
        outcome => call.settled(outcome?).map(|_| Answer::Done),
    }
}

/// A user that is not there is a bad request, as in RabbitMQ.
pub(in crate::management) fn put_of_user(call: &Call) -> Result<Answer, Error> {
    set_of_user(call, Some(value(call)?)).map_err(|error| match error {
        Error::NotFound => Error::BadRequest(format!("no such user '{}'", call.parameter("user"))),
        other => other,
    })
}

pub(in crate::management) fn delete_of_user(call: &Call) -> Result<Answer, Error> {
    set_of_user(call, None)
}

fn set_of_user(call: &Call, value: Option<Value>) -> Result<Answer, Error> {
    let set = call.node.broker.set_user_limit(
        &call.actor(),
        &call.parameter("user").into(),
        call.parameter("name"),
        value,
    )?;
    call.settled(set)?;
    Ok(Answer::Done)
}
