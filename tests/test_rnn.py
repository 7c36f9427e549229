"""Recurrent layers: against PyTorch to second order, packed sequences, compile, shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import multitorch
from multitorch import nn
from multitorch.nn.utils.rnn import (
    PackedSequence,
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
    pad_sequence,
    unpack_sequence,
    unpad_sequence,
)
from tests.against_torch import compare

KINDS = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}
TIME, BATCH, INPUT, HIDDEN = 4, 3, 2, 5


def arrays(kind: str, *, layers: int = 1, both: bool = False, biases: bool = True, proj: int = 0):
    """Return input, states and weights of a stack."""
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return 0.6 * rng.standard_normal(shape)

    directions, state = 2 if both else 1, proj or HIDDEN
    made = [draw(TIME, BATCH, INPUT), draw(layers * directions, BATCH, state)]
    if kind == "lstm":
        made.append(draw(layers * directions, BATCH, HIDDEN))
    rows = KINDS[kind] * HIDDEN
    for layer in range(layers):
        width = state * directions if layer else INPUT
        for _ in range(directions):
            made += [draw(rows, width), draw(rows, state)]
            made += [draw(rows), draw(rows)] if biases else []
            made += [draw(proj, HIDDEN)] if proj else []
    return made


def runner(kind: str, sizes: list[int] | None, biases: bool, layers: int, both: bool):
    """Return a function of a library and tensors that runs a stack."""

    def run(lib: Any, x: Any, *rest: Any) -> Any:
        states, weights = (rest[:2], rest[2:]) if kind == "lstm" else (rest[0], rest[1:])
        function, settings = getattr(lib, kind), (biases, layers, 0.0, True, both)
        if sizes is None:
            return function(x, states, weights, *settings, False)
        packed = x.reshape(-1, x.shape[2])[: sum(sizes)]
        return function(packed, lib.tensor(sizes), states, weights, *settings)

    return run


@pytest.mark.parametrize("sizes", [None, [3, 2, 2, 1]], ids=["padded", "packed"])
@pytest.mark.parametrize("kind", KINDS)
def test_one_layer(kind, sizes, oracle, device):
    if device == "jax" and sizes is None:
        pytest.skip("a part of what packed sequences do")
    compare(oracle, device, runner(kind, sizes, True, 1, False), *arrays(kind), tol=1e-8)


@pytest.mark.parametrize("sizes", [None, [3, 2, 2, 1]], ids=["padded", "packed"])
@pytest.mark.parametrize("kind", KINDS)
def test_two_layers_in_both_directions_without_biases(kind, sizes, oracle):
    given = arrays(kind, layers=2, both=True, biases=False)
    compare(oracle, "cpu", runner(kind, sizes, False, 2, True), *given, tol=1e-8)


def test_projection(oracle, device):
    given = arrays("lstm", both=True, proj=3)
    compare(oracle, device, runner("lstm", [3, 2, 2, 1], True, 1, True), *given, tol=1e-8)


@pytest.mark.parametrize("cell", ["LSTMCell", "GRUCell", "RNNCell"])
def test_a_layer_is_its_cell_repeated(cell):
    layer = getattr(nn, cell.removesuffix("Cell"))(INPUT, HIDDEN)
    one = getattr(nn, cell)(INPUT, HIDDEN)
    one.load_state_dict({k.removesuffix("_l0"): v for k, v in layer.state_dict().items()})
    x = multitorch.randn(TIME, BATCH, INPUT)
    out, _ = layer(x)
    state = None
    for t in range(TIME):
        state = one(x[t], state)
        h = state[0] if isinstance(state, tuple) else state
        assert (h - out[t]).abs().max().item() < 1e-6


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_computes_in_single(dtype, device):
    if device == "jax" and dtype == "float16":
        pytest.skip("the same code as for bfloat16")
    layer = nn.LSTM(INPUT, HIDDEN).to(device)
    x = multitorch.randn(TIME, BATCH, INPUT).to(device)
    expected = layer(x)[0]
    out = layer.to(getattr(multitorch, dtype))(x.to(getattr(multitorch, dtype)))[0]
    assert out.dtype is getattr(multitorch, dtype)
    assert (out.float() - expected).abs().max().item() < 0.02
    out.float().sum().backward()
    assert layer.weight_hh_l0.grad.dtype is out.dtype


def test_compiled_training_step(device):
    multitorch.manual_seed(0)
    layer = nn.GRU(INPUT, HIDDEN).to(device)
    x = multitorch.randn(TIME, BATCH, INPUT).to(device)

    def step(x):
        layer.zero_grad()
        loss = (layer(x)[0] ** 2).sum()
        loss.backward()
        return loss, layer.weight_ih_l0.grad

    expected = [t.detach().clone() for t in step(x)]
    if device not in ("cpu", "jax"):
        return
    for found, t in zip(multitorch.compile(step)(x), expected, strict=True):
        assert multitorch.allclose(found, t, rtol=1e-4, atol=1e-5)


def test_meta_device_knows_the_shapes():
    layer = nn.LSTM(INPUT, HIDDEN, 2, bidirectional=True, proj_size=3, device="meta")
    out, (h, c) = layer(multitorch.empty(TIME, BATCH, INPUT, device="meta"))
    assert out.shape == (TIME, BATCH, 6)
    assert h.shape == (4, BATCH, 3) and c.shape == (4, BATCH, HIDDEN)


def test_dropout_draws_between_layers_only_in_training(oracle):
    for packed in (False, True):
        results = []
        for lib in (multitorch, oracle):
            lib.manual_seed(0)
            layer = lib.nn.GRU(3, 4, num_layers=3, dropout=0.5)
            x: Any = lib.ones(5, 2, 3)
            x = lib.nn.utils.rnn.pack_padded_sequence(x, [5, 3]) if packed else x
            lib.manual_seed(1)
            out = layer(x)[0]
            results.append((out.data if packed else out).detach().numpy())
        np.testing.assert_allclose(results[0], results[1], rtol=1e-4, atol=1e-6)


# --- packing -------------------------------------------------------------------------------------


def test_packing_and_back(device):
    x = multitorch.arange(24).view(4, 3, 2).float().to(device)
    packed = pack_padded_sequence(x, [2, 4, 1], enforce_sorted=False)
    assert packed.batch_sizes.tolist() == [3, 2, 1, 1]
    assert packed.sorted_indices is not None and packed.sorted_indices.tolist() == [1, 0, 2]
    padded, lengths = pad_packed_sequence(packed, padding_value=-1.0, total_length=5)
    assert lengths.tolist() == [2, 4, 1] and padded.shape == (5, 3, 2)
    assert padded[1, 0].tolist() == x[1, 0].tolist() and padded[2, 0].tolist() == [-1.0, -1.0]
    parts = unpack_sequence(packed)
    assert [len(p) for p in parts] == [2, 4, 1]
    assert [p.tolist() for p in unpad_sequence(x, lengths)] == [p.tolist() for p in parts]
    again = pack_sequence(parts, enforce_sorted=False)
    assert again.data.tolist() == packed.data.tolist()


def test_padding_side():
    parts = [multitorch.tensor([1, 2, 3]), multitorch.tensor([4])]
    left = pad_sequence(parts, batch_first=True, padding_value=9, padding_side="left")
    assert left.tolist() == [[1, 2, 3], [9, 9, 4]]
    assert pad_sequence(parts).shape == (3, 2)


def test_layers_take_packed_sequences_with_states_in_the_order_of_the_batch():
    layer = nn.LSTM(2, 3)
    x, h = multitorch.randn(4, 3, 2), multitorch.randn(1, 3, 3)
    packed = pack_padded_sequence(x, multitorch.tensor([2, 4, 1]), enforce_sorted=False)
    out, (last, _) = layer(packed, (h, h))
    assert isinstance(out, PackedSequence)
    for i, n in enumerate((2, 4, 1)):
        alone, (end, _) = layer(x[:n, i], (h[:, i], h[:, i]))
        assert multitorch.allclose(last[:, i], end, atol=1e-6)
        assert multitorch.allclose(unpack_sequence(out)[i], alone, atol=1e-6)


def test_errors():
    with pytest.raises(RuntimeError, match="sorted in decreasing order"):
        pack_padded_sequence(multitorch.ones(3, 2, 1), [1, 3])
    with pytest.raises(RuntimeError, match="greater than 0"):
        pack_padded_sequence(multitorch.ones(3, 2, 1), [1, 0])
    with pytest.raises(RuntimeError, match="equal to batch_size"):
        pack_padded_sequence(multitorch.ones(3, 2, 1), [1])
    with pytest.raises(RuntimeError, match="larger than 0 in RNN"):
        nn.RNN(1, 1)(multitorch.ones(0, 2, 1))
    with pytest.raises(RuntimeError, match=r"Expected hidden\[1\] size"):
        nn.LSTM(1, 1)(
            multitorch.ones(2, 2, 1), (multitorch.ones(1, 2, 1), multitorch.ones(1, 3, 1))
        )
    with pytest.raises(ValueError, match="does not match weight dtype"):
        nn.RNN(1, 1)(multitorch.ones(2, 2, 1).double())
