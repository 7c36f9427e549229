"""`compile`: recorded programs give what the eager run gives, and are compiled once."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

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


def test_what_a_compiled_forward_saves_must_not_change_before_backward(dev):
    w = mt.ones(3, device=dev, requires_grad=True)
    x = mt.ones(3, device=dev)
    y = mt.compile(lambda: (w * x).sum())()
    x.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


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


def test_a_value_needed_on_the_host_is_an_error_if_one_program_is_asked_for(dev):
    f = mt.compile(lambda x: x.sum().item(), fullgraph=True)
    with pytest.raises(RuntimeError, match="needed on the host"):
        f(mt.ones(2, device=dev))
    f = mt.compile(lambda x: x[x > 0], fullgraph=True)
    with pytest.raises(RuntimeError, match="nonzero's result depends on data"):
        f(mt.ones(2, device=dev))


def breaking(x, w):
    h = (x @ w).relu()
    if h.sum().item() > 3:
        h = h * 2
    return h[h > 0.5].sum() + h.unique().numel(), h


def test_graph_breaks(dev):
    x, w = mt.ones(2, 3, device=dev), mt.ones(3, 4, device=dev, requires_grad=True)
    f = mt.compile(breaking)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for _ in range(2):
            loss, h = f(x, w)
    lines = [str(warning.message).partition(" in ")[0] for warning in warned]
    assert len(set(lines)) == len(lines) == 2, "one warning for each line"
    assert "h.sum().item()" in str(warned[0].message) and warned[0].filename == __file__
    for scale in (1.0, 1.0, 0.1):
        w.grad = None
        loss, h = f(x * scale, w)
        (loss + h.sum()).backward()
        grad, w.grad = w.grad, None
        expected, eager_h = breaking(x * scale, w)
        (expected + eager_h.sum()).backward()
        mt.testing.assert_close([loss, h, grad], [expected, eager_h, w.grad])
    assert f.skipped == 0 and f.why_recorded == "a graph break"


@pytest.mark.filterwarnings("ignore:.*graph break")
def test_a_loop_that_waits_for_a_value(dev):
    @mt.compile
    def halve(x):
        n = 0
        while x.norm() > 1e-3:
            x, n = x * 0.5, n + 1
        return x, n

    x, n = halve(mt.ones(3, device=dev))
    assert n == 11 and x.norm() < 1e-3 and halve.compiles == 2


@pytest.mark.filterwarnings("ignore:.*graph break")
def test_views_and_writes_across_a_graph_break(dev):
    def f(x, state):
        y = x * 2
        row = y[0]
        state.add_(1)
        if row.sum() > 0:
            row.add_(10)
        state[0].mul_(3)
        return y, row

    (x, a), b = mt.ones(2, 3, 3, device=dev).unbind(), mt.ones(3, 3, device=dev)
    a = a.clone()
    (y, row), (fast_y, fast_row) = f(x, a), mt.compile(f)(x, b)
    mt.testing.assert_close([fast_y, fast_row, b], [y, row, a])
    row.zero_()
    fast_row.zero_()
    mt.testing.assert_close(fast_y, y)


@pytest.mark.filterwarnings("ignore:.*graph break")
def test_a_training_step_with_a_break_between_backward_and_step(dev):
    def run(compiled):
        w = mt.linspace(-1, 1, 4, device=dev).requires_grad_()
        optimizer = mt.optim.Adam([w], lr=0.1)

        def step(x):
            optimizer.zero_grad()
            loss = (w * x).tanh().sum()
            loss.backward()
            if w.grad.norm().item() > 1.0:
                w.grad.mul_(0.5)
            optimizer.step()
            return loss.detach()

        step = mt.compile(step) if compiled else step
        x = mt.arange(4.0, device=dev)
        return [step(x) for _ in range(4)], w.detach()

    mt.testing.assert_close(run(True), run(False))


def test_a_hook_in_backward_cannot_break_the_graph(dev):
    w = mt.ones(2, device=dev, requires_grad=True)
    w.register_hook(lambda g: g * g.sum().item())
    f = mt.compile(lambda: (w * w).sum().backward())
    with pytest.raises(RuntimeError, match="inside backward"):
        f()


def test_every_compilation_is_explained(dev):
    scale = 2

    def double(images, flag=False):
        y = images * 2.0
        return y.relu() if flag else y.sum(scale - 1)

    f = mt.compile(double)
    mt.compiler.reset()
    f(mt.ones(4, 3, device=dev))
    f(mt.ones(4, 3, device=dev))
    f(mt.ones(2, 3, device=dev))
    f(images=mt.ones(2, 3, device=dev, dtype=mt.float64))
    f(mt.ones(2, 3, device=dev), flag=True)
    scale = 1
    f(mt.ones(2, 3, device=dev))
    report = mt.compiler.report()
    assert [c.number for c in report] == [1, 2, 3, 4, 5]
    causes = [c.cause for c in report]
    assert causes[0] == "the first call"
    assert causes[1] == "argument images: shape (4, 3) → (2, 3)"
    assert causes[2] == "argument images: dtype float32 → float64"
    assert causes[3].startswith("another op: relu where sum was, at ")
    assert "sum: dim (1,) → (0,)" in causes[4]
    assert report[0].file == __file__ and report[0].line == double.__code__.co_firstlineno
    assert str(report).count("\n") == 5 and all(c.seconds > 0 for c in report)


def test_the_graph_names_lines_and_arguments(dev):
    f = mt.compile(lambda images: images.exp().sum())
    f(mt.ones(2, device=dev))
    text = repr(f.graph)
    assert "# argument images" in text and "test_compile.py:" in text and "exp(%0)" in text


def test_max_compiles(dev):
    f = mt.compile(lambda x: x + 1, max_compiles=2)
    for n in (1, 2, 2, 1):
        f(mt.ones(n, device=dev))
    with pytest.raises(mt.compiler.RecompileLimit, match=r"shape \(2,\) → \(3,\)"):
        f(mt.ones(3, device=dev))


def test_a_compiled_module_is_still_a_module(dev):
    net = mt.nn.Linear(3, 2).to(dev)
    f = mt.compile(net)
    assert len(list(f.parameters())) == 2 and f.state_dict().keys() == net.state_dict().keys()
    f.eval()
    assert not net.training
    mt.testing.assert_close(f(mt.ones(1, 3, device=dev)), net(mt.ones(1, 3, device=dev)))


def test_meta_device_gives_shapes_and_dtypes():
    x = mt.empty(3, 4, device="meta")
    y = (x @ mt.empty(4, 5, device="meta")).softmax(1)[:, 2:].sum(0, keepdim=True)
    assert (y.shape, y.dtype, y.device.type) == ((1, 3), mt.float32, "meta")
    with pytest.raises(RuntimeError, match=r"cannot be multiplied \(3x4 and 3x4\)"):
        x @ x
    assert (x > 0).dtype == mt.bool and x.argmax(1).dtype == mt.int64
    with pytest.raises(NotImplementedError, match="no data"):
        y.tolist()


@pytest.mark.parametrize("place", ["programs", ""])
def test_programs_are_kept_on_disk(place, tmp_path):
    code = (
        "import jax, multitorch as mt; mt.ones(1, device='jax');"
        "print(jax.config.jax_compilation_cache_dir)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"MULTITORCH_CACHE": str(tmp_path / place) if place else ""},
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    assert found == (str(tmp_path / place) if place else "None")
