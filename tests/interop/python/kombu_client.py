"""Interoperability checks with kombu over py-amqp, the transport below Celery.

Left out: basic.nack (kombu settles with ack and reject only), and int8, int16, float and byte-array header values
(py-amqp sends every integer as 32 or 64 bits, every float as a double and bytes as a string).
Transactions are py-amqp's: kombu passes them through on its channel.
"""

import hashlib
import os
import socket
from datetime import datetime
from decimal import Decimal

from amqp.exceptions import AMQPError, NotFound, PreconditionFailed, ResourceLocked
from interop import AMQP_URL, Q1_BINDINGS, Q1_EXPECTED, Q2_BINDINGS, Q2_EXPECTED, TOPIC_KEYS
from interop import expect_equal, need_restart, restart_broker, run_checks, unique
from kombu import Connection, Consumer, Exchange, Producer, Queue
from kombu.mixins import ConsumerMixin


def connect():
    """With `confirm_publish` every publish waits for its confirm."""
    return Connection(AMQP_URL, transport_options={"confirm_publish": True})


def exclusive_queue(channel, name):
    queue = Queue(unique(name), exclusive=True, durable=False)(channel)
    queue.declare()
    return queue


def ready_count(channel, queue):
    return queue(channel).queue_declare(passive=True).message_count


def publish(channel, queue, body, **options):
    Producer(channel).publish(body, routing_key=queue.name, **options)


def get_all(queue):
    """Takes what is ready in the queue, in order."""
    messages = []
    while (message := queue.get(no_ack=True)) is not None:
        messages.append(message)
    return messages


def receive(connection, into, count):
    while len(into) < count:
        connection.drain_events(timeout=30)


def expect_channel_error(connection, error_class, text, operation):
    channel = connection.channel()
    try:
        operation(channel)
    except AMQPError as error:
        expect_equal(type(error), error_class, "kind of error")
        assert text in str(error), f"{text!r} is not in {str(error)!r}"
    else:
        raise AssertionError(f"no {error_class.__name__}")


def declare():
    with connect() as connection:
        channel = connection.channel()
        queue = Queue(unique("declare"), Exchange(unique("exchange"), "direct"), routing_key="key")(channel)
        queue.declare()
        queue.declare()
        transient = Queue(unique("transient"), durable=False)(channel)
        transient.declare()
        expect_equal(ready_count(channel, queue), 0, "messages in a new queue")
        different, missing = Queue(queue.name, durable=False), Queue(unique("none"))
        expect_channel_error(
            connection, PreconditionFailed, "inequivalent arg 'durable'", lambda c: different(c).queue_declare()
        )
        expect_channel_error(connection, NotFound, "no queue", lambda c: missing(c).queue_declare(passive=True))
        queue.delete()
        transient.delete()
        queue.exchange.delete()


def publish_with_confirms():
    with connect() as connection:
        channel = connection.channel()
        queue = exclusive_queue(channel, "confirms")
        for number in range(100):
            publish(channel, queue, b"%d" % number)
        expect_equal(ready_count(channel, queue), 100, "messages after the last confirm")


def consume_with_prefetch():
    with connect() as connection:
        channel = connection.channel()
        # Not exclusive, because kombu makes exclusive queues auto-delete and this one has to outlive its consumer.
        queue = Queue(unique("prefetch"), durable=False)(channel)
        queue.declare()
        for number in range(10):
            publish(channel, queue, b"%d" % number)
        got = []
        consumer = Consumer(channel, [queue], on_message=got.append, prefetch_count=3, auto_declare=False)
        with consumer:
            receive(connection, got, 3)
            expect_equal(ready_count(channel, queue), 7, "ready while prefetch messages are unacked")
            expect_equal(len(got), 3, "deliveries before the first ack")
            got[0].ack()
            receive(connection, got, 4)
            expect_equal(ready_count(channel, queue), 6, "ready after one ack")
            got[3].ack(multiple=True)
            receive(connection, got, 7)
            got[6].ack(multiple=True)
            receive(connection, got, 10)
            got[9].ack(multiple=True)
        expect_equal([message.body for message in got], [b"%d" % n for n in range(10)], "deliveries")
        channel.close()
        queue = queue(connection.channel())
        expect_equal(get_all(queue), [], "messages left after the acks")
        queue.delete()


def reject_and_redelivered():
    with connect() as connection:
        channel = connection.channel()
        queue = exclusive_queue(channel, "reject")
        publish(channel, queue, b"one")
        message = queue.get()
        expect_equal(message.delivery_info["redelivered"], False, "redelivered at first")
        message.requeue()
        message = queue.get()
        got = (message.body, message.delivery_info["redelivered"])
        expect_equal(got, (b"one", True), "message and redelivered flag after requeue")
        message.reject()
        expect_equal(get_all(queue), [], "messages after reject without requeue")


def mandatory_return():
    """`publish` ends with the confirm, so a return that is there by then came before it."""
    with connect() as connection:
        returned = []
        producer = Producer(connection.channel(), on_return=lambda *args: returned.append(args))
        producer.publish(b"lost", routing_key=unique("nowhere"), mandatory=True)
        expect_equal(len(returned), 1, "returns by the time of the confirm")
        error, _exchange, _routing_key, message = returned[0]
        expect_equal((error.reply_code, error.reply_text), (312, "NO_ROUTE"), "basic.return")
        expect_equal(bytes(message.body), b"lost", "returned body")
        producer.publish(b"dropped", routing_key=unique("nowhere"))
        expect_equal(len(returned), 1, "returns when not mandatory")


def exclusive_queue_is_locked():
    with connect() as owner, connect() as other:
        queue = exclusive_queue(owner.channel(), "exclusive")
        expect_channel_error(
            other, ResourceLocked, "cannot obtain exclusive access to locked queue", lambda c: queue(c).queue_declare()
        )


def server_named_queue():
    with connect() as connection:
        channel = connection.channel()
        queue = Queue("", exclusive=True, durable=False)(channel)
        queue.declare()
        assert queue.name.startswith("amq.gen-"), f"name {queue.name!r}"
        publish(channel, queue, b"hello")
        expect_equal([message.body for message in get_all(queue)], [b"hello"], "messages")


def topic_routing():
    with connect() as connection:
        channel = connection.channel()
        exchange = Exchange(unique("topic"), "topic", durable=False, auto_delete=True)(channel)
        exchange.declare()
        q1, q2 = exclusive_queue(channel, "Q1"), exclusive_queue(channel, "Q2")
        for queue, keys in [(q1, Q1_BINDINGS), (q2, Q2_BINDINGS)]:
            for key in keys:
                queue.bind_to(exchange, key)
        producer = Producer(channel, exchange)
        for key in TOPIC_KEYS:
            producer.publish(b"", routing_key=key)
        expect_equal([message.delivery_info["routing_key"] for message in get_all(q1)], Q1_EXPECTED, "Q1")
        expect_equal([message.delivery_info["routing_key"] for message in get_all(q2)], Q2_EXPECTED, "Q2")


def transaction():
    with Connection(AMQP_URL) as connection:
        observer, channel = connection.channel(), connection.channel()
        queue = exclusive_queue(observer, "tx")
        channel.tx_select()
        publish(channel, queue, b"rolled back")
        expect_equal(ready_count(channel, queue), 0, "messages before commit")
        channel.tx_rollback()
        expect_equal(ready_count(observer, queue), 0, "messages after rollback")
        publish(channel, queue, b"one")
        channel.tx_commit()
        expect_equal(ready_count(observer, queue), 1, "messages after commit")
        queue(channel).get().ack()
        publish(channel, queue, b"two")
        channel.tx_commit()
        channel.close()
        expect_equal([message.body for message in get_all(queue)], [b"two"], "messages after the ack was committed")


def header_types():
    headers = {
        "bool": True,
        "int32": -(2**31) + 1,
        "int64": -(2**62),
        "double": 0.1,
        "decimal": Decimal("3.14"),
        "string": "grüße",
        "timestamp": datetime(2026, 1, 2, 3, 4, 5),  # py-amqp reads timestamps back without a time zone
        "table": {"nested": {"deeper": 1}},
        "array": [1, "two", {"three": 3}, [None, False]],
        "void": None,
    }
    with connect() as connection:
        channel = connection.channel()
        queue = exclusive_queue(channel, "headers")
        publish(channel, queue, b"", headers=headers)
        expect_equal(queue.get(no_ack=True).headers, headers, "headers")


def body_of_10_mib():
    sent = os.urandom(10 * 1024 * 1024)
    with connect() as connection:
        channel = connection.channel()
        queue = exclusive_queue(channel, "large")
        publish(channel, queue, sent)
        body = queue.get(no_ack=True).body
        expect_equal(hashlib.sha256(body).hexdigest(), hashlib.sha256(sent).hexdigest(), "sha256")


class Survivor(ConsumerMixin):
    """Has the broker killed at the first delivery, then collects what comes after the mixin has connected again."""

    def __init__(self, connection, queue, count):
        self.connection, self.queue, self.count = connection, queue, count
        self.restarted = False
        self.got = []

    def get_consumers(self, Consumer, channel):
        return [Consumer([self.queue], on_message=self.on_message, prefetch_count=50)]

    def on_message(self, message):
        if not self.restarted:
            restart_broker()
            self.restarted = True
            raise socket.error("the broker this message came from is gone")
        self.got.append(message.body)
        message.ack()
        self.should_stop = len(self.got) == self.count


def recovery_after_kill():
    """Nothing was acked before the kill, so every confirmed message has to come again, also the delivered ones."""
    need_restart()
    expected = [b"%d" % number for number in range(200)]
    queue = Queue(unique("recovery"))
    with connect() as connection:
        channel = connection.channel()
        queue(channel).declare()
        for body in expected:
            publish(channel, queue, body, delivery_mode=2)
    with connect() as connection:
        survivor = Survivor(connection, queue, len(expected))
        survivor.run()
        expect_equal(survivor.got, expected, "messages after the restart")
    with connect() as connection:
        queue(connection.channel()).delete()


run_checks(
    declare,
    publish_with_confirms,
    consume_with_prefetch,
    reject_and_redelivered,
    mandatory_return,
    exclusive_queue_is_locked,
    server_named_queue,
    topic_routing,
    transaction,
    header_types,
    body_of_10_mib,
    recovery_after_kill,
)
