//! Who may log in: the backends, and what they say of a user.
//!
//! A backend is a file here and a line in [`BACKENDS`]; the configuration names those to be asked, in order. What a user
//! may do in a vhost is [`permissions`], kept by [`users`]; a user may enter those vhosts in which it has permissions.
//! Mechanisms (how a client says who it is) are the protocols' business.

mod internal;
pub mod password;
pub mod permissions;
pub mod users;

use crate::name::UserName;
use password::Algorithm;
use std::{fmt::Debug, sync::Arc};
use users::Users;

/// Asks whether a user is who it claims to be.
pub trait Authenticator: Send + Sync + Debug {
    /// The user, if the password is right and the user may connect from there.
    /// # Errors
    /// [`Refused`], for the log alone: a client is never told why.
    fn authenticate(&self, user: &str, password: &[u8], peer_is_loopback: bool) -> Result<User, Refused>;
}

/// A kind of authenticator, by the name the configuration has for it.
#[derive(Clone, Copy, Debug)]
pub struct Backend {
    /// Its name in `auth_backends`.
    pub name: &'static str,
    /// One sentence for people.
    pub description: &'static str,
    /// Makes it.
    pub new: fn(&Context) -> Box<dyn Authenticator>,
}

/// All backends.
pub const BACKENDS: &[Backend] = &[Backend {
    name: "internal",
    description: "Users and passwords from the definitions",
    new: internal::new,
}];

/// What backends are made of.
#[derive(Clone, Debug)]
pub struct Context {
    /// The users of the node.
    pub users: Arc<Users>,
    /// Users who may log in from this machine only: `guest`, unless configured otherwise.
    pub loopback_users: Arc<[String]>,
}

impl Default for Context {
    fn default() -> Self {
        Self { users: Arc::default(), loopback_users: Arc::from(["guest".to_owned()]) }
    }
}

/// Several backends, asked in order until one lets the user in.
#[derive(Debug)]
pub struct Chain(Vec<Box<dyn Authenticator>>);

impl Chain {
    /// The backends of these names.
    /// # Errors
    /// The first name that none has.
    pub fn new<'n>(names: &[&'n str], context: &Context) -> Result<Self, UnknownBackend<'n>> {
        let find = |name: &&'n str| {
            let backend = BACKENDS.iter().find(|backend| backend.name == *name);
            backend.map(|backend| (backend.new)(context)).ok_or(UnknownBackend(name))
        };
        names.iter().map(find).collect::<Result<_, _>>().map(Chain)
    }
}

impl Authenticator for Chain {
    fn authenticate(&self, user: &str, password: &[u8], peer_is_loopback: bool) -> Result<User, Refused> {
        let mut refused = Refused { user: user.to_owned(), reason: Reason::NoBackend };
        for backend in &self.0 {
            match backend.authenticate(user, password, peer_is_loopback) {
                Ok(user) => return Ok(user),
                Err(why) => refused = why,
            }
        }
        Err(refused)
    }
}

/// A name in `auth_backends` that no backend has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown authentication backend '{0}'")]
pub struct UnknownBackend<'n>(pub &'n str);

/// The hash of a new password, with a fresh salt.
/// # Errors
/// When the system has no random bytes.
pub fn hash_password(algorithm: Algorithm, password: &[u8]) -> Result<String, getrandom::Error> {
    let mut salt = [0; password::SALT_BYTES];
    getrandom::fill(&mut salt)?;
    Ok(password::hash(algorithm, salt, password))
}

/// A user who got in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct User {
    pub name: UserName,
    pub tags: UserTags,
}

/// A user who did not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("login of user '{user}' refused: {reason}")]
pub struct Refused {
    /// The name as given.
    pub user: String,
    /// Why, of the backend asked last.
    pub reason: Reason,
}

/// Why a login is refused: for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// There is no such user.
    #[error("no such user")]
    UnknownUser,
    /// The password is another.
    #[error("wrong password")]
    WrongPassword,
    /// The empty password lets nobody in.
    #[error("empty password")]
    EmptyPassword,
    /// The user has no password and so cannot log in with one.
    #[error("user has no password")]
    NoPasswordSet,
    /// The password was right, the address was not.
    #[error("user can only connect from localhost")]
    OnlyFromLoopback,
    /// Nobody was asked.
    #[error("no authentication backend is configured")]
    NoBackend,
}

/// A user's tags: what it may do beyond its vhosts' resources.
///
/// The levels of management contain one another: an administrator is also all the others, a monitoring or policymaker
/// user may also use management. Tags may be free words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserTags(Arc<[String]>);

impl UserTags {
    /// All tags, as given.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether the user has that very tag.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.iter().any(|own| own == tag)
    }

    /// May do everything.
    pub fn is_administrator(&self) -> bool {
        self.has_tag("administrator")
    }

    /// May see everything.
    pub fn is_monitoring(&self) -> bool {
        self.is_administrator() || self.has_tag("monitoring")
    }

    /// May change the policies and parameters of its vhosts.
    pub fn is_policymaker(&self) -> bool {
        self.is_administrator() || self.has_tag("policymaker")
    }

    /// May use the HTTP API for its vhosts.
    pub fn is_management(&self) -> bool {
        self.is_monitoring() || self.is_policymaker() || self.has_tag("management")
    }

    /// May publish with another user's name as user-id.
    pub fn is_impersonator(&self) -> bool {
        self.has_tag("impersonator")
    }
}

impl Default for UserTags {
    fn default() -> Self {
        Self(Arc::from([]))
    }
}

impl From<&[String]> for UserTags {
    fn from(tags: &[String]) -> Self {
        Self(Arc::from(tags))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::{self, Definition};

    fn chain(names: &[(&str, &[u8])]) -> Chain {
        let user = |(name, password): &(&str, &[u8])| {
            let password_hash = match password.is_empty() {
                true => String::new(),
                false => password::hash(Algorithm::Sha256, [1; 4], password),
            };
            let hashing_algorithm = password::DEFAULT_ALGORITHM.to_owned();
            let tags = vec!["monitoring".to_owned()];
            Definition::User((*name).into(), definition::User { password_hash, hashing_algorithm, tags })
        };
        let (users, _) = Users::load(&names.iter().map(user).collect::<Vec<_>>());
        Chain::new(&["internal"], &Context { users: Arc::new(users), ..Context::default() }).unwrap()
    }

    #[test]
    fn the_right_password_brings_name_and_tags() {
        let user = chain(&[("a", b"x")]).authenticate("a", b"x", false).unwrap();
        assert_eq!(user, User { name: "a".into(), tags: UserTags::from(&["monitoring".to_owned()][..]) });
    }

    #[test]
    fn a_refusal_has_its_reason_for_the_log() {
        let chain = chain(&[("a", b"x"), ("none", b"")]);
        for (user, password, reason) in [
            ("a", &b"y"[..], Reason::WrongPassword),
            ("a", b"", Reason::EmptyPassword),
            ("b", b"x", Reason::UnknownUser),
            ("none", b"", Reason::NoPasswordSet),
            ("none", b"x", Reason::NoPasswordSet),
        ] {
            let refused = Refused { user: user.to_owned(), reason };
            assert_eq!(chain.authenticate(user, password, true), Err(refused));
        }
        let text = chain.authenticate("b", b"x", true).unwrap_err().to_string();
        assert_eq!(text, "login of user 'b' refused: no such user");
    }

    #[test]
    fn guest_comes_from_this_machine_only() {
        let chain = chain(&[("guest", b"guest"), ("a", b"x")]);
        assert!(chain.authenticate("guest", b"guest", true).is_ok());
        let refused = chain.authenticate("guest", b"guest", false).unwrap_err();
        assert_eq!(refused.reason, Reason::OnlyFromLoopback);
        assert!(chain.authenticate("a", b"x", false).is_ok());
        // The address says nothing about a password that is wrong anyway.
        assert_eq!(chain.authenticate("guest", b"no", false).unwrap_err().reason, Reason::WrongPassword);
    }

    #[test]
    fn an_unknown_backend_is_named_and_an_empty_chain_lets_nobody_in() {
        let context = Context::default();
        assert_eq!(Chain::new(&["internal", "ldap"], &context).unwrap_err(), UnknownBackend("ldap"));
        let nobody = Chain::new(&[], &context).unwrap().authenticate("guest", b"guest", true);
        assert_eq!(nobody.unwrap_err().reason, Reason::NoBackend);
    }

    #[test]
    fn new_passwords_get_different_salts() {
        let hashes = [(); 2].map(|()| hash_password(password::DEFAULT, b"secret").unwrap());
        assert_ne!(hashes[0], hashes[1]);
        assert!(hashes.iter().all(|hash| password::verify(hash, password::DEFAULT_ALGORITHM, b"secret")));
    }

    #[test]
    fn levels_of_management_contain_one_another() {
        let levels = |tag: &str| {
            let tags = UserTags::from(&[tag.to_owned()][..]);
            (tags.is_administrator(), tags.is_monitoring(), tags.is_policymaker(), tags.is_management())
        };
        assert_eq!(levels("administrator"), (true, true, true, true));
        assert_eq!(levels("monitoring"), (false, true, false, true));
        assert_eq!(levels("policymaker"), (false, false, true, true));
        assert_eq!(levels("management"), (false, false, false, true));
        assert_eq!(levels("impersonator"), (false, false, false, false));
    }
}
