"""NumPy kernels of interpolation, and of sampling at points."""

import numpy as np

from multitorch_numpy import rows as _rows


def resample(x, index, weight, back_index, back_weight, *, dim):
    weight = weight.reshape(*weight.shape, *(1,) * (x.ndim - 1 - dim))
    out = x.take(index[:, 0], dim)
    if index.shape[1] == 1 and (weight == 1).all():
        return out
    out *= weight[:, 0]
    part = np.empty_like(out)
    for k in range(1, index.shape[1]):
        x.take(index[:, k], dim, part, "clip")
        part *= weight[:, k]
        out += part
    return out


def _mixture(index, weight, count):
    """Return weights as a sparse matrix: row p has weight[p, k] in column index[p, k]."""
    from scipy.sparse import csr_array

    points, taps = index.shape
    ends = np.arange(0, points * taps + 1, taps)
    return csr_array((weight.reshape(-1), index.reshape(-1), ends), shape=(points, count))


_FEW = 1 << 14


def mix_rows(rows, index, weight):
    if index.size * rows.shape[1] <= _FEW:  # making a sparse matrix would take longer
        return np.einsum("pkc,pk->pc", rows.take(index, 0), weight)
    return _mixture(index, weight, len(rows)) @ rows


def spread_rows(g, index, weight, *, count):
    return _mixture(index, weight, count).T @ g


def _sums(x):
    if x.shape[1] > _rows.BLOCK:
        return np.add.reduce(x, 1)
    return x.dot(_rows.ones(x.shape[1], x.dtype))


def match_rows(g, rows, index):
    out = np.empty(index.shape, g.dtype)
    for k in range(index.shape[1]):
        part = rows.take(index[:, k], 0)
        part *= g
        out[:, k] = _sums(part)
    return out
