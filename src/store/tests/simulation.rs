//! The store driven by hand on a disk in memory: the same seed gives the same run, through power cuts at any step.

use super::super::{Drive, Options, Store, open_with};
use super::super::{Step, SyncWaiter};
use super::disk::SimDisk;
use super::support::{Bodies, Dice, Model, bodies, held, options};
use crate::durability::{Level, Point};
use crate::name::Position;
use crate::time::{self, Duration, Instant};
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;

fn manual() -> Options {
    Options { segment_bytes: 1024, ..options(Path::new("/data")) }
}

/// What the queues held when a record was appended, by its end.
type History = Vec<(Position, Bodies)>;

#[derive(Default)]
struct Confirmed(Mutex<Position>);

impl SyncWaiter for Confirmed {
    fn reached(&self, point: Point) {
        let mut confirmed = self.0.lock();
        *confirmed = point.end.max(*confirmed);
    }
}

/// One life of a node: random work and steps, until the dice say that the power goes. Returns what each operation of the
/// disk was, what the queues held over time, and how far it was confirmed.
fn live(dice: &mut Dice, disk: &SimDisk, now: &mut Instant) -> (Vec<String>, History, Position) {
    let trace: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = trace.clone();
    disk.set_hook(move |op, path| {
        noted.lock().push(format!("{op:?} {}", path.display()));
        Ok(())
    });
    let (store, recovered) = open_with(manual(), disk.environment(), Drive::Manual).unwrap();
    let model = Model::new(&store, &recovered);
    let confirmed = Arc::new(Confirmed::default());
    let mut history = vec![(store.synced(), bodies(model.held()))];
    for _ in 0..dice.roll(300) {
        *now += Duration::from_millis(dice.roll(3));
        let ids: Vec<u64> = model.queues.lock().keys().map(|id| id.0).collect();
        let end = match dice.roll(12) {
            0 | 1 => {
                store.step_committer(*now);
                continue;
            }
            2 | 3 => {
                store.step_checkpointer(*now);
                if dice.roll(3) == 0 {
                    store.step_compactor();
                }
                continue;
            }
            4 if ids.len() < 3 => model.declare(&store, recovered.next_queue_id.0 + ids.len() as u64 * 7),
            _ if ids.is_empty() => continue,
            5 | 6 => model.settle(&store, ids[dice.roll(ids.len() as u64) as usize], 2),
            7 => model.transfer(&store, ids[0], ids[ids.len() - 1]),
            8 => {
                model.page_out(&store, ids[dice.roll(ids.len() as u64) as usize], 5);
                continue;
            }
            n => model.publish(&store, &ids, &vec![n as u8; dice.roll(200) as usize]),
        };
        history.push((end, bodies(model.held())));
        if dice.roll(4) == 0 {
            store.notify(Level::Synced.at(end), None, confirmed.clone());
        }
    }
    let confirmed = *confirmed.0.lock();
    drop(store);
    let trace = trace.lock().clone();
    (trace, history, confirmed)
}

/// Several lives one after the other; what was confirmed must be there in the next, and nothing that never was.
fn simulate(seed: u64) -> Vec<String> {
    let mut dice = Dice(seed);
    let (mut disk, mut now, mut trace) = (SimDisk::default(), time::now(), Vec::new());
    for life in 0..6 {
        let (operations, history, confirmed) = live(&mut dice, &disk, &mut now);
        trace.extend(operations);
        disk = disk.after_power_cut();
        let (store, recovered) = open_with(manual(), disk.environment(), Drive::Manual).unwrap();
        let found = bodies(held(&store, &recovered));
        drop(store);
        let is_kept = |(end, state): &&(Position, _)| *end >= confirmed && *state == found;
        let count = history.iter().filter(is_kept).count();
        let last_confirmed = history.iter().rposition(|(end, _)| *end <= confirmed).unwrap_or(0);
        let is_last = history[last_confirmed].1 == found;
        assert!(count > 0 || is_last, "seed {seed} life {life}: {found:?} is no state since {confirmed:?}");
    }
    trace
}

#[test]
fn a_run_by_hand_loses_nothing_confirmed_and_is_the_same_for_the_same_seed() {
    for seed in 0..10 {
        assert_eq!(simulate(seed), simulate(seed), "seed {seed}");
    }
}

fn settle_down(store: &Store, now: Instant) {
    while store.step_committer(now) == Step::Worked || store.step_checkpointer(now) == Step::Worked {}
}

#[test]
fn a_checkpoint_by_hand_waits_for_transactions_and_for_the_committer() {
    let disk = SimDisk::default();
    let now = time::now();
    let (store, recovered) = open_with(manual(), disk.environment(), Drive::Manual).unwrap();
    let model = Model::new(&store, &recovered);
    model.declare(&store, 1);
    (0..10).for_each(|_| _ = model.publish(&store, &[1], &[1; 200]));
    settle_down(&store, now);
    // More than one file: the last roll asked for a checkpoint, and it was made.
    let before = store.counters();
    assert!(before.checkpoints >= 1 && before.files > 1);
    (0..10).for_each(|_| _ = model.publish(&store, &[1], &[1; 200]));
    while store.step_committer(now + Duration::from_secs(1)) == Step::Worked {}
    let hold = store.hold_checkpoints();
    while store.step_checkpointer(now) == Step::Worked {}
    drop(hold);
    model.settle(&store, 1, 1);
    while store.step_checkpointer(now) == Step::Worked {}
    assert_eq!(store.counters().checkpoints, before.checkpoints, "the settle it shows is not synced");
    settle_down(&store, now + Duration::from_secs(1));
    assert!(store.counters().checkpoints > before.checkpoints);
    store.close().unwrap();
    assert_eq!(store.step_committer(now), Step::Over);
    drop(store);
    let (store, recovered) =
        open_with(manual(), disk.after_power_cut().environment(), Drive::Manual).unwrap();
    assert!(recovered.report.clean);
    assert_eq!(held(&store, &recovered), model.held());
}

#[test]
fn what_nobody_waits_for_is_written_at_once_and_synced_after_the_delay() {
    let disk = SimDisk::default();
    let now = time::now();
    let (store, recovered) = open_with(manual(), disk.environment(), Drive::Manual).unwrap();
    let model = Model::new(&store, &recovered);
    model.declare(&store, 1);
    settle_down(&store, now);
    let end = model.publish(&store, &[1], b"x");
    let pause = Duration::from_millis(1);
    assert_eq!(store.step_committer(now), Step::Waiting(Some(now + pause)), "a write was just made");
    assert_eq!(store.step_committer(now + pause), Step::Worked);
    assert!(store.counters().bytes_pending == 0 && store.synced() < end);
    let due = now + pause + manual().sync_delay.unwrap();
    assert_eq!(store.step_committer(now + pause), Step::Waiting(Some(due)));
    assert_eq!(store.step_committer(due), Step::Worked);
    assert_eq!(store.synced(), end);
    assert_eq!(store.step_committer(due), Step::Waiting(None));
    disk.set_hook(|op, _| panic!("{op:?} after the store was dropped"));
    drop(store);
}
