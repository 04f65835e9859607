//! A small broker: queues that know what is alive, and make the calls of the store as the real one must.

use super::super::files::Disk;
use super::super::index::{ImageId, IndexEntry, NEVER, PageSummary, QueueImage, Relocated};
use super::super::record::{Origin, Progress, Settled};
use super::super::{Appended, Options, Queues, Record, Recovered, Store, segment};
use crate::definition::{Change, Definition, Key, Queue};
use crate::message::{Message, Properties};
use crate::name::{Position, QueueId, Sequence};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Weak};

/// What a queue holds, by sequence: position and body.
pub(in crate::store) type Held = BTreeMap<Sequence, (Position, Vec<u8>)>;

#[derive(Debug, Default)]
pub(in crate::store) struct ModelQueue {
    pub(in crate::store) next: u64,
    pub(in crate::store) held: Held,
    /// How long the records are, by position.
    pub(in crate::store) sizes: BTreeMap<Position, u32>,
    /// The pages whose entries are in images; what left them since is found when a checkpoint is made.
    pages: Vec<PageSummary>,
    next_image: ImageId,
    /// Images of pages that changed since.
    stale: Vec<ImageId>,
    is_changed: bool,
}

impl ModelQueue {
    pub(in crate::store) fn reserve(&mut self) -> Sequence {
        self.is_changed = true;
        self.next += 1;
        Sequence(self.next - 1)
    }

    pub(in crate::store) fn entries(&self) -> Vec<IndexEntry> {
        let stored = self.held.iter().filter(|(_, (position, _))| position.is_some());
        stored.map(|(sequence, (position, body))| self.entry(*sequence, *position, body)).collect()
    }

    fn entry(&self, sequence: Sequence, position: Position, body: &[u8]) -> IndexEntry {
        IndexEntry {
            sequence,
            position,
            expires_at: NEVER,
            body_bytes: body.len() as u32,
            record_bytes: self.sizes[&position],
            returns: 0,
            failures: 0,
            priority: 0,
            is_delivered: false,
            is_durable: true,
        }
    }

    pub(in crate::store) fn settled(&self, sequence: Sequence, position: Position) -> Settled {
        let record_bytes = self.sizes.get(&position).copied().unwrap_or(0);
        Settled { sequence, position, record_bytes, is_durable: position.is_some() }
    }

    /// The message's record was appended.
    pub(in crate::store) fn put(&mut self, sequence: Sequence, appended: &Appended, body: Vec<u8>) {
        self.sizes.insert(appended.position, appended.record_bytes);
        self.held.insert(sequence, (appended.position, body));
    }

    /// Pages of which something left are pages no more.
    fn check_pages(&mut self) {
        let (held, stale) = (&self.held, &mut self.stale);
        self.pages.retain(|page| {
            let is_whole = page.live.count() as usize == held.range(page.first..=page.last).count();
            if !is_whole {
                stale.push(page.image);
            }
            is_whole
        });
    }

    fn image(&mut self) -> QueueImage {
        self.check_pages();
        let is_paged = |sequence| self.pages.iter().any(|page| page.spans(sequence));
        let reserved = self.held.iter().filter(|(_, (position, _))| !position.is_some());
        QueueImage {
            next_sequence: Sequence(self.next),
            next_image: self.next_image,
            reserved: reserved.map(|(sequence, _)| *sequence).collect(),
            pages: self.pages.clone(),
            entries: self.entries().into_iter().filter(|entry| !is_paged(entry.sequence)).collect(),
            ..QueueImage::default()
        }
    }
}

/// The broker's side: queues by id.
#[derive(Debug, Default)]
pub(in crate::store) struct Model {
    pub(in crate::store) queues: Mutex<BTreeMap<QueueId, ModelQueue>>,
}

impl Queues for Model {
    fn visit_changed(&self, visit: &mut dyn FnMut(QueueId, QueueImage)) {
        for (&queue, state) in self.queues.lock().iter_mut().filter(|(_, state)| state.is_changed) {
            state.is_changed = false;
            visit(queue, state.image());
        }
    }

    fn visit_between(&self, from: Position, to: Position, visit: &mut dyn FnMut(QueueId, IndexEntry)) {
        for (&queue, state) in self.queues.lock().iter() {
            let entries = state.entries().into_iter();
            entries
                .filter(|entry| from <= entry.position && entry.position < to)
                .for_each(|entry| visit(queue, entry));
        }
    }

    fn relocate(&self, queue: QueueId, sequence: Sequence, from: Position, to: Record) -> Relocated {
        let mut queues = self.queues.lock();
        let Some(queue) = queues.get_mut(&queue) else { return Relocated::Settled };
        let Some((position, _)) = queue.held.get_mut(&sequence).filter(|(position, _)| *position == from)
        else {
            return Relocated::Settled;
        };
        *position = to.0;
        queue.sizes.insert(to.0, to.1);
        queue.is_changed = true;
        let page = queue.pages.iter().position(|page| page.spans(sequence));
        if let Some(page) = page {
            queue.stale.push(queue.pages.remove(page).image);
        }
        Relocated::Moved
    }

    fn tidy(&self, _queue: QueueId) {}
}

pub(in crate::store) fn message(body: &[u8]) -> Message {
    let raw = [0x10, 0, 2];
    let parsed = Properties::parse(&raw).unwrap();
    Message::new("amq.topic".into(), b"some.key", &raw, &parsed, &[body])
}

pub(in crate::store) fn queue_definition(id: QueueId) -> Definition {
    let arguments = Default::default();
    let queue = Queue {
        id,
        kind: "classic".into(),
        durable: true,
        auto_delete: false,
        exclusive: false,
        arguments,
        role: Default::default(),
    };
    Definition::Queue("/".into(), format!("queue-{id}").as_str().into(), queue)
}

pub(in crate::store) fn queue_key(id: QueueId) -> Key {
    queue_definition(id).key()
}

impl Model {
    /// A model that goes on with what was recovered.
    pub(in crate::store) fn new(store: &Store, recovered: &Recovered) -> Arc<Self> {
        let model = Arc::new(Self::default());
        for definition in &recovered.definitions {
            if let Definition::Queue(_, _, queue) = definition {
                model.queues.lock().insert(queue.id, ModelQueue::default());
            }
        }
        for (id, held) in held(store, recovered) {
            let mut queues = model.queues.lock();
            let queue = queues.get_mut(&id).unwrap();
            let Some(recovered) = recovered.queues.get(&id) else { continue };
            queue.next = recovered.image.next_sequence.0;
            queue.held = held;
            queue.sizes = recovered.records().collect();
            for page in &recovered.image.pages {
                let entries = store.read_image(id, page.image).unwrap();
                queue.sizes.extend(entries.iter().map(|entry| (entry.position, entry.record_bytes)));
            }
            queue.pages = recovered.image.pages.clone();
            queue.next_image = recovered.image.next_image;
            queue.is_changed = !recovered.is_stored;
        }
        let source: Weak<dyn Queues> = Arc::<Self>::downgrade(&model);
        store.set_queues(source);
        model
    }

    /// Makes a page of up to `count` messages from the queue's front that are not in one.
    pub(in crate::store) fn page_out(&self, store: &Store, id: u64, count: usize) {
        let mut queues = self.queues.lock();
        let queue = queues.get_mut(&QueueId(id)).unwrap();
        queue.check_pages();
        store.forget_images(QueueId(id), &std::mem::take(&mut queue.stale));
        let last = queue.pages.last().map(|page| page.last);
        let entries =
            queue.entries().into_iter().filter(|entry| last.is_none_or(|last| entry.sequence > last));
        let entries: Vec<_> = entries.take(count).collect();
        if entries.is_empty() {
            return;
        }
        let image = queue.next_image;
        queue.next_image = ImageId(image.0 + 1);
        store.write_image(QueueId(id), image, &entries);
        queue.pages.push(PageSummary::of(image, 0, &entries));
        queue.is_changed = true;
    }

    pub(in crate::store) fn declare(&self, store: &Store, id: u64) -> Position {
        self.queues.lock().insert(QueueId(id), ModelQueue::default());
        store.append_changes(&[Change::Put(queue_definition(QueueId(id)))])
    }

    pub(in crate::store) fn delete(&self, store: &Store, id: u64) -> Position {
        let Some(queue) = self.queues.lock().remove(&QueueId(id)) else { return store.synced() };
        let end = store.append_changes(&[Change::Delete(queue_key(QueueId(id)))]);
        let entries = queue.entries();
        store.release(&entries.iter().map(|entry| (entry.position, entry.record_bytes)).collect::<Vec<_>>());
        end
    }

    /// Publishes to queues that are there, and returns the end.
    pub(in crate::store) fn publish(&self, store: &Store, ids: &[u64], body: &[u8]) -> Position {
        let mut queues = self.queues.lock();
        let targets: Vec<_> =
            ids.iter().map(|&id| (QueueId(id), queues.get_mut(&QueueId(id)).unwrap().reserve())).collect();
        let appended = store.append_publish(&message(body), &targets, Origin::default());
        for (id, sequence) in targets {
            queues.get_mut(&id).unwrap().put(sequence, &appended, body.to_vec());
        }
        appended.end
    }

    /// Settles up to `count` of a queue's messages, from its front.
    pub(in crate::store) fn settle(&self, store: &Store, id: u64, count: usize) -> Position {
        let mut queues = self.queues.lock();
        let queue = queues.get_mut(&QueueId(id)).unwrap();
        let front = queue.held.iter().take(count);
        let settled: Vec<_> = front.map(|(sequence, (at, _))| queue.settled(*sequence, *at)).collect();
        settled.iter().for_each(|settled| _ = queue.held.remove(&settled.sequence));
        queue.is_changed = true;
        store.append_progress(QueueId(id), &Progress { settled: &settled, ..Progress::default() })
    }

    /// Moves the first message of one queue to another queue, in a transaction.
    pub(in crate::store) fn transfer(&self, store: &Store, from: u64, to: u64) -> Position {
        let _hold = store.hold_checkpoints();
        let mut queues = self.queues.lock();
        let Some((sequence, (position, body))) = queues.get_mut(&QueueId(from)).unwrap().held.pop_first()
        else {
            return store.synced();
        };
        let source = queues.get_mut(&QueueId(from)).unwrap();
        source.is_changed = true;
        let settled = [source.settled(sequence, position)];
        let target = (QueueId(to), queues.get_mut(&QueueId(to)).unwrap().reserve());
        let (places, end) =
            store.append_transaction(&[(&message(&body), &[target])], &[(QueueId(from), &settled)]);
        queues.get_mut(&QueueId(to)).unwrap().put(target.1, &places[0], body);
        end
    }

    /// Does something with one queue under its lock; it counts as changed.
    pub(in crate::store) fn with<T>(&self, id: u64, work: impl FnOnce(&mut ModelQueue) -> T) -> T {
        let mut queues = self.queues.lock();
        let queue = queues.get_mut(&QueueId(id)).unwrap();
        queue.is_changed = true;
        work(queue)
    }

    /// What all queues hold.
    pub(in crate::store) fn held(&self) -> HashMap<QueueId, Held> {
        self.queues.lock().iter().map(|(id, queue)| (*id, queue.held.clone())).collect()
    }
}

/// The bodies that queues hold; where they stand is the compactor's business.
pub(in crate::store) type Bodies = BTreeMap<QueueId, BTreeMap<Sequence, Vec<u8>>>;

pub(in crate::store) fn bodies(held: HashMap<QueueId, Held>) -> Bodies {
    let of = |held: Held| held.into_iter().map(|(sequence, (_, body))| (sequence, body)).collect();
    held.into_iter().map(|(queue, held)| (queue, of(held))).collect()
}

/// What was recovered, as [`Model::held`] has it, with every defined queue.
pub(in crate::store) fn held(store: &Store, recovered: &Recovered) -> HashMap<QueueId, Held> {
    let mut read = |records: &[(Position, u32)]| {
        let mut bodies = Vec::new();
        let mut found = |at: usize, message: Option<Arc<Message>>| {
            let message = message.unwrap_or_else(|| panic!("no message at {:?} in {store:?}", records[at]));
            bodies.push(message.body().to_vec());
        };
        store.read(records, &mut found).unwrap();
        bodies
    };
    held_by(recovered, &mut |queue, image| store.read_image(queue, image).unwrap(), &mut read)
}

type ReadBodies<'a> = dyn FnMut(&[Record]) -> Vec<Vec<u8>> + 'a;

/// The same, with pages and bodies read by the caller.
pub(in crate::store) fn held_by(
    recovered: &Recovered,
    page: &mut dyn FnMut(QueueId, ImageId) -> Vec<IndexEntry>,
    read: &mut ReadBodies<'_>,
) -> HashMap<QueueId, Held> {
    let mut held: HashMap<QueueId, Held> = HashMap::new();
    for definition in &recovered.definitions {
        if let Definition::Queue(_, _, queue) = definition {
            held.insert(queue.id, Held::new());
        }
    }
    for (id, queue) in &recovered.queues {
        let mut entries: Vec<IndexEntry> = queue.entries().copied().collect();
        queue.image.pages.iter().for_each(|summary| entries.extend(page(*id, summary.image)));
        let records: Vec<_> = entries.iter().map(|entry| (entry.position, entry.record_bytes)).collect();
        let bodies = entries.iter().zip(read(&records));
        let messages = bodies.map(|(entry, body)| (entry.sequence, (entry.position, body)));
        held.insert(*id, messages.collect());
    }
    held
}

/// Options for a test: small files.
pub(in crate::store) fn options(dir: &Path) -> Options {
    Options { segment_bytes: 4096, sled_cache_bytes: 1 << 20, ..Options::new(dir) }
}

/// Opens the store in `dir` with the model of what it holds.
pub(in crate::store) fn open(dir: &Path) -> (Store, Arc<Model>, Recovered) {
    let (store, recovered) = super::super::open(options(dir)).unwrap();
    let model = Model::new(&store, &recovered);
    (store, model, recovered)
}

/// The journal's files in a data directory, and their bytes together.
pub(in crate::store) fn files(dir: &Path) -> (usize, u64) {
    let files = segment::list(&Disk, &dir.join("journal")).unwrap();
    let bytes = files.iter().map(|(_, path)| std::fs::metadata(path).unwrap().len()).sum();
    (files.len(), bytes)
}

/// Numbers that look random and are the same in every run.
pub(in crate::store) struct Dice(pub(in crate::store) u64);

impl Dice {
    pub(in crate::store) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}
