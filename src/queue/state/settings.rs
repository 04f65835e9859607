//! What shapes a queue machine: by its arguments and policies, and by how short memory is. PURE.

use super::pages::Window;

/// What a queue's arguments make of it, once and for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// The highest priority that counts; 0 = messages have none.
    pub max_priority: u8,
    /// Whether one consumer at a time is served.
    pub single_active: bool,
    /// Whether another takes over from that one when it comes with a higher priority.
    pub single_active_yields: bool,
    /// How much it does at a time.
    pub bounds: Bounds,
}

/// What may change while the queue lives: see [`State::set_rules`](super::State::set_rules).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// So many messages may be ready, at most.
    pub length_max: Option<u64>,
    /// The bodies of ready messages may have so many bytes together, at most.
    pub length_bytes_max: Option<u64>,
    /// What gives way where that is exceeded.
    pub overflow: Overflow,
    /// Whether messages that leave without being consumed go somewhere.
    pub has_dead_letters: bool,
    /// A message whose consumers failed more often leaves.
    pub delivery_limit: Option<u16>,
    /// How long a consumer may take to settle a message, in milliseconds.
    pub consumer_timeout_ms: Option<u64>,
    /// Which messages that come back wait before they are ready again.
    pub retry: Option<Retry>,
}

impl Rules {
    pub(super) fn is_bounded(&self) -> bool {
        self.length_max.is_some() || self.length_bytes_max.is_some()
    }
}

/// What gives way in a full queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest message of the lowest priority.
    #[default]
    DropHead,
    /// The new message: its publisher is told.
    RejectPublish,
    /// The same, and it is a dead letter.
    RejectPublishDlx,
}

/// How a message came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// Its consumer gave it back: that is no failure.
    Plain,
    /// Its consumer rejected it, or its channel ended.
    Failed,
}

/// Messages that come back wait so long: the least time for each failure, up to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Which of them; none = all.
    pub only: Option<Return>,
    /// In milliseconds, for each time it came back.
    pub min_ms: u64,
    /// In milliseconds.
    pub max_ms: u64,
}

impl Retry {
    /// How long a message waits that came back for the `count`th time, in milliseconds.
    pub(super) fn delay_ms(&self, how: Return, count: u16) -> Option<u64> {
        let is_meant = self.only.is_none_or(|only| only == how);
        is_meant.then(|| self.min_ms.saturating_mul(count.into()).min(self.max_ms))
    }
}

/// How many messages a queue treats together. A simulation has few messages, and so small bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// A page of the index that has so many takes no more at its end.
    pub page_entries: u16,
    /// A page that is not at an end of its level and has so many gets an image at a checkpoint.
    pub imaged_entries_min: u16,
    /// How many messages are asked for at a time.
    pub load_entries_max: u16,
    /// So many messages at a time are noted as about to be delivered, and again when half of them are.
    pub noted_messages: u16,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { page_entries: 1024, imaged_entries_min: 256, load_entries_max: 4096, noted_messages: 8192 }
    }
}

/// How short memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pressure {
    /// Whether messages that wait are to leave memory at once.
    pub is_lean: bool,
    /// But for so many bytes.
    pub keep_bytes: u64,
    /// How much is read ahead.
    pub window: Window,
}

impl Default for Pressure {
    fn default() -> Self {
        Self { is_lean: false, keep_bytes: 0, window: Window { low_bytes: 1 << 20, high_bytes: 4 << 20 } }
    }
}
