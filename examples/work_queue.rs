//! A work queue: tasks shared by several workers, each task done once.
//!
//! Shows three things that belong together. The queue and its messages are durable, so tasks survive a restart of
//! the broker. A worker acknowledges a task only when it is done, so the task of a worker that dies goes to another
//! (here one worker closes its connection in the middle of its first task). A prefetch of 1 gives a worker its
//! next task only after the ack of the last, so a busy worker does not pile up tasks an idle one could do.
//!
//!     cargo run --example work_queue

mod support;

use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel};
use std::collections::BTreeMap;
use tokio::sync::{mpsc, oneshot};

const QUEUE: &str = "example.work_queue";
const TASKS: u32 = 12;
const PERSISTENT: u8 = 2;

/// A worker's report that a task is done and acknowledged.
struct Done {
    worker: &'static str,
    task: u32,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let connection = support::connect().await?;
    let channel = connection.create_channel().await?;
    channel.queue_declare(QUEUE.into(), QueueDeclareOptions::durable(), FieldTable::default()).await?;
    channel.queue_purge(QUEUE.into(), QueuePurgeOptions::default()).await?;
    publish_tasks(&channel).await?;

    // The clumsy worker goes first, alone, so that it certainly has a task in hand when it leaves.
    let (dropped, was_dropped) = oneshot::channel();
    let clumsy = tokio::spawn(die_at_work(dropped));
    let lost = was_dropped.await?;
    clumsy.await??;

    let (report, mut reports) = mpsc::unbounded_channel();
    let workers: Vec<_> =
        ["anna", "boris", "carla"].into_iter().map(|name| tokio::spawn(work(name, report.clone()))).collect();
    drop(report);

    let mut done = BTreeMap::new();
    let mut per_worker = BTreeMap::<_, u32>::new();
    while done.len() < TASKS as usize {
        let Done { worker, task } = reports.recv().await.expect("workers run until the queue is deleted");
        assert!(done.insert(task, worker).is_none(), "task {task} was done twice");
        *per_worker.entry(worker).or_default() += 1;
    }
    println!("all {TASKS} tasks are done, each once: {per_worker:?}");
    println!("task {lost}, which the clumsy worker dropped, was done by {}", done[&lost]);

    // Deleting the queue cancels its consumers, and a worker ends when its consumer does.
    let left = channel.queue_delete(QUEUE.into(), QueueDeleteOptions::default()).await?;
    assert_eq!(left, 0, "no task is left");
    for worker in workers {
        worker.await??;
    }
    connection.close(200, "done".into()).await?;
    Ok(())
}

/// Publishes the tasks and waits until the broker has confirmed them all.
async fn publish_tasks(channel: &Channel) -> anyhow::Result<()> {
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    for task in 1..=TASKS {
        let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
        let body = task.to_string();
        let options = BasicPublishOptions::default();
        channel.basic_publish("".into(), QUEUE.into(), options, body.as_bytes(), properties).await?;
    }
    channel.wait_for_confirms().await?;
    println!("published {TASKS} tasks");
    Ok(())
}

/// Takes one task and leaves without acknowledging it.
async fn die_at_work(dropped: oneshot::Sender<u32>) -> anyhow::Result<()> {
    let connection = support::connect().await?;
    let channel = connection.create_channel().await?;
    channel.basic_qos(1, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let mut consumer = channel.basic_consume(QUEUE.into(), "".into(), options, FieldTable::default()).await?;
    let delivery = consumer.next().await.expect("there is a task")?;
    let task = str::from_utf8(&delivery.data)?.parse()?;
    println!("clumsy   took task {task} and dies: no ack, so the broker puts it back");
    connection.close(200, "dying".into()).await?;
    dropped.send(task).expect("main waits for it");
    Ok(())
}

/// Does tasks until the queue is deleted.
async fn work(name: &'static str, report: mpsc::UnboundedSender<Done>) -> anyhow::Result<()> {
    let connection = support::connect().await?;
    let channel = connection.create_channel().await?;
    channel.basic_qos(1, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let mut consumer =
        channel.basic_consume(QUEUE.into(), name.into(), options, FieldTable::default()).await?;
    while let Some(delivery) = consumer.next().await {
        let delivery = delivery?;
        let task = str::from_utf8(&delivery.data)?.parse()?;
        let primes = tokio::task::spawn_blocking(move || primes_below(task * 2_000)).await?;
        let again = if delivery.redelivered { " (redelivered)" } else { "" };
        println!("{name:<8} task {task}: {primes} primes below {}{again}", task * 2_000);
        delivery.ack(BasicAckOptions::default()).await?;
        report.send(Done { worker: name, task })?;
    }
    connection.close(200, "no more tasks".into()).await?;
    Ok(())
}

/// The work: slow on purpose, and slower for later tasks.
fn primes_below(limit: u32) -> usize {
    (2..limit).filter(|n| (2..*n).take_while(|d| d * d <= *n).all(|d| n % d != 0)).count()
}
