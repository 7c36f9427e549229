"""Broadcasting: shapes that meet, the gradients that are summed back, and shapes that do not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

import multitorch as mt

UFUNCS = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}
COMPARISONS = {"eq": np.equal, "lt": np.less, "maximum": np.maximum, "minimum": np.minimum}
PAIRS = [
    ((), ()),
    ((3,), ()),
    ((3,), (2, 3)),
    ((2, 1), (1, 3)),
    ((4, 1, 3), (2, 1)),
    ((0,), (1,)),
    ((2, 0, 3), (1, 1)),
    ((1, 1), (5,)),
]


def many(device: str, examples: int) -> settings:
    return settings(
        max_examples=examples if device in ("cpu", "mini") else examples // 15,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
        report_multiple_bugs=False,
    )


def numbers(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    n = math.prod(shape)
    return ((np.arange(n) * 37 + seed * 11) % 101 + 1).reshape(shape) / 101


def to_numpy(t) -> np.ndarray:
    return np.array(t.detach().cpu().numpy())


def summed_to(a: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Sum over the dims that broadcasting stretched."""
    a = a.sum(axis=tuple(range(a.ndim - len(shape))))
    stretched = tuple(d for d, n in enumerate(shape) if n == 1 and a.shape[d] != 1)
    return a.sum(axis=stretched, keepdims=True)


def check_pair(device: str, name: str, left: tuple[int, ...], right: tuple[int, ...]) -> None:
    a, b = numbers(left), numbers(right, 1)
    x, y = (mt.tensor(v, device=device, requires_grad=True) for v in (a, b))
    out = getattr(mt, name)(x, y)
    expected = UFUNCS[name](a, b)
    assert tuple(out.shape) == expected.shape
    np.testing.assert_allclose(to_numpy(out), expected, rtol=1e-12)
    weight = numbers(expected.shape, 2)
    (out * mt.tensor(weight, device=device)).sum().backward()
    partial = {
        "add": (1, 1),
        "sub": (1, -1),
        "mul": (b, a),
        "div": (1 / b, -a / b**2),
    }[name]
    for t, rule in zip((x, y), partial, strict=True):
        gradient = summed_to(weight * rule, tuple(t.shape))
        assert tuple(t.grad.shape) == tuple(t.shape)
        np.testing.assert_allclose(to_numpy(t.grad), gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("left, right", PAIRS)
@pytest.mark.parametrize("name", UFUNCS)
def test_known_pairs(device, name, left, right):
    check_pair(device, name, left, right)
    check_pair(device, name, right, left)


def test_any_pair(device):
    @many(device, 150)
    @given(
        mutually_broadcastable_shapes(num_shapes=2, max_dims=4, min_side=0, max_side=4),
        st.sampled_from(sorted(UFUNCS)),
    )
    def check(shapes, name):
        check_pair(device, name, *shapes.input_shapes)

    check()


@pytest.mark.parametrize("name", COMPARISONS)
@pytest.mark.parametrize("left, right", PAIRS)
def test_other_elementwise_functions(device, name, left, right):
    a, b = numbers(left), numbers(right, 1)
    out = getattr(mt, name)(mt.tensor(a, device=device), mt.tensor(b, device=device))
    np.testing.assert_array_equal(to_numpy(out), COMPARISONS[name](a, b))


def test_three_operands(device):
    condition = numbers((4, 1, 1)) > 0.5
    a, b = numbers((3, 1), 1), numbers((2,), 2)
    c, x, y = (mt.tensor(v, device=device) for v in (condition, a, b))
    x.requires_grad_(), y.requires_grad_()
    out = mt.where(c, x, y)
    np.testing.assert_array_equal(to_numpy(out), np.where(condition, a, b))
    out.sum().backward()
    chosen = np.broadcast_to(condition, (4, 3, 2)).astype(float)
    np.testing.assert_allclose(to_numpy(x.grad), summed_to(chosen, (3, 1)))
    np.testing.assert_allclose(to_numpy(y.grad), summed_to(1 - chosen, (2,)))


def test_a_scalar_tensor_and_a_number(device):
    x = mt.tensor(2.0, device=device, requires_grad=True)
    y = mt.ones(2, 3, device=device) * x + 1
    y.sum().backward()
    assert y.tolist() == [[3, 3, 3], [3, 3, 3]] and x.grad.item() == 6


def test_second_derivatives(device):
    x = mt.tensor([[1.0], [2.0]], device=device, requires_grad=True)
    y = mt.tensor([3.0, 4.0, 5.0], device=device, requires_grad=True)
    (gx,) = mt.autograd.grad((x * x * y).sum(), x, create_graph=True)
    gx.sum().backward()
    assert x.grad.tolist() == [[24], [24]] and y.grad.tolist() == [6, 6, 6]


def test_in_place_keeps_the_left_shape(device):
    x = mt.ones(2, 3, device=device)
    x += mt.tensor([[1.0], [2.0]], device=device)
    assert x.tolist() == [[2, 2, 2], [3, 3, 3]]
    y = mt.ones(3, device=device)
    with pytest.raises(RuntimeError, match="doesn't match the broadcast shape"):
        y += mt.ones(2, 3, device=device)
    assert y.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    "left, right, sizes, dim",
    [((3,), (4,), (3, 4), 0), ((2, 3), (2, 4), (3, 4), 1), ((5, 1, 2), (3, 3), (2, 3), 2)],
)
def test_shapes_that_do_not_meet(device, left, right, sizes, dim):
    a, b = sizes
    phrase = (
        rf"size of tensor a \({a}\) must match the size of tensor b \({b}\) "
        f"at non-singleton dimension {dim}"
    )
    for name in ("add", "mul", "lt", "maximum", "pow"):
        with pytest.raises(RuntimeError, match=phrase):
            getattr(mt, name)(mt.ones(left, device=device), mt.ones(right, device=device))


def test_shape_functions(device):
    assert tuple(mt.broadcast_shapes((2, 1), (1, 3), (3,))) == (2, 3)
    with pytest.raises(RuntimeError, match="broadcast"):
        mt.broadcast_shapes((2,), (3,))
    x, y = mt.broadcast_tensors(mt.ones(2, 1, device=device), mt.zeros(3, device=device))
    assert tuple(x.shape) == tuple(y.shape) == (2, 3)
    assert tuple(mt.broadcast_to(mt.ones(3, device=device), (2, 3)).shape) == (2, 3)
    with pytest.raises(RuntimeError, match="expanded size of the tensor"):
        mt.ones(2, 3, device=device).expand(4, 3)
    assert tuple(mt.ones(1, 3, device=device).expand(2, -1).shape) == (2, 3)
    assert tuple(mt.ones(3, device=device).expand_as(mt.ones(2, 3, device=device)).shape) == (2, 3)


@pytest.mark.oracle
def test_functions_of_two_as_pytorch(oracle, device):
    names = ["add", "mul", "atan2", "hypot", "logaddexp", "fmod", "remainder", "pow", "logical_xor"]

    @many(device, 120)
    @given(
        mutually_broadcastable_shapes(num_shapes=2, max_dims=3, min_side=0, max_side=3),
        st.sampled_from(names),
    )
    def check(shapes, name):
        arrays = [numbers(s, k) for k, s in enumerate(shapes.input_shapes)]
        ours = getattr(mt, name)(*(mt.tensor(a, device=device) for a in arrays))
        theirs = getattr(oracle, name)(*(oracle.tensor(a) for a in arrays))
        assert tuple(ours.shape) == tuple(theirs.shape)
        np.testing.assert_allclose(to_numpy(ours), theirs.numpy(), rtol=1e-9, atol=1e-12)

    check()
