"""A pytest plugin that writes each test's outcome as a line of JSON to SUITES_REPORT, for `tests/suites/run`."""
import json
import os

import pytest


def write(**line):
    with open(os.environ["SUITES_REPORT"], "a", encoding="utf-8") as report:
        report.write(json.dumps(line) + "\n")


def crash(report):
    """The message of a failure, on one line."""
    place = getattr(report.longrepr, "reprcrash", None)
    return " ".join((place.message if place else str(report.longrepr)).split())[:200]


def pytest_runtest_logreport(report):
    # One call line a test, and a set-up or tear-down line only where that went wrong or skipped the test.
    if report.when == "call" or report.outcome != "passed":
        failed = report.outcome == "failed"
        write(test=report.nodeid, outcome=report.outcome, message=crash(report) if failed else "")


def pytest_collectreport(report):
    if report.failed:
        write(test=report.nodeid, outcome="failed", message=crash(report))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    # In the environment, one a line: a value of an option would sway where pytest looks for the suite's own settings.
    only = set(os.environ.get("SUITES_ONLY", "").splitlines())
    skip = set(os.environ.get("SUITES_SKIP", "").splitlines())
    items[:] = [
        item for item in items
        if (not only or item.nodeid in only)
        and item.nodeid not in skip and item.nodeid.split("::")[0] not in skip
    ]
