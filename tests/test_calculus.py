"""Differences, integrals, covariance and histograms against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

from tests.against_torch import compare
from tests.answers import check

pytestmark = pytest.mark.oracle
RNG = np.random.default_rng(6)
A6, A34, A234 = (RNG.standard_normal(s) for s in ((6,), (3, 4), (2, 3, 4)))

CASES = [
    ("torch.diff(x)", A6), ("torch.diff(x, 2, 0)", A34), ("torch.diff(x, 9)", A6),
    ("torch.diff(x, prepend=x[:1], append=x[:2])", A6), ("x.diff(0)", A6),
    ("torch.gradient(x)", A6), ("torch.gradient(x, spacing=0.5, dim=1)", A34),
    ("torch.gradient(x, spacing=[2.0, 0.5], edge_order=2)", A34),
    ("torch.gradient(x, spacing=(torch.arange(6.0).double() ** 2,))", A6),
    ("torch.trapezoid(x)", A34), ("torch.trapezoid(x, dx=0.1, dim=0)", A34),
    ("torch.trapezoid(x, torch.arange(4.0).double() ** 2)", A34), ("torch.trapz(x, x * 2)", A34),
    ("torch.cumulative_trapezoid(x, dim=0)", A34), ("torch.cov(x)", A34), ("torch.cov(x)", A6),
    ("torch.cov(x, correction=0)", A34), ("torch.corrcoef(x)", A34), ("torch.corrcoef(x)", A6),
    ("torch.cov(x, fweights=torch.tensor([1, 2, 3, 1]))", A34),
    ("torch.cov(x, aweights=torch.tensor([0.1, 0.2, 0.3, 0.4]).double())", A34),
    ("torch.renorm(x, 2, 0, 1.0)", A34), ("torch.renorm(x, 1, 1, 1.5)", A234),
]  # fmt: skip
EDGES = """
torch.diff(t([True, False, False]))
torch.diff(t([1, 4], dtype=torch.uint8))
torch.diff(t(1.))
torch.diff(t([1.]), n=-1)
torch.gradient(t([1, 4, 9]))
torch.gradient(t([1.]))
torch.gradient(t([1., 2.]), edge_order=3)
torch.cov(torch.zeros(2, 2, 2))
torch.corrcoef(t([1, 2]))
torch.trapezoid(t([1, 2]))
""".strip().splitlines()
HISTOGRAMS = [
    "torch.histogram(t([1., 2., 1.]), 4, range=(0., 3.))",
    "torch.histogram(t([1., 2., 1.]), 3)",
    "torch.histogram(t([1., 2., 1., 9.]), t([0., 1.5, 2.]))",
    "torch.histogram(t([1., 2., 1.]), 4, range=(0., 3.), weight=t([1., 2., 4.]), density=True)",
]


@pytest.mark.parametrize("code, x", CASES)
def test_values_and_derivatives(oracle, device, code, x):
    if device != "cpu" and ("arange" in code or "tensor(" in code):
        pytest.skip("the line makes its other operands on the cpu")
    compare(
        oracle, device, lambda lib, x: eval(code, {"torch": lib, "x": x}), x,
        order=2 if device == "cpu" else 1,
    )  # fmt: skip


@pytest.mark.parametrize("code", EDGES + HISTOGRAMS)
def test_edges(oracle, device, code):
    check(oracle, device, code)
