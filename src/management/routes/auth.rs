//! How people log in, and what a password looks like when it is kept.

use crate::auth;
use crate::broker;
use crate::management::{Answer, Call, error::Error};
use serde_json::json;

/// What a web page has to know before anybody has logged in: with user and password, by nothing else.
pub(in crate::management) fn settings(_: &Call) -> Result<Answer, Error> {
    Ok(Answer::Json(json!({ "oauth_enabled": false })))
}

/// The hash of a password, as `password_hash` of a user takes it. Each has another salt.
pub(in crate::management) fn hash_password(call: &Call) -> Result<Answer, Error> {
    hash(call.parameter("password"))
}

/// The same, of a password that no log of paths shows.
pub(in crate::management) fn hash_password_of_body(call: &Call) -> Result<Answer, Error> {
    let body = call.body()?;
    body.require(&["password"])?;
    hash(body.text("password")?.unwrap_or_default())
}

fn hash(password: &str) -> Result<Answer, Error> {
    let hash = auth::hash_password(auth::password::DEFAULT, password.as_bytes());
    let hash = hash.map_err(|_| broker::Error::NoRandom)?;
    Ok(Answer::Json(json!({ "ok": hash })))
}
