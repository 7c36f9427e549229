"""`compare` names the first op that differs between devices, or by compiling."""

from __future__ import annotations

import numpy as np
import pytest

import multitorch as mt
from multitorch.graph.compare import Difference

F = mt.nn.functional


@pytest.fixture
def backend(other_device):
    return mt.device(other_device).backend


def network(x):
    h = (x @ x.T).tanh()
    return F.log_softmax(h, 1)  # the line that a difference is to name


def break_kernel(monkeypatch, backend, name, replacement):
    monkeypatch.setitem(backend.__dict__, name, replacement)


def test_a_training_step_agrees_and_runs_once(other_device):
    def make():
        mt.manual_seed(0)
        model = mt.nn.Sequential(
            mt.nn.Linear(4, 8), mt.nn.LayerNorm(8), mt.nn.GELU(), mt.nn.Dropout(0.5)
        )
        optimizer = mt.optim.Adam(model.parameters(), lr=0.1)

        def step(x):
            loss = model(x).square().mean()
            loss.backward()
            optimizer.step()
            return loss.detach()

        return model, step

    x = mt.linspace(-1, 1, 12).reshape(3, 4)
    model, step = make()
    report = mt.compare(step, (x,), ["cpu", other_device], compiled=False)
    assert report.agrees, report
    twin, step = make()
    step(x)
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        mt.testing.assert_close(p, q, rtol=1e-4, atol=1e-6)
        mt.testing.assert_close(p.grad, q.grad, rtol=1e-4, atol=1e-6)


def test_a_wrong_kernel_is_named(other_device, backend, monkeypatch):
    right = backend.kernel("log_softmax")
    break_kernel(monkeypatch, backend, "log_softmax", lambda x, **k: right(x, **k) * 1.01)
    report = mt.compare(network, mt.randn(3, 3), ["cpu", other_device], compiled=False)
    found = report.first
    assert isinstance(found, Difference) and not report.agrees
    assert found.op == "log_softmax" and found.found == pytest.approx(1.01 * found.expected)
    assert found.place is not None and found.place[0] == __file__
    assert "the line that a difference is to name" in str(report)
    assert f"{other_device}, eager: log_softmax" in str(report)


def test_a_kernel_that_raises_is_a_difference(other_device, backend, monkeypatch):
    def broken(*args, **params):
        raise NotImplementedError("not on this hardware")

    break_kernel(monkeypatch, backend, "tanh", broken)
    report = mt.compare(network, mt.randn(3, 3), ["cpu", other_device], compiled=False)
    assert report.first is not None and report.first.op == "tanh"
    assert "NotImplementedError" in report.first.reason


def test_only_the_first_of_several_is_named(other_device, backend, monkeypatch):
    for name in ("tanh", "log_softmax"):
        right = backend.kernel(name)
        break_kernel(
            monkeypatch, backend, name, lambda x, right=right, **k: right(x, **k) + x.shape[0]
        )
    report = mt.compare(network, mt.randn(3, 3), ["cpu", other_device], compiled=False)
    assert report.first is not None and report.first.op == "tanh"


@pytest.mark.parametrize("name", ["float32", "float64", "bfloat16", "float16", "complex64"])
def test_rounding_is_no_difference(name, other_device):
    def f(x):
        return (x @ x.T).tanh().sum(0) * x.abs().max()

    x = mt.randn(40, 40).to(getattr(mt, name))
    if x.is_complex() or name == "float64":
        x = x / 40
    report = mt.compare(f, x, ["cpu", other_device], compiled=False)
    assert report.agrees, report


def test_nan_infinity_and_integers(other_device):
    def f(x, i):
        return (x / x).log(), (1 / x), x.argsort(), i * 3

    args = mt.tensor([0.0, 1.0, -2.0]), mt.tensor([1, 2])
    report = mt.compare(f, args, ["cpu", other_device], compiled=False)
    assert report.agrees, report


def test_draws_are_the_same(other_device):
    report = mt.compare(
        lambda x: F.dropout(x) + mt.rand_like(x), mt.ones(50), ["cpu", other_device], False
    )
    assert report.agrees, report
    assert not mt.random.use_cpu_stream.enabled


def test_tensors_may_lie_on_any_device(other_device):
    x = mt.ones(3, device=other_device)
    report = mt.compare(lambda x: x.exp().sum(), x, ["cpu", other_device], compiled=False)
    assert report.agrees and report.calls == 2


def test_compiled_programs_are_compared():
    jax = pytest.importorskip("jax")
    del jax
    report = mt.compare(network, mt.randn(3, 3), ["cpu", "jax"])
    assert report.agrees, report
    assert list(report.differences) == ["jax, eager", "cpu, compiled", "jax, compiled"]


def test_halving_finds_the_call_that_compiling_changes(monkeypatch):
    pytest.importorskip("jax")
    trace = mt.device("jax").backend.trace
    right = trace.tanh
    monkeypatch.setattr(trace, "tanh", lambda x: right(x) + 1e-2)
    x = mt.from_numpy(np.eye(4, dtype=np.float32))
    report = mt.compare(lambda x: (x * 2 + 1).tanh().exp().sum(), x, ["cpu"])
    assert report.first is not None and report.first.op == "tanh" and report.first.call == 2
    assert report.first.expected + 1e-2 == pytest.approx(report.first.found, abs=1e-4)


def test_gradients_may_be_summed_by_the_kernel_or_later(other_device, backend, monkeypatch):
    right = backend.kernel("normalize_backward")
    break_kernel(
        monkeypatch, backend, "normalize_backward",
        lambda *a, **k: (lambda dx, dw, db: (dx, dw * 2, db))(*right(*a, **k)),
    )  # fmt: skip
    norm = mt.nn.LayerNorm(8)

    def f(x):
        loss = (norm(x) * x).sum()
        loss.backward()
        return norm.weight.grad

    x = mt.randn(5, 8)
    found = mt.compare(f, x, ["cpu", other_device], compiled=False).first
    assert found is not None and found.op == "normalize_backward"
    monkeypatch.undo()
    assert mt.compare(f, x, ["cpu", other_device], compiled=False).agrees
