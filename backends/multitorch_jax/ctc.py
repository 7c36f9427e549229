"""JAX kernels of connectionist temporal classification: one scan over time each way."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

Array = Any
_INF = float("inf")


def _states(targets: Array, blank: int) -> tuple[Array, Array]:
    """Return the label of every state, and whether it may be entered past the blank before it."""
    batch, count = targets.shape
    labels = jnp.full((batch, 2 * count + 1), blank, targets.dtype).at[:, 1::2].set(targets)
    before = jnp.pad(labels, ((0, 0), (2, 0)), constant_values=blank)[:, :-2]
    return labels, (labels != blank) & (labels != before)


def _up(x: Array, by: int) -> Array:
    return jnp.pad(x, ((0, 0), (by, 0)), constant_values=-_INF)[:, : x.shape[1]]


def _down(x: Array, by: int) -> Array:
    return jnp.pad(x, ((0, 0), (0, by)), constant_values=-_INF)[:, by:]


def _read(x: Array, labels: Array) -> Array:
    return jnp.take_along_axis(x, labels[None], axis=2, mode="clip")


def _ends(labels: Array, sizes: Array) -> Array:
    at = jnp.arange(labels.shape[1])
    last = 2 * sizes[:, None]
    return (at == last) | (at == last - 1)


def _sum(*terms: Array) -> Array:
    total = terms[0]
    for term in terms[1:]:
        total = jnp.logaddexp(total, term)
    return total


def ctc_loss(
    x: Array, targets: Array, times: Array, sizes: Array, *, blank: int, zero_infinity: bool
) -> tuple[Array, Array]:
    labels, skips = _states(targets, blank)
    scores = _read(x, labels)
    first = jnp.where(jnp.arange(labels.shape[1]) < 2, scores[0], -_INF)

    def step(alpha: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        t, score = now
        total = _sum(alpha, _up(alpha, 1), jnp.where(skips, _up(alpha, 2), -_INF))
        alpha = jnp.where(t < times[:, None], total + score, alpha)
        return alpha, alpha

    last, rest = lax.scan(step, first, (jnp.arange(1, x.shape[0]), scores[1:]))
    loss = -jax.nn.logsumexp(jnp.where(_ends(labels, sizes), last, -_INF), axis=1)
    loss = jnp.where(times == 0, jnp.where(sizes == 0, 0.0, _INF).astype(x.dtype), loss)
    if zero_infinity:
        loss = jnp.where(loss == _INF, jnp.zeros((), x.dtype), loss)
    return loss, jnp.concatenate([first[None], rest])


def _betas(scores: Array, skips: Array, end: Array, times: Array) -> Array:
    """Return log β(t, n, s): what the ways from s at t to an end sum up to, without the score."""
    skips = jnp.pad(skips, ((0, 0), (0, 2)))[:, 2:]

    def step(later: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        t, score = now
        beta = jnp.where(times[:, None] == t + 1, end, later)
        ahead = beta + score
        earlier = _sum(ahead, _down(ahead, 1), jnp.where(skips, _down(ahead, 2), -_INF))
        return earlier, beta

    steps = jnp.arange(scores.shape[0])
    return lax.scan(step, jnp.full_like(end, -_INF), (steps, scores), reverse=True)[1]


@partial(jax.vmap, in_axes=(0, None, None))
def _add_up(use: Array, labels: Array, zeros: Array) -> Array:
    return zeros.at[jnp.arange(len(labels))[:, None], labels].add(use)


def ctc_loss_backward(
    g: Array, x: Array, targets: Array, times: Array, sizes: Array, out: Array, alpha: Array, *,
    blank: int, zero_infinity: bool,
) -> Array:  # fmt: skip
    labels, skips = _states(targets, blank)
    end = jnp.where(_ends(labels, sizes), 0.0, -_INF).astype(x.dtype)
    both = alpha + _betas(_read(x, labels), skips, end, times)
    total = jax.nn.logsumexp(both[0], axis=1)
    lost = total == -_INF
    use = jnp.exp(both - jnp.where(lost, 0.0, total)[:, None])
    use = _add_up(use, labels, jnp.zeros(x.shape[1:], x.dtype))
    bad = jnp.asarray(0.0 if zero_infinity else float("nan"), x.dtype)
    grad = jnp.where(lost[:, None], bad, jnp.exp(x) - use) * g[:, None]
    inside = jnp.arange(x.shape[0])[:, None, None] < times[:, None]
    return jnp.where(inside, grad, jnp.zeros((), x.dtype))
