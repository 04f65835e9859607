//! The messages of a queue that wait to be delivered: by priority, and by the order of their sequences. PURE.
//!
//! Knows also which of them expire when, wherever in the queue they are, and which have their message in memory. What it
//! wants done with pages (write an image, forget one) it collects in [`Paging`].

use super::Bounds;
use super::pages::{Level, Load, Page, Window};
use super::tally::Tally;
use crate::message::Message;
use crate::name::{Position, Sequence};
use crate::store::index::{ImageId, IndexEntry, PageSummary, QueueImage, Relocated};
use crate::time::Millis;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

pub use crate::store::index::NEVER;

/// A cold page is read so long before the first message in it expires, so that it does when it is due.
const AHEAD_MS: u64 = 1_000;
/// A page that was read for that stays if the next message in it expires within this time.
const STAYS_MS: u64 = 5_000;

/// A message in a queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its place.
    pub index: IndexEntry,
    /// The message; none while it is in the journal only.
    pub message: Option<Arc<Message>>,
}

impl Entry {
    /// What the message takes of memory.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.message.as_ref().map_or(0, |message| message.memory_bytes() as u64)
    }
}

/// A page's entries to be kept as an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewImage {
    /// The image's name.
    pub image: ImageId,
    /// In order.
    pub entries: Vec<IndexEntry>,
}

/// What is to be done with images.
#[derive(Debug, Default)]
pub(super) struct Paging {
    /// To be written.
    pub(super) written: Vec<NewImage>,
    /// Not needed any more, once a checkpoint says so.
    pub(super) forgotten: Vec<ImageId>,
    next_image: u64,
}

impl Paging {
    fn image(&mut self, level: u8, entries: Vec<IndexEntry>) -> Box<PageSummary> {
        let image = ImageId(self.next_image);
        self.next_image += 1;
        let summary = Box::new(PageSummary::of(image, level, &entries));
        self.written.push(NewImage { image, entries });
        summary
    }

    pub(super) fn is_empty(&self) -> bool {
        self.written.is_empty() && self.forgotten.is_empty()
    }
}

/// What left with [`Ready::take`].
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) entries: Vec<Entry>,
    /// The cold pages.
    pub(super) pages: Vec<PageSummary>,
}

/// Entries by priority and sequence, first out first.
#[derive(Debug)]
pub(super) struct Ready {
    bounds: Bounds,
    /// One per priority; a message above the highest counts as the highest.
    levels: Vec<Level>,
    /// The deadlines of resident entries that expire: when, level, place.
    deadlines: BTreeSet<(Millis, u8, Sequence)>,
    /// The first deadlines of cold pages: when, level, first place.
    page_deadlines: BTreeSet<(Millis, u8, Sequence)>,
    len: usize,
    tally: Tally,
    /// How many messages are not in memory.
    missing: usize,
    memory_bytes: u64,
    pub(super) paging: Paging,
}

impl Default for Ready {
    fn default() -> Self {
        Self::new(0, ImageId(0), Bounds::default())
    }
}

impl Ready {
    /// No entries, of priorities 0 to `max_priority`.
    pub(super) fn new(max_priority: u8, next_image: ImageId, bounds: Bounds) -> Self {
        Self {
            bounds,
            levels: (0..=max_priority).map(|_| Level::new(bounds.page_entries.into())).collect(),
            deadlines: BTreeSet::new(),
            page_deadlines: BTreeSet::new(),
            len: 0,
            tally: Tally::default(),
            missing: 0,
            memory_bytes: 0,
            paging: Paging { next_image: next_image.0, ..Paging::default() },
        }
    }

    fn level_of(&self, priority: u8) -> u8 {
        priority.min((self.levels.len() - 1) as u8)
    }

    /// Puts an entry at the place its priority and sequence say.
    pub(super) fn insert(&mut self, entry: Entry) {
        let level = self.level_of(entry.index.priority);
        self.len += 1;
        self.tally.add(&entry.index);
        self.memory_bytes += entry.memory_bytes();
        self.missing += usize::from(entry.message.is_none());
        if entry.index.expires_at != NEVER {
            self.deadlines.insert((entry.index.expires_at, level, entry.index.sequence));
        }
        let entries = &mut self.levels[level as usize];
        let has_grown = entries.insert(entry, &mut self.paging.forgotten);
        if has_grown && entries.pages.len() > 4 {
            let at = entries.pages.len() - 3;
            self.page_out(level, at);
        }
    }

    /// Adds a cold page that recovery found; pages come in order.
    pub(super) fn add_page(&mut self, summary: PageSummary) {
        if summary.counts.all == 0 {
            // All of it was transient. An empty page in front would hide those behind it.
            self.paging.forgotten.push(summary.image);
            return;
        }
        let level = self.level_of(summary.level);
        self.len += summary.counts.all as usize;
        self.missing += summary.counts.all as usize;
        self.tally = self.tally + summary.counts.into();
        if summary.next_deadline != NEVER {
            self.page_deadlines.insert((summary.next_deadline, level, summary.first));
        }
        self.levels[level as usize].pages.push_back(Page {
            first: summary.first,
            last: summary.last,
            image: Some(Box::new(summary)),
            is_cold: true,
            is_recovered: true,
            ..Page::default()
        });
    }

    /// Makes a page cold whose messages are all in the journal only.
    fn page_out(&mut self, level: u8, at: usize) {
        let Self { levels, deadlines, page_deadlines, paging, .. } = self;
        let page = &mut levels[level as usize].pages[at];
        // Messages that were asked for and come too late are asked for again: see the end.
        let is_stored = |entry: &Entry| entry.index.position.is_some();
        if page.is_cold || page.bodies > 0 || page.entries.is_empty() || !page.entries.iter().all(is_stored) {
            return;
        }
        if page.image.is_none() {
            let entries = page.entries.iter().map(|entry| entry.index).collect();
            page.image = Some(paging.image(level, entries));
        }
        let summary = page.image.as_ref().map(|summary| summary.next_deadline);
        if let Some(deadline) = summary.filter(|deadline| *deadline != NEVER) {
            for entry in &page.entries {
                deadlines.remove(&(entry.index.expires_at, level, entry.index.sequence));
            }
            page_deadlines.insert((deadline, level, page.first));
        }
        page.entries = VecDeque::new();
        page.is_cold = true;
        page.is_recovered = false;
        let first = page.first;
        levels[level as usize].rewind(first);
    }

    /// Takes the oldest of the highest priority; none if there is none or its message is not in memory.
    pub(super) fn pop(&mut self) -> Option<Entry> {
        let level = self.levels.iter().rposition(|level| !level.is_empty())?;
        self.levels[level].front()?;
        let entry = self.levels[level].pop(&mut self.paging.forgotten)?;
        self.forget(level as u8, &entry);
        Some(entry)
    }

    /// Takes the oldest of the lowest priority, in memory or not; none if there is none or its page is cold.
    pub(super) fn pop_lowest(&mut self) -> Option<Entry> {
        let level = self.levels.iter().position(|level| !level.is_empty())?;
        let entry = self.levels[level].pop(&mut self.paging.forgotten)?;
        self.forget(level as u8, &entry);
        Some(entry)
    }

    /// The page of the oldest of the lowest priority, if it is cold.
    pub(super) fn lowest_page(&self) -> Option<Load> {
        let level = self.levels.iter().position(|level| !level.is_empty())?;
        let page = self.levels[level].pages.front().filter(|page| page.is_cold)?;
        Some(Load::Page { level: level as u8, page: page.image.clone()? })
    }

    /// The next message, if it could be taken now.
    pub(super) fn front(&self) -> Option<IndexEntry> {
        if self.len == 0 {
            return None;
        }
        self.levels.iter().rev().find(|level| !level.is_empty())?.front()
    }

    /// The next message, if it is in memory.
    pub(super) fn head(&self) -> Option<&Arc<Message>> {
        let level = self.levels.iter().rev().find(|level| !level.is_empty())?;
        let page = level.pages.front().filter(|page| !page.is_cold)?;
        page.entries.front()?.message.as_ref()
    }

    /// The first message of each level that is in memory, the highest level first.
    pub(super) fn fronts(&self) -> impl Iterator<Item = &Arc<Message>> {
        self.levels.iter().rev().filter_map(|level| level.pages.front()?.entries.front()?.message.as_ref())
    }

    /// Whether messages have priorities here.
    pub(super) fn has_priorities(&self) -> bool {
        self.levels.len() > 1
    }

    /// Takes an entry that is due at `now`, the one that was due first.
    pub(super) fn pop_expired(&mut self, now: Millis) -> Option<Entry> {
        let &(deadline, level, sequence) = self.deadlines.first()?;
        if deadline > now {
            return None;
        }
        self.deadlines.pop_first();
        let entry = self.levels[level as usize].remove(sequence, &mut self.paging.forgotten)?;
        self.forget(level, &entry);
        Some(entry)
    }

    fn forget(&mut self, level: u8, entry: &Entry) {
        self.len -= 1;
        self.tally.remove(&entry.index);
        self.memory_bytes -= entry.memory_bytes();
        self.missing -= usize::from(entry.message.is_none());
        if entry.index.expires_at != NEVER {
            self.deadlines.remove(&(entry.index.expires_at, level, entry.index.sequence));
        }
    }

    /// Whether anything expires.
    pub(super) fn is_timed(&self) -> bool {
        !self.deadlines.is_empty() || !self.page_deadlines.is_empty()
    }

    /// When the next entry expires, or a cold page has to be looked at for it.
    pub(super) fn next_deadline(&self) -> Option<Millis> {
        let first = |deadlines: &BTreeSet<(Millis, u8, Sequence)>| deadlines.first().map(|(at, ..)| *at);
        let page = first(&self.page_deadlines).map(|at| Millis(at.0.saturating_sub(AHEAD_MS)));
        first(&self.deadlines).into_iter().chain(page).min()
    }

    /// A cold page in which something is due, or soon will be.
    pub(super) fn due_page(&mut self, now: Millis) -> Option<Load> {
        let &(deadline, level, first) = self.page_deadlines.first()?;
        if deadline.0 > now.0 + AHEAD_MS {
            return None;
        }
        self.page_deadlines.pop_first();
        let levels = &self.levels[level as usize];
        let page = &levels.pages[levels.page_of(first)?];
        let page = page.image.clone().filter(|_| page.is_cold)?;
        Some(Load::Page { level, page })
    }

    /// What is to be loaded for the next deliveries.
    pub(super) fn next_load(&mut self, window: Window) -> Option<Load> {
        if self.missing == 0 {
            return None;
        }
        let load_entries_max = self.bounds.load_entries_max.into();
        let levels = self.levels.iter_mut().enumerate().rev().filter(|(_, level)| !level.is_empty());
        let mut levels = levels.map(|(at, level)| level.next_load(at as u8, window, load_entries_max));
        levels.find_map(|load| load)
    }

    /// A message came from the journal. Its record may have moved meanwhile: a sequence's message is always the same.
    pub(super) fn loaded(&mut self, level: u8, sequence: Sequence, message: Arc<Message>) {
        let Some((page, at)) = self.levels[level as usize].entry_mut(sequence) else { return };
        let entry = &mut page.entries[at];
        if entry.message.is_some() {
            return;
        }
        entry.message = Some(message);
        page.bodies += 1;
        self.missing -= 1;
        self.memory_bytes += page.entries[at].memory_bytes();
    }

    /// A message could not be read where it was said to stand: it moved meanwhile, or it is damaged. A damaged one is
    /// taken out and returned.
    pub(super) fn unreadable(&mut self, level: u8, sequence: Sequence, position: Position) -> Option<Entry> {
        let (page, at) = self.levels[level as usize].entry_mut(sequence)?;
        if page.entries[at].message.is_some() {
            return None;
        }
        if page.entries[at].index.position != position {
            self.levels[level as usize].rewind(sequence);
            return None;
        }
        let entry = self.levels[level as usize].remove(sequence, &mut self.paging.forgotten)?;
        self.forget(level, &entry);
        Some(entry)
    }

    /// Where that page is, if it still is on disk only, in that image.
    pub(super) fn cold_page(&self, level: u8, page: &PageSummary) -> Option<usize> {
        let levels = &self.levels[level as usize];
        let at = levels.page_of(page.first)?;
        let known = &levels.pages[at];
        let is_it = known.is_cold && known.image.as_ref().is_some_and(|known| known.image == page.image);
        is_it.then_some(at)
    }

    /// A cold page's entries are here again; what is left of them if its image was damaged.
    pub(super) fn page_loaded(
        &mut self,
        level: u8,
        loaded: &PageSummary,
        entries: Vec<IndexEntry>,
        is_rebuilt: bool,
    ) {
        let Some(at) = self.cold_page(level, loaded) else { return };
        let first = loaded.first;
        let Self { levels, deadlines, page_deadlines, paging, .. } = self;
        let levels = &mut levels[level as usize];
        let page = &mut levels.pages[at];
        let mut count = page.len();
        page.is_cold = false;
        if let Some(summary) = page.image.as_ref().filter(|summary| summary.next_deadline != NEVER) {
            page_deadlines.remove(&(summary.next_deadline, level, first));
        }
        let mut rest: Tally =
            page.image.as_ref().map_or_else(Tally::default, |summary| summary.counts.into());
        let is_recovered = std::mem::take(&mut page.is_recovered);
        let is_gone = |entry: &IndexEntry| is_recovered && !entry.is_durable;
        let late = std::mem::take(&mut page.entries);
        if is_rebuilt || !late.is_empty() || entries.iter().any(is_gone) {
            page.touch(&mut paging.forgotten);
        }
        let late_count = late.len();
        let kept = entries.into_iter().filter(|entry| !is_gone(entry));
        page.entries = kept.map(|index| Entry { index, message: None }).collect();
        for entry in &page.entries {
            rest.remove_if_there(&entry.index);
            if entry.index.expires_at != NEVER {
                deadlines.insert((entry.index.expires_at, level, entry.index.sequence));
            }
        }
        count = count.saturating_sub(page.entries.len() + late_count);
        for entry in late {
            let at = page.entries.partition_point(|other| other.index.sequence < entry.index.sequence);
            page.entries.insert(at, entry);
        }
        // Only a page whose image disagrees with its summary differs; the summary had no transient ones.
        self.len -= count;
        self.missing -= count;
        self.tally -= rest;
        self.levels[level as usize].drop_if_empty(at);
    }

    /// A page that was loaded because something in it expires, or for somebody else, goes back, unless more expires soon.
    pub(super) fn page_back(&mut self, now: Millis, level: u8, first: Sequence) {
        let Some(at) = self.levels[level as usize].page_of(first) else { return };
        let page = &self.levels[level as usize].pages[at];
        let next = page.entries.iter().map(|entry| entry.index.expires_at).min();
        let stays = next.is_some_and(|next| next.0 <= now.0 + STAYS_MS);
        if !stays && self.levels[level as usize].is_middle(at) {
            self.page_out(level, at);
        }
    }

    /// Drops up to `count` messages from memory, the last to be delivered first, until `bytes` are free. Those that have
    /// no record yet are put into `unstored` instead.
    pub(super) fn evict(
        &mut self,
        mut bytes: u64,
        mut count: usize,
        unstored: &mut Vec<(u8, Sequence, Arc<Message>)>,
    ) {
        for level in 0..self.levels.len() {
            let mut lowest = None;
            for at in (0..self.levels[level].pages.len()).rev() {
                let page = &mut self.levels[level].pages[at];
                let is_any = page.bodies > 0 && bytes > 0 && count > 0;
                let entries = page.entries.iter_mut().rev().filter(|entry| is_any && entry.message.is_some());
                for entry in entries {
                    if bytes == 0 || count == 0 {
                        break;
                    }
                    count -= 1;
                    bytes = bytes.saturating_sub(entry.memory_bytes());
                    if entry.index.position.is_some() {
                        self.memory_bytes -= entry.memory_bytes();
                        entry.message = None;
                        page.bodies -= 1;
                        self.missing += 1;
                        lowest = Some(entry.index.sequence);
                    } else if let Some(message) = &entry.message {
                        unstored.push((level as u8, entry.index.sequence, Arc::clone(message)));
                    }
                }
                if self.levels[level].is_middle(at) {
                    self.page_out(level as u8, at);
                }
            }
            if let Some(lowest) = lowest {
                self.levels[level].rewind(lowest);
            }
        }
    }

    /// A message without a record got one, and leaves memory.
    pub(super) fn stored(&mut self, level: u8, sequence: Sequence, position: Position, record_bytes: u32) {
        let Some((page, at)) = self.levels[level as usize].entry_mut(sequence) else { return };
        page.touch(&mut self.paging.forgotten);
        let entry = &mut page.entries[at];
        (entry.index.position, entry.index.record_bytes) = (position, record_bytes);
        if entry.message.is_some() {
            self.memory_bytes -= entry.memory_bytes();
            entry.message = None;
            page.bodies -= 1;
            self.missing += 1;
            self.levels[level as usize].rewind(sequence);
        }
    }

    /// A record moved.
    pub(super) fn relocate(&mut self, sequence: Sequence, from: Position, to: (Position, u32)) -> Relocated {
        // Of a message in a cold page nobody can say whether it is there, but for the durable ones.
        let may_be_cold = self.levels.iter().any(|level| level.may_be_cold(sequence));
        let Self { levels, paging, .. } = self;
        let mut found = levels.iter_mut().filter_map(|level| level.entry_mut(sequence));
        let Some((page, at)) = found.next() else {
            return if may_be_cold { Relocated::Refused } else { Relocated::Settled };
        };
        if page.entries[at].index.position != from {
            return Relocated::Refused;
        }
        if !page.is_cold {
            page.touch(&mut paging.forgotten);
        }
        let index = &mut page.entries[at].index;
        (index.position, index.record_bytes) = to;
        Relocated::Moved
    }

    /// Gives back memory that is held for what may come.
    pub(super) fn shrink(&mut self) {
        for level in &mut self.levels {
            level.pages.iter_mut().for_each(|page| page.entries.shrink_to_fit());
            level.pages.shrink_to_fit();
        }
    }

    /// The cold pages that may have records between two positions.
    pub(super) fn cold_pages(&self, from: Position, to: Position) -> Vec<Load> {
        let pages = self.levels.iter().enumerate().flat_map(|(level, pages)| {
            let cold = pages.pages.iter().filter(|page| page.is_cold);
            cold.filter_map(move |page| Some((level as u8, page.image.as_ref()?)))
        });
        let pages = pages.filter(|(_, page)| page.positions.0 < to && from <= page.positions.1);
        pages.map(|(level, page)| Load::Page { level, page: page.clone() }).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn body_bytes(&self) -> u64 {
        self.tally.bytes
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    /// What its messages take of memory.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// How many messages are in the journal only.
    pub(super) fn missing(&self) -> usize {
        self.missing
    }

    /// The entries that are here: all but those in cold pages.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.levels.iter().rev().flat_map(|level| &level.pages).flat_map(|page| &page.entries)
    }

    /// What a checkpoint keeps: pages, and the durable entries outside of them. Large pages that changed get a new image.
    pub(super) fn image(&mut self, image: &mut QueueImage) {
        let Self { bounds, levels, paging, .. } = self;
        let imaged_entries_min = bounds.imaged_entries_min.into();
        for (level, entries) in levels.iter_mut().enumerate() {
            let count = entries.pages.len();
            for (at, page) in entries.pages.iter_mut().enumerate() {
                let is_edge = at == 0 || at + 1 == count;
                if page.image.is_none() && !is_edge && page.entries.len() >= imaged_entries_min {
                    let stored = page.entries.iter().map(|entry| entry.index);
                    let stored: Vec<_> = stored.filter(|entry| entry.position.is_some()).collect();
                    if stored.len() == page.entries.len() {
                        page.image = Some(paging.image(level as u8, stored));
                    }
                }
                image.pages.extend(page.image.as_deref().cloned());
                if page.image.is_none() || page.is_cold {
                    let durable = page.entries.iter().filter(|entry| entry.index.is_durable);
                    image.entries.extend(durable.map(|entry| entry.index));
                }
            }
        }
        image.next_image = ImageId(paging.next_image);
    }

    /// Takes everything.
    pub(super) fn take(&mut self) -> Taken {
        self.deadlines.clear();
        self.page_deadlines.clear();
        (self.len, self.tally, self.memory_bytes, self.missing) = (0, Tally::default(), 0, 0);
        let mut taken = Taken::default();
        for page in self.levels.iter_mut().rev().flat_map(Level::take) {
            taken.entries.extend(page.entries);
            match page.image {
                Some(summary) if page.is_cold => taken.pages.push(*summary),
                Some(summary) => self.paging.forgotten.push(summary.image),
                None => {}
            }
        }
        taken
    }
}
