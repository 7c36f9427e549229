"""Differences, numerical derivatives and integrals along a dimension; covariance; histograms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from multitorch import dtypes
from multitorch.ops import apply as dispatch
from multitorch.ops import return_types
from multitorch.ops.apply import write_out
from multitorch.ops.common import wrap_dim
from multitorch.ops.logic import where_op
from multitorch.ops.statistics import vector_norm

# --- differences and derivatives -----------------------------------------------------------------


def diff(
    input: Any, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None, *,
    out: Any = None,
) -> Any:  # fmt: skip
    """Return the n-th differences of neighbors along a dimension.

    >>> multitorch.diff(multitorch.tensor([1, 4, 9, 16]))
    tensor([3, 5, 7])
    """
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    if not input._a.ndim:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    d = wrap_dim(dim, input._a.ndim)
    if n == 0:
        return input.clone() if out is None else write_out(out, input)
    parts = [t for t in (prepend, input, append) if t is not None]
    t = input if len(parts) == 1 else _joined(parts, d)
    for _ in range(min(n, t.shape[d])):
        t = _step(t, d)
    return t if out is None else write_out(out, t)


def _joined(parts: list[Any], dim: int) -> Any:
    from multitorch.ops.join import cat

    return cat(parts, dim)


def _step(t: Any, dim: int) -> Any:
    count = max(t.shape[dim] - 1, 0)
    low, high = t.narrow(dim, 0, count), t.narrow(dim, t.shape[dim] - count, count)
    return high.logical_xor(low) if t._dtype is dtypes.bool_ else high - low


def gradient(
    input: Any, *, spacing: Any = None, dim: Any = None, edge_order: int = 1
) -> tuple[Any, ...]:
    """Return the derivatives along dimensions by central differences.

    `spacing` is the distance of neighbors, one for each dimension, or tensors of coordinates.
    """
    if edge_order not in (1, 2):
        raise RuntimeError("torch.gradient only supports edge_order=1 and edge_order=2.")
    spacing = 1 if spacing is None else spacing
    dims = range(input._a.ndim) if dim is None else [dim] if isinstance(dim, int) else dim
    dims = [wrap_dim(d, input._a.ndim) for d in dims]
    for d in dims:
        if dims.count(d) > 1:
            raise RuntimeError(f"dim {d} appears multiple times in the list of dims")
    spacings = list(spacing) if isinstance(spacing, (tuple, list)) else [spacing] * len(dims)
    if len(spacings) != len(dims):
        raise RuntimeError(
            "torch.gradient expected spacing to be unspecified, a scalar, or a list of length "
            f"{len(dims)}, but got a list of length {len(spacings)}"
        )
    x = input
    if input._dtype.is_floating_point and input._dtype.itemsize == 2:
        x = input.to(dtypes.float32)  # differences of neighbors cancel what rounding has left
    slopes = [_slope(x, d, h, edge_order) for d, h in zip(dims, spacings, strict=True)]
    return tuple(slopes) if x is input else tuple([t.to(input._dtype) for t in slopes])


def _slope(x: Any, dim: int, spacing: Any, edge_order: int) -> Any:
    n = x.shape[dim]
    if n < edge_order + 1:
        raise RuntimeError(
            "torch.gradient expected each dimension size to be at least edge_order+1"
        )
    if not x._dtype.inexact:
        x = x.to(dtypes.get_default_dtype())
    if isinstance(spacing, dispatch.Tensor) and spacing._a.ndim:
        steps = diff(spacing).reshape([-1 if i == dim else 1 for i in range(x._a.ndim)])
    else:
        steps = x.new_full([n - 1 if i == dim else 1 for i in range(x._a.ndim)], 1) * spacing
    slopes = diff(x, dim=dim) / steps
    left, right = slopes.narrow(dim, 0, n - 2), slopes.narrow(dim, 1, n - 2)
    before, after = steps.narrow(dim, 0, n - 2), steps.narrow(dim, 1, n - 2)
    inner = (left * after + right * before) / (before + after)
    first, last = slopes.narrow(dim, 0, 1), slopes.narrow(dim, n - 2, 1)
    if edge_order == 2:
        bend = (right - left) / (before + after)
        first = first - bend.narrow(dim, 0, 1) * steps.narrow(dim, 0, 1)
        last = last + bend.narrow(dim, n - 3, 1) * steps.narrow(dim, n - 2, 1)
    return _joined([first, inner, last], dim)


# --- integrals -----------------------------------------------------------------------------------


def _panels(y: Any, x: Any, dx: Any, dim: int) -> Any:
    """Return the areas of the trapezoids between neighbors."""
    d = wrap_dim(dim, y._a.ndim)
    count = max(y.shape[d] - 1, 0)
    middles = y.narrow(d, 0, count) + y.narrow(d, y.shape[d] - count, count)
    if x is None:
        return middles * ((1 if dx is None else dx) / 2)
    widths = diff(x, dim=d if x._a.ndim == y._a.ndim else -1)
    if x._a.ndim == 1:
        widths = widths.reshape([-1 if i == d else 1 for i in range(y._a.ndim)])
    return middles * widths / 2


def trapezoid(y: Any, x: Any = None, *, dx: Any = None, dim: int = -1) -> Any:
    """Return the integral along a dimension by the trapezoidal rule.

    >>> multitorch.trapezoid(multitorch.tensor([1.0, 2.0, 3.0]))
    tensor(4.)
    """
    return _panels(y, x, dx, dim).sum(dim)


def cumulative_trapezoid(y: Any, x: Any = None, *, dx: Any = None, dim: int = -1) -> Any:
    """Return the running integral along a dimension by the trapezoidal rule."""
    return _panels(y, x, dx, dim).cumsum(dim)


# --- covariance ----------------------------------------------------------------------------------


def _check_weights(x: Any, **weights: Any) -> None:
    count = x._a.shape[-1] if x._a.ndim else 1
    for name, w in weights.items():
        if w is None:
            continue
        if w._a.ndim > 1:
            raise RuntimeError(f"cov(): expected {name} to have one or fewer dimensions")
        if w._dtype.inexact == (name == "fweights"):
            kind = "integral" if name == "fweights" else "floating point"
            raise RuntimeError(f"cov(): expected {name} to have {kind} dtype")
        if w.numel() != count:
            raise RuntimeError(
                f"cov(): expected {name} to have the same numel as there are observations in the "
                f"input but got {w.numel()} != {count}"
            )
        if w.numel() and bool((w < 0).any()):
            raise RuntimeError(f"cov(): {name} cannot be negative")


def cov(input: Any, *, correction: int = 1, fweights: Any = None, aweights: Any = None) -> Any:
    """Return the covariance matrix of variables in rows, observations in columns."""
    if input._a.ndim > 2:
        raise RuntimeError(
            f"cov(): expected input to have two or fewer dimensions but got an input with "
            f"{input._a.ndim} dimensions"
        )
    x = input.reshape(1, -1) if input._a.ndim < 2 else input
    if not x._dtype.inexact:
        x = x.to(dtypes.get_default_dtype())
    _check_weights(input, fweights=fweights, aweights=aweights)
    weights = fweights if aweights is None else aweights
    if fweights is not None and aweights is not None:
        weights = fweights * aweights
    if weights is None:
        centered, total = x - x.mean(1, keepdim=True), x.shape[1]
        free = total - correction
    else:
        total = weights.sum()
        centered = x - (x * weights).sum(1, keepdim=True) / total
        whole = correction if aweights is None else correction * (weights * aweights).sum() / total
        free = total - whole
    right = centered if weights is None else centered * weights
    return ((centered @ right.mH) / free).squeeze()


def corrcoef(input: Any) -> Any:
    """Return the matrix of correlation coefficients of variables in rows."""
    c = cov(input)
    if not c._a.ndim:
        return c / c
    deviation = c.diagonal().sqrt()
    return c / deviation.unsqueeze(1) / deviation.unsqueeze(0)


def renorm(input: Any, p: float, dim: int, maxnorm: float, *, out: Any = None) -> Any:
    """Scale each slice along `dim` whose p-norm exceeds `maxnorm` down to it."""
    if input._a.ndim < 2:
        raise RuntimeError(
            f"renorm: input needs at least 2 dimensions, got {input._a.ndim} dimensions"
        )
    d = wrap_dim(dim, input._a.ndim)
    others = tuple(i for i in range(input._a.ndim) if i != d)
    size = vector_norm(input, p, others, keepdim=True)
    scale = where_op(size > maxnorm, maxnorm / (size + 1e-7), 1.0)
    t = input * scale
    return t if out is None else write_out(out, t)


# --- histograms ----------------------------------------------------------------------------------


def histogram(
    input: Any, bins: Any, *, range: Any = None, weight: Any = None, density: bool = False,
    out: Any = None,
) -> Any:  # fmt: skip
    """Return (hist, bin_edges): how many elements, or how much weight, fall between edges."""
    x = input.reshape(-1)
    if isinstance(bins, dispatch.Tensor):
        edges = bins
    else:
        low, high = range or ((float(x.min()), float(x.max())) if x.shape[0] else (0.0, 1.0))
        if low == high:
            low, high = low - 0.5, high + 0.5
        edges = x.new_full((bins + 1,), 1).cumsum(0).sub(1).mul((high - low) / bins).add(low)
        edges = where_op(edges == edges.max(), high, edges)
    count = edges.shape[0] - 1
    inside = (x >= edges[0]) & (x <= edges[-1])
    place = _place(x, edges, count)
    amount = inside.to(x._dtype)
    if weight is not None:
        amount = amount * weight.reshape(-1)
    hist = x.new_zeros(count).scatter_add(0, place, amount)
    if density:
        hist = hist / hist.sum() / diff(edges)
    result = return_types.histogram(hist, edges)
    return result if out is None else write_out(out, result)


def _place(x: Any, edges: Any, count: int) -> Any:
    from multitorch.ops.sort import bucketize

    return (bucketize(x, edges, right=True) - 1).clamp(0, count - 1)


FUNCTIONS: dict[str, Callable] = {
    f.__name__: f
    for f in (
        diff, gradient, trapezoid, cumulative_trapezoid, cov, corrcoef, renorm, histogram,
    )
} | {"trapz": trapezoid}  # fmt: skip
METHODS: dict[str, Callable] = {f.__name__: f for f in (diff, cov, corrcoef, renorm, histogram)}
INPLACE: dict[str, Callable] = {"renorm_": renorm}
