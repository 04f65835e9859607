//! Policies, of users and of operators.

use crate::broker::Vhost;
use crate::broker::policy::{Compiled, Draft, Whose};
use crate::management::{Answer, Call, error::Error, view};
use crate::name::PolicyName;
use serde_json::Value;
use std::sync::Arc;

pub(in crate::management) fn list(call: &Call) -> Result<Answer, Error> {
    some(call, Whose::Users)
}

pub(in crate::management) fn list_of_operators(call: &Call) -> Result<Answer, Error> {
    some(call, Whose::Operators)
}

/// Those of the vhosts that the request is about, as rabbitmqctl has them: the highest priority last.
fn some(call: &Call, whose: Whose) -> Result<Answer, Error> {
    let mut rows: Vec<(Arc<Vhost>, Arc<Compiled>)> = Vec::new();
    for vhost in call.vhosts()? {
        let policies = vhost.policies();
        rows.extend(policies.all(whose).iter().rev().map(|policy| (Arc::clone(&vhost), Arc::clone(policy))));
    }
    call.list(
        rows,
        |(_, policy)| policy.name.as_str(),
        |_, (vhost, policy), _| view::policy::render(vhost.name.as_str(), policy),
    )
}

pub(in crate::management) fn show(call: &Call) -> Result<Answer, Error> {
    show_one(call, Whose::Users)
}

pub(in crate::management) fn show_of_operators(call: &Call) -> Result<Answer, Error> {
    show_one(call, Whose::Operators)
}

fn show_one(call: &Call, whose: Whose) -> Result<Answer, Error> {
    let vhost = call.governed_vhost()?;
    let policies = vhost.policies();
    let policy = policies.get(whose, call.parameter("name")).ok_or(Error::NotFound)?;
    call.object(view::policy::render(vhost.name.as_str(), policy))
}

pub(in crate::management) fn put(call: &Call) -> Result<Answer, Error> {
    put_one(call, Whose::Users)
}

pub(in crate::management) fn put_of_operators(call: &Call) -> Result<Answer, Error> {
    call.check_operator_policies_change()?;
    put_one(call, Whose::Operators)
}

fn put_one(call: &Call, whose: Whose) -> Result<Answer, Error> {
    let vhost = call.governed_vhost().map_err(no_vhost)?;
    let body = call.body()?;
    body.require(&["pattern", "definition"])?;
    let field = |key| body.get(key).cloned();
    let draft = Draft {
        pattern: field("pattern").unwrap_or(Value::Null),
        definition: field("definition").unwrap_or(Value::Null),
        priority: field("priority"),
        apply_to: field("apply-to"),
    };
    let policy = Compiled::check(whose, call.parameter("name").into(), draft);
    let policy = policy.map_err(|invalid| Error::BadRequest(invalid.to_string()))?;
    let put = call.node.broker.put_policy(&call.actor(), whose, &vhost.name, policy)?;
    Ok(Answer::put(call.settled(put)?))
}

pub(in crate::management) fn delete(call: &Call) -> Result<Answer, Error> {
    delete_one(call, Whose::Users)
}

pub(in crate::management) fn delete_of_operators(call: &Call) -> Result<Answer, Error> {
    call.check_operator_policies_change()?;
    delete_one(call, Whose::Operators)
}

fn delete_one(call: &Call, whose: Whose) -> Result<Answer, Error> {
    let vhost = call.governed_vhost()?;
    let name = PolicyName::new(call.parameter("name"));
    let deleted = call.node.broker.delete_policy(&call.actor(), whose, &vhost.name, &name)?;
    if call.settled(deleted)? { Ok(Answer::Done) } else { Err(Error::NotFound) }
}

/// Who would put something into a vhost that is not there is told which of the two is missing.
pub(super) fn no_vhost(error: Error) -> Error {
    if error == Error::NotFound { Error::Missing("vhost_not_found".into()) } else { error }
}
