"""NumPy kernels of interpolation."""

import numpy as np


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
