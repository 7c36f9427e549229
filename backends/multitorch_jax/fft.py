"""Fourier transforms by XLA, at most three dimensions at a time."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

Array = Any
Dims = tuple[int, ...]


def fft_c2c(x: Array, *, dim: Dims, norm: str, inverse: bool) -> Array:
    """Return all frequencies of a complex or real input."""
    x = x.astype(np.result_type(x.dtype, np.complex64))
    if not x.size:
        return x
    transform = jnp.fft.ifftn if inverse else jnp.fft.fftn
    for first in range(0, len(dim), 3):
        x = transform(x, axes=dim[first : first + 3], norm=norm)
    return x


def fft_r2c(x: Array, *, dim: Dims, norm: str) -> Array:
    """Return the frequencies 0 … n/2 of the last of `dim` for a real input."""
    if not x.size:
        half = [n // 2 + 1 if d == dim[-1] else n for d, n in enumerate(x.shape)]
        return jnp.zeros(half, np.result_type(x.dtype, np.complex64))
    x = jnp.fft.rfftn(x, axes=dim[-3:], norm=norm)
    return fft_c2c(x, dim=dim[:-3], norm=norm, inverse=False)


def fft_c2r(x: Array, *, dim: Dims, norm: str, size: int) -> Array:
    """Return the inverse of `fft_r2c`, `size` long in the last of `dim`.

    The last dimension is transformed by itself: libraries that take several at once rely on a
    symmetry between them which a gradient need not have.
    """
    if not x.size:
        whole = [size if d == dim[-1] else n for d, n in enumerate(x.shape)]
        return jnp.zeros(whole, np.finfo(x.dtype).dtype)
    x = fft_c2c(x, dim=dim[:-1], norm=norm, inverse=True)
    return jnp.fft.irfft(x, size, axis=dim[-1], norm=norm)
