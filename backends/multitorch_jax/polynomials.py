"""Orthogonal polynomials by recurrence, as far as the highest degree that is asked for."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from multitorch.backend import recurrence

Array = Any


def polynomial(x: Array, n: Array, *, family: str) -> Array:
    """Return the polynomial of degree n, cut to an integer; 0 for a negative degree."""
    dtype = jnp.result_type(x, n)
    wide = jnp.float32 if dtype.itemsize == 2 else dtype
    x, n = jnp.broadcast_arrays(jnp.asarray(x, wide), jnp.asarray(n, wide))
    degree = jnp.trunc(jnp.where(jnp.isfinite(n), n, -1)).astype(np.int32)
    one = jnp.ones_like(x)
    first = recurrence.FIRST[family](x)
    out = jnp.where(degree == 1, first, jnp.where(degree == 0, one, 0))
    top = jnp.max(degree, initial=0)

    def advance(state: tuple) -> tuple:
        k, p, q, out = state
        a, b, c = recurrence.COEFFICIENTS[family](x, k.astype(x.dtype))
        p, q = (a * p - b * q) / c, p
        return k + 1, p, q, jnp.where(degree == k, p, out)

    start = (jnp.asarray(2, np.int32), first, one, out)
    return lax.while_loop(lambda s: s[0] <= top, advance, start)[3].astype(dtype)
