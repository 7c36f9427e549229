"""Embedding bags: look up rows of a table and reduce those of each bag."""

from __future__ import annotations

import math
import warnings

from multitorch import dtypes
from multitorch.nn.composite.layout import _shorten
from multitorch.ops import apply as dispatch
from multitorch.ops.gather import INDEX_TYPES, index_add, scatter_reduce
from multitorch.ops.masks import embedding
from multitorch.ops.ranges import arange
from multitorch.tensor import Tensor


def _check_arguments(
    index: Tensor, weight: Tensor, offsets: Tensor | None, samples: Tensor | None, mode: str,
    by_frequency: bool, sparse: bool,
) -> None:  # fmt: skip
    if samples is not None and samples.shape != index.shape:
        raise ValueError(
            f"embedding_bag: If per_sample_weights ({list(samples.shape)}) is not None, then it "
            f"must have the same shape as the input ({list(index.shape)})"
        )
    if weight.dim() != 2:
        raise ValueError(
            f"weight has to be a 2D Tensor, but got Tensor of dimension {weight.dim()}"
        )
    if index.dim() == 2 and offsets is not None:
        raise ValueError(
            "if input is 2D, then offsets has to be None, as input is treated is a mini-batch of "
            f"fixed length sequences. However, found offsets of type {type(offsets)}"
        )
    if index.dim() == 1 and offsets is None:
        raise ValueError("offsets has to be a 1D Tensor but got None")
    if index.dim() == 1 and offsets is not None and offsets.dim() != 1:
        raise ValueError("offsets has to be a 1D Tensor")
    if index.dim() not in (1, 2):
        raise ValueError(
            f"input has to be 1D or 2D Tensor, but got Tensor of dimension {index.dim()}"
        )
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    if mode == "max" and by_frequency:
        raise ValueError("max mode does not support scaling the gradient by the frequency")
    if mode == "max" and sparse:
        raise ValueError("max mode does not support sparse weights")
    if samples is not None and mode != "sum":
        raise NotImplementedError(
            "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported "
            f"for mode='sum' (got mode='{mode}'). Please open a feature request on GitHub."
        )
    if index._dtype not in INDEX_TYPES:
        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: "
            f"Long, Int; but got {index.type()} instead (while checking arguments for "
            "embedding_bag)"
        )
    if sparse and weight.requires_grad:
        raise NotImplementedError("embedding_bag: sparse gradients are not supported")


def _bags(index: Tensor, offsets: Tensor | None, include_last: bool) -> tuple[Tensor, int]:
    """Return the bag of every index, and how many bags there are."""
    if offsets is None:
        bags, length = index.shape
        numbers = arange(bags, device=index._dev).unsqueeze(1)
        return numbers.expand(bags, length).reshape(-1), bags
    if include_last and not offsets.shape[0]:
        raise RuntimeError("include_last_offset: number of offset should be at least 1")
    at_hand = offsets._dev.backend.mutable and not dispatch.capturing
    if at_hand and offsets.shape[0] and int(offsets[0]):
        raise RuntimeError(
            "offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from "
            f"position 0. However, got {int(offsets[0])}"
        )
    at = arange(index.shape[0], device=index._dev)
    begun = (offsets.to(dtypes.int64).unsqueeze(0) <= at.unsqueeze(1)).sum(1)
    return begun - 1, offsets.shape[0] - include_last


def _reduce(rows: Tensor, bag: Tensor, bags: int, kept: Tensor | None, mode: str) -> Tensor:
    """Reduce the rows of each bag; what is not kept takes no part, and an empty bag gives 0."""
    shape = (bags, rows.shape[1])
    if mode == "max":
        if kept is not None:
            rows = rows.masked_fill(~kept.unsqueeze(1), -math.inf)
        numbers = bag.unsqueeze(1).expand(rows.shape)
        start = rows.new_full(shape, -math.inf)
        most = scatter_reduce(start, 0, numbers, rows, "amax", include_self=True)
        return most.masked_fill(_counts(rows, bag, bags, kept).unsqueeze(1) == 0, 0.0)
    if kept is not None:
        rows = rows.masked_fill(~kept.unsqueeze(1), 0.0)
    total = index_add(rows.new_zeros(shape), 0, bag, rows)
    if mode == "sum":
        return total
    return total / _counts(rows, bag, bags, kept).clamp(min=1).unsqueeze(1)


def _counts(rows: Tensor, bag: Tensor, bags: int, kept: Tensor | None) -> Tensor:
    ones = rows.new_ones(bag.shape) if kept is None else kept.to(rows._dtype)
    return index_add(rows.new_zeros((bags,)), 0, bag, ones)


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Return the sum, mean or maximum of the rows of ``weight`` that each bag names.

    A bag is a row of a 2-D ``input``, or begins in a 1-D one where ``offsets`` says. Rows
    ``padding_idx`` take no part; those longer than ``max_norm`` are first shortened in place.

    >>> import multitorch as torch
    >>> index, offsets = torch.tensor([0, 1, 1]), torch.tensor([0, 2])
    >>> torch.nn.functional.embedding_bag(index, torch.eye(2), offsets, mode="sum")
    tensor([[1., 1.],
            [0., 1.]])
    """
    if weight._dtype is dtypes.int64 and input._dtype.is_floating_point:
        warnings.warn(
            "Argument order of nn.functional.embedding_bag was changed. Usage "
            "`embedding_bag(weight, input, ...)` is deprecated, and should now be "
            "`embedding_bag(input, weight, ...)`.",
            stacklevel=2,
        )
        input, weight = weight, input
    _check_arguments(input, weight, offsets, per_sample_weights, mode, scale_grad_by_freq, sparse)
    if max_norm is not None:
        _shorten(weight, input, max_norm, norm_type)
    padding = _padding(padding_idx, weight.shape[0])
    index = input.reshape(-1)
    rows = embedding(weight, index, padding, scale_grad_by_freq)
    single = rows._dtype.itemsize < 4
    rows = rows.to(dtypes.float32) if single else rows
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.reshape(-1, 1).to(rows._dtype)
    bag, bags = _bags(input, offsets, include_last_offset)
    found = _reduce(rows, bag, bags, None if padding < 0 else index != padding, mode)
    return found.to(weight._dtype) if single else found


def _padding(padding_idx: int | None, rows: int) -> int:
    if padding_idx is None:
        return -1
    if not -rows <= padding_idx < rows:
        raise RuntimeError("padding_idx must be within the number of embeddings")
    return padding_idx % rows
