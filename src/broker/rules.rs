//! The operator's rules for the whole node: what is in force, what new vhosts begin with, what passwords must be like.
//!
//! Most bounds are checked by the operations themselves; see [`limits`](super::limits) and [`declare`](super::declare).

use super::admin::NewPassword;
use super::error::Error;
use super::events::Actor;
use super::policy::{Compiled, Draft, Whose};
use super::session::Session;
use super::{Broker, Durable};
use crate::arguments::{self, Table};
use crate::auth::password::{self, Algorithm};
use crate::config::rules::{DefaultPolicy, DefaultUser, Passwords, Rules, Validator};
use crate::definition::{Permissions, VhostLimits};
use crate::name::{ExchangeName, PolicyName, Position, UserName, VhostName};
use crate::outbox::Wakes;
use crate::queue::AllQueues as _;
use parking_lot::MutexGuard;
use regex::Regex;
use serde_json::{Value, json};
use std::sync::Arc;
use tracing::{info, warn};

impl Broker {
    /// What is in force.
    pub fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read())
    }

    /// What is in force from now on. Bounds hold for what comes; what is there already stays. Queues learn at once how long
    /// their consumers may take, which may take a while.
    pub fn set_rules(&self, rules: Rules) {
        let rules = Arc::new(rules);
        let before = std::mem::replace(&mut *self.rules.write(), Arc::clone(&rules));
        self.services.set_consumer_timeout_ms(rules.consumer_timeout_ms);
        if before.consumer_timeout_ms != rules.consumer_timeout_ms {
            let mut wakes = Wakes::default();
            self.all_queues().iter().for_each(|queue| queue.refresh_settings(&mut wakes));
        }
    }

    /// Says which type a queue is to have that says none, where the vhost or the node has a default. RabbitMQ writes it into
    /// the arguments, too: the queue keeps its type when the default changes, and who declares it again is compared with it.
    pub(super) fn set_default_type(&self, session: &Session, arguments: &mut Table) {
        let default = session.vhost.definition.read().default_queue_type.clone();
        let default = default.or_else(|| self.rules().default_queue_type.clone());
        if let Some(default) = default.filter(|_| arguments::get(arguments, "x-queue-type").is_none()) {
            arguments.insert("x-queue-type".into(), arguments::Value::LongString(default.as_str().into()));
        }
    }

    /// Counts exchanges until the guard goes, where there is a limit.
    ///
    /// # Errors
    /// [`Error::TooManyExchanges`].
    pub(super) fn count_exchange_in(&self, name: &ExchangeName) -> Result<Option<MutexGuard<'_, ()>>, Error> {
        let Some(limit) = self.rules().limits.exchanges else { return Ok(None) };
        let counting = self.counting_exchanges.lock();
        let count: usize = self.vhosts().iter().map(|vhost| vhost.topology().exchange_count()).sum();
        match count as u64 >= limit {
            true => Err(Error::TooManyExchanges { exchange: name.clone(), limit }),
            false => Ok(Some(counting)),
        }
    }

    /// Gives a new vhost what the operator wants every such vhost to have; where that ends in the journal.
    pub(super) fn furnish(&self, actor: &Actor, vhost: &VhostName) -> Position {
        let rules = self.rules();
        let new = &rules.new_vhosts;
        let mut end = Position::NONE;
        let mut made = |what: &str, name: &str, outcome: Result<Position, Error>| match outcome {
            Ok(at) => {
                info!(vhost = %vhost, "the vhost begins with the configured {what} '{name}'");
                end = end.max(at);
            }
            Err(error) => {
                warn!(vhost = %vhost, %error, "the vhost does not get the configured {what} '{name}'")
            }
        };
        let mut limits = VhostLimits::default();
        for said in new.limits.values().filter(|limits| fits(&limits.pattern, vhost.as_str())) {
            limits.max_connections = limits.max_connections.or(said.max_connections);
            limits.max_queues = limits.max_queues.or(said.max_queues);
        }
        if limits != VhostLimits::default() {
            made("limits of", vhost.as_str(), self.set_vhost_limits(actor, vhost, limits).map(|set| set.at));
        }
        for (name, policy) in &new.operator_policies {
            if fits(&policy.vhost_pattern, vhost.as_str()) {
                made("operator policy", name, self.furnish_policy(actor, vhost, name, policy));
            }
        }
        for (name, user) in &new.users {
            if fits(&user.vhost_pattern, vhost.as_str()) {
                made("user", name, self.furnish_user(actor, vhost, name, user));
            }
        }
        end
    }

    fn furnish_policy(
        &self,
        actor: &Actor,
        vhost: &VhostName,
        name: &str,
        policy: &DefaultPolicy,
    ) -> Result<Position, Error> {
        let pattern = if policy.queue_pattern.is_empty() { ".*" } else { &policy.queue_pattern };
        let draft = Draft {
            pattern: pattern.into(),
            definition: Value::Object(policy.definition.clone()),
            priority: None,
            apply_to: Some(json!(policy.apply_to.as_deref().unwrap_or("queues"))),
        };
        let policy = Compiled::check(Whose::Operators, PolicyName::new(name), draft)?;
        self.put_policy(actor, Whose::Operators, vhost, policy).map(|put| put.at)
    }

    /// A user that is there keeps its password and tags.
    fn furnish_user(
        &self,
        actor: &Actor,
        vhost: &VhostName,
        name: &str,
        user: &DefaultUser,
    ) -> Result<Position, Error> {
        let user_name = UserName::new(name);
        let mut end = Position::NONE;
        if self.users.user(name).is_none() {
            let plain =
                |password: &crate::config::Secret| NewPassword::Plain(password.0.clone().into_bytes());
            let password = user.password.as_ref().map_or(NewPassword::Nothing, plain);
            end = self.put_user(actor, &user_name, password, user.tags.clone())?.at;
        }
        let (configure, write) = (user.configure.clone(), user.write.clone());
        let permissions = Permissions { configure, write, read: user.read.clone() };
        let Durable { at, .. } = self.set_permissions(actor, vhost, &user_name, permissions)?;
        Ok(end.max(at))
    }
}

/// Whether a pattern is found in a name; the empty one is in all.
fn fits(pattern: &str, name: &str) -> bool {
    pattern.is_empty() || Regex::new(pattern).is_ok_and(|regex| regex.is_match(name))
}

/// The algorithm of new hashes.
pub(super) fn algorithm(passwords: &Passwords) -> Algorithm {
    Algorithm::find(&passwords.algorithm).unwrap_or(password::DEFAULT)
}

/// Whether a new password is as the operator wants it.
///
/// # Errors
/// [`Error::Invalid`] with what is wrong.
pub(super) fn check_password(passwords: &Passwords, plain: &[u8]) -> Result<(), Error> {
    match passwords.validator {
        Validator::Nothing => Ok(()),
        Validator::Length if plain.len() >= passwords.length_min => Ok(()),
        Validator::Length => {
            Err(Error::Invalid(format!("minimum required password length: {}", passwords.length_min)))
        }
        Validator::Pattern => {
            let text = std::str::from_utf8(plain).unwrap_or_default();
            let is_fine = Regex::new(&passwords.pattern).is_ok_and(|regex| regex.is_match(text));
            let reason = "provided password does not match the validator regular expression";
            if is_fine { Ok(()) } else { Err(Error::Invalid(reason.into())) }
        }
    }
}
