"""`compile(dynamic=…)`: one program for all sizes of a dimension up to a bucket's.

The function is recorded at the real shapes, so Python sees true lengths. `rewrite` then turns the
graph into one over arrays padded to a bucket, with the real sizes as inputs; the program of that
graph runs on padded arguments, and what it returns is cut to the real sizes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from multitorch.autograd.tape import LEAF
from multitorch.graph import buckets_products, buckets_rules
from multitorch.graph.buckets_axes import Axis, Factor, Refused, real_shape
from multitorch.graph.buckets_rewrite import Marks, Rewritten, rewrite
from multitorch.graph.recording import Recording

RULES_IN = buckets_rules, buckets_products
"""The modules that register rules."""
LEAST = 8
"""The smallest bucket that is a power of two."""
WASTE = 4
"""A bucket serves sizes down to this part of it."""
KEPT = 128
"""How many sizes a function remembers how to pad for."""

Dynamic = bool | Mapping[str, int | Sequence[int]] | None


_Pattern = tuple[int | None, int, int]


class _Fit(NamedTuple):
    """How an array is padded, or cut: seen in one shape, resized, and given back in another."""

    split: tuple[int, ...]
    sizes: tuple[int, ...]
    shape: tuple[int, ...]


def _fit(axes: tuple[Axis, ...] | None, cut: bool) -> _Fit | None:
    """Return how an array gets its padding, or loses it; None if it has none."""
    if axes is None or all(a.real == a.padded for a in axes):
        return None
    factors = [f for a in axes for f in (a.factors or (Factor(None, 1, 1),))]
    real, padded = tuple([f.real for f in factors]), tuple([f.padded for f in factors])
    if cut:
        return _Fit(padded, real, real_shape(axes))
    return _Fit(real, padded, tuple([a.padded for a in axes]))


class Padded:
    """A program over padded arrays, as one over the real arrays of one recording."""

    def __init__(self, rewritten: Rewritten, dev: Any, program: Any) -> None:
        self._extras, self._program, self._dev = rewritten.extras, program, dev
        self._ins = _present([_fit(axes, cut=False) for axes in rewritten.ins])
        self._outs = _present([_fit(axes, cut=True) for axes in rewritten.outs])
        self.donated = getattr(program, "donated", ())
        self.copy = getattr(program, "copy", None)

    def __call__(self, values: Sequence[Any]) -> Sequence[Any]:
        """Return the outputs; the inputs stay as they are."""
        return self.run(self._program, values)

    def update(self, values: list[Any], targets: Sequence[Any], name: str) -> list[Any]:
        """Return the outputs; the first are the attribute `name` of the targets."""
        if not {i for i, _ in self._ins}.isdisjoint(self.donated):
            results, write = list(self(values)), self._dev.backend.write
            for slot, target, result in zip(self.donated, targets, results, strict=False):
                setattr(target, name, write(values[slot], result))
            return results
        return list(self.run(lambda v: self._program.update(v, targets, name), values))

    def run(self, program: Callable, values: Sequence[Any]) -> Sequence[Any]:
        """Run a program, this one's or its first run, on values of real sizes."""
        resize, place = self._dev.backend.resize, (self._dev.type, self._dev.ordinal)
        values = [*values, *self._extras]
        for i, fit in self._ins:
            values[i] = resize(values[i], *fit, place)
        results = list(program(values))
        for i, fit in self._outs:
            results[i] = resize(results[i], *fit, place)
        return results


def _present(fits: Sequence[_Fit | None]) -> list[tuple[int, _Fit]]:
    return [(i, fit) for i, fit in enumerate(fits) if fit is not None]


class Buckets:
    """Which dimensions of a function's arguments are padded, and to which sizes."""

    def __init__(self, dynamic: Dynamic) -> None:
        self._given = None if dynamic is True else _dims_by_name(dynamic)
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._dims: dict[str, set[int]] = dict(self._given or {})
        self._sizes: dict[tuple[str, int], list[int]] = {}
        self._known: dict[int, dict[Any, tuple[_Pattern, ...]]] = {}
        """By the graph breaks before: what had to be padded last time."""
        self._followers: dict[int, Marks] = {}
        self._programs: OrderedDict[Any, Padded] = OrderedDict()

    def get(self, key: Any) -> Padded | None:
        """Return the padded program of a recording that came before."""
        found = self._programs.get(key)
        if found is not None:
            self._programs.move_to_end(key)
        return found

    def keep(self, key: Any, program: Padded) -> None:
        """Remember the padded program of a recording."""
        self._programs[key] = program
        while len(self._programs) > KEPT:
            self._programs.popitem(last=False)

    def rewrite(self, recording: Recording, given: list[tuple[str, Any]]) -> Rewritten | str:
        """Return a recording's graph over padded arguments, or why there is none."""
        marks, factors = self._marks(recording, given)
        guesses = _guesses(recording, factors) if recording.segment else {}
        if not (marks or guesses):
            return "no argument has a dimension to pad (one of size 0 or 1 never is)"
        for key, pattern in self._known.get(recording.segment, {}).items():
            if all(label is None or label < len(factors) for label, _, _ in pattern):
                marks.setdefault(key, tuple([_factor(f, factors) for f in pattern]))
        reason = ""
        for tried in (guesses | marks, marks)[: 1 + bool(guesses)]:
            try:
                return self._follow(recording, rewrite(recording, tried))
            except Refused as refusal:
                reason = str(refusal)
        return reason

    def _follow(self, recording: Recording, found: Rewritten) -> Rewritten:
        """Pad also what had a changing size last time, and has the changed one now."""
        before = self._followers.get(recording.segment, {})
        self._followers[recording.segment] = found.followers
        more = {
            key: axis
            for key, axis in found.followers.items()
            if key in before and before[key][0].label == axis[0].label and before[key] != axis
        }
        if more:
            try:
                found = rewrite(recording, found.marks | more)
            except Refused:
                pass  # it is right without, if only for this size
        known = {key: tuple(map(_pattern, axis)) for key, axis in found.marks.items()}
        self._known[recording.segment] = known
        return found

    def _marks(
        self, recording: Recording, given: list[tuple[str, Any]]
    ) -> tuple[Marks, list[Factor]]:
        """Return how the inputs that are arguments are padded, and all sizes that change."""
        self._observe(given)
        slots = {number: i for i, number in enumerate(recording.graph.inputs)}
        marks: Marks = {}
        factors: dict[int, Factor] = {}
        for name, t in given:
            _, a, symbol = recording.lifted.get(id(t), (None, None, None))
            slot = slots.get(getattr(symbol, "id", -1))
            for dim in sorted(self._dims.get(name, ())):
                n = t._a.shape[dim]
                if n < 2:
                    continue
                if n not in factors:
                    factors[n] = Factor((len(factors), 0), n, self._bucket(name, dim, n))
                if slot is not None and recording.values[slot] is a:
                    marks[("input", slot), dim] = (factors[n],)
        return marks, list(factors.values())

    def _observe(self, given: list[tuple[str, Any]]) -> None:
        """Find the dimensions to pad: those asked for, or the first one and those that change."""
        shapes = {name: tuple(t._a.shape) for name, t in given}
        if self._given is not None:
            for name, dims in self._given.items():
                if name not in shapes:
                    raise ValueError(
                        f"compile(dynamic=...): there is no tensor argument {name!r}; there are "
                        f"{', '.join(shapes) or 'none'}"
                    )
                self._dims[name] = {_canonical(name, d, shapes[name]) for d in dims}
            return
        if not self._shapes:
            leading = [name for name, t in given if t._a.shape and t._node is not LEAF]
            self._dims.update({name: {0} for name in leading[:1]})
        for name, shape in shapes.items():
            before = self._shapes.get(name, ())
            if len(before) == len(shape):
                for d in [d for d in range(len(shape)) if before[d] != shape[d]]:
                    self._dims.setdefault(name, set()).add(d)
                    self._sizes.setdefault((name, d), [before[d]])
            else:
                self._dims[name] = {d for d in self._dims.get(name, ()) if d < len(shape)}
        self._shapes |= shapes

    def _bucket(self, name: str, dim: int, n: int) -> int:
        """Return what a size is padded to: the first size is a bucket, then powers of two are."""
        known = self._sizes.setdefault((name, dim), [])
        fitting = [b for b in known if n <= b <= WASTE * n]
        if fitting:
            return min(fitting)
        known.append(max(LEAST, 1 << (n - 1).bit_length()) if known else n)
        return known[-1]


def _dims_by_name(dynamic: Any) -> dict[str, set[int]]:
    """Check and return the dimensions that the user names."""
    if not isinstance(dynamic, Mapping):
        raise TypeError(
            "compile(dynamic=...) takes True, False, None, or a dict of argument names to "
            f"dimensions such as {{'x': 0}} or {{'ids': (0, 1)}}, not {dynamic!r}"
        )
    found = {}
    for name, dims in dynamic.items():
        dims = (dims,) if isinstance(dims, int) else tuple(dims)
        if not isinstance(name, str) or not all(isinstance(d, int) for d in dims):
            raise TypeError(f"compile(dynamic=...): {name!r}: {dims!r} is no dimension")
        found[name] = set(dims)
    return found


def _canonical(name: str, dim: int, shape: tuple[int, ...]) -> int:
    if not -len(shape) <= dim < len(shape):
        raise IndexError(
            f"compile(dynamic=...): argument {name!r} of shape {shape} has no dimension {dim}"
        )
    return dim % len(shape)


def _pattern(f: Factor) -> _Pattern:
    """Return a factor without the changing sizes: label, how much is cut off, size if whole."""
    return (None, 0, f.real) if f.label is None else (*f.label, 0)


def _factor(pattern: _Pattern, factors: list[Factor]) -> Factor:
    """Return the factor of a pattern for the present sizes."""
    label, less, size = pattern
    if label is None:
        return Factor(None, size, size)
    of = factors[label]
    return Factor((label, less), of.real - less, of.padded - less)


def _guesses(recording: Recording, factors: list[Factor]) -> Marks:
    """Return which inputs to pad behind a graph break: those of a size that changes."""
    sizes = {f.real: f for f in factors}
    return {
        (("input", slot), dim): (sizes[n],)
        for slot, key in enumerate(recording.graph.input_keys)
        if not isinstance(key, type)
        for dim, n in enumerate(key[0])
        if n in sizes
    }
