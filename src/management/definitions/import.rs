//! Making what a file of definitions says, beside what is there.

use super::{File, Known, Parameter, User};
use crate::broker::events::Actor;
use crate::broker::policy::Whose;
use crate::broker::{Broker, Durable, Error, Session};
use crate::name::{Position, UserName, VhostName};
use crate::outbox::Wakes;

impl Known for Broker {
    fn has_user(&self, name: &UserName) -> bool {
        self.users.user(name.as_str()).is_some()
    }

    fn has_vhost(&self, name: &VhostName) -> bool {
        self.vhost(name).is_some()
    }
}

/// What came of a file.
#[derive(Debug)]
pub(in crate::management) struct Imported {
    /// Where the last record ends.
    pub(in crate::management) end: Position,
    /// What was left out, and why.
    pub(in crate::management) left_out: Vec<String>,
}

/// Makes everything of a file, in order. What the broker refuses is left out, which is logged.
///
/// # Errors
/// [`Error::NoVhost`] for one that went meanwhile.
pub(in crate::management) fn import(
    broker: &Broker,
    actor: &Actor,
    mut file: File,
) -> Result<Imported, Error> {
    let left_out = std::mem::take(&mut file.left_out);
    let mut import = Import { broker, actor, imported: Imported { end: Position::NONE, left_out } };
    import.govern(&mut file);
    import.declare(file)?;
    for what in &import.imported.left_out {
        tracing::warn!(what, "left out of an import of definitions");
    }
    Ok(import.imported)
}

/// A file on its way into the broker.
struct Import<'a> {
    broker: &'a Broker,
    actor: &'a Actor,
    imported: Imported,
}

impl Import<'_> {
    /// Notes what came of making something; what the broker refuses is left out.
    fn note<T>(&mut self, what: impl FnOnce() -> String, made: Result<Durable<T>, Error>) {
        match made {
            Ok(made) => self.imported.end = self.imported.end.max(made.at),
            Err(error) => self.imported.left_out.push(format!("{}: {error}", what())),
        }
    }

    fn govern(&mut self, file: &mut File) {
        let (broker, actor) = (self.broker, self.actor);
        for User { name, password, tags, limits } in file.users.drain(..) {
            let what = || format!("user '{name}'");
            self.note(what, broker.put_user(actor, &name, password, tags));
            for (limit, value) in limits {
                let set = broker.set_user_limit(actor, &name, &limit, Some(value));
                self.note(|| format!("limit {limit} of user '{name}'"), set);
            }
        }
        for (name, vhost) in file.vhosts.drain(..) {
            self.note(|| format!("vhost '{name}'"), broker.put_vhost(actor, &name, vhost.into()));
        }
        for (vhost, user, permissions) in file.permissions.drain(..) {
            let set = broker.set_permissions(actor, &vhost, &user, permissions);
            self.note(|| format!("permissions of user '{user}' in vhost '{vhost}'"), set);
        }
        for (vhost, user, exchange, permissions) in file.topic_permissions.drain(..) {
            let set = broker.set_topic_permissions(actor, &vhost, &user, &exchange, permissions);
            let what = || format!("topic permissions of user '{user}' at '{exchange}' in vhost '{vhost}'");
            self.note(what, set);
        }
        for (name, value) in file.global_parameters.drain(..) {
            let put = broker.put_global_parameter(actor, &name, value);
            self.note(|| format!("global parameter '{name}'"), put);
        }
        for parameter in file.parameters.drain(..) {
            let Parameter { vhost, component, name, value } = parameter;
            let put = broker.put_parameter(actor, &vhost, &component, &name, value);
            self.note(|| format!("parameter '{name}' of {component} in vhost '{vhost}'"), put);
        }
        for (vhost, policy) in file.policies.drain(..) {
            let name = policy.name.clone();
            // Each policy that is set is looked for in all queues.
            let is_there = broker.vhost(&vhost).is_some_and(|home| {
                let known = home.policies();
                known.get(Whose::Users, name.as_str()).is_some_and(|known| known.policy == policy.policy)
            });
            if is_there {
                continue;
            }
            let put = broker.put_policy(actor, Whose::Users, &vhost, policy);
            self.note(|| format!("policy '{name}' in vhost '{vhost}'"), put);
        }
    }

    /// What is there already stays as it is.
    fn declare(&mut self, file: File) -> Result<(), Error> {
        for (vhost, queue) in file.queues {
            let session = self.session(&vhost)?;
            if session.vhost.topology().queue(queue.name.as_str()).is_some() {
                continue;
            }
            let what = format!("queue '{}' in vhost '{vhost}'", queue.name);
            self.note(|| what, self.broker.declare_queue(&session, queue));
        }
        for (vhost, exchange) in file.exchanges {
            let session = self.session(&vhost)?;
            if session.vhost.topology().exchange(exchange.name.as_str()).is_some() {
                continue;
            }
            let what = format!("exchange '{}' in vhost '{vhost}'", exchange.name);
            self.note(|| what, self.broker.declare_exchange(&session, exchange));
        }
        for (vhost, binding) in file.bindings {
            // That of the default exchange is there with its queue.
            if binding.source.is_empty() {
                continue;
            }
            let session = self.session(&vhost)?;
            let what = format!("binding from '{}' in vhost '{vhost}'", binding.source);
            let mut wakes = Wakes::default();
            self.note(|| what, self.broker.bind(&session, binding, &mut wakes));
        }
        Ok(())
    }

    fn session(&self, vhost: &VhostName) -> Result<Session, Error> {
        self.broker.enter_as_administrator(self.actor, vhost)
    }
}
