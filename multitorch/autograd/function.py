"""`Function`: an op with a hand-written derivative."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from multitorch.autograd import modes, tape
from multitorch.autograd.tape import Node, Output, edge_of, next_seq, user_place


class _CustomOp:
    """What a node of a `Function` has in the place of an op."""

    __slots__ = ("ctx", "custom", "diff_outs", "frees", "name", "node_name", "opaque", "plan")
    rules = joint = None
    ctx: Any
    """The `FunctionCtx`, if there is one: what the user's own rule keeps."""

    def __init__(self, name: str, backward: Callable, diff_outs: tuple[int, ...]) -> None:
        self.name, self.node_name = name, name + "Backward"
        self.custom, self.diff_outs = backward, diff_outs
        self.frees, self.opaque, self.plan = True, True, ()
        self.ctx = None


class FunctionCtx:
    """What `forward` leaves for `backward`."""

    def __init__(self) -> None:
        self._to_save: tuple[Any, ...] = ()
        self._node: weakref.ref[Node] | None = None
        self._non_differentiable: set[int] = set()
        self._dirty: tuple[Any, ...] = ()
        self._materialize = True
        self.needs_input_grad: tuple[bool, ...] = ()
        self._saved: tuple[Callable[[Any], Any], ...] | None = None

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep tensors (or None) for the backward pass; checked for in-place changes."""
        self._to_save = tensors

    save_for_forward = save_for_backward

    def mark_dirty(self, *tensors: Any) -> None:
        """Say which inputs `forward` changed in place."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Any) -> None:
        """Say which outputs have no gradient."""
        self._non_differentiable = {id(t) for t in tensors}

    def set_materialize_grads(self, value: bool) -> None:
        """Say whether `backward` gets zeros (the default) or None for unused outputs."""
        self._materialize = value

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What `save_for_backward` was given."""
        if self._saved is None:
            return self._to_save
        raws = self._raw_source()
        return tuple(make(raw) for make, raw in zip(self._saved, raws, strict=True))

    def _raw_source(self) -> tuple[Any, ...]:
        node = None if self._node is None else self._node()
        if node is None or node.saved is None:
            raise RuntimeError(tape.TWICE)
        return node.saved


class _Meta(type):
    def __init__(cls, name: str, bases: tuple, namespace: dict) -> None:
        super().__init__(name, bases, namespace)
        cls._backward_cls = type(name + "Backward", (FunctionCtx,), {})


class Function(metaclass=_Meta):
    """Define an op by `forward(ctx, ...)` and `backward(ctx, *grads)`; call it with `apply`.

    >>> class Double(Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         return x * 2
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         return g * 2
    """

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Compute the outputs; to be overridden."""
        raise NotImplementedError(
            "You must implement the forward function for custom autograd.Function."
        )

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Return one gradient for each input of `forward`; to be overridden."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom "
            "autograd.Function to use it with backward mode AD."
        )

    vjp = backward

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run `forward` without recording, and put one node on the tape."""
        world = tape.Engine.tensor_world
        ctx = cls._backward_cls()
        inputs = [a if world.is_tensor(a) else None for a in args]
        ctx.needs_input_grad = tuple(t is not None and t._node is not None for t in inputs)
        recorded = modes.is_grad_enabled() and any(ctx.needs_input_grad)
        with modes.no_grad():
            if "setup_context" in {k for c in cls.__mro__[:-2] for k in vars(c)}:
                result = cls.forward(*args, **kwargs)
                cls.setup_context(ctx, args, result)  # type: ignore[attr-defined]
            else:
                result = cls.forward(ctx, *args, **kwargs)
        outs = result if isinstance(result, tuple) else (result,)
        if not recorded:
            return result
        final = _record(cls, ctx, inputs, outs, user_place(sys._getframe(1)))
        return final if isinstance(result, tuple) else final[0]


def _record(
    cls: type, ctx: FunctionCtx, inputs: Sequence[Any], outs: tuple, where: Any
) -> tuple[Any, ...]:
    world = tape.Engine.tensor_world
    dirty = {id(t) for t in ctx._dirty}
    given = {id(t) for t in inputs if t is not None}
    # an input that is returned unchanged is an output of its own, as in PyTorch
    fresh = tuple(
        t.view_as(t) if world.is_tensor(t) and id(t) in given and id(t) not in dirty else t
        for t in outs
    )
    diff = tuple(
        i
        for i, (t, original) in enumerate(zip(fresh, outs, strict=True))
        if world.is_tensor(t) and t.dtype.inexact and id(original) not in ctx._non_differentiable
    )
    node = Node()
    node.dev = next(t for t in inputs if t is not None)._dev
    node.op = _CustomOp(cls.__name__, _runner(cls, ctx, fresh, diff), diff)
    node.op.ctx = ctx
    node.edges = tuple(None if t is None else edge_of(t) for t in inputs)
    node.meta = node.extra = None
    node.where = where
    _save(ctx, node, inputs, fresh, outs)
    node.seq = next_seq()
    for k, i in enumerate(diff):
        fresh[i]._node = node if len(diff) == 1 else Output(node, k)
    return fresh


def _save(ctx: FunctionCtx, node: Node, inputs: Sequence[Any], outs: tuple, given: tuple) -> None:
    """Turn the saved tensors into raw arrays and recipes that link them to the graph again."""
    world = tape.Engine.tensor_world
    recipes, raws = [], []
    for t in ctx._to_save:
        if t is None:
            raws.append(None)
            recipes.append(lambda raw: None)
            continue
        raws.append(world.raw(t))
        at = next((i for i, o in enumerate(given) if o is t), None)
        if at is not None:
            recipes.append(_output_recipe(node, at, outs[at]._dev))
        elif t._node is tape.LEAF or (t._node is None and tape.Engine.recording is None):
            recipes.append(lambda raw, t=t: t)
        else:
            recipes.append(_linked_recipe(t._node, t._dev))
    ctx._saved = tuple(recipes)
    ctx._to_save = ()
    node.saved = tuple(raws)
    ctx._node = weakref.ref(node)


def _linked_recipe(edge: Any, dev: Any) -> Callable:
    def make(raw: Any) -> Any:
        t = tape.Engine.tensor_world.wrap(raw, dev)
        t._node = edge
        return t

    return make


def _output_recipe(node: Node, at: int, dev: Any) -> Callable:
    reference = weakref.ref(node)

    def make(raw: Any) -> Any:
        t = tape.Engine.tensor_world.wrap(raw, dev)
        owner = reference()
        if owner is not None and at in owner.op.diff_outs:
            diff = owner.op.diff_outs
            t._node = owner if len(diff) == 1 else Output(owner, diff.index(at))
        return t

    return make


def _runner(cls: type, ctx: FunctionCtx, outs: tuple, diff: tuple[int, ...]) -> Callable:
    specs = [(t.shape, t.dtype, t._dev) if hasattr(t, "_dev") else None for t in outs]
    world = tape.Engine.tensor_world

    def run(node: Node, gs: list[Any]) -> list[Any]:
        given: list[Any] = [None] * len(specs)
        for k, i in enumerate(diff):
            given[i] = gs[k]
        if ctx._materialize:
            for i, spec in enumerate(specs):
                if given[i] is None and spec is not None:
                    given[i] = world.zeros(*spec)
        method = cls.vjp if cls.vjp is not Function.vjp else cls.backward  # type: ignore[attr-defined]
        result = method(ctx, *given)
        results = list(result) if isinstance(result, (tuple, list)) else [result]
        return _checked(cls, results, node)

    return run


def _checked(cls: type, results: list[Any], node: Node) -> list[Any]:
    count = len(node.edges)
    if len(results) > count and all(r is None for r in results[count:]):
        results = results[:count]
    if len(results) != count:
        raise RuntimeError(
            f"function {cls.__name__}Backward returned an incorrect number of gradients "
            f"(expected {count}, got {len(results)})"
        )
    return results


def once_differentiable(function: Callable) -> Callable:
    """Run a `backward` without recording: its results cannot be differentiated again."""
    import functools

    @functools.wraps(function)
    def wrapper(ctx: Any, *args: Any) -> Any:
        with modes.no_grad():
            return function(ctx, *args)

    return wrapper
