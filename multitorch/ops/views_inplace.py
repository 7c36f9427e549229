"""View ops in place, `x.t_()`: the tensor itself takes the shape of the view; diagonal fills."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from multitorch.ops import parts, views
from multitorch.ops.inplace import check_writable
from multitorch.ops.view import live_views


def _in_place(function: Callable, name: str) -> Callable:
    def method(input: Any, *args: Any, **kwargs: Any) -> Any:
        check_writable(input)
        if input._view is None and next(live_views(input), None) is not None:
            raise NotImplementedError(
                f"{name}: the tensor has views, whose places are counted in its present shape. "
                f"Remedy: use x = x.{name.rstrip('_')}(...) instead."
            )
        view = function(input, *args, **kwargs)
        if view is input:
            return input
        input._a, input._node = view._a, view._node
        if input._view is not None:
            input._view = view._view
        else:
            view._view = None
        return input

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"Apply `{name.rstrip('_')}` to the tensor itself."
    method.__wrapped__ = function  # type: ignore[attr-defined]
    return method


def fill_diagonal_(input: Any, fill_value: Any, wrap: bool = False) -> Any:
    """Set the main diagonal to one value; with `wrap`, a tall matrix's diagonal starts over."""
    shape = input._a.shape
    if len(shape) < 2:
        raise RuntimeError("dimensions must larger than 1")
    if len(shape) > 2 and len(set(shape)) > 1:
        raise RuntimeError("all dimensions of input must be of equal length")
    check_writable(input)
    rows, columns = shape[0], shape[1]
    strides = input.stride()
    size = min(shape)
    if wrap and len(shape) == 2 and rows > columns + 1:
        for top in range(0, rows, columns + 1):
            block = input[top : top + columns]
            block.diagonal().fill_(fill_value)
        return input
    input.as_strided((size,), (sum(strides),), input.storage_offset()).fill_(fill_value)
    return input


METHODS: dict[str, Callable] = {
    f"{name}_": _in_place(function, f"{name}_")
    for name, function in (
        ("squeeze", views.squeeze), ("unsqueeze", views.unsqueeze), ("t", views.t),
        ("transpose", views.transpose), ("swapaxes", views.transpose),
        ("swapdims", views.transpose), ("as_strided", parts.as_strided),
    )
}  # fmt: skip
METHODS["fill_diagonal_"] = fill_diagonal_
