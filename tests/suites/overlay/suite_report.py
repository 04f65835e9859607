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
    return " ".join((place.message if place else str(report.longrepr)).split())[:400]


def pytest_runtest_logreport(report):
    # One call line a test, and a set-up or tear-down line only where that went wrong or skipped the test.
    if report.when == "call" or report.outcome != "passed":
        failed = report.outcome == "failed"
        write(test=report.nodeid, outcome=report.outcome, message=crash(report) if failed else "")


def pytest_collectreport(report):
    if report.failed:
        write(test=report.nodeid, outcome="failed", message=crash(report))


def pytest_addoption(parser):
    parser.addoption("--only-listed", help="run the tests whose ids this file lists, one a line")
    parser.addoption("--skip-listed", help="leave out the tests, or whole files, that this file lists")


def listed(config, option):
    """The lines of the file that an option names, or None."""
    path = config.getoption(option)
    if path is None:
        return None
    with open(path, encoding="utf-8") as lines:
        return set(lines.read().splitlines())


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    only, skip = listed(config, "--only-listed"), listed(config, "--skip-listed") or ()
    items[:] = [
        item for item in items
        if (only is None or item.nodeid in only)
        and not (item.nodeid in skip or item.nodeid.split("::")[0] in skip)
    ]
