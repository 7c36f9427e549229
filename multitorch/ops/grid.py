"""Sampling of images and volumes at points given by a grid."""

from __future__ import annotations

import itertools
import warnings
from math import prod
from typing import Any

from multitorch import dtypes
from multitorch.ops.gather import index_select
from multitorch.ops.join import cat
from multitorch.ops.logic import where
from multitorch.ops.products import bmm
from multitorch.ops.ranges import arange

Tensor = Any
_MODES = ("bilinear", "nearest", "bicubic")
_PADDINGS = ("zeros", "border", "reflection")
_A = -0.75  # the free parameter of the cubic kernel


# --- grids ---------------------------------------------------------------------------------------


def affine_grid(theta: Tensor, size: Any, align_corners: bool | None = None) -> Tensor:
    """Return the points that affine maps give for the pixels of an image of `size`.

    Maps (N, 2, 3) and size (N, C, H, W) give (N, H, W, 2); maps (N, 3, 4) and size (N, C, D, H, W)
    give (N, D, H, W, 3). Coordinates run from -1 to 1, x first.
    """
    if align_corners is None:
        _warn_corners("affine_grid")
    sizes = [int(n) for n in size]
    rank = len(sizes) - 2
    if not theta._dtype.is_floating_point:
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype}")
    if rank not in (2, 3):
        raise NotImplementedError(
            "affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, "
            f"respectively. Got size {tuple(sizes)}."
        )
    if theta.ndim != 3 or tuple(theta.shape[1:]) != (rank, rank + 1):
        raise ValueError(
            f"Expected a batch of {rank}D affine matrices of shape Nx{rank}x{rank + 1} for size "
            f"{tuple(sizes)}. Got {tuple(theta.shape)}."
        )
    if min(sizes) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {tuple(sizes)}")
    count = prod(sizes[2:])
    base = theta.new_ones((*sizes[2:], rank + 1))
    for d, n in enumerate(sizes[2:]):
        shape = [n if i == d else 1 for i in range(rank)]
        base.select(-1, rank - 1 - d).copy_(_centers(theta, n, bool(align_corners)).reshape(shape))
    base = base.reshape(1, count, rank + 1).expand(theta.shape[0], -1, -1)
    return bmm(base, theta.transpose(1, 2)).reshape(theta.shape[0], *sizes[2:], rank)


def _centers(like: Tensor, n: int, align: bool) -> Tensor:
    """Return the coordinates of `n` pixels: -1 and 1 are the outer centers, or the outer edges."""
    i = arange(n, dtype=like._dtype, device=like._dev) * 2 - (n - 1)
    return i / (max(n - 1, 1) if align else n)


def _warn_corners(name: str) -> None:
    warnings.warn(
        f"Default {name} behavior has changed to align_corners=False since 1.3.0. Please specify "
        f"align_corners=True if the old behavior is desired. See the documentation of {name} for "
        "details.",
        stacklevel=3,
    )


# --- coordinates ---------------------------------------------------------------------------------


def _unnormalized(x: Tensor, n: int, align: bool) -> Tensor:
    """Return pixel numbers of coordinates from -1 to 1."""
    return (x + 1) * ((n - 1) / 2) if align else ((x + 1) * n - 1) / 2


def _clipped(x: Tensor, n: int) -> Tensor:
    """Move what lies outside to the border, where it has no derivative."""
    low, high = x.new_zeros(()), x.new_full((), n - 1)
    return where(x <= 0, low, where(x >= n - 1, high, x))


def _reflected(x: Tensor, n: int, align: bool) -> Tensor:
    """Reflect what lies outside at the borders: the outer pixels' centers, or their edges."""
    low, span = (0.0, n - 1) if align else (-0.5, n)
    if not span:
        return x * 0.0
    away = where(x < low, low - x, x - low)
    rest = away.fmod(span)
    even = (away / span).floor().fmod(2) == 0
    return where(even, rest + low, span + low - rest)


def _padded(x: Tensor, n: int, padding: str, align: bool) -> Tensor:
    if padding == "zeros":
        return x
    return _clipped(_reflected(x, n, align) if padding == "reflection" else x, n)


# --- sampling ------------------------------------------------------------------------------------

Taps = list[tuple[Any, Any]]
"""For one dimension, the pixels that count for every point, with their weights (None: 1)."""


def _taps(x: Tensor, n: int, mode: str, padding: str, align: bool) -> Taps:
    at = _unnormalized(x, n, align)
    if mode == "bicubic":
        return _cubic_taps(at, n, padding, align)
    at = _padded(at, n, padding, align)
    if mode == "nearest":
        return [(at.detach().round(), None)]
    first = at.detach().floor()
    part = at - first
    return [(first, 1 - part), (first + 1, part)]


def _cubic_taps(at: Tensor, n: int, padding: str, align: bool) -> Taps:
    first = at.detach().floor()
    part = at - first
    weights = (_far(part + 1), _near(part), _near(1 - part), _far(2 - part))
    places = [_padded(first + k, n, padding, align) for k in (-1, 0, 1, 2)]
    return list(zip(places, weights))


def _near(x: Tensor) -> Tensor:
    return ((_A + 2) * x - (_A + 3)) * x * x + 1


def _far(x: Tensor) -> Tensor:
    return ((_A * x - 5 * _A) * x + 8 * _A) * x - 4 * _A


def _sample(x: Tensor, grid: Tensor, mode: str, padding: str, align: bool) -> Tensor:
    """Return the weighted sum over all combinations of taps, each a look-up of rows of channels."""
    batch, channels, *sizes = x.shape
    rank, count = len(sizes), prod(sizes)
    points = tuple(grid.shape[1:-1])
    rows = x.flatten(2).transpose(1, 2).reshape(batch * count, channels)
    rows = cat([rows, rows.new_zeros(1, channels)])  # the last row is what lies outside
    flat = grid.reshape(batch * prod(points), rank)
    own = arange(batch, device=x._dev).unsqueeze(1).expand(batch, prod(points)).reshape(-1) * count
    taps = [
        _taps(flat.select(1, rank - 1 - d), n, mode, padding, align) for d, n in enumerate(sizes)
    ]
    total: Any = None
    for corner in itertools.product(*taps):
        part = _corner(rows, own, corner, sizes)
        total = part if total is None else total + part
    total = total.reshape(batch, prod(points), channels).transpose(1, 2)
    return total.reshape(batch, channels, *points).contiguous()


def _corner(rows: Tensor, own: Tensor, corner: Any, sizes: list[int]) -> Tensor:
    """Return the pixels at one combination of taps, times their weights; 0 outside."""
    inside: Any = None
    weight: Any = None
    for (place, share), n in zip(corner, sizes):
        here = (place >= 0) & (place <= n - 1)
        inside = here if inside is None else inside & here
        if share is not None:
            weight = share if weight is None else weight * share
    flat: Any = 0
    zero = rows.new_zeros(())
    for (place, _), n in zip(corner, sizes):
        flat = where(inside, place, zero).to(dtypes.int64) + flat * n
    found = index_select(rows, 0, where(inside, flat + own, rows.shape[0] - 1))
    return found if weight is None else found * where(inside, weight, zero).unsqueeze(1)


def _check(x: Tensor, grid: Tensor, rank: int | None, mode: str) -> None:
    if x._dtype is not grid._dtype:
        raise RuntimeError(
            f"grid_sampler(): expected input and grid to have same dtype, but input has "
            f"{x._dtype.scalar_name} and grid has {grid._dtype.scalar_name}"
        )
    sizes = f"input with sizes {list(x.shape)} and grid with sizes {list(grid.shape)}"
    if x.ndim not in (4, 5) or x.ndim != grid.ndim or (rank is not None and x.ndim != rank + 2):
        raise RuntimeError(
            "grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, but "
            f"got {sizes}"
        )
    if x.shape[0] != grid.shape[0]:
        raise RuntimeError(
            f"grid_sampler(): expected grid and input to have same batch size, but got {sizes}"
        )
    if grid.shape[-1] != x.ndim - 2:
        raise RuntimeError(
            f"grid_sampler(): expected grid to have size {x.ndim - 2} in last dimension, but got "
            f"grid with sizes {list(grid.shape)}"
        )
    if 0 in x.shape[2:]:
        raise RuntimeError(
            "grid_sampler(): expected input to have non-empty spatial dimensions, but input has "
            f"sizes {list(x.shape)}"
        )
    if mode == "bicubic" and x.ndim == 5:
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")


def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """Return the values of images (N, C, H, W) at points (N, Ho, Wo, 2): (N, C, Ho, Wo).

    Or of volumes (N, C, D, H, W) at points (N, Do, Ho, Wo, 3). Points are (x, y[, z]); -1 and 1 are
    the borders: the outer pixels' centers with `align_corners`, else their outer edges.
    """
    if mode not in _MODES:
        raise ValueError(
            "nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', "
            f"but got: '{mode}'"
        )
    if padding_mode not in _PADDINGS:
        raise ValueError(
            "nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or "
            f"'reflection', but got: '{padding_mode}'"
        )
    if align_corners is None:
        _warn_corners("grid_sample")
    return _grid_sampler(input, grid, None, mode, padding_mode, bool(align_corners))


def _grid_sampler(
    x: Tensor, grid: Tensor, rank: int | None, mode: str, padding: str, align: bool
) -> Tensor:
    _check(x, grid, rank, mode)
    dtype = x._dtype
    if dtype.itemsize < 4:
        x, grid = x.to(dtypes.float32), grid.to(dtypes.float32)
    return _sample(x, grid, mode, padding, align).to(dtype)


def _sampler(rank: int | None) -> Any:
    name = "grid_sampler" + (f"_{rank}d" if rank else "")

    def sampler(
        input: Tensor,
        grid: Tensor,
        interpolation_mode: int,
        padding_mode: int,
        align_corners: bool,
    ) -> Tensor:
        if interpolation_mode not in (0, 1, 2) or padding_mode not in (0, 1, 2):
            raise RuntimeError(f"{name}(): interpolation and padding modes are 0, 1 or 2")
        modes = _MODES[interpolation_mode], _PADDINGS[padding_mode]
        return _grid_sampler(input, grid, rank, *modes, align_corners)

    sampler.__name__ = sampler.__qualname__ = name
    sampler.__doc__ = """Return `grid_sample`; modes are numbers.

    0: bilinear, 1: nearest, 2: bicubic; padding 0: zeros, 1: border, 2: reflection."""
    return sampler


METHODS: dict = {}
INPLACE: dict = {}
FUNCTIONS: dict = {
    "grid_sampler": _sampler(None),
    "grid_sampler_2d": _sampler(2),
    "grid_sampler_3d": _sampler(3),
    "affine_grid_generator": affine_grid,
}
