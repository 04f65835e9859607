//! Users.

use crate::auth::password::Algorithm;
use crate::broker::{self, admin::NewPassword, limits};
use crate::definition::User;
use crate::management::{Answer, Call, body::Body, error::Error, view};
use crate::name::UserName;
use serde_json::{Value, json};
use std::{collections::HashSet, sync::Arc};

pub(in crate::management) fn list(call: &Call) -> Result<Answer, Error> {
    render_all(call, call.node.broker.users.users())
}

/// Users who may enter no vhost.
pub(in crate::management) fn list_without_permissions(call: &Call) -> Result<Answer, Error> {
    let users = &call.node.broker.users;
    let granted: HashSet<UserName> = users.grants().into_iter().map(|grant| grant.user).collect();
    render_all(call, users.users().into_iter().filter(|(name, _)| !granted.contains(name)).collect())
}

fn render_all(call: &Call, mut users: Vec<(UserName, Arc<User>)>) -> Result<Answer, Error> {
    users.sort_by(|(left, _), (right, _)| left.cmp(right));
    call.list(users, |(name, _)| name.as_str(), |call, (name, user), _| render(call, name, user))
}

fn render(call: &Call, name: &UserName, user: &User) -> Value {
    view::user::render(name.as_str(), user, limits::of_user(&call.node.broker.users.limits(name)))
}

pub(in crate::management) fn show(call: &Call) -> Result<Answer, Error> {
    let name = call.parameter("user");
    let user = call.node.broker.users.user(name).ok_or(Error::NotFound)?;
    call.object(render(call, &name.into(), &user))
}

/// Adds a user or replaces it: whoever sends neither password nor hash takes the password away.
pub(in crate::management) fn put(call: &Call) -> Result<Answer, Error> {
    let body = call.body()?;
    let tags = body.tags("tags")?.ok_or_else(|| Error::BadRequest("tags_not_present".into()))?;
    let password = new_password(&body)?;
    let put = call.node.broker.put_user(&call.actor(), &call.parameter("user").into(), password, tags)?;
    Ok(Answer::put(call.settled(put)?))
}

/// The password that an object has: plain, as a hash, or none.
///
/// # Errors
/// 400 for both, and for what is no text.
pub(in crate::management) fn new_password(body: &Body) -> Result<NewPassword, Error> {
    let algorithm = body.text("hashing_algorithm")?;
    match (body.text("password")?, body.text("password_hash")?) {
        (Some(_), Some(_)) => Err(Error::BadRequest("both_password_and_password_hash_are_provided".into())),
        (Some(""), None) | (None, Some("") | None) => Ok(NewPassword::Nothing),
        (Some(password), None) => Ok(NewPassword::Plain(password.as_bytes().to_vec())),
        (None, Some(hash)) => {
            // Tools that send hashes of their own leave the name away: the hash's length tells as much.
            let algorithm = algorithm.unwrap_or_else(|| Algorithm::of_hash(hash).name());
            Ok(NewPassword::Hash { hash: hash.into(), algorithm: algorithm.into() })
        }
    }
}

pub(in crate::management) fn delete(call: &Call) -> Result<Answer, Error> {
    delete_one(call, call.parameter("user"))?;
    Ok(Answer::Done)
}

/// Deletes all users that the body names; those that are not there are gone already.
pub(in crate::management) fn delete_many(call: &Call) -> Result<Answer, Error> {
    let body = call.body()?;
    body.require(&["users"])?;
    for name in body.tags("users")?.unwrap_or_default() {
        match delete_one(call, &name) {
            Err(Error::NotFound) => {}
            outcome => outcome?,
        }
    }
    Ok(Answer::Done)
}

fn delete_one(call: &Call, name: &str) -> Result<(), Error> {
    match call.node.broker.delete_user(&call.actor(), &name.into()) {
        Err(broker::Error::NoUser(_)) => Err(Error::NotFound),
        outcome => call.settled(outcome?),
    }
}

pub(in crate::management) fn whoami(call: &Call) -> Result<Answer, Error> {
    let user = call.user()?;
    let tags: Vec<&str> = user.tags.iter().collect();
    let whoami: Value = json!({
        "name": user.name.as_str(),
        "tags": tags,
        "is_internal_user": true,
        "login_session_timeout": call.node.config.config().http.session_minutes,
    });
    call.object(whoami)
}
