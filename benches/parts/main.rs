//! What the parts of the hot path take, each alone: codec, routing, queue machine, journal; and all together over loopback.
//!
//! `cargo bench --bench parts` measures everything, `… -- routing` a part, `… -- --save-baseline before` and
//! `… -- --baseline before` compare. A new part is a file with a function and its name in [`main`](self).

#![allow(clippy::unwrap_used)]

#[path = "../client.rs"]
mod client;
mod codec;
mod journal;
mod loopback;
mod queue;
mod routing;

use criterion::{criterion_group, criterion_main};
use std::sync::Arc;
use warren::message::{Message, Properties};

/// The broker's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A message to the default exchange with a body of `size` bytes and only a delivery mode.
fn message(size: usize, is_persistent: bool) -> Arc<Message> {
    let raw = [0x10, 0, if is_persistent { 2 } else { 1 }];
    let properties = Properties::parse(&raw).unwrap();
    Arc::new(Message::new("".into(), b"queue", &raw, &properties, &[&vec![b'x'; size]]))
}

criterion_group!(parts, codec::codec, routing::routing, queue::queue, journal::journal, loopback::loopback);
criterion_main!(parts);
