"""Recurrent layers over whole sequences: LSTM, GRU and the plain recurrence, and stacks of them.

A layer in one direction is one fused op with one joint rule; a stack feeds layers with layers.
Padded sequences of different lengths are run as one batch whose states stop changing at each one's
end; packed ones are unpacked to that form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from multitorch import dtypes
from multitorch.dtypes import dtype
from multitorch.ops import apply as dispatch
from multitorch.ops.join import cat, stack
from multitorch.ops.op import Op, op
from multitorch.ops.products import SameDtype
from multitorch.ops.promote import not_implemented
from multitorch.ops.random import keep_mask

Tensor = Any
Run = Callable[..., tuple[Tensor, ...]]


def _floating(name: str, d: dtype) -> dtype:
    if not d.is_floating_point or d.name.startswith("float8"):
        raise not_implemented(name, d)
    return d


_same = SameDtype(
    "same",
    _floating,
    fast=frozenset({dtypes.float32, dtypes.float64, dtypes.float16, dtypes.bfloat16}),
)


def _layer(name: str, args: str, outs: str, diff: int, shape: Callable) -> Op:
    return op(
        name, f"{args} lengths", outs=outs, diff_outs=tuple(range(diff)), promote=_same,
        keep="lengths", broadcasts=False, shape=shape,
    )  # fmt: skip


def _specs(like: Any, *shapes: tuple[int, ...]) -> tuple:
    return tuple([(shape, like.dtype) for shape in shapes])


def _sequence(x: Any, h: Any) -> tuple[int, ...]:
    return (*x.shape[:2], h.shape[1])


# --- LSTM ----------------------------------------------------------------------------------------


def _lstm_shape(x: Any, h: Any, c: Any, *rest: Any, reverse: bool) -> tuple:
    time, batch, n = _sequence(x, c)
    wide, cells = (time, batch, 4 * n), (time, batch, n)
    return _specs(x, _sequence(x, h), h.shape, c.shape, wide, cells)


def _lstm_back_shape(
    g_out: Any, g_h: Any, g_c: Any, x: Any, h: Any, c: Any, w_ih: Any, w_hh: Any, w_hr: Any,
    *rest: Any, reverse: bool,
) -> tuple:  # fmt: skip
    like = (x, h, c, w_ih, w_hh)
    shapes = [*(a.shape for a in like), w_hh.shape[:1]]
    return _specs(x, *shapes) if w_hr is None else _specs(x, *shapes, w_hr.shape)


def _lstm_rule(
    F: Any, g: Any, x: Any, h: Any, c: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, w_hr: Any,
    lengths: Any, out: Any, gates: Any, cells: Any, reverse: bool,
) -> tuple:  # fmt: skip
    back = F.lstm_layer_backward
    if F.of_tensors:  # saved gates are constants: derivatives of them begin at x
        given = (x, h, c, w_ih, w_hh, b_ih, b_hh, w_hr, lengths)
        out, _, _, gates, cells = F.lstm_steps(*given, reverse=reverse)
        back = F.lstm_backward_steps
    *grads, db, dr = (
        *back(*g, x, h, c, w_ih, w_hh, w_hr, lengths, out, gates, cells, reverse=reverse), None
    )[:7]  # fmt: skip
    return (*grads, db, db, dr, None)


_lstm = _layer(
    "lstm_layer", "x h c w_ih w_hh b_ih b_hh w_hr", "out hn cn gates cells", 3, _lstm_shape
).vjps(_lstm_rule)
op(
    "lstm_layer_backward", "g_out g_h g_c x h c w_ih w_hh w_hr lengths out gates cells",
    shape=_lstm_back_shape,
).nondiff()  # fmt: skip

# --- GRU -----------------------------------------------------------------------------------------


def _gru_shape(x: Any, h: Any, *rest: Any, reverse: bool) -> tuple:
    time, batch, n = _sequence(x, h)
    return _specs(x, (time, batch, n), h.shape, (time, batch, 4 * n))


def _gru_back_shape(
    g_out: Any, g_h: Any, x: Any, h: Any, w_ih: Any, w_hh: Any, *rest: Any, reverse: bool
) -> tuple:
    bias = w_hh.shape[:1]
    return _specs(x, x.shape, h.shape, w_ih.shape, w_hh.shape, bias, bias)


def _gru_rule(
    F: Any, g: Any, x: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, lengths: Any,
    out: Any, gates: Any, reverse: bool,
) -> tuple:  # fmt: skip
    back = F.gru_layer_backward
    if F.of_tensors:
        out, _, gates = F.gru_steps(x, h, w_ih, w_hh, b_ih, b_hh, lengths, reverse=reverse)
        back = F.gru_backward_steps
    return (*back(*g, x, h, w_ih, w_hh, lengths, out, gates, reverse=reverse), None)


_gru = _layer("gru_layer", "x h w_ih w_hh b_ih b_hh", "out hn gates", 2, _gru_shape).vjps(_gru_rule)
op(
    "gru_layer_backward", "g_out g_h x h w_ih w_hh lengths out gates", shape=_gru_back_shape
).nondiff()

# --- plain recurrence ----------------------------------------------------------------------------


def _rnn_shape(x: Any, h: Any, *rest: Any, reverse: bool, relu: bool) -> tuple:
    return _specs(x, _sequence(x, h), h.shape)


def _rnn_back_shape(
    g_out: Any, g_h: Any, x: Any, h: Any, w_ih: Any, w_hh: Any, *rest: Any, reverse: bool,
    relu: bool,
) -> tuple:  # fmt: skip
    return _specs(x, x.shape, h.shape, w_ih.shape, w_hh.shape, w_hh.shape[:1])


def _rnn_rule(
    F: Any, g: Any, x: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, lengths: Any,
    out: Any, reverse: bool, relu: bool,
) -> tuple:  # fmt: skip
    back, flags = F.rnn_layer_backward, {"reverse": reverse, "relu": relu}
    if F.of_tensors:
        out, _ = F.rnn_steps(x, h, w_ih, w_hh, b_ih, b_hh, lengths, **flags)
        back = F.rnn_backward_steps
    *grads, db = back(*g, x, h, w_ih, w_hh, lengths, out, **flags)
    return (*grads, db, db, None)


_rnn = _layer("rnn_layer", "x h w_ih w_hh b_ih b_hh", "out hn", 2, _rnn_shape).vjps(_rnn_rule)
op("rnn_layer_backward", "g_out g_h x h w_ih w_hh lengths out", shape=_rnn_back_shape).nondiff()

# --- one layer, one direction --------------------------------------------------------------------


def _biases(weights: Sequence[Tensor], has_biases: bool) -> tuple[Any, Any, Any]:
    """Return both biases and what follows them, the projection of an LSTM."""
    rest = list(weights[2:])
    b_ih, b_hh = (rest.pop(0), rest.pop(0)) if has_biases else (None, None)
    return b_ih, b_hh, rest[0] if rest else None


def _run_lstm(x: Tensor, states: Any, weights: Any, biases: bool, lengths: Any, reverse: bool):
    b_ih, b_hh, w_hr = _biases(weights, biases)
    h, c = states
    return _lstm(x, h, c, *weights[:2], b_ih, b_hh, w_hr, lengths, reverse=reverse)[:3]


def _run_gru(x: Tensor, states: Any, weights: Any, biases: bool, lengths: Any, reverse: bool):
    b_ih, b_hh, _ = _biases(weights, biases)
    return _gru(x, states[0], *weights[:2], b_ih, b_hh, lengths, reverse=reverse)[:2]


def _run_rnn(relu: bool) -> Run:
    def run(x: Tensor, states: Any, weights: Any, biases: bool, lengths: Any, reverse: bool):
        b_ih, b_hh, _ = _biases(weights, biases)
        flags = {"reverse": reverse, "relu": relu}
        return _rnn(x, states[0], *weights[:2], b_ih, b_hh, lengths, **flags)

    return run


# --- packed sequences ----------------------------------------------------------------------------


class _Packing:
    """Where the rows of packed data stand in the padded form, of (time, batch)."""

    def __init__(self, batch_sizes: Tensor, like: Tensor) -> None:
        sizes = np.array(batch_sizes.tolist(), np.int64)
        self.steps, self.batch = len(sizes), int(sizes[0])
        column = np.arange(self.batch)
        firsts = np.cumsum(sizes) - sizes
        # beyond a sequence's end any row will do: nothing depends on it
        rows = firsts[:, None] + np.minimum(column, sizes[:, None] - 1)
        places = np.flatnonzero(column < sizes[:, None])
        lengths = (sizes[:, None] > column).sum(0)
        self.rows, self.places, self.lengths = (
            _on_device(a, like) for a in (rows.reshape(-1), places, lengths)
        )

    def pad(self, data: Tensor) -> Tensor:
        """Return (time, batch, features) of packed data."""
        return data.index_select(0, self.rows).view(self.steps, self.batch, data.shape[1])

    def pack(self, padded: Tensor) -> Tensor:
        """Return the packed rows of (time, batch, features)."""
        return padded.reshape(-1, padded.shape[2]).index_select(0, self.places)


def _on_device(a: np.ndarray, like: Tensor) -> Tensor:
    dev = like._dev
    raw = dev.backend.put(np.ascontiguousarray(a, np.int64), type=dev.type, index=dev.ordinal)
    return dispatch.wrap(raw, dev)


# --- stacks of layers ----------------------------------------------------------------------------


def _dropped(x: Tensor, p: float, packing: _Packing | None) -> Tensor:
    data = x if packing is None else packing.pack(x)
    data = data * keep_mask(data, 1 - p).div_(1 - p) if p < 1 else data * 0.0
    return data if packing is None else packing.pad(data)


def _run_stack(
    run: Run, x: Tensor, states: Sequence[Tensor], params: Sequence[Tensor], has_biases: bool,
    num_layers: int, dropout: float, bidirectional: bool, packing: _Packing | None,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Run every layer; return the last one's output and the final states of all."""
    if not x.shape[0]:
        raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
    lengths = None if packing is None else packing.lengths
    directions = (False, True) if bidirectional else (False,)
    size = len(params) // (num_layers * len(directions))
    starts = list(zip(*[s.unbind(0) for s in states], strict=True))
    finals: list[tuple[Tensor, ...]] = []
    for layer in range(num_layers):
        outs = []
        for reverse in directions:
            i = len(finals)
            weights = params[i * size : (i + 1) * size]
            out, *final = run(x, starts[i], weights, has_biases, lengths, reverse)
            outs.append(out)
            finals.append(tuple(final))
        x = cat(outs, 2) if bidirectional else outs[0]
        if dropout and layer < num_layers - 1:
            x = _dropped(x, dropout, packing)
    return x, *[_joined(each) for each in zip(*finals, strict=True)]


def _joined(states: Sequence[Tensor]) -> Tensor:
    return states[0].unsqueeze(0) if len(states) == 1 else stack(list(states))


def _dense(
    run: Run, input: Tensor, states: Sequence[Tensor], params: Sequence[Tensor], has_biases: bool,
    num_layers: int, dropout: float, train: bool, bidirectional: bool, batch_first: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    x = input.transpose(0, 1) if batch_first else input
    rate = dropout if train else 0.0
    out, *finals = _run_stack(
        run, x, states, params, has_biases, num_layers, rate, bidirectional, None
    )
    return (out.transpose(0, 1) if batch_first else out, *finals)


def _packed(
    run: Run, data: Tensor, batch_sizes: Tensor, states: Sequence[Tensor],
    params: Sequence[Tensor], has_biases: bool, num_layers: int, dropout: float, train: bool,
    bidirectional: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    packing = _Packing(batch_sizes, data)
    rate = dropout if train else 0.0
    out, *finals = _run_stack(
        run, packing.pad(data), states, params, has_biases, num_layers, rate, bidirectional,
        packing,
    )  # fmt: skip
    return packing.pack(out), *finals


def _layers(name: str, run: Run, doc: str) -> Callable:
    """Make the function of PyTorch's name; a second tensor of integers means packed data."""

    def function(input: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        if args and isinstance(args[0], dispatch.Tensor) and not args[0]._dtype.inexact:
            sizes, states, *rest = args
            return _packed(run, input, sizes, _listed(states), *rest, **kwargs)
        states, *rest = args
        return _dense(run, input, _listed(states), *rest, **kwargs)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


def _listed(states: Any) -> Sequence[Tensor]:
    return (states,) if isinstance(states, dispatch.Tensor) else states


lstm = _layers("lstm", _run_lstm, "Run layers of LSTM; return the output, h and c.")
gru = _layers("gru", _run_gru, "Run layers of GRU; return the output and h.")
rnn_tanh = _layers("rnn_tanh", _run_rnn(False), "Run recurrent layers with tanh.")
rnn_relu = _layers("rnn_relu", _run_rnn(True), "Run recurrent layers with relu.")

# --- cells ---------------------------------------------------------------------------------------


def lstm_cell(
    input: Tensor, hx: Sequence[Tensor], w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return h and c after one step of an LSTM: input (batch, in), states (batch, hidden)."""
    h, c = hx
    x = input.unsqueeze(0)
    _, h, c, _, _ = _lstm(x, h, c, w_ih, w_hh, b_ih, b_hh, None, None, reverse=False)
    return h, c


def gru_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return the state after one step of a GRU."""
    return _gru(input.unsqueeze(0), hx, w_ih, w_hh, b_ih, b_hh, None, reverse=False)[1]


def _rnn_cell(name: str, relu: bool) -> Callable:
    def function(
        input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None,
        b_hh: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        flags = {"reverse": False, "relu": relu}
        return _rnn(input.unsqueeze(0), hx, w_ih, w_hh, b_ih, b_hh, None, **flags)[1]

    function.__name__ = function.__qualname__ = name
    function.__doc__ = "Return the state after one step of the plain recurrence."
    return function


rnn_tanh_cell = _rnn_cell("rnn_tanh_cell", False)
rnn_relu_cell = _rnn_cell("rnn_relu_cell", True)

METHODS: dict = {}
INPLACE: dict = {}
FUNCTIONS = {
    f.__name__: f
    for f in (
        lstm, gru, rnn_tanh, rnn_relu, lstm_cell, gru_cell, rnn_tanh_cell, rnn_relu_cell
    )
}  # fmt: skip
