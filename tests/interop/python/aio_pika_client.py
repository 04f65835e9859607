"""Interoperability checks with aio-pika, which recovers by itself when connected with `connect_robust`.

Left out: double header values (aio-pika sends every float as a 32-bit one).
"""

import asyncio
import hashlib
import os
from datetime import datetime, timezone
from decimal import Decimal

import aio_pika
from aio_pika import DeliveryMode, Message
from aiormq.exceptions import (
    ChannelClosed,
    ChannelLockedResource,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    PublishError,
)
from interop import AMQP_URL, Q1_BINDINGS, Q1_EXPECTED, Q2_BINDINGS, Q2_EXPECTED, TOPIC_KEYS
from interop import expect_equal, need_restart, restart_broker, run_checks, unique


async def connect():
    return await aio_pika.connect(AMQP_URL)


async def ready_count(channel, name):
    queue = await channel.declare_queue(name, passive=True)
    return queue.declaration_result.message_count


async def exclusive_queue(channel, name):
    return await channel.declare_queue(unique(name), exclusive=True)


async def publish(channel, queue, body, **properties):
    return await channel.default_exchange.publish(Message(body, **properties), queue.name)


async def get_all(queue):
    """Takes what is ready in the queue, in order."""
    messages = []
    while (message := await queue.get(no_ack=True, fail=False)) is not None:
        messages.append(message)
    return messages


async def expect_channel_error(connection, error_class, text, operation):
    try:
        async with connection.channel() as channel:
            await operation(channel)
    except ChannelClosed as error:
        expect_equal(type(error), error_class, "kind of error")
        assert text in str(error), f"{text!r} is not in {str(error)!r}"
    else:
        raise AssertionError(f"no {error_class.__name__}")


async def declare():
    async with await connect() as connection, connection.channel() as channel:
        queue, transient = unique("declare"), unique("transient")
        await channel.declare_queue(queue, durable=True)
        await channel.declare_queue(queue, durable=True)
        await channel.declare_queue(transient)
        exchange = await channel.declare_exchange(unique("exchange"), "direct", durable=True)
        await channel.declare_exchange(exchange.name, passive=True)
        await expect_channel_error(
            connection, ChannelPreconditionFailed, "inequivalent arg 'durable'", lambda c: c.declare_queue(queue)
        )
        await expect_channel_error(
            connection, ChannelNotFoundEntity, "no queue", lambda c: c.declare_queue(unique("none"), passive=True)
        )
        await channel.queue_delete(queue)
        await channel.queue_delete(transient)
        await channel.exchange_delete(exchange.name)


async def publish_with_confirms():
    async with await connect() as connection, connection.channel() as channel:
        queue = await exclusive_queue(channel, "confirms")
        results = await asyncio.gather(*(publish(channel, queue, b"%d" % number) for number in range(100)))
        expect_equal([result.name for result in results], ["Basic.Ack"] * 100, "confirms")
        expect_equal(await ready_count(channel, queue.name), 100, "messages after the last confirm")


async def consume_with_prefetch():
    async with await connect() as connection, connection.channel() as channel:
        queue = await exclusive_queue(channel, "prefetch")
        for number in range(10):
            await publish(channel, queue, b"%d" % number)
        await channel.set_qos(prefetch_count=3)
        inbox = asyncio.Queue()
        tag = await queue.consume(inbox.put)
        got = [await inbox.get() for _ in range(3)]
        expect_equal(await ready_count(channel, queue.name), 7, "ready while prefetch messages are unacked")
        expect_equal(inbox.qsize(), 0, "deliveries beyond the prefetch")
        await got[0].ack()
        got.append(await inbox.get())
        expect_equal(await ready_count(channel, queue.name), 6, "ready after one ack")
        await got[3].ack(multiple=True)
        while len(got) < 10:
            got.append(await inbox.get())
            await got[-1].ack()
        expect_equal([message.body for message in got], [b"%d" % n for n in range(10)], "deliveries")
        await queue.cancel(tag)
        expect_equal(await ready_count(channel, queue.name), 0, "messages left after the acks")


async def nack_and_redelivered():
    async with await connect() as connection, connection.channel() as channel:
        queue = await exclusive_queue(channel, "nack")
        await publish(channel, queue, b"one")
        message = await queue.get()
        expect_equal(message.redelivered, False, "redelivered at first")
        await message.nack(requeue=True)
        message = await queue.get()
        expect_equal((message.body, message.redelivered), (b"one", True), "message and redelivered flag after nack")
        await message.reject(requeue=False)
        expect_equal(await get_all(queue), [], "messages after reject without requeue")


async def mandatory_return():
    """The return must come before the confirm: aio-pika then raises instead of reporting success."""
    async with await connect() as connection, connection.channel(on_return_raises=True) as channel:
        try:
            await channel.default_exchange.publish(Message(b"lost"), unique("nowhere"), mandatory=True)
        except PublishError as error:
            expect_equal((error.frame.reply_code, error.frame.reply_text), (312, "NO_ROUTE"), "basic.return")
            expect_equal(error.message.body, b"lost", "returned body")
        else:
            raise AssertionError("the unroutable message was confirmed without a return")
        result = await channel.default_exchange.publish(Message(b"dropped"), unique("nowhere"), mandatory=False)
        expect_equal(result.name, "Basic.Ack", "confirm of an unroutable message that is not mandatory")


async def exclusive_queue_is_locked():
    async with await connect() as owner, await connect() as other, owner.channel() as channel:
        queue = await exclusive_queue(channel, "exclusive")
        await expect_channel_error(
            other, ChannelLockedResource, "cannot obtain exclusive access to locked queue",
            lambda c: c.declare_queue(queue.name, exclusive=True),
        )


async def server_named_queue():
    async with await connect() as connection, connection.channel() as channel:
        queue = await channel.declare_queue(exclusive=True)
        assert queue.name.startswith("amq.gen-"), f"name {queue.name!r}"
        await publish(channel, queue, b"hello")
        expect_equal([message.body for message in await get_all(queue)], [b"hello"], "messages")


async def topic_routing():
    async with await connect() as connection, connection.channel() as channel:
        exchange = await channel.declare_exchange(unique("topic"), "topic", auto_delete=True)
        q1, q2 = await exclusive_queue(channel, "Q1"), await exclusive_queue(channel, "Q2")
        for queue, keys in [(q1, Q1_BINDINGS), (q2, Q2_BINDINGS)]:
            for key in keys:
                await queue.bind(exchange, key)
        for key in TOPIC_KEYS:
            await exchange.publish(Message(b""), key, mandatory=False)
        expect_equal([message.routing_key for message in await get_all(q1)], Q1_EXPECTED, "Q1")
        expect_equal([message.routing_key for message in await get_all(q2)], Q2_EXPECTED, "Q2")


async def transaction():
    async with await connect() as connection, connection.channel() as observer:
        channel = await connection.channel(publisher_confirms=False)
        queue = await exclusive_queue(observer, "tx")
        mine = await channel.get_queue(queue.name)
        async with channel.transaction() as tx:
            await publish(channel, queue, b"rolled back")
            expect_equal(await ready_count(channel, queue.name), 0, "messages before commit")
            await tx.rollback()
            expect_equal(await ready_count(observer, queue.name), 0, "messages after rollback")
            await publish(channel, queue, b"one")
        expect_equal(await ready_count(observer, queue.name), 1, "messages after commit")
        message = await mine.get()
        async with channel.transaction():
            await message.ack()
            await publish(channel, queue, b"two")
        await channel.close()
        left = [message.body for message in await get_all(queue)]
        expect_equal(left, [b"two"], "messages after the ack was committed")


async def header_types():
    headers = {
        "bool": True,
        "int8": -128,
        "int16": -(2**15),
        "uint16": 2**16 - 1,
        "int32": -(2**31),
        "uint32": 2**32 - 1,
        "int64": -(2**62),
        "float": 1.5,
        "decimal": Decimal("3.14"),
        "string": "grüße",
        "bytes": bytearray(b"\x00\xff"),
        "timestamp": datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
        "table": {"nested": {"deeper": 1}},
        "array": [1, "two", {"three": 3}, [None, False]],
        "void": None,
    }
    async with await connect() as connection, connection.channel() as channel:
        queue = await exclusive_queue(channel, "headers")
        await publish(channel, queue, b"", headers=headers)
        message = await queue.get(no_ack=True)
        expect_equal(message.headers, headers, "headers")


async def body_of_10_mib():
    sent = os.urandom(10 * 1024 * 1024)
    async with await connect() as connection, connection.channel() as channel:
        queue = await exclusive_queue(channel, "large")
        await publish(channel, queue, sent)
        message = await queue.get(no_ack=True)
        expect_equal(hashlib.sha256(message.body).hexdigest(), hashlib.sha256(sent).hexdigest(), "sha256")


async def recovery_after_kill():
    """The robust connection comes back with its channel, its exclusive queue and the consumers of both queues."""
    need_restart()
    expected = [b"%d" % number for number in range(200)]
    async with await aio_pika.connect_robust(f"{AMQP_URL}?reconnect_interval=0.2") as connection:
        recovered = asyncio.Event()
        connection.reconnect_callbacks.add(lambda *_: recovered.set())
        channel = await connection.channel()
        queue = await channel.declare_queue(unique("recovery"), durable=True)
        await asyncio.gather(
            *(publish(channel, queue, body, delivery_mode=DeliveryMode.PERSISTENT) for body in expected)
        )
        transient = await exclusive_queue(channel, "consumed-before")
        consumed_before = asyncio.Queue()
        await transient.consume(consumed_before.put, no_ack=True)

        await asyncio.to_thread(restart_broker)
        await recovered.wait()

        inbox = asyncio.Queue()
        await queue.consume(inbox.put, no_ack=True)
        got = [(await inbox.get()).body for _ in expected]
        expect_equal(got, expected, "messages after the restart")
        await publish(channel, transient, b"again")
        expect_equal((await consumed_before.get()).body, b"again", "message to the recovered consumer")
        await channel.queue_delete(queue.name)


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
