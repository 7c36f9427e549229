"""Pooling over windows: maxima and means.

Kernels see inputs (…, *spatial) with the number of windows already known, as `size`; so that
`ceil_mode` is a matter of the public functions only.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from multitorch import dtypes
from multitorch.dtypes import dtype
from multitorch.ops.apply import write_out
from multitorch.ops.op import op
from multitorch.ops.promote import Promotion, not_implemented

Tensor = Any
Sizes = tuple[int, ...]


def _pool_dtype(name: str, d: dtype) -> dtype:
    if d.is_complex or d is dtypes.bool_ or d.name.startswith("float8"):
        raise not_implemented(name, d)
    return d


_real = Promotion("pooled", _pool_dtype, fast=frozenset())


def _windows_shape(x: Any, *, size: Sizes, **_: Any) -> tuple:
    return (*x.shape[: len(x.shape) - len(size)], *size), x.dtype


def _both_shapes(x: Any, *, size: Sizes, **_: Any) -> tuple:
    shape, d = _windows_shape(x, size=size)
    return (shape, d), (shape, np.dtype(np.int64))


def _input_shape(y: Any, *, size: Sizes, sizes: Sizes, **_: Any) -> tuple:
    return (*y.shape[: len(y.shape) - len(size)], *sizes), y.dtype


# --- maxima --------------------------------------------------------------------------------------


def _max_rule(F: Any, g: Any, x: Any, out: Any, size, kernel, stride, padding, dilation) -> Any:
    return F.max_pool_backward(
        g, x, out, size=size, kernel=kernel, stride=stride, padding=padding, dilation=dilation
    )


def _scatter_rule(F: Any, g: Any, x_shape: Any, indices: Any, size: Sizes) -> Any:
    return F.unpool(g, indices, shape=tuple(x_shape), count=len(size))


_max_pool = {
    n: op(
        "max_pool" if n == 2 else f"max_pool{n}d", "x", promote=_real, broadcasts=False,
        kernel="max_pool", node=f"MaxPool{n}DWithIndices", shape=_windows_shape,
    ).vjp(x=_max_rule)
    for n in (1, 2, 3)
}  # fmt: skip
_max_pool_with_indices = {
    n: op(
        "max_pool_with_indices" if n == 2 else f"max_pool{n}d_with_indices", "x",
        outs="out indices", diff_outs=(0,), promote=_real, broadcasts=False,
        kernel="max_pool_with_indices", node=f"MaxPool{n}DWithIndices", shape=_both_shapes,
    ).vjp(x=_scatter_rule)
    for n in (1, 2, 3)
}  # fmt: skip


def _pair(value: Any, n: int, name: str, what: str) -> Sizes:
    if value.__class__ is int:
        return (value,) * n
    if not isinstance(value, Sequence):
        return (int(value),) * n
    if len(value) == 1:
        return (int(value[0]),) * n
    if len(value) != n:
        raise RuntimeError(
            f"{name}: {what} must either be a single int, or a tuple of "
            f"{('one', 'two', 'three')[n - 1]} ints"
        )
    return tuple([int(v) for v in value])


def _count(n: int, k: int, s: int, p: int, d: int, ceil_mode: bool) -> int:
    """Return the number of windows; with `ceil_mode` the last may begin inside but reach out."""
    room = n + 2 * p - d * (k - 1) - 1
    if not ceil_mode:
        return room // s + 1
    count = -(-room // s) + 1
    return count - 1 if (count - 1) * s >= n + p else count


def _check_input(shape: Sizes, n: int, name: str) -> None:
    spatial = shape[-n - 1 :]
    if len(shape) not in (n + 1, n + 2) or not prod(spatial):
        if n == 1:
            raise RuntimeError(
                f"Expected 2D or 3D (batch mode) tensor with optional 0 dim batch size for input, "
                f"but got: {list(shape)}"
            )
        raise RuntimeError(f"non-empty {n + 1}D or {n + 2}D (batch mode) tensor expected for input")


def _geometry(x: Tensor, *arguments: Any) -> dict[str, Sizes]:
    """Check the arguments of a pooling function; return them as its kernel takes them."""
    try:
        return _checked(x._a.shape, *arguments)
    except TypeError:  # a list cannot be a key
        return _checked.__wrapped__(x._a.shape, *arguments)


@lru_cache(maxsize=1024)
def _checked(
    shape: Sizes, n: int, name: str, kernel: Any, stride: Any, padding: Any, dilation: Any,
    ceil_mode: bool,
) -> dict[str, Sizes]:  # fmt: skip
    kernel = _pair(kernel, n, name, "kernel_size")
    unset = stride is None or stride == () or stride == []
    stride = kernel if unset else _pair(stride, n, name, "stride")
    padding = _pair(padding, n, name, "padding")
    dilation = _pair(dilation, n, name, "dilation")
    if min(kernel) <= 0:
        raise RuntimeError(
            f"{name}: kernel size should be greater than zero, but got {list(kernel)}"
        )
    if min(stride) <= 0:
        raise RuntimeError("stride should not be zero")
    if min(dilation) <= 0:
        raise RuntimeError(f"dilation should be greater than zero, but got {list(dilation)}")
    for p, k, d in zip(padding, kernel, dilation):
        if p < 0:
            raise RuntimeError(f"pad must be non-negative, but got pad: {p}")
        if p > (d * (k - 1) + 1) // 2:
            raise RuntimeError(
                f"pad should be at most half of effective kernel size, but got pad={p}, "
                f"kernel_size={k} and dilation={d}"
            )
    _check_input(shape, n, name)
    spatial = shape[-n:]
    size = tuple(
        [
            _count(m, k, s, p, d, ceil_mode)
            for m, k, s, p, d in zip(spatial, kernel, stride, padding, dilation)
        ]
    )
    if min(size) < 1:
        shown = ["x".join(str(v) for v in (shape[-n - 1], *s)) for s in (spatial, size)]
        raise RuntimeError(
            f"Given input size: ({shown[0]}). Calculated output size: ({shown[1]}). "
            "Output size is too small"
        )
    return {
        "size": size, "kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation
    }  # fmt: skip


def _max(n: int) -> Any:
    name = f"max_pool{n}d"
    plain, indexed = _max_pool[n], _max_pool_with_indices[n]

    def max_pool(
        input: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Any:
        params = _geometry(input, n, name, kernel_size, stride, padding, dilation, ceil_mode)
        return indexed(input, **params) if return_indices else plain(input, **params)

    max_pool.__name__ = max_pool.__qualname__ = name
    max_pool.__doc__ = f"""Return the maximum of each window over the last {n} dimensions.

    With `return_indices` also its position in the flattened window's input; of equal maxima the
    first counts."""
    return max_pool


max_pool1d, max_pool2d, max_pool3d = _max(1), _max(2), _max(3)

# --- means ---------------------------------------------------------------------------------------


def _mean_geometry(size, kernel, stride, padding, include, override, sizes) -> dict[str, Any]:
    return {
        "size": size, "kernel": kernel, "stride": stride, "padding": padding, "include": include,
        "override": override, "sizes": sizes,
    }  # fmt: skip


def _spread(F: Any, g: Any, size, kernel, stride, padding, include, override, sizes) -> Any:
    params = _mean_geometry(size, kernel, stride, padding, include, override, sizes)
    return F.avg_pool_backward(g, **params)


def _gather(F: Any, g: Any, size, kernel, stride, padding, include, override, sizes) -> Any:
    params = _mean_geometry(size, kernel, stride, padding, include, override, sizes)
    return F.avg_pool(g, **params)


_avg_pool = {
    n: op(
        "avg_pool" if n == 2 else f"avg_pool{n}d", "x", promote=_real, broadcasts=False,
        kernel="avg_pool", node=f"AvgPool{n}D", shape=_windows_shape,
    ).vjp(x=_spread)
    for n in (1, 2, 3)
}  # fmt: skip
op(
    "avg_pool_backward", "y", promote=_real, broadcasts=False, node="AvgPool2DBackward",
    shape=_input_shape,
).vjp(y=_gather)  # fmt: skip


def _avg(
    n: int, x: Tensor, kernel: Any, stride: Any, padding: Any, ceil_mode: bool, include: bool,
    override: int | None,
) -> Tensor:  # fmt: skip
    params: dict[str, Any] = dict(
        _geometry(x, n, f"avg_pool{n}d", kernel, stride, padding, 1, ceil_mode)
    )
    del params["dilation"]
    if override == 0:
        raise RuntimeError("divisor must be not zero")
    sizes = tuple(x.shape[-n:])
    return _avg_pool[n](x, **params, include=include, override=override, sizes=sizes)


def avg_pool1d(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0,
    ceil_mode: bool = False, count_include_pad: bool = True,
) -> Tensor:  # fmt: skip
    """Return the mean of each window over the last dimension."""
    return _avg(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0,
    ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: int | None = None,
    *, out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return the mean of each window over the last two dimensions.

    >>> import multitorch as torch
    >>> torch.nn.functional.avg_pool2d(torch.ones(1, 4, 4), 2)
    tensor([[[1., 1.],
             [1., 1.]]])
    """
    t = _avg(2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return t if out is None else write_out(out, t)


def avg_pool3d(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0,
    ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: int | None = None,
    *, out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return the mean of each window over the last three dimensions."""
    t = _avg(3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return t if out is None else write_out(out, t)


# --- windows chosen by the size of the output ----------------------------------------------------

_adaptive_avg = {
    n: op(
        "adaptive_avg_pool" if n == 2 else f"adaptive_avg_pool{n}d", "x", promote=_real,
        broadcasts=False, kernel="adaptive_avg_pool", node=f"AdaptiveAvgPool{n}D",
        shape=_windows_shape,
    ).vjp(x=lambda F, g, size, sizes: F.adaptive_avg_pool_backward(g, size=size, sizes=sizes))
    for n in (1, 2, 3)
}  # fmt: skip
op(
    "adaptive_avg_pool_backward", "y", promote=_real, broadcasts=False,
    node="AdaptiveAvgPool2DBackward", shape=_input_shape,
).vjp(y=lambda F, g, size, sizes: F.adaptive_avg_pool(g, size=size, sizes=sizes))  # fmt: skip


def _adaptive_size(x: Tensor, size: Any, n: int, name: str) -> Sizes:
    """Return the output size; None keeps the input's."""
    if x.ndim < n + 1:
        raise ValueError(f"Input dimension should be at least {n + 1}")
    if x.ndim > n + 2:
        raise RuntimeError(
            f"{name}(): Expected {n + 1}D or {n + 2}D tensor, but got {list(x.shape)}"
        )
    wanted = [size] * n if size is None or not isinstance(size, Sequence) else list(size)
    if len(wanted) != n:
        raise RuntimeError(f"{name}: output_size must be {n}")
    found = tuple([m if s is None else int(s) for s, m in zip(wanted, x.shape[-n:])])
    if min(found) < 0:
        raise RuntimeError(
            f"{name}: elements of output_size must be greater than or equal to 0 but received "
            f"{list(found)}"
        )
    return found


def _even(sizes: Sizes, size: Sizes) -> Sizes | None:
    """Return the kernel of equal windows side by side, or None if they are not equal."""
    if 0 in size or any(n % o for n, o in zip(sizes, size)):
        return None
    return tuple([n // o for n, o in zip(sizes, size)])


def _adaptive_mean(n: int) -> Any:
    name = f"adaptive_avg_pool{n}d"
    function = _adaptive_avg[n]

    def pool(input: Tensor, output_size: Any) -> Tensor:
        size = _adaptive_size(input, output_size, n, name)
        sizes = tuple(input.shape[-n:])
        if size == (1,) * n:
            return input.mean(tuple(range(-n, 0)), keepdim=True)
        return function(input, size=size, sizes=sizes)

    pool.__name__ = pool.__qualname__ = name
    pool.__doc__ = f"""Return means of windows over the last {n} dimensions, `output_size` of them.

    Window i covers floor(i L / out) to ceil((i + 1) L / out)."""
    return pool


adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d = map(_adaptive_mean, (1, 2, 3))


def _adaptive_table(n: int, out: int) -> tuple[np.ndarray, int]:
    """Return the input positions of every window, flat, and the length of the longest.

    A shorter window repeats its first element, which changes neither maximum nor index.
    """
    i = np.arange(out)[:, None]
    start, end = i * n // out, -(-(i + 1) * n // out)
    longest = int((end - start).max()) if out else 1
    at = start + np.arange(longest)
    return np.where(at < end, at, start).reshape(-1), longest


def _adaptive_maximum(n: int) -> Any:
    name = f"adaptive_max_pool{n}d"

    def pool(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
        size = _adaptive_size(input, output_size, n, name)
        sizes = tuple(input.shape[-n:])
        kernel = _even(sizes, size)
        if kernel is not None:
            params = {
                "size": size, "kernel": kernel, "stride": kernel, "padding": (0,) * n,
                "dilation": (1,) * n,
            }  # fmt: skip
            function = _max_pool_with_indices if return_indices else _max_pool
            return function[n](input, **params)
        values, indices = _adaptive_uneven(input, sizes, size)
        return (values, indices) if return_indices else values

    pool.__name__ = pool.__qualname__ = name
    pool.__doc__ = f"""Return maxima of windows over the last {n} dimensions, `output_size` many."""
    return pool


def _adaptive_uneven(x: Tensor, sizes: Sizes, size: Sizes) -> tuple[Tensor, Tensor]:
    n = len(sizes)
    tables, kernel = zip(*(_adaptive_table(m, o) for m, o in zip(sizes, size)))
    tables = [_constant(x, table) for table in tables]
    for axis, table in enumerate(tables):
        x = x.index_select(x.ndim - n + axis, table)
    values, indices = _max_pool_with_indices[n](
        x, size=size, kernel=kernel, stride=kernel, padding=(0,) * n, dilation=(1,) * n
    )
    flat: Any = 0
    rest = indices
    for axis in range(n):
        step = prod(o * k for o, k in zip(size[axis + 1 :], kernel[axis + 1 :]))
        at, rest = rest.div(step, rounding_mode="floor"), rest % step
        flat = tables[axis][at] + flat * sizes[axis]
    return values, flat


def _constant(x: Tensor, a: np.ndarray) -> Tensor:
    from multitorch.ops.apply import wrap

    dev = x._dev
    return wrap(dev.backend.put(a.astype(np.int64), type=dev.type, index=dev.ordinal), dev)


adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d = map(_adaptive_maximum, (1, 2, 3))

METHODS: dict = {}
INPLACE: dict = {}
FUNCTIONS = {
    "max_pool1d": max_pool1d,
    "max_pool2d": max_pool2d,
    "max_pool3d": max_pool3d,
    "avg_pool1d": avg_pool1d,
    "adaptive_avg_pool1d": adaptive_avg_pool1d,
    "adaptive_max_pool1d": adaptive_max_pool1d,
}
