"""What the Python programs share: named checks with a time limit, unique names, and the broker's kill and restart."""

import inspect
import os
import secrets
import signal
import sys
import traceback
import urllib.request

AMQP_URL = os.environ["AMQP_URL"]
CONTROL_URL = os.environ.get("CONTROL_URL")
CHECK_SECONDS = 60
RESTART_SECONDS = 60
PREFIX = f"interop.{os.path.basename(sys.argv[0]).removesuffix('_client.py')}.{secrets.token_hex(4)}"

# The tutorial's routing keys, and in order those that must reach Q1 and Q2 under these bindings.
Q1_BINDINGS = ["*.orange.*"]
Q2_BINDINGS = ["*.*.rabbit", "lazy.#"]
TOPIC_KEYS = [
    "quick.orange.rabbit",
    "lazy.orange.elephant",
    "lazy.brown.fox",
    "lazy.pink.rabbit",
    "quick.brown.fox",
    "orange",
    "quick.orange.male.rabbit",
    "lazy.orange.male.rabbit",
]
Q1_EXPECTED = ["quick.orange.rabbit", "lazy.orange.elephant"]
Q2_EXPECTED = [
    "quick.orange.rabbit",
    "lazy.orange.elephant",
    "lazy.brown.fox",
    "lazy.pink.rabbit",
    "lazy.orange.male.rabbit",
]


class Skip(Exception):
    """Raised by a check that cannot run here."""


class CheckTimeout(BaseException):
    """Raised in a check that takes too long; not an Exception, because clients take those for a lost connection."""


def unique(name):
    return f"{PREFIX}.{name}"


def need_restart():
    """Skips the check when the broker cannot be restarted; called first, so that nothing is left in the broker."""
    if CONTROL_URL is None:
        raise Skip("this broker was not started by the harness and cannot be restarted")


def restart_broker():
    """Has the harness kill the broker with SIGKILL and start it again; returns when it answers."""
    with urllib.request.urlopen(f"{CONTROL_URL}/restart", data=b"", timeout=RESTART_SECONDS):
        pass


def expect_equal(got, expected, what):
    if got != expected:
        raise AssertionError(f"{what}: got {got!r}, expected {expected!r}")


def raise_timeout(*_):
    raise CheckTimeout(f"no end after {CHECK_SECONDS} s")


def run_checks(*checks):
    """Runs each check under its time limit, prints its result line and exits, with 1 when any failed.

    A coroutine function may be among them: `run_checks` then drives it with asyncio.
    """
    signal.signal(signal.SIGALRM, raise_timeout)
    failed = False
    for check in checks:
        name = check.__name__.replace("_", "-")
        signal.alarm(CHECK_SECONDS)
        try:
            if inspect.iscoroutinefunction(check):
                import asyncio

                asyncio.run(check())
            else:
                check()
            print(f"ok {name}", flush=True)
        except Skip as reason:
            print(f"skip {name}: {reason}", flush=True)
        except (Exception, CheckTimeout) as error:
            failed = True
            traceback.print_exc()
            text = " ".join(str(error).split()) or "no text"
            print(f"FAIL {name}: {type(error).__name__}: {text}", flush=True)
        finally:
            signal.alarm(0)
    sys.exit(1 if failed else 0)
