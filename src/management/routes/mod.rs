//! The routes' functions, one file per noun. Each takes a request apart, calls the broker, and hands what it says to the
//! views; none decides what is allowed beyond who may see what.

pub(super) mod auth;
pub(super) mod bindings;
pub(super) mod channels;
pub(super) mod configuration;
pub(super) mod connections;
pub(super) mod consumers;
pub(super) mod definitions;
pub(super) mod exchanges;
pub(super) mod features;
pub(super) mod health;
pub(super) mod home;
pub(super) mod limits;
pub(super) mod live;
pub(super) mod login;
pub(super) mod maintenance;
pub(super) mod nodes;
pub(super) mod openapi;
pub(super) mod overview;
pub(super) mod parameters;
pub(super) mod permissions;
pub(super) mod policies;
pub(super) mod queues;
pub(super) mod topic_permissions;
pub(super) mod users;
pub(super) mod vhosts;
