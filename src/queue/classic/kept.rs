//! What the store asks of a queue: what a checkpoint keeps, and where its records stand.

use super::Queue;
use super::work::Work;
use crate::name::{Position, Sequence};
use crate::outbox::Wakes;
use crate::queue::pager;
use crate::queue::state::{Command, Load};
use crate::store::Record;
use crate::store::index::{IndexEntry, PageSummary, QueueImage, Relocated};

impl Queue {
    /// What a checkpoint is to keep, if it changed since it was last asked.
    pub fn take_image(&self) -> Option<QueueImage> {
        let mut inner = self.inner.lock();
        if inner.is_deleted || !std::mem::take(&mut inner.is_changed) {
            return None;
        }
        Work::with(|work| {
            let mut image = inner.state.image(&mut work.effects);
            // Under the lock: what other threads append meanwhile is not this queue's own.
            image.covers = self.services.store.appended();
            image.window = inner.window.kept().collect();
            self.carry_out(&mut inner, work, &mut Wakes::default());
            Some(image)
        })
    }

    /// Whether that page still is on disk only, in that image.
    pub(in crate::queue) fn has_cold(&self, level: u8, page: &PageSummary) -> bool {
        self.inner.lock().state.is_cold(level, page)
    }

    /// All entries whose records stand between two positions; pages that may have such are read. Blocks.
    /// [`Queue::tidy`] is to follow, if there are any.
    pub fn records_between(&self, from: Position, to: Position) -> Vec<IndexEntry> {
        let entries = self.lend_between(from, to);
        if entries.is_empty() {
            self.tidy();
        }
        entries
    }

    fn lend_between(&self, from: Position, to: Position) -> Vec<IndexEntry> {
        loop {
            let (entries, pages) = self.inner.lock().state.records_between(from, to);
            let mut is_any = false;
            for page in pages {
                let Load::Page { level, page } = page else { continue };
                match pager::read_page(&self.services.store, self, level, &page) {
                    Ok(command) => {
                        is_any = true;
                        self.answer(command, &mut Wakes::default());
                        self.inner.lock().lent.push((level, page.first));
                    }
                    Err(error) => tracing::warn!(queue = %self.name, %error, "a page cannot be read"),
                }
            }
            if !is_any {
                return entries;
            }
        }
    }

    /// A message's record moved in the journal.
    pub fn relocate(&self, sequence: Sequence, from: Position, to: Record) -> Relocated {
        let mut inner = self.inner.lock();
        if inner.is_deleted {
            return Relocated::Refused;
        }
        inner.is_changed = true;
        inner.state.relocate(sequence, from, to)
    }

    /// Pages that were read for [`Queue::records_between`] may leave memory again.
    pub fn tidy(&self) {
        let mut inner = self.inner.lock();
        let lent = std::mem::take(&mut inner.lent);
        if !inner.is_deleted && !lent.is_empty() {
            self.run(&mut inner, Command::PagesBack(&lent), &mut Wakes::default());
        }
    }
}
