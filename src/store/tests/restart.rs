//! What a restart brings back, after a clean close and without one.

use super::super::{Error, open as open_store, segment};
use super::support::{Dice, Model, bodies, files, held, message, open, options, queue_definition, queue_key};
use crate::definition::{Change, Definition, User, Vhost};
use crate::name::{QueueId, Sequence};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

#[test]
fn a_directory_that_is_made_is_closed_to_other_users() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    _ = open(&data);
    for made in [data.clone(), data.join("journal")] {
        let mode = PermissionsExt::mode(&fs::metadata(&made).unwrap().permissions());
        assert_eq!(mode & 0o027, 0, "{} is {mode:o}", made.display());
    }
}

#[test]
fn a_clean_restart_brings_back_messages_definitions_and_ids() {
    let dir = tempfile::tempdir().unwrap();
    let (store, model, recovered) = open(dir.path());
    assert!(recovered.report.clean && recovered.definitions.is_empty());
    assert_eq!(recovered.next_queue_id, QueueId(1));
    let user = Definition::User("u".into(), User::default());
    let vhost = Definition::Vhost("/".into(), Vhost::default());
    store.append_changes(&[Change::Put(user.clone()), Change::Put(vhost.clone())]);
    model.declare(&store, 1);
    model.declare(&store, 7);
    (0..20u8).for_each(|n| _ = model.publish(&store, &[1, 7], &[n; 10]));
    model.settle(&store, 1, 15);
    model.delete(&store, 7);
    store.close().unwrap();

    let (store, again) = open_store(options(dir.path())).unwrap();
    assert!(again.report.clean, "{:?}", again.report);
    assert_eq!(again.definitions, [vhost, user, queue_definition(QueueId(1))]);
    assert_eq!(again.next_queue_id, QueueId(8), "a deleted queue's id is not used again");
    assert_eq!(again.queues[&QueueId(1)].image.next_sequence, Sequence(20));
    assert_eq!(held(&store, &again), model.held());
    assert_eq!(store.counters().references, 5);
    drop(store);
}

#[test]
fn a_message_of_several_queues_is_shared_and_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (store, model, _) = open(dir.path());
    (1..=3).for_each(|id| _ = model.declare(&store, id));
    model.publish(&store, &[1, 2, 3], b"shared");
    drop(store);
    let (store, again) = open_store(options(dir.path())).unwrap();
    let records: Vec<_> = (1..=3).flat_map(|id| again.queues[&QueueId(id)].records()).collect();
    assert!(records.len() == 3 && records.iter().all(|record| *record == records[0]), "{records:?}");
    store.read(&records[..1], &mut |_, found| assert_eq!(*found.unwrap(), message(b"shared"))).unwrap();
}

/// Random work over many restarts, clean or not, with checkpoints and file deletion between: the store must always hold
/// exactly what the model does.
fn churn(seed: u64, rounds: u64) {
    let dir = tempfile::tempdir().unwrap();
    let mut dice = Dice(seed);
    let (mut store, mut model, _) = open(dir.path());
    let mut next_id = 1;
    for round in 0..rounds {
        for _ in 0..dice.roll(400) {
            let ids: Vec<u64> = model.queues.lock().keys().map(|id| id.0).collect();
            let pick = |dice: &mut Dice| ids[dice.roll(ids.len() as u64) as usize];
            match dice.roll(20) {
                0 | 1 if ids.len() < 5 => {
                    model.declare(&store, next_id);
                    next_id += 1;
                }
                _ if ids.is_empty() => {}
                2 if dice.roll(10) == 0 => _ = model.delete(&store, pick(&mut dice)),
                3..=5 => _ = model.transfer(&store, pick(&mut dice), pick(&mut dice)),
                6 => model.page_out(&store, pick(&mut dice), 1 + dice.roll(20) as usize),
                7..=11 => _ = model.settle(&store, pick(&mut dice), 1 + dice.roll(3) as usize),
                n => {
                    let body = vec![n as u8; dice.roll(300) as usize];
                    let (one, two) = (pick(&mut dice), pick(&mut dice));
                    let both = [one, two];
                    model.publish(&store, if one == two { &both[..1] } else { &both }, &body);
                }
            }
        }
        let with_close = dice.roll(2) == 0;
        if with_close {
            store.close().unwrap();
        }
        drop(store);
        let expected =
            (model.held(), model.queues.lock().iter().map(|(id, q)| (*id, q.next)).collect::<Vec<_>>());
        let (new_store, recovered) = open_store(options(dir.path())).unwrap();
        // Before the compactor is told of queues: in the middle of a move it counts two.
        let counted = new_store.counters().references;
        let new_model = Model::new(&new_store, &recovered);
        assert_eq!(recovered.report.warnings, Vec::<String>::new(), "seed {seed} round {round}");
        assert_eq!(
            bodies(new_model.held()),
            bodies(expected.0.clone()),
            "seed {seed} round {round} close {with_close}"
        );
        assert!(recovered.next_queue_id.0 >= next_id, "seed {seed} round {round}");
        for (id, next) in expected.1 {
            let found = recovered.queues.get(&id).map_or(0, |queue| queue.image.next_sequence.0);
            assert_eq!(found, next, "seed {seed} round {round} queue {id}");
        }
        let references: usize = expected.0.values().map(|held| held.len()).sum();
        assert_eq!(counted, references as u64, "seed {seed} round {round}");
        (store, model) = (new_store, new_model);
    }
}

#[test]
fn the_store_holds_what_the_queues_hold_over_many_restarts() {
    std::thread::scope(|scope| {
        (1..=3).for_each(|seed| _ = scope.spawn(move || churn(seed, 12)));
    });
}

#[test]
fn one_old_message_keeps_no_more_than_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let (store, model, _) = open(dir.path());
    (1..=3).for_each(|id| _ = model.declare(&store, id));
    model.publish(&store, &[2, 3], b"old");
    let mut files_max = 0;
    for round in 0..200u32 {
        (0..5).for_each(|_| _ = model.publish(&store, &[1], &round.to_be_bytes().repeat(25)));
        let end = model.settle(&store, 1, 5);
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(store.wait_synced(end))
            .unwrap();
        files_max = files_max.max(store.counters().files);
    }
    // The compactor is a thread of its own: it is given until the next checkpoints to come to it.
    while store.counters().moved == 0 {
        let end = model.publish(&store, &[1], &[0; 2000]);
        model.settle(&store, 1, 1);
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(store.wait_synced(end))
            .unwrap();
    }
    store.close().unwrap();
    assert!(files(dir.path()).0 <= 3, "{:?}, {files_max} at most", files(dir.path()));
    drop(store);
    let (store, again) = open_store(options(dir.path())).unwrap();
    assert_eq!(held(&store, &again), model.held());
    // Nor without the index: the moved record says all.
    store.close().unwrap();
    drop(store);
    fs::remove_dir_all(dir.path().join("sled")).unwrap();
    let (store, again) = open_store(options(dir.path())).unwrap();
    assert_eq!(held(&store, &again), model.held());
}

#[test]
fn space_returns_and_what_was_settled_stays_settled() {
    let dir = tempfile::tempdir().unwrap();
    let (store, model, _) = open(dir.path());
    model.declare(&store, 1);
    model.declare(&store, 2);
    // One old message that nobody takes, and a stream of others through files that come and go.
    model.publish(&store, &[2], b"old");
    for round in 0..200u32 {
        for _ in 0..5 {
            model.publish(&store, &[1], &round.to_be_bytes().repeat(25));
        }
        model.settle(&store, 1, 5);
    }
    store.close().unwrap();
    let (count, bytes) = files(dir.path());
    assert!(count <= 3 && bytes < 4 * 4096, "{count} files, {bytes} bytes");
    let (store, recovered) = open_store(options(dir.path())).unwrap();
    assert_eq!(held(&store, &recovered), model.held());
    let model = Model::new(&store, &recovered);
    assert_eq!(recovered.report.messages, 1);
    assert_eq!(recovered.queues[&QueueId(1)].image.next_sequence, Sequence(1000));
    model.settle(&store, 2, 1);
    store.close().unwrap();
    let (store, _, recovered) = open(dir.path());
    assert_eq!((recovered.report.messages, store.counters().files), (0, 1));
}

fn filled(dir: &Path) -> Arc<Model> {
    let (store, model, _) = open(dir);
    model.declare(&store, 1);
    for n in 0..200u8 {
        model.publish(&store, &[1], &[n; 100]);
        if n % 3 != 0 {
            model.settle(&store, 1, 1);
        }
    }
    store.close().unwrap();
    // What follows the checkpoint is in the journal only.
    let (store, model, _) = open(dir);
    model.declare(&store, 2);
    model.publish(&store, &[1, 2], b"after the checkpoint");
    model.settle(&store, 1, 2);
    drop(store);
    model
}

#[test]
fn a_damaged_sled_is_moved_aside_and_rebuilt() {
    let damages: [fn(&Path); 3] = [
        |sled| fs::write(sled.join("db"), vec![0xa5; 4096]).unwrap(),
        |sled| fs::remove_dir_all(sled).unwrap(),
        |sled| {
            let db = sled::open(sled).unwrap();
            db.insert(b"d4broken", b"{").unwrap();
            db.flush().unwrap();
        },
    ];
    for damage in damages {
        let dir = tempfile::tempdir().unwrap();
        let model = filled(dir.path());
        damage(&dir.path().join("sled"));
        let (store, recovered) = open_store(options(dir.path())).unwrap();
        assert_eq!(recovered.report.sled_moved_to, Some(dir.path().join("sled.damaged-1")));
        assert_eq!(held(&store, &recovered), model.held());
        store.close().unwrap();
        drop(store);
        let (store, again) = open_store(options(dir.path())).unwrap();
        assert_eq!(held(&store, &again), model.held());
        assert_eq!(again.report.warnings, Vec::<String>::new());
    }
}

#[test]
fn an_older_sled_than_the_snapshots_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let (store, model, _) = open(dir.path());
    model.declare(&store, 1);
    store.close().unwrap();
    drop(store);
    fs::create_dir(dir.path().join("kept")).unwrap();
    for entry in fs::read_dir(dir.path().join("sled")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, dir.path().join("kept").join(path.file_name().unwrap())).unwrap();
        }
    }
    let model = filled(dir.path());
    fs::remove_dir_all(dir.path().join("sled")).unwrap();
    fs::rename(dir.path().join("kept"), dir.path().join("sled")).unwrap();
    let (store, recovered) = open_store(options(dir.path())).unwrap();
    assert!(recovered.report.sled_moved_to.is_some());
    assert_eq!(held(&store, &recovered), model.held());
}

#[test]
fn damage_of_sled_and_snapshots_together_is_refused_and_nothing_is_moved() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    fs::write(dir.path().join("sled/db"), vec![0xa5; 4096]).unwrap();
    fs::write(dir.path().join("definitions.snapshot"), b"rubbish").unwrap();
    for _ in 0..2 {
        let error = open_store(options(dir.path())).unwrap_err();
        assert!(matches!(error, Error::Unrecoverable { .. }), "{error}");
    }
    assert!(!dir.path().join("sled.damaged-1").exists());
}

#[test]
fn a_whole_journal_is_enough() {
    let dir = tempfile::tempdir().unwrap();
    let (store, model, _) = open(dir.path());
    model.declare(&store, 1);
    (0..9u8).for_each(|n| _ = model.publish(&store, &[1], &[n]));
    model.settle(&store, 1, 4);
    store.close().unwrap();
    drop(store);
    for name in ["definitions.snapshot", "queues.snapshot"] {
        fs::remove_file(dir.path().join(name)).unwrap();
    }
    fs::remove_dir_all(dir.path().join("sled")).unwrap();
    let (store, recovered) = open_store(options(dir.path())).unwrap();
    assert_eq!(held(&store, &recovered), model.held());
}

#[test]
fn definitions_deleted_before_a_checkpoint_stay_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let (store, model, _) = open(dir.path());
    // The record that declares queue 2 shares its file with a message that stays.
    model.declare(&store, 1);
    model.declare(&store, 2);
    model.publish(&store, &[1], b"stays");
    for n in 0..100u8 {
        model.publish(&store, &[2], &[n; 200]);
    }
    model.delete(&store, 2);
    store.close().unwrap();
    drop(store);
    for _ in 0..2 {
        // Without queues, so that the compactor moves nothing while it is looked at.
        let (store, recovered) = open_store(options(dir.path())).unwrap();
        assert_eq!(recovered.definitions, [queue_definition(QueueId(1))]);
        assert_eq!(held(&store, &recovered), model.held());
        store.append_changes(&[Change::Delete(queue_key(QueueId(9)))]);
        drop(store);
    }
}

#[test]
fn a_second_opener_a_file_and_a_foreign_format_get_clear_errors() {
    let dir = tempfile::tempdir().unwrap();
    let (store, ..) = open(dir.path());
    let error = open_store(options(dir.path())).unwrap_err();
    let pid = std::process::id();
    assert!(matches!(&error, Error::Locked { pid: Some(found), .. } if *found == pid), "{error}");
    drop(store);
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    assert!(matches!(open_store(options(&file)), Err(Error::NotADirectory(path)) if path == file));
    assert!(matches!(open_store(options(&file.join("below"))), Err(Error::NotADirectory(_))));
    fs::write(dir.path().join("format"), "warren store 99\n").unwrap();
    let error = open_store(options(dir.path())).unwrap_err();
    assert!(error.to_string().contains("warren store 99"), "{error}");
}

#[test]
fn a_journal_file_of_a_newer_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (store, ..) = open(dir.path());
    drop(store);
    let path = segment::path(&dir.path().join("journal"), 0);
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 2;
    bytes[12..16].fill(0);
    let sum = crc32fast::hash(&bytes[..segment::HEADER_BYTES]);
    bytes[12..16].copy_from_slice(&sum.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    assert!(matches!(open_store(options(dir.path())), Err(Error::Format { .. })));
}
