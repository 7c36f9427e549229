"""Segments, histograms of points, hashes and nonzero places, against known values."""

from __future__ import annotations

import math

import pytest

import multitorch as torch

INF, NAN = math.inf, math.nan
DATA = [1.0, 1.0, 2.0, 5.0, 5.0]
# reduction, initial value: result for segments of 2, 0 and 3 elements, gradient
REDUCED = [
    ("sum", None, [2, 0, 12], [1, 1, 1, 1, 1]),
    ("sum", 7, [9, 7, 19], [1, 1, 1, 1, 1]),
    ("mean", None, [1, NAN, 4], [1 / 2, 1 / 2, 1 / 3, 1 / 3, 1 / 3]),
    ("mean", 7, [4.5, 7, 19 / 3], [1 / 2, 1 / 2, 1 / 3, 1 / 3, 1 / 3]),
    ("max", None, [1, -INF, 5], [0.5, 0.5, 0, 0.5, 0.5]),
    ("max", 7, [7, 7, 7], [0, 0, 0, 0, 0]),
    ("min", 1, [1, 1, 1], [0.5, 0.5, 0, 0, 0]),
    ("prod", 7, [7, 7, 350], [7, 7, 175, 70, 70]),
]


@pytest.mark.parametrize(("reduce", "initial", "value", "gradient"), REDUCED)
@pytest.mark.parametrize("by", [{"lengths": [2, 0, 3]}, {"offsets": [0, 2, 2, 5]}])
def test_segment_reduce(device, by, reduce, initial, value, gradient):
    x = torch.tensor(DATA, device=device, requires_grad=True)
    given = {k: torch.tensor(v, device=device) for k, v in by.items()}
    y = torch.segment_reduce(x, reduce, initial=initial, **given)
    assert y.tolist() == pytest.approx(value, nan_ok=True)
    y.sum().backward()
    assert x.grad.tolist() == pytest.approx(gradient)


def test_segment_reduce_refuses():
    x, two = torch.arange(6.0), torch.tensor([2, 2])
    with pytest.raises(RuntimeError, match="to sum to data.size"):
        torch.segment_reduce(x, "sum", lengths=two)
    assert torch.segment_reduce(x, "sum", lengths=two, unsafe=True).tolist() == [1, 5]
    with pytest.raises(RuntimeError, match="Either lengths or offsets"):
        torch.segment_reduce(x, "sum")
    with pytest.raises(NotImplementedError, match="not implemented for 'Long'"):
        torch.segment_reduce(x.long(), "sum", lengths=torch.tensor([6]))


def test_nonzero_static(device):
    x = torch.tensor([[0, 1], [2, 3]], device=device)
    assert x.nonzero_static(size=2).tolist() == [[0, 1], [1, 0]]
    found = torch.nonzero_static(x, size=4, fill_value=9)
    assert found.tolist() == [[0, 1], [1, 0], [1, 1], [9, 9]]
    assert torch.nonzero_static(torch.zeros(0, 2, device=device), size=1).tolist() == [[-1, -1]]


def test_nonzero_static_has_a_shape_without_data():
    assert torch.ones(3, 2, device="meta").nonzero_static(size=4).shape == (4, 2)
    run = torch.compile(lambda x: torch.nonzero_static(x, size=2), fullgraph=True)
    pytest.importorskip("jax")
    assert run(torch.tensor([0.0, 1.0, 1.0])).tolist() == [[1], [2]]


def test_hash_tensor(device):
    x = torch.tensor([1, 0, 3], device=device)
    assert x.hash_tensor().item() == 2
    assert x.float().hash_tensor().item() == 9221120237041090560
    rows = torch.tensor([[1, 2], [4, 4], [2, 1]], device=device).hash_tensor(dim=1, keepdim=True)
    assert rows.tolist() == [[3], [0], [3]] and rows.dtype is torch.uint64
    with pytest.raises(RuntimeError, match="Expected reduction dim to be specified"):
        torch.zeros(0).hash_tensor()


def test_histogramdd(device):
    points = torch.tensor([[0.0, 0.0], [1.0, 1.0], [1.0, 0.5], [9.0, 0.0]], device=device)
    edges = [torch.tensor(e, device=device) for e in ([0.0, 1.0, 2.0], [0.0, 0.75, 1.0])]
    found = torch.histogramdd(points, edges)
    assert found.hist.tolist() == [[1, 0], [1, 1]]
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0], device=device)
    assert torch.histogramdd(points, edges, weight=weight).hist.tolist() == [[1, 0], [3, 2]]
    dense = torch.histogramdd(points[:3], 2, range=[0.0, 1.0, 0.0, 1.0], density=True)
    assert float((dense.hist * 0.25).sum()) == pytest.approx(1.0)
    with pytest.raises(RuntimeError, match="size of bins must be equal"):
        torch.histogramdd(points, [2])
