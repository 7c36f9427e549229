"""Connectionist temporal classification: against all alignments listed, and against PyTorch."""

from __future__ import annotations

import itertools
from math import inf

import numpy as np
import pytest

import multitorch as mt

F = mt.nn.functional


def scores(rng: np.random.Generator, *shape: int) -> np.ndarray:
    x = rng.standard_normal(shape)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def collapsed(path: tuple[int, ...], blank: int) -> list[int]:
    """Return the labels that an alignment stands for."""
    return [label for label, _ in itertools.groupby(path) if label != blank]


def by_listing(x: np.ndarray, target: list[int], blank: int) -> float:
    total = -inf
    for path in itertools.product(range(x.shape[1]), repeat=x.shape[0]):
        if collapsed(path, blank) == target:
            total = np.logaddexp(total, sum(x[t, label] for t, label in enumerate(path)))
    return -total


@pytest.mark.parametrize("target", [[], [1], [1, 2], [2, 2], [1, 1, 1]], ids=str)
def test_all_alignments(device, target):
    x = scores(np.random.default_rng(0), 4, 3)
    labels = mt.tensor(target, dtype=mt.int64, device=device)
    found = F.ctc_loss(mt.tensor(x, device=device), labels, (4,), (len(target),), reduction="none")
    expected = by_listing(x, target, 0)
    assert found.tolist() == pytest.approx([expected] if found.ndim else expected)


def problem(rng: np.random.Generator, batch: int = 4) -> tuple:
    x = scores(rng, 7, batch, 4)
    return x, rng.integers(1, 4, (batch, 5)), rng.integers(0, 8, batch), rng.integers(0, 6, batch)


def outcome(lib, device, x, labels, times, sizes, **options):
    x = lib.tensor(x, device=device, requires_grad=True)
    given = (lib.tensor(a, device=device) for a in (labels, times, sizes))
    loss = lib.nn.functional.ctc_loss(x, *given, **options)
    loss.sum().backward()
    return loss.detach().cpu().numpy(), x.grad.cpu().numpy()


@pytest.mark.parametrize(
    "reduction, zero_infinity", [("none", True), ("mean", False), ("sum", True)]
)
@pytest.mark.parametrize("joined", [True, False])
def test_values_and_gradients(oracle, device, joined, reduction, zero_infinity):
    if device != "cpu" and (joined or reduction == "sum"):
        pytest.skip("what differs is computed before the kernel")
    rng = np.random.default_rng(3)
    for _ in range(5 if device == "cpu" else 1):
        x, labels, times, sizes = problem(rng)
        if joined:
            labels = np.concatenate([row[:n] for row, n in zip(labels, sizes, strict=True)])
        options = {"reduction": reduction, "zero_infinity": zero_infinity}
        found = outcome(mt, device, x, labels, times, sizes, **options)
        expected = outcome(oracle, "cpu", x, labels, times, sizes, **options)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_gradient_is_that_of_the_scores():
    """With respect to what log_softmax was taken of: differences say so."""
    rng = np.random.default_rng(1)
    raw = rng.standard_normal((5, 1, 3))

    def loss(a):
        logp = mt.tensor(a).log_softmax(2)
        return F.ctc_loss(logp, mt.tensor([[1, 2]]), (5,), (2,), reduction="sum")

    x = mt.tensor(raw, requires_grad=True)
    labels = mt.tensor([[1, 2]])
    F.ctc_loss(x.log_softmax(2), labels, (5,), (2,), reduction="sum").backward()
    for at in ((0, 0, 1), (3, 0, 2), (4, 0, 0)):
        step = np.zeros_like(raw)
        step[at] = 1e-5
        slope = (loss(raw + step) - loss(raw - step)).item() / 2e-5
        assert x.grad[at].item() == pytest.approx(slope, rel=1e-5)


def test_second_derivative_is_refused():
    x = mt.zeros(3, 1, 2, requires_grad=True)
    loss = F.ctc_loss(x, mt.tensor([[1]]), (3,), (1,))
    (grad,) = mt.autograd.grad(loss, x, create_graph=True)
    with pytest.raises(RuntimeError, match="not implemented"):
        grad.sum().backward()


def test_bad_arguments():
    x, labels = mt.zeros(3, 2, 4), mt.ones(2, 2, dtype=mt.int64)
    for text, given, options in (
        ("input_lengths must be of size", (labels, (3,), (1, 1)), {}),
        ("at most 3", (labels, (4, 3), (1, 1)), {}),
        ("at most 2", (labels, (3, 3), (1, 3)), {}),
        ("blank must be", (labels, (3, 3), (1, 1)), {"blank": 4}),
        ("must be integral", (labels, mt.ones(2), (1, 1)), {}),
    ):
        with pytest.raises(RuntimeError, match=text):
            F.ctc_loss(x, *given, **options)
    with pytest.raises(ValueError, match="not a valid value for reduction"):
        F.ctc_loss(x, labels, (3, 3), (1, 1), reduction="most")


def test_meta_and_compile():
    x, labels, *_ = problem(np.random.default_rng(3), 2)
    given = [mt.tensor(a) for a in (x, labels, [7, 6], [3, 2])]
    assert F.ctc_loss(*(t.to("meta") for t in given), reduction="none").shape == (2,)
    pytest.importorskip("jax", reason="compile needs JAX")

    def step(a):
        a = a.detach().requires_grad_()
        y = F.ctc_loss(a, *given[1:])
        y.backward()
        return y.detach(), a.grad

    for found, expected in zip(mt.compile(step)(given[0]), step(given[0]), strict=True):
        mt.testing.assert_close(found, expected)
