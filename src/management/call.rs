//! A request on its way to a route's function: who asks, what is asked, and in which vhost.

use super::statistics::Spans;
use super::view::fields::Wanted;
use super::{Answer, Node, body::Body, error::Error, query, query::Listing, query::Query};
use crate::auth::User;
use crate::broker::events::Actor;
use crate::broker::{Durable, Session, Vhost};
use crate::durability::SafeAt;
use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderName},
};
use serde_json::Value;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::runtime::Handle;

/// A request whose login was right and whose user may use the route.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) node: Arc<Node>,
    /// Nobody, where the route lets everybody in.
    pub(super) user: Option<User>,
    /// Whether that is no user of the broker's, but who runs the broker.
    pub(super) is_local_administrator: bool,
    /// Where it comes from.
    pub(super) peer: IpAddr,
    pub(super) parameters: Vec<(String, String)>,
    pub(super) query: Query,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) runtime: Handle,
}

impl Call {
    /// The part of the path that stands for `name` in the route, decoded.
    pub(super) fn parameter(&self, name: &str) -> &str {
        self.parameters.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// Whether the path has such a part.
    pub(super) fn has_parameter(&self, name: &str) -> bool {
        self.parameters.iter().any(|(key, _)| key == name)
    }

    /// The user.
    /// # Errors
    /// 401, on a route that lets everybody in.
    pub(super) fn user(&self) -> Result<&User, Error> {
        self.user.as_ref().ok_or(Error::NotLoggedIn)
    }

    /// Who asks, for those that are told what is done.
    pub(super) fn actor(&self) -> Actor {
        self.user.as_ref().map(Actor::from).unwrap_or_default()
    }

    /// The text of a header.
    pub(super) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body.
    /// # Errors
    /// 400 for what is no JSON object.
    pub(super) fn body(&self) -> Result<Body, Error> {
        Body::parse(&self.body)
    }

    /// The vhost of the path, to look at.
    /// # Errors
    /// 404 when it is not there, 401 when the user may not see it.
    pub(super) fn vhost(&self) -> Result<Arc<Vhost>, Error> {
        let vhost = self.node.broker.vhost(&self.parameter("vhost").into()).ok_or(Error::NotFound)?;
        if self.sees(&vhost)? { Ok(vhost) } else { Err(Error::AccessRefused) }
    }

    /// The vhosts that the request is about: that of the path, or all that the user may see; by name.
    /// # Errors
    /// Those of [`Call::vhost`].
    pub(super) fn vhosts(&self) -> Result<Vec<Arc<Vhost>>, Error> {
        if self.has_parameter("vhost") {
            return Ok(vec![self.vhost()?]);
        }
        let mut vhosts = Vec::new();
        for vhost in self.node.broker.vhosts() {
            if self.sees(&vhost)? {
                vhosts.push(vhost);
            }
        }
        Ok(vhosts)
    }

    /// Whether the user may see what is in a vhost: one that it has permissions in, or all when monitoring.
    pub(super) fn sees(&self, vhost: &Vhost) -> Result<bool, Error> {
        let user = self.user()?;
        Ok(user.tags.is_monitoring() || self.node.broker.users.permissions(&vhost.name, &user.name).is_some())
    }

    /// The vhost of the path, whose policies and parameters the user may change, as far as tags allow it.
    /// # Errors
    /// 404 when it is not there, 401 when the user is no administrator and has no permissions in it.
    pub(super) fn governed_vhost(&self) -> Result<Arc<Vhost>, Error> {
        let user = self.user()?;
        let vhost = self.node.broker.vhost(&self.parameter("vhost").into()).ok_or(Error::NotFound)?;
        let may_enter = self.node.broker.users.permissions(&vhost.name, &user.name).is_some();
        if user.tags.is_administrator() || may_enter { Ok(vhost) } else { Err(Error::AccessRefused) }
    }

    /// Whether operator policies may be changed.
    /// # Errors
    /// 405 when they may not.
    pub(super) fn check_operator_policies_change(&self) -> Result<(), Error> {
        if self.node.config.config().operator_policies_are_fixed { Err(Error::Fixed) } else { Ok(()) }
    }

    /// What AMQP operations in the vhost of the path are done with.
    /// # Errors
    /// 404 when the vhost is not there, 401 when the user has no permissions in it.
    pub(super) fn session(&self) -> Result<Session, Error> {
        let vhost = self.parameter("vhost").into();
        if self.is_local_administrator {
            return Ok(self.node.broker.enter_as_administrator(&self.actor(), &vhost)?);
        }
        Ok(self.node.broker.enter(self.user()?, &vhost, None)?)
    }

    /// Waits until a result may be told.
    /// # Errors
    /// 503 when it never may.
    pub(super) fn settled<T>(&self, durable: Durable<T>) -> Result<T, Error> {
        Ok(self.wait(self.node.broker.settled(durable))?)
    }

    /// Waits for an operation. Route functions run on blocking threads, where waiting is allowed.
    pub(super) fn wait<T>(&self, operation: impl Future<Output = T>) -> T {
        self.runtime.block_on(operation)
    }

    /// Waits until something is as safe as it has to be.
    /// # Errors
    /// 503 when it never will.
    pub(super) fn safe(&self, at: SafeAt) -> Result<(), Error> {
        let safe = self.runtime.block_on(self.node.broker.store.wait_safe(at));
        safe.map_err(|error| Error::Unavailable(error.to_string()))
    }

    /// Answers a list as the query asks. See [`query::list`]. What renders the rows gets the call again: it may do so
    /// while the answer is being sent.
    pub(super) fn list<R: Send + 'static>(
        &self,
        rows: Vec<R>,
        name: impl Fn(&R) -> &str,
        render: impl Fn(&Call, &R, &Wanted) -> Value + Send + 'static,
    ) -> Result<Answer, Error> {
        self.list_among(None, rows, name, render)
    }

    /// The same, of rows that have only the fields that are named, where any are.
    pub(super) fn list_among<R: Send + 'static>(
        &self,
        fields: Option<&[&str]>,
        rows: Vec<R>,
        name: impl Fn(&R) -> &str,
        render: impl Fn(&Call, &R, &Wanted) -> Value + Send + 'static,
    ) -> Result<Answer, Error> {
        let call = self.clone();
        let render = move |row: &R, wanted: &Wanted| render(&call, row, wanted);
        let listing = query::list(&self.query, fields, rows, name, render)?;
        Ok(match listing {
            Listing::Short(value) => Answer::Json(value),
            Listing::Long(rows) => Answer::Rows(rows),
        })
    }

    /// The samples that the query asks for.
    /// # Errors
    /// 400 for spans that make no sense.
    pub(super) fn spans(&self) -> Result<Spans, Error> {
        Spans::of(&self.query)
    }

    /// Answers an object, with the columns that the query asks for.
    pub(super) fn object(&self, object: Value) -> Result<Answer, Error> {
        Ok(Answer::Json(query::columns(&self.query, object)))
    }
}
