"""Generic bodies of reductions, over the primitives of other families."""

from __future__ import annotations

import math
from typing import Any

Array = Any
Dims = tuple[int, ...]


def unreduce(F: Any, x: Array, *, shape: Dims, dim: Dims, keepdim: bool) -> Array:
    """Repeat the result of a reduction over the dimensions that it reduced."""
    if not keepdim:
        x = F.reshape(x, shape=tuple([1 if i in dim else n for i, n in enumerate(shape)]))
    return F.expand(x, shape=shape)


def logsumexp(F: Any, x: Array, *, dim: Dims, keepdim: bool) -> Array:
    """`log(sum(exp(x)))`, shifted by the maximum so that nothing overflows."""
    most = F.amax(x, dim=dim, keepdim=True)
    most = F.where(F.isfinite(most), most, 0)
    out = F.log(F.sum(F.exp(x - most), dim=dim, keepdim=True)) + most
    if keepdim:
        return out
    return F.reshape(out, shape=tuple([n for i, n in enumerate(x.shape) if i not in dim]))


def var(F: Any, x: Array, *, dim: Dims, correction: float, keepdim: bool) -> Array:
    """Squared distances from the mean, added, over n - correction."""
    wide = F.cast(x, dtype=_working_dtype(x.dtype))
    n = math.prod([x.shape[i] for i in dim])
    centered = wide - F.mean(wide, dim=dim, keepdim=True)
    total = F.sum(F.real(centered * F.conj(centered)), dim=dim, keepdim=keepdim)
    out = total / max(n - correction, 0)
    return out if wide.dtype == x.dtype else F.cast(out, dtype=x.dtype)


def std(F: Any, x: Array, *, dim: Dims, correction: float, keepdim: bool) -> Array:
    """The square root of the variance."""
    return F.sqrt(var(F, x, dim=dim, correction=correction, keepdim=keepdim))


def _working_dtype(dtype: Any) -> Any:
    import numpy as np

    return np.dtype(np.float32) if dtype.itemsize < 4 else dtype
