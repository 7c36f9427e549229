"""Recurrent layers: a loop over time over preallocated arrays.

What needs no state is done for all steps at once: the products with the input, the slopes of the
gates, the gradients of the weights. σ(x) is computed as (tanh(x / 2) + 1) / 2, so that one call
serves all gates; the halving is done to the weights. Half precision is computed in float32.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

Array = Any
Grads = tuple[Array, ...]


def _in_float32(kernel: Callable) -> Callable:
    """Let a kernel see half-precision operands as float32, and narrow what it returns."""

    @functools.wraps(kernel)
    def widened(*arrays: Array, **params: Any) -> tuple[Array, ...]:
        dtype = next(a.dtype for a in arrays if a is not None)
        if dtype.itemsize > 2:
            return kernel(*arrays, **params)
        f = np.float32
        wide = [a.astype(f) if getattr(a, "dtype", None) == dtype else a for a in arrays]
        return tuple([a.astype(dtype) for a in kernel(*wide, **params)])

    return widened


def _order(count: int, reverse: bool) -> range:
    return range(count - 1, -1, -1) if reverse else range(count)


def _running(lengths: Array, count: int, batch: int) -> list[int]:
    """How many sequences run at each step; the lengths fall, so it is the first ones."""
    if lengths is None:
        return [batch] * count
    return [int(k) for k in np.searchsorted(-lengths, -np.arange(count), side="left")]


def _flat(x: Array) -> Array:
    return x.reshape(-1, x.shape[-1])


@functools.lru_cache(maxsize=64)
def _squash(gates: str, n: int, dtype: Any) -> tuple[Array, Array]:
    """Return factors and summands, n for each gate: ½ and ½ for σ ("s"), 1 and 0 for tanh."""
    factor = np.repeat([0.5 if g == "s" else 1.0 for g in gates], n).astype(dtype)
    return factor, np.repeat([0.5 if g == "s" else 0.0 for g in gates], n).astype(dtype)


def _project(x: Array, w: Array, b: Array) -> Array:
    """Return `x wᵀ + b` for all steps, as an array of its own."""
    y = _flat(x).dot(w.T)
    if b is not None:
        y += b
    return y.reshape(*x.shape[:2], w.shape[0])


def _bias(b_ih: Array, b_hh: Array) -> Array:
    return b_hh if b_ih is None else b_ih if b_hh is None else b_ih + b_hh


def _start(g: Array, like: Array) -> Array:
    return np.zeros(like.shape, like.dtype) if g is None else np.array(g)


def _recurrent_weight_grad(dz: Array, first: Array, states: Array, reverse: bool) -> Array:
    """Sum `dz[t]ᵀ h` over the steps, h being the state before the step."""
    later, before, edge = (dz[:-1], states[1:], -1) if reverse else (dz[1:], states[:-1], 0)
    total = dz[edge].T.dot(first)
    if len(later):
        total += _flat(later).T.dot(_flat(before))
    return total


def _input_grads(dz: Array, x: Array, w: Array) -> Grads:
    """Return the gradients by x, w and b of `x wᵀ + b`."""
    flat = _flat(dz)
    dx = flat.dot(w).reshape(x.shape)
    return dx, flat.T.dot(_flat(x)), np.add.reduce(flat, 0)


# --- LSTM ----------------------------------------------------------------------------------------


@_in_float32
def lstm_layer(x, h, c, w_ih, w_hh, b_ih, b_hh, w_hr, lengths, *, reverse):
    count, batch, n = x.shape[0], x.shape[1], c.shape[1]
    factor, summand = _squash("ssts", n, x.dtype)
    bias = _bias(b_ih, b_hh)
    gates = _project(x, w_ih * factor[:, None], None if bias is None else bias * factor)
    u = (w_hh * factor[:, None]).T
    out = np.empty((count, *h.shape), x.dtype)
    cells = np.empty((count, *c.shape), x.dtype)
    product, scratch = np.empty((batch, 4 * n), x.dtype), np.empty((batch, n), x.dtype)
    running = _running(lengths, count, batch)
    for t in _order(count, reverse):
        k, gate, cell, new, p, s = running[t], gates[t], cells[t], out[t], product, scratch
        if k < batch:
            cell[k:], new[k:] = c[k:], h[k:]
            gate, cell, new, p, s, h, c = (a[:k] for a in (gate, cell, new, p, s, h, c))
        gate += np.dot(h, u, p)
        np.tanh(gate, gate)
        gate *= factor
        gate += summand
        np.multiply(gate[:, n : 2 * n], c, cell)
        cell += np.multiply(gate[:, :n], gate[:, 2 * n : 3 * n], s)
        np.tanh(cell, s)
        if w_hr is None:
            np.multiply(gate[:, 3 * n :], s, new)
        else:
            s *= gate[:, 3 * n :]
            np.dot(s, w_hr.T, new)
        h, c = out[t], cells[t]
    return out, h.copy(), c.copy(), gates, cells


@_in_float32
def lstm_layer_backward(
    g_out, g_h, g_c, x, h, c, w_ih, w_hh, w_hr, lengths, out, gates, cells, *, reverse
):
    count, batch, n = cells.shape
    running = _running(lengths, count, batch)
    dz, slope, raws = _lstm_slopes(c, gates, cells, reverse)
    dh, dc = _start(g_h, h), _start(g_c, c)
    hidden = np.zeros(() if w_hr is None else out.shape, out.dtype)
    scratch = np.empty((batch, n), x.dtype)
    for t in _order(count, not reverse):
        if g_out is not None:
            dh += g_out[t]
        k, z, by_h, by_c, a, s, f = running[t], dz[t], dh, dc, slope[t], scratch, gates[t]
        if k < batch:
            z[k:] = 0
            z, by_h, by_c, a, s, f = (array[:k] for array in (z, by_h, by_c, a, s, f))
        raw = by_h
        if w_hr is not None:
            hidden[t, :k] = by_h
            raw = by_h.dot(w_hr)
        by_c += np.multiply(raw, a, s)
        gate = z[:, : 3 * n].reshape(k, 3, n)
        np.multiply(gate, by_c[:, None], gate)
        z[:, 3 * n :] *= raw
        np.dot(z, w_hh, by_h)
        by_c *= f[:, n : 2 * n]
    dx, dw, db = _input_grads(dz, x, w_ih)
    grads = dx, dh, dc, dw, _recurrent_weight_grad(dz, h, out, reverse), db
    return grads if w_hr is None else (*grads, _flat(hidden).T.dot(_flat(raws)))


def _lstm_slopes(c: Array, gates: Array, cells: Array, reverse: bool) -> Grads:
    """Return the gates' slopes, that of o tanh(c) by c, and o tanh(c)."""
    n = c.shape[1]
    i, f, g, o = (gates[..., j * n : (j + 1) * n] for j in range(4))
    top = np.tanh(cells)
    dz = np.subtract(1, gates)
    dz *= gates
    dz[..., :n] *= g
    if reverse:
        dz[-1, :, n : 2 * n] *= c
        dz[:-1, :, n : 2 * n] *= cells[1:]
    else:
        dz[0, :, n : 2 * n] *= c
        dz[1:, :, n : 2 * n] *= cells[:-1]
    by_g = np.multiply(g, g, dz[..., 2 * n : 3 * n])
    np.subtract(1, by_g, by_g)
    by_g *= i
    dz[..., 3 * n :] *= top
    raws = o * top
    slope = np.multiply(raws, top, top)
    return dz, np.subtract(o, slope, slope), raws


# --- GRU -----------------------------------------------------------------------------------------


@_in_float32
def gru_layer(x, h, w_ih, w_hh, b_ih, b_hh, lengths, *, reverse):
    count, (batch, n) = x.shape[0], h.shape
    factor, _ = _squash("sst", n, x.dtype)
    z = _project(x, w_ih * factor[:, None], None if b_ih is None else b_ih * factor)
    u, d = (w_hh * factor[:, None]).T, None if b_hh is None else b_hh * factor
    out = np.empty((count, batch, n), x.dtype)
    gates = np.empty((count, batch, 4 * n), x.dtype)
    product = np.empty((batch, 3 * n), x.dtype)
    running = _running(lengths, count, batch)
    for t in _order(count, reverse):
        k, zt, gate, new, p = running[t], z[t], gates[t], out[t], product
        if k < batch:
            new[k:], gate[k:] = h[k:], 0
            zt, gate, new, p, h = (a[:k] for a in (zt, gate, new, p, h))
        np.dot(h, u, p)
        if d is not None:
            p += d
        rz, top = gate[:, : 2 * n], gate[:, 2 * n : 3 * n]
        np.add(zt[:, : 2 * n], p[:, : 2 * n], rz)
        np.tanh(rz, rz)
        rz *= 0.5
        rz += 0.5
        gate[:, 3 * n :] = p[:, 2 * n :]
        np.multiply(rz[:, :n], p[:, 2 * n :], top)
        top += zt[:, 2 * n :]
        np.tanh(top, top)
        np.subtract(h, top, new)
        new *= rz[:, n:]
        new += top
        h = out[t]
    return out, h.copy(), gates


@_in_float32
def gru_layer_backward(g_out, g_h, x, h, w_ih, w_hh, lengths, out, gates, *, reverse):
    count, batch, n = out.shape
    running = _running(lengths, count, batch)
    dx = _gru_slopes(h, out, gates, reverse)
    du = dx.copy()
    du[..., 2 * n :] *= gates[..., :n]
    dh = _start(g_h, h)
    product = np.empty((batch, n), x.dtype)
    for t in _order(count, not reverse):
        if g_out is not None:
            dh += g_out[t]
        k, by_x, by_u, by_h, z, p = running[t], dx[t], du[t], dh, gates[t], product
        if k < batch:
            by_x[k:], by_u[k:] = 0, 0
            by_x, by_u, by_h, z, p = (a[:k] for a in (by_x, by_u, by_h, z, p))
        for d in (by_x.reshape(k, 3, n), by_u.reshape(k, 3, n)):
            np.multiply(d, by_h[:, None], d)
        by_h *= z[:, n : 2 * n]
        by_h += np.dot(by_u, w_hh, p)
    du_weight, du_bias = _recurrent_weight_grad(du, h, out, reverse), np.add.reduce(_flat(du), 0)
    dx, dw, db = _input_grads(dx, x, w_ih)
    return dx, dh, dw, du_weight, db, du_bias


def _gru_slopes(h: Array, out: Array, gates: Array, reverse: bool) -> Array:
    """Return the slopes of the new state by the arguments of r, z and n."""
    n = h.shape[1]
    r, z, top, q = (gates[..., j * n : (j + 1) * n] for j in range(4))
    slopes = np.subtract(1, gates[..., : 3 * n])
    by_r, by_z, by_n = (slopes[..., j * n : (j + 1) * n] for j in range(3))
    np.multiply(top, top, by_n)
    np.subtract(1, by_n, by_n)
    by_n *= 1 - z
    by_r *= r
    by_r *= q
    by_r *= by_n
    by_z *= z
    if reverse:
        by_z[-1] *= h - top[-1]
        by_z[:-1] *= out[1:] - top[:-1]
    else:
        by_z[0] *= h - top[0]
        by_z[1:] *= out[:-1] - top[1:]
    return slopes


# --- plain recurrence ----------------------------------------------------------------------------


@_in_float32
def rnn_layer(x, h, w_ih, w_hh, b_ih, b_hh, lengths, *, reverse, relu):
    count, (batch, n) = x.shape[0], h.shape
    out = _project(x, w_ih, _bias(b_ih, b_hh))
    product, u = np.empty((batch, n), x.dtype), w_hh.T
    running = _running(lengths, count, batch)
    for t in _order(count, reverse):
        k, new, p = running[t], out[t], product
        if k < batch:
            new[k:] = h[k:]
            new, p, h = new[:k], p[:k], h[:k]
        new += np.dot(h, u, p)
        if relu:
            np.maximum(new, 0, out=new)
        else:
            np.tanh(new, new)
        h = out[t]
    return out, h.copy()


@_in_float32
def rnn_layer_backward(g_out, g_h, x, h, w_ih, w_hh, lengths, out, *, reverse, relu):
    count, batch, _ = out.shape
    running = _running(lengths, count, batch)
    if relu:
        dz = np.greater(out, 0).astype(out.dtype)
    else:
        dz = np.multiply(out, out)
        np.subtract(1, dz, dz)
    dh = _start(g_h, h)
    for t in _order(count, not reverse):
        if g_out is not None:
            dh += g_out[t]
        k, z, by_h = running[t], dz[t], dh
        if k < batch:
            z[k:] = 0
            z, by_h = z[:k], by_h[:k]
        z *= by_h
        np.dot(z, w_hh, by_h)
    dx, dw, db = _input_grads(dz, x, w_ih)
    return dx, dh, dw, _recurrent_weight_grad(dz, h, out, reverse), db
