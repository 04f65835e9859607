//! When a client is told that a message is safe: the setting `durability` of the node and of a queue. PURE.

use crate::name::Position;
use crate::time::Duration;
use std::fmt;
use std::str::FromStr;

/// What must have happened to a record before anybody is told that it is safe. The strictest is the least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// It is on disk: nothing takes it away.
    #[default]
    Sync,
    /// The operating system has it, and it is on disk at most so many milliseconds later.
    Interval(u32),
    /// The operating system has it.
    Os,
}

/// The longest interval, in milliseconds.
const INTERVAL_MS_MAX: u32 = 60_000;
/// How long what nobody waits for may stay unsynced where every confirm is synced.
const SYNC_DELAY: Duration = Duration::from_millis(200);

impl Durability {
    /// Within what time what was written has to be synced; none = somebody waits for it, or nobody cares.
    fn within(self) -> Option<Duration> {
        match self {
            Self::Interval(ms) => Some(Duration::from_millis(ms.into())),
            Self::Sync | Self::Os => None,
        }
    }

    /// How long a node with this setting leaves unsynced what nobody waits for; none = until somebody does.
    pub fn sync_delay(self) -> Option<Duration> {
        match self {
            Self::Sync => Some(SYNC_DELAY),
            Self::Interval(_) => self.within(),
            Self::Os => None,
        }
    }

    /// As a number, to be read without a lock.
    pub fn number(self) -> u64 {
        match self {
            Self::Sync => 0,
            Self::Os => 1,
            Self::Interval(ms) => 2 + u64::from(ms),
        }
    }

    /// What [`Durability::number`] made a number of.
    pub fn of_number(number: u64) -> Self {
        match number {
            0 => Self::Sync,
            1 => Self::Os,
            ms => Self::Interval(u32::try_from(ms - 2).unwrap_or(u32::MAX)),
        }
    }

    /// When a record that ends there is safe; a large one waits for those before it, too.
    pub fn safe_at(self, end: Position, is_large: bool) -> SafeAt {
        let level = match (self, is_large) {
            (Self::Sync, true) => Level::Synced,
            (Self::Sync, false) => Level::SyncedButLarge,
            (Self::Interval(_) | Self::Os, true) => Level::Written,
            (Self::Interval(_) | Self::Os, false) => Level::WrittenButLarge,
        };
        SafeAt { point: level.at(end), within: self.within() }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sync => f.write_str("sync"),
            Self::Interval(ms) => write!(f, "interval({ms})"),
            Self::Os => f.write_str("os"),
        }
    }
}

/// What is wrong with a text that should be a [`Durability`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is none of sync, interval(MS) with 1 to {INTERVAL_MS_MAX} milliseconds, os")]
pub struct NoDurability(String);

impl FromStr for Durability {
    type Err = NoDurability;

    fn from_str(text: &str) -> Result<Self, NoDurability> {
        let interval = || {
            let ms = text.strip_prefix("interval(")?.strip_suffix(')')?;
            let is_number = ms.bytes().all(|byte| byte.is_ascii_digit());
            let ms = ms.parse().ok().filter(|ms| is_number && (1..=INTERVAL_MS_MAX).contains(ms));
            ms.map(Self::Interval)
        };
        match text {
            "sync" => Ok(Self::Sync),
            "os" => Ok(Self::Os),
            _ => interval().ok_or_else(|| NoDurability(text.into())),
        }
    }
}

/// What has happened to the journal before a position. Large records are written beside the others, in slices, so that
/// nobody else need wait for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// It is on disk.
    Synced,
    /// It is on disk, but for large records.
    SyncedButLarge,
    /// The operating system has it.
    Written,
    /// The operating system has it, but for large records.
    WrittenButLarge,
}

impl Level {
    /// How many there are.
    pub const COUNT: usize = 4;
    /// All, by index.
    pub const ALL: [Self; Self::COUNT] =
        [Self::Synced, Self::SyncedButLarge, Self::Written, Self::WrittenButLarge];

    /// Its place in [`Level::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// The point of this level at a position.
    pub fn at(self, end: Position) -> Point {
        Point { level: self, end }
    }
}

/// How far the journal has come, or must have come before somebody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// What has happened to everything before the position.
    pub level: Level,
    /// The position.
    pub end: Position,
}

/// When something is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SafeAt {
    /// Once the journal has come so far.
    pub point: Point,
    /// Within what time of being written it has to be synced then, if it has to be.
    pub within: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_as_they_are_shown_and_others_are_refused() {
        for durability in
            [Durability::Sync, Durability::Interval(1), Durability::Interval(60_000), Durability::Os]
        {
            assert_eq!(durability.to_string().parse(), Ok(durability));
        }
        for text in ["", "Sync", "fsync", "interval", "interval()", "interval(0)", "interval(60001)"] {
            let refused = text.parse::<Durability>().unwrap_err().to_string();
            assert!(refused.contains("none of sync, interval(MS)"), "{refused}");
        }
        for text in ["interval(+5)", "interval(-5)", "interval(5 )", "interval(5ms)", "interval(5"] {
            assert!(text.parse::<Durability>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_strictest_is_the_least() {
        use Durability::{Interval, Os, Sync};
        let mut all = [Os, Interval(100), Sync, Interval(5)];
        all.sort_unstable();
        assert_eq!(all, [Sync, Interval(5), Interval(100), Os]);
    }
}
