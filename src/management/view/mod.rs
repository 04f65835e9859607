//! What the HTTP API's JSON looks like: the only place where its names stand. PURE but for what it is shown.
//!
//! Types are those that RabbitMQ's tools rely on: counts are numbers, absent statistics are absent, not null.

pub(super) mod arguments;
pub(super) mod attempts;
pub(super) mod binding;
pub(super) mod configuration;
pub(super) mod connection;
pub(super) mod definitions;
pub(super) mod exchange;
pub(super) mod feature;
pub(super) mod fields;
pub(super) mod live;
pub(super) mod message;
pub(super) mod node;
pub(super) mod overview;
pub(super) mod parameter;
pub(super) mod policy;
pub(super) mod queue;
pub(super) mod stats;
pub(super) mod user;
pub(super) mod vhost;
