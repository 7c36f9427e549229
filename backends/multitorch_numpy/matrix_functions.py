"""Functions of square matrices: eigenvalues and the exponential."""

from __future__ import annotations

from typing import Any

import numpy as np

from multitorch.backend import LinAlgError

Array = Any


def _checked(name: str, x: Array) -> None:
    if not np.isfinite(x).all():
        raise RuntimeError(f"torch.linalg.{name}: input tensor should not contain infs or NaNs.")


def _complex(x: Array) -> Array:
    return x.astype(np.result_type(x.dtype, np.complex64), copy=False)


def eig(x: Array) -> tuple[Array, Array]:
    """Return complex eigenvalues and eigenvectors of length 1."""
    _checked("eig", x)
    try:
        values, vectors = np.linalg.eig(x)
    except np.linalg.LinAlgError:
        raise LinAlgError("linalg.eig: The algorithm failed to converge.") from None
    return _complex(values), _complex(vectors)


def eigvals(x: Array) -> Array:
    """Return complex eigenvalues."""
    _checked("eigvals", x)
    try:
        return _complex(np.linalg.eigvals(x))
    except np.linalg.LinAlgError:
        raise LinAlgError("linalg.eigvals: The algorithm failed to converge.") from None


_PADE = (
    64764752532480000, 32382376266240000, 7771770303897600, 1187353796428800, 129060195264000,
    10559470521600, 670442572800, 33522128640, 1323241920, 40840800, 960960, 16380, 182, 1,
)  # fmt: skip
"""The Padé approximant of the exponential, from Higham, "The scaling and squaring method for the
matrix exponential revisited"."""
_BOUND = 5.371920351148152
"""The largest 1-norm for which it is exact to rounding."""


def matrix_exp(x: Array) -> Array:
    """Return the exponentials of square matrices: Padé approximants of halves, squared.

    Squaring doubles the rounding errors each time: single precision is computed in double.
    """
    wide = np.result_type(x.dtype, np.float64)
    if x.dtype != wide:
        return matrix_exp(x.astype(wide)).astype(x.dtype)
    if not x.size:
        return x.copy()
    norm = np.abs(x).sum(-2).max(-1)
    halves = np.ceil(np.log2(np.maximum(norm / _BOUND, 1)))
    halves = np.where(np.isfinite(halves), halves, 0)[..., None, None]
    out = _pade(x / np.exp2(halves))
    for i in range(int(halves.max())):
        out = np.where(halves > i, out @ out, out)
    return out


def _pade(x: Array) -> Array:
    square = x @ x
    power = np.broadcast_to(np.eye(x.shape[-1], dtype=x.dtype), x.shape)
    even = odd = np.zeros_like(x)
    for k in range(0, len(_PADE), 2):
        power = power @ square if k else power
        even = even + power * (_PADE[k] / _PADE[0])
        odd = odd + power * (_PADE[k + 1] / _PADE[0])
    odd = x @ odd
    return np.linalg.solve(even - odd, even + odd)
