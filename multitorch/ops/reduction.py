"""What reductions share: the shapes of their results, and the checks of their arguments."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from multitorch import dtypes
from multitorch.dtypes import bool_, from_numpy_dtype
from multitorch.ops.common import reduced_shape, wrap_dims

# --- shapes, for the recorder --------------------------------------------------------------------


def shape_same_dtype(x: Any, *, dim: Any, keepdim: bool, **params: Any) -> tuple[Any, Any]:
    """Return what `amax` of `x` looks like."""
    return reduced_shape(x.shape, _as_dims(dim, x.shape), keepdim), x.dtype


def shape_accumulated(x: Any, *, dim: Any, keepdim: bool, **params: Any) -> tuple[Any, Any]:
    """Return what `sum` of `x` looks like: integers become int64."""
    dtype = dtypes.int64.numpy() if x.dtype.kind in "biu" else x.dtype
    return reduced_shape(x.shape, _as_dims(dim, x.shape), keepdim), dtype


def shape_bool(x: Any, *, dim: Any, keepdim: bool) -> tuple[Any, Any]:
    """Return what `any` of `x` looks like."""
    return reduced_shape(x.shape, _as_dims(dim, x.shape), keepdim), bool_.numpy()


def shape_index(x: Any, *, dim: Any, keepdim: bool) -> tuple[Any, Any]:
    """Return what `argmax` of `x` looks like."""
    return reduced_shape(x.shape, _as_dims(dim, x.shape), keepdim), dtypes.int64.numpy()


def shape_real(x: Any, *, dim: Any, keepdim: bool, **params: Any) -> tuple[Any, Any]:
    """Return what `var` of `x` looks like: real."""
    dtype = from_numpy_dtype[x.dtype].to_real().numpy()
    return reduced_shape(x.shape, _as_dims(dim, x.shape), keepdim), dtype


def shape_value_index(x: Any, *, dim: Any, keepdim: bool) -> tuple[Any, ...]:
    """Return what `max(x, dim)` looks like."""
    same, index = dtypes.int64.numpy(), shape_same_dtype(x, dim=dim, keepdim=keepdim)
    return index, (index[0], same)


def shape_of_all(shape: Callable) -> Callable:
    """Return the form of a shape function for an op that reduces everything."""
    return lambda x: shape(x, dim=None, keepdim=False)


def _as_dims(dim: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    if dim is None:
        return tuple(range(len(shape)))
    return (dim,) if dim.__class__ is int else dim


# --- names of arguments --------------------------------------------------------------------------


def takes_axis(function: Callable) -> Callable:
    """Let a function take NumPy's names, `axis` and `keepdims`, as PyTorch does."""

    @functools.wraps(function)
    def renamed(*args: Any, **kwargs: Any) -> Any:
        if "axis" in kwargs or "keepdims" in kwargs:
            kwargs = torch_names(kwargs)
        return function(*args, **kwargs)

    return renamed


def torch_names(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return keyword arguments under PyTorch's names."""
    return {_TORCH_NAMES.get(name, name): value for name, value in kwargs.items()}


_TORCH_NAMES = {"axis": "dim", "keepdims": "keepdim"}

# --- checks --------------------------------------------------------------------------------------


def all_dims(x: Any) -> tuple[int, ...]:
    """Return every dimension of a tensor."""
    return ALL_DIMS[x._a.ndim]


ALL_DIMS = [tuple(range(n)) for n in range(65)]
"""All dimensions of a tensor, by their number."""


def check_not_empty(name: str, x: Any, dims: tuple[int, ...], explicit: bool) -> None:
    """Raise PyTorch's error for a reduction without identity over no elements."""
    if 0 not in x._a.shape:
        return
    for d in dims:
        if x._a.shape and x._a.shape[d] == 0:
            if explicit:
                raise IndexError(f"{name}(): Expected reduction dim {d} to have non-zero size.")
            raise RuntimeError(
                f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify "
                "the reduction dim with the 'dim' argument."
            )


_ONE_DIM = [(n,) for n in range(64)]


def dims_of(x: Any, dim: Any) -> tuple[int, ...]:
    """Return the canonical dimensions of a reduction of `x`."""
    ndim = x._a.ndim
    if dim is None:
        return ALL_DIMS[ndim]
    if dim.__class__ is int and 0 <= dim < ndim:
        return _ONE_DIM[dim]
    return wrap_dims(dim, ndim)
