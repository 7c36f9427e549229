"""The optimizers' steps in place: one pass after another over a block, with one scratch array."""

from __future__ import annotations

import math as _math
import threading as _threading
from collections.abc import Iterable as _Iterable
from collections.abc import Iterator as _Iterator
from typing import Any as _Any

import numpy as _np

from multitorch.backend import generic_optim as _generic

# A block and its scratch array stay in the cache; a fresh temporary of this size would be mapped
# and unmapped by the allocator at each use.
_BLOCK = 1 << 16
_local = _threading.local()

_Array = _np.ndarray
_Block = tuple[_Array, ...]
_NATIVE = (_np.dtype(_np.float32), _np.dtype(_np.float64))


def _scratch(like: _Array) -> _Array:
    """Return an array of the shape and dtype of `like`, whose memory every call shares."""
    views: dict[_Any, _Array] = _local.__dict__
    key = like.dtype, like.shape
    if key not in views:
        flat = views.setdefault(like.dtype, _np.empty(_BLOCK, like.dtype))
        views[key] = flat[: like.size].reshape(like.shape)
    return views[key]


def _takes(*arrays: _Array) -> bool:
    """Whether the arrays can be walked in blocks: of one native dtype, contiguous, not 0-d."""
    dtype = arrays[0].dtype
    if dtype not in _NATIVE or not arrays[0].ndim:
        return False
    for a in arrays:
        if a.dtype is not dtype or not a.flags.carray:
            return False
    return True


def _blocks(*arrays: _Array) -> _Iterable[_Block]:
    """Return the arrays' blocks, each with a scratch block at the end."""
    if arrays[0].size <= _BLOCK:
        return ((*arrays, _scratch(arrays[0])),)
    return _cut([a.reshape(-1) for a in arrays])


def _cut(arrays: list[_Array]) -> _Iterator[_Block]:
    for i in range(0, arrays[0].size, _BLOCK):
        parts = [a[i : i + _BLOCK] for a in arrays]
        yield (*parts, _scratch(parts[0]))


def _effective(
    g: _Array, x: _Array, weight_decay: float, maximize: bool, out: _Array | None = None
) -> _Array:
    """Return `±g + weight_decay·x`: `g` itself where that is the same, otherwise `out`."""
    if not weight_decay:
        return _np.negative(g, out=out) if maximize else g
    out = _np.multiply(x, weight_decay, out=out)
    return _np.subtract(out, g, out=out) if maximize else _np.add(out, g, out=out)


def sgd_step(p, g, lr, weight_decay, *, maximize):
    """`p -= lr·g`."""
    if not _takes(p, g):
        return _generic_step("sgd_step", p, g, lr, weight_decay, maximize=maximize)
    for x, grad, t in _blocks(p, g):
        grad = _effective(grad, x, weight_decay, maximize, t)
        x -= _np.multiply(grad, lr, out=t)
    return p


def sgd_momentum_step(p, g, buf, lr, momentum, rate, weight_decay, *, nesterov, maximize):
    """`buf ← momentum·buf + rate·g`, `p -= lr·buf`."""
    if not _takes(p, g, buf):
        flags = {"nesterov": nesterov, "maximize": maximize}
        hyper = (lr, momentum, rate, weight_decay)
        return _generic_step("sgd_momentum_step", p, g, buf, *hyper, **flags)
    for x, grad, b, t in _blocks(p, g, buf):
        grad = _effective(grad, x, weight_decay, maximize, t)
        b *= momentum
        b += _np.multiply(grad, rate, out=t) if rate != 1 else grad
        if nesterov:
            grad = b * momentum + grad
        else:
            grad = b
        x -= _np.multiply(grad, lr, out=t)
    return p, buf


def _adam(blocks, count: float, hyper: tuple, maximize: bool, decoupled: bool) -> None:
    """Take Adam's step on blocks of (p, g, m, v, the moment to divide by, scratch)."""
    lr, rate1, rate2, eps = map(float, hyper[:4])
    weight_decay = float(hyper[4] or 0)
    root = _math.sqrt(_bias_correction(count, rate2))
    size = lr * root / _bias_correction(count, rate1)
    for x, grad, m, v, top, t in blocks:
        if decoupled and weight_decay:
            x *= 1 - lr * weight_decay
        grad = _effective(grad, x, 0 if decoupled else weight_decay, maximize)
        _lerp(m, grad, rate1, t)
        _lerp(v, _np.multiply(grad, grad, out=t), rate2, t)
        if top is not v:
            _np.maximum(top, v, out=top)
        _np.sqrt(top, out=t)
        t += eps * root
        _np.divide(m, t, out=t)
        t *= size
        x -= t


def _lerp(start, end, weight, scratch) -> None:
    """`start += (end - start)·weight`; `end` may be the scratch array."""
    _np.subtract(end, start, out=scratch)
    scratch *= weight
    start += scratch


def _bias_correction(count: float, rate: float) -> float:
    return 1.0 if rate >= 1 else -_math.expm1(count * _math.log1p(-rate))


def adam_step(p, g, m, v, step, lr, rate1, rate2, eps, weight_decay, *, maximize, decoupled):
    """One step of Adam, of AdamW with `decoupled`."""
    hyper = (lr, rate1, rate2, eps, weight_decay)
    if not _takes(p, g, m, v):
        flags = {"maximize": maximize, "decoupled": decoupled}
        return _generic_step("adam_step", p, g, m, v, step, *hyper, **flags)
    step += 1
    blocks = ((x, grad, a, b, b, t) for x, grad, a, b, t in _blocks(p, g, m, v))
    _adam(blocks, float(step), hyper, maximize, decoupled)
    return p, m, v, step


def amsgrad_step(
    p, g, m, v, vmax, step, lr, rate1, rate2, eps, weight_decay, *, maximize, decoupled
):
    """Adam that divides by the largest second moment so far."""
    hyper = (lr, rate1, rate2, eps, weight_decay)
    if not _takes(p, g, m, v, vmax):
        flags = {"maximize": maximize, "decoupled": decoupled}
        return _generic_step("amsgrad_step", p, g, m, v, vmax, step, *hyper, **flags)
    step += 1
    _adam(_blocks(p, g, m, v, vmax), float(step), hyper, maximize, decoupled)
    return p, m, v, vmax, step


class _World:
    """What the generic bodies need of NumPy."""

    sqrt, expm1, log1p, maximum = _np.sqrt, _np.expm1, _np.log1p, _np.maximum

    @staticmethod
    def cast(a, *, dtype):
        return _np.asarray(a).astype(dtype)


def _generic_step(name: str, *arrays, **flags):
    return getattr(_generic, name)(_World, *arrays, **flags)
