"""The clients of benches/soak, run by it with a Python that has pika: one thread for each kind of work.

    soak_clients.py AMQP_PORT SECONDS

A kind of work is a function that does a bounded piece of it and leaves its queues empty; its thread repeats it until the
time is over, on a connection of its own. What comes wrong (a count, an order, an error) ends all with exit code 1. Every
second a line of JSON says how many messages went in and out; the last one says how often each piece was done.
"""

import json
import random
import socket
import sys
import threading
import time

import pika
from pika.exceptions import ChannelClosedByBroker

BODIES = [b"x" * 16, b"y" * 1024, b"z" * 70_000]
PERSISTENT = pika.BasicProperties(delivery_mode=2)
TRANSIENT = pika.BasicProperties(delivery_mode=1)


totals = {"in": 0, "out": 0}  # about right is enough: threads may lose one another's additions


class Wrong(Exception):
    """The broker did not do what it should have."""


def connect(port):
    # No heartbeats: a thread that only publishes for a while would not answer them.
    return pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port, heartbeat=0))


def body():
    return random.choices(BODIES, weights=[10, 10, 1])[0]


def expect(what, seen, wanted):
    if seen != wanted:
        raise Wrong(f"{what}: {seen} instead of {wanted}")


def publish(channel, queue, count, properties):
    for _ in range(count):
        channel.basic_publish("", queue, body(), properties)
        totals["in"] += 1


def take(channel, queue, count, prefetch=50, requeue_one_in=0):
    """Consumes and acks until so many are settled, some of them at their second coming."""
    channel.basic_qos(prefetch_count=prefetch)
    settled, last = 0, None
    for method, _, _ in channel.consume(queue, inactivity_timeout=30):
        if method is None:
            raise Wrong(f"{queue}: no delivery for 30 s, {settled} of {count} are settled")
        last = method.delivery_tag
        totals["out"] += 1
        if requeue_one_in and not method.redelivered and random.randrange(requeue_one_in) == 0:
            channel.basic_nack(last, requeue=True)
            continue
        channel.basic_ack(last)
        settled += 1
        if settled == count:
            break
    channel.cancel()


# ---- kinds of work: each has a connection and is called again and again


def persistent_with_confirms(connection):
    channel = connection.channel()
    channel.confirm_delivery()
    channel.queue_declare("soak.confirms", durable=True)
    publish(channel, "soak.confirms", 200, PERSISTENT)  # pika waits for each confirm
    take(channel, "soak.confirms", 200)
    channel.close()


def backlog(connection):
    """Without confirms, so that many are written at once; the count says when they are there."""
    channel = connection.channel()
    channel.queue_declare("soak.backlog", durable=True)
    publish(channel, "soak.backlog", 3000, PERSISTENT)
    take(channel, "soak.backlog", 3000, prefetch=500)
    channel.close()


def transient(connection):
    channel = connection.channel()
    channel.queue_declare("soak.transient")
    publish(channel, "soak.transient", 1000, TRANSIENT)
    take(channel, "soak.transient", 1000, prefetch=0)
    channel.close()


def transactions(connection):
    channel = connection.channel()
    channel.tx_select()
    for queue in ("soak.tx.from", "soak.tx.to"):
        channel.queue_declare(queue, durable=True)
    publish(channel, "soak.tx.from", 20, PERSISTENT)
    channel.tx_commit()
    for _ in range(20):
        method, properties, content = channel.basic_get("soak.tx.from")
        channel.basic_publish("", "soak.tx.to", content, properties)
        channel.basic_ack(method.delivery_tag)
        if random.randrange(5) == 0:
            channel.tx_rollback()
            channel.basic_publish("", "soak.tx.to", content, properties)
            channel.basic_ack(method.delivery_tag)
        channel.tx_commit()
    expect("moved", channel.queue_purge("soak.tx.to").method.message_count, 20)
    expect("left", channel.queue_purge("soak.tx.from").method.message_count, 0)
    channel.close()


def requeues(connection):
    channel = connection.channel()
    channel.queue_declare("soak.requeues", durable=True)
    publish(channel, "soak.requeues", 300, PERSISTENT)
    take(channel, "soak.requeues", 300, requeue_one_in=4)
    channel.close()


def purges(connection):
    channel = connection.channel()
    channel.confirm_delivery()
    channel.queue_declare("soak.purges", durable=True)
    publish(channel, "soak.purges", 50, PERSISTENT)
    expect("purged", channel.queue_purge("soak.purges").method.message_count, 50)
    channel.close()


def declares_and_deletes(connection):
    channel = connection.channel()
    names = [f"soak.passing.{number}" for number in range(20)]
    channel.exchange_declare("soak.passing", "topic", durable=True)
    for name in names:
        channel.queue_declare(name, durable=True)
        channel.queue_bind(name, "soak.passing", "all.#")
    for _ in range(10):
        channel.basic_publish("soak.passing", "all.of.them", body(), PERSISTENT)
    for name in names:
        channel.queue_delete(name)
    channel.exchange_delete("soak.passing")
    channel.close()


def time_to_live(connection):
    """Some messages expire by the queue's argument, some by their own; nobody consumes them."""
    channel = connection.channel()
    channel.queue_declare("soak.ttl", durable=True, arguments={"x-message-ttl": 700})
    publish(channel, "soak.ttl", 100, PERSISTENT)
    publish(channel, "soak.ttl", 100, pika.BasicProperties(delivery_mode=2, expiration="300"))
    deadline = time.monotonic() + 30
    while channel.queue_declare("soak.ttl", passive=True).method.message_count:
        if time.monotonic() > deadline:
            raise Wrong("messages outlive their time")
        connection.sleep(0.2)
    channel.close()


def priorities(connection):
    channel = connection.channel()
    channel.confirm_delivery()
    channel.queue_declare("soak.priorities", durable=True, arguments={"x-max-priority": 5})
    given = [random.randrange(6) for _ in range(100)]
    for priority in given:
        channel.basic_publish("", "soak.priorities", body(), pika.BasicProperties(delivery_mode=2, priority=priority))
    got = [channel.basic_get("soak.priorities", auto_ack=True)[1].priority for _ in given]
    expect("priorities", got, sorted(given, reverse=True))
    channel.close()


def consumers_come_and_go(connection):
    channel = connection.channel()
    channel.queue_declare("soak.coming", durable=True)
    publish(channel, "soak.coming", 200, PERSISTENT)
    for _ in range(10):
        take(channel, "soak.coming", 20, prefetch=30)  # what came beyond the 20 goes back
    expect("left", channel.queue_purge("soak.coming").method.message_count, 0)
    channel.close()


def connections_come_and_go(connection):
    port = connection.soak_port
    for is_polite in (True, True, False):
        own = connect(port)
        channel = own.channel()
        channel.queue_declare("soak.brief", exclusive=True)
        publish(channel, "soak.brief", 20, TRANSIENT)
        channel.basic_get("soak.brief")  # unacked when the connection goes
        try:
            own.channel().queue_declare("soak.nowhere", passive=True)
            raise Wrong("a queue that nobody declared")
        except ChannelClosedByBroker:
            pass
        if is_polite:
            own.close()
        else:
            # As when a client's process is gone. pika itself would close politely, and later.
            own._impl._transport._sock.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + 30
        while not is_gone(connection, "soak.brief"):
            if time.monotonic() > deadline:
                raise Wrong("an exclusive queue outlives its connection")
            connection.sleep(0.05)


def is_gone(connection, queue):
    channel = connection.channel()
    try:
        channel.queue_declare(queue, passive=True)
        channel.close()
        return False
    except ChannelClosedByBroker as closed:
        return closed.reply_code == 404


WORK = [persistent_with_confirms, backlog, transient, transactions, requeues, purges, declares_and_deletes, time_to_live,
        priorities, consumers_come_and_go, connections_come_and_go]


# ---- the threads


def repeat(work, port, over, done, failures):
    try:
        connection = connect(port)
        connection.soak_port = port
        while not over.is_set():
            work(connection)
            done[work.__name__] += 1
        connection.close()
    except Exception as failure:  # whatever it is, the soak has failed
        failures.append(f"{work.__name__}: {type(failure).__name__}: {failure}")
        over.set()


def main():
    port, seconds = int(sys.argv[1]), float(sys.argv[2])
    over, done, failures = threading.Event(), {work.__name__: 0 for work in WORK}, []
    threads = [threading.Thread(target=repeat, args=(work, port, over, done, failures)) for work in WORK]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    while not over.wait(1) and time.monotonic() < end:
        print(json.dumps(totals), flush=True)
    over.set()
    for thread in threads:
        thread.join()
    print(json.dumps(done))
    if failures:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
