"""Functions of square matrices: eigenvalues and the exponential. Distances of rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from multitorch_jax.guard import warn_of_host as _warn_of_host
from multitorch_jax.jit import host

Array = Any


def _on_host(x: Array, function: Callable, shapes: tuple) -> Any:
    """Run a function of a NumPy array; put its results, made complex, where `x` is."""
    dtype = np.result_type(x.dtype, np.complex64)

    def run(x: Array) -> tuple:
        a = np.asarray(x)
        if not np.isfinite(a).all():
            raise RuntimeError("torch.linalg.eig: input tensor should not contain infs or NaNs.")
        return tuple([r.astype(dtype) for r in function(a)])

    if isinstance(x, Tracer):
        return jax.pure_callback(run, tuple([jax.ShapeDtypeStruct(s, dtype) for s in shapes]), x)
    (where,) = x.devices()
    _warn_of_host("eig", where.platform)
    return tuple([jax.device_put(r, where) for r in run(x)])


@host
def eig(x: Array) -> tuple[Array, Array]:
    """Return complex eigenvalues and eigenvectors of length 1.

    It runs on the host whatever the device, in a compiled program too, which calls back for it:
    XLA has no such algorithm for accelerators.
    """
    return _on_host(x, lambda a: tuple(np.linalg.eig(a)), (x.shape[:-1], x.shape))


@host
def eigvals(x: Array) -> Array:
    """Return complex eigenvalues; it runs on the host as `eig` does."""
    return _on_host(x, lambda a: (np.linalg.eigvals(a),), (x.shape[:-1],))[0]


# Padé approximants of the exponential: (coefficients, largest 1-norm for which they are exact to
# rounding), from Higham, "The scaling and squaring method for the matrix exponential revisited".
_SINGLE = ((17297280, 8648640, 1995840, 277200, 25200, 1512, 56, 1), 3.925724783138660)
_DOUBLE = (
    (
        64764752532480000, 32382376266240000, 7771770303897600, 1187353796428800, 129060195264000,
        10559470521600, 670442572800, 33522128640, 1323241920, 40840800, 960960, 16380, 182, 1,
    ),
    5.371920351148152,
)  # fmt: skip


def matrix_exp(x: Array) -> Array:
    """Return the exponentials of square matrices: Padé approximants of halves, squared."""
    if x.dtype.itemsize == 2:
        return matrix_exp(x.astype(np.float32)).astype(x.dtype)
    if not x.size:
        return x
    coefficients, bound = _SINGLE if x.dtype.char in "fF" else _DOUBLE
    norm = jnp.abs(x).sum(-2).max(-1)
    halves = jnp.ceil(jnp.log2(jnp.maximum(norm / bound, 1)))
    halves = jnp.where(jnp.isfinite(halves), halves, 0)[..., None, None]
    with jax.default_matmul_precision("highest"):
        first = _pade(x / jnp.exp2(halves), coefficients)

        def square(state: tuple) -> tuple:
            i, out = state
            return i + 1, jnp.where(halves > i, out @ out, out)

        start = jnp.zeros((), halves.dtype), first
        return lax.while_loop(lambda s: s[0] < halves.max(), square, start)[1]


def _pade(x: Array, coefficients: tuple[int, ...]) -> Array:
    square = x @ x
    power = jnp.broadcast_to(jnp.eye(x.shape[-1], dtype=x.dtype), x.shape)
    even = odd = jnp.zeros_like(x)
    for k in range(0, len(coefficients), 2):
        power = power @ square if k else power
        scale = coefficients[0]
        even = even + power * (coefficients[k] / scale)
        odd = odd + power * (coefficients[k + 1] / scale)
    odd = x @ odd
    return jnp.linalg.solve(even - odd, even + odd)


# --- distances -----------------------------------------------------------------------------------


def pair_distances(x: Array, y: Array, *, p: float) -> Array:
    """Return the p-norm distances of all pairs of rows."""

    def at_once(x: Array, y: Array) -> Array:
        return _finished(_total(_power(x[..., :, None, :] - y[..., None, :, :], p), -1, p), p)

    def by_columns(x: Array, y: Array) -> Array:
        """Add one column after the other: XLA does not vectorize the sum for CPUs."""

        def add(k: Array, total: Array) -> Array:
            part = _power(x[..., :, None, k] - y[..., None, :, k], p)
            return jnp.maximum(total, part) if p == np.inf else total + part

        start = jnp.zeros((*x.shape[:-1], y.shape[-2]), x.dtype)
        return _finished(lax.fori_loop(0, x.shape[-1], add, start), p)

    if not x.shape[-1]:
        return jnp.zeros((*x.shape[:-1], y.shape[-2]), x.dtype)
    return lax.platform_dependent(x, y, cpu=by_columns, default=at_once)


def _power(x: Array, p: float) -> Array:
    if p == 0:
        return (x != 0).astype(x.dtype)
    if p == 2:
        return x * x
    return jnp.abs(x) if p in (1, np.inf) else jnp.abs(x) ** p


def _total(x: Array, dim: int, p: float) -> Array:
    return x.max(dim) if p == np.inf else x.sum(dim)


def _finished(total: Array, p: float) -> Array:
    if p == 2:
        return jnp.sqrt(total)
    return total if p in (0, 1, np.inf) else total ** (1 / p)
