"""Where a compiled function's states live, and who else refers to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from sys import getrefcount
from typing import Any

from multitorch.backend import registry


class _Holder:
    __slots__ = ("_a",)

    def __init__(self) -> None:
        self._a: Any = object()


def _references(t: Any) -> int:
    return getrefcount(t._a)


_ONE = _references(_Holder())
"""What `_references` finds if nobody else refers to the array."""


def is_sole_owner(t: Any) -> bool:
    """Whether nothing but the tensor refers to its array: no view, no NumPy user, no saved value.

    The caller must not refer to the array either.
    """
    return _references(t) == _ONE


def settle(t: Any) -> None:
    """Move a state's memory to where programs can use it, if that can go unnoticed."""
    backend = t._dev.backend
    if backend.compiles_with and t._view is None and is_sole_owner(t):
        t._a = registry.backend(backend.compiles_with).settle(t._a)


def any_shared(values: list[Any], places: Sequence[int]) -> bool:
    """Whether more than one tensor, and this list, refers to one of some values in it."""
    return max(map(getrefcount, map(values.__getitem__, places))) > _LISTED


def _count_listed() -> int:
    holder = _Holder()
    values = [holder._a]
    return max(map(getrefcount, map(values.__getitem__, (0,))))


_LISTED = _count_listed()


def held_elsewhere(recording: Any, outputs: Sequence[tuple], places: Sequence[int]) -> list[int]:
    """List the places of inputs that something refers to besides one tensor and the recording."""
    ours = Counter(map(id, chain(recording.values, recording.given.values())))
    ours.update([id(a) for a, _ in recording.inputs_by_memory.values()])
    ours.update([id(a) for _, a, _ in recording.lifted.values()])
    ours.update([id(before) for _, before, _ in outputs])
    owners = Counter([id(t._a) for t, _, _ in recording.lifted.values()])
    values = recording.values
    counts = map(getrefcount, map(values.__getitem__, places))
    keys = map(id, map(values.__getitem__, places))
    return [
        place
        for place, key, count in zip(places, keys, counts, strict=True)
        if owners[key] != 1 or count - _LISTED != ours[key] - 1
    ]
