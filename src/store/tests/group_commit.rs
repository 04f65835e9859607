//! When what is written and synced, and who is told of it: group commit, and the kinds of durability.

use super::super::{Drive, Options, Step, Store, SyncWaiter, open_with};
use super::disk::{Op, SimDisk};
use super::support::{Model, held, options};
use crate::durability::{Level, Point};
use crate::name::{Position, QueueId};
use crate::time::{self, Duration, Instant};
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;

/// Longer than the committer pauses between writes that nobody waits for.
const WRITE_PAUSE: Duration = Duration::from_millis(2);

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
fn a_declare_costs_one_sync() {
    let (_disk, store, model, now) = start();
    for (before, id) in (store.counters().syncs..).zip(2..=50) {
        model.declare(&store, id);
        step(&store, now);
        assert_eq!((store.synced(), store.counters().syncs), (store.appended(), before + 1));
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

#[test]
fn who_has_nothing_else_to_do_commits_in_its_own_thread() {
    let disk = SimDisk::default();
    let syncing_threads = Arc::new(Mutex::new(Vec::new()));
    let seen = syncing_threads.clone();
    disk.set_hook(move |op, path| {
        if op == Op::Sync && path.extension().is_some_and(|extension| extension == "journal") {
            seen.lock().push(std::thread::current().id());
        }
        Ok(())
    });
    let (store, recovered) =
        open_with(options(Path::new("/data")), disk.environment(), Drive::Threads).unwrap();
    let model = Model::new(&store, &recovered);
    model.declare(&store, 1);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let publish = |store: &Store| {
        let _batch = store.batch();
        let point = Level::Synced.at(model.publish(store, &[1], b"x"));
        syncing_threads.lock().clear();
        store.commit_here(point);
        (point, store.has_reached(point))
    };
    // The committer may be on its way to sleep, and then does it: not ever so often.
    let is_done_here = runtime.block_on(async {
        for _ in 0..10_000 {
            let (point, has_reached) = publish(&store);
            if has_reached && *syncing_threads.lock() == [std::thread::current().id()] {
                return true;
            }
            store.wait(point).await.unwrap();
        }
        false
    });
    assert!(is_done_here);
    // Where another task would have to wait with it, it is left to the committer.
    let alone = tokio::runtime::Builder::new_current_thread().build().unwrap();
    alone.block_on(async {
        let (point, _) = publish(&store);
        store.wait(point).await.unwrap();
        assert!(!syncing_threads.lock().contains(&std::thread::current().id()));
    });
    store.close().unwrap();
    drop(store);
    assert!(found(&disk) > 0);
}

#[test]
fn in_a_batch_nobody_is_woken_before_its_end_or_somebody_waits() {
    let disk = SimDisk::default();
    let (store, recovered) =
        open_with(options(Path::new("/data")), disk.environment(), Drive::Threads).unwrap();
    let model = Model::new(&store, &recovered);
    model.declare(&store, 1);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for _ in 0..100 {
        let batch = store.batch();
        let end = model.publish(&store, &[1], b"x");
        runtime.block_on(store.wait_synced(end)).unwrap();
        let end = model.publish(&store, &[1], b"y");
        drop(batch);
        let told = Level::Written.at(end);
        // Not `wait`, which would hurry it up.
        while !store.has_reached(told) {
            std::thread::yield_now();
        }
    }
    store.close().unwrap();
}

#[test]
fn small_writes_go_where_zeros_stand_and_none_are_left_when_the_file_ends() {
    let (disk, store, model, now) = start();
    let length = |disk: &SimDisk| disk.durable(disk.paths(".journal").last().unwrap()).len() as u64;
    let mut lengths = Vec::new();
    for _ in 0..50 {
        let end = model.publish(&store, &[1], b"x");
        store.notify(Level::Synced.at(end), None, Arc::new(Told::default()));
        step(&store, now);
        assert!(length(&disk) > end.0, "room stands behind the records");
        lengths.push(length(&disk));
    }
    lengths.dedup();
    assert_eq!(lengths.len(), 1, "the file has grown once");
    // Another file begins: what is behind the records of this one must be nothing.
    while model.publish(&store, &[1], &[1; 60_000]).0 < (1 << 20) - 60_000 {
        step(&store, now + WRITE_PAUSE);
    }
    step(&store, now + 2 * WRITE_PAUSE);
    let end = model.publish(&store, &[1], b"x");
    store.notify(Level::Synced.at(end), None, Arc::new(Told::default()));
    step(&store, now + 3 * WRITE_PAUSE);
    assert!(length(&disk) > 1 << 20, "room goes beyond where the file ends");
    for pauses in 4..6 {
        model.publish(&store, &[1], &[1; 60_000]);
        step(&store, now + pauses * WRITE_PAUSE);
    }
    let [first, second] = &disk.paths(".journal")[..] else { panic!("two files") };
    let start: u64 = second.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    assert_eq!(disk.durable(first).len() as u64, start);
    let messages = model.held()[&QueueId(1)].len();
    store.close().unwrap();
    drop(store);
    assert_eq!(found(&disk), messages);
}
