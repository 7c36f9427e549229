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

from multitorch.autograd.tape import next_seq, user_place
from multitorch.backend import World
from multitorch.backend.registry import ARRAY_TYPES
from multitorch.graph.graph import Graph
from multitorch.graph.memory import settle
from multitorch.graph.meta import MetaBackend
from multitorch.graph.shapes import NoShape, infer
from multitorch.graph.sym import Sym
from multitorch.ops.view import replay
from multitorch.random.generator import Draw

ARRAY_TYPES.add(Sym)
_META = MetaBackend()
_getframe = sys._getframe
_specs: dict[Any, Any] = {}
_new_symbol = Sym.__new__


def _symbol(world: Any, spec: Any, number: int, segment: int) -> Sym:
    """Make a symbol without the call of its `__init__`, which takes as long as all the rest."""
    s = _new_symbol(Sym)
    s.world, s.id, s.segment = world, number, segment
    s.shape, s.dtype = spec
    return s


def _kind(a: Any) -> Any:
    """Return what a result's shape can depend on."""
    if a.__class__ is tuple:
        return tuple([_kind(e) for e in a])
    return (a.shape, a.dtype) if hasattr(a, "shape") else a.__class__


class Recording(World):
    """Records the kernel calls of one run of a function on the tensors of one device."""

    records = True
    mutable = False
    array_types = (Sym,)

    def __init__(self, dev: Any) -> None:
        self.dev = dev
        self.began = next_seq()
        """What is older on the tape was made before the call."""
        self.graph = Graph()
        self._within: tuple | None = None
        """The place of the op whose derivative is being recorded; None outside a backward pass."""
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
        self._passing: set[int] = set()
        self.born: list[weakref.ref] = []
        self.draws: list[tuple[int, Any, int]] = []
        """(Place among the values, generator, how many) of the draws that the device makes."""
        self.redraws: list[tuple[Any, Callable]] = []
        """(Tensor, how to draw its array again) of every draw that the host makes."""
        self.drawn = self.accounted = 0
        """How many draws were made, and how many of them it is known how to repeat."""
        self.body: Any = None
        """The body of a control op that is being recorded (`graph.body.Scope`), if one is."""
        self.reason: tuple[str, str] | None = None
        """Why the next value is needed, and the remedy, where that is known better than usual."""
        self.warned: set[str] = set()
        """Warnings that the compiled function has given."""
        self.finished = False
        self.host: Any = None
        """The recording under way where this one, which is finished, records a derivative."""
        self._floats: dict[int, tuple[float, int]] = {}  # identity -> object (kept alive), number
        self.inputs_by_memory: dict[
            Any, tuple[Any, Sym]
        ] = {}  # memory -> array (kept alive), symbol

    # --- kernels

    def __getattr__(self, name: str) -> Callable:
        if name.startswith("__"):
            raise AttributeError(name)

        def kernel(self: Recording, *arrays: Any, **params: Any) -> Any:
            return self.call(name, arrays, params)

        setattr(Recording, name, kernel)  # for all recordings, so that it is made once
        return getattr(self, name)

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
        graph, segment = self.graph, self.segment
        ins = tuple([
            a.id if a.__class__ is Sym and a.world is self and a.segment == segment
            else self._number_of(a) for a in arrays
        ])  # fmt: skip
        step = graph.follow_step(name, ins, params) if graph.ahead is not None else None
        if step is None:
            try:
                spec = self._spec(name, arrays, params, tuple(params.items()))
            except NoShape:
                return self._run_now(name, arrays, params)
            where = self._within or user_place(_getframe(1))
            step = graph.add_call(name, ins, params, spec, where)
        first, spec = step[3], step[5]
        if spec[1].__class__ is not tuple:
            return _symbol(self, spec, first, segment)
        return tuple([_symbol(self, s, first + i, segment) for i, s in enumerate(spec)])

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
        if self.body is not None and symbols:
            self.body.refuse(why)
        fresh = [s for s in symbols if s.segment == self.segment]
        if fresh:
            why, remedy = self.reason or (why, "return the tensor and read it after the call")
            self.reason = None
            if self.breaker is None:
                raise RuntimeError(
                    f"{why}, inside a function compiled with fullgraph=True. Remedy: {remedy}, or "
                    "compile with fullgraph=False."
                )
            self.breaker(self, fresh, why, remedy)
        return [self.past[s.segment, s.id] for s in symbols]

    def next_segment(self, values: dict[int, Any]) -> None:
        """Begin a new graph after a break; `values` are those of the one before, by number."""
        self.past |= {(self.segment, number): value for number, value in values.items()}
        self.segment += 1
        self.graph = Graph()
        self.graph.segment = self.segment
        self.values = []
        self.lifted, self.born, self._floats, self.inputs_by_memory = {}, [], {}, {}

    def _spec(self, name: str, arrays: tuple, params: dict, keys: tuple) -> Any:
        key = (name, _kind(arrays), keys)
        spec = _specs.get(key)
        if spec is None:
            stand_ins = tuple(
                Sym(_META, a.shape, np.dtype(a.dtype)) if hasattr(a, "shape") else a for a in arrays
            )
            spec = _specs[key] = infer(_META, name, stand_ins, params)
        return spec

    def _number_of(self, a: Any) -> Any:
        if a.__class__ is Sym:
            if a.world is self and a.segment == self.segment:
                return a.id
            if self.body is not None:
                return self._input(a).id
            if a.world is not self:
                raise RuntimeError(
                    "a tensor of another recording, or of device 'meta', is used inside a compiled "
                    "function"
                )
            return self._input(self._value_from_before(a)).id
        if a is None:
            return None
        if a.__class__ is tuple:
            return tuple([self._number_of(e) for e in a])
        if a.__class__ is float:
            return self._float(a)
        if a.__class__ is Draw:
            self.draws.append((len(self.values), a.generator, a.count))
            self.accounted += a.count == 1
            self.values.append(int(a))
            return self.graph.add_input(int)
        if a.__class__ in (int, bool, complex):
            self.values.append(a)
            return self.graph.add_input(a.__class__)
        return self._input(a).id

    def _value_from_before(self, a: Sym) -> Any:
        if (a.segment, a.id) not in self.past:
            raise RuntimeError(
                "a tensor that was made inside the body of a cond, while_loop, scan or map is used "
                "outside of it. Remedy: return it from the body."
            )
        return self.past[a.segment, a.id]

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
        found = self.inputs_by_memory.get(key)
        if found is None:
            self.values.append(a)
            number = self.graph.add_input((a.shape, a.dtype))
            found = self.inputs_by_memory[key] = (
                a,
                Sym(self, a.shape, a.dtype, number, self.segment),
            )
        return found[1]

    def _memory(self, a: Any) -> Any:
        if a.__class__ is Sym and a.id >= 0:
            return a.world, a.segment, a.id
        if isinstance(a, np.ndarray):
            return a.__array_interface__["data"][0], a.shape, a.strides, a.dtype
        return id(a)

    def enter_node(self, node: Any) -> None:
        """Attribute the calls from here on to the place of a node; None: to the running line.

        What a user's own derivative calls has lines of its own.
        """
        here = None if node is None or node.op.custom is not None else node.where
        self._within = None if here is None else (*here, True)

    # --- tensors

    def lift_argument(self, t: Any) -> None:
        """Lift a tensor which the next call may not see again: its memory stays where it is."""
        self._passing.add(id(t))
        self.lift(t)

    def lift(self, t: Any) -> Any:
        """Return the symbol of a tensor, making its array an input if it comes from outside."""
        if t._a.__class__ is Sym:
            return t._a
        if id(t) not in self._passing:
            settle(t)
        a = t._a
        if self.body is not None:
            return self.body.lift(t)
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

    def redraw(self, t: Any, again: Callable) -> None:
        """Note a tensor of random numbers from the host, and how to draw its array again."""
        self.accounted += 1
        if self.body is not None:
            self.body.redraw(t, again)
        else:
            self.redraws.append((t, again))

    def control(self, name: str, eager: Callable, args: tuple) -> Any:
        """Record a control op as one call; where that cannot be, run its eager form."""
        from multitorch.graph import control

        return control.record(self, name, eager, args)

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

    def finish(self) -> None:
        """Let go of all arrays: what may use the recording again brings its own."""
        self.finished = True
        self.values, self.given, self.past, self.arguments = [], {}, {}, ((), {})
        self.lifted, self.born, self._floats, self.inputs_by_memory = {}, [], {}, {}
        self.draws, self.redraws, self.breaker = [], [], None

    def restore(self) -> None:
        """Give tensors from outside their arrays back."""
        for t, a, symbol in self.lifted.values():
            if t._a is symbol or t._a.__class__ is Sym:
                t._a = a
