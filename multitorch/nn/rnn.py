"""Recurrent layers: RNN, LSTM, GRU over sequences, and the cells of one step."""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from multitorch.nn import init
from multitorch.nn.module import Module
from multitorch.nn.parameter import Parameter
from multitorch.nn.utils.rnn import PackedSequence
from multitorch.ops import rnn as ops
from multitorch.ops.creation import empty
from multitorch.tensor import Tensor

_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "LSTM": ops.lstm,
    "GRU": ops.gru,
    "RNN_TANH": ops.rnn_tanh,
    "RNN_RELU": ops.rnn_relu,
}


class RNNBase(Module):
    """Weights and settings that the recurrent layers share."""

    _ndim_note = ""

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if mode not in _GATES:
            raise ValueError(f"Unrecognized RNN mode: {mode}")
        _check_types(input_size, hidden_size, bias, batch_first)
        _check_settings(input_size, hidden_size, num_layers, dropout, proj_size)
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self._flat_weights_names = [name for name, _ in self._shapes()]
        for name, shape in self._shapes():
            setattr(self, name, Parameter(empty(shape, device=device, dtype=dtype)))
        self.reset_parameters()

    # --- weights ---

    def _suffixes(self) -> Iterator[tuple[int, str]]:
        for layer in range(self.num_layers):
            yield layer, f"_l{layer}"
            if self.bidirectional:
                yield layer, f"_l{layer}_reverse"

    def _shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        rows = _GATES[self.mode] * self.hidden_size
        state = self.proj_size or self.hidden_size
        for layer, suffix in self._suffixes():
            width = state * (2 if self.bidirectional else 1) if layer else self.input_size
            yield "weight_ih" + suffix, (rows, width)
            yield "weight_hh" + suffix, (rows, state)
            if self.bias:
                yield "bias_ih" + suffix, (rows,)
                yield "bias_hh" + suffix, (rows,)
            if self.proj_size:
                yield "weight_hr" + suffix, (self.proj_size, self.hidden_size)

    @property
    def _flat_weights(self) -> list[Tensor]:
        return [getattr(self, name) for name in self._flat_weights_names]

    @property
    def all_weights(self) -> list[list[Tensor]]:
        """The weights of each layer and direction."""
        flat, count = self._flat_weights, len(list(self._suffixes()))
        size = len(flat) // count
        return [flat[i * size : (i + 1) * size] for i in range(count)]

    def flatten_parameters(self) -> None:
        """Do nothing: the weights need not lie in one piece of memory."""

    def reset_parameters(self) -> None:
        """Draw every weight from U(-1/sqrt(hidden_size), 1/sqrt(hidden_size))."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    # --- checks ---

    def check_input(self, input: Tensor, batch_sizes: Tensor | None) -> None:
        """Refuse an input of another dtype, number of dimensions or features."""
        weight = self.weight_ih_l0
        if input._dtype is not weight._dtype:
            raise ValueError(
                f"RNN input dtype ({input.dtype}) does not match weight dtype ({weight.dtype}). "
                f"Convert input: input.to({weight.dtype}), or convert model: "
                f"model.to({input.dtype})"
            )
        wanted = 2 if batch_sizes is not None else 3
        if input.dim() != wanted:
            raise RuntimeError(f"input must have {wanted} dimensions, got {input.dim()}")
        if input.size(-1) != self.input_size:
            raise RuntimeError(
                "input.size(-1) must be equal to input_size. "
                f"Expected {self.input_size}, got {input.size(-1)}"
            )

    def _state_size(self, batch: int, width: int) -> tuple[int, int, int]:
        return (self.num_layers * (2 if self.bidirectional else 1), batch, width)

    def check_hidden_size(
        self,
        hx: Tensor,
        expected_hidden_size: tuple[int, int, int],
        msg: str = "Expected hidden size {}, got {}",
    ) -> None:
        """Refuse a state of another shape."""
        if tuple(hx.shape) != expected_hidden_size:
            raise RuntimeError(msg.format(expected_hidden_size, list(hx.shape)))

    def _check_states(self, states: Sequence[Tensor], batch: int) -> None:
        width = self.proj_size or self.hidden_size
        self.check_hidden_size(states[0], self._state_size(batch, width))

    # --- running ---

    def _run(self, input: Any, hx: Any) -> tuple[Any, tuple[Tensor, ...]]:
        """Return the output and the final states, in the form of the input."""
        if isinstance(input, PackedSequence):
            return self._run_packed(input, hx)
        self._check_ndim(input)
        batched = input.dim() == 3
        if hx is not None:
            self._check_state_ndim(hx, batched)
        if not batched:
            input = input.unsqueeze(0 if self.batch_first else 1)
            hx = None if hx is None else tuple(s.unsqueeze(1) for s in hx)
        self.check_input(input, None)
        batch = input.shape[0 if self.batch_first else 1]
        states = self._states(input, hx, batch)
        out, *final = self._apply_layers(input, states, None)
        if batched:
            return out, tuple(final)
        return out.squeeze(0 if self.batch_first else 1), tuple(s.squeeze(1) for s in final)

    def _run_packed(self, input: PackedSequence, hx: Any) -> tuple[Any, tuple[Tensor, ...]]:
        data, batch_sizes, order, undo = input
        self.check_input(data, batch_sizes)
        if hx is not None and order is not None:
            hx = tuple(s.index_select(1, order) for s in hx)
        states = self._states(data, hx, int(batch_sizes[0]))
        out, *final = self._apply_layers(data, states, batch_sizes)
        if undo is not None:
            final = [s.index_select(1, undo) for s in final]
        return PackedSequence(out, batch_sizes, order, undo), tuple(final)

    def _states(self, x: Tensor, hx: Any, batch: int) -> Sequence[Tensor]:
        if hx is not None:
            self._check_states(hx, batch)
            return hx
        width = self.proj_size or self.hidden_size
        first = x.new_zeros(self._state_size(batch, width))
        if self.mode != "LSTM":
            return (first,)
        return first, x.new_zeros(self._state_size(batch, self.hidden_size))

    def _apply_layers(self, x: Tensor, states: Any, batch_sizes: Tensor | None) -> Any:
        function = _FUNCTIONS[self.mode]
        settings = (self.bias, self.num_layers, self.dropout, self.training, self.bidirectional)
        weights = self._flat_weights
        if batch_sizes is not None:
            return function(x, batch_sizes, states, weights, *settings)
        return function(x, states, weights, *settings, self.batch_first)

    def _check_ndim(self, input: Tensor) -> None:
        if input.dim() not in (2, 3):
            raise ValueError(
                f"{type(self).__name__}: Expected input to be 2D or 3D, got {input.dim()}D"
                f"{self._ndim_note} instead"
            )

    def _check_state_ndim(self, states: Sequence[Tensor], batched: bool) -> None:
        wanted = 3 if batched else 2
        if states[0].dim() != wanted:
            kind = "batched 3-D" if batched else "unbatched 2-D"
            raise RuntimeError(
                f"For {kind} input, hx should also be {wanted}-D but got {states[0].dim()}-D tensor"
            )

    def extra_repr(self) -> str:
        parts = [f"{self.input_size}, {self.hidden_size}"]
        defaults = {
            "proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False, "dropout": 0,
            "bidirectional": False,
        }  # fmt: skip
        for name, default in defaults.items():
            value = getattr(self, name)
            if value != default:
                parts.append(f"{name}={value}")
        return ", ".join(parts)


def _check_types(input_size: Any, hidden_size: Any, bias: Any, batch_first: Any) -> None:
    sizes = {"input_size": input_size, "hidden_size": hidden_size}
    flags = {"bias": bias, "batch_first": batch_first}
    for kind, values in ((int, sizes), (bool, flags)):
        for name, value in values.items():
            if not isinstance(value, kind):
                raise TypeError(
                    f"{name} should be of type {kind.__name__}, got: {type(value).__name__}"
                )


def _check_settings(
    input_size: int, hidden_size: int, num_layers: int, dropout: Any, proj_size: int
) -> None:
    if not isinstance(dropout, numbers.Number) or not 0 <= dropout <= 1 or dropout is True:  # type: ignore[operator]
        raise ValueError(
            "dropout should be a number in range [0, 1] representing the probability of an element "
            "being zeroed"
        )
    if dropout > 0 and num_layers == 1:  # type: ignore[operator]
        warnings.warn(
            "dropout option adds dropout after all but last recurrent layer, so non-zero dropout "
            f"expects num_layers greater than 1, but got dropout={dropout} and "
            f"num_layers={num_layers}",
            stacklevel=4,
        )
    if input_size <= 0:
        raise ValueError("input_size must be greater than zero")
    if hidden_size <= 0:
        raise ValueError("hidden_size must be greater than zero")
    if num_layers <= 0:
        raise ValueError("num_layers must be greater than zero")
    if proj_size < 0:
        raise ValueError("proj_size should be a positive integer or zero to disable projections")
    if proj_size >= hidden_size:
        raise ValueError("proj_size has to be smaller than hidden_size")


class RNN(RNNBase):
    """Layers of `h ← tanh(x W + b + h U + d)`, or relu of it.

    Input (L, N, input_size), or (N, L, …) with `batch_first`, or (L, input_size), or packed;
    returns the output (L, N, D · hidden_size) and the final state (D · num_layers, N, hidden_size).

    >>> import multitorch as torch
    >>> output, h = torch.nn.RNN(10, 20, num_layers=2)(torch.ones(5, 3, 10))
    >>> output.shape, h.shape
    (torch.Size([5, 3, 20]), torch.Size([2, 3, 20]))
    """

    _ndim_note = " tensor"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        if len(args) > 3:
            self_nonlinearity, args = args[3], args[:3] + args[4:]
        else:
            self_nonlinearity = kwargs.pop("nonlinearity", "tanh")
        if self_nonlinearity not in ("tanh", "relu"):
            raise ValueError(
                f"Unknown nonlinearity '{self_nonlinearity}'. Select from 'tanh' or 'relu'."
            )
        super().__init__(f"RNN_{self_nonlinearity.upper()}", *args, **kwargs)
        self.nonlinearity = self_nonlinearity

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, Tensor]:
        out, (h,) = self._run(input, None if hx is None else (hx,))
        return out, h


class LSTM(RNNBase):
    """Layers of long short-term memory; states are pairs (h, c).

    `i, f, g, o = x W + b + h U + d`, `c ← σ(f) c + σ(i) tanh(g)`, `h ← σ(o) tanh(c)`, projected to
    `proj_size` features where that is given.

    >>> import multitorch as torch
    >>> output, (h, c) = torch.nn.LSTM(10, 20, bidirectional=True)(torch.ones(5, 3, 10))
    >>> output.shape, c.shape
    (torch.Size([5, 3, 40]), torch.Size([2, 3, 20]))
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("LSTM", *args, **kwargs)

    def forward(
        self, input: Any, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Any, tuple[Tensor, ...]]:
        return self._run(input, hx)

    def _check_states(self, states: Sequence[Tensor], batch: int) -> None:
        widths = (self.proj_size or self.hidden_size, self.hidden_size)
        for i, (state, width) in enumerate(zip(states, widths, strict=True)):
            message = f"Expected hidden[{i}] size {{}}, got {{}}"
            self.check_hidden_size(state, self._state_size(batch, width), message)

    def _check_state_ndim(self, states: Sequence[Tensor], batched: bool) -> None:
        wanted = 3 if batched else 2
        h, c = states
        if h.dim() != wanted or c.dim() != wanted:
            kind = "batched 3-D" if batched else "unbatched 2-D"
            raise RuntimeError(
                f"For {kind} input, hx and cx should also be {wanted}-D but got "
                f"({h.dim()}-D, {c.dim()}-D) tensors"
            )


class GRU(RNNBase):
    """Layers of gated recurrent units.

    `n = tanh(x W + b + σ(r) (h U + d))`, `h ← (1 - σ(z)) n + σ(z) h`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        super().__init__("GRU", *args, **kwargs)

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, Tensor]:
        out, (h,) = self._run(input, None if hx is None else (hx,))
        return out, h


# --- cells ---------------------------------------------------------------------------------------


class RNNCellBase(Module):
    """Weights of one step."""

    bias_ih: Parameter | None
    bias_hh: Parameter | None
    _state_name = "hidden"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        num_chunks: int,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        rows = num_chunks * hidden_size
        factory = {"device": device, "dtype": dtype}
        self.weight_ih = Parameter(empty((rows, input_size), **factory))
        self.weight_hh = Parameter(empty((rows, hidden_size), **factory))
        if bias:
            self.bias_ih = Parameter(empty(rows, **factory))
            self.bias_hh = Parameter(empty(rows, **factory))
        else:
            self.register_parameter("bias_ih", None)
            self.register_parameter("bias_hh", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every weight from U(-1/sqrt(hidden_size), 1/sqrt(hidden_size))."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if not self.bias:
            text += f", bias={self.bias}"
        nonlinearity = getattr(self, "nonlinearity", "tanh")
        return text if nonlinearity == "tanh" else f"{text}, nonlinearity={nonlinearity}"

    def _step(self, function: Callable, input: Tensor, states: Any, count: int) -> list[Tensor]:
        """Apply a cell to a batch or a single input; states that are not given are zeros."""
        batched = self._check_ndim(input, states)
        x = input if batched else input.unsqueeze(0)
        if states is None:
            zeros = x.new_zeros((x.shape[0], self.hidden_size))
            states = (zeros,) * count
        elif not batched:
            states = tuple(s.unsqueeze(0) for s in states)
        self._check_sizes(x, states)
        hx = states if count > 1 else states[0]
        new = function(x, hx, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        found = [new] if count == 1 else list(new)
        return found if batched else [s.squeeze(0) for s in found]

    def _check_ndim(self, input: Tensor, states: Any) -> bool:
        name = type(self).__name__
        if input.dim() not in (1, 2):
            raise ValueError(f"{name}: Expected input to be 1D or 2D, got {input.dim()}D instead")
        for i, s in enumerate(states or ()):
            if s.dim() not in (1, 2):
                which = self._state_name.format(i)
                raise ValueError(f"{name}: Expected {which} to be 1D or 2D, got {s.dim()}D instead")
        return input.dim() == 2

    def _check_sizes(self, x: Tensor, states: Sequence[Tensor]) -> None:
        if x.shape[1] != self.input_size:
            raise RuntimeError(
                f"input has inconsistent input_size: got {x.shape[1]} expected {self.input_size}"
            )
        for i, s in enumerate(states):
            if s.shape[0] != x.shape[0]:
                raise RuntimeError(
                    f"Input batch size {x.shape[0]} doesn't match hidden{i} batch size {s.shape[0]}"
                )
            if s.shape[1] != self.hidden_size:
                raise RuntimeError(
                    f"hidden{i} has inconsistent hidden_size: got {s.shape[1]}, "
                    f"expected {self.hidden_size}"
                )


class RNNCell(RNNCellBase):
    """One step of the plain recurrence: input (N, input_size), state (N, hidden_size)."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        cells = {"tanh": ops.rnn_tanh_cell, "relu": ops.rnn_relu_cell}
        if self.nonlinearity not in cells:
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        states = None if hx is None else (hx,)
        return self._step(cells[self.nonlinearity], input, states, 1)[0]


class LSTMCell(RNNCellBase):
    """One step of an LSTM: input (N, input_size), states (h, c) of (N, hidden_size)."""

    _state_name = "hx[{}]"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(
        self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        h, c = self._step(ops.lstm_cell, input, hx, 2)
        return h, c


class GRUCell(RNNCellBase):
    """One step of a GRU: input (N, input_size), state (N, hidden_size)."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step(ops.gru_cell, input, None if hx is None else (hx,), 1)[0]
