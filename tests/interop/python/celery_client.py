"""Interoperability checks with Celery: a real worker, tasks, results over rpc://, remote control, ETA, recovery."""

import contextlib
import datetime
import os
import queue
import subprocess
import sys
import threading

from interop import AMQP_URL, expect_equal, need_restart, restart_broker, run_checks, unique
from kombu import Connection

QUEUE = os.environ.setdefault("INTEROP_QUEUE", unique("tasks"))
WORKER = f"{QUEUE}@localhost"

# Loaded after the name of the queue is settled, because the application reads it.
from celery_app import new_app

RESULT_SECONDS = 30
START_SECONDS = 60
HERE = os.path.dirname(os.path.abspath(__file__))


class Worker:
    """A Celery worker process with one thread, so that tasks are executed in their queue's order."""

    def __init__(self, *more):
        arguments = ["worker", "-n", WORKER, "--pool", "threads", "--concurrency", "1", "--loglevel", "INFO", *more]
        self.process = celery_command(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.ready = queue.SimpleQueue()
        threading.Thread(target=self.read_output, daemon=True).start()
        if not self.ready.get(timeout=START_SECONDS):
            raise RuntimeError("the worker exited at start")

    def read_output(self):
        """Copies the worker's log to this program's, and tells when the worker is ready, or gone."""
        for line in self.process.stdout:
            print(line, end="", file=sys.stderr)
            if line.endswith(f"{WORKER} ready.\n"):
                self.ready.put(True)
        self.ready.put(False)

    def stop(self):
        """A warm shutdown: SIGTERM to the worker's process id. Returns the exit code."""
        self.process.terminate()
        return self.process.wait(RESULT_SECONDS)


def celery_command(arguments, **options):
    command = [sys.executable, "-B", "-m", "celery", "-A", "celery_app", *arguments]
    return subprocess.Popen(command, cwd=HERE, text=True, **options)


def send(app, task, *arguments, **options):
    return app.send_task(f"interop.{task}", arguments, delivery_mode="persistent", **options)


@contextlib.contextmanager
def worker_running(*arguments):
    worker = Worker(*arguments)
    try:
        yield worker
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.stop()
        worker.process.kill()
        with Connection(AMQP_URL) as connection:
            connection.default_channel.queue_delete(QUEUE)


def tasks_and_results():
    app = new_app()
    results = [send(app, "add", number, 1) for number in range(50)]
    expect_equal([result.get(timeout=RESULT_SECONDS) for result in results], list(range(1, 51)), "results")
    failure = send(app, "fail", "as it should")
    try:
        failure.get(timeout=RESULT_SECONDS)
    except ValueError as error:
        expect_equal(str(error), "as it should", "text of the task's exception")
    else:
        raise AssertionError("the failing task did not fail")
    expect_equal(send(app, "flaky").get(timeout=RESULT_SECONDS), 1, "retries")


def inspect_ping():
    """Over pidbox: the worker's queue is transient and not exclusive, and bound to a fanout exchange."""
    command = celery_command(["inspect", "ping", "-d", WORKER, "--timeout", "10"], stdout=subprocess.PIPE)
    output, _ = command.communicate(timeout=RESULT_SECONDS)
    expect_equal(command.returncode, 0, "exit code of inspect ping")
    assert f"{WORKER}: OK" in output and "pong" in output, f"inspect ping printed {output!r}"


def remote_control():
    control = new_app().control.inspect(destination=[WORKER], timeout=5)
    expect_equal([q["name"] for q in control.active_queues()[WORKER]], [QUEUE], "active queues")
    assert "interop.add" in control.registered()[WORKER], "interop.add is not registered"


def eta():
    app = new_app()
    due = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1)
    result = send(app, "add", 20, 22, eta=due)
    expect_equal(result.get(timeout=RESULT_SECONDS), 42, "result")
    done = datetime.datetime.now(datetime.timezone.utc)
    assert done >= due, f"the task ran {due - done} before its time"


def recovery_after_kill():
    """The running worker connects again by itself and goes on working."""
    need_restart()
    restart_broker()
    app = new_app()
    results = [send(app, "add", number, 1) for number in range(20)]
    expect_equal([result.get(timeout=RESULT_SECONDS) for result in results], list(range(1, 21)), "results")


def worker_stops():
    expect_equal(worker.stop(), 0, "exit code after SIGTERM")


def queued_tasks_survive_kill():
    """No worker runs when the tasks are sent and the broker is killed; a new one executes them, in order."""
    need_restart()
    app = new_app()
    for number in range(50):
        send(app, "record", number, ignore_result=True)
    restart_broker()
    with worker_running():
        recorded = send(new_app(), "recorded").get(timeout=RESULT_SECONDS)
        expect_equal(recorded, list(range(50)), "tasks executed")


if __name__ == "__main__":
    with worker_running() as worker:
        run_checks(
            tasks_and_results,
            inspect_ping,
            remote_control,
            eta,
            recovery_after_kill,
            worker_stops,
            queued_tasks_survive_kill,
        )
