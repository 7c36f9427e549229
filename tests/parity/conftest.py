"""Options of the comparison with PyTorch's operator database, and the table at its end."""

from __future__ import annotations

import re
from typing import Any

import pytest

_CHECK = re.compile(r"test_op_db\.py::test_agrees_with_pytorch\[(.+)-([^-]+)\]$")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("multitorch")
    group.addoption("--samples", type=int, help="samples per op of the database; 0 runs all")
    group.addoption("--tpu-ops", action="store_true", help="compile every op for a TPU, not a few")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print passed / in scope for each property and backend."""
    counts: dict[str, dict[str, list[int]]] = {}
    for outcome in ("passed", "failed", "xfailed"):
        for report in terminalreporter.stats.get(outcome, ()):
            found = _CHECK.search(report.nodeid)
            if found:
                row = counts.setdefault(_property_of(found[1]), {})
                cell = row.setdefault(found[2], [0, 0])
                cell[0] += outcome == "passed"
                cell[1] += 1
    if not counts:
        return
    places = sorted({place for row in counts.values() for place in row})
    terminalreporter.section("PyTorch's operator database: passed / in scope")
    terminalreporter.write_line(" " * 20 + "".join(f"{place:>16}" for place in places))
    for name, row in counts.items():
        cells = ["{} / {}".format(*row[place]) if place in row else "" for place in places]
        terminalreporter.write_line(f"{name:20}" + "".join(f"{cell:>16}" for cell in cells))


def _property_of(id: str) -> str:
    """Return the property in 'gradient-second-cat'."""
    from tests.parity.checks import CHECKS

    return max((name for name in CHECKS if id.startswith(f"{name}-")), key=len)
