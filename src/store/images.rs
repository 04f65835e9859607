//! The images of index pages: kept in memory until the checkpointer writes them, then in the metadata store.
//!
//! An image is written once, under a key of its own, and never changed: what a checkpoint names is there unchanged until a
//! later checkpoint no longer names it. Whoever makes one, under its queue's lock, never waits: it goes into a list.
//!
//! | key | value |
//! |---|---|
//! | `p`, queue id, image (8 bytes each, big endian) | the page, as [`index::encode_page`] has it |

use super::Error;
use super::index::{self, ImageId, IndexEntry};
use super::metadata::{Batch, Metadata};
use crate::name::QueueId;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// All images' keys start so.
pub(super) const IMAGES: &[u8] = b"p";
/// So many waiting images are worth a batch of their own.
const WAITING_MAX: usize = 64;

type Name = (QueueId, ImageId);

#[derive(Debug, Default)]
struct State {
    /// Not yet in the metadata store.
    waiting: BTreeMap<Name, Arc<[u8]>>,
    /// In the metadata store, but not yet durably: should it fail they are written again.
    written: BTreeMap<Name, Arc<[u8]>>,
    /// To be removed from it after the next checkpoint.
    forgotten: Vec<Name>,
    /// Checkpoints and batches under way that may name what waits: nothing is dropped from the list now.
    holds: u32,
}

/// The images, for everybody who makes, reads or forgets one.
#[derive(Debug)]
pub(super) struct Images {
    metadata: Arc<dyn Metadata>,
    state: Mutex<State>,
}

fn key((queue, image): Name) -> Vec<u8> {
    [IMAGES, &queue.0.to_be_bytes(), &image.0.to_be_bytes()].concat()
}

fn name(key: &[u8]) -> Option<Name> {
    let (queue, image) = key.strip_prefix(IMAGES)?.split_first_chunk::<8>()?;
    let number = |bytes: &[u8]| Some(u64::from_be_bytes(bytes.try_into().ok()?));
    Some((QueueId(number(queue)?), ImageId(number(image)?)))
}

/// Reads an image from the metadata store alone.
///
/// # Errors
/// [`Error::Damaged`] when it is not there or not what was written, and the store's own.
pub(super) fn read(
    metadata: &dyn Metadata,
    queue: QueueId,
    image: ImageId,
) -> Result<Vec<IndexEntry>, Error> {
    let damaged = |what| Error::Damaged(format!("page {} of queue {queue}: {what}", image.0));
    let bytes = metadata.get(&key((queue, image)))?.ok_or_else(|| damaged("missing"))?;
    index::decode_page(queue, image, &bytes).ok_or_else(|| damaged("not what was written"))
}

impl Images {
    pub(super) fn new(metadata: Arc<dyn Metadata>) -> Self {
        Self { metadata, state: Mutex::default() }
    }

    /// Keeps an image. True when so many wait that they should be written.
    pub(super) fn write(&self, queue: QueueId, image: ImageId, entries: &[IndexEntry]) -> bool {
        let bytes = index::encode_page(queue, image, entries).into();
        let mut state = self.state.lock();
        state.waiting.insert((queue, image), bytes);
        state.waiting.len() == WAITING_MAX
    }

    /// The entries of an image.
    ///
    /// # Errors
    /// As [`read`].
    pub(super) fn read(&self, queue: QueueId, image: ImageId) -> Result<Vec<IndexEntry>, Error> {
        let waiting = {
            let state = self.state.lock();
            let name = (queue, image);
            state.waiting.get(&name).or_else(|| state.written.get(&name)).cloned()
        };
        match waiting.and_then(|bytes| index::decode_page(queue, image, &bytes)) {
            Some(entries) => Ok(entries),
            None => read(&*self.metadata, queue, image),
        }
    }

    /// The queue does not need these images any more. They go once a checkpoint says so, too.
    pub(super) fn forget(&self, queue: QueueId, images: &[ImageId]) {
        let mut state = self.state.lock();
        for &image in images {
            let name = (queue, image);
            // What no checkpoint has seen goes at once, and never reaches the disk.
            if state.holds > 0 || state.waiting.remove(&name).is_none() {
                state.forgotten.push(name);
            }
        }
    }

    /// Begins a checkpoint: returns what may be removed once it is durable. See [`Images::end`].
    pub(super) fn begin(&self) -> Vec<Name> {
        let mut state = self.state.lock();
        state.holds += 1;
        std::mem::take(&mut state.forgotten)
    }

    /// Writes what waits, not yet durably.
    ///
    /// # Errors
    /// The store's own; everything still waits then.
    pub(super) fn flush(&self) -> Result<(), Error> {
        let waiting: Vec<(Name, Arc<[u8]>)> = {
            let mut state = self.state.lock();
            state.holds += 1;
            state.waiting.iter().map(|(name, bytes)| (*name, Arc::clone(bytes))).collect()
        };
        let result = waiting.chunks(WAITING_MAX).try_for_each(|part| {
            let batch: Batch = part.iter().map(|(name, bytes)| (key(*name), Some(bytes.to_vec()))).collect();
            self.metadata.apply(&batch)?;
            let mut state = self.state.lock();
            for (name, bytes) in part {
                state.waiting.remove(name);
                state.written.insert(*name, Arc::clone(bytes));
            }
            Ok(())
        });
        self.state.lock().holds -= 1;
        result
    }

    /// What was written since the last checkpoint may be lost: it is to be written again.
    pub(super) fn write_again(&self) {
        let mut state = self.state.lock();
        let written = std::mem::take(&mut state.written);
        state.waiting.extend(written);
    }

    /// Ends a checkpoint; `removed` is what [`Images::begin`] returned, to go if the checkpoint became durable.
    ///
    /// # Errors
    /// The store's own; they are removed later then.
    pub(super) fn end(&self, removed: Vec<Name>, is_durable: bool) -> Result<(), Error> {
        let batch: Batch = removed.iter().filter(|_| is_durable).map(|name| (key(*name), None)).collect();
        let applied = if batch.is_empty() { Ok(()) } else { self.metadata.apply(&batch) };
        let mut state = self.state.lock();
        state.holds -= 1;
        if is_durable {
            state.written.clear();
        }
        if !is_durable || applied.is_err() {
            state.forgotten.extend(removed);
        }
        applied
    }

    /// Removes the images that no checkpoint names: what a crash left. `is_named` also holds for those given out since.
    ///
    /// # Errors
    /// The store's own.
    pub(super) fn sweep(&self, is_named: impl Fn(QueueId, ImageId) -> bool) -> Result<usize, Error> {
        let mut strays = BTreeSet::new();
        self.metadata.visit(IMAGES, &mut |key, _| {
            if name(key).is_none_or(|(queue, image)| !is_named(queue, image)) {
                strays.insert(key.to_vec());
            }
            Ok(())
        })?;
        let count = strays.len();
        self.metadata.apply(&strays.into_iter().map(|key| (key, None)).collect())?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::super::index::NEVER;
    use super::super::metadata::MemoryMetadata;
    use super::*;
    use crate::name::{Position, Sequence};

    const QUEUE: QueueId = QueueId(1);

    fn entries(sequence: u64) -> Vec<IndexEntry> {
        vec![IndexEntry {
            sequence: Sequence(sequence),
            position: Position(99),
            expires_at: NEVER,
            body_bytes: 1,
            record_bytes: 30,
            returns: 0,
            failures: 0,
            priority: 0,
            is_delivered: false,
            is_durable: true,
        }]
    }

    fn images() -> (Images, Arc<MemoryMetadata>) {
        let metadata = Arc::new(MemoryMetadata::default());
        (Images::new(metadata.clone()), metadata)
    }

    #[test]
    fn an_image_is_read_from_memory_and_from_the_store_and_goes_after_a_checkpoint() {
        let (images, metadata) = images();
        images.write(QUEUE, ImageId(1), &entries(5));
        assert_eq!(images.read(QUEUE, ImageId(1)).unwrap(), entries(5));
        assert!(metadata.0.lock().is_empty());
        images.flush().unwrap();
        assert_eq!(images.read(QUEUE, ImageId(1)).unwrap(), entries(5));
        images.forget(QUEUE, &[ImageId(1)]);
        let removed = images.begin();
        assert_eq!(images.read(QUEUE, ImageId(1)).unwrap(), entries(5));
        images.end(removed, false).unwrap();
        assert_eq!(images.read(QUEUE, ImageId(1)).unwrap(), entries(5), "the checkpoint failed");
        let removed = images.begin();
        images.end(removed, true).unwrap();
        assert!(matches!(images.read(QUEUE, ImageId(1)), Err(Error::Damaged(_))));
    }

    #[test]
    fn what_no_checkpoint_has_seen_never_reaches_the_store() {
        let (images, metadata) = images();
        images.write(QUEUE, ImageId(1), &entries(5));
        images.forget(QUEUE, &[ImageId(1)]);
        images.write(QUEUE, ImageId(2), &entries(6));
        let removed = images.begin();
        // A checkpoint under way may name it.
        images.forget(QUEUE, &[ImageId(2)]);
        images.flush().unwrap();
        images.end(removed, true).unwrap();
        assert_eq!(metadata.0.lock().keys().cloned().collect::<Vec<_>>(), [key((QUEUE, ImageId(2)))]);
        images.end(images.begin(), true).unwrap();
        assert!(metadata.0.lock().is_empty());
    }

    #[test]
    fn a_sweep_removes_what_nobody_names() {
        let (images, metadata) = images();
        (1..=3).for_each(|n| _ = images.write(QUEUE, ImageId(n), &entries(n)));
        images.flush().unwrap();
        assert_eq!(images.sweep(|_, image| image != ImageId(2)).unwrap(), 1);
        let images = Images::new(metadata);
        assert!(images.read(QUEUE, ImageId(1)).is_ok() && images.read(QUEUE, ImageId(2)).is_err());
    }
}
