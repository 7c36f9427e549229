"""Max unpooling: maxima go back to the places that they came from."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from multitorch import dtypes
from multitorch.ops.gather import scatter
from multitorch.ops.pool import Sizes, _pair

Tensor = Any


def _output_size(
    shape: Sizes, n: int, kernel: Sizes, stride: Sizes, padding: Sizes, given: Any
) -> Sizes:
    """Return the spatial sizes: those that pooling most likely began with, or the given ones."""
    usual = tuple(
        [(m - 1) * s + k - 2 * p for m, k, s, p in zip(shape[-n:], kernel, stride, padding)]
    )
    if given is None:
        return usual
    sizes = tuple([int(m) for m in given])
    if len(sizes) == n + 2:
        sizes = sizes[2:]
    if len(sizes) != n:
        raise ValueError(
            f"output_size should be a sequence containing {n} or {n + 2} elements, but it has a "
            f"length of '{len(sizes)}'"
        )
    for d, (m, u, s) in enumerate(zip(sizes, usual, stride)):
        if not u - s < m < u + s:
            raise ValueError(
                f'invalid output_size "{list(sizes)}" (dim {d} must be between {u - s} and {u + s})'
            )
    return sizes


def _check(name: str, x: Tensor, indices: Tensor, n: int) -> None:
    if indices._dtype is not dtypes.int64:
        raise RuntimeError(
            f"elements in indices should be type int64 but got: {indices._dtype.scalar_name}"
        )
    rank = x._a.ndim
    if rank not in (n + 1, n + 2):
        raise RuntimeError(
            f"Input to {name} should be a {n + 1}d or {n + 2}d Tensor, but got a tensor with dim "
            f"{rank}"
        )
    if indices.shape != x.shape:
        raise RuntimeError(
            "Expected shape of indices to be same as that of the input tensor "
            f"({list(x.shape)}) but got indices tensor with shape: {list(indices.shape)}"
        )
    if 0 in x.shape[-n - 1 :]:
        raise RuntimeError(
            f"{name}(): Expected input to have non-zero size for non-batch dimensions, but got "
            f"{list(x.shape)}"
        )


def _unpool(n: int) -> Any:
    name = f"max_unpool{n}d"

    def unpool(
        input: Tensor,
        indices: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        output_size: Sequence[int] | None = None,
    ) -> Tensor:
        kernel = _pair(kernel_size, n, name, "kernel_size")
        stride = kernel if stride is None else _pair(stride, n, name, "stride")
        padding = _pair(padding, n, name, "padding")
        shape = tuple(input.shape)
        sizes = _output_size(shape, n, kernel, stride, padding, output_size)
        _check(name, input, indices, n)
        lead = shape[:-n]
        zeros = input.new_zeros((*lead, prod(sizes)))
        flat = (*lead, prod(shape[-n:]))
        return _put(name, zeros, indices.reshape(flat), input.reshape(flat)).reshape(*lead, *sizes)

    unpool.__name__ = unpool.__qualname__ = name
    unpool.__doc__ = f"""Put values back where max_pool{n}d(..., return_indices=True) found them.

    The other places are 0. `output_size` chooses among the sizes that pool to the input's."""
    return unpool


def _put(name: str, zeros: Tensor, indices: Tensor, values: Tensor) -> Tensor:
    try:
        return scatter(zeros, -1, indices, values)
    except (IndexError, RuntimeError) as error:
        raise RuntimeError(
            f"{name}: found an invalid max index (output volume has {zeros.shape[-1]} elements): "
            f"{error}"
        ) from None


max_unpool1d, max_unpool2d, max_unpool3d = map(_unpool, (1, 2, 3))
