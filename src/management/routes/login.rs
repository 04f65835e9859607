//! Sessions: logging in with a form, and out again.

use crate::broker;
use crate::management::sessions::TOKEN_BYTES;
use crate::management::{Answer, Call, admission, error::Error, parse_query};
use crate::time::{self, Millis};
use serde_json::json;

/// Opens a session for the user and password of a form. As in RabbitMQ, the answer has a cookie; here it is no password.
pub(in crate::management) fn open(call: &Call) -> Result<Answer, Error> {
    let form = String::from_utf8_lossy(&call.body);
    let form = parse_query(&form);
    let (user, password) = (form.get("username"), form.get("password"));
    let (Some(name), Some(password)) = (user, password) else {
        return Err(Error::BadRequest("a form with username and password is wanted".into()));
    };
    let user = admission::log_in(&call.node, name, password.as_bytes(), call.peer)?;
    let Some(definition) = call.node.broker.users.user(user.name.as_str()) else {
        return Err(Error::NotLoggedIn);
    };
    if !user.tags.is_management() {
        return Err(Error::AccessRefused);
    }
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(|_| broker::Error::NoRandom)?;
    let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let config = call.node.config.config();
    let seconds = u64::from(config.http.session_minutes) * 60;
    let now = time::unix_ms();
    let until = Millis(now.0.saturating_add(seconds * 1000));
    call.node.sessions.open(&token, user.name, &definition, now, until);
    let cookie = admission::cookie(&token, seconds, &config.http.path_prefix);
    Ok(Answer::Cookie(Box::new(Answer::Json(json!("ok"))), cookie))
}

/// Ends the session of the request's cookie, if there is one.
pub(in crate::management) fn close(call: &Call) -> Result<Answer, Error> {
    if let Some(token) = admission::session(&call.headers) {
        call.node.sessions.close(token);
    }
    let config = call.node.config.config();
    Ok(Answer::Cookie(Box::new(Answer::Done), admission::cookie("", 0, &config.http.path_prefix)))
}
