"""Masked reductions and normalizations: masks that broadcast, rows without an element, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

import multitorch as mt

NAN, INF = math.nan, math.inf
X = [[3.0, 1.0, 2.0], [5.0, 6.0, 4.0]]
MASK = [[True, False, True], [False, False, False]]

ROWS = [
    ("sum", (1,), [5, 0]),
    ("prod", (1,), [6, 1]),
    ("amax", (1,), [3, -INF]),
    ("amin", (1,), [2, INF]),
    ("argmax", (1,), [0, 0]),
    ("argmin", (1,), [2, 0]),
    ("mean", (1,), [2.5, NAN]),
    ("median", (1,), [2, NAN]),
    ("norm", (2, 1), [math.sqrt(13), 0]),
    ("norm", (-INF, 1), [2, INF]),
    ("var", (1,), [0.5, NAN]),
    ("std", (1, False), [0.5, NAN]),
    ("logsumexp", (1,), [math.log(math.exp(3) + math.exp(2)), -INF]),
    ("cumsum", (1,), [[3, 3, 5], [0, 0, 0]]),
    ("cumprod", (1,), [[3, 3, 6], [1, 1, 1]]),
    ("softmax", (1,), [[0.7310586, 0, 0.2689414], [NAN] * 3]),
    ("log_softmax", (1,), [[-0.3132617, -INF, -1.3132617], [NAN] * 3]),
    ("softmin", (1,), [[0.2689414, 0, 0.7310586], [NAN] * 3]),
    ("normalize", (1, 1), [[0.6, 0, 0.4], [0, 0, 0]]),
]
EMPTIED = [
    ("amax", "int8", -128),
    ("amin", "uint8", 255),
    ("sum", "bool", 0),
    ("prod", "int32", 1),
]


def tensors(device: str) -> tuple[mt.Tensor, mt.Tensor]:
    return mt.tensor(X, device=device), mt.tensor(MASK, device=device)


@pytest.mark.parametrize("name, args, expected", ROWS)
def test_rows(device, name, args, expected):
    x, mask = tensors(device)
    t = getattr(mt.masked, name)(x, *args, mask=mask)
    np.testing.assert_allclose(t.cpu().numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["sum", "amax", "mean", "var", "logsumexp", "norm", "softmax"])
def test_a_full_mask_changes_nothing(device, name):
    x, mask = tensors(device)
    dim = {"norm": (2.0, 1)}.get(name, (1,))
    function = getattr(mt.masked, name)
    mt.testing.assert_close(function(x, *dim), function(x, *dim, mask=mask | True))


def test_masks_broadcast(device):
    x, mask = tensors(device)
    assert mt.masked.sum(x, 1, mask=mask[0]).tolist() == [5, 9]
    assert mt.masked.sum(x, mask=mt.tensor([1, 0, 1], device=device)).item() == 14
    with pytest.raises(IndexError, match="broadcastable mask"):
        mt.masked.sum(x, 1, mask=mask[None])
    with pytest.raises(RuntimeError, match="expanded size"):
        mt.masked.sum(x, 1, mask=mask[:, :2])


@pytest.mark.parametrize("name, dtype, expected", EMPTIED)
def test_identity_of_integers(device, name, dtype, expected):
    x = mt.tensor([1, 0], device=device).to(getattr(mt, dtype))
    none = mt.tensor([False, False], device=device)
    assert getattr(mt.masked, name)(x, 0, mask=none).item() == expected


def test_each_operand_of_logaddexp_has_a_mask(device):
    x, mask = tensors(device)
    t = mt.masked.logaddexp(x, x + 1, input_mask=mask, other_mask=~mask)
    np.testing.assert_allclose(t.cpu().numpy(), [[3, 2, 2], [6, 7, 5]])


def test_gradients_skip_what_is_masked(device):
    x, mask = tensors(device)
    x.requires_grad_()
    mt.masked.mean(x, 1, mask=mask)[0].backward()
    assert x.grad is not None and x.grad.tolist() == [[0.5, 0, 0.5], [0, 0, 0]]


def test_errors(device):
    x, mask = tensors(device)
    with pytest.raises(ValueError, match="Could not infer output dtype"):
        mt.masked.mean(x.long(), 1, mask=mask)
    with pytest.raises(ValueError, match="no fully masked out rows"):
        mt.masked.median(x.long(), 1, mask=mask)
    with pytest.raises(NotImplementedError, match="identity of amax on torch.bool"):
        mt.masked.amax(x.bool(), 1, mask=mask)
    with pytest.raises(AssertionError, match="Only one of unbiased and correction"):
        mt.masked.var(x, 1, True, correction=1, mask=mask)
    assert mt.masked.median(x.long(), 1, mask=mask[0]).tolist() == [2, 4]


def test_compiled(device):
    if device == "mini":
        pytest.skip("this backend does not compile")
    x, mask = tensors(device)
    function = mt.compile(lambda x, mask: mt.masked.normalize(x, 2.0, 1, mask=mask))
    expected = mt.masked.normalize(x, 2.0, 1, mask=mask)
    mt.testing.assert_close(function(x, mask), expected)


def test_shapes_without_data():
    x = mt.empty(2, 3, device="meta")
    assert mt.masked.mean(x, 0, keepdim=True, mask=x > 0).shape == (1, 3)
