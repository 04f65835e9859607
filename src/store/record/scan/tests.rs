//! Tests of going through a file: what is a record, what is room for one, and what is damage.

use super::super::{Origin, Sealing, seal, write_large, write_publish, write_synced};
use super::*;
use crate::message::{Message, Properties};
use crate::name::{QueueId, Sequence};

const START: u64 = 1_000;

fn publish(body: &[u8]) -> Vec<u8> {
    let parsed = Properties::parse(&[0, 0]).unwrap();
    let message = Message::new("x".into(), b"k", &[0, 0], &parsed, &[body]);
    let mut record = Vec::new();
    write_publish(&mut record, &message, &[(QueueId(1), Sequence(2))], Origin::default());
    record
}

/// A file with a small record, a large one of which so much is there, and another small one. Where each begins.
fn file(whole: bool) -> (Vec<u8>, [usize; 4]) {
    let mut bytes = publish(b"before");
    let large = publish(&[7; 50_000]);
    let announced_at = bytes.len();
    write_large(&mut bytes, large.len() as u64);
    let large_at = bytes.len();
    seal(&mut bytes, START);
    let mut sealing = Sealing::new(&large, START + large_at as u64);
    sealing.update(&large[HEADER_BYTES..20_000]);
    sealing.update(&large[20_000..]);
    bytes.extend_from_slice(&large);
    if whole {
        sealing.seal(&mut bytes[large_at..]);
    } else {
        bytes[large_at..large_at + HEADER_BYTES].fill(0);
        bytes[large_at + 20_000..].fill(0);
    }
    let behind_at = bytes.len();
    bytes.extend_from_slice(&publish(b"behind"));
    seal(&mut bytes[behind_at..], START + behind_at as u64);
    (bytes, [0, announced_at, large_at, behind_at])
}

/// What stands at each offset.
fn scanned(bytes: &[u8]) -> Vec<(usize, &'static str)> {
    names(Scan::new(bytes, START, 0), bytes)
}

/// The same where the file was being written.
fn scanned_last(bytes: &[u8]) -> Vec<(usize, &'static str)> {
    names(Scan::new(bytes, START, 0).of_last_file(true), bytes)
}

fn names(scan: Scan<'_>, bytes: &[u8]) -> Vec<(usize, &'static str)> {
    let pieces: Vec<_> = scan.collect();
    let is_gapless = pieces.windows(2).all(|pair| pair[0].end == pair[1].at);
    assert!(is_gapless && pieces.last().is_none_or(|last| last.end == bytes.len()), "{pieces:?}");
    let name = |what: &What<'_>| match what {
        What::Record(_) => "record",
        What::Unreadable(_) => "unreadable",
        What::Unfinished => "unfinished",
        What::Damage(_) => "damage",
        What::Rest(_) => "rest",
        What::Room(_) => "room",
    };
    pieces.iter().map(|piece| (piece.at, name(&piece.what))).collect()
}

#[test]
fn a_large_record_that_is_whole_is_a_record_like_any_other() {
    let (bytes, at) = file(true);
    assert_eq!(scanned(&bytes), at.map(|at| (at, "record")));
}

#[test]
fn an_announced_record_without_a_header_is_unfinished_and_what_is_behind_it_counts() {
    let (bytes, [first, announced, large, behind]) = file(false);
    let expected = [(first, "record"), (announced, "record"), (large, "unfinished"), (behind, "record")];
    assert_eq!(scanned(&bytes), expected);
}

#[test]
fn a_large_record_that_was_whole_and_has_rotted_is_damage() {
    let (mut bytes, [.., large, behind]) = file(true);
    bytes[large + 30_000] ^= 1;
    assert_eq!(scanned(&bytes)[2..], [(large, "damage"), (behind, "record")]);
}

#[test]
fn zeros_that_nobody_announced_are_damage() {
    let (mut bytes, [_, announced, large, behind]) = file(false);
    bytes[announced + HEADER_BYTES] ^= 1;
    let expected = [(announced, "damage"), (behind, "record")];
    assert_eq!(scanned(&bytes)[1..], expected, "not {large}");
}

#[test]
fn zeros_to_the_end_are_room_for_records() {
    let (mut bytes, [.., behind]) = file(true);
    let end = bytes.len();
    bytes.resize(end + 5000, 0);
    assert_eq!(scanned(&bytes)[3..], [(behind, "record"), (end, "room")]);
    assert_eq!(scanned_last(&bytes), scanned(&bytes));
}

/// Ten records in a row behind `before` bytes, and where each begins; the last one says that all before `synced` is durable.
fn row(synced: u64) -> (Vec<u8>, Vec<usize>) {
    let (mut bytes, mut at) = (Vec::new(), Vec::new());
    for n in 0..10u8 {
        at.push(bytes.len());
        bytes.extend_from_slice(&publish(&[n + 1; 170]));
    }
    at.push(bytes.len());
    write_synced(&mut bytes, synced);
    seal(&mut bytes, START);
    (bytes, at)
}

#[test]
fn what_a_torn_write_left_out_takes_all_behind_it_along() {
    let (mut bytes, at) = row(START);
    let records = |count| at.iter().take(count).map(|at| (*at, "record")).collect::<Vec<_>>();
    assert_eq!(scanned_last(&bytes), records(11));
    // The third sector was not written: it holds the end of one record, and those behind it.
    let torn = at.iter().filter(|at| **at < 1024).count() - 1;
    bytes[1024..1536].fill(0);
    let rest = [records(torn), vec![(at[torn], "rest")]].concat();
    assert_eq!(scanned_last(&bytes), rest);
    // In a file that was ended and synced before, it is damage.
    assert_eq!(scanned(&bytes)[torn], (at[torn], "damage"));
    assert_eq!(scanned(&bytes).last(), Some(&(at[10], "record")));
}

#[test]
fn a_gap_that_had_been_synced_is_damage_and_what_is_behind_it_counts() {
    let (mut bytes, at) = row(START + 1300);
    bytes[1024..1536].fill(0);
    let torn = at.iter().filter(|at| **at < 1024).count() - 1;
    let found = scanned_last(&bytes);
    assert_eq!((found[torn], found.last()), ((at[torn], "damage"), Some(&(at[10], "record"))));
}

#[test]
fn a_flipped_bit_is_damage_in_the_last_file_too() {
    let (mut bytes, at) = row(START);
    bytes[at[4] + 30] ^= 1;
    assert_eq!(scanned_last(&bytes)[4..6], [(at[4], "damage"), (at[5], "record")]);
}

#[test]
fn a_file_that_ends_inside_a_large_record_has_a_torn_rest() {
    let (bytes, [.., large, behind]) = file(false);
    for end in [large + 1, large + HEADER_BYTES, large + 20_000, behind - 1] {
        assert_eq!(scanned(&bytes[..end])[2..], [(large, "rest")], "cut at {end}");
    }
    assert_eq!(scanned(&bytes[..behind])[2..], [(large, "unfinished")]);
}
