"""Reductions and scans against PyTorch: values, dtypes, two derivatives, node names, edge cases."""

from __future__ import annotations

import numpy as np
import pytest

import multitorch as torch
from tests.against_torch import compare
from tests.answers import check

pytestmark = pytest.mark.oracle
RNG = np.random.default_rng(4)


def real(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


A34, A234, A0, A6, A00 = real(3, 4), real(2, 3, 4), real(), real(6), real(0, 3)
ZEROS = np.array([[1.5, 0, 2, 0], [1, 2, 3, 4], [0, 2, 1, 3]])
TIES = np.array([[1.0, 3, 3], [2, 2, 2]])
COMPLEX = real(2, 3) + 1j * real(2, 3)

CASES = [
    ("x.sum()", A34), ("x.sum(0)", A34), ("x.sum(-1, True)", A234), ("x.sum((0, 2))", A234),
    ("x.sum(dim=[1], keepdim=True)", A34), ("x.sum()", A0), ("x.sum(0)", A0), ("x.sum()", A00),
    ("x.sum(0)", A00), ("x.sum(())", A34), ("x.sum()", COMPLEX), ("x.t().sum(1)", A34),
    ("x.sum(axis=1, keepdims=True)", A34), ("x.sum_to_size(3, 1)", A34), ("x.sum_to_size(4)", A234),
    ("x.mean()", A34), ("x.mean(0)", A34), ("x.mean((0, 1), keepdim=True)", A234), ("x.mean()", A0),
    ("x.mean(1)", COMPLEX), ("x.prod()", A34), ("x.prod()", ZEROS), ("x.prod(1)", ZEROS),
    ("x.prod(-1, keepdim=True)", A234), ("x.prod()", A0), ("x.prod(0)", A00), ("x.prod()", COMPLEX),
    ("x.amax()", A34), ("x.amax(1)", TIES), ("x.amin((0, 1))", TIES), ("x.amin(-1, True)", A234),
    ("x.max()", TIES), ("x.min()", TIES), ("x.max(1)", A34), ("x.min(0, True)", A34),
    ("x.max(0)", A0), ("x.aminmax()", A34), ("x.aminmax(dim=1, keepdim=True)", A34),
    ("x.var()", A34), ("x.var(1)", A34), ("x.var((0, 2), keepdim=True)", A234),
    ("x.var(0, unbiased=False)", A34), ("x.var(1, correction=2)", A34), ("x.var()", COMPLEX),
    ("x.std()", A34), ("x.std(0)", A34), ("x.std(1, correction=0)", A34),
    ("torch.var_mean(x, 1)", A34), ("torch.std_mean(x)", A34), ("x.logsumexp(1)", A34),
    ("x.logsumexp((0, 1), True)", A34), ("x.logsumexp(0)", A0), ("x.norm()", A34),
    ("x.norm(dim=1)", A34), ("x.norm(1)", A34), ("x.norm(3, 0)", A34), ("x.norm(0.5, 1, True)", A34),
    ("x.norm(float('inf'))", A34), ("x.norm(-float('inf'), 1)", A34), ("x.norm()", COMPLEX),
    ("torch.dist(x, x * 2)", A34), ("x.nansum(0)", A34), ("x.nanmean(1)", A34),
    ("x.median()", A34), ("x.median(1)", A34), ("x.nanmedian(0, True)", A34), ("x.mode(1)", A34),
    ("x.quantile(0.3)", A6), ("x.quantile(0.6, dim=1, keepdim=True)", A34),
    ("x.nanquantile(0.25, 0)", A34), ("x.quantile(0.3, interpolation='midpoint')", A6),
    ("x.cumsum(0)", A34), ("x.cumsum(-1)", A234), ("x.cumsum(0)", A0), ("x.cumprod(1)", A34),
    ("x.cumprod(1)", ZEROS), ("x.cumprod(0)", A0), ("x.cumprod(1)", COMPLEX), ("x.cummax(1)", A34),
    ("x.cummin(0)", A34), ("x.logcumsumexp(1)", A34), ("x.logcumsumexp(0)", A0),
]  # fmt: skip
EDGES = """
torch.sum(t([True, True]))
torch.sum(t([1, 2], dtype=torch.uint8))
torch.sum(t([1, 2]), dtype=torch.float32)
torch.sum(t([0.1] * 10, dtype=torch.bfloat16))
torch.sum(t([[1., 2.]]), dim=5)
torch.sum(t([[1., 2.]]), dim=(0, 0))
torch.sum(t(3.), dim=1)
torch.mean(t([1, 2]))
torch.mean(t([]))
torch.mean(t([1, 2]), dtype=torch.float64)
torch.mean(t([1., 2.], dtype=torch.float16))
torch.max(t([]))
torch.max(t([1., nan]))
torch.max(t([[1., nan], [3., 2.]]), 1)
torch.max(t([[1, 1], [3, 2]]), 1, keepdim=True)
torch.max(t([[1, 1], [3, 2]]), -3)
torch.max(torch.zeros(0, 3), 0)
torch.max(torch.zeros(0, 3), 1)
torch.amax(torch.zeros(0, 3))
torch.amax(torch.zeros(0, 3), 0)
torch.max(t([1 + 2j]))
torch.max(t([True, False]))
torch.min(t([3, 1]), t([2, 2]))
torch.argmax(t([]))
torch.argmax(t([1, 3, 3]))
torch.argmax(t([1., nan, 3]))
torch.argmax(t([[1, 3, 3]]), keepdim=True)
torch.argmin(t([[1, 1, 3]]), 1)
torch.argmax(torch.zeros(0, 3), 0)
torch.all(t([1, 0], dtype=torch.uint8))
torch.all(t([[True, False]]), dim=0)
torch.any(t([]))
torch.all(t([]))
torch.all(t([[1, 0], [1, 1]]), dim=(0, 1))
torch.any(t([[1., 0], [1, 1]]), dim=(0,), keepdim=True)
torch.var(t([1, 2]))
torch.var(t([1., 2., 4.]), False)
torch.std(t([[1., 2., 4.]]), dim=(0, 1), keepdim=True)
torch.var(t([1., 2., 4.], dtype=torch.float16))
torch.prod(t([1, 2, 3]))
torch.prod(t([]))
torch.prod(t([2., 3.]), dtype=torch.int64)
torch.cumsum(t([True, True]), 0)
torch.cumsum(t([1, 2], dtype=torch.int8), 0)
torch.cumprod(t([1, 2, 3]), 0, dtype=torch.float64)
torch.cummax(t([1., nan, 3., nan]), 0)
torch.cummax(t([1, 1, 0, 1]), 0)
torch.cummin(t([3, 1, 1, 5]), 0)
torch.logcumsumexp(t([-inf, 1., 2.]), 0)
torch.logsumexp(t([-inf, -inf]), 0)
torch.logsumexp(t([inf, 1.]), 0)
torch.logsumexp(t([1, 2]), 0)
torch.median(t([4., 1., 3., 2.]))
torch.median(t([4., nan, 3., 2.]))
torch.median(t([[4., nan, 3.], [1., 2., 3.]]), 1)
torch.nanmedian(t([4., nan, 3., 2.]))
torch.nanmedian(t([nan]))
torch.median(t([]))
torch.median(t([3, 1, 2]))
torch.mode(t([1, 2, 2, 3, 3])).values
torch.quantile(t([[1., 2., 4.], [nan, 1., 2.]]), t([0.1, 0.5]), dim=1)
torch.nanquantile(t([[1., 2., 4.], [nan, 1., 2.]]), t([0.1, 0.5]), dim=1, keepdim=True)
torch.quantile(t([1., 2.]), 1.5)
torch.quantile(t([1., 2., 4.]), t([0.2, 0.9]), interpolation='nearest')
torch.norm(t([3, 4]))
torch.norm(t([[3., -4.]]), p=inf)
torch.norm(t([3., 4.], dtype=torch.bfloat16))
torch.allclose(t([1.]), t([1. + 1e-7]))
torch.allclose(t([1.]), t([1.], dtype=torch.float64))
torch.equal(t([1, 2]), t([1, 2]))
torch.equal(t([1, 2]), t([1, 2, 3]))
torch.count_nonzero(t([[1, 0], [1, 1]]), dim=0)
torch.nansum(t([1., nan]))
torch.nanmean(t([1., nan]))
torch.ones(2, 3).sum_to_size(2, 2)
torch.sum(t([1., 2.]), 0, out=t(0.))
tuple(torch.max(t([1., 2.]), 0, out=(t(0.), t(0))))
torch.aminmax(t([1., nan, 2.]))
""".strip().splitlines()
NODES = [
    "x.sum()", "x.sum(0)", "x.mean()", "x.mean(0)", "x.prod()", "x.prod(0)", "x.amax()", "x.max()",
    "x.max(0)[0]", "x.min()", "x.var()", "x.std(0)", "x.logsumexp(0)", "x.norm()", "x.median()",
    "x.median(0)[0]", "x.cumsum(0)", "x.cumprod(0)", "x.cummax(0)[0]", "x.logcumsumexp(0)",
]  # fmt: skip


def run(code: str):
    """Return the function of (library, x) that a line of code is."""
    return lambda lib, x: eval(code, {"torch": lib, "x": x})


@pytest.mark.parametrize("code, x", CASES)
def test_values_and_derivatives(oracle, device, code, x):
    # PyTorch marks the gradient of the extremes as a constant, and that of empty sums
    once = device != "cpu" or not x.size or "norm(1)" in code or "inf" in code
    compare(oracle, device, run(code), x, order=1 if once else 2, tol=1e-8)


@pytest.mark.parametrize("code", EDGES)
def test_edges(oracle, device, code):
    check(oracle, device, code, tol=1e-2 if "float16" in code else 1e-6)


@pytest.mark.parametrize("code", NODES)
def test_node_names(oracle, device, code):
    found = []
    for lib, dev in ((torch, device), (oracle, "cpu")):
        x = lib.tensor([0.5, 1.5], device=dev, requires_grad=True)
        found.append(run(code)(lib, x).grad_fn.name())
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ["sum", "mean", "var", "norm"])
@pytest.mark.parametrize("shape", [(100_000,), (20_000, 3), (3, 20_000), (7, 50, 30)])
def test_float32_sums_keep_their_digits(device, name, shape):
    x = RNG.uniform(0, 1, shape).astype(np.float32)
    t = torch.tensor(x, device=device)
    for kwargs in ({}, {"dim": 0}, {"dim": -1}):
        exact = getattr(torch.tensor(x).double(), name)(**kwargs)
        np.testing.assert_allclose(
            getattr(t, name)(**kwargs).tolist(), exact.tolist(), rtol=3e-6, atol=1e-12
        )


def test_sums_of_views(device):
    x = torch.tensor(A234, device=device)
    for view in (x.transpose(0, 2), x[:, ::2], x[1].t(), x[:, 1:1], x.expand(2, 2, 3, 4)):
        host = np.array(view.tolist()).reshape(tuple(view.shape))
        for dim in range(view.ndim):
            np.testing.assert_allclose(view.sum(dim).cpu().numpy(), host.sum(dim))
            if view.shape[dim]:
                np.testing.assert_allclose(view.mean(dim).cpu().numpy(), host.mean(dim))
        np.testing.assert_allclose(view.sum().item(), host.sum())


def test_named_results(device):
    x = torch.tensor([[1.0, 4.0], [3.0, 2.0]], device=device)
    values, indices = found = x.max(dim=1)
    assert found.values is values and found.indices is indices
    assert repr(found).startswith("torch.return_types.max(\nvalues=")
    low, high = x.aminmax()
    assert (low.item(), high.item()) == (1, 4)


def test_few_degrees_of_freedom_warn(device):
    with np.errstate(all="ignore"), pytest.warns(UserWarning, match="degrees of freedom is <= 0"):
        assert torch.tensor([1.0], device=device).var().isnan().item()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("code", ["x.sum()", "x.mean(0)", "x.var()", "x.norm(3)", "x.logsumexp(0)",
                                  "x.prod()", "x.cumsum(0)", "x.amax()", "x.std(0)"])  # fmt: skip
def test_half_precision(oracle, device, code, dtype):
    found = []
    for lib, dev in ((torch, device), (oracle, "cpu")):
        x = lib.tensor([0.5, 1.5, -0.25], dtype=getattr(lib, dtype), device=dev).requires_grad_()
        out = run(code)(lib, x)
        out.sum().backward()
        found.append((out, x.grad))
    for ours, theirs in zip(*found, strict=True):
        assert str(ours.dtype) == str(theirs.dtype)
        np.testing.assert_allclose(
            ours.float().tolist(), theirs.float().tolist(), rtol=2e-2, atol=1e-2
        )
