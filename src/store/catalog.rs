//! What the metadata store holds: definitions, each queue's index and live set as of the last checkpoint, and that
//! checkpoint's place in the journal.
//!
//! | key | value |
//! |---|---|
//! | `m/schema` | the layout's version, as text |
//! | `m/checkpoint` | [`Mark`] as JSON |
//! | `d`, the kind's place, the definition's [`Key`] as JSON | the [`Definition`] as JSON |
//! | `q`, queue id (8 bytes, big endian), chunk (4 bytes) | next sequence (varint) and [`Ranges`], in chunks |
//! | `i`, queue id (8 bytes, big endian), chunk (4 bytes) | the queue's [`QueueImage`], in chunks |
//! | `p`, queue id, image (8 bytes each, big endian) | a page of the queue's index: see [`images`](super::images) |
//!
//! Few values per queue are overwritten again and again: sled 0.34 grows without end under a stream of new keys. The live
//! set is what the index amounts to; it is also in a snapshot, and with it the journal says everything.

use super::index::QueueImage;
use super::metadata::{Batch, Metadata, Replaceable};
use super::{Error, Ranges, record};
use crate::definition::{Change, Definition, Key};
use crate::name::{QueueId, Sequence};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

const SCHEMA_KEY: &[u8] = b"m/schema";
const SCHEMA: &str = "1";
const MARK_KEY: &[u8] = b"m/checkpoint";
/// All definitions' keys start so.
pub(super) const DEFINITIONS: &[u8] = b"d";
/// All live sets' keys start so.
pub(super) const LIVE_SETS: &[u8] = b"q";
/// All queue images' keys start so.
const QUEUE_IMAGES: &[u8] = b"i";
/// sled keeps larger values in files of their own, which it does not sync.
const CHUNK_BYTES: usize = 32 << 10;

/// How much of the journal a checkpoint covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// Everything before is covered; 0 = there was no checkpoint.
    pub(super) position: u64,
    /// Above every queue's id so far.
    pub(super) next_queue_id: u64,
    /// Whether the index was written, too; the first Warren had none.
    #[serde(default)]
    pub(super) has_index: bool,
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
    /// What the last checkpoint knew of each queue.
    pub(super) queues: Known,
}

/// What a checkpoint knew of queues.
#[derive(Debug)]
pub(super) enum Known {
    /// Everything.
    Index(HashMap<QueueId, QueueImage>),
    /// What was alive; the journal has the rest.
    LiveSets(HashMap<QueueId, Live>),
    /// The same, of queues whose index is lost: nothing says of which messages it said that they were delivered.
    IndexLost(HashMap<QueueId, Live>),
}

impl Default for Known {
    fn default() -> Self {
        Known::LiveSets(HashMap::new())
    }
}

impl Known {
    /// The queues' ids.
    pub(super) fn ids(&self) -> Vec<QueueId> {
        match self {
            Known::Index(images) => images.keys().copied().collect(),
            Known::LiveSets(live) | Known::IndexLost(live) => live.keys().copied().collect(),
        }
    }
}

/// What is done with each value that is kept in chunks: its queue, the number of chunks, the bytes.
type VisitValue<'a> = dyn FnMut(QueueId, u32, &[u8]) -> Result<(), Error> + 'a;

/// The metadata store with the meaning of its keys. Its one writer is the checkpointer.
#[derive(Debug)]
pub(super) struct Catalog {
    pub(super) metadata: Arc<Replaceable>,
    /// The queues that are defined.
    queues: HashSet<QueueId>,
    /// How many chunks there are of each queue's live set and image.
    chunk_counts: HashMap<QueueId, [u32; 2]>,
    /// Whether definitions changed since this was last taken.
    pub(super) is_changed: bool,
    /// Changes made and not yet durable here.
    unsynced: Vec<Change>,
    /// So much of a checkpoint is written with one batch.
    pub(super) batch_bytes: usize,
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
        Key::VhostLimits(..) => b'6',
        Key::UserLimits(..) => b'7',
        Key::Policy(..) => b'8',
        Key::OperatorPolicy(..) => b'9',
        Key::Parameter(..) => b'a',
        Key::GlobalParameter(..) => b'b',
        Key::TopicPermissions(..) => b'c',
    };
    let mut bytes = vec![DEFINITIONS[0], place];
    bytes.extend_from_slice(&record::encode_json(key));
    bytes
}

/// What a queue has in chunks, in the order of `chunk_counts`.
const CHUNKED: [&[u8]; 2] = [LIVE_SETS, QUEUE_IMAGES];

fn chunk_key(prefix: &[u8], queue: QueueId, chunk: u32) -> Vec<u8> {
    [prefix, &queue.0.to_be_bytes(), &chunk.to_be_bytes()].concat()
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

impl Drop for Catalog {
    /// Others may hold on to the metadata store, but its folder is given back now.
    fn drop(&mut self) {
        self.metadata.close();
    }
}

impl Catalog {
    /// Over a metadata store that may be empty.
    pub(super) fn new(metadata: Box<dyn Metadata>) -> Self {
        Self {
            metadata: Arc::new(Replaceable::new(metadata)),
            queues: HashSet::new(),
            chunk_counts: HashMap::new(),
            is_changed: false,
            unsynced: Vec::new(),
            batch_bytes: usize::MAX,
            has_failed: false,
        }
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
        let has_index = contents.mark.has_index;
        let (mut images, mut live) = (HashMap::new(), HashMap::new());
        let mut counts: HashMap<QueueId, [u32; 2]> = HashMap::new();
        self.visit_chunks(QUEUE_IMAGES, &mut |id, count, bytes| {
            counts.entry(id).or_default()[1] = count;
            if has_index {
                images.insert(id, QueueImage::decode(id, bytes).ok_or_else(|| damaged("queue image"))?);
            }
            Ok(())
        })?;
        self.visit_chunks(LIVE_SETS, &mut |id, count, bytes| {
            counts.entry(id).or_default()[0] = count;
            if !has_index {
                live.insert(id, decode_live(bytes).ok_or_else(|| damaged("live set"))?);
            }
            Ok(())
        })?;
        self.chunk_counts = counts;
        contents.queues = if has_index { Known::Index(images) } else { Known::LiveSets(live) };
        self.queues = defined_queues(&contents.definitions);
        Ok(contents)
    }

    /// What was alive in each queue, where the index cannot be used.
    ///
    /// # Errors
    /// [`Error::Damaged`], and the store's own.
    pub(super) fn load_live(&self) -> Result<HashMap<QueueId, Live>, Error> {
        let mut live = HashMap::new();
        self.visit_chunks(LIVE_SETS, &mut |id, _, bytes| {
            live.insert(id, decode_live(bytes).ok_or_else(|| damaged("live set"))?);
            Ok(())
        })?;
        Ok(live)
    }

    /// Visits all values of a kind, put together from their chunks: the queue, their number, the bytes.
    fn visit_chunks(&self, prefix: &[u8], visit: &mut VisitValue<'_>) -> Result<(), Error> {
        let mut current: Option<(QueueId, u32)> = None;
        let mut value = Vec::new();
        self.metadata.visit(prefix, &mut |key, chunk_bytes| {
            let key =
                key[1..].split_first_chunk::<8>().and_then(|(id, chunk)| Some((*id, chunk.try_into().ok()?)));
            let (id, chunk) = key.ok_or_else(|| damaged("key of a chunk"))?;
            let id = QueueId(u64::from_be_bytes(id));
            if let Some((before, count)) = current.take_if(|(before, _)| *before != id) {
                visit(before, count, &value)?;
                value.clear();
            }
            let next = current.map_or(0, |(_, count)| count);
            if u32::from_be_bytes(chunk) != next {
                return Err(damaged("a chunk is missing"));
            }
            current = Some((id, next + 1));
            value.extend_from_slice(chunk_bytes);
            Ok(())
        })?;
        current.map_or(Ok(()), |(id, count)| visit(id, count, &value))
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
            self.remove_queue(&mut batch, id);
        }
        self.metadata.apply(&batch)?;
        self.is_changed = true;
        for (before, after) in queues {
            if before != after
                && let Some(id) = before
            {
                self.chunk_counts.remove(&id);
            }
            before.map(|id| self.queues.remove(&id));
            self.queues.extend(after);
        }
        Ok(())
    }

    /// Somebody else's writing failed: the store is opened anew before the next.
    pub(super) fn has_failed(&mut self) {
        self.has_failed = true;
    }

    /// Opens the store anew with `open` if it failed, and makes the changes again that it may have lost. True if it did.
    ///
    /// # Errors
    /// Those of opening, and the store's own; then it still counts as failed.
    pub(super) fn restore(
        &mut self,
        open: impl FnOnce() -> Result<Box<dyn Metadata>, Error>,
    ) -> Result<bool, Error> {
        if !self.has_failed {
            return Ok(false);
        }
        self.metadata.replace(open)?;
        let changes = std::mem::take(&mut self.unsynced);
        let made = self.make(&changes);
        self.unsynced = changes;
        self.has_failed = made.is_err();
        made.map(|()| true)
    }

    /// Records a checkpoint durably: its mark and what the queues that changed hold. Queues that are not defined (any more)
    /// are passed over. Pages that the images name are in the store before, and what the images hold is durable in the
    /// journal.
    ///
    /// The mark comes with the last of several batches. A crash between them leaves queues that are newer than the mark,
    /// as every image is that was collected while publishers went on: what the journal repeats from the mark on is in them
    /// already, and changes nothing.
    ///
    /// # Errors
    /// The store's own.
    pub(super) fn checkpoint(
        &mut self,
        mark: Mark,
        queues: &HashMap<QueueId, QueueImage>,
    ) -> Result<(), Error> {
        debug_assert!(!self.has_failed, "restored before");
        let result = self.write_checkpoint(mark, queues);
        self.has_failed |= result.is_err();
        if result.is_ok() {
            self.unsynced.clear();
        }
        result
    }

    fn write_checkpoint(&mut self, mark: Mark, queues: &HashMap<QueueId, QueueImage>) -> Result<(), Error> {
        let mut batch = Batch::new();
        let mut batch_bytes = 0;
        // In the order of the keys: neighbours stand together.
        let defined: BTreeMap<_, _> = queues.iter().filter(|(id, _)| self.queues.contains(id)).collect();
        for (&queue, image) in defined {
            let mut live = Vec::new();
            record::write_varint(&mut live, image.next_sequence.0);
            image.live().write(&mut live);
            let encoded = image.encode(queue);
            batch_bytes += live.len() + encoded.len();
            self.put_chunks(&mut batch, queue, 0, &live);
            self.put_chunks(&mut batch, queue, 1, &encoded);
            if batch_bytes >= self.batch_bytes {
                self.metadata.apply(&std::mem::take(&mut batch))?;
                batch_bytes = 0;
            }
        }
        batch.insert(MARK_KEY.to_vec(), Some(record::encode_json(&mark)));
        self.metadata.apply(&batch)?;
        self.metadata.sync()
    }

    /// Adds a value's chunks, and the removal of those that an earlier, longer one had.
    fn put_chunks(&mut self, batch: &mut Batch, queue: QueueId, kind: usize, bytes: &[u8]) {
        let mut count = 0u32;
        for chunk in bytes.chunks(CHUNK_BYTES) {
            batch.insert(chunk_key(CHUNKED[kind], queue, count), Some(chunk.to_vec()));
            count += 1;
        }
        let known = &mut self.chunk_counts.entry(queue).or_default()[kind];
        for gone in count..*known {
            batch.insert(chunk_key(CHUNKED[kind], queue, gone), None);
        }
        // Never less than there may be: the batch may fail.
        *known = count.max(*known);
    }

    /// Removes what is kept of queues that are not defined.
    ///
    /// # Errors
    /// The store's own.
    pub(super) fn remove_strangers(&mut self, known: impl Iterator<Item = QueueId>) -> Result<(), Error> {
        let mut batch = Batch::new();
        for id in known.filter(|id| !self.queues.contains(id)).collect::<Vec<_>>() {
            self.remove_queue(&mut batch, id);
        }
        self.metadata.apply(&batch)
    }

    fn remove_queue(&mut self, batch: &mut Batch, queue: QueueId) {
        for (kind, prefix) in CHUNKED.into_iter().enumerate() {
            let count = self.chunk_counts.get(&queue).map_or(0, |counts| counts[kind]);
            for gone in 0..count {
                batch.insert(chunk_key(prefix, queue, gone), None);
            }
        }
    }
}

fn decode_live(mut bytes: &[u8]) -> Option<Live> {
    let next_sequence = Sequence(record::read_varint(&mut bytes)?);
    Some(Live { next_sequence, live: Ranges::read(bytes)? })
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
        let queue = Queue {
            id: QueueId(id),
            kind,
            durable: true,
            auto_delete: false,
            exclusive: false,
            arguments,
            role: Default::default(),
        };
        Definition::Queue("/".into(), name.into(), queue)
    }

    fn catalog() -> Catalog {
        let mut catalog = Catalog::new(Box::new(MemoryMetadata::default()));
        catalog.write_schema().unwrap();
        catalog
    }

    fn mark(position: u64) -> Mark {
        Mark { position, next_queue_id: 2, has_index: true }
    }

    fn images(queue: u64, live: &Ranges) -> HashMap<QueueId, QueueImage> {
        let reserved = live.iter().map(|(first, _)| first).collect();
        let image = QueueImage { next_sequence: Sequence(1_000_000), reserved, ..QueueImage::default() };
        HashMap::from([(QueueId(queue), image)])
    }

    fn index(contents: Contents) -> HashMap<QueueId, QueueImage> {
        match contents.queues {
            Known::Index(images) => images,
            Known::LiveSets(_) | Known::IndexLost(_) => panic!("no index"),
        }
    }

    #[test]
    fn what_is_kept_of_a_queue_shrinks_and_leaves_with_it() {
        let mut catalog = catalog();
        catalog.apply(&[Change::Put(queue("q", 1))]).unwrap();
        // Every other sequence: two bytes each, so several chunks.
        let sparse: Ranges = (0..60_000).map(|n| Sequence(n * 2)).collect();
        catalog.checkpoint(mark(9), &images(1, &sparse)).unwrap();
        assert_eq!(catalog.load_live().unwrap()[&QueueId(1)].live, sparse);
        let contents = catalog.load().unwrap();
        assert_eq!(contents.mark, mark(9));
        assert_eq!(index(contents), images(1, &sparse));
        let small: Ranges = [Sequence(7)].into_iter().collect();
        catalog.checkpoint(mark(10), &images(1, &small)).unwrap();
        assert_eq!(catalog.load_live().unwrap()[&QueueId(1)].live, small);
        assert_eq!(index(catalog.load().unwrap()), images(1, &small));
        catalog.apply(&[Change::Delete(queue("q", 1).key()), Change::Put(queue("q", 2))]).unwrap();
        catalog.checkpoint(mark(11), &images(1, &sparse)).unwrap();
        let contents = catalog.load().unwrap();
        assert_eq!((contents.definitions.len(), index(contents).len()), (1, 0));
        assert!(catalog.load_live().unwrap().is_empty());
    }

    #[test]
    fn a_checkpoint_of_the_first_warren_has_live_sets_and_no_index() {
        let mut catalog = catalog();
        let live = [0x0a, 1, 2, 3, 0];
        let key = chunk_key(LIVE_SETS, QueueId(1), 0);
        let old_mark = br#"{"position":9,"next_queue_id":2}"#.to_vec();
        let batch = Batch::from([(key, Some(live.to_vec())), (MARK_KEY.to_vec(), Some(old_mark))]);
        catalog.metadata.apply(&batch).unwrap();
        let contents = catalog.load().unwrap();
        let Known::LiveSets(live) = contents.queues else { panic!("an index") };
        let expected = [1, 2, 3, 6].map(Sequence).into_iter().collect();
        assert_eq!(live, HashMap::from([(QueueId(1), Live { next_sequence: Sequence(10), live: expected })]));
    }

    #[test]
    fn entries_without_a_schema_version_are_damage() {
        let mut catalog = Catalog::new(Box::new(MemoryMetadata::default()));
        assert!(catalog.load().unwrap().definitions.is_empty());
        catalog.apply(&[Change::Put(queue("q", 1))]).unwrap();
        assert!(matches!(catalog.load(), Err(Error::Damaged(_))));
    }

    /// Notes the keys of each batch.
    #[derive(Debug, Default)]
    struct Watched(MemoryMetadata, Arc<parking_lot::Mutex<Vec<Vec<Vec<u8>>>>>);

    impl Metadata for Watched {
        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
            self.0.get(key)
        }

        fn visit(&self, prefix: &[u8], visit: &mut super::super::metadata::Visit<'_>) -> Result<(), Error> {
            self.0.visit(prefix, visit)
        }

        fn apply(&self, batch: &Batch) -> Result<(), Error> {
            self.1.lock().push(batch.keys().cloned().collect());
            self.0.apply(batch)
        }

        fn sync(&self) -> Result<(), Error> {
            self.0.sync()
        }
    }

    #[test]
    fn a_checkpoint_of_many_queues_comes_in_batches_of_neighbours_and_its_mark_with_the_last() {
        let watched = Watched::default();
        let batches = Arc::clone(&watched.1);
        let mut catalog = Catalog::new(Box::new(watched));
        catalog.write_schema().unwrap();
        let ids: Vec<u64> = (1..=100).collect();
        let declared: Vec<_> = ids.iter().map(|&id| Change::Put(queue(&format!("q{id}"), id))).collect();
        catalog.apply(&declared).unwrap();
        let images: HashMap<_, _> =
            ids.iter().flat_map(|&id| images(id, &[Sequence(id)].into_iter().collect())).collect();
        catalog.batch_bytes = 10 * images[&QueueId(1)].encode(QueueId(1)).len();
        batches.lock().clear();
        catalog.checkpoint(mark(9), &images).unwrap();
        let batches = batches.lock().clone();
        assert!((6..=20).contains(&batches.len()), "{}", batches.len());
        let (last, others) = batches.split_last().unwrap();
        assert!(last.iter().any(|key| key == MARK_KEY));
        assert!(!others.iter().flatten().any(|key| key == MARK_KEY));
        let of_images = |keys: &Vec<Vec<u8>>| -> Vec<Vec<u8>> {
            keys.iter().filter(|key| key.starts_with(QUEUE_IMAGES)).cloned().collect()
        };
        let written: Vec<_> = batches.iter().flat_map(of_images).collect();
        assert!(written.len() == ids.len() && written.is_sorted(), "each once, in order");
        assert_eq!(index(catalog.load().unwrap()), images);
    }
}
