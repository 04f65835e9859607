//! The queues, the exchange and the bindings of a run.

use super::super::Failure;
use super::batch::HEADER;
use super::connection::{CHANNEL, Connection, flat};
use super::traffic::{ExchangeType, Traffic};
use crate::amqp::frame::Output;
use crate::amqp::method::{exchange, id, queue};
use amq_protocol::protocol::AMQPClass;
use amq_protocol::types::{AMQPValue, FieldTable};

/// How many methods are sent before their answers are read: these fit into the socket's buffers.
const CALLS_MAX: usize = 500;

/// Declares what the run needs; a run with both sides begins with empty queues.
pub(super) fn declare(connection: &mut Connection, traffic: &Traffic) -> Result<(), Failure> {
    if traffic.is_whole() && !traffic.keep {
        delete(connection, traffic)?;
    }
    let arguments = traffic.queue_arguments()?;
    let declares = (0..traffic.queues)
        .map(|index| declare_queue(&traffic.queue_name(index), traffic.persistent, arguments.clone()));
    call_all(connection, declares, id::QUEUE_DECLARE_OK)?;
    let Some(kind) = traffic.exchange_type else { return Ok(()) };
    let declare = declare_exchange(&traffic.exchange, kind.name(), traffic.persistent);
    call_all(connection, [declare], id::EXCHANGE_DECLARE_OK)?;
    let bound = traffic.bound_pairs().map(|(queue, key)| bind_to(traffic, kind, queue, &traffic.key(key)));
    let extra =
        (0..traffic.extra_bindings).map(|index| bind_to(traffic, kind, 0, &format!("other.{index:06}")));
    call_all(connection, bound.chain(extra), id::QUEUE_BIND_OK)
}

/// Deletes the queues, and the exchange.
pub(super) fn delete(connection: &mut Connection, traffic: &Traffic) -> Result<(), Failure> {
    let deletes = (0..traffic.queues).map(|index| delete_queue(&traffic.queue_name(index)));
    call_all(connection, deletes, id::QUEUE_DELETE_OK)?;
    let delete = traffic.exchange_type.map(|_| delete_exchange(&traffic.exchange));
    call_all(connection, delete, id::EXCHANGE_DELETE_OK)
}

fn bind_to(traffic: &Traffic, kind: ExchangeType, queue: u32, key: &str) -> AMQPClass {
    let mut arguments = FieldTable::default();
    if kind == ExchangeType::Headers {
        arguments.insert("x-match".into(), AMQPValue::LongString("all".into()));
        arguments.insert(HEADER.into(), AMQPValue::LongString(key.into()));
    }
    let routing_key = if kind == ExchangeType::Topic { format!("{key}.#") } else { key.to_owned() };
    bind(&traffic.queue_name(queue), &traffic.exchange, &routing_key, arguments)
}

// ---- methods

/// A method that declares a queue.
pub(super) fn declare_queue(name: &str, is_durable: bool, arguments: FieldTable) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::Declare(queue::Declare {
        queue: name.into(),
        passive: false,
        durable: is_durable,
        exclusive: false,
        auto_delete: false,
        nowait: false,
        arguments,
    }))
}

/// A method that deletes a queue.
pub(super) fn delete_queue(name: &str) -> AMQPClass {
    let (queue, if_unused, if_empty, nowait) = (name.into(), false, false, false);
    AMQPClass::Queue(queue::AMQPMethod::Delete(queue::Delete { queue, if_unused, if_empty, nowait }))
}

/// A method that declares an exchange.
pub(super) fn declare_exchange(name: &str, kind: &str, is_durable: bool) -> AMQPClass {
    AMQPClass::Exchange(exchange::AMQPMethod::Declare(exchange::Declare {
        exchange: name.into(),
        kind: kind.into(),
        passive: false,
        durable: is_durable,
        auto_delete: false,
        internal: false,
        nowait: false,
        arguments: FieldTable::default(),
    }))
}

/// A method that deletes an exchange.
pub(super) fn delete_exchange(name: &str) -> AMQPClass {
    let (exchange, if_unused, nowait) = (name.into(), false, false);
    AMQPClass::Exchange(exchange::AMQPMethod::Delete(exchange::Delete { exchange, if_unused, nowait }))
}

/// A method that binds a queue.
pub(super) fn bind(queue: &str, exchange: &str, routing_key: &str, arguments: FieldTable) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::Bind(queue::Bind {
        queue: queue.into(),
        exchange: exchange.into(),
        routing_key: routing_key.into(),
        nowait: false,
        arguments,
    }))
}

/// Calls methods that have the same answer, many at a time before the answers are read.
pub(super) fn call_all(
    connection: &mut Connection,
    methods: impl IntoIterator<Item = AMQPClass>,
    answer: (u16, u16),
) -> Result<(), Failure> {
    let mut methods = methods.into_iter().peekable();
    while methods.peek().is_some() {
        let (mut output, mut count) = (Output::default(), 0);
        for class in methods.by_ref().take(CALLS_MAX) {
            output.class(CHANNEL, &class);
            count += 1;
        }
        connection.send(&flat(output))?;
        for _ in 0..count {
            connection.expect(answer)?;
        }
    }
    Ok(())
}
