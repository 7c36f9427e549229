"""Generic bodies of connectionist temporal classification: sums over alignments, in logarithms.

A target of S labels has 2 S + 1 states, a blank around and between its labels. An alignment moves
from a state to itself, to the next, or past a blank between two different labels.
"""

from __future__ import annotations

from math import inf, nan
from typing import Any

import numpy as np

Array = Any
_INT = np.dtype(np.int64)


def _states(F: Any, targets: Array, blank: int) -> tuple[Array, Array]:
    """Return the label of every state, and whether it may be entered past the blank before it."""
    batch, count = targets.shape
    blanks = F.new_full(targets, shape=(batch, count, 1), value=blank)
    pairs = F.cat(blanks, F.reshape(targets, shape=(batch, count, 1)), dim=2)
    pairs = F.reshape(pairs, shape=(batch, 2 * count))
    labels = F.cat(pairs, F.new_full(targets, shape=(batch, 1), value=blank), dim=1)
    before = _shifted(F, labels, 2, blank)
    return labels, F.logical_and(F.ne(labels, blank), F.ne(labels, before))


def _shifted(F: Any, x: Array, by: int, value: float) -> Array:
    """Move (N, states) up by some states, or down."""
    length = x.shape[1]
    pads = ((0, 0), (by, 0) if by > 0 else (0, -by))
    padded = F.pad(x, pad=pads, value=value)
    return F.slice(padded, 0 if by > 0 else -by, dim=1, length=length, step=1)


def _read(F: Any, x: Array, labels: Array) -> Array:
    """Return the log-probability of every state at every time: (T, N, states)."""
    shape = (x.shape[0], *labels.shape)
    index = F.expand(F.reshape(labels, shape=(1, *labels.shape)), shape=shape)
    return F.gather(x, index, dim=2)


def _ends(F: Any, labels: Array, sizes: Array) -> Array:
    """Return which states an alignment may end in: the last label and the blank behind it."""
    batch, count = labels.shape
    at = F.reshape(F.iota(labels, size=count, dtype=_INT), shape=(1, count))
    last = F.reshape(sizes * 2, shape=(batch, 1))
    return F.logical_or(F.eq(at, last), F.eq(at, last - 1))


def ctc_loss(
    F: Any, x: Array, targets: Array, times: Array, sizes: Array, *, blank: int,
    zero_infinity: bool,
) -> tuple[Array, Array]:  # fmt: skip
    """Return the losses and log α(t, n, s), what the alignments that are in s at t sum up to."""
    labels, skips = _states(F, targets, blank)
    batch, count = labels.shape
    scores = _read(F, x, labels)
    nothing = F.new_full(x, shape=(), value=-inf)
    at = F.reshape(F.iota(labels, size=count, dtype=_INT), shape=(1, count))
    alpha = F.where(F.lt(at, 2), F.select(scores, 0, dim=0), nothing)
    every = [alpha]
    rest = F.reshape(times, shape=(batch, 1))
    for t in range(1, x.shape[0]):
        past = F.where(skips, _shifted(F, alpha, 2, -inf), nothing)
        total = F.logaddexp(F.logaddexp(alpha, _shifted(F, alpha, 1, -inf)), past)
        alpha = F.where(F.gt(rest, t), total + F.select(scores, t, dim=0), alpha)
        every.append(alpha)
    final = F.where(_ends(F, labels, sizes), alpha, nothing)
    loss = -F.logsumexp(final, dim=(1,), keepdim=False)
    none = F.where(F.eq(sizes, 0), F.new_zeros(x, shape=()), -nothing)
    loss = F.where(F.eq(times, 0), none, loss)
    if zero_infinity:
        loss = F.where(F.eq(loss, inf), F.new_zeros(x, shape=()), loss)
    return loss, F.stack(*every, dim=0)


def ctc_loss_backward(
    F: Any, g: Array, x: Array, targets: Array, times: Array, sizes: Array, out: Array,
    alpha: Array, *, blank: int, zero_infinity: bool,
) -> Array:  # fmt: skip
    """Return (exp x - the expected use of every class at every time) g."""
    labels, skips = _states(F, targets, blank)
    batch, count = labels.shape
    scores = _read(F, x, labels)
    nothing, zero = F.new_full(x, shape=(), value=-inf), F.new_zeros(x, shape=())
    end = F.where(_ends(F, labels, sizes), zero, nothing)
    skips = _shifted(F, F.cast(skips, dtype=_INT), -2, 0) > 0
    left = F.reshape(times, shape=(batch, 1))
    beta = F.new_full(x, shape=(batch, count), value=-inf)  # without the score at its own time
    every = []
    for t in reversed(range(x.shape[0])):
        beta = F.where(F.eq(left, t + 1), end, beta)
        every.append(beta)
        beta = beta + F.select(scores, t, dim=0)
        past = F.where(skips, _shifted(F, beta, -2, -inf), nothing)
        beta = F.logaddexp(F.logaddexp(beta, _shifted(F, beta, -1, -inf)), past)
    beta = F.stack(*reversed(every), dim=0)
    total = F.logsumexp(F.select(alpha + beta, 0, dim=0), dim=(1,), keepdim=False)
    lost = F.eq(total, -inf)
    use = F.exp(alpha + beta - F.reshape(F.where(lost, zero, total), shape=(1, batch, 1)))
    index = F.expand(F.reshape(labels, shape=(1, batch, count)), shape=tuple(use.shape))
    use = F.scatter_add(F.new_zeros(x, shape=tuple(x.shape)), index, use, dim=2)
    bad = F.new_full(x, shape=(), value=0.0 if zero_infinity else nan)
    grad = F.where(F.reshape(lost, shape=(1, batch, 1)), bad, F.exp(x) - use)
    steps = F.reshape(F.iota(labels, size=x.shape[0], dtype=_INT), shape=(x.shape[0], 1, 1))
    inside = F.lt(steps, F.reshape(times, shape=(1, batch, 1)))
    return F.where(inside, grad * F.reshape(g, shape=(1, batch, 1)), zero)
