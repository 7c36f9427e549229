"""The loss of connectionist temporal classification (Graves et al., 2006)."""

from __future__ import annotations

from typing import Any

from multitorch import dtypes
from multitorch.ops import apply as dispatch
from multitorch.ops.op import op
from multitorch.ops.promote import not_implemented
from multitorch.ops.ranges import arange

Tensor = Any
_INT = dtypes.int64


def _shapes(x: Any, targets: Any, *lengths: Any, **params: Any) -> tuple:
    states = (x.shape[0], x.shape[1], 2 * targets.shape[1] + 1)
    return ((x.shape[1],), x.dtype), (states, x.dtype)


def _same(g: Any, x: Any, *others: Any, **params: Any) -> tuple:
    return x.shape, x.dtype


_ctc = op(
    "ctc_loss", "x targets times sizes", outs="out alpha", diff_outs=(0,), hidden=True,
    node="CtcLoss", shape=_shapes,
).vjp(
    x=lambda F, g, x, targets, times, sizes, out, alpha, blank, zero_infinity: F.ctc_loss_backward(
        g, x, targets, times, sizes, out, alpha, blank=blank, zero_infinity=zero_infinity
    )
)  # fmt: skip


def _no_second(F: Any, g: Any) -> Any:
    raise RuntimeError("derivative for aten::_ctc_loss_backward is not implemented")


op("ctc_loss_backward", "g x targets times sizes out alpha", shape=_same).vjp(
    g=_no_second, x=_no_second
)

# --- arguments -----------------------------------------------------------------------------------


def _lengths(value: Any, x: Tensor, batch: int, most: int | None, name: str) -> Tensor:
    """Return lengths as a tensor; where their values are at hand, check them."""
    if not isinstance(value, dispatch.Tensor):
        from multitorch.ops.creation import tensor

        value = tensor([int(n) for n in value], dtype=_INT, device=x._dev)
    if value._dtype.inexact:
        raise RuntimeError(f"{name} must be integral")
    value = value.reshape(1) if not value.ndim else value
    if value.ndim != 1 or value.shape[0] != batch:
        raise RuntimeError(f"{name} must be of size batch_size")
    at_hand = value._dev.backend.mutable and not dispatch.capturing
    if most is not None and at_hand and value.shape[0]:
        found = int(value.max())
        if found > most:
            raise RuntimeError(
                f"Expected {name} to have value at most {most}, but got value {found} "
                "(while checking arguments for ctc_loss)"
            )
        if int(value.min()) < 0:
            raise RuntimeError(f"Expected {name} to have value at least 0")
    return value.to(x._dev).to(_INT)


def _labels(targets: Tensor, sizes: Tensor, given: Any, batch: int) -> Tensor:
    """Return targets as (batch, most labels); a vector holds them one after another."""
    if targets.ndim == 2:
        if targets.shape[0] != batch:
            raise RuntimeError(
                f"Expected tensor to have size {batch} at dimension 0, but got size "
                f"{targets.shape[0]} for argument #2 'targets' (while checking arguments for "
                "ctc_loss)"
            )
        return targets
    if targets.ndim != 1:
        raise RuntimeError("Expected targets to have 1 or 2 dimensions")
    if batch == 1:
        return targets.reshape(1, -1)
    counts = given.tolist() if isinstance(given, dispatch.Tensor) else [int(n) for n in given]
    if sum(counts) > targets.shape[0]:
        raise RuntimeError(
            f"Expected targets to have at least {sum(counts)} elements, the sum of target_lengths, "
            f"but got {targets.shape[0]}"
        )
    if not max(counts, default=0):
        return targets.new_zeros((batch, 0))
    start = (sizes.cumsum(0) - sizes).unsqueeze(1)
    at = start + arange(max(counts), device=targets._dev)
    return targets[at.clamp(max=targets.shape[0] - 1)]


def _masked(labels: Tensor, sizes: Tensor, blank: int) -> Tensor:
    """Return labels with blanks in place of what lies behind a target's end."""
    beyond = arange(labels.shape[1], device=labels._dev) >= sizes.unsqueeze(1)
    return labels.masked_fill(beyond, blank)


_REDUCTIONS = {0: "none", 1: "mean", 2: "sum", "none": "none", "mean": "mean", "sum": "sum"}


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str | int = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Return -log of the probability of all alignments of the targets with the input.

    Log-probabilities (T, N, C) or (T, C), from log_softmax: the gradient is that with respect to
    what log_softmax was taken of. Targets (N, S), or all in one vector; lengths (N) of both. The
    mean first divides each loss by its target's length. `zero_infinity` makes impossible
    alignments cost nothing.
    """
    if reduction not in _REDUCTIONS:
        raise ValueError(f"{reduction} is not a valid value for reduction")
    if log_probs._dtype not in (dtypes.float32, dtypes.float64):
        raise not_implemented("ctc_loss", log_probs._dtype)
    x = log_probs if log_probs.ndim == 3 else log_probs.unsqueeze(1)
    time, batch, classes = x.shape
    if not x.numel():
        raise RuntimeError("log_probs tensor must not be empty")
    if not 0 <= blank < classes:
        raise RuntimeError("blank must be in label range")
    longest = targets.shape[1] if targets.ndim == 2 else None
    times = _lengths(input_lengths, x, batch, time, "input_lengths")
    sizes = _lengths(target_lengths, x, batch, longest, "target_lengths")
    labels = _labels(targets.to(x._dev).to(_INT), sizes, target_lengths, batch)
    labels = _masked(labels, sizes, blank)
    loss = _ctc(x, labels, times, sizes, blank=int(blank), zero_infinity=bool(zero_infinity))
    return _reduced(loss, sizes, _REDUCTIONS[reduction], log_probs.ndim == 3)


def _reduced(loss: Tensor, sizes: Tensor, reduction: str, batched: bool) -> Tensor:
    if reduction == "mean":
        return (loss / sizes.clamp(min=1).to(loss._dtype)).mean()
    if reduction == "sum":
        return loss.sum()
    return loss if batched else loss.squeeze(0)


METHODS: dict = {}
INPLACE: dict = {}
FUNCTIONS: dict = {"ctc_loss": ctc_loss}
