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


def normalized(x, dim, weight, bias, eps=1e-5):
    mean = x.mean(dim, keepdim=True)
    var = ((x - mean) ** 2).mean(dim, keepdim=True)
    return (x - mean) / (var + eps).sqrt() * weight + bias


@pytest.mark.parametrize("far", [0.0, 1.0, 40.0])
@pytest.mark.parametrize("kind", ["batch", "group", "layer"])
def test_norms(device, kind, far):
    x, w, b = numbers(8, 12, 16, 17) + far, numbers(12, seed=1), numbers(12, seed=2)
    if kind == "layer":
        w, b = numbers(16, 17, seed=1), numbers(16, 17, seed=2)
    results = []
    for by_formula in (False, True):
        leaves = [mt.tensor(a, device=device, requires_grad=True) for a in (x, w, b)]
        x_, w_, b_ = leaves
        if kind == "layer":
            y = normalized(x_, (2, 3), w_, b_) if by_formula else F.layer_norm(x_, (16, 17), w_, b_)
        elif by_formula:
            groups = x_.view(8, 3, 4, 16, 17) if kind == "group" else x_
            shape = (3, 4, 1, 1) if kind == "group" else (12, 1, 1)
            dim = (2, 3, 4) if kind == "group" else (0, 2, 3)
            y = normalized(groups, dim, w_.view(shape), b_.view(shape)).view(x_.shape)
        elif kind == "group":
            y = F.group_norm(x_, 3, w_, b_)
        else:
            y = F.batch_norm(x_, None, None, w_, b_, training=True)
        (y * mt.tensor(numbers(*x.shape, seed=3), device=device)).sum().backward()
        results.append([y, *[leaf.grad for leaf in leaves]])
    for found, expected in zip(*results, strict=True):
        close(found, expected.detach().cpu().numpy(), 1e-8)


@pytest.mark.parametrize("shape", [(64, 96), (600, 700)])
def test_norms_of_nearly_constant_rows(shape):
    x = (1000 + 0.01 * numbers(*shape)).astype(np.float32)
    wide = x.astype(np.float64)
    expected = (wide - wide.mean(1, keepdims=True)) / np.sqrt(wide.var(1, keepdims=True) + 1e-5)
    close(F.layer_norm(mt.tensor(x), shape[1:]), expected, 1e-5)
    columns = mt.tensor(x.T.copy())
    close(F.batch_norm(columns, None, None, training=True).T, expected, 1e-5)


@pytest.mark.parametrize("shape", [(300, 64), (20, 1000), (2, 3, 5000)])
def test_running_sums(device, shape):
    x = numbers(*shape)
    close(mt.tensor(x, device=device).cumsum(-1), np.cumsum(x, -1))
    x[0, ..., 40] = np.inf
    close(mt.tensor(x, device=device).cumsum(-1), np.cumsum(x, -1))


def test_ctc_loss_of_many():
    x = mt.tensor(numbers(12, 40, 7), requires_grad=True)
    labels = mt.tensor(np.random.default_rng(0).integers(1, 7, (40, 4)))
    times, sizes = [12 - i % 4 for i in range(40)], [1 + i % 4 for i in range(40)]
    losses = F.ctc_loss(x, labels, times, sizes, reduction="none")
    (grad,) = mt.autograd.grad(losses.sum(), [x])
    for i in (0, 5, 39):
        one = x[:, i : i + 1].detach().clone().requires_grad_()
        loss = F.ctc_loss(one, labels[i : i + 1], [times[i]], [sizes[i]], reduction="sum")
        (alone,) = mt.autograd.grad(loss, [one])
        close(losses[i], loss.item(), 1e-8)
        close(grad[:, i : i + 1], alone.numpy(), 1e-8)
