//! The store alone, through its public API, beside what the disk can do at all.
//!
//! Each measurement runs in a fresh folder, all of them in turn, several rounds; the table has the medians. The limit is
//! a plain loop of write and fdatasync with as many bytes and syncs as the group append before it had, on the same file
//! system. Nothing else belongs here: what a message costs from socket to socket is measured by `warrenctl perf`.
//!
//! `cargo bench --bench store -- --help` lists the options. A new measurement is a function and a line in
//! [`MEASUREMENTS`].

use anyhow::{Context, Result, bail, ensure};
use parking_lot::Mutex;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use warren::definition::{Change, Definition, Queue};
use warren::durability::{Level, Point};
use warren::message::{Message, Properties};
use warren::name::{Position, QueueId, Sequence};
use warren::store::index::{ImageId, IndexEntry, NEVER, PageSummary, QueueImage, Relocated};
use warren::store::record::{Origin, Progress};
use warren::store::{self, Drive, Environment, Queues, Record, Recovered, Settled, Step, Store, SyncWaiter};
use warren::time::now;

const USAGE: &str = "\
usage: store [--option value]...
  --rounds N      of everything, in turn (5)
  --sizes N,N     of bodies, in bytes (16,1024,65536)
  --messages N    at most, of a measurement (200000)
  --mib N         of bodies at most, of a measurement (128)
  --threads N     that append and wait (4)
  --window N      messages that each of them appends before it waits for the sync (100); 1 MiB at most
  --only TEXT     measurements with this in their name
  --folder DIR    on the disk to be measured (a folder in target)
  --json FILE     write all figures there
";

/// What is measured; the order is that of a round and of the table. The limit follows the append it is compared with.
const MEASUREMENTS: &[Measurement] = &[
    Measurement { name: GROUP_APPEND, run: group_append },
    Measurement { name: LIMIT, run: write_and_sync },
    Measurement { name: "settle, one by one", run: settle_one_by_one },
    Measurement { name: "settle, 50 at a time", run: settle_fifty },
    Measurement { name: "open after a crash", run: open_after_crash },
    Measurement { name: "open after a clean stop", run: open_after_stop },
    Measurement { name: "open after a crash, all settled", run: open_after_crash_settled },
    Measurement { name: "page out", run: page_out },
    Measurement { name: "page in", run: page_in },
    Measurement { name: "compaction, of messages moved", run: compact },
];

const GROUP_APPEND: &str = "group append, synced";
const LIMIT: &str = "the limit: write and fdatasync";
const QUEUE: QueueId = QueueId(1);
/// More would be one write after the other, and no group any more.
const WINDOW_BYTES_MAX: u64 = 1 << 20;

/// A named measurement: it prepares what it needs in the folder and returns what it timed.
struct Measurement {
    name: &'static str,
    run: fn(&Setup) -> Result<Figure>,
}

/// What a measurement works with.
struct Setup<'a> {
    options: &'a Options,
    /// Fresh and empty.
    folder: PathBuf,
    message: Message,
    messages: u64,
    window: u64,
    /// Bytes and syncs of the group append before.
    appended: &'a Cell<(u64, u64)>,
}

/// What was timed.
#[derive(Clone, Copy, Debug)]
struct Figure {
    seconds: f64,
    messages: u64,
    /// Of the journal.
    bytes: u64,
    /// fdatasync calls, where they are what is measured.
    syncs: u64,
}

// ---- the command line

#[derive(Debug)]
struct Options {
    rounds: usize,
    sizes: Vec<usize>,
    messages: u64,
    mib: u64,
    threads: u64,
    window: u64,
    only: String,
    folder: PathBuf,
    json: Option<PathBuf>,
}

impl Options {
    /// Reads the arguments; `None` means that help was asked for.
    fn from_arguments(arguments: impl Iterator<Item = String>) -> Result<Option<Self>> {
        let mut options = Options {
            rounds: 5,
            sizes: vec![16, 1024, 65_536],
            messages: 200_000,
            mib: 128,
            threads: 4,
            window: 100,
            only: String::new(),
            folder: PathBuf::from(env!("CARGO_TARGET_TMPDIR")),
            json: None,
        };
        let mut arguments = arguments.filter(|argument| argument != "--bench"); // added by cargo
        while let Some(name) = arguments.next() {
            if name == "--help" {
                return Ok(None);
            }
            let value = arguments.next().with_context(|| format!("{name} needs a value"))?;
            options.set(&name, &value).with_context(|| format!("{name} {value}"))?;
        }
        let bounds = [options.rounds as u64, options.messages, options.mib, options.threads, options.window];
        ensure!(!bounds.contains(&0), "no option may be 0");
        Ok(Some(options))
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        match name {
            "--rounds" => self.rounds = value.parse()?,
            "--sizes" => self.sizes = value.split(',').map(str::parse).collect::<Result<_, _>>()?,
            "--messages" => self.messages = value.parse()?,
            "--mib" => self.mib = value.parse()?,
            "--threads" => self.threads = value.parse()?,
            "--window" => self.window = value.parse()?,
            "--only" => self.only = value.to_owned(),
            "--folder" => self.folder = value.into(),
            "--json" => self.json = Some(value.into()),
            _ => bail!("unknown option"),
        }
        Ok(())
    }

    /// How many messages of a size make a window.
    fn window_of(&self, size: usize) -> u64 {
        self.window.min(WINDOW_BYTES_MAX / size.max(1) as u64).max(1)
    }

    /// How many messages of a size there are: whole windows of all threads, at least one.
    fn messages_of(&self, size: usize) -> u64 {
        let turn = self.threads * self.window_of(size);
        let most = self.messages.min((self.mib << 20) / size.max(1) as u64);
        (most / turn).max(1) * turn
    }
}

// ---- what the measurements share

fn message(size: usize) -> Result<Message> {
    let raw = [0x10, 0, 2]; // delivery mode 2, nothing else
    let parsed = Properties::parse(&raw)?;
    let body: Vec<u8> = (b'a'..=b'z').cycle().take(size).collect();
    Ok(Message::new("".into(), b"bench", &raw, &parsed, &[&body]))
}

/// A store with one durable queue.
fn open(folder: &Path) -> Result<(Store, Recovered)> {
    open_with(store::Options::new(folder))
}

fn open_with(options: store::Options) -> Result<(Store, Recovered)> {
    let (store, recovered) = store::open(options)?;
    if recovered.definitions.is_empty() {
        let queue = Queue {
            id: QUEUE,
            kind: "classic".into(),
            durable: true,
            auto_delete: false,
            exclusive: false,
            arguments: Default::default(),
            role: Default::default(),
        };
        let end = store.append_changes(&[Change::Put(Definition::Queue("/".into(), "bench".into(), queue))]);
        wait_synced(&store, end)?;
    }
    Ok((store, recovered))
}

struct Tell(SyncSender<()>);

impl SyncWaiter for Tell {
    fn reached(&self, _: Point) {
        // One answer, and room for it.
        let _ = self.0.try_send(());
    }
}

fn wait_synced(store: &Store, end: Position) -> Result<()> {
    let (sender, receiver) = sync_channel(1);
    store.notify(Level::Synced.at(end), None, Arc::new(Tell(sender)));
    receiver.recv().context("the journal failed")
}

/// Appends all messages from several threads, each waiting for every window's sync; returns what settles need.
fn fill(setup: &Setup<'_>, store: &Store) -> Result<Vec<Settled>> {
    let (threads, window) = (setup.options.threads, setup.window);
    let (each, message) = (setup.messages / threads, &setup.message);
    let append = |thread: u64| -> Result<Vec<Settled>> {
        let mut settled = Vec::with_capacity(each as usize);
        let mut end = Position::NONE;
        for number in 0..each {
            let sequence = Sequence(thread * each + number);
            let appended = store.append_publish(message, &[(QUEUE, sequence)], Origin::default());
            let (position, record_bytes) = (appended.position, appended.record_bytes);
            settled.push(Settled { sequence, position, record_bytes, is_durable: true });
            end = appended.end;
            if (number + 1) % window == 0 {
                wait_synced(store, end)?;
            }
        }
        wait_synced(store, end)?;
        Ok(settled)
    };
    let append = &append;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|thread| scope.spawn(move || append(thread))).collect();
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().expect("a thread returns its errors")?);
        }
        Ok(all)
    })
}

/// How many messages make a page of the queue's index.
const PAGE_MESSAGES: usize = 1024;

/// The queue's side of a checkpoint: all messages are alive, and in pages.
struct Held {
    next_sequence: Sequence,
    pages: Vec<PageSummary>,
}

impl Held {
    /// Writes the pages.
    fn new(store: &Store, settled: &[Settled], body_bytes: usize) -> Self {
        let mut entries: Vec<_> = settled.iter().map(|settled| entry(settled, body_bytes)).collect();
        entries.sort_unstable_by_key(|entry| entry.sequence);
        let pages = entries.chunks(PAGE_MESSAGES).zip(0..).map(|(entries, number)| {
            store.write_image(QUEUE, ImageId(number), entries);
            PageSummary::of(ImageId(number), 0, entries)
        });
        Self { pages: pages.collect(), next_sequence: Sequence(settled.len() as u64) }
    }
}

fn entry(settled: &Settled, body_bytes: usize) -> IndexEntry {
    IndexEntry {
        sequence: settled.sequence,
        position: settled.position,
        expires_at: NEVER,
        body_bytes: body_bytes as u32,
        record_bytes: settled.record_bytes,
        returns: 0,
        failures: 0,
        priority: 0,
        is_delivered: false,
        is_durable: true,
    }
}

impl Queues for Held {
    fn visit_changed(&self, visit: &mut dyn FnMut(QueueId, QueueImage)) {
        let (next_sequence, pages) = (self.next_sequence, self.pages.clone());
        let next_image = ImageId(pages.len() as u64);
        visit(QUEUE, QueueImage { next_sequence, next_image, pages, ..QueueImage::default() });
    }

    fn visit_between(&self, _from: Position, _to: Position, _visit: &mut dyn FnMut(QueueId, IndexEntry)) {}

    fn relocate(&self, _queue: QueueId, _sequence: Sequence, _from: Position, _to: Record) -> Relocated {
        Relocated::Refused
    }

    fn tidy(&self, _queue: QueueId) {}
}

fn append_settled(store: &Store, settled: &[Settled]) -> Position {
    store.append_progress(QUEUE, &Progress { settled, ..Progress::default() })
}

// ---- the measurements

fn group_append(setup: &Setup<'_>) -> Result<Figure> {
    let (store, _) = open(&setup.folder)?;
    let (before, start) = (store.counters(), now());
    fill(setup, &store)?;
    let seconds = start.elapsed().as_secs_f64();
    let after = store.counters();
    let (bytes, syncs) = (after.bytes - before.bytes, after.syncs - before.syncs);
    setup.appended.set((bytes, syncs));
    store.close()?;
    Ok(Figure { seconds, messages: setup.messages, bytes, syncs })
}

/// As many bytes and syncs, and nothing else: no faster group append is possible here.
fn write_and_sync(setup: &Setup<'_>) -> Result<Figure> {
    let (bytes, syncs) = setup.appended.get();
    ensure!(syncs > 0, "the limit follows a group append: --only must take in both");
    let batch = vec![b'x'; (bytes / syncs).max(1) as usize];
    let mut file = fs::File::create_new(setup.folder.join("plain"))?;
    let start = now();
    for _ in 0..syncs {
        file.write_all(&batch)?;
        file.sync_data()?;
    }
    let seconds = start.elapsed().as_secs_f64();
    Ok(Figure { seconds, messages: setup.messages, bytes: batch.len() as u64 * syncs, syncs })
}

fn settle_one_by_one(setup: &Setup<'_>) -> Result<Figure> {
    settle(setup, 1)
}

fn settle_fifty(setup: &Setup<'_>) -> Result<Figure> {
    settle(setup, 50)
}

fn settle(setup: &Setup<'_>, at_a_time: usize) -> Result<Figure> {
    let (store, _) = open(&setup.folder)?;
    let settled = fill(setup, &store)?;
    let (before, start) = (store.counters(), now());
    let mut end = Position::NONE;
    for some in settled.chunks(at_a_time) {
        end = append_settled(&store, some);
    }
    wait_synced(&store, end)?;
    let seconds = start.elapsed().as_secs_f64();
    let after = store.counters();
    let (bytes, syncs) = (after.bytes - before.bytes, after.syncs - before.syncs);
    store.close()?;
    Ok(Figure { seconds, messages: setup.messages, bytes, syncs })
}

/// Without a checkpoint, as the store was never told whom to ask: the journal is all there is.
fn open_after_crash(setup: &Setup<'_>) -> Result<Figure> {
    let (store, _) = open(&setup.folder)?;
    fill(setup, &store)?;
    drop(store);
    timed_open(setup, setup.messages)
}

fn open_after_crash_settled(setup: &Setup<'_>) -> Result<Figure> {
    let (store, _) = open(&setup.folder)?;
    let settled = fill(setup, &store)?;
    settled.chunks(50).for_each(|some| _ = append_settled(&store, some));
    drop(store);
    timed_open(setup, 0)
}

fn open_after_stop(setup: &Setup<'_>) -> Result<Figure> {
    let (store, _) = open(&setup.folder)?;
    let settled = fill(setup, &store)?;
    let held: Arc<dyn Queues> = Arc::new(Held::new(&store, &settled, setup.message.body().len()));
    let source: Weak<dyn Queues> = Arc::downgrade(&held);
    store.set_queues(source);
    store.close()?;
    drop(store);
    timed_open(setup, setup.messages)
}

/// Pages of the index leave memory, durably: images and a checkpoint.
fn page_out(setup: &Setup<'_>) -> Result<Figure> {
    let (store, _) = open(&setup.folder)?;
    let settled = fill(setup, &store)?;
    let start = now();
    let held: Arc<dyn Queues> = Arc::new(Held::new(&store, &settled, setup.message.body().len()));
    let source: Weak<dyn Queues> = Arc::downgrade(&held);
    store.set_queues(source);
    store.close()?;
    let seconds = start.elapsed().as_secs_f64();
    Ok(Figure {
        seconds,
        messages: setup.messages,
        bytes: folder_bytes(&setup.folder.join("sled"))?,
        syncs: 1,
    })
}

/// Pages and messages come back, in the order of the queue. The page cache is warm.
fn page_in(setup: &Setup<'_>) -> Result<Figure> {
    let (store, _) = open(&setup.folder)?;
    let settled = fill(setup, &store)?;
    let held = Held::new(&store, &settled, setup.message.body().len());
    let (start, mut bytes, mut count) = (now(), 0, 0);
    for page in &held.pages {
        let entries = store.read_image(QUEUE, page.image)?;
        let records: Vec<_> = entries.iter().map(|entry| (entry.position, entry.record_bytes)).collect();
        store.read(&records, &mut |_, message| {
            bytes += message.as_ref().map_or(0, |message| message.memory_bytes() as u64);
            count += u64::from(message.is_some());
        })?;
    }
    let seconds = start.elapsed().as_secs_f64();
    ensure!(count == setup.messages, "{count} messages came back");
    store.close()?;
    Ok(Figure { seconds, messages: setup.messages, bytes, syncs: 0 })
}

/// The queue's side of compaction: messages that can be told where they are now.
struct Movable(Mutex<BTreeMap<Sequence, IndexEntry>>);

impl Queues for Movable {
    fn visit_changed(&self, _visit: &mut dyn FnMut(QueueId, QueueImage)) {}

    fn visit_between(&self, from: Position, to: Position, visit: &mut dyn FnMut(QueueId, IndexEntry)) {
        let entries = self.0.lock();
        let entries = entries.values().filter(|entry| from <= entry.position && entry.position < to);
        entries.for_each(|entry| visit(QUEUE, *entry));
    }

    fn relocate(&self, _queue: QueueId, sequence: Sequence, _from: Position, to: Record) -> Relocated {
        let mut entries = self.0.lock();
        let Some(entry) = entries.get_mut(&sequence) else { return Relocated::Settled };
        (entry.position, entry.record_bytes) = to;
        Relocated::Moved
    }

    fn tidy(&self, _queue: QueueId) {}
}

/// Of files of 4 MiB every fourth message is left: they are moved, written and synced, as fast as it goes. The broker
/// does it at a bounded rate.
fn compact(setup: &Setup<'_>) -> Result<Figure> {
    let options = store::Options { segment_bytes: 4 << 20, ..store::Options::new(&setup.folder) };
    let (store, _) = open_with(options.clone())?;
    let (kept, gone): (Vec<_>, Vec<_>) =
        fill(setup, &store)?.into_iter().partition(|settled| settled.sequence.0 % 4 == 0);
    gone.chunks(50).for_each(|settled| _ = append_settled(&store, settled));
    let body_bytes = setup.message.body().len();
    let held: Arc<dyn Queues> = Arc::new(Held::new(&store, &kept, body_bytes));
    let source: Weak<dyn Queues> = Arc::downgrade(&held);
    store.set_queues(source);
    store.close()?;
    drop(store);

    let (store, _) = store::open_with(options, Environment::real(), Drive::Manual)?;
    let entries = kept.iter().map(|settled| (settled.sequence, entry(settled, body_bytes)));
    let movable: Arc<dyn Queues> = Arc::new(Movable(Mutex::new(entries.collect())));
    let source: Weak<dyn Queues> = Arc::downgrade(&movable);
    store.set_queues(source);
    let (before, start) = (store.counters(), now());
    while store.step_compactor() == Step::Worked {
        while store.step_committer(now()) == Step::Worked {}
    }
    let (told, synced) = sync_channel(1);
    store.notify(Level::Synced.at(store.appended()), None, Arc::new(Tell(told)));
    while store.step_committer(now()) == Step::Worked {}
    synced.try_recv().context("what was moved is not synced")?;
    let seconds = start.elapsed().as_secs_f64();
    let after = store.counters();
    ensure!(after.moved > kept.len() as u64 / 2, "{} of {} were moved", after.moved, kept.len());
    let (bytes, syncs) = (after.bytes - before.bytes, after.syncs - before.syncs);
    Ok(Figure { seconds, messages: after.moved, bytes, syncs })
}

/// Opens the store and checks that everything is there. The page cache is warm.
fn timed_open(setup: &Setup<'_>, wanted: u64) -> Result<Figure> {
    let bytes = folder_bytes(&setup.folder.join("journal"))?;
    let start = now();
    let (store, recovered) = open(&setup.folder)?;
    let seconds = start.elapsed().as_secs_f64();
    let report = &recovered.report;
    ensure!(report.messages == wanted, "{} messages came back, not {wanted}", report.messages);
    ensure!(report.warnings.is_empty(), "opened with warnings: {:?}", report.warnings);
    drop(recovered);
    store.close()?;
    Ok(Figure { seconds, messages: setup.messages, bytes, syncs: 0 })
}

fn folder_bytes(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}

// ---- the run

/// A line of the table.
struct Row {
    size: usize,
    name: &'static str,
    figures: Vec<Figure>,
}

fn main() -> Result<()> {
    let Some(options) = Options::from_arguments(std::env::args().skip(1))? else {
        println!("{USAGE}");
        return Ok(());
    };
    let chosen: Vec<_> = MEASUREMENTS.iter().filter(|m| m.name.contains(&options.only)).collect();
    ensure!(!chosen.is_empty(), "--only {}: no measurement has this in its name", options.only);
    let mut rows = Vec::new();
    for &size in &options.sizes {
        let appended = Cell::new((0, 0));
        let mut of_size: Vec<_> =
            chosen.iter().map(|m| Row { size, name: m.name, figures: Vec::new() }).collect();
        for round in 1..=options.rounds {
            for (measurement, row) in chosen.iter().zip(&mut of_size) {
                let figure = measure(measurement, &options, size, &appended)?;
                eprintln!("round {round}  {size:>6} B  {:<32} {:>9.3} s", measurement.name, figure.seconds);
                row.figures.push(figure);
            }
        }
        rows.extend(of_size);
    }
    print_table(&options, &rows);
    print_ratios(&rows);
    if let Some(path) = &options.json {
        fs::write(path, serde_json::to_string_pretty(&as_json(&options, &rows))?)?;
    }
    Ok(())
}

fn measure(
    measurement: &Measurement,
    options: &Options,
    size: usize,
    appended: &Cell<(u64, u64)>,
) -> Result<Figure> {
    fs::create_dir_all(&options.folder)?;
    let folder = tempfile::tempdir_in(&options.folder)?;
    let setup = Setup {
        options,
        folder: folder.path().to_path_buf(),
        message: message(size)?,
        messages: options.messages_of(size),
        window: options.window_of(size),
        appended,
    };
    (measurement.run)(&setup).with_context(|| format!("{}, {size} bytes", measurement.name))
}

/// Median, least and most.
fn spread(figures: &[Figure], value: impl Fn(&Figure) -> f64) -> [f64; 3] {
    let mut values: Vec<f64> = figures.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    [values[values.len() / 2], values[0], values[values.len() - 1]]
}

fn print_table(options: &Options, rows: &[Row]) {
    let Options { rounds, threads, window, .. } = options;
    println!(
        "\nMedian (least–most) of {rounds} rounds; {threads} threads with windows of {window} messages.\n"
    );
    println!("| body | | seconds | messages | messages/s | µs a message | MiB/s | KiB a sync |");
    println!("|---|---|---|---|---|---|---|---|");
    for Row { size, name, figures } in rows {
        let [seconds, least, most] = spread(figures, |figure| figure.seconds);
        let messages = figures[0].messages as f64;
        let [rate, ..] = spread(figures, |figure| figure.bytes as f64 / figure.seconds / 1_048_576.0);
        let batch = match figures[0].syncs {
            0 => "–".to_owned(),
            _ => format!("{:.0}", spread(figures, |f| f.bytes as f64 / f.syncs.max(1) as f64 / 1024.0)[0]),
        };
        println!(
            "| {size} B | {name} | {seconds:.3} ({least:.3}–{most:.3}) | {messages} | {:.0} | {:.2} | {rate:.1} | {batch} |",
            messages / seconds,
            seconds * 1e6 / messages
        );
    }
}

/// How near the group append came to the limit, round by round.
fn print_ratios(rows: &[Row]) {
    println!();
    for row in rows.iter().filter(|row| row.name == GROUP_APPEND) {
        let Some(limit) = rows.iter().find(|other| other.size == row.size && other.name == LIMIT) else {
            continue;
        };
        let mut shares: Vec<f64> =
            row.figures.iter().zip(&limit.figures).map(|(own, limit)| limit.seconds / own.seconds).collect();
        shares.sort_by(f64::total_cmp);
        println!(
            "{} B: group append runs at {:.0} % of the limit.",
            row.size,
            shares[shares.len() / 2] * 100.0
        );
    }
}

fn as_json(options: &Options, rows: &[Row]) -> serde_json::Value {
    let row = |row: &Row| {
        let seconds: Vec<f64> = row.figures.iter().map(|figure| figure.seconds).collect();
        let [median, ..] = spread(&row.figures, |figure| figure.seconds);
        let first = row.figures[0];
        serde_json::json!({
            "size": row.size, "name": row.name, "median_seconds": median, "seconds": seconds,
            "messages": first.messages, "bytes": first.bytes, "syncs": first.syncs,
        })
    };
    serde_json::json!({
        "rounds": options.rounds, "threads": options.threads, "window": options.window,
        "rows": rows.iter().map(row).collect::<Vec<_>>(),
    })
}
