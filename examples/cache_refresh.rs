//! Cache refresh: a cache that follows a SQLite table although many writers change it at once.
//!
//! First the race: two writers commit in one order and update the cache in the other, and the cache stays wrong
//! until somebody writes that row again. Then the cure. A writer puts only the *id* of the row it changed into a
//! queue, after its commit; a single active consumer re-reads each row and refreshes the cache. Since one consumer
//! handles one id after the other and reads the row later than the change that named it, neither the order of the
//! messages nor a repeated message can leave an old value behind. A second consumer stands by and takes over when
//! the first leaves in the middle. At the end the cache must equal the table.
//!
//! (A writer that dies between its commit and its publish leaves a stale entry. Where that matters, write the id
//! into an outbox table in the same database transaction and publish from there.)
//!
//!     cargo run --example cache_refresh

mod support;

use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Consumer};
use rusqlite::Connection as Database;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

const QUEUE: &str = "example.cache_refresh";
const PRODUCTS: i64 = 5;
const WRITERS: i64 = 4;
const CHANGES_PER_WRITER: i64 = 50;
/// After so many ids the first consumer leaves, and the one standing by takes over.
const LEAVE_AFTER: usize = 100;
const PERSISTENT: u8 = 2;

#[derive(Clone, Copy, Debug, PartialEq)]
struct Product {
    price: i64,
    /// Counts the changes of the row, to show that the cache never goes back in time.
    version: i64,
}

type Cache = Arc<Mutex<BTreeMap<i64, Product>>>;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("shop.sqlite");
    let database = open(&path)?;
    create_table(&database)?;

    show_the_race(&database)?;

    let connection = support::connect().await?;
    let channel = connection.create_channel().await?;
    declare_queue(&channel).await?;
    let cache = Cache::default();
    let (report, mut refreshed) = mpsc::unbounded_channel();
    let first = start_refresher("first", &path, &cache, report.clone(), Some(LEAVE_AFTER)).await?;
    let standby = start_refresher("standby", &path, &cache, report, None).await?;

    // The writers of the race again, with their messages in the wrong order.
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    set_price(&database, 1, 30)?;
    set_price(&database, 1, 40)?;
    let (stale, fresh) = ("A, who wrote 30", "B, who wrote 40");
    for writer in [fresh, stale] {
        announce(&channel, 1).await?;
        println!("queue: {writer}, announces that row 1 changed");
    }
    for _ in 0..2 {
        refreshed.recv().await.expect("the refreshers run");
    }
    let cached = cached(&cache, 1);
    println!("queue: the cache says {}, as the table does", cached.price);
    assert_eq!(cached, read(&database, 1)?);

    // Many writers at once.
    let writers: Vec<_> = (0..WRITERS).map(|writer| tokio::spawn(write(writer, path.clone()))).collect();
    for writer in writers {
        writer.await??;
    }
    let mut by_name = BTreeMap::<_, usize>::new();
    for _ in 0..WRITERS * CHANGES_PER_WRITER {
        let name = refreshed.recv().await.expect("the refreshers run");
        *by_name.entry(name).or_default() += 1;
    }
    println!(
        "load:  {WRITERS} writers made {} changes, refreshed by {by_name:?}",
        WRITERS * CHANGES_PER_WRITER
    );

    let table = read_all(&database)?;
    assert_eq!(*cache.lock().expect("no refresher panicked"), table);
    println!("load:  the cache equals the table: {table:?}");

    channel.queue_delete(QUEUE.into(), QueueDeleteOptions::default()).await?; // ends the consumers
    first.await??;
    standby.await??;
    connection.close(200, "done".into()).await?;
    Ok(())
}

/// Two writers who put what they wrote into the cache themselves, in the one order that hurts.
fn show_the_race(database: &Database) -> anyhow::Result<()> {
    let mut cache = BTreeMap::new();
    set_price(database, 1, 10)?; // A commits, and is held up before it reaches the cache
    set_price(database, 1, 20)?; // B commits later
    cache.insert(1, 20); // B updates the cache
    cache.insert(1, 10); // A goes on and overwrites the newer value
    let table = read(database, 1)?.price;
    println!("race:  the cache says {}, the table says {table}: stale until the next write", cache[&1]);
    assert_ne!(cache[&1], table);
    Ok(())
}

/// The queue of changed ids: durable, and with one active consumer at a time.
async fn declare_queue(channel: &Channel) -> anyhow::Result<()> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
    channel.queue_declare(QUEUE.into(), QueueDeclareOptions::durable(), arguments).await?;
    channel.queue_purge(QUEUE.into(), QueuePurgeOptions::default()).await?;
    Ok(())
}

/// A writer with connections of its own to the table and to the broker.
async fn write(writer: i64, path: PathBuf) -> anyhow::Result<()> {
    let database = open(&path)?;
    let connection = support::connect().await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    for change in 0..CHANGES_PER_WRITER {
        let id = 1 + (writer + 3 * change) % PRODUCTS;
        set_price(&database, id, 100 * writer + change)?;
        announce(&channel, id).await?;
    }
    connection.close(200, "done".into()).await?;
    Ok(())
}

/// Says that a row changed. To be called after the commit: a consumer may read the row at once.
async fn announce(channel: &Channel, id: i64) -> anyhow::Result<()> {
    let options = BasicPublishOptions::default();
    let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
    let body = id.to_string();
    let confirmation =
        channel.basic_publish("".into(), QUEUE.into(), options, body.as_bytes(), properties).await?.await?;
    anyhow::ensure!(confirmation.is_ack(), "the broker refused the id {id}");
    Ok(())
}

/// Registers a consumer, which makes it the active one or the one standing by, and lets it run.
async fn start_refresher(
    name: &'static str,
    path: &Path,
    cache: &Cache,
    report: mpsc::UnboundedSender<&'static str>,
    leave_after: Option<usize>,
) -> anyhow::Result<JoinHandle<anyhow::Result<()>>> {
    let (database, cache) = (open(path)?, cache.clone());
    let connection = support::connect().await?;
    let channel = connection.create_channel().await?;
    channel.basic_qos(10, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let mut ids = channel.basic_consume(QUEUE.into(), name.into(), options, FieldTable::default()).await?;
    Ok(tokio::spawn(async move {
        refresh(name, &mut ids, database, cache, report, leave_after).await?;
        // What it has not acknowledged goes back to the queue, in place, and to the other consumer.
        connection.close(200, "leaving".into()).await?;
        Ok(())
    }))
}

/// Refreshes the cache, row by row, until the queue is deleted or it is time to leave.
async fn refresh(
    name: &'static str,
    ids: &mut Consumer,
    database: Database,
    cache: Cache,
    report: mpsc::UnboundedSender<&'static str>,
    leave_after: Option<usize>,
) -> anyhow::Result<()> {
    let mut handled = 0;
    while leave_after != Some(handled)
        && let Some(delivery) = ids.next().await
    {
        let delivery = delivery?;
        let id: i64 = str::from_utf8(&delivery.data)?.parse()?;
        let product = read(&database, id)?;
        let before = cache.lock().expect("no refresher panicked").insert(id, product);
        assert!(before.is_none_or(|b| b.version <= product.version), "row {id} went back in time");
        delivery.ack(BasicAckOptions::default()).await?;
        handled += 1;
        report.send(name)?;
    }
    Ok(())
}

fn cached(cache: &Cache, id: i64) -> Product {
    cache.lock().expect("no refresher panicked")[&id]
}

/// Opens the table; a writer waits for its turn when another one writes.
fn open(path: &Path) -> anyhow::Result<Database> {
    let database = Database::open(path)?;
    database.busy_timeout(Duration::from_secs(10))?;
    database.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;")?;
    Ok(database)
}

fn create_table(database: &Database) -> anyhow::Result<()> {
    database
        .execute_batch("CREATE TABLE product (id INTEGER PRIMARY KEY, price INTEGER, version INTEGER)")?;
    for id in 1..=PRODUCTS {
        database.execute("INSERT INTO product VALUES (?1, 0, 0)", [id])?;
    }
    Ok(())
}

fn set_price(database: &Database, id: i64, price: i64) -> anyhow::Result<()> {
    let sql = "UPDATE product SET price = ?2, version = version + 1 WHERE id = ?1";
    database.execute(sql, [id, price])?;
    Ok(())
}

fn read(database: &Database, id: i64) -> anyhow::Result<Product> {
    let sql = "SELECT price, version FROM product WHERE id = ?1";
    Ok(database.query_row(sql, [id], |row| Ok(Product { price: row.get(0)?, version: row.get(1)? }))?)
}

fn read_all(database: &Database) -> anyhow::Result<BTreeMap<i64, Product>> {
    (1..=PRODUCTS).map(|id| Ok((id, read(database, id)?))).collect()
}
