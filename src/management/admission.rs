//! Who a request comes from: a login with user and password, the cookie of a session, or the other end of the local socket.

use super::access::{LocalPeer, credentials};
use super::error::Error;
use super::node::Node;
use crate::auth::User;
use crate::broker::counters::LoginProtocol;
use crate::time;
use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, header};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The name of a session's cookie.
const COOKIE: &str = "warren_session";
/// By which browsers say whose page a request comes from.
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The user of a request, and whether it is the administrator at the other end of the local socket.
pub(super) fn admit(node: &Node, parts: &Parts) -> Result<(User, bool), Error> {
    if let Some((user, password)) = credentials(&parts.headers) {
        return Ok((log_in(node, &user, &password, peer(parts))?, false));
    }
    if let Some(token) = session(&parts.headers) {
        // The cookie is for this broker's own pages: a browser does not send it with the requests of others, and this is
        // for browsers that do.
        let is_foreign = parts.headers.get(SITE).is_some_and(|site| site != "same-origin" && site != "none");
        let users = &node.broker.users;
        let find = |name: &crate::name::UserName| users.user(name.as_str());
        let user = node.sessions.user(token, time::unix_ms(), find);
        return user.filter(|_| !is_foreign).map(|user| (user, false)).ok_or(Error::NotLoggedIn);
    }
    let local = local(parts).and_then(LocalPeer::user);
    local.map(|user| (user, true)).ok_or(Error::NotLoggedIn)
}

/// Logs a user in, and counts that.
pub(super) fn log_in(node: &Node, user: &str, password: &[u8], address: IpAddr) -> Result<User, Error> {
    let admitted = node.broker.log_in(user, password, address.is_loopback());
    node.broker.counters.logins.count(LoginProtocol::Http, user, address, admitted.is_ok());
    Ok(admitted?)
}

/// Where a request comes from. Whoever comes over the local socket is on this machine.
pub(super) fn peer(parts: &Parts) -> IpAddr {
    let here = IpAddr::V4(if local(parts).is_some() { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED });
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    // Over a socket for both, IPv4 peers have addresses within IPv6.
    peer.map_or(here, |ConnectInfo(peer)| peer.ip().to_canonical())
}

fn local(parts: &Parts) -> Option<LocalPeer> {
    parts.extensions.get::<ConnectInfo<LocalPeer>>().map(|ConnectInfo(peer)| *peer)
}

/// The value of a session's cookie, if there is one.
pub(super) fn session(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| name.trim() == COOKIE).map(|(_, token)| token.trim())
}

/// The header that sets a session's cookie for so many seconds; with 0, that takes it away.
///
/// No script reads it, no other site's page makes a browser send it.
pub(super) fn cookie(token: &str, seconds: u64, path_prefix: &str) -> String {
    format!("{COOKIE}={token}; Max-Age={seconds}; Path={path_prefix}/; HttpOnly; SameSite=Strict")
}
