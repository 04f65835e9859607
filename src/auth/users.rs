//! The users of the node, their permissions and limits, in memory: a copy of the definitions that can be asked fast.
//!
//! The broker persists a change first and applies it here then; nobody else writes. Readers may remember what they were
//! told until [`Users::generation`] moves.

use super::permissions::{self, Access, Permissions, TopicPermissions};
use crate::definition::{self, Change, Definition, Key};
use crate::name::{ExchangeName, UserName, VhostName};
use foldhash::HashMap;
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The users and their permissions.
#[derive(Debug, Default)]
pub struct Users {
    tables: RwLock<Tables>,
    /// Grows with every change, after it is visible.
    generation: AtomicU64,
}

#[derive(Debug, Default)]
struct Tables {
    users: BTreeMap<UserName, Arc<definition::User>>,
    permissions: HashMap<VhostName, BTreeMap<UserName, Granted>>,
    topics: BTreeMap<VhostName, BTreeMap<UserName, BTreeMap<ExchangeName, GrantedTopics>>>,
    limits: HashMap<UserName, definition::UserLimits>,
}

/// Permissions as defined and as compiled.
#[derive(Clone, Debug)]
struct Granted {
    definition: Arc<definition::Permissions>,
    compiled: Arc<Permissions>,
}

/// Topic permissions as defined and as compiled.
#[derive(Clone, Debug)]
struct GrantedTopics {
    definition: Arc<definition::TopicPermissions>,
    compiled: Arc<TopicPermissions>,
}

/// A row of a list of topic permissions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct TopicGrant {
    pub vhost: VhostName,
    pub user: UserName,
    pub exchange: ExchangeName,
    pub permissions: Arc<definition::TopicPermissions>,
}

/// A row of a permissions list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Grant {
    pub vhost: VhostName,
    pub user: UserName,
    pub permissions: Arc<definition::Permissions>,
}

impl Users {
    /// The users and permissions among `definitions`; what else there is, is passed over.
    ///
    /// A row with a pattern that does not compile grants nothing and is reported: the node starts all the same.
    pub fn load<'d>(
        definitions: impl IntoIterator<Item = &'d Definition>,
    ) -> (Self, Vec<permissions::Error>) {
        let users = Self::default();
        let put = |definition: &Definition| users.apply(&Change::Put(definition.clone())).err();
        let errors = definitions.into_iter().filter_map(put).collect();
        (users, errors)
    }

    /// Follows a change of the definitions: of users, of permissions and limits, or of a vhost or user that takes them
    /// along. Other changes do nothing.
    /// # Errors
    /// When a pattern does not compile; its row then stands, and grants nothing. Whoever makes the change compiles
    /// first.
    pub fn apply(&self, change: &Change) -> Result<(), permissions::Error> {
        let mut tables = self.tables.write();
        let mut outcome = Ok(());
        match change {
            Change::Put(Definition::User(name, user)) => {
                tables.users.insert(name.clone(), Arc::new(user.clone()));
            }
            Change::Put(Definition::Permissions(vhost, user, permissions)) => {
                let compiled = Permissions::compile(permissions).unwrap_or_else(|error| {
                    outcome = Err(error);
                    Permissions::none()
                });
                let granted =
                    Granted { definition: Arc::new(permissions.clone()), compiled: Arc::new(compiled) };
                tables.permissions.entry(vhost.clone()).or_default().insert(user.clone(), granted);
            }
            Change::Put(Definition::TopicPermissions(vhost, user, exchange, permissions)) => {
                let compiled = TopicPermissions::compile(permissions, vhost, user);
                let compiled = compiled.unwrap_or_else(|error| {
                    outcome = Err(error);
                    TopicPermissions::none()
                });
                let granted =
                    GrantedTopics { definition: Arc::new(permissions.clone()), compiled: Arc::new(compiled) };
                let rows = tables.topics.entry(vhost.clone()).or_default().entry(user.clone()).or_default();
                rows.insert(exchange.clone(), granted);
            }
            Change::Delete(Key::TopicPermissions(vhost, user, exchange)) => {
                let rows = tables.topics.get_mut(vhost).and_then(|rows| rows.get_mut(user));
                rows.map(|rows| rows.remove(exchange));
            }
            Change::Delete(Key::User(name)) => {
                tables.users.remove(name);
                tables.limits.remove(name);
                tables.permissions.values_mut().for_each(|rows| drop(rows.remove(name)));
                tables.topics.values_mut().for_each(|rows| drop(rows.remove(name)));
            }
            Change::Delete(Key::Permissions(vhost, user)) => {
                tables.permissions.get_mut(vhost).map(|rows| rows.remove(user));
            }
            Change::Delete(Key::Vhost(vhost)) => {
                tables.permissions.remove(vhost);
                tables.topics.remove(vhost);
            }
            Change::Put(Definition::UserLimits(user, limits)) => {
                tables.limits.insert(user.clone(), *limits);
            }
            Change::Delete(Key::UserLimits(user)) => {
                tables.limits.remove(user);
            }
            _ => return Ok(()),
        }
        drop(tables);
        self.generation.fetch_add(1, Ordering::Release);
        outcome
    }

    /// A number that is another after every change: what was remembered before is to be asked again.
    ///
    /// Read it before asking what is to be remembered.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The user called `name`.
    pub fn user(&self, name: &str) -> Option<Arc<definition::User>> {
        self.tables.read().users.get(name).cloned()
    }

    /// All users, by name.
    pub fn users(&self) -> Vec<(UserName, Arc<definition::User>)> {
        self.tables.read().users.iter().map(|(name, user)| (name.clone(), user.clone())).collect()
    }

    /// How much a user may open.
    pub fn limits(&self, user: &UserName) -> definition::UserLimits {
        self.tables.read().limits.get(user).copied().unwrap_or_default()
    }

    /// What the user may do in the vhost; none = may not even enter it.
    pub fn permissions(&self, vhost: &VhostName, user: &UserName) -> Option<Arc<Permissions>> {
        Some(self.tables.read().permissions.get(vhost)?.get(user)?.compiled.clone())
    }

    /// Whether the user may do this to the resource of that name. To ask often, keep [`Users::permissions`].
    pub fn allows(&self, vhost: &VhostName, user: &UserName, access: Access, name: &str) -> bool {
        self.permissions(vhost, user).is_some_and(|permissions| permissions.allows(access, name))
    }

    /// Which routing keys the user may use at an exchange; none = any.
    pub fn topic_permissions(
        &self,
        vhost: &VhostName,
        user: &UserName,
        exchange: &ExchangeName,
    ) -> Option<Arc<TopicPermissions>> {
        let tables = self.tables.read();
        Some(tables.topics.get(vhost)?.get(user)?.get(exchange)?.compiled.clone())
    }

    /// All topic permissions, by vhost, user and exchange.
    pub fn topic_grants(&self) -> Vec<TopicGrant> {
        let tables = self.tables.read();
        let rows = tables.topics.iter().flat_map(|(vhost, rows)| rows.iter().map(move |row| (vhost, row)));
        let grant = |(vhost, (user, rows)): (&VhostName, (&UserName, &BTreeMap<_, GrantedTopics>))| {
            let (vhost, user) = (vhost.clone(), user.clone());
            let grant = |(exchange, granted): (&ExchangeName, &GrantedTopics)| TopicGrant {
                vhost: vhost.clone(),
                user: user.clone(),
                exchange: exchange.clone(),
                permissions: granted.definition.clone(),
            };
            rows.iter().map(grant).collect::<Vec<_>>()
        };
        rows.flat_map(grant).collect()
    }

    /// All permissions, by vhost and user.
    pub fn grants(&self) -> Vec<Grant> {
        let tables = self.tables.read();
        let mut grants: Vec<Grant> = Vec::new();
        for (vhost, rows) in &tables.permissions {
            grants.extend(rows.iter().map(|(user, granted)| Grant {
                vhost: vhost.clone(),
                user: user.clone(),
                permissions: granted.definition.clone(),
            }));
        }
        drop(tables);
        grants.sort_by(|left, right| (&left.vhost, &left.user).cmp(&(&right.vhost, &right.user)));
        grants
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> Definition {
        Definition::User(name.into(), definition::User { tags: vec![name.into()], ..Default::default() })
    }

    fn grant(vhost: &str, user: &str, write: &str) -> Definition {
        let permissions = definition::Permissions { write: write.into(), ..Default::default() };
        Definition::Permissions(vhost.into(), user.into(), permissions)
    }

    fn rows(users: &Users) -> Vec<(String, String, String)> {
        let grants = users.grants().into_iter();
        grants.map(|g| (g.vhost.to_string(), g.user.to_string(), g.permissions.write.clone())).collect()
    }

    fn row(vhost: &str, user: &str, write: &str) -> (String, String, String) {
        (vhost.into(), user.into(), write.into())
    }

    #[test]
    fn permissions_are_per_vhost_and_their_absence_closes_it() {
        let (users, errors) =
            Users::load(&[user("a"), user("b"), grant("/", "a", "^q"), grant("v", "b", ".*")]);
        assert_eq!(errors, []);
        assert!(users.allows(&"/".into(), &"a".into(), Access::Write, "q1"));
        assert!(!users.allows(&"/".into(), &"a".into(), Access::Write, "x"));
        assert!(users.permissions(&"v".into(), &"a".into()).is_none());
        assert_eq!(users.users().iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(rows(&users), [row("/", "a", "^q"), row("v", "b", ".*")]);
    }

    #[test]
    fn permissions_go_with_their_user_and_with_their_vhost() {
        let all = [user("a"), user("b"), grant("/", "a", "1"), grant("/", "b", "2"), grant("v", "a", "3")];
        let (users, _) = Users::load(&all);
        users.apply(&Change::Delete(Key::Vhost("v".into()))).unwrap();
        assert_eq!(rows(&users), [row("/", "a", "1"), row("/", "b", "2")]);
        users.apply(&Change::Delete(Key::User("a".into()))).unwrap();
        assert!(users.user("a").is_none());
        assert_eq!(rows(&users), [row("/", "b", "2")]);
        users.apply(&Change::Delete(Key::Permissions("/".into(), "b".into()))).unwrap();
        assert_eq!(rows(&users), []);
    }

    #[test]
    fn topic_permissions_are_per_exchange_and_go_with_their_user_and_vhost() {
        let topic = |vhost: &str, user: &str, exchange: &str| {
            let permissions = definition::TopicPermissions { write: "^a".into(), read: "(".into() };
            Definition::TopicPermissions(vhost.into(), user.into(), exchange.into(), permissions)
        };
        let all = [topic("/", "a", "x"), topic("/", "a", "y"), topic("/", "b", "x"), topic("v", "a", "x")];
        let (users, errors) = Users::load(&all);
        assert_eq!(errors.len(), 4, "what does not compile is told, and grants nothing");
        let rows = |users: &Users| -> Vec<String> {
            let grants = users.topic_grants().into_iter();
            grants.map(|grant| format!("{} {} {}", grant.vhost, grant.user, grant.exchange)).collect()
        };
        assert_eq!(rows(&users), ["/ a x", "/ a y", "/ b x", "v a x"]);
        assert!(
            !users
                .topic_permissions(&"/".into(), &"a".into(), &"x".into())
                .unwrap()
                .allows(Access::Write, "a")
        );
        assert!(users.topic_permissions(&"/".into(), &"a".into(), &"z".into()).is_none());
        users.apply(&Change::Delete(Key::TopicPermissions("/".into(), "a".into(), "y".into()))).unwrap();
        users.apply(&Change::Delete(Key::Vhost("v".into()))).unwrap();
        assert_eq!(rows(&users), ["/ a x", "/ b x"]);
        users.apply(&Change::Delete(Key::User("a".into()))).unwrap();
        assert_eq!(rows(&users), ["/ b x"]);
    }

    #[test]
    fn every_change_of_users_moves_the_generation_and_no_other_does() {
        let users = Users::default();
        let before = users.generation();
        users.apply(&Change::Put(user("a"))).unwrap();
        let after = users.generation();
        assert_ne!(before, after);
        users.apply(&Change::Put(Definition::Vhost("v".into(), definition::Vhost::default()))).unwrap();
        assert_eq!(users.generation(), after);
    }

    #[test]
    fn a_row_that_does_not_compile_is_reported_and_grants_nothing() {
        let (users, errors) = Users::load(&[user("a"), grant("/", "a", "(")]);
        assert_eq!(errors.iter().map(|error| error.pattern.as_str()).collect::<Vec<_>>(), ["("]);
        assert!(users.permissions(&"/".into(), &"a".into()).is_some());
        assert!(!users.allows(&"/".into(), &"a".into(), Access::Write, "("));
        assert_eq!(rows(&users), [row("/", "a", "(")]);
    }
}
