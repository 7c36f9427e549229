"""Rewrite a recorded graph so that it computes on padded arrays.

The calls are gone through in order. For every value it is known which of its axes are padded
(`buckets_axes.Axis`) and that the part which is real holds what the recording says; nothing is
known of the rest, which may be NaN. A rule for each kernel (`buckets_rules`) keeps that true; a
kernel without one is taken apart into the primitives of its generic body. Real sizes are inputs of
the rewritten graph, so two lengths of one bucket give equal graphs, and what is sound for one
recording needs no guard.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple, NoReturn

import numpy as np

from multitorch.backend.contract import bind_world, generic_bodies
from multitorch.graph.buckets_axes import (
    Axis,
    Factor,
    Origin,
    Refused,
    cut_factor,
    padded_shape,
    real_shape,
    whole,
)
from multitorch.graph.graph import Call, Graph
from multitorch.graph.recording import Recording
from multitorch.graph.sym import Sym

Marks = dict[tuple[Any, int], tuple[Factor, ...]]
"""(Input or call that makes an array, axis) -> how the axis is padded there."""
MOST_PASSES = 200
_INT32 = np.dtype(np.int32)


class Number:
    """A Python number that is an input: its value is data, which no code may look at."""

    __slots__ = ("id", "value")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, id: int, value: Any) -> None:
        self.id, self.value = id, value

    def __eq__(self, other: object) -> NoReturn:
        raise TypeError("the value of a number is data")

    __bool__ = __float__ = __int__ = lambda self: self == 0


class Target(Recording):
    """The world that the rewritten calls are recorded in."""

    def number(self, value: Any) -> Number:
        """Make a Python number an input."""
        self.values.append(value)
        return Number(self.graph.add_input(type(value)), value)

    def _number_of(self, a: Any) -> Any:
        return a.id if a.__class__ is Number else super()._number_of(a)

    def _spec(self, name: str, arrays: tuple, params: dict, keys: tuple) -> Any:
        plain = tuple([a.value if a.__class__ is Number else a for a in arrays])
        return super()._spec(name, plain, params, keys)

    def call(self, name: str, arrays: tuple, params: dict[str, Any]) -> Any:
        """Append one kernel call; a kernel that cannot take padded arrays refuses them."""
        try:
            return super().call(name, arrays, params)
        except (RuntimeError, ValueError, IndexError) as error:
            raise Refused(f"with padding it fails: {error}") from None

    def _run_now(self, name: str, arrays: tuple, params: dict[str, Any]) -> Any:
        raise Refused("the shape of its result depends on data")


class Value(NamedTuple):
    """An array of the rewritten graph."""

    sym: Sym
    axes: tuple[Axis, ...]
    zero: bool = False
    """Whether what is not real is known to be zero."""

    @property
    def is_padded(self) -> bool:
        """Whether some axis has elements that are not real."""
        return any([a.is_padded for a in self.axes])

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.axes)


class Step(NamedTuple):
    """One recorded call with its operands as values of the rewritten graph."""

    name: str
    ins: tuple[Any, ...]
    """`Value`, `Number`, None, or tuples of them."""
    params: dict[str, Any]
    source: tuple
    """Which call it is: its number, and the numbers inside of the bodies taken apart."""


class Rewritten(NamedTuple):
    """A graph over padded arrays, and what its caller must know."""

    graph: Graph
    extras: list[Any]
    """Values of the inputs that are added to those of the recording: real sizes, constants."""
    ins: list[tuple[Axis, ...] | None]
    """Per input of the recording its axes; None for numbers and where nothing is padded."""
    outs: list[tuple[Axis, ...] | None]
    """Per output its axes; None where nothing is padded."""
    marks: Marks
    followers: Marks
    """Axes that have a changing size, but met no padded one: whether by chance is not known."""


class _Again(Exception):
    """Raised when more arrays must be padded where they are made: another pass begins."""


RULES: dict[str, Callable[[Rewriter, Step], Any]] = {}


def rule(names: str) -> Callable[[Callable], Callable]:
    """Make a function the rule of kernels."""

    def register(function: Callable) -> Callable:
        RULES.update(dict.fromkeys(names.split(), function))
        return function

    return register


def rewrite(recording: Recording, marks: Marks) -> Rewritten:
    """Return the graph that computes a recording with the marked inputs padded."""
    marks = dict(marks)
    for _ in range(MOST_PASSES):
        try:
            return Rewriter(recording, marks).run()
        except _Again:
            continue
    raise Refused("too many arrays have to be padded")


class Rewriter:
    """One pass over a recording's calls."""

    def __init__(self, recording: Recording, marks: Marks) -> None:
        self.recording, self.marks = recording, marks
        self.F: Any = Target(recording.dev)
        self._changing = {f.real: f for axis in marks.values() for f in axis if f.label}
        self._followers: Marks = {}
        self._sizes: dict[Any, Number] = {}
        self._valid: dict[tuple[Factor, ...], Sym] = {}
        self._masked: dict[tuple, Any] = {}

    def run(self) -> Rewritten:
        """Rewrite all calls."""
        old, F = self.recording.graph, self.F
        env: dict[int, Any] = {}
        pairs = zip(old.inputs, old.input_keys, self.recording.values, strict=True)
        for slot, (number, key, value) in enumerate(pairs):
            env[number] = self._input(slot, key, value)
        for i, call in enumerate(old.calls):
            before = len(F.graph.calls)
            try:
                self._call(call, env, (i,))
            except Refused as reason:
                raise Refused(f"{call.name} at {old.place(i)}: {reason}") from None
            F.graph.where[before:] = [old.where[i]] * (len(F.graph.calls) - before)
        outs = [env[number] for number in old.outputs]
        F.graph.outputs = [v.sym.id for v in outs]
        F.graph.segment = old.segment
        given = [env[number] for number in old.inputs]
        return Rewritten(
            F.graph, F.values[len(old.inputs) :], list(map(_axes_if_padded, given)),
            list(map(_axes_if_padded, outs)), self.marks, self._followers,
        )  # fmt: skip

    def _input(self, slot: int, key: Any, value: Any) -> Value | Number:
        F = self.F
        if isinstance(key, type):
            F.values.append(value)
            return Number(F.graph.add_input(key), value)
        axes = self.source_axes(("input", slot), key[0])
        shape = padded_shape(axes)
        F.values.append(value)
        number = F.graph.add_input((shape, key[1]))
        return Value(Sym(F, shape, np.dtype(key[1]), number), axes, zero=True)

    def _call(self, call: Call, env: dict[int, Any], source: tuple) -> None:
        def look_up(x: Any) -> Any:
            return tuple(map(look_up, x)) if x.__class__ is tuple else env.get(x)

        step = Step(call.name, look_up(call.ins), dict(call.params), source)
        result = self._apply(step)
        if isinstance(call.outs, int):
            env[call.outs] = result
        else:
            env.update(zip(call.outs, result, strict=True))

    def _apply(self, step: Step) -> Any:
        rule = RULES.get(step.name)
        padded = any(v.is_padded for v in arrays_of(step.ins))
        try:
            if rule is not None:
                return rule(self, step)
            if padded or "shape" in step.params:  # the latter makes an array
                return self.take_apart(step)
        except Refused:
            if padded or any(source == step.source for source, _ in self.marks):
                raise
        return self._as_it_is(step)

    def _as_it_is(self, step: Step) -> Any:
        """Repeat a call that nothing padded goes into."""
        result = self.F.call(step.name, syms_of(step.ins), step.params)
        origins = frozenset(o for v in arrays_of(step.ins) for a in v.axes for o in a.origins)
        if result.__class__ is tuple:
            return tuple([_unpadded(r, origins) for r in result])
        return _unpadded(result, origins)

    def take_apart(self, step: Step) -> Any:
        """Rewrite the primitives of a kernel's generic body, recorded at the real shapes."""
        body = generic_bodies().get(step.name)
        if any(isinstance(value, Graph) for value in step.params.values()):
            raise Refused("its body is recorded at the real sizes")
        if body is None:
            raise Refused("it may mix rows of a padded dimension")
        inner = Target(self.recording.dev)
        env: dict[int, Any] = {}

        def stand_in(v: Any) -> Any:
            if v.__class__ is tuple:
                return tuple(map(stand_in, v))
            if v is None:
                return None
            inner.values.append(None)
            if v.__class__ is Number:
                result: Any = Number(inner.graph.add_input(type(v.value)), v.value)
            else:
                shape, dtype = real_shape(v.axes), v.sym.dtype
                result = Sym(inner, shape, dtype, inner.graph.add_input((shape, dtype)))
            env[result.id] = v
            return result

        try:
            result = bind_world(body, inner)(*map(stand_in, step.ins), **step.params)
        except (TypeError, RuntimeError) as error:
            raise Refused(f"its parts cannot be told ({error})") from None
        self._constants(inner, env)
        for i, call in enumerate(inner.graph.calls):
            self._call(call, env, (*step.source, i))
        if result.__class__ in (tuple, list):
            return tuple([env[r.id] for r in result])
        return env[result.id]

    def _constants(self, inner: Target, env: dict[int, Any]) -> None:
        """Give the numbers and arrays that a body brings along to the rewritten graph."""
        for number, value in zip(inner.graph.inputs, inner.values, strict=True):
            if number in env:
                continue
            if hasattr(value, "shape"):
                env[number] = _unpadded(self.F._input(value), frozenset())
            else:
                env[number] = self.F.number(value)

    # --- what the rules use

    def emit(self, step: Step, axes: Sequence[Axis], zero: bool = False, **changes: Any) -> Value:
        """Repeat a call that has one result; check that its shape is as the rule says."""
        ins = changes.pop("ins", None) or syms_of(step.ins)
        return self.value(self.F.call(step.name, ins, step.params | changes), axes, zero)

    def value(self, sym: Sym, axes: Sequence[Axis], zero: bool = False) -> Value:
        """Return a result with its axes."""
        if sym.shape != padded_shape(axes):
            raise Refused("its result has another shape when padded")
        return Value(sym, tuple(axes), zero)

    def source_axes(self, source: Any, shape: Sequence[int]) -> tuple[Axis, ...]:
        """Return the axes of an array that is made here, padded where it is marked."""
        found = []
        for i, size in enumerate(shape):
            origins = frozenset(((source, i, size),)) if size > 1 else frozenset()
            factors = self.marks.get((source, i))
            if factors is not None and prod([f.real for f in factors]) == size:
                found.append(Axis(factors, origins))
                continue
            if size in self._changing:
                self._followers[source, i] = (self._changing[size],)
            found.append(whole(size, origins))
        return tuple(found)

    def agree(self, *axes: Axis) -> Axis:
        """Return the axis that axes of one size, or of size 1, are together."""
        wide = [a for a in axes if a.real != 1]
        if not wide:
            return axes[0]
        best = next((a for a in wide if a.is_padded), wide[0])
        for a in wide:
            if a.factors != best.factors:
                self._demand(a, best)
        if len(wide) == 1:
            return best
        return Axis(best.factors, frozenset().union(*[a.origins for a in wide]))

    def _demand(self, axis: Axis, wanted: Axis) -> NoReturn:
        """Have the arrays from which an axis comes padded as another one is."""
        fresh = {}
        for source, i, size in axis.origins:
            if (source, i) not in self.marks:
                factors = _matching(size, wanted)
                if factors is not None:
                    fresh[source, i] = factors
        if axis.real != wanted.real or not fresh:
            raise Refused(
                f"a padded dimension of size {wanted.real} meets one of size {axis.real} that is "
                "not padded with it"
            )
        self.marks |= fresh
        raise _Again

    def broadcast(self, values: Sequence[Value]) -> tuple[Axis, ...]:
        """Return the axes of a pointwise result."""
        if len(values) == 1:
            return values[0].axes
        ndim = max([v.ndim for v in values], default=0)
        return tuple([
            self.agree(*[v.axes[i - ndim] for v in values if v.ndim + i >= ndim])
            for i in range(ndim)
        ])  # fmt: skip

    def size(self, axes: Sequence[Axis]) -> Number:
        """Return how many real elements some axes have together: data, never a constant."""
        key = tuple([f if f.label is None else f.label for a in axes for f in a.factors])
        found = self._sizes.get(key)
        if found is None:
            found = self._sizes[key] = self.F.number(prod([a.real for a in axes]))
        return found

    def valid(self, axis: Axis, like: Sym) -> Sym:
        """Return which elements of an axis are real, as a vector of bool."""
        found = self._valid.get(axis.factors)
        if found is None:
            found = self._valid[axis.factors] = self._validity(axis, like)
        return found

    def _validity(self, axis: Axis, like: Sym) -> Sym:
        F, found = self.F, None
        apart = tuple([f.padded for f in axis.factors])
        for k, f in enumerate(axis.factors):
            if f.label is None:
                continue
            part = F.lt(F.iota(like, size=f.padded, dtype=_INT32), self.size((Axis((f,)),)))
            if len(apart) > 1:
                line = tuple([n if i == k else 1 for i, n in enumerate(apart)])
                part = F.expand(F.reshape(part, shape=line), shape=apart)
                part = F.reshape(part, shape=(axis.padded,))
            found = part if found is None else F.logical_and(found, part)
        assert found is not None
        return found

    def masked(self, v: Value, dims: Sequence[int], fill: Any = 0) -> Sym:
        """Return an array with `fill`, or its first element, where `dims` are not real."""
        dims = tuple([d for d in dims if v.axes[d].is_padded])
        if not dims or (v.zero and fill == 0):
            return v.sym
        key = v.sym.id, dims, fill
        found = self._masked.get(key)
        if found is None:
            found = self._masked[key] = self._fill(v, dims, fill)
        return found

    def _fill(self, v: Value, dims: Sequence[int], fill: Any) -> Sym:
        F, found = self.F, v.sym
        for d in dims:
            line = tuple([a.padded if i == d else 1 for i, a in enumerate(v.axes)])
            real = F.reshape(self.valid(v.axes[d], v.sym), shape=line)
            if fill == FIRST:  # it is always real, and changes no maximum and no minimum
                other = F.slice(found, self.constant(0), dim=d, length=1, step=1)
            else:
                other = F.new_full(found, shape=(), value=fill)
            found = F.where(real, found, other)
        return found

    def constant(self, value: int) -> Number:
        """Return a number that a rule needs."""
        found = self._sizes.get(("constant", value))
        if found is None:
            found = self._sizes["constant", value] = self.F.number(value)
        return found


FIRST = "first"
"""What `masked` fills with to repeat the first element."""


def arrays_of(ins: Any) -> list[Value]:
    """List the arrays among operands."""
    if ins.__class__ is tuple:
        return [v for item in ins for v in arrays_of(item)]
    return [ins] if ins.__class__ is Value else []


def syms_of(ins: Any) -> Any:
    """Return operands as the rewritten graph's world takes them."""
    if ins.__class__ is tuple:
        return tuple(map(syms_of, ins))
    return ins.sym if ins.__class__ is Value else ins


def all_whole(v: Any, dims: Sequence[int], what: str) -> None:
    """Refuse if one of these axes is padded."""
    if v.__class__ is Value and any(v.axes[d].is_padded for d in dims):
        raise Refused(f"{what} is padded")


def _unpadded(sym: Sym, origins: frozenset[Origin]) -> Value:
    """Return a result that nothing padded went into; its sizes may come from these origins."""
    sizes = [frozenset(o for o in origins if o[2] == n) for n in sym.shape]
    axes = [whole(n, of) for n, of in zip(sym.shape, sizes, strict=True)]
    return Value(sym, tuple(axes), zero=True)


def _matching(size: int, wanted: Axis) -> tuple[Factor, ...] | None:
    """Return how to pad an axis of a size so that what comes of it is padded as wanted."""
    if size == wanted.real:
        return wanted.factors
    changing = [f for f in wanted.factors if f.label is not None]
    uncut = [cut_factor(f, -f.label[1]) for f in changing if f.label is not None]
    return next(((f,) for f in (*changing, *uncut) if f.real == size), None)


def _axes_if_padded(v: Any) -> tuple[Axis, ...] | None:
    return v.axes if v.__class__ is Value and v.is_padded else None
