//! What is alive after a start: what the last checkpoint knew of each queue, and the journal's records since applied to
//! it.
//!
//! Two ways, the same rules. With the index, a queue's image is the start, and only records behind the checkpoint are
//! applied; a page is read when a record names a message in it. Without (a store of the first Warren, or a sled that was
//! lost), the journal is read from its beginning, and the live sets of the checkpoint say which of the older messages are
//! alive.

use super::Error;
use super::catalog::{Known, Live};
use super::images;
use super::index::{Aside, ImageId, IndexEntry, NEVER, PageSummary, QueueImage};
use super::metadata::Metadata;
use super::record::{Bad, Progressed, Publish, Range};
use super::{Published, Ranges, RecoveredQueue};
use crate::dedup::{Key, Seen};
use crate::message::Properties;
use crate::name::{Position, QueueId, Sequence};
use crate::time::Millis;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What was alive at the checkpoint, below the first sequence that it does not know.
#[derive(Debug)]
enum Older {
    /// In the entries and pages already; these were on their way.
    Indexed { reserved: BTreeSet<Sequence> },
    /// These, if the journal has them.
    Live(Ranges),
}

/// What becomes of messages for which pages are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Stays,
    Settled,
}

#[derive(Debug)]
struct Queue {
    known_below: Sequence,
    older: Older,
    next_sequence: Sequence,
    next_image: ImageId,
    entries: BTreeMap<Sequence, IndexEntry>,
    /// When those were published that the checkpoint does not have.
    published: HashMap<Sequence, Published>,
    pages: Vec<PageSummary>,
    /// Delivered, and neither settled nor returned.
    unacked: BTreeSet<Sequence>,
    /// Any below may have been delivered although nothing says so.
    deliverable_below: Sequence,
    /// What records before say of deliveries and returns is in the image.
    covers: Position,
    /// Those that did not wait in their places at the checkpoint.
    aside: Vec<(Sequence, Aside)>,
    window: Vec<(Key, Millis)>,
    /// What was published since, as its window sees it.
    seen: Vec<Seen>,
    is_changed: bool,
    /// Messages of the checkpoint may have been delivered, and nothing says of which.
    is_index_lost: bool,
}

impl Default for Queue {
    fn default() -> Self {
        Self::of_image(QueueImage::default(), true)
    }
}

impl Queue {
    fn of_image(image: QueueImage, is_changed: bool) -> Self {
        let entries = image.entries.into_iter().map(|entry| (entry.sequence, entry)).collect();
        let unacked = image.unacked.iter().flat_map(|(first, last)| (first.0..=last.0).map(Sequence));
        Self {
            known_below: image.next_sequence,
            older: Older::Indexed { reserved: image.reserved.into_iter().collect() },
            next_sequence: image.next_sequence,
            next_image: image.next_image,
            entries,
            published: HashMap::new(),
            pages: image.pages,
            unacked: unacked.collect(),
            deliverable_below: image.deliverable_below,
            covers: image.covers,
            aside: image.aside,
            window: image.window,
            seen: Vec::new(),
            is_changed,
            is_index_lost: false,
        }
    }

    fn of_live(live: Live, is_index_lost: bool) -> Self {
        Self {
            is_index_lost,
            known_below: live.next_sequence,
            older: Older::Live(live.live),
            next_sequence: live.next_sequence,
            ..Self::default()
        }
    }

    fn is_new(&self, sequence: Sequence) -> bool {
        sequence >= self.known_below
            || match &self.older {
                Older::Indexed { reserved } => reserved.contains(&sequence),
                Older::Live(live) => live.contains(sequence),
            }
    }

    /// Sees that no page holds a message of the range, by reading those that may; those that are settled as a whole go.
    fn open_pages(
        &mut self,
        queue: QueueId,
        (first, last): Range,
        fate: Fate,
        metadata: &dyn Metadata,
    ) -> Result<(), Error> {
        let touches = |page: &PageSummary| page.first <= last && first <= page.last;
        if !self.pages.iter().any(touches) {
            return Ok(());
        }
        for page in self.pages.extract_if(.., |page| touches(page)).collect::<Vec<_>>() {
            self.is_changed = true;
            if fate == Fate::Settled && first <= page.first && page.last <= last {
                continue;
            }
            let entries = images::read(metadata, queue, page.image)?;
            let durable = entries.into_iter().filter(|entry| entry.is_durable);
            self.entries.extend(durable.map(|entry| (entry.sequence, entry)));
        }
        Ok(())
    }

    fn publish(&mut self, publish: &Publish<'_>, sequence: Sequence) -> Result<(), Bad> {
        self.next_sequence = self.next_sequence.max(Sequence(sequence.0 + 1));
        let place = (publish.position, publish.record_bytes);
        if let Some(entry) = self.entries.get_mut(&sequence) {
            // Moved since; or the checkpoint has it already.
            if publish.origin.is_moved {
                (entry.position, entry.record_bytes) = place;
                self.is_changed = true;
            }
            return Ok(());
        }
        // Without an index a moved record may be the only one that is left.
        let is_lost = publish.origin.is_moved && matches!(self.older, Older::Indexed { .. });
        if is_lost || !self.is_new(sequence) {
            return Ok(());
        }
        let mut entry = entry(publish, sequence)?;
        entry.is_delivered |= self.is_index_lost && sequence < self.known_below;
        self.entries.insert(sequence, entry);
        let flags = publish.properties.first_chunk().map_or(0, |flags| u16::from_be_bytes(*flags));
        let has_priority = flags & crate::message::flag::PRIORITY != 0;
        self.published.insert(sequence, Published { at: publish.received_at, has_priority });
        if publish.origin.is_delivered {
            self.unacked.insert(sequence);
        }
        self.is_changed = true;
        Ok(())
    }

    fn progress(&mut self, progress: &Progressed, is_covered: bool) {
        self.is_changed = true;
        self.deliverable_below = self.deliverable_below.max(progress.deliverable_below);
        for &(first, last) in &progress.settled {
            self.next_sequence = self.next_sequence.max(Sequence(last.0 + 1));
            while let Some((&sequence, _)) = self.entries.range(first..=last).next() {
                self.entries.remove(&sequence);
                self.unacked.remove(&sequence);
            }
            if let Older::Indexed { reserved } = &mut self.older {
                reserved.retain(|sequence| *sequence < first || last < *sequence);
            }
        }
        if is_covered {
            return;
        }
        for &(first, last) in &progress.delivered {
            for (&sequence, entry) in self.entries.range_mut(first..=last) {
                entry.is_delivered = true;
                self.unacked.insert(sequence);
            }
        }
        for &(first, last) in &progress.returned {
            for (sequence, entry) in self.entries.range_mut(first..=last) {
                entry.is_delivered = true;
                entry.returns = entry.returns.saturating_add(1);
                self.unacked.remove(sequence);
            }
        }
        for &(first, last) in &progress.failed {
            for (_, entry) in self.entries.range_mut(first..=last) {
                entry.failures = entry.failures.saturating_add(1);
            }
        }
    }

    /// Drops what the checkpoint knew and the journal does not have any more. Returns how many messages that were, and
    /// where the last of their records would end.
    fn drop_missing(
        &mut self,
        queue: QueueId,
        is_there: &dyn Fn(Position) -> bool,
        metadata: &dyn Metadata,
    ) -> Result<Missing, Error> {
        let is_missing = |page: &&PageSummary| !is_there(page.positions.0) || !is_there(page.positions.1);
        let ranges: Vec<Range> =
            self.pages.iter().filter(is_missing).map(|page| (page.first, page.last)).collect();
        for range in ranges {
            self.open_pages(queue, range, Fate::Stays, metadata)?;
        }
        let mut missing = Missing::default();
        self.entries.retain(|_, entry| {
            let is_kept = is_there(entry.position);
            if !is_kept {
                let end = entry.position.0 + u64::from(entry.record_bytes);
                missing = Missing { count: missing.count + 1, end: missing.end.max(end) };
            }
            is_kept
        });
        self.is_changed |= missing.count > 0;
        Ok(missing)
    }

    /// A delivery is written down when it is made, but not synced: what a crash may have swallowed counts as delivered.
    fn note_deliverable(&mut self, queue: QueueId, metadata: &dyn Metadata) -> Result<(), Error> {
        let Some(last) = self.deliverable_below.0.checked_sub(1).map(Sequence) else { return Ok(()) };
        self.open_pages(queue, (Sequence(0), last), Fate::Stays, metadata)?;
        for (_, entry) in self.entries.range_mut(..=last).filter(|(_, entry)| !entry.is_delivered) {
            entry.is_delivered = true;
            self.is_changed = true;
        }
        Ok(())
    }

    /// What was with somebody comes back.
    fn finish(mut self) -> RecoveredQueue {
        for sequence in &self.unacked {
            if let Some(entry) = self.entries.get_mut(sequence) {
                entry.is_delivered = true;
                entry.returns = entry.returns.saturating_add(1);
                self.is_changed = true;
            }
        }
        // One that went on since (it was settled, or taken back) is no longer aside.
        let is_there = |sequence: &Sequence| self.entries.contains_key(sequence);
        self.aside.retain(|(sequence, _)| is_there(sequence) && !self.unacked.contains(sequence));
        let (mut entries, mut replayed) = (Vec::new(), Vec::new());
        for entry in self.entries.into_values() {
            match self.published.get(&entry.sequence) {
                Some(published) => replayed.push((entry, *published)),
                None => entries.push(entry),
            }
        }
        let image = QueueImage {
            next_sequence: self.next_sequence,
            next_image: self.next_image,
            pages: self.pages,
            entries,
            aside: self.aside,
            window: self.window,
            ..QueueImage::default()
        };
        RecoveredQueue { image, replayed, seen: self.seen, is_stored: !self.is_changed }
    }
}

/// The index entry of a message in a queue, as its record says it.
pub(super) fn entry(publish: &Publish<'_>, sequence: Sequence) -> Result<IndexEntry, Bad> {
    let properties = Properties::parse(publish.properties).map_err(|_| Bad::Payload)?;
    let ttl_ms = properties.expiration.and_then(|text| std::str::from_utf8(text).ok()?.parse::<u64>().ok());
    let expires_at = ttl_ms.map_or(NEVER, |ttl_ms| Millis(publish.received_at.0.saturating_add(ttl_ms)));
    Ok(IndexEntry {
        sequence,
        position: publish.position,
        expires_at,
        body_bytes: u32::try_from(publish.body.len()).unwrap_or(u32::MAX),
        record_bytes: publish.record_bytes,
        returns: 0,
        failures: 0,
        priority: properties.priority.unwrap_or(0),
        is_delivered: publish.origin.is_delivered,
        is_durable: true,
    })
}

/// Messages that the checkpoint knew and the journal does not have any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Missing {
    pub(super) count: usize,
    /// Where the last of their records would end.
    pub(super) end: u64,
}

/// A queue as the checkpoint has it, until a record names it: most are not named, and there may be very many.
#[derive(Debug)]
enum Slot {
    Stored(QueueImage),
    Open(Box<Queue>),
}

impl Default for Slot {
    fn default() -> Self {
        Self::Open(Box::default())
    }
}

impl Slot {
    fn open(&mut self) -> &mut Queue {
        if let Slot::Stored(image) = self {
            *self = Slot::Open(Box::new(Queue::of_image(std::mem::take(image), false)));
        }
        match self {
            Slot::Open(queue) => queue,
            Slot::Stored(_) => unreachable!("it was just opened"),
        }
    }

    /// Whether nothing is to be done with it: it comes back as it was stored.
    fn is_unchanged(&self, is_there: &dyn Fn(Position) -> bool) -> bool {
        let Slot::Stored(image) = self else { return false };
        image.unacked.is_empty()
            && image.reserved.is_empty()
            && image.deliverable_below == Sequence(0)
            && image.entries.iter().all(|entry| is_there(entry.position))
            && image.pages.iter().all(|page| is_there(page.positions.0) && is_there(page.positions.1))
    }
}

/// The queues while the journal is replayed.
#[derive(Debug, Default)]
pub(super) struct Alive {
    queues: HashMap<QueueId, Slot>,
    /// Above every queue's id that was seen.
    next_queue_id: u64,
}

impl Alive {
    pub(super) fn new(known: Known) -> Self {
        let queues = match known {
            Known::Index(images) => images.into_iter().map(|(id, image)| (id, Slot::Stored(image))).collect(),
            Known::LiveSets(live) => Self::of_live(live, false),
            Known::IndexLost(live) => Self::of_live(live, true),
        };
        Self { queues, next_queue_id: 0 }
    }

    fn of_live(live: HashMap<QueueId, Live>, is_index_lost: bool) -> HashMap<QueueId, Slot> {
        let open = |live| Slot::Open(Box::new(Queue::of_live(live, is_index_lost)));
        live.into_iter().map(|(id, live)| (id, open(live))).collect()
    }

    /// A message reached queues, or moved in the journal.
    ///
    /// # Errors
    /// [`Error::Damaged`] and the store's own when a page cannot be read; inside, [`Bad::Payload`] for a message that
    /// cannot be understood.
    pub(super) fn publish(
        &mut self,
        publish: &Publish<'_>,
        metadata: &dyn Metadata,
    ) -> Result<Result<(), Bad>, Error> {
        if publish.origin.is_transient {
            return Ok(Ok(()));
        }
        for &(id, sequence) in &publish.targets {
            let queue = self.queue(id);
            if publish.origin.is_moved {
                queue.open_pages(id, (sequence, sequence), Fate::Stays, metadata)?;
            }
            if let Err(bad) = queue.publish(publish, sequence) {
                return Ok(Err(bad));
            }
        }
        Ok(Ok(()))
    }

    /// Windows of duplicates have seen a message.
    pub(super) fn seen(&mut self, seen: impl IntoIterator<Item = (QueueId, Seen)>) {
        for (id, seen) in seen {
            let queue = self.queue(id);
            queue.seen.push(seen);
            queue.is_changed = true;
        }
    }

    /// Something became of a queue's messages, as the record at `position` says.
    ///
    /// # Errors
    /// [`Error::Damaged`] and the store's own when a page cannot be read.
    pub(super) fn progress(
        &mut self,
        progress: &Progressed,
        position: Position,
        metadata: &dyn Metadata,
    ) -> Result<(), Error> {
        let queue = self.queue(progress.queue);
        let is_covered = position < queue.covers;
        for &range in progress.delivered.iter().chain(&progress.returned).filter(|_| !is_covered) {
            queue.open_pages(progress.queue, range, Fate::Stays, metadata)?;
        }
        for &range in &progress.settled {
            queue.open_pages(progress.queue, range, Fate::Settled, metadata)?;
        }
        queue.progress(progress, is_covered);
        Ok(())
    }

    fn queue(&mut self, id: QueueId) -> &mut Queue {
        self.next_queue_id = self.next_queue_id.max(id.0 + 1);
        self.queues.entry(id).or_default().open()
    }

    /// Above every queue's id that was seen.
    pub(super) fn next_queue_id(&self) -> u64 {
        self.next_queue_id
    }

    /// What the queues hold for which `is_defined` holds, as far as the journal has it; and what it does not have.
    ///
    /// # Errors
    /// [`Error::Damaged`] and the store's own when a page cannot be read.
    pub(super) fn finish(
        self,
        is_defined: impl Fn(QueueId) -> bool,
        is_there: &dyn Fn(Position) -> bool,
        metadata: &dyn Metadata,
    ) -> Result<(BTreeMap<QueueId, RecoveredQueue>, Missing), Error> {
        let (mut recovered, mut all) = (BTreeMap::new(), Missing::default());
        for (id, mut slot) in self.queues.into_iter().filter(|(id, _)| is_defined(*id)) {
            if slot.is_unchanged(is_there)
                && let Slot::Stored(image) = slot
            {
                recovered.insert(id, RecoveredQueue { image, is_stored: true, ..RecoveredQueue::default() });
                continue;
            }
            let queue = slot.open();
            queue.note_deliverable(id, metadata)?;
            let missing = queue.drop_missing(id, is_there, metadata)?;
            all = Missing { count: all.count + missing.count, end: all.end.max(missing.end) };
            recovered.insert(id, std::mem::take(queue).finish());
        }
        Ok((recovered, all))
    }
}

impl RecoveredQueue {
    /// How many messages it has.
    pub(super) fn count(&self) -> u64 {
        let paged: u64 = self.image.pages.iter().map(|page| u64::from(page.counts.durable)).sum();
        paged + (self.image.entries.len() + self.replayed.len()) as u64
    }

    /// The entries outside of pages.
    pub(super) fn entries(&self) -> impl Iterator<Item = &IndexEntry> {
        self.image.entries.iter().chain(self.replayed.iter().map(|(entry, _)| entry))
    }

    /// All positions that are referred to outside of pages.
    pub(super) fn records(&self) -> impl Iterator<Item = (Position, u32)> {
        self.entries().map(|entry| (entry.position, entry.record_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::super::metadata::MemoryMetadata;
    use super::*;
    use smallvec::smallvec;

    const QUEUE: QueueId = QueueId(1);

    fn entry(returns: u16) -> IndexEntry {
        IndexEntry {
            sequence: Sequence(5),
            position: Position(100),
            expires_at: NEVER,
            body_bytes: 3,
            record_bytes: 50,
            returns,
            failures: 0,
            priority: 0,
            is_delivered: true,
            is_durable: true,
        }
    }

    /// How often message 5 says it came back, after records at 500 and 900 that say it did.
    fn returns(image: QueueImage) -> u16 {
        let mut alive = Alive::new(Known::Index(HashMap::from([(QUEUE, image)])));
        let metadata = MemoryMetadata::default();
        for position in [500, 900] {
            let progress = Progressed {
                queue: QUEUE,
                settled: smallvec![],
                delivered: smallvec![],
                returned: smallvec![(Sequence(5), Sequence(5))],
                failed: smallvec![],
                deliverable_below: Sequence(0),
            };
            alive.progress(&progress, Position(position), &metadata).unwrap();
        }
        let (queues, _) = alive.finish(|_| true, &|_| true, &metadata).unwrap();
        let queue = &queues[&QUEUE];
        queue
            .image
            .entries
            .iter()
            .chain(queue.replayed.iter().map(|(entry, _)| entry))
            .next()
            .unwrap()
            .returns
    }

    #[test]
    fn a_return_that_an_image_has_is_not_counted_again() {
        let image = |returns, covers| QueueImage {
            next_sequence: Sequence(6),
            entries: vec![entry(returns)],
            covers: Position(covers),
            ..QueueImage::default()
        };
        assert_eq!(returns(image(0, 400)), 2);
        assert_eq!(returns(image(1, 700)), 2);
        assert_eq!(returns(image(2, 1_000)), 2);
    }
}
