"""A pytest plugin for sessions that end: outcomes are kept as they come, and what has one is over.

    python -m pytest -p tests.tpu.resume --device tpu --results results.jsonl --minutes 100

Each test leaves a line when it starts and one when it ends. Run again, the command goes on where it
stopped; a test that started and never ended took the process with it, and counts as crashed.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

CRASHED = "crashed"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("resume")
    group.addoption("--results", required=True, help="the file that keeps the outcomes")
    group.addoption("--minutes", type=float, default=1e6, help="stop after so long")


def pytest_configure(config: pytest.Config) -> None:
    path = Path(config.getoption("--results"))
    config.pluginmanager.register(Resume(path, config.getoption("--minutes")), "resuming")


def outcomes(path: Path) -> dict[str, tuple[str, str]]:
    """Return each test's outcome and, if it is a failure, the end of its text."""
    found: dict[str, tuple[str, str]] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            entry = json.loads(line)
        except ValueError:  # the session ended in the middle of it
            continue
        found[entry["test"]] = entry["outcome"], entry.get("text", "")
    return found


class Resume:
    """Keeps the outcomes of one run in a file."""

    def __init__(self, path: Path, minutes: float) -> None:
        self.path, self.end = path, time.monotonic() + 60 * minutes
        self.before = outcomes(path)

    def _write(self, **entry: Any) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list) -> None:
        """Take away the tests that have an outcome."""
        over = [item for item in items if item.nodeid in self.before]
        config.hook.pytest_deselected(items=over)
        items[:] = [item for item in items if item.nodeid not in self.before]

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Note that a test begins: if nothing follows, it crashed."""
        self._write(test=nodeid, outcome=CRASHED)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the outcome; what fails while a test is set up or torn down is a failure, too."""
        if report.failed:
            self._write(test=report.nodeid, outcome="failed", text=report.longreprtext[-2000:])
            self.before[report.nodeid] = "failed", ""
        elif report.when == "call" or report.skipped:
            outcome = "xfailed" if hasattr(report, "wasxfail") else report.outcome
            self._write(test=report.nodeid, outcome=outcome)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        """Stop after this test if the time is up."""
        if time.monotonic() > self.end:
            item.session.shouldstop = "the time is up: run the same command again to go on"
