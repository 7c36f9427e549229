"""NumPy kernels: gathering, scattering and what depends on the values of indices or masks."""

from __future__ import annotations

import builtins
import functools
import math
import re

import numpy as np

from multitorch_numpy import rows as _rows

_ALL = builtins.slice(None)


def _error(error: IndexError) -> IndexError:
    """Return NumPy's out-of-bounds error in PyTorch's words."""
    return IndexError(re.sub(r"axis (\d+)", r"dimension \1", str(error)))


def _outside(index, dim, size):
    bad = int(index.min())
    bad = bad if bad < 0 else int(index.max())
    return RuntimeError(f"index {bad} is out of bounds for dimension {dim} with size {size}")


_UNSIGNED = {n: np.dtype(f"u{n}") for n in (1, 2, 4, 8)}


def _within(index, size):
    """Whether all indices are in [0, size): read as unsigned, a negative one is huge."""
    if not index.size:
        return True
    unsigned = index.view(_UNSIGNED[index.itemsize])
    return unsigned.item(unsigned.argmax()) < size


def _along(index, dim):
    """Return the index tuple that pairs every element of `index` with its own place elsewhere."""
    places = []
    for d, n in enumerate(index.shape):
        if d == dim:
            places.append(index)
        else:
            line = [1] * index.ndim
            line[d] = n
            places.append(np.arange(n).reshape(line))
    return tuple(places)


def _checked(x, index, dim):
    if not _within(index, x.shape[dim]):
        raise _outside(index, dim, x.shape[dim])


def _flat_along(index, shape, dim):
    """Return `_along` as numbers of the elements of a row-major array."""
    if dim == 1 and index.ndim == 2:
        return index + _rows.places(len(index), shape[1], index.shape[1])
    rest = (*index.shape[:dim], 1, *index.shape[dim + 1 :])
    offsets = _offsets if math.prod(rest) <= _REMEMBERED else _offsets.__wrapped__
    step = math.prod(shape[dim + 1 :])
    return (index if step == 1 else index * step) + offsets(rest, shape, dim)


_REMEMBERED = 1 << 14


@functools.lru_cache(maxsize=64)
def _offsets(sizes, shape, dim):
    """Return where the corner of these sizes lies in a row-major array, dimension `dim` apart."""
    flat = np.zeros((1,) * len(shape), np.int64)
    for d, n in enumerate(sizes):
        if d != dim:
            line = [1] * len(shape)
            line[d] = n
            flat = flat + (np.arange(n) * math.prod(shape[d + 1 :])).reshape(line)
    return flat


def _add_slices(x, index, values, dim):
    """Add `values` to the slices of a row-major `x` that `index` names, again if it occurs again.

    On flat arrays `np.add.at` is an order of magnitude faster than on slices; wide slices are
    added in turns, first those that name a slice for the first time.
    """
    after = math.prod(x.shape[dim + 1 :])
    if dim == 0 and after >= _WIDE and values.size >= _MUCH and _add_in_turns(x, index, values):
        return
    rows = (
        index if dim == 0 else index + np.arange(math.prod(x.shape[:dim]))[:, None] * x.shape[dim]
    )
    flat = rows if after == 1 else (rows * after)[..., None] + np.arange(after)
    np.add.at(x.reshape(-1), flat.reshape(-1), values.reshape(-1))


_WIDE, _MUCH = 32, 1 << 13


def _add_in_turns(x, index, values):
    """Add slices in turns none of which names a slice twice; False if that takes too many turns."""
    order = index.argsort(kind="stable")
    target = index[order]
    fresh = np.empty(len(target), bool)
    fresh[:1] = True
    np.not_equal(target[1:], target[:-1], out=fresh[1:])
    starts = np.flatnonzero(fresh)
    counts = np.diff(starts, append=len(target))
    turns = int(counts.max(initial=0))
    if turns > 8 + len(index) // 64:
        return False
    turn = np.arange(len(target)) - np.repeat(starts, counts)
    order = order[turn.argsort(kind="stable")]
    table, values = x.reshape(len(x), -1), values.reshape(len(index), -1)
    begin = 0
    for count in np.bincount(turn).tolist():
        chosen = order[begin : begin + count]
        table[index[chosen]] += values[chosen]
        begin += count
    return True


# --- along one dimension --------------------------------------------------------------------------


def gather(x, index, *, dim):
    if not index.ndim or not x.ndim:
        return x.reshape(-1)[index.reshape(-1)].reshape(index.shape)
    _checked(x, index, dim)
    if x.flags.c_contiguous:
        return x.take(_flat_along(index, x.shape, dim))
    return x[_along(index, dim)]


def _part(src, index):
    """Return the corner of `src` that an index of lesser sizes reads."""
    if not isinstance(src, np.ndarray) or not src.ndim or src.shape == index.shape:
        return src
    return src[tuple([builtins.slice(n) for n in index.shape])]


def scatter(x, index, src, *, dim):
    out = np.array(x, order="C")
    if not out.ndim or not index.ndim:
        if index.size:
            out.reshape(-1)[index.reshape(-1)] = src
        return out
    _checked(out, index, dim)
    part = _part(src, index)
    if isinstance(part, np.ndarray) and part.ndim:
        part = part.reshape(-1)
    out.reshape(-1)[_flat_along(index, out.shape, dim).reshape(-1)] = part
    return out


def scatter_add(x, index, src, *, dim):
    out = np.array(x, order="C")
    if not out.ndim or not index.ndim:
        np.add.at(out.reshape(-1), index.reshape(-1), np.reshape(src, -1))
        return out
    _checked(out, index, dim)
    flat = _flat_along(index, out.shape, dim)
    np.add.at(out.reshape(-1), flat.reshape(-1), _part(src, index).reshape(-1))
    return out


_REDUCERS = {
    "sum": np.add,
    "prod": np.multiply,
    "mean": np.add,
    "amax": np.maximum,
    "amin": np.minimum,
}


def _neutral(dtype, reduce):
    if reduce in ("sum", "mean", "prod"):
        return int(reduce == "prod")
    if dtype.kind in "iub":
        low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    else:
        low, high = -np.inf, np.inf
    return low if reduce == "amax" else high


def scatter_reduce(x, index, src, *, dim, reduce, include_self):
    out = np.array(x, order="C")
    if not index.size:
        return out
    if not out.ndim:
        out1 = scatter_reduce(
            out.reshape(1), index.reshape(-1), src.reshape(-1), dim=0, reduce=reduce,
            include_self=include_self,
        )  # fmt: skip
        return out1.reshape(())
    _checked(out, index, dim)
    where = _along(index, dim)
    src = _part(src, index)
    if not include_self:
        out[where] = _neutral(out.dtype, reduce)
    _REDUCERS[reduce].at(out, where, src)
    if reduce == "mean":
        count = np.full(out.shape, int(include_self), np.int64)
        np.add.at(count, where, 1)
        count = np.maximum(count, 1)
        out = (out // count if out.dtype.kind in "iu" else out / count).astype(out.dtype)
    return out


def index_select(x, index, *, dim):
    if not x.ndim:
        return x.reshape(1).take(index.reshape(-1)).reshape(())
    if not _within(index, x.shape[dim]):
        raise IndexError("index out of range in self")
    return x.take(index, dim)


def index_add(x, index, src, *, dim):
    out = np.array(x, order="C")
    if not out.ndim:
        np.add.at(out.reshape(1), index.reshape(-1), np.reshape(src, -1))
        return out
    _checked(out, index, dim)
    _add_slices(out, index.reshape(-1), src, dim)
    return out


def index_copy(x, index, src, *, dim):
    out = np.array(x, order="C")
    if not out.ndim:
        if index.size:
            out[...] = np.reshape(src, -1)[-1]
        return out
    _checked(out, index, dim)
    out[(_ALL,) * dim + (index.reshape(-1),)] = src
    return out


def index_fill(x, index, value, *, dim):
    out = np.array(x, order="C")
    if not out.ndim:
        out[...] = value
        return out
    try:
        out[(_ALL,) * dim + (index.reshape(-1),)] = value
    except IndexError as error:
        raise _error(error) from None
    return out


# --- along several dimensions ---------------------------------------------------------------------


def _key(indices):
    return tuple([_ALL if i is None else i for i in indices])


def index(x, *indices):
    given = [d for d, i in enumerate(indices) if i is not None]
    try:
        if len(given) == 1 and indices[given[0]].dtype.kind != "b":
            return x.take(indices[given[0]], given[0])
        out = x[_key(indices)]
    except IndexError as error:
        raise _error(error) from None
    return out


def index_put(x, values, *indices, accumulate):
    return index_put_(np.array(x, order="C"), values, *indices, accumulate=accumulate)


def index_put_(x, values, *indices, accumulate):
    """Store values in `x` itself."""
    key = _key(indices)
    try:
        if not accumulate:
            x[key] = values
        elif all(i is None or i.dtype.kind == "b" for i in indices):
            x[key] += values
        else:
            _accumulate(x, values, indices, key)
    except IndexError as error:
        raise _error(error) from None
    return x


def _accumulate(x, values, indices, key):
    given = [d for d, i in enumerate(indices) if i is not None]
    d = given[0]
    index = indices[d]
    if len(given) > 1 or index.dtype.kind == "b" or not x.flags.c_contiguous:
        np.add.at(x, key, values)
        return
    values = np.broadcast_to(values, (*x.shape[:d], *index.shape, *x.shape[d + 1 :]))
    flat = index.reshape(-1)
    if not _within(flat, x.shape[d]):
        flat = np.where(flat < 0, flat + x.shape[d], flat)
        if not _within(flat, x.shape[d]):
            raise IndexError(str(_outside(index, d, x.shape[d])))
    _add_slices(x, flat, values, d)


def take(x, index):
    try:
        return x.reshape(-1).take(index)
    except IndexError:
        raise IndexError(
            f"out of range: tried to access index {int(np.abs(index).max())} on a tensor of "
            f"{x.size} elements."
        ) from None


def put_flat(x, index, source, *, accumulate):
    out = np.ascontiguousarray(x).reshape(-1).copy()
    flat = index.reshape(-1)
    if index.size:
        low, high = int(flat.min()), int(flat.max())
        if low < -out.size or high >= out.size:
            raise IndexError(
                f"out of range: tried to access index {high if high >= out.size else low} on a "
                f"tensor of {out.size} elements."
            )
    if accumulate:
        np.add.at(out, flat, source.reshape(-1))
    else:
        out[flat] = source.reshape(-1)
    return out.reshape(x.shape)


# --- what the values decide -----------------------------------------------------------------------


def nonzero(x):
    if not x.ndim:
        return np.zeros((int(bool(x)), 0), np.int64)
    return np.stack(x.nonzero(), 1)


def masked_select(x, mask):
    return x[mask]


def masked_scatter(x, mask, source):
    out = np.array(x, order="C")
    count = int(np.count_nonzero(mask))
    if count > source.size:
        raise RuntimeError(
            f"masked_scatter: Number of elements of source ({source.size}) < number of ones in "
            f"mask ({count})"
        )
    out[mask] = source.reshape(-1)[:count]
    return out


def repeat_positions(repeats):
    """Return i repeated `repeats[i]` times, for every i."""
    return np.repeat(np.arange(len(repeats)), repeats)


def one_hot(x, *, classes):
    out = np.zeros((*x.shape, classes), np.int64)
    if x.size:
        out.reshape(-1)[x.reshape(-1) + _rows.starts(x.size, classes)] = 1
    return out
