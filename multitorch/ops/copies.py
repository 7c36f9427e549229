"""The functions `<view>_copy`: what a view function returns, in memory of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from multitorch.ops import parts, views
from multitorch.ops.apply import write_out


def slice_range(
    input: Any, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Any:
    """Return every `step`-th element of one dimension from `start` up to, without, `end`.

    >>> slice_range(multitorch.arange(6), 0, 1, -1, 2).tolist()
    [1, 3]
    """
    shape = input._a.shape
    if not shape:
        raise RuntimeError("slice() cannot be applied to a 0-dim tensor.")
    if step <= 0:
        raise RuntimeError("slice step must be positive")
    d = views.wrap_dim(dim, len(shape))
    chosen = range(shape[d])[start:end:step]
    return parts.slice_view(input, d, chosen.start, len(chosen), step)


def copying(view: Callable) -> Callable:
    """Return the function that copies what a view function returns."""

    @wraps(view)
    def function(*args: Any, out: Any = None, **kwargs: Any) -> Any:
        found = view(*args, **kwargs)
        copies = tuple(map(views.clone, found)) if isinstance(found, tuple) else views.clone(found)
        if out is None:
            return copies
        written = write_out(out, copies)
        return None if isinstance(copies, tuple) else written

    function.__name__ = function.__qualname__ = f"{view.__name__}_copy"
    function.__doc__ = f"Return a copy of what `{view.__name__}` returns a view of."
    return function


_VIEWS: dict[str, Callable] = {
    "alias": views.alias, "as_strided": parts.as_strided, "detach": views.detach,
    "diagonal": parts.diagonal, "expand": views.expand,
    "permute": views.permute, "select": parts.select, "slice": slice_range,
    "split": parts.split, "split_with_sizes": parts.split, "squeeze": views.squeeze,
    "t": views.t, "transpose": views.transpose, "unbind": parts.unbind, "unfold": parts.unfold,
    "unsqueeze": views.unsqueeze, "view": views.view, "view_as_complex": views.view_as_complex,
    "view_as_real": views.view_as_real,
}  # fmt: skip
FUNCTIONS: dict[str, Callable] = {f"{k}_copy": copying(f) for k, f in _VIEWS.items()}
METHODS: dict[str, Callable] = {}
