//! Runtime parameters of vhosts and global ones: kept for those who ask for them by component and name.
//!
//! Operator policies and the limits of a vhost are parameters, too, as in RabbitMQ: definitions that it exports have
//! them so. They are kept as what they are.

use super::admin::check_name;
use super::error::Error;
use super::events::{Actor, Fields};
use super::policy::{Compiled, Draft, Invalid, Term, Whose};
use super::{Broker, Durable, limits};
use crate::definition::{Change, Definition, Json, Key};
use crate::name::{Component, ParameterName, PolicyName, VhostName};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use tracing::warn;

/// The component of global parameters in events.
const GLOBAL: &str = "global";
/// The global parameter that is the cluster's name.
const CLUSTER_NAME: &str = "cluster_name";
/// The components whose parameters are kept. Nothing follows from them yet.
pub const KEPT: &[&str] = &["federation-upstream", "federation-upstream-set", "shovel"];
/// The components that only administrators may change, and what they are instead.
pub const OPERATORS: &[&str] = &[OPERATOR_POLICY, VHOST_LIMITS];
const POLICY: &str = "policy";
/// The operator policies.
pub const OPERATOR_POLICY: &str = "operator_policy";
const VHOST_LIMITS: &str = "vhost-limits";
/// The one parameter of that component.
const LIMITS: &str = "limits";
/// The longest value, as JSON: what is larger the metadata store would keep in files of its own.
const VALUE_BYTES_MAX: usize = 30_000;

/// Those that are kept as such.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    of_vhosts: BTreeMap<(VhostName, Component, ParameterName), Arc<Value>>,
    global: BTreeMap<ParameterName, Arc<Value>>,
}

impl Parameters {
    /// Takes what the store had; other definitions are passed over.
    pub(super) fn load(&mut self, definition: Definition) {
        match definition {
            Definition::Parameter(vhost, component, name, Json(value)) => {
                self.of_vhosts.insert((vhost, component, name), value.into());
            }
            Definition::GlobalParameter(name, Json(value)) => {
                self.global.insert(name, value.into());
            }
            _ => {}
        }
    }

    /// Forgets what a vhost had; the keys that go.
    pub(super) fn remove_vhost(&mut self, vhost: &VhostName) -> Vec<Key> {
        let gone = self.of_vhosts.extract_if(.., |(of, ..), _| of == vhost);
        gone.map(|((vhost, component, name), _)| Key::Parameter(vhost, component, name)).collect()
    }
}

/// A parameter of a vhost.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Parameter {
    pub vhost: VhostName,
    pub component: Component,
    pub name: ParameterName,
    pub value: Arc<Value>,
}

impl Broker {
    /// The parameters of a vhost, by component and name: also its limits and operator policies, and no others.
    pub fn parameters(&self, vhost: &VhostName) -> Vec<Parameter> {
        let parameter = |component: &str, name: &str, value: Value| Parameter {
            vhost: vhost.clone(),
            component: component.into(),
            name: name.into(),
            value: value.into(),
        };
        let parameters = self.parameters.read();
        let kept = parameters.of_vhosts.iter().filter(|((of, ..), _)| of == vhost);
        let mut all: Vec<Parameter> = kept
            .map(|((vhost, component, name), value)| Parameter {
                vhost: vhost.clone(),
                component: component.clone(),
                name: name.clone(),
                value: Arc::clone(value),
            })
            .collect();
        drop(parameters);
        if let Some(home) = self.vhost(vhost) {
            let policies = home.policies();
            let policies = policies.all(Whose::Operators).iter();
            all.extend(
                policies
                    .map(|policy| parameter(OPERATOR_POLICY, policy.name.as_str(), policy.to_parameter())),
            );
            let limits = limits::of_vhost(&home.limits());
            all.extend((!limits.is_empty()).then(|| parameter(VHOST_LIMITS, LIMITS, limits.into())));
        }
        all.sort_by(|left, right| (&left.component, &left.name).cmp(&(&right.component, &right.name)));
        all
    }

    /// Sets a parameter; `true` when it is new.
    ///
    /// # Errors
    /// [`Error::NoVhost`]; [`Error::Invalid`] for a component that there is none of, and a value that it does not have.
    pub fn put_parameter(
        &self,
        actor: &Actor,
        vhost: &VhostName,
        component: &Component,
        name: &ParameterName,
        value: Value,
    ) -> Result<Durable<bool>, Error> {
        match component.as_str() {
            POLICY => return Err(Error::Invalid("policies may not be set using this method".into())),
            OPERATOR_POLICY => {
                let draft = Draft::of_parameter(value);
                let policy = Compiled::check(Whose::Operators, PolicyName::new(name.as_str()), draft)?;
                return self.put_policy(actor, Whose::Operators, vhost, policy);
            }
            VHOST_LIMITS if name.as_str() == LIMITS => {
                return self.set_vhost_limits(actor, vhost, limits::parse_vhost(&value)?);
            }
            VHOST_LIMITS => {
                return Err(Invalid::because(format!("{VHOST_LIMITS} are called '{LIMITS}'")).into());
            }
            kept if KEPT.contains(&kept) => {}
            unknown => return Err(Invalid::because(format!("component {unknown} not found")).into()),
        }
        check_name("parameter", name.as_str())?;
        if !(value.is_object() || value.is_array()) {
            return Err(Invalid::because(format!("{name} not a list {}", Term(&value))).into());
        }
        check_size(name, &value)?;
        let _admin = self.admin.lock();
        self.vhost(vhost).ok_or_else(|| Error::NoVhost(vhost.clone()))?;
        let json = Json(value.clone());
        let definition = Definition::Parameter(vhost.clone(), component.clone(), name.clone(), json);
        let at = self.store.append_changes(&[Change::Put(definition)]);
        self.emit("parameter.set", actor, |fields| {
            named(fields, component.as_str(), name).text("vhost", vhost.as_str()).json("value", &value)
        });
        let key = (vhost.clone(), component.clone(), name.clone());
        let is_new = self.parameters.write().of_vhosts.insert(key, value.into()).is_none();
        warn!(vhost = %vhost, component = %component, parameter = %name, "nothing follows from this parameter");
        Ok(Durable::new(is_new, at))
    }

    /// Clears a parameter; `false` when there is none.
    ///
    /// # Errors
    /// [`Error::NoVhost`], [`Error::Invalid`] for a policy.
    pub fn delete_parameter(
        &self,
        actor: &Actor,
        vhost: &VhostName,
        component: &Component,
        name: &ParameterName,
    ) -> Result<Durable<bool>, Error> {
        match component.as_str() {
            POLICY => return Err(Error::Invalid("policies may not be cleared using this method".into())),
            OPERATOR_POLICY => {
                return self.delete_policy(actor, Whose::Operators, vhost, &PolicyName::new(name.as_str()));
            }
            VHOST_LIMITS if name.as_str() == LIMITS => {
                return self
                    .set_vhost_limits(actor, vhost, Default::default())
                    .map(|durable| Durable::new(!durable.value, durable.at));
            }
            _ => {}
        }
        let _admin = self.admin.lock();
        self.vhost(vhost).ok_or_else(|| Error::NoVhost(vhost.clone()))?;
        let key = (vhost.clone(), component.clone(), name.clone());
        if self.parameters.write().of_vhosts.remove(&key).is_none() {
            return Ok(Durable::at_once(false));
        }
        self.emit("parameter.cleared", actor, |fields| {
            named(fields, component.as_str(), name).text("vhost", vhost.as_str())
        });
        let (vhost, component, name) = key;
        let at = self.store.append_changes(&[Change::Delete(Key::Parameter(vhost, component, name))]);
        Ok(Durable::new(true, at))
    }

    /// The global parameters, by name.
    pub fn global_parameters(&self) -> Vec<(ParameterName, Arc<Value>)> {
        let parameters = self.parameters.read();
        parameters.global.iter().map(|(name, value)| (name.clone(), Arc::clone(value))).collect()
    }

    /// Sets a global parameter; `true` when it is new.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that is none, and a value that is too long.
    pub fn put_global_parameter(
        &self,
        actor: &Actor,
        name: &ParameterName,
        value: Value,
    ) -> Result<Durable<bool>, Error> {
        check_name("parameter", name.as_str())?;
        check_size(name, &value)?;
        let _admin = self.admin.lock();
        let definition = Definition::GlobalParameter(name.clone(), Json(value.clone()));
        let at = self.store.append_changes(&[Change::Put(definition)]);
        self.emit("parameter.set", actor, |fields| named(fields, GLOBAL, name).json("value", &value));
        let is_new = self.parameters.write().global.insert(name.clone(), value.into()).is_none();
        Ok(Durable::new(is_new, at))
    }

    /// What clients are told the cluster is called: what the global parameter `cluster_name` says, if it is a name, else
    /// as configured.
    pub fn cluster_name(&self) -> String {
        let set = self.parameters.read().global.get(&ParameterName::new(CLUSTER_NAME)).cloned();
        let name = set.as_deref().and_then(Value::as_str);
        // The client that is told has not said yet how long a frame may be.
        let name = name.filter(|name| check_name("cluster", name).is_ok());
        name.unwrap_or(&self.configured_cluster_name).to_owned()
    }

    /// Names the cluster. Clients that connect from now on are told.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty name and one longer than 255 bytes.
    pub fn set_cluster_name(&self, actor: &Actor, name: &str) -> Result<Durable<bool>, Error> {
        check_name("cluster", name)?;
        self.put_global_parameter(actor, &CLUSTER_NAME.into(), name.into())
    }

    /// Clears a global parameter; `false` when there is none of that name.
    pub fn delete_global_parameter(&self, actor: &Actor, name: &ParameterName) -> Durable<bool> {
        let _admin = self.admin.lock();
        if self.parameters.write().global.remove(name).is_none() {
            return Durable::at_once(false);
        }
        self.emit("parameter.cleared", actor, |fields| named(fields, GLOBAL, name));
        Durable::new(true, self.store.append_changes(&[Change::Delete(Key::GlobalParameter(name.clone()))]))
    }
}

fn named(fields: Fields, component: &str, name: &ParameterName) -> Fields {
    fields.text("component", component).text("name", name.as_str())
}

fn check_size(name: &ParameterName, value: &Value) -> Result<(), Error> {
    let bytes = value.to_string().len();
    if bytes <= VALUE_BYTES_MAX {
        return Ok(());
    }
    Err(Error::Invalid(format!("the value of {name} has {bytes} bytes; at most {VALUE_BYTES_MAX} are kept")))
}
