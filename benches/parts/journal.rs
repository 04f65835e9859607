//! The journal: records to bytes and back, and a group of them to the disk.

use super::message;
use criterion::{Criterion, Throughput};
use std::hint::black_box;
use warren::name::{Position, QueueId, Sequence};
use warren::store::record::{Origin, Scan, What, seal, write_publish};
use warren::store::{self, Options};

const COUNT: usize = 1000;
const QUEUE: QueueId = QueueId(1);

pub(crate) fn journal(c: &mut Criterion) {
    let mut group = c.benchmark_group("journal");
    group.throughput(Throughput::Elements(COUNT as u64));
    for size in [16, 1024] {
        let message = message(size, true);
        let write = |out: &mut Vec<u8>| {
            for n in 0..COUNT {
                write_publish(out, &message, &[(QUEUE, Sequence(n as u64))], Origin::default());
            }
            seal(out, 0);
        };
        let mut out = Vec::new();
        write(&mut out);
        group.bench_function(format!("write and seal records of {size} B"), |b| {
            let mut out = Vec::new();
            b.iter(|| {
                out.clear();
                write(&mut out);
            });
        });
        group.bench_function(format!("read records of {size} B"), |b| {
            b.iter(|| {
                let scan = Scan::new(black_box(&out), 0, 0);
                let count = scan.filter(|piece| matches!(piece.what, What::Record(_))).count();
                assert_eq!(count, COUNT);
            });
        });
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let (store, _) = store::open(Options::new(folder.path())).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        group.bench_function(format!("append 1,000 records of {size} B and one sync"), |b| {
            b.iter(|| {
                let mut end = Position::NONE;
                for n in 0..COUNT {
                    end =
                        store.append_publish(&message, &[(QUEUE, Sequence(n as u64))], Origin::default()).end;
                }
                runtime.block_on(store.wait_synced(end)).unwrap();
            });
        });
        store.close().unwrap();
    }
    group.finish();
}
