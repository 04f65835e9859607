//! The clock. The only file that reads it: everything else gets `now` as an argument, so that tests can move it.
//!
//! Two kinds of time exist: [`Millis`], wall clock, for what is stored or shown; [`Instant`], monotonic, for intervals.

pub use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use std::fmt;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The monotonic clock, now.
#[allow(clippy::disallowed_methods)]
pub fn now() -> Instant {
    Instant::now()
}

/// The wall clock, now. Before 1970 (a broken clock) it is 0.
pub fn unix_ms() -> Millis {
    Millis(u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX))
}

/// The same in nanoseconds, for measurements.
pub fn unix_ns() -> u64 {
    u64::try_from(since_1970().as_nanos()).unwrap_or(u64::MAX)
}

#[allow(clippy::disallowed_methods)]
fn since_1970() -> Duration {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap_or_default()
}
