"""Sampling of images and volumes at points given by a grid."""

from __future__ import annotations

import warnings
from math import prod
from typing import Any

from multitorch import dtypes
from multitorch.ops.op import op
from multitorch.ops.products import bmm
from multitorch.ops.ranges import arange

Tensor = Any
_MODES = ("bilinear", "nearest", "bicubic")
_PADDINGS = ("zeros", "border", "reflection")


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


# --- sampling ------------------------------------------------------------------------------------


def _sampled(x: Any, grid: Any, **params: Any) -> tuple:
    return (*x.shape[:2], *grid.shape[1:-1]), x.dtype


def _sample_rule(
    F: Any, g: Any, x: Any, grid: Any, mode: str, padding: str, align: bool, needs: Any
) -> tuple:
    gs = F.grid_sample_backward(
        g, x, grid, mode=mode, padding=padding, align=align, needs=tuple(needs)
    )
    return tuple([gi if need else None for gi, need in zip(gs, needs, strict=True)])


_grid_sample = op("grid_sample", "x grid", node="GridSampler2D", shape=_sampled).vjps(_sample_rule)


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
    if not x.numel() or not grid.numel():
        return (x.sum() + grid.sum()) * x.new_zeros(*x.shape[:2], *grid.shape[1:-1]).to(dtype)
    out = _grid_sample(x, grid, mode=mode, padding=padding, align=align)
    return out.contiguous().to(dtype)


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
