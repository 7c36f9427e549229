"""Embedding bags, and the forward pass of multi-head attention: what the database leaves out."""

from __future__ import annotations

import numpy as np
import pytest

import multitorch as mt
from tests.against_torch import compare

F = mt.nn.functional
RNG = np.random.default_rng(9)

# --- bags ----------------------------------------------------------------------------------------

REDUCTIONS = {"sum": np.sum, "mean": np.mean, "max": np.max}


@pytest.mark.parametrize("mode", REDUCTIONS)
def test_bags_by_hand(device, mode):
    table, index = RNG.standard_normal((6, 3)), np.array([1, 4, 2, 2, 5, 0, 2])
    offsets = [0, 3, 3, 6]
    expected = np.zeros((4, 3))
    for i, (a, b) in enumerate(zip(offsets, [*offsets[1:], 7])):
        kept = [j for j in index[a:b] if j != 2]
        if kept:
            expected[i] = REDUCTIONS[mode](table[kept], axis=0)
    given = (mt.tensor(a, device=device) for a in (index, table, np.array(offsets)))
    found = F.embedding_bag(*given, mode=mode, padding_idx=2)
    np.testing.assert_allclose(found.cpu().numpy(), expected)


@pytest.mark.parametrize("mode", REDUCTIONS)
@pytest.mark.parametrize("last", [False, True])
def test_bags_against_pytorch(oracle, device, mode, last):
    index, offsets = np.array([1, 4, 2, 2, 5, 0, 2]), np.array([0, 3, 3, 7 if last else 6])

    def bag(lib, table, index, offsets, weights):
        options = {"per_sample_weights": weights} if mode == "sum" else {}
        return lib.nn.functional.embedding_bag(
            index, table, offsets, mode=mode, include_last_offset=last, **options
        )

    table, weights = RNG.standard_normal((6, 3)), RNG.standard_normal(7)
    compare(oracle, device, bag, table, index, offsets, weights, order=1)


def test_long_rows_are_shortened():
    table = mt.tensor([[3.0, 4.0], [0.3, 0.4]])
    found = F.embedding_bag(mt.tensor([[0, 1]]), table, max_norm=1.0, mode="sum")
    mt.testing.assert_close(found, mt.tensor([[0.9, 1.2]]))
    mt.testing.assert_close(table[0], mt.tensor([0.6, 0.8]))


def test_bad_bags():
    table, index = mt.ones(4, 2), mt.tensor([0, 1])
    start = mt.tensor([0])
    for kind, text, given, options in (
        (ValueError, "offsets has to be a 1D", (index,), {}),
        (ValueError, "offsets has to be None", (index[None], table, start), {}),
        (ValueError, "mode has to be", (index, table, start), {"mode": "min"}),
        (ValueError, "same shape", (index, table, start), {"per_sample_weights": mt.ones(3)}),
        (RuntimeError, "offsets\\[0\\]", (index, table, start + 1), {}),
        (RuntimeError, "Long, Int", (index.short(), table, start), {}),
        (NotImplementedError, "only supported for mode='sum'", (index, table, start),
         {"per_sample_weights": mt.ones(2)}),
    ):  # fmt: skip
        given = given if len(given) > 1 else (*given, table)
        with pytest.raises(kind, match=text):
            F.embedding_bag(*given, **options)


# --- attention -----------------------------------------------------------------------------------

MASKS = {
    "none": {},
    "padding": {"key_padding_mask": np.array([[0, 0, 0, 1, 1], [0, 1, 0, 0, 0]], bool)},
    "causal": {"attn_mask": np.triu(np.ones((4, 5), bool), 1), "is_causal": True},
    "both": {
        "key_padding_mask": np.where([[0, 0, 0, 1, 1], [0, 1, 0, 0, 0]], -np.inf, 0.0),
        "attn_mask": RNG.standard_normal((4, 4, 5)),
    },
    "zeros": {"add_zero_attn": True, "attn_mask": RNG.standard_normal((4, 5))},
    "single": {"average_attn_weights": False},
    "biases": {"bias_k": RNG.standard_normal((1, 1, 6)), "bias_v": RNG.standard_normal((1, 1, 6))},
}


def attention(lib, device, options, need_weights=True, batched=True):
    rng = np.random.default_rng(2)
    shapes = (4, 2, 6), (5, 2, 6), (5, 2, 6)
    names = ("query", "key", "value", "in_proj_weight", "in_proj_bias", "out_proj_weight",
             "out_proj_bias")  # fmt: skip
    rest = (18, 6), (18,), (6, 6), (6,)
    arrays = [rng.standard_normal(s if batched else (s[0], s[2])) for s in shapes]
    arrays += [rng.standard_normal(s) for s in rest]
    tensors = dict(
        zip(names, (lib.tensor(a, device=device, requires_grad=True) for a in arrays), strict=True)
    )
    settings = {
        "embed_dim_to_check": 6, "num_heads": 2, "bias_k": None, "bias_v": None,
        "add_zero_attn": False, "dropout_p": 0.0, "need_weights": need_weights,
    }  # fmt: skip
    for name, value in options.items():
        is_array = isinstance(value, np.ndarray)
        settings[name] = lib.tensor(value, device=device) if is_array else value
    out, weights = lib.nn.functional.multi_head_attention_forward(**tensors, **settings)
    out.square().sum().backward()
    assert (weights is None) == (not need_weights)
    found = [out, weights, *(t.grad for t in tensors.values())]
    return [t.detach().cpu().numpy() for t in found if t is not None]


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("name", MASKS)
def test_attention(oracle, device, name, need_weights):
    if device != "cpu" and (name != "both" or need_weights):
        pytest.skip("a composite: one case shows that it runs")
    found = attention(mt, device, MASKS[name], need_weights)
    expected = attention(oracle, "cpu", MASKS[name], need_weights)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)


def test_attention_without_batch(oracle):
    found, expected = (attention(lib, "cpu", {}, batched=False) for lib in (mt, oracle))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(
    "kind, text, options",
    [
        (AssertionError, "embedding dimension of 7", {"embed_dim_to_check": 7}),
        (AssertionError, "not divisible", {"num_heads": 4}),
        (RuntimeError, "2D attn_mask", {"attn_mask": np.zeros((4, 4))}),
        (RuntimeError, "Need attn_mask", {"is_causal": True}),
        (AssertionError, "key_padding_mask", {"key_padding_mask": np.zeros(5, bool)}),
        (AssertionError, "given together", {"bias_k": np.zeros((1, 1, 6))}),
    ],
    ids=str,
)
def test_bad_attention(kind, text, options):
    with pytest.raises(kind, match=text):
        attention(mt, "cpu", options)
