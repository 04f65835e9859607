//! Who asks, and what they may ask: Basic authentication, user tags, access to vhosts.

use super::error::Error;
use crate::auth::User;
use crate::auth::UserTags;
use axum::extract::connect_info::Connected;
use axum::http::{HeaderMap, header};
use axum::serve::IncomingStream;
use base64::{Engine, prelude::BASE64_STANDARD};

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// Everybody, without logging in.
    Anyone,
    /// Users of the HTTP API.
    Management,
    /// Those who may change the policies and parameters of their vhosts.
    Policymaker,
    /// Those who may see everything.
    Monitoring,
    /// Those who may do everything.
    Administrator,
}

impl Level {
    /// # Errors
    /// 401 when the tags are not enough.
    pub(super) fn check(self, tags: &UserTags) -> Result<(), Error> {
        let is_enough = match self {
            Level::Anyone => true,
            Level::Management => tags.is_management(),
            Level::Policymaker => tags.is_policymaker(),
            Level::Monitoring => tags.is_monitoring(),
            Level::Administrator => tags.is_administrator(),
        };
        if is_enough { Ok(()) } else { Err(Error::AccessRefused) }
    }
}

/// Who is at the other end of the local socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct LocalPeer {
    /// The user id of its process, if the system says it.
    uid: Option<u32>,
}

/// The user id of root.
const ROOT: u32 = 0;
/// What the administrator is called who came over the local socket, as RabbitMQ calls what its command line does.
const LOCAL_ADMINISTRATOR: &str = "rmq-cli";

impl LocalPeer {
    /// The administrator, if it is the user who runs the broker, or root.
    pub(super) fn user(self) -> Option<User> {
        let own = rustix::process::geteuid().as_raw();
        let tags = UserTags::from(&["administrator".to_owned()][..]);
        self.owns(own).then(|| User { name: LOCAL_ADMINISTRATOR.into(), tags })
    }

    fn owns(self, own: u32) -> bool {
        self.uid.is_some_and(|uid| uid == own || uid == ROOT)
    }
}

impl Connected<IncomingStream<'_, tokio::net::UnixListener>> for LocalPeer {
    fn connect_info(stream: IncomingStream<'_, tokio::net::UnixListener>) -> Self {
        LocalPeer { uid: stream.io().peer_cred().ok().map(|credentials| credentials.uid()) }
    }
}

/// User and password of a Basic `authorization` header, if there is one.
pub(super) fn credentials(headers: &HeaderMap) -> Option<(String, Vec<u8>)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = BASE64_STANDARD.decode(encoded.trim()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let user = String::from_utf8(decoded[..colon].to_vec()).ok()?;
    Some((user, decoded[colon + 1..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(value: &str) -> Option<(String, Vec<u8>)> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        credentials(&headers)
    }

    #[test]
    fn basic_credentials_are_split_at_the_first_colon() {
        let encoded = |text: &str| BASE64_STANDARD.encode(text);
        assert_eq!(parsed(&format!("Basic {}", encoded("a:b:c"))), Some(("a".into(), b"b:c".to_vec())));
        assert_eq!(parsed(&format!("basic {}", encoded("a:"))), Some(("a".into(), Vec::new())));
        for value in [
            format!("Bearer {}", encoded("a:b")),
            "Basic !".into(),
            "Basic".into(),
            format!("Basic {}", encoded("ab")),
        ] {
            assert_eq!(parsed(&value), None, "{value}");
        }
        assert_eq!(credentials(&HeaderMap::new()), None);
    }

    #[test]
    fn the_local_socket_is_for_the_brokers_user_and_root() {
        let peer = |uid| LocalPeer { uid };
        for (uid, own, expected) in [
            (Some(1000), 1000, true),
            (Some(0), 1000, true),
            (Some(1001), 1000, false),
            (Some(1000), 0, false),
            (None, 1000, false),
        ] {
            assert_eq!(peer(uid).owns(own), expected, "{uid:?} {own}");
        }
        let own = rustix::process::geteuid().as_raw();
        let user = peer(Some(own)).user().unwrap();
        assert!(user.tags.is_administrator());
        assert_eq!(peer(Some(own + 1)).user(), None);
    }

    #[test]
    fn tags_reach_as_far_as_rabbitmqs() {
        let may = |tag: &str, level: Level| level.check(&UserTags::from(&[tag.to_owned()][..])).is_ok();
        for (tag, management, policymaker, monitoring, administrator) in [
            ("", false, false, false, false),
            ("free", false, false, false, false),
            ("management", true, false, false, false),
            ("policymaker", true, true, false, false),
            ("monitoring", true, false, true, false),
            ("administrator", true, true, true, true),
        ] {
            assert_eq!(may(tag, Level::Management), management, "{tag}");
            assert_eq!(may(tag, Level::Policymaker), policymaker, "{tag}");
            assert_eq!(may(tag, Level::Monitoring), monitoring, "{tag}");
            assert_eq!(may(tag, Level::Administrator), administrator, "{tag}");
            assert!(may(tag, Level::Anyone));
        }
    }
}
