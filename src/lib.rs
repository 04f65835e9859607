//! Warren: an AMQP 0-9-1 message broker.
//!
//! The map, from the inside out; a line may use the lines above it, never the reverse (`tests/architecture.rs`):
//!
//! - values: [`time`] [`name`] [`arguments`] [`message`] [`definition`]

pub mod arguments;
pub mod definition;
pub mod message;
pub mod name;
pub mod time;
