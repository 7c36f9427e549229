"""Fractional max pooling: windows whose places are drawn at random."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from multitorch import dtypes
from multitorch.ops.gather import gather
from multitorch.ops.join import cat
from multitorch.ops.pool import Sizes, _pair
from multitorch.ops.ranges import arange

Tensor = Any
_INT = dtypes.int64


def _starts(samples: Tensor, n: int, size: int, kernel: int) -> Tensor:
    """Return where windows begin: (N, C, size), from one uniform number for each plane.

    Start i is ⌊α (i + u)⌋ - ⌊α u⌋ with α = (n - kernel) / (size - 1); the last window ends at n.
    """
    last = samples.new_full((*samples.shape, 1), n - kernel, dtype=_INT)
    if size == 1:
        return last
    u = samples.unsqueeze(-1)
    alpha = samples.new_full((), (n - kernel) / (size - 1))
    i = arange(size - 1, dtype=samples._dtype, device=samples._dev)
    return cat([((i + u) * alpha).to(_INT) - (u * alpha).to(_INT), last], -1)


def _positions(samples: Tensor, sizes: Sizes, out: Sizes, kernel: Sizes) -> Tensor:
    """Return the flat input positions of each window: (N, C, windows, elements)."""
    rank = len(sizes)
    order = (1, 0) if rank == 2 else (0, 1, 2)  # PyTorch draws the width before the height
    flat: Any = 0
    for d, (n, size, k) in enumerate(zip(sizes, out, kernel)):
        start = _starts(samples.select(-1, order[d]), n, size, k)
        at = start.unsqueeze(-1) + arange(k, device=samples._dev)
        shape = [1] * (2 * rank)
        shape[d], shape[rank + d] = size, k
        flat = at.reshape(*samples.shape[:2], *shape) + flat * n
    return flat.reshape(*samples.shape[:2], prod(out), prod(kernel))


def _checked_size(
    name: str, shape: Sizes, kernel: Sizes, output_size: Any, output_ratio: Any
) -> Sizes:
    rank = len(kernel)
    if output_size is None and output_ratio is None:
        raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
    if len(shape) not in (rank + 1, rank + 2):
        raise RuntimeError(
            f"{name}(): Expected {rank + 1}D or {rank + 2}D tensor, but got: {list(shape)}"
        )
    if output_size is None:
        ratio = output_ratio if isinstance(output_ratio, (tuple, list)) else [output_ratio] * rank
        if not all(0 < r < 1 for r in ratio):
            raise ValueError(f"{name}: output_ratio must be between 0 and 1 (got {output_ratio})")
        out = tuple([int(n * r) for n, r in zip(shape[-rank:], ratio)])
    else:
        out = _pair(output_size, rank, name, "output_size")
    for n, size, k in zip(shape[-rank:], out, kernel):
        if size < 1 or size + k - 1 > n:
            raise RuntimeError(
                f"{name}(): pool size {k} too large relative to input size {n} for output size "
                f"{size}"
            )
    return out


def _with_indices(rank: int) -> Callable[..., tuple[Tensor, Tensor]]:
    name = f"fractional_max_pool{rank}d"

    def pool(
        input: Tensor,
        kernel_size: Any,
        output_size: Any = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        kernel = _pair(kernel_size, rank, name, "kernel_size")
        out = _checked_size(name, tuple(input.shape), kernel, output_size, output_ratio)
        x = input if input.ndim == rank + 2 else input.unsqueeze(0)
        batch, channels, *sizes = x.shape
        if _random_samples is None:
            _random_samples = x.detach().new_empty(batch, channels, rank).uniform_()
        elif _random_samples.shape[0] > batch:  # PyTorch reads the first ones
            _random_samples = _random_samples[:batch]
        at = _positions(_random_samples, tuple(sizes), out, kernel)
        flat = x.reshape(batch, channels, prod(sizes))
        windows = gather(flat.detach(), 2, at.flatten(2)).reshape(at.shape)
        best = windows.argmax(-1, keepdim=True)
        indices = gather(at, 3, best).squeeze(3)
        shape = (*input.shape[:-rank], *out)
        return gather(flat, 2, indices).reshape(shape), indices.reshape(shape)

    pool.__name__ = pool.__qualname__ = f"{name}_with_indices"
    pool.__doc__ = f"Return {name} and the flat positions of the maxima."
    return pool


def _public(rank: int) -> Callable[..., Any]:
    both = _with_indices(rank)

    def pool(
        input: Tensor,
        kernel_size: Any,
        output_size: Any = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> Any:
        found = both(input, kernel_size, output_size, output_ratio, return_indices, _random_samples)
        return found if return_indices else found[0]

    pool.__name__ = pool.__qualname__ = f"fractional_max_pool{rank}d"
    pool.__doc__ = f"""Return maxima of windows at random places in the last {rank} dimensions.

    There are `output_size` of them, or `output_ratio` times the input's sizes; windows may overlap
    (Graham, "Fractional max-pooling")."""
    return pool


fractional_max_pool2d_with_indices = _with_indices(2)
fractional_max_pool3d_with_indices = _with_indices(3)
fractional_max_pool2d, fractional_max_pool3d = _public(2), _public(3)
