//! Sessions: who has logged in with a form has a cookie from then on, and no password.

use crate::auth::User;
use crate::definition;
use crate::name::UserName;
use crate::time::Millis;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// So many sessions there may be; with more, the one that would end first ends.
const SESSIONS_MAX: usize = 10_000;
/// Bytes of a cookie's value before they are written as hexadecimal digits.
pub(super) const TOKEN_BYTES: usize = 32;

/// What tells a session: what is kept of its cookie.
type Key = [u8; 32];

#[derive(Clone, Debug)]
struct Session {
    user: UserName,
    /// The user's password hash then: a session ends with the password that it was opened with.
    password_hash: String,
    until: Millis,
}

/// The sessions of a node, in memory: none outlives it.
#[derive(Debug, Default)]
pub struct Sessions {
    of: Mutex<HashMap<Key, Session>>,
}

/// What is kept of a cookie: who reads memory, or a dump of it, cannot come in with it.
fn key(token: &str) -> Key {
    Sha256::digest(token).into()
}

impl Sessions {
    /// Opens one, for a cookie that nobody can guess.
    pub(super) fn open(
        &self,
        token: &str,
        user: UserName,
        definition: &definition::User,
        now: Millis,
        until: Millis,
    ) {
        let mut of = self.of.lock();
        if of.len() >= SESSIONS_MAX {
            of.retain(|_, session| session.until > now);
        }
        while of.len() >= SESSIONS_MAX {
            let first = of.iter().min_by_key(|(_, session)| session.until).map(|(key, _)| *key);
            let Some(first) = first else { break };
            of.remove(&first);
        }
        let password_hash = definition.password_hash.clone();
        of.insert(key(token), Session { user, password_hash, until });
    }

    /// Whose session a cookie opens. `find` knows the users as they are now.
    pub(super) fn user<D: AsRef<definition::User>>(
        &self,
        token: &str,
        now: Millis,
        find: impl Fn(&UserName) -> Option<D>,
    ) -> Option<User> {
        let session = self.of.lock().get(&key(token)).filter(|session| session.until > now)?.clone();
        let definition = find(&session.user)?;
        let definition = definition.as_ref();
        let is_same = definition.password_hash == session.password_hash;
        is_same.then(|| User { name: session.user, tags: definition.tags[..].into() })
    }

    /// Ends one.
    pub(super) fn close(&self, token: &str) {
        self.of.lock().remove(&key(token));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn user(hash: &str) -> Arc<definition::User> {
        Arc::new(definition::User {
            password_hash: hash.into(),
            hashing_algorithm: String::new(),
            tags: vec!["monitoring".into()],
        })
    }

    #[test]
    fn a_session_lasts_until_its_time_its_log_out_or_another_password() {
        let sessions = Sessions::default();
        sessions.open("a", "u".into(), &user("1"), Millis(0), Millis(100));
        let is_in = |sessions: &Sessions, token: &str, now: u64, hash: &str| {
            sessions.user(token, Millis(now), |_| Some(user(hash))).is_some()
        };
        assert!(is_in(&sessions, "a", 99, "1"));
        assert!(!is_in(&sessions, "a", 100, "1"), "its time is over");
        assert!(!is_in(&sessions, "a", 99, "2"), "the password is another");
        assert!(!is_in(&sessions, "b", 99, "1"), "nobody has that cookie");
        assert!(
            sessions.user("a", Millis(99), |_| None::<Arc<definition::User>>).is_none(),
            "the user is gone"
        );
        let found = sessions.user("a", Millis(0), |_| Some(user("1"))).unwrap();
        assert!(found.tags.is_monitoring(), "with the tags of now");
        sessions.close("a");
        assert!(!is_in(&sessions, "a", 1, "1"));
    }

    #[test]
    fn there_are_only_so_many_and_the_one_that_ends_first_goes() {
        let sessions = Sessions::default();
        for number in 0..=SESSIONS_MAX as u64 {
            sessions.open(&number.to_string(), "u".into(), &user("1"), Millis(0), Millis(10 + number));
        }
        let is_in = |token: &str| sessions.user(token, Millis(0), |_| Some(user("1"))).is_some();
        let count = sessions.of.lock().len();
        assert_eq!((count, is_in("0"), is_in("1"), is_in("10000")), (SESSIONS_MAX, false, true, true));
    }
}
