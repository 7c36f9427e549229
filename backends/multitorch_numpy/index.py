"""NumPy kernels: gathering, scattering and what depends on the values of indices or masks."""

from __future__ import annotations

import builtins
import re

import numpy as np

_ALL = builtins.slice(None)


def _error(error: IndexError) -> IndexError:
    """Return NumPy's out-of-bounds error in PyTorch's words."""
    return IndexError(re.sub(r"axis (\d+)", r"dimension \1", str(error)))


def _no_negative(index, size, dim):
    if index.size and np.minimum.reduce(index, axis=None) < 0:
        raise _outside(int(index.min()), dim, size)


def _outside(bad, dim, size):
    return RuntimeError(f"index {bad} is out of bounds for dimension {dim} with size {size}")


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
    _no_negative(index, x.shape[dim], dim)
    if index.size and np.maximum.reduce(index, axis=None) >= x.shape[dim]:
        raise _outside(int(index.max()), dim, x.shape[dim])


def _add_rows(rows, index, values):
    """Add `values[i]` to `rows[index[i]]`; an index may occur many times."""
    if rows.ndim == 1:
        np.add.at(rows, index, values)
        return
    order = index.argsort(kind="stable")
    ordered = index[order]
    fresh = np.empty(len(ordered), bool)
    fresh[:1] = True
    np.not_equal(ordered[1:], ordered[:-1], out=fresh[1:])
    starts = fresh.nonzero()[0]
    if len(starts) == len(index):
        rows[index] += values
    elif len(starts):
        rows[ordered[starts]] += np.add.reduceat(values[order], starts, axis=0, dtype=rows.dtype)


# --- along one dimension --------------------------------------------------------------------------


def gather(x, index, *, dim):
    if not index.ndim or not x.ndim:
        return x.reshape(-1)[index.reshape(-1)].reshape(index.shape)
    _no_negative(index, x.shape[dim], dim)
    try:
        return x[_along(index, dim)]
    except IndexError:
        raise _outside(int(index.max()), dim, x.shape[dim]) from None


def _part(src, index):
    """Return the corner of `src` that an index of lesser sizes reads."""
    if not isinstance(src, np.ndarray) or not src.ndim or src.shape == index.shape:
        return src
    return src[tuple([builtins.slice(n) for n in index.shape])]


def scatter(x, index, src, *, dim):
    return _scattered(x.copy(), index, src, dim)


def _scattered(out, index, src, dim):
    if not out.ndim or not index.ndim:
        if index.size:
            out.reshape(-1)[index.reshape(-1)] = src
        return out
    _checked(out, index, dim)
    out[_along(index, dim)] = _part(src, index)
    return out


def scatter_add(x, index, src, *, dim):
    return _scatter_added(x.copy(), index, src, dim)


def _scatter_added(out, index, src, dim):
    if not out.ndim or not index.ndim:
        np.add.at(out.reshape(-1), index.reshape(-1), np.reshape(src, -1))
        return out
    _checked(out, index, dim)
    places = np.broadcast_arrays(*_along(index, dim))
    flat = np.ravel_multi_index(places, out.shape)
    if out.flags.c_contiguous:
        np.add.at(out.reshape(-1), flat.reshape(-1), _part(src, index).reshape(-1))
    else:
        np.add.at(out, _along(index, dim), _part(src, index))
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
    out = x.copy()
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
    try:
        if not index.size or np.minimum.reduce(index, axis=None) >= 0:
            return x.take(index, dim)
    except IndexError:
        pass
    raise IndexError("index out of range in self")


def index_add(x, index, src, *, dim):
    return _index_added(x.copy(), index, src, dim)


def _index_added(out, index, src, dim):
    if not out.ndim:
        np.add.at(out.reshape(1), index.reshape(-1), np.reshape(src, -1))
        return out
    _checked(out, index, dim)
    _add_rows(np.moveaxis(out, dim, 0) if dim else out, index.reshape(-1),
              np.moveaxis(src, dim, 0) if dim else src)
    return out


def index_copy(x, index, src, *, dim):
    return _index_copied(x.copy(), index, src, dim)


def _index_copied(out, index, src, dim):
    if not out.ndim:
        if index.size:
            out[...] = np.reshape(src, -1)[-1]
        return out
    _checked(out, index, dim)
    out[(_ALL,) * dim + (index.reshape(-1),)] = src
    return out


def index_fill(x, index, value, *, dim):
    out = x.copy()
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
    return index_put_(x.copy(), values, *indices, accumulate=accumulate)


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
    if len(given) > 1 or any(indices[d].dtype.kind == "b" for d in given):
        np.add.at(x, key, values)
        return
    d = given[0]
    index = indices[d]
    shape = (*x.shape[:d], *index.shape, *x.shape[d + 1 :])
    values = np.broadcast_to(values, shape)
    values = values.reshape(*x.shape[:d], index.size, *x.shape[d + 1 :])
    flat = index.reshape(-1)
    flat = np.where(flat < 0, flat + x.shape[d], flat)
    _checked(x, flat, d)
    _add_rows(np.moveaxis(x, d, 0), flat, np.moveaxis(values, d, 0))


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
    out = x.copy()
    count = int(np.count_nonzero(mask))
    if count > source.size:
        raise RuntimeError(
            "masked_scatter: expected self and source to have same dtypes and the number of "
            f"elements of source ({source.size}) to be at least the number of ones in mask ({count})"
        )
    out[mask] = source.reshape(-1)[:count]
    return out


def repeat_positions(repeats):
    """Return i repeated `repeats[i]` times, for every i."""
    return np.repeat(np.arange(len(repeats)), repeats)
