//! Records: round trips, damage, and what must never panic.

use super::*;
use crate::arguments::{Table, Value};
use crate::definition::{Binding, Definition, Destination};
use proptest::prelude::*;

fn message(exchange: &str, key: &[u8], body: &[u8]) -> Message {
    let raw = [0x10, 0, 2];
    let parsed = Properties::parse(&raw).unwrap();
    Message::new(exchange.into(), key, &raw, &parsed, &[body])
}

fn settled(sequence: u64, is_durable: bool) -> Settled {
    Settled { sequence: Sequence(sequence), position: Position(1), record_bytes: 1, is_durable }
}

/// Seals a record of the first version, as the first Warren wrote it.
fn first_version(kind: u8, payload: &[u8], position: u64) -> Vec<u8> {
    let mut bytes = vec![payload.len() as u8, 0, 0, 0, 0, 0, kind, VERSION, 0, 0, 0, 0];
    bytes.extend_from_slice(payload);
    seal(&mut bytes, position);
    bytes
}

#[test]
fn records_of_the_first_version_are_read() {
    let bytes = first_version(1, &[1, 7, 9, 1, 2, 3, 5, b'x', b'k', b'y', 0x10, 0, 2, b'b', b'o'], 77);
    let Entry::Publish(publish) = read_one(&bytes, 77) else { panic!("no publish") };
    assert_eq!(publish.targets[..], [(QueueId(7), Sequence(9))]);
    assert_eq!((publish.exchange, publish.routing_key, publish.body), ("x", &b"ky"[..], &b"bo"[..]));
    assert_eq!((publish.received_at, publish.origin), (Millis(5), Origin::default()));
    let bytes = first_version(2, &[7, 4, 1, 9, 0], 99);
    let Entry::Progress(progress) = read_one(&bytes, 99) else { panic!("no settle") };
    assert_eq!(progress.settled[..], [(Sequence(4), Sequence(5)), (Sequence(9), Sequence(9))]);
}

fn read_one(bytes: &[u8], position: u64) -> Entry<'_> {
    let (mut entries, length) = read(bytes, position).unwrap();
    assert_eq!((entries.len(), length), (1, bytes.len()));
    entries.pop().unwrap()
}

proptest! {
    #[test]
    fn a_publish_comes_back(
        exchange in "[a-zé]{0,20}",
        key in proptest::collection::vec(any::<u8>(), 0..=255),
        body in proptest::collection::vec(any::<u8>(), 0..300),
        targets in proptest::collection::vec((any::<u64>(), any::<u64>()), 0..5),
        position in 32u64..1 << 60,
        received_at in any::<u64>(),
        origin in any::<(bool, bool, bool)>(),
    ) {
        let origin = Origin { is_delivered: origin.0, is_transient: origin.1, is_moved: origin.2 };
        let message = message(&exchange, &key, &body).at(Millis(received_at));
        let targets: Vec<Target> = targets.into_iter().map(|(q, s)| (QueueId(q), Sequence(s))).collect();
        let mut bytes = Vec::new();
        write_publish(&mut bytes, &message, &targets, origin);
        seal(&mut bytes, position);
        let Entry::Publish(publish) = read_one(&bytes, position) else { panic!("no publish") };
        prop_assert_eq!((publish.position, publish.origin), (Position(position), origin));
        prop_assert_eq!(publish.record_bytes as usize, bytes.len());
        let alone = read_message(&bytes, position).unwrap();
        prop_assert_eq!(&alone, &publish);
        prop_assert_eq!(&publish.targets[..], &targets[..]);
        prop_assert_eq!(publish.message(publish.exchange.into()).unwrap(), message);
    }

    #[test]
    fn progress_comes_back_without_its_transient_messages(
        queue in any::<u64>(),
        messages in proptest::collection::vec((0u64..50, any::<bool>()), 0..40),
        delivered in proptest::collection::vec((0u64..50).prop_map(Sequence), 0..10),
        returned in proptest::collection::vec((0u64..50).prop_map(Sequence), 0..10),
        deliverable_below in prop_oneof![Just(Sequence(0)), (1u64..1 << 50).prop_map(Sequence)],
    ) {
        let settled: Vec<Settled> = messages.iter().map(|&(sequence, is_durable)| settled(sequence, is_durable)).collect();
        let durable: Vec<Sequence> = messages.iter().filter(|(_, d)| *d).map(|(s, _)| Sequence(*s)).collect();
        let is_empty = durable.is_empty() && delivered.is_empty() && returned.is_empty() && deliverable_below.0 == 0;
        let progress = Progress { settled: &settled, delivered: &delivered, returned: &returned, deliverable_below, ..Progress::default() };
        let mut bytes = Vec::new();
        prop_assert_eq!(write_progress(&mut bytes, QueueId(queue), &progress), !is_empty);
        if is_empty {
            prop_assert!(bytes.is_empty());
            return Ok(());
        }
        seal(&mut bytes, 99);
        let Entry::Progress(found) = read_one(&bytes, 99) else { panic!("no progress") };
        let all = |ranges: &[Range]| ranges.iter().flat_map(|(first, last)| (first.0..=last.0).map(Sequence)).collect::<Vec<_>>();
        prop_assert_eq!((found.queue, found.deliverable_below), (QueueId(queue), deliverable_below));
        prop_assert_eq!([all(&found.settled), all(&found.delivered), all(&found.returned)], [durable, delivered, returned]);
    }

    #[test]
    fn a_changed_byte_or_another_position_is_noticed(at in 0usize..60, flip in 1u8..=255) {
        let mut bytes = Vec::new();
        write_publish(&mut bytes, &message("x", b"key", b"a body of some length, so that at is inside"), &[], Origin::default());
        seal(&mut bytes, 500);
        prop_assert_eq!(read(&bytes, 501), Err(Bad::Checksum));
        bytes[at] ^= flip;
        prop_assert!(matches!(read(&bytes, 500), Err(Bad::Checksum | Bad::Truncated)));
    }

    #[test]
    fn any_payload_under_a_right_checksum_is_read_or_refused(
        kind in 0u8..6,
        version in 1u8..3,
        payload in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let mut bytes = vec![payload.len() as u8, 0, 0, 0, 0, 0, kind, version, 0, 0, 0, 0];
        bytes.extend_from_slice(&payload);
        let sum = checksum(&bytes, 7);
        bytes[CHECKSUM_AT..HEADER_BYTES].copy_from_slice(&sum.to_le_bytes());
        if let Ok((entries, _)) = read(&bytes, 7) {
            for entry in entries {
                if let Entry::Publish(publish) = entry {
                    let _ = publish.message("x".into());
                }
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        prop_assert!(read(&bytes, 0).is_err());
    }

    #[test]
    fn varints_come_back(value in any::<u64>()) {
        let mut bytes = Vec::new();
        write_varint(&mut bytes, value);
        prop_assert_eq!(read_varint(&mut &bytes[..]), Some(value));
    }
}

#[test]
fn a_transaction_is_one_record_with_several_entries() {
    let (one, two) = (message("x", b"1", b"one"), message("", b"2", b"two"));
    let mut bytes = Vec::new();
    let mut offsets = Vec::new();
    let settled = [settled(4, true), settled(5, true), settled(9, true)];
    let publishes: [(&Message, &[Target]); 2] = [(&one, &[(QueueId(1), Sequence(1))]), (&two, &[])];
    write_transaction(&mut bytes, &publishes, &[(QueueId(3), &settled)], &mut offsets);
    seal(&mut bytes, 1000);
    let (entries, length) = read(&bytes, 1000).unwrap();
    assert_eq!(length, bytes.len());
    let [Entry::Publish(first), Entry::Publish(second), Entry::Progress(progress)] = &entries[..] else {
        panic!("{entries:?}")
    };
    assert_eq!(first.position, Position(1000 + offsets[0] as u64));
    assert_eq!(second.position, Position(1000 + offsets[1] as u64));
    assert_eq!((first.body, second.body, progress.queue), (&b"one"[..], &b"two"[..], QueueId(3)));
    assert_eq!(progress.settled[..], [(Sequence(4), Sequence(5)), (Sequence(9), Sequence(9))]);
    // Each message of it can be read by its own position.
    assert_eq!(read_message(&bytes[offsets[1]..], second.position.0).unwrap(), *second);
}

#[test]
fn a_record_of_a_newer_version_is_told_from_damage() {
    let mut bytes = vec![0, 0, 0, 0, 0, 0, 9, 3, 0, 0, 0, 0];
    seal(&mut bytes, 40);
    assert_eq!(read(&bytes, 40), Err(Bad::Unknown { kind: 9, version: 3 }));
}

#[test]
fn changes_come_back_whatever_numbers_a_table_has() {
    let mut arguments = Table::default();
    arguments.insert("tenth".into(), Value::Double(0.1));
    arguments.insert("third".into(), Value::Float(1.0 / 3.0));
    arguments.insert("odd".into(), Value::Double(f64::MIN_POSITIVE));
    arguments.insert("text".into(), Value::LongString(vec![0xff, 0].into()));
    let put = |arguments| {
        let destination = Destination::Queue("q".into());
        Change::Put(Definition::Binding(
            "/".into(),
            Binding { source: "x".into(), destination, key: "k".into(), arguments },
            None,
        ))
    };
    let change = put(arguments.clone());
    let mut bytes = Vec::new();
    write_changes(&mut bytes, &encode_changes(std::slice::from_ref(&change)));
    seal(&mut bytes, 40);
    assert_eq!(read_one(&bytes, 40), Entry::Changes(vec![change]));

    let mut lost = arguments.clone();
    lost.insert("nan".into(), Value::Double(f64::NAN));
    lost.insert("list".into(), Value::FieldArray(vec![Value::Float(f32::INFINITY)].into()));
    arguments.insert("nan".into(), Value::Void);
    arguments.insert("list".into(), Value::FieldArray(vec![Value::Void].into()));
    let encoded = encode_changes(&[put(lost)]);
    assert_eq!(serde_json::from_slice::<Vec<Change>>(&encoded).unwrap(), [put(arguments)]);
}

#[test]
fn a_binding_has_a_place_only_where_its_order_counts() {
    let (source, destination) = ("x".into(), Destination::Queue("q".into()));
    let binding = Binding { source, destination, key: "1".into(), arguments: Table::default() };
    let json = r#"{"arguments":{},"destination":{"Queue":"q"},"key":"1","source":"x"}"#;
    for (place, text) in [(None, ""), (Some(7), ",7")] {
        let change = Change::Put(Definition::Binding("/".into(), binding.clone(), place));
        let encoded = encode_changes(std::slice::from_ref(&change));
        assert_eq!(
            String::from_utf8_lossy(&encoded),
            format!(r#"[{{"Put":{{"Binding":["/",{json}{text}]}}}}]"#)
        );
        assert_eq!(serde_json::from_slice::<Vec<Change>>(&encoded).unwrap(), [change]);
    }
}

#[test]
fn a_transaction_of_version_1_is_still_read() {
    let (one, settled) = (message("", b"k", b"one"), [settled(4, true)]);
    let target = [(QueueId(3), Sequence(5))];
    let mut bytes = Vec::new();
    write_transaction(&mut bytes, &[(&one, &target)], &[(QueueId(3), &settled)], &mut Vec::new());
    bytes[7] = 1;
    seal(&mut bytes, 700);
    let (entries, length) = read(&bytes, 700).unwrap();
    assert_eq!((entries.len(), length), (2, bytes.len()));
    assert!(read(&bytes[HEADER_BYTES..], 700 + HEADER_BYTES as u64).is_ok(), "as it was sealed then");
}

#[test]
fn the_next_intact_record_is_found_behind_any_bytes_and_no_part_of_a_transaction_is_one() {
    let (one, target) = (message("", b"k", &[1; 200]), [(QueueId(3), Sequence(5))]);
    let mut records = Vec::new();
    write_transaction(&mut records, &[(&one, &target)], &[], &mut Vec::new());
    let second = records.len();
    write_publish(&mut records, &one, &target, Origin::default());
    seal(&mut records, 5_000);
    assert_eq!(find(&records, 0, 5_000), Some(0));
    for from in [1, 12, second] {
        assert_eq!(find(&records, from, 5_000), Some(second));
    }
    assert_eq!(find(&records, second + 1, 5_000), None);
    assert_eq!(find(&records, 0, 5_001), None, "not where it was written");
}

proptest! {
    #[test]
    fn a_record_of_any_size_is_found_where_it_stands(before in 0usize..9_000, size in 0usize..20_000, byte in any::<u8>()) {
        let mut bytes = vec![byte; before];
        write_publish(&mut bytes, &message("x", b"k", &vec![7; size]), &[(QueueId(1), Sequence(2))], Origin::default());
        seal(&mut bytes[before..], 77 + before as u64);
        bytes.extend_from_slice(&[byte; 5_000]);
        prop_assert_eq!(find(&bytes, 0, 77), Some(before));
        prop_assert_eq!(find(&bytes, 0, 78), None);
        bytes[before + HEADER_BYTES + size / 2] ^= 4;
        prop_assert_eq!(find(&bytes, 0, 77), None);
    }
}

#[test]
fn bytes_full_of_large_lengths_are_not_read_once_for_each() {
    // 65,536 plausible headers of 256 KiB each: 16 GiB if every payload were read.
    let bytes = [0, 0, 4, 0, 0, 0, 1, 1].repeat(65_536);
    assert_eq!(find(&bytes, 0, 32), None);
}
