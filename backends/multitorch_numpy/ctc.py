"""Connectionist temporal classification: a few calls for each step in time.

The tables of log α and log β have two more columns of -inf, which states that do not exist are read
from, so that shifted states are slices.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from multitorch_numpy import index as _index
from multitorch_numpy import reduce as _reduce

Array = Any


def _states(targets: Array, blank: int) -> tuple[Array, Array]:
    """Return the label of every state, and whether it may be entered past the blank before it."""
    labels = np.full((len(targets), 2 * targets.shape[1] + 1), blank, targets.dtype)
    labels[:, 1::2] = targets
    skips = np.zeros(labels.shape, bool)
    np.not_equal(labels[:, 2:], labels[:, :-2], skips[:, 2:])
    skips &= labels != blank
    return labels, skips


def _penalty(allowed: Array, dtype: Any) -> Array:
    """Return what is added to a logarithm: 0, or -inf where something is not allowed."""
    return np.where(allowed, dtype.type(0), dtype.type(-np.inf))


def _scores(x: Array, labels: Array) -> Array:
    """Return the log-probability of every state at every time: (T, N, states)."""
    return x[:, np.arange(len(labels))[:, None], labels]


def _over(times: Array, length: int) -> Iterator[tuple[int, Array]]:
    """Yield the steps after the first, each with the samples that are over: (N, 1), or None."""
    first = times.min(initial=length)
    for t in range(1, length):
        yield t, (times <= t)[:, None] if t >= first else None


_FEW = 256
"""Up to how many states calls cost more than logarithms."""


class _Sums:
    """log(exp a + exp b + exp c) of a state, its neighbor, and the next but one where it counts."""

    def __init__(self, past: Array) -> None:
        self.past = past
        self.parts = np.empty((3, *past.shape), past.dtype)
        self.most = np.empty_like(past)

    def fill(self, out: Array, own: Array, near: Array, beyond: Array) -> None:
        """Fill `out`; for large ones with `exp` and `log`: `logaddexp` is not vectorized."""
        parts, most = self.parts, self.most
        last = np.add(beyond, self.past, parts[2])
        if out.size <= _FEW:
            np.logaddexp(own, near, out)
            np.logaddexp(out, last, out)
            return
        np.maximum(own, near, out=most)
        np.maximum(most, last, out=most)
        np.maximum(most, _LOWEST, out=most)  # -inf minus -inf would be no number
        np.subtract(own, most, parts[0])
        np.subtract(near, most, parts[1])
        last -= most
        np.exp(parts, parts)
        np.add.reduce(parts, 0, None, out)
        np.log(out, out)
        out += most


_LOWEST = np.float32(-1e30)


def ctc_loss(
    x: Array, targets: Array, times: Array, sizes: Array, *, blank: int, zero_infinity: bool
) -> tuple[Array, Array]:
    labels, skips = _states(targets, blank)
    batch, count = labels.shape
    scores = _scores(x, labels)
    sums = _Sums(_penalty(skips, x.dtype))
    table = np.full((len(x), batch, count + 2), -np.inf, x.dtype)
    alpha = table[:, :, 2:]
    alpha[0, :, :2] = scores[0, :, :2]
    for t, over in _over(times, len(x)):
        before, now = table[t - 1], alpha[t]
        sums.fill(now, before[:, 2:], before[:, 1:-1], before[:, :-2])
        now += scores[t]
        if over is not None:
            np.copyto(now, before[:, 2:], where=over)
    samples, ends = np.arange(batch), 2 * sizes
    last = table[-1]
    loss = -np.logaddexp(last[samples, ends + 2], last[samples, ends + 1])
    if not times.all():
        loss[times == 0] = np.where(sizes == 0, 0.0, np.inf)[times == 0]
    if zero_infinity:
        loss[np.isposinf(loss)] = 0
    return loss, np.ascontiguousarray(alpha)


def _betas(scores: Array, skips: Array, times: Array, sizes: Array) -> Array:
    """Return log β(t, n, s), what alignments from s at t on sum up to without the score at t."""
    length, batch, count = scores.shape
    past = np.full((batch, count), -np.inf, scores.dtype)
    past[:, :-2] = _penalty(skips[:, 2:], scores.dtype)
    sums = _Sums(past)
    at = np.arange(count)
    is_end = (at == 2 * sizes[:, None]) | (at == 2 * sizes[:, None] - 1)
    end = _penalty(is_end, scores.dtype)
    begins = frozenset(times.tolist())
    beta = np.full(scores.shape, -np.inf, scores.dtype)
    after = np.full((batch, count + 2), -np.inf, scores.dtype)
    for t in range(length - 1, -1, -1):
        now = beta[t]
        if t + 1 < length:
            sums.fill(now, after[:, :-2], after[:, 1:-1], after[:, 2:])
        if t + 1 in begins:
            np.copyto(now, end, where=(times == t + 1)[:, None])
        np.add(now, scores[t], after[:, :-2])
    return beta


def ctc_loss_backward(
    g: Array, x: Array, targets: Array, times: Array, sizes: Array, out: Array, alpha: Array, *,
    blank: int, zero_infinity: bool,
) -> Array:  # fmt: skip
    """Return (exp x - the expected use of every class at every time) g."""
    labels, skips = _states(targets, blank)
    use = _betas(_scores(x, labels), skips, times, sizes)
    use += alpha
    total = _reduce.logsumexp(use[0], dim=(1,), keepdim=False)
    lost = np.isneginf(total)
    use -= np.where(lost, 0, total)[:, None]
    np.exp(use, use)
    index = np.broadcast_to(labels, use.shape)
    grad = np.exp(x)
    grad -= _index.scatter_add(np.zeros(x.shape, x.dtype), index, use, dim=2)
    if lost.any():
        grad[:, lost] = 0.0 if zero_infinity else np.nan
    grad *= g[:, None]
    steps = np.arange(len(x))[:, None]
    if times.min(initial=len(x)) < len(x):
        grad[steps >= times] = 0
    return grad
