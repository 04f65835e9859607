"""The queue benchmark: a number of messages in, then out, and the time of each tenth of them.

AMQP brokers get them by `warrenctl perf` with a window of unconfirmed messages, Redis by LPUSH and RPOP with a pipeline of
as many commands. Each system is charged for its answers: no message counts before it is confirmed, or answered.
"""

import socket
import time

from harness import Failure, Load

SIZES = {128: "128 B", 512: "512 B", 1024: "1 KiB", 10_240: "10 KiB"}
WINDOW = 1000
# Redis gets so many commands at a time.
CHUNK = 100
SOCKET_SECONDS_MAX = 120


def amqp(node, size, count, is_persistent):
    """Seconds at each tenth, in and out."""
    enqueue, dequeue = loads(size, count, is_persistent)
    enqueued, dequeued = Load(node, **enqueue).result(), Load(node, **dequeue).result()
    return tenths(enqueued["published_marks"], count), tenths(dequeued["received_marks"], count)


def loads(size, count, is_persistent):
    """The generator's options, in and out."""
    options = {"size": size, "messages": count, "queue": f"bench.{size}", "mark_every": count // 10}
    acks = {}
    if is_persistent:
        options["persistent"] = True
        acks = {"ack_every": 100, "prefetch": WINDOW}
    return {"consumers": 0, "confirm": WINDOW} | options, {"producers": 0} | options | acks


def tenths(marks, count):
    """Seconds until each tenth; marks come with batches, so what is between is straight."""
    points = [(0, 0.0)] + [(mark["messages"], mark["seconds"]) for mark in marks]
    return [interpolated(points, count * tenth // 10) for tenth in range(1, 11)]


def interpolated(points, messages):
    for (m0, s0), (m1, s1) in zip(points, points[1:]):
        if m0 <= messages <= m1 and m1 > m0:
            return s0 + (s1 - s0) * (messages - m0) / (m1 - m0)
    return points[-1][1]


def redis(node, size, count):
    """The same of Redis, by a client that does no more per command than to count answers."""
    body = b"x" * size
    push = command(b"LPUSH", b"bench", body) * CHUNK
    pop = command(b"RPOP", b"bench") * CHUNK
    answer_bytes = len(b"$%d\r\n" % size) + size + 2
    with socket.create_connection(("127.0.0.1", node.port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(SOCKET_SECONDS_MAX)
        enqueued = pipeline(connection, push, count, LineCounter())
        dequeued = pipeline(connection, pop, count, ByteCounter(answer_bytes))
    return enqueued, dequeued


def command(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


class LineCounter:
    """Answers that are a line each: `:123`."""

    def take(self, data):
        if b"-" in data:
            raise Failure(f"Redis refuses: {data[:200]!r}")
        return data.count(b"\n")


class ByteCounter:
    """Answers that all have so many bytes."""

    def __init__(self, answer_bytes):
        self.answer_bytes, self.rest = answer_bytes, 0

    def take(self, data):
        if data.startswith((b"-", b"$-1")) and self.rest == 0:
            raise Failure(f"Redis refuses: {data[:200]!r}")
        answers, self.rest = divmod(self.rest + len(data), self.answer_bytes)
        return answers


def pipeline(connection, chunk, count, counter):
    """Keeps WINDOW commands on their way; seconds at each tenth."""
    buffer, view = bytearray(1 << 20), None
    view = memoryview(buffer)
    sent = answered = 0
    marks, step = [], count // 10
    began = time.monotonic()
    while answered < count:
        while sent < count and sent - answered <= WINDOW - CHUNK:
            connection.sendall(chunk)
            sent += CHUNK
        length = connection.recv_into(buffer)
        if length == 0:
            raise Failure("Redis hung up")
        answered += counter.take(bytes(view[:length]))
        while len(marks) < 10 and answered >= step * (len(marks) + 1):
            marks.append(time.monotonic() - began)
    return marks
