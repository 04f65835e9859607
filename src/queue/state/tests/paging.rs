//! What leaves memory, and comes back when it is wanted.

use super::*;
use crate::store::index::{ImageId, PageSummary, Relocated};
use std::collections::BTreeMap;

/// A queue whose messages may leave memory at any time, with a store that answers what it asks.
pub(super) struct Paged {
    pub(super) state: State,
    pub(super) images: BTreeMap<ImageId, Vec<IndexEntry>>,
    pub(super) load: Option<Load>,
    /// Where the records stand that moved.
    moved: BTreeMap<Sequence, Position>,
}

impl Paged {
    pub(super) fn new(max_priority: u8) -> Self {
        let shape = Shape { max_priority, ..Shape::default() };
        let mut state = State::recovered(shape, QueueImage::default());
        state.set_pressure(Pressure {
            window: Window { low_bytes: 500, high_bytes: 4_000 },
            ..Pressure::default()
        });
        Self { state, images: Default::default(), load: None, moved: Default::default() }
    }

    /// Applies a command; notes what is to be read, and does what is to be done with images at once.
    pub(super) fn run(&mut self, now: Millis, command: Command<'_>) -> Vec<Effect> {
        let effects = run_at(&mut self.state, now, command);
        self.note(now, effects)
    }

    pub(super) fn note(&mut self, now: Millis, effects: Vec<Effect>) -> Vec<Effect> {
        let mut rest = Vec::new();
        for effect in effects {
            match effect {
                Effect::WriteImage(new) => assert!(self.images.insert(new.image, new.entries).is_none()),
                Effect::ForgetImage(image) => assert!(self.images.remove(&image).is_some(), "{image:?}"),
                Effect::PageSettled(page) => {
                    let entries = self.images.remove(&page.image).unwrap();
                    rest.extend(entries.into_iter().map(Effect::Settled));
                }
                Effect::Load(load) => {
                    let is_there = |page: &PageSummary| self.images.contains_key(&page.image);
                    assert!(
                        !matches!(&load, Load::Page { page, .. } if !is_there(page)),
                        "it is written before"
                    );
                    assert!(self.load.replace(load).is_none(), "one at a time");
                }
                Effect::Unstored { level, sequence, .. } => {
                    let (position, record_bytes) = (Position(sequence.0 * 10), 10);
                    rest.extend(self.run(now, Command::Stored { level, sequence, position, record_bytes }));
                }
                other => rest.push(other),
            }
        }
        rest
    }

    /// The store answers.
    pub(super) fn answer(&mut self, now: Millis) -> Vec<Effect> {
        match self.load.take() {
            Some(Load::Page { level, page }) => {
                // Purged meanwhile: then there is nothing to be answered.
                let entries = self.images.get(&page.image).cloned().unwrap_or_default();
                self.run(now, Command::PageLoaded { level, page, entries, is_rebuilt: false })
            }
            Some(Load::Bodies(wanted)) => {
                let read = |wanted: Wanted| {
                    let position = self.position(wanted.sequence);
                    // One that moved since it was asked for may still be read where it was, if its file is there yet.
                    let is_read = wanted.position == position || wanted.position.0.is_multiple_of(20);
                    (wanted, if is_read { Read::Message(message()) } else { Read::Lost })
                };
                let read = wanted.into_iter().map(read).collect();
                self.run(now, Command::Loaded(read))
            }
            None => Vec::new(),
        }
    }

    fn position(&self, sequence: Sequence) -> Position {
        self.moved.get(&sequence).copied().unwrap_or(Position(sequence.0 * 10))
    }

    /// The compactor moves a record.
    pub(super) fn relocate(&mut self, sequence: Sequence) {
        let from = self.position(sequence);
        let to = Position(from.0 + 1_000_000_000 + 10 * (sequence.0 % 2));
        if self.state.relocate(sequence, from, (to, 10)) == Relocated::Moved {
            self.moved.insert(sequence, to);
        }
    }

    /// Takes the first message, reading until it is there.
    pub(super) fn get(&mut self, now: Millis) -> (Option<(u64, bool, u16)>, Vec<Effect>) {
        let mut others = Vec::new();
        loop {
            let mut is_later = false;
            for effect in self.run(now, Command::Get { acknowledges: true }) {
                match effect {
                    Effect::Got { sequence, redelivered, .. } => {
                        let returns = self.state.unacked_entry(sequence).unwrap().returns;
                        return (Some((sequence.0, redelivered, returns)), others);
                    }
                    Effect::GetLater => is_later = true,
                    other => others.push(other),
                }
            }
            if !is_later {
                return (None, others);
            }
            assert!(self.load.is_some(), "nothing is being read, and nothing will come");
            others.extend(self.answer(now));
        }
    }
}

/// A queue of `count` messages of which only the journal has the bodies.
fn deep(count: u64) -> Paged {
    let mut paged = Paged::new(0);
    for _ in 0..count {
        let sequence = paged.state.take_sequence();
        paged.run(NOW, Command::Enqueue(entry(sequence.0)));
    }
    while paged.state.memory_bytes() > 0 {
        paged.run(NOW, Command::Evict { bytes: u64::MAX });
    }
    paged
}

#[test]
fn a_page_that_becomes_cold_when_it_is_due_is_written_before_it_is_asked_for() {
    let mut paged = Paged::new(0);
    for _ in 0..8 * 1024 {
        let sequence = paged.state.take_sequence();
        paged.run(NOW, Command::Enqueue(expiring(sequence.0, Millis(NOW.0 + 500))));
    }
    // Where the first pages are enough, the others leave memory although they are due soon.
    while paged.load.is_none() {
        paged.run(NOW, Command::Evict { bytes: u64::MAX });
    }
    assert!(matches!(paged.load, Some(Load::Page { .. })));
}

#[test]
fn a_page_that_was_lent_goes_back_unless_it_is_due_soon() {
    let mut paged = Paged::new(0);
    for number in 0..8 * 1024 {
        let sequence = paged.state.take_sequence();
        let at = if number / 1024 == 2 { Millis(NOW.0 + 3_000) } else { NEVER };
        paged.run(NOW, Command::Enqueue(expiring(sequence.0, at)));
    }
    while paged.state.memory_bytes() > 0 {
        paged.run(NOW, Command::Evict { bytes: u64::MAX });
    }
    let cold = |paged: &Paged| paged.state.records_between(Position(0), Position(u64::MAX)).1;
    let mut lent = Vec::new();
    for load in cold(&paged) {
        let Load::Page { level, page } = load else { panic!("a page is cold") };
        lent.push((level, page.first));
        let entries = paged.images[&page.image].clone();
        paged.run(NOW, Command::PageLoaded { level, page, entries, is_rebuilt: false });
    }
    assert_eq!((lent.len(), cold(&paged).len()), (4, 0));
    paged.run(NOW, Command::PagesBack(&lent));
    assert_eq!(cold(&paged).len(), 3);
}

#[test]
fn a_long_backlog_leaves_memory_but_for_its_ends() {
    let mut paged = deep(100_000);
    assert_eq!((paged.state.ready_count(), paged.state.paged_count()), (100_000, 100_000));
    assert_eq!(paged.images.len(), 100_000 / 1024 + 1 - 4);
    // What is read ahead is bounded by the window, however many consumers there are.
    run(&mut paged.state, Command::Subscribe(consumer(1, 0)));
    paged.load = Some(Load::Bodies(Vec::new()));
    paged.answer(NOW);
    assert!(paged.state.memory_bytes() < 20_000, "{}", paged.state.memory_bytes());
}

#[test]
fn a_consumer_gets_a_backlog_in_order_while_it_is_read_ahead() {
    let mut paged = deep(20_000);
    let first = paged.run(NOW, Command::Subscribe(consumer(1, 0)));
    let mut order: Vec<u64> = delivered(&first).iter().map(|(_, sequence, _)| *sequence).collect();
    while paged.load.is_some() || paged.state.has_more() {
        let effects =
            if paged.state.has_more() { paged.run(NOW, Command::Continue) } else { paged.answer(NOW) };
        order.extend(delivered(&effects).iter().map(|(_, sequence, _)| *sequence));
    }
    assert_eq!(order, (1..=20_000).collect::<Vec<_>>());
}

#[test]
fn a_page_of_which_a_restart_leaves_nothing_does_not_hide_those_behind_it() {
    let entries = |from: u64| (from..from + 3).map(index).collect::<Vec<_>>();
    let transient = |entry: IndexEntry| IndexEntry { is_durable: false, ..entry };
    let gone: Vec<_> = entries(1).into_iter().map(transient).collect();
    let gone = PageSummary { counts: Default::default(), ..PageSummary::of(ImageId(0), 0, &gone) };
    let pages = vec![gone, PageSummary::of(ImageId(1), 0, &entries(4))];
    let image =
        QueueImage { next_sequence: Sequence(7), next_image: ImageId(2), pages, ..QueueImage::default() };
    let images = [(ImageId(0), Vec::new()), (ImageId(1), entries(4))].into();
    let mut paged = Paged { state: State::recovered(Shape::default(), image), images, ..Paged::new(0) };
    assert_eq!(paged.get(NOW).0, Some((4, false, 0)));
    assert!(!paged.images.contains_key(&ImageId(0)), "its image is of no use");
}

#[test]
fn a_purge_forgets_pages_without_reading_them() {
    let mut paged = deep(10_000);
    let pages = paged.images.len();
    let mut effects = Vec::new();
    paged.state.apply(NOW, Command::Purge, &mut effects);
    let settled: usize = effects.iter().filter(|effect| matches!(effect, Effect::PageSettled(_))).count();
    assert_eq!((settled, paged.state.ready_count()), (pages, 0));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Load(_))));
}

#[test]
fn what_the_journal_has_of_a_damaged_page_is_delivered_and_the_page_is_written_anew() {
    let mut paged = deep(8 * 1024);
    let Some(Load::Page { level, page }) =
        paged.state.records_between(Position(0), Position(u64::MAX)).1.pop()
    else {
        panic!("a page is cold");
    };
    let damaged = page.image;
    // One of its messages is not in the journal either.
    let entries =
        paged.images[&damaged].iter().skip(1).map(|entry| IndexEntry { is_delivered: true, ..*entry });
    let entries = entries.collect();
    paged.run(NOW, Command::PageLoaded { level, page, entries, is_rebuilt: true });
    assert_eq!((paged.state.ready_count(), paged.images.contains_key(&damaged)), (8 * 1024 - 1, false));
    while paged.state.memory_bytes() > 0
        || paged.state.records_between(Position(0), Position(u64::MAX)).1.len() < 4
    {
        paged.run(NOW, Command::Evict { bytes: u64::MAX });
    }
    let mut got = 0;
    while paged.get(NOW).0.is_some() {
        got += 1;
    }
    assert_eq!(got, 8 * 1024 - 1);
}

#[test]
fn a_message_that_cannot_be_read_is_lost_alone() {
    let mut paged = deep(3_000);
    paged.run(NOW, Command::Get { acknowledges: false });
    let Some(Load::Bodies(wanted)) = paged.load.take() else { panic!("bodies are wanted") };
    let read = |wanted: Wanted| {
        let read = if wanted.sequence == Sequence(1) { Read::Lost } else { Read::Message(message()) };
        (wanted, read)
    };
    let effects = paged.run(NOW, Command::Loaded(wanted.into_iter().map(read).collect()));
    assert_eq!(effects, [Effect::Lost(index(1))]);
    assert_eq!(paged.get(NOW).0, Some((2, false, 0)));
}

#[test]
fn a_record_that_moved_is_read_where_it_is_now() {
    let mut paged = deep(10);
    paged.run(NOW, Command::Get { acknowledges: false });
    let Some(Load::Bodies(wanted)) = paged.load.take() else { panic!("bodies are wanted") };
    let relocate = |paged: &mut Paged, sequence: u64, to: u64| {
        paged.state.relocate(Sequence(sequence), Position(10), (Position(to), 11))
    };
    assert_eq!(relocate(&mut paged, 1, 999), Relocated::Moved);
    assert_eq!(relocate(&mut paged, 1, 998), Relocated::Refused, "it is not there any more");
    assert_eq!(relocate(&mut paged, 11, 998), Relocated::Settled);
    let lost = wanted.into_iter().map(|wanted| (wanted, Read::Lost)).take(1).collect();
    assert_eq!(paged.run(NOW, Command::Loaded(lost)), []);
    let Some(Load::Bodies(wanted)) = paged.load.take() else { panic!("it is asked for again") };
    assert_eq!(
        (wanted[0].sequence, wanted[0].position, wanted[0].record_bytes),
        (Sequence(1), Position(999), 11)
    );
}

#[test]
fn a_message_that_moved_while_it_was_read_is_delivered() {
    let mut paged = deep(10);
    paged.run(NOW, Command::Subscribe(consumer(1, 0)));
    paged.relocate(Sequence(2));
    let effects = paged.answer(NOW);
    let order: Vec<u64> = delivered(&effects).iter().map(|(_, sequence, _)| *sequence).collect();
    assert_eq!(order, (1..=10).collect::<Vec<_>>());
}

#[test]
fn a_message_that_did_not_come_is_asked_for_again_however_short_the_queue() {
    let mut paged = deep(10);
    paged.state.set_pressure(Pressure::default());
    paged.run(NOW, Command::Subscribe(consumer(1, 0)));
    assert!(paged.load.take().is_some());
    paged.run(NOW, Command::Loaded(Vec::new()));
    let effects = paged.answer(NOW);
    assert_eq!(delivered(&effects).len(), 10);
}

#[test]
fn a_message_whose_page_left_memory_keeps_its_record_and_does_not_count_as_settled() {
    let mut paged = deep(10_000);
    let relocated = paged.state.relocate(Sequence(5_000), Position(50_000), (Position(200_000), 10));
    assert_eq!(relocated, Relocated::Refused);
}

#[test]
fn while_memory_is_short_unacked_and_waiting_messages_are_in_the_journal_only() {
    let mut paged = deep(0);
    paged.state.set_pressure(Pressure { is_lean: true, keep_bytes: 64 << 10, ..Pressure::default() });
    for _ in 0..2_000 {
        let sequence = paged.state.take_sequence();
        paged.run(NOW, Command::Enqueue(entry(sequence.0)));
    }
    let kept = paged.state.memory_bytes();
    assert!((64 << 10..(64 << 10) + 1_000).contains(&kept), "{kept}");
    assert!(paged.state.would_park());
    assert_eq!(paged.get(NOW).0, Some((1, false, 0)));
    paged.run(NOW, Command::Requeue { plain: &[Sequence(1)], failed: &[] });
    assert_eq!(paged.get(NOW).0, Some((1, true, 1)));
}

#[test]
fn a_limit_that_is_lowered_holds_for_a_deep_queue_once_its_pages_are_read() {
    let mut paged = deep(20_000);
    paged.state.set_rules(Rules { length_max: Some(10), ..Rules::default() });
    let mut gone = Vec::new();
    let mut note = |effects: Vec<Effect>| {
        gone.extend(effects.into_iter().filter_map(|effect| match effect {
            Effect::Left(index, Reason::MaxLen) => Some(index.sequence.0),
            _ => None,
        }));
    };
    // As whoever sets it does: until nothing more leaves at once.
    let mut before = usize::MAX;
    while paged.state.ready_count() < before {
        before = paged.state.ready_count();
        note(paged.run(NOW, Command::Trim));
    }
    while paged.load.is_some() {
        note(paged.answer(NOW));
    }
    assert_eq!(paged.state.ready_count(), 10);
    assert_eq!(gone, (1..=19_990).collect::<Vec<_>>());
}
