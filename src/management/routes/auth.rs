//! How people log in, and what a password looks like when it is kept.

use crate::auth;
use crate::broker;
use crate::broker::counters::LoginProtocol;
use crate::management::{Answer, Call, error::Error, routes::nodes, view};
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

/// How often people logged in, or tried to, over each protocol.
pub(in crate::management) fn list_attempts(call: &Call) -> Result<Answer, Error> {
    nodes::check_name(call)?;
    let attempts = call.node.broker.counters.logins.by_protocol_of_late();
    call.list(
        LoginProtocol::ALL.into_iter().zip(attempts).collect(),
        |(protocol, _)| protocol.name(),
        |_, (protocol, attempts), _| view::attempts::of_protocol(*protocol, attempts),
    )
}

/// The same of each user and address; of very many sources, the first that came.
pub(in crate::management) fn list_attempts_by_source(call: &Call) -> Result<Answer, Error> {
    nodes::check_name(call)?;
    call.list(
        call.node.broker.counters.logins.by_source(),
        |((_, user, _), _)| user.as_str(),
        |_, (source, attempts), _| view::attempts::of_source(source, attempts),
    )
}

/// Begins to count anew.
pub(in crate::management) fn forget_attempts(call: &Call) -> Result<Answer, Error> {
    nodes::check_name(call)?;
    call.node.broker.counters.logins.forget();
    Ok(Answer::Done)
}
