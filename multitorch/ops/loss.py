"""Losses with a kernel of their own: a fused forward pass and one rule."""

from __future__ import annotations

import warnings
from math import prod
from typing import Any

import numpy as np

from multitorch import dtypes
from multitorch.ops.apply import broadcast_shape
from multitorch.ops.op import Op, op
from multitorch.ops.promote import float_only, to_float

Tensor = Any

REDUCTIONS = ("none", "mean", "sum")


def legacy_reduction(
    size_average: bool | None,
    reduce: bool | None,
    reduction: str,
    allowed: tuple[str, ...] = (*REDUCTIONS, "batchmean"),
) -> str:
    """Check a reduction, and read PyTorch's older arguments size_average and reduce."""
    if size_average is None and reduce is None:
        if reduction not in allowed:
            raise ValueError(f"{reduction} is not a valid value for reduction")
        return reduction
    size_average = True if size_average is None else size_average
    reduce = True if reduce is None else reduce
    new = ("mean" if size_average else "sum") if reduce else "none"
    warnings.warn(
        f"size_average and reduce args will be deprecated, please use reduction='{new}' instead.",
        stacklevel=3,
    )
    return new


# --- classes -------------------------------------------------------------------------------------


def _picked_shapes(x: Any, target: Any, weight: Any, *, reduction: str, **_: Any) -> tuple:
    shape = target.shape if reduction == "none" else ()
    return (shape, x.dtype), ((), x.dtype)


def _entropy_shapes(x: Any, target: Any, weight: Any, *, reduction: str, **_: Any) -> tuple:
    out, total = _picked_shapes(x, target, weight, reduction=reduction)
    return out, (x.shape, x.dtype), total


def _nll_rule(
    F: Any, g: Any, x_shape: Any, target: Any, weight: Any, total: Any, reduction: Any, ignore: Any
) -> tuple:
    dx = F.nll_loss_backward(
        g, target, weight, total, shape=tuple(x_shape), reduction=reduction, ignore=ignore
    )
    return dx, None, None


def _cross_entropy_rule(
    F: Any, g: Any, logp: Any, target: Any, weight: Any, total: Any, reduction: Any, ignore: Any
) -> tuple:
    loss, direct = g
    dx = None
    if loss is not None:
        dx = F.cross_entropy_backward(
            loss, logp, target, weight, total, reduction=reduction, ignore=ignore
        )
    if direct is not None:  # a derivative of the derivative reads the log-probabilities
        dim = 1 if logp.ndim > 1 else 0
        more = F.log_softmax_backward(direct, logp, dim=dim)
        dx = more if dx is None else dx + more
    return dx, None, None


_nll = {
    name: Op(
        name, "x target weight", outs="out total", diff_outs=(0,), promote=float_only,
        keep="target", broadcasts=False, kernel="nll_loss", node=node, shape=_picked_shapes,
        hidden=True,
    ).vjps(_nll_rule)
    for name, node in (("nll_loss", "NllLoss"), ("nll_loss2d", "NllLoss2D"))
}  # fmt: skip
_cross_entropy = {
    name: Op(
        name, "x target weight", outs="out logp total", diff_outs=(0, 1), promote=float_only,
        keep="target", broadcasts=False, kernel="cross_entropy", node=node, shape=_entropy_shapes,
        hidden=True,
    ).vjps(_cross_entropy_rule)
    for name, node in (("cross_entropy", "NllLoss"), ("cross_entropy2d", "NllLoss2D"))
}  # fmt: skip


def _check_classes(x: Tensor, target: Tensor, weight: Tensor | None) -> None:
    sizes, given = x._a.shape, target._a.shape
    ndim = len(sizes)
    if not ndim:
        raise ValueError(f"Expected 1 or more dimensions (got {ndim})")
    if ndim > 1 and given and given[0] != sizes[0]:
        raise _wrong_target(x, target, sizes)
    if target._dtype is not dtypes.int64 and target._dtype is not dtypes.uint8:
        raise RuntimeError(
            "expected target dtype to be Long or Byte, but got " + target._dtype.scalar_name
        )
    classes = sizes[1] if ndim > 1 else sizes[0]
    expected = sizes[:1] + sizes[2:] if ndim > 1 else ()
    if given != expected and not (ndim == 1 and given == (1,)):
        raise _wrong_target(x, target, expected)
    if weight is not None and weight._dtype is not x._dtype:
        raise RuntimeError(
            f"expected scalar type {x._dtype.scalar_name} but found {weight._dtype.scalar_name}"
        )
    if weight is not None and weight.shape != (classes,):
        raise RuntimeError(
            f"weight tensor should be defined either for all {classes} classes or no classes but "
            f"got weight tensor of shape: {list(weight.shape)}"
        )


def _wrong_target(x: Tensor, target: Tensor, expected: tuple[int, ...]) -> Exception:
    if x.ndim == 1 and target.ndim == 1:
        return ValueError(
            f"For 1D input, 1D target must have size 1, but got target size: {target.shape[0]}"
        )
    if target.ndim and x.shape[0] != target.shape[0]:
        return ValueError(
            f"Expected input batch_size ({x.shape[0]}) to match target batch_size "
            f"({target.shape[0]})."
        )
    if x.ndim <= 2:
        return RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    return RuntimeError(f"Expected target size {list(expected)}, got {list(target.shape)}")


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return -w[y] x[y], where x holds log-probabilities (N, C, …) and y class indices (N, …).

    The mean divides by the sum of the weights of the targets that count.
    """
    reduction = legacy_reduction(size_average, reduce, reduction, REDUCTIONS)
    _check_classes(input, target, weight)
    function = _nll["nll_loss" if input.ndim <= 2 else "nll_loss2d"]
    return function(input, target, weight, reduction=reduction, ignore=ignore_index)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return -w[y] log softmax(x)[y] for scores (N, C, …) and class indices or probabilities.

    >>> import multitorch as torch
    >>> torch.nn.functional.cross_entropy(torch.zeros(1, 2), torch.tensor([1]))
    tensor(0.6931)
    """
    reduction = legacy_reduction(size_average, reduce, reduction, REDUCTIONS)
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    if target._dtype.is_floating_point and target._a.shape == input._a.shape:
        if ignore_index >= 0:
            raise RuntimeError("ignore_index is not supported for floating point target")
        return _soft_cross_entropy(input, target, weight, reduction, label_smoothing)
    if target._a.shape == input._a.shape and input._a.ndim > 1:
        raise RuntimeError(
            "Expected floating point type for target with class probabilities, got "
            + target._dtype.scalar_name
        )
    _check_classes(input, target, weight)
    if label_smoothing:
        return _smoothed(input, target, weight, reduction, ignore_index, label_smoothing)
    function = _cross_entropy["cross_entropy" if input._a.ndim <= 2 else "cross_entropy2d"]
    return function(input, target, weight, reduction=reduction, ignore=ignore_index)


def _per_class(weight: Tensor, x: Tensor, dim: int) -> Tensor:
    return weight.view(*(-1 if i == dim else 1 for i in range(x.ndim)))


def _soft_cross_entropy(
    x: Tensor, target: Tensor, weight: Tensor | None, reduction: str, smoothing: float
) -> Tensor:
    dim = 1 if x.ndim > 1 else 0
    classes = x.shape[dim]
    if weight is not None and weight.shape != (classes,):
        raise RuntimeError(
            f"cross_entropy: weight tensor should be defined either for all {classes} classes or "
            f"no classes but got weight tensor of shape: {list(weight.shape)}"
        )
    if smoothing:
        target = target * (1 - smoothing) + smoothing / classes
    logp = x.log_softmax(dim)
    if weight is not None:
        logp = logp * _per_class(weight, x, dim)
    loss = -(logp * target)
    if reduction == "sum":
        return loss.sum()
    return loss.sum(dim) if reduction == "none" else loss.sum() / (x.numel() // classes)


def _smoothed(
    x: Tensor, target: Tensor, weight: Tensor | None, reduction: str, ignore: int, smoothing: float
) -> Tensor:
    dim = 1 if x.ndim > 1 else 0
    logp = x.log_softmax(dim)
    sharp = nll_loss(logp, target, weight, ignore_index=ignore, reduction=reduction)
    terms = logp if weight is None else logp * _per_class(weight, x, dim)
    ignored = (target == ignore).reshape(target.shape if x.ndim > 1 else ())
    even = (-terms.sum(dim)).masked_fill(ignored, 0.0)
    if reduction == "sum":
        even = even.sum()
    elif reduction == "mean":
        kept = (~ignored).to(x._dtype)
        if weight is not None:
            kept = kept * weight[target.masked_fill(target == ignore, 0)].view(kept.shape)
        even = even.sum() / kept.sum()
    return sharp * (1 - smoothing) + even * (smoothing / x.shape[dim])


# --- distances -----------------------------------------------------------------------------------


def _elementwise_shape(x: Any, y: Any, *_: Any, reduction: str) -> tuple:
    shape = broadcast_shape(x.shape, y.shape) if reduction == "none" else ()
    return shape, x.dtype


def _scale(g: Any, reduction: str, *shapes: tuple[int, ...]) -> Any:
    """Return the gradient that each element receives."""
    return g / prod(broadcast_shape(*shapes)) if reduction == "mean" else g


_mse = op("mse_loss", "x y", promote=to_float, shape=_elementwise_shape).vjp(
    x=lambda F, g, x, y, x_shape, y_shape, reduction: (
        (x - y) * (_scale(g, reduction, x_shape, y_shape) * 2)
    ),
    y=lambda F, g, x, y, x_shape, y_shape, reduction: (
        (y - x) * (_scale(g, reduction, x_shape, y_shape) * 2)
    ),
)


def _warn_sizes(input: Tensor, target: Tensor) -> None:
    if input.shape != target.shape:
        warnings.warn(
            f"Using a target size ({target.size()}) that is different to the input size "
            f"({input.size()}). This will likely lead to incorrect results due to broadcasting. "
            "Please ensure they have the same size.",
            stacklevel=3,
        )


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Return the squared difference.

    >>> import multitorch as torch
    >>> torch.nn.functional.mse_loss(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
    tensor(2.)
    """
    reduction = legacy_reduction(size_average, reduce, reduction, REDUCTIONS)
    _warn_sizes(input, target)
    if weight is None:
        return _mse(input, target, reduction=reduction)
    loss = _mse(input, target, reduction="none")
    return _weighted(loss, weight, reduction)


def _weighted(loss: Tensor, weight: Tensor, reduction: str) -> Tensor:
    loss = loss * weight
    if reduction == "none":
        return loss
    return loss.sum() / weight.expand(loss.shape).sum() if reduction == "mean" else loss.sum()


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Return the absolute difference."""
    reduction = legacy_reduction(size_average, reduce, reduction, REDUCTIONS)
    _warn_sizes(input, target)
    loss = (input - target).abs()
    if weight is not None:
        return _weighted(loss, weight, reduction)
    if reduction == "none":
        return loss
    return loss.mean() if reduction == "mean" else loss.sum()


# --- probabilities -------------------------------------------------------------------------------


def _bce_rule(F: Any, g: Any, x: Any, y: Any) -> Any:
    floor = F.new_full(x, shape=(), value=1e-12)
    return g * (x - y) / F.maximum((1 - x) * x, floor)


_bce = op("bce", "x y", promote=float_only, node="BinaryCrossEntropy").vjp(
    x=_bce_rule,
    y=lambda F, g, x: g * (F.log(1 - x) - F.log(x)),
)
_bce_logits = op(
    "bce_with_logits", "x y", promote=float_only, node="BinaryCrossEntropyWithLogits"
).vjp(x=lambda F, g, x, y: g * (F.sigmoid(x) - y), y=lambda F, g, x: -g * x)


def _reduced(loss: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    if weight is not None:
        loss = loss * weight
    if reduction == "none":
        return loss
    return loss.mean() if reduction == "mean" else loss.sum()


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return -(y log x + (1 - y) log(1 - x)) for probabilities x; logarithms stop at -100."""
    reduction = legacy_reduction(size_average, reduce, reduction, REDUCTIONS)
    if input.shape != target.shape:
        raise ValueError(
            f"Using a target size ({target.size()}) that is different to the input size "
            f"({input.size()}) is deprecated. Please ensure they have the same size."
        )
    if target._dtype is not input._dtype:
        raise RuntimeError(
            f"Found dtype {target._dtype.scalar_name} but expected {input._dtype.scalar_name}"
        )
    return _reduced(_bce(input, target), weight, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Return the binary cross entropy of sigmoid(x); `pos_weight` multiplies the term of y."""
    reduction = legacy_reduction(size_average, reduce, reduction, REDUCTIONS)
    if input.shape != target.shape:
        raise ValueError(
            f"Target size ({target.size()}) must be the same as input size ({input.size()})"
        )
    if pos_weight is None:
        loss = _bce_logits(input, target)
    else:
        from multitorch.ops.activation import softplus

        stretch = (pos_weight - 1) * target + 1
        loss = (1 - target) * input + stretch * softplus(-input, 1.0, _NO_LIMIT)
    return _reduced(loss, weight, reduction)


_NO_LIMIT = float(np.finfo(np.float64).max)

METHODS: dict = {}
INPLACE: dict = {}
FUNCTIONS: dict = {}
