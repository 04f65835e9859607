//! What the tests stand on: a raw client, a broker to talk to, an oracle to compare with.

pub(crate) mod broker;
pub(crate) mod codec;
pub(crate) mod http;
pub(crate) mod login;
pub(crate) mod node;
pub(crate) mod oracle;
pub(crate) mod random;
pub(crate) mod raw;
pub(crate) mod scenario;
pub(crate) mod trace;

pub(crate) use codec::{Properties, Table, Value, text};
pub(crate) use login::Login;
pub(crate) use raw::Client;
pub(crate) use scenario::{Scenario, scenarios};
