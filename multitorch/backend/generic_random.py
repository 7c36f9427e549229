"""Random numbers from a seed and a counter: Threefry-2x32, in uint32 arithmetic.

`seed` is an array of two uint32, the low word first, and `draw` an integer, the number of the draw:
both are data. One block enciphers the draw under the seed to the draw's own key, and one block per
element enciphers the element's index under that key. So nothing depends on the order of execution,
on the rest of the array or on a sharding; a new draw compiles nothing anew; and the bits are equal
on every backend, device and version of a library. Threefry rather than Philox, because it needs no
multiplication: a 64-bit product is a dozen operations where 64-bit integers are emulated.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Array = Any
Shape = tuple[int, ...]
Words = tuple[Array, Array]

_U32, _U64 = np.dtype(np.uint32), np.dtype(np.uint64)
_I32, _I64 = np.dtype(np.int32), np.dtype(np.int64)
_F32, _F64 = np.dtype(np.float32), np.dtype(np.float64)
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def _rotate(F: Any, x: Array, r: int) -> Array:
    return F.bitwise_or(F.bitwise_left_shift(x, r), F.bitwise_right_shift(x, 32 - r))


def _threefry(F: Any, key: Words, x: Words) -> Words:
    """Encipher the counter `x` by Threefry-2x32 with 20 rounds (Salmon et al. 2011)."""
    keys = (*key, F.bitwise_xor(F.bitwise_xor(key[0], key[1]), _PARITY))
    x0, x1 = F.add(x[0], keys[0]), F.add(x[1], keys[1])
    for step in range(5):
        for r in _ROTATIONS[step % 2]:
            x0 = F.add(x0, x1)
            x1 = F.bitwise_xor(_rotate(F, x1, r), x0)
        x0 = F.add(x0, keys[(step + 1) % 3])
        x1 = F.add(F.add(x1, keys[(step + 2) % 3]), step + 1)
    return x0, x1


def _blocks(F: Any, seed: Array, draw: Any, n: int, part: int = 0) -> Words:
    """Return two words for each of `n` elements; another `part` gives independent ones."""
    if n > 1 << 32:
        raise RuntimeError(f"cannot draw {n} random numbers at once: 2**32 is the most")
    # Arrays of one element throughout: NumPy's scalars warn where their sums wrap around.
    words = tuple([F.slice(seed, i, dim=0, length=1, step=1) for i in (0, 1)])
    number = F.reshape(F.cast(draw, dtype=_I64), shape=(1,))
    low = F.cast(number, dtype=_U32)
    high = F.cast(F.bitwise_right_shift(number, 32), dtype=_U32)
    key = _threefry(F, words, (low, high))
    index = F.iota(seed, size=n, dtype=_U32)
    return _threefry(F, key, (index, F.new_full(index, shape=(n,), value=part)))


def _wide(F: Any, high: Array, low: Array) -> Array:
    shifted = F.bitwise_left_shift(F.cast(high, dtype=_U64), 32)
    return F.bitwise_or(shifted, F.cast(low, dtype=_U64))


def _unit(F: Any, seed: Array, draw: Any, n: int, dtype: np.dtype, part: int = 0) -> Array:
    """Return `n` uniforms in [0, 1): 53 bits in float64, 24 bits in float32."""
    x0, x1 = _blocks(F, seed, draw, n, part)
    if dtype == _F64:
        bits = F.bitwise_right_shift(_wide(F, x0, x1), 11)
        return F.mul(F.cast(bits, dtype=_F64), 2.0**-53)
    return _fraction(F, x0)


def _fraction(F: Any, word: Array) -> Array:
    return F.mul(F.cast(F.bitwise_right_shift(word, 8), dtype=_F32), 2.0**-24)


def _computed_in(dtype: np.dtype) -> np.dtype:
    return _F64 if dtype.name in ("float64", "complex128") else _F32


def _complex(F: Any, body: Callable, data: tuple[Any, ...], shape: Shape, dtype: np.dtype) -> Array:
    """Draw the two parts of a complex array."""
    both = body(F, *data, shape=(2, *shape), dtype=_computed_in(dtype))
    return F.complex_(F.select(both, 0, dim=0), F.select(both, 1, dim=0))


def random_bits(F: Any, seed: Array, draw: Any, *, shape: Shape, dtype: np.dtype) -> Array:
    """Return random bits as uint32 or uint64."""
    x0, x1 = _blocks(F, seed, draw, math.prod(shape))
    return F.reshape(_wide(F, x0, x1) if dtype == _U64 else x0, shape=shape)


def random_uniform(
    F: Any, seed: Array, draw: Any, low: Any, high: Any, *, shape: Shape, dtype: np.dtype
) -> Array:
    """Return uniforms in [low, high)."""
    if dtype.kind == "c":
        return _complex(F, random_uniform, (seed, draw, low, high), shape, dtype)
    work = _computed_in(dtype)
    low, high = F.cast(low, dtype=work), F.cast(high, dtype=work)
    out = F.add(F.mul(_unit(F, seed, draw, math.prod(shape), work), F.sub(high, low)), low)
    out, low, high = (F.cast(a, dtype=dtype) for a in (out, low, high))
    # Rounding may reach the open end.
    return F.reshape(F.where(F.eq(out, high), low, out), shape=shape)


def random_normal(
    F: Any, seed: Array, draw: Any, mean: Any, std: Any, *, shape: Shape, dtype: np.dtype
) -> Array:
    """Return normals by Box-Muller, one cosine for each element."""
    if dtype.kind == "c":
        data = (seed, draw, mean, std * math.sqrt(0.5))
        return _complex(F, random_normal, data, shape, dtype)
    n, work = math.prod(shape), _computed_in(dtype)
    if work == _F64:
        squared = F.rsub(_unit(F, seed, draw, n, work), 1.0)
        turn = _unit(F, seed, draw, n, work, part=1)
    else:
        x0, x1 = _blocks(F, seed, draw, n)
        # All 32 bits, so that the tail reaches to 6.7 and not to 5.8 standard deviations.
        squared = F.add(F.mul(F.cast(x0, dtype=_F32), 2.0**-32), 2.0**-33)
        turn = _fraction(F, x1)
    radius = F.sqrt(F.mul(F.log(squared), -2.0))
    out = F.mul(radius, F.cos(F.mul(turn, 2 * math.pi)))
    out = F.add(F.mul(out, F.cast(std, dtype=work)), F.cast(mean, dtype=work))
    return F.reshape(F.cast(out, dtype=dtype), shape=shape)


def random_bernoulli(
    F: Any, seed: Array, draw: Any, p: Any, *, shape: Shape, dtype: np.dtype
) -> Array:
    """Return 1 with probability `p`, which broadcasts to `shape`, and 0 otherwise."""
    work = _F64 if getattr(p, "ndim", 0) and p.dtype == _F64 else _F32
    unit = F.reshape(_unit(F, seed, draw, math.prod(shape), work), shape=shape)
    return F.cast(F.lt(unit, F.cast(p, dtype=work)), dtype=dtype)


def random_integers(
    F: Any, seed: Array, draw: Any, low: Any, span: Any, *, shape: Shape, dtype: np.dtype
) -> Array:
    """Return integers in [low, low + span), the remainders of as many bits as `dtype` has.

    A negative span is meant modulo 2**64, and 0 stands for all values of 32 or 64 bits.
    """
    x0, x1 = _blocks(F, seed, draw, math.prod(shape))
    unsigned, signed = (_U64, _I64) if dtype.itemsize == 8 else (_U32, _I32)
    bits = _wide(F, x0, x1) if unsigned == _U64 else x0
    low, span = (F.cast(F.cast(a, dtype=_I64), dtype=unsigned) for a in (low, span))
    divisor = F.where(F.eq(span, 0), F.cast(1, dtype=unsigned), span)
    rest = F.where(F.eq(span, 0), bits, F.remainder(bits, divisor))
    return F.reshape(F.cast(F.cast(F.add(rest, low), dtype=signed), dtype=dtype), shape=shape)


def random_permutation(F: Any, seed: Array, draw: Any, *, n: int, dtype: np.dtype) -> Array:
    """Return a permutation of 0 … n-1: the order of 64 random bits for each."""
    order = F.argsort(_wide(F, *_blocks(F, seed, draw, n)), dim=0, descending=False, stable=True)
    return F.cast(order, dtype=dtype)
