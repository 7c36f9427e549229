"""Generic bodies of recurrent layers: a loop over time, forward and backward.

`x` is (time, batch, input); the states `h` and `c` are (batch, hidden). Where `lengths` (batch) is
given, a sequence's states stay as they are in the steps beyond its length; so a layer with
`reverse` begins at each sequence's own end. `out[t]` is the state after step t.

The forward bodies stand under two names: `lstm_layer` is an op with a rule of its own, and
`lstm_steps` is what differentiates through every step when that rule itself is differentiated.
"""

from __future__ import annotations

from typing import Any

Array = Any


def _order(x: Array, reverse: bool) -> range:
    count = x.shape[0]
    return range(count - 1, -1, -1) if reverse else range(count)


def _transposed(F: Any, w: Array) -> Array:
    return F.permute(w, dims=(1, 0))


def _affine(F: Any, x: Array, w: Array, *biases: Array) -> Array:
    y = F.matmul(x, _transposed(F, w))
    for b in biases:
        y = y if b is None else y + b
    return y


def _parts(F: Any, x: Array, count: int) -> list[Array]:
    n = x.shape[-1] // count
    return [F.slice(x, i * n, dim=x.ndim - 1, length=n, step=1) for i in range(count)]


def _running(F: Any, lengths: Array, t: int) -> Array:
    """Which sequences still run at step t: (batch, 1), or None if all do."""
    return None if lengths is None else F.reshape(lengths, shape=(*lengths.shape, 1)) > t


def _pick(F: Any, keep: Array, new: Array, old: Array) -> Array:
    return new if keep is None else F.where(keep, new, old)


def _before(F: Any, first: Array, states: Array, reverse: bool) -> Array:
    """The state before each step, from the one before all and those after each."""
    count = states.shape[0] - 1
    first = F.reshape(first, shape=(1, *first.shape))
    rest = F.slice(states, 1 if reverse else 0, dim=0, length=count, step=1)
    return F.cat(rest, first, dim=0) if reverse else F.cat(first, rest, dim=0)


def _rows(F: Any, x: Array) -> Array:
    return F.reshape(x, shape=(x.shape[0] * x.shape[1], x.shape[2]))


def _by_weight(F: Any, dz: Array, x: Array) -> Array:
    """The gradient of `x wᵀ` by w."""
    return F.matmul(_transposed(F, _rows(F, dz)), _rows(F, x))


def _total(F: Any, dz: Array) -> Array:
    return F.sum(dz, dim=(0, 1), keepdim=False)


def _start(F: Any, g: Array, like: Array) -> Array:
    return F.new_zeros(like, shape=like.shape) if g is None else g


def _arriving(F: Any, g: Array, g_out: Array, t: int) -> Array:
    return g if g_out is None else g + F.select(g_out, t, dim=0)


# --- LSTM ----------------------------------------------------------------------------------------


def lstm_layer(
    F: Any, x: Array, h: Array, c: Array, w_ih: Array, w_hh: Array, b_ih: Array, b_hh: Array,
    w_hr: Array, lengths: Array, *, reverse: bool,
) -> tuple[Array, ...]:  # fmt: skip
    """Run an LSTM over a sequence; return out, the last h and c, all gates and all cells."""
    return F.lstm_steps(x, h, c, w_ih, w_hh, b_ih, b_hh, w_hr, lengths, reverse=reverse)


def lstm_steps(
    F: Any, x: Array, h: Array, c: Array, w_ih: Array, w_hh: Array, b_ih: Array, b_hh: Array,
    w_hr: Array, lengths: Array, *, reverse: bool,
) -> tuple[Array, ...]:  # fmt: skip
    """`c ← σ(f) c + σ(i) tanh(g)`, `h ← σ(o) tanh(c)`, projected by w_hr where that is given."""
    z = _affine(F, x, w_ih, b_ih, b_hh)
    outs, gates, cells = ([None] * x.shape[0] for _ in range(3))
    for t in _order(x, reverse):
        i, f, g, o = _parts(F, F.select(z, t, dim=0) + _affine(F, h, w_hh), 4)
        i, f, g, o = F.sigmoid(i), F.sigmoid(f), F.tanh(g), F.sigmoid(o)
        keep = _running(F, lengths, t)
        c = cells[t] = _pick(F, keep, f * c + i * g, c)
        new = o * F.tanh(c)
        h = outs[t] = _pick(F, keep, new if w_hr is None else _affine(F, new, w_hr), h)
        gates[t] = F.cat(i, f, g, o, dim=1)
    return F.stack(*outs, dim=0), h, c, F.stack(*gates, dim=0), F.stack(*cells, dim=0)


def lstm_backward_steps(
    F: Any, g_out: Array, g_h: Array, g_c: Array, x: Array, h: Array, c: Array, w_ih: Array,
    w_hh: Array, w_hr: Array, lengths: Array, out: Array, gates: Array, cells: Array, *,
    reverse: bool,
) -> tuple[Array, ...]:  # fmt: skip
    """The gradients by x, h, c, w_ih, w_hh, by each bias, and by w_hr where that is given."""
    dh, dc = _start(F, g_h, h), _start(F, g_c, c)
    before = _before(F, c, cells, reverse)
    dzs, raws, hidden = ([None] * x.shape[0] for _ in range(3))
    for t in _order(x, not reverse):
        dh = _arriving(F, dh, g_out, t)
        keep = _running(F, lengths, t)
        i, f, g, o = _parts(F, F.select(gates, t, dim=0), 4)
        top = F.tanh(F.select(cells, t, dim=0))
        raws[t], hidden[t] = o * top, _pick(F, keep, dh, 0)
        raw = dh if w_hr is None else F.matmul(dh, w_hr)
        d = dc + raw * o * (1 - top * top)
        old = F.select(before, t, dim=0)
        dz = F.cat(
            d * g * i * (1 - i), d * old * f * (1 - f), d * i * (1 - g * g),
            raw * top * o * (1 - o), dim=1,
        )  # fmt: skip
        dz = dzs[t] = _pick(F, keep, dz, 0)
        dh, dc = _pick(F, keep, F.matmul(dz, w_hh), dh), _pick(F, keep, d * f, dc)
    dz = F.stack(*dzs, dim=0)
    w_grads = (_by_weight(F, dz, x), _by_weight(F, dz, _before(F, h, out, reverse)))
    grads = (F.matmul(dz, w_ih), dh, dc, *w_grads, _total(F, dz))
    if w_hr is None:
        return grads
    return (*grads, _by_weight(F, F.stack(*hidden, dim=0), F.stack(*raws, dim=0)))


def lstm_layer_backward(F: Any, *arrays: Array, reverse: bool) -> tuple[Array, ...]:
    """The gradients of `lstm_layer`; the arguments are those of `lstm_backward_steps`."""
    return F.lstm_backward_steps(*arrays, reverse=reverse)


# --- GRU -----------------------------------------------------------------------------------------


def gru_layer(
    F: Any, x: Array, h: Array, w_ih: Array, w_hh: Array, b_ih: Array, b_hh: Array,
    lengths: Array, *, reverse: bool,
) -> tuple[Array, ...]:  # fmt: skip
    """Run a GRU over a sequence; return out, the last h and all gates."""
    return F.gru_steps(x, h, w_ih, w_hh, b_ih, b_hh, lengths, reverse=reverse)


def gru_steps(
    F: Any, x: Array, h: Array, w_ih: Array, w_hh: Array, b_ih: Array, b_hh: Array,
    lengths: Array, *, reverse: bool,
) -> tuple[Array, ...]:  # fmt: skip
    """`h ← n + σ(z) (h - n)` with `n = tanh(x W + b + σ(r) q)` and `q = h U + d`.

    The gates are r, z, n and q.
    """
    zs = _affine(F, x, w_ih, b_ih)
    outs, gates = ([None] * x.shape[0] for _ in range(2))
    for t in _order(x, reverse):
        xr, xz, xn = _parts(F, F.select(zs, t, dim=0), 3)
        hr, hz, q = _parts(F, _affine(F, h, w_hh, b_hh), 3)
        r, z = F.sigmoid(xr + hr), F.sigmoid(xz + hz)
        n = F.tanh(xn + r * q)
        h = outs[t] = _pick(F, _running(F, lengths, t), n + z * (h - n), h)
        gates[t] = F.cat(r, z, n, q, dim=1)
    return F.stack(*outs, dim=0), h, F.stack(*gates, dim=0)


def gru_backward_steps(
    F: Any, g_out: Array, g_h: Array, x: Array, h: Array, w_ih: Array, w_hh: Array,
    lengths: Array, out: Array, gates: Array, *, reverse: bool,
) -> tuple[Array, ...]:  # fmt: skip
    """The gradients by x, h, w_ih, w_hh, b_ih and b_hh."""
    dh = _start(F, g_h, h)
    before = _before(F, h, out, reverse)
    dxs, dhs = ([None] * x.shape[0] for _ in range(2))
    for t in _order(x, not reverse):
        dh = _arriving(F, dh, g_out, t)
        keep = _running(F, lengths, t)
        r, z, n, q = _parts(F, F.select(gates, t, dim=0), 4)
        old = F.select(before, t, dim=0)
        dn = dh * (1 - z) * (1 - n * n)
        dr, dz = dn * q * r * (1 - r), dh * (old - n) * z * (1 - z)
        dxs[t] = _pick(F, keep, F.cat(dr, dz, dn, dim=1), 0)
        dhs[t] = _pick(F, keep, F.cat(dr, dz, dn * r, dim=1), 0)
        dh = _pick(F, keep, dh * z + F.matmul(dhs[t], w_hh), dh)
    dx, du = F.stack(*dxs, dim=0), F.stack(*dhs, dim=0)
    w_grads = (_by_weight(F, dx, x), _by_weight(F, du, before))
    return F.matmul(dx, w_ih), dh, *w_grads, _total(F, dx), _total(F, du)


def gru_layer_backward(F: Any, *arrays: Array, reverse: bool) -> tuple[Array, ...]:
    """The gradients of `gru_layer`; the arguments are those of `gru_backward_steps`."""
    return F.gru_backward_steps(*arrays, reverse=reverse)


# --- plain recurrence ----------------------------------------------------------------------------


def rnn_layer(
    F: Any, x: Array, h: Array, w_ih: Array, w_hh: Array, b_ih: Array, b_hh: Array,
    lengths: Array, *, reverse: bool, relu: bool,
) -> tuple[Array, ...]:  # fmt: skip
    """Run a plain recurrent layer over a sequence; return out and the last h."""
    return F.rnn_steps(x, h, w_ih, w_hh, b_ih, b_hh, lengths, reverse=reverse, relu=relu)


def rnn_steps(
    F: Any, x: Array, h: Array, w_ih: Array, w_hh: Array, b_ih: Array, b_hh: Array,
    lengths: Array, *, reverse: bool, relu: bool,
) -> tuple[Array, ...]:  # fmt: skip
    """`h ← tanh(x W + h U + b)`, or relu of it."""
    z = _affine(F, x, w_ih, b_ih, b_hh)
    outs = [None] * x.shape[0]
    for t in _order(x, reverse):
        new = F.select(z, t, dim=0) + _affine(F, h, w_hh)
        new = F.relu(new) if relu else F.tanh(new)
        h = outs[t] = _pick(F, _running(F, lengths, t), new, h)
    return F.stack(*outs, dim=0), h


def rnn_backward_steps(
    F: Any, g_out: Array, g_h: Array, x: Array, h: Array, w_ih: Array, w_hh: Array,
    lengths: Array, out: Array, *, reverse: bool, relu: bool,
) -> tuple[Array, ...]:  # fmt: skip
    """The gradients by x, h, w_ih, w_hh and by each bias."""
    dh = _start(F, g_h, h)
    dzs = [None] * x.shape[0]
    for t in _order(x, not reverse):
        dh = _arriving(F, dh, g_out, t)
        keep = _running(F, lengths, t)
        new = F.select(out, t, dim=0)
        dz = F.where(new > 0, dh, 0) if relu else dh * (1 - new * new)
        dz = dzs[t] = _pick(F, keep, dz, 0)
        dh = _pick(F, keep, F.matmul(dz, w_hh), dh)
    dz = F.stack(*dzs, dim=0)
    w_grads = (_by_weight(F, dz, x), _by_weight(F, dz, _before(F, h, out, reverse)))
    return F.matmul(dz, w_ih), dh, *w_grads, _total(F, dz)


def rnn_layer_backward(F: Any, *arrays: Array, reverse: bool, relu: bool) -> tuple[Array, ...]:
    """The gradients of `rnn_layer`; the arguments are those of `rnn_backward_steps`."""
    return F.rnn_backward_steps(*arrays, reverse=reverse, relu=relu)
