"""What the steps of a `scan` have in common and what differs: carries, slices, random numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from multitorch.graph.body import Scope, Unrecordable, raw
from multitorch.ops.apply import wrap
from multitorch.random.generator import Draw

_INT64 = np.dtype(np.int64)


class Steps:
    """A body, and which of its inputs are carried from step to step, or belong to one step."""

    def __init__(
        self, scope: Scope, first: list[int], each: list[int], length: int, reverse: bool
    ) -> None:
        self.scope, self.first, self.each = scope, first, each
        self.length, self.reverse = length, reverse
        self._marks = {number: mark for mark, number in scope.marks.items()}

    def mark(self, number: int) -> Any:
        """Return the node that stands for an input on the tape, None if it has no gradient."""
        return self._marks.get(number)

    def needs(
        self, asked: Sequence[bool], sources: Sequence[dict[Any, Any]]
    ) -> tuple[set[int], list[int]]:
        """Return the carries through which gradients flow, and the outputs that require grad.

        `asked` says which carries require grad at the beginning.
        """
        places = {self.mark(n): k for k, n in enumerate(self.first) if self.mark(n) is not None}
        live = {k for k, wanted in enumerate(asked) if wanted and sources}

        def leads(found: dict[Any, Any]) -> bool:
            return any(key not in places or places[key] in live for key in found)

        while more := {k for k in places.values() if k not in live and leads(sources[k])}:
            live |= more
        return live, [i for i, found in enumerate(sources) if leads(found)]

    def keep_carries(self, live: set[int]) -> None:
        """Make the carries that each step begins with outputs, too."""
        graph = self.scope.graph
        keys = dict(zip(graph.inputs, graph.input_keys, strict=True))
        for k, number in enumerate(self.first):
            graph.outputs.append(number)
            graph.results.append(keys[number])
            self.scope.edges.append(self.mark(number) if k in live else None)


# --- random numbers -------------------------------------------------------------------------------


def spread(scope: Scope, steps: Steps, dev: Any, like: Any) -> list[Any]:
    """Give each step random numbers of its own, those that it would draw in a Python loop.

    Returns the arrays, whose slices take the place of inputs of the body; `like` is on the device.
    """
    r = scope.recording
    accounted = r.accounted
    arrays = [*_numbered(scope, steps, like), *_redrawn(scope, steps, dev)]
    r.accounted = accounted
    graph = scope.graph
    for place, array in arrays:
        steps.each.append(graph.inputs[place])
        graph.input_keys[place] = tuple(array.shape[1:]), np.dtype(array.dtype)
    return [array for _, array in arrays]


def _numbered(scope: Scope, steps: Steps, like: Any) -> list[tuple[int, Any]]:
    """Return the numbers of the device's draws: (place among the inputs, one for each step)."""
    r, draws = scope.recording, scope.state["draws"]
    found = []
    for generator in dict.fromkeys([g for _, g, _ in draws]):
        places = {place: count for place, g, count in draws if g is generator}
        each, total = sum(places.values()), steps.length * sum(places.values())
        begin = scope.values[next(iter(places))]
        if each != generator._offset - begin:
            raise Unrecordable(f"{scope.name}: its body sets the state of a generator")
        generator.next_draw(total - each)
        draw = Draw(begin)
        draw.generator, draw.count = generator, total
        step = r.iota(like, size=steps.length, dtype=_INT64)
        numbers = r.add(r.mul(step, -each if steps.reverse else each), draw)
        before = (total - each if steps.reverse else 0) - begin
        found += [(p, r.add(numbers, scope.values[p] + before)) for p in places]
    return found


def _redrawn(scope: Scope, steps: Steps, dev: Any) -> list[tuple[int, Any]]:
    """Return the host's draws, stacked: (place among the inputs, array)."""
    redraws = scope.state["redraws"]
    if not redraws:
        return []
    r, backend = scope.recording, dev.backend
    drawing = _AllSteps([again for _, again in redraws], steps, backend, dev)
    stacks = drawing.stacked([scope.values[place] for place, _ in redraws])
    found = []
    for i, (place, _) in enumerate(redraws):
        t = wrap(stacks[i], dev)
        r.redraw(t, drawing.of(i))
        found.append((place, raw(t)))
    return found


class _AllSteps:
    """Draws on the host for all steps, in the order of a Python loop."""

    def __init__(self, agains: list[Callable], steps: Steps, backend: Any, dev: Any) -> None:
        self._agains, self._backend, self._dev = agains, backend, dev
        self._length, self._reverse = steps.length, steps.reverse
        self._stacks: list[Any] = []

    def stacked(self, first: list[Any]) -> list[Any]:
        """Draw what the other steps need beside the `first`; return arrays with a row for each."""
        rows = [first]
        rows += [[again() for again in self._agains] for _ in range(self._length - 1)]
        if self._reverse:
            rows.reverse()
        get, put, dev = self._backend.get, self._backend.put, self._dev
        return [
            put(np.stack([np.asarray(get(a)) for a in column]), type=dev.type, index=dev.ordinal)
            for column in zip(*rows, strict=True)
        ]

    def of(self, i: int) -> Callable:
        """Return how to draw the `i`-th stack again: the first draws for all of them."""

        def again() -> Any:
            if i == 0:
                self._stacks = self.stacked([again() for again in self._agains])
            return self._stacks[i]

        return again
