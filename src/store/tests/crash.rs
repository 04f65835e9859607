//! Crashes: the journal cut at every byte, and damaged at every byte.

use super::super::catalog::Contents;
use super::super::files::Disk;
use super::super::metadata::MemoryMetadata;
use super::super::replay::{Place, Replay};
use super::super::{
    Drive, Environment, Options, Report, Step, Store, open as open_store, open_with, record, segment,
};
use super::disk::SimDisk;
use super::support::{Held, Model, held, held_by, message, open, options};
use crate::durability::Level;
use crate::message::Message;
use crate::name::{Position, QueueId, Sequence};
use crate::time;
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

type State = HashMap<QueueId, Held>;

/// A store in which nothing is written before it is closed: so nothing stands between the records but what is appended.
fn open_by_hand(dir: &Path) -> (Store, Arc<Model>) {
    let (store, recovered) = open_with(options(dir), Environment::real(), Drive::Manual).unwrap();
    let model = Model::new(&store, &recovered);
    (store, model)
}

/// Does work of every kind and returns the state after each record, with the record's end.
fn history(store: &Store, model: &Model) -> Vec<(Position, State)> {
    let mut history = vec![(Position(segment::HEADER_BYTES as u64), State::new())];
    let mut note = |end: Position| history.push((end, model.held()));
    note(model.declare(store, 1));
    note(model.declare(store, 2));
    note(model.publish(store, &[1], b"first"));
    note(model.publish(store, &[1, 2], b""));
    note(model.transfer(store, 1, 2));
    note(model.settle(store, 2, 1));
    note(model.publish(store, &[2], b"third"));
    note(model.transfer(store, 2, 1));
    note(model.delete(store, 2));
    history
}

/// The state after the last record that ends at or before `end`.
fn at(history: &[(Position, State)], end: u64) -> State {
    history.iter().rev().find(|(at, _)| at.0 <= end).map(|(_, state)| state.clone()).unwrap_or_default()
}

/// Replays one file of these bytes, alone in a journal that starts with it; returns the disk, too.
fn replay(bytes: &[u8], is_last: bool) -> (State, Report, SimDisk) {
    let (disk, mut report) = (SimDisk::default(), Report::default());
    let path = segment::path(Path::new("/data/journal"), 0);
    disk.put(&path, bytes);
    let metadata = Arc::new(MemoryMetadata::default());
    let place = Place { files: Arc::new(disk.clone()), data_dir: "/data".into(), metadata };
    let mut replay = Replay::new(Contents::default(), 0, place);
    replay.read_file(&path, 0, 0, is_last, &mut report).unwrap();
    let replayed = replay.finish(&mut report).unwrap();
    let recovered = super::super::Recovered {
        definitions: replayed.definitions,
        queues: replayed.queues,
        next_queue_id: replayed.next_queue_id,
        report: Report::default(),
    };
    let body = |(position, _): &(Position, u32)| {
        record::read_message(&bytes[position.0 as usize..], position.0).unwrap().body.to_vec()
    };
    let mut read = |records: &[(Position, u32)]| records.iter().map(body).collect();
    (held_by(&recovered, &mut |_, _| panic!("no page was made"), &mut read), report, disk)
}

#[test]
fn a_journal_cut_at_any_byte_comes_back_to_its_last_whole_record() {
    let dir = tempfile::tempdir().unwrap();
    let (store, model) = open_by_hand(dir.path());
    let history = history(&store, &model);
    store.close().unwrap();
    let journal = segment::path(&dir.path().join("journal"), 0);
    let bytes = fs::read(&journal).unwrap();
    assert_eq!(history.last().unwrap().0, Position(bytes.len() as u64));
    for length in 0..=bytes.len() {
        let (state, report, disk) = replay(&bytes[..length], true);
        assert_eq!(state, at(&history, length as u64), "cut at {length}");
        let kept = disk.durable(&segment::path(Path::new("/data/journal"), 0)).len() as u64;
        assert_eq!(kept + report.bytes_cut, length as u64);
        assert!(kept == 0 || history.iter().any(|(end, _)| end.0 == kept), "{kept} is no end of a record");
    }
}

#[test]
fn a_changed_byte_anywhere_is_noticed_and_costs_its_record_only() {
    let dir = tempfile::tempdir().unwrap();
    let (store, model) = open_by_hand(dir.path());
    let history = history(&store, &model);
    store.close().unwrap();
    let bytes = fs::read(segment::path(&dir.path().join("journal"), 0)).unwrap();
    let last_start = history[history.len() - 2].0.0 as usize;
    for index in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[index] ^= 0x10;
        let (state, report, _) = replay(&bytes, true);
        assert_eq!(report.warnings.len(), 1, "byte {index}: {:?}", report.warnings);
        let all = history.len() as u64 - 1;
        if index < segment::HEADER_BYTES {
            assert_eq!((state, report.records), (at(&history, bytes.len() as u64), all), "byte {index}");
        } else if index >= last_start {
            assert_eq!((state, report.records), (at(&history, index as u64), all - 1), "byte {index}");
            assert_eq!((report.damages, report.bytes_cut), (0, (bytes.len() - last_start) as u64));
        } else {
            assert_eq!((report.damages, report.bytes_cut, report.records), (1, 0, all - 1), "byte {index}");
        }
    }
}

/// A declaration, then messages of one queue by whole records, and where each record stands.
fn records(store: &Store, model: &Model, count: u8) -> Vec<std::ops::Range<usize>> {
    let mut ends = vec![segment::HEADER_BYTES, model.declare(store, 1).0 as usize];
    ends.extend((0..count).map(|n| model.publish(store, &[1], &[n; 30]).0 as usize));
    store.close().unwrap();
    ends.windows(2).map(|pair| pair[0]..pair[1]).collect()
}

#[test]
fn a_changed_byte_in_the_middle_costs_its_record_and_a_copy_of_the_bad_bytes_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (store, model) = open_by_hand(dir.path());
    let ranges = records(&store, &model, 9);
    let bytes = fs::read(segment::path(&dir.path().join("journal"), 0)).unwrap();
    let bad = ranges[5].clone();
    let mut expected = model.held();
    expected.get_mut(&QueueId(1)).unwrap().retain(|_, (position, _)| position.0 != bad.start as u64);
    for (index, is_last) in bad.clone().flat_map(|index| [(index, true), (index, false)]) {
        let mut bytes = bytes.clone();
        bytes[index] = !bytes[index];
        let (state, report, disk) = replay(&bytes, is_last);
        assert_eq!(state, expected, "byte {index}");
        let skipped = (report.damages, report.bytes_skipped, report.bytes_cut);
        assert_eq!(skipped, (1, bad.len() as u64, 0), "byte {index}");
        let name = format!("/data/damaged/00000000000000000000.journal-{}", bad.start);
        assert_eq!(disk.durable(Path::new(&name)), bytes[bad.clone()], "byte {index}");
        assert!(report.warnings[0].contains(&name) && report.warnings[0].contains("at offset"));
        assert_eq!(disk.paths("/damaged/").len(), 1);
    }
}

#[test]
fn a_damaged_or_torn_transaction_gives_up_none_of_its_parts() {
    let dir = tempfile::tempdir().unwrap();
    let (store, model) = open_by_hand(dir.path());
    model.declare(&store, 1);
    let start = model.publish(&store, &[1], b"before").0 as usize;
    let (one, two) = (message(b"one"), message(b"two"));
    let target = |n| [(QueueId(1), Sequence(n))];
    let settled = model.with(1, |queue| [queue.settled(Sequence(0), queue.held[&Sequence(0)].0)]);
    let publishes: [(&Message, &[_]); 2] = [(&one, &target(1)), (&two, &target(2))];
    let end = store.append_transaction(&publishes, &[(QueueId(1), &settled)]).1.0 as usize;
    model.with(1, |queue| queue.next = 3);
    model.publish(&store, &[1], b"behind");
    store.close().unwrap();
    let bytes = fs::read(segment::path(&dir.path().join("journal"), 0)).unwrap();
    let bodies = |state: &State| -> Vec<String> {
        let bodies = state[&QueueId(1)].values().map(|(_, body)| String::from_utf8_lossy(body).into_owned());
        bodies.collect()
    };
    assert_eq!(bodies(&replay(&bytes, true).0), ["one", "two", "behind"]);
    for index in start..end {
        let mut bytes = bytes.clone();
        bytes[index] ^= 0x10;
        assert_eq!(bodies(&replay(&bytes, true).0), ["before", "behind"], "byte {index}");
        assert_eq!(bodies(&replay(&bytes[..index], true).0), ["before"], "cut at {index}");
        assert_eq!(bodies(&replay(&bytes[..index], false).0), ["before"], "cut at {index}");
    }
}

#[test]
fn a_flipped_bit_in_a_body_of_zeros_costs_that_message_alone() {
    let disk = SimDisk::default();
    let options = Options { segment_bytes: 1 << 20, ..options(Path::new("/data")) };
    let open = || open_with(options.clone(), disk.environment(), Drive::Manual).unwrap();
    let (store, recovered) = open();
    let model = Model::new(&store, &recovered);
    model.declare(&store, 1);
    // Groups that are too large to go over zeros written ahead.
    for _ in 0..3 {
        (0..10).for_each(|_| _ = model.publish(&store, &[1], &[0; 2000]));
        // It is synced at once, and what stands before it.
        let end = model.declare(&store, 2);
        while store.step_committer(time::now()) == Step::Worked {}
        assert_eq!(store.synced(), end);
    }
    store.close().unwrap();
    let mut expected = model.held();
    let path = segment::path(Path::new("/data/journal"), 0);
    let mut bytes = disk.durable(&path);
    let (position, _) = expected[&QueueId(1)][&Sequence(4)];
    bytes[position.0 as usize + 1000] ^= 1;
    disk.put(&path, &bytes);
    disk.lose_metadata();
    let (store, recovered) = open();
    expected.get_mut(&QueueId(1)).unwrap().remove(&Sequence(4));
    assert_eq!(held(&store, &recovered), expected);
    assert_eq!((recovered.report.damages, recovered.report.bytes_cut), (1, 0));
}

#[test]
fn damage_is_kept_once_and_never_over_other_damage() {
    let disk = SimDisk::default();
    let options = options(Path::new("/data"));
    let open = || open_with(options.clone(), disk.environment(), Drive::Manual).unwrap();
    let (store, recovered) = open();
    let model = Model::new(&store, &recovered);
    let ranges = records(&store, &model, 9);
    drop(store);
    let path = segment::path(Path::new("/data/journal"), 0);
    let bytes = disk.durable(&path);
    for (round, (value, copies)) in [(101, 2), (101, 2), (102, 3)].into_iter().enumerate() {
        let mut bytes = bytes.clone();
        (bytes[ranges[3].start + 15], bytes[ranges[7].start + 15]) = (value, 101);
        disk.put(&path, &bytes);
        // So that the journal is read, and not the checkpoint believed.
        disk.lose_metadata();
        let (store, recovered) = open();
        assert_eq!((recovered.report.damages, store.counters().damages), (2, 2), "round {round}");
        assert_eq!(recovered.report.messages, 7);
        assert_eq!(disk.paths("/damaged/").len(), copies, "round {round}");
        drop(store);
    }
    let first = format!("/data/damaged/00000000000000000000.journal-{}", ranges[3].start);
    assert_eq!(
        (disk.durable(Path::new(&first))[15], disk.durable(Path::new(&(first + "-2")))[15]),
        (101, 102)
    );
}

#[test]
fn the_store_goes_on_after_a_torn_record() {
    let dir = tempfile::tempdir().unwrap();
    // Driven by hand, the compactor moves nothing behind the record that is torn: that would be durable, and no crash takes
    // it away.
    let open = || open_with(options(dir.path()), Environment::real(), Drive::Manual).unwrap();
    let mut expected = State::new();
    for round in 0..4u64 {
        let (store, recovered) = open();
        let model = Model::new(&store, &recovered);
        assert_eq!(held(&store, &recovered), expected, "round {round}");
        model.declare(&store, round + 1);
        let end = model.publish(&store, &[round + 1], b"whole");
        expected = model.held();
        let last = model.publish(&store, &[round + 1], b"torn");
        while store.step_committer(time::now()) == Step::Worked {}
        assert_eq!(store.reached(Level::Written), last);
        drop(store);
        let (start, journal) = segment::list(&Disk, &dir.path().join("journal")).unwrap().pop().unwrap();
        let file = fs::File::options().write(true).open(&journal).unwrap();
        assert!(file.metadata().unwrap().len() > last.0 - start, "room stands behind the records");
        file.set_len(end.0 - start + (last.0 - end.0) / 4 * round).unwrap();
    }
    let (store, recovered) = open();
    assert_eq!(held(&store, &recovered), expected);
    assert!(recovered.report.bytes_cut > 0);
    assert_eq!(recovered.report.warnings.len(), 1, "of the torn record: {:?}", recovered.report.warnings);
}

#[test]
fn damage_at_the_end_of_an_earlier_file_is_kept_too() {
    let dir = tempfile::tempdir().unwrap();
    let (store, model, _) = open(dir.path());
    model.declare(&store, 1);
    (0..100u8).for_each(|n| _ = model.publish(&store, &[1], &[n; 100]));
    drop(store);
    let files = segment::list(&Disk, &dir.path().join("journal")).unwrap();
    assert!(files.len() >= 3);
    let (start, path) = &files[1];
    let mut bytes = fs::read(path).unwrap();
    let length = bytes.len();
    bytes[length - 20..].fill(0);
    fs::write(path, &bytes).unwrap();
    // The index is lost, so that the journal is read and not the checkpoint believed.
    fs::remove_dir_all(dir.path().join("sled")).unwrap();
    let (store, recovered) = open_store(options(dir.path())).unwrap();
    let mut expected = model.held();
    let is_lost = |at: u64| at + 150 > start + length as u64 && at < start + length as u64;
    expected.get_mut(&QueueId(1)).unwrap().retain(|_, (position, _)| !is_lost(position.0));
    assert_eq!(held(&store, &recovered), expected);
    let report = &recovered.report;
    // That sled was rebuilt is said, too, if a checkpoint had been made.
    let said = report.warnings.iter().filter(|warning| warning.contains("passed over")).count();
    assert_eq!((report.damages, report.bytes_cut, said), (1, 0, 1), "{report:?}");
    let kept: Vec<_> = fs::read_dir(dir.path().join("damaged")).unwrap().collect();
    let kept = fs::read(kept[0].as_ref().unwrap().path()).unwrap();
    assert!(bytes.ends_with(&kept) && kept.len() as u64 == report.bytes_skipped);
    store.close().unwrap();
}

#[test]
fn a_file_whose_making_was_interrupted_is_begun_anew() {
    for torn in [0, 7, segment::HEADER_BYTES - 1] {
        let dir = tempfile::tempdir().unwrap();
        let (store, model, _) = open(dir.path());
        model.declare(&store, 1);
        let end = model.publish(&store, &[1], b"kept").0;
        drop(store);
        let path = segment::path(&dir.path().join("journal"), end);
        fs::write(path, &segment::header(end)[..torn]).unwrap();
        let (store, model, recovered) = open(dir.path());
        assert_eq!(recovered.report.messages, 1, "{torn} bytes");
        model.publish(&store, &[1], b"in the new file");
        model.settle(&store, 1, 1);
        drop(store);
        let (store, _, recovered) = open(dir.path());
        assert_eq!(held(&store, &recovered), model.held(), "{torn} bytes");
    }
}
