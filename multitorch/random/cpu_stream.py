"""PyTorch's CPU random stream on NumPy: the same Mersenne Twister words, spent the same way.

What is reproduced, against PyTorch 2.13 on x86-64 with AVX2 or AVX512:

* bit for bit: `uniform` (every dtype), `randint`, `random`, `randperm`, `bernoulli`, `geometric`
  up to the last bit of the C library's `log`;
* to the rounding of `log`, `cos`, `sin` (3e-7 in float32): `normal`, `log_normal`, `exponential`,
  `cauchy`; and so `multinomial`, whose draws are integers, except on near-ties;
* not reproduced: on Intel processors PyTorch hands `bernoulli_(p)` with a scalar `p` (dropout, too)
  to MKL's MCG31 generator. The stream here is the one of all other processors, which spends two
  MT19937 words, high word first, on a 53-bit uniform.

Values come in the order in which PyTorch writes memory; for a tensor that is not C-contiguous the
caller asks for the shape in stride order and permutes.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from multitorch.random.shuffle import inside_out, shuffled

DEFAULT_SEED = 67280421310721
STATE_SIZE = 5056

Shape = Sequence[int]

_BOOL, _INT64 = np.dtype(np.bool_), np.dtype(np.int64)
_F32_STEP = np.float32(2.0**-24)
_F64_STEP = 2.0**-53
_MASK24 = np.uint32(0xFFFFFF)
_MASK53 = np.uint64((1 << 53) - 1)
_RANDINT_64_BITS_FROM = 1 << 28  # PyTorch takes two words for ranges from here on
_RANDPERM_64_BITS_FROM = 0xFFFFFFFF // 20
_CHUNK = 1 << 16  # draws that keep the scratch arrays in the L2 cache
_SMALL = 2048  # below it, the fixed cost of `Generator.integers` is larger than its gain

# The state that PyTorch saves: seed, left, seeded, next, 624 words in 64-bit slots, then the cached
# normals (x, y, rho, valid), float sample and its flag.
_HEAD = struct.Struct("<QiiQ")
_TAIL = struct.Struct("<dddi4xf?3x")
_WORDS_AT, _TAIL_AT = _HEAD.size, _HEAD.size + 624 * 8

# Largest value + 1 that `random_()` draws from, for floating dtypes: integers are exact up to it.
_EXACT_INTEGERS = {"float64": 1 << 53, "float32": 1 << 24, "float16": 1 << 11, "bfloat16": 1 << 8}


class CPUStream:
    """Draw what PyTorch's CPU generator draws.

    >>> CPUStream(0).uniform((3,), np.dtype("float32"))
    array([0.4962566 , 0.7682218 , 0.08847743], dtype=float32)
    """

    __slots__ = ("_bits", "_ints", "_seed", "_cached_normal")

    def __init__(self, seed: int = DEFAULT_SEED) -> None:
        self._bits: Any = None
        self.manual_seed(seed)

    # --- seed and state ---------------------------------------------------------------------------

    @property
    def initial_seed(self) -> int:
        """Return the seed as an unsigned 64-bit number."""
        return self._seed

    def manual_seed(self, seed: int) -> None:
        """Start the stream of `seed`; only its low 32 bits reach MT19937, as in PyTorch."""
        from numpy.random import MT19937, Generator, RandomState

        self._seed = seed & 0xFFFFFFFFFFFFFFFF
        self._cached_normal: float | None = None
        if self._bits is None:
            self._bits = MT19937(0)
            self._ints = Generator(self._bits).integers
        RandomState(self._bits).seed(self._seed & 0xFFFFFFFF)

    def get_state(self) -> np.ndarray:
        """Return the state as the 5056 bytes that PyTorch's CPU generator saves."""
        twister = self._bits.state["state"]
        key, pos = twister["key"], int(twister["pos"])
        left = 1 if pos == 624 else 625 - pos
        # A stream that was seeded and not yet used says next = 0 there, 624 here.
        fresh = pos == 624 and int(key[0]) == self._seed & 0xFFFFFFFF
        cached = self._cached_normal
        state = np.empty(STATE_SIZE, np.uint8)
        head = _HEAD.pack(self._seed, left, 1, 0 if fresh else pos)
        state[:_WORDS_AT] = np.frombuffer(head, np.uint8)
        state[_WORDS_AT:_TAIL_AT] = key.astype("<u8").view(np.uint8)
        tail = _TAIL.pack(0.0, cached or 0.0, 0.0, cached is not None, 0.0, False)
        state[_TAIL_AT:] = np.frombuffer(tail, np.uint8)
        return state

    def set_state(self, state: np.ndarray) -> None:
        """Continue from a state of this class or of PyTorch's CPU generator."""
        if state.dtype != np.uint8:
            raise TypeError("RNG state must be a torch.ByteTensor")
        if state.size != STATE_SIZE:
            raise RuntimeError(
                f"Expected a CPUGeneratorImplState of size {STATE_SIZE} but found the input RNG "
                f"state size to be {state.size}"
            )
        raw = np.ascontiguousarray(state).tobytes()
        seed, left, seeded, position = _HEAD.unpack_from(raw)
        if not (seeded and 1 <= left <= 624 and position <= 624):
            raise RuntimeError("Invalid mt19937 state")
        key = np.frombuffer(raw, "<u8", 624, _WORDS_AT).astype(np.uint32)
        _, cached, _, valid, _, _ = _TAIL.unpack_from(raw, _TAIL_AT)
        pos = 624 if left == 1 else position
        self._bits.state = {"bit_generator": "MT19937", "state": {"key": key, "pos": pos}}
        self._seed = seed
        self._cached_normal = cached if valid else None

    # --- words ------------------------------------------------------------------------------------

    def random(self) -> int:
        """Return the next 32-bit word."""
        return self._bits.random_raw()

    def random64(self) -> int:
        """Return the next two words as one number, the first one high."""
        high = self._bits.random_raw()
        return high << 32 | self._bits.random_raw()

    def words(self, n: int) -> np.ndarray:
        """Return the next `n` 32-bit words (uint32)."""
        if n < _SMALL:
            return self._bits.random_raw(n).astype(np.uint32)
        return self._ints(0, 1 << 32, n, np.uint32)

    def words64(self, n: int) -> np.ndarray:
        """Return the next `2 n` words as `n` 64-bit numbers (uint64)."""
        if n < _SMALL // 8:
            raw = self._bits.random_raw(2 * n)
            return raw[0::2] << np.uint64(32) | raw[1::2]
        return self._ints(0, 1 << 64, n, np.uint64)

    def _unit32(self, n: int) -> np.ndarray:
        """Return `n` float32 in [0, 1): the low 24 bits of one word each."""
        out = np.empty(n, np.float32)
        for start in range(0, n, _CHUNK):
            bits = self.words(min(_CHUNK, n - start))
            bits &= _MASK24
            part = out[start : start + _CHUNK]
            part[...] = bits.view(np.int32)
            part *= _F32_STEP
        return out

    def _unit64(self, n: int) -> np.ndarray:
        """Return `n` float64 in [0, 1): the low 53 bits of two words each."""
        out = np.empty(n, np.float64)
        for start in range(0, n, _CHUNK):
            bits = self.words64(min(_CHUNK, n - start))
            bits &= _MASK53
            np.multiply(bits.view(np.int64), _F64_STEP, out=out[start : start + _CHUNK])
        return out

    # --- uniform ----------------------------------------------------------------------------------

    def uniform(
        self, shape: Shape, dtype: np.dtype, low: float = 0.0, high: float = 1.0
    ) -> np.ndarray:
        """Draw from [low, high); `dtype` is floating, or complex for two independent parts."""
        dtype = np.dtype(dtype)
        if dtype.kind == "c":
            parts = self.uniform((*shape, 2), _real_of(dtype), low, high)
            return parts.view(dtype).reshape(shape)
        n = math.prod(shape)
        if dtype == np.float64:
            out = _scale64(self._unit64(n), float(low), float(high))
        else:
            out = self._uniform32(n, np.float32(low), np.float32(high)).astype(dtype, copy=False)
        if (low, high) != (0.0, 1.0) or dtype.itemsize < 4:
            end = np.asarray(high).astype(dtype)
            # Rounding may reach the open end; PyTorch then answers with the closed one.
            if n and out.max() == end:
                out[out == end] = low
        return out.reshape(shape)

    def _uniform32(self, n: int, low: np.float32, high: np.float32) -> np.ndarray:
        """Return unit · (high - low) + low, rounded once, as a fused multiply-add does."""
        span = high - low
        if low == 0.0:
            out = self._unit32(n)
            if span != 1.0:
                out *= span
            return out
        out = np.empty(n, np.float32)
        step = np.float64(span) * 2.0**-24
        for start in range(0, n, _CHUNK):
            bits = self.words(min(_CHUNK, n - start))
            bits &= _MASK24
            # 24 bits by 24 bits are exact in float64, so that one rounding to float32 remains.
            wide = bits.view(np.int32) * step
            wide += np.float64(low)
            out[start : start + _CHUNK] = wide
        return out

    def bernoulli(self, shape: Shape, p: float | np.ndarray, dtype: np.dtype = _BOOL) -> np.ndarray:
        """Draw 0 or 1 with probability `p` of 1; an array `p` is broadcast to `shape`.

        A scalar and a float64 array compare 53-bit uniforms, an array of another dtype 24-bit ones.
        """
        dtype = np.dtype(dtype)
        n = math.prod(shape)
        if isinstance(p, np.ndarray):
            probs = np.broadcast_to(p, shape).reshape(-1)
            if p.dtype != np.float64:
                probs = probs.astype(np.float32, copy=False)
            unit = self._unit64(n) if p.dtype == np.float64 else self._unit32(n)
            return (unit < probs).reshape(shape).astype(dtype, copy=False)
        out = np.empty(n, np.bool_)
        # u < p for u = bits / 2**53 is bits < ceil(p * 2**53), an exact integer comparison.
        bound = np.uint64(math.ceil(p * (1 << 53)))
        for start in range(0, n, _CHUNK):
            bits = self.words64(min(_CHUNK, n - start))
            bits &= _MASK53
            np.less(bits, bound, out=out[start : start + _CHUNK])
        return out.reshape(shape).astype(dtype, copy=False)

    # --- integers ---------------------------------------------------------------------------------

    def randint(self, shape: Shape, low: int, high: int, dtype: np.dtype) -> np.ndarray:
        """Draw integers from [low, high), with PyTorch's modulo bias."""
        n = math.prod(shape)
        span = high - low
        values: np.ndarray
        if span < _RANDINT_64_BITS_FROM:
            values = (self.words(n) % np.uint32(span)).astype(np.int64)
        elif span < 1 << 64:
            values = (self.words64(n) % np.uint64(span)).view(np.int64)
        else:
            values = self.words64(n).view(np.int64)
            low = 0  # 64 bits are the whole range of int64 already
        if low:
            values += np.int64(low)
        return values.astype(dtype, copy=False).reshape(shape)

    def random_full(self, shape: Shape, dtype: np.dtype) -> np.ndarray:
        """Draw as `Tensor.random_()`: from 0 to the largest integer that `dtype` holds exactly."""
        dtype = np.dtype(dtype)
        n = math.prod(shape)
        if dtype == np.bool_:
            return (self.words(n) & np.uint32(1)).astype(dtype).reshape(shape)
        bound = _EXACT_INTEGERS.get(dtype.name) or int(np.iinfo(dtype).max)
        wide = dtype in (np.int64, np.float64)
        bits = self.words64(n) if wide else self.words(n)
        values = (bits % bits.dtype.type(bound + 1)).astype(np.int64)
        return values.astype(dtype, copy=False).reshape(shape)

    def randperm(self, n: int, dtype: np.dtype = _INT64) -> np.ndarray:
        """Draw a permutation of 0 … n-1 (Fisher-Yates: from the front, or inside out if long)."""
        if n >= _RANDPERM_64_BITS_FROM:
            partners = self.words64(n) % np.arange(1, n + 1, dtype=np.uint64)
            return inside_out(partners.view(np.int64)).astype(dtype, copy=False)
        draws = max(n - 1, 0)
        ahead = (self.words(draws) % np.arange(n, 1, -1, dtype=np.uint32)).astype(np.int64)
        return shuffled(ahead + np.arange(draws), n).astype(dtype, copy=False)

    # --- normal -----------------------------------------------------------------------------------

    def normal(
        self,
        shape: Shape,
        dtype: np.dtype,
        mean: float = 0.0,
        std: float = 1.0,
        *,
        contiguous: bool = True,
    ) -> np.ndarray:
        """Draw from N(mean, std²): Box-Muller in blocks of 16, one by one if fewer or strided.

        A complex `dtype` shares the variance between its two parts.
        """
        dtype = np.dtype(dtype)
        if dtype.kind == "c":
            each = std * math.sqrt(0.5)
            parts = self.normal((*shape, 2), _real_of(dtype), mean, each, contiguous=contiguous)
            return parts.view(dtype).reshape(shape)
        n = math.prod(shape)
        if n >= 16 and contiguous:
            unit = self._unit64 if dtype == np.float64 else self._unit32
            out = self._normal_blocks(n, unit, short=dtype.itemsize < 4)
        else:
            out = self._normal_singles(n)
        if std != 1.0:
            out *= out.dtype.type(std)
        if mean != 0.0:
            out += out.dtype.type(mean)
        return out.astype(dtype, copy=False).reshape(shape)

    def _normal_blocks(self, n: int, unit: Callable[[int], np.ndarray], short: bool) -> np.ndarray:
        whole = n // 16 * 16
        # The last 16 values are drawn afresh; 16-bit dtypes do not draw those they replace.
        out = unit(whole if short else n)
        for start in range(0, whole, _CHUNK):
            _box_muller16(out[start : min(start + _CHUNK, whole)])
        if whole != n:
            last = unit(16)
            _box_muller16(last)
            out = np.concatenate((out[: n - 16], last))
        return out

    def _normal_singles(self, n: int) -> np.ndarray:
        """Return float64 normals drawn in pairs; the odd one out waits for the next call."""
        out = np.empty(n, np.float64)
        if n == 0:
            return out
        start = 0
        if self._cached_normal is not None:
            out[0], self._cached_normal, start = self._cached_normal, None, 1
        pairs = (n - start + 1) // 2
        unit = self._unit64(2 * pairs)
        angle = unit[0::2] * (2.0 * math.pi)
        radius = np.sqrt(-2.0 * np.log1p(-unit[1::2]))
        both = np.stack((radius * np.cos(angle), radius * np.sin(angle)), 1).reshape(-1)
        out[start:] = both[: n - start]
        if (n - start) % 2:
            self._cached_normal = float(both[-1])
        return out

    def log_normal(
        self, shape: Shape, dtype: np.dtype, mean: float = 1.0, std: float = 2.0
    ) -> np.ndarray:
        """Draw exp of N(mean, std²)."""
        out = np.exp(self._normal_singles(math.prod(shape)) * std + mean)
        return self._finish(out, shape, dtype)

    # --- transformed uniforms ---------------------------------------------------------------------

    def exponential(self, shape: Shape, dtype: np.dtype, rate: float = 1.0) -> np.ndarray:
        """Draw from rate · exp(-rate · x)."""
        out = np.log1p(-self._unit64(math.prod(shape)))
        return self._finish(out * (-1.0 / rate), shape, dtype)

    def geometric(self, shape: Shape, dtype: np.dtype, p: float) -> np.ndarray:
        """Draw the number of the first success among trials of probability `p`."""
        with np.errstate(divide="ignore"):
            out = np.ceil(np.log(self._unit64(math.prod(shape))) / math.log1p(-p))
        return self._finish(out, shape, dtype)

    def cauchy(
        self, shape: Shape, dtype: np.dtype, median: float = 0.0, sigma: float = 1.0
    ) -> np.ndarray:
        """Draw from the Cauchy distribution."""
        out = np.tan(np.pi * (self._unit64(math.prod(shape)) - 0.5))
        return self._finish(out * sigma + median, shape, dtype)

    @staticmethod
    def _finish(values: np.ndarray, shape: Shape, dtype: np.dtype) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            return values.astype(dtype, copy=False).reshape(shape)

    # --- choices ----------------------------------------------------------------------------------

    def multinomial(self, probs: np.ndarray, num_samples: int, replacement: bool) -> np.ndarray:
        """Draw indices of the last dimension of `probs` (1 or 2 dimensions), by weight."""
        rows = np.atleast_2d(probs)
        if replacement and num_samples > 1:
            out = self._multinomial_replaced(rows, num_samples)
        else:
            # The smallest of exponentials with rates p comes first: a race without replacement.
            arrival = self.exponential(rows.shape, rows.dtype)
            with np.errstate(divide="ignore", invalid="ignore"):
                score = rows / arrival
            out = np.argsort(-score.astype(np.float64), axis=-1, kind="stable")[:, :num_samples]
        return out.reshape((*probs.shape[:-1], num_samples))

    def _multinomial_replaced(self, rows: np.ndarray, num_samples: int) -> np.ndarray:
        out = np.empty((rows.shape[0], num_samples), np.int64)
        for row, result in zip(rows, out, strict=True):
            total = np.cumsum(row, dtype=row.dtype)
            total /= total[-1]
            result[...] = np.searchsorted(total[:-1], self._unit64(num_samples), side="left")
        return out


def _real_of(dtype: np.dtype) -> np.dtype:
    return np.dtype(np.float32 if dtype == np.complex64 else np.float64)


def _scale64(unit: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return unit · (high - low) + low rounded once, as a fused multiply-add does."""
    span = high - low
    if low == 0.0:
        if span != 1.0:
            unit *= span
        return unit
    product, error = _two_product(unit, span)
    total = product + low
    back = total - product
    error += (product - (total - back)) + (low - back)
    return total + error


def _two_product(x: np.ndarray, y: float) -> tuple[np.ndarray, np.ndarray]:
    """Return x · y as a rounded product and its exact error (Dekker's splitting)."""
    factor = 134217729.0  # 2**27 + 1
    x_high = x * factor
    x_high -= x_high - x
    x_low = x - x_high
    y_high = y * factor
    y_high -= y_high - y
    y_low = y - y_high
    product = x * y
    error = x_high * y_high - product
    error += x_high * y_low
    error += x_low * y_high
    error += x_low * y_low
    return product, error


def _box_muller16(values: np.ndarray) -> None:
    """Turn uniforms into normals in place: entry j and j + 8 of each 16 are a pair."""
    pairs = values.reshape(-1, 2, 8)
    radius = 1 - pairs[:, 0]
    np.log(radius, out=radius)
    radius *= -2
    np.sqrt(radius, out=radius)
    angle = pairs[:, 1] * values.dtype.type(2.0 * math.pi)
    np.multiply(np.cos(angle), radius, out=pairs[:, 0])
    np.multiply(np.sin(angle), radius, out=pairs[:, 1])
