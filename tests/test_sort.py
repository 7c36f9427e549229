"""Sorting, searching and counting against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import multitorch as torch
from tests.against_torch import compare
from tests.answers import check

pytestmark = pytest.mark.oracle
RNG = np.random.default_rng(5)
A34, A234, A6, A0 = (RNG.standard_normal(s) for s in ((3, 4), (2, 3, 4), (6,), ()))
WIDE = RNG.standard_normal((3, 300))

CASES = [
    ("x.sort()", A34), ("x.sort(0)", A34), ("x.sort(descending=True)", A234), ("x.sort()", A0),
    ("x.sort(dim=1, stable=True)", A234), ("x.msort()", A34), ("x.topk(2)", A34), ("x.topk(2, 0)", A34),
    ("x.topk(3, largest=False)", A6), ("x.topk(2, 1)", A234), ("x.topk(0)", A6), ("x.topk(1)", A0),
    ("x.topk(5)", WIDE), ("x.topk(3, largest=False)", WIDE), ("x.kthvalue(2)", A34),
    ("x.kthvalue(1, 0, True)", A34), ("x.kthvalue(1)", A0), ("x.sort(-1)", WIDE),
    ("x.sort(0, True)", WIDE),
]  # fmt: skip
EDGES = """
torch.sort(t([3., nan, 1.]))
torch.sort(t([3., nan, 1.]), descending=True)
torch.sort(t([2, 1, 2, 1]), stable=True, descending=True)
torch.sort(t([2., 1., 2., 1.] * 9), stable=True)
torch.sort(t([True, False, True]))
torch.sort(t([1.5, nan, -1.], dtype=torch.bfloat16))
torch.sort(t([1 + 1j]))
torch.sort(t([1.]), 3)
t([[3., 1., 2.]]).argsort()
t([[3., 1., 2.]]).argsort(1, True)
t([[1], [3], [2]]).argsort(dim=0)
torch.topk(t([1., nan, 3.]), 2)
torch.topk(-t([nan, 1., inf, 3.]), 3)
torch.topk(t([nan, inf, 2., -inf]), 4, largest=False)
torch.topk(-t([nan, 1., 3.]), 3, largest=False)
torch.topk(t([1., 2., 3.]), 5)
torch.topk(t([1, 5, 3]), 2)
torch.kthvalue(t([3, 1, 2]), 4)
torch.unique(t([3, 1, 3]), return_inverse=True, return_counts=True)
torch.unique(t([[3, 1], [1, 2]]), return_inverse=True)
torch.unique(t([[3, 1], [3, 1], [0, 2]]), dim=0, return_inverse=True, return_counts=True)
torch.unique(t([[1, 2, 1], [0, 5, 0]]), dim=1)
torch.unique(t([nan, nan, 1.]))
torch.unique(t([[True, False]]))
torch.unique(t([]))
torch.unique_consecutive(t([1, 1, 2, 2, 1]), return_inverse=True, return_counts=True)
torch.unique_consecutive(t([[1, 1, 2], [1, 1, 2]]), dim=0)
torch.unique_consecutive(t([[1, 1], [2, 2]]), return_inverse=True)
torch.unique_consecutive(t([]))
torch.searchsorted(t([1, 3, 5]), t([3, 4]))
torch.searchsorted(t([1, 3, 5]), 3, right=True)
torch.searchsorted(t([1, 3, 5]), 3, side='left')
torch.searchsorted(t([1, 3, 5]), 3, side='left', right=True)
torch.searchsorted(t([[1, 3], [2, 4]]), t([[3], [3]]))
torch.searchsorted(t([[1, 3], [2, 4]]), t([3]))
torch.searchsorted(t([5, 1, 3]), t([2, 9]), sorter=t([1, 2, 0]), out_int32=True)
torch.bucketize(t([[1., 2.], [9., nan]]), t([1., 2.]))
torch.bucketize(t([1., 2., 9.]), t([1., 2.]), right=True)
torch.bucketize(3, t([1, 2]))
torch.bucketize(t([1.]), t([[1.]]))
torch.isin(t([1, 2, 3]), t([2]))
torch.isin(t([[1, 2, 3]]), 2)
torch.isin(t([1, 2, 3]), t([2.]), invert=True)
torch.bincount(t([0, 2, 2]))
torch.bincount(t([0, 2, 2]), minlength=5)
torch.bincount(t([0, 2, 2]), weights=t([1., 2., 3.]))
torch.bincount(t([0, 2]), weights=t([1, 2]))
torch.bincount(t([], dtype=torch.int64))
torch.bincount(t([-1]))
torch.bincount(t([1.]))
torch.bincount(t([1, 2]), weights=t([1.]))
torch.histc(t([1., 2., 1., nan]), bins=4, min=0, max=3)
torch.histc(t([1., 2., 1.]), bins=4)
torch.histc(t([1., 1.]), bins=2)
torch.histc(t([1., 3., 0.]), bins=3, min=0, max=3)
torch.histc(t([1.]), bins=0)
tuple(torch.sort(t([2., 1.]), out=(t([0., 0.]), t([0, 0]))))
""".strip().splitlines()


@pytest.mark.parametrize("code, x", CASES)
def test_values_and_derivatives(oracle, device, code, x):
    compare(
        oracle, device, lambda lib, x: eval(code, {"x": x}), x, order=2 if device == "cpu" else 1
    )


@pytest.mark.parametrize("code", EDGES)
def test_edges(oracle, device, code):
    check(oracle, device, code)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int64", "uint8", "bool"])
def test_indices_lead_to_the_values(device, dtype, descending):
    x = torch.tensor(RNG.integers(0, 50, (5, 200)), device=device).to(getattr(torch, dtype))
    values, indices = x.sort(1, descending)
    assert torch.equal(x.gather(1, indices), values)
    steps = values[:, 1:] >= values[:, :-1] if not descending else values[:, 1:] <= values[:, :-1]
    assert steps.all().item()
    assert torch.equal(x.sort(1, descending, stable=True).values, values)


def test_results_are_named(device):
    x = torch.tensor([2.0, 1.0], device=device)
    assert x.sort().indices.tolist() == [1, 0]
    assert x.topk(1).values.tolist() == [2.0]
    assert repr(x.kthvalue(1)).startswith("torch.return_types.kthvalue(")
