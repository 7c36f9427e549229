"""What a compiled program does: operations, their time, flops and bytes, where they come from."""

from __future__ import annotations

import re
from collections.abc import Iterator

from multitorch.backend.ahead import NOWHERE, Operation, Share
from multitorch_jax.flops import NESTED, Flops
from multitorch_jax.hlo import Line, Text, size_of

_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_FREE = frozenset(
    "parameter constant get-tuple-element tuple bitcast iota after-all copy-start copy-done "
    "async-start async-update async-done slice-start slice-done partition-id".split()
)
"""What takes no time, or is done beside the rest."""
_SLICES = frozenset(("dynamic-slice", "gather", "slice"))
_FLOW = NESTED - {"fusion"}


class Program:
    """A compiled program, read for a chip of a given clock and memory bandwidth.

    Without these its operations have no times.
    """

    def __init__(self, text: str, clock: float = 0.0, bandwidth: float = 0.0) -> None:
        self.text = Text(text)
        self.flops = Flops(self.text)
        self.clock, self.bandwidth = clock, bandwidth
        self._used: dict[str, dict[str, list[Line]]] = {}

    def operations(self) -> list[Operation]:
        """Return the operations that take time, the longest first."""
        text, found = self.text, []
        origins = self._origins(text.entry, NOWHERE)
        types = text.types(text.entry)
        for line in text.parts[text.entry]:
            if line.opcode not in _FREE:
                shares = _added(self._shares(line, types, origins[line.name]))
                found.append(
                    Operation(
                        line.name.lstrip("%"),
                        line.opcode,
                        self._seconds(line, types),
                        sum(share.bytes for share in shares),
                        tuple(sorted(self._calls(line))),
                        sum(share.flops for share in shares),
                        tuple(shares),
                    )
                )
        return sorted(found, key=lambda o: -o.seconds)

    def _calls(self, line: Line) -> set[int]:
        inner = [self._calls(i) for name in line.callees for i in self.text.parts[name]]
        return set(line.calls).union(*inner)

    # --- time

    def _seconds(self, line: Line, types: dict[str, str]) -> float:
        """Return the compiler's cycles as time; where it gives none, the time to move the data."""
        if not self.clock:
            return 0.0
        if line.opcode in ("while", "conditional", "call"):
            parts = [self._whole(name) for name in line.callees]
            trips = _TRIPS.search(line.rest)
            times = int(trips.group(1)) if trips else 1
            return times * (max(parts, default=0) if line.opcode == "conditional" else sum(parts))
        cycles = _CYCLES.search(line.rest)
        if cycles:
            return int(cycles.group(1)) / self.clock
        return sum(s.bytes for s in self._shares(line, types, NOWHERE)) / self.bandwidth

    def _whole(self, name: str) -> float:
        lines, types = self.text.parts[name], self.text.types(name)
        return sum(self._seconds(line, types) for line in lines if line.opcode not in _FREE)

    # --- flops and bytes

    def _shares(self, line: Line, types: dict[str, str], origin: int) -> Iterator[Share]:
        """Say what an instruction computes and moves for each call that went into it."""
        if line.opcode in _FLOW:
            for name in self._taken(line):
                yield from self._inside(name, origin, moves=True)
        elif line.opcode == "fusion":
            for name in line.callees:
                yield from self._inside(name, origin, moves=False)
                yield from self._boundary(line, name, origin)
        else:
            yield Share(origin, self.flops.of(line, types), _moved(line, types))

    def _taken(self, line: Line) -> list[str]:
        if line.opcode == "conditional":
            return sorted(line.callees, key=self.flops.whole)[-1:]
        return line.callees

    def _inside(self, name: str, origin: int, moves: bool) -> Iterator[Share]:
        origins, types = self._origins(name, origin), self.text.types(name)
        for line in self.text.parts[name]:
            if line.opcode not in _FREE:
                for share in self._shares(line, types, origins[line.name]):
                    yield share if moves else share._replace(bytes=0)

    def _boundary(self, fusion: Line, name: str, origin: int) -> Iterator[Share]:
        """Attribute what a fusion reads to its first use inside, what it writes to its origin."""
        origins, lines = self._origins(name, origin), self.text.parts[name]
        for line in lines:
            if line.opcode == "parameter":
                used = self._uses(name).get(line.name)
                at = origins[used[0].name] if used else origin
                yield Share(at, 0, self._read(line, name))
            if line.root:
                results = line.operands if line.opcode == "tuple" else [line.name]
                for part in (n for n in lines if n.name in results):
                    yield Share(origins[part.name], 0, _written(part, self.text.types(name)))

    def _read(self, value: Line, name: str) -> int:
        """Return how much a fusion reads of a value: all, or the slices that it takes."""
        total, size = 0, size_of(value.type)
        for user in self._uses(name).get(value.name, ()):
            first = user.operands[0] == value.name
            if user.opcode == "fusion":
                inner = user.callees[0]
                lines, operands = self.text.parts[inner], enumerate(user.operands)
                places = [i for i, operand in operands if operand == value.name]
                total += sum(self._read(_parameter(lines, i), inner) for i in places)
            elif first and user.opcode in _SLICES:
                total += size_of(user.type)
            elif not (first and user.opcode == "dynamic-update-slice"):
                return size
        return min(total, size)

    def _uses(self, name: str) -> dict[str, list[Line]]:
        """Return the lines of a computation that use a value, by the value's name."""
        if name not in self._used:
            found: dict[str, list[Line]] = {}
            for line in self.text.parts[name]:
                for operand in dict.fromkeys(line.operands):
                    found.setdefault(operand, []).append(line)
            self._used[name] = found
        return self._used[name]

    # --- which call an instruction comes from

    def _origins(self, name: str, inherited: int) -> dict[str, int]:
        """Return the call of each instruction of a computation.

        The compiler forgets where some of its instructions come from. They belong to the first that
        uses them, or if that is not known either, to what they use.
        """
        lines = self.text.parts[name]
        own = {line.name: call for line in lines if (call := self._origin(line)) != NOWHERE}
        found = dict(own)
        for line in reversed(lines):
            if line.name in found:
                users = self._users(line, found[line.name])
                found |= {n: users[i] for i, n in enumerate(line.operands) if n not in own}
        for line in lines:
            if line.name not in found:
                known = [found[n] for n in line.operands if found.get(n, NOWHERE) != NOWHERE]
                found[line.name] = known[0] if known else inherited
        return found

    def _users(self, line: Line, origin: int) -> list[int]:
        """Return per operand of an instruction the call that uses it."""
        if line.opcode != "fusion":
            return [origin] * len(line.operands)
        name = line.callees[0]
        origins, uses, found = self._origins(name, origin), self._uses(name), []
        for place in range(len(line.operands)):
            used = uses.get(_parameter(self.text.parts[name], place).name)
            found.append(origins[used[0].name] if used else origin)
        return found

    def _origin(self, line: Line) -> int:
        """Return the call that an instruction says it comes from, or else the last inside it."""
        if line.calls:
            return line.calls[0]
        inside = [inner for name in line.callees for inner in reversed(self.text.parts[name])]
        return next((c for inner in inside if (c := self._origin(inner)) != NOWHERE), NOWHERE)


def _parameter(lines: list[Line], place: int) -> Line:
    return next(n for n in lines if n.opcode == "parameter" and n.rest.startswith(f"{place})"))


def _moved(line: Line, types: dict[str, str]) -> int:
    """Return the bytes that an instruction reads and writes."""
    given = [size_of(types.get(name, "")) for name in line.operands]
    if line.opcode in _SLICES:
        return 2 * size_of(line.type) + sum(given[1:])
    if line.opcode == "dynamic-update-slice":
        return 2 * given[1] + sum(given[2:])
    if line.opcode == "scatter":
        return 2 * given[-1] + sum(given[1:])
    return size_of(line.type) + sum(given)


def _written(line: Line, types: dict[str, str]) -> int:
    """Return the bytes of a fusion's result: what is updated in place counts by its update."""
    if line.opcode == "dynamic-update-slice":
        return size_of(types.get(line.operands[1], ""))
    return size_of(line.type)


def _added(shares: Iterator[Share]) -> list[Share]:
    """Return one share for each call."""
    found: dict[int, Share] = {}
    for call, flops, moved in shares:
        before = found.get(call, Share(call, 0, 0))
        found[call] = Share(call, before.flops + flops, before.bytes + moved)
    return [s for s in found.values() if s.flops or s.bytes]
