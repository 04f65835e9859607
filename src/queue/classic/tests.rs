//! A queue by itself: what its lock and its effects are for.

use super::super::state::Load;
use super::super::{Memory, Pager, pager};
use super::*;
use crate::message::Properties;
use crate::name::{Position, QueueId};
use crate::store;

/// A durable queue in that store.
fn queue_in(store: &store::Store, memory: Memory) -> Arc<Queue> {
    let definition = definition::Queue {
        id: QueueId(1),
        kind: Kind::Classic.name().into(),
        durable: true,
        auto_delete: false,
        exclusive: false,
        arguments: Table::default(),
        role: definition::Role::Ordinary,
    };
    let memory = Arc::new(memory);
    let services = Arc::new(Services {
        consumer_timeout_ms: Arc::default(),
        pager: Arc::new(Pager::start(store, &memory).unwrap()),
        store: store.clone(),
        deadlines: Arc::default(),
        dead_letters: Arc::default(),
        memory,
        durability: Durability::Sync,
        gone: Arc::default(),
    });
    let (vhost, name) = (VhostName::new("/"), QueueName::new("q"));
    let new = NewQueue { vhost, name, definition, owner: None, policy: Applied::default(), services };
    Queue::new(new, RecoveredQueue::default())
}

/// A queue with one message that expires then.
fn recovered(expires_at: Millis) -> Arc<Queue> {
    let queue = queue_in(&store::memory::open().0, Memory::unlimited());
    let message = Arc::new(Message::new("".into(), b"q", &[0, 0], &Properties::default(), &[b"m"]));
    let index = IndexEntry {
        sequence: Sequence(1),
        position: Position::NONE,
        expires_at,
        body_bytes: 1,
        record_bytes: 0,
        returns: 0,
        failures: 0,
        priority: 0,
        is_delivered: false,
        is_durable: false,
    };
    let entry = Entry { index, message: Some(message) };
    queue.inner.lock().state.apply(Millis::default(), Command::Enqueue(entry), &mut Vec::new());
    queue
}

/// A durable queue in a store on disk, on a node where no message may stay in memory.
fn on_disk(dir: &std::path::Path) -> (store::Store, Arc<Queue>) {
    let (store, _) = store::open(store::Options::new(dir)).unwrap();
    let queue = queue_in(&store, Memory::new(0));
    (store, queue)
}

#[test]
fn a_consumer_whose_outbox_fills_up_gets_everything_that_is_read_back() {
    const COUNT: usize = 300;
    let dir = tempfile::tempdir().unwrap();
    let (store, queue) = on_disk(dir.path());
    let properties = [0x10, 0, 2];
    let parsed = Properties::parse(&properties).unwrap();
    let message = Arc::new(Message::new("".into(), b"q", &properties, &parsed, &[&[7; 100_000]]));
    (0..COUNT).for_each(|_| _ = queue.publish(&message, &mut Wakes::default()));
    assert!(queue.figures().paged > COUNT - 10);
    let outbox = Arc::new(Outbox::new(crate::name::ConnectionId(1)));
    let id = ConsumerId(1);
    let consumer = Consumer {
        id,
        priority: 0,
        prefetch: 0,
        acknowledges: true,
        exclusive: false,
        timeout_ms: None,
        channel_credit: Arc::default(),
    };
    let subscription = Subscription {
        id,
        tag: ConsumerTag::new("c"),
        channel: ChannelId(1),
        outbox: Arc::clone(&outbox),
        acknowledges: true,
        exclusive: false,
        prefetch: 0,
        arguments: Table::default(),
    };
    let key = queue.subscribe(consumer, subscription, &mut Wakes::default()).unwrap().unwrap();
    let mut delivered = Vec::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    while delivered.len() < COUNT {
        let mut events = std::collections::VecDeque::new();
        let was_full = outbox.drain(&mut events);
        delivered.extend(events.iter().filter_map(|event| match event {
            crate::event::Event::Deliver(delivery) => delivery.source.map(|source| source.sequence.0),
            _ => None,
        }));
        if was_full {
            queue.resume(key, id, &mut Wakes::default());
        } else if delivered.len() < COUNT {
            let patience = time::Duration::from_secs(20);
            let woken = async { tokio::time::timeout(patience, outbox.woken()).await };
            runtime.block_on(woken).expect("the consumer is served");
        }
    }
    assert_eq!(delivered, (1..=COUNT as u64).collect::<Vec<_>>());
    drop(queue);
    store.close().unwrap();
}

#[test]
fn a_page_that_changed_while_it_was_asked_for_is_not_taken_for_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let (store, queue) = on_disk(dir.path());
    let properties = [0x10, 0, 2];
    let parsed = Properties::parse(&properties).unwrap();
    let message = Arc::new(Message::new("".into(), b"q", &properties, &parsed, &[b"m"]));
    (0..10_000).for_each(|_| _ = queue.publish(&message, &mut Wakes::default()));
    queue.evict(u64::MAX, &mut Wakes::default());
    let (_, pages) = queue.inner.lock().state.records_between(Position(0), Position(u64::MAX));
    let Some(Load::Page { level, page }) = pages.into_iter().next() else { panic!("all is in memory") };
    let read = || pager::read_page(&store, &queue, level, &page).unwrap();
    let Command::PageLoaded { entries, .. } = read() else { panic!("another answer") };
    assert!(queue.has_cold(level, &page));
    queue.answer(read(), &mut Wakes::default());
    // The compactor moves one: the image says where it was, and goes.
    let IndexEntry { sequence, position, record_bytes, .. } = entries[0];
    queue.relocate(sequence, position, (Position(position.0 + 1), record_bytes));
    queue.evict(1, &mut Wakes::default());
    let Command::PageLoaded { entries, is_rebuilt, .. } = read() else { panic!("another answer") };
    assert_eq!((entries.len(), is_rebuilt), (0, false));
    drop(queue);
    store.close().unwrap();
}

#[test]
fn what_is_due_is_not_handed_out() {
    const HOUR_MS: u64 = 3_600_000;
    let now = time::unix_ms().0;
    let mut wakes = Wakes::default();
    assert!(matches!(recovered(Millis(now - HOUR_MS)).get(true, &mut wakes), Get::Empty));
    assert!(matches!(recovered(Millis(now + HOUR_MS)).get(true, &mut wakes), Get::Message(_)));
}
