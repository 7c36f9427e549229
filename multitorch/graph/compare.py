"""`compare`: find the first op whose result differs between devices, or by compiling.

The function is recorded once. Its kernel calls then run one by one on every device, each on the
inputs that the first device computed, so that a difference shows at the call that makes it, and
rounding does not add up. A compiled program is compared by its results; if those differ, shorter
and shorter beginnings of it are compiled, until one call is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import numpy as np

from multitorch.backend import Backend, registry
from multitorch.device import device as Device
from multitorch.graph.capture import Compiled
from multitorch.graph.graph import Call, Graph, Place, numbers
from multitorch.random.generator import use_cpu_stream

_TOLERANCE = {2: 4e-3, 4: 2e-5, 8: 1e-10}
"""By the size of a real number in bytes; bfloat16 has its own."""
_BFLOAT16 = 3e-2
_FROM_INPUTS = 1 / 16
"""Which part of the tolerance applies to the inputs' size: sums may cancel."""
_LARGEST_INPUT = 1e3
_WHOLE = 10
"""How many times more a whole program may differ than one call."""


@dataclass(frozen=True)
class Difference:
    """The first call whose result differs."""

    op: str
    call: int
    """The number of the kernel call in the recording, from 0; -1 for the results of all."""
    place: Place | None
    """The line of the user's code, where known."""
    reason: str
    index: tuple[int, ...] | None = None
    """Where the difference is largest."""
    expected: Any = None
    found: Any = None

    def __str__(self) -> str:
        lines = [f"{self.op} (call {self.call}): {self.reason}" if self.call >= 0 else self.reason]
        if self.place is not None:
            lines.append(f"at {self.place.file}:{self.place.line}: {self.place.source}")
        return "\n    ".join(lines)


@dataclass
class Comparison:
    """What `compare` found: for each way to run the function its first difference, or None."""

    reference: str
    calls: int
    differences: dict[str, Difference | None] = field(default_factory=dict)

    @property
    def agrees(self) -> bool:
        """Whether all ways give the same."""
        return self.first is None

    @property
    def first(self) -> Difference | None:
        """The earliest difference of all."""
        found = [d for d in self.differences.values() if d is not None]
        return min(found, key=lambda d: (d.call < 0, d.call), default=None)

    def __str__(self) -> str:
        lines = [f"{self.calls} kernel calls, against {self.reference}, eager"]
        for way, difference in self.differences.items():
            lines.append(f"  {way}: {'agrees' if difference is None else difference}")
        return "\n".join(lines)

    __repr__ = __str__


def compare(
    fn: Callable,
    args: Any = (),
    devices: Sequence[Any] | None = None,
    compiled: bool = True,
) -> Comparison:
    """Run `fn(*args)` on several devices, and with `compiled` as compiled programs as well.

    Names the first op whose result differs from that of the first device, with both values and the
    line of the caller's code. The devices default to cpu and, where JAX is installed, jax. Tensors
    may lie on any of them; what the function does to them is done once. All devices draw the
    random numbers of cpu.

    >>> print(multitorch.compare(lambda x: x.exp().sum(), multitorch.ones(3), ["cpu"], False))
    2 kernel calls, against cpu, eager
    """
    targets = [Device(d) for d in devices or ["cpu"] + ["jax"] * bool(find_spec("jax"))]
    args = args if isinstance(args, (tuple, list)) else (args,)
    watched = _Watched(fn, targets[0])
    with use_cpu_stream():
        watched(*args)
    report = Comparison(str(targets[0]), sum(len(run.graph.calls) for run in watched.runs))
    for target in targets[1:]:
        report.differences[f"{target}, eager"] = _first(
            _eager_difference(run, target) for run in watched.runs
        )
    for target in targets if compiled else ():
        if (backend := _compiler(target)) is not None:
            report.differences[f"{target}, compiled"] = _first(
                _compiled_difference(run, target, backend) for run in watched.runs
            )
    return report


def _first(found: Iterable[Difference | None]) -> Difference | None:
    return next((d for d in found if d is not None), None)


# --- the reference -------------------------------------------------------------------------------


class _Run:
    """One recording with the value of every number in it, as NumPy arrays and Python numbers."""

    def __init__(self, graph: Graph, values: list[Any]) -> None:
        self.graph, self.values = graph, values
        self.env: dict[int, Any] = dict(zip(graph.inputs, values, strict=True))
        self.read = {i for call in graph.calls for i in numbers(call.ins)} | set(graph.outputs)
        """The values that something depends on: a kernel may return others as it likes."""

    def place(self, number: int) -> Place | None:
        """Return file and line of a call, if the recording noted them."""
        places = getattr(self.graph, "places", None)
        return places[number] if places else None


class _Watched(Compiled):
    """A function whose recordings run call by call on the first device, and are kept."""

    def __init__(self, function: Callable, reference: Any) -> None:
        super().__init__(function)
        self._reference = reference
        self.runs: list[_Run] = []

    def _compile(self, recording: Any, *_: Any) -> Callable:
        graph, backend = recording.graph, recording.dev.backend

        def program(values: Any, *_: Any) -> list[Any]:
            run = _Run(graph, [_to_host(v, backend) for v in values])
            self.runs.append(run)
            for call in run.graph.calls:
                given = [_look_up(run.env, i) for i in call.ins]
                run.env.update(_numbered(call, _kernel(call, given, self._reference)))
            return [_to_device(run.env[o], recording.dev) for o in run.graph.outputs]

        return program


def _look_up(env: dict[int, Any], i: Any) -> Any:
    return tuple([_look_up(env, e) for e in i]) if i.__class__ is tuple else env.get(i)


def _numbered(call: Call, result: Any) -> dict[int, Any]:
    """Return results by their number."""
    if isinstance(call.outs, int):
        return {call.outs: result}
    return dict(zip(call.outs, result, strict=True))


def _to_host(value: Any, backend: Any) -> Any:
    if value.__class__ is tuple:
        return tuple([_to_host(v, backend) for v in value])
    if value is None or value.__class__ in (int, float, bool, complex):
        return value
    # a copy: kernels may write to what they are given, and the function's tensors change later
    return np.array(backend.get(value)) if not isinstance(value, np.generic) else np.array(value)


def _to_device(value: Any, dev: Any) -> Any:
    if value.__class__ is tuple:
        return tuple([_to_device(v, dev) for v in value])
    if not isinstance(value, np.ndarray):
        return value
    return dev.backend.put(np.array(value), type=dev.type, index=dev.ordinal)


def _kernel(call: Call, given: list[Any], dev: Any) -> Any:
    """Run one call on a device; host values in, host values out."""
    kernel = getattr(dev.backend, call.name)
    with dev.backend.quiet():
        result = kernel(*[_to_device(a, dev) for a in given], **dict(call.params))
    return _to_host(tuple(result) if isinstance(result, (tuple, list)) else result, dev.backend)


# --- eager ---------------------------------------------------------------------------------------


def _eager_difference(run: _Run, dev: Any) -> Difference | None:
    """Return the first call whose result on `dev` differs, inputs being equal."""
    for number, call in enumerate(run.graph.calls):
        given = [_look_up(run.env, i) for i in call.ins]
        try:
            results = _numbered(call, _kernel(call, given, dev))
        except Exception as error:  # whatever a kernel raises on one device only is a difference
            reason = f"{type(error).__name__} on {dev}: {error}"
            return Difference(call.name, number, run.place(number), reason)
        size = _magnitude(given)
        for o, result in results.items():
            if o not in run.read:
                continue
            expected = run.env[o]
            if call.name.endswith("_backward"):
                expected, result = _alike(expected, result)
            # a loop is a program of its own
            factor = _WHOLE if any(isinstance(v, Graph) for _, v in call.params) else 1
            found = _differs(expected, result, f"eager on {dev}", size, factor)
            if found is not None:
                return Difference(call.name, number, run.place(number), *found)
    return None


def _alike(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum the larger of two gradients to the other's shape: kernels may leave that to others."""
    if a.ndim < b.ndim or a.size < b.size:
        return a, _summed(b, a.shape)
    return (a, b) if a.shape == b.shape else (_summed(a, b.shape), b)


def _summed(a: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    extra = a.ndim - len(shape)
    if extra < 0:
        return a
    ones = [i + extra for i, n in enumerate(shape) if n == 1 and a.shape[i + extra] != 1]
    return a.sum((*range(extra), *ones), a.dtype, keepdims=True).reshape(
        [1 if i in ones else n for i, n in enumerate(a.shape)][extra:]
    )


def _magnitude(given: list[Any]) -> float:
    """Return the largest absolute value of the inputs, within reason."""
    sizes = [_magnitude(list(a)) for a in given if isinstance(a, tuple)]
    sizes += [_largest(a) for a in given if isinstance(a, np.ndarray)]
    return min(max(sizes, default=0.0), _LARGEST_INPUT)


def _largest(a: np.ndarray) -> float:
    if a.dtype.kind not in "fcV" or not a.size:
        return 0.0
    wide = np.abs(_wide(a))
    return float(np.max(wide, where=np.isfinite(wide), initial=0.0))


def _wide(a: np.ndarray) -> np.ndarray:
    if a.dtype.kind == "c":
        return a.astype(np.complex128)
    return a.astype(np.float64) if a.dtype.kind in "fV" else a


def _tolerance(dtype: np.dtype) -> float:
    if dtype.kind not in "fcV":
        return 0.0
    if dtype.name == "bfloat16":
        return _BFLOAT16
    return _TOLERANCE.get(dtype.itemsize // (2 if dtype.kind == "c" else 1), 0.1)


def _differs(
    expected: Any, found: Any, way: str, size: float, factor: float = 1
) -> tuple[str, Any, Any, Any] | None:
    """Return (reason, index, expected element, found element) if two results are not close."""
    a, b = np.asarray(expected), np.asarray(found)
    if a.shape != b.shape or a.dtype != b.dtype:
        kinds = [f"{x.dtype}{list(x.shape)}" for x in (a, b)]
        return f"{kinds[0]} expected, {kinds[1]} {way}", None, None, None
    wrong, distance = _wrong(a, b, size, factor * _tolerance(a.dtype))
    if not wrong.any():
        return None
    at = tuple(int(i) for i in np.unravel_index(np.argmax(distance), a.shape))
    where = f" at {list(at)}" if at else ""
    count = f"{int(wrong.sum())} of {wrong.size} elements of {a.dtype}{list(a.shape)} differ, most"
    reason = f"{a[at]} expected, {b[at]} {way}; {count}{where}"
    return reason, at, a[at].item(), b[at].item()


def _wrong(a: np.ndarray, b: np.ndarray, size: float, rtol: float) -> tuple[Any, Any]:
    """Return which elements differ, and how far apart wrong ones are (0 elsewhere)."""
    if not rtol:
        wrong = np.asarray(a != b)
        return wrong, wrong
    a, b = _wide(a), _wide(b)
    with np.errstate(all="ignore"):
        level = np.abs(np.where(np.isfinite(a), a, 0))
        typical = level.mean() if level.size else 0.0
        bound = rtol * (level + typical + _FROM_INPUTS * size)
        distance = np.abs(a - b)
    finite = np.isfinite(a) & np.isfinite(b)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    wrong = np.asarray(np.where(finite, distance > bound, ~same))
    return wrong, np.where(wrong, np.where(finite, distance, np.inf), 0)


# --- compiled ------------------------------------------------------------------------------------


def _compiler(dev: Any) -> Any:
    """Return the backend that compiles for a device, None if there is none."""
    backend = dev.backend
    if backend.compiles_with:
        try:
            backend = registry.backend(backend.compiles_with)
        except registry.BackendNotInstalled:
            return None
    return None if type(backend).compile is Backend.compile else backend


def _compiled_difference(run: _Run, dev: Any, backend: Any) -> Difference | None:
    """Return the first call that differs in a compiled program, found by halving."""
    calls = run.graph.calls
    eager = _chain(run, dev)

    def differs(count: int) -> tuple[int, tuple] | None:
        wanted = _live(run.graph, count)
        program = backend.compile(_beginning(run.graph, count, wanted), device=dev)
        results = program([_to_device(v, dev) for v in run.values])
        size = min(max(map(_largest, eager.values()), default=0.0), 1.0)
        for o, result in zip(wanted, results, strict=True):
            host = np.array(backend.get(result))
            found = _differs(eager[o], host, f"compiled on {dev}", size, _WHOLE)
            if found is not None:
                return o, found
        return None

    if not calls or (last := differs(len(calls))) is None:
        return None
    low, high = 0, len(calls)  # the first `low` calls agree, the first `high` do not
    while high - low > 1:
        middle = (low + high) // 2
        found = differs(middle)
        low, high, last = (middle, high, last) if found is None else (low, middle, found)
    return Difference(calls[high - 1].name, high - 1, run.place(high - 1), *last[1])


def _chain(run: _Run, dev: Any) -> dict[int, Any]:
    """Return all array values as the device itself computes them, call after call."""
    env: dict[int, Any] = dict(zip(run.graph.inputs, run.values, strict=True))
    for call in run.graph.calls:
        env.update(_numbered(call, _kernel(call, [_look_up(env, i) for i in call.ins], dev)))
    return {o: v for o, v in env.items() if isinstance(v, np.ndarray)}


def _live(graph: Graph, count: int) -> list[int]:
    """List the values made by the first `count` calls that later ones, or the caller, read."""
    read = set(graph.outputs)
    for call in graph.calls[count:]:
        read.update(numbers(call.ins))
    calls = graph.calls[:count]
    last = set(numbers(calls[-1].outs))
    return [o for call in calls for o in numbers(call.outs) if o in read or o in last]


def _beginning(graph: Graph, count: int, wanted: list[int]) -> Graph:
    """Return a graph of the first `count` calls and the inputs of the whole."""
    part = Graph()
    part.calls, part.count = list(graph.calls[:count]), graph.count
    part.inputs, part.input_keys = graph.inputs, graph.input_keys
    part.outputs = wanted
    return part
