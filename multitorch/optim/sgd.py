"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from multitorch.ops.optim import sgd_momentum_step, sgd_step
from multitorch.optim.optimizer import Optimizer, check_flags, check_lr
from multitorch.optim.state import new_state
from multitorch.tensor import Tensor

__all__ = ["SGD"]


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum `μ` and dampening `τ` on request.

    `g ← g + weight_decay·p`, `b ← μ·b + (1-τ)·g` (at first `b ← g`), `p ← p - lr·b`;
    Nesterov's form goes along `g + μ·b`. `foreach` and `fused` are accepted and change nothing.

    >>> p = multitorch.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = multitorch.optim.SGD([p], lr=0.1)
    >>> (p * p).sum().backward()
    >>> optimizer.step()
    >>> p
    tensor([0.8000, 1.6000], requires_grad=True)
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float | Tensor = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_lr(lr)
        if momentum < 0.0:
            raise ValueError(f"Invalid momentum value: {momentum}")
        if float(weight_decay) < 0.0:
            raise ValueError(f"Invalid weight_decay value: {weight_decay}")
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        check_flags(foreach, fused, differentiable)
        defaults = dict(
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
            maximize=maximize,
            foreach=foreach,
            differentiable=differentiable,
            fused=fused,
        )
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("nesterov", False)
            group.setdefault("maximize", False)
            group.setdefault("foreach", None)
            group.setdefault("differentiable", False)
            group.setdefault("fused", False)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step down the gradients; return `closure()`'s loss if a closure is given."""
        loss = self._loss(closure)
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if group["momentum"] == 0:
                rows = [(p, p.grad) for p in params]
                sgd_step(rows, group["lr"], group["weight_decay"], maximize=group["maximize"])
            else:
                self._with_momentum(params, group)
        return loss

    def _with_momentum(self, params: list[Tensor], group: dict[str, Any]) -> None:
        fresh, stepped = [], []
        for p in params:
            state = self.state[p]
            buf = state.get("momentum_buffer")
            if buf is None:
                buf = state["momentum_buffer"] = new_state(p)
                fresh.append((p, p.grad, buf))
            else:
                stepped.append((p, p.grad, buf))
        flags = {"nesterov": group["nesterov"], "maximize": group["maximize"]}
        # The first gradient goes undampened into a buffer of zeros, which so becomes the gradient.
        for rows, rate in ((fresh, 1.0), (stepped, 1.0 - group["dampening"])):
            sgd_momentum_step(
                rows, group["lr"], group["momentum"], rate, group["weight_decay"], **flags
            )
