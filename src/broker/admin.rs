//! Vhosts, users and permissions; logging in and entering a vhost.

use super::Vhost;
use super::error::Error;
use super::events::{Actor, Fields, NOBODY};
use super::policy::Whose;
use super::rules;
use super::session::Session;
use super::topology::Topology;
use super::{Broker, Durable, policies};
use crate::auth::permissions::{Permissions, TopicPermissions};
use crate::auth::{self, Authenticator, User, UserTags, password};
use crate::definition::{self, Change, Definition, Key};
use crate::name::{ConnectionId, ExchangeName, Position, UserName, VhostName};
use crate::outbox::Wakes;
use crate::queue::arguments::Kind;
use std::sync::Arc;
use tracing::info;

/// What a user logs in with from now on.
#[derive(Clone)]
pub enum NewPassword {
    /// To be hashed with a fresh salt.
    Plain(Vec<u8>),
    /// A hash as RabbitMQ writes it, with its algorithm's name.
    Hash {
        /// Base64; empty = no password.
        hash: String,
        /// `rabbit_password_hashing_sha256` and so on.
        algorithm: String,
    },
    /// None: no login with a password.
    Nothing,
}

impl std::fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewPassword(..)")
    }
}

/// What a vhost says of itself from now on; what is none stays.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct VhostChange {
    pub description: Option<String>,
    pub tags: Option<Vec<String>>,
    /// None in it = there is none any more.
    pub default_queue_type: Option<Option<String>>,
    pub tracing: Option<bool>,
    pub protected_from_deletion: Option<bool>,
}

impl VhostChange {
    fn applied_to(self, vhost: definition::Vhost) -> definition::Vhost {
        definition::Vhost {
            description: self.description.unwrap_or(vhost.description),
            tags: self.tags.unwrap_or(vhost.tags),
            default_queue_type: self.default_queue_type.unwrap_or(vhost.default_queue_type),
            tracing: self.tracing.unwrap_or(vhost.tracing),
            protected_from_deletion: self.protected_from_deletion.unwrap_or(vhost.protected_from_deletion),
        }
    }
}

impl From<definition::Vhost> for VhostChange {
    /// All of it.
    fn from(vhost: definition::Vhost) -> Self {
        Self {
            description: Some(vhost.description),
            tags: Some(vhost.tags),
            default_queue_type: Some(vhost.default_queue_type),
            tracing: Some(vhost.tracing),
            protected_from_deletion: Some(vhost.protected_from_deletion),
        }
    }
}

impl Broker {
    /// Checks who somebody is. Takes as long as hashing a password does.
    ///
    /// # Errors
    /// [`Error::LoginRefused`]; the reason is logged and not told.
    pub fn log_in(&self, user: &str, password: &[u8], peer_is_loopback: bool) -> Result<User, Error> {
        self.authenticator.authenticate(user, password, peer_is_loopback).map_err(|refused| {
            info!(%refused, "login refused");
            Error::LoginRefused
        })
    }

    /// Lets a user into a vhost.
    ///
    /// # Errors
    /// [`Error::NoVhost`], [`Error::VhostRefused`] without permissions there.
    pub fn enter(
        &self,
        user: &User,
        vhost: &VhostName,
        connection: Option<ConnectionId>,
    ) -> Result<Session, Error> {
        let home = self.vhost(vhost).ok_or_else(|| Error::NoVhost(vhost.clone()))?;
        if self.users.permissions(vhost, &user.name).is_none() {
            return Err(Error::VhostRefused { vhost: vhost.clone(), user: user.name.clone() });
        }
        Ok(Session::new(home, user, connection, Arc::clone(&self.users), Arc::clone(&self.counters)))
    }

    /// Lets somebody do everything in a vhost, whatever its permissions: whoever calls this has found that it may.
    ///
    /// # Errors
    /// [`Error::NoVhost`].
    pub fn enter_as_administrator(&self, actor: &Actor, vhost: &VhostName) -> Result<Session, Error> {
        let home = self.vhost(vhost).ok_or_else(|| Error::NoVhost(vhost.clone()))?;
        let name = actor.user.clone().unwrap_or_else(|| UserName::new(NOBODY));
        let user = User { name, tags: UserTags::default() };
        Ok(Session::new(home, &user, None, Arc::clone(&self.users), Arc::clone(&self.counters))
            .with_every_right())
    }

    /// Adds a vhost or changes what it says of itself; `true` when it is new.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name no client could send, and a queue type there is none of.
    pub fn put_vhost(
        &self,
        actor: &Actor,
        name: &VhostName,
        change: VhostChange,
    ) -> Result<Durable<bool>, Error> {
        check_name("vhost", name.as_str())?;
        let kind = change.default_queue_type.as_ref().and_then(Option::as_deref);
        if let Some(kind) = kind.filter(|kind| Kind::of_name(kind).is_none()) {
            return Err(Error::Invalid(format!("unsupported default queue type '{kind}'")));
        }
        let admin = self.admin.lock();
        let current = self.vhost(name).map(|vhost| vhost.definition.read().clone());
        if let Some(limit) = self.rules().limits.vhosts.filter(|limit| self.vhosts.len() as u64 >= *limit)
            && current.is_none()
        {
            return Err(Error::TooManyVhosts { vhost: name.clone(), limit });
        }
        let vhost = change.applied_to(current.unwrap_or_default());
        let change = Change::Put(Definition::Vhost(name.clone(), vhost.clone()));
        let at = self.store.append_changes(&[change]);
        match self.vhost(name) {
            Some(existing) => {
                existing.redefine(vhost);
                Ok(Durable::new(false, at))
            }
            None => {
                self.emit("vhost.created", actor, |fields| {
                    let fields = fields.text("name", name.as_str()).text("description", &vhost.description);
                    fields.json("tags", &vhost.tags.as_slice().into())
                });
                self.add_vhost_in_memory(name.clone(), vhost);
                drop(admin);
                Ok(Durable::new(true, at.max(self.furnish(actor, name))))
            }
        }
    }

    /// Protects a vhost from deletion, or no longer.
    ///
    /// # Errors
    /// [`Error::NoVhost`].
    pub fn protect_vhost(&self, name: &VhostName, is_protected: bool) -> Result<Durable<()>, Error> {
        let _admin = self.admin.lock();
        let vhost = self.vhost(name).ok_or_else(|| Error::NoVhost(name.clone()))?;
        let mut definition = vhost.definition.read().clone();
        definition.protected_from_deletion = is_protected;
        let change = Change::Put(Definition::Vhost(name.clone(), definition.clone()));
        let at = self.store.append_changes(&[change]);
        vhost.redefine(definition);
        Ok(Durable::new((), at))
    }

    /// Deletes a vhost with everything in it; its connections are closed.
    ///
    /// # Errors
    /// [`Error::NoVhost`], [`Error::ProtectedVhost`].
    pub fn delete_vhost(
        &self,
        actor: &Actor,
        name: &VhostName,
        wakes: &mut Wakes,
    ) -> Result<Durable<()>, Error> {
        let _admin = self.admin.lock();
        let is_free = |_: &_, vhost: &Arc<Vhost>| !vhost.definition.read().protected_from_deletion;
        let Some((_, vhost)) = self.vhosts.remove_if(name, is_free) else {
            let is_there = self.vhosts.contains_key(name);
            let refusal = if is_there { Error::ProtectedVhost } else { Error::NoVhost };
            return Err(refusal(name.clone()));
        };
        let (at, queues) = {
            let mut topology = vhost.topology_mut();
            let mut changes = deletion_of(&vhost, &topology, &self.users);
            let parameters = self.parameters.write().remove_vhost(name);
            changes.splice(..0, parameters.into_iter().map(Change::Delete));
            let at = self.store.append_changes(&changes);
            let internal = topology.exchanges().flat_map(|exchange| exchange.internal_queues());
            let queues: Vec<_> = topology.queues().chain(internal).cloned().collect();
            topology.delete_all();
            vhost.changed();
            (at, queues)
        };
        let _ = self.users.apply(&Change::Delete(Key::Vhost(name.clone())));
        for queue in queues {
            let always = |_: &_| Ok::<(), std::convert::Infallible>(());
            let Ok(deleted) = queue.delete(always, wakes);
            self.forget_queue(&queue, deleted.subscriptions.iter().map(|subscription| subscription.id));
            queue.give_back(deleted);
        }
        self.emit("vhost.deleted", actor, |fields| fields.text("name", name.as_str()));
        self.connections
            .close_where(|connection| connection.vhost == *name, &format!("vhost '{name}' is deleted"));
        Ok(Durable::new((), at))
    }

    /// Adds a user or changes its password and tags; `true` when it is new.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name or a hash that is none.
    pub fn put_user(
        &self,
        actor: &Actor,
        name: &UserName,
        new_password: NewPassword,
        tags: Vec<String>,
    ) -> Result<Durable<bool>, Error> {
        check_name("user", name.as_str())?;
        let (password_hash, hashing_algorithm) = match new_password {
            NewPassword::Plain(plain) => {
                let passwords = &self.rules().passwords;
                rules::check_password(passwords, &plain)?;
                let algorithm = rules::algorithm(passwords);
                let hash = auth::hash_password(algorithm, &plain).map_err(|_| Error::NoRandom)?;
                (hash, algorithm.name().to_owned())
            }
            NewPassword::Hash { hash, algorithm } => {
                if !hash.is_empty() {
                    password::check(&hash, &algorithm).map_err(|error| Error::Invalid(error.to_string()))?;
                }
                (hash, algorithm)
            }
            NewPassword::Nothing => (String::new(), password::DEFAULT_ALGORITHM.to_owned()),
        };
        let _admin = self.admin.lock();
        let is_new = self.users.user(name.as_str()).is_none();
        let user = definition::User { password_hash, hashing_algorithm, tags };
        let (tags, has_password) = (user.tags.as_slice().into(), !user.password_hash.is_empty());
        let at = self.change_users(Change::Put(Definition::User(name.clone(), user)))?;
        let password = if has_password { "user.password.changed" } else { "user.password.cleared" };
        let named = |fields: Fields| fields.text("name", name.as_str());
        self.emit(if is_new { "user.created" } else { password }, actor, named);
        self.emit("user.tags.set", actor, |fields| named(fields).json("tags", &tags));
        Ok(Durable::new(is_new, at))
    }

    /// Deletes a user with its permissions and limits; its connections are closed.
    ///
    /// # Errors
    /// [`Error::NoUser`].
    pub fn delete_user(&self, actor: &Actor, name: &UserName) -> Result<Durable<()>, Error> {
        let _admin = self.admin.lock();
        self.users.user(name.as_str()).ok_or_else(|| Error::NoUser(name.clone()))?;
        let grants = self.users.grants().into_iter().filter(|grant| grant.user == *name);
        let mut changes: Vec<Change> =
            grants.map(|grant| Change::Delete(Key::Permissions(grant.vhost, grant.user))).collect();
        let topics = self.users.topic_grants().into_iter().filter(|grant| grant.user == *name);
        changes.extend(topics.map(|grant| Change::Delete(topic_key(&grant))));
        changes.push(Change::Delete(Key::UserLimits(name.clone())));
        changes.push(Change::Delete(Key::User(name.clone())));
        let at = self.store.append_changes(&changes);
        let _ = self.users.apply(&Change::Delete(Key::User(name.clone())));
        self.open_by_user.remove(name);
        self.emit("user.deleted", actor, |fields| fields.text("name", name.as_str()));
        self.connections
            .close_where(|connection| connection.user == *name, &format!("user '{name}' is deleted"));
        Ok(Durable::new((), at))
    }

    /// Sets what a user may do in a vhost; `true` when it could not enter it before.
    ///
    /// # Errors
    /// [`Error::NoUser`], [`Error::NoVhost`], [`Error::Pattern`].
    pub fn set_permissions(
        &self,
        actor: &Actor,
        vhost: &VhostName,
        user: &UserName,
        permissions: definition::Permissions,
    ) -> Result<Durable<bool>, Error> {
        Permissions::compile(&permissions)?;
        let _admin = self.admin.lock();
        self.users.user(user.as_str()).ok_or_else(|| Error::NoUser(user.clone()))?;
        self.vhost(vhost).ok_or_else(|| Error::NoVhost(vhost.clone()))?;
        let is_new = self.users.permissions(vhost, user).is_none();
        self.emit("permission.created", actor, |fields| {
            let fields = fields.text("user", user.as_str()).text("vhost", vhost.as_str());
            let fields = fields.text("configure", &permissions.configure).text("write", &permissions.write);
            fields.text("read", &permissions.read)
        });
        let definition = Definition::Permissions(vhost.clone(), user.clone(), permissions);
        let at = self.change_users(Change::Put(definition))?;
        Ok(Durable::new(is_new, at))
    }

    /// Takes a user's permissions in a vhost; `false` when it had none.
    ///
    /// # Errors
    /// [`Error::NoUser`], [`Error::NoVhost`].
    pub fn clear_permissions(
        &self,
        actor: &Actor,
        vhost: &VhostName,
        user: &UserName,
    ) -> Result<Durable<bool>, Error> {
        let _admin = self.admin.lock();
        self.users.user(user.as_str()).ok_or_else(|| Error::NoUser(user.clone()))?;
        self.vhost(vhost).ok_or_else(|| Error::NoVhost(vhost.clone()))?;
        if self.users.permissions(vhost, user).is_none() {
            return Ok(Durable::at_once(false));
        }
        let at = self.change_users(Change::Delete(Key::Permissions(vhost.clone(), user.clone())))?;
        self.emit("permission.deleted", actor, |fields| {
            fields.text("user", user.as_str()).text("vhost", vhost.as_str())
        });
        Ok(Durable::new(true, at))
    }

    /// Sets which routing keys a user may use at a topic exchange, which need not be there yet; `true` when it could use any.
    ///
    /// # Errors
    /// [`Error::NoUser`], [`Error::NoVhost`], [`Error::Pattern`].
    pub fn set_topic_permissions(
        &self,
        actor: &Actor,
        vhost: &VhostName,
        user: &UserName,
        exchange: &ExchangeName,
        permissions: definition::TopicPermissions,
    ) -> Result<Durable<bool>, Error> {
        TopicPermissions::compile(&permissions, vhost, user)?;
        let _admin = self.admin.lock();
        self.users.user(user.as_str()).ok_or_else(|| Error::NoUser(user.clone()))?;
        self.vhost(vhost).ok_or_else(|| Error::NoVhost(vhost.clone()))?;
        let is_new = self.users.topic_permissions(vhost, user, exchange).is_none();
        self.emit("topic.permission.created", actor, |fields| {
            let fields = fields.text("user", user.as_str()).text("vhost", vhost.as_str());
            let fields = fields.text("exchange", exchange.as_str()).text("write", &permissions.write);
            fields.text("read", &permissions.read)
        });
        let definition =
            Definition::TopicPermissions(vhost.clone(), user.clone(), exchange.clone(), permissions);
        let at = self.change_users(Change::Put(definition))?;
        Ok(Durable::new(is_new, at))
    }

    /// Lets a user use any routing key again, at an exchange or at all of a vhost; `false` when it could.
    ///
    /// # Errors
    /// [`Error::NoUser`], [`Error::NoVhost`].
    pub fn clear_topic_permissions(
        &self,
        actor: &Actor,
        vhost: &VhostName,
        user: &UserName,
        exchange: Option<&ExchangeName>,
    ) -> Result<Durable<bool>, Error> {
        let _admin = self.admin.lock();
        self.users.user(user.as_str()).ok_or_else(|| Error::NoUser(user.clone()))?;
        self.vhost(vhost).ok_or_else(|| Error::NoVhost(vhost.clone()))?;
        let mut grants = self.users.topic_grants();
        grants.retain(|grant| {
            grant.vhost == *vhost
                && grant.user == *user
                && exchange.is_none_or(|exchange| grant.exchange == *exchange)
        });
        let mut at = Position::NONE;
        for grant in &grants {
            at = self.change_users(Change::Delete(topic_key(grant)))?;
            self.emit("topic.permission.deleted", actor, |fields| {
                let fields = fields.text("user", user.as_str()).text("vhost", vhost.as_str());
                fields.text("exchange", grant.exchange.as_str())
            });
        }
        Ok(Durable::new(!grants.is_empty(), at))
    }

    pub(super) fn change_users(&self, change: Change) -> Result<Position, Error> {
        let at = self.store.append_changes(std::slice::from_ref(&change));
        self.users.apply(&change)?;
        Ok(at)
    }
}

/// Names are short strings that are not empty.
pub(super) fn check_name(kind: &str, name: &str) -> Result<(), Error> {
    if name.is_empty() {
        return Err(Error::Invalid(format!("{kind} name must not be empty")));
    }
    if name.len() > crate::name::SHORT_STRING_BYTES_MAX {
        return Err(Error::Invalid(format!("{kind} name of {} bytes is longer than 255 bytes", name.len())));
    }
    Ok(())
}

fn topic_key(grant: &auth::users::TopicGrant) -> Key {
    Key::TopicPermissions(grant.vhost.clone(), grant.user.clone(), grant.exchange.clone())
}

/// The changes that remove a vhost and everything in it.
fn deletion_of(vhost: &Vhost, topology: &Topology, users: &auth::users::Users) -> Vec<Change> {
    let name = &vhost.name;
    let mut keys: Vec<Key> =
        topology.bindings().iter().map(|binding| Key::Binding(name.clone(), (**binding).clone())).collect();
    let internal = topology.exchanges().flat_map(|exchange| exchange.internal_queues());
    let durable_queues = topology.queues().chain(internal).filter(|queue| queue.definition.durable);
    keys.extend(durable_queues.map(|queue| Key::Queue(name.clone(), queue.name.clone())));
    let durable_exchanges = topology.exchanges().filter(|exchange| exchange.definition.durable);
    keys.extend(durable_exchanges.map(|exchange| Key::Exchange(name.clone(), exchange.name.clone())));
    let grants = users.grants();
    let granted = grants.iter().filter(|grant| grant.vhost == *name);
    keys.extend(granted.map(|grant| Key::Permissions(name.clone(), grant.user.clone())));
    let topics = users.topic_grants();
    keys.extend(topics.iter().filter(|grant| grant.vhost == *name).map(topic_key));
    let policies = vhost.policies();
    for whose in [Whose::Users, Whose::Operators] {
        keys.extend(policies.all(whose).iter().map(|policy| policies::key(whose, name, &policy.name)));
    }
    keys.extend([Key::VhostLimits(name.clone()), Key::Vhost(name.clone())]);
    keys.into_iter().map(Change::Delete).collect()
}
