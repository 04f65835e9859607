//! What shapes a queue machine: by its arguments, and by how short memory is. PURE.

use super::pages::Window;

/// What a queue's arguments make of it, once and for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// The highest priority that counts; 0 = messages have none.
    pub max_priority: u8,
    /// Whether one consumer at a time is served.
    pub single_active: bool,
    /// How much it does at a time.
    pub bounds: Bounds,
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
