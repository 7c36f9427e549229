"""What a program would cost on hardware that is not there: the report of `estimate`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from multitorch.backend.ahead import Ahead
from multitorch.graph.cost import LineCost, cite, duration, lines_of, number, size
from multitorch.graph.graph import Place
from multitorch.graph.inspect import Recorded

SHOWN = 8
"""How many operations a report lists."""
LEAST = 0.001
"""The share of the time from which on they are listed."""


class OperationCost(NamedTuple):
    """One operation of the compiled program, and where in the user's code it comes from."""

    name: str
    kernels: tuple[str, ...]
    seconds: float
    share: float
    """Of the time that all operations take."""
    bytes: int
    places: tuple[Place, ...]


class HostWork(NamedTuple):
    """Something for which the program leaves the device."""

    what: str
    why: str
    place: Place | None


@dataclass
class Estimate(Ahead):
    """The compiler's account of a step, with lines of the user's code; `str()` is the report.

    `peak_bytes`, `capacity`, `argument_bytes`, `temporary_bytes`, `output_bytes`, `flops`,
    `accessed_bytes` and `seconds` are plain numbers, for use in tests.
    """

    topology: str = ""
    costs: list[OperationCost] = field(default_factory=list)
    """The operations, the longest first."""
    lines: list[LineCost] = field(default_factory=list)
    """Flops and bytes by the lines of the user's code, as `cost()` of a compiled function has."""
    host_work: list[HostWork] = field(default_factory=list)
    """What would fall to the host."""
    stopped: HostWork | None = None
    """Where the recording had to end: what comes after is not in the numbers."""

    @property
    def fits(self) -> bool:
        """Whether the program fits into the chip's memory."""
        return not self.out_of_memory and self.peak_bytes <= self.capacity

    def __str__(self) -> str:
        return "\n".join([*self._memory(), *self._work(), *self._operations(), *self._host()])

    def _memory(self) -> list[str]:
        chips = "its chip" if self.chips == 1 else f"one of its {self.chips} chips"
        verdict = "fits" if self.fits else "DOES NOT FIT"
        peak = f"{size(self.peak_bytes)} of {size(self.capacity)}"
        share = f"{self.peak_bytes / self.capacity:.1%}"
        parts = {
            "arguments": self.argument_bytes, "outputs": self.output_bytes,
            "given back in place": -self.alias_bytes, "temporaries": self.temporary_bytes,
            "code": self.code_bytes,
        }  # fmt: skip
        lines = [
            f"{self.topology}: {self.chip}, {chips}; compiled in {self.compile_seconds:.1f} s",
            f"memory  peak {peak} ({share}): {verdict}",
            *[f"        {size(n):>10} {kind}" for kind, n in parts.items() if n],
        ]
        return [*lines, f"        {self.out_of_memory}"] if self.out_of_memory else lines

    def _work(self) -> list[str]:
        if self.out_of_memory:
            return []
        total = duration(sum(cost.seconds for cost in self.costs))
        return [
            f"work    {number(self.flops)}flop, {size(self.accessed_bytes)} read and written",
            f"time    {duration(self.seconds)} at best, the compiler says; its operations, one by "
            f"one, take {total}",
        ]

    def _operations(self) -> list[str]:
        groups: dict[Any, list[OperationCost]] = {}
        for cost in self.costs:  # layers that are alike are one entry
            groups.setdefault((cost.kernels or cost.name, cost.places), []).append(cost)
        ranked = sorted(groups.values(), key=lambda group: -sum(c.share for c in group))
        lines = []
        for group in ranked[:SHOWN]:
            share = sum(c.share for c in group)
            if share < LEAST:
                break
            first, seconds = group[0], sum(c.seconds for c in group)
            name = ", ".join(first.kernels[:3]) + (", …" if len(first.kernels) > 3 else "")
            times = f" ({len(group)} times)" if len(group) > 1 else ""
            lines.append(f"{share:6.1%} {duration(seconds):>9}  {name or first.name}{times}")
            lines += [f"{'':18}{cite(place)}" for place in first.places[:3]]
        return ["dominant operations", *lines] if lines else []

    def _host(self) -> list[str]:
        lines = [f"        {w.what}: {w.why}{_at(w.place)}" for w in self.host_work]
        if self.stopped is not None:
            lines.append(
                f"        the estimate ends at {self.stopped.what}: {self.stopped.why}"
                f"{_at(self.stopped.place)}"
            )
        return ["on the host", *lines] if lines else ["on the host: nothing"]


def make(account: Ahead, recorded: Recorded, topology: str) -> Estimate:
    """Join the compiler's account of a graph with what the recording knows of it."""
    calls, places = recorded.graph.calls, recorded.graph.places
    total = sum(o.seconds for o in account.operations) or 1.0
    costs = []
    for o in account.operations:
        lines = dict.fromkeys([p for i in o.calls if (p := places[i]) is not None])
        kernels = tuple(dict.fromkeys([calls[i].name for i in o.calls]))
        share = o.seconds / total
        costs.append(OperationCost(o.name, kernels, o.seconds, share, o.bytes, tuple(lines)))
    work = [HostWork(calls[i].name, why, places[i]) for i, why in sorted(account.host.items())]
    work += [
        HostWork(f"a value is read, {what}", "the estimate goes on with zeros", place)
        for place, what in recorded.reads
    ]
    stopped = None
    if recorded.stopped is not None:
        place, why = recorded.stopped
        stopped = HostWork("a result that only data can tell", why, place)
    return Estimate(
        **vars(account),
        topology=topology,
        costs=costs,
        lines=lines_of(account, recorded.graph),
        host_work=list(dict.fromkeys(work)),
        stopped=stopped,
    )


def _at(place: Place | None) -> str:
    return "" if place is None else f" [{cite(place)}]"
