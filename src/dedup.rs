//! Message deduplication: a window of what was seen lately, by a header of the messages (behaviour.md, 2.1). PURE.
//!
//! A window belongs to a queue or to an exchange. It holds keys, not messages: 128 bits of a digest of the header's value,
//! so that a restart can bring it back. The oldest key leaves when the window is full; a key may also live for a time only.

use crate::arguments::{self, Table, Value};
use crate::message::{Message, flag};
use crate::time::Millis;
use foldhash::HashMap;
use sha2::{Digest, Sha256};
use std::collections::VecDeque;

/// The header that is looked at where nothing else is said.
pub const HEADER: &str = "x-deduplication-header";
/// How many keys a window holds where nothing else is said.
const SIZE_DEFAULT: usize = 128;
/// How many keys a window holds at most.
pub const SIZE_MAX: i64 = 1_000_000;
/// A key that lives as long as the window has room.
const FOR_EVER: Millis = Millis(u64::MAX);

/// A digest of what tells messages apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub u128);

/// How a window works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The header whose value tells messages apart.
    pub header: String,
    /// So many keys are kept.
    pub size_max: usize,
    /// So long, in milliseconds, unless the message says otherwise; none = while there is room.
    pub ttl_ms: Option<u64>,
}

impl Rules {
    /// What the arguments of a queue or an exchange ask for; nothing if they don't.
    pub fn of(table: &Table) -> Option<Self> {
        if arguments::get(table, "x-message-deduplication") != Some(&Value::Boolean(true)) {
            return None;
        }
        Some(Self::always(table))
    }

    /// The same where it is asked for by the exchange's type.
    pub fn always(table: &Table) -> Self {
        let number = |name| arguments::get(table, name).and_then(arguments::as_integer);
        let size_max = number("x-cache-size").and_then(|size| usize::try_from(size).ok());
        let header = arguments::get(table, HEADER).and_then(arguments::as_text);
        Self {
            header: header.unwrap_or(HEADER).to_owned(),
            size_max: size_max.unwrap_or(SIZE_DEFAULT).clamp(1, SIZE_MAX as usize),
            ttl_ms: number("x-cache-ttl").and_then(|ms| u64::try_from(ms).ok()),
        }
    }
}

/// A message as a window sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What tells it apart.
    pub key: Key,
    /// When it was published.
    pub at: Millis,
    /// How long it counts, if it says so itself, in milliseconds.
    pub ttl_ms: Option<u64>,
}

impl Seen {
    /// Of a message's headers, as [`Properties::headers`](crate::message::Properties::headers); nothing if it has not
    /// the header.
    pub fn of_headers(header: &str, raw_headers: Option<&[u8]>, at: Millis) -> Option<Self> {
        // Headers that are no table were refused when the message came in.
        let headers = arguments::parse_table(raw_headers?).ok()?;
        let value = arguments::get(&headers, header)?;
        let ttl = arguments::get(&headers, "x-cache-ttl").and_then(arguments::as_integer);
        let digest = Sha256::digest(arguments::plain(value).as_bytes());
        let key = digest.first_chunk().map_or(0, |bytes| u128::from_le_bytes(*bytes));
        Some(Self { key: Key(key), at, ttl_ms: ttl.and_then(|ms| u64::try_from(ms).ok()) })
    }

    /// Of a message.
    pub fn of(header: &str, message: &Message) -> Option<Self> {
        if message.property_flags() & flag::HEADERS == 0 {
            return None;
        }
        Self::of_headers(header, message.properties().headers, message.received_at)
    }
}

/// What was seen lately.
#[derive(Debug, Default)]
pub struct Window {
    /// In the order in which they came; some may have left since.
    order: VecDeque<(Key, Millis)>,
    /// Until when each counts.
    keys: HashMap<Key, Millis>,
}

impl Window {
    /// A window with what a restart brings back: keys with the time until which they count, the oldest first, and what was
    /// published since.
    pub fn recovered(rules: &Rules, kept: Vec<(Key, Millis)>, since: Vec<Seen>) -> Self {
        let mut window = Self::default();
        for (key, until) in kept {
            window.insert(rules, key, until);
        }
        for seen in since {
            window.admit(rules, &seen);
        }
        window
    }

    /// Whether it has seen the message.
    pub fn has(&self, seen: &Seen) -> bool {
        self.keys.get(&seen.key).is_some_and(|until| *until > seen.at)
    }

    /// Whether the message is seen for the first time; from now on it is known.
    pub fn admit(&mut self, rules: &Rules, seen: &Seen) -> bool {
        if self.has(seen) {
            return false;
        }
        let ttl_ms = seen.ttl_ms.or(rules.ttl_ms);
        let until = ttl_ms.map_or(FOR_EVER, |ms| Millis(seen.at.0.saturating_add(ms)));
        self.insert(rules, seen.key, until);
        true
    }

    /// The message was not taken after all.
    pub fn forget(&mut self, key: Key) {
        self.keys.remove(&key);
    }

    fn insert(&mut self, rules: &Rules, key: Key, until: Millis) {
        self.keys.insert(key, until);
        self.order.push_back((key, until));
        while self.keys.len() > rules.size_max || self.order.len() > 2 * rules.size_max {
            let Some((oldest, until)) = self.order.pop_front() else { return };
            // One that came again since counts from then.
            if self.keys.get(&oldest) == Some(&until) {
                self.keys.remove(&oldest);
            }
        }
    }

    /// What a restart is to know: each key with the time until which it counts, the oldest first.
    pub fn kept(&self) -> impl Iterator<Item = (Key, Millis)> {
        self.order.iter().copied().filter(|(key, until)| self.keys.get(key) == Some(until))
    }

    /// How many keys it holds.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(size_max: usize, ttl_ms: Option<u64>) -> Rules {
        Rules { header: HEADER.into(), size_max, ttl_ms }
    }

    fn seen(key: u128, at: u64) -> Seen {
        Seen { key: Key(key), at: Millis(at), ttl_ms: None }
    }

    #[test]
    fn what_was_seen_is_a_duplicate_until_the_window_is_full_of_others() {
        let (rules, mut window) = (rules(2, None), Window::default());
        let mut admit = |key| window.admit(&rules, &seen(key, 0));
        assert_eq!([1, 1, 2, 1, 3, 2, 1].map(&mut admit), [true, false, true, false, true, false, true]);
        assert_eq!(window.len(), 2);
    }

    #[test]
    fn a_key_counts_as_long_as_it_lives_by_its_own_time_or_the_windows() {
        let (rules, mut window) = (rules(10, Some(100)), Window::default());
        assert!(window.admit(&rules, &seen(1, 0)));
        assert!(window.admit(&rules, &Seen { ttl_ms: Some(10), ..seen(2, 0) }));
        assert_eq!((window.admit(&rules, &seen(1, 99)), window.admit(&rules, &seen(2, 9))), (false, false));
        assert_eq!((window.admit(&rules, &seen(1, 100)), window.admit(&rules, &seen(2, 10))), (true, true));
        // It counts anew from then.
        assert!(!window.admit(&rules, &seen(1, 199)));
        assert_eq!(window.len(), 2);
    }

    #[test]
    fn a_window_comes_back_with_what_was_published_since() {
        let (rules, mut window) = (rules(3, None), Window::default());
        (1..=3).for_each(|key| assert!(window.admit(&rules, &seen(key, 0))));
        let kept: Vec<_> = window.kept().collect();
        let mut window = Window::recovered(&rules, kept, vec![seen(3, 1), seen(4, 1)]);
        let mut admit = |key| window.admit(&rules, &seen(key, 2));
        assert_eq!([2, 3, 4, 1].map(&mut admit), [false, false, false, true]);
    }

    #[test]
    fn keys_are_of_the_headers_value_whatever_its_width() {
        let of = |value: Value| {
            let mut table = Table::default();
            table.insert(HEADER.into(), value);
            Seen::of_headers(HEADER, Some(&arguments::write_table(&table)), Millis(7)).unwrap()
        };
        assert_eq!(of(Value::LongInt(5)).key, of(Value::LongLongInt(5)).key);
        assert_ne!(of(Value::LongInt(5)).key, of(Value::LongInt(6)).key);
        assert_eq!(of(Value::LongString("a".into())).at, Millis(7));
        assert_eq!(Seen::of_headers(HEADER, None, Millis(0)), None);
    }
}
