//! When what is written and synced, and who is told of it: group commit, and the kinds of durability.

use super::super::{Drive, Options, Step, Store, SyncWaiter, open_with};
use super::disk::SimDisk;
use super::support::{Model, held, options};
use crate::durability::{Level, Point};
use crate::name::{Position, QueueId};
use crate::time::{self, Duration, Instant};
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;

/// Up to where it was told, and of what.
#[derive(Debug, Default)]
struct Told {
    synced: Mutex<Position>,
    written: Mutex<Position>,
}

impl SyncWaiter for Told {
    fn reached(&self, point: Point) {
        let told = if point.level == Level::WrittenButLarge { &self.written } else { &self.synced };
        *told.lock() = point.end;
    }
}

/// A store with one queue in which nothing is synced unless somebody wants it.
fn start() -> (SimDisk, Store, Arc<Model>, Instant) {
    let disk = SimDisk::default();
    let now = time::now();
    let (store, model) = open(&disk);
    model.declare(&store, 1);
    step(&store, now);
    assert_eq!(store.step_committer(now), Step::Waiting(None));
    (disk, store, model, now)
}

fn open(disk: &SimDisk) -> (Store, Arc<Model>) {
    let options = Options { sync_delay: None, segment_bytes: 1 << 20, ..options(Path::new("/data")) };
    let (store, recovered) = open_with(options, disk.environment(), Drive::Manual).unwrap();
    let model = Model::new(&store, &recovered);
    (store, model)
}

/// The committer does what is due.
fn step(store: &Store, now: Instant) {
    while store.step_committer(now) == Step::Worked {}
}

/// How many messages a node finds that starts on the disk.
fn found(disk: &SimDisk) -> usize {
    let options = options(Path::new("/data"));
    let (store, recovered) = open_with(options, disk.environment(), Drive::Manual).unwrap();
    held(&store, &recovered)[&QueueId(1)].len()
}

#[test]
fn alone_a_confirm_costs_one_sync() {
    let (_disk, store, model, now) = start();
    let before = store.counters();
    for round in 1..=10 {
        let told = Arc::new(Told::default());
        let end = model.publish(&store, &[1], b"x");
        store.notify(Level::Synced.at(end), None, told.clone());
        assert_eq!(store.step_committer(now), Step::Worked);
        assert_eq!((*told.synced.lock(), store.counters().syncs - before.syncs), (end, round));
        assert_eq!(store.counters().writes - before.writes, round);
        assert!(matches!(store.step_committer(now), Step::Waiting(_)), "nothing is left to do");
    }
}

#[test]
fn what_comes_while_a_sync_runs_shares_the_next_one() {
    let (_disk, store, model, now) = start();
    let before = store.counters().syncs;
    let told: Vec<_> = (0..100)
        .map(|_| {
            let told = Arc::new(Told::default());
            store.notify(Level::Synced.at(model.publish(&store, &[1], b"x")), None, told.clone());
            told
        })
        .collect();
    step(&store, now);
    assert_eq!(store.counters().syncs - before, 1);
    assert!(told.iter().all(|told| told.synced.lock().is_some()));
}

#[test]
fn within_an_interval_it_is_told_when_written_and_synced_when_the_interval_is_over() {
    let (disk, store, model, now) = start();
    let before = store.counters().syncs;
    let (told, within) = (Arc::new(Told::default()), Duration::from_millis(50));
    let end = model.publish(&store, &[1], b"x");
    store.notify(Level::WrittenButLarge.at(end), Some(within), told.clone());
    assert_eq!(store.step_committer(now), Step::Worked);
    assert_eq!((*told.written.lock(), *told.synced.lock()), (end, Position::NONE));
    let almost = now + within - Duration::from_millis(1);
    assert_eq!(store.step_committer(almost), Step::Waiting(Some(now + within)));
    assert_eq!(store.counters().syncs, before);
    // What may be lost until then, and is not lost any more afterwards.
    assert_eq!(found(&disk.after_power_cut()), 0);
    assert_eq!(store.step_committer(now + within), Step::Worked);
    assert_eq!((store.counters().syncs - before, store.synced() >= end), (1, true));
    assert_eq!(found(&disk.after_power_cut()), 1);
    assert_eq!(store.step_committer(now + within), Step::Waiting(None), "the promise is kept, and over");
}

#[test]
fn a_shorter_interval_hurries_what_a_longer_one_had_time_for() {
    let (_disk, store, model, now) = start();
    let promise = |ms| {
        let end = model.publish(&store, &[1], b"x");
        store.notify(
            Level::WrittenButLarge.at(end),
            Some(Duration::from_millis(ms)),
            Arc::new(Told::default()),
        );
        step(&store, now);
    };
    promise(1_000);
    promise(20);
    promise(500);
    assert_eq!(store.step_committer(now), Step::Waiting(Some(now + Duration::from_millis(20))));
}

#[test]
fn what_the_operating_system_is_trusted_with_is_never_synced_for_its_own_sake() {
    let (disk, store, model, now) = start();
    let before = store.counters().syncs;
    let told = Arc::new(Told::default());
    let end = model.publish(&store, &[1], b"x");
    store.notify(Level::WrittenButLarge.at(end), None, told.clone());
    step(&store, now);
    assert_eq!(*told.written.lock(), end);
    assert_eq!(store.step_committer(now + Duration::from_secs(3_600)), Step::Waiting(None));
    assert_eq!(store.counters().syncs, before);
    assert_eq!(found(&disk.after_power_cut()), 0, "this is what it may lose");
    drop(store);
    assert_eq!(found(&disk), 1, "a crash of the process loses nothing");
}

#[test]
fn who_waits_for_a_write_that_was_made_is_told_at_once() {
    let (_disk, store, model, now) = start();
    let end = model.publish(&store, &[1], b"x");
    step(&store, now + Duration::from_millis(1));
    let told = Arc::new(Told::default());
    store.notify(Level::WrittenButLarge.at(end), Some(Duration::from_millis(7)), told.clone());
    assert_eq!(*told.written.lock(), end);
    let due = now + Duration::from_millis(8);
    assert_eq!(store.step_committer(now), Step::Waiting(Some(due)), "it was promised all the same");
}
