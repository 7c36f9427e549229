"""Recurrent layers by `lax.scan`: XLA compiles one step, whatever the length.

Everything that needs no state stands outside the loop, as products and sums over all steps. Half
precision is computed in float32.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from multitorch_jax import precision as _precision

Array = Any


def _wide(*arrays: Array) -> list[Array]:
    return [a.astype(jnp.float32) if a is not None and a.dtype.itemsize == 2 else a for a in arrays]


def _narrow(like: Array, *arrays: Array) -> tuple[Array, ...]:
    return tuple([a.astype(like.dtype) for a in arrays])


def _dot(x: Array, w: Array) -> Array:
    return jnp.matmul(x, w, precision=_precision.of_products)


def _affine(x: Array, w: Array, *biases: Array) -> Array:
    y = _dot(x, w.T)
    for b in biases:
        y = y if b is None else y + b
    return y


def _running(lengths: Array, count: int) -> Array:
    """Which sequences run at each step: (time, batch, 1), or None if all always do."""
    if lengths is None:
        return None
    return (jnp.arange(count)[:, None] < lengths)[..., None]


def _pick(keep: Array, new: Array, old: Array) -> Array:
    return new if keep is None else jnp.where(keep, new, old)


def _before(first: Array, states: Array, reverse: bool) -> Array:
    parts = (states[1:], first[None]) if reverse else (first[None], states[:-1])
    return jnp.concatenate(parts)


def _by_weight(dz: Array, x: Array) -> Array:
    return _dot(dz.reshape(-1, dz.shape[-1]).T, x.reshape(-1, x.shape[-1]))


def _start(g: Array, like: Array) -> Array:
    return jnp.zeros_like(like) if g is None else g


def _plus(g: Array, arriving: Array) -> Array:
    return g if arriving is None else g + arriving


# --- LSTM ----------------------------------------------------------------------------------------


def lstm_layer(x, h, c, w_ih, w_hh, b_ih, b_hh, w_hr, lengths, *, reverse):
    narrow = x
    x, h, c, w_ih, w_hh, b_ih, b_hh, w_hr = _wide(x, h, c, w_ih, w_hh, b_ih, b_hh, w_hr)

    def step(state, given):
        h, c = state
        z, keep = given
        i, f, g, o = jnp.split(z + _affine(h, w_hh), 4, axis=1)
        i, f, g, o = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)
        c = _pick(keep, f * c + i * g, c)
        new = o * jnp.tanh(c)
        h = _pick(keep, new if w_hr is None else _affine(new, w_hr), h)
        return (h, c), (h, jnp.concatenate((i, f, g, o), axis=1), c)

    given = _affine(x, w_ih, b_ih, b_hh), _running(lengths, x.shape[0])
    (h, c), (out, gates, cells) = lax.scan(step, (h, c), given, reverse=reverse)
    return _narrow(narrow, out, h, c, gates, cells)


def lstm_layer_backward(
    g_out, g_h, g_c, x, h, c, w_ih, w_hh, w_hr, lengths, out, gates, cells, *, reverse
):
    narrow = x
    g_out, g_h, g_c, x, h, c, w_ih, w_hh, w_hr, out, gates, cells = _wide(
        g_out, g_h, g_c, x, h, c, w_ih, w_hh, w_hr, out, gates, cells
    )
    keep = _running(lengths, x.shape[0])
    i, f, g, o = jnp.split(gates, 4, axis=2)
    top = jnp.tanh(cells)
    # dz is d times the first three, and the gradient by o tanh(c) times the last
    slopes = jnp.concatenate(
        (g * i * (1 - i), _before(c, cells, reverse) * f * (1 - f), i * (1 - g * g)), axis=2
    )
    last = top * o * (1 - o)

    def step(state, given):
        dh, dc = state
        arriving, keep, slopes, last, slope, f = given
        dh = _plus(dh, arriving)
        raw = dh if w_hr is None else _dot(dh, w_hr)
        d = dc + raw * slope
        dz = jnp.concatenate((jnp.tile(d, 3) * slopes, raw * last), axis=1)
        new = _pick(keep, _dot(dz, w_hh), dh), _pick(keep, d * f, dc)
        return new, (_pick(keep, dz, 0), _pick(keep, dh, 0) if w_hr is not None else None)

    given = g_out, keep, slopes, last, o * (1 - top * top), f
    start = _start(g_h, h), _start(g_c, c)
    (dh, dc), (dz, hidden) = lax.scan(step, start, given, reverse=not reverse)
    w_grads = _by_weight(dz, x), _by_weight(dz, _before(h, out, reverse))
    grads = _narrow(narrow, _dot(dz, w_ih), dh, dc, *w_grads, dz.sum((0, 1)))
    if w_hr is None:
        return grads
    return (*grads, *_narrow(narrow, _by_weight(hidden, o * top)))


# --- GRU -----------------------------------------------------------------------------------------


def gru_layer(x, h, w_ih, w_hh, b_ih, b_hh, lengths, *, reverse):
    narrow = x
    x, h, w_ih, w_hh, b_ih, b_hh = _wide(x, h, w_ih, w_hh, b_ih, b_hh)

    def step(h, given):
        (xr, xz, xn), keep = jnp.split(given[0], 3, axis=1), given[1]
        hr, hz, q = jnp.split(_affine(h, w_hh, b_hh), 3, axis=1)
        r, z = jax.nn.sigmoid(xr + hr), jax.nn.sigmoid(xz + hz)
        n = jnp.tanh(xn + r * q)
        h = _pick(keep, n + z * (h - n), h)
        return h, (h, jnp.concatenate((r, z, n, q), axis=1))

    given = _affine(x, w_ih, b_ih), _running(lengths, x.shape[0])
    h, (out, gates) = lax.scan(step, h, given, reverse=reverse)
    return _narrow(narrow, out, h, gates)


def gru_layer_backward(g_out, g_h, x, h, w_ih, w_hh, lengths, out, gates, *, reverse):
    narrow = x
    g_out, g_h, x, h, w_ih, w_hh, out, gates = _wide(g_out, g_h, x, h, w_ih, w_hh, out, gates)
    before = _before(h, out, reverse)
    r, z, n, q = jnp.split(gates, 4, axis=2)
    by_n = (1 - z) * (1 - n * n)
    slopes = jnp.concatenate((by_n * q * r * (1 - r), (before - n) * z * (1 - z), by_n), axis=2)
    ones = jnp.ones_like(r)
    factors = jnp.concatenate((ones, ones, r), axis=2)

    def step(dh, given):
        arriving, keep, slopes, factors, z = given
        dh = _plus(dh, arriving)
        dx = jnp.tile(dh, 3) * slopes
        du = dx * factors
        return _pick(keep, dh * z + _dot(du, w_hh), dh), _pick(keep, dx, 0)

    given = g_out, _running(lengths, x.shape[0]), slopes, factors, z
    dh, dx = lax.scan(step, _start(g_h, h), given, reverse=not reverse)
    du = dx * factors
    grads = _dot(dx, w_ih), dh, _by_weight(dx, x), _by_weight(du, before)
    return _narrow(narrow, *grads, dx.sum((0, 1)), du.sum((0, 1)))


# --- plain recurrence ----------------------------------------------------------------------------


def rnn_layer(x, h, w_ih, w_hh, b_ih, b_hh, lengths, *, reverse, relu):
    narrow = x
    x, h, w_ih, w_hh, b_ih, b_hh = _wide(x, h, w_ih, w_hh, b_ih, b_hh)

    def step(h, given):
        new = given[0] + _affine(h, w_hh)
        h = _pick(given[1], jax.nn.relu(new) if relu else jnp.tanh(new), h)
        return h, h

    given = _affine(x, w_ih, b_ih, b_hh), _running(lengths, x.shape[0])
    h, out = lax.scan(step, h, given, reverse=reverse)
    return _narrow(narrow, out, h)


def rnn_layer_backward(g_out, g_h, x, h, w_ih, w_hh, lengths, out, *, reverse, relu):
    narrow = x
    g_out, g_h, x, h, w_ih, w_hh, out = _wide(g_out, g_h, x, h, w_ih, w_hh, out)
    slopes = (out > 0).astype(out.dtype) if relu else 1 - out * out

    def step(dh, given):
        arriving, keep, slope = given
        dh = _plus(dh, arriving)
        dz = dh * slope
        return _pick(keep, _dot(dz, w_hh), dh), _pick(keep, dz, 0)

    given = g_out, _running(lengths, x.shape[0]), slopes
    dh, dz = lax.scan(step, _start(g_h, h), given, reverse=not reverse)
    w_grads = _by_weight(dz, x), _by_weight(dz, _before(h, out, reverse))
    return _narrow(narrow, _dot(dz, w_ih), dh, *w_grads, dz.sum((0, 1)))
