"""Record a function to look at its graph: no program runs, and nothing keeps what it computed."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from multitorch.autograd.tape import user_place
from multitorch.device import CPU, device
from multitorch.graph import capture
from multitorch.graph.arguments import tensors_in
from multitorch.graph.delivery import nodes_to_fill, replaced_states, symbols_in
from multitorch.graph.graph import Graph, Place, numbers, place_of
from multitorch.graph.recording import _META, Recording
from multitorch.graph.shapes import NoShape
from multitorch.graph.sym import Sym
from multitorch.ops import apply as dispatch
from multitorch.random.generator import keyed_draws

MOST_READS = 200
"""How many values the host may read: a loop that waits for zeros to change would never end."""


class Read(NamedTuple):
    """A value that the host needed while the function was recorded."""

    place: Place | None
    what: str


@dataclass
class Recorded:
    """A function's graph, with what else is known of its calls and values."""

    graph: Graph
    shapes: dict[int, tuple[tuple[int, ...], np.dtype]]
    """Per value that a call computes its shape and dtype."""
    donated: tuple[int, ...]
    """The inputs that are states which the function replaces: `compile` gives their memory away."""
    reads: list[Read]
    """Where the host needed a value; the function got zeros there."""
    stopped: tuple[Place | None, str] | None
    """Where and why the recording ended early."""


def record(function: Callable, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Recorded:
    """Record a call of a function, on real tensors or on those of device "meta".

    It is recorded twice, and the second time counts: by then optimizers have their state, as in all
    steps but the first. Tensors, gradients and generators get back what they had; other effects of
    the function's Python code stay.
    """
    kwargs = kwargs or {}
    given = tensors_in([args, kwargs])
    with _Borrowed() as borrowed, keyed_draws():
        for _ in range(2):
            probe = Probe(_device(function, given))
            borrowed.probes.append(probe)
            result = _run(probe, function, args, kwargs, given)
        del result
    return Recorded(probe.graph, probe.shapes, probe.donated, probe.reads, probe.stopped)


def _run(probe: Probe, function: Callable, args: tuple, kwargs: dict, given: list[Any]) -> Any:
    result = None
    try:
        with capture._Recorded(probe):
            for t in given:
                probe.lift(t)
            result = function(*args, **kwargs)
    except NoShape:
        if probe.stopped is None:
            raise
    finally:
        outputs = probe.outputs()
        probe.restore()
    probe.donated = replaced_states(probe, outputs)
    wanted = dict.fromkeys([*[symbol.id for _, _, symbol in outputs], *probe.read])
    for node in nodes_to_fill([t for t, _, _ in outputs]):
        wanted.update((s.id, None) for s in symbols_in(node.saved))
    if probe.stopped is not None:  # the result is not known: keep what nothing has used yet
        used = {n for call in probe.graph.calls for n in numbers(call.ins)}
        wanted.update((n, None) for n in probe.shapes if n not in used)
    probe.graph.outputs = list(wanted)
    return result


def _device(function: Callable, given: list[Any]) -> Any:
    owner = getattr(function, "__self__", function)
    if not given and hasattr(owner, "parameters"):
        given = list(owner.parameters())
    return next((t._dev for t in given if t._dev is not CPU), CPU)


class Probe(Recording):
    """A recording that notes shapes, and goes on where the host needs a value."""

    def __init__(self, dev: Any) -> None:
        super().__init__(dev)
        self.shapes: dict[int, tuple[tuple[int, ...], np.dtype]] = {}
        self.reads: list[Read] = []
        self.read: list[int] = []
        self.donated: tuple[int, ...] = ()
        self.stopped: tuple[Place | None, str] | None = None

    def call(self, name: str, arrays: tuple, params: dict[str, Any]) -> Any:
        """Append one kernel call, and note what it gives."""
        result = super().call(name, arrays, params)
        if self.body is not None:  # which says itself what it gives
            return result
        for symbol in result if result.__class__ is tuple else (result,):
            self.shapes[symbol.id] = symbol.shape, symbol.dtype
        return result

    def _run_now(self, name: str, arrays: tuple, params: dict[str, Any]) -> Any:
        """Give up: without data there is nothing to go on with."""
        why = f"the shape of {name}'s result depends on data"
        if self.body is not None:
            self.body.refuse(why)
        self.stopped = self._here(), why
        raise NoShape(why)

    def get(self, a: Any) -> np.ndarray:
        """Return zeros for a value that there is none of yet."""
        if a.__class__ is not Sym:
            return self.dev.backend.get(a)
        if self.body is not None:
            self.body.refuse("the value of a tensor is needed on the host")
        self.reads.append(Read(self._here(), f"{a.dtype}{list(a.shape)}"))
        self.read.append(a.id)
        if len(self.reads) > MOST_READS:
            self.stopped = self._here(), f"the host reads more than {MOST_READS} values"
            raise NoShape(self.stopped[1])
        return np.zeros(a.shape, a.dtype)

    def lift(self, t: Any) -> Any:
        """Return a tensor's symbol; what has no data outside either becomes an input, too."""
        a = t._a
        if a.__class__ is not Sym or a.world is self:
            return super().lift(t)
        if self.body is not None:
            return self.body.lift(t)
        symbol = t._a = self._input(a)
        self.lifted[id(t)] = t, a, symbol
        return symbol

    def _number_of(self, a: Any) -> Any:
        if a.__class__ is Sym and a.world is not self:
            return self._input(a).id
        return super()._number_of(a)

    def _here(self) -> Place | None:
        """Return the line that is running: inside a backward pass, that of the node's forward."""
        return place_of(self._within or user_place(sys._getframe(1)))


class _Borrowed:
    """The block in which tensors of "meta" pass for ones of "cpu"; it puts all tensors back.

    The function may hold tensors anywhere, in closures and globals too, and an op refuses operands
    of two devices before the recording sees them. So all there are change sides.
    """

    def __init__(self) -> None:
        self.probes: list[Probe] = []
        meta = device("meta")
        # `isinstance` would ask proxies for their class, which may warn or import
        tensors = [o for o in gc.get_objects() if issubclass(type(o), dispatch.Tensor)]
        self._meta = [t for t in tensors if getattr(t, "_dev", None) is meta]
        self._grads = {id(t): (t, t._grad) for t in tensors if t._grad is not None}

    def __enter__(self) -> _Borrowed:
        for t in self._meta:
            t._dev = CPU
        return self

    def __exit__(self, *exc: object) -> None:
        meta = device("meta")
        for t in self._meta:
            t._dev = meta
        for probe in self.probes:
            for t, _, _ in probe.lifted.values():
                if id(t) not in self._grads:
                    t._grad = None
        for t, grad in self._grads.values():
            t._grad = grad
        for reference in (r for probe in self.probes for r in probe.born):
            t = reference()  # what the function keeps of its results has a shape, but no data
            if t is not None and t._a.__class__ is Sym:
                t._dev, t._a = meta, Sym(_META, t._a.shape, t._a.dtype)
