"""Adafactor: second moments kept by row and by column only."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import sqrt
from typing import Any

from multitorch.autograd import no_grad
from multitorch.dtypes import finfo, float32
from multitorch.optim.optimizer import Optimizer, check_lr
from multitorch.optim.state import new_state
from multitorch.tensor import Tensor

__all__ = ["Adafactor"]


class Adafactor(Optimizer):
    """Steps over the root of a factored second moment, relative to the parameter's own size.

    For matrices `v ≈ rows · columns / mean(rows)`, running means whose newest square weighs
    `t^beta2_decay`; a step has a root mean square of at most `d` times
    `max(eps[1], rms(p)) · min(lr, 1 / √t)`.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not isinstance(lr, Tensor) and not 0.0 <= lr:
            raise ValueError(f"Learning rate should be >= 0 but is: {lr}")
        check_lr(lr)
        if not beta2_decay <= 0.0:
            raise ValueError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        for i, e in enumerate(eps):
            if e is not None and not 0.0 <= e:
                raise ValueError(f"epsilon{i + 1} should be >= 0 but is: {e}")
        if not d >= 1.0:
            raise ValueError(f"Clipping threshold d should be >= 1 but is: {d}")
        if not 0.0 <= weight_decay:
            raise ValueError(f"weight_decay should be >= 0 but is: {weight_decay}")
        defaults = dict(
            lr=lr,
            beta2_decay=beta2_decay,
            eps=eps,
            d=d,
            weight_decay=weight_decay,
            foreach=foreach,
            maximize=maximize,
        )
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("foreach", None)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step down the gradients; return `closure()`'s loss if a closure is given."""
        loss = self._loss(closure)
        with no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        self._step_one(p, group)
        return loss

    def _start(self, p: Tensor) -> dict[str, Any]:
        state = self.state[p]
        if not state:
            state["step"] = new_state(p, (), dtype=float32)
            if p.dim() > 1:
                state["row_var"] = new_state(p, (*p.shape[:-1], 1))
                state["col_var"] = new_state(p, (*p.shape[:-2], 1, p.shape[-1]))
            else:
                state["variance"] = new_state(p)
        return state

    def _step_one(self, p: Tensor, group: dict[str, Any]) -> None:
        if p.is_complex():
            raise RuntimeError("Adafactor does not support complex parameters")
        given = p.grad
        assert given is not None
        state = self._start(p)
        step = state["step"].add_(1)
        small, least = group["eps"]
        small = finfo(p.dtype).eps if small is None else small
        grad = -given if group["maximize"] else given
        lr = group["lr"]
        rate = step.rsqrt().clamp(max=float(lr)).to(p.dtype)
        size = _root_mean_square(p).clamp(min=least) * rate
        if group["weight_decay"]:
            p.mul_(1 - lr * group["weight_decay"])
        v = _second_moment(state, grad, step ** group["beta2_decay"], small)
        update = grad * v.clamp(min=small * small).rsqrt()
        p.sub_(update * (size / (_root_mean_square(update) / group["d"]).clamp(min=1.0)))


def _root_mean_square(t: Tensor) -> Tensor:
    return t.norm(2) / sqrt(t.numel())


def _second_moment(state: dict[str, Any], grad: Tensor, weight: Tensor, small: float) -> Tensor:
    """Advance the running means by a weight; return the second moment that they stand for."""
    weight = weight.to(grad.dtype)
    if grad.dim() < 2:
        return state["variance"].lerp_(grad * grad, weight)
    rows, columns = state["row_var"], state["col_var"]
    squares = grad * grad
    rows.lerp_(squares.mean(-1, keepdim=True), weight)
    columns.lerp_(squares.mean(-2, keepdim=True), weight)
    return rows @ columns / rows.mean(-2, keepdim=True).clamp(min=small)
