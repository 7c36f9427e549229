"""`cost()` of a compiled function: XLA's totals, and the lines of the user's code behind them."""

from __future__ import annotations

import pytest

import multitorch as mt

jax = pytest.importorskip("jax", reason="programs are XLA's")
jnp, lax = jax.numpy, jax.lax

from multitorch_jax.account import analysis  # noqa: E402
from multitorch_jax.work import Program  # noqa: E402

F = mt.nn.functional
FLOPS, BYTES = 0.001, 0.02
"""How far, relatively, the sums over operations may lie from XLA's totals."""


def conv(x, w, stride=1, pad=1, spread=1, dilation=1, groups=1):
    return lax.conv_general_dilated(
        x, w, (stride, stride), ((pad, pad), (pad, pad)), lhs_dilation=(spread, spread),
        rhs_dilation=(dilation, dilation), feature_group_count=groups,
    )  # fmt: skip


def pool(x):
    return lax.reduce_window(x, 0.0, lax.add, (1, 1, 3, 3), (1, 1, 2, 2), "SAME")


def mlp(x, w):
    return jnp.tanh(jax.nn.relu(x @ w) @ w).sum()


def loop(x, w):
    return lax.scan(lambda h, _: (jnp.tanh(h @ w), h.sum()), x, None, length=9)


X, W = (64, 64), (64, 64)
IMAGE, TAPS = (4, 16, 20, 20), (32, 16, 3, 3)
PROGRAMS = {
    "pointwise": (lambda x, y: jnp.where(x > y, x * y + 1, x - y), X, X),
    "dot": (lambda x, y: x @ y, X, (64, 8)),
    "batched": (lambda x, y: jnp.einsum("bij,bkj->bik", x, y), (8, 32, 16), (8, 24, 16)),
    "gradient": (jax.grad(mlp, 1), X, W),
    "reduce": (lambda x, y: (x.sum(0), x.max(), y.mean(1)), X, X),
    "convolution": (conv, IMAGE, TAPS),
    "strided": (lambda x, w: conv(x, w, stride=2, dilation=2, pad=0), IMAGE, TAPS),
    "transposed": (lambda x, w: conv(x, w, spread=2, pad=2), IMAGE, TAPS),
    "grouped": (lambda x, w: conv(x, w, groups=4), IMAGE, (32, 4, 3, 3)),
    "convolution, backward": (
        jax.grad(lambda x, w: (conv(x, w, stride=2) ** 2).sum(), (0, 1)), IMAGE, TAPS,
    ),
    "window": (lambda x, w: pool(x), IMAGE, TAPS),
    "slices": (lambda x, y: (x[3:9] * 2, lax.dynamic_slice(y, (3, 0), (8, 64)) + 1), X, X),
    "update": (lambda x, y: lax.dynamic_update_slice(x * 2, y[:4], (8, 0)), X, X),
    "gather": (lambda x, y: x[(y[:, 0] > 0).astype(int)] + 1, X, X),
    "scatter": (lambda x, y: x.at[(y[:, 0] > 0).astype(int)].add(y), X, X),
    "sort": (lambda x, y: jnp.sort(x.ravel()) * y.ravel(), X, X),
    "loop": (loop, X, W),
    "branches": (lambda x, y: lax.cond(x[0, 0] > 0, lambda: x @ y, lambda: x + y), X, X),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_sums_are_those_of_xla(name):
    function, *sizes = PROGRAMS[name]
    given = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in sizes]
    compiled = jax.jit(function).lower(*given).compile()
    totals, operations = analysis(compiled), Program(compiled.as_text()).operations()
    assert sum(o.flops for o in operations) == pytest.approx(totals["flops"], rel=FLOPS)
    assert sum(o.bytes for o in operations) == pytest.approx(totals["bytes accessed"], rel=BYTES)


# --- by the lines of a compiled function ----------------------------------------------------------


@pytest.fixture
def dev(device):
    if device == "mini":
        pytest.skip("the minimal backend compiles nothing")
    return device


class Step:
    """A training step with a line for each thing."""

    def __init__(self, dev):
        self.model = mt.nn.Sequential(mt.nn.Linear(64, 128), mt.nn.ReLU(), mt.nn.Linear(128, 8))
        self.model.to(dev)
        self.optimizer = mt.optim.SGD(self.model.parameters(), lr=0.1)

    def __call__(self, x, y):
        scores = self.model(x)
        loss = F.cross_entropy(scores, y)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss


def line_with(cost, text, backward=False):
    (found,) = [
        line
        for line in cost.lines
        if line.place and text in line.place.source and line.place.backward == backward
    ]
    return found


def test_a_training_step_line_by_line(dev):
    step = mt.compile(Step(dev).__call__)
    x, y = mt.randn(32, 64, device=dev), mt.zeros(32, dtype=mt.int64, device=dev)
    for _ in range(2):
        step(x, y)
    cost = step.cost()
    assert cost["flops"] == cost.flops and cost["bytes accessed"] == cost.bytes
    assert sum(line.flops for line in cost.lines) == pytest.approx(cost.flops, rel=FLOPS)
    assert sum(line.bytes for line in cost.lines) == pytest.approx(cost.bytes, rel=BYTES)
    assert sum(line.share for line in cost.lines) == pytest.approx(1)
    forward, backward = line_with(cost, "model(x)"), line_with(cost, "model(x)", backward=True)
    products = 2 * 32 * (64 * 128 + 128 * 8)
    assert products < forward.flops < 1.05 * products
    # two products each: but none for the gradient of the input
    assert 2 * products - 2 * 32 * 64 * 128 < backward.flops < 2 * products
    assert forward.kernels[0] == "linear"
    parameters = 64 * 128 + 128 + 128 * 8 + 8
    assert line_with(cost, "optimizer.step()").flops >= 2 * parameters
    assert cost.peak_bytes >= cost["argument bytes"] > 4 * parameters


def test_the_report(dev):
    f = mt.compile(lambda x: (x @ x).relu().sum())
    f(mt.ones(32, 32, device=dev))
    cost = f.cost()
    assert sorted(cost) == sorted(dict(cost)) and len(cost) == 6
    with pytest.raises(KeyError):
        cost["seconds"]
    report = str(cost)
    assert "kflop, " in report and "peak " in report and "loops" not in report
    assert "test_cost.py:" in report and "(x @ x).relu().sum()" in report and "[mm, " in report


def test_what_a_loop_and_a_library_do_to_the_count(dev):
    lstm = mt.nn.LSTM(8, 8).to(dev)
    f = mt.compile(lambda x: lstm(x)[0].sum())
    f(mt.ones(16, 2, 8, device=dev))
    assert "loops count once" in str(f.cost())
    g = mt.compile(lambda x: mt.linalg.cholesky(x).sum())
    g(mt.eye(8, device=dev))
    assert "have no flops" in str(g.cost())


def test_a_derivative_of_the_users_own_has_its_own_lines(dev):
    class Double(mt.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g @ g.new_ones(32, 32)  # wrong, but costly

    def f(x):
        x = x.detach().requires_grad_()
        (Double.apply(x) * x).sum().backward()
        return x.grad

    compiled = mt.compile(f)
    compiled(mt.ones(32, 32, device=dev))
    cost = compiled.cost()
    assert line_with(cost, "wrong, but costly").flops >= 2 * 32**3
    assert line_with(cost, "Double.apply(x) * x", backward=True).flops
    mt.testing.assert_close(compiled(mt.ones(2, 32, device=dev)), mt.full((2, 32), 34.0).to(dev))


def test_costs_are_those_of_the_last_program(dev):
    f = mt.compile(lambda x: x @ x)
    for n in (8, 16, 8):
        f(mt.ones(n, n, device=dev))
    assert f.cost().flops == 2 * 16**3
