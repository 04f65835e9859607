//! Crashes: the journal cut at every byte, and damaged at every byte.

use super::super::catalog::Contents;
use super::super::files::Disk;
use super::super::replay::Replay;
use super::super::{Report, Store, open as open_store, segment};
use super::support::{Held, Model, held, open, options};
use crate::name::{Position, QueueId};
use std::collections::HashMap;
use std::fs;
use std::path::Path;

type State = HashMap<QueueId, Held>;

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

/// Replays one file as the last of a journal that starts with it.
fn replay(path: &Path) -> (State, Report) {
    let mut report = Report::default();
    let mut replay = Replay::new(Contents::default(), 0);
    replay.read_file(&Disk, path, 0, true, &mut report).unwrap();
    let replayed = replay.finish(&mut report);
    let recovered = super::super::Recovered {
        definitions: replayed.definitions,
        queues: replayed.queues,
        next_queue_id: replayed.next_queue_id,
        report: Report::default(),
    };
    (held(&recovered), report)
}

#[test]
fn a_journal_cut_at_any_byte_comes_back_to_its_last_whole_record() {
    let dir = tempfile::tempdir().unwrap();
    let (store, model, _) = open(dir.path());
    let history = history(&store, &model);
    drop(store);
    let journal = segment::path(&dir.path().join("journal"), 0);
    let bytes = fs::read(&journal).unwrap();
    assert_eq!(history.last().unwrap().0, Position(bytes.len() as u64));
    let path = dir.path().join("cut");
    for length in 0..=bytes.len() {
        fs::write(&path, &bytes[..length]).unwrap();
        let (state, report) = replay(&path);
        assert_eq!(state, at(&history, length as u64), "cut at {length}");
        let kept = fs::metadata(&path).unwrap().len();
        assert_eq!(kept + report.bytes_cut, length as u64);
        assert!(kept == 0 || history.iter().any(|(end, _)| end.0 == kept), "{kept} is no end of a record");
    }
}

#[test]
fn a_changed_byte_anywhere_is_noticed_and_what_stands_before_it_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (store, model, _) = open(dir.path());
    let history = history(&store, &model);
    drop(store);
    let bytes = fs::read(segment::path(&dir.path().join("journal"), 0)).unwrap();
    let path = dir.path().join("changed");
    for index in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[index] ^= 0x10;
        fs::write(&path, &bytes).unwrap();
        let (state, report) = replay(&path);
        let is_header = index < segment::HEADER_BYTES;
        let end = if is_header { bytes.len() as u64 } else { index as u64 };
        assert_eq!(state, at(&history, end), "byte {index}");
        assert_eq!(report.warnings.len(), 1, "byte {index}: {:?}", report.warnings);
    }
}

#[test]
fn the_store_goes_on_after_a_torn_record() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = State::new();
    for round in 0..4u64 {
        let (store, model, recovered) = open(dir.path());
        assert_eq!(held(&recovered), expected, "round {round}");
        model.declare(&store, round + 1);
        let end = model.publish(&store, &[round + 1], b"whole");
        expected = model.held();
        let last = model.publish(&store, &[round + 1], b"torn");
        drop(store);
        let journal = segment::path(&dir.path().join("journal"), 0);
        let file = fs::File::options().write(true).open(&journal).unwrap();
        file.set_len(end.0 + (last.0 - end.0) / 4 * round).unwrap();
    }
    let (_store, _, recovered) = open(dir.path());
    assert_eq!(held(&recovered), expected);
    assert!(recovered.report.bytes_cut > 0);
    assert_eq!(recovered.report.warnings.len(), 1);
}

#[test]
fn damage_in_an_earlier_file_costs_the_rest_of_that_file_only() {
    let dir = tempfile::tempdir().unwrap();
    let (store, model, _) = open(dir.path());
    model.declare(&store, 1);
    (0..100u8).for_each(|n| _ = model.publish(&store, &[1], &[n; 100]));
    drop(store);
    let files = segment::list(&Disk, &dir.path().join("journal")).unwrap();
    assert!(files.len() >= 3);
    let (start, path) = &files[1];
    let mut bytes = fs::read(path).unwrap();
    bytes[2000] ^= 1;
    fs::write(path, &bytes).unwrap();
    // A crash follows the damage, so that the journal is read and not the checkpoint believed.
    let (store, recovered) = open_store(options(dir.path())).unwrap();
    let mut expected = model.held();
    let lost = |at: u64| at + 150 > start + 2000 && at < start + bytes.len() as u64;
    expected.get_mut(&QueueId(1)).unwrap().retain(|_, (position, _)| !lost(position.0));
    assert_eq!(held(&recovered), expected);
    assert!(recovered.report.bytes_skipped > 1500);
    assert_eq!(recovered.report.warnings.len(), 1, "{:?}", recovered.report.warnings);
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
        let (_store, _, recovered) = open(dir.path());
        assert_eq!(held(&recovered), model.held(), "{torn} bytes");
    }
}
