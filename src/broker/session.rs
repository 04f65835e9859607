//! Who does something: a user in a vhost, from a connection or over HTTP; and what it has been found to be allowed.

use super::Vhost;
use super::counters::{Counters, Tally};
use super::error::{Error, Resource};
use super::publish::RouteCache;
use crate::auth::permissions::Access;
use crate::auth::users::Users;
use crate::auth::{User, UserTags};
use crate::exchange::next_random;
use crate::name::{ChannelId, ConnectionId, ExchangeName, QueueName, UserName};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// The type of exchanges that have permissions by routing key.
const TOPIC: &str = "topic";

/// Where a sequence of numbers by chance begins. Nothing depends on nobody guessing it, so what hash tables are seeded with
/// is good enough.
pub(super) fn seed() -> u64 {
    RandomState::new().hash_one(0)
}

/// Who does something, and where.
#[derive(Debug)]
pub struct Session {
    /// The vhost it works in.
    pub vhost: Arc<Vhost>,
    /// Its user.
    pub user: UserName,
    /// The user's tags at login.
    pub tags: UserTags,
    /// Its connection; none over HTTP, so that no exclusive queue is its own.
    pub connection: Option<ConnectionId>,
    /// The channel it works on just now.
    pub channel: ChannelId,
    /// What is published over that channel is confirmed.
    pub is_confirming: bool,
    users: Arc<Users>,
    /// Permissions do not matter.
    has_every_right: bool,
    pub(super) routes: RouteCache,
    pub(super) tally: Tally,
    /// The last number of [`Session::draw`].
    chance: u64,
}

impl Session {
    pub(super) fn new(
        vhost: Arc<Vhost>,
        user: &User,
        connection: Option<ConnectionId>,
        users: Arc<Users>,
        counters: Arc<Counters>,
    ) -> Self {
        let (name, tags) = (user.name.clone(), user.tags.clone());
        let chance = seed();
        Self {
            vhost,
            user: name,
            tags,
            connection,
            channel: ChannelId(0),
            is_confirming: false,
            users,
            has_every_right: false,
            routes: RouteCache::default(),
            tally: Tally::new(counters),
            chance,
        }
    }

    /// The same, with every right in its vhost.
    pub(super) fn with_every_right(self) -> Self {
        Self { has_every_right: true, ..self }
    }

    /// Tells the node what was published over it: after each batch of input.
    pub fn tell_counts(&mut self) {
        self.tally.tell();
    }

    /// The queue as error texts have it.
    pub fn queue(&self, name: &QueueName) -> Resource {
        Resource::Queue(self.vhost.name.clone(), name.clone())
    }

    /// The exchange as error texts have it.
    pub fn exchange(&self, name: &ExchangeName) -> Resource {
        Resource::Exchange(self.vhost.name.clone(), name.clone())
    }

    /// Whether the user may do this to the resource.
    ///
    /// # Errors
    /// [`Error::Refused`]. The default exchange goes by the name `amq.default`.
    pub fn check(&self, access: Access, resource: Resource) -> Result<(), Error> {
        if self.allows(access, &resource) {
            return Ok(());
        }
        let resource = match resource {
            Resource::Exchange(vhost, name) if name.is_empty() => {
                Resource::Exchange(vhost, ExchangeName::new("amq.default"))
            }
            other => other,
        };
        Err(Error::Refused { access, resource, user: self.user.clone() })
    }

    /// Whether the user may do any of the three; a refusal names configure, as RabbitMQ's does.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn check_any(&self, resource: Resource) -> Result<(), Error> {
        if self.allows(Access::Read, &resource) || self.allows(Access::Write, &resource) {
            return Ok(());
        }
        self.check(Access::Configure, resource)
    }

    /// Whether the user may use these routing keys at an exchange: written to publish with, read to bind with. Only topic
    /// exchanges have permissions by routing key, and only those of whom there are any.
    ///
    /// # Errors
    /// [`Error::RefusedTopic`], of the first key.
    pub fn check_topics<'k>(
        &self,
        access: Access,
        exchange: &ExchangeName,
        keys: impl IntoIterator<Item = &'k [u8]>,
    ) -> Result<(), Error> {
        if self.has_every_right {
            return Ok(());
        }
        let permissions = self.users.topic_permissions(&self.vhost.name, &self.user, exchange);
        let Some(permissions) = permissions.filter(|_| self.is_topic(exchange)) else { return Ok(()) };
        let mut keys = keys.into_iter().map(String::from_utf8_lossy);
        match keys.find(|key| !permissions.allows(access, key)) {
            None => Ok(()),
            Some(key) => Err(Error::RefusedTopic {
                access,
                key: key.into_owned(),
                exchange: self.exchange(exchange),
                user: self.user.clone(),
            }),
        }
    }

    fn is_topic(&self, exchange: &ExchangeName) -> bool {
        let topology = self.vhost.topology();
        topology.exchange(exchange.as_str()).is_some_and(|exchange| exchange.definition.kind == TOPIC)
    }

    fn allows(&self, access: Access, resource: &Resource) -> bool {
        let name = match resource {
            Resource::Exchange(_, name) if name.is_empty() => "amq.default",
            Resource::Exchange(_, name) => name.as_str(),
            Resource::Queue(_, name) => name.as_str(),
        };
        self.has_every_right || self.users.allows(&self.vhost.name, &self.user, access, name)
    }

    /// A number by chance, for exchanges that leave it to chance where a message goes.
    pub(super) fn draw(&mut self) -> u64 {
        self.chance = next_random(self.chance);
        self.chance
    }

    /// A number that is another after every change of users or topology.
    pub(super) fn generation(&self) -> (u64, u64) {
        (self.vhost.generation(), self.users.generation())
    }
}
