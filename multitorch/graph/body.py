"""The bodies of control ops: what a function does, recorded into a graph of its own.

A `Scope` takes the place of the recording's graph while the function runs. Whatever the function
uses that was there before (tensors of the graph around it, tensors from outside, Python numbers)
becomes an input of the body. The scope keeps the body's piece of the tape, and can be opened again:
a derivative is the body's own calls, followed by what its nodes' rules record.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
from collections.abc import Callable, Iterator, Sequence
from threading import get_ident
from typing import Any

import numpy as np

from multitorch.autograd.function import _CustomOp
from multitorch.autograd.tape import Node, Output, edge_of, next_seq
from multitorch.graph.graph import Graph
from multitorch.graph.sym import Sym
from multitorch.ops import apply as dispatch
from multitorch.ops.control import flatten
from multitorch.random.generator import draw_count, on_pick

_segments = itertools.count(-1, -1)
"""Bodies count downwards, the graphs between two breaks upwards: no two share a number."""
_STATE = ("graph", "segment", "values", "draws", "redraws", "_floats", "inputs_by_memory")
_NEVER = float("inf")


class Unrecordable(RuntimeError):
    """Raised for what cannot be part of a body; the op then runs in its eager form."""

    def __init__(
        self, why: str, remedy: str = "let the body only compute its result from tensors"
    ) -> None:
        super().__init__(why)
        self.remedy = remedy


class Body(Graph):
    """The graph of a body: a parameter of a call, equal to another that does the same."""

    __slots__ = ("_hash", "_parts", "results")

    def __init__(self) -> None:
        super().__init__()
        self.results: list[tuple[tuple[int, ...], np.dtype]] = []
        """Per output its shape and dtype."""

    def freeze(self) -> None:
        """Note what it is equal to: from now on it does not change."""
        self._parts = self.signature()
        self._hash = hash(self._parts)

    def copy(self) -> Body:
        """Return a body that begins as this one and can be added to."""
        other = Body()
        other.calls, other.where, other.count = list(self.calls), list(self.where), self.count
        other.inputs, other.input_keys = list(self.inputs), list(self.input_keys)
        return other

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, Body) and self._hash == other._hash and self._parts == other._parts
        )

    def __hash__(self) -> int:
        return self._hash


class Scope:
    """One body: its graph, the values of its inputs, its piece of the tape."""

    def __init__(self, recording: Any, name: str) -> None:
        self.recording, self.name = recording, name
        self.draws = name in ("scan", "map")
        """Whether it may draw random numbers: elsewhere nobody knows how many."""
        self.state: dict[str, Any] = {
            "graph": Body(), "segment": next(_segments), "values": [], "draws": [],
            "redraws": [], "_floats": {}, "inputs_by_memory": {},
        }  # fmt: skip
        self.marks: dict[Node, int] = {}
        """The nodes of tensors that stand for inputs where gradients end, and their numbers."""
        self.edges: list[Any] = []
        """Per output where its gradient goes."""
        self.leaves: set[Any] = set()
        """Leaves that the body itself made."""
        self._spans: list[tuple[float, float]] = []  # the numbers of the nodes that it made
        self._touched: list[tuple[Any, Any, Any]] = []  # tensor, array, node before the body
        self._refused: Unrecordable | None = None

    @property
    def graph(self) -> Body:
        """The body's graph."""
        return self.state["graph"]

    @property
    def values(self) -> list[Any]:
        """The values of the graph's inputs, in their order."""
        return self.state["values"]

    # --- being recorded

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Let the recording's calls go into this body."""
        r = self.recording
        self._outside = {name: r.__dict__[name] for name in _STATE}
        self._outer = r.body
        r.__dict__.update(self.state)
        r.body = self
        since = next_seq()
        self._spans.append((since, _NEVER))
        try:
            yield
        finally:
            self._spans[-1] = (since, next_seq())
            r.__dict__.update(self._outside)
            r.body = self._outer

    @contextlib.contextmanager
    def _at_root(self) -> Iterator[None]:
        """Step out of this body, and those around it."""
        r, scope = self.recording, self
        while scope._outer is not None:
            scope = scope._outer
        inside = {name: r.__dict__[name] for name in _STATE}
        r.__dict__.update(scope._outside)
        r.body = None
        try:
            yield
        finally:
            r.__dict__.update(inside)
            r.body = self

    def refuse(self, why: str) -> None:
        """Give up recording the body."""
        self._refused = Unrecordable(f"{self.name}: {why}")
        raise self._refused

    def lift(self, t: Any) -> Any:
        """Return the symbol of a tensor from outside."""
        r = self.recording
        if r.finished:  # nothing from outside may change hands then: its value is an input
            return r._input(t._a if r.host is None else r.host.lift(t))
        node = t._node
        with self._at_root():
            symbol = r.lift(t)
        self._touched.append((t, symbol, node))
        return symbol

    def redraw(self, t: Any, again: Callable) -> None:
        """Make random numbers from the host an input, to be drawn again for every step."""
        place = len(self.values)
        t._a = self.recording._input(t._a)
        self.state["redraws"].append((place, again))
        self.recording.track(t)

    def placeholder(self, key: Any, dev: Any, marked: bool, value: Any = None) -> Any:
        """Return a tensor for a new input; a `marked` one is where gradients end."""
        graph = self.graph
        self.values.append(value)
        shape, dtype = key
        symbol = Sym(self.recording, shape, dtype, graph.add_input(key), self.state["segment"])
        t = dispatch.wrap(symbol, dev)
        self._touched.append((t, symbol, None))
        if marked:
            t._node = node = Node()
            node.op = _CustomOp("Body", lambda node, gs: [], (0,))
            node.dev, node.edges, node.saved, node.seq = dev, (), (), next_seq()
            node.meta = node.extra = node.where = None
            self.marks[node] = symbol.id
        return t

    def record(self, function: Callable[[], Any], whole: bool = True) -> Any:
        """Run a function whose calls are the body's; return its result.

        It ends with `finish`, unless it is not the `whole` body. What it did otherwise is undone
        before an error leaves.
        """
        before = _Before(self, whole)
        try:
            with self.open(), before:
                return function()
        except BaseException:
            before.restore()
            raise

    def trace(self, function: Callable, *args: Any) -> Any:
        """Record a function of tensors; the tensors in its result are the outputs.

        Returns the structure of the result.
        """

        def run() -> Any:
            leaves: list[Any] = []
            result = function(*args)
            if self._refused is not None:  # and the function has caught it
                raise self._refused
            try:
                structure = flatten(result, leaves)
            except TypeError as error:
                raise Unrecordable(f"{self.name}: the result of its body: {error}") from None
            for t in leaves:
                if t._dev is not self.recording.dev:
                    self.refuse(f"its body returns a tensor on {t._dev}")
            self.finish([(raw(t), edge_of(t)) for t in leaves])
            return structure

        return self.record(run)

    def finish(self, outputs: Sequence[tuple[Any, Any]]) -> None:
        """Make raw values with their edges the outputs; also keep what the tape's rules read."""
        r, graph = self.recording, self.graph
        for raw, edge in outputs:
            graph.outputs.append(r._number_of(raw))
            graph.results.append((tuple(raw.shape), np.dtype(raw.dtype)))
            self.edges.append(edge)
        for node in self.nodes(self.edges):
            for symbol in _symbols(node.saved):
                r._number_of(symbol)

    def arrange(self, *groups: Sequence[int]) -> list[Any]:
        """Put groups of inputs, by number, before the others; return the values of those."""
        graph = self.graph
        keys = dict(zip(graph.inputs, graph.input_keys, strict=True))
        values = dict(zip(graph.inputs, self.values, strict=True))
        first = [number for group in groups for number in group]
        rest = [number for number in graph.inputs if number not in set(first)]
        graph.inputs = [*first, *rest]
        graph.input_keys = [keys[number] for number in graph.inputs]
        self.state["values"] = [values[number] for number in graph.inputs]
        graph.freeze()
        return [values[number] for number in rest]

    def reopened(self, values: Sequence[Any]) -> Scope:
        """Return a scope that goes on where this one ended, its inputs having these values."""
        other = Scope(self.recording, self.name)
        other.state |= {
            "graph": self.graph.copy(), "segment": self.state["segment"], "values": list(values),
            "_floats": dict(self.state["_floats"]),
            "inputs_by_memory": dict(self.state["inputs_by_memory"]),
        }  # fmt: skip
        other.marks, other.leaves = dict(self.marks), set(self.leaves)
        other._spans = list(self._spans)
        return other

    # --- the tape

    def inside(self, edge: Any) -> bool:
        """Whether an edge leads to a node that the body made."""
        node = edge.node if edge.__class__ is Output else edge
        if node.__class__ is not Node or node in self.marks:
            return False
        return any(first <= node.seq <= last for first, last in self._spans)

    def nodes(self, edges: Sequence[Any]) -> list[Node]:
        """List the body's nodes that lead to some edges, the oldest first."""
        stack = [_node(e) for e in edges if e is not None and self.inside(e)]
        found: dict[Node, None] = {}
        while stack:
            node = stack.pop()
            if node not in found:
                found[node] = None
                stack += [_node(e) for e in node.edges if e is not None and self.inside(e)]
        return sorted(found, key=lambda node: node.seq)

    def sources(self) -> list[dict[Any, Any]]:
        """Return per output the edges out of the body that it depends on, by their keys."""
        places: dict[Any, int] = {}
        known: list[Any] = []
        masks: dict[Node, int] = {}

        def mask_of(edge: Any) -> int:
            if edge is None or edge in self.leaves:
                return 0
            if self.inside(edge):
                return masks[_node(edge)]
            place = places.setdefault(key_of(edge), len(places))
            if place == len(known):
                known.append(edge)
            return 1 << place

        for node in self.nodes(self.edges):
            masks[node] = 0
            for edge in node.edges:
                masks[node] |= mask_of(edge)
        found = [mask_of(edge) for edge in self.edges]
        return [{key: known[i] for key, i in places.items() if mask >> i & 1} for mask in found]


class _Before:
    """How things were before a body, and the check that it left them so."""

    def __init__(self, scope: Scope, whole: bool) -> None:
        r = scope.recording
        self._scope, self._whole, self._born = scope, whole, len(r.born)
        tensors = [*[t for t, _, _ in r.lifted.values()], *[reference() for reference in r.born]]
        self._tensors = [(t, t._a, t._node) for t in tensors if t is not None]
        self._drawn, self._accounted = draw_count(), r.accounted
        self._generators: dict[Any, Callable] = {}

    def __enter__(self) -> None:
        self._told = on_pick.get(get_ident())
        on_pick[get_ident()] = self._note

    def _note(self, generator: Any) -> None:
        if generator not in self._generators:
            self._generators[generator] = generator.bookmark()
        if self._told is not None:
            self._told(generator)

    def __exit__(self, kind: Any, *exc: object) -> None:
        if self._told is None:
            del on_pick[get_ident()]
        else:
            on_pick[get_ident()] = self._told
        if kind is None:
            self._check()

    def _check(self) -> None:
        scope, r = self._scope, self._scope.recording
        if draw_count() - self._drawn != r.accounted - self._accounted:
            scope.refuse("its body draws random numbers in a way that no program can repeat")
        if not scope.draws and (scope.state["draws"] or scope.state["redraws"]):
            scope.refuse("its body draws random numbers, and only the data say how many")
        for t, a, _ in [*self._tensors, *scope._touched]:
            if t._a is not a:
                scope.refuse("its body writes to a tensor from outside of it")
        if self._whole:
            self._check_kept()
        del r.born[self._born :]
        scope._touched.clear()

    def _check_kept(self) -> None:
        """Raise for tensors of the body that something outside of it holds on to."""
        scope = self._scope
        nodes = scope.nodes(scope.edges)
        own = {id(t) for node in nodes for t in _held(node)}
        newborn = self._newborn()
        scope.leaves |= {e for n in nodes for e in n.edges if id(e) in newborn and _is_leaf(e)}
        own |= {id(t) for t in scope.leaves}
        if newborn.keys() <= own:
            return
        del newborn
        gc.collect()
        kept = [t for i, t in self._newborn().items() if i not in own]
        if kept:
            t = kept[0]
            raise RuntimeError(
                f"{scope.name}: its body keeps a tensor that it made, of {t._dtype} and shape "
                f"{list(t._a.shape)}, outside of itself (in a list, an attribute, a gradient). In "
                "a program the tensor has no value there. Remedy: return it from the body, or make "
                "it before."
            )

    def _newborn(self) -> dict[int, Any]:
        found = [b() for b in self._scope.recording.born[self._born :]]
        return {id(t): t for t in found if t is not None}

    def restore(self) -> None:
        """Undo what the body did to older tensors and to generators."""
        r = self._scope.recording
        for t, a, node in [*self._tensors, *self._scope._touched]:
            t._a, t._node = a, node
        for go_back in self._generators.values():
            go_back()
        del r.born[self._born :]
        r.accounted = self._accounted


def key_of(edge: Any) -> Any:
    """Return what two edges that are one have in common."""
    return (edge.node, edge.index) if edge.__class__ is Output else edge


def raw(t: Any) -> Any:
    """Return a tensor's array in the world of the present thread."""
    return dispatch.raw_of(t, t._dev, dispatch.world_for(t._dev))


def _node(edge: Any) -> Node:
    return edge.node if edge.__class__ is Output else edge


def _is_leaf(edge: Any) -> bool:
    return isinstance(edge, dispatch.Tensor)


def _symbols(saved: Any) -> Iterator[Sym]:
    if saved.__class__ is Sym:
        yield saved
    elif saved.__class__ is tuple:
        for value in saved:
            yield from _symbols(value)


def _held(node: Node) -> Iterator[Any]:
    """Yield the tensors that a user's own rule keeps beside those it saves."""
    ctx = getattr(node.op, "ctx", None)
    stack = [] if ctx is None else list(vars(ctx).values())
    while stack:
        value = stack.pop()
        if isinstance(value, dispatch.Tensor):
            yield value
        elif isinstance(value, (tuple, list)):
            stack += value
        elif isinstance(value, dict):
            stack += value.values()
