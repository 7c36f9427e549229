"""Interpolation: every dimension is resampled by a table of positions and weights."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from multitorch import dtypes
from multitorch.ops.apply import wrap
from multitorch.ops.gather import index_select
from multitorch.ops.op import op
from multitorch.ops.pool import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d
from multitorch.ops.promote import not_implemented
from multitorch.ops.resample_tables import byte_tables, tables

Tensor = Any


def _resampled(x: Any, index: Any, *rest: Any, dim: int) -> tuple:
    return (*x.shape[:dim], index.shape[0], *x.shape[dim + 1 :]), x.dtype


_resample = op(
    "resample", "x index weight back_index back_weight", node="Resample", shape=_resampled
).vjp(
    x=lambda F, g, index, weight, back_index, back_weight, dim: F.resample(
        g, back_index, back_weight, index, weight, dim=dim
    )
)


def constant(x: Tensor, a: np.ndarray) -> Tensor:
    """Return a host array as a tensor on the device of `x`."""
    dev = x._dev
    return wrap(dev.backend.put(a, type=dev.type, index=dev.ordinal), dev)


# --- arguments -----------------------------------------------------------------------------------

_NEAREST = ("nearest", "nearest-exact")
_RANKS = {"linear": 3, "bilinear": 4, "bicubic": 4, "trilinear": 5}
_KERNELS = {"linear": "linear", "bilinear": "linear", "trilinear": "linear", "bicubic": "cubic"}
_AREA: dict[int, Callable] = {
    1: adaptive_avg_pool1d, 2: adaptive_avg_pool2d, 3: adaptive_avg_pool3d
}  # fmt: skip


def _numbers(value: Any, spatial: int, what: str, shape: Sequence[int]) -> list:
    if not isinstance(value, Sequence):
        return [value] * spatial
    if len(value) != spatial:
        raise ValueError(
            "Input and output must have the same number of spatial dimensions, but got input with "
            f"spatial dimensions of {list(shape[2:])} and {what} of {list(value)}. Please provide "
            "input tensor in (N, C, d1, d2, ...,dK) format and "
            + (
                "output size in (o1, o2, ...,oK) format."
                if what == "output size"
                else "scale_factor in (s1, s2, ...,sK) format."
            )
        )
    return list(value)


def _check_mode(mode: str, align: bool | None, antialias: bool, rank: int) -> None:
    if mode in (*_NEAREST, "area"):
        if align is not None:
            raise ValueError(
                "align_corners option can only be set with the interpolating modes: "
                "linear | bilinear | bicubic | trilinear"
            )
    elif mode not in _RANKS:
        raise NotImplementedError(
            "Input Error: Only 3D, 4D and 5D input Tensors supported (got "
            f"{rank}D) for the modes: nearest | linear | bilinear | bicubic | trilinear | area | "
            f"nearest-exact (got {mode})"
        )
    if antialias and not (mode in ("bilinear", "bicubic") and rank == 4):
        raise ValueError(
            "Anti-alias option is restricted to bilinear and bicubic modes and requires a 4-D "
            "tensor as input"
        )


def _check_rank(mode: str, rank: int) -> None:
    needed = _RANKS.get(mode)
    if needed is not None and rank in (3, 4, 5) and rank != needed:
        raise NotImplementedError(f"Got {rank}D input, but {mode} mode needs {needed}D input")
    if rank not in (3, 4, 5):
        raise NotImplementedError(
            f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {rank}D) for the modes: "
            "nearest | linear | bilinear | bicubic | trilinear | area | nearest-exact "
            f"(got {mode})"
        )


def _target(
    shape: Sequence[int], size: Any, scale: Any, recompute: bool | None
) -> tuple[list[int], list[float] | None]:
    """Return the output's spatial sizes, and the factors if they count."""
    spatial = len(shape) - 2
    if size is not None and scale is not None:
        raise ValueError("only one of size or scale_factor should be defined")
    if size is not None:
        if recompute:
            raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
        sizes = [int(n) for n in _numbers(size, spatial, "output size", shape)]
        return sizes, None
    if scale is None:
        raise ValueError("either size or scale_factor should be defined")
    factors = [float(f) for f in _numbers(scale, spatial, "scale_factor", shape)]
    sizes = [math.floor(n * f) for n, f in zip(shape[2:], factors)]
    return sizes, None if recompute else factors


# --- interpolation -------------------------------------------------------------------------------


def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Resize (N, C, d1, …, dK) to `size`, or by `scale_factor`.

    Modes: nearest, nearest-exact, area (K = 1, 2, 3), linear (K = 1), bilinear and bicubic
    (K = 2), trilinear (K = 3). With `align_corners` the corners' centers stay where they are, else
    their outer edges. `antialias` widens the filter when an image shrinks.

    >>> import multitorch as torch
    >>> x = torch.tensor([[[0.0, 2.0]]])
    >>> torch.nn.functional.interpolate(x, scale_factor=2, mode="linear")
    tensor([[[0.0000, 0.5000, 1.5000, 2.0000]]])
    """
    rank = input._a.ndim
    _check_mode(mode, align_corners, antialias, rank)
    sizes, factors = _target(input.shape, size, scale_factor, recompute_scale_factor)
    _check_rank(mode, rank)
    if mode == "area":
        return _AREA[rank - 2](input, sizes)
    kernel = mode if mode in _NEAREST else _KERNELS[mode] + "-filter" * antialias
    return _resize(input, kernel, sizes, factors, bool(align_corners))


def _resize(x: Tensor, kernel: str, sizes: list[int], factors: list | None, align: bool) -> Tensor:
    """Resample every spatial dimension, the one that shrinks most first."""
    shape = tuple(x._a.shape)
    if 0 in shape[1:] or min(sizes) <= 0:
        raise RuntimeError(
            "Input and output sizes should be greater than 0, but got input "
            f"(spatial: {list(shape[2:])}) output (spatial: {sizes})"
        )
    dtype = x._dtype
    if dtype.is_complex or not (dtype.is_floating_point or dtype is dtypes.uint8):
        raise not_implemented(f"upsample_{kernel}", dtype)
    given = factors or [None] * len(sizes)
    if kernel == "nearest" and len(sizes) == 2 and list(shape[2:]) == sizes:
        return x.clone()
    if kernel not in _NEAREST and dtype is dtypes.uint8:
        return _resize_bytes(x, kernel, sizes, given, align)
    if kernel not in _NEAREST and dtype.itemsize < 4:
        return _resize(x.to(dtypes.float32), kernel, sizes, factors, align).to(dtype)
    wide = dtype is dtypes.float64
    for i in sorted(range(len(sizes)), key=lambda i: (sizes[i] / shape[i + 2], -i)):
        x = _resize_dim(x, i + 2, tables(kernel, shape[i + 2], sizes[i], given[i], align, wide))
    return x.contiguous()


def _resize_dim(x: Tensor, dim: int, found: Sequence[np.ndarray]) -> Tensor:
    if not x._dtype.is_floating_point:
        return index_select(x, dim, constant(x, found[0].reshape(-1)))
    index, weight, back_index, back_weight = (constant(x, table) for table in found)
    if x._dtype.itemsize < 4:
        weight, back_weight = weight.to(x._dtype), back_weight.to(x._dtype)
    return _resample(x, index, weight, back_index, back_weight, dim=dim)


def _resize_bytes(x: Tensor, kernel: str, sizes: list[int], given: list, align: bool) -> Tensor:
    """Resample bytes, the last dimension first, rounding to bytes after each dimension."""
    shape = x._a.shape
    x = x.to(dtypes.float32)
    for i in reversed(range(len(sizes))):
        if shape[i + 2] == sizes[i] and kernel != "cubic":
            continue
        table, bits = byte_tables(kernel, shape[i + 2], sizes[i], given[i], align)
        x = _resize_dim(x, i + 2, (*table, *table))
        x = ((x + 2.0 ** (bits - 1)) * 2.0**-bits).floor().clamp(0, 255)
    return x.to(dtypes.uint8)


def upsample(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """Resize like `interpolate`, whose older name this is."""
    _deprecated("upsample")
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """Resize by the nearest element."""
    _deprecated("upsample_nearest")
    return interpolate(input, size, scale_factor, mode="nearest")


def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """Resize (N, C, H, W) bilinearly, with aligned corners."""
    _deprecated("upsample_bilinear")
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)


def _deprecated(name: str) -> None:
    warnings.warn(
        f"`nn.functional.{name}` is deprecated. Use `nn.functional.interpolate` instead.",
        stacklevel=3,
    )


def _upsample_bilinear2d_aa(
    input: Tensor,
    output_size: Any,
    align_corners: bool,
    scales_h: Any = None,
    scales_w: float | None = None,
    *,
    scale_factors: Sequence[float] | None = None,
) -> Tensor:
    """Resize (N, C, H, W) bilinearly, with a filter that widens as an image shrinks."""
    if isinstance(scales_h, Sequence):
        scale_factors, scales_h = scales_h, None
    if output_size is None:
        sizes, factors = _target(input.shape, None, scale_factors, None)
    else:
        sizes, factors = [int(n) for n in output_size], [scales_h, scales_w]
    return _resize(input, "linear-filter", sizes, factors, align_corners)


METHODS: dict = {}
INPLACE: dict = {}
FUNCTIONS: dict = {"_upsample_bilinear2d_aa": _upsample_bilinear2d_aa}
