"""Special functions by SciPy, which is imported when the first of them is needed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from multitorch_numpy import blocks as _blocks

Array = Any


@functools.cache
def _function(name: str) -> Callable:
    import scipy.special

    return getattr(scipy.special, name)


def _special(name: str) -> Callable:
    """Return a kernel that computes in float32 for half precision and keeps the dtype."""

    def kernel(*arrays: Array) -> Array:
        if len(arrays) == 1 and arrays[0].dtype.char in "fd":
            return _function(name)(arrays[0])
        dtype = np.result_type(*[a for a in arrays if hasattr(a, "dtype")])
        if dtype.itemsize == 2:
            arrays = tuple([np.asarray(a, np.float32) for a in arrays])
        out = _function(name)(*arrays)
        return out if out.dtype == dtype else out.astype(dtype)

    kernel.__name__ = kernel.__qualname__ = name
    return kernel


erfc, erfinv, erfcx = _special("erfc"), _special("erfinv"), _special("erfcx")
lgamma, digamma = _special("gammaln"), _special("digamma")
i0, i0e, i1, i1e = _special("i0"), _special("i0e"), _special("i1"), _special("i1e")
ndtri, log_ndtr, zeta = _special("ndtri"), _special("log_ndtr"), _special("zeta")
gammainc, gammaincc = _special("gammainc"), _special("gammaincc")
bessel_j0, bessel_j1, bessel_y0, bessel_y1 = (
    _special("j0"), _special("j1"), _special("y0"), _special("y1")
)  # fmt: skip
modified_bessel_k0, modified_bessel_k1 = _special("k0"), _special("k1")
scaled_modified_bessel_k0, scaled_modified_bessel_k1 = _special("k0e"), _special("k1e")


_wide_erf = _special("erf")


def erf(x: Array) -> Array:
    """Return the error function."""
    return _single_erf(x) if x.dtype.char == "f" else _wide_erf(x)


@_blocks.in_blocks
def _single_erf(out: Array, x: Array) -> None:
    _blocks.erf(x, out)


def polygamma(x: Array, *, n: int) -> Array:
    """Return the n-th derivative of digamma."""
    wide = x.astype(np.float32) if x.dtype.itemsize == 2 else x
    return _function("polygamma")(n, wide).astype(x.dtype)


def airy_ai(x: Array) -> Array:
    """Return the Airy function Ai."""
    wide = x.astype(np.float32) if x.dtype.itemsize == 2 else x
    return _function("airy")(wide)[0].astype(x.dtype)
