"""Interoperability checks with pika's BlockingConnection.

Left out: float and double header values, which pika cannot send.
"""

import hashlib
import os
from datetime import datetime, timezone
from decimal import Decimal

import pika
from interop import AMQP_URL, Q1_BINDINGS, Q1_EXPECTED, Q2_BINDINGS, Q2_EXPECTED, TOPIC_KEYS
from interop import expect_equal, need_restart, restart_broker, run_checks, unique
from pika.exceptions import ChannelClosedByBroker, UnroutableError

PERSISTENT = pika.BasicProperties(delivery_mode=2)


def connect():
    return pika.BlockingConnection(pika.URLParameters(AMQP_URL))


def ready_count(channel, queue):
    return channel.queue_declare(queue, passive=True).method.message_count


def exclusive_queue(channel, name):
    return channel.queue_declare(unique(name), exclusive=True).method.queue


def receive(connection, into, count):
    while len(into) < count:
        connection.process_data_events(time_limit=1)


def get_all(channel, queue):
    """Takes what is ready in the queue, in order, as (method, body) pairs."""
    messages = []
    while True:
        method, _, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return messages
        messages.append((method, body))


def expect_channel_error(connection, code, text, operation):
    channel = connection.channel()
    try:
        operation(channel)
    except ChannelClosedByBroker as error:
        expect_equal(error.reply_code, code, "reply code")
        assert text in error.reply_text, f"{text!r} is not in {error.reply_text!r}"
    else:
        raise AssertionError(f"no error {code}")


def declare():
    with connect() as connection:
        channel = connection.channel()
        queue, transient, exchange = unique("declare"), unique("transient"), unique("exchange")
        channel.queue_declare(queue, durable=True)
        channel.queue_declare(queue, durable=True)
        channel.queue_declare(transient, durable=False)
        expect_equal(ready_count(channel, queue), 0, "messages in a new queue")
        channel.exchange_declare(exchange, "direct", durable=True)
        channel.exchange_declare(exchange, passive=True)
        expect_channel_error(connection, 406, "inequivalent arg 'durable'", lambda c: c.queue_declare(queue))
        expect_channel_error(connection, 404, "no queue", lambda c: c.queue_declare(unique("none"), passive=True))
        expect_channel_error(connection, 404, "no exchange", lambda c: c.exchange_declare(unique("none"), passive=True))
        channel.queue_delete(queue)
        channel.queue_delete(transient)
        channel.exchange_delete(exchange)
        expect_channel_error(connection, 404, "no queue", lambda c: c.queue_declare(queue, passive=True))


def publish_with_confirms():
    with connect() as connection:
        channel = connection.channel()
        queue = exclusive_queue(channel, "confirms")
        channel.confirm_delivery()
        for number in range(100):
            channel.basic_publish("", queue, b"%d" % number, PERSISTENT)
        expect_equal(ready_count(channel, queue), 100, "messages after the last confirm")


def consume_with_prefetch():
    with connect() as connection:
        channel = connection.channel()
        queue = exclusive_queue(channel, "prefetch")
        channel.confirm_delivery()
        for number in range(10):
            channel.basic_publish("", queue, b"%d" % number)
        got = []
        channel.basic_qos(prefetch_count=3)
        tag = channel.basic_consume(queue, lambda _c, method, _p, body: got.append((method.delivery_tag, body)))
        receive(connection, got, 3)
        expect_equal(ready_count(channel, queue), 7, "ready while prefetch messages are unacked")
        connection.process_data_events()
        expect_equal(len(got), 3, "deliveries before the first ack")
        channel.basic_ack(got[0][0])
        receive(connection, got, 4)
        expect_equal(ready_count(channel, queue), 6, "ready after one ack")
        channel.basic_ack(got[3][0], multiple=True)
        receive(connection, got, 7)
        channel.basic_ack(got[6][0], multiple=True)
        receive(connection, got, 10)
        channel.basic_ack(0, multiple=True)
        expect_equal(got, [(n + 1, b"%d" % n) for n in range(10)], "deliveries")
        channel.basic_cancel(tag)
        channel.close()
        expect_equal(get_all(connection.channel(), queue), [], "messages left after the acks")


def nack_and_redelivered():
    with connect() as connection:
        channel = connection.channel()
        queue = exclusive_queue(channel, "nack")
        channel.confirm_delivery()
        for number in range(3):
            channel.basic_publish("", queue, b"%d" % number)
        first, _, _ = channel.basic_get(queue)
        second, _, _ = channel.basic_get(queue)
        expect_equal([first.redelivered, second.redelivered], [False, False], "redelivered at first")
        channel.basic_nack(second.delivery_tag, multiple=True, requeue=True)
        again = [(body, method.redelivered) for method, body in get_all(channel, queue)]
        expect_equal(again, [(b"0", True), (b"1", True), (b"2", False)], "messages and redelivered flags")
        channel.basic_publish("", queue, b"refused")
        method, _, _ = channel.basic_get(queue)
        channel.basic_reject(method.delivery_tag, requeue=False)
        expect_equal(get_all(channel, queue), [], "messages after reject without requeue")


def mandatory_return():
    with connect() as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        # pika raises when a basic.return came before the confirm of the same publish, so this checks the order too.
        try:
            channel.basic_publish("", unique("nowhere"), b"lost", mandatory=True)
        except UnroutableError as error:
            returned = [(m.method.reply_code, m.method.reply_text, m.body) for m in error.messages]
            expect_equal(returned, [(312, "NO_ROUTE", b"lost")], "returned messages")
        else:
            raise AssertionError("the unroutable message was confirmed without a return")
        channel.basic_publish("", unique("nowhere"), b"dropped")


def exclusive_queue_is_locked():
    with connect() as other:
        owner = connect()
        queue = exclusive_queue(owner.channel(), "exclusive")
        text = f"cannot obtain exclusive access to locked queue '{queue}' in vhost '/'"
        expect_channel_error(other, 405, text, lambda c: c.queue_declare(queue, exclusive=True))
        expect_channel_error(other, 405, text, lambda c: c.queue_declare(queue, passive=True))
        expect_channel_error(other, 405, text, lambda c: c.basic_consume(queue, print))
        expect_channel_error(other, 405, text, lambda c: c.basic_get(queue))
        owner.close()
        wait_until_gone(other, queue)


def wait_until_gone(connection, queue):
    """RabbitMQ deletes an exclusive queue after connection.close-ok, so the name may live a moment longer."""
    while True:
        try:
            connection.channel().queue_declare(queue, passive=True)
        except ChannelClosedByBroker as error:
            if error.reply_code == 404:
                return
            expect_equal(error.reply_code, 405, "reply code while the queue is being deleted")


def server_named_queue():
    with connect() as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        other = channel.queue_declare("", exclusive=True).method.queue
        assert queue.startswith("amq.gen-") and queue != other, f"names {queue!r}, {other!r}"
        channel.confirm_delivery()
        channel.basic_publish("", queue, b"hello")
        expect_equal([body for _, body in get_all(channel, queue)], [b"hello"], "messages")


def topic_routing():
    with connect() as connection:
        channel = connection.channel()
        exchange = unique("topic")
        channel.exchange_declare(exchange, "topic", auto_delete=True)
        q1, q2 = exclusive_queue(channel, "Q1"), exclusive_queue(channel, "Q2")
        for queue, keys in [(q1, Q1_BINDINGS), (q2, Q2_BINDINGS)]:
            for key in keys:
                channel.queue_bind(queue, exchange, key)
        channel.confirm_delivery()
        for key in TOPIC_KEYS:
            channel.basic_publish(exchange, key, b"")
        expect_equal([method.routing_key for method, _ in get_all(channel, q1)], Q1_EXPECTED, "Q1")
        expect_equal([method.routing_key for method, _ in get_all(channel, q2)], Q2_EXPECTED, "Q2")


def transaction():
    with connect() as connection:
        observer, channel = connection.channel(), connection.channel()
        queue = exclusive_queue(observer, "tx")
        channel.tx_select()
        channel.basic_publish("", queue, b"rolled back")
        expect_equal(ready_count(channel, queue), 0, "messages before commit")
        channel.tx_rollback()
        expect_equal(ready_count(observer, queue), 0, "messages after rollback")

        channel.basic_publish("", queue, b"one")
        channel.tx_commit()
        expect_equal(ready_count(observer, queue), 1, "messages after commit")

        method, _, _ = channel.basic_get(queue)
        channel.basic_ack(method.delivery_tag)
        channel.tx_rollback()
        channel.basic_ack(method.delivery_tag)
        channel.basic_publish("", queue, b"two")
        channel.tx_commit()
        channel.close()
        expect_equal([body for _, body in get_all(observer, queue)], [b"two"], "messages after the ack was committed")


def header_types():
    headers = {
        "bool": True,
        "int32": -(2**31),
        "int64": 2**62,
        "decimal": Decimal("-3.14"),
        "string": "grüße",
        "bytes": b"\x00\xff",
        "timestamp": datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
        "table": {"nested": {"deeper": 1}},
        "array": [1, "two", {"three": 3}, [None, False]],
        "void": None,
    }
    properties = pika.BasicProperties(
        content_type="text/plain", content_encoding="utf-8", headers=headers, delivery_mode=2, priority=7,
        correlation_id="correlation", reply_to="reply", expiration="60000", message_id="id", timestamp=1234567890,
        type="type", user_id="guest", app_id="app",
    )
    with connect() as connection:
        channel = connection.channel()
        queue = exclusive_queue(channel, "headers")
        channel.confirm_delivery()
        channel.basic_publish("", queue, b"", properties)
        _, got, _ = channel.basic_get(queue, auto_ack=True)
        expect_equal(got, properties, "properties")


def body_of_10_mib():
    sent = os.urandom(10 * 1024 * 1024)
    with connect() as connection:
        channel = connection.channel()
        queue = exclusive_queue(channel, "large")
        channel.confirm_delivery()
        channel.basic_publish("", queue, sent)
        _, _, body = channel.basic_get(queue, auto_ack=True)
        expect_equal(hashlib.sha256(body).hexdigest(), hashlib.sha256(sent).hexdigest(), "sha256")


def recovery_after_kill():
    """pika does not recover by itself: the program connects again, as pika's documentation advises."""
    need_restart()
    queue = unique("recovery")
    expected = [b"%d" % number for number in range(200)]
    before = connect()
    channel = before.channel()
    channel.queue_declare(queue, durable=True)
    channel.confirm_delivery()
    for body in expected:
        channel.basic_publish("", queue, body, PERSISTENT)
    restart_broker()
    with connect() as connection:
        channel = connection.channel()
        got = []
        channel.basic_consume(queue, lambda _c, _m, _p, body: got.append(body), auto_ack=True)
        receive(connection, got, len(expected))
        expect_equal(got, expected, "messages after the restart")
        channel.queue_delete(queue)


run_checks(
    declare,
    publish_with_confirms,
    consume_with_prefetch,
    nack_and_redelivered,
    mandatory_return,
    exclusive_queue_is_locked,
    server_named_queue,
    topic_routing,
    transaction,
    header_types,
    body_of_10_mib,
    recovery_after_kill,
)
