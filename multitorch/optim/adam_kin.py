"""Adamax, NAdam and RAdam: variations of Adam."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from multitorch.dtypes import float32
from multitorch.ops.optim import adamax_step, nadam_step, radam_step
from multitorch.optim.fused import FusedOptimizer, check_betas, check_not_negative
from multitorch.optim.state import new_state
from multitorch.tensor import Tensor

__all__ = ["Adamax", "NAdam", "RAdam"]


class Adamax(FusedOptimizer):
    """Adam by the largest gradient: `u ← max(β₂u, |g| + eps)`, `p ← p - lr / (1-β₁ᵗ)·m / u`."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_not_negative(eps=eps, weight_decay=weight_decay)
        check_betas(betas)
        defaults = dict(
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            foreach=foreach,
            maximize=maximize,
            differentiable=differentiable,
            capturable=capturable,
        )
        self._prepare(params, defaults)

    def _names(self, group: dict[str, Any]) -> tuple[str, ...]:
        return "exp_avg", "exp_inf", "step"

    def _update(self, rows: list[tuple[Any, ...]], group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        hyper = (group["lr"], 1 - beta1, beta2, group["eps"], group["weight_decay"])
        adamax_step(rows, *hyper, maximize=group["maximize"])


class NAdam(FusedOptimizer):
    """Adam with Nesterov's momentum, whose weight approaches β₁ by `momentum_decay`."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_not_negative(eps=eps, weight_decay=weight_decay, momentum_decay=momentum_decay)
        check_betas(betas)
        defaults = dict(
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            momentum_decay=momentum_decay,
            decoupled_weight_decay=decoupled_weight_decay,
            maximize=maximize,
            foreach=foreach,
            capturable=capturable,
            differentiable=differentiable,
        )
        self._prepare(params, defaults)

    def _names(self, group: dict[str, Any]) -> tuple[str, ...]:
        return "exp_avg", "exp_avg_sq", "mu_product", "step"

    def _start(self, state: dict[str, Any], p: Tensor, group: dict[str, Any]) -> None:
        state["step"] = new_state(p, (), dtype=float32)
        state["mu_product"] = new_state(p, (), 1, float32)
        super()._start(state, p, group)

    def _update(self, rows: list[tuple[Any, ...]], group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        hyper = (group["lr"], 1 - beta1, 1 - beta2, group["eps"], group["weight_decay"])
        nadam_step(
            rows,
            *hyper,
            group["momentum_decay"],
            maximize=group["maximize"],
            decoupled=group["decoupled_weight_decay"],
        )


class RAdam(FusedOptimizer):
    """Adam that trusts the second moment only as far as its average is long enough."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_not_negative(eps=eps, weight_decay=weight_decay)
        check_betas(betas)
        defaults = dict(
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            maximize=maximize,
            foreach=foreach,
            capturable=capturable,
            decoupled_weight_decay=decoupled_weight_decay,
            differentiable=differentiable,
        )
        self._prepare(params, defaults)

    def _names(self, group: dict[str, Any]) -> tuple[str, ...]:
        return "exp_avg", "exp_avg_sq", "step"

    def _update(self, rows: list[tuple[Any, ...]], group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        radam_step(
            rows,
            group["lr"],
            1 - beta1,
            1 - beta2,
            group["eps"],
            group["weight_decay"],
            maximize=group["maximize"],
            decoupled=group["decoupled_weight_decay"],
        )
