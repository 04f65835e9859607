//! What the tests stand on: a raw client, a broker to talk to, an oracle to compare with.

pub(crate) mod broker;
pub(crate) mod codec;
pub(crate) mod http;
pub(crate) mod oracle;
pub(crate) mod raw;
pub(crate) mod scenario;

pub(crate) use codec::{Properties, Table, Value, text};
pub(crate) use raw::{Client, Login};
pub(crate) use scenario::{Scenario, scenarios};
