//! Where the examples find the broker. Nothing else is shared: each example reads on its own.

use anyhow::Context;
use lapin::{Connection, ConnectionProperties};

const DEFAULT_URL: &str = "amqp://guest:guest@127.0.0.1:5672";

/// Connects to the broker named by the first argument, else by `AMQP_URL`, else to the one on this machine.
pub(crate) async fn connect() -> anyhow::Result<Connection> {
    let url = url();
    Connection::connect(&url, ConnectionProperties::default())
        .await
        .with_context(|| format!("no broker answers at {url}: start one with `cargo run --release`"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "an example is a program of its own and may read its environment"
)]
fn url() -> String {
    let argument = std::env::args().nth(1);
    argument.or_else(|| std::env::var("AMQP_URL").ok()).unwrap_or_else(|| DEFAULT_URL.to_owned())
}
