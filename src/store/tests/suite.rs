//! What every message log does, on disk and in memory.

use super::super::record::{Origin, Progress, Settled};
use super::super::{Store, SyncWaiter, memory, open};
use super::support::{Model, message, options};
use crate::durability::{Level, Point};
use crate::name::{Position, QueueId, Sequence};
use parking_lot::Mutex;
use std::sync::{Arc, Barrier, mpsc};

fn on_each(test: impl Fn(&Store, &Model)) {
    let (store, recovered) = memory::open();
    test(&store, &Model::new(&store, &recovered));
    store.close().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (store, recovered) = open(options(dir.path())).unwrap();
    test(&store, &Model::new(&store, &recovered));
    store.close().unwrap();
}

fn settle(store: &Store, position: Position, is_durable: bool) -> Position {
    let settled = [Settled { sequence: Sequence(99), position, record_bytes: 150, is_durable }];
    store.append_progress(QueueId(1), &Progress { settled: &settled, ..Progress::default() })
}

fn wait(store: &Store, end: Position) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(store.wait_synced(end)).unwrap();
    assert!(store.synced() >= end);
}

#[test]
fn positions_name_messages_and_grow() {
    on_each(|store, model| {
        model.declare(store, 1);
        let mut last = Position::NONE;
        for n in 0..100 {
            let appended = store.append_publish(
                &message(&[n; 100]),
                &[(QueueId(1), Sequence(n.into()))],
                Origin::default(),
            );
            assert!(appended.position > last && appended.end > appended.position);
            last = appended.position;
        }
        let end = settle(store, last, true);
        wait(store, end);
        assert_eq!(store.counters().references, 99);
    });
}

#[test]
fn a_transaction_names_its_messages_inside_one_record() {
    on_each(|store, model| {
        model.declare(store, 1);
        let before = store.counters().records;
        let (one, two) = (message(b"one"), message(b"two"));
        let target = |n| [(QueueId(1), Sequence(n))];
        let (places, end) = store.append_transaction(&[(&one, &target(0)), (&two, &target(1))], &[]);
        let positions = [places[0].position, places[1].position];
        assert!(positions[0] < positions[1] && positions[1] < end && positions[0].is_some());
        assert_eq!(store.counters().records, before + 1);
        assert_eq!(store.counters().references, 2);
        store.release(&places.iter().map(|place| (place.position, place.record_bytes)).collect::<Vec<_>>());
        assert_eq!(store.counters().references, 0);
    });
}

#[test]
fn transient_messages_leave_no_settle_record() {
    on_each(|store, _| {
        let before = store.counters().records;
        let end = settle(store, Position::NONE, false);
        assert_eq!(store.counters().records, before);
        wait(store, end);
    });
}

struct Count(Mutex<mpsc::Sender<Position>>);

impl SyncWaiter for Count {
    fn reached(&self, point: Point) {
        self.0.lock().send(point.end).unwrap();
    }
}

#[test]
fn a_waiter_is_called_exactly_once_and_never_early() {
    on_each(|store, model| {
        model.declare(store, 1);
        let (sender, calls) = mpsc::channel();
        let mut ends = Vec::new();
        for _ in 0..50 {
            let end = model.publish(store, &[1], b"body");
            store.notify(Level::Synced.at(end), None, Arc::new(Count(Mutex::new(sender.clone()))));
            ends.push(end);
        }
        let last = ends[49];
        wait(store, last);
        store.notify(Level::Synced.at(last), None, Arc::new(Count(Mutex::new(sender.clone()))));
        drop(sender);
        // The channel ends when every waiter was called and dropped.
        let calls: Vec<_> = calls.iter().collect();
        assert_eq!(calls.len(), 51);
        assert!(ends.iter().zip(&calls).all(|(end, synced)| synced >= end));
    });
}

#[test]
fn many_appenders_at_once_lose_nothing() {
    on_each(|store, model| {
        let threads = 8;
        (1..=threads).for_each(|id| _ = model.declare(store, id));
        let barrier = Barrier::new(threads as usize);
        std::thread::scope(|scope| {
            for id in 1..=threads {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    for n in 0..50 {
                        let end = model.publish(store, &[id, id % threads + 1], &[n; 30]);
                        if n % 10 == 0 {
                            wait(store, end);
                        }
                        model.settle(store, id, 1);
                    }
                });
            }
        });
        // In the middle of a move the compactor counts two: it ends with the store.
        store.close().unwrap();
        let held: usize = model.held().values().map(|held| held.len()).sum();
        assert_eq!(store.counters().references, held as u64);
    });
}
