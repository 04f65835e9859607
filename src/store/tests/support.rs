//! A small broker: queues that know what is alive, and make the calls of the store as the real one must.

use super::super::files::Disk;
use super::super::{LiveSet, LiveSets, Options, Recovered, Store, segment};
use crate::definition::{Change, Definition, Key, Queue};
use crate::message::{Message, Properties};
use crate::name::{Position, QueueId, Sequence};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Weak};

/// What a queue holds, by sequence: position and body.
pub(super) type Held = BTreeMap<Sequence, (Position, Vec<u8>)>;

#[derive(Debug, Default)]
pub(super) struct ModelQueue {
    pub(super) next: u64,
    pub(super) held: Held,
    is_changed: bool,
}

impl ModelQueue {
    pub(super) fn reserve(&mut self) -> Sequence {
        self.is_changed = true;
        self.next += 1;
        Sequence(self.next - 1)
    }
}

/// The broker's side: queues by id.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) queues: Mutex<BTreeMap<QueueId, ModelQueue>>,
}

impl LiveSets for Model {
    fn visit_changed(&self, visit: &mut dyn FnMut(LiveSet)) {
        for (&queue, state) in self.queues.lock().iter_mut().filter(|(_, state)| state.is_changed) {
            state.is_changed = false;
            let live = state.held.keys().copied().collect();
            visit(LiveSet { queue, next_sequence: Sequence(state.next), live });
        }
    }
}

pub(super) fn message(body: &[u8]) -> Message {
    let raw = [0x10, 0, 2];
    let parsed = Properties::parse(&raw).unwrap();
    Message::new("amq.topic".into(), b"some.key", &raw, &parsed, &[body])
}

pub(super) fn queue_definition(id: QueueId) -> Definition {
    let arguments = Default::default();
    let queue =
        Queue { id, kind: "classic".into(), durable: true, auto_delete: false, exclusive: false, arguments };
    Definition::Queue("/".into(), format!("queue-{id}").as_str().into(), queue)
}

pub(super) fn queue_key(id: QueueId) -> Key {
    queue_definition(id).key()
}

impl Model {
    /// A model that goes on with what was recovered.
    pub(super) fn new(store: &Store, recovered: &Recovered) -> Arc<Self> {
        let model = Arc::new(Self::default());
        for definition in &recovered.definitions {
            if let Definition::Queue(_, _, queue) = definition {
                model.queues.lock().insert(queue.id, ModelQueue::default());
            }
        }
        for (id, queue) in &recovered.queues {
            let held = queue.messages.iter();
            let held =
                held.map(|(sequence, position, message)| (*sequence, (*position, message.body().to_vec())));
            let state = ModelQueue { next: queue.next_sequence.0, held: held.collect(), is_changed: false };
            model.queues.lock().insert(*id, state);
        }
        let source: Weak<dyn LiveSets> = Arc::<Self>::downgrade(&model);
        store.set_live_sets(source);
        model
    }

    pub(super) fn declare(&self, store: &Store, id: u64) -> Position {
        self.queues.lock().insert(QueueId(id), ModelQueue::default());
        store.append_changes(&[Change::Put(queue_definition(QueueId(id)))])
    }

    pub(super) fn delete(&self, store: &Store, id: u64) -> Position {
        let Some(queue) = self.queues.lock().remove(&QueueId(id)) else { return store.synced() };
        let end = store.append_changes(&[Change::Delete(queue_key(QueueId(id)))]);
        store.release(&queue.held.values().map(|(position, _)| *position).collect::<Vec<_>>());
        end
    }

    /// Publishes to queues that are there, and returns the end.
    pub(super) fn publish(&self, store: &Store, ids: &[u64], body: &[u8]) -> Position {
        let mut queues = self.queues.lock();
        let targets: Vec<_> =
            ids.iter().map(|&id| (QueueId(id), queues.get_mut(&QueueId(id)).unwrap().reserve())).collect();
        let appended = store.append_publish(&message(body), &targets);
        for (id, sequence) in targets {
            queues.get_mut(&id).unwrap().held.insert(sequence, (appended.position, body.to_vec()));
        }
        appended.end
    }

    /// Settles up to `count` of a queue's messages, from its front.
    pub(super) fn settle(&self, store: &Store, id: u64, count: usize) -> Position {
        let mut queues = self.queues.lock();
        let queue = queues.get_mut(&QueueId(id)).unwrap();
        let settled: Vec<_> =
            queue.held.iter().take(count).map(|(sequence, (at, _))| (*sequence, *at)).collect();
        settled.iter().for_each(|(sequence, _)| _ = queue.held.remove(sequence));
        queue.is_changed = true;
        store.append_settle(QueueId(id), &settled)
    }

    /// Moves the first message of one queue to another queue, in a transaction.
    pub(super) fn transfer(&self, store: &Store, from: u64, to: u64) -> Position {
        let _hold = store.hold_checkpoints();
        let mut queues = self.queues.lock();
        let Some((sequence, (position, body))) = queues.get_mut(&QueueId(from)).unwrap().held.pop_first()
        else {
            return store.synced();
        };
        queues.get_mut(&QueueId(from)).unwrap().is_changed = true;
        let target = (QueueId(to), queues.get_mut(&QueueId(to)).unwrap().reserve());
        let settled = [(sequence, position)];
        let (positions, end) =
            store.append_transaction(&[(&message(&body), &[target])], &[(QueueId(from), &settled)]);
        queues.get_mut(&QueueId(to)).unwrap().held.insert(target.1, (positions[0], body));
        end
    }

    /// Does something with one queue under its lock; it counts as changed.
    pub(super) fn with<T>(&self, id: u64, work: impl FnOnce(&mut ModelQueue) -> T) -> T {
        let mut queues = self.queues.lock();
        let queue = queues.get_mut(&QueueId(id)).unwrap();
        queue.is_changed = true;
        work(queue)
    }

    /// What all queues hold.
    pub(super) fn held(&self) -> HashMap<QueueId, Held> {
        self.queues.lock().iter().map(|(id, queue)| (*id, queue.held.clone())).collect()
    }
}

/// What was recovered, as [`Model::held`] has it, with every defined queue.
pub(super) fn held(recovered: &Recovered) -> HashMap<QueueId, Held> {
    let mut held: HashMap<QueueId, Held> = HashMap::new();
    for definition in &recovered.definitions {
        if let Definition::Queue(_, _, queue) = definition {
            held.insert(queue.id, Held::new());
        }
    }
    for (id, queue) in &recovered.queues {
        let messages = queue.messages.iter();
        let messages =
            messages.map(|(sequence, position, message)| (*sequence, (*position, message.body().to_vec())));
        held.insert(*id, messages.collect());
    }
    held
}

/// Options for a test: small files.
pub(super) fn options(dir: &Path) -> Options {
    Options { segment_bytes: 4096, sled_cache_bytes: 1 << 20, ..Options::new(dir) }
}

/// Opens the store in `dir` with the model of what it holds.
pub(super) fn open(dir: &Path) -> (Store, Arc<Model>, Recovered) {
    let (store, recovered) = super::super::open(options(dir)).unwrap();
    let model = Model::new(&store, &recovered);
    (store, model, recovered)
}

/// The journal's files in a data directory, and their bytes together.
pub(super) fn files(dir: &Path) -> (usize, u64) {
    let files = segment::list(&Disk, &dir.join("journal")).unwrap();
    let bytes = files.iter().map(|(_, path)| std::fs::metadata(path).unwrap().len()).sum();
    (files.len(), bytes)
}

/// Numbers that look random and are the same in every run.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}
