//! What the metadata store holds: definitions, each queue's live set as of the last checkpoint, and that checkpoint's
//! place in the journal.
//!
//! | key | value |
//! |---|---|
//! | `m/schema` | the layout's version, as text |
//! | `m/checkpoint` | [`Mark`] as JSON |
//! | `d`, the kind's place, the definition's [`Key`] as JSON | the [`Definition`] as JSON |
//! | `q`, queue id (8 bytes, big endian), chunk (4 bytes) | next sequence (varint) and [`Ranges`], in chunks |
//!
//! One value per queue is overwritten again and again: sled 0.34 grows without end under a stream of new keys.

use super::metadata::{Batch, MemoryMetadata, Metadata};
use super::{Error, LiveSet, Ranges, record};
use crate::definition::{Change, Definition, Key};
use crate::name::{QueueId, Sequence};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};

const SCHEMA_KEY: &[u8] = b"m/schema";
const SCHEMA: &str = "1";
const MARK_KEY: &[u8] = b"m/checkpoint";
/// All definitions' keys start so.
pub(super) const DEFINITIONS: &[u8] = b"d";
/// All live sets' keys start so.
pub(super) const LIVE_SETS: &[u8] = b"q";
/// sled keeps larger values in files of their own, which it does not sync.
const CHUNK_BYTES: usize = 32 << 10;

/// How much of the journal a checkpoint covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// Everything before is covered; 0 = there was no checkpoint.
    pub(super) position: u64,
    /// Above every queue's id so far.
    pub(super) next_queue_id: u64,
}

/// A queue's live set without its id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Live {
    pub(super) next_sequence: Sequence,
    pub(super) live: Ranges,
}

/// All that the catalog holds.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) mark: Mark,
    /// By the catalog's key, which sorts vhosts before what is in them, and exchanges and queues before bindings.
    pub(super) definitions: BTreeMap<Vec<u8>, Definition>,
    pub(super) live: HashMap<QueueId, Live>,
}

/// The metadata store with the meaning of its keys. Its one writer is the checkpointer.
#[derive(Debug)]
pub(super) struct Catalog {
    pub(super) metadata: Box<dyn Metadata>,
    /// The queues that are defined.
    queues: HashSet<QueueId>,
    /// Whether definitions changed since this was last taken.
    pub(super) is_changed: bool,
    /// Changes made and not yet durable here.
    unsynced: Vec<Change>,
    /// Whether the store failed since it was opened: it may fail for ever then, as sled does.
    has_failed: bool,
}

/// The key of a definition.
pub(super) fn definition_key(key: &Key) -> Vec<u8> {
    let place = match key {
        Key::Vhost(..) => b'0',
        Key::User(..) => b'1',
        Key::Permissions(..) => b'2',
        Key::Exchange(..) => b'3',
        Key::Queue(..) => b'4',
        Key::Binding(..) => b'5',
    };
    let mut bytes = vec![DEFINITIONS[0], place];
    bytes.extend_from_slice(&record::encode_json(key));
    bytes
}

fn live_key(queue: QueueId) -> Vec<u8> {
    [LIVE_SETS, &queue.0.to_be_bytes()].concat()
}

fn damaged(what: &str) -> Error {
    Error::Damaged(format!("metadata: {what}"))
}

fn decode_definition(value: &[u8]) -> Result<Definition, Error> {
    serde_json::from_slice(value).map_err(|error| damaged(&format!("definition: {error}")))
}

/// Makes `changes` in the definitions.
pub(super) fn apply_changes(definitions: &mut BTreeMap<Vec<u8>, Definition>, changes: &[Change]) {
    for change in changes {
        match change {
            Change::Put(definition) => {
                _ = definitions.insert(definition_key(&definition.key()), definition.clone())
            }
            Change::Delete(key) => _ = definitions.remove(&definition_key(key)),
        }
    }
}

impl Catalog {
    /// Over a metadata store that may be empty.
    pub(super) fn new(metadata: Box<dyn Metadata>) -> Self {
        Self { metadata, queues: HashSet::new(), is_changed: false, unsynced: Vec::new(), has_failed: false }
    }

    /// Reads everything.
    ///
    /// # Errors
    /// [`Error::Format`] for another version's layout, [`Error::Damaged`] for what does not decode, and the store's own.
    pub(super) fn load(&mut self) -> Result<Contents, Error> {
        let mut contents = Contents::default();
        match self.metadata.get(SCHEMA_KEY)? {
            Some(schema) if schema == SCHEMA.as_bytes() => {}
            Some(schema) => {
                let found = String::from_utf8_lossy(&schema).into_owned();
                return Err(Error::Format { path: "sled".into(), found, expected: SCHEMA.into() });
            }
            None => self.metadata.visit(b"", &mut |_, _| Err(damaged("no schema version")))?,
        }
        if let Some(mark) = self.metadata.get(MARK_KEY)? {
            contents.mark = serde_json::from_slice(&mark).map_err(|_| damaged("checkpoint"))?;
        }
        self.metadata.visit(DEFINITIONS, &mut |key, value| {
            contents.definitions.insert(key.to_vec(), decode_definition(value)?);
            Ok(())
        })?;
        contents.live = self.load_live()?;
        self.queues = defined_queues(&contents.definitions);
        Ok(contents)
    }

    fn load_live(&self) -> Result<HashMap<QueueId, Live>, Error> {
        let mut chunks: HashMap<QueueId, (u32, Vec<u8>)> = HashMap::new();
        self.metadata.visit(LIVE_SETS, &mut |key, value| {
            let key =
                key[1..].split_first_chunk::<8>().and_then(|(id, chunk)| Some((*id, chunk.try_into().ok()?)));
            let (id, chunk) = key.ok_or_else(|| damaged("key of a live set"))?;
            let (next, bytes) = chunks.entry(QueueId(u64::from_be_bytes(id))).or_default();
            if u32::from_be_bytes(chunk) != *next {
                return Err(damaged("a live set's chunk is missing"));
            }
            *next += 1;
            bytes.extend_from_slice(value);
            Ok(())
        })?;
        let read = |(id, (_, bytes)): (QueueId, (u32, Vec<u8>))| {
            let mut bytes = bytes.as_slice();
            let next_sequence = record::read_varint(&mut bytes).map(Sequence);
            match (next_sequence, Ranges::read(bytes)) {
                (Some(next_sequence), Some(live)) => Ok((id, Live { next_sequence, live })),
                _ => Err(damaged("live set")),
            }
        };
        chunks.into_iter().map(read).collect()
    }

    /// Makes an empty store known as ours.
    ///
    /// # Errors
    /// The store's own.
    pub(super) fn write_schema(&mut self) -> Result<(), Error> {
        self.metadata.apply(&Batch::from([(SCHEMA_KEY.to_vec(), Some(SCHEMA.into()))]))?;
        self.metadata.sync()
    }

    /// Makes definition changes, not yet durably. A deleted queue's live set goes with it.
    ///
    /// # Errors
    /// The store's own; nothing is changed then.
    pub(super) fn apply(&mut self, changes: &[Change]) -> Result<(), Error> {
        let result = self.make(changes);
        self.has_failed |= result.is_err();
        if result.is_ok() {
            self.unsynced.extend_from_slice(changes);
        }
        result
    }

    fn make(&mut self, changes: &[Change]) -> Result<(), Error> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new();
        let mut queues = Vec::new();
        for change in changes {
            let (key, value) = match change {
                Change::Put(definition) => (definition_key(&definition.key()), Some(definition)),
                Change::Delete(key) => (definition_key(key), None),
            };
            if key[1] == b'4' {
                let before = match batch.get(&key) {
                    Some(value) => value.clone(),
                    None => self.metadata.get(&key)?,
                };
                let before = before.as_deref().map(decode_definition).transpose()?;
                queues.push((before.as_ref().and_then(queue_id), value.and_then(queue_id)));
            }
            batch.insert(key, value.map(record::encode_json));
        }
        for id in queues.iter().filter(|(before, after)| before != after).filter_map(|(before, _)| *before) {
            self.remove_live(&mut batch, id, 0)?;
        }
        self.metadata.apply(&batch)?;
        self.is_changed = true;
        for (before, after) in queues {
            before.map(|id| self.queues.remove(&id));
            self.queues.extend(after);
        }
        Ok(())
    }

    /// Opens the store anew with `open` if it failed, and makes the changes again that it may have lost.
    ///
    /// # Errors
    /// Those of opening, and the store's own; then it still counts as failed.
    pub(super) fn restore(
        &mut self,
        open: impl FnOnce() -> Result<Box<dyn Metadata>, Error>,
    ) -> Result<(), Error> {
        if !self.has_failed {
            return Ok(());
        }
        // Two at a time cannot be open. Nothing is written to this one: it counts as failed.
        self.metadata = Box::new(MemoryMetadata::default());
        self.metadata = open()?;
        let changes = std::mem::take(&mut self.unsynced);
        let made = self.make(&changes);
        self.unsynced = changes;
        self.has_failed = made.is_err();
        made
    }

    /// Records a checkpoint durably: its mark and the live sets of the queues that changed. Sets of queues that are not
    /// defined (any more) are passed over.
    ///
    /// # Errors
    /// The store's own.
    pub(super) fn checkpoint(&mut self, mark: Mark, sets: &HashMap<QueueId, LiveSet>) -> Result<(), Error> {
        debug_assert!(!self.has_failed, "restored before");
        let result = self.write_checkpoint(mark, sets);
        self.has_failed |= result.is_err();
        if result.is_ok() {
            self.unsynced.clear();
        }
        result
    }

    fn write_checkpoint(&mut self, mark: Mark, sets: &HashMap<QueueId, LiveSet>) -> Result<(), Error> {
        let mut batch = Batch::new();
        for set in sets.values().filter(|set| self.queues.contains(&set.queue)) {
            let mut bytes = Vec::new();
            record::write_varint(&mut bytes, set.next_sequence.0);
            set.live.write(&mut bytes);
            let mut count = 0u32;
            for chunk in bytes.chunks(CHUNK_BYTES) {
                let mut key = live_key(set.queue);
                key.extend_from_slice(&count.to_be_bytes());
                batch.insert(key, Some(chunk.to_vec()));
                count += 1;
            }
            self.remove_live(&mut batch, set.queue, count)?;
        }
        batch.insert(MARK_KEY.to_vec(), Some(record::encode_json(&mark)));
        self.metadata.apply(&batch)?;
        self.metadata.sync()
    }

    /// Removes the live sets of queues that are not defined.
    ///
    /// # Errors
    /// The store's own.
    pub(super) fn remove_strangers(&mut self, live: impl Iterator<Item = QueueId>) -> Result<(), Error> {
        let mut batch = Batch::new();
        for id in live.filter(|id| !self.queues.contains(id)) {
            self.remove_live(&mut batch, id, 0)?;
        }
        self.metadata.apply(&batch)
    }

    /// Adds the removal of a queue's chunks from number `from` on.
    fn remove_live(&self, batch: &mut Batch, queue: QueueId, from: u32) -> Result<(), Error> {
        let prefix = live_key(queue);
        let first_gone = [&prefix[..], &from.to_be_bytes()].concat();
        self.metadata.visit(&prefix, &mut |key, _| {
            if key >= &first_gone[..] {
                batch.insert(key.to_vec(), None);
            }
            Ok(())
        })
    }
}

fn queue_id(definition: &Definition) -> Option<QueueId> {
    match definition {
        Definition::Queue(_, _, queue) => Some(queue.id),
        _ => None,
    }
}

/// The ids of the queues among `definitions`.
pub(super) fn defined_queues(definitions: &BTreeMap<Vec<u8>, Definition>) -> HashSet<QueueId> {
    definitions.values().filter_map(queue_id).collect()
}

#[cfg(test)]
mod tests {
    use super::super::metadata::MemoryMetadata;
    use super::*;
    use crate::definition::Queue;

    fn queue(name: &str, id: u64) -> Definition {
        let (kind, arguments) = ("classic".into(), Default::default());
        let queue =
            Queue { id: QueueId(id), kind, durable: true, auto_delete: false, exclusive: false, arguments };
        Definition::Queue("/".into(), name.into(), queue)
    }

    fn catalog() -> Catalog {
        let mut catalog = Catalog::new(Box::new(MemoryMetadata::default()));
        catalog.write_schema().unwrap();
        catalog
    }

    fn sets(queue: u64, live: Ranges) -> HashMap<QueueId, LiveSet> {
        let set = LiveSet { queue: QueueId(queue), next_sequence: Sequence(1_000_000), live };
        HashMap::from([(set.queue, set)])
    }

    #[test]
    fn a_live_set_shrinks_and_leaves_with_its_queue() {
        let mut catalog = catalog();
        catalog.apply(&[Change::Put(queue("q", 1))]).unwrap();
        // Every other sequence: two bytes each, so several chunks.
        let sparse: Ranges = (0..60_000).map(|n| Sequence(n * 2)).collect();
        catalog.checkpoint(Mark { position: 9, next_queue_id: 2 }, &sets(1, sparse.clone())).unwrap();
        let contents = catalog.load().unwrap();
        assert_eq!(contents.mark, Mark { position: 9, next_queue_id: 2 });
        assert_eq!(contents.live[&QueueId(1)].live, sparse);
        let small: Ranges = [Sequence(7)].into_iter().collect();
        catalog.checkpoint(Mark::default(), &sets(1, small.clone())).unwrap();
        assert_eq!(catalog.load().unwrap().live[&QueueId(1)].live, small);
        catalog.apply(&[Change::Delete(queue("q", 1).key()), Change::Put(queue("q", 2))]).unwrap();
        catalog.checkpoint(Mark::default(), &sets(1, sparse)).unwrap();
        let contents = catalog.load().unwrap();
        assert_eq!((contents.live.len(), contents.definitions.len()), (0, 1));
    }

    #[test]
    fn entries_without_a_schema_version_are_damage() {
        let mut catalog = Catalog::new(Box::new(MemoryMetadata::default()));
        assert!(catalog.load().unwrap().definitions.is_empty());
        catalog.apply(&[Change::Put(queue("q", 1))]).unwrap();
        assert!(matches!(catalog.load(), Err(Error::Damaged(_))));
    }
}
