//! The queues of a stopped broker, as the store asks for them: what was recovered, less nothing, with what is imported.

use super::super::index::{ImageId, IndexEntry, NEVER, PageSummary, QueueImage, Relocated};
use super::super::{Queues, Record, Recovered, RecoveredQueue, Store};
use crate::arguments;
use crate::definition;
use crate::name::{Position, QueueId, Sequence};
use crate::time::Millis;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

/// So many entries make a page.
const PAGE_ENTRIES: usize = 1024;

/// A page whose entries are in memory now.
#[derive(Debug)]
struct Opened {
    summary: PageSummary,
    entries: Vec<IndexEntry>,
    is_changed: bool,
}

#[derive(Debug)]
struct Queue {
    image: QueueImage,
    entries: BTreeMap<Sequence, IndexEntry>,
    opened: Vec<Opened>,
    is_changed: bool,
}

/// All queues of a store.
#[derive(Debug)]
pub(super) struct Shelf {
    store: Store,
    queues: Mutex<BTreeMap<QueueId, Queue>>,
}

fn number(queue: &definition::Queue, name: &str) -> Option<u64> {
    let value = arguments::get(&queue.arguments, name).and_then(arguments::as_integer);
    value.and_then(|value| u64::try_from(value).ok())
}

/// When a message expires that was published at a time, in a queue with its own time to live; as the broker has it.
pub(super) fn expiry(queue: &definition::Queue, own: Millis, published: Millis) -> Millis {
    let ttl = number(queue, "x-message-ttl");
    ttl.map_or(own, |ttl| own.min(Millis(published.0.saturating_add(ttl))))
}

/// Whether messages of any priority are in one order.
fn is_flat(queue: &definition::Queue) -> bool {
    queue.kind == "classic" && number(queue, "x-max-priority").unwrap_or(0) == 0
}

impl Queue {
    fn new(recovered: RecoveredQueue, definition: &definition::Queue) -> Self {
        // What duplicates were seen since the last checkpoint is read from the journal again.
        let RecoveredQueue { mut image, replayed, is_stored, .. } = recovered;
        let mut entries: BTreeMap<_, _> =
            std::mem::take(&mut image.entries).into_iter().map(|entry| (entry.sequence, entry)).collect();
        entries.extend(replayed.into_iter().map(|(mut entry, published)| {
            entry.expires_at = expiry(definition, entry.expires_at, published.at);
            if !published.has_priority {
                entry.priority = definition.default_priority();
            }
            (entry.sequence, entry)
        }));
        Self { image, entries, opened: Vec::new(), is_changed: !is_stored }
    }

    /// Writes opened pages that changed, under new names.
    fn close_pages(&mut self, store: &Store, id: QueueId) {
        for Opened { summary, entries, is_changed } in self.opened.drain(..) {
            if !is_changed {
                self.image.pages.push(summary);
                continue;
            }
            store.forget_images(id, &[summary.image]);
            let page = write_page(store, id, &mut self.image, summary.level, &entries);
            self.image.pages.push(page);
        }
        self.image.pages.sort_by_key(|page| (page.level, page.first));
    }

    fn open_pages(&mut self, store: &Store, id: QueueId, from: Position, to: Position) {
        let touches = |page: &PageSummary| page.positions.0 < to && from <= page.positions.1;
        for summary in self.image.pages.extract_if(.., |page| touches(page)).collect::<Vec<_>>() {
            match store.read_image(id, summary.image) {
                Ok(mut entries) => {
                    entries.retain(|entry| entry.is_durable);
                    self.opened.push(Opened { summary, entries, is_changed: false });
                }
                // Its messages stay where they are: their file has references and is kept.
                Err(error) => {
                    tracing::error!(queue = %id, %error, "a page cannot be read");
                    self.image.pages.push(summary);
                }
            }
        }
    }

    fn entry_mut(&mut self, sequence: Sequence) -> Option<&mut IndexEntry> {
        if let Some(entry) = self.entries.get_mut(&sequence) {
            return Some(entry);
        }
        self.opened.iter_mut().find_map(|page| {
            let at = page.entries.binary_search_by_key(&sequence, |entry| entry.sequence).ok()?;
            page.is_changed = true;
            Some(&mut page.entries[at])
        })
    }
}

fn write_page(
    store: &Store,
    id: QueueId,
    image: &mut QueueImage,
    level: u8,
    entries: &[IndexEntry],
) -> PageSummary {
    let name = image.next_image;
    image.next_image = ImageId(name.0 + 1);
    store.write_image(id, name, entries);
    PageSummary::of(name, level, entries)
}

impl Shelf {
    /// Of what a start found; the store asks it from now on.
    pub(super) fn new(store: &Store, recovered: &mut Recovered) -> Arc<Self> {
        let mut queues = BTreeMap::new();
        for (_, _, definition) in super::durable_queues(&recovered.definitions) {
            let found = recovered.queues.remove(&definition.id).unwrap_or_default();
            queues.insert(definition.id, Queue::new(found, definition));
        }
        let shelf = Arc::new(Self { store: store.clone(), queues: Mutex::new(queues) });
        let source: Weak<dyn Queues> = Arc::<Self>::downgrade(&shelf);
        store.set_queues(source);
        shelf
    }

    /// Appends a message at a queue's end by `append`, which is given its sequence and returns its entry.
    pub(super) fn append(&self, queue: &definition::Queue, append: impl FnOnce(Sequence) -> IndexEntry) {
        let mut queues = self.queues.lock();
        let Some(held) = queues.get_mut(&queue.id) else { return };
        let sequence = held.image.next_sequence;
        held.image.next_sequence = Sequence(sequence.0 + 1);
        held.entries.insert(sequence, append(sequence));
        held.is_changed = true;
        // Where priorities make the order the broker sorts them at its start; elsewhere a long import is pages at once.
        if is_flat(queue) && held.entries.len() >= 2 * PAGE_ENTRIES {
            let last = held.image.pages.iter().map(|page| page.last).max();
            let loose = held.entries.range(last.map_or(Sequence(0), |last| Sequence(last.0 + 1))..);
            let entries: Vec<IndexEntry> = loose.map(|(_, entry)| *entry).take(PAGE_ENTRIES).collect();
            if entries.len() == PAGE_ENTRIES {
                entries.iter().for_each(|entry| _ = held.entries.remove(&entry.sequence));
                let page = write_page(&self.store, queue.id, &mut held.image, 0, &entries);
                held.image.pages.push(page);
            }
        }
    }
}

impl Queues for Shelf {
    fn visit_changed(&self, visit: &mut dyn FnMut(QueueId, QueueImage)) {
        for (&id, queue) in self.queues.lock().iter_mut().filter(|(_, queue)| queue.is_changed) {
            queue.close_pages(&self.store, id);
            queue.is_changed = false;
            let entries = queue.entries.values().copied().collect();
            visit(id, QueueImage { entries, ..queue.image.clone() });
        }
    }

    fn visit_between(&self, from: Position, to: Position, visit: &mut dyn FnMut(QueueId, IndexEntry)) {
        for (&id, queue) in self.queues.lock().iter_mut() {
            queue.open_pages(&self.store, id, from, to);
            let opened = queue.opened.iter().flat_map(|page| &page.entries);
            let all = queue.entries.values().chain(opened);
            all.filter(|entry| from <= entry.position && entry.position < to)
                .for_each(|entry| visit(id, *entry));
        }
    }

    fn relocate(&self, queue: QueueId, sequence: Sequence, from: Position, to: Record) -> Relocated {
        let mut queues = self.queues.lock();
        let Some(queue) = queues.get_mut(&queue) else { return Relocated::Refused };
        let Some(entry) = queue.entry_mut(sequence).filter(|entry| entry.position == from) else {
            return Relocated::Refused;
        };
        (entry.position, entry.record_bytes) = to;
        queue.is_changed = true;
        Relocated::Moved
    }

    fn tidy(&self, queue: QueueId) {
        if let Some(held) = self.queues.lock().get_mut(&queue) {
            held.close_pages(&self.store, queue);
        }
    }
}

/// When a message without a time to live of its own expires.
pub(super) fn own_expiry(time_to_live_ms: Option<u64>, published: Millis) -> Millis {
    time_to_live_ms.map_or(NEVER, |ttl| Millis(published.0.saturating_add(ttl)))
}
