"""Control flow on tensors: values, gradients, and inside compiled functions."""

from __future__ import annotations

import pytest

import multitorch as mt


@pytest.fixture(params=[False, True], ids=["eager", "compiled"])
def run(request, device):
    """Return how to run a function: as it is, or compiled."""
    if not request.param:
        return lambda f: f
    pytest.importorskip("jax", reason="compile needs JAX")
    if device == "mini":
        pytest.skip("the minimal backend compiles nothing")
    return mt.compile


@pytest.mark.filterwarnings("ignore:.*graph break")
@pytest.mark.parametrize(("value", "expected", "slope"), [(2.0, 40.0, 20.0), (0.5, -0.5, -1.0)])
def test_cond(run, device, value, expected, slope):
    x = mt.tensor(value, device=device, requires_grad=True)
    f = run(lambda: mt.cond(x > 1, lambda x: x * x * 10, lambda x: -x, (x,)))
    y = f()
    y.backward()
    assert y.item() == expected
    assert x.grad.item() == (40.0 if value == 2.0 else slope)


@pytest.mark.filterwarnings("ignore:.*graph break")
def test_while_loop(run, device):
    x = mt.tensor(1.5, device=device, requires_grad=True)

    def f():
        return mt.while_loop(lambda y, n: y < 100, lambda y, n: (y * x, n + 1), (x, 0))

    y, n = run(f)()
    y.backward()
    assert n == 11 and y.item() == pytest.approx(1.5**12)
    assert x.grad.item() == pytest.approx(12 * 1.5**11)


@pytest.mark.parametrize("reverse", [False, True])
def test_scan(run, device, reverse):
    xs = mt.arange(1.0, 7.0, device=device).reshape(2, 3).requires_grad_()

    def f():
        def step(carry, x):
            carry = carry * x["a"]
            return carry, (carry, x["a"] + 1)

        init = mt.ones(2, device=device)
        return mt.scan(step, init, {"a": xs}, dim=1, reverse=reverse)

    carry, (products, plus) = run(f)()
    expected = xs.flip(1).cumprod(1).flip(1) if reverse else xs.cumprod(1)
    mt.testing.assert_close(products, expected.t())
    mt.testing.assert_close(plus, xs.t() + 1)
    carry.sum().backward()
    grad, xs.grad = xs.grad, None
    xs.prod(1).sum().backward()
    mt.testing.assert_close(grad, xs.grad)


def test_map(run, device):
    xs = mt.arange(6.0, device=device).reshape(3, 2).requires_grad_()
    y = run(lambda: mt.map(lambda x, k: (x * k).sum(), xs, 2.0))()
    assert y.tolist() == [2.0, 10.0, 18.0]
    y.sum().backward()
    assert xs.grad.tolist() == [[2.0, 2.0]] * 3


def test_errors(device):
    x = mt.ones(2, device=device)
    with pytest.raises(RuntimeError, match="one element"):
        mt.cond(x > 0, lambda: 1, lambda: 2)
    with pytest.raises(RuntimeError, match="returned 2 values"):
        mt.while_loop(lambda x: x.sum() < 9, lambda x: (x, x), (x,))
    with pytest.raises(RuntimeError, match="no elements"):
        mt.scan(lambda c, x: (c, x), x, mt.ones(0, 2, device=device))
    with pytest.raises(TypeError, match="expected tensors"):
        mt.map(lambda x: 3, x)
