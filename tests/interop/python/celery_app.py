"""The Celery application of the checks; both the worker and the program that sends it tasks load it.

INTEROP_QUEUE names the task queue, so that runs against one broker do not meet.
"""

import os

from celery import Celery

QUEUE = os.environ["INTEROP_QUEUE"]


def new_app():
    celery = Celery("interop", broker=os.environ["AMQP_URL"], backend="rpc://")
    celery.conf.update(
        task_default_queue=QUEUE,
        broker_transport_options={"confirm_publish": True},
        broker_connection_retry_on_startup=True,
        result_expires=60,  # result queues nobody read go after a minute
    )
    return celery


app = new_app()
recorded_numbers = []


@app.task(name="interop.add")
def add(left, right):
    return left + right


@app.task(name="interop.fail")
def fail(text):
    raise ValueError(text)


@app.task(name="interop.flaky", bind=True, max_retries=2)
def flaky(self):
    """Fails once; the retry goes through the broker with an ETA."""
    if self.request.retries == 0:
        raise self.retry(countdown=0.1)
    return self.request.retries


@app.task(name="interop.record")
def record(number):
    recorded_numbers.append(number)


@app.task(name="interop.recorded")
def recorded():
    """What `record` was given, in order of execution; the threads pool shares the worker's memory."""
    return recorded_numbers
