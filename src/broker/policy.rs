//! Policies: what they may say, which of them apply to a queue or an exchange, and what they say together
//! (behaviour.md, 3). PURE.
//!
//! Two apply to something at most: one of users and one of operators, each the first that matches. A policy key is a line
//! in [`keys::KEYS`].

mod keys;
#[cfg(test)]
mod tests;

use crate::definition::{ApplyTo, Policy, PolicyKeys};
use crate::name::PolicyName;
use regex::{Regex, RegexBuilder};
use serde_json::{Value, json};
use std::fmt;
use std::sync::Arc;

/// The longest pattern, in characters.
const PATTERN_CHARACTERS_MAX: usize = 1024;
/// The largest compiled pattern. The broker must not lend its memory to whoever may set policies.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Who sets a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Those who may.
    Users,
    /// Operators: these bound what users may set, of queues only.
    Operators,
}

/// A policy as somebody wrote it.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Draft {
    pub pattern: Value,
    pub definition: Value,
    /// None = 0.
    pub priority: Option<Value>,
    /// None = all.
    pub apply_to: Option<Value>,
}

impl Draft {
    /// A policy as the value of a parameter.
    pub(super) fn of_parameter(mut value: Value) -> Self {
        let mut field = |key| value.get_mut(key).map(Value::take).filter(|value| !value.is_null());
        Self {
            pattern: field("pattern").unwrap_or_default(),
            definition: field("definition").unwrap_or_default(),
            priority: field("priority"),
            apply_to: field("apply-to"),
        }
    }
}

/// What is wrong with a policy or a parameter: sentences of RabbitMQ's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Validation failed\n\n{}\n", _0.join("\n"))]
pub struct Invalid(pub Vec<String>);

impl Invalid {
    /// One thing that is wrong.
    pub(super) fn because(fault: String) -> Self {
        Self(vec![fault])
    }
}

/// A policy whose pattern can be asked.
#[derive(Debug)]
pub struct Compiled {
    /// Its name.
    pub name: PolicyName,
    /// As defined.
    pub policy: Policy,
    /// None = it matches nothing.
    pattern: Option<Regex>,
}

impl Compiled {
    /// Checks a policy.
    ///
    /// # Errors
    /// Everything that is wrong with it, in RabbitMQ's order.
    pub fn check(whose: Whose, name: PolicyName, draft: Draft) -> Result<Self, Invalid> {
        let mut faults = Vec::new();
        let definition = or_fault(&mut faults, definition(whose, draft.definition));
        let apply_to = or_fault(&mut faults, draft.apply_to.as_ref().map(apply_to).transpose());
        let pattern = or_fault(&mut faults, pattern(&draft.pattern));
        let priority = or_fault(&mut faults, draft.priority.as_ref().map(priority).transpose());
        match (definition, apply_to, pattern, priority) {
            (Some(definition), Some(apply_to), Some((pattern, regex)), Some(priority)) => {
                let (apply_to, priority) = (apply_to.unwrap_or_default(), priority.unwrap_or_default());
                let policy = Policy { pattern, apply_to, priority, definition };
                Ok(Self { name, policy, pattern: Some(regex) })
            }
            _ => Err(Invalid(faults)),
        }
    }

    /// A policy from the store; the reason, if its pattern is none and it therefore matches nothing.
    pub fn stored(name: PolicyName, policy: Policy) -> (Self, Option<String>) {
        let (pattern, reason) = match compile(&policy.pattern) {
            Ok(pattern) => (Some(pattern), None),
            Err(reason) => (None, Some(reason)),
        };
        (Self { name, policy, pattern }, reason)
    }

    /// The policy as the value of a parameter.
    pub(super) fn to_parameter(&self) -> Value {
        let Policy { pattern, apply_to, priority, definition } = &self.policy;
        let apply_to = apply_to.name();
        json!({ "pattern": pattern, "apply-to": apply_to, "priority": priority, "definition": definition })
    }

    /// The keys that are kept and from which nothing follows.
    pub fn idle_keys(&self) -> impl Iterator<Item = &str> {
        let is_idle = |key: &&String| keys::find(key).is_some_and(|key| key.is_idle);
        self.policy.definition.keys().filter(is_idle).map(String::as_str)
    }

    fn applies_to(&self, target: Target<'_>) -> bool {
        let (name, is_meant) = match target {
            Target::Exchange(name) => {
                (name, matches!(self.policy.apply_to, ApplyTo::All | ApplyTo::Exchanges))
            }
            Target::Queue { name, kind } => (name, self.is_for_queues(kind)),
        };
        is_meant && self.pattern.as_ref().is_some_and(|pattern| pattern.is_match(name))
    }

    /// Whether queues of that type are meant: one key that they do not know, and none of the policy is for them.
    fn is_for_queues(&self, kind: &str) -> bool {
        let is_meant = match self.policy.apply_to {
            ApplyTo::All | ApplyTo::Queues => true,
            ApplyTo::ClassicQueues => kind == "classic",
            ApplyTo::QuorumQueues => kind == "quorum",
            ApplyTo::Streams => kind == "stream",
            ApplyTo::Exchanges => false,
        };
        let excludes = |key: &String| keys::find(key).is_some_and(|key| key.excludes_type(kind));
        is_meant && !self.policy.definition.keys().any(excludes)
    }
}

/// The value, or a note of what is wrong with it.
fn or_fault<T>(faults: &mut Vec<String>, checked: Result<T, String>) -> Option<T> {
    checked.map_err(|fault| faults.push(fault)).ok()
}

fn definition(whose: Whose, definition: Value) -> Result<PolicyKeys, String> {
    let Value::Object(fields) = definition else {
        return Err(format!("definition must be a dictionary: {}", Term(&definition)));
    };
    if fields.is_empty() {
        return Err("no policy provided".into());
    }
    let find = |name: &String| keys::find(name).filter(|key| whose == Whose::Users || key.is_operators());
    for (name, value) in &fields {
        if let Some(fault) = find(name).and_then(|key| key.fault(value)) {
            return Err(format!("{} is not a valid {fault}", Term(value)));
        }
    }
    let unknown = fields.iter().filter(|(name, _)| find(name).is_none());
    let unknown: Vec<String> = unknown.map(|(name, value)| pair(name, value)).collect();
    if unknown.is_empty() {
        Ok(fields.into_iter().collect())
    } else {
        Err(format!("[{}] are not recognised policy settings", unknown.join(",")))
    }
}

fn apply_to(value: &Value) -> Result<ApplyTo, String> {
    let text = value.as_str().unwrap_or_default();
    ApplyTo::ALL.into_iter().find(|apply_to| apply_to.name() == text).ok_or_else(|| {
        let given = value.as_str().map_or_else(|| Term(value).to_string(), str::to_owned);
        // Both spaces are RabbitMQ's.
        format!(
            "apply-to '{given}' unrecognised; should be one of: 'queues', 'classic_queues',  'quorum_queues', \
             'streams', 'exchanges', or 'all'"
        )
    })
}

fn pattern(value: &Value) -> Result<(String, Regex), String> {
    let text = value.as_str().ok_or_else(|| format!("pattern should be a binary but was {}", Term(value)))?;
    let length = text.chars().count();
    if length > PATTERN_CHARACTERS_MAX {
        return Err(format!(
            "pattern should have at most {PATTERN_CHARACTERS_MAX} characters but has {length}"
        ));
    }
    let regex = compile(text);
    let fault = |reason| format!("pattern should be regular expression but is invalid: {reason}");
    regex.map(|regex| (text.to_owned(), regex)).map_err(fault)
}

fn compile(pattern: &str) -> Result<Regex, String> {
    let regex = RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).build();
    regex.map_err(|error| {
        // The first lines draw the pattern; the last says what is wrong.
        let text = error.to_string();
        text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
    })
}

fn priority(value: &Value) -> Result<i64, String> {
    value.as_i64().ok_or_else(|| format!("priority should be a number, actually was {}", Term(value)))
}

/// What a policy may apply to.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum Target<'a> {
    Exchange(&'a str),
    Queue { name: &'a str, kind: &'a str },
}

/// The policies of a vhost: each kind in the order in which they are asked.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    users: Vec<Arc<Compiled>>,
    operators: Vec<Arc<Compiled>>,
}

impl Policies {
    /// All of a kind, those that are asked first first.
    pub fn all(&self, whose: Whose) -> &[Arc<Compiled>] {
        match whose {
            Whose::Users => &self.users,
            Whose::Operators => &self.operators,
        }
    }

    fn all_mut(&mut self, whose: Whose) -> &mut Vec<Arc<Compiled>> {
        match whose {
            Whose::Users => &mut self.users,
            Whose::Operators => &mut self.operators,
        }
    }

    /// The policy of that name.
    pub fn get(&self, whose: Whose, name: &str) -> Option<&Arc<Compiled>> {
        self.all(whose).iter().find(|policy| policy.name.as_str() == name)
    }

    /// Adds a policy, or replaces the one of its name.
    pub fn put(&mut self, whose: Whose, policy: Compiled) {
        self.remove(whose, policy.name.as_str());
        let policies = self.all_mut(whose);
        // RabbitMQ leaves it open which of two with the same priority counts: here it is the one whose name comes first.
        let rank = |policy: &Compiled| (std::cmp::Reverse(policy.policy.priority), policy.name.clone());
        let at = policies.partition_point(|other| rank(other) < rank(&policy));
        policies.insert(at, Arc::new(policy));
    }

    /// Removes a policy; `false` when there is none of that name.
    pub fn remove(&mut self, whose: Whose, name: &str) -> bool {
        let policies = self.all_mut(whose);
        let before = policies.len();
        policies.retain(|policy| policy.name.as_str() != name);
        policies.len() < before
    }

    /// The policies that apply to something.
    pub fn of(&self, target: Target<'_>) -> Applied {
        let first =
            |policies: &[Arc<Compiled>]| policies.iter().find(|policy| policy.applies_to(target)).cloned();
        Applied { policy: first(&self.users), operator_policy: first(&self.operators) }
    }
}

/// The policies that apply to a queue or an exchange.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Applied {
    pub policy: Option<Arc<Compiled>>,
    pub operator_policy: Option<Arc<Compiled>>,
}

impl PartialEq for Applied {
    fn eq(&self, other: &Self) -> bool {
        let is_same = |left: &Option<Arc<Compiled>>, right: &Option<Arc<Compiled>>| match (left, right) {
            (Some(left), Some(right)) => {
                Arc::ptr_eq(left, right) || (&left.name, &left.policy) == (&right.name, &right.policy)
            }
            (left, right) => left.is_none() && right.is_none(),
        };
        is_same(&self.policy, &other.policy) && is_same(&self.operator_policy, &other.operator_policy)
    }
}

impl Applied {
    /// What they say together.
    pub fn effective(&self) -> PolicyKeys {
        let keys = |policy: &Option<Arc<Compiled>>| {
            policy.as_ref().map(|policy| policy.policy.definition.clone()).unwrap_or_default()
        };
        let (mut effective, operators) = (keys(&self.policy), keys(&self.operator_policy));
        for (name, operators) in operators {
            let value = match (effective.get(&name), keys::find(&name)) {
                (Some(users), Some(key)) => key.merged(users, &operators).clone(),
                _ => operators,
            };
            effective.insert(name, value);
        }
        effective
    }

    /// The text of a key of the users' policy.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.policy.as_ref()?.policy.definition.get(key)?.as_str()
    }
}

/// A value as Erlang prints it: RabbitMQ's texts have them so.
pub(super) struct Term<'a>(pub(super) &'a Value);

/// A field of a term.
pub(super) fn pair(name: &str, value: &Value) -> String {
    format!("{{{},{}}}", Term(&name.into()), Term(value))
}

impl fmt::Display for Term<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::String(text) => {
                let encoding = if text.is_ascii() { "" } else { "/utf8" };
                write!(f, "<<{text:?}{encoding}>>")
            }
            Value::Array(items) => {
                let items: Vec<String> = items.iter().map(|item| Term(item).to_string()).collect();
                write!(f, "[{}]", items.join(","))
            }
            Value::Object(fields) => {
                let field = |(name, value): (&String, &Value)| {
                    format!("{} => {}", Term(&name.as_str().into()), Term(value))
                };
                let fields: Vec<String> = fields.iter().map(field).collect();
                write!(f, "#{{{}}}", fields.join(","))
            }
            value => write!(f, "{value}"),
        }
    }
}
