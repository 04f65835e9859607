//! Large records: nobody else waits for them, and a crash at any moment loses nothing that was confirmed, driven by hand.

use super::super::{Drive, LARGE_BODY_BYTES, Options, Recovered, Step, Store, SyncWaiter, open_with};
use super::disk::{Op, SimDisk};
use super::support::{Held, Model, held, options};
use crate::durability::{Durability, Level, Point};
use crate::name::{QueueId, Sequence};
use crate::time::{self, Duration, Instant};
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;

/// As much of a large message is written in a turn.
const SLICE_BYTES: usize = 1 << 20;
/// So many slices and a bit.
const SLICES: usize = 3;
const LARGE: usize = SLICES * SLICE_BYTES + 1000;

/// Files of the given size.
fn sized(segment_bytes: u64) -> Options {
    Options { segment_bytes, ..options(Path::new("/data")) }
}

fn open(disk: &SimDisk, options: Options) -> (Store, Arc<Model>, Recovered) {
    let (store, recovered) = open_with(options, disk.environment(), Drive::Manual).unwrap();
    let model = Model::new(&store, &recovered);
    (store, model, recovered)
}

/// A store with queue 1, at rest.
fn at_rest(options: Options) -> (SimDisk, Store, Arc<Model>, Instant) {
    let disk = SimDisk::default();
    let (store, model, _) = open(&disk, options);
    let now = time::now();
    model.declare(&store, 1);
    while store.step_committer(now) == Step::Worked {}
    (disk, store, model, now + Duration::from_secs(1))
}

/// The numbers of the publishes that were confirmed.
#[derive(Default)]
struct Confirmed(Mutex<Vec<usize>>);

struct Waiter(Arc<Confirmed>, usize);

impl SyncWaiter for Waiter {
    fn reached(&self, _: Point) {
        self.0.0.lock().push(self.1);
    }
}

impl Confirmed {
    /// Publishes a body of that many bytes to queue 1, as the broker does.
    fn publish(self: &Arc<Self>, store: &Store, model: &Model, durability: Durability, bytes: usize) {
        let number = model.with(1, |queue| queue.next as usize);
        let end = model.publish(store, &[1], &vec![number as u8; bytes]);
        let safe_at = durability.safe_at(end, bytes > LARGE_BODY_BYTES);
        store.notify(safe_at.point, safe_at.within, Arc::new(Waiter(Arc::clone(self), number)));
    }

    fn numbers(&self) -> Vec<usize> {
        let mut numbers = self.0.lock().clone();
        numbers.sort_unstable();
        numbers
    }
}

#[test]
fn a_small_message_waits_for_one_slice_of_a_large_one_at_most() {
    let (_, store, model, now) = at_rest(sized(1 << 30));
    let confirmed = Arc::new(Confirmed::default());
    confirmed.publish(&store, &model, Durability::Sync, LARGE);
    assert_eq!(store.step_committer(now), Step::Worked);
    let mut small = Vec::new();
    for round in 1..=SLICES {
        confirmed.publish(&store, &model, Durability::Sync, 10);
        small.push(round);
        assert_eq!(store.step_committer(now), Step::Worked);
        assert_eq!(confirmed.numbers(), small, "each by the next turn, and the large one not yet");
    }
    assert!(store.reached(Level::SyncedButLarge) > store.synced());
    assert_eq!(store.step_committer(now), Step::Worked);
    assert_eq!(confirmed.numbers(), [0, 1, 2, 3]);
    assert_eq!((store.step_committer(now), store.synced()), (Step::Waiting(None), store.appended()));
}

#[test]
fn a_definition_and_a_transaction_wait_for_no_large_message() {
    let (_, store, model, now) = at_rest(sized(1 << 30));
    let confirmed = Arc::new(Confirmed::default());
    confirmed.publish(&store, &model, Durability::Sync, LARGE);
    store.step_committer(now);
    let declared = model.declare(&store, 2);
    let committed = store.append_transaction(&[], &[]).1;
    store.step_committer(now);
    assert!(store.has_reached(Level::SyncedButLarge.at(declared.max(committed))));
    assert_eq!(confirmed.numbers(), [0; 0]);
}

#[test]
fn a_large_message_of_an_os_node_is_told_when_it_is_written_and_makes_no_sync() {
    let (_, store, model, now) =
        at_rest(Options { sync_delay: Durability::Os.sync_delay(), ..sized(1 << 30) });
    let (confirmed, before) = (Arc::new(Confirmed::default()), store.counters().syncs);
    confirmed.publish(&store, &model, Durability::Os, LARGE);
    assert_eq!((store.step_committer(now), confirmed.numbers().len()), (Step::Worked, 0));
    while store.step_committer(now) == Step::Worked {}
    assert_eq!((confirmed.numbers(), store.counters().syncs), (vec![0], before));
}

#[test]
fn slices_grow_while_nobody_waits_for_anything_small() {
    let (_, store, model, now) = at_rest(sized(1 << 30));
    let confirmed = Arc::new(Confirmed::default());
    confirmed.publish(&store, &model, Durability::Sync, 30 * SLICE_BYTES);
    let before = store.counters().syncs;
    while store.step_committer(now) == Step::Worked {}
    let syncs = store.counters().syncs - before;
    assert_eq!((confirmed.numbers(), syncs), (vec![0], 10), "1, 1, 1, 1, 1, 2, 4, 8, 8 and 3 MiB");
    let before = store.counters().syncs;
    confirmed.publish(&store, &model, Durability::Sync, 100_000);
    while store.step_committer(now) == Step::Worked {}
    assert_eq!((confirmed.numbers(), store.counters().syncs - before), (vec![0, 1], 1), "alone, one sync");
}

#[test]
fn a_slice_that_the_disk_refuses_is_written_again() {
    let (disk, store, model, now) = at_rest(sized(1 << 30));
    let confirmed = Arc::new(Confirmed::default());
    confirmed.publish(&store, &model, Durability::Sync, LARGE);
    store.step_committer(now);
    disk.set_hook(|op, _| if op == Op::Write { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(()) });
    assert_eq!(store.step_committer(now), Step::Worked);
    assert!(store.counters().disk.is_refusing());
    let Step::Waiting(Some(retry_at)) = store.step_committer(now) else { panic!("it tries again") };
    disk.repair();
    while store.step_committer(retry_at) == Step::Worked {}
    assert_eq!(confirmed.numbers(), [0]);
    drop(store);
    let (store, recovered) =
        open_with(sized(1 << 30), disk.after_power_cut().environment(), Drive::Manual).unwrap();
    assert!(held(&store, &recovered) == model.held(), "as it was");
}

#[test]
fn what_is_small_can_be_read_back_while_a_large_message_before_it_is_written() {
    let (_, store, model, now) = at_rest(sized(1 << 30));
    let confirmed = Arc::new(Confirmed::default());
    confirmed.publish(&store, &model, Durability::Sync, LARGE);
    confirmed.publish(&store, &model, Durability::Sync, 10);
    store.step_committer(now);
    let (position, bytes) = model.with(1, |queue| {
        let position = queue.held[&Sequence(1)].0;
        (position, queue.sizes[&position])
    });
    let mut body = None;
    store
        .read(&[(position, bytes)], &mut |_, message| body = message.map(|found| found.body().to_vec()))
        .unwrap();
    assert_eq!(body, Some(vec![1; 10]));
}

/// Publishes of all sizes, over several files.
fn publish_mixed(store: &Store, model: &Model, confirmed: &Arc<Confirmed>) {
    for bytes in [10, LARGE, 20, 100_000, 5_000, SLICE_BYTES, 30, 5_000, 70_000, 40] {
        confirmed.publish(store, model, Durability::Sync, bytes);
    }
}

/// Checks what came back: everything confirmed, nothing else than was published, and no word of damage.
fn check(recovered: &Recovered, found: &Held, published: &Held, confirmed: &[usize], context: &str) {
    for number in confirmed {
        assert!(found.contains_key(&Sequence(*number as u64)), "{context}: confirmed {number} is lost");
    }
    for (sequence, (position, body)) in found {
        let (expected_position, expected) = &published[sequence];
        assert!(
            position == expected_position && body == expected,
            "{context}: {sequence} came back otherwise"
        );
    }
    let report = &recovered.report;
    assert_eq!((report.damages, report.bytes_skipped), (0, 0), "{context}: {:?}", report.warnings);
}

#[test]
fn a_power_cut_or_a_kill_after_any_step_loses_nothing_confirmed_and_shows_no_damage() {
    for segment_bytes in [4096, 1 << 30] {
        let mut is_over = false;
        let mut unfinished = 0;
        for steps in 0.. {
            if is_over {
                break;
            }
            let (disk, store, model, now) = at_rest(sized(segment_bytes));
            let confirmed = Arc::new(Confirmed::default());
            publish_mixed(&store, &model, &confirmed);
            for _ in 0..steps {
                is_over |= store.step_committer(now) != Step::Worked;
                store.step_checkpointer(now);
            }
            let published = model.held()[&QueueId(1)].clone();
            drop((store, model));
            for (end, disk) in [("cut", disk.after_power_cut()), ("kill", disk)] {
                let context = format!("{end} after {steps} steps, files of {segment_bytes}");
                // Twice: what the first start makes of it must be as good; and it is used in between.
                let (store, model, recovered) = open(&disk, sized(segment_bytes));
                let found = model.held()[&QueueId(1)].clone();
                check(&recovered, &found, &published, &confirmed.numbers(), &context);
                unfinished += recovered.report.unfinished;
                let again = Arc::new(Confirmed::default());
                again.publish(&store, &model, Durability::Sync, 50);
                again.publish(&store, &model, Durability::Sync, 80_000);
                while store.step_committer(now) == Step::Worked {}
                let published = model.held()[&QueueId(1)].clone();
                drop((store, model));
                let (_store, model, recovered) = open(&disk.after_power_cut(), sized(segment_bytes));
                let found = model.held()[&QueueId(1)].clone();
                check(&recovered, &found, &published, &again.numbers(), &context);
                let lost: Vec<_> =
                    published.keys().filter(|sequence| !found.contains_key(sequence)).collect();
                assert!(lost.is_empty(), "{context}: {lost:?}");
            }
        }
        assert!(unfinished > 0, "files of {segment_bytes}: some were cut off in the middle");
    }
}

#[test]
fn a_clean_stop_writes_large_messages_to_their_end() {
    for segment_bytes in [4096, 1 << 30] {
        let (disk, store, model, _) = at_rest(sized(segment_bytes));
        publish_mixed(&store, &model, &Arc::new(Confirmed::default()));
        store.close().unwrap();
        drop(store);
        let (_store, again, recovered) = open(&disk.after_power_cut(), sized(segment_bytes));
        assert!(again.held() == model.held(), "as it was");
        assert!(recovered.report.clean);
    }
}

#[test]
fn large_messages_and_their_files_go_when_they_are_settled() {
    let (disk, store, model, now) = at_rest(sized(4096));
    for _ in 0..5 {
        publish_mixed(&store, &model, &Arc::new(Confirmed::default()));
    }
    // Before they are written.
    model.settle(&store, 1, 50);
    publish_mixed(&store, &model, &Arc::new(Confirmed::default()));
    while store.step_committer(now) == Step::Worked || store.step_checkpointer(now) == Step::Worked {}
    model.settle(&store, 1, 5);
    for later in [now + Duration::from_secs(1), now + Duration::from_secs(2)] {
        while store.step_committer(later) == Step::Worked || store.step_checkpointer(later) == Step::Worked {}
    }
    assert!(store.counters().files_deleted > 3, "{:?}", store.counters());
    drop(store);
    let (_store, again, _) = open(&disk.after_power_cut(), sized(4096));
    assert!(again.held() == model.held(), "as it was");
}
