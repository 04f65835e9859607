//! Definitions: all that was declared and administered, as one file, out of a node or a vhost and into it.

use crate::broker::parameters::Parameter;
use crate::broker::policy::Whose;
use crate::broker::{self, Broker, Durable, Vhost};
use crate::management::definitions::{self, File, Imported, Scope};
use crate::management::{Answer, Call, error::Error, upload::Upload, view};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The file of the node.
pub(in crate::management) fn export(call: &Call) -> Result<Answer, Error> {
    let broker = &call.node.broker;
    let mut file = view::definitions::of_node(&broker.cluster_name());
    let users = broker.users.users().into_iter().map(|(name, user)| {
        view::user::render(name.as_str(), &user, broker::limits::of_user(&broker.users.limits(&name)))
    });
    let grants = broker.users.grants();
    let permissions = grants
        .iter()
        .map(|grant| view::user::permissions(grant.vhost.as_str(), grant.user.as_str(), &grant.permissions));
    let topics = broker.users.topic_grants();
    let global = broker.global_parameters();
    let global = global.iter().map(|(name, value)| view::parameter::global(name.as_str(), value));
    let vhosts = broker.vhosts();
    let named =
        vhosts.iter().map(|vhost| view::definitions::vhost(vhost.name.as_str(), &vhost.definition.read()));
    for (section, objects) in [
        ("users", users.collect::<Vec<_>>()),
        ("vhosts", named.collect()),
        ("permissions", permissions.collect()),
        ("topic_permissions", topics.iter().map(view::user::topic_permissions).collect()),
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

/// Makes what a file says, beside what is there.
pub(in crate::management) fn import(call: &Call) -> Result<Answer, Error> {
    let upload = Upload::of(call)?;
    let file = File::parse(&upload.body, Scope::Node, &*call.node.broker)?;
    make(call, file, upload.redirect)
}

/// The same, all of it in one vhost.
pub(in crate::management) fn import_into_vhost(call: &Call) -> Result<Answer, Error> {
    let vhost = existing(call)?;
    let upload = Upload::of(call)?;
    let file = File::parse(&upload.body, Scope::Vhost(&vhost.name), &*call.node.broker)?;
    make(call, file, upload.redirect)
}

/// Answers 204, or 200 with what was left out; a form that says where its page goes on is sent there.
fn make(call: &Call, file: File, redirect: Option<String>) -> Result<Answer, Error> {
    let Imported { end, left_out } = definitions::import(&call.node.broker, &call.actor(), file)?;
    call.settled(Durable { value: (), at: end })?;
    if let Some(location) = redirect {
        return Ok(Answer::Onward(location));
    }
    if left_out.is_empty() { Ok(Answer::Done) } else { Ok(Answer::Json(json!({ "left_out": left_out }))) }
}
