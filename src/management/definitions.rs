//! A file of definitions, as RabbitMQ exports them: read as a whole before anything of it is made. PURE.
//!
//! What makes no sense is an error, with the place where it stands. What makes sense and there is nothing for here (a
//! stream, a mirroring policy) is left out, and said to be: a file of an older RabbitMQ comes in.

mod import;
#[cfg(test)]
mod tests;

pub(super) use import::{Imported, import};

use super::body::Body;
use super::error::Error;
use super::routes::users::new_password;
use crate::arguments;
use crate::broker::Broker;
use crate::broker::admin::NewPassword;
use crate::broker::declare::{DeclareExchange, DeclareQueue};
use crate::broker::events::Actor;
use crate::broker::parameters::{KEPT, OPERATORS};
use crate::broker::policy::{Compiled, Draft, Whose};
use crate::definition::{Binding, Destination, Permissions, TopicPermissions, Vhost};
use crate::name::{
    BindingKey, Component, ExchangeName, NameError, ParameterName, PolicyName, Position, QueueName, UserName,
    VhostName,
};
use crate::queue::arguments::Kind;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// Policy keys of mirrored queues, which no RabbitMQ has any more.
const MIRRORING: &str = "ha-";
const TYPE: &str = "x-queue-type";
const PROTECTED: &str = "protected_from_deletion";

/// A user to be put.
#[derive(Debug)]
pub(super) struct User {
    pub(super) name: UserName,
    pub(super) password: NewPassword,
    pub(super) tags: Vec<String>,
    pub(super) limits: Map<String, Value>,
}

/// A parameter of a vhost to be put.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) vhost: VhostName,
    pub(super) component: Component,
    pub(super) name: ParameterName,
    pub(super) value: Value,
}

/// What is in a file, in the order in which it is made.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) users: Vec<User>,
    pub(super) vhosts: Vec<(VhostName, Vhost)>,
    pub(super) permissions: Vec<(VhostName, UserName, Permissions)>,
    pub(super) topic_permissions: Vec<(VhostName, UserName, ExchangeName, TopicPermissions)>,
    pub(super) parameters: Vec<Parameter>,
    pub(super) global_parameters: Vec<(ParameterName, Value)>,
    pub(super) policies: Vec<(VhostName, Compiled)>,
    pub(super) queues: Vec<(VhostName, DeclareQueue)>,
    pub(super) exchanges: Vec<(VhostName, DeclareExchange)>,
    pub(super) bindings: Vec<(VhostName, Binding)>,
    /// What was left out, and why.
    pub(super) left_out: Vec<String>,
}

/// What there is already, that a file may speak of.
pub(super) trait Known {
    fn has_user(&self, name: &UserName) -> bool;
    fn has_vhost(&self, name: &VhostName) -> bool;
}

/// Where the objects of a file go.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scope<'a> {
    /// Where each says.
    Node,
    /// All into this vhost, whatever they say; users, vhosts and permissions are passed over.
    Vhost(&'a VhostName),
}

/// Why a file is not loaded.
#[derive(Debug, thiserror::Error)]
#[error("definitions cannot be loaded from {}: {reason}", path.display())]
pub struct LoadError {
    path: PathBuf,
    reason: String,
}

/// A file that is loaded when the node starts.
#[derive(Debug)]
pub struct Loadable {
    path: PathBuf,
    body: Body,
}

impl std::fmt::Display for Loadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.path.display().fmt(f)
    }
}

impl Loadable {
    /// Reads the file, and whether it makes sense as far as that can be said before there is a node.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn read(path: &Path) -> Result<Self, LoadError> {
        struct Anything;
        impl Known for Anything {
            fn has_user(&self, _: &UserName) -> bool {
                true
            }
            fn has_vhost(&self, _: &VhostName) -> bool {
                true
            }
        }
        let failed = |reason: String| LoadError { path: path.to_owned(), reason };
        let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
        let body = Body::parse(&bytes).map_err(|_| failed("it is no JSON object".into()))?;
        File::parse(&body, Scope::Node, &Anything).map_err(|error| failed(error.to_string()))?;
        Ok(Self { path: path.to_owned(), body })
    }

    /// Whether users are in it: then the node needs no user of its own.
    pub fn has_users(&self) -> bool {
        self.body.objects("users").is_ok_and(|users| !users.is_empty())
    }

    /// Makes what it says. Returns where the last record ends.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load(&self, broker: &Broker) -> Result<Position, LoadError> {
        let failed = |reason: String| LoadError { path: self.path.clone(), reason };
        let file = File::parse(&self.body, Scope::Node, broker).map_err(|error| failed(error.to_string()))?;
        let imported = import(broker, &Actor::default(), file);
        imported.map(|imported| imported.end).map_err(|error| failed(error.to_string()))
    }
}

impl File {
    /// # Errors
    /// 400 with the section and the place of the object that makes no sense, or speaks of a user or vhost that is neither in
    /// the file nor on the node.
    pub(super) fn parse(body: &Body, scope: Scope<'_>, known: &impl Known) -> Result<Self, Error> {
        let mut reader = Reader { body, scope, file: File::default() };
        if matches!(scope, Scope::Node) {
            reader.each("users", Reader::user)?;
            reader.each("vhosts", Reader::vhost)?;
            reader.each("permissions", |reader, item| reader.permissions(item, known))?;
            reader.each("topic_permissions", |reader, item| reader.topic_permissions(item, known))?;
            reader.each("global_parameters", Reader::global_parameter)?;
        }
        reader.each("parameters", |reader, item| reader.parameter(item, known))?;
        reader.each("policies", |reader, item| reader.policy(item, known))?;
        reader.each("queues", |reader, item| reader.queue(item, known))?;
        reader.each("exchanges", |reader, item| reader.exchange(item, known))?;
        reader.each("bindings", |reader, item| reader.binding(item, known))?;
        Ok(reader.file)
    }
}

/// A file, as far as it was read.
struct Reader<'a> {
    body: &'a Body,
    scope: Scope<'a>,
    file: File,
}

fn wrong(reason: impl Into<String>) -> Error {
    Error::BadRequest(reason.into())
}

fn checked<T>(name: Result<T, NameError>) -> Result<T, Error> {
    name.map_err(|error| wrong(error.to_string()))
}

/// A text that must be there.
fn text<'b>(item: &'b Body, key: &str) -> Result<&'b str, Error> {
    item.text(key)?.ok_or_else(|| wrong(format!("{key} is missing")))
}

impl Reader<'_> {
    fn each(
        &mut self,
        section: &str,
        mut read: impl FnMut(&mut Self, &Body) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for (at, item) in self.body.objects(section)?.iter().enumerate() {
            read(self, item).map_err(|error| wrong(format!("{section}[{at}]: {error}")))?;
        }
        Ok(())
    }

    fn leave_out(&mut self, what: &str, why: &str) {
        self.file.left_out.push(format!("{what}: {why}"));
    }

    /// The vhost that an object belongs to.
    fn home(&self, item: &Body, known: &impl Known) -> Result<VhostName, Error> {
        if let Scope::Vhost(vhost) = self.scope {
            return Ok(vhost.clone());
        }
        let vhost = checked(VhostName::checked(text(item, "vhost")?))?;
        let is_there = known.has_vhost(&vhost) || self.file.vhosts.iter().any(|(name, _)| *name == vhost);
        if is_there {
            Ok(vhost)
        } else {
            Err(wrong(format!("vhost '{vhost}' is neither in the file nor on this node")))
        }
    }

    fn user(&mut self, item: &Body) -> Result<(), Error> {
        let limits = match item.get("limits") {
            Some(Value::Object(limits)) => limits.clone(),
            _ => Map::new(),
        };
        let name = checked(UserName::checked(text(item, "name")?))?;
        let (password, tags) = (new_password(item)?, item.tags("tags")?.unwrap_or_default());
        self.file.users.push(User { name, password, tags, limits });
        Ok(())
    }

    fn vhost(&mut self, item: &Body) -> Result<(), Error> {
        let metadata = item.object("metadata")?;
        let either = |key: &str| -> Result<Option<String>, Error> {
            Ok(item.text(key)?.or(metadata.text(key)?).map(str::to_owned))
        };
        let kind = either("default_queue_type")?.filter(|kind| kind != "undefined");
        let name = checked(VhostName::checked(text(item, "name")?))?;
        let default_queue_type = kind.filter(|kind| {
            let is_known = Kind::of_name(kind).is_some();
            if !is_known {
                let why = format!("its default queue type '{kind}' is not supported: classic and quorum are");
                self.file.left_out.push(format!("vhost '{name}': {why}"));
            }
            is_known
        });
        let vhost = Vhost {
            description: either("description")?.unwrap_or_default(),
            tags: item.tags("tags")?.or(metadata.tags("tags")?).unwrap_or_default(),
            default_queue_type,
            tracing: item.flag("tracing")?,
            protected_from_deletion: item.flag(PROTECTED)? || metadata.flag(PROTECTED)?,
        };
        self.file.vhosts.push((name, vhost));
        Ok(())
    }

    fn permissions(&mut self, item: &Body, known: &impl Known) -> Result<(), Error> {
        let user = self.user_of(item, known)?;
        let pattern = |key| text(item, key).map(str::to_owned);
        let permissions = Permissions {
            configure: pattern("configure")?,
            write: pattern("write")?,
            read: pattern("read")?,
        };
        self.file.permissions.push((self.home(item, known)?, user, permissions));
        Ok(())
    }

    fn topic_permissions(&mut self, item: &Body, known: &impl Known) -> Result<(), Error> {
        let user = self.user_of(item, known)?;
        let exchange = checked(ExchangeName::checked(text(item, "exchange")?))?;
        let pattern = |key| text(item, key).map(str::to_owned);
        let permissions = TopicPermissions { write: pattern("write")?, read: pattern("read")? };
        self.file.topic_permissions.push((self.home(item, known)?, user, exchange, permissions));
        Ok(())
    }

    /// The user that an object speaks of, who is in the file or on the node.
    fn user_of(&self, item: &Body, known: &impl Known) -> Result<UserName, Error> {
        let user = checked(UserName::checked(text(item, "user")?))?;
        if !known.has_user(&user) && !self.file.users.iter().any(|other| other.name == user) {
            return Err(wrong(format!("user '{user}' is neither in the file nor on this node")));
        }
        Ok(user)
    }

    fn global_parameter(&mut self, item: &Body) -> Result<(), Error> {
        let name = checked(ParameterName::checked(text(item, "name")?))?;
        let value = item.get("value").cloned().ok_or_else(|| wrong("value is missing"))?;
        self.file.global_parameters.push((name, value));
        Ok(())
    }

    fn parameter(&mut self, item: &Body, known: &impl Known) -> Result<(), Error> {
        let component = checked(Component::checked(text(item, "component")?))?;
        let name = checked(ParameterName::checked(text(item, "name")?))?;
        let value = item.get("value").cloned().ok_or_else(|| wrong("value is missing"))?;
        let vhost = self.home(item, known)?;
        if [KEPT, OPERATORS].concat().contains(&component.as_str()) {
            self.file.parameters.push(Parameter { vhost, component, name, value });
        } else {
            let what = format!("parameter '{name}' in vhost '{vhost}'");
            self.leave_out(&what, &format!("there is no component '{component}'"));
        }
        Ok(())
    }

    fn policy(&mut self, item: &Body, known: &impl Known) -> Result<(), Error> {
        let name = checked(PolicyName::checked(text(item, "name")?))?;
        let vhost = self.home(item, known)?;
        let what = format!("policy '{name}' in vhost '{vhost}'");
        let mut definition = match item.get("definition") {
            Some(Value::Object(definition)) => definition.clone(),
            _ => return Err(wrong("definition must be an object")),
        };
        let before = definition.len();
        definition.retain(|key, _| !key.starts_with(MIRRORING));
        if definition.len() < before {
            self.leave_out(&what, "its keys of mirrored queues (ha-…), which this node does not need");
        }
        if definition.is_empty() && before > 0 {
            return Ok(());
        }
        let draft = Draft {
            pattern: item.get("pattern").cloned().unwrap_or_default(),
            definition: definition.into(),
            priority: item.get("priority").cloned(),
            apply_to: item.get("apply-to").cloned(),
        };
        match Compiled::check(Whose::Users, name, draft) {
            Ok(policy) => self.file.policies.push((vhost, policy)),
            Err(invalid) => self.leave_out(&what, invalid.to_string().trim()),
        }
        Ok(())
    }

    fn queue(&mut self, item: &Body, known: &impl Known) -> Result<(), Error> {
        let mut queue = item.arguments("arguments")?;
        // Of a type that was its vhost's default only the field says something.
        let kind = item.text("type")?.filter(|kind| *kind != Kind::default().name());
        if let Some(kind) = kind.filter(|_| arguments::get(&queue, TYPE).is_none()) {
            queue.insert(TYPE.into(), arguments::Value::LongString(kind.into()));
        }
        let declare = DeclareQueue {
            name: checked(QueueName::checked(text(item, "name")?))?,
            durable: item.flag("durable")?,
            exclusive: false,
            auto_delete: item.flag("auto_delete")?,
            arguments: queue,
        };
        self.file.queues.push((self.home(item, known)?, declare));
        Ok(())
    }

    fn exchange(&mut self, item: &Body, known: &impl Known) -> Result<(), Error> {
        let declare = DeclareExchange {
            name: checked(ExchangeName::checked(text(item, "name")?))?,
            kind: text(item, "type")?.to_owned(),
            durable: item.flag("durable")?,
            auto_delete: item.flag("auto_delete")?,
            internal: item.flag("internal")?,
            arguments: item.arguments("arguments")?,
        };
        self.file.exchanges.push((self.home(item, known)?, declare));
        Ok(())
    }

    fn binding(&mut self, item: &Body, known: &impl Known) -> Result<(), Error> {
        let destination = text(item, "destination")?;
        let destination = match text(item, "destination_type")? {
            "queue" => Destination::Queue(checked(QueueName::checked(destination))?),
            "exchange" => Destination::Exchange(checked(ExchangeName::checked(destination))?),
            _ => return Err(wrong("destination_type must be queue or exchange")),
        };
        let binding = Binding {
            source: checked(ExchangeName::checked(text(item, "source")?))?,
            destination,
            key: checked(BindingKey::checked(item.text("routing_key")?.unwrap_or_default()))?,
            arguments: item.arguments("arguments")?,
        };
        self.file.bindings.push((self.home(item, known)?, binding));
        Ok(())
    }
}
