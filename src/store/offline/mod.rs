//! Work on a data directory whose broker is stopped: checking it, measuring it, making it smaller, and taking messages
//! out of it or putting them in. `warrenctl store` calls it, nobody else.
//!
//! Whatever only looks ([`check`], [`stats`], [`export`]) changes nothing but the process id in the lock file: it makes a
//! start of the broker upon [`dry`] files, which take no changes, and a copy of sled's folder in a scratch directory,
//! because sled writes whenever it is opened. What changes something ([`compact`], [`import`]) starts the store as the
//! broker does, with [`queues::Shelf`] in the broker's place. All of them lock the directory as a broker does.

mod check;
mod compact;
mod dry;
mod line;
mod queues;
mod stats;
#[cfg(test)]
mod tests;
mod transfer;

pub use super::Error;
pub use check::{Checked, check};
pub use compact::{Compacted, compact};
pub use line::LineError;
pub use stats::{FileStats, QueueStats, Stats, stats};
pub use transfer::{TransferError, export, import};

use super::index::IndexEntry;
use super::place::Environment;
use super::{Drive, Options, Recovered, RecoveredQueue, Store};
use crate::definition::{self, Definition};
use crate::name::QueueId;
use std::path::{Path, PathBuf};

/// Is told how far long work has come: what is done, and all there is to do, in bytes or messages.
pub type Tell<'a> = dyn FnMut(u64, u64) + 'a;

/// Which directory, and how.
#[derive(Clone, Debug)]
pub struct Place {
    options: Options,
    scratch: PathBuf,
}

impl Place {
    /// A data directory; copies of parts of it are made in a folder within `scratch` and removed again.
    pub fn new(data_dir: impl Into<PathBuf>, scratch: impl Into<PathBuf>) -> Self {
        Self { options: Options::new(data_dir), scratch: scratch.into() }
    }

    #[cfg(test)]
    fn with(options: Options, scratch: &Path) -> Self {
        Self { options, scratch: scratch.into() }
    }

    fn dir(&self) -> &Path {
        &self.options.data_dir
    }

    /// A store must not be made by a tool that was given the wrong path.
    fn check_exists(&self) -> Result<(), Error> {
        let path = self.dir().join("format");
        std::fs::metadata(&path).map(|_| ()).map_err(|error| Error::io(path, error))
    }

    /// The store as the next start would find it, without changing anything.
    fn look(&self) -> Result<(Store, Recovered), Error> {
        self.check_exists()?;
        super::open_with(self.options.clone(), dry::environment(&self.scratch)?, Drive::Manual)
    }

    /// The store itself, started.
    fn open(&self, drive: Drive) -> Result<(Store, Recovered), Error> {
        self.check_exists()?;
        super::open_with(self.options.clone(), Environment::real(), drive)
    }
}

/// The durable queues among definitions: vhost, name, definition.
fn durable_queues(definitions: &[Definition]) -> impl Iterator<Item = (&str, &str, &definition::Queue)> {
    definitions.iter().filter_map(|definition| match definition {
        Definition::Queue(vhost, name, queue) => Some((vhost.as_str(), name.as_str(), queue)),
        _ => None,
    })
}

/// Visits every message that a start brings back in a queue, page by page, and says which page could not be read.
fn visit_entries(
    store: &Store,
    id: QueueId,
    queue: &RecoveredQueue,
    visit: &mut dyn FnMut(IndexEntry) -> Result<(), Error>,
) -> Result<(), super::ReadError> {
    queue.entries().try_for_each(|entry| visit(*entry))?;
    for page in &queue.image.pages {
        let entries = store.read_image(id, page.image)?;
        entries.into_iter().filter(|entry| entry.is_durable).try_for_each(&mut *visit)?;
    }
    Ok(())
}
