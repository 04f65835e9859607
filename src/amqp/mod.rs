//! AMQP 0-9-1: bytes to requests and back.
//!
//! PURE: [`frame`] [`method`] [`exception`] are the codec; [`content`] [`unacked`] [`confirms`] [`heartbeat`]
//! [`handshake`] the parts of the machines [`channel`] and [`connection`], which ask for a [`request::Request`] and get a
//! [`request::Reply`]. Impure: [`driver`] owns the socket, `error` maps the
//! broker's errors.

pub mod channel;
pub mod confirms;
pub mod connection;
pub mod content;
pub mod driver;
mod error;
pub mod exception;
pub mod frame;
pub mod handshake;
pub mod heartbeat;
pub mod method;
pub mod request;
pub mod unacked;
