"""PyTorch's building blocks under its layers: `native_layer_norm`, `_softmax_backward_data` …

They have the argument order and the several results of `torch.ops.aten`. Programs written by hand
rarely call them; programs that were traced do.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from multitorch import dtypes
from multitorch.ops import norm
from multitorch.ops.apply import write_out
from multitorch.ops.common import wrap_dim
from multitorch.ops.copies import slice_range
from multitorch.ops.join import cat

Tensor = Any


def _with_out(function: Callable) -> Callable:
    """Return a function that takes `out=` too."""

    @functools.wraps(function)
    def public(*args: Any, out: Any = None, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        if out is None:
            return result
        return write_out(tuple(out) if isinstance(result, tuple) else out, result)

    return public


# --- normalization -------------------------------------------------------------------------------


def _as_statistics(t: Tensor, x: Tensor, weight: Tensor | None) -> Tensor:
    """Return means or deviations in PyTorch's dtype: the input's, but float32 beside such weights.

    >>> _as_statistics(multitorch.ones(1), multitorch.ones(1).half(), None).dtype
    torch.float16
    """
    return t.to(x._dtype if weight is None else weight._dtype)


def native_layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return (layer_norm, mean, 1 / standard deviation)."""
    dim = norm.checked_layer(input, normalized_shape, weight, bias)
    out, mean, rstd = norm.native_layer(input, weight, bias, dim=dim, eps=eps)
    return out, *(_as_statistics(t, input, weight) for t in (mean, rstd))


def native_group_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, N: int, C: int, HxW: int,
    group: int, eps: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Return (group_norm, mean, 1 / standard deviation), the last two of shape (N, group)."""
    out = norm.group_norm(input, group, weight, bias, eps)
    lanes = input.reshape(N, group, C // group * HxW)
    lanes = _wide(lanes)
    mean, rstd = lanes.mean(-1), (lanes.var(-1, correction=0) + eps).rsqrt()
    return out, *(_as_statistics(t, input, weight) for t in (mean, rstd))


def native_batch_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None,
    running_var: Tensor | None, training: bool, momentum: float, eps: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Return (batch_norm, mean, 1 / standard deviation); the last two are empty unless training."""
    if training:
        out, mean, rstd = norm.train_batch(
            input, running_mean, running_var, weight, bias, momentum, eps
        )
        own = running_mean if weight is None else weight
        return out, *(_as_statistics(t.reshape(-1), input, own) for t in (mean, rstd))
    out = norm.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    return out, input.new_empty(0), input.new_empty(0)


def _native_batch_norm_legit(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, *args: Any, **kwargs: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what `native_batch_norm` does; the running statistics may be left out."""
    if args and isinstance(args[0], bool) or (not args and "running_mean" not in kwargs):
        return native_batch_norm(input, weight, bias, None, None, *args, **kwargs)
    return native_batch_norm(input, weight, bias, *args, **kwargs)


def _batch_norm_with_update(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor,
    running_var: Tensor, momentum: float, eps: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Return (batch_norm in training, mean, 1 / standard deviation, an empty reserve)."""
    results = native_batch_norm(input, weight, bias, running_mean, running_var, True, momentum, eps)
    return *results, input.new_empty(0, dtype=dtypes.uint8)


# --- gradients of layers -------------------------------------------------------------------------


def _softmax_backward_data(
    grad_output: Tensor, output: Tensor, dim: int, input_dtype: Any
) -> Tensor:
    """Return the gradient of softmax, given its output: `y (g - sum(g y))`."""
    g, y = _wide(grad_output), _wide(output)
    return (y * (g - (g * y).sum(dim, keepdim=True))).to(input_dtype)


def _log_softmax_backward_data(
    grad_output: Tensor, output: Tensor, dim: int, input_dtype: Any
) -> Tensor:
    """Return the gradient of log_softmax, given its output: `g - exp(y) sum(g)`."""
    g, y = _wide(grad_output), _wide(output)
    return (g - y.exp() * g.sum(dim, keepdim=True)).to(input_dtype)


def _wide(x: Tensor) -> Tensor:
    """Return half-precision numbers as float32: only the result is rounded."""
    return x.float() if x._dtype.itemsize == 2 else x


def _safe_softmax(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """Return softmax along a dimension, zeros where all of it is -inf."""
    x = input if dtype is None else input.to(dtype)
    if not x._dtype.inexact:
        x = x.to(dtypes.get_default_dtype())
    masked = (x == -float("inf")).all(dim, keepdim=True)
    return x.masked_fill(masked, 0.0).softmax(dim).masked_fill(masked, 0.0)


def native_dropout(input: Tensor, p: float, train: bool | None) -> tuple[Tensor, Tensor]:
    """Return (dropout, the mask of what was kept)."""
    if train is False or not p:
        return input.clone(), input.new_ones(input.shape, dtype=dtypes.bool_)
    if p == 1:
        return input * 0, input.new_zeros(input.shape, dtype=dtypes.bool_)
    mask = input.new_empty(input.shape).bernoulli_(1 - p).bool()
    return input * mask * (1 / (1 - p)), mask


def native_dropout_backward(grad_output: Tensor, mask: Tensor, scale: float) -> Tensor:
    """Return the gradient of dropout, given what was kept."""
    return grad_output * mask * scale


def max_pool2d_with_indices_backward(
    grad_output: Tensor, self: Tensor, kernel_size: Any, stride: Any, padding: Any, dilation: Any,
    ceil_mode: bool, indices: Tensor,
) -> Tensor:  # fmt: skip
    """Return the gradient of max_pool2d, given the places of the maxima."""
    *outer, height, width = self.shape
    flat = grad_output.new_zeros(*outer, height * width)
    flat = flat.scatter_add(-1, indices.flatten(-2), grad_output.flatten(-2))
    return flat.view(self.shape)


# --- parts ---------------------------------------------------------------------------------------


def _clamped(x: Tensor, indices: Sequence[Tensor | None]) -> tuple:
    return tuple(
        [
            slice(None) if i is None else i.clamp(-n, n - 1)
            for i, n in zip(indices, x.shape, strict=False)
        ]
    )


def _unsafe_masked_index(
    input: Tensor, mask: Tensor, indices: Sequence[Tensor | None], fill: Any
) -> Tensor:
    """Return `input[indices]` where the mask is true, `fill` elsewhere."""
    return input[_clamped(input, indices)].masked_fill(mask.logical_not(), fill)


def _unsafe_masked_index_put_accumulate(
    input: Tensor, mask: Tensor, indices: Sequence[Tensor | None], values: Tensor
) -> Tensor:
    """Return `input` with the values where the mask is true added at the indices."""
    kept = values.masked_fill(mask.logical_not(), 0)
    if any(i is None for i in indices):
        raise NotImplementedError("_unsafe_masked_index_put_accumulate: an index per dimension")
    return input.index_put(_clamped(input, indices), kept, accumulate=True)


def _chunk_cat(tensors: Sequence[Tensor], dim: int, num_chunks: int) -> Tensor:
    """Cut each tensor into chunks along `dim` and join those of the same number.

    Chunks are padded with zeros to equal size and flattened from `dim` on: the result has the shape
    (*sizes before dim, num_chunks, elements of a chunk of every tensor).
    """
    _check_chunks(tensors, num_chunks)
    d = wrap_dim(dim, tensors[0].ndim)
    if any(t.shape[:d] != tensors[0].shape[:d] for t in tensors):
        raise RuntimeError(
            "_chunk_cat expects same sizes of 0,...,dim-1 dimensions for all tensors"
        )
    rows = []
    for t in tensors:
        lack = -t.shape[d] % num_chunks
        if lack:
            t = cat([t, t.new_zeros((*t.shape[:d], lack, *t.shape[d + 1 :]))], d)
        rows.append(t.reshape(*t.shape[:d], num_chunks, -1))
    return cat(rows, d + 1)


def _check_chunks(tensors: Sequence[Tensor], num_chunks: int) -> None:
    if num_chunks < 1:
        raise RuntimeError(f"_chunk_cat expects positive num_chunks, got {num_chunks}")
    if not tensors:
        raise RuntimeError("_chunk_cat expects a non-empty input tensor list")
    first = tensors[0]
    for t in tensors:
        if not t.ndim:
            raise RuntimeError("_chunk_cat expects non-zero-dimensional tensors")
        if not t.numel():
            raise RuntimeError("_chunk_cat expects non-empty tensor")
        if t._dtype is not first._dtype or t._dev is not first._dev:
            raise RuntimeError(
                "_chunk_cat expects all input tensors with the same dtype and device"
            )


_FUNCTIONS = (
    native_layer_norm, native_group_norm, native_batch_norm, _native_batch_norm_legit,
    _batch_norm_with_update, _softmax_backward_data, _log_softmax_backward_data, _safe_softmax,
    native_dropout, native_dropout_backward, max_pool2d_with_indices_backward,
    _unsafe_masked_index, _unsafe_masked_index_put_accumulate, _chunk_cat,
)  # fmt: skip
EVERY: dict[str, Callable] = {
    **{f.__name__: _with_out(f) for f in _FUNCTIONS},
    "slice": slice_range,
}
"""All of them, for `torch.ops.aten`."""
ATEN_ONLY = (
    "native_dropout_backward", "max_pool2d_with_indices_backward", "slice",
)  # fmt: skip
FUNCTIONS: dict[str, Callable] = {k: f for k, f in EVERY.items() if k not in ATEN_ONLY}
METHODS: dict[str, Callable] = {"__rdiv__": lambda self, other: self.reciprocal() * other}
