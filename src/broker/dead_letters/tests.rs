//! Moving dead letters by hand, a round at a time.

use super::super::declare::{DeclareExchange, DeclareQueue, DeleteIf};
use super::super::{Defaults, Error, Session};
use super::*;
use crate::arguments::{Table, Value};
use crate::definition::{Binding, Destination};
use crate::message::Properties;
use crate::queue::classic::Get;
use crate::store;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

fn broker() -> Arc<Broker> {
    let (store, recovered) = store::memory::open();
    Broker::start(Defaults::in_tests(), store, recovered).unwrap()
}

fn declare(broker: &Broker, session: &Session, name: &str, arguments: &[(&str, Value)]) {
    let arguments: Table = arguments
        .iter()
        .map(|(key, value)| ((*key).into(), value.clone()))
        .collect::<BTreeMap<_, _>>()
        .into();
    let queue =
        DeclareQueue { name: name.into(), durable: false, exclusive: false, auto_delete: false, arguments };
    drop(broker.declare_queue(session, queue).unwrap());
}

fn text(text: &str) -> Value {
    Value::LongString(text.into())
}

fn publish(broker: &Broker, session: &mut Session, queue: &str) {
    let message =
        Message::new("".into(), queue.as_bytes(), &[0, 0], &Properties::default(), &[queue.as_bytes()]);
    broker.publish::<Error>(session, &Arc::new(message), None, &mut Wakes::default()).unwrap();
}

fn declare_exchange(broker: &Broker, session: &Session, name: &str, kind: &str) {
    let exchange = DeclareExchange {
        name: name.into(),
        kind: kind.into(),
        durable: false,
        auto_delete: false,
        internal: false,
        arguments: Table::default(),
    };
    drop(broker.declare_exchange(session, exchange).unwrap());
}

fn bind(broker: &Broker, session: &Session, queue: &str, exchange: &str) {
    let binding = Binding {
        source: exchange.into(),
        destination: Destination::Queue(queue.into()),
        key: "".into(),
        arguments: Table::default(),
    };
    drop(broker.bind(session, binding, &mut Wakes::default()).unwrap());
}

fn ready(session: &Session, queue: &str) -> usize {
    session.vhost.topology().queue(queue).unwrap().figures().ready
}

/// One round of the thread, without waiting for those that rest.
fn move_from(broker: &Broker, session: &Session, queue: &str) {
    let queue = Arc::downgrade(session.vhost.topology().queue(queue).unwrap());
    broker.move_all(&queue);
}

#[test]
fn a_dead_letter_that_stays_is_counted_and_kept_in_a_history_once_it_leaves() {
    let broker = broker();
    let user = broker.log_in("guest", b"guest", true).unwrap();
    let mut session = broker.enter(&user, &"/".into(), None).unwrap();
    broker.stop_moving();
    declare_exchange(&broker, &session, "history", "x-recent-history");
    let full = [("x-max-length", Value::LongLongInt(0)), ("x-overflow", text("reject-publish"))];
    declare(&broker, &session, "full", &full);
    bind(&broker, &session, "full", "history");
    let dies = [
        ("x-max-length", Value::LongLongInt(0)),
        ("x-dead-letter-exchange", text("history")),
        ("x-dead-letter-strategy", text("at-least-once")),
    ];
    declare(&broker, &session, "q", &dies);
    publish(&broker, &mut session, "q");
    let counters = session.vhost.topology().exchange("history").unwrap().counters.clone();
    let counted = || (counters.published_in(), counters.published_out.load(Relaxed));
    for _ in 0..3 {
        move_from(&broker, &session, "q");
    }
    assert_eq!(counted(), (0, 0));
    declare(&broker, &session, "early", &[]);
    bind(&broker, &session, "early", "history");
    assert_eq!(ready(&session, "early"), 0, "it is in no history yet");
    broker
        .delete_queue(&session, &"full".into(), DeleteIf::default(), &mut Wakes::default())
        .map(drop)
        .unwrap();
    move_from(&broker, &session, "q");
    assert_eq!(counted(), (1, 1));
    declare(&broker, &session, "late", &[]);
    bind(&broker, &session, "late", "history");
    assert_eq!((ready(&session, "early"), ready(&session, "late")), (1, 1));
}

#[test]
fn a_queue_with_many_dead_letters_leaves_others_their_turn() {
    let broker = broker();
    let user = broker.log_in("guest", b"guest", true).unwrap();
    let mut session = broker.enter(&user, &"/".into(), None).unwrap();
    // Its work is done by hand.
    broker.stop_moving();
    declare(&broker, &session, "end", &[]);
    let dies = [
        ("x-max-length", Value::LongLongInt(0)),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text("end")),
    ];
    for (name, count) in [("many", 2 * LETTERS_MAX), ("one", 1)] {
        declare(&broker, &session, name, &dies);
        for _ in 0..count {
            publish(&broker, &mut session, name);
        }
    }
    while let Some(queue) = broker.services.dead_letters.take() {
        broker.move_all(&queue);
    }
    let end = session.vhost.topology().queue("end").cloned().unwrap();
    let mut place = 0;
    loop {
        let Get::Message(taken) = end.get(false, &mut Wakes::default()) else { panic!("it is lost") };
        if taken.message.body() == b"one" {
            break;
        }
        place += 1;
    }
    assert_eq!(place, LETTERS_MAX);
    assert_eq!(end.figures().ready, LETTERS_MAX);
}
