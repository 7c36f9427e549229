"""Generic bodies of losses."""

from __future__ import annotations

from typing import Any

Array = Any


def _class_dim(x: Array) -> int:
    return 1 if x.ndim > 1 else 0


def _index(F: Any, target: Array, shape: tuple, ignore: int) -> tuple[Array, Array]:
    """Class indices in a shape to gather with, and which of them count."""
    one = (shape[0], 1, *shape[2:]) if len(shape) > 1 else (1,)
    target = F.reshape(target, shape=one)
    valid = target != ignore
    return F.where(valid, target, 0), valid


def _weights(F: Any, like: Array, index: Array, valid: Array, weight: Array) -> Array:
    """The weight of every target, 0 where it is ignored."""
    if weight is None:
        one = F.new_full(like, shape=(), value=1)
        return F.where(valid, one, 0)
    flat = F.index_select(weight, F.reshape(index, shape=(_count(index.shape),)), dim=0)
    return F.where(valid, F.reshape(flat, shape=index.shape), 0)


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for n in shape:
        count *= n
    return count


def _all(x: Array) -> tuple[int, ...]:
    return tuple(range(x.ndim))


def nll_loss(
    F: Any, x: Array, target: Array, weight: Array, *, reduction: str, ignore: int
) -> tuple[Array, Array]:
    """`-w[y] x[y]`, and the sum of the weights that count."""
    index, valid = _index(F, target, x.shape, ignore)
    w = _weights(F, x, index, valid, weight)
    picked = F.gather(x, index, dim=_class_dim(x))
    losses = F.where(valid, -picked * w, 0)
    total = F.sum(w, dim=_all(w), keepdim=False)
    if reduction == "none":
        return F.reshape(losses, shape=target.shape), total
    out = F.sum(losses, dim=_all(losses), keepdim=False)
    return (out / total if reduction == "mean" else out), total


def _coefficients(
    F: Any, g: Array, like: Array, index: Array, valid: Array, weight: Array, total: Array,
    reduction: str,
) -> Array:  # fmt: skip
    """What the gradient multiplies each target's log-probability with."""
    w = _weights(F, like, index, valid, weight)
    if reduction == "none":
        return F.reshape(g, shape=index.shape) * w
    return w * (g / total if reduction == "mean" else g)


def nll_loss_backward(
    F: Any, g: Array, target: Array, weight: Array, total: Array, *, shape: tuple, reduction: str,
    ignore: int,
) -> Array:  # fmt: skip
    """The gradient of `nll_loss` by its input of this shape."""
    index, valid = _index(F, target, shape, ignore)
    c = _coefficients(F, g, total, index, valid, weight, total, reduction)
    zeros = F.new_zeros(g, shape=shape)
    return F.scatter_add(zeros, index, -c, dim=1 if len(shape) > 1 else 0)


def cross_entropy(
    F: Any, x: Array, target: Array, weight: Array, *, reduction: str, ignore: int
) -> tuple[Array, Array, Array]:
    """The loss, `log softmax(x)`, and the sum of the weights that count."""
    logp = F.log_softmax(x, dim=_class_dim(x))
    out, total = F.nll_loss(logp, target, weight, reduction=reduction, ignore=ignore)
    return out, logp, total


def cross_entropy_backward(
    F: Any, g: Array, logp: Array, target: Array, weight: Array, total: Array, *, reduction: str,
    ignore: int,
) -> Array:  # fmt: skip
    """`(softmax(x) - one hot) w g`."""
    index, valid = _index(F, target, logp.shape, ignore)
    c = _coefficients(F, g, logp, index, valid, weight, total, reduction)
    return F.scatter_add(F.exp(logp) * c, index, -c, dim=_class_dim(logp))


def mse_loss(F: Any, x: Array, y: Array, *, reduction: str) -> Array:
    """`(x - y)²`."""
    d = x - y
    d = d * d
    if reduction == "none":
        return d
    return (F.mean if reduction == "mean" else F.sum)(d, dim=_all(d), keepdim=False)


def bce(F: Any, x: Array, y: Array) -> Array:
    """`-(y log x + (1 - y) log(1 - x))`, logarithms not below -100."""
    floor = F.new_full(x, shape=(), value=-100)
    return -(y * F.maximum(F.log(x), floor) + (1 - y) * F.maximum(F.log(1 - x), floor))


def bce_with_logits(F: Any, x: Array, y: Array) -> Array:
    """`x - x y + log(1 + exp(-x))`, without overflow."""
    return F.where(x > 0, x, 0) - x * y + F.log1p(F.exp(-F.abs(x)))
