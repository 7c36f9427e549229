"""Losses: log-probabilities are picked by index, gradients written into one buffer."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from multitorch_numpy import activation as _activation
from multitorch_numpy import rows as _rows

Array = Any


def _classes_last(x: Array) -> Array:
    """Return (N, C, …) with the classes last, as a view; (C,) as one row."""
    return x[None] if x.ndim == 1 else np.moveaxis(x, 1, -1)


def _check(target: Array, valid: Array, classes: int) -> None:
    wrong = valid & ((target < 0) | (target >= classes))
    if wrong.any():
        raise IndexError(f"Target {target[wrong].flat[0]} is out of bounds.")


def _kept(target: Array, ignore: int, classes: int) -> tuple[Array, Array]:
    """Return indices that are safe to use, flat, and which of them count."""
    flat = target.reshape(-1)
    if flat.dtype.kind == "u":
        flat = flat.astype(np.int64)
    valid = flat != ignore
    _check(flat, valid, classes)
    return (flat if valid.all() else np.where(valid, flat, 0)), valid


def _weights(index: Array, valid: Array, weight: Array, dtype: Any) -> Array:
    if weight is None:
        return valid.astype(dtype)
    return np.where(valid, weight[index], dtype.type(0))


def _wide(a: Array) -> Array:
    return a if a is None or a.dtype.char in "fd" else a.astype(np.float32)


def nll_loss(
    x: Array, target: Array, weight: Array, *, reduction: str, ignore: int
) -> tuple[Array, Array]:
    """Return -w[y] x[y], and the sum of the weights that count."""
    dtype, x, weight = x.dtype, _wide(x), _wide(weight)
    rows = _classes_last(x)
    index, valid = _kept(target, ignore, rows.shape[-1])
    w = _weights(index, valid, weight, x.dtype)
    picked = np.take_along_axis(rows, index.reshape(*rows.shape[:-1], 1), -1).reshape(-1)
    losses = np.where(valid, -picked * w, x.dtype.type(0))
    total = np.add.reduce(w)
    if reduction == "none":
        return losses.reshape(target.shape).astype(dtype, copy=False), total.astype(dtype)
    out = np.add.reduce(losses)
    return (out / total if reduction == "mean" else out).astype(dtype), total.astype(dtype)


def _coefficients(
    g: Array, index: Array, valid: Array, weight: Array, total: Array, reduction: str
) -> Array:
    w = _weights(index, valid, weight, g.dtype)
    if reduction == "none":
        return g.reshape(-1) * w
    if reduction == "mean":
        return np.where(valid, w * (g / total), g.dtype.type(0))  # the total may be zero
    return w * g


def nll_loss_backward(
    g: Array, target: Array, weight: Array, total: Array, *, shape: tuple, reduction: str,
    ignore: int,
) -> Array:  # fmt: skip
    """Return the gradient of `nll_loss` by its input of this shape."""
    dx = np.zeros(shape, g.dtype)
    rows = _classes_last(dx)
    index, valid = _kept(target, ignore, rows.shape[-1])
    c = _coefficients(g, index, valid, weight, total, reduction)
    at = (*rows.shape[:-1], 1)
    np.put_along_axis(rows, index.reshape(at), -c.reshape(at), -1)
    return dx


def _mean_of_rows(x: Array, target: Array, ignore: int) -> tuple[Array, Array, Array] | None:
    """Return the results of `cross_entropy` in the usual case, None in any other.

    That is a matrix of moderate scores and one valid class for each row. The loss of a row is
    log(Σ exp(x) / exp(x[y])), which rounding never makes negative.
    """
    if target.dtype.char != "l" or not _rows.is_short(x) or not _rows.is_moderate(x):
        return None
    low, high = target.item(target.argmin()), target.item(target.argmax())
    if low < 0 or high >= x.shape[1] or low <= ignore <= high:
        return None
    e, sums = _rows.exp_and_sums(x)
    n = len(target)
    losses = np.divide(sums, e.take(_rows.starts(n, x.shape[1]) + target))
    np.log(losses, losses)
    logp = np.subtract(x, np.log(sums, sums)[:, None], e)
    return _rows.total(losses) / n, logp, _count(n, x.dtype)


@functools.lru_cache(maxsize=64)
def _count(n: int, dtype: Any) -> Array:
    return np.full((), n, dtype)


def cross_entropy(
    x: Array, target: Array, weight: Array, *, reduction: str, ignore: int
) -> tuple[Array, Array, Array]:
    """Return the loss, log softmax(x), and the sum of the weights that count."""
    if weight is None and reduction == "mean":
        found = _mean_of_rows(x, target, ignore)
        if found is not None:
            return found
    logp = _activation.log_softmax(x, dim=1 if x.ndim > 1 else 0)
    out, total = nll_loss(logp, target, weight, reduction=reduction, ignore=ignore)
    return out, logp, total


def cross_entropy_backward(
    g: Array, logp: Array, target: Array, weight: Array, total: Array, *, reduction: str,
    ignore: int,
) -> Array:  # fmt: skip
    """Return (softmax(x) - one hot) w g."""
    if weight is None and reduction == "mean" and g.dtype == logp.dtype and _rows.is_matrix(logp):
        if total.item() == len(logp) and target.dtype.char == "l":  # every row counts
            dx = np.exp(logp)
            dx.reshape(-1)[_rows.starts(*dx.shape) + target] -= 1
            dx *= g / total
            return dx
    dtype = g.dtype
    g, logp, weight, total = _wide(g), _wide(logp), _wide(weight), _wide(total)
    dx = np.exp(logp)
    rows = _classes_last(dx)
    index, valid = _kept(target, ignore, rows.shape[-1])
    c = _coefficients(g, index, valid, weight, total, reduction)
    at = (*rows.shape[:-1], 1)
    index = index.reshape(at)
    np.put_along_axis(rows, index, np.take_along_axis(rows, index, -1) - 1, -1)
    rows *= c.reshape(at)
    return dx.astype(dtype, copy=False)


def mse_loss(x: Array, y: Array, *, reduction: str) -> Array:
    """Return (x - y)²."""
    d = np.subtract(x, y)
    d = np.multiply(d, d)
    if reduction == "none":
        return d
    if d.dtype.char not in "fdFD":
        total = np.add.reduce(d, None, np.float32)
        return (total / d.size if reduction == "mean" else total).astype(d.dtype)
    total = np.add.reduce(d, None)
    return total / d.dtype.type(d.size) if reduction == "mean" else total


def bce(x: Array, y: Array) -> Array:
    """Return -(y log x + (1 - y) log(1 - x)), logarithms not below -100."""
    dtype, x, y = x.dtype, _wide(x), _wide(y)
    if not ((x >= 0) & (x <= 1)).all():
        raise RuntimeError("all elements of input should be between 0 and 1")
    first, second = np.maximum(np.log(x), -100), np.maximum(np.log1p(-x), -100)
    return ((y - 1) * second - y * first).astype(dtype, copy=False)
