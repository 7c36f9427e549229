"""Control flow as calls of a compiled program: values, derivatives, and what a body may not do."""

from __future__ import annotations

import warnings

import pytest

import multitorch as mt
from multitorch.random.generator import use_cpu_stream

pytest.importorskip("jax", reason="compile needs JAX")

from multitorch_jax import topology  # noqa: E402


@pytest.fixture
def dev(device):
    if device == "mini":
        pytest.skip("the minimal backend compiles nothing")
    return device


def names(compiled):
    return [call.name for call in compiled.graph.calls]


def agree(f, *args, times=1):
    """Compile a function whole; compare what it returns with the eager run; return it compiled."""
    compiled = mt.compile(f, fullgraph=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(times):
            mt.testing.assert_close(compiled(*args), f(*args))
    return compiled


def slopes(y, w):
    """Return a value with its first and second derivative."""
    (g,) = mt.autograd.grad(y, w, create_graph=True)
    (h,) = mt.autograd.grad((g * g).sum(), w)
    return y.detach(), g.detach(), h


# --- values and derivatives -----------------------------------------------------------------------


def test_cond(dev):
    w = mt.tensor([1.0, 2.0], device=dev, requires_grad=True)

    def f(x, k):
        y = mt.cond(x.sum() > 0, lambda x: (x * w**3 * k).sum(), lambda x: (x * w * w).sum(), (x,))
        return slopes(y, w)

    x = mt.tensor([1.0, 3.0], device=dev)
    compiled = agree(f, x, 2.0)
    for value, k in ((-x, 2.0), (x * 2, 3.0), (-x * 3, 0.5)):
        mt.testing.assert_close(compiled(value, k), f(value, k))
    assert compiled.compiles == 1
    assert names(compiled).count("cond") == 3


def test_scan(dev):
    w = mt.tensor([[0.1, 0.2], [0.3, -0.4]], device=dev, requires_grad=True)

    def f(xs, h):
        def step(h, x):
            h = mt.tanh(h @ w + x)
            return h, {"y": h * h, "x": x}

        h, rows = mt.scan(step, h, xs, dim=1, reverse=True)
        loss = rows["y"].sum() + h.sum()
        (gw, gx) = mt.autograd.grad(loss, [w, xs], create_graph=True)
        hw, hx = mt.autograd.grad((gw * gw).sum() + (gx**3).sum(), [w, xs])
        return loss.detach(), rows["x"].detach(), gw.detach(), gx.detach(), hw, hx

    xs = mt.linspace(-1, 1, 24, device=dev).reshape(3, 4, 2).requires_grad_()
    compiled = agree(f, xs, mt.zeros(3, 2, device=dev))
    assert compiled.compiles == 1 and names(compiled).count("scan") == 4


def test_what_requires_grad_is_what_a_loop_makes_so(dev):
    w = mt.ones(3, device=dev, requires_grad=True)

    def f(xs):
        def step(carry, x):
            n, a, mean = carry
            return (n + 1, a * w + x, mean + a.detach()), (x * 2, a * n)

        init = mt.zeros((), dtype=mt.int64, device=dev), mt.ones(3, device=dev), xs[0]
        (n, a, mean), (twice, rows) = mt.scan(step, init, xs)
        assert [t.requires_grad for t in (n, a, mean, twice, rows)] == [0, 1, 0, 0, 1]
        return n, *slopes((a * mean).sum() + rows.sum(), w)

    agree(f, mt.linspace(0, 1, 9, device=dev).reshape(3, 3))


def test_a_cond_in_a_scan_in_a_scan(dev):
    w = mt.tensor(0.7, device=dev, dtype=mt.float64, requires_grad=True)

    def f(xs):
        def outer(c, row):
            def inner(d, x):
                d = mt.cond(x > 2.5, lambda: d * w, lambda: d + w * x * c)
                return d, d.sin()

            d, ds = mt.scan(inner, c, row)
            return mt.sin(d), ds.sum()

        y, ys = mt.scan(outer, w * 1.0, xs)
        return slopes(y + ys.sum(), w)

    compiled = agree(f, mt.arange(6, dtype=mt.float64, device=dev).reshape(2, 3))
    xs = mt.tensor([[3.0, 0.0, 4.0], [1.0, 2.0, 3.0]], dtype=mt.float64, device=dev)
    mt.testing.assert_close(compiled(xs), f(xs))
    assert compiled.compiles == 1


def test_while_loop(dev):
    def f(x, limit):
        n = mt.zeros((), dtype=mt.int64, device=dev)
        return mt.while_loop(lambda x, n: x.sum() < limit, lambda x, n: (x * 2.0, n + 1), (x, n))

    x, limits = mt.ones(3, device=dev), [mt.tensor(v, device=dev) for v in (100.0, 5.0, 1.0)]
    compiled = agree(f, x, limits[0])
    for limit in limits:
        mt.testing.assert_close(compiled(x, limit), f(x, limit))
    assert compiled.compiles == 1


def test_map(dev):
    w = mt.tensor([0.7, 0.3], device=dev, requires_grad=True)

    def f(xs, k):
        return slopes((mt.map(lambda x, k: (x * w * k).sin(), xs, k) ** 2).sum(), w)

    xs = mt.arange(6.0, device=dev).reshape(3, 2)
    compiled = agree(f, xs, 2.0)
    mt.testing.assert_close(compiled(xs, 3.0), f(xs, 3.0))
    assert compiled.compiles == 1


def test_backward_after_the_call(dev):
    """What a compiled forward leaves on the tape: its derivative runs eagerly, or in a program."""
    w = mt.tensor([0.7, 0.3], device=dev, requires_grad=True)

    def scanned(x):
        return sum(t.sum() for t in mt.scan(lambda c, r: (mt.sin(c * w + r), c * 2), w * 1, x))

    def chosen(x):
        return mt.cond(x.sum() > 0, lambda: (w * w * x).sum(), lambda: (w**3 * x * x).sum())

    x = mt.arange(6.0, device=dev).reshape(3, 2) - 4
    for f in (scanned, chosen):
        compiled = mt.compile(f, fullgraph=True)
        mt.testing.assert_close(slopes(compiled(x), w), slopes(f(x), w))
        again = mt.compile(lambda y: mt.autograd.grad(y * 2, w)[0], fullgraph=True)
        mt.testing.assert_close(again(compiled(x)), mt.autograd.grad(f(x) * 2, w)[0])


def test_the_rules_of_a_users_own_function(dev):
    class Odd(mt.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.twice = x.detach() * 2
            ctx.save_for_backward(x, x * 3)
            return x * 2

        @staticmethod
        def backward(ctx, g):
            x, thrice = ctx.saved_tensors
            return g * 10 + thrice + ctx.twice

    w = mt.ones(3, device=dev, requires_grad=True)

    def f(xs):
        c, ys = mt.scan(lambda c, x: (Odd.apply(c * w) + x, c.reshape(3, 1)), w * 1, xs)
        return mt.autograd.grad(c.sum() + ys.sum(), w)[0]

    agree(f, mt.linspace(0, 1, 6, device=dev).reshape(2, 3))


def test_a_derivative_and_writes_inside_a_body(dev):
    w = mt.ones(3, device=dev, requires_grad=True)

    def f(xs):
        def step(c, x):
            with mt.enable_grad():
                z = c.detach().requires_grad_()
                (g,) = mt.autograd.grad((z**3 * x * w).sum(), z, create_graph=True)
            y = (c - 0.01 * g).clone()
            y.add_(x)
            y[0] = y[1] * 2
            return y, y.view(3, 1)

        c, ys = mt.scan(step, w * 1, xs)
        return c.detach(), mt.autograd.grad(c.sum() + ys.sum(), w)[0]

    agree(f, mt.linspace(0, 1, 6, device=dev).reshape(2, 3))


# --- random numbers and skipped recordings --------------------------------------------------------


@pytest.mark.parametrize("on_host", [False, True])
def test_every_step_draws_its_own(dev, on_host):
    if on_host and dev == "cpu":
        pytest.skip("cpu always does")
    w = mt.ones(4, device=dev).requires_grad_()

    def f(xs):
        def step(c, x):
            a = mt.nn.functional.dropout(x * w, 0.5)
            return c + mt.nn.functional.dropout(a + 1, 0.3), a

        c, ys = mt.scan(step, mt.zeros(4, device=dev), xs, reverse=True)
        (g,) = mt.autograd.grad((c**2).sum() + ys.sum(), w)
        return c.detach(), ys.detach(), g, mt.rand(3, device=dev) + 1

    xs = mt.linspace(0, 1, 20, device=dev).reshape(5, 4)
    compiled = mt.compile(f, fullgraph=True)
    with use_cpu_stream(on_host):
        mt.manual_seed(3)
        expected = [f(xs) for _ in range(4)]
        mt.manual_seed(3)
        mt.testing.assert_close([compiled(xs) for _ in range(4)], expected)
    assert compiled.compiles == 1 and compiled.skipped, compiled.why_recorded


def test_what_a_body_reads_is_seen_when_recordings_are_skipped(dev):
    state = {"k": 2.0}
    w = mt.ones(3, device=dev, requires_grad=True)

    def f(xs):
        c, _ = mt.scan(lambda c, x: (c * w + x * state["k"], c), mt.zeros(3, device=dev), xs)
        return c.detach(), mt.autograd.grad(c.sum(), w)[0]

    xs = mt.linspace(0, 1, 6, device=dev).reshape(2, 3)
    compiled = agree(f, xs, times=4)
    assert compiled.skipped
    state["k"] = 3.0
    mt.testing.assert_close(compiled(xs), f(xs))
    with mt.no_grad():
        w.mul_(0.5)
    mt.testing.assert_close(compiled(xs), f(xs))
    assert compiled.compiles == 1


# --- what a body may not do -----------------------------------------------------------------------


def test_a_write_to_a_tensor_from_outside_unrolls(dev):
    total = mt.zeros(2, device=dev)

    def f(xs):
        def step(c, x):
            total.add_(x)
            return c + x, c

        return mt.scan(step, mt.zeros(2, device=dev), xs)

    xs = mt.arange(6.0, device=dev).reshape(3, 2)
    expected = f(xs), total.clone()
    total.zero_()
    compiled = mt.compile(f)
    with pytest.warns(UserWarning, match="scan: its body writes to a tensor from outside.*unrolle"):
        found = compiled(xs)
    mt.testing.assert_close((found, total), expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiled(xs)
    mt.testing.assert_close(total, expected[1] * 2)


def test_a_branch_with_effects_ends_the_program(dev):
    total, x = mt.zeros(2, device=dev), mt.ones(2, device=dev)

    def f(x):
        return mt.cond(x.sum() > 0, lambda: total.add_(1) * x, lambda: x)

    compiled = mt.compile(f)
    with pytest.warns(UserWarning, match="graph break.*cond: its body writes to a tensor"):
        mt.testing.assert_close(compiled(x), x)
    compiled(-x)
    with pytest.raises(RuntimeError, match="writes to a tensor from outside.*fullgraph=True"):
        mt.compile(f, fullgraph=True)(x)
    assert total.tolist() == [1.0, 1.0]


def test_a_branch_that_draws_goes_on_with_the_same_stream(dev):
    def f(x):
        y = mt.cond(x.sum() > 0, lambda: mt.nn.functional.dropout(x), lambda: x)
        return y * mt.rand(2, device=dev)

    x = mt.ones(2, device=dev)
    mt.manual_seed(1)
    expected = [f(sign * x) for sign in (1, -1, 1)]
    mt.manual_seed(1)
    compiled = mt.compile(f)
    with pytest.warns(UserWarning, match="graph break.*draws random numbers"):
        mt.testing.assert_close([compiled(sign * x) for sign in (1, -1, 1)], expected)


def test_a_body_that_reads_a_value(dev):
    def f(xs):
        return mt.map(lambda x: x * 2 if x.sum().item() > 1 else x, xs)

    xs = mt.tensor([[2.0, 1.0], [0.0, 0.5]], device=dev)
    with pytest.warns(UserWarning, match="(unrolled|graph break)"):
        mt.testing.assert_close(mt.compile(f)(xs), f(xs))
    with warnings.catch_warnings(), pytest.raises(RuntimeError, match="needed on the host"):
        warnings.simplefilter("ignore")
        mt.compile(f, fullgraph=True)(xs)


def test_a_while_loop_has_no_derivative_in_a_program(dev):
    w = mt.tensor(1.5, device=dev, requires_grad=True)

    def f():
        return mt.while_loop(lambda y: y < 100, lambda y: (y * w,), (mt.ones((), device=dev),))[0]

    with pytest.warns(UserWarning, match="graph break.*use scan"):
        y = mt.compile(f)()
    mt.testing.assert_close(mt.autograd.grad(y, w), mt.autograd.grad(f(), w))
    with pytest.raises(RuntimeError, match="gradient is wanted.*use scan"):
        mt.compile(f, fullgraph=True)()
    with mt.no_grad():
        agree(f)


def test_errors(dev):
    x, kept = mt.ones(2, device=dev), []

    def keep(c, x):
        kept.append(c * x)
        return c + x, c

    for text, f in {
        r"true_fn returns \(float32\[2\],\), false_fn returns \[float32\[2\]\]": (
            lambda: mt.cond(x.sum() > 0, lambda: (x,), lambda: [x])
        ),
        r"true_fn returns float32\[2\], false_fn returns float64\[2\]": (
            lambda: mt.cond(x.sum() > 0, lambda: x, lambda: x.double())
        ),
        r"scan: what is carried must keep.*float32\[2\], and the body returns float32\[1\]": (
            lambda: mt.scan(lambda c, x: (c[:1], x), x, x)
        ),
        r"while_loop: what is carried must keep.*float64": (
            lambda: mt.while_loop(lambda c: c.sum() < 3, lambda c: (c.double(),), (x,))
        ),
        r"scan: the function must return a pair": lambda: mt.scan(lambda c, x: c, x, x),
        r"scan: its body keeps a tensor that it made.*Remedy: return it": (
            lambda: mt.scan(keep, x, mt.ones(3, 2, device=dev))
        ),
    }.items():
        with pytest.raises(RuntimeError, match=text):
            mt.compile(f)()


# --- reports --------------------------------------------------------------------------------------


def test_reports(dev):
    def f(xs):
        add = mt.add if len(bodies) < 2 else mt.sub
        return mt.scan(lambda c, x: (add(c, x), c.sin()), xs[0], xs)

    bodies = [1]
    xs = mt.ones(3, 2, device=dev)
    compiled = mt.compile(f)
    compiled(xs)
    text = str(compiled.graph)
    assert "body = graph of 2 calls" in text and "test_control_compiled.py" in text
    bodies.append(2)
    compiled(xs)
    assert "another op: sub where add was" in compiled._causes[-1]


def test_loops_compile_for_tpus():
    if reason := topology.unavailable():
        pytest.skip(reason)

    def f(xs):
        c, ys = mt.scan(lambda c, x: (mt.cond(x.sum() > 3, lambda: c @ x, lambda: c), c), xs[0], xs)
        return mt.while_loop(lambda n: n.sum() < 50, lambda n: (n * 2 + 1,), (c,)), ys

    found = mt.tpu.estimate(f, (mt.ones(3, 8, 8),))
    assert found.fits and not found.host_work
    assert {"scan", "while_loop"} <= {kernel for cost in found.costs for kernel in cost.kernels}


def test_backends_agree_on_loops(devices):
    """NumPy runs bodies in a Python loop, XLA in its own."""

    def f(xs):
        w = xs[0] * 0.5
        c, ys = mt.scan(lambda c, x: (mt.cond(x.sum() > 3, lambda: c + w, lambda: c), x), w, xs)
        (n,) = mt.while_loop(lambda n: n.sum() < 50, lambda n: (n * 2 + 1,), (c,))
        return c, ys, n

    if "jax" in devices:
        report = mt.compare(f, (mt.arange(6.0).reshape(3, 2),), ["cpu", "jax"], compiled=False)
        assert report.agrees, report
