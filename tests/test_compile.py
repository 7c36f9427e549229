"""`compile`: recorded programs give what the eager run gives, and are compiled once."""

from __future__ import annotations

import pytest

import multitorch as mt

pytest.importorskip("jax", reason="compile needs JAX")


def program_device(device):
    if device == "mini":
        pytest.skip("the minimal backend compiles nothing")
    return device


@pytest.fixture
def dev(device):
    return program_device(device)


def test_a_pure_function(dev):
    @mt.compile
    def f(x, y):
        return (x @ y).relu().sum(1)

    x, y = mt.randn(3, 4, device=dev), mt.randn(4, 5, device=dev)
    expected = (x @ y).relu().sum(1)
    for _ in range(3):
        mt.testing.assert_close(f(x, y), expected)
    assert f.compiles == 1
    f(mt.randn(2, 4, device=dev), y)
    assert f.compiles == 2


def test_python_numbers_are_inputs(dev):
    scale = 1.0

    @mt.compile
    def f(x):
        return x * scale + 1

    x = mt.ones(3, device=dev)
    for scale in (1.0, 2.0, 3.5):
        assert f(x).tolist() == [scale + 1] * 3
    assert f.compiles == 1


def test_python_runs_at_every_call(dev):
    calls = []

    @mt.compile
    def f(x, flag):
        calls.append(flag)
        return x + 1 if flag else x * 3

    x = mt.ones(2, device=dev)
    assert f(x, True).tolist() == [2.0, 2.0]
    assert f(x, False).tolist() == [3.0, 3.0]
    assert f(x, True).tolist() == [2.0, 2.0]
    assert calls == [True, False, True] and f.compiles == 2


def test_a_training_step(dev):
    def make():
        w = mt.linspace(-1, 1, 12, device=dev).reshape(3, 4).requires_grad_()
        return w, mt.zeros(4, device=dev, requires_grad=True)

    def step(w, b, x):
        loss = ((x @ w + b).tanh() ** 2).mean()
        loss.backward()
        with mt.no_grad():
            for p in (w, b):
                p -= 0.1 * p.grad
                p.grad = None
        return loss.detach()

    x = mt.linspace(0, 1, 6, device=dev).reshape(2, 3)
    eager, compiled = make(), make()
    fast = mt.compile(step)
    for _ in range(4):
        mt.testing.assert_close(fast(*compiled, x), step(*eager, x))
        mt.testing.assert_close(list(compiled), list(eager))
    assert fast.compiles == 1
    assert compiled[0].is_leaf and compiled[0].requires_grad


def test_gradients_that_outlive_the_call(dev):
    x = mt.tensor([1.0, 2.0], device=dev, requires_grad=True)

    @mt.compile
    def f():
        (x * x).sum().backward()

    f()
    assert x.grad.tolist() == [2.0, 4.0]
    f()
    assert x.grad.tolist() == [4.0, 8.0]


def test_backward_outside_of_a_compiled_forward(dev):
    x = mt.tensor([1.0, 2.0], device=dev, requires_grad=True)
    f = mt.compile(lambda t: (t.exp() * t).sum())
    f(x).backward()
    expected = mt.tensor([1.0, 2.0], device=dev, requires_grad=True)
    (expected.exp() * expected).sum().backward()
    mt.testing.assert_close(x.grad, expected.grad)


def test_views_and_writes_inside(dev):
    state = mt.zeros(2, 3, device=dev)
    row = state[0]

    @mt.compile
    def f(x):
        state[1].add_(x)
        state[0, 1:] = 7.0
        return state.sum()

    for k in (1, 2):
        assert f(mt.ones(3, device=dev)).item() == 14.0 + 3 * k
        assert state.tolist() == [[0.0, 7.0, 7.0], [float(k)] * 3]
        assert row.tolist() == [0.0, 7.0, 7.0]


def test_writes_reach_the_memory_of_numpy():
    x = mt.zeros(3)
    memory = x.numpy()
    mt.compile(lambda: x.add_(2))()
    assert memory.tolist() == [2.0, 2.0, 2.0]


def test_a_failing_call_leaves_everything_as_it_was(dev):
    x = mt.ones(2, device=dev)

    @mt.compile
    def f():
        x.add_(1)
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        f()
    assert x.tolist() == [1.0, 1.0]
    assert (x + 1).tolist() == [2.0, 2.0]


def test_a_value_needed_on_the_host_is_an_error(dev):
    f = mt.compile(lambda x: x.sum().item())
    with pytest.raises(RuntimeError, match="needed on the host"):
        f(mt.ones(2, device=dev))


def test_meta_device_gives_shapes_and_dtypes():
    x = mt.empty(3, 4, device="meta")
    y = (x @ mt.empty(4, 5, device="meta")).softmax(1)[:, 2:].sum(0, keepdim=True)
    assert (y.shape, y.dtype, y.device.type) == ((1, 3), mt.float32, "meta")
    assert (x > 0).dtype == mt.bool and x.argmax(1).dtype == mt.int64
    with pytest.raises(NotImplementedError, match="no data"):
        y.tolist()
