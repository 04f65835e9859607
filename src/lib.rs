//! Warren: an AMQP 0-9-1 message broker.
//!
//! The map, from the inside out; a line may use the lines above it, never the reverse (`tests/architecture.rs`):
//!
//! - values: [`time`] [`name`] [`arguments`] [`message`] [`dead_letter`] [`dedup`] [`delay`] [`durability`] [`definition`] [`config`]
//! - decisions, pure: [`exchange`] [`queue::state`] [`event`], and [`amqp`] but for its driver
//! - state that lasts or is shared: [`store`] [`outbox`] [`auth`]
//! - queues: [`queue`]
//! - what every protocol shares: [`broker`]; pure in it: [`broker::policy`]
//! - edges: [`amqp::driver`] [`management`]
//! - [`server`] puts them together; [`ctl`] is the admin tool and sees the HTTP API only.

pub mod amqp;
pub mod arguments;
pub mod auth;
pub mod broker;
pub mod config;
pub mod counts;
pub mod ctl;
pub mod dead_letter;
pub mod dedup;
pub mod definition;
pub mod delay;
pub mod durability;
pub mod event;
pub mod exchange;
pub mod histogram;
pub mod management;
pub mod message;
pub mod name;
pub mod net;
pub mod outbox;
pub mod queue;
pub mod server;
pub mod store;
pub mod telemetry;
pub mod time;
