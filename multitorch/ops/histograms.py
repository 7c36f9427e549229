"""Histograms of points: how many fall into each cell of a grid."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from multitorch import dtypes
from multitorch.ops import apply as dispatch
from multitorch.ops import return_types
from multitorch.ops.apply import write_out
from multitorch.ops.calculus import diff
from multitorch.ops.logic import where_op
from multitorch.ops.promote import not_implemented
from multitorch.ops.sort import bucketize

Tensor = Any


def histogramdd(
    input: Tensor, bins: Any, range: Sequence[float] | None = None, weight: Tensor | None = None,
    density: bool = False, *, out: Any = None,
) -> Any:  # fmt: skip
    """Return (hist, bin_edges) of the points in the last dimension.

    `bins` is one number, a number per coordinate, or a tensor of edges per coordinate.

    >>> points = multitorch.tensor([[0.0, 0.0], [1.0, 1.0], [1.0, 0.9]])
    >>> multitorch.histogramdd(points, 2).hist.tolist()
    [[1.0, 0.0], [0.0, 2.0]]
    """
    x, bins, weight = _checked(input, bins, weight)
    axes = x.unbind(1)
    edges = tuple(_edges(axes, bins, range))
    hist = _counted(axes, edges, weight)
    if density:
        hist = _per_volume(hist, edges)
    result = return_types.histogramdd(hist, edges)
    return result if out is None else write_out(out, result)


def _checked(x: Tensor, bins: Any, weight: Tensor | None) -> tuple[Tensor, Any, Tensor | None]:
    """Return (points as rows, bins per coordinate, a weight per point), or raise."""
    if x.ndim < 2:
        raise RuntimeError("torch.histogramdd: input tensor should have at least 2 dimensions")
    if x._dtype not in (dtypes.float32, dtypes.float64):
        raise not_implemented("histogramdd", x._dtype)
    size = x.shape[-1]
    bins = [bins] * size if isinstance(bins, int) else list(bins)
    if bins and isinstance(bins[0], dispatch.Tensor):
        _check_edges(x, bins, size)
    elif len(bins) != size:
        raise RuntimeError(
            "histogramdd: The size of bins must be equal to the innermost dimension of the input."
        )
    if weight is not None:
        _check_weight(x, weight)
        weight = weight.reshape(-1)
    return x.reshape(math.prod(x.shape[:-1]), size), bins, weight


def _check_edges(x: Tensor, bins: list[Tensor], size: int) -> None:
    if len(bins) != size:
        raise RuntimeError(
            f"torch.histogramdd: expected {size} sequences of bin edges for a {size}-dimensional "
            f"histogram but got {len(bins)}"
        )
    for d, t in enumerate(bins):
        where = f"in the bins tensor for dimension {d}"
        if t._dtype is not x._dtype:
            raise RuntimeError(
                "torch.histogramdd: input tensor and bins tensors should have the same dtype, but "
                f"got input with dtype {x._dtype.name} and bins for dimension {d} with dtype "
                f"{t._dtype.name}"
            )
        if t.ndim != 1:
            raise RuntimeError(
                "torch.histogramdd: bins tensor should have one dimension, but got "
                f"{t.ndim} dimensions {where}"
            )
        if not t.numel():
            raise RuntimeError(
                "torch.histogramdd: bins tensor should have at least 1 element, but got 0 elements "
                f"{where}"
            )


def _check_weight(x: Tensor, weight: Tensor) -> None:
    if weight._dtype is not x._dtype:
        raise RuntimeError(
            "torch.histogramdd: if weight tensor is provided, input tensor and weight tensor "
            f"should have the same dtype, but got input({x._dtype.name}), and "
            f"weight({weight._dtype.name})"
        )
    if weight.shape != x.shape[:-1]:
        raise RuntimeError(
            "torch.histogramdd: if weight tensor is provided it should have the same shape as the "
            f"input tensor excluding its innermost dimension, but got input with shape "
            f"{list(x.shape)} and weight with shape {list(weight.shape)}"
        )


def _edges(axes: Sequence[Tensor], bins: list, bounds: Sequence[float] | None) -> list[Tensor]:
    if bins and isinstance(bins[0], dispatch.Tensor):
        return bins
    if bounds is not None and len(bounds) != 2 * len(axes):
        raise RuntimeError(
            f"torch.histogramdd: for a {len(axes)}-dimensional histogram range should have "
            f"{2 * len(axes)} elements, but got {len(bounds)}"
        )
    found = []
    for d, (x, count) in enumerate(zip(axes, bins, strict=True)):
        if count <= 0:
            raise RuntimeError(
                f"torch.histogram(): bins must be > 0, but got {count} for dimension {d}"
            )
        low, high = _range(x, d, bounds)
        found.append(_even(x, low, high, count))
    return found


def _range(x: Tensor, d: int, bounds: Sequence[float] | None) -> tuple[float, float]:
    if bounds is not None:
        low, high = bounds[2 * d], bounds[2 * d + 1]
    elif x.shape[0]:
        low, high = float(x.min()), float(x.max())
    else:
        low, high = 0.0, 1.0
    if not math.isfinite(low) or not math.isfinite(high):
        raise RuntimeError(
            f"torch.histogramdd: dimension {d}'s range [{low:g}, {high:g}] is not finite"
        )
    if low > high:
        raise RuntimeError(
            f"torch.histogramdd: min should not exceed max, but got min {low:g} max {high:g} for "
            f"dimension {d}"
        )
    return (low - 0.5, high + 0.5) if low == high else (low, high)


def _even(x: Tensor, low: float, high: float, count: int) -> Tensor:
    """Return `count` + 1 evenly spaced edges."""
    from multitorch.ops.ranges import linspace

    return linspace(low, high, count + 1, dtype=x._dtype, device=x._dev)


def _counted(axes: Sequence[Tensor], edges: tuple[Tensor, ...], weight: Tensor | None) -> Tensor:
    """Return the weight of the points in each cell; the last cell of an axis has both its edges."""
    sizes = [e.shape[0] - 1 for e in edges]
    x = axes[0]
    inside, place = x == x, x.new_zeros(x.shape, dtype=dtypes.int64)
    for x, e, n in zip(axes, edges, sizes, strict=True):
        inside = inside & (x >= e[0]) & (x <= e[-1])
        place = place * n + (bucketize(x.contiguous(), e, right=True) - 1).clamp(0, max(n - 1, 0))
    amount = inside.to(x._dtype)
    if weight is not None:
        amount = where_op(inside, weight, 0.0)
    cells = math.prod(sizes)
    if not cells:
        return x.new_zeros(sizes)
    place = place.masked_fill(inside.logical_not(), 0)
    return x.new_zeros(cells).scatter_add(0, place, amount).view(sizes)


def _per_volume(hist: Tensor, edges: tuple[Tensor, ...]) -> Tensor:
    hist = hist / hist.sum()
    for d, e in enumerate(edges):
        hist = hist / diff(e).view(-1, *(1,) * (hist.ndim - d - 1))
    return hist


FUNCTIONS: dict[str, Callable] = {"histogramdd": histogramdd}
METHODS: dict[str, Callable] = {}
