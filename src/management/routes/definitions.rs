//! Definitions: all that was declared and administered, as one file, out of a node or a vhost and into it.

use crate::broker::parameters::Parameter;
use crate::broker::policy::Whose;
use crate::broker::{self, Broker, Durable, Session, Vhost};
use crate::management::definitions::{File, Known, Scope, User};
use crate::management::{Answer, Call, error::Error, view};
use crate::name::{Position, UserName, VhostName};
use crate::outbox::Wakes;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The file of the node.
pub(in crate::management) fn export(call: &Call) -> Result<Answer, Error> {
    let broker = &call.node.broker;
    let mut file = view::definitions::of_node(&broker.cluster_name);
    let users = broker.users.users().into_iter().map(|(name, user)| {
        view::user::render(name.as_str(), &user, broker::limits::of_user(&broker.users.limits(&name)))
    });
    let grants = broker.users.grants();
    let permissions = grants
        .iter()
        .map(|grant| view::user::permissions(grant.vhost.as_str(), grant.user.as_str(), &grant.permissions));
    let global = broker.global_parameters();
    let global = global.iter().map(|(name, value)| view::parameter::global(name.as_str(), value));
    let vhosts = broker.vhosts();
    let named =
        vhosts.iter().map(|vhost| view::definitions::vhost(vhost.name.as_str(), &vhost.definition.read()));
    for (section, objects) in [
        ("users", users.collect::<Vec<_>>()),
        ("vhosts", named.collect()),
        ("permissions", permissions.collect()),
        ("topic_permissions", Vec::new()),
        ("global_parameters", global.collect()),
    ] {
        file.insert(section.into(), objects.into());
    }
    extend(&mut file, broker, &vhosts);
    answer(call, file)
}

/// The file of a vhost: what is in it, without its name.
pub(in crate::management) fn export_vhost(call: &Call) -> Result<Answer, Error> {
    let vhost = existing(call)?;
    let mut file = view::definitions::of_vhost(vhost.name.as_str(), &vhost.definition.read());
    extend(&mut file, &call.node.broker, &[vhost]);
    for objects in file.values_mut().filter_map(Value::as_array_mut) {
        objects.iter_mut().filter_map(Value::as_object_mut).for_each(|object| drop(object.remove("vhost")));
    }
    answer(call, file)
}

fn existing(call: &Call) -> Result<Arc<Vhost>, Error> {
    call.node.broker.vhost(&call.parameter("vhost").into()).ok_or(Error::NotFound)
}

/// Adds what is in vhosts.
fn extend(file: &mut Map<String, Value>, broker: &Broker, vhosts: &[Arc<Vhost>]) {
    let mut sections = view::definitions::Sections::default();
    for vhost in vhosts {
        let parameters = broker.parameters(&vhost.name);
        sections
            .parameters
            .extend(parameters.iter().map(|parameter: &Parameter| view::parameter::render(parameter)));
        let policies = vhost.policies();
        sections.policies.extend(
            policies.all(Whose::Users).iter().map(|policy| view::policy::render(vhost.name.as_str(), policy)),
        );
        sections.add_topology(vhost);
    }
    sections.insert_into(file);
}

fn answer(call: &Call, file: Map<String, Value>) -> Result<Answer, Error> {
    match call.query.get("download") {
        Some(name) => Ok(Answer::File(file.into(), name.to_owned())),
        None => Ok(Answer::Json(file.into())),
    }
}

impl Known for Broker {
    fn has_user(&self, name: &UserName) -> bool {
        self.users.user(name.as_str()).is_some()
    }

    fn has_vhost(&self, name: &VhostName) -> bool {
        self.vhost(name).is_some()
    }
}

/// Makes what a file says, beside what is there.
pub(in crate::management) fn import(call: &Call) -> Result<Answer, Error> {
    let file = File::parse(&call.body()?, Scope::Node, &*call.node.broker)?;
    make(call, file)
}

/// The same, all of it in one vhost.
pub(in crate::management) fn import_into_vhost(call: &Call) -> Result<Answer, Error> {
    let vhost = existing(call)?;
    let file = File::parse(&call.body()?, Scope::Vhost(&vhost.name), &*call.node.broker)?;
    make(call, file)
}

/// A file on its way into the broker.
struct Import<'a> {
    call: &'a Call,
    broker: &'a Broker,
    /// Where the last record ends.
    end: Position,
    left_out: Vec<String>,
}

/// Answers 204, or 200 with what was left out.
fn make(call: &Call, mut file: File) -> Result<Answer, Error> {
    let left_out = std::mem::take(&mut file.left_out);
    let mut import = Import { call, broker: &call.node.broker, end: Position::NONE, left_out };
    import.govern(&mut file);
    import.declare(file)?;
    let Import { end, left_out, .. } = import;
    call.settled(Durable { value: (), at: end })?;
    for what in &left_out {
        tracing::warn!(what, "left out of an import of definitions");
    }
    if left_out.is_empty() { Ok(Answer::Done) } else { Ok(Answer::Json(json!({ "left_out": left_out }))) }
}

impl Import<'_> {
    /// Notes what came of making something; what the broker refuses is left out.
    fn note<T>(&mut self, what: impl FnOnce() -> String, made: Result<Durable<T>, broker::Error>) {
        match made {
            Ok(made) => self.end = self.end.max(made.at),
            Err(error) => self.left_out.push(format!("{}: {error}", what())),
        }
    }

    fn govern(&mut self, file: &mut File) {
        let (broker, actor) = (self.broker, self.call.actor());
        for User { name, password, tags, limits } in file.users.drain(..) {
            let what = || format!("user '{name}'");
            self.note(what, broker.put_user(&actor, &name, password, tags));
            for (limit, value) in limits {
                let set = broker.set_user_limit(&actor, &name, &limit, Some(value));
                self.note(|| format!("limit {limit} of user '{name}'"), set);
            }
        }
        for (name, vhost) in file.vhosts.drain(..) {
            self.note(|| format!("vhost '{name}'"), broker.put_vhost(&actor, &name, vhost));
        }
        for (vhost, user, permissions) in file.permissions.drain(..) {
            let set = broker.set_permissions(&actor, &vhost, &user, permissions);
            self.note(|| format!("permissions of user '{user}' in vhost '{vhost}'"), set);
        }
        for (name, value) in file.global_parameters.drain(..) {
            let put = broker.put_global_parameter(&actor, &name, value);
            self.note(|| format!("global parameter '{name}'"), put);
        }
        for parameter in file.parameters.drain(..) {
            let crate::management::definitions::Parameter { vhost, component, name, value } = parameter;
            let put = broker.put_parameter(&actor, &vhost, &component, &name, value);
            self.note(|| format!("parameter '{name}' of {component} in vhost '{vhost}'"), put);
        }
        for (vhost, policy) in file.policies.drain(..) {
            let name = policy.name.clone();
            let put = broker.put_policy(&actor, Whose::Users, &vhost, policy);
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
        Ok(self.broker.enter_as_administrator(self.call.user()?, vhost)?)
    }
}
