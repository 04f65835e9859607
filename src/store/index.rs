//! The queue index as values and bytes: what a queue knows of a message without having it, in pages. PURE.
//!
//! A queue's messages stand in the journal; its index says for each where, how large, how often returned, and so on. A
//! run of entries that nobody needs soon leaves memory as a page: its **image** goes to the metadata store under a number
//! of its own and is never changed, its [`PageSummary`] stays. What a checkpoint keeps of a queue is a [`QueueImage`]:
//! the summaries of its pages, and all other entries.
//!
//! Layout (varints are LEB128; zigzag where a difference may be negative), described in `docs/storage-format.md`:
//!
//! ```text
//!   entry      sequence less the one before less 1 | position less the end of the record before (zigzag)
//!              flags (1) | body bytes | record bytes less body bytes | [expires at] | [priority (1)] | [returns]
//!              [failures]
//!   page       CRC-32 of queue, image and the rest (4) | count | entries
//!   queue      CRC-32 of queue and the rest (4) | next sequence | next image | deliverable below
//!              reserved | unacked | pages | entries
//! ```

use super::ranges::Ranges;
use super::record::{read_varint, write_varint};
use crate::dedup::Key;
use crate::name::{Position, QueueId, Sequence};
use crate::time::Millis;

/// When a message expires that does not.
pub const NEVER: Millis = Millis(u64::MAX);

/// A message's place in a queue, without the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// Its place.
    pub sequence: Sequence,
    /// Where its record stands; [`Position::NONE`] while it is in memory only.
    pub position: Position,
    /// When it expires; [`NEVER`] if it does not.
    pub expires_at: Millis,
    /// The body's length.
    pub body_bytes: u32,
    /// The record's length in the journal; 0 without one.
    pub record_bytes: u32,
    /// How often it was delivered and came back; counted up to 65,535.
    pub returns: u16,
    /// How often of these its consumer had failed, which counts towards a delivery limit.
    pub failures: u16,
    /// The priority property.
    pub priority: u8,
    /// Whether it was ever delivered.
    pub is_delivered: bool,
    /// Whether a restart brings it back: its leaving is written down.
    pub is_durable: bool,
}

/// Names a page's image within its queue; given out once, upwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageId(pub u64);

/// What a queue says to a new record of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relocated {
    /// The message stands there now.
    Moved,
    /// The message was settled meanwhile.
    Settled,
    /// The message keeps the record that it has: its page left memory meanwhile, or the queue is being deleted. The new
    /// record is not needed, and nothing may be written down about the message.
    Refused,
}

/// What stays in memory of a page whose entries are in its image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageSummary {
    /// Names the image.
    pub image: ImageId,
    /// The priority level that the page belongs to.
    pub level: u8,
    /// The first sequence.
    pub first: Sequence,
    /// The last sequence.
    pub last: Sequence,
    /// How many entries there are, and how many of them are durable.
    pub counts: Counts,
    /// When the first of them expires.
    pub next_deadline: Millis,
    /// The durable sequences.
    pub live: Ranges,
    /// The lowest and the highest position of a record.
    pub positions: (Position, Position),
}

/// Messages and the bytes of their bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Counts {
    pub all: u32,
    pub all_bytes: u64,
    pub durable: u32,
    pub durable_bytes: u64,
}

impl PageSummary {
    /// Of entries in the order of their sequences, all of which have a record.
    pub fn of(image: ImageId, level: u8, entries: &[IndexEntry]) -> Self {
        let mut counts = Counts::default();
        let mut positions = (Position(u64::MAX), Position::NONE);
        let mut next_deadline = NEVER;
        for entry in entries {
            counts.all += 1;
            counts.all_bytes += u64::from(entry.body_bytes);
            if entry.is_durable {
                counts.durable += 1;
                counts.durable_bytes += u64::from(entry.body_bytes);
            }
            positions = (positions.0.min(entry.position), positions.1.max(entry.position));
            next_deadline = next_deadline.min(entry.expires_at);
        }
        let sequence = |entry: Option<&IndexEntry>| entry.map_or(Sequence(0), |entry| entry.sequence);
        Self {
            image,
            level,
            first: sequence(entries.first()),
            last: sequence(entries.last()),
            counts,
            next_deadline,
            live: entries.iter().filter(|entry| entry.is_durable).map(|entry| entry.sequence).collect(),
            positions,
        }
    }

    /// Whether an entry of its image is in it: the transient ones of an earlier run are not, and the summary that was
    /// kept for the next run does not count them.
    pub fn holds(&self, entry: &IndexEntry) -> bool {
        entry.is_durable || self.counts.all > self.counts.durable
    }

    /// Whether the sequence lies between the page's first and last.
    pub fn spans(&self, sequence: Sequence) -> bool {
        self.first <= sequence && sequence <= self.last
    }
}

/// A message that does not wait in its place, and what a restart is to know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aside {
    /// It left the queue for this reason (a number of the queue's), and is on its way to the dead-letter exchange.
    Dead(u8),
    /// It waits for this time before it is ready.
    HeldUntil(Millis),
}

/// What a checkpoint keeps of a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueImage {
    /// Every sequence below was given out.
    pub next_sequence: Sequence,
    /// Every image below was given out.
    pub next_image: ImageId,
    /// Messages below may be delivered without another word in the journal; 0 = none.
    pub deliverable_below: Sequence,
    /// Given out to messages that are still on their way, in order.
    pub reserved: Vec<Sequence>,
    /// The pages whose entries are in their images.
    pub pages: Vec<PageSummary>,
    /// All other durable entries, ready and unacked, in no order.
    pub entries: Vec<IndexEntry>,
    /// The unacked among them: they come back when nobody is left to settle them.
    pub unacked: Ranges,
    /// What the queue's own records before say of deliveries and returns is in it, and not to be counted again; a
    /// checkpoint's position is older. [`Position::NONE`] in images of versions that did not say.
    pub covers: Position,
    /// Those of the entries that do not wait in their places, in the order in which they left them.
    pub aside: Vec<(Sequence, Aside)>,
    /// What was published lately, so that it is not taken twice: each key with the time until which it counts, the oldest
    /// first.
    pub window: Vec<(Key, Millis)>,
}

impl QueueImage {
    /// Everything that is durable or will be: what the journal's records are measured against if the index is lost.
    pub fn live(&self) -> Ranges {
        let pages = self.pages.iter().flat_map(|page| page.live.iter());
        let entries = self.entries.iter().map(|entry| (entry.sequence, entry.sequence));
        let reserved = self.reserved.iter().map(|&sequence| (sequence, sequence));
        Ranges::of(pages.chain(entries).chain(reserved))
    }

    /// As bytes, to be kept under the queue's id.
    pub fn encode(&self, queue: QueueId) -> Vec<u8> {
        let mut out = vec![0; CHECKSUM_BYTES];
        let numbers =
            [self.next_sequence.0, self.next_image.0, self.deliverable_below.0, self.reserved.len() as u64];
        for number in numbers {
            write_varint(&mut out, number);
        }
        for sequence in &self.reserved {
            write_varint(&mut out, sequence.0);
        }
        let mut unacked = Vec::new();
        self.unacked.write(&mut unacked);
        write_varint(&mut out, unacked.len() as u64);
        out.extend_from_slice(&unacked);
        write_varint(&mut out, self.pages.len() as u64);
        self.pages.iter().for_each(|page| write_summary(&mut out, page));
        let mut entries = self.entries.clone();
        entries.sort_unstable_by_key(|entry| entry.sequence);
        write_entries(&mut out, &entries);
        write_varint(&mut out, self.covers.0);
        if !self.aside.is_empty() || !self.window.is_empty() {
            write_varint(&mut out, self.aside.len() as u64);
            self.aside.iter().for_each(|(sequence, aside)| write_aside(&mut out, *sequence, *aside));
            write_varint(&mut out, self.window.len() as u64);
            for (key, until) in &self.window {
                out.extend_from_slice(&key.0.to_le_bytes());
                write_varint(&mut out, until.0);
            }
        }
        seal(&mut out, &[queue.0]);
        out
    }

    /// What [`QueueImage::encode`] made; `None` if it is not that.
    pub fn decode(queue: QueueId, bytes: &[u8]) -> Option<Self> {
        let mut bytes = open(bytes, &[queue.0])?;
        let bytes = &mut bytes;
        let (next_sequence, next_image) = (Sequence(read_varint(bytes)?), ImageId(read_varint(bytes)?));
        let deliverable_below = Sequence(read_varint(bytes)?);
        let mut image = Self { next_sequence, next_image, deliverable_below, ..Self::default() };
        for _ in 0..read_varint(bytes)? {
            image.reserved.push(Sequence(read_varint(bytes)?));
        }
        image.unacked = read_set(bytes)?;
        for _ in 0..read_varint(bytes)? {
            image.pages.push(read_summary(bytes)?);
        }
        image.entries = read_entries(bytes)?;
        if !bytes.is_empty() {
            image.covers = Position(read_varint(bytes)?);
        }
        if !bytes.is_empty() {
            for _ in 0..read_varint(bytes)? {
                image.aside.push(read_aside(bytes)?);
            }
            for _ in 0..read_varint(bytes)? {
                let (key, rest) = bytes.split_first_chunk()?;
                *bytes = rest;
                image.window.push((Key(u128::from_le_bytes(*key)), Millis(read_varint(bytes)?)));
            }
        }
        bytes.is_empty().then_some(image)
    }
}

/// A page's entries, in the order of their sequences, as its image.
pub fn encode_page(queue: QueueId, image: ImageId, entries: &[IndexEntry]) -> Vec<u8> {
    let mut out = Vec::with_capacity(CHECKSUM_BYTES + 8 + entries.len() * 8);
    out.extend_from_slice(&[0; CHECKSUM_BYTES]);
    write_entries(&mut out, entries);
    seal(&mut out, &[queue.0, image.0]);
    out
}

/// What [`encode_page`] made; `None` if it is not that.
pub fn decode_page(queue: QueueId, image: ImageId, bytes: &[u8]) -> Option<Vec<IndexEntry>> {
    let mut bytes = open(bytes, &[queue.0, image.0])?;
    let entries = read_entries(&mut bytes)?;
    bytes.is_empty().then_some(entries)
}

const CHECKSUM_BYTES: usize = 4;

fn checksum(names: &[u64], rest: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hasher = crc32fast::Hasher::new();
    names.iter().for_each(|name| hasher.update(&name.to_le_bytes()));
    hasher.update(rest);
    hasher.finalize().to_le_bytes()
}

fn seal(bytes: &mut [u8], names: &[u64]) {
    let sum = checksum(names, &bytes[CHECKSUM_BYTES..]);
    bytes[..CHECKSUM_BYTES].copy_from_slice(&sum);
}

fn open<'a>(bytes: &'a [u8], names: &[u64]) -> Option<&'a [u8]> {
    let (sum, rest) = bytes.split_first_chunk::<CHECKSUM_BYTES>()?;
    (*sum == checksum(names, rest)).then_some(rest)
}

/// Bits of an entry's flags.
mod flag {
    pub(super) const DELIVERED: u8 = 1;
    pub(super) const TRANSIENT: u8 = 2;
    pub(super) const EXPIRES: u8 = 4;
    pub(super) const PRIORITY: u8 = 8;
    pub(super) const RETURNS: u8 = 16;
    pub(super) const FAILURES: u8 = 32;
}

fn zigzag(value: i64) -> u64 {
    (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

fn write_entries(out: &mut Vec<u8>, entries: &[IndexEntry]) {
    write_varint(out, entries.len() as u64);
    let (mut sequence, mut end) = (0u64, 0u64);
    for entry in entries {
        write_varint(out, entry.sequence.0.wrapping_sub(sequence));
        write_varint(out, zigzag(entry.position.0.wrapping_sub(end).cast_signed()));
        let bit = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        let flags = bit(entry.is_delivered, flag::DELIVERED)
            | bit(!entry.is_durable, flag::TRANSIENT)
            | bit(entry.expires_at != NEVER, flag::EXPIRES)
            | bit(entry.priority != 0, flag::PRIORITY)
            | bit(entry.returns != 0, flag::RETURNS)
            | bit(entry.failures != 0, flag::FAILURES);
        out.push(flags);
        write_varint(out, entry.body_bytes.into());
        write_varint(out, entry.record_bytes.saturating_sub(entry.body_bytes).into());
        if entry.expires_at != NEVER {
            write_varint(out, entry.expires_at.0);
        }
        if entry.priority != 0 {
            out.push(entry.priority);
        }
        if entry.returns != 0 {
            write_varint(out, entry.returns.into());
        }
        if entry.failures != 0 {
            write_varint(out, entry.failures.into());
        }
        sequence = entry.sequence.0.wrapping_add(1);
        end = entry.position.0.wrapping_add(entry.record_bytes.into());
    }
}

fn read_entries(bytes: &mut &[u8]) -> Option<Vec<IndexEntry>> {
    let count = usize::try_from(read_varint(bytes)?).ok()?;
    // Each entry has five bytes at least: a damaged count must not reserve the world.
    let mut entries = Vec::with_capacity(count.min(bytes.len() / 5 + 1));
    let (mut sequence, mut end) = (0u64, 0u64);
    for _ in 0..count {
        sequence = sequence.wrapping_add(read_varint(bytes)?);
        let position = end.wrapping_add(unzigzag(read_varint(bytes)?).cast_unsigned());
        let flags = read_byte(bytes)?;
        let body_bytes = u32::try_from(read_varint(bytes)?).ok()?;
        let record_bytes = u32::try_from(read_varint(bytes)?).ok()?.checked_add(body_bytes)?;
        let has = |bit: u8| flags & bit != 0;
        let expires_at = if has(flag::EXPIRES) { Millis(read_varint(bytes)?) } else { NEVER };
        let priority = if has(flag::PRIORITY) { read_byte(bytes)? } else { 0 };
        let returns = if has(flag::RETURNS) { saturated(read_varint(bytes)?) } else { 0 };
        let failures = if has(flag::FAILURES) { saturated(read_varint(bytes)?) } else { 0 };
        entries.push(IndexEntry {
            sequence: Sequence(sequence),
            position: Position(position),
            expires_at,
            body_bytes,
            record_bytes,
            returns,
            failures,
            priority,
            is_delivered: has(flag::DELIVERED),
            is_durable: !has(flag::TRANSIENT),
        });
        sequence = sequence.wrapping_add(1);
        end = position.wrapping_add(record_bytes.into());
    }
    Some(entries)
}

/// Earlier versions counted further.
fn saturated(count: u64) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

/// A set behind its length.
fn read_set(bytes: &mut &[u8]) -> Option<Ranges> {
    let length = usize::try_from(read_varint(bytes)?).ok()?;
    let (set, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Ranges::read(set)
}

fn read_byte(bytes: &mut &[u8]) -> Option<u8> {
    let (&byte, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(byte)
}

/// A time is at least 256, so that it is told from a reason.
fn write_aside(out: &mut Vec<u8>, sequence: Sequence, aside: Aside) {
    write_varint(out, sequence.0);
    match aside {
        Aside::Dead(reason) => write_varint(out, reason.into()),
        Aside::HeldUntil(time) => write_varint(out, time.0.max(256)),
    }
}

fn read_aside(bytes: &mut &[u8]) -> Option<(Sequence, Aside)> {
    let sequence = Sequence(read_varint(bytes)?);
    let number = read_varint(bytes)?;
    let aside = u8::try_from(number).map_or(Aside::HeldUntil(Millis(number)), Aside::Dead);
    Some((sequence, aside))
}

/// Only the durable part: after a restart the others are gone.
fn write_summary(out: &mut Vec<u8>, page: &PageSummary) {
    out.push(page.level);
    let deadline = if page.next_deadline == NEVER { 0 } else { page.next_deadline.0 };
    let numbers = [
        page.image.0,
        page.first.0,
        page.last.0 - page.first.0,
        page.counts.durable.into(),
        page.counts.durable_bytes,
        deadline,
        page.positions.0.0,
        page.positions.1.0.wrapping_sub(page.positions.0.0),
    ];
    numbers.iter().for_each(|number| write_varint(out, *number));
    let mut live = Vec::new();
    page.live.write(&mut live);
    write_varint(out, live.len() as u64);
    out.extend_from_slice(&live);
}

fn read_summary(bytes: &mut &[u8]) -> Option<PageSummary> {
    let level = read_byte(bytes)?;
    let image = ImageId(read_varint(bytes)?);
    let first = read_varint(bytes)?;
    let last = first.checked_add(read_varint(bytes)?)?;
    let durable = u32::try_from(read_varint(bytes)?).ok()?;
    let durable_bytes = read_varint(bytes)?;
    let deadline = read_varint(bytes)?;
    let lowest = read_varint(bytes)?;
    let highest = lowest.wrapping_add(read_varint(bytes)?);
    let live = read_set(bytes)?;
    Some(PageSummary {
        image,
        level,
        first: Sequence(first),
        last: Sequence(last),
        counts: Counts { all: durable, all_bytes: durable_bytes, durable, durable_bytes },
        next_deadline: if deadline == 0 { NEVER } else { Millis(deadline) },
        live,
        positions: (Position(lowest), Position(highest)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    prop_compose! {
        fn entry()(sequence in 0u64..1 << 40, position in 1u64..1 << 50, expires in 0u64..3, sizes in (0u32..1 << 20, 0u32..400),
                   returns in 0u16..3, failures in 0u16..3, priority in 0u8..4, flags in any::<(bool, bool)>()) -> IndexEntry {
            IndexEntry {
                sequence: Sequence(sequence),
                position: Position(position),
                expires_at: if expires == 0 { NEVER } else { Millis(expires << 40) },
                body_bytes: sizes.0,
                record_bytes: sizes.0 + sizes.1,
                returns,
                failures,
                priority,
                is_delivered: flags.0,
                is_durable: flags.1,
            }
        }
    }

    fn entries() -> impl Strategy<Value = Vec<IndexEntry>> {
        prop::collection::btree_map(0u64..1 << 40, entry(), 1..40).prop_map(|entries| {
            let named = |(sequence, entry)| IndexEntry { sequence: Sequence(sequence), ..entry };
            entries.into_iter().map(named).collect()
        })
    }

    proptest! {
        #[test]
        fn a_page_comes_back_from_its_image_and_from_no_other(entries in entries()) {
            let bytes = encode_page(QueueId(3), ImageId(7), &entries);
            prop_assert_eq!(decode_page(QueueId(3), ImageId(7), &bytes), Some(entries));
            prop_assert_eq!(decode_page(QueueId(3), ImageId(8), &bytes), None);
        }

        #[test]
        fn a_queue_comes_back_from_its_image(paged in entries(), entries in entries(), reserved in any::<Option<u64>>()) {
            let page = PageSummary::of(ImageId(4), 2, &paged);
            let durable = Counts { all: page.counts.durable, all_bytes: page.counts.durable_bytes, ..page.counts };
            let page = PageSummary { counts: durable, ..page };
            let image = QueueImage {
                next_sequence: Sequence(1 << 41),
                next_image: ImageId(5),
                deliverable_below: Sequence(77),
                reserved: reserved.map(Sequence).into_iter().collect(),
                pages: vec![page],
                unacked: entries.iter().take(3).map(|entry| entry.sequence).collect(),
                entries,
                covers: Position(1 << 50),
                aside: reserved.map(|n| (Sequence(n), [Aside::Dead(3), Aside::HeldUntil(Millis(1 << 40))][(n % 2) as usize])).into_iter().collect(),
                window: reserved.map(|n| (Key(u128::from(n) << 64 | 5), Millis(n))).into_iter().collect(),
            };
            let bytes = image.encode(QueueId(9));
            prop_assert_eq!(QueueImage::decode(QueueId(9), &bytes), Some(image));
        }

        #[test]
        fn damaged_images_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut sealed = [&[0; CHECKSUM_BYTES][..], &bytes].concat();
            seal(&mut sealed, &[1]);
            QueueImage::decode(QueueId(1), &sealed);
            seal(&mut sealed, &[1, 1]);
            decode_page(QueueId(1), ImageId(1), &sealed);
            prop_assert_eq!(decode_page(QueueId(1), ImageId(1), &bytes).filter(|entries| !entries.is_empty()), None);
        }
    }

    #[test]
    fn a_page_of_an_earlier_run_holds_no_transient_messages() {
        let entry = |sequence, is_durable| IndexEntry {
            sequence: Sequence(sequence),
            position: Position(99 + sequence),
            expires_at: NEVER,
            body_bytes: 1,
            record_bytes: 30,
            returns: 0,
            failures: 0,
            priority: 0,
            is_delivered: false,
            is_durable,
        };
        let entries = [entry(1, true), entry(2, false)];
        let page = PageSummary::of(ImageId(1), 0, &entries);
        assert!(entries.iter().all(|entry| page.holds(entry)));
        let image = QueueImage { pages: vec![page], ..QueueImage::default() };
        let image = QueueImage::decode(QueueId(1), &image.encode(QueueId(1))).unwrap();
        assert_eq!(entries.map(|entry| image.pages[0].holds(&entry)), [true, false]);
    }

    #[test]
    fn a_backlog_costs_a_few_bytes_a_message() {
        let entry = |n: u64| IndexEntry {
            sequence: Sequence(n),
            position: Position(32 + n * 1060),
            expires_at: NEVER,
            body_bytes: 1024,
            record_bytes: 1060,
            returns: 0,
            failures: 0,
            priority: 0,
            is_delivered: false,
            is_durable: true,
        };
        let entries: Vec<_> = (0..1024).map(entry).collect();
        assert!(encode_page(QueueId(1), ImageId(1), &entries).len() < 1024 * 7);
        let page = PageSummary::of(ImageId(1), 0, &entries);
        assert_eq!((page.live.count(), page.live.iter().count()), (1024, 1));
    }
}
