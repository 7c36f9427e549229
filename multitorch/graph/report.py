"""Explain compilations: which function, how long, and what made the program differ from before."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from typing import Any

from multitorch.graph.graph import Graph

log = logging.getLogger("multitorch.compiler")
KEPT = 1000
"""How many compilations `report` remembers."""
MANY = 4
"""From how many programs on, differing in shapes alone, buckets are advised."""


@dataclass(frozen=True)
class Compilation:
    """One program that was compiled."""

    function: str
    file: str
    line: int
    number: int
    """Which program of this function it is, from 1."""
    cause: str
    seconds: float
    """Time to the first result: compiling, and running once."""
    calls: int
    """Kernel calls in the program."""
    inputs: int

    def __str__(self) -> str:
        return (
            f"{self.function} ({self.file}:{self.line}): program {self.number}, "
            f"{self.calls} calls, {self.inputs} inputs, {self.seconds:.2f} s; {self.cause}"
        )


class Report(list):
    """Compilations, in order; printed one per line."""

    def __str__(self) -> str:
        if not self:
            return "nothing has been compiled"
        return "\n".join([*map(str, self), f"{sum(c.seconds for c in self):.2f} s in all"])


_compilations: deque[Compilation] = deque(maxlen=KEPT)


def report() -> Report:
    """List what has been compiled so far, the latest last.

    >>> print(multitorch.compiler.report())  # doctest: +SKIP
    step (train.py:12): program 1, 82 calls, 69 inputs, 0.61 s; the first call
    step (train.py:12): program 2, 82 calls, 69 inputs, 0.58 s; argument images: shape ...
    """
    return Report(_compilations)


def reset() -> None:
    """Forget the compilations so far."""
    _compilations.clear()


def note(compilation: Compilation) -> None:
    """Remember a compilation and log it."""
    _compilations.append(compilation)
    log.info("compiled %s", compilation)


# --- causes ---------------------------------------------------------------------------------------


def cause(known: list[Graph], graph: Graph) -> str:
    """Say in words why a recording is none of the programs that are there."""
    known = [g for g in known if g.segment == graph.segment]
    if not known:
        return f"what follows graph break {graph.segment}" if graph.segment else "the first call"
    before = min(reversed(known), key=lambda old: _distance(old, graph))
    inputs = _inputs(before, graph)
    if inputs:
        return "; ".join(inputs[:3]) + (f"; and {len(inputs) - 3} more" if len(inputs) > 3 else "")
    return _calls(before, graph) or _results(before, graph)


def _distance(before: Graph, graph: Graph) -> int:
    calls = sum(a.name != b.name for a, b in zip(before.calls, graph.calls, strict=False))
    return 1000 * (calls + abs(len(before.calls) - len(graph.calls))) + len(_inputs(before, graph))


def _inputs(before: Graph, graph: Graph) -> list[str]:
    """Describe the arguments, and inputs in the same place, whose shape or dtype differs."""
    now, then = _labelled(graph), _labelled(before)
    found = [
        f"{label}: {_change(then[label], now[label])}"
        for label in now
        if label in then and then[label] != now[label]
    ]
    found += [f"{label} is new" for label in now if label not in then]
    found += [f"{label} is gone" for label in then if label not in now]
    return found


def _labelled(graph: Graph) -> dict[str, Any]:
    keys = dict(zip(graph.inputs, graph.input_keys, strict=True))
    return {label: keys[number] for number, label in graph.labels.items() if number in keys}


def _change(before: Any, now: Any) -> str:
    if isinstance(before, type) or isinstance(now, type):
        return f"{_kind(before)} → {_kind(now)}"
    parts = []
    if before[0] != now[0]:
        parts.append(f"shape {tuple(before[0])} → {tuple(now[0])}")
    if before[1] != now[1]:
        parts.append(f"dtype {before[1]} → {now[1]}")
    return ", ".join(parts)


def _kind(key: Any) -> str:
    return f"a Python {key.__name__}" if isinstance(key, type) else f"{key[1]}{list(key[0])}"


def _calls(before: Graph, graph: Graph) -> str | None:
    for i, (a, b) in enumerate(zip(before.calls, graph.calls, strict=False)):
        if a.name != b.name:
            return f"another op: {b.name} where {a.name} was, at {graph.place(i)}"
        if a.params != b.params:
            old, new = dict(a.params), dict(b.params)
            for k, body in new.items():
                if isinstance(body, Graph) and isinstance(old.get(k), Graph) and body != old[k]:
                    return _calls(old[k], body) or f"another body of {b.name}, at {graph.place(i)}"
            changes = [f"{k} {old.get(k)!r} → {new[k]!r}" for k in new if old.get(k) != new[k]]
            return f"{b.name}: {', '.join(changes)}, at {graph.place(i)}"
        if a.ins != b.ins:
            return f"other operands of {b.name}, at {graph.place(i)}"
    shorter = min(len(before.calls), len(graph.calls))
    if len(graph.calls) > shorter:
        return f"more ops: {graph.calls[shorter].name} at {graph.place(shorter)}"
    if len(before.calls) > shorter:
        return f"fewer ops: no {before.calls[shorter].name} as at {before.place(shorter)}"
    return None


def _results(before: Graph, graph: Graph) -> str:
    if before.input_keys != graph.input_keys:
        pairs = enumerate(zip(before.input_keys, graph.input_keys, strict=False))
        i, (a, b) = next((i, p) for i, p in pairs if p[0] != p[1])
        return f"input {i}: {_change(a, b)}"
    return "other results are kept"


def only_shapes_change(causes: list[str]) -> bool:
    """Whether recompilations came again and again from the shapes of arguments."""
    return len(causes) >= MANY and all(": shape (" in c for c in causes[1:])
