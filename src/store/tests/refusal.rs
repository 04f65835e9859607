//! A disk that takes nothing for a while: what waits, what is told, and what is made up for.

use super::super::{DiskState, Drive, Error, Step, Store, open_with};
use super::disk::{Op, SimDisk};
use super::support::{Model, held, options};
use crate::durability::{Level, Point};
use crate::time::{self, Duration, Instant};
use std::io;
use std::path::Path;
use std::sync::Arc;

const ENOSPC: i32 = 28;
const EIO: i32 = 5;
const EROFS: i32 = 30;
const EDQUOT: i32 = 122;

fn open(disk: &SimDisk, drive: Drive) -> (Store, Arc<Model>) {
    let (store, recovered) = open_with(options(Path::new("/data")), disk.environment(), drive).unwrap();
    let model = Model::new(&store, &recovered);
    (store, model)
}

/// Lets operations of one kind fail on paths that contain `part`.
fn refuse(disk: &SimDisk, refused: Op, part: &'static str, errno: i32) {
    disk.set_hook(move |op, path| match op == refused && path.to_string_lossy().contains(part) {
        true => Err(io::Error::from_raw_os_error(errno)),
        false => Ok(()),
    });
}

fn settle_down(store: &Store, now: Instant) {
    while store.step_committer(now) == Step::Worked || store.step_checkpointer(now) == Step::Worked {}
}

fn waiting_until(step: Step) -> Instant {
    match step {
        Step::Waiting(Some(at)) => at,
        step => panic!("{step:?}"),
    }
}

#[test]
fn what_the_disk_refuses_is_tried_again_until_it_works_whatever_the_reason() {
    for (errno, op) in
        [ENOSPC, EIO, EROFS, EDQUOT].into_iter().flat_map(|n| [(n, Op::Write), (n, Op::Create)])
    {
        let disk = SimDisk::default();
        let (store, model) = open(&disk, Drive::Manual);
        let now = time::now();
        let end = model.declare(&store, 1);
        settle_down(&store, now);
        assert_eq!(store.synced(), end);
        refuse(&disk, op, "journal/", errno);
        let mut last = end;
        (0..50u8).for_each(|n| last = model.publish(&store, &[1], &[n; 200]));
        let now = now + Duration::from_secs(1);
        store.notify(Level::Synced.at(last), None, Arc::new(Nobody));
        assert_eq!(store.step_committer(now), Step::Worked, "it tried");
        let DiskState::Refusing { reason } = store.counters().disk else { panic!("{errno} {op:?}") };
        let expected = io::Error::from_raw_os_error(errno).to_string();
        assert!(reason.contains(".journal: ") && reason.contains(&expected), "{reason}");
        assert!(store.synced() < last);
        model.publish(&store, &[1], b"meanwhile");
        let retry_at = waiting_until(store.step_committer(now));
        assert!(retry_at > now);
        assert_eq!(store.step_committer(retry_at), Step::Worked);
        assert!(store.synced() < last && store.counters().disk.is_refusing(), "still refused");
        disk.repair();
        settle_down(&store, waiting_until(store.step_committer(retry_at)));
        assert!(store.synced() >= last, "{errno} {op:?}");
        assert_eq!((store.counters().disk, store.failure().borrow().clone()), (DiskState::Writable, None));
        store.close().unwrap();
        drop(store);
        let (_store, again) = open(&disk.after_power_cut(), Drive::Manual);
        assert_eq!(again.held(), model.held(), "{errno} {op:?}");
    }
}

struct Nobody;

impl super::super::SyncWaiter for Nobody {
    fn reached(&self, _: Point) {}
}

#[test]
fn the_disk_state_is_told_at_once_and_confirms_go_on_without_a_restart() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let disk = SimDisk::default();
    let (store, model) = open(&disk, Drive::Threads);
    let mut state = store.disk();
    refuse(&disk, Op::Write, "journal/", EIO);
    let end = model.declare(&store, 1);
    runtime.block_on(state.changed()).unwrap();
    assert!(state.borrow_and_update().is_refusing() && store.synced() < end);
    disk.repair();
    runtime.block_on(state.changed()).unwrap();
    assert_eq!(*state.borrow_and_update(), DiskState::Writable);
    runtime.block_on(store.wait_synced(end)).unwrap();
    store.close().unwrap();
}

#[test]
fn a_store_closed_while_the_disk_refuses_says_that_not_all_is_durable() {
    for drive in [Drive::Threads, Drive::Manual] {
        let disk = SimDisk::default();
        let (store, model) = open(&disk, drive);
        refuse(&disk, Op::Write, "journal/", EROFS);
        model.declare(&store, 1);
        let Err(Error::JournalFailed(error)) = store.close() else { panic!("{drive:?}") };
        assert!(error.reason.contains("closed while the disk refused"), "{error}");
    }
}

#[test]
fn a_checkpoint_that_fails_is_made_up_for_and_journal_files_stay_meanwhile() {
    for (op, part) in [
        (Op::Create, "queues.snapshot"),
        (Op::Write, "definitions.snapshot"),
        (Op::Rename, "queues.snapshot"),
        (Op::Sync, "queues.snapshot"),
        (Op::Metadata, ""),
    ] {
        let disk = SimDisk::default();
        let (store, model) = open(&disk, Drive::Manual);
        let now = time::now();
        model.declare(&store, 1);
        // In the metadata store, and durable in the journal only.
        settle_down(&store, now);
        refuse(&disk, op, part, EIO);
        model.declare(&store, 2);
        (0..100u8).for_each(|n| _ = model.publish(&store, &[1, 2], &[n; 200]));
        model.settle(&store, 1, 90);
        model.settle(&store, 2, 90);
        settle_down(&store, now + Duration::from_secs(1));
        let counters = store.counters();
        assert_eq!((counters.checkpoints, counters.files_deleted), (0, 0), "{op:?} {part}");
        assert!(counters.checkpoints_failed >= 1 && counters.files > 3, "{op:?} {part}: {counters:?}");
        assert!(!counters.disk.is_refusing() && store.failure().borrow().is_none());
        let retry_at = waiting_until(store.step_checkpointer(now + Duration::from_secs(1)));
        disk.repair();
        settle_down(&store, retry_at);
        let counters = store.counters();
        assert!(counters.checkpoints >= 1 && counters.files_deleted >= 1, "{op:?} {part}: {counters:?}");
        drop(store);
        let environment = disk.after_power_cut().environment();
        let (store, recovered) = open_with(options(Path::new("/data")), environment, Drive::Manual).unwrap();
        assert_eq!(held(&store, &recovered), model.held(), "{op:?} {part}");
        assert_eq!(recovered.report.warnings, [""; 0], "{op:?} {part}");
        drop(store);
    }
}

#[test]
fn a_metadata_store_that_failed_is_not_written_to_before_it_is_opened_anew() {
    let disk = SimDisk::default();
    let (store, model) = open(&disk, Drive::Manual);
    model.declare(&store, 1);
    model.publish(&store, &[1], b"kept");
    settle_down(&store, time::now());
    refuse(&disk, Op::Metadata, "", ENOSPC);
    model.declare(&store, 2);
    settle_down(&store, time::now());
    store.close().unwrap_err();
    drop(store);
    let environment = disk.after_power_cut().environment();
    let (store, recovered) = open_with(options(Path::new("/data")), environment, Drive::Manual).unwrap();
    assert_eq!(held(&store, &recovered), model.held());
    assert_eq!(recovered.report.sled_moved_to, None);
}

#[test]
fn a_full_or_read_only_file_system_at_start_is_a_clear_error_and_no_damage() {
    let is_clear = |error: &Error, errno| match error {
        Error::DiskFull { path } => errno != EROFS && path.starts_with("/data"),
        Error::ReadOnly { path } => errno == EROFS && path.starts_with("/data"),
        _ => false,
    };
    for errno in [ENOSPC, EDQUOT, EROFS] {
        for (op, part) in
            [(Op::Create, ""), (Op::Write, "journal/"), (Op::Write, "format"), (Op::Metadata, "")]
        {
            let new = SimDisk::default();
            refuse(&new, op, part, errno);
            let opened = open_with(options(Path::new("/data")), new.environment(), Drive::Manual);
            let error = opened.map(drop).unwrap_err();
            assert!(is_clear(&error, errno), "{errno} {op:?} {part}: {error}");
        }
        let disk = SimDisk::default();
        let (store, model) = open(&disk, Drive::Manual);
        model.declare(&store, 1);
        settle_down(&store, time::now());
        drop(store);
        refuse(&disk, Op::Metadata, "", errno);
        let opened = open_with(options(Path::new("/data")), disk.environment(), Drive::Manual);
        let error = opened.map(drop).unwrap_err();
        assert!(is_clear(&error, errno), "{errno}: {error}");
        // What was replayed is to be in a checkpoint; that it cannot be written yet is no reason not to start.
        refuse(&disk, Op::Create, "snapshot", errno);
        let (store, again) = open(&disk, Drive::Manual);
        settle_down(&store, time::now());
        assert_eq!((again.held(), store.counters().checkpoints), (model.held(), 0));
        drop(store);
        disk.repair();
        let (_store, again) = open(&disk, Drive::Manual);
        assert_eq!(again.held(), model.held());
    }
}
