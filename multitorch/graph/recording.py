"""A recording in progress: the world whose kernels append to a graph.

Tensors that the function reaches from outside are lifted when an op first touches them: their raw
array becomes an input of the graph, and they hold its symbol until the recording ends. Python
numbers in the place of arrays are inputs too.
"""

from __future__ import annotations

import contextlib
import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from multitorch.autograd.tape import user_place
from multitorch.backend import World
from multitorch.backend.registry import ARRAY_TYPES
from multitorch.graph.graph import Call, Graph
from multitorch.graph.meta import MetaBackend
from multitorch.graph.shapes import NoShape, infer
from multitorch.graph.sym import Sym
from multitorch.ops.view import replay
from multitorch.random.generator import Draw

ARRAY_TYPES.add(Sym)
_META = MetaBackend()
_getframe = sys._getframe
_specs: dict[Any, Any] = {}


class Recording(World):
    """Records the kernel calls of one run of a function on the tensors of one device."""

    records = True
    mutable = False
    array_types = (Sym,)

    def __init__(self, dev: Any) -> None:
        self.dev = dev
        self.graph = Graph()
        self.segment = 0
        """How many graphs came before this one, in the same call."""
        self.past: dict[tuple[int, int], Any] = {}
        """(Segment, number) -> value that an earlier graph of this call computed."""
        self.breaker: Callable | None = None
        """Runs what is recorded so far when a value is needed; None if that is an error."""
        self.arguments: tuple[tuple, dict] = ((), {})
        self.given: dict[int, Any] = {}
        """The inputs' values by number, once the recording is complete."""
        self.values: list[Any] = []
        """The inputs' values, in the order of `graph.inputs`."""
        self.lifted: dict[int, tuple[Any, Any, Sym]] = {}  # id(tensor) -> tensor, array, symbol
        self.born: list[weakref.ref] = []
        self.draws: list[tuple[int, Any]] = []
        """(Number among the values, generator) of every draw that the device makes."""
        self.redraws: list[tuple[Any, Callable]] = []
        """(Tensor, how to draw its array again) of every draw that the host makes."""
        self.drawn = 0
        self._floats: dict[int, tuple[float, int]] = {}  # identity -> object (kept alive), number
        self._inputs: dict[Any, tuple[Any, Sym]] = {}  # memory -> array (kept alive), symbol

    # --- kernels

    def __getattr__(self, name: str) -> Callable:
        if name.startswith("__"):
            raise AttributeError(name)

        def kernel(*arrays: Any, **params: Any) -> Any:
            return self.call(name, arrays, params)

        self.__dict__[name] = kernel
        return kernel

    def kernel(self, name: str) -> Callable:
        """Return the recording kernel of a name."""
        return getattr(self, name)

    # what the rules ask for to be safe, and what mostly changes nothing, is not recorded then

    def conj(self, x: Any) -> Any:
        """Record the conjugate of a complex array; a real one is its own."""
        if x.__class__ is Sym and x.dtype.kind == "c":
            return self.call("conj", (x,), {})
        return x.conjugate() if x.__class__ is complex else x

    def cast_grad(self, g: Any, *, dtype: Any) -> Any:
        """Record a gradient's cast to its input's dtype, if it is another."""
        return g if g.dtype == dtype else self.call("cast_grad", (g,), {"dtype": dtype})

    def sum_to(self, g: Any, *, shape: tuple[int, ...]) -> Any:
        """Record the sum that undoes broadcasting, if there was any."""
        return g if g.shape == shape else self.call("sum_to", (g,), {"shape": shape})

    def call(self, name: str, arrays: tuple, params: dict[str, Any]) -> Any:
        """Append one kernel call; return its symbolic result."""
        ins = tuple([self._number_of(a) for a in arrays])
        keys = tuple(params.items())
        try:
            spec = self._spec(name, arrays, params, keys)
        except NoShape:
            return self._run_now(name, arrays, params)
        graph = self.graph
        graph.where.append(user_place(_getframe(1)))
        if spec[1].__class__ is tuple:
            results = tuple([Sym(self, s, d, graph.new_value(), self.segment) for s, d in spec])
            graph.calls.append(Call(name, ins, keys, tuple([r.id for r in results])))
            return results
        result = Sym(self, spec[0], spec[1], graph.new_value(), self.segment)
        graph.calls.append(Call(name, ins, keys, result.id))
        return result

    # --- graph breaks

    def _run_now(self, name: str, arrays: tuple, params: dict[str, Any]) -> Any:
        """Run a kernel whose result's shape depends on data on the values of its operands."""
        symbols = [a for a in arrays if a.__class__ is Sym]
        values = iter(self._values(symbols, f"the shape of {name}'s result depends on data"))
        given = [next(values) if a.__class__ is Sym else a for a in arrays]
        backend = self.dev.backend
        result = backend.kernel(name)(*given, **params)
        if result.__class__ is tuple:
            return tuple([backend.as_array(a) for a in result])
        return result if result.__class__ in backend.array_types else backend.as_array(result)

    def _values(self, symbols: list[Sym], why: str) -> list[Any]:
        """Return the values of symbols: what is recorded so far is compiled and run."""
        fresh = [s for s in symbols if s.segment == self.segment]
        if fresh:
            if self.breaker is None:
                raise RuntimeError(
                    f"{why}, inside a function compiled with fullgraph=True. Remedy: return the "
                    "tensor and read it after the call, or compile with fullgraph=False."
                )
            self.breaker(self, fresh, why)
        return [self.past[s.segment, s.id] for s in symbols]

    def next_segment(self, values: dict[int, Any]) -> None:
        """Begin a new graph after a break; `values` are those of the one before, by number."""
        self.past |= {(self.segment, number): value for number, value in values.items()}
        self.segment += 1
        self.graph = Graph()
        self.graph.segment = self.segment
        self.values = []
        self.lifted, self.born, self._floats, self._inputs = {}, [], {}, {}

    def _spec(self, name: str, arrays: tuple, params: dict, keys: tuple) -> Any:
        parts = [(a.shape, a.dtype) if hasattr(a, "shape") else a.__class__ for a in arrays]
        key = (name, tuple(parts), keys)
        spec = _specs.get(key)
        if spec is None:
            stand_ins = tuple(
                Sym(_META, a.shape, np.dtype(a.dtype)) if hasattr(a, "shape") else a for a in arrays
            )
            spec = _specs[key] = infer(_META, name, stand_ins, params)
        return spec

    def _number_of(self, a: Any) -> Any:
        if a.__class__ is Sym:
            if a.world is self and a.segment != self.segment:
                return self._input(self.past[a.segment, a.id]).id
            if a.world is not self:
                raise RuntimeError(
                    "a tensor of another recording, or of device 'meta', is used inside a compiled "
                    "function"
                )
            return a.id
        if a is None:
            return None
        if a.__class__ is tuple:
            return tuple([self._number_of(e) for e in a])
        if a.__class__ is float:
            return self._float(a)
        if a.__class__ is Draw:
            self.draws.append((len(self.values), a.generator))
            self.values.append(int(a))
            return self.graph.add_input(int)
        if a.__class__ in (int, bool, complex):
            self.values.append(a)
            return self.graph.add_input(a.__class__)
        return self._input(a).id

    def _float(self, a: float) -> int:
        """Return the number of a Python float; one object (a learning rate, say) is one input."""
        found = self._floats.get(id(a))
        if found is None:
            self.values.append(a)
            found = self._floats[id(a)] = (a, self.graph.add_input(float))
        return found[1]

    def _input(self, a: Any) -> Sym:
        """Return the symbol of a real array; arrays that are the same memory share one."""
        key = self._memory(a)
        found = self._inputs.get(key)
        if found is None:
            self.values.append(a)
            number = self.graph.add_input((a.shape, a.dtype))
            found = self._inputs[key] = (a, Sym(self, a.shape, a.dtype, number, self.segment))
        return found[1]

    def _memory(self, a: Any) -> Any:
        if isinstance(a, np.ndarray):
            return a.__array_interface__["data"][0], a.shape, a.strides, a.dtype
        return id(a)

    # --- tensors

    def lift(self, t: Any) -> Any:
        """Return the symbol of a tensor, making its array an input if it comes from outside."""
        a = t._a
        if a.__class__ is Sym:
            return a
        if t._view is not None and t._view[0]._a.__class__ is Sym:
            base, steps = t._view[:2]
            symbol = replay(self, base._a, steps)
        else:
            symbol = self._input(a)
        self.lifted[id(t)] = (t, a, symbol)
        t._a = symbol
        return symbol

    def track(self, t: Any) -> None:
        """Note a tensor born in the recording: if it outlives it, it is an output."""
        self.born.append(weakref.ref(t))

    # --- the rest of what a backend offers

    def put(self, a: Any, *, type: str, index: int) -> Sym:
        """Make host data an input."""
        return self._input(np.array(a))

    def full(self, value: Any, *, shape: tuple, dtype: Any, type: str, index: int) -> Sym:
        """Record a constant array."""
        return self.call("constant", (value,), {"shape": tuple(shape), "dtype": np.dtype(dtype)})

    def get(self, a: Any) -> np.ndarray:
        """Return a value: it is computed at once, which ends the graph so far."""
        if a.__class__ is Sym:
            why = "the value of a tensor is needed on the host (item(), bool(), numpy(), print)"
            (a,) = self._values([a], why)
        return self.dev.backend.get(a)

    def as_array(self, a: Any) -> Any:
        """Make a NumPy scalar an input."""
        return self._input(np.asarray(a))

    def copy(self, a: Any) -> Any:
        """Return the array: symbols are values."""
        return a

    own = buffer = copy

    def write(self, dst: Any, src: Any) -> Any:
        """Return the array that holds `src` with the shape and dtype of `dst`."""
        if src.shape != dst.shape:
            src = self.expand(src, shape=dst.shape)
        return src if src.dtype == dst.dtype else self.cast(src, dtype=dst.dtype)

    def strides(self, a: Any) -> None:
        """Return None: symbols have no strides."""

    def is_contiguous(self, a: Any) -> None:
        """Return None: symbols have no strides."""

    def has_overlap(self, a: Any) -> bool:
        """Return False: symbols have no memory."""
        return False

    def inplace_kernel(self, name: str) -> None:
        """Return None: nothing is written in place."""

    def quiet(self) -> Any:
        """Do nothing."""
        return contextlib.nullcontext()

    # --- the end

    def outputs(self) -> list[tuple[Any, Any, Sym]]:
        """List (tensor, array from before or None, symbol) of all that must get a value."""
        found = []
        for t, a, symbol in self.lifted.values():
            if t._a is not symbol:
                found.append((t, a, t._a))
        for reference in self.born:
            t = reference()
            if t is not None and t._a.__class__ is Sym and id(t) not in self.lifted:
                found.append((t, None, t._a))
        return found

    def restore(self) -> None:
        """Give tensors from outside their arrays back."""
        for t, a, symbol in self.lifted.values():
            if t._a is symbol or t._a.__class__ is Sym:
                t._a = a
