"""The world of tensors: where derivative rules run when the backward pass is itself recorded."""

from __future__ import annotations

import contextlib
from typing import Any

from multitorch.autograd import tape
from multitorch.autograd.tape import Node, Output, next_seq
from multitorch.backend import World
from multitorch.ops import apply as dispatch
from multitorch.ops.op import REGISTRY


class TensorWorld(World):
    """`F.exp(t)` applies the differentiable op `exp` to a tensor."""

    of_tensors = True

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        op = REGISTRY.get(name)
        if op is None:
            return super().__getattr__(name)  # a fused body, over the differentiable ops
        self.__dict__[name] = op.apply
        return op.apply

    wrap = staticmethod(dispatch.wrap)
    raw_world = staticmethod(dispatch.world_for)

    def is_tensor(self, value: Any) -> bool:
        """Whether a value is a tensor."""
        return isinstance(value, dispatch.Tensor)

    def raw(self, t: Any) -> Any:
        """Return a tensor's raw array in the present world."""
        return dispatch.raw_of(t, t._dev, dispatch.world_for(t._dev))

    def raw_full(self, dev: Any, value: Any, *, shape: tuple, dtype: Any) -> Any:
        """Return a new raw array on a device."""
        world = dispatch.world_for(dev)
        return world.full(value, shape=shape, dtype=dtype, type=dev.type, index=dev.ordinal)

    def zeros(self, shape: tuple, dtype: Any, dev: Any) -> Any:
        """Return a tensor of zeros."""
        raw = self.raw_full(dev, 0, shape=tuple(shape), dtype=dtype.numpy())
        return dispatch.wrap(raw, dev, dispatch.world_for(dev))

    def quiet(self) -> Any:
        """Do nothing: the backends do."""
        return contextlib.nullcontext()

    def conj(self, x: Any) -> Any:
        """Return the complex conjugate; a real tensor or Python number is its own."""
        if not isinstance(x, dispatch.Tensor):
            return x.conjugate()
        return REGISTRY["conj"].apply(x) if x._dtype.is_complex else x

    def rebuild(self, node: Node) -> tuple[Any, ...]:
        """Return what a node saved as tensors that are linked to the graph again."""
        assert node.saved is not None
        return tuple(
            self._link(node, kind, key, value)
            for (kind, key), value in zip(node.op.plan, node.saved, strict=True)
        )

    def _link(self, node: Node, kind: str, key: Any, value: Any) -> Any:
        if kind == "arg":
            return self._input(node, key, value)
        if kind == "rest":
            return tuple(self._input(node, key + i, v) for i, v in enumerate(value))
        if kind == "out":
            t = dispatch.wrap(value, node.dev)
            diff = node.op.diff_outs
            if key in diff:
                t._node = node if len(diff) == 1 else Output(node, diff.index(key))
            return t
        return value

    def _input(self, node: Node, i: int, raw: Any) -> Any:
        if raw is None or not hasattr(raw, "dtype"):
            return raw
        edge = node.edges[i]
        if isinstance(edge, dispatch.Tensor) and edge._a is raw:
            return edge
        t = dispatch.wrap(raw, node.dev)
        if edge is None:
            return t
        meta = node.meta[i] if node.meta is not None else None
        if meta is not None and meta[1] != raw.dtype:
            t._node = _cast_node(node, edge, meta[1])
        elif isinstance(edge, dispatch.Tensor):
            t._node = _cast_node(node, edge, raw.dtype)
        else:
            t._node = edge
        return t


def _cast_node(node: Node, edge: Any, dtype: Any) -> Node:
    """Return a node that leads a gradient to `edge`, cast to `dtype`."""
    n = Node()
    n.op = REGISTRY["cast"]
    n.dev, n.edges, n.saved, n.meta, n.extra = node.dev, (edge,), (dtype,), None, None
    n.seq, n.where = next_seq(), node.where
    return n


WORLD = tape.Engine.tensor_world = TensorWorld()
