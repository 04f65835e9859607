//! The journal's records as bytes: how they are written, sealed with their checksum, and read back. PURE.
//!
//! Layout (little endian; varints are LEB128), described for readers of files in `docs/storage-format.md`:
//!
//! ```text
//!   header       payload length (6 bytes) | kind (1) | version (1) | CRC-32 (4)
//!   publish      flags (1)
//!                targets: count, then queue and sequence of each (varints)
//!                lengths of exchange (1), routing key (1), properties (varint), when it was published (varint)
//!                exchange, routing key, properties; the body is the rest
//!   progress     queue, below which sequence any may be delivered from now on (varints), then what was settled, what was delivered, what was returned: each a count (varint) and
//!                ranges of sequences, first and count less one (varints); the last without a count, until the end.
//!                Version 3, where consumers failed: what was returned with its count, then which of these by a failure
//!   transaction  whole publish and progress records, each with its own header, sealed as parts
//!   changes      the changes as JSON
//!   large        the length of the record behind it (varint)
//!   synced       before which position all is durable (varint)
//! ```
//!
//! The checksum covers the record's position in the journal, the header before it and the payload, so that bytes which
//! stand where they were not written are never taken for a record.

mod large;
mod progress;
mod scan;
mod synced;

use large::large_end;
pub use large::{Sealing, large_bytes, write_large};
pub use progress::{Origin, Progress, Range, Settled};
pub use scan::{Piece, Scan, What};
pub use synced::write_synced;

use crate::definition::Change;
use crate::message::{Message, Properties};
use crate::name::{ExchangeName, Position, QueueId, Sequence};
use crate::time::Millis;
use smallvec::SmallVec;

/// A queue that a message reached, and its place there.
pub type Target = (QueueId, Sequence);

/// The bytes before a record's payload.
pub const HEADER_BYTES: usize = 12;
/// Where in the header the checksum stands.
const CHECKSUM_AT: usize = 8;
/// The version of large and synced; all records of this version are still read.
const VERSION: u8 = 1;
/// The version of the other kinds. In version 1 the records inside of a transaction were sealed like any others, and
/// changes knew no policies, parameters and limits.
const VERSION_2: u8 = 2;
/// Of progress that says where consumers failed.
const VERSION_3: u8 = 3;
/// Added to the position in the checksum of a record inside a transaction: where the transaction is damaged or torn, its
/// parts must not be taken for records that stand alone.
const PART: u64 = 1 << 63;
/// Above the kinds and versions there are, so that what a newer version wrote is found behind damage, and refused.
const KIND_MAX: u8 = 15;
const VERSION_MAX: u8 = 7;

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A message reached queues.
    Publish = 1,
    /// Messages of a queue were delivered, came back, or left.
    Progress = 2,
    /// Publishes and progress that belong together.
    Transaction = 3,
    /// Definitions changed.
    Changes = 4,
    /// A large record stands behind this one; it may still have been on its way when the power went.
    Large = 5,
    /// What stands before a position was durable when this was written.
    Synced = 6,
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Bad {
    /// The bytes end before the record does.
    #[error("record cut short")]
    Truncated,
    /// The checksum does not fit.
    #[error("wrong checksum")]
    Checksum,
    /// Intact, but of a kind or version this program does not know: written by a newer one.
    #[error("record of kind {kind} version {version}, written by a newer version of Warren")]
    Unknown {
        /// The kind's number.
        kind: u8,
        /// Its version.
        version: u8,
    },
    /// Intact, but its payload is not what its kind says.
    #[error("malformed payload")]
    Payload,
}

/// Appends a varint.
pub fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes a varint off the front of `bytes`; `None` if there is none.
pub fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let part = u64::from(byte & 0x7f);
        if shift == 63 && part > 1 {
            return None;
        }
        value |= part << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Starts a record and returns where it starts; its payload is appended next.
fn begin(out: &mut Vec<u8>, kind: Kind) -> usize {
    let start = out.len();
    let version = if matches!(kind, Kind::Large | Kind::Synced) { VERSION } else { VERSION_2 };
    out.extend_from_slice(&[0, 0, 0, 0, 0, 0, kind as u8, version, 0, 0, 0, 0]);
    start
}

/// Ends the record that starts at `start`: its length is known now. The checksum comes with [`seal`].
fn end(out: &mut [u8], start: usize) {
    let length = (out.len() - start - HEADER_BYTES) as u64;
    out[start..start + 6].copy_from_slice(&length.to_le_bytes()[..6]);
}

/// Appends a publish record, unsealed.
pub fn write_publish(out: &mut Vec<u8>, message: &Message, targets: &[Target], origin: Origin) {
    let (exchange, key) = (message.exchange.as_str().as_bytes(), message.routing_key());
    let (properties, body) = (message.raw_properties(), message.body());
    out.reserve(
        HEADER_BYTES + 40 + targets.len() * 20 + exchange.len() + key.len() + properties.len() + body.len(),
    );
    let start = begin(out, Kind::Publish);
    out.push(origin.flags(message));
    write_varint(out, targets.len() as u64);
    for (queue, sequence) in targets {
        write_varint(out, queue.0);
        write_varint(out, sequence.0);
    }
    // Both are short strings: at most 255 bytes.
    out.extend_from_slice(&[exchange.len() as u8, key.len() as u8]);
    write_varint(out, properties.len() as u64);
    write_varint(out, message.received_at.0);
    out.extend_from_slice(exchange);
    out.extend_from_slice(key);
    out.extend_from_slice(properties);
    out.extend_from_slice(body);
    end(out, start);
}

/// Appends a progress record, unsealed; runs of sequences become ranges. With nothing to be written down nothing is
/// written: the result says whether something was.
pub fn write_progress(out: &mut Vec<u8>, queue: QueueId, progress: &Progress<'_>) -> bool {
    if progress.is_empty() {
        return false;
    }
    let start = begin(out, Kind::Progress);
    write_varint(out, queue.0);
    write_varint(out, progress.deliverable_below.0);
    let settled = progress.settled.iter().filter(|settled| settled.is_durable);
    let mut ranges = runs(settled.map(|settled| settled.sequence));
    ranges.extend_from_slice(progress.settled_ranges);
    for ranges in [ranges, runs(progress.delivered.iter().copied())] {
        write_varint(out, ranges.len() as u64);
        write_ranges(out, &ranges);
    }
    let returned = runs(progress.returned.iter().copied());
    if !progress.failed.is_empty() {
        out[start + 7] = VERSION_3;
        write_varint(out, returned.len() as u64);
    }
    write_ranges(out, &returned);
    write_ranges(out, &runs(progress.failed.iter().copied()));
    end(out, start);
    true
}

type Runs = SmallVec<[Range; 4]>;

fn runs(sequences: impl Iterator<Item = Sequence>) -> Runs {
    let mut runs = Runs::new();
    for sequence in sequences {
        match runs.last_mut() {
            Some((_, last)) if last.0.checked_add(1) == Some(sequence.0) => *last = sequence,
            _ => runs.push((sequence, sequence)),
        }
    }
    runs
}

fn write_ranges(out: &mut Vec<u8>, ranges: &[Range]) {
    for (first, last) in ranges {
        write_varint(out, first.0);
        write_varint(out, last.0 - first.0);
    }
}

/// Appends a transaction record, unsealed, and fills `offsets` with the place of each publish in `out`.
pub fn write_transaction(
    out: &mut Vec<u8>,
    publishes: &[(&Message, &[Target])],
    settles: &[(QueueId, &[Settled])],
    offsets: &mut Vec<usize>,
) {
    let start = begin(out, Kind::Transaction);
    for (message, targets) in publishes {
        offsets.push(out.len());
        write_publish(out, message, targets, Origin::default());
    }
    for (queue, settled) in settles {
        write_progress(out, *queue, &Progress { settled, ..Progress::default() });
    }
    end(out, start);
}

/// Appends a record of changes that [`encode_changes`] made, unsealed.
pub fn write_changes(out: &mut Vec<u8>, encoded: &[u8]) {
    let start = begin(out, Kind::Changes);
    out.extend_from_slice(encoded);
    end(out, start);
}

/// Changes as the payload of their record.
///
/// JSON has no NaN and no infinity; such a number in a client's table comes back as a void value.
pub fn encode_changes(changes: &[Change]) -> Vec<u8> {
    encode_json(&changes)
}

/// A definition or a list of changes as JSON that is sure to be read back.
pub(super) fn encode_json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    let Ok(mut tree) = serde_json::to_value(value) else {
        debug_assert!(false, "definitions have text keys only");
        return Vec::new();
    };
    void_non_numbers(&mut tree);
    tree.to_string().into_bytes()
}

/// A float that JSON cannot say was written as null under its type's name: nothing else in a definition looks so.
fn void_non_numbers(tree: &mut serde_json::Value) {
    use serde_json::Value;
    match tree {
        Value::Object(fields) => {
            let is_lost = |name| fields.len() == 1 && fields.get(name) == Some(&Value::Null);
            if is_lost("Float") || is_lost("Double") {
                *tree = Value::from("Void");
            } else {
                fields.values_mut().for_each(void_non_numbers);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(void_non_numbers),
        _ => {}
    }
}

/// Fills in the checksums of the whole records in `bytes`, whose first byte has the journal position `position`.
pub fn seal(mut bytes: &mut [u8], mut position: u64) {
    while bytes.len() >= HEADER_BYTES {
        let total = (HEADER_BYTES + payload_length(bytes)).min(bytes.len());
        let (record, rest) = bytes.split_at_mut(total);
        if record[6] == Kind::Transaction as u8 {
            let part = part_position(record[7], position + HEADER_BYTES as u64);
            seal(&mut record[HEADER_BYTES..], part);
        }
        let sum = checksum(record, position);
        record[CHECKSUM_AT..HEADER_BYTES].copy_from_slice(&sum.to_le_bytes());
        (bytes, position) = (rest, position + total as u64);
    }
}

/// What the checksum of a record at `position` inside a transaction of this version has for its position.
fn part_position(transaction_version: u8, position: u64) -> u64 {
    if transaction_version == 1 { position } else { position | PART }
}

/// The offset, not before `from`, of the next intact record in `bytes`, whose first byte has the position `position`.
///
/// A wrong one is next to impossible: its checksum would have to be right for this very position.
pub fn find(bytes: &[u8], from: usize, position: u64) -> Option<usize> {
    let mut sums = Sums { bytes, of_blocks: Vec::new() };
    (from..bytes.len()).filter(|&at| is_plausible(&bytes[at..])).find(|&at| {
        let payload = at + HEADER_BYTES..at + total_length(&bytes[at..]);
        // Large payloads by the sums of their blocks: bytes full of large lengths must not be read once for each.
        if payload.len() > SUM_BLOCK_BYTES {
            let head = crc32fast::hash(&checksum_head(&bytes[at..], position + at as u64));
            let sum = sums.until(payload.end) ^ shift(head ^ sums.until(payload.start), payload.len());
            return bytes[at + CHECKSUM_AT..payload.start] == sum.to_le_bytes();
        }
        open(&bytes[at..], position + at as u64).is_ok()
    })
}

const SUM_BLOCK_BYTES: usize = 4096;

/// The checksums of the beginnings of `bytes`, cheap wherever they end.
struct Sums<'a> {
    bytes: &'a [u8],
    /// Those that end with a whole block, made when they are first asked for.
    of_blocks: Vec<u32>,
}

impl Sums<'_> {
    fn until(&mut self, end: usize) -> u32 {
        if self.of_blocks.is_empty() {
            let mut hasher = crc32fast::Hasher::new();
            self.of_blocks.push(0);
            for block in self.bytes.chunks_exact(SUM_BLOCK_BYTES) {
                hasher.update(block);
                self.of_blocks.push(hasher.clone().finalize());
            }
        }
        let block = end / SUM_BLOCK_BYTES;
        let mut hasher = crc32fast::Hasher::new_with_initial(self.of_blocks[block]);
        hasher.update(&self.bytes[block * SUM_BLOCK_BYTES..end]);
        hasher.finalize()
    }
}

/// What a checksum becomes when `count` bytes follow that have the checksum 0: the checksum of a whole is this of its
/// beginning, XOR that of the rest.
fn shift(sum: u32, count: usize) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(sum);
    hasher.combine(&crc32fast::Hasher::new_with_initial_len(0, count as u64));
    hasher.finalize()
}

/// Whether a record may stand here, by its header alone: most bytes must not cost a checksum.
fn is_plausible(bytes: &[u8]) -> bool {
    bytes.len() >= HEADER_BYTES
        && (1..=KIND_MAX).contains(&bytes[6])
        && (1..=VERSION_MAX).contains(&bytes[7])
        && payload_length(bytes) <= bytes.len() - HEADER_BYTES
}

/// The length with its header of the record at the start of `bytes`, which must hold it.
pub fn total_length(bytes: &[u8]) -> usize {
    HEADER_BYTES + payload_length(bytes)
}

fn payload_length(header: &[u8]) -> usize {
    let mut length = [0; 8];
    length[..6].copy_from_slice(&header[..6]);
    u64::from_le_bytes(length) as usize
}

fn checksum(record: &[u8], position: u64) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&checksum_head(record, position));
    hasher.update(&record[HEADER_BYTES..]);
    hasher.finalize()
}

/// What the checksum covers before the payload.
fn checksum_head(record: &[u8], position: u64) -> [u8; 16] {
    let mut head = [0; 16];
    head[..8].copy_from_slice(&position.to_le_bytes());
    head[8..].copy_from_slice(&record[..CHECKSUM_AT]);
    head
}

/// A publish record's content, borrowed from its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Where the record stands.
    pub position: Position,
    /// How long it is, with its header.
    pub record_bytes: u32,
    /// How it came to be.
    pub origin: Origin,
    /// The broker itself wrote what its headers say of its deaths.
    pub is_dead_letter: bool,
    /// The queues it reached.
    pub targets: SmallVec<[Target; 2]>,
    /// When it was published.
    pub received_at: Millis,
    /// The exchange's name.
    pub exchange: &'a str,
    /// The routing key.
    pub routing_key: &'a [u8],
    /// The property list.
    pub properties: &'a [u8],
    /// The body.
    pub body: &'a [u8],
}

impl Publish<'_> {
    /// The headers, as [`Properties::headers`] has them.
    pub fn message_headers(&self) -> Option<&[u8]> {
        Properties::parse(self.properties).ok().and_then(|properties| properties.headers)
    }

    /// The message, with `exchange` as its exchange: the caller shares the name between messages.
    ///
    /// # Errors
    /// [`Bad::Payload`] if the properties are none.
    pub fn message(&self, exchange: ExchangeName) -> Result<Message, Bad> {
        let parsed = Properties::parse(self.properties).map_err(|_| Bad::Payload)?;
        let message = Message::new(exchange, self.routing_key, self.properties, &parsed, &[self.body]);
        let message = message.at(self.received_at);
        Ok(if self.is_dead_letter { message.as_dead_letter() } else { message })
    }
}

/// A progress record's content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progressed {
    /// The queue.
    pub queue: QueueId,
    /// They left it.
    pub settled: SmallVec<[Range; 4]>,
    /// They were delivered.
    pub delivered: SmallVec<[Range; 4]>,
    /// They came back.
    pub returned: SmallVec<[Range; 4]>,
    /// These of them because their consumer failed.
    pub failed: SmallVec<[Range; 4]>,
    /// Any below may have been delivered.
    pub deliverable_below: Sequence,
}

/// What a record says, piece by piece.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry<'a> {
    /// A message reached queues.
    Publish(Publish<'a>),
    /// What became of a queue's messages.
    Progress(Progressed),
    /// Definitions changed.
    Changes(Vec<Change>),
    /// The record behind it is so long, and may not be whole: that is no damage.
    Large {
        /// Its length, with its header.
        record_bytes: u64,
    },
    /// Everything before the position is durable, but for large records.
    Synced(Position),
}

/// Reads the record at the start of `bytes`, whose journal position is `position`: its entries, several for a
/// transaction, and its length in bytes.
///
/// # Errors
/// Any [`Bad`]; never part of a record.
pub fn read(bytes: &[u8], position: u64) -> Result<(SmallVec<[Entry<'_>; 1]>, usize), Bad> {
    let (kind, version, payload) = open(bytes, position)?;
    let mut entries = SmallVec::new();
    match (kind, version) {
        (3, VERSION | VERSION_2) => {
            let transaction_version = version;
            let mut at = 0;
            while at < payload.len() {
                let inner_position = position + (HEADER_BYTES + at) as u64;
                let (kind, version, inner) =
                    open(&payload[at..], part_position(transaction_version, inner_position))?;
                entries.push(read_single(kind, version, inner, inner_position)?);
                at += HEADER_BYTES + inner.len();
            }
        }
        (4, VERSION | VERSION_2) => {
            entries.push(Entry::Changes(serde_json::from_slice(payload).map_err(|_| Bad::Payload)?));
        }
        (5, VERSION) => {
            let mut rest = payload;
            let record_bytes = read_varint(&mut rest).filter(|_| rest.is_empty()).ok_or(Bad::Payload)?;
            entries.push(Entry::Large { record_bytes });
        }
        (6, VERSION) => entries.push(synced::read_synced(payload).ok_or(Bad::Payload)?),
        _ => entries.push(read_single(kind, version, payload, position)?),
    }
    Ok((entries, HEADER_BYTES + payload.len()))
}

/// A record that may stand in a transaction.
fn read_single(kind: u8, version: u8, payload: &[u8], position: u64) -> Result<Entry<'_>, Bad> {
    let entry = match (kind, version) {
        (1, VERSION | VERSION_2) => read_publish(payload, version, position),
        (2, VERSION) => read_settle(payload),
        (2, VERSION_2 | VERSION_3) => read_progress(payload, version),
        _ => return Err(Bad::Unknown { kind, version }),
    };
    entry.ok_or(Bad::Payload)
}

/// Checks the record at the start of `bytes` and returns its kind, version and payload.
fn open(bytes: &[u8], position: u64) -> Result<(u8, u8, &[u8]), Bad> {
    let header = bytes.get(..HEADER_BYTES).ok_or(Bad::Truncated)?;
    let total = HEADER_BYTES.checked_add(payload_length(header)).ok_or(Bad::Truncated)?;
    let record = bytes.get(..total).ok_or(Bad::Truncated)?;
    if checksum(record, position).to_le_bytes() != record[CHECKSUM_AT..HEADER_BYTES] {
        return Err(Bad::Checksum);
    }
    Ok((record[6], record[7], &record[HEADER_BYTES..]))
}

fn read_publish(mut payload: &[u8], version: u8, position: u64) -> Option<Entry<'_>> {
    let record_bytes = u32::try_from(HEADER_BYTES + payload.len()).ok()?;
    let bytes = &mut payload;
    let (mut origin, mut is_dead_letter) = (Origin::default(), false);
    if version == VERSION_2 {
        let (&flags, rest) = bytes.split_first()?;
        *bytes = rest;
        (origin, is_dead_letter) = Origin::of(flags)?;
    }
    let count = read_varint(bytes)?;
    let mut targets = SmallVec::new();
    for _ in 0..count {
        targets.push((QueueId(read_varint(bytes)?), Sequence(read_varint(bytes)?)));
    }
    let (&[exchange_bytes, key_bytes], rest) = bytes.split_first_chunk::<2>()?;
    *bytes = rest;
    let properties_bytes = usize::try_from(read_varint(bytes)?).ok()?;
    let received_at = Millis(read_varint(bytes)?);
    let mut take = |count: usize| {
        let (head, rest) = bytes.split_at_checked(count)?;
        *bytes = rest;
        Some(head)
    };
    let exchange = std::str::from_utf8(take(exchange_bytes as usize)?).ok()?;
    let routing_key = take(key_bytes as usize)?;
    let properties = take(properties_bytes)?;
    let position = Position(position);
    Some(Entry::Publish(Publish {
        position,
        record_bytes,
        origin,
        is_dead_letter,
        targets,
        received_at,
        exchange,
        routing_key,
        properties,
        body: payload,
    }))
}

fn read_settle(mut payload: &[u8]) -> Option<Entry<'_>> {
    let queue = QueueId(read_varint(&mut payload)?);
    let settled = read_ranges(&mut payload, None)?;
    Some(Entry::Progress(Progressed { queue, settled, ..Progressed::default() }))
}

fn read_progress(mut payload: &[u8], version: u8) -> Option<Entry<'_>> {
    let payload = &mut payload;
    let queue = QueueId(read_varint(payload)?);
    let deliverable_below = Sequence(read_varint(payload)?);
    let count = read_varint(payload)?;
    let settled = read_ranges(payload, Some(count))?;
    let count = read_varint(payload)?;
    let delivered = read_ranges(payload, Some(count))?;
    let count = if version == VERSION_3 { Some(read_varint(payload)?) } else { None };
    let returned = read_ranges(payload, count)?;
    let failed = read_ranges(payload, None)?;
    Some(Entry::Progress(Progressed { queue, settled, delivered, returned, failed, deliverable_below }))
}

/// So many ranges, or all to the end.
fn read_ranges(payload: &mut &[u8], count: Option<u64>) -> Option<SmallVec<[Range; 4]>> {
    let mut ranges = SmallVec::new();
    while count.map_or(!payload.is_empty(), |count| (ranges.len() as u64) < count) {
        let first = read_varint(payload)?;
        let last = first.checked_add(read_varint(payload)?)?;
        ranges.push((Sequence(first), Sequence(last)));
    }
    Some(ranges)
}

/// Reads back a message by its position: the publish record at the start of `bytes`, alone or part of a transaction.
///
/// # Errors
/// Any [`Bad`]; [`Bad::Payload`] also for a record of another kind.
pub fn read_message(bytes: &[u8], position: u64) -> Result<Publish<'_>, Bad> {
    let (kind, version, payload) = open(bytes, position).or_else(|_| open(bytes, position | PART))?;
    match read_single(kind, version, payload, position)? {
        Entry::Publish(publish) => Ok(publish),
        _ => Err(Bad::Payload),
    }
}

#[cfg(test)]
mod tests;
