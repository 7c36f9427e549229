"""Operands large enough for the ways that kernels take in blocks, lines and turns."""

import math

import numpy as np
import pytest

import multitorch as mt

F = mt.nn.functional


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def close(t, expected, tolerance=1e-9):
    np.testing.assert_allclose(t.detach().cpu().numpy(), expected, tolerance, tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gelu_and_erf(dtype, device):
    x = numbers(300, 301).astype(dtype)
    t = mt.tensor(x, device=device, requires_grad=True)
    erf = np.vectorize(math.erf)(x / math.sqrt(2))
    tolerance = 1e-6 if dtype == "float32" else 1e-12
    close(mt.erf(t / math.sqrt(2)), erf, tolerance)
    y = F.gelu(t)
    y.sum().backward()
    close(y, x * (1 + erf) / 2, tolerance)
    close(t.grad, (1 + erf) / 2 + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi), tolerance)


def test_bounds(device):
    x = numbers(100, 100)
    x[0, :3] = np.nan, np.inf, -np.inf
    t = mt.tensor(x, device=device)
    for low, high in ((-0.5, 0.5), (None, 0.5), (-0.5, None), (0.5, -0.5)):
        bounded = x if low is None else np.maximum(x, low)
        bounded = bounded if high is None else np.minimum(bounded, high)
        close(t.clamp(low, high), bounded)
    close(t.relu(), np.maximum(x, 0))


def test_transposed_copy(device):
    x = numbers(3, 300, 101)
    t = mt.tensor(x, device=device)
    close(t.transpose(1, 2).contiguous(), x.transpose(0, 2, 1))
    close(t.permute(2, 1, 0).contiguous(), x.transpose(2, 1, 0))


@pytest.mark.parametrize("rows, count", [(1000, 500), (10, 1000), (4, 2000)])
def test_index_add(device, rows, count):
    x, source = numbers(rows, 40), numbers(count, 40, seed=1)
    index = np.random.default_rng(2).integers(0, rows, count)
    expected = x.copy()
    np.add.at(expected, index, source)
    operands = [mt.tensor(a, device=device) for a in (index, source)]
    close(mt.tensor(x, device=device).index_add(0, *operands), expected)
    close(mt.tensor(x, device=device).index_put((operands[0],), operands[1], True), expected)


def test_running_sums_of_rows(device):
    x = numbers(3, 20, 70)
    t = mt.tensor(x, device=device)
    close(t.cumsum(1), x.cumsum(1))
    close(t.transpose(0, 1).cumprod(0), x.transpose(1, 0, 2).cumprod(0))


def test_order_statistics(device):
    x = numbers(7, 101)
    x[3, 5] = np.nan
    t = mt.tensor(x, device=device)
    values, places = t.median(1)
    close(values, np.median(x, 1))
    assert places[3].item() == 5
    close(t.nanmedian(1).values, np.where(np.isnan(x).any(1), np.sort(x, 1)[:, 49], values.cpu()))
    close(t[:3].kthvalue(10, 1).values, np.sort(x[:3])[:, 9])


def test_depthwise_convolution(device):
    x, w, b = numbers(4, 3, 30, 31), numbers(3, 1, 3, 3, seed=1), numbers(3, seed=2)
    operands = [mt.tensor(a, device=device, requires_grad=True) for a in (x, w, b)]
    together = F.conv2d(*operands, padding=1, groups=3)
    apart = [
        F.conv2d(
            operands[0][:, c : c + 1], operands[1][c : c + 1], operands[2][c : c + 1], padding=1
        )
        for c in range(3)
    ]
    weights = mt.tensor(numbers(*together.shape, seed=3), device=device)
    found = mt.autograd.grad((together * weights).sum(), operands)
    expected = mt.autograd.grad((mt.cat(apart, 1) * weights).sum(), operands)
    close(together, mt.cat(apart, 1).detach().cpu().numpy())
    for a, e in zip(found, expected, strict=True):
        close(a, e.cpu().numpy())


@pytest.mark.parametrize("p", [0.0, 1.0, 1.5, 2.0, math.inf])
def test_distances(device, p):
    x, y = numbers(2, 30, 3), numbers(40, 3, seed=1)
    apart = np.linalg.norm(x[:, :, None] - y, ord=p, axis=-1)
    operands = [mt.tensor(a, device=device) for a in (x, y)]
    close(mt.cdist(*operands, p, "donot_use_mm_for_euclid_dist"), apart)


def test_least_squares_of_low_rank(device):
    x, y = numbers(2, 6, 4), numbers(2, 6, 3, seed=1)
    x[..., 3] = x[..., 2]
    found = mt.linalg.lstsq(*(mt.tensor(a, device=device) for a in (x, y)))
    assert found.rank.tolist() == [3, 3]
    close(found.solution, np.linalg.pinv(x) @ y)
