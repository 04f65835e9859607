//! Permissions of users in vhosts. Those by routing key are in [`super::topic_permissions`].

use crate::auth::users::Grant;
use crate::broker;
use crate::definition::Permissions;
use crate::management::view::fields::Wanted;
use crate::management::{Answer, Call, error::Error, view};

pub(in crate::management) fn list(call: &Call) -> Result<Answer, Error> {
    some(call, |_| true)
}

pub(in crate::management) fn list_of_vhost(call: &Call) -> Result<Answer, Error> {
    let vhost = call.vhost()?;
    some(call, |grant| grant.vhost == vhost.name)
}

pub(in crate::management) fn list_of_user(call: &Call) -> Result<Answer, Error> {
    let user = call.parameter("user");
    call.node.broker.users.user(user).ok_or(Error::NotFound)?;
    some(call, |grant| grant.user.as_str() == user)
}

pub(in crate::management) fn show(call: &Call) -> Result<Answer, Error> {
    let grant = find(call).ok_or(Error::NotFound)?;
    call.object(view::user::permissions(grant.vhost.as_str(), grant.user.as_str(), &grant.permissions))
}

fn some(call: &Call, is_wanted: impl Fn(&Grant) -> bool) -> Result<Answer, Error> {
    let grants = call.node.broker.users.grants().into_iter().filter(is_wanted).collect();
    let render = |_: &Call, grant: &Grant, _: &Wanted| {
        view::user::permissions(grant.vhost.as_str(), grant.user.as_str(), &grant.permissions)
    };
    call.list(grants, |grant| grant.user.as_str(), render)
}

/// The permissions that the path names.
fn find(call: &Call) -> Option<Grant> {
    let (vhost, user) = (call.parameter("vhost"), call.parameter("user"));
    let is_meant = |grant: &Grant| grant.vhost.as_str() == vhost && grant.user.as_str() == user;
    call.node.broker.users.grants().into_iter().find(is_meant)
}

pub(in crate::management) fn put(call: &Call) -> Result<Answer, Error> {
    let body = call.body()?;
    body.require(&["configure", "write", "read"])?;
    let pattern = |key| body.text(key).map(|text| text.unwrap_or_default().to_owned());
    let permissions =
        Permissions { configure: pattern("configure")?, write: pattern("write")?, read: pattern("read")? };
    let (vhost, user) = (call.parameter("vhost").into(), call.parameter("user").into());
    match call.node.broker.set_permissions(&call.actor(), &vhost, &user, permissions) {
        Err(broker::Error::NoUser(_) | broker::Error::NoVhost(_)) => {
            Err(Error::BadRequest("vhost_or_user_not_found".into()))
        }
        outcome => Ok(Answer::put(call.settled(outcome?)?)),
    }
}

pub(in crate::management) fn delete(call: &Call) -> Result<Answer, Error> {
    find(call).ok_or(Error::NotFound)?;
    let (vhost, user) = (call.parameter("vhost").into(), call.parameter("user").into());
    call.settled(call.node.broker.clear_permissions(&call.actor(), &vhost, &user)?)?;
    Ok(Answer::Done)
}
