//! A node: the real store driven by hand, and real queue machines on top of it with the least shell that carries their
//! effects out. Reading what a queue asked for and answering it are steps of their own, so that anything may happen
//! between them.

use crate::disk::SimDisk;
use crate::ledger::{Ledger, Moved, Place, Synced};
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use warren::definition::{Change, Definition, Queue};
use warren::durability::{Durability, Level, Point};
use warren::message::{Message, Properties};
use warren::name::{Position, QueueId, Sequence};
use warren::queue::state::{Bounds, Command, Effect, Entry, Load, Pressure, Read, Shape, State, Window};
use warren::store::index::{IndexEntry, NEVER, PageSummary, QueueImage, Relocated};
use warren::store::record::{Origin, Progress, Range};
use warren::store::{
    Drive, Options, Queues, Record, Recovered, RecoveredQueue, Settled, Step, Store, open_with,
};
use warren::time::{Duration, Instant, Millis};

const BOUNDS: Bounds =
    Bounds { page_entries: 4, imaged_entries_min: 2, load_entries_max: 6, noted_messages: 8 };

pub(crate) fn options() -> Options {
    Options {
        segment_bytes: 2_048,
        large_body_bytes: 200,
        slice_bytes: 60,
        sled_batch_bytes: 1,
        sync_delay: Some(Duration::from_millis(20)),
        ..Options::new("/data")
    }
}

/// A message that a start found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FoundMessage {
    /// What its body says.
    pub(crate) number: u64,
    pub(crate) is_delivered: bool,
    pub(crate) returns: u32,
}

/// What a start found, by queue and place.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) queues: BTreeMap<QueueId, BTreeMap<Sequence, FoundMessage>>,
    /// Stretches of the journal that a start took for damage.
    pub(crate) damages: u64,
}

impl Found {
    pub(crate) fn places(&self) -> impl Iterator<Item = Place> {
        let places = self.queues.iter();
        places.flat_map(|(queue, messages)| messages.keys().map(|sequence| (*queue, *sequence)))
    }
}

#[derive(Default)]
struct Held {
    state: State,
    is_changed: bool,
    /// Asked for, oldest first: more than one where the compactor read a page that was asked for.
    loads: VecDeque<Load>,
    answers: VecDeque<Command<'static>>,
    notes: Vec<(Point, Sequence)>,
    unacked: Vec<Sequence>,
    /// What was told to a `Get`.
    got: Option<(Sequence, bool, Arc<Message>)>,
    effects: Vec<Effect>,
}

/// The queues, as the store asks them.
#[derive(Default)]
struct Broker {
    store: Mutex<Option<Store>>,
    ledger: Mutex<Ledger>,
    queues: Mutex<BTreeMap<QueueId, Held>>,
    /// Memory is short while the compactor works: pages leave between its questions.
    is_evicting: AtomicBool,
}

pub(crate) struct Node {
    pub(crate) store: Store,
    broker: Arc<Broker>,
    next_queue_id: u64,
    pub(crate) next_number: u64,
}

/// When a record that ends there is safe.
fn safe_at(end: Position, is_large: bool) -> Point {
    Durability::Sync.safe_at(end, is_large).point
}

fn message(number: u64, length: usize, is_persistent: bool) -> Arc<Message> {
    let raw: &[u8] = if is_persistent { &[0x10, 0, 2] } else { &[0, 0] };
    let parsed = Properties::parse(raw).expect("properties");
    let mut body = number.to_le_bytes().to_vec();
    body.resize(8 + length, number as u8);
    Arc::new(Message::new("".into(), b"key", raw, &parsed, &[&body]))
}

fn number(message: &Message) -> u64 {
    u64::from_le_bytes(message.body()[..8].try_into().expect("a number in front"))
}

fn settled(entry: &IndexEntry) -> Settled {
    let IndexEntry { sequence, position, record_bytes, is_durable, .. } = *entry;
    Settled { sequence, position, record_bytes, is_durable }
}

fn definition(id: QueueId) -> Definition {
    let (kind, arguments) = ("classic".into(), Default::default());
    let queue = Queue {
        id,
        kind,
        durable: true,
        auto_delete: false,
        exclusive: false,
        arguments,
        role: Default::default(),
    };
    Definition::Queue("/".into(), format!("queue-{id}").as_str().into(), queue)
}

impl Broker {
    fn store(&self) -> Store {
        self.store.lock().clone().expect("the store is open")
    }

    fn run(&self, id: QueueId, held: &mut Held, command: Command<'_>, skip_settled: bool) {
        let mut effects = std::mem::take(&mut held.effects);
        held.state.apply(Millis(0), command, &mut effects);
        held.effects = effects;
        self.carry_out(id, held, skip_settled);
    }

    /// Carries out the effects, as the broker's queues do; settles that a transaction's record says are not written down.
    fn carry_out(&self, id: QueueId, held: &mut Held, skip_settled: bool) {
        let store = self.store();
        let mut ledger = self.ledger.lock();
        let (mut gone, mut delivered, mut returned): (Vec<Settled>, _, _) =
            (Vec::new(), Vec::new(), Vec::new());
        let mut pages: Vec<PageSummary> = Vec::new();
        while !held.effects.is_empty() {
            held.is_changed = true;
            for effect in std::mem::take(&mut held.effects) {
                match effect {
                    Effect::Got { sequence, redelivered, is_durable, message, .. } => {
                        if is_durable && !redelivered {
                            delivered.push(sequence);
                        }
                        ledger.delivered((id, sequence), number(&message), redelivered);
                        held.got = Some((sequence, redelivered, message));
                        held.unacked.push(sequence);
                    }
                    Effect::GetLater => {}
                    Effect::Settled(entry) => gone.push(settled(&entry)),
                    Effect::Returned(entry, _) => returned.extend(entry.is_durable.then_some(entry.sequence)),
                    Effect::Note(below) => {
                        let progress = Progress { deliverable_below: below, ..Progress::default() };
                        held.notes.push((safe_at(store.append_progress(id, &progress), false), below));
                    }
                    Effect::PageSettled(page) => pages.push(*page),
                    Effect::Load(load) => held.loads.push_back(load),
                    Effect::WriteImage(new) => store.write_image(id, new.image, &new.entries),
                    Effect::ForgetImage(image) => store.forget_images(id, &[image]),
                    Effect::Unstored { level, sequence, message } => {
                        let origin = Origin { is_transient: true, ..Origin::default() };
                        let appended = store.append_publish(&message, &[(id, sequence)], origin);
                        let (position, record_bytes) = (appended.position, appended.record_bytes);
                        let stored = Command::Stored { level, sequence, position, record_bytes };
                        held.state.apply(Millis(0), stored, &mut held.effects);
                    }
                    other => panic!("{id}: {other:?}"),
                }
            }
        }
        let ranges: Vec<Range> = pages.iter().flat_map(|page| page.live.iter()).collect();
        let written: &[Settled] = if skip_settled { &[] } else { &gone };
        let progress = Progress {
            settled: written,
            settled_ranges: &ranges,
            delivered: &delivered,
            returned: &returned,
            ..Progress::default()
        };
        if !written.is_empty() || !progress.is_empty() {
            let end = safe_at(store.append_progress(id, &progress), false);
            written.iter().for_each(|settled| ledger.settled((id, settled.sequence), end));
            returned.iter().for_each(|sequence| ledger.returned((id, *sequence), end));
            for page in &pages {
                let transient = |fate: &crate::ledger::Fate| !fate.is_persistent;
                let places: Vec<Place> = ledger
                    .fates
                    .range((id, page.first)..=(id, page.last))
                    .filter(|((_, sequence), fate)| {
                        fate.settled.is_none() && (page.live.contains(*sequence) || transient(fate))
                    })
                    .filter(|((_, sequence), _)| !held.unacked.contains(sequence))
                    .map(|(place, _)| *place)
                    .collect();
                places.into_iter().for_each(|place| ledger.settled(place, end));
            }
        }
        for page in pages {
            let entries = store.read_image(id, page.image).expect("a page that is named can be read");
            let is_here = |entry: &&IndexEntry| page.holds(entry);
            let records: Vec<Record> =
                entries.iter().filter(is_here).map(|entry| (entry.position, entry.record_bytes)).collect();
            store.release(&records);
            store.forget_images(id, &[page.image]);
        }
    }
}

impl Queues for Broker {
    fn visit_changed(&self, visit: &mut dyn FnMut(QueueId, QueueImage)) {
        for (&id, held) in self.queues.lock().iter_mut() {
            if std::mem::take(&mut held.is_changed) {
                let mut effects = std::mem::take(&mut held.effects);
                let mut image = held.state.image(&mut effects);
                image.covers = self.store().appended();
                held.effects = effects;
                self.carry_out(id, held, false);
                visit(id, image);
            }
        }
    }

    fn visit_between(&self, from: Position, to: Position, visit: &mut dyn FnMut(QueueId, IndexEntry)) {
        for (&id, held) in self.queues.lock().iter_mut() {
            loop {
                let (entries, pages) = held.state.records_between(from, to);
                if pages.is_empty() {
                    entries.into_iter().for_each(|entry| visit(id, entry));
                    break;
                }
                for load in pages {
                    let command = page_answer(&self.store(), id, load);
                    self.run(id, held, command, false);
                }
            }
        }
    }

    fn relocate(&self, queue: QueueId, sequence: Sequence, from: Position, to: Record) -> Relocated {
        let mut queues = self.queues.lock();
        let Some(held) = queues.get_mut(&queue) else { return Relocated::Refused };
        if self.is_evicting.load(Relaxed) {
            self.run(queue, held, Command::Evict { bytes: u64::MAX }, false);
        }
        held.is_changed = true;
        held.state.relocate(sequence, from, to)
    }

    fn tidy(&self, queue: QueueId) {
        if let Some(held) = self.queues.lock().get_mut(&queue) {
            self.run(queue, held, Command::Evict { bytes: 0 }, false);
        }
    }
}

fn page_answer(store: &Store, id: QueueId, load: Load) -> Command<'static> {
    let Load::Page { level, page } = load else { panic!("a page was asked for") };
    // A page that was purged or taken since has no image, and its answer means nothing.
    let entries = store.read_image(id, page.image).unwrap_or_default();
    Command::PageLoaded { level, page, entries, is_rebuilt: false }
}

/// Opens the store and is gone again; the disk may fail at any moment.
pub(crate) fn start_in_vain(disk: &SimDisk) {
    // What the error says is the disk's.
    drop(open_with(options(), disk.environment(), Drive::Manual));
}

impl Node {
    /// Starts a node and says what it found.
    pub(crate) fn start(disk: &SimDisk, ledger: Ledger) -> (Self, Found) {
        let (store, mut recovered) =
            open_with(options(), disk.environment(), Drive::Manual).expect("the store opens");
        let found = found(&store, &recovered);
        let broker = Arc::new(Broker::default());
        *broker.store.lock() = Some(store.clone());
        *broker.ledger.lock() = ledger;
        for definition in &recovered.definitions {
            if let Definition::Queue(_, _, queue) = definition {
                let messages = recovered.queues.remove(&queue.id).unwrap_or_default();
                let mut held = held(messages);
                broker.carry_out(queue.id, &mut held, false);
                broker.queues.lock().insert(queue.id, held);
            }
        }
        let source: Weak<dyn Queues> = Arc::downgrade(&(Arc::clone(&broker) as Arc<dyn Queues>));
        store.set_queues(source);
        let next_queue_id = recovered.next_queue_id.0;
        (Self { store, broker, next_queue_id, next_number: 0 }, found)
    }

    pub(crate) fn synced(&self) -> Synced {
        Synced {
            all: self.store.reached(Level::Synced),
            but_large: self.store.reached(Level::SyncedButLarge),
        }
    }

    /// Lets the compactor take a step.
    pub(crate) fn compact(&self, is_evicting: bool) -> Step {
        self.broker.is_evicting.store(is_evicting, Relaxed);
        self.store.step_compactor()
    }

    pub(crate) fn ledger<T>(&self, work: impl FnOnce(&mut Ledger) -> T) -> T {
        work(&mut self.broker.ledger.lock())
    }

    pub(crate) fn queue_ids(&self) -> Vec<QueueId> {
        self.broker.queues.lock().keys().copied().collect()
    }

    /// The process is gone; what the ledger says stays.
    pub(crate) fn stop(self) -> Ledger {
        *self.broker.store.lock() = None;
        std::mem::take(&mut self.broker.ledger.lock())
    }

    pub(crate) fn declare(&mut self) {
        let id = QueueId(self.next_queue_id);
        self.next_queue_id += 1;
        let at = safe_at(self.store.append_changes(&[Change::Put(definition(id))]), false);
        self.ledger(|ledger| ledger.declared(id, at));
        self.broker.queues.lock().insert(id, held(RecoveredQueue::default()));
    }

    pub(crate) fn delete(&mut self, id: QueueId) {
        let at = safe_at(self.store.append_changes(&[Change::Delete(definition(id).key())]), false);
        self.ledger(|ledger| ledger.deleted(id, at));
        let Some(mut held) = self.broker.queues.lock().remove(&id) else { return };
        let (mut entries, pages) = held.state.take_all();
        for page in pages {
            let of_page = self.store.read_image(id, page.image).expect("a page that is named can be read");
            entries.extend(of_page.into_iter().filter(|entry| page.holds(entry)));
            self.store.forget_images(id, &[page.image]);
        }
        let stored = entries.iter().filter(|entry| entry.position.is_some());
        let records: Vec<Record> = stored.map(|entry| (entry.position, entry.record_bytes)).collect();
        self.store.release(&records);
    }

    /// Publishes to one queue or several. Persistent messages have one record, which ends at the returned position.
    pub(crate) fn publish(&mut self, queues: &[QueueId], length: usize, is_persistent: bool) {
        let number = self.next_number;
        self.next_number += 1;
        let message = message(number, length, is_persistent);
        let _hold = self.store.hold_checkpoints();
        let mut guard = self.broker.queues.lock();
        let mut targets = Vec::new();
        for id in queues {
            if let Some(held) = guard.get_mut(id) {
                held.is_changed = true;
                targets.push((*id, held.state.reserve(length as u32)));
            }
        }
        if targets.is_empty() {
            return;
        }
        let appended =
            is_persistent.then(|| self.store.append_publish(&message, &targets, Origin::default()));
        for (id, sequence) in targets {
            let safe = appended.map(|appended| safe_at(appended.end, appended.is_large));
            self.ledger(|ledger| ledger.published((id, sequence), number, safe));
            let place = appended.map(|appended| (appended.position, appended.record_bytes));
            let held = guard.get_mut(&id).expect("it was there");
            self.broker.run(id, held, Command::Enqueue(entry(sequence, place, &message)), false);
        }
    }

    /// Takes the first message of a queue; it must be the first that the ledger has.
    pub(crate) fn get(&mut self, id: QueueId) -> bool {
        let mut guard = self.broker.queues.lock();
        let Some(held) = guard.get_mut(&id) else { return false };
        self.broker.run(id, held, Command::Get { acknowledges: true }, false);
        let Some((sequence, ..)) = held.got.take() else { return false };
        let ledger = self.broker.ledger.lock();
        let is_ready = |at: &Sequence| *at == sequence || !held.unacked.contains(at);
        let first = ledger.alive(id).into_iter().map(|(at, _)| at).find(is_ready);
        assert_eq!(first, Some(sequence), "{id}: out of order");
        true
    }

    /// What a queue waits for.
    pub(crate) fn show(&self, id: QueueId) -> String {
        let guard = self.broker.queues.lock();
        let Held { state, loads, answers, notes, .. } = &guard[&id];
        let (ready, synced) = (state.ready_count(), self.synced());
        format!(
            "{ready} ready; loads {loads:?}, answers {answers:?}, notes {notes:?}, synced {synced:?}, {state:?}"
        )
    }

    pub(crate) fn unacked(&self, id: QueueId) -> Vec<Sequence> {
        self.broker.queues.lock().get(&id).map(|held| held.unacked.clone()).unwrap_or_default()
    }

    fn run(&mut self, id: QueueId, command: Command<'_>) {
        let mut guard = self.broker.queues.lock();
        let Some(held) = guard.get_mut(&id) else { return };
        if let Command::Ack(sequences) | Command::Requeue { plain: sequences, .. } = &command {
            held.unacked.retain(|sequence| !sequences.contains(sequence));
        }
        self.broker.run(id, held, command, false);
    }

    pub(crate) fn ack(&mut self, id: QueueId, sequences: &[Sequence]) {
        self.run(id, Command::Ack(sequences));
    }

    pub(crate) fn requeue(&mut self, id: QueueId, sequences: &[Sequence]) {
        self.run(id, Command::Requeue { plain: sequences, failed: &[] });
    }

    pub(crate) fn purge(&mut self, id: QueueId) {
        self.run(id, Command::Purge);
    }

    pub(crate) fn evict(&mut self, id: QueueId) {
        self.run(id, Command::Evict { bytes: u64::MAX });
    }

    /// While memory is short, messages that wait are in the journal only.
    pub(crate) fn set_lean(&mut self, id: QueueId, is_lean: bool) {
        if let Some(held) = self.broker.queues.lock().get_mut(&id) {
            held.state.set_pressure(Pressure { is_lean, ..pressure() });
        }
    }

    /// Moves unacked messages of a queue to others in one transaction.
    pub(crate) fn transfer(&mut self, from: QueueId, to: &[QueueId], length: usize) {
        let _hold = self.store.hold_checkpoints();
        let mut guard = self.broker.queues.lock();
        let Some(held) = guard.get(&from) else { return };
        let taken = held.unacked.clone();
        let entries: Vec<Settled> = taken
            .iter()
            .filter_map(|sequence| held.state.unacked_entry(*sequence))
            .filter(|entry| entry.is_durable)
            .map(|entry| settled(&entry))
            .collect();
        let number = self.next_number;
        self.next_number += 1;
        let message = message(number, length, true);
        let mut targets = Vec::new();
        for id in to {
            if let Some(held) = guard.get_mut(id) {
                held.is_changed = true;
                targets.push((*id, held.state.reserve(length as u32)));
            }
        }
        if targets.is_empty() || entries.is_empty() {
            for (id, sequence) in targets {
                self.broker.run(
                    id,
                    guard.get_mut(&id).expect("it was there"),
                    Command::Release(sequence),
                    false,
                );
            }
            return;
        }
        let held = guard.get_mut(&from).expect("it was there");
        held.unacked.clear();
        let durable: Vec<Sequence> = entries.iter().map(|settled| settled.sequence).collect();
        let transient: Vec<Sequence> =
            taken.iter().copied().filter(|sequence| !durable.contains(sequence)).collect();
        self.broker.run(from, held, Command::Ack(&transient), false);
        self.broker.run(from, held, Command::Ack(&durable), true);
        let (places, end) =
            self.store.append_transaction(&[(&*message, &targets[..])], &[(from, &entries[..])]);
        let end = safe_at(end, false);
        let moved = Moved { end, from: durable.iter().map(|at| (from, *at)).collect(), to: targets.clone() };
        self.ledger(|ledger| {
            moved.from.iter().for_each(|place| ledger.settled(*place, end));
            targets.iter().for_each(|place| ledger.published(*place, number, Some(end)));
            ledger.moved(moved);
        });
        for (id, sequence) in targets {
            let place = Some((places[0].position, places[0].record_bytes));
            let held = guard.get_mut(&id).expect("it was there");
            self.broker.run(id, held, Command::Enqueue(entry(sequence, place, &message)), false);
        }
    }

    /// Reads what a queue asked for; only what is written can be.
    pub(crate) fn read(&mut self, id: QueueId) {
        let mut guard = self.broker.queues.lock();
        let Some(held) = guard.get_mut(&id) else { return };
        let answer = match held.loads.pop_front() {
            None => None,
            Some(load @ Load::Page { .. }) => Some(page_answer(&self.store, id, load)),
            Some(Load::Bodies(wanted)) if self.store.counters().bytes_pending > 0 => {
                held.loads.push_front(Load::Bodies(wanted));
                None
            }
            Some(Load::Bodies(wanted)) => {
                let records: Vec<Record> = wanted.iter().map(|w| (w.position, w.record_bytes)).collect();
                let mut read = Vec::new();
                let found = &mut |at: usize, message: Option<Arc<Message>>| {
                    read.push((wanted[at], message.map_or(Read::Lost, Read::Message)));
                };
                self.store.read(&records, found).expect("what is written can be read");
                Some(Command::Loaded(read))
            }
        };
        held.answers.extend(answer);
    }

    /// Answers what was read, and what has become durable.
    pub(crate) fn answer(&mut self, id: QueueId) {
        let mut guard = self.broker.queues.lock();
        let Some(held) = guard.get_mut(&id) else { return };
        if let Some(answer) = held.answers.pop_front() {
            self.broker.run(id, held, answer, false);
        }
        let is_safe = |(at, _): &(Point, Sequence)| self.store.has_reached(*at);
        let (durable, waiting): (Vec<_>, Vec<_>) = held.notes.drain(..).partition(is_safe);
        held.notes = waiting;
        for (_, below) in durable {
            self.broker.run(id, held, Command::Noted(below), false);
        }
    }

    /// Everything that is due is done, and all that queues asked for is answered.
    pub(crate) fn settle_down(&mut self, now: &mut Instant) {
        for _ in 0..4 {
            *now += Duration::from_millis(50);
            while self.store.step_committer(*now) == Step::Worked {}
            while self.store.step_checkpointer(*now) == Step::Worked {
                while self.store.step_committer(*now) == Step::Worked {}
            }
            for id in self.queue_ids() {
                self.read(id);
                self.answer(id);
            }
        }
    }

    /// The files' references are those of the queues, and every record that a queue names can be read.
    pub(crate) fn check_references(&mut self) {
        if self.store.counters().bytes_pending > 0 {
            return;
        }
        let mut count = 0;
        for (id, held) in self.broker.queues.lock().iter() {
            let (mut entries, pages) = held.state.records_between(Position(1), Position(u64::MAX));
            for load in pages {
                let Load::Page { page, .. } = load else { continue };
                let of_page =
                    self.store.read_image(*id, page.image).expect("a page that is named can be read");
                let is_here = |entry: &IndexEntry| page.holds(entry);
                let of_page: Vec<IndexEntry> = of_page.into_iter().filter(is_here).collect();
                assert_eq!(of_page.len(), page.counts.all as usize, "{id}: a page and its summary {page:?}");
                entries.extend(of_page);
            }
            count += entries.len() as u64;
            let records: Vec<Record> =
                entries.iter().map(|entry| (entry.position, entry.record_bytes)).collect();
            let ledger = self.broker.ledger.lock();
            let found = &mut |at: usize, message: Option<Arc<Message>>| {
                let sequence = entries[at].sequence;
                let message = message.unwrap_or_else(|| panic!("{id} {sequence}: its record is gone"));
                assert_eq!(number(&message), ledger.fates[&(*id, sequence)].number, "{id} {sequence}");
            };
            self.store.read(&records, found).expect("what is written can be read");
        }
        assert_eq!(self.store.counters().references, count, "references of the files, and of the queues");
    }
}

fn pressure() -> Pressure {
    Pressure { is_lean: false, keep_bytes: 0, window: Window { low_bytes: 600, high_bytes: 2_000 } }
}

fn held(recovered: RecoveredQueue) -> Held {
    let RecoveredQueue { mut image, replayed, is_stored, .. } = recovered;
    image.entries.extend(replayed.into_iter().map(|(entry, _)| entry));
    let mut state = State::recovered(Shape { bounds: BOUNDS, ..Shape::default() }, image);
    state.set_pressure(pressure());
    let mut effects = Vec::new();
    state.hand_on(&mut effects);
    Held { state, effects, is_changed: !is_stored, ..Held::default() }
}

fn entry(sequence: Sequence, place: Option<(Position, u32)>, message: &Arc<Message>) -> Entry {
    let (position, record_bytes) = place.unwrap_or((Position::NONE, 0));
    let index = IndexEntry {
        sequence,
        position,
        expires_at: NEVER,
        body_bytes: message.body().len() as u32,
        record_bytes,
        returns: 0,
        failures: 0,
        priority: 0,
        is_delivered: false,
        is_durable: place.is_some(),
    };
    Entry { index, message: Some(Arc::clone(message)) }
}

/// Reads back everything that a start found.
fn found(store: &Store, recovered: &Recovered) -> Found {
    let mut found = Found { damages: recovered.report.damages, ..Found::default() };
    for definition in &recovered.definitions {
        let Definition::Queue(_, _, queue) = definition else { continue };
        let messages = found.queues.entry(queue.id).or_default();
        let Some(recovered) = recovered.queues.get(&queue.id) else { continue };
        let mut entries = recovered.image.entries.clone();
        entries.extend(recovered.replayed.iter().map(|(entry, _)| *entry));
        for page in &recovered.image.pages {
            let of_page = store.read_image(queue.id, page.image).expect("a page that is named can be read");
            entries.extend(of_page.into_iter().filter(|entry| entry.is_durable));
        }
        let records: Vec<Record> = entries.iter().map(|entry| (entry.position, entry.record_bytes)).collect();
        let read = &mut |at: usize, message: Option<Arc<Message>>| {
            let IndexEntry { sequence, is_delivered, returns, .. } = entries[at];
            let message = message.unwrap_or_else(|| panic!("{} {sequence}: its record is gone", queue.id));
            let before = messages.insert(
                sequence,
                FoundMessage { number: number(&message), is_delivered, returns: returns.into() },
            );
            assert_eq!(before, None, "{} {sequence} is there twice", queue.id);
        };
        store.read(&records, read).expect("what was recovered can be read");
    }
    found
}
