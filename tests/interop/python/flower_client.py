"""Interoperability checks with Celery Flower: its broker page and its API, beside a worker, over the HTTP API."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

from interop import Skip, expect_equal, run_checks, unique

QUEUE = os.environ["INTEROP_QUEUE"] = unique("flower.tasks")

# Loaded after the name of the queue is settled, because the application reads it.
from celery_app import new_app
from celery_client import celery_command, send, worker_running

START_SECONDS = 60
SHOWN_SECONDS = 30


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as held:
        return held.getsockname()[1]


class Flower:
    """A Flower process that asks the broker's HTTP API."""

    def __init__(self, management):
        self.base = f"http://127.0.0.1:{free_port()}"
        arguments = ["--address=127.0.0.1", f"--port={self.base.rsplit(':', 1)[1]}", "--inspect-timeout=2000"]
        arguments += [f"--broker-api={management.replace('://', '://guest:guest@')}/api/"]
        environment = os.environ | {"FLOWER_UNAUTHENTICATED_API": "true"}
        self.process = celery_command(["flower", *arguments], stdout=sys.stderr, stderr=subprocess.STDOUT, env=environment)

    def __enter__(self):
        self.await_answer("/healthcheck", START_SECONDS, lambda _: True)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def await_answer(self, path, seconds, is_it):
        """Asks until the answer is the one waited for: what workers have is asked for in the background."""
        end = time.monotonic() + seconds
        answer = None
        while time.monotonic() < end and self.process.poll() is None:
            try:
                with urllib.request.urlopen(self.base + path, timeout=10) as response:
                    answer = response.read().decode()
                if is_it(answer):
                    return answer
            except (urllib.error.URLError, ConnectionError):
                pass
            time.sleep(0.1)
        raise AssertionError(f"flower never gave what was waited for at {path}; last: {answer!r}")


def shows_the_worker():
    flower.await_answer("/api/workers?refresh=1", SHOWN_SECONDS, lambda text: QUEUE in text)


def shows_queues_by_its_api():
    """Only what the worker consumes is shown; Flower itself waits no more than two seconds for the broker."""
    is_there = lambda text: [queue["name"] for queue in json.loads(text)["active_queues"]] == [QUEUE]
    (queue,) = json.loads(flower.await_answer("/api/queues/length", SHOWN_SECONDS, is_there))["active_queues"]
    numbers = ["messages", "messages_ready", "messages_unacknowledged", "consumers"]
    expect_equal([type(queue[name]) for name in numbers], [int] * 4, "types of the numbers")


def shows_queues_on_its_broker_page():
    """A row has name, messages, unacked, ready, consumers and idle since when."""
    page = flower.await_answer("/broker", SHOWN_SECONDS, lambda text: QUEUE in text)
    row = page[page.index(QUEUE):].split("</tr>")[0]
    cells = [cell.split(">")[-1].strip() for cell in row.split("</td>")]
    expect_equal(cells[0], QUEUE, "name")
    expect_equal([cell.isdigit() for cell in cells[1:5]], [True] * 4, f"numbers in the row {cells}")


def counts_tasks_of_the_worker():
    expect_equal(send(new_app(), "add", 1, 2).get(timeout=SHOWN_SECONDS), 3, "result")
    flower.await_answer("/api/tasks", SHOWN_SECONDS, lambda text: "interop.add" in text and "SUCCESS" in text)


def without_the_address():
    raise Skip("the address of the HTTP API was not given")


if "MANAGEMENT_URL" not in os.environ:
    run_checks(without_the_address)
# The worker tells of its tasks from the start, before Flower would ask it to.
with worker_running("--task-events"), Flower(os.environ["MANAGEMENT_URL"]) as flower:
    run_checks(shows_the_worker, shows_queues_by_its_api, shows_queues_on_its_broker_page, counts_tasks_of_the_worker)
