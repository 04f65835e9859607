//! A disk that misbehaves, and a disk that is slow.

use super::super::index::{ImageId, IndexEntry, PageSummary};
use super::super::{Drive, Error, Options, ReadError, Recovered, Step, Store, SyncWaiter, open_with};
use super::disk::{Op, SimDisk};
use super::support::{Model, options};
use crate::durability::{Level, Point};
use crate::name::{Position, QueueId};
use crate::time::{self, Instant};
use parking_lot::Mutex;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, mpsc};

/// Opens a store on a disk in memory; deletions of journal files are told.
fn open() -> (SimDisk, Store, Arc<Model>, mpsc::Receiver<PathBuf>) {
    let disk = SimDisk::default();
    let (store, model, _) = reopen(&disk);
    let (removed, removals) = mpsc::channel();
    disk.on_remove(removed);
    (disk, store, model, removals)
}

fn reopen(disk: &SimDisk) -> (Store, Arc<Model>, Recovered) {
    // Nothing is synced unless somebody waits or a file ends.
    let patient = Options { sync_delay: None, ..options(Path::new("/data")) };
    let (store, recovered) = open_with(patient, disk.environment(), Drive::Threads).unwrap();
    let model = Model::new(&store, &recovered);
    (store, model, recovered)
}

/// A hook that lets operations of one kind on journal files fail with what `fails` says.
fn failing(
    op: Op,
    fails: impl Fn() -> io::Result<()> + Send + Sync,
) -> impl Fn(Op, &Path) -> io::Result<()> + Send + Sync {
    move |done, path| if done == op && path.starts_with("/data/journal") { fails() } else { Ok(()) }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

struct Tell(mpsc::SyncSender<Position>);

impl SyncWaiter for Tell {
    fn reached(&self, point: Point) {
        self.0.send(point.end).unwrap();
    }
}

#[test]
fn publishers_to_many_queues_share_one_sync() {
    let (entered, syncs) = mpsc::channel();
    let (go, gate) = mpsc::channel::<()>();
    let (entered, gate) = (Mutex::new(entered), Mutex::new(gate));
    let on_sync = move || {
        entered.lock().send(()).unwrap();
        // Until the test says go, or has ended.
        let _ = gate.lock().recv();
        Ok(())
    };
    let (disk, store, model, _) = open();
    disk.set_hook(failing(Op::Sync, on_sync));
    let before = store.counters().syncs;
    model.declare(&store, 1);
    syncs.recv().unwrap();
    // The first sync is running: all that follows, on many queues, must be done by the second.
    (2..=200).for_each(|id| _ = model.declare(&store, id));
    let (sender, confirms) = mpsc::sync_channel(1_000);
    for id in 1..=200 {
        let end = model.publish(&store, &[id], b"x");
        store.notify(Level::Synced.at(end), None, Arc::new(Tell(sender.clone())));
    }
    drop(go);
    for _ in 1..=200 {
        confirms.recv().unwrap();
    }
    // 200 small messages and 200 declarations in files of 4 KiB: a sync for each file, and two for the batches.
    let files = store.counters().files;
    assert!(store.counters().syncs - before <= files + 2, "{:?}", store.counters());
    assert!(files < 20);
}

#[test]
fn one_publisher_that_waits_costs_one_sync_each_time() {
    let (_, store, model, _) = open();
    block_on(store.wait_synced(model.declare(&store, 1))).unwrap();
    let before = store.counters();
    for _ in 0..10 {
        block_on(store.wait_synced(model.publish(&store, &[1], b"x"))).unwrap();
    }
    let after = store.counters();
    assert_eq!((after.syncs - before.syncs, after.records - before.records), (10, 10));
}

#[test]
fn settles_alone_force_no_sync() {
    let (_, store, model, _) = open();
    block_on(store.wait_synced(model.declare(&store, 1))).unwrap();
    let before = store.counters().syncs;
    (0..10).for_each(|_| _ = model.publish(&store, &[1], b"nobody waits"));
    let end = model.settle(&store, 1, 10);
    // Somebody else's publish makes them durable.
    block_on(store.wait_synced(model.publish(&store, &[1], b"x"))).unwrap();
    assert!(store.synced() >= end);
    assert_eq!(store.counters().syncs - before, 1);
}

#[test]
fn a_file_goes_while_the_broker_runs_once_a_checkpoint_has_its_settles() {
    let (disk, store, model, removals) = open();
    model.declare(&store, 1);
    (0..100).for_each(|_| _ = model.publish(&store, &[1], &[7; 100]));
    model.settle(&store, 1, 100);
    model.publish(&store, &[1], &[7; 5000]);
    model.publish(&store, &[1], b"in the next file");
    let first = removals.recv().unwrap();
    assert!(disk.paths(&first.to_string_lossy()).is_empty());
    assert!(store.counters().checkpoints >= 1);
}

#[test]
fn a_file_stays_until_what_freed_it_is_durable() {
    let is_broken = Arc::new(AtomicU64::new(0));
    let broken = is_broken.clone();
    let on_sync = move || match broken.load(SeqCst) {
        0 => Ok(()),
        _ => Err(io::Error::from_raw_os_error(5)),
    };
    let (disk, store, model, removals) = open();
    disk.set_hook(failing(Op::Sync, on_sync));
    model.declare(&store, 1);
    model.declare(&store, 2);
    // Large enough that the compactor leaves its file alone.
    model.publish(&store, &[1], &[1; 3000]);
    (0..4).for_each(|_| _ = model.publish(&store, &[2], &[0; 5000]));
    model.settle(&store, 2, 2);
    block_on(store.wait_synced(model.publish(&store, &[2], b"x"))).unwrap();
    // The second file is gone, so the first is behind a checkpoint too: only the message keeps it.
    removals.recv().unwrap();
    is_broken.store(1, SeqCst);
    model.transfer(&store, 1, 2);
    block_on(store.wait_failed());
    store.close().unwrap_err();
    assert!(
        !disk.paths("00000000000000000000.journal").is_empty(),
        "the transaction may be lost, and its message with it"
    );
    assert!(removals.try_recv().is_err());
}

#[test]
fn after_a_failed_sync_nothing_is_confirmed_and_everybody_knows() {
    let fails = || Err(io::Error::from_raw_os_error(5));
    let (disk, store, model, _) = open();
    disk.set_hook(failing(Op::Sync, fails));
    let before = store.synced();
    let (sender, confirms) = mpsc::sync_channel(10);
    let end = model.declare(&store, 1);
    store.notify(Level::Synced.at(end), None, Arc::new(Tell(sender.clone())));
    let failed = block_on(store.wait_synced(end)).unwrap_err();
    assert_eq!(block_on(store.wait_failed()), failed);
    assert!(failed.reason.starts_with("cannot sync /data/journal/"), "{failed}");
    let later = model.publish(&store, &[1], b"too late");
    store.notify(Level::Synced.at(later), None, Arc::new(Tell(sender)));
    assert_eq!(block_on(store.wait_synced(later)), Err(failed.clone()));
    assert_eq!(confirms.recv(), Err(mpsc::RecvError), "the waiters were dropped, not called");
    assert_eq!(store.synced(), before);
    assert!(matches!(store.close(), Err(Error::JournalFailed(error)) if error == failed));
}

#[test]
fn a_full_disk_is_waited_for() {
    let left = AtomicU64::new(2);
    let (full, waits) = mpsc::channel();
    let full = Mutex::new(full);
    let on_write = move || {
        if left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
            full.lock().send(()).unwrap();
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    };
    let (disk, store, model, _) = open();
    disk.set_hook(failing(Op::Write, on_write));
    let end = model.declare(&store, 1);
    waits.recv().unwrap();
    waits.recv().unwrap();
    block_on(store.wait_synced(end)).unwrap();
    assert!(!store.counters().disk.is_refusing());
    store.close().unwrap();
    drop(store);
    assert_eq!(reopen(&disk).2.definitions.len(), 1);
}

#[test]
fn a_store_that_is_closed_says_so() {
    let (_, store, model, _) = open();
    store.close().unwrap();
    store.close().unwrap();
    let end = model.declare(&store, 1);
    assert_eq!(&*block_on(store.wait_synced(end)).unwrap_err().reason, "closed");
}

#[test]
fn a_record_found_damaged_when_it_is_read_back_is_counted_and_copied() {
    let (disk, store, model, _) = open();
    model.declare(&store, 1);
    let end = model.publish(&store, &[1], b"first");
    block_on(store.wait_synced(model.publish(&store, &[1], b"other").max(end))).unwrap();
    let entries = model.with(1, |queue| queue.entries());
    let path = disk.paths("/journal/").remove(0);
    let mut bytes = disk.durable(&path);
    bytes[entries[0].position.0 as usize + 40] ^= 1;
    let record = entries[0].position.0 as usize..entries[1].position.0 as usize;
    let damaged = bytes[record].to_vec();
    disk.put(&path, &bytes);

    let mut found = Vec::new();
    let records: Vec<_> = entries.iter().map(|entry| (entry.position, entry.record_bytes)).collect();
    store
        .read(&records, &mut |_, message| found.push(message.map(|message| message.body().to_vec())))
        .unwrap();
    assert_eq!(found, [None, Some(b"other".to_vec())]);
    assert_eq!(store.counters().damaged, 1);
    let copies = disk.paths("/damaged/");
    assert_eq!((copies.len(), disk.durable(&copies[0])), (1, damaged));
}

#[test]
fn a_page_whose_image_is_damaged_is_made_again_from_the_journal() {
    let (_disk, store, model, _) = open();
    (1..=2).for_each(|id| _ = model.declare(&store, id));
    // Over many files of 4 KiB, with messages of another queue between, and some settled.
    (0..400).for_each(|n| _ = model.publish(&store, &[1 + n % 2, 2], &n.to_le_bytes()));
    model.settle(&store, 1, 20);
    let entries = model.with(1, |queue| queue.entries());
    let page = PageSummary::of(ImageId(7), 0, &entries[10..150]);
    assert!(matches!(store.read_image(QueueId(1), ImageId(7)), Err(ReadError::Store(Error::Damaged(_)))));

    let rebuilt = store.rebuild_page(QueueId(1), &page).unwrap();
    let expected = entries[10..150].iter().map(|entry| IndexEntry { is_delivered: true, ..*entry });
    assert_eq!(rebuilt, expected.collect::<Vec<_>>());
}

#[test]
fn a_file_whose_making_was_cut_short_keeps_what_is_confirmed_in_it() {
    let disk = SimDisk::default();
    let is_made = Mutex::new(false);
    disk.set_hook(move |op, path| {
        *is_made.lock() |= op == Op::Create && path.extension().is_some_and(|end| end == "journal");
        let fails = op == Op::Sync && path.ends_with("journal") && *is_made.lock();
        if fails { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
    });
    let patient = options(Path::new("/data"));
    open_with(patient, disk.environment(), Drive::Manual)
        .expect_err("the name of the first file cannot be synced");
    disk.repair();
    // It is there, as far as this process and the next can see.
    assert_eq!(disk.paths(".journal").len(), 1);
    let (store, model, _) = reopen(&disk);
    model.declare(&store, 1);
    let end = model.publish(&store, &[1], b"confirmed");
    block_on(store.wait_synced(end)).unwrap();
    let disk = disk.after_power_cut();
    drop(store);
    let (_store, model, _) = reopen(&disk);
    assert_eq!(model.held()[&QueueId(1)].len(), 1);
}

/// Does what is due until there is nothing more, or a checkpoint was made.
fn step_until_checkpoint(store: &Store, now: Instant) {
    while store.counters().checkpoints == 0
        && (store.step_committer(now) == Step::Worked || store.step_checkpointer(now) == Step::Worked)
    {}
}

#[test]
fn no_file_goes_on_the_word_of_a_checkpoint_that_a_killed_process_had_not_synced() {
    let disk = SimDisk::default();
    let small = || Options { segment_bytes: 4096, ..options(Path::new("/data")) };
    let start = |disk: &SimDisk| {
        let (store, recovered) = open_with(small(), disk.environment(), Drive::Manual).unwrap();
        let model = Model::new(&store, &recovered);
        (store, model)
    };
    let now = time::now();
    let (store, model) = start(&disk);
    model.declare(&store, 1);
    for _ in 0..60 {
        model.publish(&store, &[1], &[7; 500]);
    }
    model.settle(&store, 1, 50);
    while store.step_committer(now) == Step::Worked {}
    drop((store, model));
    // The start replays it all and makes a checkpoint that covers everything; then it is killed.
    let before = disk.synced_metadata();
    let (store, model) = start(&disk);
    step_until_checkpoint(&store, now);
    assert_eq!(store.counters().checkpoints, 1);
    drop((store, model));
    disk.unsync_metadata(before);
    let files = disk.paths(".journal").len();
    let (store, model) = start(&disk);
    assert!(disk.paths(".journal").len() < files, "files go at the start");
    // The next file's making syncs the directory, with what is gone from it.
    for _ in 0..20 {
        model.publish(&store, &[1], &[8; 500]);
    }
    while store.step_committer(now) == Step::Worked {}
    drop((store, model));
    let (_store, model) = start(&disk.after_power_cut());
    let held = &model.held()[&QueueId(1)];
    assert!((50..60).all(|number| held.contains_key(&crate::name::Sequence(number))), "what was confirmed");
}
