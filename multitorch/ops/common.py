"""Helpers that several op families share: dimension arguments and constants in derivative rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any


def wrap_dim(dim: Any, ndim: int) -> int:
    """Return a dimension counted from the front; a zero-dim tensor has one dimension here.

    >>> wrap_dim(-1, 3)
    2
    """
    limit = ndim or 1
    if dim.__class__ is not int:
        dim = _dim_number(dim)
    if 0 <= dim < limit:
        return dim
    if -limit <= dim < 0:
        return dim + limit
    raise IndexError(
        f"Dimension out of range (expected to be in range of [{-limit}, {limit - 1}], but got "
        f"{dim})"
    )


def _dim_number(dim: Any) -> int:
    if isinstance(dim, bool) or not hasattr(dim, "__index__"):
        raise TypeError(f"argument 'dim' must be int, not {type(dim).__name__}")
    return dim.__index__()


def wrap_dims(dim: Any, ndim: int) -> tuple[int, ...]:
    """Return the canonical dimensions of a reduction; None and () stand for all.

    >>> wrap_dims((0, -1), 3), wrap_dims(None, 2)
    ((0, 2), (0, 1))
    """
    if dim is None:
        return tuple(range(ndim))
    if dim.__class__ is int:
        wrapped = wrap_dim(dim, ndim)
        return (wrapped,) if ndim else ()
    if not isinstance(dim, Sequence):
        wrapped = wrap_dim(dim, ndim)
        return (wrapped,) if ndim else ()
    dims = tuple([wrap_dim(d, ndim) for d in dim])
    if not dims:
        return tuple(range(ndim))
    if len(set(dims)) != len(dims):
        twice = next(d for d in dims if dims.count(d) > 1)
        raise RuntimeError(f"dim {twice} appears multiple times in the list of dims")
    return tuple(sorted(dims)) if ndim else ()


def reduced_shape(shape: tuple[int, ...], dim: Sequence[int], keepdim: bool) -> tuple[int, ...]:
    """Return the shape after a reduction over canonical dimensions.

    >>> reduced_shape((2, 3, 4), (1,), False), reduced_shape((2, 3), (0, 1), True)
    ((2, 4), (1, 1))
    """
    if keepdim:
        return tuple([1 if i in dim else n for i, n in enumerate(shape)])
    return tuple([n for i, n in enumerate(shape) if i not in dim])


def constant(F: Any, g: Any, value: float) -> Any:
    """Return a number as a zero-dim array of the dtype of `g`, for use in a derivative rule.

    A plain Python float would widen bfloat16 on backends whose number rules do not know it.
    """
    return F.new_full(g, shape=(), value=value)


def zeros_like(F: Any, g: Any) -> Any:
    """Return the zero gradient of a piecewise constant function."""
    return F.new_zeros(g, shape=g.shape)


def inplace_functions(names: Iterable[str]) -> dict[str, Callable]:
    """Return the functions that PyTorch has for some in-place methods, such as `torch.exp_`."""
    return {name: methodcaller_of(name) for name in names}


def methodcaller_of(name: str) -> Callable:
    """Return the function that calls a method of its first argument."""

    def function(input: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(input, name)(*args, **kwargs)

    function.__name__ = function.__qualname__ = name
    METHOD_CALLERS.append(function)
    return function


METHOD_CALLERS: list[Callable] = []
"""The functions that only call a method: they get its documentation once it is there."""


def same_shape(x: Any, *others: Any, **params: Any) -> tuple[tuple[int, ...], Any]:
    """Return the shape and dtype of a result that looks like the first operand."""
    return x.shape, x.dtype
