"""Averaged stochastic gradient descent, and steps by the gradient's sign."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from multitorch.dtypes import float32
from multitorch.ops.optim import asgd_step, rprop_step
from multitorch.optim.fused import FusedOptimizer, check_not_negative
from multitorch.optim.state import new_state
from multitorch.tensor import Tensor

__all__ = ["ASGD", "Rprop"]


class ASGD(FusedOptimizer):
    """SGD of falling size `η = lr / (1 + lambd·lr·t)^alpha`; state `ax` averages after step t0.

    `p ← (1 - lambd·η)·p - η·g`.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_not_negative(weight_decay=weight_decay)
        defaults = dict(
            lr=lr,
            lambd=lambd,
            alpha=alpha,
            t0=t0,
            weight_decay=weight_decay,
            foreach=foreach,
            maximize=maximize,
            differentiable=differentiable,
            capturable=capturable,
        )
        self._prepare(params, defaults)

    def _names(self, group: dict[str, Any]) -> tuple[str, ...]:
        return "ax", "eta", "mu", "step"

    def _start(self, state: dict[str, Any], p: Tensor, group: dict[str, Any]) -> None:
        state["step"] = new_state(p, (), dtype=float32)
        lr = group["lr"]
        number = not isinstance(lr, Tensor)
        state["eta"] = new_state(p, (), lr if number else 1, float32)
        if not number:
            state["eta"].mul_(lr)
        state["mu"] = new_state(p, (), 1, float32)
        state["ax"] = new_state(p)

    def _update(self, rows: list[tuple[Any, ...]], group: dict[str, Any]) -> None:
        hyper = [group[name] for name in ("lr", "lambd", "alpha", "t0", "weight_decay")]
        asgd_step(rows, *hyper, maximize=group["maximize"])


class Rprop(FusedOptimizer):
    """Resilient backpropagation: steps of the gradient's sign, each weight with a size of its own.

    The size grows by etas[1] while the sign stays and shrinks by etas[0] when it turns, within
    `step_sizes`.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        defaults = dict(
            lr=lr,
            etas=etas,
            step_sizes=step_sizes,
            foreach=foreach,
            maximize=maximize,
            differentiable=differentiable,
            capturable=capturable,
        )
        self._prepare(params, defaults)

    def _names(self, group: dict[str, Any]) -> tuple[str, ...]:
        return "prev", "step_size", "step"

    def _start(self, state: dict[str, Any], p: Tensor, group: dict[str, Any]) -> None:
        state["step"] = new_state(p, (), dtype=float32)
        state["prev"] = new_state(p)
        size = float(group["lr"])
        state["step_size"] = new_state(p, value=complex(size, size) if p.is_complex() else size)

    def _update(self, rows: list[tuple[Any, ...]], group: dict[str, Any]) -> None:
        shrink, grow = group["etas"]
        low, high = group["step_sizes"]
        rprop_step(rows, shrink, grow, low, high, maximize=group["maximize"])
