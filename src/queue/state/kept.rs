//! What a restart brings back: what a checkpoint keeps, where records stand, and the queue that recovery found.

use super::{Consumers, Effect, Entry, Load, Noted, Ready, Shape, State};
use crate::dead_letter::Reason;
use crate::name::{Position, Sequence};
use crate::store::index::{Aside, IndexEntry, PageSummary, QueueImage, Relocated};
use crate::time::Millis;
use foldhash::{HashMap, HashMapExt};

impl State {
    /// A queue of that shape with what recovery found. [`State::set_rules`] and [`State::resume`] are to follow.
    pub fn recovered(shape: Shape, image: QueueImage) -> Self {
        let consumers = if shape.single_active {
            Consumers::single_active(shape.single_active_yields)
        } else {
            Consumers::default()
        };
        let ready = Ready::new(shape.max_priority, image.next_image, shape.bounds);
        let next_sequence = image.next_sequence.max(Sequence(1));
        let bounds = shape.bounds;
        let mut state = Self { bounds, ready, consumers, next_sequence, ..Self::default() };
        let QueueImage { mut pages, mut entries, aside, .. } = image;
        pages.sort_unstable_by_key(|page| (page.level, page.first));
        entries.sort_unstable_by_key(|entry| entry.sequence);
        pages.into_iter().for_each(|page| state.ready.add_page(page));
        let mut asides = HashMap::with_capacity(aside.len());
        asides.extend(aside.iter().copied());
        let mut dead = HashMap::new();
        for index in entries {
            let entry = Entry { index, message: None };
            match asides.get(&index.sequence) {
                Some(Aside::Dead(_)) => drop(dead.insert(index.sequence, entry)),
                Some(Aside::HeldUntil(time)) => state.held.add(*time, entry),
                None => state.ready.insert(entry),
            }
        }
        for (sequence, aside) in aside {
            if let (Aside::Dead(reason), Some(entry)) = (aside, dead.remove(&sequence)) {
                state.leaving.add(entry, Reason::of_number(reason).unwrap_or(Reason::Rejected));
            }
        }
        // A node may have very many queues of which few will be used soon.
        state.ready.shrink();
        state.note_time();
        state
    }

    /// Asks once more for what a queue that comes back has to ask for: whoever moves dead letters is to know of them.
    pub fn resume(&mut self, effects: &mut Vec<Effect>) {
        if self.leaving.len() > 0 && !std::mem::replace(&mut self.leaving.is_told, true) {
            effects.push(Effect::DeadLetters);
        }
        self.hand_on(effects);
    }

    /// What a checkpoint keeps. What it wants done with images comes with the effects.
    pub fn image(&mut self, effects: &mut Vec<Effect>) -> QueueImage {
        let is_answered = self.noted.durable == self.noted.asked;
        if self.consumers.len() == 0 && !self.has_get_waiting && is_answered {
            // Every delivery so far is written down. Whoever comes next has it noted anew.
            self.noted = Noted::default();
        }
        let (next_sequence, deliverable_below) = (self.next_sequence, self.noted.asked);
        let mut image = QueueImage { next_sequence, deliverable_below, ..QueueImage::default() };
        self.ready.image(&mut image);
        let unacked = self.unacked.values().map(|unacked| unacked.entry.index);
        let unacked = unacked.filter(|entry| entry.is_durable);
        image.unacked = unacked.clone().map(|entry| entry.sequence).collect();
        image.entries.extend(unacked);
        let dead = self.leaving.iter().map(|dead| (dead.entry.index, Aside::Dead(dead.reason.number())));
        let held = self.held.iter().map(|(time, entry)| (entry.index, Aside::HeldUntil(time)));
        for (entry, aside) in dead.chain(held).filter(|(entry, _)| entry.is_durable) {
            image.entries.push(entry);
            image.aside.push((entry.sequence, aside));
        }
        image.reserved.extend(self.reserved.keys());
        self.load(Millis::default(), effects);
        image
    }

    /// A message's record moved in the journal. `to` is the new record's position and length.
    pub fn relocate(&mut self, sequence: Sequence, from: Position, to: (Position, u32)) -> Relocated {
        let moved = self.relocate_unacked(sequence, from, to);
        let moved = moved.or_else(|| self.leaving.relocate(sequence, from, to));
        let moved = moved.or_else(|| self.held.relocate(sequence, from, to));
        moved.unwrap_or_else(|| self.ready.relocate(sequence, from, to))
    }

    /// The entries, ready or not, whose records stand between two positions, and the cold pages that may have such.
    pub fn records_between(&self, from: Position, to: Position) -> (Vec<IndexEntry>, Vec<Load>) {
        let unacked = self.unacked.values().map(|unacked| &unacked.entry);
        let aside = self.leaving.iter().map(|dead| &dead.entry).chain(self.held.iter().map(|(_, held)| held));
        let entries = self.ready.iter().chain(unacked).chain(aside).map(|entry| entry.index);
        let entries = entries.filter(|entry| from <= entry.position && entry.position < to);
        (entries.collect(), self.ready.cold_pages(from, to))
    }

    /// Whether that page still is on disk only, in that image.
    pub fn is_cold(&self, level: u8, page: &PageSummary) -> bool {
        self.ready.cold_page(level, page).is_some()
    }

    /// Takes all messages of a queue that is deleted: entries that are here, and cold pages.
    pub fn take_all(&mut self) -> (Vec<IndexEntry>, Vec<PageSummary>) {
        let ready = self.ready.take();
        let unacked = self.unacked.drain().map(|(_, unacked)| unacked.entry.index);
        let aside = self.leaving.take().chain(self.held.take()).map(|entry| entry.index);
        (ready.entries.iter().map(|entry| entry.index).chain(unacked).chain(aside).collect(), ready.pages)
    }
}
