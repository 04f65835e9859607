//! The record that says how much of the journal was durable when it was written. PURE.

use super::{Entry, Kind, begin, end, read_varint, write_varint};
use crate::name::Position;

/// Appends a record, unsealed, that says that all before `position` is durable, but for large records.
pub fn write_synced(out: &mut Vec<u8>, position: u64) {
    let start = begin(out, Kind::Synced);
    write_varint(out, position);
    end(out, start);
}

/// What its payload says.
pub(super) fn read_synced(mut payload: &[u8]) -> Option<Entry<'static>> {
    let position = read_varint(&mut payload)?;
    payload.is_empty().then_some(Entry::Synced(Position(position)))
}
