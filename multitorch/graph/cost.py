"""What a compiled program costs, line by line of the user's code: the report of `cost()`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from multitorch.backend.ahead import NOWHERE, Account
from multitorch.graph.graph import Graph, Place

SHOWN = 30
"""How many lines a report shows."""
LOOPS = "loops count once, whatever their length: that is how XLA counts"
LIBRARIES = "calls into libraries (LAPACK and the like) have no flops in XLA's account"


class LineCost(NamedTuple):
    """What comes from one line of the user's code."""

    place: Place | None
    """None for work to which the compiler gives no origin."""
    flops: float
    bytes: int
    """Read and written; what stays inside a fused operation does not count."""
    share: float
    """Of the flops that all lines have; of the bytes if there are no flops."""
    kernels: tuple[str, ...]
    """Those that the line calls, the costliest first."""


class Cost(Mapping[str, float]):
    """XLA's account of a compiled program; `str()` is a table, and it is a mapping of the totals.

    `flops` and `bytes` are XLA's own totals, `peak_bytes` is the memory that the program takes, and
    `lines` says where they come from. XLA counts neither exp, log, tanh and the like as flops, nor
    what libraries compute, and the body of a loop once.
    """

    def __init__(self, account: Account, graph: Graph) -> None:
        self.flops, self.bytes = account.flops, account.accessed_bytes
        self.peak_bytes = account.peak_bytes
        self.lines = lines_of(account, graph)
        self._memory = {
            "argument": account.argument_bytes,
            "output": account.output_bytes,
            "alias": account.alias_bytes,
            "temp": account.temporary_bytes,
        }
        kinds = {o.kind for o in account.operations}
        self._notes = [LOOPS] * ("while" in kinds) + [LIBRARIES] * ("custom-call" in kinds)

    def _totals(self) -> dict[str, float]:
        memory = {f"{kind} bytes": float(n) for kind, n in self._memory.items()}
        return {"flops": self.flops, "bytes accessed": self.bytes} | memory

    def __getitem__(self, key: str) -> float:
        return self._totals()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._totals())

    def __len__(self) -> int:
        return len(self._totals())

    def __repr__(self) -> str:
        return f"Cost({self._totals()})"

    def __str__(self) -> str:
        memory = ", ".join(f"{kind} {size(n)}" for kind, n in self._memory.items() if n)
        head = [
            f"{number(self.flops)}flop, {size(self.bytes)} read and written; memory: peak "
            f"{size(self.peak_bytes)} ({memory})",
            f"{'flop':>8}{'share':>8}{'bytes':>11}  line",
        ]
        return "\n".join([*head, *table(self.lines), *self._notes])


def table(lines: Sequence[LineCost]) -> list[str]:
    """Return the rows of a report, the costliest lines first."""
    rows = [
        f"{number(line.flops):>8}{line.share:8.1%}{size(line.bytes):>11}  {_where(line)}"
        for line in lines[:SHOWN]
    ]
    rest = lines[SHOWN:]
    if rest:
        flops, moved = sum(r.flops for r in rest), sum(r.bytes for r in rest)
        rows.append(f"{number(flops):>8}{'':8}{size(moved):>11}  {len(rest)} lines more")
    return rows


def lines_of(account: Account, graph: Graph) -> list[LineCost]:
    """Attribute the work of a program's operations to the lines that called their kernels."""
    places = graph.places
    found: dict[Place | None, dict[str, list[float]]] = {}
    for operation in account.operations:
        for call, flops, moved in operation.shares:
            place, name = None, operation.kind
            if call != NOWHERE:
                place, name = places[call], graph.calls[call].name
            sums = found.setdefault(place, {}).setdefault(name, [0, 0])
            sums[0] += flops
            sums[1] += moved
    whole = _sum(sums for kernels in found.values() for sums in kernels.values())
    lines = [_line(place, kernels, whole) for place, kernels in found.items()]
    return sorted(lines, key=lambda line: (-line.flops, -line.bytes))


def _line(place: Place | None, kernels: dict[str, list[float]], whole: list[float]) -> LineCost:
    flops, moved = _sum(kernels.values())
    share = flops / whole[0] if whole[0] else moved / (whole[1] or 1)
    ranked = sorted(kernels, key=lambda name: [-n for n in kernels[name]])
    return LineCost(place, flops, int(moved), share, tuple(ranked))


def _sum(pairs: Any) -> list[float]:
    flops = moved = 0
    for pair in pairs:
        flops, moved = flops + pair[0], moved + pair[1]
    return [flops, moved]


def _where(line: LineCost) -> str:
    kernels = ", ".join(line.kernels[:3]) + (", …" if len(line.kernels) > 3 else "")
    place = "of no line: the compiler's own" if line.place is None else cite(line.place)
    return f"{place}  [{kernels}]"


# --- how people read numbers ----------------------------------------------------------------------


def cite(place: Place) -> str:
    """Return a place with the text of its line."""
    source = place.source
    return f"{place}  {source if len(source) <= 60 else source[:59] + '…'}".rstrip()


def size(n: float) -> str:
    """Return a number of bytes as people read it.

    >>> size(3 * 2**20)
    '3.0 MiB'
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(n) < 1024 or unit == "GiB":
            break
        n /= 1024
    return f"{n:.0f} B" if unit == "B" else f"{n:.1f} {unit}"


def number(n: float) -> str:
    """Return a number with the prefix of a unit.

    >>> number(2.5e9)
    '2.5 G'
    """
    for prefix in ("", "k", "M", "G", "T"):
        if n < 1000 or prefix == "T":
            break
        n /= 1000
    return f"{n:.3g} {prefix}"


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it.

    >>> duration(0.0021)
    '2.1 ms'
    """
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 1 or unit == "µs":
            break
    return f"{seconds * factor:.3g} {unit}"
