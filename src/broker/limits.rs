//! Limits of vhosts and users: set, and who counts against them. A negative number is no limit, 0 is nothing at all.
//!
//! A connection has a [`Seat`] from before it enters its vhost until it is gone; queues are counted by the topology they
//! are in. A limit that is lowered closes nothing: it holds for what comes.

use super::Vhost;
use super::error::Error;
use super::events::Actor;
use super::policy::{Invalid, Term, pair};
use super::{Broker, Durable};
use crate::definition::{Change, Definition, Key, UserLimits, VhostLimits};
use crate::name::{UserName, VhostName};
use dashmap::DashMap;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const MAX_CONNECTIONS: &str = "max-connections";
const MAX_QUEUES: &str = "max-queues";
const MAX_CHANNELS: &str = "max-channels";

/// The limits of a vhost by RabbitMQ's names, those that are set.
pub fn of_vhost(limits: &VhostLimits) -> Map<String, Value> {
    named([(MAX_CONNECTIONS, limits.max_connections), (MAX_QUEUES, limits.max_queues)])
}

/// The limits of a user by RabbitMQ's names, those that are set.
pub fn of_user(limits: &UserLimits) -> Map<String, Value> {
    named([(MAX_CHANNELS, limits.max_channels), (MAX_CONNECTIONS, limits.max_connections)])
}

fn named<const N: usize>(limits: [(&str, Option<i64>); N]) -> Map<String, Value> {
    limits.into_iter().filter_map(|(name, limit)| Some((name.to_owned(), limit?.into()))).collect()
}

/// All limits of a vhost.
///
/// # Errors
/// What is wrong, in RabbitMQ's order.
pub(super) fn parse_vhost(value: &Value) -> Result<VhostLimits, Invalid> {
    let [max_connections, max_queues] =
        parse(value, "limits", [MAX_CONNECTIONS, MAX_QUEUES]).map_err(Invalid)?;
    Ok(VhostLimits { max_connections, max_queues })
}

/// The numbers of an object under these names.
fn parse<const N: usize>(
    value: &Value,
    what: &str,
    names: [&str; N],
) -> Result<[Option<i64>; N], Vec<String>> {
    let Value::Object(fields) = value else { return Err(vec![format!("{what} not a list {}", Term(value))]) };
    let unknown = fields.iter().filter(|(name, _)| !names.contains(&name.as_str()));
    let unknown: Vec<String> = unknown.map(|(name, value)| pair(name, value)).collect();
    let mut faults = Vec::new();
    if !unknown.is_empty() {
        faults.push(format!("Unrecognised terms [{}] in {what}", unknown.join(",")));
    }
    let numbers = names.map(|name| {
        let value = fields.get(name)?;
        if !value.is_i64() {
            faults.push(format!("{name} should be a number, actually was {}", Term(value)));
        }
        value.as_i64()
    });
    if faults.is_empty() { Ok(numbers) } else { Err(faults) }
}

/// The object with one field changed, or without it.
fn with(mut fields: Map<String, Value>, name: &str, value: Option<Value>) -> Value {
    match value {
        Some(value) => fields.insert(name.to_owned(), value),
        None => fields.remove(name),
    };
    Value::Object(fields)
}

/// How many there may be; none = any number.
fn bound(limit: Option<i64>) -> Option<u64> {
    limit.and_then(|limit| u64::try_from(limit).ok())
}

/// Whether one more than `count` is too many; the limit, if it is.
pub(super) fn exceeded(limit: Option<i64>, count: usize) -> Option<u64> {
    bound(limit).filter(|limit| count as u64 >= *limit)
}

/// A limit of the node as those of vhosts and users are.
fn limit(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Takes one of what a limit leaves.
///
/// # Errors
/// The limit, when there is none left.
fn take(count: &AtomicU64, limit: Option<i64>) -> Result<(), u64> {
    let bound = bound(limit).unwrap_or(u64::MAX);
    let next = |taken: u64| (taken < bound).then_some(taken + 1);
    count.fetch_update(Relaxed, Relaxed, next).map(drop).map_err(|_| bound)
}

/// How much a user has open, on all its connections.
#[derive(Debug, Default)]
pub(crate) struct Open {
    connections: AtomicU64,
    channels: AtomicU64,
}

/// By user; a user that is deleted is forgotten.
pub(super) type Users = DashMap<UserName, Arc<Open>>;

/// A connection's place in its vhost and among its user's. It is given back when this goes.
#[derive(Debug)]
pub struct Seat {
    vhost: Arc<Vhost>,
    user: UserName,
    /// Of the user, and of all.
    open: [Arc<Open>; 2],
    channels: u64,
}

impl Seat {
    /// How many channels the connection has: fewer than it was given are given back.
    pub fn has_channels(&mut self, channels: usize) {
        let gone = self.channels.saturating_sub(channels as u64);
        if gone > 0 {
            for open in &self.open {
                open.channels.fetch_sub(gone, Relaxed);
            }
            self.channels -= gone;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.has_channels(0);
        for open in &self.open {
            open.connections.fetch_sub(1, Relaxed);
        }
        self.vhost.connections.fetch_sub(1, Relaxed);
    }
}

impl Broker {
    /// A place for a connection of a user to a vhost.
    ///
    /// # Errors
    /// [`Error::NoVhost`], [`Error::NodeFull`], [`Error::VhostFull`], [`Error::UserFull`].
    pub fn seat(&self, user: &UserName, vhost: &VhostName) -> Result<Seat, Error> {
        let vhost = self.vhost(vhost).ok_or_else(|| Error::NoVhost(vhost.clone()))?;
        take(&self.open.connections, self.rules().limits.connections.map(limit)).map_err(Error::NodeFull)?;
        let leave = |error| {
            self.open.connections.fetch_sub(1, Relaxed);
            error
        };
        let full = |limit| Error::VhostFull { vhost: vhost.name.clone(), user: user.clone(), limit };
        take(&vhost.connections, vhost.limits().max_connections).map_err(|limit| leave(full(limit)))?;
        let open = Arc::clone(&self.open_by_user.entry(user.clone()).or_default());
        if let Err(limit) = take(&open.connections, self.users.limits(user).max_connections) {
            vhost.connections.fetch_sub(1, Relaxed);
            return Err(leave(Error::UserFull { user: user.clone(), limit }));
        }
        Ok(Seat { vhost, user: user.clone(), open: [open, Arc::clone(&self.open)], channels: 0 })
    }

    /// Gives a connection another channel, when it has so many.
    ///
    /// # Errors
    /// [`Error::NodeChannels`], [`Error::UserChannels`].
    pub fn open_channel(&self, seat: &mut Seat, channels: usize) -> Result<(), Error> {
        seat.has_channels(channels);
        let refused = |limit| Error::NodeChannels { node: self.node.clone(), limit };
        take(&self.open.channels, self.rules().limits.channels.map(limit)).map_err(refused)?;
        let refused = |limit| {
            self.open.channels.fetch_sub(1, Relaxed);
            Error::UserChannels { user: seat.user.clone(), limit }
        };
        take(&seat.open[0].channels, self.users.limits(&seat.user).max_channels).map_err(refused)?;
        seat.channels += 1;
        Ok(())
    }

    /// Sets a limit of a vhost, or clears it.
    ///
    /// # Errors
    /// [`Error::NoVhost`], [`Error::Invalid`].
    pub fn set_vhost_limit(
        &self,
        actor: &Actor,
        vhost: &VhostName,
        name: &str,
        value: Option<Value>,
    ) -> Result<Durable<bool>, Error> {
        self.change_vhost_limits(actor, vhost, |limits| parse_vhost(&with(of_vhost(&limits), name, value)))
    }

    /// Sets the limits of a vhost; `true` when it had none before.
    ///
    /// # Errors
    /// [`Error::NoVhost`].
    pub fn set_vhost_limits(
        &self,
        actor: &Actor,
        vhost: &VhostName,
        limits: VhostLimits,
    ) -> Result<Durable<bool>, Error> {
        self.change_vhost_limits(actor, vhost, |_| Ok(limits))
    }

    fn change_vhost_limits(
        &self,
        actor: &Actor,
        vhost: &VhostName,
        change: impl FnOnce(VhostLimits) -> Result<VhostLimits, Invalid>,
    ) -> Result<Durable<bool>, Error> {
        let _admin = self.admin.lock();
        let home = self.vhost(vhost).ok_or_else(|| Error::NoVhost(vhost.clone()))?;
        let limits = change(home.limits())?;
        let had_none = home.limits() == VhostLimits::default();
        let change = match limits == VhostLimits::default() {
            true if had_none => return Ok(Durable::at_once(true)),
            true => Change::Delete(Key::VhostLimits(vhost.clone())),
            false => Change::Put(Definition::VhostLimits(vhost.clone(), limits)),
        };
        let at = self.store.append_changes(&[change]);
        home.set_limits(limits);
        let said = of_vhost(&limits);
        let key = if said.is_empty() { "vhost.limits.cleared" } else { "vhost.limits.set" };
        self.emit(key, actor, |fields| {
            fields.text("name", "limits").text("vhost", vhost.as_str()).fields(&said)
        });
        Ok(Durable::new(had_none, at))
    }

    /// Sets a limit of a user, or clears it.
    ///
    /// # Errors
    /// [`Error::NoUser`], [`Error::Invalid`].
    pub fn set_user_limit(
        &self,
        actor: &Actor,
        user: &UserName,
        name: &str,
        value: Option<Value>,
    ) -> Result<Durable<()>, Error> {
        let _admin = self.admin.lock();
        self.users.user(user.as_str()).ok_or_else(|| Error::NoUser(user.clone()))?;
        let limits = self.users.limits(user);
        let fields = with(of_user(&limits), name, value);
        let parsed = parse(&fields, "user-limits", [MAX_CONNECTIONS, MAX_CHANNELS]);
        // RabbitMQ's text has no heading here.
        let [max_connections, max_channels] = parsed.map_err(|faults| Error::Invalid(faults.join("\n")))?;
        let changed = UserLimits { max_connections, max_channels };
        if changed == limits {
            return Ok(Durable::at_once(()));
        }
        let change = match changed == UserLimits::default() {
            true => Change::Delete(Key::UserLimits(user.clone())),
            false => Change::Put(Definition::UserLimits(user.clone(), changed)),
        };
        let at = self.change_users(change)?;
        let said = of_user(&changed);
        let key = if said.is_empty() { "user.limits.cleared" } else { "user.limits.set" };
        self.emit(key, actor, |fields| fields.text("name", user.as_str()).fields(&said));
        Ok(Durable::new((), at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn limits_are_numbers_under_names_that_are_known() {
        let limits = VhostLimits { max_connections: Some(-1), max_queues: Some(0) };
        assert_eq!(parse_vhost(&json!({"max-queues": 0, "max-connections": -1})), Ok(limits));
        assert_eq!(Value::Object(of_vhost(&limits)), json!({"max-queues": 0, "max-connections": -1}));
        assert_eq!(parse_vhost(&json!({})), Ok(VhostLimits::default()));
        for (value, faults) in [
            (json!({"max-queues": "a"}), &["max-queues should be a number, actually was <<\"a\">>"][..]),
            (json!({"max-queues": 1.5}), &["max-queues should be a number, actually was 1.5"]),
            (json!([1]), &["limits not a list [1]"]),
            (
                json!({"foo": 100, "max-connections": null}),
                &[
                    "Unrecognised terms [{<<\"foo\">>,100}] in limits",
                    "max-connections should be a number, actually was null",
                ],
            ),
        ] {
            let faults = faults.iter().map(|fault| (*fault).to_owned()).collect();
            assert_eq!(parse_vhost(&value), Err(Invalid(faults)));
        }
    }

    #[test]
    fn a_limit_is_exact_however_many_take_at_once() {
        let count = AtomicU64::new(0);
        let taken = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        if take(&count, Some(50_000)).is_ok() {
                            taken.fetch_add(1, Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!((taken.into_inner(), count.into_inner()), (50_000, 50_000));
    }

    #[test]
    fn a_limit_of_0_leaves_nothing_and_a_negative_one_everything() {
        let count = AtomicU64::new(0);
        assert_eq!(take(&count, Some(0)), Err(0));
        assert_eq!(
            (take(&count, Some(-1)), take(&count, None), take(&count, Some(3))),
            (Ok(()), Ok(()), Ok(()))
        );
        assert_eq!(take(&count, Some(3)), Err(3));
        assert_eq!(take(&count, Some(2)), Err(2), "more than the limit are there already");
        assert_eq!(
            [Some(2), Some(3), Some(-1), None].map(|limit| exceeded(limit, 2)),
            [Some(2), None, None, None]
        );
    }
}
