"""Fourier transforms by SciPy, which keeps single precision; imported when the first is needed."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

Array = Any
Dims = tuple[int, ...]


@functools.cache
def _scipy() -> Any:
    import scipy.fft

    return scipy.fft


def _complex(x: Array) -> np.dtype:
    return np.result_type(x.dtype, np.complex64)


def fft_c2c(x: Array, *, dim: Dims, norm: str, inverse: bool) -> Array:
    """Return all frequencies of a complex or real input."""
    if not dim or not x.size:
        return x.astype(_complex(x))
    fft = _scipy()
    if len(dim) == 1:
        return (fft.ifft if inverse else fft.fft)(x, None, dim[0], norm)
    return (fft.ifftn if inverse else fft.fftn)(x, None, dim, norm)


def fft_r2c(x: Array, *, dim: Dims, norm: str) -> Array:
    """Return the frequencies 0 … n/2 of the last of `dim` for a real input."""
    if not x.size:
        shape = list(x.shape)
        shape[dim[-1]] = shape[dim[-1]] // 2 + 1
        return np.zeros(shape, _complex(x))
    fft = _scipy()
    if len(dim) == 1:
        return fft.rfft(x, None, dim[0], norm)
    return fft.rfftn(x, None, dim, norm)


def fft_c2r(x: Array, *, dim: Dims, norm: str, size: int) -> Array:
    """Return the inverse of `fft_r2c`, `size` long in the last of `dim`."""
    last = dim[-1]
    if not x.size:
        shape = list(x.shape)
        shape[last] = size
        return np.zeros(shape, np.finfo(x.dtype).dtype)
    fft = _scipy()
    if len(dim) > 1:
        x = fft.ifftn(x, None, dim[:-1], norm)
    return fft.irfft(x, size, last, norm)
