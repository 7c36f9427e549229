"""What is known to differ from PyTorch: reason -> lines of `property op device`.

`*` stands for anything. Each entry is a strict expected failure: remove what has come to work.
"""

from __future__ import annotations

import functools
from fnmatch import fnmatchcase

GAPS: dict[str, str] = {}


@functools.cache
def _table() -> list[tuple[str, str, str, str]]:
    lines = [(line.split(), reason) for reason, text in GAPS.items() for line in text.splitlines()]
    return [(*fields, reason) for fields, reason in lines if fields]


def gap(property: str, op: str, device: str) -> str | None:
    """Return why a check is known to fail, None if it is not."""
    for a, b, c, reason in _table():
        if b in (op, "*") and fnmatchcase(property, a) and fnmatchcase(device, c):
            return reason
    return None
