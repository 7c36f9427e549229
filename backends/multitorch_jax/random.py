"""Random kernels: Threefry-2x32 in counter mode, written out in uint32 arithmetic.

A key is data, four uint32: the seed and the number of the draw, low word first. One block enciphers
(seed, draw number) to the draw's own key, and one block per element enciphers the element's index.
So nothing depends on the order of execution, on the rest of the array or on a sharding, a new draw
never compiles anew, and the bits are equal on every device and in every version of JAX, whose
own generators make no such promise. Threefry rather than Philox, because it needs no
multiplication: a 64-bit product is a dozen operations where 64-bit integers are emulated.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Array = jax.Array
_Shape = tuple[int, ...]

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def _threefry(key: tuple[Any, Any], x0: Array, x1: Array) -> tuple[Array, Array]:
    """Encipher the counter (x0, x1) by Threefry-2x32 with 20 rounds."""
    keys = (key[0], key[1], key[0] ^ key[1] ^ np.uint32(_PARITY))
    x0, x1 = x0 + keys[0], x1 + keys[1]
    for step in range(5):
        for r in _ROTATIONS[step % 2]:
            x0 = x0 + x1
            x1 = (x1 << np.uint32(r) | x1 >> np.uint32(32 - r)) ^ x0
        x0 = x0 + keys[(step + 1) % 3]
        x1 = x1 + keys[(step + 2) % 3] + np.uint32(step + 1)
    return x0, x1


def _blocks(key: Array, shape: _Shape, part: int = 0) -> tuple[Array, Array]:
    """Return two uint32 per element; another `part` gives independent ones."""
    n = math.prod(shape)
    if n > 1 << 32:
        raise ValueError(f"cannot draw {n} random numbers at once, 2**32 is the most")
    draw = _threefry((key[0], key[1]), key[2], key[3])
    index = lax.iota(np.uint32, n).reshape(shape)
    return _threefry(draw, index, jnp.full_like(index, part))


def _wide(high: Array, low: Array) -> Array:
    return high.astype(np.uint64) << np.uint64(32) | low.astype(np.uint64)


def _unit(key: Array, shape: _Shape, dtype: np.dtype, part: int = 0) -> Array:
    """Return uniforms in [0, 1): 53 bits in float64, 24 bits in float32."""
    x0, x1 = _blocks(key, shape, part)
    if dtype == np.float64:
        return (_wide(x0, x1) >> np.uint64(11)).astype(np.float64) * np.float64(2.0**-53)
    return (x0 >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)


def _computed_in(dtype: np.dtype) -> np.dtype:
    return np.dtype(np.float64 if dtype in (np.float64, np.complex128) else np.float32)


def _parts(draw: Any, key: Array, shape: _Shape, dtype: np.dtype) -> Array:
    """Draw the two parts of a complex array."""
    both = draw(key, shape=(*shape, 2), dtype=_computed_in(dtype))
    return lax.complex(both[..., 0], both[..., 1])


def random_bits(key: Array, *, shape: _Shape, dtype: np.dtype) -> Array:
    """Return random bits as uint32 or uint64."""
    x0, x1 = _blocks(key, shape)
    return _wide(x0, x1) if dtype == np.uint64 else x0.astype(dtype)


def random_uniform(key: Array, low: Any, high: Any, *, shape: _Shape, dtype: np.dtype) -> Array:
    """Return uniforms in [low, high)."""
    if np.dtype(dtype).kind == "c":
        return _parts(
            lambda k, **kw: random_uniform(k, low, high, **kw), key, shape, dtype
        )
    work = _computed_in(dtype)
    low, high = jnp.asarray(low, work), jnp.asarray(high, work)
    out = (_unit(key, shape, work) * (high - low) + low).astype(dtype)
    # Rounding may reach the open end.
    return jnp.where(out == high.astype(dtype), low.astype(dtype), out)


def random_normal(key: Array, mean: Any, std: Any, *, shape: _Shape, dtype: np.dtype) -> Array:
    """Return normals by Box-Muller, one cosine for each element."""
    if np.dtype(dtype).kind == "c":
        return _parts(
            lambda k, **kw: random_normal(k, mean, std * math.sqrt(0.5), **kw), key, shape, dtype
        )
    work = _computed_in(dtype)
    if work == np.float64:
        radius2, turn = 1 - _unit(key, shape, work), _unit(key, shape, work, part=1)
    else:
        x0, x1 = _blocks(key, shape)
        # All 32 bits, so that the tail reaches to 6.7 and not to 5.8 standard deviations.
        radius2 = x0.astype(np.float32) * np.float32(2.0**-32) + np.float32(2.0**-33)
        turn = (x1 >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)
    out = jnp.sqrt(-2 * jnp.log(radius2)) * jnp.cos(turn * work.type(2 * math.pi))
    return (out * jnp.asarray(std, work) + jnp.asarray(mean, work)).astype(dtype)


def random_bernoulli(key: Array, p: Any, *, shape: _Shape, dtype: np.dtype) -> Array:
    """Return 1 with probability `p`, which is broadcast to `shape`, and 0 otherwise."""
    work = _computed_in(np.dtype(getattr(p, "dtype", np.float32)))
    return (_unit(key, shape, work) < p).astype(dtype)


def random_integers(key: Array, bounds: Array, *, shape: _Shape, dtype: np.dtype) -> Array:
    """Return integers in [low, low + span), by the remainder of as many bits as `dtype` has.

    `bounds` holds four uint32: low and span, low word first; a span of 0 stands for all values.
    """
    x0, x1 = _blocks(key, shape)
    if np.dtype(dtype).itemsize == 8:
        bits = _wide(x0, x1)
        low, span = _wide(bounds[1], bounds[0]), _wide(bounds[3], bounds[2])
    else:
        bits, low, span = x0, bounds[0], bounds[2]
    whole = span == 0
    rest = lax.rem(bits, jnp.where(whole, span.dtype.type(1), span))
    return (jnp.where(whole, bits, rest) + low).astype(dtype)


def random_permutation(key: Array, *, n: int, dtype: np.dtype) -> Array:
    """Return a permutation of 0 ... n-1: the order of 64 random bits for each."""
    x0, x1 = _blocks(key, (n,))
    return lax.sort((x0, x1, lax.iota(np.dtype(dtype), n)), num_keys=2)[2]
