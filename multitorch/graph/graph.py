"""The graph: what a recording leaves, and the project's one intermediate form."""

from __future__ import annotations

import linecache
from collections.abc import Callable, Container, Iterator
from contextlib import nullcontext
from typing import Any, NamedTuple

from multitorch.autograd.tape import line_of


def _no_scope(call: int) -> Any:
    return _NOTHING


_NOTHING = nullcontext()


class Place(NamedTuple):
    """A line of the user's code; `backward`: its derivative."""

    file: str
    line: int
    backward: bool = False

    @property
    def source(self) -> str:
        """The text of the line."""
        return linecache.getline(self.file, self.line).strip()

    def __str__(self) -> str:
        text = f"{self.file.rpartition('/')[2]}:{self.line}"
        return f"{text} (backward)" if self.backward else text


class Call(NamedTuple):
    """One kernel call: `outs = name(*ins, **params)`, values by number."""

    name: str
    ins: tuple[Any, ...]
    """Numbers of values, None, or tuples of them."""
    params: tuple[tuple[str, Any], ...]
    outs: tuple[int, ...] | int


Step = tuple[str, tuple, dict[str, Any], int, int, Any, Call, tuple | None]
"""Name, ins and params, the number of the first result and of what follows, spec, call, where."""


class Signature:
    """What decides whether two recordings are one program; compared and hashed as a whole."""

    __slots__ = ("_hash", "_parts")

    def __init__(self, graph: Graph) -> None:
        inputs = tuple(graph.inputs), tuple(graph.input_keys)
        self._parts = tuple(graph.calls), *inputs, tuple(graph.outputs)
        self._hash = hash(self._parts)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Signature) and self._parts == other._parts)


class Graph:
    """Kernel calls in order, the inputs that they start from and the outputs that are wanted."""

    __slots__ = (
        "ahead",
        "before",
        "calls",
        "count",
        "input_keys",
        "inputs",
        "labels",
        "outputs",
        "segment",
        "signed",
        "steps",
        "where",
    )

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.count = 0
        self.inputs: list[int] = []
        self.input_keys: list[Any] = []
        """Per input its (shape, dtype), or the type of a Python number."""
        self.outputs: list[int] = []
        self.where: list[Any] = []
        """Per call the code that made it and its last instruction, None if that is not known.

        For a derivative these are its op's, and True is the third."""
        self.segment = 0
        """How many graph breaks came before it, in the same call."""
        self.labels: dict[int, str] = {}
        """Names of inputs, as far as they have one: "argument x"."""
        self.steps: list[Step] = []
        """Per call what a later recording compares its own with."""
        self.before: Graph | None = None
        """The recording that this one has been the same as so far."""
        self.ahead: Iterator[Step] | None = None
        """Its steps that are still to come."""
        self.signed: Signature | None = None

    @property
    def places(self) -> list[Place | None]:
        """Per call the line that made it."""
        known = {where: place_of(where) for where in set(self.where)}
        return [known[where] for where in self.where]

    def place(self, call: int) -> str:
        """Return 'file.py:12' for a call."""
        place = place_of(self.where[call]) if call < len(self.where) else None
        return "an unknown line" if place is None else f"{place.file}:{place.line}"

    def new_value(self) -> int:
        """Return the number of a fresh value."""
        self.count += 1
        return self.count - 1

    def add_input(self, key: Any) -> int:
        """Add an input; return its number."""
        number = self.count
        self.count = number + 1
        before = self.before
        if before is not None:
            i = len(self.inputs)
            same = i < len(before.inputs) and before.inputs[i] == number
            if not same or before.input_keys[i] != key:
                self.before = self.ahead = None
        self.inputs.append(number)
        self.input_keys.append(key)
        return number

    # --- walking along an earlier recording

    def follow(self, before: Graph | None) -> None:
        """Walk along an earlier recording, as long as this one is the same.

        As long as it is, equal numbers stand for values of equal shapes and dtypes, so that names,
        numbers and parameters are all there is to compare.
        """
        if before is not None and len(before.steps) == len(before.calls) and not before.segment:
            self.before, self.ahead = before, iter(before.steps)
            before.before = before.ahead = None

    def follow_step(self, name: str, ins: tuple, params: dict[str, Any]) -> Step | None:
        """Append the call that came here in the earlier recording if it is the one that is made."""
        assert self.ahead is not None
        step = next(self.ahead, None)
        if step is not None:
            old, numbers, given, first, last, _, call, where = step
            if old == name and numbers == ins and given == params and first == self.count:
                self.count = last
                self.calls.append(call)
                self.steps.append(step)
                self.where.append(where)
                return step
        self.before = self.ahead = None
        return None

    def add_call(
        self, name: str, ins: tuple, params: dict[str, Any], spec: Any, where: tuple | None
    ) -> Step:
        """Append a call whose results have the (shape, dtype) of `spec`."""
        first, outs = self.count, self.count
        if spec[1].__class__ is tuple:
            outs = tuple(range(first, first + len(spec)))
        self.count = last = first + len(spec) if outs is not first else first + 1
        call = Call(name, ins, tuple(params.items()), outs)
        step = (name, ins, params, first, last, spec, call, where)
        self.calls.append(call)
        self.steps.append(step)
        self.where.append(where)
        return step

    def signature(self) -> Signature:
        """Return what decides whether two recordings are one program."""
        before = self.before
        if before is not None and before.signed is not None and self._ends_as(before):
            self.signed = before.signed
        else:
            self.signed = Signature(self)
        return self.signed

    def _ends_as(self, before: Graph) -> bool:
        same = len(self.calls) == len(before.calls) and len(self.inputs) == len(before.inputs)
        return same and self.outputs == before.outputs

    def replay(
        self, F: Any, values: list[Any], scope: Callable[[int], Any] = _no_scope
    ) -> list[Any]:
        """Run the calls with the kernels of the world `F`, call `i` in the block `scope(i)`."""
        env: dict[int, Any] = dict(zip(self.inputs, values, strict=True))
        self.run(F, env, scope)
        return [env[o] for o in self.outputs]

    def run(
        self,
        F: Any,
        env: dict[int, Any],
        scope: Callable[[int], Any] = _no_scope,
        skip: Container[int] = (),
    ) -> None:
        """Run the calls, but those to `skip`, on the values in `env`; put there what they give."""

        def look_up(x: Any) -> Any:
            return tuple(look_up(e) for e in x) if x.__class__ is tuple else env.get(x)

        for i, (name, ins, params, outs) in enumerate(self.calls):
            if i in skip:
                continue
            with scope(i):
                result = getattr(F, name)(*[look_up(x) for x in ins], **dict(params))
            if isinstance(outs, int):
                env[outs] = result
            else:
                env.update(zip(outs, result, strict=True))

    def __repr__(self) -> str:
        lines = [f"graph of {len(self.calls)} calls"]
        for number, key in zip(self.inputs, self.input_keys, strict=True):
            kind = key.__name__ if isinstance(key, type) else f"{key[1]}{list(key[0])}"
            label = self.labels.get(number)
            lines.append(f"  %{number}: {kind}" + (f"  # {label}" if label else ""))
        before = None
        for i, (name, ins, params, outs) in enumerate(self.calls):
            place = self.place(i)
            if place != before:
                lines.append(f"  # {place}")
                before = place
            bodies = [(k, v) for k, v in params if isinstance(v, Graph)]
            plain = [f"{k}={v!r}" for k, v in params if not isinstance(v, Graph)]
            given = ", ".join([*map(_name, ins), *plain])
            lines.append(f"  {_name(outs)} = {name}({given})" + (", where" if bodies else ""))
            for k, body in bodies:
                lines += [f"    {line}" for line in f"{k} = {body!r}".splitlines()]
        return "\n".join([*lines, f"  return {', '.join(map(_name, self.outputs))}"])


def numbers(value: Any) -> list[int]:
    """List the numbers of values in a call's `ins` or `outs`."""
    if isinstance(value, tuple):
        return [n for v in value for n in numbers(v)]
    return [] if value is None else [value]


def _name(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_name, value))})"
    return "None" if value is None else f"%{value}"


def place_of(where: tuple | None) -> Place | None:
    """Return the line of a code object's instruction."""
    if where is None:
        return None
    code, last, *backward = where
    return Place(code.co_filename, line_of(code, last), bool(backward))
