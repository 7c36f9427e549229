"""The tape: nodes, the log of in-place writes, and the engine that runs the rules backwards.

A node belongs to one call of one op. It keeps raw arrays, never the output tensor (that would be a
reference cycle which only the garbage collector frees), and the edges to where its inputs came
from: another node, or the leaf tensor itself. Nodes carry a sequence number; an edge always leads
to a smaller one, so that a heap of numbers visits them in topological order without recursion.
"""

from __future__ import annotations

import heapq
import itertools
import sys
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from multitorch.autograd import modes
from multitorch.autograd.modes import changes
from multitorch.backend import Backend

next_seq = itertools.count().__next__
Edge = Any  # Node | Output | leaf tensor | None


class Leaf:
    """What `Tensor._node` holds in a leaf that requires grad."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "LEAF"


LEAF = Leaf()


class Node:
    """One recorded call: the op, where its inputs came from, what its rules need."""

    __slots__ = (
        "__weakref__",
        "dev",
        "edges",
        "extra",
        "meta",
        "op",
        "saved",
        "seq",
        "where",
    )
    op: Any
    edges: tuple[Edge, ...]
    saved: tuple[Any, ...] | None
    meta: tuple[Any, ...] | None
    """Per input (shape, dtype) where the op broadcast or promoted; None if it did not."""
    seq: int
    dev: Any
    where: tuple[Any, int] | None
    extra: dict[str, Any] | None
    """Hooks, retained tensors and other rarely used things."""

    def name(self) -> str:
        """Return the node's name, such as 'MulBackward0'."""
        return self.op.node_name

    def __repr__(self) -> str:
        return f"<{self.op.node_name} object at {id(self):#x}>"

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """The nodes that receive this node's gradients, with their output numbers."""
        return tuple(_function_of(edge) for edge in self.edges)

    @property
    def metadata(self) -> dict:
        """A dictionary for the user's own notes."""
        return self._more().setdefault("metadata", {})

    def _more(self) -> dict[str, Any]:
        if self.extra is None:
            self.extra = {}
        return self.extra

    def register_hook(self, hook: Callable) -> Any:
        """Call `hook(grad_inputs, grad_outputs)` after the node ran; it may replace grad_inputs."""
        return add_hook(self._more().setdefault("post", {}), hook)

    def register_prehook(self, hook: Callable) -> Any:
        """Call `hook(grad_outputs)` before the node runs; it may replace them."""
        return add_hook(self._more().setdefault("pre", {}), hook)


class Output:
    """One differentiable output of a node that has several."""

    __slots__ = ("__weakref__", "extra", "index", "node", "seq")

    def __init__(self, node: Node, index: int) -> None:
        self.node, self.index, self.seq, self.extra = node, index, next_seq(), None

    _more = Node._more


class AccumulateGrad:
    """The node at the end of a graph: adds a gradient into `variable.grad`."""

    __slots__ = ("variable",)
    next_functions = ()

    def __init__(self, variable: Any) -> None:
        self.variable = variable

    def name(self) -> str:
        """Return 'torch::autograd::AccumulateGrad', as PyTorch does."""
        return "torch::autograd::AccumulateGrad"

    def __repr__(self) -> str:
        return f"<AccumulateGrad object at {id(self.variable):#x}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AccumulateGrad) and other.variable is self.variable

    def __hash__(self) -> int:
        return id(self.variable)

    def register_hook(self, hook: Callable) -> Any:
        """Call `hook(grad_inputs, grad_outputs)` after the gradient was accumulated."""
        return self.variable.register_post_accumulate_grad_hook(
            lambda tensor: hook((), (tensor.grad,)) and None
        )

    def register_prehook(self, hook: Callable) -> Any:
        """Call `hook(grad_outputs)` before the gradient is accumulated."""

        def tensor_hook(g: Any) -> Any:
            result = hook((g,))
            return result[0] if isinstance(result, tuple) else result

        return self.variable.register_hook(tensor_hook)


def _function_of(edge: Edge) -> tuple[Any, int]:
    if edge is None:
        return None, 0
    if edge.__class__ is Output:
        return edge.node, edge.index
    return (edge, 0) if edge.__class__ is Node else (AccumulateGrad(edge), 0)


class RemovableHandle:
    """Removes a hook: `handle.remove()`, or the end of a `with handle:` block."""

    _next_id = itertools.count().__next__

    def __init__(self, hooks: dict, *, extra: Sequence[dict] = ()) -> None:
        self.id = RemovableHandle._next_id()
        self._stores = [hooks, *extra]
        changes[0] += 1

    def remove(self) -> None:
        """Remove the hook; a second call does nothing."""
        changes[0] += 1
        for store in self._stores:
            store.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


def add_hook(hooks: dict, hook: Callable) -> RemovableHandle:
    """Store a hook under a fresh handle."""
    handle = RemovableHandle(hooks)
    hooks[handle.id] = hook
    return handle


# --- writes -------------------------------------------------------------------------------------

last_write = -1
"""The sequence number of the last in-place write: younger nodes need no look into the log."""
_log: dict[int, tuple[Any, int, Any]] = {}  # id(buffer) -> (weak reference, number, place)


def log_write(buffer: Any, place: tuple[Any, int] | None = None, since: int | None = None) -> None:
    """Note that `buffer` was overwritten (or, for immutable arrays, superseded) just now.

    The place is the nearest frame outside this package, unless the caller knows it already. Nodes
    made after the number `since` belong to the write itself, and may use the array from before it.
    """
    global last_write
    last_write = next_seq()
    key = id(buffer)
    entry = _log.get(key)
    if entry is not None and entry[0]() is buffer:
        reference = entry[0]
    else:
        try:
            reference = weakref.ref(buffer, lambda _, key=key: _log.pop(key, None))
        except TypeError:
            return
    number = last_write if since is None else since
    _log[key] = (reference, number, place or user_place(sys._getframe(1)))


class WriteGroup:
    """Buffers that are overwritten together, call after call; it keeps them alive."""

    def __init__(self, buffers: Sequence[Any]) -> None:
        self.ids = frozenset(map(id, buffers))
        self._buffers, self._references = {id(b): b for b in buffers}, []

    def log(self) -> None:
        """Note that all of them were overwritten just now."""
        global last_write
        place = user_place(sys._getframe(1))
        if len(self._references) < len(self._buffers):
            for buffer in self._buffers.values():
                log_write(buffer, place)
            self._references = [_log[key][0] for key in self._buffers]
        last_write = next_seq()
        entries = zip(self._references, itertools.repeat(last_write), itertools.repeat(place))
        _log.update(zip(self._buffers, entries, strict=True))


_ROOT = __file__.rpartition("autograd")[0]


USER_FILES: set[str] = set()
"""Source files known to lie outside this package, for a quick test on the hot path."""
_OWN_FILES: set[str] = set()


def user_place(frame: Any) -> tuple[Any, int] | None:
    """Return (code, last instruction) of the nearest frame outside this package."""
    while frame is not None:
        code = frame.f_code
        name = code.co_filename
        if name in USER_FILES:
            return code, frame.f_lasti
        if name not in _OWN_FILES:
            if not name.startswith(_ROOT):
                USER_FILES.add(name)
                return code, frame.f_lasti
            _OWN_FILES.add(name)
        frame = frame.f_back
    return None


def line_of(code: Any, last: int) -> int:
    """Return the line of a code object's instruction."""
    positions = list(code.co_positions())
    return positions[last // 2][0] or code.co_firstlineno


def describe(place: tuple[Any, int] | None) -> str:
    """Return 'file.py:12 in f: `source line`' for a place."""
    if place is None:
        return "an unknown line"
    import linecache

    code, last = place
    line = line_of(code, last)
    source = linecache.getline(code.co_filename, line).strip()
    return f"{code.co_filename}:{line} in {code.co_name}" + (f": `{source}`" if source else "")


def _values_read(node: Node) -> Sequence[Any]:
    """Return those saved values that a rule about to run reads."""
    saved, uses = node.saved or (), getattr(node.op, "uses", None)
    if uses is None or node.op.variadic:
        return saved
    read = {i for edge, at in zip(node.edges, uses, strict=False) if edge is not None for i in at}
    return [saved[i] for i in read]


def _check_unmodified(node: Node) -> None:
    backend: Backend = node.dev.backend
    for value in _values_read(node):
        if value.__class__ not in backend.array_types:
            continue
        entry = _log.get(id(backend.buffer(value)))
        if entry is not None and entry[1] > node.seq and entry[0]() is not None:
            raise RuntimeError(
                "one of the variables needed for gradient computation has been modified by an "
                f"inplace operation: [{list(value.shape)}], needed by {node.name()}. "
                f"Saved at {describe(node.where)}; modified at {describe(entry[2])}. "
                "Remedy: use the out-of-place form at the second place, or clone() before it."
            )


# --- the engine ---------------------------------------------------------------------------------


class Engine:
    """One backward pass: rules run on arrays, or on tensors where `create_graph` is asked for."""

    tensor_world: Any = None  # set by multitorch.tensor
    recording: Any = None  # set by multitorch.graph.capture: the world of the present recording
    enter: Any = None  # likewise: is told the node whose rules are recorded, None at the end

    def __init__(self, *, retain: bool, create_graph: bool, wanted: set | None) -> None:
        self.retain, self.create_graph, self.wanted = retain, create_graph, wanted
        self.grads: dict[Edge, Any] = {}
        self.heap: list[tuple[int, Any]] = []
        self.leaves: dict[Any, Any] = {}
        self.found: dict[Any, Any] = {}
        self.needed: dict[Any, bool] | None = None

    def push(self, edge: Edge, g: Any) -> None:
        """Add `g` to what has arrived at an edge."""
        kind = edge.__class__
        if kind is Node or kind is Output:
            held = self.grads.get(edge)
            if held is None:
                self.grads[edge] = g
                heapq.heappush(self.heap, (-edge.seq, edge))
            else:
                dev = edge.dev if kind is Node else edge.node.dev
                self.grads[edge] = self.world_of(dev).add(held, g)
        else:
            held = self.leaves.get(edge)
            self.leaves[edge] = g if held is None else self.world_of(edge._dev).add(held, g)

    def run(self) -> None:
        """Visit nodes by falling sequence number until none is left."""
        try:
            self._visit()
        finally:
            if Engine.recording is not None:
                Engine.enter(None)

    def _visit(self) -> None:
        heap, grads = self.heap, self.grads
        needed, wanted = self.needed, self.wanted
        step = self._step_graph if self.create_graph else self._step_raw
        while heap:
            node = heapq.heappop(heap)[1]
            g = grads.pop(node)
            if node.extra is not None:
                g = self._tensor_hooks(node, g)
            if wanted is not None and node in wanted:
                self.found[node] = g
            if needed is not None and not needed.get(node, False):
                continue
            if node.__class__ is Output:
                self._gather(node, g)
            else:
                step(node, g)

    def _gather(self, output: Output, g: Any) -> None:
        parent = output.node
        gs = self.grads.get(parent)
        if gs is None:
            gs = self.grads[parent] = [None] * len(parent.op.diff_outs)
            heapq.heappush(self.heap, (-parent.seq, parent))
        held = gs[output.index]  # two objects may stand for one output: the user's and a rule's
        gs[output.index] = g if held is None else self.world_of(parent.dev).add(held, g)

    def _step_raw(self, node: Node, g: Any) -> None:
        op, saved, edges = node.op, node.saved, node.edges
        F = self.world_of(node.dev, node)
        if saved is None:
            raise RuntimeError(TWICE)
        if node.seq < last_write:
            _check_unmodified(node)
        if op.custom is not None:
            for edge, gi in zip(edges, self._custom(node, g), strict=True):
                if edge is not None and gi is not None:
                    self.push(edge, gi)
        elif op.rules is not None and not F.fuses_rules and node.extra is None:
            meta = node.meta
            for i, edge in enumerate(edges):
                if edge is not None:
                    gi = op.rules[i](F, g, saved)
                    if meta is not None:
                        gi = fit(F, gi, meta[i])
                    self.push(edge, gi)
        else:
            self._run_rules(node, g, F, saved)
        if not self.retain and op.frees:
            node.saved = None

    def _run_rules(self, node: Node, g: Any, F: Any, saved: Any) -> None:
        edges = node.edges
        needs = tuple([edge is not None for edge in edges])
        if node.extra is not None and "pre" in node.extra:
            g = _node_hooks(node.extra["pre"], (self._wrap(node, g),))[0]
            g = g if self.create_graph else g._a
        gs = F.vjp(node.op, g, saved, needs, node.meta)
        if node.extra is not None and "post" in node.extra:
            gs = self._post_hooks(node, gs, g)
        for edge, gi in zip(edges, gs, strict=True):
            if edge is not None and gi is not None:
                self.push(edge, gi)

    def _step_graph(self, node: Node, g: Any) -> None:
        if node.saved is None:
            raise RuntimeError(TWICE)
        if node.seq < last_write:
            _check_unmodified(node)
        if Engine.recording is not None:
            Engine.enter(node)
        F = self.tensor_world
        if node.op.custom is not None:
            gs = self._custom(node, g)
            for edge, gi in zip(node.edges, gs, strict=True):
                if edge is not None and gi is not None:
                    self.push(edge, gi)
        else:
            self._run_rules(node, g, F, F.rebuild(node))
        if not self.retain and node.op.frees:
            node.saved = None

    def world_of(self, dev: Any, node: Any = None) -> Any:
        """Return the world in which gradients on a device, those of a node, are computed."""
        if self.create_graph:
            return self.tensor_world
        if Engine.recording is None:
            return dev.backend
        if node is not None:
            Engine.enter(node)
        return Engine.recording(dev)

    def _custom(self, node: Node, g: Any) -> Sequence[Any]:
        gs = g if isinstance(g, list) else [g]
        wrapped = [None if x is None else self._wrap(node, x) for x in gs]
        results = node.op.custom(node, wrapped)
        return [x if x is None or self.create_graph else x._a for x in results]

    def _wrap(self, node: Any, g: Any) -> Any:
        return g if self.create_graph else self.tensor_world.wrap(g, node.dev)

    def _tensor_hooks(self, node: Any, g: Any) -> Any:
        hooks = node.extra.get("tensor")
        retained = node.extra.get("retain")
        dev = (node.node if node.__class__ is Output else node).dev
        if hooks:
            t = g if self.create_graph else self.tensor_world.wrap(g, dev)
            t = run_tensor_hooks(hooks, t)
            g = t if self.create_graph else t._a
        target = retained() if retained is not None else None
        if target is not None:
            target._accumulate_grad(g, self.create_graph, True)
        return g

    def _post_hooks(self, node: Node, gs: Sequence[Any], g: Any) -> Sequence[Any]:
        wrapped = tuple(None if x is None else self._wrap(node, x) for x in gs)
        assert node.extra is not None
        for hook in list(node.extra["post"].values()):
            result = hook(wrapped, (self._wrap(node, g),))
            if result is not None:
                wrapped = tuple(result) if isinstance(result, (tuple, list)) else (result,)
        return [x if x is None or self.create_graph else x._a for x in wrapped]

    def finish(self, accumulate: bool) -> None:
        """Run the leaves' hooks; add what arrived into `.grad` unless only `found` is wanted."""
        for leaf in list(self.leaves):
            g = self.leaves.pop(leaf)
            # one reference from here and one from the call: nobody else can see the array
            shared = sys.getrefcount(g) > 2
            hooks = leaf._hooks
            if hooks:
                t = g if self.create_graph else self.tensor_world.wrap(g, leaf._dev)
                t = run_tensor_hooks(hooks, t)
                g = t if self.create_graph else t._a
            if self.wanted is not None and leaf in self.wanted:
                self.found[leaf] = g
                shared = True
            if accumulate and (self.wanted is None or leaf in self.wanted):
                leaf._accumulate_grad(g, self.create_graph, shared)


TWICE = (
    "Trying to backward through the graph a second time (or directly access saved tensors after "
    "they have already been freed). Saved intermediate values of the graph are freed when you call "
    ".backward() or autograd.grad(). Specify retain_graph=True if you need to backward through the "
    "graph a second time or if you need to access saved tensors after calling backward."
)


def fit(F: Any, g: Any, meta: tuple[tuple[int, ...], Any] | None) -> Any:
    """Bring a gradient to its input's shape and dtype: undo broadcasting and promotion."""
    if meta is None or g is None:
        return g
    shape, dtype = meta
    if g.shape != shape:
        g = F.sum_to(g, shape=shape)
    return F.cast_grad(g, dtype=dtype)


def _node_hooks(hooks: dict, gs: tuple) -> tuple:
    for hook in list(hooks.values()):
        result = hook(gs)
        if result is not None:
            gs = tuple(result) if isinstance(result, (tuple, list)) else (result,)
    return gs


def run_tensor_hooks(hooks: dict, t: Any) -> Any:
    """Pass a gradient through a tensor's hooks in order of registration."""
    for hook in list(hooks.values()):
        result = hook(t)
        if result is not None:
            t = result
    return t


def edge_of(t: Any) -> Edge:
    """Return where a tensor's gradient goes: its node, itself if it is a leaf, or None."""
    node = t._node
    return t if node is LEAF else node


def reachable(roots: Sequence[Edge], targets: set) -> dict[Any, bool]:
    """Mark, among all that hangs on the roots, the nodes from which some target is reached."""
    order: list[Any] = []
    seen = set()
    stack = [r for r in roots if r.__class__ is Node or r.__class__ is Output]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        order.append(node)
        stack += [e for e in _edges(node) if e.__class__ is Node or e.__class__ is Output]
    order.sort(key=lambda n: n.seq)
    leads: dict[Any, bool] = {}
    for node in order:
        edges = [e for e in _edges(node) if e is not None]
        leads[node] = any(e in targets or leads.get(e, False) for e in edges)
    return leads


def _edges(node: Any) -> tuple[Edge, ...]:
    return (node.node,) if node.__class__ is Output else node.edges


def run_backward(
    roots: Sequence[tuple[Any, Any]],
    *,
    retain_graph: bool,
    create_graph: bool,
    inputs: Sequence[Any] | None = None,
    accumulate: bool = True,
) -> list[Any]:
    """Differentiate from `roots`: tensors, each with its raw gradient (a tensor if create_graph).

    Returns the gradients of `inputs` if these are given (None where nothing arrived).
    """
    targets = None if inputs is None else [edge_of(t) for t in inputs]
    engine = Engine(
        retain=retain_graph,
        create_graph=create_graph,
        wanted=None if targets is None else set(targets),
    )
    if engine.wanted is not None:
        engine.needed = reachable([edge_of(t) for t, _ in roots], engine.wanted)
    backend = roots[0][0]._dev.backend
    before = modes._set_grad(create_graph)
    try:
        with backend.quiet():
            for t, g in roots:
                engine.push(edge_of(t), g)
            engine.run()
            engine.finish(accumulate)
    finally:
        modes._set_grad(before)
    return [] if targets is None else [engine.found.get(edge) for edge in targets]
