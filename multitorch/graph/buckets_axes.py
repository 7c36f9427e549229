"""Dimensions of a padded array: which part of each is real.

An axis is a product of factors, the outermost first, each whole or padded from `real` to `padded`
elements. So an axis that came from merging a padded dimension with others still says which of its
elements are real: those whose place in every factor is below `real`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import Any, NamedTuple

Label = tuple[int, int]
"""(Which changing size, how many elements less of it)."""
Origin = tuple[Any, int, int]
"""(An input or the call that makes an array, which of its axes, its size)."""


class Refused(Exception):
    """Raised where padding is not known to be sound; the text says why."""


class Factor(NamedTuple):
    """One factor of an axis; a whole one has no label."""

    label: Label | None
    real: int
    padded: int


class Axis:
    """One dimension of an array of the rewritten graph."""

    __slots__ = ("factors", "is_padded", "origins", "padded", "real")

    def __init__(
        self, factors: tuple[Factor, ...] = (), origins: frozenset[Origin] = frozenset()
    ) -> None:
        self.factors, self.origins = factors, origins
        """Where the size comes from, as far as it may be padded there if need be."""
        self.real = prod([f.real for f in factors])
        self.padded = prod([f.padded for f in factors])
        self.is_padded = any([f.label is not None for f in factors])

    @property
    def is_prefix(self) -> bool:
        """Whether the real elements are the first ones."""
        return all(f.label is None for f in self.factors[1:])

    def __repr__(self) -> str:
        return f"Axis({self.real} of {self.padded})"


def whole(size: int, origins: frozenset[Origin] = frozenset()) -> Axis:
    """Return an axis without padding."""
    return Axis((Factor(None, size, size),) if size != 1 else (), origins)


def merged(factors: Iterable[Factor]) -> tuple[Factor, ...]:
    """Return factors with neighbours that are whole joined, and those of size 1 left out."""
    out: list[Factor] = []
    for f in factors:
        if f.label is None and f.real == 1:
            continue
        if out and out[-1].label is None and f.label is None:
            size = out.pop().real * f.real
            f = Factor(None, size, size)
        out.append(f)
    return tuple(out)


def regroup(axes: Sequence[Axis], shape: Sequence[int]) -> tuple[Axis, ...]:
    """Distribute the factors of axes over a new shape, as reshaping row-major arrays does."""
    if 0 in shape:
        raise Refused("it reshapes an empty array")
    left = [(f, axis.origins) for axis in reversed(axes) for f in reversed(axis.factors)]
    found = []
    for size in shape:
        taken: list[Factor] = []
        origins: frozenset[Origin] = frozenset()
        while size > 1:
            if not left:
                raise Refused("it reshapes to another number of elements")
            f, of = left.pop()
            origins |= of
            if size % f.real:
                f, rest = _split(f, size)
                left.append((rest, of))
            taken.append(f)
            size //= f.real
        found.append(Axis(merged(taken), origins))
    return tuple(found)


def _split(f: Factor, size: int) -> tuple[Factor, Factor]:
    if f.label is not None or f.real % size:
        raise Refused("it splits the padded dimension")
    return Factor(None, size, size), Factor(None, f.real // size, f.real // size)


def real_shape(axes: Iterable[Axis]) -> tuple[int, ...]:
    """Return the shape that the array has without padding."""
    return tuple([a.real for a in axes])


def padded_shape(axes: Iterable[Axis]) -> tuple[int, ...]:
    """Return the shape that the array has in the program."""
    return tuple([a.padded for a in axes])


def cut_factor(f: Factor, less: int) -> Factor:
    """Return the factor of an axis from which some elements are cut off."""
    assert f.label is not None
    label: Label = (f.label[0], f.label[1] + less)
    return Factor(label, f.real - less, f.padded - less)
