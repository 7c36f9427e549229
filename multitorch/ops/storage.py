"""Tensors by the layout of their memory: `resize_`, `empty_permuted`, `new_empty_strided`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from multitorch.ops import apply as dispatch
from multitorch.ops import creation
from multitorch.ops.common import wrap_dim
from multitorch.ops.parts import as_strided, storage_of
from multitorch.ops.sizes import sizes_of
from multitorch.ops.view import join, live_views

Tensor = Any


def resize_(self: Tensor, *sizes: Any, memory_format: Any = None) -> Tensor:
    """Give the tensor another shape: more elements of its memory, or fewer.

    If the memory is too small the tensor moves to a larger one, filled up with zeros; tensors that
    shared the old memory keep it (in PyTorch they follow).

    >>> multitorch.arange(6).resize_(2, 2).tolist()
    [[0, 1], [2, 3]]
    """
    shape = sizes_of("resize_", sizes)
    if self._node is not None:
        raise RuntimeError("cannot resize variables that require grad")
    if shape and min(shape) < 0:
        raise RuntimeError(
            f"Trying to create tensor with negative dimension {min(shape)}: {list(shape)}"
        )
    if shape == tuple(self.shape):
        return self
    count, offset = prod(shape), self.storage_offset()
    held = storage_of(self).numel() - offset
    if count <= held:
        return _look_at(self, shape, offset)
    rest = as_strided(self.detach(), (held,), (1,), offset)
    larger = self.new_zeros(count).slice_scatter(rest, 0, 0, held).view(shape)
    self._a, self._view = (
        dispatch.raw_of(larger, larger._dev, dispatch.world_for(larger._dev)),
        None,
    )
    return self


def _look_at(x: Tensor, shape: tuple[int, ...], offset: int) -> Tensor:
    """Make `x` look at a contiguous part of its own memory."""
    base = _hidden_base(x) if x._view is None else x._view[0]
    stride = [prod(shape[i + 1 :]) for i in range(len(shape))]
    found = as_strided(base, shape, stride, offset)
    x._a = found._a
    join(x, base, found._view[1])
    return x


def _hidden_base(x: Tensor) -> Tensor:
    """Return a tensor that owns the memory of `x` and its views in its stead."""
    base = dispatch.wrap(x._a, x._dev)
    base._views, views = x._views, list(live_views(x))
    x._views = None
    for t in views:
        _, steps, root, root_steps = t._view
        t._view = (base, steps, base if root is x else root, root_steps)
    return base


def resize_as_(input: Tensor, the_template: Tensor, *, memory_format: Any = None) -> Tensor:
    """Give the tensor the shape of another, as `resize_` does."""
    return resize_(input, tuple(the_template.shape))


def empty_permuted(size: Sequence[int], physical_layout: Sequence[int], **options: Any) -> Tensor:
    """Return a tensor of a size whose dimensions lie in memory in the order given, outermost first.

    >>> empty_permuted((2, 3), (1, 0)).stride()
    (1, 2)
    """
    size = tuple(size)
    if len(size) != len(physical_layout):
        raise RuntimeError(
            f"Number of dimensions in size does not match the length of the physical_layout; i.e. "
            f"len(size) = {len(size)} is not equal to len(physical_layout) = "
            f"{len(physical_layout)}"
        )
    order = []
    for d in physical_layout:
        if not 0 <= d < len(size):
            raise RuntimeError(
                f"Dimension out of range (expected to be between 0 and {len(size) - 1}, but got "
                f"{d} at index {len(order)})."
            )
        if d in order:
            raise RuntimeError("Duplicate dim not allowed")
        order.append(wrap_dim(d, len(size)))
    wanted = options.pop("requires_grad", False)
    t = creation.empty([size[d] for d in order], **options)
    return creation.finish(t.permute([order.index(d) for d in range(len(size))]), wanted)


def new_empty_strided(
    input: Tensor, size: Sequence[int], stride: Sequence[int], *, dtype: Any = None,
    device: Any = None, **options: Any,
) -> Tensor:  # fmt: skip
    """Return a tensor of sizes and strides, with this tensor's dtype and device."""
    dtype = input._dtype if dtype is None else dtype
    device = input._dev if device is None else device
    return creation.empty_strided(size, stride, dtype=dtype, device=device, **options)


FUNCTIONS: dict[str, Callable] = {"empty_permuted": empty_permuted, "resize_as_": resize_as_}
METHODS: dict[str, Callable] = {
    "resize_": resize_, "resize_as_": resize_as_, "new_empty_strided": new_empty_strided,
}  # fmt: skip
