//! The backend `internal`: users and passwords from the definitions.

use super::{Authenticator, Context, Reason, Refused, User, UserTags, password};
use crate::definition;

pub(super) fn new(context: &Context) -> Box<dyn Authenticator> {
    Box::new(Internal(context.clone()))
}

#[derive(Debug)]
struct Internal(Context);

impl Authenticator for Internal {
    fn authenticate(&self, name: &str, password: &[u8], peer_is_loopback: bool) -> Result<User, Refused> {
        let known = self.0.users.user(name);
        match self.check(name, known.as_deref(), password, peer_is_loopback) {
            Some(reason) => Err(Refused { user: name.into(), reason }),
            None => {
                let tags = known.map(|user| UserTags::from(&user.tags[..])).unwrap_or_default();
                Ok(User { name: name.into(), tags })
            }
        }
    }
}

impl Internal {
    /// Why the user does not get in.
    fn check(
        &self,
        name: &str,
        known: Option<&definition::User>,
        password: &[u8],
        peer_is_loopback: bool,
    ) -> Option<Reason> {
        let Some(user) = known else {
            // Whether a user exists must not show in the time an answer takes.
            password::verify_nothing(password);
            return Some(Reason::UnknownUser);
        };
        if !password::verify(&user.password_hash, &user.hashing_algorithm, password) {
            return Some(match (user.password_hash.is_empty(), password.is_empty()) {
                (true, _) => Reason::NoPasswordSet,
                (_, true) => Reason::EmptyPassword,
                _ => Reason::WrongPassword,
            });
        }
        let is_bound = !peer_is_loopback && self.0.loopback_users.iter().any(|user| user == name);
        is_bound.then_some(Reason::OnlyFromLoopback)
    }
}
