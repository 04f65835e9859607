//! Policies: set, cleared, and put in force for what is there. What they mean is [`policy`](super::policy)'s business.
//!
//! Declares ask for the vhost's policies under its topology's write lock. So what a change of policies does not find in
//! the topology has been, or will be, declared with it.

use super::Vhost;
use super::admin::check_name;
use super::error::Error;
use super::events::{Actor, Fields};
use super::policy::{Compiled, Target, Whose};
use super::{Broker, Durable, change};
use crate::definition::{Change, Definition, Key};
use crate::name::{PolicyName, VhostName};
use crate::outbox::Wakes;
use crate::queue::Queue;
use tracing::{info, warn};

/// How many queues or exchanges are treated before others get a turn.
const SLICE: usize = 256;

impl Broker {
    /// Sets a policy; `true` when it is new. It is in force when this returns, which may take a while.
    ///
    /// # Errors
    /// [`Error::NoVhost`], [`Error::Invalid`] for a name that is none.
    pub fn put_policy(
        &self,
        actor: &Actor,
        whose: Whose,
        vhost: &VhostName,
        policy: Compiled,
    ) -> Result<Durable<bool>, Error> {
        check_name("policy", policy.name.as_str())?;
        let (home, is_new, at) = {
            let _admin = self.admin.lock();
            let home = self.vhost(vhost).ok_or_else(|| Error::NoVhost(vhost.clone()))?;
            let (name, definition) = (policy.name.clone(), policy.policy.clone());
            for key in policy.idle_keys() {
                warn!(policy = %name, vhost = %vhost, key, "nothing follows from this key of a policy");
            }
            info!(policy = %name, vhost = %vhost, pattern = definition.pattern, "policy set");
            let definition = match whose {
                Whose::Users => Definition::Policy(vhost.clone(), name, definition),
                Whose::Operators => Definition::OperatorPolicy(vhost.clone(), name, definition),
            };
            let at = self.store.append_changes(&[Change::Put(definition)]);
            let mut policies = (*home.policies()).clone();
            let is_new = policies.get(whose, policy.name.as_str()).is_none();
            self.emit(&event(whose, "set"), actor, |fields| {
                let said = policy.to_parameter();
                let fields = name_in(fields, vhost, &policy.name);
                said.as_object().into_iter().fold(fields, Fields::fields)
            });
            policies.put(whose, policy);
            home.set_policies(policies);
            (home, is_new, at)
        };
        self.sweep(actor, &home);
        Ok(Durable::new(is_new, at))
    }

    /// Clears a policy; `false` when there is none of that name. It is out of force when this returns.
    ///
    /// # Errors
    /// [`Error::NoVhost`].
    pub fn delete_policy(
        &self,
        actor: &Actor,
        whose: Whose,
        vhost: &VhostName,
        name: &PolicyName,
    ) -> Result<Durable<bool>, Error> {
        let (home, at) = {
            let _admin = self.admin.lock();
            let home = self.vhost(vhost).ok_or_else(|| Error::NoVhost(vhost.clone()))?;
            let mut policies = (*home.policies()).clone();
            if !policies.remove(whose, name.as_str()) {
                return Ok(Durable::at_once(false));
            }
            let at = self.store.append_changes(&[Change::Delete(key(whose, vhost, name))]);
            home.set_policies(policies);
            (home, at)
        };
        info!(policy = %name, vhost = %vhost, "policy cleared");
        self.emit(&event(whose, "cleared"), actor, |fields| name_in(fields, vhost, name));
        self.sweep(actor, &home);
        Ok(Durable::new(true, at))
    }

    /// Puts the policies of a vhost in force and tells for which queues others are.
    fn sweep(&self, actor: &Actor, vhost: &Vhost) {
        sweep(vhost, |queue| {
            let policy = queue.policy().policy;
            let key = if policy.is_some() { "queue.policy.updated" } else { "queue.policy.cleared" };
            self.emit(key, actor, |fields| {
                let fields = fields.text("name", queue.name.as_str()).text("vhost", vhost.name.as_str());
                policy.iter().fold(fields, |fields, policy| fields.text("policy", policy.name.as_str()))
            });
        });
    }
}

/// The key of an event about a policy.
fn event(whose: Whose, what: &str) -> String {
    match whose {
        Whose::Users => format!("policy.{what}"),
        Whose::Operators => format!("operator.policy.{what}"),
    }
}

fn name_in(fields: Fields, vhost: &VhostName, name: &PolicyName) -> Fields {
    fields.text("name", name.as_str()).text("vhost", vhost.as_str())
}

/// Under which a policy is kept.
pub(super) fn key(whose: Whose, vhost: &VhostName, name: &PolicyName) -> Key {
    match whose {
        Whose::Users => Key::Policy(vhost.clone(), name.clone()),
        Whose::Operators => Key::OperatorPolicy(vhost.clone(), name.clone()),
    }
}

/// Puts the policies of a vhost in force for everything in it. The topology is locked to read what is there, and again
/// for each slice of exchanges that change; queues are locked one by one. `changed_queue` hears of those that have others now.
pub(super) fn sweep(vhost: &Vhost, changed_queue: impl Fn(&Queue)) {
    let _sweep = vhost.sweep.lock();
    let policies = vhost.policies();
    let changed: Vec<_> = {
        let topology = vhost.topology();
        let applied = topology
            .exchanges()
            .map(|exchange| (exchange, policies.of(Target::Exchange(exchange.name.as_str()))));
        let changed = applied.filter(|(exchange, applied)| exchange.policy() != applied);
        changed.map(|(exchange, applied)| (exchange.name.clone(), applied)).collect()
    };
    for slice in changed.chunks(SLICE) {
        change::set_policies(vhost, &mut vhost.topology_mut(), slice);
    }
    let queues = vhost.queues();
    for slice in queues.chunks(SLICE) {
        let mut wakes = Wakes::default();
        for queue in slice {
            let target = Target::Queue { name: queue.name.as_str(), kind: &queue.definition.kind };
            if queue.set_policy(&policies.of(target), &mut wakes) {
                changed_queue(queue);
            }
        }
    }
}
