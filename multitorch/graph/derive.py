"""Calls of control ops, and their derivatives.

A derivative is a control op again, over bodies that compute the forward body anew and then run its
tape backwards: a `cond` of two such bodies, a `scan` in the other direction over the carries that
each step began with. As these are recorded in the same way, with their tapes, they have derivatives
too.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from multitorch.autograd import modes, tape
from multitorch.autograd.function import _CustomOp
from multitorch.autograd.tape import Engine, Node, Output, edge_of, next_seq
from multitorch.graph import capture
from multitorch.graph.body import Scope, key_of, raw
from multitorch.graph.steps import Steps
from multitorch.ops import apply as dispatch


class Operand(NamedTuple):
    """An array that goes into a call, and the edge along which its gradient leaves."""

    raw: Any
    edge: Any

    @classmethod
    def of(cls, t: Any) -> Operand:
        """Return a tensor as an operand."""
        wanted = t._dtype.inexact and modes.is_grad_enabled()
        return cls(raw(t), edge_of(t) if wanted else None)


def call(dev: Any, name: str, arrays: tuple, **params: Any) -> list[Any]:
    """Run a control op on raw arrays in the present world; return its results as tensors."""
    world = dispatch.world_for(dev)
    results = world.kernel(name)(*arrays, **params)
    results = results if results.__class__ is tuple else (results,)
    return [dispatch.wrap(a, dev, world) for a in results]


def _put_node(name: str, backward: Callable, outs: dict[int, Any], edges: Any, saved: Any) -> Node:
    """Put a node on the tape for the outputs that require grad."""
    node = Node()
    node.op = _CustomOp(name, backward, tuple(outs))
    first = next(iter(outs.values()))
    node.dev, node.edges, node.saved = first._dev, tuple(edges), tuple(saved)
    node.meta = node.extra = None
    node.seq, node.where = next_seq(), tape.user_place(sys._getframe(1))
    for k, t in enumerate(outs.values()):
        t._node = node if len(outs) == 1 else Output(node, k)
    return node


def shape_key(a: Any) -> tuple:
    """Return shape and dtype of an array or a tensor."""
    a = a._a if isinstance(a, dispatch.Tensor) else a
    return tuple(a.shape), np.dtype(a.dtype)


def slice_key(a: Any) -> tuple:
    """Return shape and dtype of what one step of a loop gets of it."""
    shape, dtype = shape_key(a)
    return shape[1:], dtype


# --- derivatives of bodies ------------------------------------------------------------------------


class _Pullback(Engine):
    """A backward pass through a body: it ends where the body's own nodes do."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(retain=True, create_graph=modes.is_grad_enabled(), wanted=None)
        self._scope = scope
        self.ends: dict[Any, tuple[Any, Any]] = {}
        """By its key an edge out of the body, and what has arrived there."""

    def push(self, edge: Any, g: Any) -> None:
        """Add `g` to what has arrived at an edge."""
        if self._scope.inside(edge):
            super().push(edge, g)
        elif edge not in self._scope.leaves:
            held = self.ends.get(key_of(edge))
            if held is not None:
                g = self.world_of(self._scope.recording.dev).add(held[1], g)
            self.ends[key_of(edge)] = edge, g


def _operand_in(g: Any) -> tuple[Any, Any]:
    """Return a gradient, a tensor where derivatives are recorded, as (raw value, edge)."""
    return (raw(g), edge_of(g)) if isinstance(g, dispatch.Tensor) else (g, None)


@contextlib.contextmanager
def _recording_again(scope: Scope) -> Iterator[None]:
    """Let this thread record into a scope, whatever else it may be recording."""
    present, r = getattr(capture._thread, "recording", None), scope.recording
    if present is r:
        yield
        return
    r.finished, r.host = True, present
    try:
        with capture._Recorded(r):
            yield
    finally:
        r.host = None


def _pull(scope: Scope, roots: Sequence[tuple[Any, Any]]) -> dict[Any, tuple[Any, Any]]:
    """Run a body's tape backwards from (edge, gradient); return what arrives, and where."""
    engine = _Pullback(scope)
    for edge, g in roots:
        engine.push(edge, g if engine.create_graph else g._a)
    engine.run()
    return engine.ends


@contextlib.contextmanager
def _derivative_of(node: Node) -> Iterator[None]:
    """Attribute calls to the line of the op whose derivative they are."""
    world = dispatch.world_for(node.dev)
    if world.records and node.where is not None:
        world._within = (*node.where[:2], True)
    try:
        yield
    finally:
        if world.records:
            world._within = None


def _zeros(dev: Any, key: tuple) -> Any:
    shape, dtype = key
    return Engine.tensor_world.raw_full(dev, 0, shape=shape, dtype=dtype)


# --- cond -----------------------------------------------------------------------------------------


def apply_cond(dev: Any, pred: Any, scopes: Sequence[Scope], aliases: dict[Any, Any]) -> list[Any]:
    """Call `cond` with two bodies; `aliases` are the edges that marked inputs stand for."""
    data = [scope.arrange() for scope in scopes]
    bodies = {"true": scopes[0].graph, "false": scopes[1].graph}
    outs = call(dev, "cond", (pred, tuple(data[0]), tuple(data[1])), **bodies)
    if not modes.is_grad_enabled():
        return outs
    sources = [
        {k: e for found in both for k, e in found.items()}
        for both in zip(*[scope.sources() for scope in scopes], strict=True)
    ]
    wanted = {i: t for i, t in enumerate(outs) if sources[i] and t._dtype.inexact}
    if wanted:
        edges = {key_of(e): e for i in wanted for e in sources[i].values()}
        rule = _CondRule(scopes, len(data[0]), list(wanted), list(edges))
        given = [aliases.get(e, e) for e in edges.values()]
        _put_node("Cond", rule, wanted, given, (pred, *data[0], *data[1]))
    return outs


class _CondRule:
    """The derivative of one call of `cond`."""

    def __init__(self, scopes: Any, count: int, wanted: list[int], keys: list[Any]) -> None:
        self.scopes, self.count, self.wanted, self.keys = scopes, count, wanted, keys

    def __call__(self, node: Node, gs: list[Any]) -> list[Any]:
        assert node.saved is not None
        pred, data = node.saved[0], node.saved[1:]
        given = {i: g for i, g in zip(self.wanted, gs, strict=True) if g is not None}
        aliases: dict[Any, Any] = {}
        scopes, ends = [], []
        for forward, values in zip(
            self.scopes, (data[: self.count], data[self.count :]), strict=True
        ):
            scopes.append(forward.reopened(values))
            ends.append(self._pull(node, forward, scopes[-1], given, aliases))
        return self._join(node, pred, scopes, ends, aliases)

    def _pull(
        self, node: Node, forward: Scope, scope: Scope, given: dict[int, Any], aliases: dict
    ) -> dict[Any, tuple[Any, Any]]:
        """Run one branch's tape backwards; return what arrives at the edges out of it."""
        raws = {i: raw(g) for i, g in given.items()}

        def derive() -> Any:
            roots = []
            for i, g in given.items():
                if forward.edges[i] is None:
                    continue
                marked = modes.is_grad_enabled() and g._node is not None
                t = scope.placeholder(shape_key(raws[i]), node.dev, marked, raws[i])
                roots.append((forward.edges[i], t))
                if marked:
                    aliases[t._node] = edge_of(g)
            return _pull(scope, roots)

        with _recording_again(scope):
            return scope.record(derive, whole=False)

    def _join(
        self, node: Node, pred: Any, scopes: Any, ends: list[dict], aliases: dict
    ) -> list[Any]:
        """Give both bodies the same results, zeros where a branch has no gradient."""
        keys = [k for k in self.keys if any(k in found for found in ends)]
        if not keys:
            return [None] * len(self.keys)
        shapes = {k: shape_key(found[k][1]) for found in ends for k in keys if k in found}
        for scope, found in zip(scopes, ends, strict=True):

            def finish(scope: Scope = scope, found: dict = found) -> None:
                zeros = {k: _zeros(node.dev, shapes[k]) for k in keys if k not in found}
                scope.finish(
                    [(zeros[k], None) if k in zeros else _operand_in(found[k][1]) for k in keys]
                )

            with _recording_again(scope):
                scope.record(finish)
        with _derivative_of(node):
            outs = dict(zip(keys, apply_cond(node.dev, pred, scopes, aliases), strict=True))
        return [outs.get(k) for k in self.keys]


# --- scan -----------------------------------------------------------------------------------------


def apply_scan(dev: Any, steps: Steps, init: Sequence[Operand], xs: Sequence[Operand]) -> list[Any]:
    """Call `scan` with a body; return what is carried in the end, and the stacked rows."""
    scope = steps.scope
    sources = scope.sources() if modes.is_grad_enabled() else []
    live, wanted = steps.needs([o.edge is not None for o in init], sources)
    results = len(scope.graph.outputs)
    if wanted:
        steps.keep_carries(live)
    data = scope.arrange(steps.first, steps.each)
    given = tuple([o.raw for o in init]), tuple([o.raw for o in xs]), tuple(data)
    body, length, reverse = scope.graph, steps.length, steps.reverse
    outs = call(dev, "scan", given, body=body, length=length, reverse=reverse)
    if wanted:
        ends = {k: e for i in {*wanted, *live} for k, e in sources[i].items()}
        ends = {k: e for k, e in ends.items() if k not in scope.marks}
        wanted += [results + k for k in sorted(live)]
        rule = _ScanRule(steps, wanted, live, list(ends))
        edges = [o.edge if k in live else None for k, o in enumerate(init)]
        edges += [*[o.edge for o in xs], *ends.values()]
        saved = [*[t._a for t in outs[results:]], *given[1], *data]
        _put_node(steps.scope.name.capitalize(), rule, {i: outs[i] for i in wanted}, edges, saved)
    return outs[:results]


class _ScanRule:
    """The derivative of one call of `scan`: a scan in the other direction.

    It carries the gradients of the carries, and sums of those of what all steps use. Each step
    takes the carries with which the forward step began, its `xs`, and gradients of its rows.
    """

    def __init__(self, steps: Steps, wanted: list[int], live: set[int], keys: list[Any]) -> None:
        self.steps, self.wanted, self.live, self.keys = steps, wanted, sorted(live), keys

    def __call__(self, node: Node, gs: list[Any]) -> list[Any]:
        assert node.saved is not None
        forward, carries = self.steps, len(self.steps.first)
        given = {i: g for i, g in zip(self.wanted, gs, strict=True) if g is not None}
        rows = {i: Operand.of(g) for i, g in given.items() if i >= carries}
        scope = forward.scope.reopened(node.saved)
        back = _Back(self, scope, node.dev, rows)
        with _recording_again(scope):
            scope.record(back.record)
        init = [
            Operand.of(given[k]) if k in given else Operand(_zeros(node.dev, key), None)
            for k, key in zip(self.live, back.keys_of_carries, strict=True)
        ]
        init += [Operand(_zeros(node.dev, key), None) for key in back.summed.values()]
        xs = [*self._operands(node), *rows.values()]
        with _derivative_of(node):
            outs = iter(apply_scan(node.dev, back.steps, init, xs))
        found = {("carry", k): next(outs) for k in self.live}
        found |= {key: next(outs) for key in back.summed}
        found |= {("x", i): next(outs) for i in back.sliced}
        order = [("carry", k) for k in range(carries)]
        order += [("x", i) for i in range(len(forward.each))]
        return [found.get(key) for key in (*order, *self.keys)]

    def _operands(self, node: Node) -> list[Operand]:
        """Return the carries that the steps began with and the `xs`, linked to the tape."""
        assert node.saved is not None
        carries, count = len(self.steps.first), len(self.steps.each)
        edges: list[Any] = [None] * (carries + count)
        if modes.is_grad_enabled():
            edges[carries:] = node.edges[carries : carries + count]
            first = len(self.wanted) - len(self.live)
            for i, k in enumerate(self.live):
                edges[k] = Output(node, first + i)
        return [Operand(a, e) for a, e in zip(node.saved, edges, strict=False)]


class _Back:
    """The body of a scan's derivative."""

    def __init__(self, rule: _ScanRule, scope: Scope, dev: Any, rows: dict[int, Operand]) -> None:
        self.rule, self.scope, self.dev, self.rows = rule, scope, dev, rows
        self.keys_of_carries = [rule.steps.scope.graph.results[k] for k in rule.live]
        self.summed: dict[Any, tuple] = {}
        """By the key of an edge out of the forward body, the shape and dtype of its gradient."""
        self.sliced: list[int] = []
        """The `xs` that get a gradient."""

    def record(self) -> None:
        """Record it: gradients of the carries, sums, gradients of the slices."""
        scope, steps, dev = self.scope, self.rule.steps, self.dev
        create, edges = modes.is_grad_enabled(), steps.scope.edges
        for k in set(range(len(steps.first))).difference(self.rule.live):
            scope.marks.pop(steps.mark(steps.first[k]), None)  # no gradient flows through these
        carried = [scope.placeholder(key, dev, create) for key in self.keys_of_carries]
        each = [
            scope.placeholder(slice_key(o.raw), dev, o.edge is not None) for o in self.rows.values()
        ]
        roots = [*zip(self.rule.live, carried, strict=True), *zip(self.rows, each, strict=True)]
        ends = _pull(scope, [(edges[i], t) for i, t in roots if edges[i] is not None])
        found = {key: g for key, (_, g) in ends.items()}
        outputs = [
            _operand_in(found[mark]) if (mark := steps.mark(steps.first[k])) in found
            else (_zeros(dev, key), None)
            for k, key in zip(self.rule.live, self.keys_of_carries, strict=True)
        ]  # fmt: skip
        first = [t._a.id for t in carried]
        for key in self.rule.keys:
            if key in found:
                self.summed[key] = shape_key(found[key])
                total = scope.placeholder(self.summed[key], dev, create)
                first.append(total._a.id)
                outputs.append(_operand_in(_sum(total, found[key])))
        marks = [steps.mark(number) for number in steps.each]
        self.sliced = [i for i, mark in enumerate(marks) if mark in found]
        outputs += [_operand_in(found[marks[i]]) for i in self.sliced]
        scope.finish(outputs)
        numbers = [*steps.first, *steps.each, *[t._a.id for t in each]]
        self.steps = Steps(scope, first, numbers, steps.length, not steps.reverse)


def _sum(total: Any, g: Any) -> Any:
    """Add a gradient, a tensor or a raw array, to a tensor."""
    return total + g if isinstance(g, dispatch.Tensor) else g.world.add(total._a, g)
