"""Read a compiled program's text: which operations it runs, how long they take, what they do."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from typing import NamedTuple

from multitorch.backend.ahead import Operation

SCOPE = "call"
"""Each call of a graph is lowered under a scope of this name and its number."""
_CALL = re.compile(rf"/{SCOPE}(\d+)[/\"]")
_TYPE = re.compile(r"\b(pred|bf16|[a-z]+\d+[a-z0-9]*)\[([\d,]*)\]")
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_CALLEES = re.compile(
    r"(?:calls|body|to_apply|branch_computations)=\{?(%[^,}\s]+(?:, *%[^,}\s]+)*)"
)
_FREE = frozenset(
    "parameter constant get-tuple-element tuple bitcast iota after-all copy-start copy-done "
    "async-start async-update async-done slice-start slice-done partition-id".split()
)
"""What takes no time, or is done beside the rest."""
_SIZES = {"pred": 1, "c64": 8, "c128": 16}


class Line(NamedTuple):
    """One instruction."""

    name: str
    type: str
    opcode: str
    rest: str


def computations(text: str) -> tuple[dict[str, list[Line]], str]:
    """Return a program's computations by name, and the name of the one that it starts with."""
    found: dict[str, list[Line]] = defaultdict(list)
    name = entry = ""
    for line in text.splitlines():
        if line.endswith("{") and " -> " in line and not line.startswith(" "):
            name = line.removeprefix("ENTRY ").split(" ", 1)[0]
            entry = name if line.startswith("ENTRY ") else entry
        elif line.startswith("  ") and " = " in line:
            found[name].append(_line(line.strip().removeprefix("ROOT ")))
    return found, entry


def _line(text: str) -> Line:
    name, _, rest = text.partition(" = ")
    depth = end = 0
    while rest[end] != " " or depth:  # a tuple's type has spaces in its parentheses
        depth += (rest[end] == "(") - (rest[end] == ")")
        end += 1
    opcode, _, after = rest[end + 1 :].partition("(")
    return Line(name, rest[:end], opcode, after)


def size_of(type: str) -> int:
    """Return the bytes of a type, tuples included.

    >>> size_of("(f32[2,3]{1,0}, s8[4])")
    28
    """
    total = 0.0
    for dtype, dims in _TYPE.findall(type):
        bits = re.search(r"\d+", dtype)
        each = _SIZES.get(dtype) or (int(bits.group()) / 8 if bits else 4)
        total += each * math.prod(int(n) for n in dims.split(",") if n)
    return math.ceil(total)


class Program:
    """A compiled program, read for a chip of a given clock and memory bandwidth."""

    def __init__(self, text: str, clock: float, bandwidth: float) -> None:
        self.parts, self.entry = computations(text)
        self.clock, self.bandwidth = clock, bandwidth

    def operations(self) -> list[Operation]:
        """Return the operations that take time, the longest first."""
        types = {line.name: line.type for line in self.parts[self.entry]}
        found = []
        for line in self.parts[self.entry]:
            if line.opcode not in _FREE:
                found.append(
                    Operation(
                        line.name.lstrip("%"),
                        line.opcode,
                        self._seconds(line, types),
                        self._bytes(line, types),
                        tuple(sorted(self._calls(line))),
                    )
                )
        return sorted(found, key=lambda o: -o.seconds)

    def _bytes(self, line: Line, types: dict[str, str]) -> int:
        operands = re.findall(r"%[\w.-]+", line.rest.split("), ", 1)[0])
        return size_of(line.type) + sum(size_of(types.get(name, "")) for name in operands)

    def _seconds(self, line: Line, types: dict[str, str]) -> float:
        """Return the compiler's cycles as time; where it gives none, the time to move the data."""
        if line.opcode in ("while", "conditional", "call"):
            parts = [self._whole(name) for name in _callees(line)]
            trips = _TRIPS.search(line.rest)
            times = int(trips.group(1)) if trips else 1
            return times * (max(parts, default=0) if line.opcode == "conditional" else sum(parts))
        cycles = _CYCLES.search(line.rest)
        if cycles:
            return int(cycles.group(1)) / self.clock
        return self._bytes(line, types) / self.bandwidth

    def _whole(self, name: str) -> float:
        lines = self.parts[name]
        types = {line.name: line.type for line in lines}
        return sum(self._seconds(line, types) for line in lines if line.opcode not in _FREE)

    def _calls(self, line: Line) -> set[int]:
        found = {int(n) for n in _CALL.findall(line.rest)}
        for name in _callees(line):
            for inner in self.parts.get(name, ()):
                found |= self._calls(inner)
        return found


def _callees(line: Line) -> list[str]:
    return [name for group in _CALLEES.findall(line.rest) for name in re.split(r", *", group)]
