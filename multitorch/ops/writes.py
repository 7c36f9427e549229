"""Whole-tensor writes: `copy_`, `fill_`, `zero_`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from multitorch.ops import apply as dispatch
from multitorch.ops.apply import apply_general, broadcast_shape
from multitorch.ops.inplace import check_writable, commit
from multitorch.ops.op import Op


def _zeros(F: Any, g: Any) -> Any:
    return F.new_zeros(g, shape=tuple(g.shape))


def _copy_shape(x: Any, src: Any) -> Any:
    return x.shape, x.dtype


_copy = Op("copy_into", "x src", node="CopyBackwards", broadcasts=True, shape=_copy_shape)
_copy.node_name = "CopyBackwards"
_copy.vjp(x=_zeros, src=lambda F, g: g)
_fill = Op("fill", "x value", broadcasts=False, shape=_copy_shape)
_fill.vjp(x=_zeros, value=lambda F, g: F.sum_to(g, shape=()))
_zero = Op("zero", "x", shape=lambda x: (x.shape, x.dtype))
_zero.vjp(x=_zeros)

_constant = Op("constant", "value", shape=lambda value, *, shape, dtype: (shape, dtype))
_constant.nondiff()


def copy_(self: Any, src: Any, non_blocking: bool = False) -> Any:
    """Copy the elements of `src`, broadcast and cast, into this tensor.

    >>> multitorch.zeros(2).copy_(multitorch.tensor([1, 2]))
    tensor([1., 2.])
    """
    check_writable(self)
    if not isinstance(src, dispatch.Tensor):
        raise TypeError(f"copy_(): argument 'other' must be Tensor, not {type(src).__name__}")
    shape = tuple(self._a.shape)
    if tuple(src._a.shape) != shape and broadcast_shape(shape, tuple(src._a.shape)) != shape:
        raise RuntimeError(
            f"output with shape {list(shape)} doesn't match the broadcast shape "
            f"{list(broadcast_shape(shape, tuple(src._a.shape)))}"
        )
    if src._dev is not self._dev and src.ndim:
        src = src.to(self._dev)
    if src._dtype is not self._dtype:
        src = src.to(self._dtype)
    return commit(self, apply_general(_copy, (self, src), {}))


def fill_(self: Any, value: Any) -> Any:
    """Set every element to one number, or to the element of a zero-dim tensor."""
    check_writable(self)
    return commit(self, fill(self, value))


def fill(input: Any, value: Any, *, out: Any = None) -> Any:
    """Return a tensor like the input with every element set to one value.

    >>> multitorch.fill(multitorch.ones(2), 3)
    tensor([3., 3.])
    """
    if isinstance(value, dispatch.Tensor):
        if value.ndim:
            raise RuntimeError(
                "fill_ only supports 0-dimension value tensor but got tensor with "
                f"{value.ndim} dimensions."
            )
        value = value.to(input._dtype)
    elif not isinstance(value, (int, float, complex, np.generic)):
        raise TypeError(f"fill_(): argument 'value' must be Number, not {type(value).__name__}")
    elif isinstance(value, complex) and not input._dtype.is_complex:
        raise RuntimeError(
            f"value cannot be converted to type {input._dtype.name} without overflow"
        )
    return apply_general(_fill, (input, value), {}, out)


def zero_(self: Any) -> Any:
    """Set every element to zero."""
    check_writable(self)
    return commit(self, apply_general(_zero, (self,), {}))


METHODS: dict[str, Callable] = {"copy_": copy_, "fill_": fill_, "zero_": zero_}
FUNCTIONS: dict[str, Callable] = {"fill": fill, "fill_": fill_, "zero_": zero_}
