//! The tools on stores that the real store made, with paged queues.

use super::super::index::ImageId;
use super::super::metadata::{Batch, Metadata, SledMetadata, wait_closed};
use super::super::tests::support::{self, Model, files, held, open, options};
use super::super::{Drive, Environment, Options, Step, open_with, segment};
use super::*;
use crate::durability::Level;
use crate::message::{Message, Properties};
use crate::time::Millis;
use std::fs;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

struct Dirs {
    data: tempfile::TempDir,
    scratch: tempfile::TempDir,
}

impl Dirs {
    fn new() -> Self {
        Self { data: tempfile::tempdir().unwrap(), scratch: tempfile::tempdir().unwrap() }
    }

    fn place(&self) -> Place {
        Place::with(options(self.data.path()), self.scratch.path())
    }

    fn check(&self) -> Checked {
        let checked = check(&self.place(), &mut |_, _| {}).unwrap();
        assert_eq!(
            fs::read_dir(self.scratch.path()).unwrap().count(),
            0,
            "the scratch directory is left empty"
        );
        checked
    }

    /// Checks that the report names the damage so, and that looking changed nothing.
    fn assert_damage(&self, parts: &[&str]) {
        let before = self.fingerprint();
        let damage = self.check().damage;
        let is_named = |line: &String| parts.iter().all(|part| line.contains(part));
        assert!(damage.iter().any(is_named), "{parts:?} in {damage:?}");
        assert_eq!(self.fingerprint(), before, "a check changes nothing");
    }

    /// Every file but the lock, with its bytes.
    fn fingerprint(&self) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        let mut folders = vec![self.data.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                match entry.is_dir() {
                    true => folders.push(entry),
                    false if entry.ends_with("lock") => {}
                    false => found.push((entry.display().to_string(), fs::read(entry).unwrap())),
                }
            }
        }
        found.sort();
        found
    }

    /// Changes sled's entries.
    fn in_sled(&self, change: impl FnOnce(&SledMetadata)) {
        let path = self.data.path().join("sled");
        let sled = SledMetadata::open(&path, &options(self.data.path())).unwrap();
        change(&sled);
        sled.sync().unwrap();
        drop(sled);
        wait_closed(&path).unwrap();
    }

    fn flip_in_sled(&self, prefix: &[u8]) {
        self.in_sled(|sled| {
            let mut changed = Batch::new();
            sled.visit(prefix, &mut |key, value| {
                let mut value = value.to_vec();
                *value.last_mut().unwrap() ^= 1;
                changed.insert(key.to_vec(), Some(value));
                Ok(())
            })
            .unwrap();
            let first = changed.into_iter().take(1).collect();
            sled.apply(&first).unwrap();
        });
    }
}

/// Two queues with 60 messages each, of which the first has pages, after a clean stop.
fn filled(dirs: &Dirs) -> Arc<Model> {
    let (store, model, _) = open(dirs.data.path());
    model.declare(&store, 1);
    model.declare(&store, 2);
    (0..60u8).for_each(|n| _ = model.publish(&store, &[1, 2], &[n; 300]));
    model.settle(&store, 1, 5);
    model.page_out(&store, 1, 20);
    model.page_out(&store, 1, 20);
    store.close().unwrap();
    drop(store);
    wait_closed(&dirs.data.path().join("sled")).unwrap();
    model
}

#[test]
fn a_check_says_that_a_crash_left_a_large_message_half_written_and_that_this_is_no_damage() {
    let dirs = Dirs::new();
    let (store, recovered) =
        open_with(options(dirs.data.path()), Environment::real(), Drive::Manual).unwrap();
    let (model, now) = (Model::new(&store, &recovered), crate::time::now());
    model.declare(&store, 1);
    let large = model.publish(&store, &[1], &vec![7; 3 << 20]);
    let small = model.publish(&store, &[1], b"small");
    while !store.has_reached(Level::SyncedButLarge.at(small)) {
        assert_eq!(store.step_committer(now), Step::Worked);
    }
    assert!(store.synced() < large);
    drop((store, recovered, model));
    wait_closed(&dirs.data.path().join("sled")).unwrap();
    let checked = dirs.check();
    assert_eq!(checked.damage, [""; 0]);
    let is_named = |note: &String| note.contains("half written") && note.contains("never confirmed");
    assert!(checked.notes.iter().any(is_named), "{:?}", checked.notes);
    assert_eq!(checked.messages, 1);
}

fn flip(path: &Path, offset: u64) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
}

fn flip_first_record(dirs: &Dirs) -> String {
    let journal = dirs.data.path().join("journal");
    let segments = segment::list(&super::super::files::Disk, &journal).unwrap();
    let path = &segments[1].1;
    flip(path, 32 + 40);
    path.display().to_string()
}

#[test]
fn a_store_with_pages_is_whole_after_a_clean_stop_and_after_a_crash() {
    let dirs = Dirs::new();
    filled(&dirs);
    let checked = dirs.check();
    assert!(checked.is_whole() && checked.notes.is_empty(), "{checked:?}");
    assert_eq!((checked.queues, checked.messages, checked.pages), (2, 115, 2));
    // A crash leaves records behind the checkpoint, and half a one at the end.
    let (store, model, _) = open(dirs.data.path());
    model.settle(&store, 1, 10);
    model.publish(&store, &[2], b"late");
    drop(store);
    let journal = dirs.data.path().join("journal");
    let last = segment::list(&super::super::files::Disk, &journal).unwrap().pop().unwrap().1;
    let length = fs::metadata(&last).unwrap().len();
    let file = fs::File::options().write(true).open(&last).unwrap();
    file.write_all_at(&[7; 20], length).unwrap();
    let before = dirs.fingerprint();
    let checked = dirs.check();
    assert!(checked.is_whole(), "{checked:?}");
    assert_eq!((checked.messages, checked.notes.len()), (106, 1), "{checked:?}");
    assert!(checked.notes[0].contains("will cut them off"), "{checked:?}");
    assert_eq!(dirs.fingerprint(), before);
}

#[test]
fn a_flipped_byte_in_a_record_is_named_with_its_file_and_offset() {
    let dirs = Dirs::new();
    filled(&dirs);
    let path = flip_first_record(&dirs);
    dirs.assert_damage(&[&path, "offset 32", "wrong checksum"]);
    dirs.assert_damage(&[&path, "offset 32", "of queue 1 has no intact record"]);
    dirs.assert_damage(&[&path, "offset 32", "of queue 2 has no intact record"]);
}

#[test]
fn a_flipped_byte_in_a_header_a_snapshot_a_page_or_an_image_is_named() {
    let dirs = Dirs::new();
    filled(&dirs);
    let journal = dirs.data.path().join("journal");
    let (_, path) = &segment::list(&super::super::files::Disk, &journal).unwrap()[1];
    flip(path, 3);
    dirs.assert_damage(&[&path.display().to_string(), "offset 0", "damaged header"]);
    flip(path, 3);
    assert!(dirs.check().is_whole());
    for name in ["queues.snapshot", "definitions.snapshot"] {
        flip(&dirs.data.path().join(name), 40);
        dirs.assert_damage(&[name]);
        flip(&dirs.data.path().join(name), 40);
    }
    for (prefix, named) in [(&b"p"[..], "page 0 of queue 1"), (b"i", "queue image"), (b"q", "live set")] {
        dirs.flip_in_sled(prefix);
        dirs.assert_damage(&[named]);
        dirs.flip_in_sled(prefix);
    }
    assert!(dirs.check().is_whole());
}

#[test]
fn a_page_and_a_file_that_are_gone_are_named() {
    let dirs = Dirs::new();
    filled(&dirs);
    let page = |image: ImageId| [&b"p"[..], &1u64.to_be_bytes(), &image.0.to_be_bytes()].concat();
    dirs.in_sled(|sled| sled.apply(&Batch::from([(page(ImageId(1)), None)])).unwrap());
    dirs.assert_damage(&["page 1 of queue 1: missing"]);
    let dirs = Dirs::new();
    filled(&dirs);
    let journal = dirs.data.path().join("journal");
    fs::remove_file(&segment::list(&super::super::files::Disk, &journal).unwrap()[2].1).unwrap();
    assert!(!dirs.check().is_whole());
}

#[test]
fn a_directory_in_use_and_one_without_a_store_are_refused() {
    let dirs = Dirs::new();
    let missing = check(&dirs.place(), &mut |_, _| {});
    assert!(matches!(missing, Err(Error::Io { .. })), "{missing:?}");
    assert_eq!(fs::read_dir(dirs.data.path()).unwrap().count(), 0, "no store is made");
    let (store, _model, _) = open(dirs.data.path());
    let tell: &mut Tell<'_> = &mut |_, _| {};
    assert!(matches!(check(&dirs.place(), tell), Err(Error::Locked { .. })));
    assert!(matches!(stats(&dirs.place(), tell), Err(Error::Locked { .. })));
    assert!(matches!(compact(&dirs.place(), tell), Err(Error::Locked { .. })));
    let exported = export(&dirs.place(), "/", "queue-1", &mut Vec::new(), tell);
    assert!(matches!(exported, Err(TransferError::Store(Error::Locked { .. }))), "{exported:?}");
    drop(store);
}

#[test]
fn stats_say_what_files_and_queues_take_and_what_a_start_reads() {
    let dirs = Dirs::new();
    filled(&dirs);
    let stats = stats(&dirs.place(), &mut |_, _| {}).unwrap();
    let (count, bytes) = files(dirs.data.path());
    assert_eq!((stats.files.len(), stats.files.iter().map(|file| file.bytes).sum::<u64>()), (count, bytes));
    assert_eq!(stats.files.iter().map(|file| file.live_records).sum::<u64>(), 60);
    let queue = |name: &str, messages, pages| QueueStats {
        vhost: "/".into(),
        name: name.into(),
        messages,
        message_bytes: messages * 300,
        pages,
    };
    assert_eq!(stats.queues, [queue("queue-1", 55, 2), queue("queue-2", 60, 0)]);
    assert!(stats.checkpoint > 0 && stats.sled_bytes > 0 && stats.warnings.is_empty());
    assert!(stats.start_files <= 1, "a clean stop leaves nothing to be replayed: {stats:?}");
}

#[test]
fn compacting_shrinks_and_loses_nothing() {
    let dirs = Dirs::new();
    let (store, model, _) = open(dirs.data.path());
    model.declare(&store, 1);
    model.declare(&store, 2);
    for n in 0..400u32 {
        // Every twentieth stays, some of them in pages.
        let queue = if n % 20 == 0 { 1 } else { 2 };
        model.publish(&store, &[queue], &[n as u8; 500]);
    }
    model.page_out(&store, 1, 12);
    model.settle(&store, 2, 380);
    store.close().unwrap();
    drop(store);
    let before = files(dirs.data.path()).1;
    let done = compact(&dirs.place(), &mut |_, _| {}).unwrap();
    let after = files(dirs.data.path()).1;
    assert_eq!((done.journal_bytes_before, done.journal_bytes), (before, after));
    assert!(after < before / 3 && done.moved >= 10, "{done:?}");
    let checked = dirs.check();
    assert!(checked.is_whole() && checked.messages == 20, "{checked:?}");
    let (store, again, _) = open(dirs.data.path());
    assert_eq!(support::bodies(again.held()), support::bodies(model.held()));
    store.close().unwrap();
    drop(store);
    let second = compact(&dirs.place(), &mut |_, _| {}).unwrap();
    assert!(second.moved <= 20 && second.journal_bytes <= after + 100, "{second:?}");
}

#[test]
fn a_start_writes_a_sled_anew_that_is_much_larger_than_its_entries() {
    let dirs = Dirs::new();
    let model = filled(&dirs);
    dirs.in_sled(|sled| {
        for n in 0..400u32 {
            let key = [&b"x"[..], &n.to_be_bytes()].concat();
            let value: Vec<u8> = (0..20_000u32).map(|at| (at * n) as u8 ^ (at >> 8) as u8).collect();
            sled.apply(&Batch::from([(key.clone(), Some(value))])).unwrap();
            sled.apply(&Batch::from([(key, None)])).unwrap();
        }
    });
    let sled = dirs.data.path().join("sled");
    let before = super::super::place::folder_bytes(&sled).unwrap();
    let small = Options { sled_rebuild_bytes: 1 << 20, ..options(dirs.data.path()) };
    let (store, recovered) = super::super::open(small).unwrap();
    assert_eq!(recovered.report.warnings, [""; 0]);
    assert_eq!(held(&store, &recovered), model.held());
    drop(store);
    let after = super::super::place::folder_bytes(&sled).unwrap();
    assert!(after < before / 2, "{before} {after}");
    assert!(dirs.check().is_whole());
}

fn odd_messages() -> Vec<Message> {
    let headers: &[u8] =
        b"\x01ab\x80\x02xxS\0\0\0\x02\xff\xfe\x01dd\x7f\xf0\0\0\0\0\0\0\x01vV\x01DD\x02\0\0\0\x05";
    let table = [&(headers.len() as u32).to_be_bytes(), headers].concat();
    let all = Properties {
        content_type: Some(b"\xff\xfe"),
        headers: Some(&table),
        delivery_mode: Some(2),
        priority: Some(3),
        expiration: Some(b"100000"),
        timestamp: Some(u64::MAX),
        cluster_id: Some(b""),
        ..Properties::default()
    };
    let mut raw = Vec::new();
    all.write(&mut raw);
    let message = |raw: &[u8], key: &[u8], body: &[u8]| {
        Message::new("ä".into(), key, raw, &Properties::parse(raw).unwrap(), &[body]).at(Millis(77))
    };
    vec![
        message(&raw, b"\xff\x00", &[0, 255, 10, 13]),
        message(&[0, 0], b"k", b""),
        message(&[0x10, 0, 2], b"", b"x"),
    ]
}

#[test]
fn a_line_is_lossless_and_bad_lines_are_refused_with_a_reason() {
    for message in odd_messages() {
        let line = line::Line { message, is_delivered: true, returns: 4, failures: 2 };
        assert_eq!(line::Line::from_json(&line.to_json()).unwrap(), line);
    }
    for (text, part) in [
        ("{}", "missing field"),
        (r#"{"exchange":"","body_base64":"?","published_at":1}"#, "body_base64 is no base64"),
        (
            r#"{"exchange":"","body_base64":"","published_at":1,"properties":{"priority":1}}"#,
            "properties_base64",
        ),
        (r#"{"exchange":"","body_base64":"","published_at":1,"properties_base64":"AAE="}"#, "no properties"),
        (r#"{"exchange":"","body_base64":"","published_at":1,"bdy":1}"#, "unknown field"),
    ] {
        let error = line::Line::from_json(text).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

fn exported(dirs: &Dirs, queue: &str) -> String {
    let mut out = Vec::new();
    export(&dirs.place(), "/", queue, &mut out, &mut |_, _| {}).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn what_was_exported_is_imported_in_order_and_exported_as_the_same_lines() {
    let dirs = Dirs::new();
    filled(&dirs);
    let mut lines: String = odd_messages()
        .into_iter()
        .zip(0..)
        .map(|(message, returns)| {
            line::Line { message, is_delivered: returns > 0, returns, failures: 0 }.to_json() + "\n"
        })
        .collect();
    lines += &exported(&dirs, "queue-1");
    assert_eq!(lines.lines().count(), 58);
    let imported = import(&dirs.place(), "/", "queue-2", &mut lines.as_bytes(), &mut |_, _| {});
    assert_eq!(imported.unwrap(), 58);
    assert!(dirs.check().is_whole());
    let all = exported(&dirs, "queue-2");
    assert_eq!(all.lines().count(), 118);
    assert!(all.ends_with(&lines), "as they were, behind what was there");
    assert_eq!(exported(&dirs, "queue-1").lines().count(), 55, "exporting takes nothing away");
}

#[test]
fn a_long_import_becomes_pages() {
    let dirs = Dirs::new();
    filled(&dirs);
    let line = line::Line { message: odd_messages().remove(2), is_delivered: false, returns: 0, failures: 0 }
        .to_json();
    let lines = format!("{line}\n").repeat(5_000);
    import(&dirs.place(), "/", "queue-1", &mut lines.as_bytes(), &mut |_, _| {}).unwrap();
    let stats = stats(&dirs.place(), &mut |_, _| {}).unwrap();
    assert_eq!(stats.queues[0].messages, 5_055);
    assert!(stats.queues[0].pages >= 5, "{:?}", stats.queues[0]);
    assert!(dirs.check().is_whole());
    assert!(exported(&dirs, "queue-1").ends_with(&lines));
}

#[test]
fn a_bad_line_ends_an_import_and_what_came_before_it_is_durable() {
    let dirs = Dirs::new();
    filled(&dirs);
    let line = line::Line { message: odd_messages().remove(2), is_delivered: false, returns: 0, failures: 0 }
        .to_json();
    let lines = format!("{line}\n\n{line}\nnonsense\n{line}\n");
    let error = import(&dirs.place(), "/", "queue-1", &mut lines.as_bytes(), &mut |_, _| {}).unwrap_err();
    assert!(matches!(error, TransferError::Line { line: 4, imported: 2, .. }), "{error}");
    assert_eq!(exported(&dirs, "queue-1").lines().count(), 57);
    let error = import(&dirs.place(), "/", "nobody", &mut lines.as_bytes(), &mut |_, _| {}).unwrap_err();
    assert!(matches!(error, TransferError::NoQueue { .. }), "{error}");
}
