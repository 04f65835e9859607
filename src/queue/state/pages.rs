//! The messages of one priority level, in pages: runs of entries in the order of their sequences. PURE.
//!
//! ```text
//!     front                                                                  back
//!     [page] [page] │ (cold) (cold) (cold) … (cold) │ [page] [page]
//!      ▲     ▲
//!      │     └ cursor: everything before is loaded or being loaded
//!      └ next to be delivered
//! ```
//!
//! A page is **resident** (its entries are here, each with or without its message) or **cold** (its entries are in an
//! image in the store, a summary is here). A resident page that did not change since its image was made is **clean**: it
//! can become cold at no cost. Messages that come between the entries of a cold page wait beside it until it is loaded.

use super::ready::Entry;
use crate::name::{Position, Sequence};
use crate::store::index::{ImageId, IndexEntry, PageSummary};
use std::collections::VecDeque;

/// So many pages at either end stay resident.
const EDGE_PAGES: usize = 2;
/// What a message costs in memory beyond its body, about.
const MESSAGE_OVERHEAD_BYTES: u64 = 200;

/// A run of entries.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) first: Sequence,
    pub(super) last: Sequence,
    /// All entries; of a cold page those that came late.
    pub(super) entries: VecDeque<Entry>,
    /// The image, if it says what the page holds (without what came late).
    pub(super) image: Option<Box<PageSummary>>,
    pub(super) is_cold: bool,
    /// How many entries have their message in memory.
    pub(super) bodies: usize,
    /// Its image is of an earlier run of the node: transient messages in it are gone.
    pub(super) is_recovered: bool,
}

impl Page {
    fn of(entry: Entry) -> Self {
        let mut page = Self { first: entry.index.sequence, ..Self::default() };
        page.push_back(entry);
        page
    }

    fn push_back(&mut self, entry: Entry) {
        self.last = entry.index.sequence;
        self.bodies += usize::from(entry.message.is_some());
        self.entries.push_back(entry);
    }

    fn push_front(&mut self, entry: Entry) {
        self.first = entry.index.sequence;
        self.bodies += usize::from(entry.message.is_some());
        self.entries.push_front(entry);
    }

    fn insert(&mut self, entry: Entry) {
        self.bodies += usize::from(entry.message.is_some());
        let at = self.entries.partition_point(|other| other.index.sequence < entry.index.sequence);
        self.entries.insert(at, entry);
    }

    /// How many messages are in it.
    pub(super) fn len(&self) -> usize {
        let cold = self.image.as_ref().filter(|_| self.is_cold);
        self.entries.len() + cold.map_or(0, |summary| summary.counts.all as usize)
    }

    fn can_take(&self, page_entries: usize) -> bool {
        !self.is_cold && self.entries.len() < page_entries
    }

    pub(super) fn find(&self, sequence: Sequence) -> Option<usize> {
        self.entries.binary_search_by_key(&sequence, |entry| entry.index.sequence).ok()
    }

    /// The page is about to change: its image no longer says what it holds.
    pub(super) fn touch(&mut self, forgotten: &mut Vec<ImageId>) {
        debug_assert!(!self.is_cold, "a cold page does not change");
        if let Some(summary) = self.image.take() {
            forgotten.push(summary.image);
        }
    }
}

/// A message to be read from the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The priority level it waits in.
    pub level: u8,
    /// Its place.
    pub sequence: Sequence,
    /// Where its record stands.
    pub position: Position,
    /// How long the record is.
    pub record_bytes: u32,
}

/// What is to be read so that deliveries can go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Load {
    /// A page's entries.
    Page {
        /// The priority level.
        level: u8,
        /// What is known of it.
        page: Box<PageSummary>,
    },
    /// Messages, in the order in which they will be delivered.
    Bodies(Vec<Wanted>),
}

/// How much is read ahead of the deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Nothing is read while so many bytes are ahead.
    pub low_bytes: u64,
    /// So much is read at a time, about.
    pub high_bytes: u64,
}

/// The pages of one priority.
#[derive(Debug)]
pub(super) struct Level {
    /// A page that has so many takes no more at its end.
    page_entries: usize,
    pub(super) pages: VecDeque<Page>,
    /// Entries before it are loaded or asked for. It counts only where messages are missing.
    cursor: Sequence,
    /// The bytes of the entries between the front and the cursor.
    ahead_bytes: u64,
    /// An emptied page's buffer, to be used again.
    spare: VecDeque<Entry>,
}

fn cost(entry: &Entry) -> u64 {
    u64::from(entry.index.body_bytes) + MESSAGE_OVERHEAD_BYTES
}

impl Level {
    pub(super) fn new(page_entries: usize) -> Self {
        let (pages, spare) = (VecDeque::new(), VecDeque::new());
        Self { page_entries, pages, cursor: Sequence(0), ahead_bytes: 0, spare }
    }

    /// Takes all pages.
    pub(super) fn take(&mut self) -> VecDeque<Page> {
        let page_entries = self.page_entries;
        std::mem::replace(self, Self::new(page_entries)).pages
    }

    /// Puts an entry at its place. At the end for nearly every publish, at the front for nearly every requeue; between
    /// others when two publishers overtook each other. Returns whether a page was added at the end.
    pub(super) fn insert(&mut self, entry: Entry, forgotten: &mut Vec<ImageId>) -> bool {
        let sequence = entry.index.sequence;
        if sequence < self.cursor {
            self.insert_before_cursor(&entry);
        }
        let (is_alone, page_entries) = (self.pages.len() == 1, self.page_entries);
        match self.pages.back_mut() {
            None => self.pages.push_back(Page::of(entry)),
            Some(last) if last.len() == 0 && is_alone => {
                last.touch(forgotten);
                last.first = sequence;
                last.push_back(entry);
            }
            Some(last) if last.last < sequence && last.can_take(page_entries) => {
                last.touch(forgotten);
                last.push_back(entry);
            }
            Some(last) if last.last < sequence => {
                let entries = std::mem::take(&mut self.spare);
                let mut page = Page { first: sequence, entries, ..Page::default() };
                page.push_back(entry);
                self.pages.push_back(page);
                return true;
            }
            Some(_) => self.insert_between(entry, forgotten),
        }
        false
    }

    fn insert_before_cursor(&mut self, entry: &Entry) {
        match entry.message {
            Some(_) => self.ahead_bytes += cost(entry),
            None => self.rewind(entry.index.sequence),
        }
    }

    fn insert_between(&mut self, entry: Entry, forgotten: &mut Vec<ImageId>) {
        let sequence = entry.index.sequence;
        let at = self.pages.partition_point(|page| page.last < sequence);
        let page = &mut self.pages[at];
        if page.first <= sequence {
            if !page.is_cold {
                page.touch(forgotten);
            }
            page.insert(entry);
            if page.entries.len() > 2 * self.page_entries && !page.is_cold {
                self.split(at);
            }
        } else if page.can_take(self.page_entries) {
            page.touch(forgotten);
            page.push_front(entry);
        } else if at > 0 && self.pages[at - 1].can_take(self.page_entries) {
            self.pages[at - 1].touch(forgotten);
            self.pages[at - 1].push_back(entry);
        } else {
            self.pages.insert(at, Page::of(entry));
        }
    }

    /// Cuts a page that grew in its middle.
    fn split(&mut self, at: usize) {
        let page = &mut self.pages[at];
        let entries = page.entries.split_off(page.entries.len() / 2);
        let bodies = entries.iter().filter(|entry| entry.message.is_some()).count();
        let first = entries.front().map_or(page.last, |entry| entry.index.sequence);
        let last = std::mem::replace(&mut page.last, Sequence(first.0 - 1));
        page.bodies -= bodies;
        self.pages.insert(at + 1, Page { first, last, entries, bodies, ..Page::default() });
    }

    /// The first entry, if its message is here to be taken.
    pub(super) fn front(&self) -> Option<IndexEntry> {
        let page = self.pages.front().filter(|page| !page.is_cold)?;
        page.entries.front().filter(|entry| entry.message.is_some()).map(|entry| entry.index)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pages.front().is_none_or(|page| page.len() == 0)
    }

    /// Takes the first entry, its message here or not; none if its page is cold.
    pub(super) fn pop(&mut self, forgotten: &mut Vec<ImageId>) -> Option<Entry> {
        let page = self.pages.front_mut().filter(|page| !page.is_cold)?;
        page.touch(forgotten);
        let entry = page.entries.pop_front()?;
        page.bodies -= usize::from(entry.message.is_some());
        self.gone(&entry);
        self.drop_if_empty(0);
        Some(entry)
    }

    /// Takes the entry out of a resident page.
    pub(super) fn remove(&mut self, sequence: Sequence, forgotten: &mut Vec<ImageId>) -> Option<Entry> {
        let at = self.page_of(sequence)?;
        let page = &mut self.pages[at];
        let index = page.find(sequence)?;
        if !page.is_cold {
            page.touch(forgotten);
        }
        let entry = page.entries.remove(index)?;
        page.bodies -= usize::from(entry.message.is_some());
        self.gone(&entry);
        self.drop_if_empty(at);
        Some(entry)
    }

    fn gone(&mut self, entry: &Entry) {
        if entry.index.sequence < self.cursor {
            self.ahead_bytes = self.ahead_bytes.saturating_sub(cost(entry));
        }
    }

    pub(super) fn drop_if_empty(&mut self, at: usize) {
        if self.pages.len() > 1
            && self.pages[at].len() == 0
            && let Some(page) = self.pages.remove(at)
            && page.entries.capacity() <= 2 * self.page_entries
        {
            self.spare = page.entries;
        }
    }

    /// The index of the page whose span holds the sequence.
    pub(super) fn page_of(&self, sequence: Sequence) -> Option<usize> {
        let at = self.pages.partition_point(|page| page.last < sequence);
        self.pages.get(at).filter(|page| page.first <= sequence).map(|_| at)
    }

    /// Whether the message may be in a cold page.
    pub(super) fn may_be_cold(&self, sequence: Sequence) -> bool {
        let page = self.page_of(sequence).map(|at| &self.pages[at]).filter(|page| page.is_cold);
        let summary = page.and_then(|page| page.image.as_deref());
        summary.is_some_and(|page| page.live.contains(sequence) || page.counts.all > page.counts.durable)
    }

    pub(super) fn entry_mut(&mut self, sequence: Sequence) -> Option<(&mut Page, usize)> {
        let at = self.page_of(sequence)?;
        let page = &mut self.pages[at];
        let index = page.find(sequence)?;
        Some((page, index))
    }

    /// Messages from `sequence` on may be missing: loading begins there again.
    pub(super) fn rewind(&mut self, sequence: Sequence) {
        if sequence >= self.cursor {
            return;
        }
        self.cursor = sequence;
        let entries = self.pages.iter().take_while(|page| !page.is_cold).flat_map(|page| &page.entries);
        self.ahead_bytes = entries.take_while(|entry| entry.index.sequence < sequence).map(cost).sum();
    }

    /// What is to be loaded next, while less than the window is ahead. What is asked for counts as ahead from now on, and
    /// is answered before the next question.
    pub(super) fn next_load(&mut self, level: u8, window: Window, entries_max: usize) -> Option<Load> {
        if self.front().is_none() {
            // It may have been asked for and not have come: its page went meanwhile, or it could not be read.
            self.rewind(self.pages.front()?.first);
        } else if self.ahead_bytes > window.low_bytes {
            return None;
        }
        let mut wanted = Vec::new();
        let mut at = self.pages.partition_point(|page| page.last < self.cursor);
        'pages: while let Some(page) = self.pages.get(at) {
            if page.is_cold {
                if wanted.is_empty() {
                    return page.image.clone().map(|page| Load::Page { level, page });
                }
                break;
            }
            let from = page.entries.partition_point(|entry| entry.index.sequence < self.cursor);
            for entry in page.entries.range(from..) {
                if self.ahead_bytes >= window.high_bytes || wanted.len() >= entries_max {
                    break 'pages;
                }
                self.ahead_bytes += cost(entry);
                self.cursor = Sequence(entry.index.sequence.0 + 1);
                let IndexEntry { sequence, position, record_bytes, .. } = entry.index;
                if entry.message.is_none() {
                    wanted.push(Wanted { level, sequence, position, record_bytes });
                }
            }
            at += 1;
        }
        (!wanted.is_empty()).then_some(Load::Bodies(wanted))
    }

    /// Whether a page is far enough from both ends to become cold.
    pub(super) fn is_middle(&self, at: usize) -> bool {
        at >= EDGE_PAGES && at + EDGE_PAGES < self.pages.len()
    }
}
