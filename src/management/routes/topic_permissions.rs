//! Permissions by routing key, at topic exchanges.

use super::exchanges;
use crate::auth::users::TopicGrant;
use crate::broker;
use crate::definition::TopicPermissions;
use crate::management::view::fields::Wanted;
use crate::management::{Answer, Call, error::Error, view};
use crate::name::ExchangeName;
use serde_json::Value;

pub(in crate::management) fn list(call: &Call) -> Result<Answer, Error> {
    answer(call, call.node.broker.users.topic_grants())
}

pub(in crate::management) fn list_of_vhost(call: &Call) -> Result<Answer, Error> {
    let vhost = call.vhost()?;
    let mut grants = call.node.broker.users.topic_grants();
    grants.retain(|grant| grant.vhost == vhost.name);
    answer(call, grants)
}

pub(in crate::management) fn list_of_user(call: &Call) -> Result<Answer, Error> {
    let user = call.parameter("user");
    call.node.broker.users.user(user).ok_or(Error::NotFound)?;
    let mut grants = call.node.broker.users.topic_grants();
    grants.retain(|grant| grant.user.as_str() == user);
    answer(call, grants)
}

/// Those of a user in a vhost, or at one exchange there, as a list.
pub(in crate::management) fn show(call: &Call) -> Result<Answer, Error> {
    let grants = find(call)?;
    answer(call, grants)
}

fn answer(call: &Call, grants: Vec<TopicGrant>) -> Result<Answer, Error> {
    let render = |_: &Call, grant: &TopicGrant, _: &Wanted| -> Value { view::user::topic_permissions(grant) };
    call.list(grants, |grant| grant.user.as_str(), render)
}

/// The exchange that the path names, if it does.
fn exchange(call: &Call) -> Option<ExchangeName> {
    call.has_parameter("exchange").then(|| exchanges::name(call, "exchange"))
}

/// The rows that the path names, one at least.
fn find(call: &Call) -> Result<Vec<TopicGrant>, Error> {
    let (vhost, user, exchange) = (call.parameter("vhost"), call.parameter("user"), exchange(call));
    let mut grants = call.node.broker.users.topic_grants();
    grants.retain(|grant| {
        grant.vhost.as_str() == vhost
            && grant.user.as_str() == user
            && exchange.as_ref().is_none_or(|exchange| grant.exchange == *exchange)
    });
    if grants.is_empty() { Err(Error::NotFound) } else { Ok(grants) }
}

pub(in crate::management) fn put(call: &Call) -> Result<Answer, Error> {
    let body = call.body()?;
    body.require(&["exchange", "write", "read"])?;
    let pattern = |key| body.text(key).map(|text| text.unwrap_or_default().to_owned());
    let permissions = TopicPermissions { write: pattern("write")?, read: pattern("read")? };
    let exchange = ExchangeName::checked(body.text("exchange")?.unwrap_or_default());
    let exchange = exchange.map_err(|error| Error::BadRequest(error.to_string()))?;
    let (vhost, user) = (call.parameter("vhost").into(), call.parameter("user").into());
    let set = call.node.broker.set_topic_permissions(&call.actor(), &vhost, &user, &exchange, permissions);
    match set {
        Err(broker::Error::NoUser(_) | broker::Error::NoVhost(_)) => {
            Err(Error::BadRequest("vhost_or_user_not_found".into()))
        }
        outcome => Ok(Answer::put(call.settled(outcome?)?)),
    }
}

pub(in crate::management) fn delete(call: &Call) -> Result<Answer, Error> {
    find(call)?;
    let (vhost, user) = (call.parameter("vhost").into(), call.parameter("user").into());
    let exchange = exchange(call);
    let cleared =
        call.node.broker.clear_topic_permissions(&call.actor(), &vhost, &user, exchange.as_ref())?;
    call.settled(cleared)?;
    Ok(Answer::Done)
}
